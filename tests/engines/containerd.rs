//! containerd without Docker or Kubernetes above it, by `ctr`: sexton is the first word.

use std::time::{Duration, Instant};

use crate::engine::containerd::{Containerd, Task};
use crate::support::{EXIT_CODES, lists, wait_until, zombies};

crate::engine::engine_tests![
    Containerd:
        exit_codes_are_passed_on,
        a_task_stops_at_once,
        signals_arrive,
        orphans_are_reaped,
        exec_leaves_no_zombie;
];

fn exit_codes_are_passed_on(containerd: &Containerd) {
    for (words, expected) in EXIT_CODES {
        let output = containerd.run(&[], &[&["/sexton", "--"], words].concat());
        assert_eq!(output.status.code(), Some(expected), "{output:?}");
    }
}

fn wait_for_command(task: &Task, script: &str) {
    wait_until("the command runs", || {
        task.exec(&["sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null; true"]).contains(script)
    });
}

/// As PID 1, a shell that does not handle TERM ignores it, as any program would.
fn a_task_stops_at_once(containerd: &Containerd) {
    let script = "while :; do sleep 0.1; done";
    let task = containerd.start_container(&[], &["/sexton", "--", "sh", "-c", script]);
    wait_for_command(&task, script);
    let start = Instant::now();
    task.kill("TERM");
    assert_eq!(task.code(), 143);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let control = containerd.start_container(&[], &["sh", "-c", script]);
    wait_for_command(&control, script);
    control.kill("TERM");
    control.kill("KILL");
    assert_eq!(control.code(), 137);
}

fn signals_arrive(containerd: &Containerd) {
    let script = "for s in HUP USR1 37; do trap \"echo $s >> /tmp/got\" $s; done; trap 'exit 7' TERM
        echo > /tmp/got; while :; do sleep 0.05; done";
    let mount = "type=tmpfs,src=tmpfs,dst=/tmp";
    let task = containerd.start_container(&["--mount", mount], &["/sexton", "--", "sh", "-c", script]);
    let got = |line: &str| {
        wait_until(line, || {
            task.exec(&["sh", "-c", "cat /tmp/got 2>/dev/null; true"]).lines().any(|got| got == line)
        });
    };
    got("");
    for (signal, line) in [("HUP", "HUP"), ("USR1", "USR1"), ("RTMIN+3", "37")] {
        task.kill(signal);
        got(line);
    }
    task.kill("TERM");
    assert_eq!(task.code(), 7);
}

fn orphans_are_reaped(containerd: &Containerd) {
    let script = "for n in 1 2 3 4 5 6 7 8; do (sleep 0.5 &); done; exec sleep 1000";
    let task = containerd.start_container(&[], &["/sexton", "--", "sh", "-c", script]);
    wait_for_command(&task, "sleep\x001000");
    wait_until("they have ended, and no zombie is left", || {
        !lists(&task.exec(&["ps"]), "sleep 0.5") && zombies(|words| task.exec(words)) == 0
    });
    // The control: without an init they stay.
    let control = containerd.start_container(&[], &["sh", "-c", script]);
    wait_until("they are zombies", || zombies(|words| control.exec(words)) == 8);
}

fn exec_leaves_no_zombie(containerd: &Containerd) {
    let leave = ["sh", "-c", "(sleep 0.1 &)"];
    let task = containerd.start_container(&[], &["/sexton", "--", "sleep", "1000"]);
    task.exec(&leave);
    wait_until("no zombie is left", || {
        zombies(|words| task.exec(words)) == 0 && !lists(&task.exec(&["ps"]), "sleep 0.1")
    });
    let control = containerd.start_container(&[], &["sleep", "1000"]);
    control.exec(&leave);
    wait_until("it is a zombie", || zombies(|words| control.exec(words)) == 1);
}
