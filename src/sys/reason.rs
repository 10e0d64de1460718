//! The kernel's reasons for a failure, in the words of `strerror(3)`.

#![forbid(unsafe_code)]

use nix::errno::Errno;

use crate::log::{Line, Show};
use crate::sys::packed::{Packed, packed_size};

impl Show for Errno {
    fn show(&self, line: &mut Line) {
        let number = *self as i32;
        match u8::try_from(number).ok().and_then(|number| WORDS.word(number)) {
            Some(words) => line.bytes(words),
            None => line.add("errno {}", &[&number.unsigned_abs()]),
        }
    }
}

static WORDS: Packed<{ packed_size(REASONS) }> = Packed::new(REASONS);

/// Those that `execve(2)`, `clone(2)`, `open(2)`, `write(2)` and what else sexton calls
/// are documented to give, and those of file systems that are remote, encrypted, full or
/// broken. Others are told by their number.
const REASONS: &[(u8, &str)] = &[
    (Errno::EPERM as u8, "Operation not permitted"),
    (Errno::ENOENT as u8, "No such file or directory"),
    (Errno::ESRCH as u8, "No such process"),
    (Errno::EINTR as u8, "Interrupted system call"),
    (Errno::EIO as u8, "Input/output error"),
    (Errno::ENXIO as u8, "No such device or address"),
    (Errno::E2BIG as u8, "Argument list too long"),
    (Errno::ENOEXEC as u8, "Exec format error"),
    (Errno::EBADF as u8, "Bad file descriptor"),
    (Errno::ECHILD as u8, "No child processes"),
    (Errno::EAGAIN as u8, "Resource temporarily unavailable"),
    (Errno::ENOMEM as u8, "Cannot allocate memory"),
    (Errno::EACCES as u8, "Permission denied"),
    (Errno::EFAULT as u8, "Bad address"),
    (Errno::EBUSY as u8, "Device or resource busy"),
    (Errno::EEXIST as u8, "File exists"),
    (Errno::EXDEV as u8, "Invalid cross-device link"),
    (Errno::ENODEV as u8, "No such device"),
    (Errno::ENOTDIR as u8, "Not a directory"),
    (Errno::EISDIR as u8, "Is a directory"),
    (Errno::EINVAL as u8, "Invalid argument"),
    (Errno::ENFILE as u8, "Too many open files in system"),
    (Errno::EMFILE as u8, "Too many open files"),
    (Errno::ENOTTY as u8, "Inappropriate ioctl for device"),
    (Errno::ETXTBSY as u8, "Text file busy"),
    (Errno::EFBIG as u8, "File too large"),
    (Errno::ENOSPC as u8, "No space left on device"),
    (Errno::EROFS as u8, "Read-only file system"),
    (Errno::EPIPE as u8, "Broken pipe"),
    (Errno::ENAMETOOLONG as u8, "File name too long"),
    (Errno::ENOSYS as u8, "Function not implemented"),
    (Errno::ELOOP as u8, "Too many levels of symbolic links"),
    (Errno::EBADMSG as u8, "Bad message"),
    (Errno::EOVERFLOW as u8, "Value too large for defined data type"),
    (Errno::ELIBBAD as u8, "Accessing a corrupted shared library"),
    (Errno::EUSERS as u8, "Too many users"),
    (Errno::EOPNOTSUPP as u8, "Operation not supported"),
    (Errno::ECONNABORTED as u8, "Software caused connection abort"),
    (Errno::ENOTCONN as u8, "Transport endpoint is not connected"),
    (Errno::ETIMEDOUT as u8, "Connection timed out"),
    (Errno::ECONNREFUSED as u8, "Connection refused"),
    (Errno::EHOSTDOWN as u8, "Host is down"),
    (Errno::EHOSTUNREACH as u8, "No route to host"),
    (Errno::ESTALE as u8, "Stale file handle"),
    (Errno::EUCLEAN as u8, "Structure needs cleaning"),
    (Errno::EREMOTEIO as u8, "Remote I/O error"),
    (Errno::EDQUOT as u8, "Disk quota exceeded"),
    (Errno::ENOKEY as u8, "Required key not available"),
    (Errno::EKEYREJECTED as u8, "Key was rejected by service"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::shown;

    #[test]
    fn the_words_are_those_of_the_c_library() {
        for (number, words) in REASONS {
            let theirs = std::io::Error::from_raw_os_error(i32::from(*number)).to_string();
            assert_eq!(theirs, format!("{words} (os error {number})"));
            assert_eq!(shown(&Errno::from_raw(i32::from(*number))), words.as_bytes());
        }
    }

    #[test]
    fn what_has_no_words_has_a_number() {
        assert_eq!(shown(&Errno::ENOTUNIQ), format!("errno {}", Errno::ENOTUNIQ as i32).as_bytes());
    }
}
