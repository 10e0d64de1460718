//! /proc, read without allocating: who descends from whom.
//!
//! /proc may be absent, belong to another PID namespace, or hide processes
//! (`proc(5)`, hidepid). Then less is found, and nothing fails.

#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Pid;

use crate::log::{Line, Show, Word};
use crate::sys::path::Path;
use crate::sys::signal::Signal;
use crate::sys::{self, ProcessHandle};
use crate::text::{split, split_once, value_of};
use crate::units::{self, Decimal, Nanoseconds, decimal};

/// Sends signals to every descendant of `ancestor` that is `meant`, whatever process
/// group or session it escaped to, and to nobody else. ENOSYS where /proc cannot tell
/// who they are; EPERM where one refused it, after the others got it.
///
/// Each gets it once: /proc lists processes by rising PID, so that a child forked
/// meanwhile comes later in the same pass, or after its parent got the signal.
pub fn signal_descendants(
    ancestor: Pid,
    signals: &[Signal],
    meant: &dyn Fn(Pid) -> bool,
) -> Result<(), Errno> {
    if !is_ours(ancestor) {
        return Err(Errno::ENOSYS);
    }
    let mut outcome = Ok(());
    for_each_process(&mut |process, _| {
        if process != ancestor && meant(process) && descends(process, ancestor) {
            match signal_if_descendant(process, ancestor, signals) {
                Ok(()) | Err(Errno::ESRCH) => {}
                refused => outcome = refused,
            }
        }
    })?;
    outcome
}

/// Between looking at a process and signalling it, it may end and its PID go to a
/// stranger. With a handle taken first and a second look after that, the stranger
/// is seen to be one. Without handles (before Linux 5.3) the gap stays.
fn signal_if_descendant(process: Pid, ancestor: Pid, signals: &[Signal]) -> Result<(), Errno> {
    match ProcessHandle::open(process) {
        Ok(handle) if descends(process, ancestor) => {
            signals.iter().try_for_each(|signal| handle.kill(*signal))
        }
        Ok(_) => Err(Errno::ESRCH),
        Err(Errno::ENOSYS | Errno::EPERM) => {
            signals.iter().try_for_each(|signal| sys::kill(process, *signal))
        }
        Err(reason) => Err(reason),
    }
}

/// The newest process of our PID namespace, whether it still exists or not: the last
/// field of `/proc/loadavg` (`proc_loadavg(5)`). None where that is not to be had.
pub fn newest() -> Option<Pid> {
    let mut buffer = [0; LOADAVG];
    parse_newest(sys::read_start(c"/proc/loadavg", &mut buffer)?)
}

/// Room for the three loads, the counts of threads and the PID.
const LOADAVG: usize = 128;

fn parse_newest(loadavg: &[u8]) -> Option<Pid> {
    let last = split(loadavg.strip_suffix(b"\n")?, b' ').last()?;
    let pid = i32::try_from(decimal(last)?).ok()?;
    // Sandboxes that have no such number write a zero.
    (pid > 0).then_some(Pid::from_raw(pid))
}

/// Whether a process was born after `then` was the newest one.
pub fn is_newer(process: Pid, then: Pid) -> bool {
    newest().is_some_and(|now| is_between(process, then, now))
}

/// Whether a process was born when `first` had been the newest one, and before `last`
/// was followed by another. PIDs are given out in rising order, and from the lowest
/// again after the highest; who is older than that may have any.
pub fn is_between(process: Pid, first: Pid, last: Pid) -> bool {
    if first <= last { first < process && process <= last } else { first < process || process <= last }
}

/// Whether /proc shows our own PID namespace: in another one's, the numbers mean
/// other processes.
pub fn is_ours(own_pid: Pid) -> bool {
    let mut buffer = [0; SHORT_STAT];
    let stat = sys::read_start(c"/proc/self/stat", &mut buffer);
    stat.and_then(|stat| decimal(split_once(stat, b' ').0)) == u32::try_from(own_pid.as_raw()).ok()
}

/// Whether there is a /proc at all, of whatever namespace.
pub fn is_there() -> bool {
    sys::read_start(c"/proc/loadavg", &mut [0; LOADAVG]).is_some()
}

/// Whether a process that lives descends from `ancestor`. A zombie has nothing to hear.
fn descends(process: Pid, ancestor: Pid) -> bool {
    // Parents end while we climb, which hands their children to a reaper, in the
    // end to `ancestor`; a chain that broke is climbed again.
    for _ in 0..ATTEMPTS {
        let mut buffer = [0; STAT];
        let Some(stat) = Stat::read(process, &mut buffer).filter(Stat::is_alive) else { return false };
        let parent = stat.parent;
        let mut link = parent;
        loop {
            if link == ancestor {
                return true;
            }
            // PID 0 is outside of the namespace, or nobody.
            match self::parent(link) {
                Some(next) if next.as_raw() > 0 => link = next,
                _ => break,
            }
        }
        if self::parent(process) == Some(parent) && self::parent(parent).is_some() {
            return false;
        }
    }
    false
}

