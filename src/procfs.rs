//! /proc, read without allocating: who descends from whom.
//!
//! /proc may be absent, belong to another PID namespace, or hide processes
//! (`proc(5)`, hidepid). Then less is found, and nothing fails.

#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use crate::number::{Decimal, decimal};
use crate::path::Path;
use crate::signal::Signal;
use crate::sys::{self, ProcessHandle};

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
    for_each_process(|process| {
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
    let last = loadavg.strip_suffix(b"\n")?.rsplit(|byte| *byte == b' ').next()?;
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
fn is_ours(own_pid: Pid) -> bool {
    let mut buffer = [0; STAT];
    let pid = sys::read_start(c"/proc/self/stat", &mut buffer)
        .and_then(|stat| stat.split(|byte| *byte == b' ').next());
    pid.and_then(decimal) == u32::try_from(own_pid.as_raw()).ok()
}

/// Whether a process descends from `ancestor`.
fn descends(process: Pid, ancestor: Pid) -> bool {
    // Parents end while we climb, which hands their children to a reaper, in the
    // end to `ancestor`; a chain that broke is climbed again.
    for _ in 0..ATTEMPTS {
        let Some(parent) = parent(process) else { return false };
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
    let digits = Decimal::new(u64::from(process.as_raw().unsigned_abs()));
    let mut path = Path::<32>::default();
    let mut buffer = [0; STAT];
    parse_parent(sys::read_start(path.join(&[b"/proc/", digits.as_bytes(), b"/stat"])?, &mut buffer)?)
}

/// Room for the start of a `/proc/PID/stat`: PID, name (at most 64 bytes with the
/// parentheses), state and parent.
const STAT: usize = 128;

/// The fourth field of `/proc/PID/stat`. The second is the name in parentheses,
/// which may hold anything, parentheses and spaces too: fields count from the
/// last one.
fn parse_parent(stat: &[u8]) -> Option<Pid> {
    let after_name = stat.rsplitn(2, |byte| *byte == b')').next()?;
    let parent = decimal(after_name.split(|byte| *byte == b' ').nth(2)?)?;
    Some(Pid::from_raw(i32::try_from(parent).ok()?))
}

/// Calls `f` with every process, in the order of their PIDs.
fn for_each_process(mut f: impl FnMut(Pid)) -> Result<(), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory: OwnedFd = open(c"/proc", flags, Mode::empty())?;
    let mut buffer = [0; 1024];
    loop {
        let length = sys::read_directory(directory.as_fd(), &mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let mut entries = buffer.get(..length).unwrap_or_default();
        while let Some((name, rest)) = split_entry(entries) {
            if let Some(Ok(process)) = decimal(name).map(i32::try_from) {
                f(Pid::from_raw(process));
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
    let name = CStr::from_bytes_until_nul(entry.get(19..)?).ok()?;
    Some((name.to_bytes(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_parent_stands_behind_the_last_parenthesis() {
        for name in ["sh", "a b", "a) S 1 (b", ")", "", "((", "x\ny"] {
            let stat = format!("42 ({name}) S 17 42 42 0 -1 4194560");
            assert_eq!(parse_parent(stat.as_bytes()), Some(Pid::from_raw(17)), "{name:?}");
        }
        for stat in ["", "42", "42 (sh)", "42 (sh) S", "42 (sh) S x 1", "42 (sh) S 99999999999 1"] {
            assert_eq!(parse_parent(stat.as_bytes()), None, "{stat:?}");
        }
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
        for_each_process(|process| seen.push(process)).unwrap();
        assert!(seen.contains(&Pid::this()));
        assert!(seen.is_sorted());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = parse_parent(&bytes);
            let _ = parse_newest(&bytes);
            let _ = split_entry(&bytes);
        }
    }
}
