//! Paths that are composed in place, as the kernel takes them: with a zero at the end.

#![forbid(unsafe_code)]

use std::ffi::CStr;

use crate::sys;
use crate::text::split;

/// A path of at most `SIZE` bytes, the zero included.
pub struct Path<const SIZE: usize> {
    bytes: [u8; SIZE],
}

/// As long a path as the kernel takes (`PATH_MAX`).
pub type LongPath = Path<{ libc::PATH_MAX as usize }>;

impl<const SIZE: usize> Default for Path<SIZE> {
    fn default() -> Self {
        Self { bytes: [0; SIZE] }
    }
}

impl<const SIZE: usize> Path<SIZE> {
    /// Makes it of these parts, joined. None where they are too long, or hold a zero.
    pub fn join(&mut self, parts: &[&[u8]]) -> Option<&CStr> {
        join(&mut self.bytes, parts)
    }
}

/// One for paths of all sizes.
fn join<'a>(bytes: &'a mut [u8], parts: &[&[u8]]) -> Option<&'a CStr> {
    let mut length = 0;
    for part in parts {
        for byte in *part {
            *bytes.get_mut(length)? = *byte;
            length += 1;
        }
    }
    *bytes.get_mut(length)? = 0;
    sys::c_string(bytes.get(..=length)?)
}

/// What stands behind the last slash.
pub fn base_name(path: &[u8]) -> &[u8] {
    split(path, b'/').last().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_if_they_fit() {
        let mut path = Path::<8>::default();
        assert_eq!(path.join(&[b"/a", b"/", b"bcde"]), Some(c"/a/bcde"));
        assert_eq!(path.join(&[b"/", b"b"]), Some(c"/b"), "nothing is left of what was there");
        assert_eq!(path.join(&[]), Some(c""));
        assert_eq!(path.join(&[b"/a/bcdef"]), None);
        assert_eq!(path.join(&[b"/a\0b"]), None);
    }
}
