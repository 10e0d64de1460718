//! Numbers, times and sizes: read as users and the kernel write them, and printed.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};

/// A time in nanoseconds, which reaches for 584 years. Not `Duration`: its arithmetic
/// can panic, and a compiler does not always see that it will not.
pub type Nanos = u64;

/// One second.
pub const SECOND: Nanos = 1_000_000_000;

/// The value of decimal digits alone: no sign, no space. None where there are no digits, or
/// other characters, or the value does not fit.
pub fn parse_u32(digits: &[u8]) -> Option<u32> {
    u32::try_from(parse_u64(digits)?).ok()
}

/// The same for larger ones.
pub fn parse_u64(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Reads a TIME: a decimal number with an optional `ms`, `s` (the default), `m` or `h`.
/// Fractions of a nanosecond are cut off. None where it is not such a number, or more than
/// some 584 years.
pub fn parse_duration(word: &[u8]) -> Option<Nanos> {
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
    let mut value = if whole.is_empty() { 0 } else { parse_u64(whole)?.checked_mul(unit)? };
    let mut place = unit;
    for byte in fraction {
        place /= 10;
        value = value.checked_add(place * parse_u64(&[*byte])?)?;
    }
    Some(value)
}

/// The part before the first `separator`, and the part behind it, if there is one.
pub fn split_once(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == separator) {
        Some(end) => (text.get(..end).unwrap_or_default(), text.get(end + 1..)),
        None => (text, None),
    }
}

/// The rest of the first line that begins with `key`.
pub fn value_of<'a>(lines: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    lines.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key))
}

/// A number of tenths, as a decimal one with a unit.
fn write_tenths(tenths: u64, unit: &str, f: &mut Formatter) -> fmt::Result {
    // In a column, it is aligned as a whole.
    let width = f.width().unwrap_or(0).saturating_sub(unit.len() + 3);
    write!(f, "{:>width$}.{} {unit}", tenths / 10, tenths % 10)
}

/// A time, in seconds and tenths.
pub struct Seconds(pub Nanos);

impl Display for Seconds {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write_tenths(self.0.saturating_add(50_000_000) / 100_000_000, "s", f)
    }
}

/// A size in KiB, in MiB and tenths.
pub struct Mebibytes(pub u64);

impl Display for Mebibytes {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write_tenths(self.0.saturating_mul(10).saturating_add(512) / 1024, "MiB", f)
    }
}

/// A number of hundredths, as a decimal one.
pub struct Fraction(pub u64);

impl Fraction {
    /// So many of these units, rounded.
    pub fn of(value: u64, unit: u64) -> Self {
        let (Some(whole), Some(rest)) = (value.checked_div(unit), value.checked_rem(unit)) else {
            return Self(0);
        };
        // Of a unit that is too large for this, there are no hundredths.
        let hundredths = rest.saturating_mul(100).saturating_add(unit / 2).checked_div(unit).unwrap_or(0);
        Self(whole.saturating_mul(100).saturating_add(hundredths))
    }
}

impl Fraction {
    /// A time, in seconds.
    pub fn seconds(time: Nanos) -> Self {
        Self::of(time, SECOND)
    }
}

