//! Signals: numbers from 1 to 64, sets of them, waiting for one, sending one.
//!
//! A signal is no enum here: the real-time ones have no names of their own, and types
//! that leave them out (`nix::sys::signal::Signal`) lose what they cannot express.

use std::ffi::{c_int, c_long, c_uint};
use std::fmt::{self, Display, Formatter};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::unistd::Pid;
use signal_hook::low_level::signal_name;

use super::fd::new_descriptor;
use crate::units::{Nanos, SECOND, parse_u32};

/// The first real-time signal that programs use. The kernel has 32 and 33 as well, which
/// C libraries keep to themselves (`signal(7)`). What they then call SIGRTMIN is 34 with
/// glibc and 35 with musl, and containers mean 34.
const RTMIN: u8 = 34;
/// The last signal; Linux has 64 on every architecture but MIPS.
const RTMAX: u8 = 64;

/// A signal: a number from 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signal(u8);

/// Constants for signals that sexton knows by name.
macro_rules! constants {
    ($($name:ident = $number:path),* $(,)?) => {
        impl Signal {
            $(
                #[doc = concat!("SIG", stringify!($name), ".")]
                pub const $name: Self = Self($number as u8);
            )*
        }
    };
}

constants! {
    HUP = libc::SIGHUP,
    INT = libc::SIGINT,
    QUIT = libc::SIGQUIT,
    ABRT = libc::SIGABRT,
    KILL = libc::SIGKILL,
    PIPE = libc::SIGPIPE,
    TERM = libc::SIGTERM,
    CHLD = libc::SIGCHLD,
    CONT = libc::SIGCONT,
    STOP = libc::SIGSTOP,
    TSTP = libc::SIGTSTP,
    TTIN = libc::SIGTTIN,
    TTOU = libc::SIGTTOU,
    XFSZ = libc::SIGXFSZ,
    WINCH = libc::SIGWINCH,
    IO = libc::SIGIO,
}

/// Second names of signals.
const ALIASES: &[(&str, Signal)] = &[("IOT", Signal::ABRT), ("CLD", Signal::CHLD), ("POLL", Signal::IO)];

impl Signal {
    /// The signal with this number, if there is one.
    pub fn new(number: c_int) -> Option<Self> {
        match u8::try_from(number) {
            Ok(number @ 1..=RTMAX) => Some(Self(number)),
            _ => None,
        }
    }

    /// Its number, 1 to 64.
    pub fn number(self) -> c_int {
        c_int::from(self.0)
    }

    /// Reads a signal as users write it: a number (`15`), a name with or without `SIG`
    /// in any case (`TERM`, `sigterm`), or one relative to the real-time range
    /// (`RTMIN+3`, `RTMAX-1`).
    pub fn parse(word: &[u8]) -> Option<Self> {
        if let Some(number) = small_number(word) {
            return Self::new(c_int::from(number));
        }
        let name = strip_prefix_ignoring_case(word, b"SIG").unwrap_or(word);
        if let Some(offset) = strip_prefix_ignoring_case(name, b"RTMIN") {
            return Self::real_time(RTMIN, offset, b"+");
        }
        if let Some(offset) = strip_prefix_ignoring_case(name, b"RTMAX") {
            return Self::real_time(RTMAX, offset, b"-");
        }
        let is_it = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
        let alias = ALIASES.iter().find(|(alias, _)| is_it(alias));
        let named = |signal: &Self| signal.name().is_some_and(is_it);
        alias.map(|(_, signal)| *signal).or_else(|| (1..RTMIN).map(Self).find(named))
    }

    /// RTMIN plus, or RTMAX minus, a number; within the range.
    fn real_time(end: u8, offset: &[u8], direction: &[u8]) -> Option<Self> {
        let distance = if offset.is_empty() { 0 } else { small_number(offset.strip_prefix(direction)?)? };
        let number = if end == RTMIN { end.checked_add(distance)? } else { end.checked_sub(distance)? };
        (RTMIN..=RTMAX).contains(&number).then_some(Self(number))
    }

    /// Its name without `SIG`, if it has one. signal-hook has the names that every Unix
    /// has; two are Linux's alone.
    fn name(self) -> Option<&'static str> {
        match self.number() {
            libc::SIGSTKFLT => Some("STKFLT"),
            libc::SIGPWR => Some("PWR"),
            number => signal_name(number)?.strip_prefix("SIG"),
        }
    }
}

