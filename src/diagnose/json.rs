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

/// A value of [`Json::member`] that may be unknown: then it is `null`.
pub struct Known<T>(pub Option<T>);

impl<T: Display> Display for Known<T> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// What is being written. That it cannot be is for the writer to note.
pub struct Json<'a> {
    to: &'a mut dyn Write,
    /// Whether nothing stands in the object or array yet.
    empty: bool,
}

impl<'a> Json<'a> {
    /// Begins an object, the only one. [`Self::end`] ends it.
    pub fn object(to: &'a mut dyn Write) -> Self {
        let mut json = Self { to, empty: true };
        json.begin('{');
        json
    }

    fn begin(&mut self, bracket: char) {
        let _ = self.to.write_char(bracket);
        self.empty = true;
    }

    /// Writes what comes before a value: a comma, unless it is the first one, and the key,
    /// unless it is in an array, where that is empty.
    fn key(&mut self, key: &str) {
        if !self.empty {
            let _ = self.to.write_char(',');
        }
        self.empty = false;
        if !key.is_empty() {
            let _ = write!(self.to, "\"{key}\":");
        }
    }

    /// Writes a value that is printed as it is: a number, `true`, a [`Text`].
    pub fn member(&mut self, key: &str, value: &dyn Display) {
        self.key(key);
        let _ = write!(self.to, "{value}");
    }

    /// Begins a value that is an object.
    pub fn begin_object(&mut self, key: &str) {
        self.key(key);
        self.begin('{');
    }

    /// Begins one that is an array. The keys of its elements are empty.
    pub fn begin_array(&mut self, key: &str) {
        self.key(key);
        self.begin('[');
    }

    /// Ends an object.
    pub fn end(&mut self) {
        let _ = self.to.write_char('}');
        self.empty = false;
    }

    /// Ends an array.
    pub fn end_array(&mut self) {
        let _ = self.to.write_char(']');
        self.empty = false;
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
    fn objects_and_arrays_are_nested() {
        let mut text = String::new();
        let mut json = Json::object(&mut text);
        json.member("number", &4);
        json.begin_array("array");
        json.member("", &1);
        json.member("", &2);
        json.begin_object("");
        json.end();
        json.end_array();
        json.begin_object("inner");
        json.member("name", &Text(b"x"));
        json.member("unknown", &Known::<u8>(None));
        json.end();
        json.end();
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