impl Display for Fraction {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let width = f.width().unwrap_or(0).saturating_sub(".00".len());
        write!(f, "{:>width$}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// A number of things, and what one is called.
pub struct Plural(pub u64, pub &'static str);

impl Display for Plural {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self(number, name) = self;
        let s = if *number == 1 {
            ""
        } else if name.ends_with("ss") {
            "es"
        } else {
            "s"
        };
        write!(f, "{number} {name}{s}")
    }
}

/// An age, in the largest unit of which there is at least one and a half.
pub struct Age(pub Nanos);

impl Display for Age {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let seconds = self.0 / SECOND;
        match seconds {
            0..90 => write!(f, "{}.{} s", seconds, self.0 % SECOND / (SECOND / 10)),
            90..5400 => write!(f, "{} min", (seconds + 30) / 60),
            5400..129_600 => write!(f, "{} h", (seconds + 1800) / 3600),
            _ => write!(f, "{} d", seconds / 86_400),
        }
    }
}

/// A size in KiB, in the unit that keeps it short.
pub struct Size(pub u64);

impl Display for Size {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self.0 {
            kib @ 0..10_240 => write!(f, "{kib} KiB"),
            kib @ 10_240..10_485_760 => write!(f, "{} MiB", kib / 1024),
            kib => {
                let tenths = (kib / 1024).saturating_mul(10) / 1024;
                write!(f, "{}.{} GiB", tenths / 10, tenths % 10)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_digits_that_fit() {
        assert_eq!(parse_u32(b"0"), Some(0));
        assert_eq!(parse_u32(b"007"), Some(7));
        assert_eq!(parse_u32(b"4294967295"), Some(u32::MAX));
        for word in ["", "4294967296", "99999999999999999999", "-1", "+1", "1 ", "0x1", "1.5", "\u{661}"] {
            assert_eq!(parse_u32(word.as_bytes()), None, "{word:?}");
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
            assert_eq!(
                parse_duration(word.as_bytes()).map(|time| time / 1_000_000),
                Some(milliseconds),
                "{word}"
            );
        }
        assert_eq!(parse_duration(b"1.23456789012s"), Some(1_234_567_890));
        assert_eq!(parse_duration(b"18446744073s"), Some(18_446_744_073_000_000_000));
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
            assert_eq!(parse_duration(word.as_bytes()), None, "{word:?}");
        }
    }

    #[test]
    fn seconds_and_mebibytes_are_rounded_to_tenths() {
        for (nanoseconds, text) in [
            (0, "0.0 s"),
            (49_999_999, "0.0 s"),
            (50_000_000, "0.1 s"),
            (12_040_000_000, "12.0 s"),
            (59_960_000_000, "60.0 s"),
            (u64::MAX, "18446744073.7 s"),
        ] {
            assert_eq!(Seconds(nanoseconds).to_string(), text);
        }
        assert_eq!(Mebibytes(422 * 1024 + 60).to_string(), "422.1 MiB");
    }

    #[test]
    fn fractions_counts_ages_and_sizes() {
        assert_eq!(Fraction(452).to_string(), "4.52");
        assert_eq!(format!("[{:>6}]", Fraction(7)), "[  0.07]");
        assert_eq!(Fraction::of(1_996_000_000, SECOND).to_string(), "2.00");
        assert_eq!(Fraction::of(1, 0).to_string(), "0.00");
        assert_eq!(Plural(1, "process").to_string(), "1 process");
        assert_eq!(Plural(2, "process").to_string(), "2 processes");
        assert_eq!(Plural(0, "fork").to_string(), "0 forks");
        for (seconds, text) in [
            (3, "3.0 s"),
            (89, "89.0 s"),
            (90, "2 min"),
            (3600, "60 min"),
            (10_800, "3 h"),
            (864_000, "10 d"),
        ] {
            assert_eq!(Age(seconds * SECOND).to_string(), text);
        }
        for (kib, text) in [
            (0, "0 KiB"),
            (10_239, "10239 KiB"),
            (317_440, "310 MiB"),
            (16_777_216, "16.0 GiB"),
            (u64::MAX, "17592186044415.9 GiB"),
        ] {
            assert_eq!(Size(kib).to_string(), text);
        }
    }

    #[test]
    fn text_is_split_at_the_first_separator() {
        assert_eq!(split_once(b"a=b=c", b'='), (&b"a"[..], Some(&b"b=c"[..])));
        assert_eq!(split_once(b"a=", b'='), (&b"a"[..], Some(&b""[..])));
        assert_eq!(split_once(b"a", b'='), (&b"a"[..], None));
    }

    #[test]
    fn a_value_is_found_by_its_key() {
        assert_eq!(value_of(b"low 0\noom 1\noom_kill 3\n", b"oom_kill "), Some(&b"3"[..]));
        assert_eq!(value_of(b"low 0\noom 1\n", b"oom_kill "), None);
    }

    proptest! {
        #[test]
        fn no_word_makes_a_time_panic(word in any::<Vec<u8>>()) {
            let _ = parse_duration(&word);
        }

        #[test]
        fn a_time_is_read_as_the_standard_library_would(milliseconds in 0..u64::MAX / 1_000_000) {
            let time = milliseconds * 1_000_000;
            prop_assert_eq!(parse_duration(format!("{milliseconds}ms").as_bytes()), Some(time));
            let seconds = format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
            prop_assert_eq!(parse_duration(seconds.as_bytes()), Some(time));
        }
    }
}
