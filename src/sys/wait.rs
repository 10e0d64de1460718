//! Wait statuses, and the calls that collect them.

use std::ffi::{c_int, c_long};
use std::fmt::{self, Display, Formatter};
use std::mem::MaybeUninit;
use std::ptr;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::process::EXIT_FAILED;
use super::signal::Signal;
use super::time::nanos;
use crate::units::Nanos;

/// A wait status as the kernel gives it (`wait(2)`): an integer with questions.
///
/// A conversion to an enum could fail, and would do so after the child is gone:
/// `nix::sys::wait` returns EINVAL for one that a real-time signal killed, and a program
/// that waits for that child then waits for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitStatus(c_int);

impl WaitStatus {
    /// That of a process which exited with 0.
    pub const SUCCESS: Self = Self(0);

    /// Takes what `wait4(2)` stored.
    pub fn from_raw(raw: c_int) -> Self {
        Self(raw)
    }

    /// The code that it exited with, if it exited.
    pub fn exit_status(self) -> Option<u8> {
        libc::WIFEXITED(self.0).then(|| libc::WEXITSTATUS(self.0) as u8)
    }

    /// The signal that killed it, if one did.
    pub fn term_signal(self) -> Option<Signal> {
        if libc::WIFSIGNALED(self.0) { Signal::new(libc::WTERMSIG(self.0)) } else { None }
    }

    /// Whether it left a core dump.
    pub fn core_dumped(self) -> bool {
        libc::WIFSIGNALED(self.0) && libc::WCOREDUMP(self.0)
    }

    /// The signal that stopped it, if it was stopped.
    pub fn stop_signal(self) -> Option<Signal> {
        if libc::WIFSTOPPED(self.0) { Signal::new(libc::WSTOPSIG(self.0)) } else { None }
    }

    /// The exit code that reports it to a shell: its own, or 128+N for signal N (POSIX's
    /// shell, 2.8.2, demands more than 128; shells use this). With 64 signals the highest
    /// is 192.
    pub fn exit_code(self) -> u8 {
        match self.term_signal() {
            Some(signal) => 128 + signal.number() as u8,
            None => self.exit_status().unwrap_or(EXIT_FAILED),
        }
    }
}

impl Display for WaitStatus {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match (self.term_signal(), self.core_dumped()) {
            (Some(signal), false) => write!(f, "killed by {signal}"),
            (Some(signal), true) => write!(f, "killed by {signal} (core dumped)"),
            (None, _) => write!(f, "exited with {}", self.exit_code()),
        }
    }
}

/// Which changes of a child's state to report.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// Its end, if it has ended already.
    Exit,
    /// The same, and that it has stopped (WUNTRACED).
    ExitOrStop,
    /// Its end; sleeps until there is one.
    NextExit,
}

impl WaitFor {
    fn options(self) -> c_int {
        match self {
            Self::Exit => libc::WNOHANG,
            Self::ExitOrStop => libc::WNOHANG | libc::WUNTRACED,
            Self::NextExit => 0,
        }
    }
}

/// Takes one child's change of state; one that has ended is reaped. `__WALL` includes
/// children that were cloned without SIGCHLD, before this process became sexton. None
/// where nothing has changed; ECHILD where there are no children.
///
/// A child that made this process its tracer (PTRACE_TRACEME) is reported when it stops,
/// whatever was asked for.
pub fn reap(what: WaitFor) -> Result<Option<(Pid, WaitStatus)>, Errno> {
    wait4(ANY_CHILD, what.options(), ptr::null_mut())
}

/// The same, of this child or, without one, any; with the resources that it used.
pub fn reap_with_usage(child: Option<Pid>, what: WaitFor) -> Result<Option<(Pid, WaitStatus, Usage)>, Errno> {
    let mut usage = KernelUsage { user: [0; 2], system: [0; 2], max_rss: 0, rest: [0; 13] };
    let which = child.map_or(ANY_CHILD, Pid::as_raw);
    let reaped = wait4(which, what.options(), &raw mut usage)?;
    Ok(reaped.map(|(pid, status)| (pid, status, usage.into())))
}

/// Waits until this child ends, and reaps it.
pub fn reap_child(child: Pid) -> Result<WaitStatus, Errno> {
    wait4(child.as_raw(), 0, ptr::null_mut())?.map(|(_, status)| status).ok_or(Errno::ECHILD)
}

/// Waits until this child stops, or ends and is reaped.
pub fn wait_for_stop_or_exit(child: Pid) -> Result<WaitStatus, Errno> {
    wait4(child.as_raw(), libc::WUNTRACED, ptr::null_mut())?.map(|(_, status)| status).ok_or(Errno::ECHILD)
}

/// Resources that a child used, with those of its own children that it waited for
/// (`getrusage(2)`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Usage {
    /// CPU time, of the program and of the kernel for it.
    pub cpu: Nanos,
    /// The largest resident set, in KiB.
    pub max_rss: u64,
}

const ANY_CHILD: libc::pid_t = -1;

/// What the kernel calls `rusage`. The C library's may have wider fields where `long` has
/// 32 bits.
#[repr(C)]
struct KernelUsage {
    user: [c_long; 2],
    system: [c_long; 2],
    max_rss: c_long,
    rest: [c_long; 13],
}

