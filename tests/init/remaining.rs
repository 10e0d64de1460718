//! What remains when the command has exited: `-t` and `-a`.

use std::io::pipe;
use std::time::Instant;

use Straggler::{Deaf, Forks, Group, Session, Stopped};

use crate::support::*;

crate::tests![
    new remaining_processes_get_term_and_finish_their_work,
    new remaining_processes_get_term_once_each,
    new processes_that_ignore_term_are_killed,
    new processes_that_never_stop_forking_are_killed,
    new pid_1_terminates_remaining_processes_without_proc,
    new processes_of_others_are_spared,
    new wait_all_waits_for_a_daemon,
    new wait_all_with_kill_after_kills_a_daemon,
    new sexton_exits_at_once_when_no_process_remains,
    new signals_reach_the_remaining_processes,
    new phases_are_logged_in_order,
];

/// What a phase's name follows in the log.
const PHASE: &str = "sexton: phase: ";

/// A second TERM would be printed, too. With every TERM comes a CONT, which is not what this
/// is about.
fn remaining_processes_get_term_and_finish_their_work() {
    for straggler in
        [&[][..], &[Session], &[Group], &[Stopped], &[Forks], &[Session, Forks], &[Session, Stopped, Forks]]
    {
        for (init, command) in both_ways(&["-t", "1h"], left_behind(straggler, 300)) {
            let start = Instant::now();
            let output = init.run(command);
            assert_eq!(output.status.code(), Some(5), "{straggler:?}: {output:?}");
            let text = std::str::from_utf8(&output.stdout).unwrap();
            let printed: Vec<&str> = text.lines().filter(|line| *line != "straggler SIGCONT").collect();
            let expected: &[&str] = if straggler.contains(&Forks) {
                &["straggler SIGTERM", "straggler SIGTERM", "last line"]
            } else {
                &["straggler SIGTERM", "last line"]
            };
            assert_eq!(printed, expected, "{straggler:?}");
            assert!(start.elapsed() >= 300 * MILLISECOND);
        }
    }
}

/// They fork while others have not got it yet.
fn remaining_processes_get_term_once_each() {
    let mut command = shell(r#"for n in $(seq 150); do "$@"; done; exit 5"#);
    command.push("sh".into());
    command.extend(left_behind(&[Session, Forks], 0));
    for (init, command) in both_ways(&["-t", "1h"], command) {
        let output = init.run(command);
        assert_eq!(output.status.code(), Some(5));
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed.matches("last line").count(), 150);
        assert_eq!(printed.matches("straggler SIGTERM").count(), 300);
    }
}

