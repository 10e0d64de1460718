//! An orderly end: what to do at a stop signal, when the command has exited, and when a
//! deadline has passed (`-d`, `-k`, `-t` and `-a`).
//!
//! A pure state machine: its state, an event and the time determine the next state and the
//! action. Its caller sends the signals and keeps the clock.
//!
//! Without those options it never has a deadline, and is done when the command exits.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};

use crate::sys::signal::Signal;
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
}

/// Whether a signal is a stop signal: TERM, INT or QUIT, what they were rewritten to, or
/// what was rewritten to one of them. One that is dropped is none.
pub fn is_stop_signal(received: Signal, forwarded: Signal) -> bool {
    let asks = |signal| matches!(signal, Signal::TERM | Signal::INT | Signal::QUIT);
    asks(received) || asks(forwarded)
}

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// No stop signal has arrived.
    Running,
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
    pub const START: Self = Self { phase: Phase::Running, draining: false };

    /// When to look at the clock again.
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Delaying { deadline, .. } => Some(deadline),
            Phase::Stopping { deadline, .. } | Phase::Killing { deadline } => deadline,
            Phase::Running | Phase::Done => None,
        }
    }

    /// Moves the deadline by a time during which no process could act.
    pub fn postpone(&mut self, by: Nanos) {
        match &mut self.phase {
            Phase::Delaying { deadline, .. }
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
            Phase::Running if policy.delay > 0 => {
                (Phase::Delaying { signal, deadline: now.saturating_add(policy.delay) }, Action::None)
            }
            Phase::Running | Phase::Delaying { .. } => self.forward_request(signal, now, policy),
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
            (Phase::Running, _) if policy.wait_all => (Phase::Running, Action::None),
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

    fn on_tick(&self, now: Instant, policy: &StopPolicy) -> (Phase, Action) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return (self.phase, Action::None);
        }
        match self.phase {
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
            Phase::Running if self.draining => return f.write_str("draining"),
            Phase::Running => "running",
            Phase::Delaying { .. } => "delaying",
            Phase::Stopping { .. } => "stopping",
            Phase::Killing { .. } => "killing",
            Phase::Done => return f.write_str("done"),
        };
        write!(f, "{}{phase}", if self.draining { "draining, " } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const fn seconds(seconds: u64) -> Nanos {
        seconds * 1_000_000_000
    }

    const D: u64 = 2;
    const K: u64 = 5;
    const T: u64 = 11;

    /// All sixteen combinations of the options.
    fn policies() -> impl Iterator<Item = StopPolicy> {
        (0..16).map(|bits| StopPolicy {
            delay: seconds(if bits & 1 > 0 { D } else { 0 }),
            kill_after: (bits & 2 > 0).then_some(seconds(K)),
            grace: (bits & 4 > 0).then_some(seconds(T)),
            wait_all: bits & 8 > 0,
        })
    }

    fn policy(options: &str) -> StopPolicy {
        let wanted = |policy: &StopPolicy| {
            [
                ('d', policy.delay > 0),
                ('k', policy.kill_after.is_some()),
                ('t', policy.grace.is_some()),
                ('a', policy.wait_all),
            ]
            .iter()
            .all(|(letter, given)| options.contains(*letter) == *given)
        };
        policies().find(wanted).unwrap()
    }

    /// What happens, second by second: `TERM`, `ended` (others remain),
    /// `alone` (none does), `other` (one of them exited), `nobody`. Returns each phase with the
    /// second in which it began, and each action.
    fn story(options: &str, events: &[(u64, &str)]) -> Vec<String> {
        let policy = policy(options);
        let mut state = State::START;
        let mut log = Vec::new();
        for second in 0..40 {
            let now = seconds(second);
            let of_now = events.iter().filter(|(when, _)| *when == second).map(|(_, what)| match *what {
                "ended" => Event::CommandExited { others: true },
                "alone" => Event::CommandExited { others: false },
                "other" => Event::OrphanExited,
                "nobody" => Event::NoChildrenLeft,
                signal => Event::StopRequested(Signal::parse(signal.as_bytes()).unwrap()),
            });
            for event in of_now.chain([Event::Tick]) {
                if state.phase == Phase::Done {
                    break;
                }
                let before = state.to_string();
                let action = state.step(event, now, &policy);
                let after = state.to_string();
                if before != after {
                    log.push(format!("{second} {after}"));
                }
                match action {
                    Action::None => {}
                    Action::Forward(signal) => log.push(format!("forward {}", signal.number())),
                    Action::Terminate(signal) => log.push(format!("terminate {}", signal.number())),
                    Action::TerminateRest(signal) => log.push(format!("terminate rest {}", signal.number())),
                    Action::Kill => log.push("kill".into()),
                }
            }
        }
        log
    }

    #[test]
    fn without_options_it_forwards_and_ends_with_the_command() {
        assert_eq!(
            story("", &[(1, "TERM"), (2, "INT"), (3, "ended")]),
            ["1 stopping", "forward 15", "forward 2", "3 done"]
        );
    }

    #[test]
    fn each_option_by_itself() {
        // Killed in time, whatever else is requested meanwhile.
        assert_eq!(
            story("k", &[(1, "TERM"), (4, "TERM"), (7, "alone")]),
            ["1 stopping", "forward 15", "forward 15", "6 killing", "kill", "7 done"]
        );
        assert_eq!(story("k", &[(1, "INT"), (3, "ended")]), ["1 stopping", "forward 2", "3 done"]);
        // Delayed; or not, at a second request; or superfluous.
        assert_eq!(
            story("d", &[(1, "TERM"), (4, "TERM")]),
            ["1 delaying", "3 stopping", "forward 15", "forward 15"]
        );
        assert_eq!(story("d", &[(1, "TERM"), (2, "QUIT")]), ["1 delaying", "2 stopping", "forward 3"]);
        assert_eq!(story("d", &[(1, "TERM"), (2, "ended")]), ["1 delaying", "2 done"]);
        // The others are asked to terminate, then killed.
        assert_eq!(
            story("t", &[(1, "ended"), (3, "other"), (4, "TERM"), (5, "nobody")]),
            ["1 draining, stopping", "terminate rest 15", "terminate rest 15", "terminate 15", "5 done"]
        );
        assert_eq!(
            story("t", &[(1, "ended"), (13, "nobody")]),
            ["1 draining, stopping", "terminate rest 15", "12 draining, killing", "kill", "13 done"]
        );
        assert_eq!(story("t", &[(1, "alone")]), ["1 done"]);
        // They are left alone, until they exit by themselves.
        assert_eq!(
            story("a", &[(1, "ended"), (3, "other"), (4, "TERM"), (30, "nobody")]),
            ["1 draining", "4 draining, stopping", "terminate 15", "30 done"]
        );
    }

    #[test]
    fn a_process_that_cannot_be_killed_is_given_up() {
        assert_eq!(
            story("t", &[(1, "ended")]),
            ["1 draining, stopping", "terminate rest 15", "12 draining, killing", "kill", "13 done"]
        );
        assert_eq!(story("k", &[(1, "TERM")]).last().unwrap(), "kill", "the command never is");
    }

    #[test]
    fn options_together() {
        assert_eq!(
            story("dk", &[(1, "TERM"), (9, "alone")]),
            ["1 delaying", "3 stopping", "forward 15", "8 killing", "kill", "9 done"]
        );
        assert_eq!(
            story("kt", &[(1, "TERM"), (7, "ended")]),
            [
                "1 stopping",
                "forward 15",
                "6 killing",
                "kill",
                "7 draining, stopping",
                "terminate rest 15",
                "18 draining, killing",
                "kill",
                "19 done"
            ]
        );
        // -k goes on to count where -t does not take over.
        assert_eq!(
            story("ak", &[(1, "TERM"), (2, "ended")]),
            ["1 stopping", "forward 15", "2 draining, stopping", "6 draining, killing", "kill", "7 done"]
        );
        assert_eq!(
            story("ak", &[(1, "TERM"), (7, "ended")])[4..],
            ["7 draining, killing", "kill", "8 done"].map(String::from)
        );
        // -a waits for a request; then -t is the limit of the others.
        assert_eq!(
            story("at", &[(1, "ended"), (9, "INT")]),
            ["1 draining", "9 draining, stopping", "terminate 2", "20 draining, killing", "kill", "21 done"]
        );
        assert_eq!(
            story("at", &[(1, "TERM"), (2, "ended"), (3, "nobody")]),
            ["1 stopping", "forward 15", "2 draining, stopping", "terminate rest 15", "3 done"]
        );
        assert_eq!(
            story("adk", &[(1, "ended"), (2, "TERM")]),
            [
                "1 draining",
                "2 draining, delaying",
                "4 draining, stopping",
                "terminate 15",
                "9 draining, killing",
                "kill",
                "10 done"
            ]
        );
        assert_eq!(
            story("ad", &[(1, "QUIT"), (2, "ended")]),
            ["1 delaying", "2 draining, stopping", "terminate 3"]
        );
        assert_eq!(story("dt", &[(1, "QUIT"), (2, "ended")])[..2], ["1 delaying", "2 draining, stopping"]);
    }

    #[test]
    fn a_stop_signal_is_one_on_either_side_of_a_rewrite() {
        let signal = |name: &str| Signal::parse(name.as_bytes()).unwrap();
        for (received, forwarded, asks) in [
            ("TERM", "TERM", true),
            ("TERM", "WINCH", true),
            ("RTMIN+3", "TERM", true),
            ("USR1", "USR1", false),
            ("WINCH", "WINCH", false),
            ("HUP", "USR2", false),
        ] {
            assert_eq!(is_stop_signal(signal(received), signal(forwarded)), asks, "{received}:{forwarded}");
        }
    }

    #[test]
    fn a_deadline_moves_by_the_time_spent_stopped() {
        let mut state = State::START;
        state.step(Event::StopRequested(Signal::TERM), seconds(1), &policy("k"));
        assert_eq!(state.deadline(), Some(seconds(1 + K)));
        state.postpone(seconds(100));
        assert_eq!(state.deadline(), Some(seconds(101 + K)));
    }

    #[test]
    fn a_deadline_that_never_comes_does_not_overflow() {
        let policy = StopPolicy { kill_after: Some(Nanos::MAX), ..StopPolicy::default() };
        let mut state = State::START;
        state.step(Event::StopRequested(Signal::TERM), seconds(1), &policy);
        assert_eq!(state.step(Event::Tick, seconds(1 << 34), &policy), Action::None);
    }

    /// Every state that can be reached within a few steps, from every combination of
    /// options, with every event, on both sides of every deadline.
    #[test]
    fn invariants_hold_in_every_reachable_state() {
        const EVENTS: [Event; 7] = [
            Event::StopRequested(Signal::TERM),
            Event::StopRequested(Signal::QUIT),
            Event::CommandExited { others: true },
            Event::CommandExited { others: false },
            Event::OrphanExited,
            Event::NoChildrenLeft,
            Event::Tick,
        ];
        fn possible(state: &State, event: Event) -> bool {
            match event {
                Event::CommandExited { .. } => !state.draining,
                Event::OrphanExited | Event::NoChildrenLeft => state.draining,
                _ => true,
            }
        }
        fn explore(state: State, now: Instant, policy: &StopPolicy, depth: u32, visited: &mut u32) {
            *visited += 1;
            if depth == 0 || state.phase == Phase::Done {
                return;
            }
            // Before the deadline, at it, and after it.
            let times = match state.deadline() {
                Some(deadline) => vec![now, deadline - 1, deadline],
                None => vec![now, now + seconds(1)],
            };
            for now in times.into_iter().filter(|time| *time >= now) {
                for event in EVENTS.into_iter().filter(|event| possible(&state, *event)) {
                    let mut next = state;
                    let action = next.step(event, now, policy);
                    check(&state, event, now, policy, &next, action);
                    explore(next, now, policy, depth - 1, visited);
                }
            }
        }
        fn check(
            before: &State,
            event: Event,
            now: Instant,
            policy: &StopPolicy,
            after: &State,
            action: Action,
        ) {
            let context = || format!("{before:?} {event:?} at {now:?} by {policy:?}: {after:?} {action:?}");
            let due = before.deadline().is_some_and(|deadline| deadline <= now);
            let was_killing = matches!(before.phase, Phase::Killing { .. });
            // Nothing is killed before the time is up.
            if action == Action::Kill {
                assert!(was_killing || due, "{}", context());
                assert!(matches!(after.phase, Phase::Killing { .. }), "{}", context());
            }
            // A request is either forwarded at once or, the first one, delayed.
            if let Event::StopRequested(signal) = event {
                let forwarded = [Action::Forward(signal), Action::Terminate(signal)].contains(&action);
                let delayed = matches!(after.phase, Phase::Delaying { .. });
                assert!(forwarded != delayed, "{}", context());
                assert!(!delayed || before.phase == Phase::Running && policy.delay > 0, "{}", context());
                // It prolongs nothing.
                if let (Phase::Stopping { deadline: was, .. }, Phase::Stopping { deadline: is, .. }) =
                    (before.phase, after.phase)
                {
                    assert_eq!(was, is, "{}", context());
                }
            }
            // While the command runs there is no end, and after it one as soon as no process
            // remains.
            assert!(after.draining || after.phase != Phase::Done, "{}", context());
            if matches!(event, Event::NoChildrenLeft | Event::CommandExited { others: false }) {
                assert_eq!(after.phase, Phase::Done, "{}", context());
            }
            if !policy.waits_for_others() && after.draining {
                assert_eq!(after.phase, Phase::Done, "{}", context());
            }
            // Others are asked to terminate by -t when the command exits, else by a request.
            match action {
                Action::Terminate(_) => {
                    assert!(after.draining, "{}", context());
                    let delayed = matches!(before.phase, Phase::Delaying { .. });
                    assert!(matches!(event, Event::StopRequested(_)) || delayed, "{}", context());
                }
                Action::TerminateRest(signal) => {
                    let asked =
                        matches!(before.phase, Phase::Stopping { notified, .. } if notified == Some(signal));
                    assert!(asked || policy.grace.is_some(), "{}", context());
                    assert!(after.draining && matches!(after.phase, Phase::Stopping { .. }), "{}", context());
                }
                _ => {}
            }
            // Nothing is armed that no option asked for.
            match after.phase {
                Phase::Stopping { deadline: Some(_), .. } => {
                    let armed = policy.kill_after.is_some() || after.draining && policy.grace.is_some();
                    assert!(armed, "{}", context());
                }
                Phase::Killing { deadline } => {
                    assert_eq!(deadline.is_some(), after.draining, "{}", context());
                }
                _ => {}
            }
            // A deadline that was passed is not met again.
            if event == Event::Tick && due {
                assert_ne!(before.phase, after.phase, "{}", context());
                assert!(after.deadline().is_none_or(|deadline| deadline > now), "{}", context());
            }
        }
        let mut visited = 0;
        for policy in policies() {
            explore(State::START, seconds(100), &policy, 5, &mut visited);
        }
        assert!(visited > 50_000, "{visited}");
    }
}
