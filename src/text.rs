//! Text taken apart, in bytes. Each of these exists once in the program, for every
//! separator: the standard library's would for each closure that it is given.

#![forbid(unsafe_code)]

/// What stands before the first `separator`, and what behind it, if there is one.
pub(crate) fn split_once(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == separator) {
        Some(index) => (text.get(..index).unwrap_or_default(), text.get(index + 1..)),
        None => (text, None),
    }
}

/// The pieces between separators: one more than there are of those.
pub(crate) fn split(text: &[u8], separator: u8) -> Pieces<'_> {
    Pieces { rest: Some(text), separator }
}

/// What [`split`] iterates over.
pub(crate) struct Pieces<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    // Once, as said above.
    #[inline(never)]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (piece, rest) = split_once(self.rest?, self.separator);
        self.rest = rest;
        Some(piece)
    }
}

/// What stands behind `key` on the first line that begins with it.
pub(crate) fn value_of<'a>(lines: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    split(lines, b'\n').find_map(|line| line.strip_prefix(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_is_split_at_the_first_separator() {
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
        fn pieces_are_those_of_the_standard_library(text in any::<Vec<u8>>(), separator in any::<u8>()) {
            let known: Vec<&[u8]> = text.split(|byte| *byte == separator).collect();
            prop_assert_eq!(split(&text, separator).collect::<Vec<_>>(), known);
        }
    }
}