/// How often a broken chain of parents is climbed.
const ATTEMPTS: u8 = 8;

/// The parent of a process.
pub fn parent(process: Pid) -> Option<Pid> {
    Some(Stat::read(process, &mut [0; SHORT_STAT])?.parent)
}

/// What `/proc/PID/stat` says (`proc_pid_stat(5)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat<'a> {
    /// The program's name, at most 15 bytes of it (64 for a kernel thread); it may hold
    /// anything.
    pub name: &'a [u8],
    /// `Z` is a zombie, `T` stopped, `t` stopped by a tracer.
    pub state: u8,
    /// The parent; PID 0 where it is outside of the PID namespace.
    pub parent: Pid,
    /// How many threads it has, a main thread that has ended included.
    pub threads: u32,
    /// When it started, on the clock of [`sys::time_since_boot`].
    pub started: Nanoseconds,
}

/// Room for the start of it: PID, name, state and parent.
const SHORT_STAT: usize = 128;
/// Room for all that is looked at.
pub const STAT: usize = 512;

impl<'a> Stat<'a> {
    /// Reads it into a buffer; what does not fit is taken as 0.
    pub fn read(process: Pid, buffer: &'a mut [u8]) -> Option<Self> {
        let mut path = ProcPath::default();
        Self::parse(sys::read_start(proc_path(&mut path, process, b"/stat")?, buffer)?)
    }

    /// The second field is the name in parentheses, which may hold parentheses and
    /// spaces too: the others count from the last one.
    fn parse(stat: &'a [u8]) -> Option<Self> {
        let open = stat.iter().position(|byte| *byte == b'(')?;
        let close = stat.iter().rposition(|byte| *byte == b')')?;
        let mut fields = split(stat.get(close..)?, b' ');
        let state = *fields.nth(1)?.first()?;
        let parent = i32::try_from(decimal(fields.next()?)?).ok()?;
        // The 20th field of all, and the 22nd.
        let threads = fields.nth(15).and_then(decimal).unwrap_or(0);
        let ticks = fields.nth(1).and_then(units::decimal_64).unwrap_or(0);
        Some(Self {
            name: stat.get(open + 1..close)?,
            state,
            parent: Pid::from_raw(parent),
            threads,
            started: ticks.saturating_mul(sys::nanoseconds_per_tick()),
        })
    }

    /// Whether it is no zombie: one whose other threads run on is none.
    pub fn is_alive(&self) -> bool {
        self.state != b'Z' || self.threads > 1
    }

    /// How long ago it started.
    pub fn age(&self) -> Nanoseconds {
        sys::time_since_boot().saturating_sub(self.started)
    }
}

/// A process as it is told: by PID and, where it is known, name.
#[derive(Clone, Copy)]
pub struct Process<'a>(pub Pid, pub Option<Stat<'a>>);

impl Show for Process<'_> {
    fn show(&self, line: &mut Line) {
        self.0.show(line);
        if let Some(stat) = &self.1 {
            line.add(" ({})", &[&Word(stat.name)]);
        }
    }
}

/// Long enough for `/proc/PID/status`.
type ProcPath = Path<32>;

fn proc_path<'a>(path: &'a mut ProcPath, process: Pid, file: &[u8]) -> Option<&'a CStr> {
    let digits = Decimal::new(u64::from(process.as_raw().unsigned_abs()));
    path.join(&[b"/proc/", digits.as_bytes(), file])
}

/// Who traces a process, a debugger say, if somebody does.
pub fn tracer(process: Pid) -> Option<Pid> {
    let mut path = ProcPath::default();
    let mut status = [0; 1024];
    let status = sys::read_start(proc_path(&mut path, process, b"/status")?, &mut status)?;
    let tracer = value_of(status, b"TracerPid:\t")?;
    let pid = i32::try_from(decimal(tracer)?).ok()?;
    (pid > 0).then_some(Pid::from_raw(pid))
}

/// Calls `f` with every process that may be a zombie, in the order of their PIDs, and
/// returns how many processes there are.
///
/// Most run a program, which can be seen quicker than by reading their `stat`. That they
/// do not, kernel threads have in common with zombies; and it may be forbidden to look.
pub fn for_each_suspect(f: &mut dyn FnMut(Pid)) -> Result<u32, Errno> {
    let mut seen: u32 = 0;
    let mut may_trace = sys::may_trace();
    for_each_process(&mut |process, directory| {
        seen = seen.saturating_add(1);
        let alive = match may_trace.then(|| sys::has_memory(process)) {
            Some(Ok(alive)) => alive,
            refused => {
                may_trace &= refused.is_none();
                has_program(process, directory)
            }
        };
        if !alive {
            f(process);
        }
    })?;
    Ok(seen)
}

fn has_program(process: Pid, directory: BorrowedFd) -> bool {
    let digits = Decimal::new(u64::from(process.as_raw().unsigned_abs()));
    let mut path = ProcPath::default();
    path.join(&[digits.as_bytes(), b"/exe"]).is_some_and(|path| sys::is_link(directory, path))
}

