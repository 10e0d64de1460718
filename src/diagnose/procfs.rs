//! /proc, read without allocating.
//!
//! It may be absent, belong to another PID namespace, or hide processes (`proc(5)`,
//! hidepid). Then less is found, and nothing fails.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Pid, read};

use crate::log::Escaped;
use crate::sys::fd::{for_each_entry, open, read_prefix, try_to_read_prefix};
use crate::sys::path::PathBuffer;
use crate::sys::time::{nanos_per_tick, time_since_boot};
use crate::units::{Nanos, parse_u32, parse_u64, split_once, value_of};

/// Whether /proc shows the PID namespace in which this process has this PID. In that of
/// another namespace, the numbers mean other processes.
pub fn shows_own_namespace(own_pid: Pid) -> bool {
    check_own_namespace(own_pid) == Ok(true)
}

/// The same, with the reason where /proc is there and cannot be read.
pub fn check_own_namespace(own_pid: Pid) -> Result<bool, Errno> {
    let mut buffer = [0; 32];
    match try_to_read_prefix(c"/proc/self/stat", &mut buffer) {
        Ok(stat) => {
            let pid = parse_u32(split_once(stat, b' ').0);
            Ok(pid.is_some() && pid == u32::try_from(own_pid.as_raw()).ok())
        }
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Distinguishes a file that is not there, or not for us, from a want of descriptors or
/// memory, which says nothing of the file.
fn want(read: Result<&[u8], Errno>) -> Result<Option<&[u8]>, Errno> {
    match read {
        Err(errno @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) => Err(errno),
        read => Ok(read.ok()),
    }
}

/// Whether there is a /proc at all, of whatever namespace.
pub fn is_mounted() -> bool {
    read_prefix(c"/proc/loadavg", &mut [0; 1]).is_some()
}

/// What `/proc/PID/stat` reports (`proc_pid_stat(5)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// The program's name.
    pub name: ProgramName,
    /// `Z` is a zombie, `T` stopped, `t` stopped by a tracer.
    pub state: u8,
    /// The parent; PID 0 where it is outside of the PID namespace.
    pub parent: Pid,
    /// Whether it is a thread of the kernel's. On a machine, PID 2 is one whose parent is 0.
    pub is_kernel_thread: bool,
    /// How many threads it has, a main thread that has ended included.
    pub threads: u32,
    /// When it started, on the clock of [`time_since_boot`].
    pub started: Nanos,
}

impl Stat {
    /// Reads it. None where there is no such process, or none that can be looked at.
    pub fn read(process: Pid) -> Option<Self> {
        Self::look(process).ok()?
    }

    /// The same, with the reason where sexton lacks what it takes to look.
    pub fn look(process: Pid) -> Result<Option<Self>, Errno> {
        let mut path = ProcPath::default();
        let Some(path) = path.format(format_args!("/proc/{process}/stat")) else { return Ok(None) };
        // Room for all that is looked at; what does not fit is taken as 0.
        Ok(want(try_to_read_prefix(path, &mut [0; 512]))?.and_then(Self::parse))
    }

    /// The second field is the name in parentheses, which may hold parentheses and spaces,
    /// too: the others count from the last one.
    pub(super) fn parse(stat: &[u8]) -> Option<Self> {
        let open = stat.iter().position(|byte| *byte == b'(')?;
        let close = stat.iter().rposition(|byte| *byte == b')')?;
        let mut fields = stat.get(close..)?.split(|byte| *byte == b' ');
        let state = *fields.nth(1)?.first()?;
        let parent = i32::try_from(parse_u32(fields.next()?)?).ok()?;
        // The 9th field of all, the 20th, and the 22nd.
        let flags = fields.nth(4).and_then(parse_u32).unwrap_or(0);
        let threads = fields.nth(10).and_then(parse_u32).unwrap_or(0);
        let ticks = fields.nth(1).and_then(parse_u64).unwrap_or(0);
        Some(Self {
            name: ProgramName::new(stat.get(open + 1..close)?),
            state,
            parent: Pid::from_raw(parent),
            is_kernel_thread: flags & PF_KTHREAD > 0,
            threads,
            started: ticks.saturating_mul(nanos_per_tick()),
        })
    }

    /// Whether it is alive. A process whose main thread has exited has the state `Z`, but
    /// is no zombie while other threads run.
    pub fn is_alive(&self) -> bool {
        self.state != b'Z' || self.threads > 1
    }

    /// Whether it is stopped, by a signal or a tracer. Where its main thread has ended alone,
    /// the state of the others is not seen here: then it may be.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't') || (self.state == b'Z' && self.is_alive())
    }

    /// How long ago it started.
    pub fn age(&self) -> Nanos {
        time_since_boot().saturating_sub(self.started)
    }
}

