//! Every signal reaches the command, once, whatever it is.

use std::fs;

use crate::support::{
    Init, Running, field, kill, play, play_with, process, processes, ready, sexton, shell, wait_until, words,
};

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

/// All but KILL, STOP and CHLD.
fn forwarded() -> impl Iterator<Item = i32> {
    (1..=64).filter(|signal| ![9, 17, 19].contains(signal))
}

/// Each is followed by a different one: were it to come twice, or another with it,
/// the wrong line would be next.
fn every_signal_arrives_once() {
    for init in
        [Init::pid1(&[]), Init::pid1(&["-c"]), Init::pid1(&["-A"]), Init::plain(&[]), Init::plain(&["-c"])]
    {
        let mut running = ready(init.start(play("receive")));
        for signal in forwarded() {
            running.signal(signal);
            assert_eq!(running.stdout.line(), signal.to_string());
        }
        running.signal(1);
        assert_eq!(running.stdout.line(), "1");
        running.end();
    }
}

fn queued_signals_arrive_as_often_as_they_were_sent() {
    let mut running = ready(Init::pid1(&["-c"]).start(play_with("count", 37)));
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
        wait_until("TERM is pending in the command", || {
            running.children().first().is_some_and(|process| {
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
    both_say(&mut running, ["child", "parent"]);
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

/// The lines of the two that receive, in this order.
fn both_say(running: &mut Running, lines: [&str; 2]) {
    let mut said = [running.stdout.line(), running.stdout.line()];
    said.sort();
    assert_eq!(said, lines);
}

fn all_reaches_a_session_of_its_own_as_pid_1() {
    let mut running = Init::pid1(&["-A"]).start(play_with("escape", "session"));
    both_say(&mut running, ["child ready", "ready"]);
    for signal in ["1", "15", "37"] {
        running.signal(signal.parse().unwrap());
        both_say(&mut running, [signal, &format!("child {signal}")]);
    }
}

/// In a PID namespace all the same: should this ever go wrong, what it signals are
/// not the machine's processes.
fn all_reaches_a_session_of_its_own_as_a_subreaper() {
    for how in ["session", "group"] {
        let mut command = vec![sexton().into(), "--all".into()];
        command.extend(play_with("escape", how));
        let mut running = Init::pid1(&["-c"]).start(command);
        both_say(&mut running, ["child ready", "ready"]);
        for signal in ["1", "15", "37"] {
            running.signal(signal.parse().unwrap());
            both_say(&mut running, [signal, &format!("child {signal}")]);
        }
    }
}

/// The bystander is a child of the same shell that the subreaper is a child of.
fn all_spares_bystanders() {
    let script = r#"bystander=$1; shift; "$bystander" --play receive | sed -u 's/^/bystander /' & "$@""#;
    let mut command = shell(script);
    command.extend(["sh".into(), play("receive")[0].clone()]);
    command.extend([sexton().into(), "-A".into()]);
    command.extend(play("receive"));
    let mut running = Init::pid1(&["-A"]).start(command);
    let mut said = [running.stdout.line(), running.stdout.line()];
    said.sort();
    assert!(said[0].starts_with("bystander ready") && said[1].starts_with("ready"), "{said:?}");
    let inner = processes().into_iter().find(|process| {
        let words = fs::read_to_string(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        words.contains("\0-A\0") && parent_of(process.parent) == Some(running.pid)
    });
    let inner = inner.expect("the subreaper").pid;
    for _ in 0..20 {
        kill(inner, libc::SIGUSR1);
        assert_eq!(running.stdout.line(), "10");
    }
    // To show that the bystander listens, and that this is the first that it hears.
    // The other gets it from both sextons, as one or as two.
    running.signal(libc::SIGWINCH);
    let bystander = std::iter::repeat_with(|| running.stdout.line()).find(|line| line != "28");
    assert_eq!(bystander.as_deref(), Some("bystander 28"));
}

fn parent_of(pid: i32) -> Option<i32> {
    Some(process(pid)?.parent)
}

/// It put itself into a group that sexton does not lead to.
fn a_command_that_left_its_group_is_still_signalled() {
    let mut running = ready(Init::plain(&[]).start(play("leave")));
    for signal in [10, 15] {
        running.signal(signal);
        assert_eq!(running.stdout.line(), signal.to_string());
    }
    running.end();
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
    kill(running.children()[0].pid, libc::SIGTERM);
    assert_eq!(running.stdout.line(), "15", "a signal that was refused to sexton");
    running.end();
    assert_eq!(running.stderr.rest(), b"", "it is told once");
}
