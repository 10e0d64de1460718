//! Every signal reaches the command, once, whatever it is.

use crate::support::{Init, Running, field, kill, play, processes, shell, wait_until, words};

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

fn ready(mut running: Running) -> Running {
    assert!(running.stdout.line().starts_with("ready"));
    running
}

/// All but KILL, STOP and CHLD.
fn forwarded() -> impl Iterator<Item = i32> {
    (1..=64).filter(|signal| ![9, 17, 19].contains(signal))
}

/// Each is followed by a different one: were it to come twice, or another with it,
/// the wrong line would be next.
fn every_signal_arrives_once() {
    for options in [&[][..], &["-c"], &["-A"]] {
        for init in [Init::pid1(options), Init::plain(options)] {
            let mut running = ready(init.start(play("receive")));
            for signal in forwarded() {
                running.signal(signal);
                assert_eq!(running.stdout.line(), signal.to_string(), "{options:?}");
            }
            running.signal(1);
            assert_eq!(running.stdout.line(), "1");
            end(running);
        }
    }
}

/// Ends a command that blocks all but KILL, and with it sexton.
fn end(mut running: Running) {
    for child in processes().iter().filter(|process| process.parent == running.pid) {
        kill(child.pid, libc::SIGKILL);
    }
    assert_eq!(running.status().code(), Some(137));
}

fn queued_signals_arrive_as_often_as_they_were_sent() {
    let mut command = play("count");
    command.push("37".into());
    let mut running = ready(Init::pid1(&["-c"]).start(command));
    // Stopped, so that they queue up.
    running.signal(libc::SIGSTOP);
    for _ in 0..500 {
        running.signal(37);
    }
    running.signal(64);
    running.signal(libc::SIGCONT);
    assert_eq!(running.stdout.line(), "500");
    assert_eq!(running.status().code(), Some(0));
}

/// TERM is blocked, so that the kernel keeps it whenever it comes: before sexton's
/// first instruction, while it starts the command, or later.
fn a_signal_during_the_start_is_never_lost() {
    for round in 0..300_u32 {
        let running = Init::pid1(&[]).given("block=15").start(words(&["sleep", "1000"]));
        for _ in 0..(round % 30) * 100 {
            std::hint::spin_loop();
        }
        running.signal(libc::SIGTERM);
        // The mask is inherited: the command keeps it pending, until it is killed.
        let command = || processes().into_iter().find(|process| process.parent == running.pid);
        wait_until("TERM is pending in the command", || {
            command().is_some_and(|process| {
                let status =
                    std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
                field(&status, "ShdPnd") == "0000000000004000"
            })
        });
    }
}

fn a_signal_before_the_start_is_never_lost() {
    for signal in ["1", "15", "40"] {
        let init = Init::pid1(&[]).given(&format!("block={signal}")).given(&format!("raise={signal}"));
        let mut running = ready(init.start(play("receive")));
        assert_eq!(running.stdout.line(), signal);
    }
}

fn signals_are_rewritten_and_dropped() {
    let options = ["-r", "TERM:QUIT", "--rewrite=HUP:0", "-rUSR1:RTMIN+3", "-r", "RTMIN:15"];
    let mut running = ready(Init::pid1(&options).start(play("receive")));
    for (sent, received) in [(15, Some(3)), (1, None), (10, Some(37)), (34, Some(15)), (12, Some(12))] {
        running.signal(sent);
        if let Some(received) = received {
            assert_eq!(running.stdout.line(), received.to_string());
        }
    }
}

/// A shell with a child in the same process group: both get it.
const FAMILY: &str = "trap 'echo parent; n=1' USR1
sh -c 'trap \"echo child; exit\" USR1; echo ready; while :; do sleep 0.01; done' &
while [ -z \"$n\" ]; do wait; done; [ \"$1\" ] && kill -USR1 $!; wait; echo end";

fn a_signal_goes_to_the_process_group() {
    let mut running = ready(Init::pid1(&[]).start(shell(FAMILY)));
    running.signal(libc::SIGUSR1);
    let mut lines = [running.stdout.line(), running.stdout.line()];
    lines.sort();
    assert_eq!(lines, ["child", "parent"]);
}

fn single_child_signals_the_command_alone() {
    let mut command = shell(FAMILY);
    command.extend(["sh".into(), "tell-child".into()]);
    let mut running = ready(Init::pid1(&["-c"]).start(command));
    running.signal(libc::SIGUSR1);
    // Were the child in it, its line would come before what the parent makes it say.
    assert_eq!(running.stdout.line(), "parent");
    assert_eq!(running.stdout.line(), "child");
    assert_eq!(running.stdout.line(), "end");
}

fn escaped(init: Init, how: &str) -> Running {
    let mut command = play("escape");
    command.push(how.into());
    let mut running = init.start(command);
    let mut lines = [running.stdout.line(), running.stdout.line()];
    lines.sort();
    assert_eq!(lines, ["child ready", "ready"]);
    running
}

fn reaches_both(mut running: Running) {
    for signal in ["1", "15", "37"] {
        running.signal(signal.parse().unwrap());
        let mut lines = [running.stdout.line(), running.stdout.line()];
        lines.sort();
        assert_eq!(lines, [signal.to_owned(), format!("child {signal}")]);
    }
    end(running);
}

fn all_reaches_a_session_of_its_own_as_pid_1() {
    reaches_both(escaped(Init::pid1(&["-A"]), "session"));
}

fn all_reaches_a_session_of_its_own_as_a_subreaper() {
    reaches_both(escaped(Init::plain(&["-A"]), "session"));
    reaches_both(escaped(Init::plain(&["--all"]), "group"));
}

/// One sexton below another, and a stranger beside it: what the inner one forwards
/// reaches neither the outer one's other children nor the stranger.
fn all_spares_bystanders() {
    let mut bystander = ready(Init::plain(&[]).start(play("receive")));
    let mut running = escaped(Init::plain(&["-A"]), "session");
    for _ in 0..20 {
        running.signal(libc::SIGUSR1);
        running.stdout.line();
        running.stdout.line();
    }
    reaches_both(running);
    bystander.signal(libc::SIGUSR2);
    assert_eq!(bystander.stdout.line(), "12", "a signal that was not for it");
    end(bystander);
}

/// It put itself into a group that sexton does not lead to.
fn a_command_that_left_its_group_is_still_signalled() {
    let mut running = ready(Init::plain(&[]).start(play("leave")));
    for signal in [10, 15] {
        running.signal(signal);
        assert_eq!(running.stdout.line(), signal.to_string());
    }
    end(running);
}

fn stop_signals_from_a_process_are_forwarded() {
    let mut running = ready(Init::pid1(&[]).start(play("receive")));
    for signal in [20, 21, 22, 18] {
        running.signal(signal);
        assert_eq!(running.stdout.line(), signal.to_string());
    }
}

/// The command becomes another user, whom an unprivileged sexton may not signal.
fn a_forward_that_is_refused_ends_nothing() {
    let mut running = ready(Init::pid1(&[]).given("without-cap-kill").start(play("other-user")));
    for signal in [10, 10, 12] {
        running.signal(signal);
    }
    assert_eq!(running.stderr.line(), "sexton: forwarding SIGUSR1: Operation not permitted");
    let command = processes().into_iter().find(|process| process.parent == running.pid).unwrap();
    kill(command.pid, libc::SIGTERM);
    assert_eq!(running.stdout.line(), "15", "a signal that was refused to sexton");
    kill(command.pid, libc::SIGKILL);
    assert_eq!(running.status().code(), Some(137));
    assert_eq!(running.stderr.rest(), b"", "it is told once");
}
