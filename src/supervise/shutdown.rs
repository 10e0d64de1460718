//! An orderly end: what to do when somebody asks for it, when the command has
//! ended, and when time is up (`-d`, `-k`, `-t` and `-a`).
//!
//! A state machine, and a pure one: where it stands, what happened and what time it
//! is say where it goes and what is to be done. Whoever feeds it sends the signals
//! and keeps the clock.
//!
//! Without those options it never has a deadline, and ends with the command.

#![forbid(unsafe_code)]

use crate::log::{Line, Show};
use crate::sys::signal::Signal;
use crate::units::Nanoseconds;

/// A moment on the monotonic clock (`CLOCK_MONOTONIC` in `clock_gettime(2)`): it
/// goes on while we are stopped, and stands still while the machine is suspended.
pub type Moment = Nanoseconds;

/// What the options ask for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Plan {
    /// `-d`: how long the first request to end is held back.
    pub delay: Nanoseconds,
    /// `-k`: how long after it was passed on what is left is killed.
    pub kill_after: Option<Nanoseconds>,
    /// `-t`: how long others may go on after the command has ended.
    pub grace: Option<Nanoseconds>,
    /// `-a`: others may go on for as long as they like, if nobody asks them to end.
    pub wait_all: bool,
}

impl Plan {
    /// Whether there is anything to it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether others are waited for when the command has ended.
    pub fn waits_for_others(&self) -> bool {
        self.wait_all || self.grace.is_some()
    }
}

/// Whether a signal asks for an end: TERM, INT or QUIT, or what they were rewritten
/// to, or what was rewritten to one of them. One that is dropped asks for nothing.
pub fn is_request(received: Signal, forwarded: Signal) -> bool {
    let asks = |signal| matches!(signal, Signal::TERM | Signal::INT | Signal::QUIT);
    asks(received) || asks(forwarded)
}

/// How far things have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nobody has asked for an end.
    Running,
    /// Somebody has, and the signal is held back.
    Delaying {
        /// Which one it is.
        signal: Signal,
        /// When it goes on.
        until: Moment,
    },
    /// It has been passed on.
    Stopping {
        /// When what is left is killed; None for never.
        until: Option<Moment>,
        /// What all that was left has been told to end by, as those are to be who are
        /// born meanwhile.
        told: Option<Signal>,
    },
    /// What is left is being killed.
    Killing {
        /// When it is given up. The command never is: its status is ours.
        until: Option<Moment>,
    },
    /// There is nothing more to wait for.
    Done,
}

/// Where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// How far things have come.
    pub phase: Phase,
    /// Whether the command has ended, and it is all about others.
    pub draining: bool,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A request to end has arrived, to be forwarded as this signal.
    Request(Signal),
    /// The command has ended.
    CommandEnded {
        /// Whether others are left.
        others: bool,
    },
    /// The command has ended before, and now another one; others are left.
    OtherEnded,
    /// The command has ended before, and nobody else is left.
    NobodyLeft,
    /// Nothing but that time has passed.
    Tick,
}

/// What is to be done. It is done to the command while it runs, to all that is left
/// when it has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nothing.
    None,
    /// Forward this signal.
    Forward(Signal),
    /// Tell all that is left to end, by this signal, and continue who is stopped.
    End(Signal),
    /// Tell those who were born since the last time.
    EndNewcomers(Signal),
    /// Send SIGKILL.
    Kill,
}

/// How long those who were sent SIGKILL may take. Who is not gone by then sleeps in
/// the kernel (a dead network mount), or is another user's.
const KILLING: Nanoseconds = 1_000_000_000;

impl State {
    /// At the start.
    pub const START: Self = Self { phase: Phase::Running, draining: false };

    /// When the clock is to be looked at again.
    pub fn deadline(&self) -> Option<Moment> {
        match self.phase {
            Phase::Delaying { until, .. } => Some(until),
            Phase::Stopping { until, .. } | Phase::Killing { until } => until,
            Phase::Running | Phase::Done => None,
        }
    }

    /// Moves the deadline, by the time during which nobody could do anything.
    pub fn postpone(&mut self, by: Nanoseconds) {
        match &mut self.phase {
            Phase::Delaying { until, .. }
            | Phase::Stopping { until: Some(until), .. }
            | Phase::Killing { until: Some(until) } => *until = until.saturating_add(by),
            _ => {}
        }
    }

    /// Takes what happened into account, and returns what is to be done.
    pub fn step(&mut self, event: Event, now: Moment, plan: &Plan) -> Action {
        let (phase, action) = match event {
            Event::Request(signal) => self.asked(signal, now, plan),
            Event::CommandEnded { others } => {
                self.draining = true;
                if others && plan.waits_for_others() {
                    self.command_ended(now, plan)
                } else {
                    (Phase::Done, Action::None)
                }
            }
            Event::OtherEnded => (self.phase, self.again()),
            Event::NobodyLeft => (Phase::Done, Action::None),
            Event::Tick => self.time_passed(now, plan),
        };
        self.phase = phase;
        action
    }