/// Calls `f` with every process, in the order of their PIDs, and with /proc.
fn for_each_process(f: &mut dyn FnMut(Pid, BorrowedFd)) -> Result<(), Errno> {
    let directory = sys::open(c"/proc", OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)?;
    let mut buffer = [0; 8192];
    loop {
        let length = sys::read_directory(directory.as_fd(), &mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let mut entries = buffer.get(..length).unwrap_or_default();
        while let Some((name, rest)) = split_entry(entries) {
            if let Some(Ok(process)) = decimal(name).map(i32::try_from) {
                f(Pid::from_raw(process), directory.as_fd());
            }
            entries = rest;
        }
    }
}

/// Splits the first entry off: its name, and what follows it. An entry is a
/// `linux_dirent64` of `getdents(2)`: inode and offset of 8 bytes each, the
/// entry's length in 2, a type in 1, and the name up to a zero.
fn split_entry(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, low, high, ..] = *entries else { return None };
    let length = usize::from(u16::from_ne_bytes([low, high]));
    let (entry, rest) = entries.split_at_checked(length)?;
    Some((split_once(entry.get(19..)?, 0).0, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_counted_from_behind_the_last_parenthesis() {
        for name in ["sh", "a b", "a) S 1 (b", ")", "", "((", "x\ny"] {
            let stat = format!("42 ({name}) Z 17 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 250 9 9");
            let stat = Stat::parse(stat.as_bytes()).unwrap();
            assert_eq!(stat.name, name.as_bytes());
            assert_eq!((stat.state, stat.parent, stat.threads), (b'Z', Pid::from_raw(17), 3));
            assert_eq!(stat.started, 250 * sys::nanoseconds_per_tick());
        }
        let cut = Stat::parse(b"42 (sh) S 17 42").unwrap();
        assert_eq!((cut.parent, cut.threads, cut.started), (Pid::from_raw(17), 0, 0));
        assert!(cut.is_alive() && Stat { state: b'Z', threads: 2, ..cut }.is_alive());
        assert!(!Stat { state: b'Z', threads: 1, ..cut }.is_alive());
        for stat in
            ["", "42", "42 (sh)", "42 (sh) S", "42 (sh) S x 1", "42 )sh( S 1", "42 (sh) S 99999999999 1"]
        {
            assert_eq!(Stat::parse(stat.as_bytes()), None, "{stat:?}");
        }
    }

    #[test]
    fn what_is_said_of_ourselves() {
        let mut buffer = [0; STAT];
        let stat = Stat::read(Pid::this(), &mut buffer).unwrap();
        assert!(stat.threads >= 1 && stat.age() < 600_000_000_000);
        let mut suspects = Vec::new();
        let seen = for_each_suspect(&mut |process| suspects.push(process)).unwrap();
        assert!(!suspects.contains(&Pid::this()) && seen as usize > suspects.len());
        assert_eq!(tracer(Pid::this()), None);
    }

    #[test]
    fn the_newest_process_ends_the_line() {
        assert_eq!(parse_newest(b"0.00 0.01 0.05 1/123 4567\n"), Some(Pid::from_raw(4567)));
        for loadavg in ["", "\n", "0.00 0.01 0.05 1/123 0\n", "0.00 0.01 0.05 1/123 45", "1 x\n"] {
            assert_eq!(parse_newest(loadavg.as_bytes()), None, "{loadavg:?}");
        }
        assert!(newest().is_some());
    }

    #[test]
    fn newcomers_are_counted_in_a_ring() {
        let between = |process, first, last| {
            is_between(Pid::from_raw(process), Pid::from_raw(first), Pid::from_raw(last))
        };
        assert!(between(11, 10, 12) && between(12, 10, 12));
        assert!(!between(10, 10, 12) && !between(13, 10, 12) && !between(2, 10, 12));
        assert!(between(32000, 31000, 5) && between(5, 31000, 5));
        assert!(!between(31000, 31000, 5) && !between(6, 31000, 5));
        assert!(!between(10, 10, 10));
    }

    #[test]
    fn our_own_parent_and_ancestry() {
        assert_eq!(parent(Pid::this()), Some(Pid::parent()));
        assert!(is_ours(Pid::this()));
        assert!(!is_ours(Pid::parent()));
        assert!(descends(Pid::this(), Pid::parent()));
        assert!(!descends(Pid::parent(), Pid::this()));
        assert!(!descends(Pid::from_raw(i32::MAX), Pid::this()), "there is no such process");
    }

    #[test]
    fn every_process_is_listed_in_order() {
        let mut seen = Vec::new();
        for_each_process(&mut |process, _| seen.push(process)).unwrap();
        assert!(seen.contains(&Pid::this()));
        assert!(seen.is_sorted());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = Stat::parse(&bytes);
            let _ = parse_newest(&bytes);
            let _ = split_entry(&bytes);
        }
    }
}
