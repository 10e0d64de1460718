//! It exits as the command did.

use crate::support::*;
use std::os::unix::process::ExitStatusExt;

crate::tests![
    new exit_codes_are_passed_on,
    new death_by_a_signal_is_128_and_its_number,
    new a_crash_is_reported_at_the_first_v,
    new an_exit_is_reported_at_the_second_v,
    new the_status_is_passed_on_when_not_pid_1_as_well,
    new codes_are_remapped,
    new mirror_dies_of_the_same_signal,
    new mirror_dies_of_no_other_signal_that_is_pending,
    new mirror_does_nothing_as_pid_1,
    new remapping_goes_before_mirroring,
];

fn exit_codes_are_passed_on() {
    for code in [0, 1, 42, 255] {
        assert_eq!(Init::pid1(&[]).code(shell(&format!("exit {code}"))), code);
    }
}

fn death_by_a_signal_is_128_and_its_number() {
    for signal in [
        SIGHUP,
        SIGINT,
        SIGABRT,
        SIGKILL,
        SIGSEGV,
        SIGTERM,
        SIGSTKFLT,
        SIGPWR,
        SIGSYS,
        SIGRTMIN,
        rtmin(3),
        SIGRTMAX,
    ] {
        assert_eq!(Init::pid1(&[]).code(play(Role::Die(signal))), 128 + signal.number(), "{signal}");
    }
}

/// Whether there is a core dump is the machine's decision.
fn a_crash_is_reported_at_the_first_v() {
    let directory = tempfile::tempdir().unwrap();
    let there = || Condition::WorkingDirectory(directory.path().display().to_string());
    let crash = || shell("ulimit -c $(ulimit -H -c); kill -SEGV $$");
    let without = Init::plain(&[]).without_init().given(there()).run(crash());
    assert_eq!(without.status.signal(), Some(SIGSEGV.number()));
    let dumped = if without.status.core_dumped() { " (core dumped)" } else { "" };
    let output = Init::pid1(&["-v"]).given(there()).run(crash());
    assert_eq!(output.status.code(), Some(139));
    let line = format!("sexton: sh (pid 2) was killed by SIGSEGV{dumped}\n");
    assert!(stderr_text(&output).ends_with(&line), "{output:?}");
    for signal in [SIGKILL, SIGTERM, SIGRTMAX] {
        let output = Init::pid1(&["-v"]).run(play(Role::Die(signal)));
        let end = format!(" (pid 2) was killed by {signal}\n");
        assert!(stderr_text(&output).ends_with(&end), "{output:?}");
    }
    // Without it, that is the command's own business.
    assert_eq!(stderr_text(&Init::pid1(&[]).run(play(Role::Die(SIGSEGV)))), "");
}

fn an_exit_is_reported_at_the_second_v() {
    for code in [0, 3, 126, 127] {
        let output = |option| Init::pid1(&[option]).run(shell(&format!("exit {code}")));
        assert!(!stderr_text(&output("-v")).contains("exited"), "{code}");
        let end = format!("sexton: sh (pid 2) exited with {code}\n");
        assert!(stderr_text(&output("-vv")).ends_with(&end), "{code}");
    }
}

fn the_status_is_passed_on_when_not_pid_1_as_well() {
    assert_eq!(Init::plain(&[]).code(shell("exit 42")), 42);
    for signal in [SIGKILL, rtmin(3)] {
        assert_eq!(Init::plain(&[]).code(play(Role::Die(signal))), 128 + signal.number());
    }
}

fn codes_are_remapped() {
    assert_eq!(Init::pid1(&["-e", "143", "-e7"]).code(shell("exit 7")), 0);
    assert_eq!(Init::pid1(&["-e", "143"]).code(shell("kill -TERM $$")), 0);
    assert_eq!(Init::pid1(&["-e", "143"]).code(shell("exit 144")), 144);
    assert_eq!(Init::pid1(&["-e", "127"]).code(words(&["/nonexistent"])), 0);
}

fn mirror_dies_of_the_same_signal() {
    // ABRT could leave a second core file; signal-hook does not know SIGSTKFLT and real-time
    // signals.
    for signal in [SIGABRT, SIGKILL, SIGTERM, SIGSTKFLT, rtmin(3), SIGRTMAX] {
        let mut running = Init::plain(&["-m"]).start(play(Role::Die(signal)));
        let status = running.status();
        assert_eq!(status.signal(), Some(signal.number()));
        assert!(!status.core_dumped(), "a second core dump");
    }
    assert_eq!(Init::plain(&["-m"]).code(shell("exit 3")), 3);
}

/// Those by which a process ends by default (`signal(7)`).
fn deadly() -> impl Iterator<Item = Signal> {
    Signal::all().filter(|signal| {
        ![SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH].contains(signal)
    })
}

/// While sexton is stopped its command dies of one signal, and all others arrive. Those with
/// numbers above SIGCHLD's are still pending when it dies itself.
fn mirror_dies_of_no_other_signal_that_is_pending() {
    let command = shell("ulimit -c 0; echo ready; exec sleep 1000");
    // All at the same time, as there is much to wait for.
    let started: Vec<Running> = deadly().map(|_| Init::plain(&["-m"]).start(command.clone())).collect();
    let mut running: Vec<(Signal, Running)> = deadly().zip(started.into_iter().map(ready)).collect();
    running.iter().for_each(|(_, sexton)| sexton.signal(SIGSTOP));
    for (signal, sexton) in &running {
        wait_until("sexton is stopped", || is_in_state(sexton.pid, 'T'));
        kill(sexton.children()[0].pid, *signal).unwrap();
    }
    for (_, sexton) in &running {
        wait_until("the command has died", || sexton.children_in('Z') == 1);
        deadly().filter(|other| *other != SIGKILL).for_each(|other| sexton.signal(other));
        sexton.signal(SIGCONT);
    }
    for (signal, sexton) in &mut running {
        let status = sexton.status();
        assert_eq!(status.signal(), Some(signal.number()), "{signal}");
        assert!(!status.core_dumped(), "{signal}");
    }
}

fn mirror_does_nothing_as_pid_1() {
    assert_eq!(Init::pid1(&["--mirror-signal"]).code(shell("kill -KILL $$")), 137);
}

fn remapping_goes_before_mirroring() {
    let output = Init::plain(&["-m", "-e", "143"]).run(shell("kill -TERM $$"));
    assert_eq!(output.status.code(), Some(0), "{}", stderr_text(&output));
    let mut running = Init::plain(&["-m", "-e", "143"]).start(shell("kill -KILL $$"));
    wait_until("it is killed", || running.status().signal() == Some(SIGKILL.number()));
}
