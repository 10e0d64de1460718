//! Whose zombie is it? (`-z`)
//!
//! A zombie is a process that has exited and that its parent has not waited for. Only the
//! parent can do that; and while the parent lives, no init can.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter, Write};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::json::{Json, Text};
use super::procfs::{Process, Stat, for_each_process, tracer};
use super::sort::sort;
use super::usage::Name;
use super::{Failure, Format, HIDDEN, check_proc, is_init_hidden};
use crate::log::{Output, print_line};
use crate::sys::memory::MappedVec;
use crate::sys::time::{Nanos, sleep_ms, time_since_boot};
use crate::units::{Fraction, Seconds};

/// PID 1.
const INIT: Pid = Pid::from_raw(1);

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
}

impl Observation {
    fn verdict(&self) -> Verdict {
        let Observation { threads, gone, tracer, parent, parent_state } = *self;
        match tracer {
            _ if threads > 1 => Verdict::ThreadsRunning,
            _ if gone => Verdict::BeingReaped,
            // A debugger that is the parent as well is just a parent.
            Some(tracer) if tracer != parent => Verdict::Traced(tracer),
            _ if parent.as_raw() == 0 => Verdict::ParentOutside,
            _ if matches!(parent_state, Some(b'T' | b't')) => Verdict::ParentStopped,
            _ if parent == INIT => Verdict::InitDoesNotReap,
            _ => Verdict::ParentDoesNotWait,
        }
    }
}

impl Verdict {
    /// Whether it is a fault that a person should mend.
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
            Self::ParentStopped => "parent-stopped",
            Self::ParentDoesNotWait => "parent-does-not-wait",
        }
    }
}

/// A verdict in words.
struct Explanation<'a> {
    verdict: Verdict,
    /// The process that holds the zombie.
    holder: Process<'a>,
}

impl Display for Explanation<'_> {
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
                "PID {holder} does not reap: run it under an init (docker run --init, or ENTRYPOINT [\"/sexton\", \"--\"])"
            ),
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

/// What looks like a zombie, and why it is there.
#[derive(Clone, Copy)]
struct Zombie {
    pid: Pid,
    name: Name,
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

/// Zombies, by program, parent and verdict.
#[derive(Default)]
pub struct Zombies {
    found: MappedVec<Zombie>,
    /// The parent that was looked at last, and its state: that of many zombies is one.
    parent: Option<(Pid, Option<u8>)>,
}

impl Zombies {
    /// Notes a zombie, which has not been judged yet.
    pub fn note(
        &mut self,
        pid: Pid,
        parent: Pid,
        name: Name,
        started: Nanos,
        threads: u32,
    ) -> Result<(), Errno> {
        self.found.push(Zombie { pid, name, parent, started, threads, verdict: Verdict::BeingReaped })
    }

    /// Looks at each once more, and judges it. Puts those of one group together.
    pub fn judge(&mut self) {
        let Self { found, parent } = self;
        for zombie in found.iter_mut() {
            zombie.judge(parent);
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
    fn judge(&mut self, last_parent: &mut Option<(Pid, Option<u8>)>) {
        let mut buffer = Stat::buffer();
        let now = self.look_again(&mut buffer);
        // The parent may have exited meanwhile, and left it to another one.
        let parent = now.map_or(self.parent, |now| now.parent);
        let parent_state = match *last_parent {
            Some((last, state)) if last == parent => state,
            _ => Stat::read(parent, &mut Stat::buffer()).map(|stat| stat.state),
        };
        *last_parent = Some((parent, parent_state));
        self.parent = parent;
        self.verdict = Observation {
            threads: self.threads,
            gone: now.is_none(),
            tracer: tracer(self.pid),
            parent,
            parent_state,
        }
        .verdict();
    }

    /// The same process once more, unless its PID is another process's by now.
    fn look_again<'a>(&self, buffer: &'a mut [u8]) -> Option<Stat<'a>> {
        Stat::read(self.pid, buffer).filter(|stat| stat.started == self.started)
    }
}

/// Calls `f` with the parent of a group, the process that holds it, and the verdict in
/// words.
fn with_explanation<T>(zombie: &Zombie, f: impl FnOnce(Process, Explanation) -> T) -> T {
    let (mut parents, mut tracers) = (Stat::buffer(), Stat::buffer());
    let parent = Process(zombie.parent, Stat::read(zombie.parent, &mut parents));
    let holder = match zombie.verdict {
        Verdict::Traced(tracer) => Process(tracer, Stat::read(tracer, &mut tracers)),
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
        json.member("program", &Text(oldest.name.bytes()));
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
    json.member("program", &Text(process.1.map_or(b"", |stat| stat.name)));
    json.end();
}

/// How long parents may take to reap: so long for each step forward, and so long in all.
/// Where many zombies wait there is no question.
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
        let mut buffer = Stat::buffer();
        if let Some(stat) = Stat::read(process, &mut buffer).filter(|stat| stat.state == b'Z') {
            let name = Name::of(stat.name);
            noted = noted.and_then(|()| zombies.note(process, stat.parent, name, stat.started, stat.threads));
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
        if zombie.look_again(&mut Stat::buffer()).is_none() {
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
    match zombies {
        0 => print_line(format_args!("no zombies ({processes} processes)")),
        1 => print_line(format_args!("1 zombie ({processes} processes)")),
        _ => print_line(format_args!("{zombies} zombies ({processes} processes)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict() {
        let plain = || Observation {
            threads: 1,
            gone: false,
            tracer: None,
            parent: Pid::from_raw(17),
            parent_state: Some(b'S'),
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
        let stat = Stat { name: b"celery", state: b'S', parent: INIT, threads: 4, started: 0 };
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
            said(Verdict::Traced(Pid::from_raw(99))),
            "held by its tracer 99 until the tracer detaches"
        );
        assert_eq!(said(Verdict::BeingReaped), "being reaped");
    }
}
