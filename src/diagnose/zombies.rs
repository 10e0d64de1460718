//! Lists zombies, and which process holds each (`-z`).
//!
//! A zombie is a process that has exited and for which its parent has not waited. Only the
//! parent can do that; and while the parent lives, no init can.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter, Write};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::json::{Json, Text};
use super::procfs::{Process, ProgramName, Stat, for_each_process, is_nested_init, tracer};
use super::sort::sort;
use super::{Failure, Format, HIDDEN, check_proc, is_init_hidden};
use crate::log::{Output, print_line};
use crate::sys::memory::MappedVec;
use crate::sys::process::INIT;
use crate::sys::time::{sleep_ms, time_since_boot};
use crate::units::{Fraction, Nanos, Plural, Seconds};

/// Which process holds a zombie, and what can be done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
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

    /// What it is called in JSON.
    fn key(self) -> &'static str {
        match self {
            Self::BeingReaped => "being-reaped",
            Self::ThreadsRunning => "threads-running",
            Self::Traced(_) => "traced",
            Self::ParentOutside => "parent-outside",
            Self::InitDoesNotReap => "init-does-not-reap",
            Self::NestedInitDoesNotReap => "nested-init-does-not-reap",
            Self::ParentStopped => "parent-stopped",
            Self::ParentDoesNotWait => "parent-does-not-wait",
        }
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
            Verdict::InitDoesNotReap => write!(f, "PID {holder} does not reap: {RUN_UNDER_INIT}"),
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

/// What looks like a zombie, and why it is there.
#[derive(Clone, Copy)]
struct Zombie {
    pid: Pid,
    name: ProgramName,
    parent: Pid,
    started: Nanos,
    threads: u32,
    verdict: Verdict,
}

impl Zombie {
    /// Those of one group stand together, the oldest first.
    fn is_before(&self, other: &Self) -> bool {
        let key = |zombie: &Self| (zombie.parent, zombie.name, zombie.verdict, zombie.started, zombie.pid);
        key(self) < key(other)
    }

    fn is_in_group_of(&self, other: &Self) -> bool {
        (self.parent, self.name, self.verdict) == (other.parent, other.name, other.verdict)
    }
}

/// A parent, as it was observed.
#[derive(Clone, Copy)]
struct Parent {
    pid: Pid,
    /// Its state, where it could be read.
    state: Option<u8>,
    is_nested_init: bool,
}

impl Parent {
    fn observe(pid: Pid) -> Self {
        let state = Stat::read(pid).map(|stat| stat.state);
        Self { pid, state, is_nested_init: is_nested_init(pid) }
    }
}

/// Zombies, by program, parent and verdict.
#[derive(Default)]
pub struct Zombies {
    found: MappedVec<Zombie>,
    /// The parent that was looked at last: that of many zombies is one.
    last_parent: Option<Parent>,
}

impl Zombies {
    /// Notes a zombie, which has not been judged yet.
    pub fn note(
        &mut self,
        pid: Pid,
        parent: Pid,
        name: ProgramName,
        started: Nanos,
        threads: u32,
    ) -> Result<(), Errno> {
        self.found.push(Zombie { pid, name, parent, started, threads, verdict: Verdict::BeingReaped })
    }

    /// Looks at each once more, and judges it. Puts those of one group together.
    pub fn judge(&mut self) {
        let Self { found, last_parent } = self;
        for zombie in found.iter_mut() {
            zombie.judge(last_parent);
        }
        sort(found, Zombie::is_before);
    }

    /// How many are a fault.
    pub fn count(&self) -> u32 {
        let faults = self.found.iter().filter(|zombie| zombie.verdict.is_fault());
        faults.fold(0, |count, _| count.saturating_add(1))
    }

    fn groups(&self) -> impl Iterator<Item = &[Zombie]> {
        let mut rest: &[Zombie] = &self.found;
        std::iter::from_fn(move || {
            let first = rest.first()?;
            let length = rest.iter().take_while(|zombie| zombie.is_in_group_of(first)).count();
            let (group, others) = rest.split_at_checked(length)?;
            rest = others;
            Some(group)
        })
    }

    /// Prints a line for each group, or for each zombie.
    pub fn print(&self, each: bool) -> Result<(), Errno> {
        if each {
            return self.found.chunks(1).try_for_each(print_group);
        }
        self.groups().try_for_each(print_group)
    }

    /// Writes them as the elements of a JSON array; at most three PIDs of a group, or each.
    pub fn write_json(&self, each: bool, json: &mut Json) {
        self.groups().for_each(|group| write_group(group, each, json));
    }
}

impl Zombie {
    fn judge(&mut self, last_parent: &mut Option<Parent>) {
        let now = self.look_again();
        // The parent may have exited meanwhile, and left it to another one.
        self.parent = now.map_or(self.parent, |now| now.parent);
        let parent = match *last_parent {
            Some(last) if last.pid == self.parent => last,
            _ => Parent::observe(self.parent),
        };
        *last_parent = Some(parent);
        self.verdict = Observation {
            threads: self.threads,
            gone: now.is_none(),
            tracer: tracer(self.pid),
            parent: parent.pid,
            parent_state: parent.state,
            parent_is_nested_init: parent.is_nested_init,
        }
        .verdict();
    }

    /// The same process once more, unless its PID is another process's by now.
    fn look_again(&self) -> Option<Stat> {
        Stat::read(self.pid).filter(|stat| stat.started == self.started)
    }
}

