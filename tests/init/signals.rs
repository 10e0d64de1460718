//! Every signal reaches the command, once, whatever it is.

use std::fs;

use crate::support::*;

crate::tests![
    new every_signal_arrives_once,
    new queued_signals_arrive_as_often_as_they_were_sent,
    new a_signal_during_the_start_is_never_lost,
    new a_signal_before_the_start_is_never_lost,
    new signals_are_rewritten_and_dropped,
    new a_signal_goes_to_the_process_group,
    new single_child_signals_the_command_alone,
    new all_reaches_a_session_of_its_own_as_pid_1,
    new all_reaches_a_session_of_its_own_as_a_subreaper,
    new all_spares_bystanders,
    new a_command_that_left_its_group_is_still_signalled,
    new stop_signals_from_a_process_are_forwarded,
    as_root a_forward_that_is_refused_ends_nothing,
];

/// All that an init can forward.
fn forwarded() -> impl Iterator<Item = Signal> {
    Signal::all().filter(|signal| ![SIGKILL, SIGSTOP, SIGCHLD].contains(signal))
}

/// Each is followed by a different one: were it to arrive twice, or another with it, the
/// wrong line would be next.
fn every_signal_arrives_once() {
    for init in
        [Init::pid1(&[]), Init::pid1(&["-c"]), Init::pid1(&["-A"]), Init::plain(&[]), Init::plain(&["-c"])]
    {
        let mut running = ready(init.start(play(Role::Receive)));
        for signal in forwarded() {
            running.signal(signal);
            running.prints(signal);
        }
        running.signal(SIGHUP);
        running.prints(SIGHUP);
        running.end();
    }
}

fn queued_signals_arrive_as_often_as_they_were_sent() {
    let mut running = ready(Init::pid1(&[]).start(play(Role::Count(rtmin(3)))));
    // Stopped, so that they queue up.
    running.signal(SIGSTOP);
    for _ in 0..500 {
        running.signal(rtmin(3));
    }
    running.signal(SIGRTMAX);
    running.signal(SIGCONT);
    running.prints(500);
    assert_eq!(running.status().code(), Some(0));
}

/// TERM is blocked, so that the kernel keeps it whenever it comes: before sexton's
/// first instruction, while it starts the command, or later.
fn a_signal_during_the_start_is_never_lost() {
    for round in 0..300_u32 {
        let running = Init::pid1(&[]).given(Condition::Blocked(SIGTERM)).start(words(&["sleep", "1000"]));
        for _ in 0..(round % 30) * 100 {
            std::hint::spin_loop();
        }
        running.signal(SIGTERM);
        // The mask is inherited: the command keeps it pending, until it is killed.
        wait_until("TERM is pending in the command", || {
            running
                .children()
                .first()
                .is_some_and(|process| status_field(process.pid, "ShdPnd") == "0000000000004000")
        });
    }
}

fn a_signal_before_the_start_is_never_lost() {
    for signal in [SIGHUP, SIGTERM, rtmin(6)] {
        let init = Init::pid1(&[]).given(Condition::Blocked(signal)).given(Condition::Pending(signal));
        let mut running = ready(init.start(play(Role::Receive)));
        running.prints(signal);
    }
}

fn signals_are_rewritten_and_dropped() {
    let options = ["-r", "TERM:QUIT", "--rewrite=HUP:0", "-rUSR1:RTMIN+3", "-r", "RTMIN:15"];
    let mut running = ready(Init::pid1(&options).start(play(Role::Receive)));
    for (sent, received) in [
        (SIGTERM, Some(SIGQUIT)),
        (SIGHUP, None),
        (SIGUSR1, Some(rtmin(3))),
        (SIGRTMIN, Some(SIGTERM)),
        (SIGUSR2, Some(SIGUSR2)),
    ] {
        running.signal(sent);
        if let Some(received) = received {
            running.prints(received);
        }
    }
}

