//! A container's termination message (`-T`): one line on how the command failed, in the
//! file where Kubernetes looks for it.

#![forbid(unsafe_code)]

use std::fmt::{self, Arguments, Display, Formatter};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Pid, Whence, lseek, write};

use super::cgroup::{Cgroup, Figures, LimitsReached};
use crate::log::{Escaped, Line, Log, Reason};
use crate::sys::fd::open;
use crate::sys::path::LongPath;
use crate::sys::signal::Signal;
use crate::sys::time::Nanos;
use crate::sys::wait::WaitStatus;
use crate::units::Seconds;

/// The file, and what the cgroup had counted at the start.
pub struct TerminationMessage<'a> {
    path: &'a [u8],
    before: Figures,
}

impl<'a> TerminationMessage<'a> {
    /// To be written to this absolute path.
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
        if let Err(errno) = self.try_to_write(message) {
            log.error(format_args!("{}: {}", Escaped(self.path), Reason(errno)));
        }
    }

    /// The file may be anything, put there by any process: a pipe that has no reader does
    /// not block us, nor is a link followed to make a file.
    fn try_to_write(&self, message: Arguments) -> Result<(), Errno> {
        const FLAGS: OFlag =
            OFlag::O_WRONLY.union(OFlag::O_APPEND).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);
        let mut path = LongPath::default();
        let path = path.join(&[self.path]).ok_or(Errno::ENAMETOOLONG)?;
        let file = match open(path, FLAGS, 0) {
            Err(Errno::ENOENT) => open(path, FLAGS | OFlag::O_CREAT | OFlag::O_EXCL, 0o644)?,
            opened => opened?,
        };
        // Where there is no end to go to, a pipe or a terminal, nothing can be in it.
        if lseek(&file, 0, Whence::SeekEnd).is_ok_and(|length| length > 0) {
            return Ok(());
        }
        write(&file, Line::of(message).as_bytes()).map(drop)
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
    /// The last signal that it was sent, and how long before that.
    pub signal: Option<(Signal, Nanos)>,
    /// What the cgroup used, where that is to be reported.
    pub figures: Figures,
}

impl Display for Ending<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let was = if self.status.term_signal().is_some() { "was " } else { "" };
        write!(f, "{} (pid {}) {was}{}", Escaped(self.name), self.pid, self.status)?;
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
        Ending {
            name: b"celery",
            pid: Pid::from_raw(7),
            status: WaitStatus::from_raw(status),
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
    }
}
