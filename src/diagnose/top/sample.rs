//! One look at all processes.

#![forbid(unsafe_code)]

use nix::unistd::Pid;

use crate::diagnose::Failure;
use crate::diagnose::cgroup::{Cgroup, Figures};
use crate::diagnose::procfs::{ProgramName, Stat, for_each_process};
use crate::diagnose::usage::{Usage, last_pid, proportional_memory, sleeps};
use crate::sys::memory::MappedVec;
use crate::sys::time::{monotonic_time, time_since_boot};
use crate::units::{Nanos, SECOND};

/// A process as it was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sample {
    pub(super) pid: Pid,
    pub(super) parent: Pid,
    pub(super) name: ProgramName,
    /// As in `/proc/PID/stat`.
    pub(super) state: u8,
    pub(super) threads: u32,
    /// Together with the PID this tells processes apart: a PID is given out again.
    pub(super) started: Nanos,
    pub(super) usage: Usage,
    /// Its share of memory, in KiB, where it could be read.
    pub(super) share: Option<u64>,
    /// How often it had gone to sleep, if it is blocked in the kernel.
    pub(super) sleeps: Option<u64>,
}

impl Sample {
    fn of(pid: Pid, stat: &Stat, usage: Usage) -> Self {
        Self {
            pid,
            parent: stat.parent,
            name: stat.name,
            // One whose other threads still run is no zombie.
            state: if stat.state == b'Z' && stat.is_alive() { b'S' } else { stat.state },
            threads: stat.threads,
            started: stat.started,
            usage,
            share: None,
            sleeps: if stat.state == b'D' { sleeps(pid) } else { None },
        }
    }

    pub(super) fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// All processes at one time.
pub(super) struct Look {
    /// When it began, on the clock on which processes start.
    pub(super) time: Nanos,
    /// In the order of their PIDs.
    pub(super) processes: MappedVec<Sample>,
    pub(super) last_pid: Option<u32>,
    /// None where the cgroup cannot be reached.
    pub(super) cgroup: Option<Figures>,
}

impl Look {
    /// Looks at all processes but this one.
    pub(super) fn now(own_pid: Pid) -> Result<Self, Failure> {
        let cgroup = Cgroup::of_init(&mut [0; _], &mut [0; _]).map(|cgroup| cgroup.figures());
        let (time, last_pid) = (time_since_boot(), last_pid());
        let mut processes = MappedVec::new();
        let mut noted = Ok(());
        for_each_process(&mut |pid| {
            if pid != own_pid
                && let Some((stat, usage)) = Usage::read_with_stat(pid)
            {
                noted = noted.and_then(|()| processes.push(Sample::of(pid, &stat, usage)));
            }
        })
        .map_err(|_| Failure::NoProc)?;
        noted.map_err(Failure::Memory)?;
        Ok(Self { time, processes, last_pid, cgroup })
    }

    /// Reads the shares of memory. That takes the kernel long for large processes: what is
    /// not read within a while stays unknown.
    pub(super) fn read_shares(&mut self) {
        let end = monotonic_time().saturating_add(SECOND * 3 / 10);
        for process in self.processes.iter_mut().filter(|process| process.usage.resident > 0) {
            if monotonic_time() > end {
                return;
            }
            process.share = proportional_memory(process.pid);
        }
    }
}

/// The process with this PID.
pub(super) fn find(processes: &[Sample], pid: Pid) -> Option<&Sample> {
    let place = processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
    processes.get(place)
}

/// The same process in another look.
pub(super) fn find_again<'a>(processes: &'a [Sample], process: &Sample) -> Option<&'a Sample> {
    find(processes, process.pid).filter(|found| found.started == process.started)
}

#[cfg(test)]
impl Sample {
    /// One for tests, that has used so much CPU time, and its children so much.
    pub(super) fn example(
        pid: i32,
        parent: i32,
        name: &str,
        started: Nanos,
        cpu: Nanos,
        children: Nanos,
    ) -> Self {
        Self {
            pid: Pid::from_raw(pid),
            parent: Pid::from_raw(parent),
            name: ProgramName::new(name.as_bytes()),
            state: b'S',
            threads: 1,
            started,
            usage: Usage { cpu, cpu_of_children: children, resident: 100 },
            share: None,
            sleeps: None,
        }
    }
}