/// The value of decimal digits alone, up to 255.
fn small_number(digits: &[u8]) -> Option<u8> {
    u8::try_from(parse_u32(digits)?).ok()
}

fn strip_prefix_ignoring_case<'a>(word: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = word.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Prints the name that [`Signal::parse`] reads: `SIGTERM`, `SIGRTMIN+3`, and the bare
/// number for 32 and 33, which have none. Real-time signals are counted from the nearer
/// end, as `kill -l` does.
impl Display for Signal {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match (self.0, self.name()) {
            (RTMIN, _) => f.write_str("SIGRTMIN"),
            (RTMAX, _) => f.write_str("SIGRTMAX"),
            (number @ RTMIN..=49, _) => write!(f, "SIGRTMIN+{}", number - RTMIN),
            (number @ 50..RTMAX, _) => write!(f, "SIGRTMAX-{}", RTMAX - number),
            (_, Some(name)) => write!(f, "SIG{name}"),
            (number, None) => write!(f, "{number}"),
        }
    }
}

// --- Sets, the mask, dispositions ----------------------------------------------

/// A set of signals in the kernel's form: bit N-1 is signal N. It can hold all 64, those
/// that C libraries hide included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// All 64.
    pub const ALL: Self = Self(!0);

    /// The set with a signal added.
    pub fn with(self, signal: Signal) -> Self {
        Self(self.0 | 1 << (signal.number() - 1))
    }

    /// Whether a signal is in it.
    pub fn contains(self, signal: Signal) -> bool {
        self.0 >> (signal.number() - 1) & 1 == 1
    }

    /// The signals in it, by rising number.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        (1..=RTMAX).map(Signal).filter(move |signal| self.contains(*signal))
    }

    /// Its size, which the kernel checks.
    const SIZE: usize = mem::size_of::<u64>();
}

/// Blocks all 64 signals and returns the mask that was in force. A C library's
/// `sigprocmask` would leave out those that it keeps to itself.
pub fn block_all_signals() -> Result<SignalSet, Errno> {
    change_mask(libc::SIG_SETMASK, SignalSet::ALL)
}

/// Puts a mask in force.
pub fn set_signal_mask(mask: SignalSet) {
    let _ = change_mask(libc::SIG_SETMASK, mask);
}

/// Unblocks these signals, and no others.
pub fn unblock(signals: SignalSet) {
    let _ = change_mask(libc::SIG_UNBLOCK, signals);
}

fn change_mask(how: c_int, set: SignalSet) -> Result<SignalSet, Errno> {
    let mut old = SignalSet::EMPTY;
    // SAFETY: both point to sets of the size that is given.
    let done = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const set, &raw mut old, SignalSet::SIZE)
    };
    Errno::result(done).map(|_| old)
}

/// Sets the disposition of SIGCHLD, and returns whether it was ignored.
///
/// The children of a process that ignores it leave no wait statuses to collect (`wait(2)`,
/// NOTES).
pub fn ignore_sigchld(ignore: bool) -> bool {
    let disposition = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    set_disposition(Signal::CHLD, disposition) == libc::SIG_IGN
}

/// Sets what a signal does, SIG_DFL or SIG_IGN, and returns what it did (`sigaction(2)`).
/// C libraries refuse the two signals that they keep to themselves, and nix's `sigaction`
/// takes no real-time signal.
pub(super) fn set_disposition(signal: Signal, disposition: libc::sighandler_t) -> libc::sighandler_t {
    // What the kernel calls `sigaction` begins with the disposition, on every architecture
    // but MIPS. Its flags, mask and restorer follow in an order of each architecture's; all
    // are 0 here.
    let new = [disposition, 0, 0, 0, 0, 0, 0, 0];
    let mut old = [libc::SIG_DFL; 8];
    // SAFETY: there is more room than the kernel reads and writes; no handler is installed.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal.number(), &raw const new, &raw mut old, SignalSet::SIZE);
    }
    let [old, ..] = old;
    old
}