    fn asked(&self, signal: Signal, now: Moment, plan: &Plan) -> (Phase, Action) {
        match self.phase {
            Phase::Running if plan.delay > 0 => {
                (Phase::Delaying { signal, until: now.saturating_add(plan.delay) }, Action::None)
            }
            Phase::Running | Phase::Delaying { .. } => self.pass_on(signal, now, plan),
            // It is forwarded, and prolongs nothing.
            phase => (phase, Action::Forward(signal)),
        }
    }

    /// Passes a request on, to the command or to the others. For those `-t` is the
    /// limit, where it is given.
    fn pass_on(&self, signal: Signal, now: Moment, plan: &Plan) -> (Phase, Action) {
        match plan.grace {
            Some(grace) if self.draining => Self::ending_others(signal, grace, now),
            _ => {
                let until = plan.kill_after.map(|limit| now.saturating_add(limit));
                (Phase::Stopping { until, told: None }, Action::Forward(signal))
            }
        }
    }

    fn ending_others(signal: Signal, grace: Nanoseconds, now: Moment) -> (Phase, Action) {
        let until = Some(now.saturating_add(grace));
        (Phase::Stopping { until, told: Some(signal) }, Action::End(signal))
    }

    /// The command has ended, and others are left to wait for.
    fn command_ended(&self, now: Moment, plan: &Plan) -> (Phase, Action) {
        match (self.phase, plan.grace) {
            // Nobody shall be told to end unless somebody asks for it.
            (Phase::Running, _) if plan.wait_all => (Phase::Running, Action::None),
            (_, Some(grace)) => Self::ending_others(Signal::TERM, grace, now),
            (Phase::Delaying { signal, .. }, None) => self.pass_on(signal, now, plan),
            // Its time was up, so theirs is.
            (Phase::Killing { .. }, None) => Self::killing_others(now),
            (phase, None) => (phase, Action::None),
        }
    }

    fn killing_others(now: Moment) -> (Phase, Action) {
        (Phase::Killing { until: Some(now.saturating_add(KILLING)) }, Action::Kill)
    }

    /// One of the others has ended: perhaps after it forked once more.
    fn again(&self) -> Action {
        match self.phase {
            Phase::Stopping { told: Some(signal), .. } => Action::EndNewcomers(signal),
            Phase::Killing { .. } => Action::Kill,
            _ => Action::None,
        }
    }

    fn time_passed(&self, now: Moment, plan: &Plan) -> (Phase, Action) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return (self.phase, Action::None);
        }
        match self.phase {
            Phase::Delaying { signal, .. } => self.pass_on(signal, now, plan),
            Phase::Killing { .. } => (Phase::Done, Action::None),
            _ if self.draining => Self::killing_others(now),
            _ => (Phase::Killing { until: None }, Action::Kill),
        }
    }
}