/// The name of a program as the kernel keeps it: 15 bytes, which may hold anything but a
/// zero. (Kernel threads have longer ones, which are cut.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct ProgramName([u8; 16]);

impl ProgramName {
    /// The start of a name, as much as fits.
    pub fn new(name: &[u8]) -> Self {
        let mut bytes = [0; 16];
        for (place, byte) in bytes.iter_mut().zip(name.iter().take(15)) {
            *place = *byte;
        }
        Self(bytes)
    }

    /// The name alone.
    pub fn as_bytes(&self) -> &[u8] {
        split_once(&self.0, 0).0
    }
}

impl Display for ProgramName {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        Escaped(self.as_bytes()).fmt(f)
    }
}

/// What the kernel's `sched.h` calls this flag of a task.
const PF_KTHREAD: u32 = 0x0020_0000;

/// A process as it is printed: by PID and, where it is known, name.
#[derive(Clone, Copy)]
pub struct Process(pub Pid, pub Option<Stat>);

impl Display for Process {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match &self.1 {
            Some(stat) => write!(f, "{} ({})", self.0, stat.name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Long enough for `/proc/PID/status`.
type ProcPath = PathBuffer<32>;

/// The parent of a process.
pub fn parent(process: Pid) -> Option<Pid> {
    Some(Stat::read(process)?.parent)
}

/// The tracer of a process, a debugger say, if it has one.
pub fn tracer(process: Pid) -> Option<Pid> {
    let mut buffer = [0; 1024];
    let tracer = value_of(read_status(process, &mut buffer)?, b"TracerPid:\t")?;
    let pid = i32::try_from(parse_u32(tracer)?).ok()?;
    (pid > 0).then_some(Pid::from_raw(pid))
}

/// Calls `f` with every child of this process. Returns whether there is any: a kernel built
/// without these lists (CONFIG_PROC_CHILDREN) shows none. While children exit, others may be
/// left out (`proc_pid_task(5)`).
pub fn for_each_child(f: &mut dyn FnMut(Pid)) -> bool {
    let Ok(file) = open(c"/proc/thread-self/children", OFlag::O_RDONLY, 0) else { return false };
    let mut buffer = [0; 4096];
    let mut found = false;
    // The kernel hands out whole numbers, no more of them at once than fill a page.
    while let Ok(length @ 1..) = read(&file, &mut buffer) {
        for number in buffer.get(..length).unwrap_or_default().split(|byte| *byte == b' ') {
            if let Some(Ok(process)) = parse_u32(number).map(i32::try_from) {
                f(Pid::from_raw(process));
                found = true;
            }
        }
    }
    found
}

/// Whether a process is the first one of a PID namespace below the one that /proc shows.
///
/// Not inlined: of a process in many groups, what is looked for comes late.
#[inline(never)]
pub fn is_nested_init(process: Pid) -> bool {
    let mut buffer = [0; 8192];
    let pids = read_status(process, &mut buffer).and_then(|status| value_of(status, b"NSpid:\t"));
    pids.is_some_and(ends_in_init)
}

/// Whether the numbers of a process in its PID namespaces, from the outermost to its own,
/// are several, and the last one is 1 (`proc_pid_status(5)`, NSpid).
fn ends_in_init(pids: &[u8]) -> bool {
    matches!(pids.trim_ascii_end(), [.., b'\t', b'1'])
}

pub(super) fn read_status(process: Pid, buffer: &mut [u8]) -> Option<&[u8]> {
    read_of(process, "status", buffer)
}

/// Reads the start of `/proc/PID/FILE`, as much as fits.
pub(super) fn read_of<'a>(process: Pid, file: &str, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut path = ProcPath::default();
    read_prefix(path.format(format_args!("/proc/{process}/{file}"))?, buffer)
}

/// Calls `f` with every process, in the order of their PIDs.
pub fn for_each_process(f: &mut dyn FnMut(Pid)) -> Result<(), Errno> {
    let directory = open(c"/proc", OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)?;
    for_each_entry(directory.as_fd(), &mut [0; 8192], &mut |name| {
        if let Some(Ok(process)) = parse_u32(name).map(i32::try_from) {
            f(Pid::from_raw(process));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_kernel_thread_is_known_by_its_flag() {
        let kthreadd = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 12";
        let exec = b"2 (sh) S 0 0 0 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 12";
        assert!(Stat::parse(kthreadd).unwrap().is_kernel_thread);
        assert!(!Stat::parse(exec).unwrap().is_kernel_thread);
    }

    #[test]
    fn children_are_those_of_this_thread_or_none() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        let mut listed = false;
        // A kernel may have no such lists.
        assert_eq!(for_each_child(&mut |process| listed |= process == pid), listed);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!for_each_child(&mut |process| assert_ne!(process, pid)));
    }

    #[test]
    fn fields_are_counted_from_the_last_parenthesis() {
        for name in ["sh", "a b", "a) S 1 (b", ")", "", "((", "x\ny"] {
            let stat = format!("42 ({name}) Z 17 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 250 9 9");
            let stat = Stat::parse(stat.as_bytes()).unwrap();
            assert_eq!(stat.name.as_bytes(), name.as_bytes());
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
    fn names_are_kept_as_the_kernel_keeps_them() {
        for name in ["", "sh", "a b\n)", "123456789012345"] {
            assert_eq!(ProgramName::new(name.as_bytes()).as_bytes(), name.as_bytes());
        }
        assert_eq!(ProgramName::new(b"1234567890123456").as_bytes(), b"123456789012345");
        assert_eq!(ProgramName::new(b"\xff\n").to_string(), r"\xff\x0a");
    }

    #[test]
    fn our_own_stat() {
        let stat = Stat::read(Pid::this()).unwrap();
        assert!(stat.threads >= 1 && stat.age() < 600_000_000_000);
        assert_eq!(tracer(Pid::this()), None);
    }

    #[test]
    fn the_first_process_of_a_nested_namespace() {
        for pids in [&b"4711\t1"[..], b"4711\t17\t1", b"4711\t1 "] {
            assert!(ends_in_init(pids));
        }
        for pids in [&b"1"[..], b"11", b"4711", b"4711\t11", b"1\t4711", b"", b"\t"] {
            assert!(!ends_in_init(pids), "{}", String::from_utf8_lossy(pids));
        }
        assert!(!is_nested_init(Pid::this()) && !is_nested_init(Pid::from_raw(i32::MAX)));
    }

    #[test]
    fn a_want_of_descriptors_says_nothing_of_a_file() {
        assert_eq!(want(Ok(b"1")), Ok(Some(&b"1"[..])));
        for errno in [Errno::ENOENT, Errno::ESRCH, Errno::EACCES, Errno::EPERM] {
            assert_eq!(want(Err(errno)), Ok(None));
        }
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM] {
            assert_eq!(want(Err(errno)), Err(errno));
        }
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
            let _ = (Stat::parse(&bytes), ProgramName::new(&bytes).to_string());
        }
    }
}
