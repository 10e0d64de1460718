//! Writing to standard error without blocking, and to standard output.
//!
//! `O_NONBLOCK` belongs to the open file description, which the command shares. So what
//! standard error *is* decides how a message is written:
//!
//! | it is | the way |
//! |---|---|
//! | a regular file | `write`: no reader can block it. (XFS and Btrfs refuse nearly every write that must not wait) |
//! | a socket | `send` with MSG_DONTWAIT |
//! | a terminal | a description of sexton's own, with `O_NONBLOCK` |
//! | a pipe, anything else | `pwritev2` with RWF_NOWAIT (pipes know it from Linux 6.5 on), or else a description of sexton's own, or else `write` where `poll` sees room for a line |

use std::ffi::{CStr, c_int, c_long};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::unistd::{dup2_stderr, isatty, write};

use super::fd::{STDERR, STDOUT, is_terminal_of_session, open};
use super::path::PathBuffer;
use super::time::{monotonic_time, sleep_ms};
use crate::units::SECOND;

/// How long a message may wait for its reader.
#[derive(Clone, Copy)]
pub enum Timeout {
    /// Not at all.
    None,
    /// A second.
    OneSecond,
}

/// How much of a line was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// All of it.
    Whole,
    /// Its start. Terminals and streams of sockets take what they have room for.
    Part,
    /// Nothing.
    Nothing,
}

/// What standard error is, as far as that decides how it is written to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    RegularFile,
    Socket,
    Terminal,
    /// A pipe, a device that is no terminal, or what cannot be asked.
    Other,
}

impl Kind {
    /// None where standard error is closed.
    fn of_stderr() -> Option<Self> {
        let status = match fstat(STDERR) {
            Ok(status) => status,
            Err(Errno::EBADF) => return None,
            Err(_) => return Some(Self::Other),
        };
        Some(match SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => Self::RegularFile,
            SFlag::S_IFSOCK => Self::Socket,
            SFlag::S_IFCHR if isatty(STDERR) == Ok(true) => Self::Terminal,
            _ => Self::Other,
        })
    }
}

/// Writes a line of at most `PIPE_BUF` bytes to standard error, as far as that can be done
/// without blocking.
///
/// A broken pipe is not written to if `poll` sees it. A SIGPIPE that is raised all the same
/// is pending to sexton, which knows that it raised it itself.
pub fn write_unless_it_blocks(line: &[u8], timeout: Timeout) -> Written {
    let Some(kind) = Kind::of_stderr() else { return Written::Nothing };
    let deadline = match timeout {
        Timeout::None => None,
        Timeout::OneSecond => Some(monotonic_time().saturating_add(SECOND)),
    };
    let mut rest = line;
    loop {
        let time_left = deadline.map_or(0, |deadline| deadline.saturating_sub(monotonic_time()));
        match write_some(kind, rest, time_left / (SECOND / 1000), deadline.is_some()) {
            Ok(count @ 1..) => rest = rest.get(count..).unwrap_or_default(),
            Err(Errno::EAGAIN) if time_left > 0 => sleep_ms(1),
            _ => break,
        }
        if rest.is_empty() {
            return Written::Whole;
        }
    }
    if rest.len() < line.len() { Written::Part } else { Written::Nothing }
}

/// Writes some of the bytes; fails with EAGAIN where there is no room for any within this
/// time.
fn write_some(kind: Kind, bytes: &[u8], milliseconds: u64, is_last: bool) -> Result<usize, Errno> {
    if kind == Kind::RegularFile {
        return write(STDERR, bytes);
    }
    let has_room = poll_stderr(milliseconds)?;
    match kind {
        Kind::Socket => send_nowait(bytes),
        // Its own description already, once the command has started.
        Kind::Terminal if is_nonblocking(STDERR) => write(STDERR, bytes),
        Kind::Terminal => Err(Errno::EOPNOTSUPP),
        Kind::RegularFile | Kind::Other => write_nowait(bytes),
    }
    .or_else(|errno| match errno {
        Errno::EAGAIN | Errno::EPIPE => Err(errno),
        // Not known for this kind or to this kernel, or refused by a seccomp filter, with
        // whatever errno.
        _ => write(open_own(kind)?, bytes),
    })
    .or_else(|errno| match (errno, kind) {
        (Errno::EAGAIN | Errno::EPIPE, _) => Err(errno),
        // For a pipe, room is room for `PIPE_BUF` bytes. Only if another process fills it
        // right now does this block.
        (_, Kind::Other | Kind::Socket) if has_room => write(STDERR, bytes),
        // For a terminal, room is room for one. This is for the last message of a process
        // that gives up, and of which nothing else is expected.
        (_, Kind::Terminal) if has_room && is_last => write(STDERR, bytes.get(..1).unwrap_or_default()),
        _ => Err(errno),
    })
}

