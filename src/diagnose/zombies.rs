//! Lists zombies, and which process holds each (`-z`).
//!
//! A zombie is a process that has exited and for which its parent has not waited. Only the
//! parent can do that; and while the parent lives, no init can.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};

use nix::errno::Errno;
use nix::unistd::{Pid, getpid};

use super::procfs::{
    Process, Stat, for_each_process, is_mounted, is_nested_init, shows_own_namespace, tracer,
};
use crate::log::{Reason, print_line};
use crate::sys::time::sleep_ms;
use crate::units::Seconds;

/// PID 1.
const INIT: Pid = Pid::from_raw(1);

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// There is no /proc, or nothing in it.
    NoProc,
    /// /proc is another PID namespace's.
    OtherNamespace,
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
            Self::Output(errno) => write!(f, "standard output: {}", Reason(*errno)),
        }
    }
}

/// Which process holds a zombie, and what can be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// It was gone at the second look.
    BeingReaped,
    /// Its main thread has exited, and others run.
    ThreadsRunning,
    /// A debugger holds it.
    Traced(Pid),
    /// The parent is outside of this PID namespace.
    ParentOutside,
    /// PID 1 does not wait.
    InitDoesNotReap,
    /// A container's PID 1 does not wait, seen from outside of the container.
    NestedInitDoesNotReap,
    /// The parent is stopped.
    ParentStopped,
    /// The parent runs and does not wait.
    ParentDoesNotWait,
}

/// What was observed of a zombie.
struct Observation {
    threads: u32,
    gone: bool,
    tracer: Option<Pid>,
    parent: Pid,
    /// The parent's state, where it could be read.
    parent_state: Option<u8>,
    /// Whether the parent is the first process of a PID namespace below this one.
    parent_is_nested_init: bool,
}

impl Observation {
    fn verdict(&self) -> Verdict {
        let Observation { threads, gone, tracer, parent, parent_state, parent_is_nested_init } = *self;
        match tracer {
            _ if threads > 1 => Verdict::ThreadsRunning,
            _ if gone => Verdict::BeingReaped,
            // A debugger that is the parent as well is just a parent.
            Some(tracer) if tracer != parent => Verdict::Traced(tracer),
            _ if parent.as_raw() == 0 => Verdict::ParentOutside,
            _ if matches!(parent_state, Some(b'T' | b't')) => Verdict::ParentStopped,
            _ if parent == INIT => Verdict::InitDoesNotReap,
            _ if parent_is_nested_init => Verdict::NestedInitDoesNotReap,
            _ => Verdict::ParentDoesNotWait,
        }
    }
}

impl Verdict {
    /// Whether it is a fault that the user should fix.
    fn is_fault(self) -> bool {
        !matches!(self, Self::BeingReaped | Self::ThreadsRunning)
    }
}

/// A verdict in words.
struct Explanation {
    verdict: Verdict,
    /// The process that holds the zombie.
    holder: Process,
}

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let holder = &self.holder;
        match self.verdict {
            Verdict::BeingReaped => f.write_str("being reaped"),
            Verdict::ThreadsRunning => {
                f.write_str("not a zombie: the main thread has exited, other threads are still running")
            }
            Verdict::Traced(_) => write!(f, "held by its tracer {holder} until the tracer detaches"),
            Verdict::ParentOutside => f.write_str(
                "held by a process outside of this PID namespace (docker exec, kubectl exec): no init can reap it",
            ),
            Verdict::InitDoesNotReap => write!(
                f,
                "PID {holder} does not reap: {RUN_UNDER_INIT}"
            ),
            Verdict::NestedInitDoesNotReap => {
                write!(f, "held by {holder}, PID 1 of a container, which does not reap: {RUN_UNDER_INIT}")
            }
            Verdict::ParentStopped => {
                write!(f, "held by {holder}, which is stopped: continue it (SIGCONT) or kill it")
            }
            Verdict::ParentDoesNotWait => write!(
                f,
                "held by {holder}, which does not wait for its children: no init can reap it; fix or restart that process"
            ),
        }
    }
}

/// What to do about a PID 1 that is no init.
const RUN_UNDER_INIT: &str = "run it under an init (docker run --init, or ENTRYPOINT [\"/sexton\", \"--\"])";

/// How long a parent may take before it counts as one that does not reap. The second is the
/// limit for all zombies together: where many wait, there is no doubt.
const REAP_TIMEOUT_MS: u16 = 100;
const REAP_TIMEOUT_IN_ALL_MS: u16 = 300;
/// The time between two looks.
const STEP_MS: u16 = 5;

/// Prints the zombies of this PID namespace, which process holds each, and how many there
/// are; returns how many.
pub fn list() -> Result<u32, Failure> {
    if !shows_own_namespace(getpid()) {
        return Err(if is_mounted() { Failure::OtherNamespace } else { Failure::NoProc });
    }
    let (mut zombies, mut processes): (u32, u32) = (0, 0);
    let mut time_left = REAP_TIMEOUT_IN_ALL_MS;
    let mut output = Ok(());
    for_each_process(&mut |process| {
        processes = processes.saturating_add(1);
        if output.is_err() {
            return;
        }
        let Some(zombie) = Stat::read(process).filter(|stat| stat.state == b'Z') else { return };
        wait_for_reaping(process, &zombie, &mut time_left);
        match report_zombie(process, &zombie) {
            Ok(true) => zombies = zombies.saturating_add(1),
            Ok(false) => {}
            Err(errno) => output = Err(errno),
        }
    })
    .map_err(|_| Failure::NoProc)?;
    output.and_then(|()| print_summary(zombies, processes)).map_err(Failure::Output)?;
    Ok(zombies)
}

