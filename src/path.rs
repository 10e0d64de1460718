//! Paths that are composed in place, as the kernel takes them: with a zero at the end.

#![forbid(unsafe_code)]

use std::ffi::CStr;

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
        let mut places = self.bytes.iter_mut();
        for byte in parts.iter().copied().flatten() {
            *places.next()? = *byte;
        }
        *places.next()? = 0;
        let length = parts.iter().fold(0, |length: usize, part| length.saturating_add(part.len()));
        let path = CStr::from_bytes_until_nul(&self.bytes).ok()?;
        (path.count_bytes() == length).then_some(path)
    }
}

/// What stands behind the last slash.
pub fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
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
