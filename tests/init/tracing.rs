//! A process that asks its parent to trace it (`ptrace(2)`, PTRACE_TRACEME) stops at each
//! signal until its tracer lets it go on. Sexton is no debugger.

use std::io::pipe;

use crate::support::*;

crate::tests![
    new a_traced_command_gets_its_signals,
    new a_traced_command_executes_a_program,
    new a_traced_command_that_ignores_term_is_killed,
    new a_traced_command_that_is_stopped_goes_on,
    new a_traced_orphan_is_reaped_when_it_exits,
];

fn both_ways(options: &[&str]) -> [Init; 2] {
    [Init::pid1(options), Init::plain(options)]
}

fn a_traced_command_gets_its_signals() {
    for options in [&["-v"][..], &["-vwR"], &["-vc"]] {
        for init in both_ways(options) {
            let mut running = init.start(play(Role::Traced));
            running.prints("ready");
            // By default it does nothing.
            running.signal(SIGWINCH);
            let line = running.stderr.line();
            assert!(line.starts_with("sexton: detached from "), "{line}");
            assert!(line.ends_with(", which asked to be traced"), "{line}");
            running.signal(rtmin(3));
            assert_eq!(running.status().code(), Some(128 + rtmin(3).number()));
        }
    }
}

fn a_traced_command_executes_a_program() {
    for options in [&[][..], &["-wR"]] {
        for init in both_ways(options) {
            assert_eq!(init.code(play_with(Role::TracedProgram, ["sh", "-c", "exit 7"])), 7);
        }
    }
}

fn a_traced_command_that_ignores_term_is_killed() {
    for init in both_ways(&["-k", "100ms"]) {
        let mut running = init.given(Condition::Ignored(SIGTERM)).start(play(Role::Traced));
        running.prints("ready");
        running.signal(SIGTERM);
        assert_eq!(running.status().code(), Some(137));
    }
}

fn a_traced_command_that_is_stopped_goes_on() {
    for init in both_ways(&["-w"]) {
        let mut running = init.start(play(Role::Traced));
        running.prints("ready");
        let command = running.children()[0].pid;
        kill(command, SIGSTOP).unwrap();
        wait_until("it is stopped, and not by a tracer", || is_in_state(command, 'T'));
        kill(command, SIGCONT).unwrap();
        wait_until("it goes on", || is_in_state(command, 'S'));
        assert_eq!(running.status_field("TracerPid"), "0");
        running.signal(SIGTERM);
        assert_eq!(running.status().code(), Some(143));
    }
}

fn a_traced_orphan_is_reaped_when_it_exits() {
    for options in [&["-vw"][..], &["-vR"], &["-vvv"]] {
        for init in both_ways(options) {
            let (stdin, input) = pipe().unwrap();
            let mut running = init.stdin(stdin).start(play(Role::TracedOrphan));
            running.prints("still here");
            wait_until("it is reaped", || running.children().len() == 1);
            drop(input);
            assert_eq!(running.status().code(), Some(0));
            let logged = String::from_utf8(running.stderr.rest()).unwrap();
            assert_eq!(logged.matches("sexton: detached from ").count(), 1, "{logged}");
            let reaped: Vec<&str> = logged.lines().filter(|line| line.contains("exited with 125")).collect();
            assert!(reaped.is_empty(), "{logged}");
            if options != ["-vR"] {
                assert_eq!(logged.matches(": exited with 3").count(), 1, "{logged}");
            } else {
                assert!(logged.contains("\nsexton: total                    1 "), "{logged}");
            }
        }
    }
}