/// Each of them lives for a moment only, in a session of its own.
fn processes_that_never_stop_forking_are_killed() {
    let mut command = shell(r#""$@"; echo "code $?"; set -- /proc/[0-9]*; echo "processes $#""#);
    command.extend(["sh".into(), sexton().into(), "-t200ms".into()]);
    command.extend(play(Role::Hop));
    let mut running = Init::pid1(&[]).start(command);
    running.prints("code 5");
    // PID 1 and the shell.
    running.prints("processes 2");
}

fn processes_that_ignore_term_are_killed() {
    for straggler in [&[Deaf][..], &[Deaf, Session], &[Deaf, Stopped], &[Deaf, Group]] {
        for (init, command) in both_ways(&["-t", "400ms"], left_behind(straggler, 0)) {
            let start = Instant::now();
            let mut running = init.start(command);
            // It ends, so no process holds it any more.
            let printed = String::from_utf8(running.stdout.rest()).unwrap();
            assert_eq!(running.status().code(), Some(5), "{straggler:?}");
            // The root alone: it decides for its child.
            assert_eq!(printed.matches("straggler SIGTERM").count(), 1, "{straggler:?}: {printed}");
            assert!(start.elapsed() >= 400 * MILLISECOND);
            assert!(start.elapsed() < deadline());
        }
    }
}

fn pid_1_terminates_remaining_processes_without_proc() {
    for straggler in [Session, Stopped] {
        let init = Init::pid1(&["-t", "1h"]).given(Condition::NoProc);
        let output = init.run(left_behind(&[straggler], 10));
        assert_eq!(output.status.code(), Some(5));
        assert!(output.stdout.ends_with(b"straggler SIGTERM\nlast line\n"), "{output:?}");
        assert_eq!(stderr_text(&output), "");
    }
}

/// The bystander is a child of the same shell that the subreaper is a child of, and in
/// its process group.
fn processes_of_others_are_spared() {
    let script = r#""$1" receive | sed -u 's/^/bystander /' & shift; "$@"; echo "code $?"; read x"#;
    for (options, straggler) in [(["-t", "1h"], &[Session][..]), (["-t", "200ms"], &[Deaf, Session])] {
        let mut command = shell(script);
        command.extend(["sh".into(), helper().into(), sexton().into()]);
        command.extend(words(&options));
        command.extend(left_behind(straggler, 10));
        let (stdin, _input) = pipe().unwrap();
        let mut running = Init::pid1(&["-A"]).stdin(stdin).start(command);
        let mut printed = Vec::new();
        while printed.last().is_none_or(|line: &String| !line.starts_with("code ")) {
            printed.push(running.stdout.line());
        }
        assert_eq!(printed.last().unwrap(), "code 5");
        while !printed.iter().any(|line| line.starts_with("bystander ready")) {
            printed.push(running.stdout.line());
        }
        assert!(!printed.iter().any(|line| line.starts_with("bystander SIG")), "{printed:?}");
        // Of PID 1's, and the first that it gets.
        running.signal(SIGWINCH);
        running.prints("bystander SIGWINCH");
    }
}

fn wait_all_waits_for_a_daemon() {
    for (init, command) in both_ways(&["-va"], left_behind(&[Session], 10)) {
        let mut running = init.start(command);
        assert_eq!(running.stderr.line(), format!("{PHASE}draining"));
        for signal in [SIGHUP, rtmin(3), SIGTERM] {
            running.signal(signal);
            running.prints(format_args!("straggler {signal}"));
        }
        running.prints("last line");
        assert_eq!(running.status().code(), Some(5));
    }
}

fn wait_all_with_kill_after_kills_a_daemon() {
    for (init, command) in both_ways(&["-vak", "300ms"], left_behind(&[Session, Deaf], 0)) {
        let mut running = init.start(command);
        assert_eq!(running.stderr.line(), format!("{PHASE}draining"));
        let start = Instant::now();
        running.signal(SIGTERM);
        assert_eq!(running.stdout.rest(), b"straggler SIGTERM\nstraggler SIGCONT\n");
        assert_eq!(running.status().code(), Some(5));
        assert!(start.elapsed() >= 300 * MILLISECOND);
    }
}

fn sexton_exits_at_once_when_no_process_remains() {
    let start = Instant::now();
    for options in [&["-t", "1h"][..], &["-a"], &["-at1h", "-k1h", "-d1h"]] {
        assert_eq!(Init::pid1(options).code(shell("exit 6")), 6);
        assert_eq!(Init::plain(options).code(shell("exit 7")), 7);
    }
    assert!(start.elapsed() < SOON);
}

fn signals_reach_the_remaining_processes() {
    for (init, command) in both_ways(&["-t", "1h"], left_behind(&[Session, Deaf], 0)) {
        let mut running = init.start(command);
        running.prints("straggler SIGTERM");
        running.prints("straggler SIGCONT");
        for signal in [SIGUSR1, rtmin(6)] {
            running.signal(signal);
            // Both of them.
            running.prints(format_args!("straggler {signal}"));
            running.prints(format_args!("straggler {signal}"));
        }
        // A new request is for the root alone.
        running.signal(SIGTERM);
        running.prints("straggler SIGTERM");
        running.prints("straggler SIGCONT");
        // The kernel ends a PID namespace with its PID 1.
        running.signal(SIGKILL);
        running.status();
    }
}

fn phases_are_logged_in_order() {
    for (options, command, phases) in [
        (
            &["-vk100ms", "-t100ms", "-d100ms"][..],
            {
                // The command ignores TERM, and so does what it leaves behind.
                let mut command = shell(r#""$@"; trap "" TERM; echo ready; while :; do sleep 0.01; done"#);
                command.push("sh".into());
                command.extend(left_behind(&[Session, Deaf], 0));
                command
            },
            &["delaying", "stopping", "killing", "draining, stopping", "draining, killing", "done"][..],
        ),
        (
            &["-vk1h"],
            shell("trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done"),
            &["stopping", "done"],
        ),
    ] {
        for (init, command) in both_ways(options, command) {
            let mut running = ready(init.start(command));
            running.signal(SIGTERM);
            running.stdout.rest();
            running.status();
            let text = String::from_utf8(running.stderr.rest()).unwrap();
            let logged: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(PHASE)).collect();
            assert_eq!(logged, phases);
        }
    }
}