/// The name of the phase, as the README has it.
impl Show for State {
    fn show(&self, line: &mut Line) {
        let name = match self.phase {
            Phase::Running if self.draining => return line.text("draining"),
            Phase::Running => "running",
            Phase::Delaying { .. } => "delaying",
            Phase::Stopping { .. } => "stopping",
            Phase::Killing { .. } => "killing",
            Phase::Done => return line.text("done"),
        };
        line.add(if self.draining { "draining, {}" } else { "{}" }, &[&name]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::shown;

    const fn seconds(seconds: u64) -> Nanoseconds {
        seconds * 1_000_000_000
    }

    const D: u64 = 2;
    const K: u64 = 5;
    const T: u64 = 11;

    /// All sixteen combinations of the options.
    fn plans() -> impl Iterator<Item = Plan> {
        (0..16).map(|bits| Plan {
            delay: seconds(if bits & 1 > 0 { D } else { 0 }),
            kill_after: (bits & 2 > 0).then_some(seconds(K)),
            grace: (bits & 4 > 0).then_some(seconds(T)),
            wait_all: bits & 8 > 0,
        })
    }

    fn plan(options: &str) -> Plan {
        let wanted = |plan: &Plan| {
            [
                ('d', plan.delay > 0),
                ('k', plan.kill_after.is_some()),
                ('t', plan.grace.is_some()),
                ('a', plan.wait_all),
            ]
            .iter()
            .all(|(letter, given)| options.contains(*letter) == *given)
        };
        plans().find(wanted).unwrap()
    }

    /// What happens to it, told second by second: `TERM`, `ended` (others are left),
    /// `alone` (nobody is), `other` (one of them ended), `nobody`. Returns each phase
    /// with the second in which it began, and each deed.
    fn story(options: &str, events: &[(u64, &str)]) -> Vec<String> {
        let plan = plan(options);
        let mut state = State::START;
        let mut told = Vec::new();
        for second in 0..40 {
            let now = seconds(second);
            let of_now = events.iter().filter(|(when, _)| *when == second).map(|(_, what)| match *what {
                "ended" => Event::CommandEnded { others: true },
                "alone" => Event::CommandEnded { others: false },
                "other" => Event::OtherEnded,
                "nobody" => Event::NobodyLeft,
                signal => Event::Request(Signal::parse(signal.as_bytes()).unwrap()),
            });
            for event in of_now.chain([Event::Tick]) {
                if state.phase == Phase::Done {
                    break;
                }
                let before = String::from_utf8(shown(&state)).unwrap();
                let action = state.step(event, now, &plan);
                let after = String::from_utf8(shown(&state)).unwrap();
                if before != after {
                    told.push(format!("{second} {after}"));
                }
                match action {
                    Action::None => {}
                    Action::Forward(signal) => told.push(format!("forward {}", signal.number())),
                    Action::End(signal) => told.push(format!("end {}", signal.number())),
                    Action::EndNewcomers(signal) => told.push(format!("end newcomers {}", signal.number())),
                    Action::Kill => told.push("kill".into()),
                }
            }
        }
        told
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
        // Killed in time, whatever else is asked meanwhile.
        assert_eq!(
            story("k", &[(1, "TERM"), (4, "TERM"), (7, "alone")]),
            ["1 stopping", "forward 15", "forward 15", "6 killing", "kill", "7 done"]
        );
        assert_eq!(story("k", &[(1, "INT"), (3, "ended")]), ["1 stopping", "forward 2", "3 done"]);
        // Held back; or not, if somebody insists; or superfluous.
        assert_eq!(
            story("d", &[(1, "TERM"), (4, "TERM")]),
            ["1 delaying", "3 stopping", "forward 15", "forward 15"]
        );
        assert_eq!(story("d", &[(1, "TERM"), (2, "QUIT")]), ["1 delaying", "2 stopping", "forward 3"]);
        assert_eq!(story("d", &[(1, "TERM"), (2, "ended")]), ["1 delaying", "2 done"]);
        // The others are told to end, once, then killed.
        assert_eq!(
            story("t", &[(1, "ended"), (3, "other"), (4, "TERM"), (5, "nobody")]),
            ["1 draining, stopping", "end 15", "end newcomers 15", "forward 15", "5 done"]
        );
        assert_eq!(
            story("t", &[(1, "ended"), (13, "nobody")]),
            ["1 draining, stopping", "end 15", "12 draining, killing", "kill", "13 done"]
        );
        assert_eq!(story("t", &[(1, "alone")]), ["1 done"]);
        // They are left in peace, until they end by themselves.
        assert_eq!(
            story("a", &[(1, "ended"), (3, "other"), (4, "TERM"), (30, "nobody")]),
            ["1 draining", "4 draining, stopping", "forward 15", "30 done"]
        );
    }

    #[test]
    fn who_cannot_be_killed_is_given_up() {
        assert_eq!(
            story("t", &[(1, "ended")]),
            ["1 draining, stopping", "end 15", "12 draining, killing", "kill", "13 done"]
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
                "end 15",
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
        // -a waits for others to be asked; then -t is their limit.
        assert_eq!(
            story("at", &[(1, "ended"), (9, "INT")]),
            ["1 draining", "9 draining, stopping", "end 2", "20 draining, killing", "kill", "21 done"]
        );
        assert_eq!(
            story("at", &[(1, "TERM"), (2, "ended"), (3, "nobody")]),
            ["1 stopping", "forward 15", "2 draining, stopping", "end 15", "3 done"]
        );
        assert_eq!(
            story("adk", &[(1, "ended"), (2, "TERM")]),
            [
                "1 draining",
                "2 draining, delaying",
                "4 draining, stopping",
                "forward 15",
                "9 draining, killing",
                "kill",
                "10 done"
            ]
        );
        assert_eq!(
            story("ad", &[(1, "QUIT"), (2, "ended")]),
            ["1 delaying", "2 draining, stopping", "forward 3"]
        );
        assert_eq!(story("dt", &[(1, "QUIT"), (2, "ended")])[..2], ["1 delaying", "2 draining, stopping"]);
    }

    #[test]
    fn a_request_is_what_asks_for_an_end_on_either_side() {
        let signal = |name: &str| Signal::parse(name.as_bytes()).unwrap();
        for (received, forwarded, asks) in [
            ("TERM", "TERM", true),
            ("TERM", "WINCH", true),
            ("RTMIN+3", "TERM", true),
            ("USR1", "USR1", false),
            ("WINCH", "WINCH", false),
            ("HUP", "USR2", false),
        ] {
            assert_eq!(is_request(signal(received), signal(forwarded)), asks, "{received}:{forwarded}");
        }
    }

    #[test]
    fn a_deadline_moves_by_the_time_that_was_spent_stopped() {
        let mut state = State::START;
        state.step(Event::Request(Signal::TERM), seconds(1), &plan("k"));
        assert_eq!(state.deadline(), Some(seconds(1 + K)));
        state.postpone(seconds(100));
        assert_eq!(state.deadline(), Some(seconds(101 + K)));
    }

    #[test]
    fn a_time_that_never_comes_does_not_overflow() {
        let plan = Plan { kill_after: Some(Nanoseconds::MAX), ..Plan::default() };
        let mut state = State::START;
        state.step(Event::Request(Signal::TERM), seconds(1), &plan);
        assert_eq!(state.step(Event::Tick, seconds(1 << 34), &plan), Action::None);
    }

    /// Every state that can be reached within a few steps, from every combination of
    /// options, with every event, on both sides of every deadline.
    #[test]
    fn exhaustively() {
        const EVENTS: [Event; 7] = [
            Event::Request(Signal::TERM),
            Event::Request(Signal::QUIT),
            Event::CommandEnded { others: true },
            Event::CommandEnded { others: false },
            Event::OtherEnded,
            Event::NobodyLeft,
            Event::Tick,
        ];
        fn possible(state: &State, event: Event) -> bool {
            match event {
                Event::CommandEnded { .. } => !state.draining,
                Event::OtherEnded | Event::NobodyLeft => state.draining,
                _ => true,
            }
        }
        fn explore(state: State, now: Moment, plan: &Plan, depth: u32, visited: &mut u32) {
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
                    let action = next.step(event, now, plan);
                    check(&state, event, now, plan, &next, action);
                    explore(next, now, plan, depth - 1, visited);
                }
            }
        }
        fn check(before: &State, event: Event, now: Moment, plan: &Plan, after: &State, action: Action) {
            let context = || format!("{before:?} {event:?} at {now:?} by {plan:?}: {after:?} {action:?}");
            let due = before.deadline().is_some_and(|deadline| deadline <= now);
            let was_killing = matches!(before.phase, Phase::Killing { .. });
            // Nobody is killed before the time is up.
            if action == Action::Kill {
                assert!(was_killing || due, "{}", context());
                assert!(matches!(after.phase, Phase::Killing { .. }), "{}", context());
            }
            // What is asked is either forwarded at once, or held back, the first time.
            if let Event::Request(signal) = event {
                let passed_on = [Action::Forward(signal), Action::End(signal)].contains(&action);
                let held = matches!(after.phase, Phase::Delaying { .. });
                assert!(passed_on != held, "{}", context());
                assert!(!held || before.phase == Phase::Running && plan.delay > 0, "{}", context());
                // It prolongs nothing.
                if let (Phase::Stopping { until: was, .. }, Phase::Stopping { until: is, .. }) =
                    (before.phase, after.phase)
                {
                    assert_eq!(was, is, "{}", context());
                }
            }
            // While the command runs there is no end, and after it one as soon as nobody is left.
            assert!(after.draining || after.phase != Phase::Done, "{}", context());
            if matches!(event, Event::NobodyLeft | Event::CommandEnded { others: false }) {
                assert_eq!(after.phase, Phase::Done, "{}", context());
            }
            if !plan.waits_for_others() && after.draining {
                assert_eq!(after.phase, Phase::Done, "{}", context());
            }
            // Others are told only by -t, and only once.
            if matches!(action, Action::End(_)) {
                assert!(plan.grace.is_some() && after.draining, "{}", context());
                assert!(!matches!(before.phase, Phase::Stopping { told: Some(_), .. }), "{}", context());
            }
            // Nothing is armed that no option asked for.
            match after.phase {
                Phase::Stopping { until: Some(_), told } => {
                    assert!(
                        if told.is_some() { plan.grace } else { plan.kill_after }.is_some(),
                        "{}",
                        context()
                    );
                }
                Phase::Killing { until } => assert_eq!(until.is_some(), after.draining, "{}", context()),
                _ => {}
            }
            // A deadline that was passed is not met again.
            if event == Event::Tick && due {
                assert_ne!(before.phase, after.phase, "{}", context());
                assert!(after.deadline().is_none_or(|deadline| deadline > now), "{}", context());
            }
        }
        let mut visited = 0;
        for plan in plans() {
            explore(State::START, seconds(100), &plan, 5, &mut visited);
        }
        assert!(visited > 50_000, "{visited}");
    }
}
