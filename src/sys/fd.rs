//! Descriptors, files, and the controlling terminal.

use std::ffi::{CStr, c_int, c_long, c_uint};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{Pid, read, tcgetpgrp};

use super::process::{OwnProcess, descriptor_limit};

// --- The standard descriptors ----------------------------------------------------

pub(super) const STDOUT: BorrowedFd<'static> = standard(libc::STDOUT_FILENO);
pub(super) const STDERR: BorrowedFd<'static> = standard(libc::STDERR_FILENO);

const fn standard(number: c_int) -> BorrowedFd<'static> {
    // SAFETY: sexton never closes 0, 1 and 2. It may have been started without them; then
    // the calls that use them fail with EBADF, which all callers handle.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Closes every descriptor but 0, 1 and 2.
///
/// Before Linux 5.9, and under a seccomp filter that does not know the call, those that
/// /proc lists are closed. Without it they are closed by their numbers up to the limit, which
/// is bounded: some engines set it to a billion.
pub fn close_all_but_standard(process: &OwnProcess) {
    // gVisor takes no greater number as the last.
    const HIGHEST: c_uint = c_int::MAX as c_uint;
    // SAFETY: no code but sexton's holds descriptors, and sexton holds none above 2 here.
    if unsafe { libc::syscall(libc::SYS_close_range, FIRST_OTHER, HIGHEST, 0 as c_uint) } != 0
        && close_listed(process).is_err()
    {
        close_up_to_limit(process);
    }
}

/// The first number that is not one of a standard descriptor.
const FIRST_OTHER: c_int = libc::STDERR_FILENO + 1;

/// Not inlined, as its buffer would stay on the stack for as long as the command runs.
#[inline(never)]
fn close_listed(_: &OwnProcess) -> Result<(), Errno> {
    let directory = open(c"/proc/self/fd", OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)?;
    let own = directory.as_raw_fd();
    for_each_entry(directory.as_fd(), &mut [0; 1024], &mut |name| {
        let number = str::from_utf8(name).ok().and_then(|name| name.parse().ok());
        if let Some(number) = number.filter(|number| *number >= FIRST_OTHER && *number != own) {
            // SAFETY: as for all of them.
            unsafe { libc::close(number) };
        }
    })
}

fn close_up_to_limit(_: &OwnProcess) {
    const MOST: u64 = 1 << 20;
    let limit = descriptor_limit().unwrap_or(MOST).min(MOST);
    for number in FIRST_OTHER..limit as c_int {
        // SAFETY: as for all of them.
        unsafe { libc::close(number) };
    }
}

// --- Files -----------------------------------------------------------------------

/// Opens a file (`open(2)`); one that is made has these permissions, less the umask.
pub fn open(path: &CStr, flags: OFlag, permissions: u32) -> Result<OwnedFd, Errno> {
    nix::fcntl::open(path, flags | OFlag::O_CLOEXEC, Mode::from_bits_truncate(permissions))
}

/// Reads the start of a file, as much as fits; None where it cannot be read.
pub fn read_prefix<'a>(path: &CStr, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    try_to_read_prefix(path, buffer).ok()
}

/// The same, with the reason where it cannot be read.
pub fn try_to_read_prefix<'a>(path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let file = open(path, OFlag::O_RDONLY, 0)?;
    let length = read(file, buffer)?;
    Ok(buffer.get(..length).unwrap_or_default())
}

/// Calls `f` with the name of every entry of a directory. The buffer is the caller's, as it
/// knows how many entries to expect.
pub fn for_each_entry(
    directory: BorrowedFd,
    buffer: &mut [u8],
    f: &mut dyn FnMut(&[u8]),
) -> Result<(), Errno> {
    loop {
        let length = read_directory(directory, buffer)?;
        if length == 0 {
            return Ok(());
        }
        let mut entries = buffer.get(..length).unwrap_or_default();
        while let Some((name, rest)) = split_entry(entries) {
            f(name);
            entries = rest;
        }
    }
}

/// Reads entries of a directory into a buffer (`getdents64(2)`), as many as fit, and
/// returns how many bytes they fill: 0 at the end. A C library's `readdir` allocates.
fn read_directory(directory: BorrowedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes no more than the buffer's length.
    let length = unsafe {
        libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
    };
    Errno::result(length).map(|length| length as usize)
}

/// Splits the first entry off what [`read_directory`] read: its name, and what follows it. An
/// entry is a `linux_dirent64` of `getdents(2)`: inode and offset of 8 bytes each, the entry's
/// length in 2, a type in 1, and the name up to a zero.
fn split_entry(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u16::from_ne_bytes(entries.get(16..18)?.try_into().ok()?);
    let (entry, rest) = entries.split_at_checked(usize::from(length))?;
    let name = CStr::from_bytes_until_nul(entry.get(19..)?).ok()?;
    Some((name.to_bytes(), rest))
}

/// Takes ownership of the descriptor that a system call has made.
///
/// # Safety
///
/// `made` must be what a call returned that makes descriptors, and be used for nothing
/// else.
pub(super) unsafe fn new_descriptor(made: c_long) -> Result<OwnedFd, Errno> {
    let descriptor = Errno::result(made as c_int)?;
    // SAFETY: the kernel has just made it, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Whether a standard descriptor is a pipe.
pub fn is_pipe(number: c_int) -> bool {
    let mode = fstat(standard(number)).map_or(0, |stat| stat.st_mode);
    mode & libc::S_IFMT == libc::S_IFIFO
}

// --- The controlling terminal ------------------------------------------------------

/// Gives the controlling terminal up. For a session's leader: all of the session loses
/// it, and the foreground group gets HUP and CONT (`tty_ioctl(4)`, TIOCNOTTY).
pub fn give_up_terminal(terminal: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: this request has no argument.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) }).map(drop)
}

/// Makes it the controlling terminal of the session that the caller leads, and the
/// caller's group the foreground one (`tty_ioctl(4)`, TIOCSCTTY).
pub fn take_terminal(terminal: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: this request's argument is a number: 0, not to steal it.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// A duplicate of the first standard descriptor that is the controlling terminal of this
/// session.
///
/// gVisor does not know TIOCGSID for a terminal that comes from outside of its sandbox. But
/// there, as on Linux, a process sees a foreground group in its own terminal alone. (A 0 may
/// be that of a pseudo-terminal's other side.)
pub fn standard_descriptor_that_controls(session: Pid) -> Option<OwnedFd> {
    for number in libc::STDIN_FILENO..=libc::STDERR_FILENO {
        // SAFETY: has no memory effect.
        let controls = match unsafe { libc::tcgetsid(number) } {
            -1 => tcgetpgrp(standard(number)).is_ok_and(|group| group.as_raw() > 0),
            leader => leader == session.as_raw(),
        };
        if controls {
            let made = fcntl(standard(number), FcntlArg::F_DUPFD_CLOEXEC(3)).ok()?;
            // SAFETY: that call makes one.
            return unsafe { new_descriptor(c_long::from(made)) }.ok();
        }
    }
    None
}

/// Whether a descriptor is this session's controlling terminal.
pub(super) fn is_terminal_of_session(descriptor: BorrowedFd) -> bool {
    // SAFETY: has no memory effect. For any other terminal the call fails (ENOTTY).
    unsafe { libc::tcgetsid(descriptor.as_raw_fd()) != -1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_entry_makes_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = split_entry(&bytes);
        }
    }
}
