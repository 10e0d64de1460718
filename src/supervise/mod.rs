//! The loop: reap until nothing is left to reap, then sleep until a signal comes or
//! time is up.

#![forbid(unsafe_code)]

pub mod forward;
pub mod job;
pub mod shutdown;
pub mod spawn;

use std::cell::Cell;
use std::mem;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::diagnose::orphans::{Orphan, Report};
use crate::diagnose::procfs::{STAT, Stat};
use crate::log::{Level, Log};
use crate::supervise::forward::{Forwarder, Rewrites, is_for_the_command};
use crate::supervise::job::Job;
use crate::supervise::shutdown::{Action, Event, Moment, Phase, Plan, State, is_request};
use crate::sys::signal::Signal;
use crate::sys::wait::Status;
use crate::sys::{self, Received, SignalSet};
use crate::units::Nanoseconds;

/// Whom the loop looks after, and how.
pub struct Supervisor<'a> {
    /// The command's PID; None where there is none, and we only reap (`-P`).
    pub command: Option<Pid>,
    /// Our own.
    pub own_pid: Pid,
    /// Who gets the signals.
    pub forwarder: Forwarder<'a>,
    /// What they arrive as.
    pub rewrites: &'a Rewrites,
    /// How the end is to be.
    pub plan: &'a Plan,
    /// The command as a job.
    pub job: Job,
    /// What another init would do.
    pub ways: Ways,
    /// Whether each orphan that is reaped is told.
    pub warn_on_reap: bool,
    /// The last signal that was forwarded.
    pub last_signal: LastSignal,
    /// Where things are told.
    pub log: &'a Log,
}

/// Ways that sexton has under some names only (see [`crate::cli::compat`]).
#[derive(Clone, Copy, Default)]
pub struct Ways {
    /// The command is in our process group.
    pub same_group: bool,
    /// TSTP, TTIN and TTOU are forwarded, and stop us.
    pub suspends_itself: bool,
    /// When the command has ended, its process group gets TERM.
    pub ends_the_group: bool,
}

/// The last signal that was forwarded, and when.
pub struct LastSignal {
    wanted: bool,
    seen: Cell<Option<(Signal, Moment)>>,
}

impl LastSignal {
    /// It is noted only where somebody wants to know.
    pub fn new(wanted: bool) -> Self {
        Self { wanted, seen: Cell::new(None) }
    }

    fn note(&self, signal: Signal) {
        if self.wanted {
            self.seen.set(Some((signal, sys::monotonic_time())));
        }
    }

    /// It, and how long it is ago.
    pub fn get(&self) -> Option<(Signal, Nanoseconds)> {
        let (signal, then) = self.seen.get()?;
        Some((signal, sys::monotonic_time().saturating_sub(then)))
    }
}

/// How far things have come.
struct Progress {
    state: State,
    /// How the command ended, when it has.
    status: Option<Status>,
}

