//! Every orphan is reaped.

use std::io::{Write, pipe};
use std::time::Instant;

use crate::support::*;

crate::tests![
    new orphans_are_reaped,
    new orphans_pile_up_without_an_init,
    new children_from_before_are_reaped,
    new children_from_before_are_reaped_with_sigchld_blocked_or_ignored,
    new a_storm_of_orphans_and_signals,
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

fn adopting(init: Init) {
    let mut command = play_with(Role::Adopt, [sexton(), "--".into()]);
    command.extend(play(Role::Receive));
    let mut running = init.without_init().start(command);
    running.stdout.line();
    // What is left are the command and the one that is stopped.
    wait_until("the others are reaped", || running.children().len() == 2);
    let stopped = running.children().into_iter().find(|process| process.state == 'T');
    kill(stopped.expect("it is there").pid, SIGKILL).unwrap();
    wait_until("that one is reaped", || running.children().len() == 1);
    running.signal(SIGUSR1);
    running.prints(SIGUSR1);
}

fn children_from_before_are_reaped() {
    adopting(Init::pid1(&[]));
}

fn children_from_before_are_reaped_with_sigchld_blocked_or_ignored() {
    adopting(Init::pid1(&[]).given(Condition::Blocked(SIGCHLD)));
    let (stdin, input) = pipe().unwrap();
    for condition in [Condition::Ignored(SIGCHLD), Condition::Blocked(SIGCHLD)] {
        let init = Init::pid1(&[]).given(condition).stdin(stdin.try_clone().unwrap());
        let running = leave_orphans(init, 20);
        wait_until("all are reaped", || running.children().len() == 1);
    }
    drop(input);
}

/// 2,000 that die at the same instant, while 20,000 signals arrive.
fn a_storm_of_orphans_and_signals() {
    let (stdin, mut input) = pipe().unwrap();
    let mut running = Init::pid1(&["-c"]).stdin(stdin).start(play(Role::Storm(2000, rtmin(6))));
    running.prints("ready");
    wait_until("all are orphans", || running.children().len() == 2001);
    // Of its own: more of its code in memory is nothing that it keeps for each orphan.
    let memory = |running: &Running| -> u64 {
        running.status_field("RssAnon").trim_end_matches(" kB").parse().expect("a size")
    };
    let before = memory(&running);
    let start = Instant::now();
    input.write_all(b"\n").unwrap();
    for _ in 0..20_000 {
        running.signal(rtmin(6));
    }
    running.signal(SIGRTMAX);
    running.prints(20_000);
    wait_until("all are reaped", || running.children().len() == 1);
    let took = start.elapsed();
    assert!(took.as_secs() < 15, "{took:?}");
    let grown = memory(&running).saturating_sub(before);
    assert!(grown <= 16, "grew by {grown} KiB");
    drop(input);
    assert_eq!(running.status().code(), Some(0));
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
