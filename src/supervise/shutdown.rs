//! An orderly end: what to do at a stop signal, when the command has exited, and when a
//! deadline has passed (`-d`, `-k`, `-t`, `-a` and `-x`).
//!
//! A pure state machine: its state, an event and the time determine the next state and the
//! action. Its caller sends the signals and keeps the clock.
//!
//! Without those options it never has a deadline, and is done when the command exits.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};

use crate::sys::signal::{Signal, SignalSet};
use crate::units::{Nanos, SECOND};

/// A time on the monotonic clock (`CLOCK_MONOTONIC` in `clock_gettime(2)`): it goes on
/// while sexton is stopped, and stands still while the machine is suspended.
pub type Instant = Nanos;

/// What the options ask for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StopPolicy {
    /// `-d`: how long the first stop signal is delayed.
    pub delay: Nanos,
    /// `-k`: how long after the first stop signal was forwarded the command is killed.
    pub kill_after: Option<Nanos>,
    /// `-t`: how long other processes may run after the command has exited.
    pub grace: Option<Nanos>,
    /// `-a`: other processes may run until they exit, or a stop signal arrives.
    pub wait_all: bool,
    /// `-x`: how long the command may run.
    pub timeout: Option<Timeout>,
}

/// A time limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeout {
    /// How long after the start it is as if a stop signal had arrived.
    pub after: Nanos,
    /// The signal that is then forwarded: TERM, or what it is rewritten to.
    pub signal: Signal,
}

impl StopPolicy {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether sexton waits for other processes when the command has exited.
    pub fn waits_for_others(&self) -> bool {
        self.wait_all || self.grace.is_some()
    }

    /// Whether the command is to exit with sexton, should that be killed: it was promised
    /// that something ends in time.
    pub fn limits_time(&self) -> bool {
        self.grace.is_some() || self.timeout.is_some()
    }
}

/// The signals that ask for an end: TERM and INT, unless others are chosen
/// (`--stop-signal`).
#[derive(Default)]
pub struct StopSignals {
    chosen: Option<SignalSet>,
}

impl StopSignals {
    /// Adds one; the first takes the place of the default.
    pub fn choose(&mut self, signal: Signal) {
        self.chosen = Some(self.chosen.unwrap_or(SignalSet::EMPTY).with(signal));
    }

    /// Whether a signal asks for an end: by itself, or by what it was rewritten to. One that
    /// is dropped asks for nothing.
    pub fn ask_by(&self, received: Signal, forwarded: Signal) -> bool {
        let signals = self.chosen.unwrap_or(SignalSet::EMPTY.with(Signal::TERM).with(Signal::INT));
        signals.contains(received) || signals.contains(forwarded)
    }
}

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// No stop signal has arrived.
    Running {
        /// When it is as if one had; None for never.
        deadline: Option<Instant>,
    },
    /// One has, and is delayed.
    Delaying {
        /// Which one.
        signal: Signal,
        /// When it is forwarded.
        deadline: Instant,
    },
    /// It has been forwarded.
    Stopping {
        /// When what is left is killed; None for never.
        deadline: Option<Instant>,
        /// The signal that asked the remaining processes to terminate. A process that
        /// loses its parent gets it, too.
        notified: Option<Signal>,
    },
    /// What is left is being killed.
    Killing {
        /// When sexton gives up. None while the command runs, as its status becomes
        /// sexton's.
        deadline: Option<Instant>,
    },
    /// There is nothing more to wait for.
    Done,
}

/// The state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// How far the end has come.
    pub phase: Phase,
    /// Whether the command has exited, and other processes remain.
    pub draining: bool,
    /// Whether the command was still running when its time ran out.
    pub timed_out: bool,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A stop signal has arrived, to be forwarded as this one.
    StopRequested(Signal),
    /// The command has exited.
    CommandExited {
        /// Whether other processes remain.
        others: bool,
    },
    /// The command had exited before, and now another process has; more remain.
    OrphanExited,
    /// The command had exited before, and no child is left.
    NoChildrenLeft,
    /// Nothing but that time has passed.
    Tick,
}

/// What to do: to the command while it runs, to the remaining processes when it has exited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nothing.
    None,
    /// Forward this signal.
    Forward(Signal),
    /// Ask the remaining processes to terminate, by this signal: a new request.
    Terminate(Signal),
    /// Ask the remaining processes that neither such a request nor one before the command
    /// exited has reached.
    TerminateRest(Signal),
    /// Send SIGKILL.
    Kill,
}

/// How long a process that was sent SIGKILL may take. One that is not gone by then sleeps
/// in the kernel (a dead network mount), or is another user's.
const KILLING: Nanos = SECOND;

impl State {
    /// The state at the start.
    pub fn new(now: Instant, policy: &StopPolicy) -> Self {
        let deadline = policy.timeout.map(|timeout| now.saturating_add(timeout.after));
        Self { phase: Phase::Running { deadline }, draining: false, timed_out: false }
    }

