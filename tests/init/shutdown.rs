//! An orderly end of the command: `-d` and `-k`.

use std::time::Instant;

use crate::support::*;

crate::tests![
    new kill_after_kills_the_command_when_the_time_is_up,
    new a_command_that_exits_in_time_keeps_its_status,
    new signals_that_are_no_stop_request_start_no_timer,
    new kill_after_kills_the_whole_process_group,
    new kill_after_with_single_child_kills_the_command_alone,
    new delay_holds_the_first_stop_request_back,
    new a_second_stop_request_ends_the_delay,
    new a_command_that_exits_during_the_delay_ends_it,
    new delay_and_kill_after_add_up,
    new a_stopped_sexton_kills_no_process_early,
    new a_server_that_answers_quit_with_a_dump_runs_on,
    new a_chosen_stop_signal_starts_the_timers,
    new chosen_stop_signals_add_up,
    new a_chosen_stop_signal_reaches_those_that_are_waited_for,
    new no_timer_runs_without_options,
    new invalid_durations_are_reported,
];

fn kill_after_kills_the_command_when_the_time_is_up() {
    for signal in [SIGTERM, SIGINT] {
        let mut running = ready(Init::pid1(&["-k", "400ms"]).start(play(Role::Receive)));
        let start = Instant::now();
        running.signal(signal);
        running.prints(signal);
        wait_until("some of the time is over", || start.elapsed() > 250 * MILLISECOND);
        // It is forwarded too, and prolongs nothing.
        let again = Instant::now();
        running.signal(SIGTERM);
        running.prints(SIGTERM);
        assert_eq!(running.status().code(), Some(137));
        assert!(start.elapsed() >= 400 * MILLISECOND, "{:?}", start.elapsed());
        assert!(again.elapsed() < SOON);
    }
}

fn a_command_that_exits_in_time_keeps_its_status() {
    let script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let mut running = ready(Init::pid1(&["-k", "1h"]).start(shell(script)));
    running.signal(SIGTERM);
    assert_eq!(running.status().code(), Some(3));
}

/// The third argument of the system call in which sexton sleeps is the time limit.
fn is_armed(running: &Running) -> bool {
    wait_until("it is idle", || running.is_idle());
    running.proc("syscall").split(' ').nth(3).is_some_and(|limit| limit != "0x0")
}

fn signals_that_are_no_stop_request_start_no_timer() {
    let options = ["-k", "1h", "-r", "USR2:TERM", "-r", "INT:USR2", "-r", "TERM:0"];
    let mut running = ready(Init::pid1(&options).start(play(Role::Receive)));
    for signal in [SIGHUP, SIGUSR1, SIGQUIT, SIGWINCH, rtmin(6)] {
        running.signal(signal);
        running.prints(signal);
        assert!(!is_armed(&running), "{signal}");
    }
    // One that is dropped is no stop request; one that becomes a stop signal is.
    running.signal(SIGTERM);
    assert!(!is_armed(&running));
    running.signal(SIGUSR2);
    running.prints(SIGTERM);
    assert!(is_armed(&running));
    running.end();
}

fn no_timer_runs_without_options() {
    let mut running = ready(Init::pid1(&[]).start(play(Role::Receive)));
    running.signal(SIGTERM);
    running.prints(SIGTERM);
    assert!(!is_armed(&running));
    running.end();
}

/// As a JVM does.
fn a_server_that_answers_quit_with_a_dump_runs_on() {
    let script = "trap 'echo dump' QUIT; trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let mut running = ready(Init::pid1(&["-k", "300ms"]).start(shell(script)));
    let start = Instant::now();
    for _ in 0..3 {
        running.signal(SIGQUIT);
        running.prints("dump");
    }
    assert!(!is_armed(&running));
    wait_until("the time would be over", || start.elapsed() > 500 * MILLISECOND);
    running.signal(SIGQUIT);
    running.prints("dump");
    running.signal(SIGTERM);
    assert_eq!(running.status().code(), Some(3));
}

fn a_chosen_stop_signal_starts_the_timers() {
    for (name, signal) in [("WINCH", SIGWINCH), ("sigusr1", SIGUSR1), ("RTMIN+3", rtmin(3)), ("3", SIGQUIT)] {
        let options = ["-k", "300ms", "-d", "100ms", "--stop-signal", name];
        let mut running = ready(Init::pid1(&options).start(play(Role::Receive)));
        // In place of the default.
        for other in [SIGTERM, SIGINT] {
            running.signal(other);
            running.prints(other);
        }
        assert!(!is_armed(&running));
        let start = Instant::now();
        running.signal(signal);
        running.prints(signal);
        assert!(start.elapsed() >= 100 * MILLISECOND);
        assert_eq!(running.status().code(), Some(137));
        assert!(start.elapsed() >= 400 * MILLISECOND, "{:?}", start.elapsed());
    }
}

