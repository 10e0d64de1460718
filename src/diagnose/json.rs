//! JSON (RFC 8259), written as it comes.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter, Write};

/// A text that sexton did not write. It may hold any bytes, of which those that are not
/// UTF-8 become U+FFFD: JSON has no way to say them that every parser takes.
pub struct Text<'a>(pub &'a [u8]);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '"' | '\\' => write!(f, "\\{character}")?,
                    // Those that JSON forbids, and those that terminals obey.
                    '\0'..='\x1f' | '\x7f'..='\u{9f}' => write!(f, "\\u{:04x}", u32::from(character))?,
                    _ => f.write_char(character)?,
                }
            }
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        f.write_char('"')
    }
}

/// A value of [`Object::member`] that may be unknown: then it is `null`.
pub struct Known<T>(pub Option<T>);

impl<T: Display> Display for Known<T> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// An object or an array that is being written. [`List::end`] closes it.
pub struct List<'a> {
    to: &'a mut dyn Write,
    empty: bool,
    end: char,
}

impl<'a> List<'a> {
    /// Begins an object.
    pub fn object(to: &'a mut dyn Write) -> Result<Self, fmt::Error> {
        to.write_char('{')?;
        Ok(Self { to, empty: true, end: '}' })
    }

    fn comma(&mut self) -> fmt::Result {
        if std::mem::take(&mut self.empty) { Ok(()) } else { self.to.write_char(',') }
    }

    fn key(&mut self, key: &str) -> fmt::Result {
        self.comma()?;
        write!(self.to, "\"{key}\":")
    }

    /// Writes a member whose value is printed as it is: a number, `true`, a [`Text`].
    pub fn member(&mut self, key: &str, value: impl Display) -> fmt::Result {
        self.member_of(key, &value)
    }

    fn member_of(&mut self, key: &str, value: &dyn Display) -> fmt::Result {
        self.key(key)?;
        write!(self.to, "{value}")
    }

    /// Begins a member that is an object.
    pub fn object_member(&mut self, key: &str) -> Result<List<'_>, fmt::Error> {
        self.key(key)?;
        List::object(self.to)
    }

    /// Begins a member that is an array.
    pub fn array_member(&mut self, key: &str) -> Result<List<'_>, fmt::Error> {
        self.key(key)?;
        self.to.write_char('[')?;
        Ok(List { to: self.to, empty: true, end: ']' })
    }

    /// Writes an element of an array.
    pub fn element(&mut self, value: impl Display) -> fmt::Result {
        self.comma()?;
        write!(self.to, "{value}")
    }

    /// Begins an element that is an object.
    pub fn object_element(&mut self) -> Result<List<'_>, fmt::Error> {
        self.comma()?;
        List::object(self.to)
    }

    /// Closes it.
    pub fn end(self) -> fmt::Result {
        self.to.write_char(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn foreign_text_is_escaped() {
        for (bytes, text) in [
            (&b"sh"[..], r#""sh""#),
            (b"a \"b\\c", r#""a \"b\\c""#),
            (b"a) R 1\n\x1b[31m\x7f", r#""a) R 1\u000a\u001b[31m\u007f""#),
            (b"\xff\xfea\xc3", "\"\u{fffd}\u{fffd}a\u{fffd}\""),
            ("größe\u{9b}".as_bytes(), "\"größe\\u009b\""),
        ] {
            assert_eq!(Text(bytes).to_string(), text);
        }
    }

    #[test]
    fn lists_are_nested() {
        let write = |text: &mut String| -> fmt::Result {
            let mut object = List::object(text)?;
            object.member("number", 4)?;
            let mut array = object.array_member("array")?;
            array.element(1)?;
            array.element(2)?;
            array.object_element()?.end()?;
            array.end()?;
            let mut inner = object.object_member("inner")?;
            inner.member("name", Text(b"x"))?;
            inner.member("unknown", Known::<u8>(None))?;
            inner.end()?;
            object.end()
        };
        let mut text = String::new();
        write(&mut text).unwrap();
        assert_eq!(text, r#"{"number":4,"array":[1,2,{}],"inner":{"name":"x","unknown":null}}"#);
    }

    proptest! {
        #[test]
        fn a_text_stays_one_string(bytes in any::<Vec<u8>>()) {
            let text = Text(&bytes).to_string();
            let inner = &text[1..text.len() - 1];
            prop_assert!(text.starts_with('"') && text.ends_with('"'));
            prop_assert!(!inner.chars().any(char::is_control));
            // Each quotation mark follows an odd number of backslashes.
            prop_assert!(!inner.replace("\\\\", "").replace("\\\"", "").contains('"'));
        }
    }
}