    /// When to look at the clock again.
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Delaying { deadline, .. } => Some(deadline),
            Phase::Running { deadline } | Phase::Stopping { deadline, .. } | Phase::Killing { deadline } => {
                deadline
            }
            Phase::Done => None,
        }
    }

    /// Moves the deadline by a time during which no process could act.
    pub fn postpone(&mut self, by: Nanos) {
        match &mut self.phase {
            Phase::Delaying { deadline, .. }
            | Phase::Running { deadline: Some(deadline) }
            | Phase::Stopping { deadline: Some(deadline), .. }
            | Phase::Killing { deadline: Some(deadline) } => *deadline = deadline.saturating_add(by),
            _ => {}
        }
    }

    /// Takes an event into account, and returns what to do.
    pub fn step(&mut self, event: Event, now: Instant, policy: &StopPolicy) -> Action {
        let (phase, action) = match event {
            Event::StopRequested(signal) => self.on_stop_request(signal, now, policy),
            Event::CommandExited { others } => {
                self.draining = true;
                if others && policy.waits_for_others() {
                    self.on_command_exit(now, policy)
                } else {
                    (Phase::Done, Action::None)
                }
            }
            Event::OrphanExited => (self.phase, self.on_orphan_exit()),
            Event::NoChildrenLeft => (Phase::Done, Action::None),
            Event::Tick => self.on_tick(now, policy),
        };
        self.phase = phase;
        action
    }

    fn on_stop_request(&self, signal: Signal, now: Instant, policy: &StopPolicy) -> (Phase, Action) {
        match self.phase {
            Phase::Running { .. } if policy.delay > 0 => {
                (Phase::Delaying { signal, deadline: now.saturating_add(policy.delay) }, Action::None)
            }
            Phase::Running { .. } | Phase::Delaying { .. } => self.forward_request(signal, now, policy),
            // The deadline stays.
            Phase::Stopping { deadline, .. } if self.draining => {
                (Phase::Stopping { deadline, notified: Some(signal) }, Action::Terminate(signal))
            }
            phase => (phase, Action::Forward(signal)),
        }
    }

    /// Forwards a request, to the command or to the remaining processes. For those `-t` is
    /// the limit, where it is given, else `-k`.
    fn forward_request(&self, signal: Signal, now: Instant, policy: &StopPolicy) -> (Phase, Action) {
        if !self.draining {
            let deadline = policy.kill_after.map(|limit| now.saturating_add(limit));
            return (Phase::Stopping { deadline, notified: None }, Action::Forward(signal));
        }
        let deadline = policy.grace.or(policy.kill_after).map(|limit| now.saturating_add(limit));
        (Phase::Stopping { deadline, notified: Some(signal) }, Action::Terminate(signal))
    }

    /// The command has exited, and other processes remain to be waited for.
    fn on_command_exit(&self, now: Instant, policy: &StopPolicy) -> (Phase, Action) {
        match (self.phase, policy.grace) {
            // With `-a`, no process is asked to terminate before a stop signal arrives.
            (phase @ Phase::Running { .. }, _) if policy.wait_all => (phase, Action::None),
            (_, Some(grace)) => {
                let deadline = Some(now.saturating_add(grace));
                (
                    Phase::Stopping { deadline, notified: Some(Signal::TERM) },
                    Action::TerminateRest(Signal::TERM),
                )
            }
            (Phase::Delaying { signal, .. }, None) => self.forward_request(signal, now, policy),
            // The time of the command is over, and so is that of the remaining processes.
            (Phase::Killing { .. }, None) => Self::kill_others(now),
            (phase, None) => (phase, Action::None),
        }
    }

    fn kill_others(now: Instant) -> (Phase, Action) {
        (Phase::Killing { deadline: Some(now.saturating_add(KILLING)) }, Action::Kill)
    }

    /// A remaining process has exited: perhaps after it forked once more, and its children
    /// have lost their parent.
    fn on_orphan_exit(&self) -> Action {
        match self.phase {
            Phase::Stopping { notified: Some(signal), .. } => Action::TerminateRest(signal),
            Phase::Killing { .. } => Action::Kill,
            _ => Action::None,
        }
    }

    fn on_tick(&mut self, now: Instant, policy: &StopPolicy) -> (Phase, Action) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return (self.phase, Action::None);
        }
        match self.phase {
            Phase::Running { .. } => {
                self.timed_out = !self.draining;
                let signal = policy.timeout.map_or(Signal::TERM, |timeout| timeout.signal);
                self.forward_request(signal, now, policy)
            }
            Phase::Delaying { signal, .. } => self.forward_request(signal, now, policy),
            Phase::Killing { .. } => (Phase::Done, Action::None),
            _ if self.draining => Self::kill_others(now),
            _ => (Phase::Killing { deadline: None }, Action::Kill),
        }
    }
}

/// The name of the phase, as the README has it.
impl Display for State {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let phase = match self.phase {
            Phase::Running { .. } if self.draining => return f.write_str("draining"),
            Phase::Running { .. } => "running",
            Phase::Delaying { .. } => "delaying",
            Phase::Stopping { .. } => "stopping",
            Phase::Killing { .. } => "killing",
            Phase::Done => return f.write_str("done"),
        };
        let before = match self {
            Self { draining: true, .. } => "draining, ",
            Self { timed_out: true, .. } => "timed out, ",
            _ => "",
        };
        write!(f, "{before}{phase}")
    }
}

#[cfg(test)]
mod tests;