/// Lets a stop signal that is pending stop this process, until it is continued. The kernel
/// does not stop it for any but STOP where its process group is an orphaned one, nor the
/// init of a PID namespace.
pub fn stop_by_pending(signal: Signal) {
    set_disposition(signal, libc::SIG_DFL);
    unblock(SignalSet::EMPTY.with(signal));
    let _ = block_all_signals();
}

// --- Waiting for one -----------------------------------------------------------

/// A signal that was waited for, and where it comes from (`siginfo_t` in
/// `sigaction(2)`).
#[derive(Clone, Copy)]
pub struct SignalInfo {
    /// Which one.
    pub signal: Signal,
    code: c_int,
    pid: Pid,
}

impl SignalInfo {
    #[cfg(test)]
    pub(crate) fn new(signal: Signal, code: c_int, pid: Pid) -> Self {
        Self { signal, code, pid }
    }

    /// Whether a process sent it, as opposed to the kernel.
    pub fn is_from_user(self) -> bool {
        self.code <= 0
    }

    /// The process that sent it with `kill(2)`, or whose own call raised it (SIGPIPE). PID
    /// 0 stands for one outside of our PID namespace.
    pub fn sender(self) -> Option<Pid> {
        (self.code == libc::SI_USER).then_some(self.pid)
    }
}

/// Sleeps until a signal arrives, and takes it; for at most `timeout`, if one is given,
/// and then fails with EAGAIN. Fails with EINTR when a debugger attaches or the process
/// was stopped and continued (`signal(7)`), however much time is left.
pub fn wait_for_signal(timeout: Option<Nanos>) -> Result<SignalInfo, Errno> {
    sigtimedwait(SignalSet::ALL, timeout)
}

/// Takes a signal of `set` that is pending.
pub fn take_pending_signal(set: SignalSet) -> Option<SignalInfo> {
    sigtimedwait(set, Some(0)).ok()
}

/// What the kernel calls `__kernel_old_timespec`: on 64-bit architectures the only kind,
/// on others the one that `SYS_rt_sigtimedwait` takes, whatever a C library makes of
/// `timespec`.
#[repr(C)]
struct KernelTimespec {
    seconds: c_long,
    nanoseconds: c_long,
}