/// Gives a zombie's parent some time to reap it.
fn wait_for_reaping(process: Pid, zombie: &Stat, time_left: &mut u16) {
    let mut waited = 0;
    while waited < REAP_TIMEOUT_MS && *time_left >= STEP_MS && look_again(process, zombie).is_some() {
        sleep_ms(STEP_MS);
        waited = waited.saturating_add(STEP_MS);
        *time_left = time_left.saturating_sub(STEP_MS);
    }
}

/// The same process once more, unless its PID is another process's by now.
fn look_again(process: Pid, before: &Stat) -> Option<Stat> {
    Stat::read(process).filter(|stat| stat.started == before.started)
}

/// Prints a zombie's line; returns whether it is a fault.
fn report_zombie(process: Pid, zombie: &Stat) -> Result<bool, Errno> {
    let now = look_again(process, zombie);
    // The parent may have exited meanwhile, and left it to another one.
    let parent = now.map_or(zombie.parent, |now| now.parent);
    let parent_stat = Stat::read(parent);
    let observation = Observation {
        threads: zombie.threads,
        gone: now.is_none(),
        tracer: tracer(process),
        parent,
        parent_state: parent_stat.map(|stat| stat.state),
        parent_is_nested_init: is_nested_init(parent),
    };
    let verdict = observation.verdict();
    let parent = Process(parent, parent_stat);
    let holder = match verdict {
        Verdict::Traced(tracer) => Process(tracer, Stat::read(tracer)),
        _ => parent,
    };
    print_line(format_args!(
        "{}, started {} ago, child of {parent}: {}",
        Process(process, Some(*zombie)),
        Seconds(zombie.age()),
        Explanation { verdict, holder },
    ))?;
    Ok(verdict.is_fault())
}

fn print_summary(zombies: u32, processes: u32) -> Result<(), Errno> {
    if Stat::read(INIT).is_none() {
        print_line(format_args!(
            "some processes are hidden (/proc is mounted with hidepid): try again as root"
        ))?;
    }
    match zombies {
        0 => print_line(format_args!("no zombies ({processes} processes)")),
        1 => print_line(format_args!("1 zombie ({processes} processes)")),
        _ => print_line(format_args!("{zombies} zombies ({processes} processes)")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::procfs::ProgramName;
    use super::*;

    #[test]
    fn every_verdict() {
        let plain = || Observation {
            threads: 1,
            gone: false,
            tracer: None,
            parent: Pid::from_raw(17),
            parent_state: Some(b'S'),
            parent_is_nested_init: false,
        };
        assert_eq!(plain().verdict(), Verdict::ParentDoesNotWait);
        assert_eq!(Observation { parent_state: None, ..plain() }.verdict(), Verdict::ParentDoesNotWait);
        assert_eq!(Observation { gone: true, ..plain() }.verdict(), Verdict::BeingReaped);
        assert_eq!(Observation { threads: 2, ..plain() }.verdict(), Verdict::ThreadsRunning);
        assert_eq!(Observation { parent: INIT, ..plain() }.verdict(), Verdict::InitDoesNotReap);
        assert_eq!(Observation { parent: INIT, gone: true, ..plain() }.verdict(), Verdict::BeingReaped);
        assert_eq!(Observation { parent: Pid::from_raw(0), ..plain() }.verdict(), Verdict::ParentOutside);
        for state in [b'T', b't'] {
            assert_eq!(
                Observation { parent_state: Some(state), ..plain() }.verdict(),
                Verdict::ParentStopped
            );
        }
        let nested = || Observation { parent_is_nested_init: true, ..plain() };
        assert_eq!(nested().verdict(), Verdict::NestedInitDoesNotReap);
        assert_eq!(Observation { parent_state: Some(b'T'), ..nested() }.verdict(), Verdict::ParentStopped);
        assert!(nested().verdict().is_fault());
        let tracer = Pid::from_raw(99);
        assert_eq!(Observation { tracer: Some(tracer), ..plain() }.verdict(), Verdict::Traced(tracer));
        assert_eq!(
            Observation { tracer: Some(Pid::from_raw(17)), ..plain() }.verdict(),
            Verdict::ParentDoesNotWait
        );
        assert!(!Verdict::BeingReaped.is_fault() && !Verdict::ThreadsRunning.is_fault());
        assert!(Verdict::ParentOutside.is_fault() && Verdict::Traced(tracer).is_fault());
    }

    #[test]
    fn a_verdict_names_the_holder() {
        let name = ProgramName::new(b"celery");
        let stat = Stat { name, state: b'S', parent: INIT, is_kernel_thread: false, threads: 4, started: 0 };
        let said = |verdict| {
            let holder = match verdict {
                Verdict::Traced(tracer) => Process(tracer, None),
                _ => Process(Pid::from_raw(17), Some(stat)),
            };
            Explanation { verdict, holder }.to_string()
        };
        assert_eq!(
            said(Verdict::ParentDoesNotWait),
            "held by 17 (celery), which does not wait for its children: no init can reap it; fix or restart that process"
        );
        assert!(
            said(Verdict::InitDoesNotReap).starts_with("PID 17 (celery) does not reap: run it under an init")
        );
        assert_eq!(
            said(Verdict::NestedInitDoesNotReap),
            "held by 17 (celery), PID 1 of a container, which does not reap: run it under an init (docker run --init, or ENTRYPOINT [\"/sexton\", \"--\"])"
        );
        assert_eq!(
            said(Verdict::Traced(Pid::from_raw(99))),
            "held by its tracer 99 until the tracer detaches"
        );
        assert_eq!(said(Verdict::BeingReaped), "being reaped");
    }
}
