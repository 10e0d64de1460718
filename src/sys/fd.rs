//! Descriptors, files, and the controlling terminal.

use std::ffi::{CStr, c_int, c_long, c_uint};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{Pid, read, write};

use super::process::{OwnProcess, descriptor_limit};

// --- The standard descriptors ----------------------------------------------------

const STDOUT: BorrowedFd<'static> = standard(libc::STDOUT_FILENO);
const STDERR: BorrowedFd<'static> = standard(libc::STDERR_FILENO);

const fn standard(number: c_int) -> BorrowedFd<'static> {
    // SAFETY: sexton never closes 0, 1 and 2. It may have been started without them; then
    // the calls that use them fail with EBADF, which all callers heed.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// How long a message may wait for its reader.
#[derive(Clone, Copy)]
pub enum Timeout {
    /// Not at all.
    None,
    /// A second.
    OneSecond,
}

/// Writes a line to standard error, if that can be done without blocking. Returns
/// whether it was.
///
/// A broken pipe is not written to: the SIGPIPE that follows would be blocked, taken, and
/// be one more signal to distinguish from the command's.
pub fn write_unless_it_blocks(line: &[u8], timeout: Timeout) -> bool {
    let timeout = match timeout {
        Timeout::None => PollTimeout::ZERO,
        Timeout::OneSecond => PollTimeout::from(1000_u16),
    };
    let mut descriptors = [PollFd::new(STDERR, PollFlags::POLLOUT)];
    let ready = poll(&mut descriptors, timeout).is_ok();
    let [descriptor] = descriptors;
    if !ready || descriptor.revents() != Some(PollFlags::POLLOUT) {
        return false;
    }
    // The command, or any process that holds the same pipe, may fill it right now. This
    // flag makes the kernel refuse rather than wait, for this write alone; where it does
    // not know the flag (a terminal, an old kernel), poll's word is what there is.
    match write_nowait(STDERR, line) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => write(STDERR, line).is_ok(),
        written => written.is_ok(),
    }
}

/// `pwritev2(2)` with RWF_NOWAIT, at the file's own offset. The offset is given in two
/// halves, of which -1 twice is -1 on every architecture.
fn write_nowait(descriptor: BorrowedFd, bytes: &[u8]) -> Result<(), Errno> {
    let piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let minus_one: c_long = -1;
    // SAFETY: the kernel only reads the bytes of the one piece.
    let written = unsafe {
        libc::syscall(
            libc::SYS_pwritev2,
            descriptor.as_raw_fd(),
            &raw const piece,
            1 as c_long,
            minus_one,
            minus_one,
            libc::RWF_NOWAIT,
        )
    };
    Errno::result(written).map(drop)
}

/// Writes all bytes to standard output, and waits if need be.
pub fn write_to_stdout(mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(STDOUT, bytes) {
            Ok(0) => return Err(Errno::EIO),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Closes every descriptor but 0, 1 and 2.
///
/// Before Linux 5.9, and under a seccomp filter that does not know the call, they are
/// closed one by one up to the limit, which is bounded: some engines set it to a billion.
pub fn close_all_but_standard(_: &OwnProcess) {
    const FIRST: c_uint = 3;
    const HIGHEST_TRIED: u64 = 1 << 20;
    // SAFETY: no code but sexton's holds descriptors, and sexton holds none above 2 here.
    unsafe {
        if libc::syscall(libc::SYS_close_range, FIRST, c_uint::MAX, 0 as c_uint) == 0 {
            return;
        }
        let limit = descriptor_limit().unwrap_or(HIGHEST_TRIED);
        for descriptor in FIRST..limit.min(HIGHEST_TRIED) as c_uint {
            libc::close(descriptor as c_int);
        }
    }
}

// --- Files -----------------------------------------------------------------------

/// Opens a file (`open(2)`); one that is made has these permissions, less the umask.
pub fn open(path: &CStr, flags: OFlag, permissions: u32) -> Result<OwnedFd, Errno> {
    nix::fcntl::open(path, flags | OFlag::O_CLOEXEC, Mode::from_bits_truncate(permissions))
}

/// The start of a file, as much as fits.
pub fn read_prefix<'a>(path: &CStr, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let file = open(path, OFlag::O_RDONLY, 0).ok()?;
    let length = read(file, buffer).ok()?;
    buffer.get(..length)
}

/// Reads entries of a directory into a buffer (`getdents64(2)`), as many as fit, and
/// returns how many bytes they fill: 0 at the end. A C library's `readdir` allocates.
pub fn read_directory(directory: BorrowedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes no more than the buffer's length.
    let length = unsafe {
        libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
    };
    Errno::result(length).map(|length| length as usize)
}

/// The descriptor that a system call has made, or its failure.
///
/// # Safety
///
/// `made` must be what a call returned that makes descriptors, and be used for nothing
/// else.
pub(super) unsafe fn new_descriptor(made: c_long) -> Result<OwnedFd, Errno> {
    let descriptor = Errno::result(made as c_int)?;
    // SAFETY: the kernel just made it, for us.
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
pub fn standard_descriptor_that_controls(session: Pid) -> Option<OwnedFd> {
    for number in libc::STDIN_FILENO..=libc::STDERR_FILENO {
        // SAFETY: has no memory effect.
        if unsafe { libc::tcgetsid(number) } == session.as_raw() {
            let made = fcntl(standard(number), FcntlArg::F_DUPFD_CLOEXEC(3)).ok()?;
            // SAFETY: that call makes one.
            return unsafe { new_descriptor(c_long::from(made)) }.ok();
        }
    }
    None
}