impl From<KernelUsage> for Usage {
    fn from(usage: KernelUsage) -> Self {
        let time = |[seconds, microseconds]: [c_long; 2]| {
            nanos(seconds as u64, (microseconds as u64).saturating_mul(1000))
        };
        Self { cpu: time(usage.user).saturating_add(time(usage.system)), max_rss: usage.max_rss as u64 }
    }
}

/// All signals are blocked, so EINTR does not happen.
fn wait4(
    child: libc::pid_t,
    options: c_int,
    usage: *mut KernelUsage,
) -> Result<Option<(Pid, WaitStatus)>, Errno> {
    let mut status: c_int = 0;
    let options = options | libc::__WALL;
    // SAFETY: `status` is there to be written, and so is `usage`, or it is null.
    let pid = unsafe { libc::syscall(libc::SYS_wait4, child, &raw mut status, options, usage) };
    match Errno::result(pid)? {
        0 => Ok(None),
        pid => Ok(Some((Pid::from_raw(pid as libc::pid_t), WaitStatus(status)))),
    }
}

/// Finds a child that has exited, or a tracee that has stopped, and leaves it as it is
/// (`waitid(2)`, WNOWAIT). None where there is no such child; ECHILD where there are no
/// children. Sleeps until there is one, if that is what to wait for.
pub fn peek(what: WaitFor) -> Result<Option<Pid>, Errno> {
    let wait = what.options() & libc::WNOHANG;
    Ok(waitid(libc::WEXITED | libc::WNOWAIT | wait)?.map(|(pid, _)| pid))
}

/// Takes a child's stop. None where no child has stopped since the last time. ECHILD means
/// the same: to this call, a child that has ended is none.
pub fn take_stopped() -> Result<Option<(Pid, WaitStatus)>, Errno> {
    let stopped = match waitid(libc::WSTOPPED | libc::WNOHANG) {
        // Nor is there one to wait for where all of them are zombies by now.
        Err(Errno::ECHILD) => None,
        stopped => stopped?,
    };
    Ok(stopped.map(|(pid, signal)| (pid, WaitStatus(signal << 8 | 0x7f))))
}

fn waitid(options: c_int) -> Result<Option<(Pid, c_int)>, Errno> {
    let call = |options| {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: `info` is there to be written. Zeroes are valid in it, and stay where no
        // child was found.
        unsafe {
            Errno::result(libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options))?;
            let info = info.assume_init();
            Ok((info.si_pid(), info.si_status()))
        }
    };
    let (pid, status) = match call(options | libc::__WALL) {
        // Before Linux 4.7 it does not know __WALL.
        Err(Errno::EINVAL) => call(options)?,
        found => found?,
    };
    Ok((pid > 0).then_some((Pid::from_raw(pid), status)))
}

/// Detaches from a stopped child that made this process its tracer, and delivers the signal
/// that stopped it (`ptrace(2)`, PTRACE_DETACH). Fails with ESRCH if it is not a tracee.
///
/// SIGTRAP is not delivered: a tracee gets it because it has executed a program.
pub fn detach_tracee(child: Pid, signal: Signal) -> Result<(), Errno> {
    let number = if signal.number() == libc::SIGTRAP { 0 } else { signal.number() };
    // SAFETY: this request reads and writes no memory.
    let done = unsafe {
        libc::ptrace(libc::PTRACE_DETACH, child.as_raw(), ptr::null_mut::<libc::c_void>(), number as usize)
    };
    Errno::result(done).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_status_and_signal() {
        for code in 0..=255 {
            let status = WaitStatus::from_raw(c_int::from(code) << 8);
            assert_eq!((status.exit_status(), status.term_signal()), (Some(code), None));
            assert_eq!((status.exit_code(), status.core_dumped()), (code, false));
        }
        for number in 1..=64 {
            for core_dumped in [0, 0x80] {
                let status = WaitStatus::from_raw(number | core_dumped);
                assert_eq!((status.exit_status(), status.term_signal()), (None, Signal::new(number)));
                assert_eq!(c_int::from(status.exit_code()), 128 + number);
                assert_eq!(status.core_dumped(), core_dumped > 0);
            }
        }
    }

    #[test]
    fn a_stop_is_not_an_end() {
        for signal in [Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU] {
            let status = WaitStatus::from_raw(signal.number() << 8 | 0x7f);
            assert_eq!(status.stop_signal(), Some(signal));
            assert_eq!((status.exit_status(), status.term_signal()), (None, None));
        }
        assert_eq!(WaitStatus::from_raw(0).stop_signal(), None);
        assert_eq!(WaitStatus::from_raw(20).stop_signal(), None);
    }

    /// It has not stopped, and is still there to be reaped.
    #[test]
    fn a_zombie_does_not_hide_that_there_are_children() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        assert!(peek(WaitFor::NextExit).unwrap().is_some());
        assert_eq!(take_stopped(), Ok(None));
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn statuses_print_their_reason() {
        assert_eq!(WaitStatus::from_raw(3 << 8).to_string(), "exited with 3");
        assert_eq!(WaitStatus::from_raw(11 | 0x80).to_string(), "killed by SIGSEGV (core dumped)");
        assert_eq!(WaitStatus::from_raw(37).to_string(), "killed by SIGRTMIN+3");
    }
}
