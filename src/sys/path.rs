//! Paths that are composed in place, as the kernel takes them: with a zero at the end.

use std::ffi::CStr;
use std::fmt::{self, Arguments, Write};

/// A path of at most `SIZE` bytes, the zero included.
pub struct PathBuffer<const SIZE: usize> {
    bytes: [u8; SIZE],
}

/// As long a path as the kernel takes (`PATH_MAX`).
pub type LongPath = PathBuffer<{ libc::PATH_MAX as usize }>;

impl<const SIZE: usize> Default for PathBuffer<SIZE> {
    fn default() -> Self {
        Self { bytes: [0; SIZE] }
    }
}

impl<const SIZE: usize> PathBuffer<SIZE> {
    /// Joins these parts. None where they are too long, or contain a zero.
    pub fn join(&mut self, parts: &[&[u8]]) -> Option<&CStr> {
        let mut length = 0;
        for part in parts {
            let end = length + part.len();
            self.bytes.get_mut(length..end)?.copy_from_slice(part);
            length = end;
        }
        *self.bytes.get_mut(length)? = 0;
        CStr::from_bytes_with_nul(self.bytes.get(..=length)?).ok()
    }

    /// Formats this text. None where it is too long, or contains a zero.
    pub fn format(&mut self, text: Arguments) -> Option<&CStr> {
        let mut writer = Writer { bytes: &mut self.bytes, length: 0 };
        writer.write_fmt(text).ok()?;
        let length = writer.length;
        *self.bytes.get_mut(length)? = 0;
        CStr::from_bytes_with_nul(self.bytes.get(..=length)?).ok()
    }
}

struct Writer<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// The part after the last slash.
pub fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_if_they_fit() {
        let mut path = PathBuffer::<8>::default();
        assert_eq!(path.join(&[b"/a", b"/", b"bcde"]), Some(c"/a/bcde"));
        assert_eq!(path.join(&[b"/", b"b"]), Some(c"/b"), "nothing of the longer path is left");
        assert_eq!(path.join(&[]), Some(c""));
        assert_eq!(path.join(&[b"/a/bcdef"]), None);
        assert_eq!(path.join(&[b"/a\0b"]), None);
    }

    #[test]
    fn text_is_formatted_if_it_fits() {
        let mut path = PathBuffer::<32>::default();
        assert_eq!(path.format(format_args!("/proc/{}/stat", 4305)), Some(c"/proc/4305/stat"));
        assert_eq!(path.format(format_args!("{}", 0)), Some(c"0"));
        assert_eq!(PathBuffer::<4>::default().format(format_args!("{}", 1000)), None);
    }

    #[test]
    fn the_base_name_follows_the_last_slash() {
        for (path, name) in [("/bin/sh", "sh"), ("sh", "sh"), ("./x/y", "y"), ("x/", ""), ("", "")] {
            assert_eq!(base_name(path.as_bytes()), name.as_bytes());
        }
    }
}
