//! A container's termination message (`-T`): one line on how the command failed, in the
//! file where Kubernetes looks for it.

#![forbid(unsafe_code)]

use std::fmt::{self, Arguments, Display, Formatter};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag, fstat, lstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};
use nix::unistd::{Pid, write};

use super::cgroup::{Cgroup, Figures, LimitsReached};
use crate::log::{Escaped, Line, Log, Reason};
use crate::sys::fd::open;
use crate::sys::path::LongPath;
use crate::sys::signal::Signal;
use crate::sys::wait::WaitStatus;
use crate::units::{Nanos, Seconds};

/// The file, and what the cgroup had counted at the start.
pub struct TerminationMessage<'a> {
    path: &'a [u8],
    before: Figures,
}

impl<'a> TerminationMessage<'a> {
    /// A message for the file at this absolute path.
    ///
    /// Not inlined, as neither is the next: the buffers would be in a frame that stays for as
    /// long as the command runs.
    #[inline(never)]
    pub fn new(path: &'a [u8]) -> Self {
        Self { path, before: Cgroup::own(&mut [0; _]).counters() }
    }

    /// What the cgroup has used, and which of its limits were reached.
    #[inline(never)]
    pub fn figures(&self) -> Figures {
        Cgroup::own(&mut [0; _]).figures().since(&self.before)
    }

    /// Writes the message, unless something is in the file already: the command's own
    /// message has more to report. Where there is no file, one is made. A failure is logged.
    pub fn write(&self, message: Arguments, log: &Log) {
        if let Err(refusal) = self.try_to_write(message) {
            log.error(format_args!("{}: {refusal}", Escaped(self.path)));
        }
    }

    /// Any process may have put something there that sexton, which is root perhaps, must not
    /// write to. So it is looked at before it is opened, as opening a device may have effects,
    /// and again when it is open, as it may have been replaced.
    fn try_to_write(&self, message: Arguments) -> Result<(), Refusal> {
        const FLAGS: OFlag = OFlag::O_WRONLY
            .union(OFlag::O_APPEND)
            .union(OFlag::O_NOFOLLOW)
            .union(OFlag::O_NONBLOCK)
            .union(OFlag::O_NOCTTY);
        let mut path = LongPath::default();
        let path = path.join(&[self.path]).ok_or(Errno::ENAMETOOLONG)?;
        let file = match lstat(path) {
            Err(Errno::ENOENT) => open(path, FLAGS | OFlag::O_CREAT | OFlag::O_EXCL, 0o644)?,
            found => {
                Refusal::of(&found?)?;
                open(path, FLAGS, 0)?
            }
        };
        let found = fstat(&file)?;
        Refusal::of(&found)?;
        // Where the kernel does not say what the file system is, it is an ordinary one.
        let system = fstatfs(&file).map(|system| system.filesystem_type());
        if matches!(system, Ok(PROC_SUPER_MAGIC | SYSFS_MAGIC)) {
            return Err(Refusal::KernelsOwn);
        }
        if found.st_size == 0 {
            write(&file, Line::of(message).as_bytes())?;
        }
        Ok(())
    }
}

/// Why the message was not written.
#[derive(PartialEq, Eq, Debug)]
enum Refusal {
    Refused(Errno),
    /// The path leads to another file, which may be anybody's.
    Link,
    /// The file has another name as well: the same.
    OtherNames,
    /// A pipe, a device, a socket.
    NoRegularFile,
    /// It is below /proc or /sys.
    KernelsOwn,
}

impl Refusal {
    /// Whether a file of this status may not be written to, and why.
    fn of(status: &FileStat) -> Result<(), Self> {
        match SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG if status.st_nlink > 1 => Err(Self::OtherNames),
            SFlag::S_IFREG => Ok(()),
            SFlag::S_IFLNK => Err(Self::Link),
            SFlag::S_IFDIR => Err(Self::Refused(Errno::EISDIR)),
            _ => Err(Self::NoRegularFile),
        }
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno)
    }
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::Refused(errno) => Reason(*errno).fmt(f),
            Self::Link => f.write_str("not written to: a symbolic link"),
            Self::OtherNames => f.write_str("not written to: a file with another name (hard link)"),
            Self::NoRegularFile => f.write_str("not written to: not a regular file"),
            Self::KernelsOwn => f.write_str("not written to: a file of the kernel's own"),
        }
    }
}

/// How the command ended, and what came before.
pub struct Ending<'a> {
    /// The command's name.
    pub name: &'a [u8],
    /// Its PID.
    pub pid: Pid,
    /// How it ended.
    pub status: WaitStatus,
    /// The time limit, where it was still running when that ran out.
    pub timed_out_after: Option<Nanos>,
    /// The last signal that it was sent, and how long before that.
    pub signal: Option<(Signal, Nanos)>,
    /// What the cgroup used, where that is to be reported.
    pub figures: Figures,
}

impl Display for Ending<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let was = if self.status.term_signal().is_some() { "was " } else { "" };
        write!(f, "{} (pid {}) ", Escaped(self.name), self.pid)?;
        if let Some(limit) = self.timed_out_after {
            write!(f, "timed out after {} and ", Seconds(limit))?;
        }
        write!(f, "{was}{}", self.status)?;
        if let Some((signal, ago)) = self.signal {
            write!(f, " {} after {signal}", Seconds(ago))?;
        }
        write!(f, "{}", LimitsReached(&self.figures))
    }
}

#[cfg(test)]
mod tests {
    use super::super::cgroup::Figure;
    use super::*;

    fn ending(status: i32, signal: Option<(Signal, Nanos)>, oom_kills: u64) -> String {
        ending_after(None, status, signal, oom_kills)
    }

    fn ending_after(
        timed_out_after: Option<Nanos>,
        status: i32,
        signal: Option<(Signal, Nanos)>,
        oom_kills: u64,
    ) -> String {
        Ending {
            name: b"celery",
            pid: Pid::from_raw(7),
            status: WaitStatus::from_raw(status),
            timed_out_after,
            signal,
            figures: Figures::example(&[(Figure::OomKills, oom_kills)]),
        }
        .to_string()
    }

    #[test]
    fn the_message_reports_what_is_known() {
        assert_eq!(ending(3 << 8, None, 0), "celery (pid 7) exited with 3");
        assert_eq!(
            ending(9, Some((Signal::TERM, 12_040_000_000)), 0),
            "celery (pid 7) was killed by SIGKILL 12.0 s after SIGTERM"
        );
        assert_eq!(
            ending(9, None, 2),
            "celery (pid 7) was killed by SIGKILL; 2 OOM kills in its cgroup since start"
        );
        assert_eq!(
            ending_after(Some(5_000_000_000), 0, Some((Signal::TERM, 100_000_000)), 0),
            "celery (pid 7) timed out after 5.0 s and exited with 0 0.1 s after SIGTERM"
        );
        assert_eq!(
            ending_after(Some(5_000_000_000), 9, Some((Signal::TERM, 2_000_000_000)), 0),
            "celery (pid 7) timed out after 5.0 s and was killed by SIGKILL 2.0 s after SIGTERM"
        );
    }
}
