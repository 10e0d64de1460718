//! Whose zombie is it? (`-z`)
//!
//! A zombie is a process that has ended and that its parent has not waited for. Nobody
//! but the parent can do that, and while the parent lives, no init.

#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::unistd::{Pid, getpid};

use crate::diagnose::procfs::{self, Process, STAT, Stat};
use crate::log::{Line, Seconds, Show, print};
use crate::supervise::forward::INIT;
use crate::sys;

/// Why it cannot be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// There is no /proc, or nothing in it.
    NoProc,
    /// /proc is another PID namespace's.
    OtherNamespace,
    /// Nobody takes the answer.
    Output(Errno),
}

impl Show for Failure {
    fn show(&self, line: &mut Line) {
        match self {
            Self::NoProc => {
                line.text("/proc: not there: without it nobody can tell what processes there are")
            }
            Self::OtherNamespace => {
                line.text(
                    "/proc: belongs to another PID namespace: mount this one's (mount -t proc proc /proc)",
                );
            }
            Self::Output(reason) => line.add("standard output: {}", &[reason]),
        }
    }
}

/// Who is to blame, and what is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// It was gone when we looked again.
    BeingReaped,
    /// Its main thread has ended, and others run on.
    ThreadsRunOn,
    /// A debugger keeps it.
    Traced(Pid),
    /// The parent is outside of this PID namespace.
    ParentOutside,
    /// PID 1 does not wait.
    InitDoesNotReap,
    /// The parent is stopped.
    ParentStopped,
    /// The parent lives and does not wait.
    ParentDoesNotWait,
}

/// What was seen of a zombie.
struct Sight {
    threads: u32,
    gone: bool,
    tracer: Option<Pid>,
    parent: Pid,
    /// The parent's state, where it could be read.
    parent_state: Option<u8>,
}

impl Sight {
    fn verdict(&self) -> Verdict {
        let Sight { threads, gone, tracer, parent, parent_state } = *self;
        match tracer {
            _ if threads > 1 => Verdict::ThreadsRunOn,
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
    /// Whether it counts: whether somebody ought to do something.
    fn counts(self) -> bool {
        !matches!(self, Self::BeingReaped | Self::ThreadsRunOn)
    }
}

/// What is said of a zombie, without its own name.
struct Judgement<'a> {
    verdict: Verdict,
    /// Who keeps it.
    keeper: Process<'a>,
}

impl Show for Judgement<'_> {
    fn show(&self, line: &mut Line) {
        let text = match self.verdict {
            Verdict::BeingReaped => "being reaped",
            Verdict::ThreadsRunOn => {
                "no zombie, if it looks like one: its main thread has ended, others run on"
            }
            Verdict::Traced(_) => "kept by {}, which traces it: it goes when that lets go",
            Verdict::ParentOutside => {
                "held by a process outside of this PID namespace (docker exec, kubectl exec): no init can reap it"
            }
            Verdict::InitDoesNotReap => {
                "PID {} does not reap: run it under an init (docker run --init, or ENTRYPOINT [\"/sexton\", \"--\"])"
            }
            Verdict::ParentStopped => "held by {}, which is stopped: continue it (SIGCONT) or end it",
            Verdict::ParentDoesNotWait => {
                "held by {}, which does not wait for its children: no init can reap it; mend or end that one"
            }
        };
        line.add(text, &[&self.keeper]);
    }
}

/// How long a parent has for reaping, before it is said that it does not; and all of
/// them together, as where many wait it is no question. In milliseconds.
const PATIENCE: u16 = 100;
const PATIENCE_IN_ALL: u16 = 300;
/// How often we look whether it has.
const STEP: u16 = 5;

/// Prints the zombies of this PID namespace, whose each is, and how many there are;
/// returns how many.
pub fn list() -> Result<u32, Failure> {
    let own_pid = getpid();
    if !procfs::is_ours(own_pid) {
        return Err(if procfs::is_there() { Failure::OtherNamespace } else { Failure::NoProc });
    }
    let mut zombies: u32 = 0;
    let mut patience = PATIENCE_IN_ALL;
    let mut output = Ok(());
    let seen = procfs::for_each_suspect(&mut |process| {
        if output.is_err() {
            return;
        }
        let mut buffer = [0; STAT];
        let Some(zombie) = Stat::read(process, &mut buffer).filter(|stat| stat.state == b'Z') else { return };
        wait_for_reaping(process, &zombie, &mut patience);
        match judge(process, &zombie) {
            Ok(true) => zombies = zombies.saturating_add(1),
            Ok(false) => {}
            Err(reason) => output = Err(reason),
        }
    })
    .map_err(|_| Failure::NoProc)?;
    output.and_then(|()| sum_up(zombies, seen)).map_err(Failure::Output)?;
    Ok(zombies)
}