impl Supervisor<'_> {
    /// Reaps and forwards until the command has ended, and the others if the plan is
    /// to wait for them; returns how the command did. `before` arrived already. Orphans
    /// are added to the report, if there is one.
    ///
    /// The order matters. SIGCHLD is a wake-up, never a count: the kernel merges
    /// several into one (`signal(7)`), so each means "reap all there is". The first
    /// drain comes before the first sleep, for children that ended before this process
    /// became sexton, whose SIGCHLD is long gone. What a drain finds is decided upon
    /// after it; and once the command has been reaped nothing is sent to it any more,
    /// as its PID may be somebody else's by now.
    ///
    /// ECHILD where the command is no child of ours, which would be waiting for ever.
    pub fn run(&self, before: SignalSet, mut report: Option<&mut Report>) -> Result<Status, Errno> {
        let mut progress = Progress { state: State::START, status: None };
        for signal in before.iter() {
            self.pass_on(signal, &mut progress);
        }
        sys::give_back_code();
        loop {
            let found = self.drain(&progress, report.as_deref_mut())?;
            if let Some(status) = found.ended {
                if self.ways.ends_the_group {
                    self.forwarder.end_group();
                }
                self.command_ended(status, !found.nobody_left, &mut progress);
            } else if found.nobody_left && progress.status.is_some() {
                self.happened(Event::NobodyLeft, &mut progress);
            } else if found.other_ended && progress.status.is_some() {
                self.happened(Event::OtherEnded, &mut progress);
            } else if let Some(signal) = found.stopped {
                self.log.say(Level::Debug, "the command was stopped by {}", &[&signal]);
                self.while_stopped(&mut progress, || self.job.stopped(signal));
            }
            self.happened(Event::Tick, &mut progress);
            // The kernel hands out low numbers first: a flood of HUPs would keep
            // SIGCHLD back for as long as it lasts.
            for _ in 0..SIGNALS_BETWEEN_DRAINS {
                if let (Phase::Done, Some(status)) = (progress.state.phase, progress.status) {
                    return Ok(status);
                }
                match sys::wait_for_signal(self.limit(&found, &progress)) {
                    Ok(received) if received.signal == Signal::CHLD => break,
                    Ok(received) => self.received(received, &mut progress),
                    // As long as the clock says so, there is time.
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break,
                    Err(reason) => {
                        return progress.status.map_or_else(|| self.reap_without_signals(reason), Ok);
                    }
                }
                // Without a command it is a signal that makes us look who is left.
                if self.command.is_none() && progress.status.is_some() {
                    break;
                }
            }
        }
    }

    /// For how long to sleep.
    fn limit(&self, found: &Found, progress: &Progress) -> Option<Nanoseconds> {
        if found.more {
            return Some(0);
        }
        let deadline = progress.state.deadline()?;
        Some(deadline.saturating_sub(sys::monotonic_time()))
    }

    fn received(&self, received: Received, progress: &mut Progress) {
        let draining = progress.state.draining;
        if received.signal == Signal::CONT && !draining {
            self.job.continued();
        }
        let suspends_itself = self.ways.suspends_itself
            && matches!(received.signal, Signal::TSTP | Signal::TTIN | Signal::TTOU);
        let suspended = self.job.is_suspended_by(received);
        if suspends_itself || suspended || is_for_the_command(received, self.own_pid, self.ways.same_group) {
            self.pass_on(received.signal, progress);
        }
        if suspends_itself {
            self.while_stopped(progress, || {
                let _ = sys::kill(self.own_pid, Signal::STOP);
            });
        } else if suspended && draining {
            // With the command running, we stop when it does.
            self.while_stopped(progress, || self.job.stop());
        }
    }

    /// Passes a signal on that is meant for the command.
    fn pass_on(&self, received: Signal, progress: &mut Progress) {
        let Some(signal) = self.rewrites.apply(received) else { return };
        if is_request(received, signal) {
            self.happened(Event::Request(signal), progress);
        } else {
            self.forward(signal, progress);
        }
    }

    fn forward(&self, signal: Signal, progress: &mut Progress) {
        if progress.state.draining {
            self.forwarder.send_to_rest(signal);
        } else if self.command.is_some() {
            self.last_signal.note(signal);
            self.forwarder.send(signal);
        } else if matches!(signal, Signal::TERM | Signal::INT) {
            // In a command's place, we end of it.
            self.command_ended(Status::SUCCESS, true, progress);
        }
    }

    fn command_ended(&self, status: Status, others: bool, progress: &mut Progress) {
        progress.status = Some(status);
        self.job.ended();
        self.happened(Event::CommandEnded { others }, progress);
    }

    /// Does what is to be done when something has happened.
    fn happened(&self, event: Event, progress: &mut Progress) {
        let before = progress.state;
        let action = progress.state.step(event, self.now(), self.plan);
        let after = progress.state;
        let changed = before.draining != after.draining
            || mem::discriminant(&before.phase) != mem::discriminant(&after.phase);
        if changed && !self.plan.is_empty() {
            self.log.say(Level::Info, "phase: {}", &[&after]);
        }
        match action {
            Action::None => {}
            Action::Forward(signal) => self.forward(signal, progress),
            Action::End(signal) => self.forwarder.end_rest(signal),
            Action::EndNewcomers(signal) => self.forwarder.end_newcomers(signal),
            Action::Kill if after.draining => self.forwarder.send_to_rest(Signal::KILL),
            Action::Kill => self.forwarder.send(Signal::KILL),
        }
        if event == Event::Tick && before.phase != Phase::Done && after.phase == Phase::Done {
            self.log.say(Level::Problem, "not all that is left can be killed", &[]);
        }
    }

    /// Does something that may stop us, and does not count the time.
    fn while_stopped(&self, progress: &mut Progress, stop: impl FnOnce()) {
        let before = self.now();
        stop();
        progress.state.postpone(self.now().saturating_sub(before));
    }

    /// The time, where it matters.
    fn now(&self) -> Moment {
        if self.plan.is_empty() { 0 } else { sys::monotonic_time() }
    }

    /// Reaps all that can be reaped, unless children end as fast as that: signals and the
    /// time must be heeded, too. That there is no child at all is right where there is no
    /// command, or the command was the last one.
    fn drain(&self, progress: &Progress, mut report: Option<&mut Report>) -> Result<Found, Errno> {
        let running = if progress.status.is_none() { self.command } else { None };
        let mut found = Found::default();
        for _ in 0..REAPED_IN_A_DRAIN {
            let reaped = if self.warn_on_reap || report.is_some() {
                self.reap_and_tell(running, report.as_deref_mut())
            } else {
                self.reap()
            };
            match reaped {
                Ok(Some((pid, status))) => {
                    let of_the_command = running == Some(pid);
                    if status.stop_signal().is_some() {
                        if of_the_command {
                            found.stopped = status.stop_signal();
                        }
                    } else if of_the_command {
                        found.ended = Some(status);
                    } else {
                        found.other_ended = true;
                    }
                }
                Ok(None) => return Ok(found),
                Err(Errno::ECHILD) if running.is_none() || found.ended.is_some() => {
                    found.nobody_left = true;
                    return Ok(found);
                }
                Err(reason) => return Err(reason),
            }
        }
        found.more = true;
        Ok(found)
    }

    fn reap(&self) -> Result<Option<(Pid, Status)>, Errno> {
        let reaped = sys::reap(self.job.ours)?;
        if let Some((pid, status)) = reaped
            && status.stop_signal().is_none()
        {
            self.tell_reaped(pid, status);
        }
        Ok(reaped)
    }

    /// The same with a look at who it is before it is reaped, as there is no telling
    /// afterwards. (Not inlined: with the buffers in it, the loop's frame would take a
    /// quarter of a page of the stack.)
    #[inline(never)]
    fn reap_and_tell(
        &self,
        running: Option<Pid>,
        report: Option<&mut Report>,
    ) -> Result<Option<(Pid, Status)>, Errno> {
        let pid = match sys::dead_child() {
            Ok(Some(pid)) => pid,
            Ok(None) if self.job.ours => return sys::stopped_child(),
            Ok(None) => return Ok(None),
            Err(Errno::ECHILD) => return Err(Errno::ECHILD),
            // Refused, by a seccomp filter say: then without a look.
            Err(_) => return self.reap(),
        };
        let mut buffer = [0; STAT];
        let stat = if running == Some(pid) { None } else { Stat::read(pid, &mut buffer) };
        let Some((status, usage)) = sys::reap_with_usage(pid)? else { return Ok(None) };
        if running == Some(pid) {
            self.tell_reaped(pid, status);
        } else {
            let orphan = Orphan { pid, stat, status, usage };
            let level = if self.warn_on_reap { Level::Problem } else { Level::Trace };
            self.log.say(level, "{}", &[&orphan]);
            if let Some(report) = report {
                report.add(&orphan);
            }
        }
        Ok(Some((pid, status)))
    }

    /// Where signals cannot be waited for (a seccomp filter), a PID 1 that gave up
    /// would kill its container, and one that tried again would spin: reap at least.
    fn reap_without_signals(&self, reason: Errno) -> Result<Status, Errno> {
        self.log.say(Level::Problem, "rt_sigtimedwait: {}: no signal can be forwarded", &[&reason]);
        loop {
            let (pid, status) = sys::wait_and_reap()?;
            self.tell_reaped(pid, status);
            if Some(pid) == self.command {
                return Ok(status);
            }
        }
    }

    fn tell_reaped(&self, pid: Pid, status: Status) {
        self.log.say(Level::Trace, "reaped {}: {}", &[&pid, &status]);
    }
}

const SIGNALS_BETWEEN_DRAINS: u8 = 64;
const REAPED_IN_A_DRAIN: u16 = 1024;

/// What a drain found out.
#[derive(Default)]
struct Found {
    /// The command's end.
    ended: Option<Status>,
    /// Its being stopped.
    stopped: Option<Signal>,
    /// Whether somebody else was reaped.
    other_ended: bool,
    /// Whether there is no child at all.
    nobody_left: bool,
    /// Whether there may be more to reap.
    more: bool,
}