/// A shell with a child in the same process group: both get it.
const FAMILY: &str = "trap 'echo parent; n=1' USR1
sh -c 'trap \"echo child; exit\" USR1; echo ready; while :; do sleep 0.01; done' &
while [ -z \"$n\" ]; do wait; done; [ \"$1\" ] && kill -USR1 $!; wait; echo end";

fn a_signal_goes_to_the_process_group() {
    let init = Init::pid1(&[]).asked_to(Ask::ForwardToGroup);
    let mut running = ready(init.start(shell(FAMILY)));
    running.signal(SIGUSR1);
    running.prints_in_any_order(["child", "parent"]);
}

fn single_child_signals_the_command_alone() {
    let mut command = shell(FAMILY);
    command.extend(["sh".into(), "signal-child".into()]);
    let mut running = ready(Init::pid1(&["-c"]).start(command));
    running.signal(SIGUSR1);
    // A child that got it from sexton would print its line first.
    running.prints("parent");
    running.prints("child");
    running.prints("end");
}

/// A command and a child that has left both get what the init gets.
fn both_receive(mut running: Running) {
    running.prints_in_any_order(["child ready", "ready"]);
    for signal in [SIGHUP, SIGTERM, rtmin(3)] {
        running.signal(signal);
        running.prints_in_any_order([&signal.to_string(), &format!("child {signal}")]);
    }
}

fn all_reaches_a_session_of_its_own_as_pid_1() {
    both_receive(Init::pid1(&["-A"]).start(play(Role::WithEscapedChild(Escape::ToSession))));
}

/// In a PID namespace all the same: should this ever go wrong, what it signals are
/// not the machine's processes.
fn all_reaches_a_session_of_its_own_as_a_subreaper() {
    for escape in [Escape::ToSession, Escape::ToGroup] {
        let mut command = vec![sexton().into(), "--all".into()];
        command.extend(play(Role::WithEscapedChild(escape)));
        both_receive(Init::pid1(&["-c"]).start(command));
    }
}

/// The bystander is a child of the same shell that the subreaper is a child of.
fn all_spares_bystanders() {
    let script = r#"helper=$1; shift; "$helper" receive | sed -u 's/^/bystander /' & "$@""#;
    let mut command = shell(script);
    command.extend(["sh".into(), helper().into(), sexton().into(), "-A".into()]);
    command.extend(play(Role::Receive));
    let mut running = Init::pid1(&["-A"]).start(command);
    let mut printed = [running.stdout.line(), running.stdout.line()];
    printed.sort();
    assert!(printed[0].starts_with("bystander ready") && printed[1].starts_with("ready"), "{printed:?}");
    let inner = processes().into_iter().find(|process| {
        let words = fs::read_to_string(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        let grandparent = crate::support::process(process.parent).map(|parent| parent.parent);
        words.contains("\0-A\0") && grandparent == Some(running.pid)
    });
    let inner = inner.expect("the subreaper").pid;
    for _ in 0..20 {
        kill(inner, SIGUSR1).unwrap();
        running.prints(SIGUSR1);
    }
    // This shows that the bystander listens, and that it is the first signal which reaches
    // it. The command gets it from both sextons, as one or as two.
    running.signal(SIGWINCH);
    let other = std::iter::repeat_with(|| running.stdout.line()).find(|line| line != "SIGWINCH");
    assert_eq!(other.as_deref(), Some("bystander SIGWINCH"));
}

/// It moves into a process group that sexton did not make.
fn a_command_that_left_its_group_is_still_signalled() {
    let mut running = ready(Init::plain(&[]).start(play(Role::JoinParentsGroup)));
    for signal in [SIGUSR1, SIGTERM] {
        running.signal(signal);
        running.prints(signal);
    }
    running.end();
}

fn stop_signals_from_a_process_are_forwarded() {
    let mut running = ready(Init::pid1(&[]).start(play(Role::Receive)));
    for signal in [SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT] {
        running.signal(signal);
        running.prints(signal);
    }
}

/// The command becomes another user, which an unprivileged sexton may not signal.
fn a_forward_that_is_refused_ends_nothing() {
    let mut running =
        ready(Init::pid1(&[]).given(Condition::WithoutCapKill).start(play(Role::BecomeOtherUser)));
    for signal in [SIGUSR1, SIGUSR1, SIGUSR2] {
        running.signal(signal);
    }
    assert_eq!(running.stderr.line(), "sexton: forwarding SIGUSR1: Operation not permitted");
    kill(running.children()[0].pid, SIGTERM).unwrap();
    running.prints(SIGTERM);
    running.end();
    assert_eq!(running.stderr.rest(), b"", "it is logged once");
}
