//! Numbers in decimal, read and written without `core::fmt` and without a panic.

#![forbid(unsafe_code)]

use crate::text::split_once;

/// A time in nanoseconds, which reaches for 584 years. Not `Duration`: that has
/// panics in it, which only sometimes can be seen to be out of reach.
pub type Nanoseconds = u64;

/// The value of a word of decimal digits alone: no sign, no space. None where it
/// is empty, holds anything else, or does not fit.
pub(crate) fn decimal(digits: &[u8]) -> Option<u32> {
    u32::try_from(decimal_64(digits)?).ok()
}

/// The same for larger ones.
pub(crate) fn decimal_64(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Reads a TIME: a decimal number with an optional `ms`, `s` (the default), `m` or
/// `h`. What is below a nanosecond is cut off. None where it is no such number, or
/// more than some 584 years.
pub(crate) fn duration(word: &[u8]) -> Option<Nanoseconds> {
    let digit_or_point = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let end = word.iter().position(|byte| !digit_or_point(byte)).unwrap_or(word.len());
    let (number, unit) = word.split_at_checked(end)?;
    let unit: u64 = match unit {
        b"ms" => 1_000_000,
        b"s" | b"" => 1_000_000_000,
        b"m" => 60_000_000_000,
        b"h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = split_once(number, b'.');
    let fraction = fraction.unwrap_or_default();
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = if whole.is_empty() { 0 } else { decimal_64(whole)?.checked_mul(unit)? };
    let mut place = unit;
    for byte in fraction {
        place /= 10;
        value = value.checked_add(place * decimal_64(&[*byte])?)?;
    }
    Some(value)
}

/// A number written out, right-aligned in a buffer that the longest one fills.
pub(crate) struct Decimal {
    digits: [u8; Self::LONGEST],
    start: usize,
}

impl Decimal {
    /// As many digits as `u64::MAX` has.
    const LONGEST: usize = 20;

    pub(crate) fn new(mut value: u64) -> Self {
        let mut written = Self { digits: [b'0'; Self::LONGEST], start: Self::LONGEST };
        for place in written.digits.iter_mut().rev() {
            *place = b'0' + (value % 10) as u8;
            written.start -= 1;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        written
    }

    /// What was written. (Not inlined, as its callers are many.)
    #[inline(never)]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_digits_that_fit() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"007"), Some(7));
        assert_eq!(decimal(b"4294967295"), Some(u32::MAX));
        for word in ["", "4294967296", "99999999999999999999", "-1", "+1", "1 ", "0x1", "1.5", "\u{661}"] {
            assert_eq!(decimal(word.as_bytes()), None, "{word:?}");
        }
    }

    #[test]
    fn times_with_and_without_a_unit() {
        for (word, milliseconds) in [
            ("10", 10_000),
            ("1.5s", 1_500),
            ("250ms", 250),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("0", 0),
            ("0.4", 400),
            (".4", 400),
            ("4.", 4_000),
            ("1.5m", 90_000),
            ("0.25h", 900_000),
            ("007s", 7_000),
            ("1.5ms", 1),
        ] {
            assert_eq!(duration(word.as_bytes()).map(|time| time / 1_000_000), Some(milliseconds), "{word}");
        }
        assert_eq!(duration(b"1.23456789012s"), Some(1_234_567_890));
        assert_eq!(duration(b"18446744073s"), Some(18_446_744_073_000_000_000));
    }

    #[test]
    fn nonsense_is_no_time() {
        for word in [
            "",
            ".",
            "s",
            ".s",
            "-1",
            "+1",
            "1 s",
            " 1",
            "1S",
            "1d",
            "1e3",
            "1.2.3",
            "1,5",
            "1ss",
            "inf",
            "nan",
            "0x10",
            "18446744074s",
            "5124096h",
            "99999999999999999999",
            "99999999999999999999999ms",
            "18446744073.9999999999",
        ] {
            assert_eq!(duration(word.as_bytes()), None, "{word:?}");
        }
    }

    proptest! {
        #[test]
        fn no_word_makes_a_time_panic(word in any::<Vec<u8>>()) {
            let _ = duration(&word);
        }

        #[test]
        fn a_time_is_read_as_the_standard_library_would(milliseconds in 0..u64::MAX / 1_000_000) {
            let time = milliseconds * 1_000_000;
            prop_assert_eq!(duration(format!("{milliseconds}ms").as_bytes()), Some(time));
            let seconds = format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
            prop_assert_eq!(duration(seconds.as_bytes()), Some(time));
        }

        #[test]
        fn writes_as_the_standard_library_does(value in any::<u64>()) {
            let text = value.to_string();
            let written = Decimal::new(value);
            prop_assert_eq!(written.as_bytes(), text.as_bytes());
        }

        #[test]
        fn reads_what_it_writes(value in any::<u32>()) {
            prop_assert_eq!(decimal(Decimal::new(value.into()).as_bytes()), Some(value));
        }
    }
}
