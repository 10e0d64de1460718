//! Numbers in decimal, read and written without `core::fmt` and without a panic.

#![forbid(unsafe_code)]

/// The value of a word of decimal digits alone: no sign, no space. None where it
/// is empty, holds anything else, or does not fit.
pub(crate) fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u32::from(digit))
    })
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

    proptest! {
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
