//! /proc, read without allocating.
//!
//! It may be absent, belong to another PID namespace, or hide processes (`proc(5)`,
//! hidepid). Then less is found, and nothing fails.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Pid;

use crate::log::Escaped;
use crate::sys::fd::{open, read_directory, read_prefix};
use crate::sys::path::PathBuffer;
use crate::sys::time::{Nanos, nanos_per_tick, time_since_boot};
use crate::units::{parse_u32, parse_u64, split_once, value_of};

/// Whether /proc shows the PID namespace in which this process has this PID: in another
/// one's, the numbers mean other processes.
pub fn shows_own_namespace(own_pid: Pid) -> bool {
    let mut buffer = [0; 32];
    let stat = read_prefix(c"/proc/self/stat", &mut buffer);
    stat.and_then(|stat| parse_u32(split_once(stat, b' ').0)) == u32::try_from(own_pid.as_raw()).ok()
}

/// Whether there is a /proc at all, of whatever namespace.
pub fn is_mounted() -> bool {
    read_prefix(c"/proc/loadavg", &mut [0; 1]).is_some()
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
    /// When it started, on the clock of [`time_since_boot`].
    pub started: Nanos,
}

impl<'a> Stat<'a> {
    /// Room for all that is looked at.
    pub fn buffer() -> [u8; 512] {
        [0; 512]
    }

    /// Reads it into a buffer; what does not fit is taken as 0.
    pub fn read(process: Pid, buffer: &'a mut [u8]) -> Option<Self> {
        let mut path = ProcPath::default();
        let path = path.format(format_args!("/proc/{process}/stat"))?;
        Self::parse(read_prefix(path, buffer)?)
    }

    /// The second field is the name in parentheses, which may hold parentheses and spaces,
    /// too: the others count from the last one.
    pub(super) fn parse(stat: &'a [u8]) -> Option<Self> {
        let open = stat.iter().position(|byte| *byte == b'(')?;
        let close = stat.iter().rposition(|byte| *byte == b')')?;
        let mut fields = stat.get(close..)?.split(|byte| *byte == b' ');
        let state = *fields.nth(1)?.first()?;
        let parent = i32::try_from(parse_u32(fields.next()?)?).ok()?;
        // The 20th field of all, and the 22nd.
        let threads = fields.nth(15).and_then(parse_u32).unwrap_or(0);
        let ticks = fields.nth(1).and_then(parse_u64).unwrap_or(0);
        Some(Self {
            name: stat.get(open + 1..close)?,
            state,
            parent: Pid::from_raw(parent),
            threads,
            started: ticks.saturating_mul(nanos_per_tick()),
        })
    }

    /// Whether it is no zombie: one whose other threads still run is none.
    pub fn is_alive(&self) -> bool {
        self.state != b'Z' || self.threads > 1
    }

    /// How long ago it started.
    pub fn age(&self) -> Nanos {
        time_since_boot().saturating_sub(self.started)
    }
}

/// A process as it is printed: by PID and, where it is known, name.
#[derive(Clone, Copy)]
pub struct Process<'a>(pub Pid, pub Option<Stat<'a>>);

impl Display for Process<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match &self.1 {
            Some(stat) => write!(f, "{} ({})", self.0, Escaped(stat.name)),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Long enough for `/proc/PID/status`.
type ProcPath = PathBuffer<32>;

/// The parent of a process.
pub fn parent(process: Pid) -> Option<Pid> {
    Some(Stat::read(process, &mut Stat::buffer())?.parent)
}

/// The tracer of a process, a debugger say, if it has one.
pub fn tracer(process: Pid) -> Option<Pid> {
    let mut path = ProcPath::default();
    let mut status = [0; 1024];
    let status = read_prefix(path.format(format_args!("/proc/{process}/status"))?, &mut status)?;
    let tracer = value_of(status, b"TracerPid:\t")?;
    let pid = i32::try_from(parse_u32(tracer)?).ok()?;
    (pid > 0).then_some(Pid::from_raw(pid))
}

/// Calls `f` with every process, in the order of their PIDs.
pub fn for_each_process(f: &mut dyn FnMut(Pid)) -> Result<(), Errno> {
    let directory = open(c"/proc", OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)?;
    let mut buffer = [0; 8192];
    loop {
        let length = read_directory(directory.as_fd(), &mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let mut entries = buffer.get(..length).unwrap_or_default();
        while let Some((name, rest)) = split_entry(entries) {
            if let Some(Ok(process)) = parse_u32(name).map(i32::try_from) {
                f(Pid::from_raw(process));
            }
            entries = rest;
        }
    }
}

/// Splits the first entry off: its name, and what follows it. An entry is a
/// `linux_dirent64` of `getdents(2)`: inode and offset of 8 bytes each, the entry's length
/// in 2, a type in 1, and the name up to a zero.
fn split_entry(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u16::from_ne_bytes(entries.get(16..18)?.try_into().ok()?);
    let (entry, rest) = entries.split_at_checked(usize::from(length))?;
    Some((split_once(entry.get(19..)?, 0).0, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_counted_from_the_last_parenthesis() {
        for name in ["sh", "a b", "a) S 1 (b", ")", "", "((", "x\ny"] {
            let stat = format!("42 ({name}) Z 17 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 250 9 9");
            let stat = Stat::parse(stat.as_bytes()).unwrap();
            assert_eq!(stat.name, name.as_bytes());
            assert_eq!((stat.state, stat.parent, stat.threads), (b'Z', Pid::from_raw(17), 3));
            assert_eq!(stat.started, 250 * nanos_per_tick());
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
    fn our_own_stat() {
        let mut buffer = Stat::buffer();
        let stat = Stat::read(Pid::this(), &mut buffer).unwrap();
        assert!(stat.threads >= 1 && stat.age() < 600_000_000_000);
        assert_eq!(tracer(Pid::this()), None);
    }

    #[test]
    fn our_own_parent_and_namespace() {
        assert_eq!(parent(Pid::this()), Some(Pid::parent()));
        assert!(is_mounted() && shows_own_namespace(Pid::this()));
        assert!(!shows_own_namespace(Pid::parent()));
        assert_eq!(parent(Pid::from_raw(i32::MAX)), None, "there is no such process");
    }

    #[test]
    fn every_process_is_listed_in_order() {
        let mut seen = Vec::new();
        for_each_process(&mut |process| seen.push(process)).unwrap();
        assert!(seen.contains(&Pid::this()));
        assert!(seen.is_sorted());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = Stat::parse(&bytes);
            let _ = split_entry(&bytes);
        }
    }
}
