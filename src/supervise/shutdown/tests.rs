//! Stories of the end, and a walk through every state.

use super::*;

const fn seconds(seconds: u64) -> Nanos {
    seconds * 1_000_000_000
}

const D: u64 = 2;
const K: u64 = 5;
const T: u64 = 11;
const X: u64 = 3;

/// All 32 combinations of the options.
fn policies() -> impl Iterator<Item = StopPolicy> {
    (0..32).map(|bits| StopPolicy {
        delay: seconds(if bits & 1 > 0 { D } else { 0 }),
        kill_after: (bits & 2 > 0).then_some(seconds(K)),
        grace: (bits & 4 > 0).then_some(seconds(T)),
        wait_all: bits & 8 > 0,
        timeout: (bits & 16 > 0).then_some(Timeout { after: seconds(X), signal: Signal::TERM }),
    })
}

fn policy(options: &str) -> StopPolicy {
    let wanted = |policy: &StopPolicy| {
        [
            ('d', policy.delay > 0),
            ('k', policy.kill_after.is_some()),
            ('t', policy.grace.is_some()),
            ('a', policy.wait_all),
            ('x', policy.timeout.is_some()),
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
    let mut state = State::new(0, &policy);
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
fn a_time_limit() {
    // As if TERM had arrived; whatever else is requested then.
    assert_eq!(
        story("x", &[(5, "TERM"), (9, "ended")]),
        ["3 timed out, stopping", "forward 15", "forward 15", "9 done"]
    );
    assert_eq!(
        story("kx", &[(9, "alone")]),
        ["3 timed out, stopping", "forward 15", "8 timed out, killing", "kill", "9 done"]
    );
    assert_eq!(
        story("ktx", &[(9, "ended")]),
        [
            "3 timed out, stopping",
            "forward 15",
            "8 timed out, killing",
            "kill",
            "9 draining, stopping",
            "terminate rest 15",
            "20 draining, killing",
            "kill",
            "21 done"
        ]
    );
    // Without a delay.
    assert_eq!(story("dx", &[]), ["3 timed out, stopping", "forward 15"]);
    // In time.
    assert_eq!(story("x", &[(2, "alone")]), ["2 done"]);
    assert_eq!(
        story("tx", &[(2, "ended"), (5, "nobody")]),
        ["2 draining, stopping", "terminate rest 15", "5 done"]
    );
    // A request that comes first wins, were it delayed beyond the limit.
    assert_eq!(story("x", &[(2, "INT"), (30, "ended")]), ["2 stopping", "forward 2", "30 done"]);
    assert_eq!(story("dx", &[(2, "TERM")]), ["2 delaying", "4 stopping", "forward 15"]);
    // It ends the waiting for others, too: but then it was not the command's.
    assert_eq!(
        story("ax", &[(2, "ended"), (9, "nobody")]),
        ["2 draining", "3 draining, stopping", "terminate 15", "9 done"]
    );
    assert_eq!(
        story("akx", &[(2, "ended")]),
        ["2 draining", "3 draining, stopping", "terminate 15", "8 draining, killing", "kill", "9 done"]
    );
}

#[test]
fn a_time_limit_forwards_its_own_signal() {
    let timeout = Some(Timeout { after: seconds(X), signal: Signal::QUIT });
    let policy = StopPolicy { timeout, ..StopPolicy::default() };
    let mut state = State::new(0, &policy);
    assert_eq!(state.step(Event::Tick, seconds(X) - 1, &policy), Action::None);
    assert_eq!(state.step(Event::Tick, seconds(X), &policy), Action::Forward(Signal::QUIT));
}

#[test]
fn a_stop_signal_is_one_on_either_side_of_a_rewrite() {
    let signal = |name: &str| Signal::parse(name.as_bytes()).unwrap();
    let mut winch = StopSignals::default();
    winch.choose(Signal::WINCH);
    for (received, forwarded, by_default, by_winch) in [
        ("TERM", "TERM", true, false),
        ("INT", "INT", true, false),
        ("QUIT", "QUIT", false, false),
        ("TERM", "WINCH", true, true),
        ("WINCH", "USR1", false, true),
        ("RTMIN+3", "TERM", true, false),
        ("USR1", "USR1", false, false),
        ("WINCH", "WINCH", false, true),
        ("HUP", "USR2", false, false),
    ] {
        let (received, forwarded) = (signal(received), signal(forwarded));
        assert_eq!(StopSignals::default().ask_by(received, forwarded), by_default, "{received}:{forwarded}");
        assert_eq!(winch.ask_by(received, forwarded), by_winch, "{received}:{forwarded}");
    }
}

#[test]
fn a_deadline_moves_by_the_time_spent_stopped() {
    let mut state = State::new(0, &policy("kx"));
    assert_eq!(state.deadline(), Some(seconds(X)));
    state.postpone(seconds(100));
    assert_eq!(state.deadline(), Some(seconds(100 + X)));
    state.step(Event::StopRequested(Signal::TERM), seconds(1), &policy("kx"));
    assert_eq!(state.deadline(), Some(seconds(1 + K)));
    state.postpone(seconds(100));
    assert_eq!(state.deadline(), Some(seconds(101 + K)));
}

#[test]
fn a_deadline_that_never_comes_does_not_overflow() {
    let policy = StopPolicy {
        kill_after: Some(Nanos::MAX),
        timeout: Some(Timeout { after: Nanos::MAX, signal: Signal::TERM }),
        ..StopPolicy::default()
    };
    let mut state = State::new(seconds(1), &policy);
    assert_eq!(state.step(Event::Tick, seconds(1 << 34), &policy), Action::None);
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
    fn check(before: &State, event: Event, now: Instant, policy: &StopPolicy, after: &State, action: Action) {
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
            assert!(
                !delayed || matches!(before.phase, Phase::Running { .. }) && policy.delay > 0,
                "{}",
                context()
            );
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
        // The time runs out once, for a command that was not asked to end before.
        let expired = due && matches!(before.phase, Phase::Running { .. }) && event == Event::Tick;
        assert_eq!(after.timed_out, before.timed_out || expired && !before.draining, "{}", context());
        if expired {
            let signal = policy.timeout.unwrap().signal;
            let request = if before.draining { Action::Terminate(signal) } else { Action::Forward(signal) };
            assert_eq!(action, request, "{}", context());
            assert!(matches!(after.phase, Phase::Stopping { .. }), "{}", context());
        }
        // A signal is forwarded by a request, in time or late, or by the limit; once the
        // command has exited none is forwarded to it.
        if let Action::Forward(_) = action {
            let late = due && matches!(before.phase, Phase::Delaying { .. });
            assert!(matches!(event, Event::StopRequested(_)) || late || expired, "{}", context());
        }
        // Others are asked to terminate by -t when the command exits, else by a request.
        match action {
            Action::Terminate(_) => {
                assert!(after.draining, "{}", context());
                let delayed = matches!(before.phase, Phase::Delaying { .. });
                assert!(matches!(event, Event::StopRequested(_)) || delayed || expired, "{}", context());
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
            Phase::Running { deadline } => {
                assert_eq!(deadline.is_some(), policy.timeout.is_some(), "{}", context());
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
        let now = seconds(100);
        explore(State::new(now, &policy), now, &policy, 5, &mut visited);
    }
    assert!(visited > 100_000, "{visited}");
}