/// Calls `f` with the parent of a group, the process that holds it, and the verdict in
/// words.
fn with_explanation<T>(zombie: &Zombie, f: impl FnOnce(Process, Explanation) -> T) -> T {
    let parent = Process(zombie.parent, Stat::read(zombie.parent));
    let holder = match zombie.verdict {
        Verdict::Traced(tracer) => Process(tracer, Stat::read(tracer)),
        _ => parent,
    };
    f(parent, Explanation { verdict: zombie.verdict, holder })
}

/// How many PIDs of a group are shown.
const SHOWN: usize = 3;

fn print_group(group: &[Zombie]) -> Result<(), Errno> {
    let Some(oldest) = group.first() else { return Ok(()) };
    let age = Seconds(time_since_boot().saturating_sub(oldest.started));
    let name = oldest.name;
    with_explanation(oldest, |parent, verdict| match group {
        [zombie] => print_line(format_args!(
            "{} ({name}), started {age} ago, child of {parent}: {verdict}",
            zombie.pid
        )),
        _ => print_line(format_args!(
            "{} {name} ({}), the oldest started {age} ago, children of {parent}: {verdict}",
            group.len(),
            Pids(group)
        )),
    })
}

/// Some PIDs of a group.
struct Pids<'a>(&'a [Zombie]);

impl Display for Pids<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut separator = "PIDs ";
        for zombie in self.0.iter().take(SHOWN) {
            write!(f, "{separator}{}", zombie.pid)?;
            separator = ", ";
        }
        if self.0.len() > SHOWN { f.write_str(", ...") } else { Ok(()) }
    }
}

fn write_group(group: &[Zombie], each: bool, json: &mut Json) {
    let Some(oldest) = group.first() else { return };
    with_explanation(oldest, |parent, Explanation { verdict, holder }| {
        json.begin_object("");
        json.member("program", &Text(oldest.name.as_bytes()));
        json.member("count", &group.len());
        json.member("oldest_seconds", &Fraction::seconds(time_since_boot().saturating_sub(oldest.started)));
        write_process("parent", &parent, json);
        json.member("verdict", &Text(verdict.key().as_bytes()));
        write_process("holder", &holder, json);
        json.member("fault", &verdict.is_fault());
        json.begin_array("pids");
        for zombie in group.iter().take(if each { usize::MAX } else { SHOWN }) {
            json.member("", &zombie.pid);
        }
        json.end_array();
        json.end();
    });
}

fn write_process(key: &str, process: &Process, json: &mut Json) {
    json.begin_object(key);
    json.member("pid", &process.0);
    json.member("program", &Text(process.1.map(|stat| stat.name).unwrap_or_default().as_bytes()));
    json.end();
}

/// How long a parent may take before it counts as one that does not reap. The second is the
/// limit for all zombies together: where many wait, there is no doubt.
const REAP_TIMEOUT_MS: u16 = 100;
const REAP_TIMEOUT_IN_ALL_MS: u16 = 300;
/// The time between two looks.
const STEP_MS: u16 = 5;

/// Prints the zombies of this PID namespace, which process holds them, and how many there
/// are; returns how many. Prints each by itself, if asked for.
pub fn list(each: bool, format: Format) -> Result<u32, Failure> {
    check_proc()?;
    let (mut zombies, mut processes): (Zombies, u32) = (Zombies::default(), 0);
    let mut noted = Ok(());
    for_each_process(&mut |process| {
        processes = processes.saturating_add(1);
        if let Some(stat) = Stat::read(process).filter(|stat| stat.state == b'Z') {
            noted = noted
                .and_then(|()| zombies.note(process, stat.parent, stat.name, stat.started, stat.threads));
        }
    })
    .map_err(|_| Failure::NoProc)?;
    noted.map_err(Failure::Memory)?;
    wait_for_reaping(&zombies.found);
    zombies.judge();
    let printed = match format {
        Format::Text => zombies.print(each).and_then(|()| print_summary(zombies.count(), processes)),
        Format::Json => Output::print(|to| write_json(&zombies, processes, each, to)),
    };
    printed.map_err(Failure::Output)?;
    Ok(zombies.count())
}

/// Gives the parents some time.
fn wait_for_reaping(zombies: &[Zombie]) {
    let (mut waited, mut waited_in_all) = (0, 0);
    let mut left = zombies.iter();
    while let Some(zombie) = left.as_slice().first()
        && waited < REAP_TIMEOUT_MS
        && waited_in_all < REAP_TIMEOUT_IN_ALL_MS
    {
        if zombie.look_again().is_none() {
            left.next();
            waited = 0;
            continue;
        }
        sleep_ms(STEP_MS);
        waited = waited.saturating_add(STEP_MS);
        waited_in_all = waited_in_all.saturating_add(STEP_MS);
    }
}

fn write_json(zombies: &Zombies, processes: u32, each: bool, to: &mut dyn Write) {
    let mut json = Json::object(to);
    json.member("zombies", &zombies.count());
    json.member("processes", &processes);
    json.member("hidden", &is_init_hidden());
    json.begin_array("groups");
    zombies.write_json(each, &mut json);
    json.end_array();
    json.end();
}

fn print_summary(zombies: u32, processes: u32) -> Result<(), Errno> {
    if is_init_hidden() {
        print_line(format_args!("{HIDDEN}"))?;
    }
    let processes = Plural(processes.into(), "process");
    match zombies {
        0 => print_line(format_args!("no zombies ({processes})")),
        _ => print_line(format_args!("{} ({processes})", Plural(zombies.into(), "zombie"))),
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