fn sigtimedwait(set: SignalSet, timeout: Option<Nanos>) -> Result<SignalInfo, Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // If the time does not fit, the sleep is shorter; the caller's deadline has not passed
    // then.
    let timeout = timeout.map(|timeout| KernelTimespec {
        seconds: c_long::try_from(timeout / SECOND).unwrap_or(c_long::MAX),
        nanoseconds: (timeout % SECOND) as c_long,
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: set, siginfo and timespec are of the sizes that the kernel expects, and
    // live through the call.
    let number = unsafe {
        libc::syscall(libc::SYS_rt_sigtimedwait, &raw const set, info.as_mut_ptr(), timeout, SignalSet::SIZE)
    };
    let number = Errno::result(number)?;
    // SAFETY: it was zeroed, and the kernel wrote over that; if `si_code` is none of those
    // with a PID, other plain integers are read in its place.
    let (code, pid) = unsafe {
        let info = info.assume_init();
        (info.si_code, Pid::from_raw(info.si_pid()))
    };
    let signal = Signal::new(number as c_int).ok_or(Errno::EINVAL)?;
    Ok(SignalInfo { signal, code, pid })
}

// --- Sending one ---------------------------------------------------------------

/// Sends a signal to one process. There is none whose number is not positive; to `kill(2)`
/// these numbers mean many.
pub fn kill(process: Pid, signal: Signal) -> Result<(), Errno> {
    if process.as_raw() > 0 { kill_raw(process.as_raw(), signal.number()) } else { Err(Errno::ESRCH) }
}

/// Sends a signal to all of a process group.
pub fn kill_group(group: Pid, signal: Signal) -> Result<(), Errno> {
    kill_raw(-group.as_raw(), signal.number())
}

/// Sends a signal to every process of the PID namespace but PID 1. For PID 1 alone: for
/// any other process, `kill(-1)` means all that it may signal.
pub fn kill_everything(signal: Signal) -> Result<(), Errno> {
    kill_raw(-1, signal.number())
}

/// Sends a signal to our own process group, this process included.
pub fn kill_own_group(signal: Signal) -> Result<(), Errno> {
    kill_raw(0, signal.number())
}

/// Whether a process group has members. PID 1's always has: to `kill(2)`, -1 does not
/// mean that group, nor -0 one from outside of the PID namespace.
pub fn group_exists(group: Pid) -> bool {
    group.as_raw() <= 1 || kill_raw(-group.as_raw(), 0) != Err(Errno::ESRCH)
}

/// `nix::sys::signal::kill` takes no real-time signal.
fn kill_raw(target: libc::pid_t, signal: c_int) -> Result<(), Errno> {
    // SAFETY: has no memory effect.
    Errno::result(unsafe { libc::kill(target, signal) }).map(drop)
}

/// A reference to a process that never refers to another one, even if the PID is used again
/// (`pidfd_open(2)`, Linux 5.3).
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens it.
    pub fn open(process: Pid) -> Result<Self, Errno> {
        // SAFETY: has no memory effect.
        let made = unsafe { libc::syscall(libc::SYS_pidfd_open, process.as_raw(), 0) };
        // SAFETY: that call makes one.
        unsafe { new_descriptor(made) }.map(Self)
    }

    /// Sends the process a signal.
    pub fn kill(&self, signal: Signal) -> Result<(), Errno> {
        // SAFETY: no siginfo is given, so no memory is read.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal.number(),
                ptr::null::<libc::siginfo_t>(),
                0 as c_uint,
            )
        };
        Errno::result(sent).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(word: &str) -> Option<c_int> {
        Signal::parse(word.as_bytes()).map(Signal::number)
    }

    #[test]
    fn names_numbers_and_case() {
        for word in ["15", "TERM", "term", "SIGTERM", "SigTerm", "015"] {
            assert_eq!(parse(word), Some(15), "{word}");
        }
        for (word, number) in
            [("HUP", 1), ("IOT", 6), ("CLD", 17), ("STKFLT", 16), ("POLL", 29), ("PWR", 30), ("SYS", 31)]
        {
            assert_eq!(parse(word), Some(number), "{word}");
        }
    }

    #[test]
    fn real_time_signals_count_from_34_and_64() {
        for (word, number) in [
            ("RTMIN", 34),
            ("rtmin+3", 37),
            ("SIGRTMIN+30", 64),
            ("RTMAX", 64),
            ("RTMAX-1", 63),
            ("RTMAX-30", 34),
            ("32", 32),
        ] {
            assert_eq!(parse(word), Some(number), "{word}");
        }
    }

    #[test]
    fn nonsense_is_no_signal() {
        for word in [
            "",
            "0",
            "65",
            "-1",
            "+1",
            " 15",
            "15 ",
            "4294967311",
            "SIG",
            "SIGSIGTERM",
            "SIG15",
            "TERMS",
            "RTMIN-1",
            "RTMIN+",
            "RTMIN+31",
            "RTMIN3",
            "RTMAX+1",
            "RTMAX-31",
            "RTMIN+4294967296",
            "RT",
            "NULL",
            "EXIT",
        ] {
            assert_eq!(parse(word), None, "{word:?}");
        }
    }

    #[test]
    fn every_signal_reads_back_as_it_is_printed() {
        for number in 1..=64 {
            let signal = Signal::new(number).unwrap();
            assert_eq!(Signal::parse(signal.to_string().as_bytes()), Some(signal));
        }
        assert_eq!(Signal(37).to_string(), "SIGRTMIN+3");
        assert_eq!(Signal(62).to_string(), "SIGRTMAX-2");
        assert_eq!(Signal::new(0), None);
        assert_eq!(Signal::new(65), None);
        assert_eq!(Signal::new(-1), None);
    }

    proptest! {
        #[test]
        fn no_word_makes_it_panic(word in any::<Vec<u8>>()) {
            let _ = Signal::parse(&word);
        }

        #[test]
        fn what_it_accepts_it_prints_and_accepts_again(word in "(SIG)?([A-Z]{2,6}|RTM(IN|AX)[-+][0-9]{1,2}|[0-9]{1,2})") {
            if let Some(signal) = Signal::parse(word.as_bytes()) {
                prop_assert_eq!(Signal::parse(signal.to_string().as_bytes()), Some(signal));
            }
        }
    }
}
