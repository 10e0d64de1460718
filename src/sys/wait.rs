//! How a child ended, and the exit code that says so.

#![forbid(unsafe_code)]

use std::ffi::c_int;

use nix::errno::Errno;

use crate::log::{Line, Show};
use crate::sys::signal::Signal;

/// A wait status as the kernel gives it (`wait(2)`): an integer with questions.
///
/// A conversion to an enum could fail, and would do so after the child is gone:
/// `nix::sys::wait` answers EINVAL for one killed by a real-time signal, and
/// whoever waits for that child then waits for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status(c_int);

impl Status {
    /// That it exited with 0.
    pub const SUCCESS: Self = Self(0);

    /// Takes what `wait4(2)` stored.
    pub fn from_raw(raw: c_int) -> Self {
        Self(raw)
    }

    /// What it exited with, if it exited.
    pub fn exit_status(self) -> Option<u8> {
        libc::WIFEXITED(self.0).then(|| libc::WEXITSTATUS(self.0) as u8)
    }

    /// The signal that killed it, if one did.
    pub fn term_signal(self) -> Option<Signal> {
        if libc::WIFSIGNALED(self.0) { Signal::new(libc::WTERMSIG(self.0)) } else { None }
    }

    /// The signal that stopped it, if it has not ended but stopped.
    pub fn stop_signal(self) -> Option<Signal> {
        if libc::WIFSTOPPED(self.0) { Signal::new(libc::WSTOPSIG(self.0)) } else { None }
    }

    /// The exit code that tells it to a shell: its own, or 128+N for signal N
    /// (POSIX's shell, 2.8.2, asks for more than 128; everyone takes this). With
    /// 64 signals it ends at 192.
    pub fn exit_code(self) -> u8 {
        match self.term_signal() {
            Some(signal) => 128 + signal.number() as u8,
            None => self.exit_status().unwrap_or(FAILED),
        }
    }
}

impl Show for Status {
    fn show(&self, line: &mut Line) {
        match self.term_signal() {
            Some(signal) => line.add("killed by {}", &[&signal]),
            None => line.add("exited with {}", &[&u32::from(self.exit_code())]),
        }
    }
}

/// The exit code for a failure of sexton's own and for wrong use of it.
pub const FAILED: u8 = 125;

/// The exit code for a command that `execve(2)` refused: 127 where there is no
/// such file, 126 where there is one (POSIX's shell, 2.8.2).
pub fn not_executed(reason: Errno) -> u8 {
    match reason {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG => 127,
        _ => 126,
    }
}

/// A set of exit codes.
#[derive(Default)]
pub struct ExitCodes([u8; 32]);

impl ExitCodes {
    /// Adds a code.
    pub fn insert(&mut self, code: u8) {
        if let Some(eight) = self.0.get_mut(usize::from(code / 8)) {
            *eight |= 1 << (code % 8);
        }
    }

    /// Whether a code is in it.
    pub fn contains(&self, code: u8) -> bool {
        self.0.get(usize::from(code / 8)).is_some_and(|eight| eight >> (code % 8) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::shown;

    #[test]
    fn every_exit_status_and_signal() {
        for code in 0..=255 {
            let status = Status::from_raw(c_int::from(code) << 8);
            assert_eq!((status.exit_status(), status.term_signal()), (Some(code), None));
            assert_eq!(status.exit_code(), code);
        }
        for number in 1..=64 {
            for core_dumped in [0, 0x80] {
                let status = Status::from_raw(number | core_dumped);
                assert_eq!((status.exit_status(), status.term_signal()), (None, Signal::new(number)));
                assert_eq!(c_int::from(status.exit_code()), 128 + number);
            }
        }
    }

    #[test]
    fn a_stop_is_no_end() {
        for signal in [Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU] {
            let status = Status::from_raw(signal.number() << 8 | 0x7f);
            assert_eq!(status.stop_signal(), Some(signal));
            assert_eq!((status.exit_status(), status.term_signal()), (None, None));
        }
        assert_eq!(Status::from_raw(0).stop_signal(), None);
        assert_eq!(Status::from_raw(20).stop_signal(), None);
    }

    #[test]
    fn statuses_print_their_reason() {
        assert_eq!(shown(&Status::from_raw(3 << 8)), b"exited with 3");
        assert_eq!(shown(&Status::from_raw(11 | 0x80)), b"killed by SIGSEGV");
        assert_eq!(shown(&Status::from_raw(37)), b"killed by SIGRTMIN+3");
    }

    #[test]
    fn a_set_of_codes_holds_each_by_itself() {
        for code in 0..=255 {
            let mut set = ExitCodes::default();
            set.insert(code);
            for other in 0..=255 {
                assert_eq!(set.contains(other), other == code);
            }
        }
    }

    #[test]
    fn found_and_not_found() {
        assert_eq!(not_executed(Errno::ENOENT), 127);
        assert_eq!(not_executed(Errno::ENOTDIR), 127);
        assert_eq!(not_executed(Errno::EACCES), 126);
        assert_eq!(not_executed(Errno::ENOEXEC), 126);
        assert_eq!(not_executed(Errno::E2BIG), 126);
    }
}
