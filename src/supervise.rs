//! The loop: reap until nothing is left to reap, then sleep until a signal comes or
//! time is up.

#![forbid(unsafe_code)]

use std::mem;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::exit::Status;
use crate::forward::{Forwarder, Rewrites, is_for_the_command};
use crate::message::{Level, Log};
use crate::shutdown::{self, Action, Event, Moment, Phase, Plan, State};
use crate::signal::Signal;
use crate::sys::{self, Received, SignalSet};
use crate::terminal::Job;

/// Whom the loop looks after, and how.
pub struct Supervisor<'a> {
    /// The command's PID.
    pub command: Pid,
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
    /// Where things are told.
    pub log: &'a Log,
}

impl Supervisor<'_> {
    /// Reaps and forwards until the command has ended, and the others if the plan is
    /// to wait for them; returns how the command did. `before` arrived already.
    ///
    /// The order matters. SIGCHLD is a wake-up, never a count: the kernel merges
    /// several into one (`signal(7)`), so each means "reap all there is". The first
    /// drain comes before the first sleep, for children that ended before this process
    /// became sexton, whose SIGCHLD is long gone. What a drain finds is decided upon
    /// after it; and once the command has been reaped nothing is sent to it any more,
    /// as its PID may be somebody else's by now.
    ///
    /// ECHILD where the command is no child of ours, which would be waiting for ever.
    pub fn run(&self, before: SignalSet) -> Result<Status, Errno> {
        let mut state = State::START;
        let mut status = None;
        for signal in before.iter() {
            self.pass_on(signal, &mut state);
        }
        loop {
            let found = self.drain(status.is_some())?;
            if found.ended.is_some() {
                status = found.ended;
                self.job.ended();
                self.happened(Event::CommandEnded { others: !found.nobody_left }, &mut state);
            } else if found.nobody_left {
                self.happened(Event::NobodyLeft, &mut state);
            } else if found.other_ended && status.is_some() {
                self.happened(Event::OtherEnded, &mut state);
            } else if let Some(signal) = found.stopped {
                self.log.say(Level::Debug, &[&"the command was stopped by ", &signal]);
                self.while_stopped(&mut state, || self.job.stopped(signal));
            }
            self.happened(Event::Tick, &mut state);
            if let (Phase::Done, Some(status)) = (state.phase, status) {
                return Ok(status);
            }
            // The kernel hands out low numbers first: a flood of HUPs would keep
            // SIGCHLD back for as long as it lasts.
            for _ in 0..SIGNALS_BETWEEN_DRAINS {
                let limit = state.deadline().map(|deadline| deadline.saturating_sub(sys::monotonic_time()));
                match sys::wait_for_signal(limit) {
                    Ok(received) if received.signal == Signal::CHLD => break,
                    Ok(received) => self.received(received, &mut state),
                    // As long as the clock says so, there is time.
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break,
                    Err(reason) => return status.map_or_else(|| self.reap_without_signals(reason), Ok),
                }
            }
        }
    }

    fn received(&self, received: Received, state: &mut State) {
        if received.signal == Signal::CONT && !state.draining {
            self.job.continued();
        }
        let suspended = self.job.is_suspended_by(received);
        if suspended || is_for_the_command(received, self.own_pid) {
            self.pass_on(received.signal, state);
        }
        // With the command running, we stop when it does.
        if suspended && state.draining {
            self.while_stopped(state, || self.job.stop());
        }
    }

    /// Passes a signal on that is meant for the command.
    fn pass_on(&self, received: Signal, state: &mut State) {
        let Some(signal) = self.rewrites.apply(received) else { return };
        if shutdown::is_request(received, signal) {
            self.happened(Event::Request(signal), state);
        } else {
            self.forward(signal, state);
        }
    }

    fn forward(&self, signal: Signal, state: &State) {
        if state.draining {
            self.forwarder.send_to_rest(signal);
        } else {
            self.forwarder.send(signal);
        }
    }

    /// Does what is to be done when something has happened.
    fn happened(&self, event: Event, state: &mut State) {
        let before = *state;
        let action = state.step(event, self.now(), self.plan);
        let changed = before.draining != state.draining
            || mem::discriminant(&before.phase) != mem::discriminant(&state.phase);
        if changed && !self.plan.is_empty() {
            self.log.say(Level::Info, &[&"phase: ", state]);
        }
        match action {
            Action::None => {}
            Action::Forward(signal) => self.forward(signal, state),
            Action::End(signal) => self.forwarder.end_rest(signal),
            Action::EndNewcomers(signal) => self.forwarder.end_newcomers(signal),
            Action::Kill => self.forward(Signal::KILL, state),
        }
        if event == Event::Tick && before.phase != Phase::Done && state.phase == Phase::Done {
            self.log.say(Level::Problem, &[&"not all that is left can be killed"]);
        }
    }

    /// Does something that may stop us, and does not count the time.
    fn while_stopped(&self, state: &mut State, stop: impl FnOnce()) {
        let before = self.now();
        stop();
        state.postpone(self.now().saturating_sub(before));
    }

    /// The time, where it matters.
    fn now(&self) -> Moment {
        if self.plan.is_empty() { 0 } else { sys::monotonic_time() }
    }

    /// Reaps all that can be reaped. That there is no child at all is right where the
    /// command was the last one, and afterwards.
    fn drain(&self, command_ended: bool) -> Result<Found, Errno> {
        let mut found = Found::default();
        loop {
            match sys::reap(self.job.ours) {
                Ok(Some((pid, status))) => {
                    let of_the_command = pid == self.command && !command_ended;
                    if status.stop_signal().is_none() {
                        self.tell_reaped(pid, status);
                        if of_the_command {
                            found.ended = Some(status);
                        } else {
                            found.other_ended = true;
                        }
                    } else if of_the_command {
                        found.stopped = status.stop_signal();
                    }
                }
                Ok(None) => return Ok(found),
                Err(Errno::ECHILD) if command_ended || found.ended.is_some() => {
                    found.nobody_left = true;
                    return Ok(found);
                }
                Err(reason) => return Err(reason),
            }
        }
    }

    /// Where signals cannot be waited for (a seccomp filter), a PID 1 that gave up
    /// would kill its container, and one that tried again would spin: reap at least.
    fn reap_without_signals(&self, reason: Errno) -> Result<Status, Errno> {
        self.log.say(Level::Problem, &[&"rt_sigtimedwait: ", &reason, &": no signal can be forwarded"]);
        loop {
            let (pid, status) = sys::wait_and_reap()?;
            self.tell_reaped(pid, status);
            if pid == self.command {
                return Ok(status);
            }
        }
    }

    fn tell_reaped(&self, pid: Pid, status: Status) {
        self.log.say(Level::Trace, &[&"reaped ", &pid, &": ", &status]);
    }
}

const SIGNALS_BETWEEN_DRAINS: u8 = 64;

/// What a drain found out.
#[derive(Default)]
struct Found {
    /// The command's end.
    ended: Option<Status>,
    /// Its being stopped.
    stopped: Option<Signal>,
    /// Whether somebody else was reaped.
    other_ended: bool,
    /// Whether the command has ended and there is no other child.
    nobody_left: bool,
}
