//! Every orphan is reaped.

use std::io::{Write, pipe};
use std::time::Instant;

use crate::support::*;

crate::tests![
    new orphans_are_reaped,
    new orphans_pile_up_without_an_init,
    new children_from_before_that_send_no_signal_are_reaped,
    new children_are_reaped_with_sigchld_blocked_or_ignored,
    new a_storm_of_orphans_and_signals_is_kept_up_with,
    new a_storm_takes_no_memory_and_little_time,
    new a_stopped_command_does_not_stop_the_reaping,
    new orphans_are_reaped_without_proc,
];

fn orphans_are_reaped() {
    let (stdin, input) = pipe().unwrap();
    let mut running = leave_orphans(Init::pid1(&[]).stdin(stdin), 50);
    wait_until("all are reaped", || running.children().len() == 1);
    drop(input);
    assert_eq!(running.status().code(), Some(0));
}

/// The control: were the kernel to reap them by itself, the test above would show
/// nothing.
fn orphans_pile_up_without_an_init() {
    let (stdin, input) = pipe().unwrap();
    let running = leave_orphans(Init::pid1(&[]).without_init().stdin(stdin), 50);
    wait_until("all are zombies", || running.children_in('Z') == 50);
    drop(input);
}

/// One is a zombie already, one ends later, and one sends no signal when it does.
fn children_of_any_kind_are_reaped(init: Init) {
    let mut command = play_with(Role::Adopt { silent: true }, [sexton(), "--".into()]);
    command.extend(play(Role::Receive));
    let mut running = ready(init.without_init().start(command));
    // What remains are the command and the one that is stopped.
    wait_until("the others are reaped", || running.children().len() == 2);
    let stopped = running.children().into_iter().find(|process| process.state == 'T');
    kill(stopped.expect("the stopped child").pid, SIGKILL).unwrap();
    wait_until("that one is reaped", || running.children().len() == 1);
    running.signal(SIGUSR1);
    running.prints(SIGUSR1);
}

fn children_from_before_that_send_no_signal_are_reaped() {
    children_of_any_kind_are_reaped(Init::pid1(&[]));
}

fn children_are_reaped_with_sigchld_blocked_or_ignored() {
    children_of_any_kind_are_reaped(Init::pid1(&[]).given(Condition::Blocked(SIGCHLD)));
    let (stdin, input) = pipe().unwrap();
    for condition in [Condition::Ignored(SIGCHLD), Condition::Blocked(SIGCHLD)] {
        let init = Init::pid1(&[]).given(condition).stdin(stdin.try_clone().unwrap());
        let running = leave_orphans(init, 20);
        wait_until("all are reaped", || running.children().len() == 1);
    }
    drop(input);
}

/// 2,000 orphans exit at the same instant, while 20,000 signals arrive; what comes `before`
/// and `after` that.
fn storm<T>(init: Init, before: impl Fn(&Running) -> T, after: impl Fn(&Running, T)) {
    let (stdin, mut input) = pipe().unwrap();
    let mut running = init.stdin(stdin).start(play(Role::Storm(2000, rtmin(6))));
    running.prints("ready");
    wait_until("all are orphans", || running.children().len() == 2001);
    let state = before(&running);
    input.write_all(b"\n").unwrap();
    for _ in 0..20_000 {
        running.signal(rtmin(6));
    }
    running.signal(SIGRTMAX);
    running.prints(20_000);
    wait_until("all are reaped", || running.children().len() == 1);
    after(&running, state);
    drop(input);
    assert_eq!(running.status().code(), Some(0));
}

fn a_storm_of_orphans_and_signals_is_kept_up_with() {
    storm(Init::pid1(&[]), |_| (), |_, ()| ());
}

fn a_storm_takes_no_memory_and_little_time() {
    // Of its own: more of its code in memory is nothing that it keeps for each orphan.
    let memory = |running: &Running| -> u64 {
        running.status_field("RssAnon").trim_end_matches(" kB").parse().expect("a size")
    };
    storm(
        Init::pid1(&["-c"]),
        |running| (memory(running), Instant::now()),
        |running, (before, start)| {
            assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
            let grown = memory(running).saturating_sub(before);
            assert!(grown <= 16, "grew by {grown} KiB");
        },
    );
}

fn a_stopped_command_does_not_stop_the_reaping() {
    let script = "exec 3<&0; (sh -c 'echo ready; read x <&3; exit' & ) ; kill -STOP $$; echo continued";
    let (stdin, input) = pipe().unwrap();
    let mut running = Init::pid1(&[]).stdin(stdin).start(shell(script));
    running.prints("ready");
    wait_until("it is stopped", || running.children_in('T') == 1);
    wait_until("the orphan is there", || running.children().len() == 2);
    drop(input);
    wait_until("it is reaped", || running.children().len() == 1);
    running.signal(SIGCONT);
    running.prints("continued");
    assert_eq!(running.status().code(), Some(0));
}

fn orphans_are_reaped_without_proc() {
    let (stdin, input) = pipe().unwrap();
    let mut running = leave_orphans(Init::pid1(&["-vvvA"]).given(Condition::NoProc).stdin(stdin), 20);
    wait_until("all are reaped", || running.children().len() == 1);
    drop(input);
    assert_eq!(running.status().code(), Some(0));
}