/// Gives a zombie's parent some time.
fn wait_for_reaping(process: Pid, zombie: &Stat, patience: &mut u16) {
    let mut waited = 0;
    while waited < PATIENCE && *patience >= STEP && look_again(process, zombie, &mut [0; STAT]).is_some() {
        sys::pause_for(STEP);
        waited = waited.saturating_add(STEP);
        *patience = patience.saturating_sub(STEP);
    }
}

/// The same process once more, unless its PID is another one's by now.
fn look_again<'a>(process: Pid, seen: &Stat, buffer: &'a mut [u8]) -> Option<Stat<'a>> {
    Stat::read(process, buffer).filter(|stat| stat.started == seen.started)
}

/// Prints what is to be said of a zombie; says whether it counts.
fn judge(process: Pid, zombie: &Stat) -> Result<bool, Errno> {
    let (mut now, mut parents, mut tracers) = ([0; STAT], [0; STAT], [0; STAT]);
    let now = look_again(process, zombie, &mut now);
    // The parent may have ended meanwhile, and left it to another one.
    let parent = now.map_or(zombie.parent, |now| now.parent);
    let parent_stat = Stat::read(parent, &mut parents);
    let tracer = procfs::tracer(process);
    let sight = Sight {
        threads: zombie.threads,
        gone: now.is_none(),
        tracer,
        parent,
        parent_state: parent_stat.map(|stat| stat.state),
    };
    let verdict = sight.verdict();
    let parent = Process(parent, parent_stat);
    let keeper = match verdict {
        Verdict::Traced(tracer) => Process(tracer, Stat::read(tracer, &mut tracers)),
        _ => parent,
    };
    let judgement = Judgement { verdict, keeper };
    print(
        "{}, started {} ago, child of {}: {}",
        &[&Process(process, Some(*zombie)), &Seconds(zombie.age()), &parent, &judgement],
    )?;
    Ok(verdict.counts())
}

fn sum_up(zombies: u32, seen: u32) -> Result<(), Errno> {
    if Stat::read(INIT, &mut [0; STAT]).is_none() {
        print("not all processes can be seen: /proc is mounted with hidepid, try again as root", &[])?;
    }
    match zombies {
        0 => print("no zombies: none of the {} processes here waits to be reaped", &[&seen]),
        1 => print("1 zombie among {} processes", &[&seen]),
        _ => print("{} zombies among {} processes", &[&zombies, &seen]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::shown;

    #[test]
    fn every_verdict() {
        let plain = || Sight {
            threads: 1,
            gone: false,
            tracer: None,
            parent: Pid::from_raw(17),
            parent_state: Some(b'S'),
        };
        assert_eq!(plain().verdict(), Verdict::ParentDoesNotWait);
        assert_eq!(Sight { parent_state: None, ..plain() }.verdict(), Verdict::ParentDoesNotWait);
        assert_eq!(Sight { gone: true, ..plain() }.verdict(), Verdict::BeingReaped);
        assert_eq!(Sight { threads: 2, ..plain() }.verdict(), Verdict::ThreadsRunOn);
        assert_eq!(Sight { parent: INIT, ..plain() }.verdict(), Verdict::InitDoesNotReap);
        assert_eq!(Sight { parent: INIT, gone: true, ..plain() }.verdict(), Verdict::BeingReaped);
        assert_eq!(Sight { parent: Pid::from_raw(0), ..plain() }.verdict(), Verdict::ParentOutside);
        for state in [b'T', b't'] {
            assert_eq!(Sight { parent_state: Some(state), ..plain() }.verdict(), Verdict::ParentStopped);
        }
        let tracer = Pid::from_raw(99);
        assert_eq!(Sight { tracer: Some(tracer), ..plain() }.verdict(), Verdict::Traced(tracer));
        assert_eq!(
            Sight { tracer: Some(Pid::from_raw(17)), ..plain() }.verdict(),
            Verdict::ParentDoesNotWait
        );
        assert!(!Verdict::BeingReaped.counts() && !Verdict::ThreadsRunOn.counts());
        assert!(Verdict::ParentOutside.counts() && Verdict::Traced(tracer).counts());
    }

    #[test]
    fn a_verdict_names_the_one_to_blame() {
        let stat = Stat { name: b"celery", state: b'S', parent: INIT, threads: 4, started: 0 };
        let said = |verdict| {
            let keeper = match verdict {
                Verdict::Traced(tracer) => Process(tracer, None),
                _ => Process(Pid::from_raw(17), Some(stat)),
            };
            String::from_utf8(shown(&Judgement { verdict, keeper })).unwrap()
        };
        assert_eq!(
            said(Verdict::ParentDoesNotWait),
            "held by 17 (celery), which does not wait for its children: no init can reap it; mend or end that one"
        );
        assert!(
            said(Verdict::InitDoesNotReap).starts_with("PID 17 (celery) does not reap: run it under an init")
        );
        assert_eq!(
            said(Verdict::Traced(Pid::from_raw(99))),
            "kept by 99, which traces it: it goes when that lets go"
        );
        assert_eq!(said(Verdict::BeingReaped), "being reaped");
    }
}