/// Whether standard error has room within this time; false where that cannot be known. Fails
/// with EAGAIN where it has none, and with EPIPE where what is written would reach nobody: a
/// pipe without a reader, a terminal that was hung up.
fn poll_stderr(milliseconds: u64) -> Result<bool, Errno> {
    let mut descriptors = [PollFd::new(STDERR, PollFlags::POLLOUT)];
    match poll(&mut descriptors, PollTimeout::from(milliseconds.min(1000) as u16)) {
        Ok(0) => return Err(Errno::EAGAIN),
        Ok(_) => {}
        Err(_) => return Ok(false),
    }
    let [descriptor] = descriptors;
    if descriptor.revents() == Some(PollFlags::POLLOUT) { Ok(true) } else { Err(Errno::EPIPE) }
}

/// `pwritev2(2)` with RWF_NOWAIT, at the file's own offset. The offset is given in two
/// halves, of which -1 twice is -1 on every architecture.
fn write_nowait(bytes: &[u8]) -> Result<usize, Errno> {
    let piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let minus_one: c_long = -1;
    // SAFETY: the kernel only reads the bytes of the one piece.
    let written = unsafe {
        libc::syscall(
            libc::SYS_pwritev2,
            STDERR.as_raw_fd(),
            &raw const piece,
            1 as c_long,
            minus_one,
            minus_one,
            libc::RWF_NOWAIT,
        )
    };
    Errno::result(written).map(|count| count as usize)
}

fn send_nowait(bytes: &[u8]) -> Result<usize, Errno> {
    const FLAGS: c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel only reads the bytes.
    let sent = unsafe { libc::send(STDERR.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), FLAGS) };
    Errno::result(sent).map(|count| count as usize)
}

fn is_nonblocking(descriptor: BorrowedFd) -> bool {
    fcntl(descriptor, FcntlArg::F_GETFL)
        .is_ok_and(|flags| OFlag::from_bits_truncate(flags).contains(OFlag::O_NONBLOCK))
}

// --- A description of sexton's own -------------------------------------------------

/// Opens what standard error is once more, so that `O_NONBLOCK` is sexton's alone.
///
/// /proc may be missing or another PID namespace's; a terminal is then looked for where it
/// usually is. It may belong to another user, after `su` say: `/dev/tty` opens it all the
/// same, if it controls the session.
fn open_own(kind: Kind) -> Result<OwnedFd, Errno> {
    let status = fstat(STDERR)?;
    let opened = open_same(c"/proc/self/fd/2", &status);
    if kind != Kind::Terminal || opened.is_ok() {
        return opened;
    }
    // Both shifts are those of makedev(3), as `libc::major` has them.
    let (major, minor) = (libc::major(status.st_rdev), libc::minor(status.st_rdev));
    let mut path = PathBuffer::<32>::default();
    let number = major.wrapping_sub(FIRST_PTS_MAJOR).wrapping_mul(256).wrapping_add(minor);
    let terminal = path.format(format_args!("/dev/pts/{number}")).unwrap_or_default();
    open_same(terminal, &status)
        .or_else(|_| open_same(c"/dev/console", &status))
        .or_else(|errno| if is_terminal_of_session(STDERR) { open(c"/dev/tty", OWN, 0) } else { Err(errno) })
}

/// Of pseudo-terminals, numbered on over eight majors.
const FIRST_PTS_MAJOR: u32 = 136;

const OWN: OFlag = OFlag::O_WRONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

/// Opens a path if it leads to the very file of which this is the status.
fn open_same(path: &CStr, status: &FileStat) -> Result<OwnedFd, Errno> {
    let opened = open(path, OWN, 0)?;
    let found = fstat(&opened)?;
    let same = (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino);
    if same { Ok(opened) } else { Err(Errno::ENOENT) }
}

/// A description of sexton's own of the terminal that standard error is, to be made while
/// sexton's session still has that terminal.
pub struct OwnTerminal(OwnedFd);

impl OwnTerminal {
    /// Opens it. None where standard error is no terminal, or one that cannot be opened.
    pub fn open() -> Option<Self> {
        if isatty(STDERR) != Ok(true) {
            return None;
        }
        open_own(Kind::Terminal).ok().map(Self)
    }

    /// Makes it this process's standard error. The command keeps the one that it shares with
    /// others.
    pub fn replace_stderr(self) {
        let _ = dup2_stderr(self.0);
    }
}

// --- Standard output ---------------------------------------------------------------

/// Writes all bytes to standard output, and waits if need be, though another process may
/// have made it non-blocking.
pub fn write_to_stdout(mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(STDOUT, bytes) {
            Ok(0) => return Err(Errno::EIO),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EAGAIN) => {
                match poll(&mut [PollFd::new(STDOUT, PollFlags::POLLOUT)], PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