/// From the variable and the command line.
fn chosen_stop_signals_add_up() {
    for signal in [SIGTERM, SIGWINCH, SIGUSR1] {
        let options = ["-k", "1h", "--stop-signal=TERM", "--stop-signal=WINCH"];
        let init = Init::pid1(&options).env("SEXTON_OPTIONS", "--stop-signal USR1");
        let mut running = ready(init.start(play(Role::Receive)));
        running.signal(SIGINT);
        running.prints(SIGINT);
        assert!(!is_armed(&running));
        running.signal(signal);
        running.prints(signal);
        assert!(is_armed(&running), "{signal}");
        running.end();
    }
}

fn a_chosen_stop_signal_reaches_those_that_are_waited_for() {
    for (init, command) in both_ways(&["-va", "--stop-signal", "QUIT"], left_behind(&[Straggler::Session], 0))
    {
        let mut running = init.start(command);
        assert_eq!(running.stderr.line(), "sexton: phase: draining");
        running.signal(SIGQUIT);
        assert_eq!(running.stderr.line(), "sexton: phase: draining, stopping");
        running.prints("straggler SIGQUIT");
        assert_eq!(running.status().code(), Some(5));
    }
}

/// The PID of the child in the family, as it is seen from here.
fn child_of_the_family(running: &mut Running) -> i32 {
    let line = running.stdout.line();
    assert!(line.starts_with("child "), "{line}");
    assert!(running.stdout.line().starts_with("ready"));
    line["child ".len()..].parse().unwrap()
}

fn kill_after_kills_the_whole_process_group() {
    let mut running = Init::plain(&["-k", "100ms"]).start(play(Role::Family));
    let child = child_of_the_family(&mut running);
    running.signal(SIGTERM);
    assert_eq!(running.status().code(), Some(137));
    wait_until("it is gone", || process(child).is_none_or(|process| process.state == 'Z'));
}

fn kill_after_with_single_child_kills_the_command_alone() {
    let mut running = Init::plain(&["-ck", "100ms"]).start(play(Role::Family));
    let child = child_of_the_family(&mut running);
    running.signal(SIGTERM);
    assert_eq!(running.status().code(), Some(137));
    assert!(process(child).is_some_and(|process| process.state != 'Z'));
    kill(child, SIGKILL).unwrap();
}

fn delay_holds_the_first_stop_request_back() {
    let mut running = ready(Init::pid1(&["-d", "500ms"]).start(play(Role::Receive)));
    let start = Instant::now();
    running.signal(SIGTERM);
    for signal in [SIGHUP, SIGUSR1] {
        running.signal(signal);
        running.prints(signal);
    }
    running.prints(SIGTERM);
    assert!(start.elapsed() >= 500 * MILLISECOND);
    running.signal(SIGTERM);
    // Only the first is held back.
    running.prints(SIGTERM);
    running.end();
}

/// It is forwarded in place of the one that was held back: many a program aborts its orderly
/// shutdown at the second.
fn a_second_stop_request_ends_the_delay() {
    for (first, second) in [(SIGTERM, SIGTERM), (SIGTERM, SIGINT), (SIGINT, SIGTERM)] {
        let mut running = ready(Init::pid1(&["-d", "1h"]).start(play(Role::Receive)));
        running.signal(first);
        wait_until("it was taken", || running.is_idle());
        running.signal(second);
        running.prints(second);
        running.signal(SIGUSR1);
        running.prints(SIGUSR1);
        running.end();
    }
}

fn a_command_that_exits_during_the_delay_ends_it() {
    let mut running = ready(
        Init::pid1(&["-d", "1h"])
            .start(shell("trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done")),
    );
    running.signal(SIGTERM);
    running.signal(SIGUSR1);
    assert_eq!(running.status().code(), Some(9));
}

fn delay_and_kill_after_add_up() {
    let mut running = ready(Init::pid1(&["-d", "200ms", "-k", "200ms"]).start(play(Role::Receive)));
    let start = Instant::now();
    running.signal(SIGTERM);
    running.prints(SIGTERM);
    assert_eq!(running.status().code(), Some(137));
    assert!(start.elapsed() >= 400 * MILLISECOND);
}

fn a_stopped_sexton_kills_no_process_early() {
    let mut running = ready(Init::pid1(&["-k", "600ms"]).start(play(Role::Receive)));
    let start = Instant::now();
    running.signal(SIGTERM);
    running.prints(SIGTERM);
    while start.elapsed() < 500 * MILLISECOND {
        running.signal(SIGSTOP);
        wait_until("it is stopped", || is_in_state(running.pid, 'T'));
        running.signal(SIGCONT);
        running.prints(SIGCONT);
    }
    running.status();
    assert!(start.elapsed() >= 600 * MILLISECOND, "{:?}", start.elapsed());
}

fn invalid_durations_are_reported() {
    for (option, value) in [("-k", "soon"), ("-t", "-1"), ("-d", "99999999999h"), ("-k", "1.2.3"), ("-t", "")]
    {
        let output = Init::plain(&[option, value]).run(["true"]);
        assert_eq!(output.status.code(), Some(125));
        let expected =
            format!("sexton: {option}: invalid duration '{value}' (examples: 10, 1.5s, 250ms, 2m, 1h)\n");
        assert_eq!(stderr_text(&output), expected);
    }
}
