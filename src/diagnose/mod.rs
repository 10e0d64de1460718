//! What /proc and the kernel's accounting report of processes.

#![forbid(unsafe_code)]

pub mod cgroup;
pub mod json;
pub mod orphans;
pub mod procfs;
pub mod sort;
pub mod termination;
pub mod top;
pub mod usage;
pub mod zombies;

use std::fmt::{self, Display, Formatter};

use nix::errno::Errno;
use nix::unistd::getpid;

use crate::log::Reason;
use crate::sys::process::INIT;

/// How an answer is printed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// There is no /proc, or nothing in it.
    NoProc,
    /// /proc is another PID namespace's.
    OtherNamespace,
    /// There is no memory for the tables.
    Memory(Errno),
    /// The answer cannot be written.
    Output(Errno),
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::NoProc => f.write_str("/proc is not mounted: cannot list processes"),
            Self::OtherNamespace => f.write_str(
                "/proc belongs to another PID namespace: mount this one's (mount -t proc proc /proc)",
            ),
            Self::Memory(errno) => write!(f, "mmap: {}", Reason(*errno)),
            Self::Output(errno) => write!(f, "standard output: {}", Reason(*errno)),
        }
    }
}

/// Fails unless /proc shows the processes of this PID namespace.
fn check_proc() -> Result<(), Failure> {
    if procfs::shows_own_namespace(getpid()) {
        Ok(())
    } else if procfs::is_mounted() {
        Err(Failure::OtherNamespace)
    } else {
        Err(Failure::NoProc)
    }
}

/// What there is to say where /proc does not show all processes.
const HIDDEN: &str = "some processes are hidden (/proc is mounted with hidepid): try again as root";

/// Whether PID 1 cannot be looked at: then neither can others.
fn is_init_hidden() -> bool {
    procfs::Stat::read(INIT).is_none()
}
