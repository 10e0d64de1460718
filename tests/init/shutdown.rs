//! An orderly end: `-d`, `-k`, `-t` and `-a`.

use std::ffi::OsString;
use std::io::pipe;
use std::time::{Duration, Instant};

use crate::support::{
    DEADLINE, Init, Running, complaint, kill, play, play_with, process, ready, sexton, shell, wait_until,
    words,
};

crate::tests![
    new it_kills_when_the_time_is_up,
    new who_ends_in_time_keeps_the_status,
    new other_signals_arm_nothing,
    new the_whole_group_is_killed,
    new single_child_kills_the_command_alone,
    new stragglers_are_told_and_finish_their_work,
    new each_is_told_once,
    new stragglers_that_are_deaf_are_killed,
    new stragglers_that_never_stop_forking_are_killed,
    new without_proc_stragglers_are_told_as_pid_1,
    new bystanders_are_spared,
    new a_daemon_is_waited_for,
    new a_daemon_is_told_and_killed,
    new nobody_left_takes_no_time,
    new signals_reach_those_who_are_left,
    new the_phases_come_in_order,
    new a_request_is_held_back,
    new another_request_ends_the_delay,
    new the_command_ends_during_the_delay,
    new delay_and_kill_after_add_up,
    new stopping_sexton_kills_nobody_early,
    new the_time_while_the_command_is_stopped_does_not_count,
    new without_options_nothing_is_armed,
    new refused_times,
];

const MILLISECOND: Duration = Duration::from_millis(1);

/// Far more than any of these takes, and far less than what must not be waited for.
const SOON: Duration = Duration::from_secs(15);

/// As PID 1, and as a subreaper, which is the command of a PID 1: were it to signal
/// strangers, these would not be the machine's.
fn both_ways(options: &[&str], command: Vec<OsString>) -> [(Init, Vec<OsString>); 2] {
    let mut inner: Vec<OsString> = vec![sexton().into()];
    inner.extend(words(options));
    inner.extend(command.iter().cloned());
    [(Init::pid1(options), command), (Init::pid1(&[]), inner)]
}

fn left_behind(how: &str, time: i32) -> Vec<OsString> {
    let mut command = play_with("leave-behind", how);
    command.extend(words(&["5", &time.to_string()]));
    command
}

fn it_kills_when_the_time_is_up() {
    for signal in [15, 2, 3] {
        let mut running = ready(Init::pid1(&["-k", "400ms"]).start(play("receive")));
        let start = Instant::now();
        running.signal(signal);
        assert_eq!(running.stdout.line(), signal.to_string());
        wait_until("some of the time is over", || start.elapsed() > 250 * MILLISECOND);
        // It is forwarded too, and prolongs nothing.
        let again = Instant::now();
        running.signal(15);
        assert_eq!(running.stdout.line(), "15");
        assert_eq!(running.status().code(), Some(137));
        assert!(start.elapsed() >= 400 * MILLISECOND, "{:?}", start.elapsed());
        assert!(again.elapsed() < SOON);
    }
}

fn who_ends_in_time_keeps_the_status() {
    let script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let mut running = ready(Init::pid1(&["-k", "1h"]).start(shell(script)));
    running.signal(libc::SIGTERM);
    assert_eq!(running.status().code(), Some(3));
}

/// The third argument of the system call in which sexton sleeps is the time limit.
fn is_armed(running: &Running) -> bool {
    wait_until("it is idle", || running.is_idle());
    running.proc("syscall").split(' ').nth(3).is_some_and(|limit| limit != "0x0")
}

fn other_signals_arm_nothing() {
    let options = ["-k", "1h", "-r", "USR2:TERM", "-r", "INT:USR2", "-r", "QUIT:0"];
    let mut running = ready(Init::pid1(&options).start(play("receive")));
    for signal in [1, 10, 28, 40] {
        running.signal(signal);
        assert_eq!(running.stdout.line(), signal.to_string());
        assert!(!is_armed(&running), "{signal}");
    }
    // One that is dropped asks for nothing; one that becomes a request does.
    running.signal(libc::SIGQUIT);
    assert!(!is_armed(&running));
    running.signal(libc::SIGUSR2);
    assert_eq!(running.stdout.line(), "15");
    assert!(is_armed(&running));
    running.end();
}

fn without_options_nothing_is_armed() {
    let mut running = ready(Init::pid1(&[]).start(play("receive")));
    running.signal(libc::SIGTERM);
    assert_eq!(running.stdout.line(), "15");
    assert!(!is_armed(&running));
    running.end();
}

/// The PID of `family`'s child as it is seen from here.
fn child_of_the_family(running: &mut Running) -> i32 {
    let line = running.stdout.line();
    assert!(line.starts_with("child "), "{line}");
    assert!(running.stdout.line().starts_with("ready"));
    line["child ".len()..].parse().unwrap()
}

fn the_whole_group_is_killed() {
    let mut running = Init::plain(&["-k", "100ms"]).start(play("family"));
    let child = child_of_the_family(&mut running);
    running.signal(libc::SIGTERM);
    assert_eq!(running.status().code(), Some(137));
    wait_until("it is gone", || process(child).is_none_or(|process| process.state == 'Z'));
}

fn single_child_kills_the_command_alone() {
    let mut running = Init::plain(&["-ck", "100ms"]).start(play("family"));
    let child = child_of_the_family(&mut running);
    running.signal(libc::SIGTERM);
    assert_eq!(running.status().code(), Some(137));
    assert!(process(child).is_some_and(|process| process.state != 'Z'));
    kill(child, libc::SIGKILL);
}

/// Each is told once, whatever it does meanwhile: a second TERM would be told.
fn stragglers_are_told_and_finish_their_work() {
    for how in ["plain", "session", "group", "stopped", "fork", "session-fork", "session-stopped-fork"] {
        for (init, command) in both_ways(&["-t", "1h"], left_behind(how, 300)) {
            let start = Instant::now();
            let output = init.run(command);
            assert_eq!(output.status.code(), Some(5), "{how}: {output:?}");
            let told: Vec<&str> = std::str::from_utf8(&output.stdout)
                .unwrap()
                .lines()
                .filter(|line| *line != "straggler 18")
                .collect();
            let expected: &[&str] = if how.contains("fork") {
                &["straggler 15", "straggler 15", "last line"]
            } else {
                &["straggler 15", "last line"]
            };
            assert_eq!(told, expected, "{how}");
            assert!(start.elapsed() >= 300 * MILLISECOND);
        }
    }
}

/// They fork while the others are still to be told.
fn each_is_told_once() {
    let mut command = shell(r#"for n in $(seq 150); do "$@"; done; exit 5"#);
    command.push("sh".into());
    command.extend(left_behind("session-fork", 0));
    for (init, command) in both_ways(&["-t", "1h"], command) {
        let output = init.run(command);
        assert_eq!(output.status.code(), Some(5));
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(told.matches("last line").count(), 150);
        assert_eq!(told.matches("straggler 15").count(), 300);
    }
}

/// Each is a process for a moment only, in a session of its own.
fn stragglers_that_never_stop_forking_are_killed() {
    let mut command = shell(r#""$@"; echo "code $?"; set -- /proc/[0-9]*; echo "processes $#""#);
    command.extend(["sh".into(), sexton().into(), "-t200ms".into()]);
    command.extend(play("hop"));
    let mut running = Init::pid1(&[]).start(command);
    assert_eq!(running.stdout.line(), "code 5");
    assert_eq!(running.stdout.line(), "processes 2", "PID 1 and the shell");
}

fn stragglers_that_are_deaf_are_killed() {
    for how in ["deaf", "deaf-session", "deaf-stopped", "deaf-group"] {
        for (init, command) in both_ways(&["-t", "400ms"], left_behind(how, 0)) {
            let start = Instant::now();
            let mut running = init.start(command);
            let output = (running.stdout.rest(), running.status());
            assert_eq!(output.1.code(), Some(5), "{how}");
            let told = String::from_utf8(output.0).unwrap();
            assert_eq!(told.matches("straggler 15").count(), 2, "{how}: {told}");
            assert!(start.elapsed() >= 400 * MILLISECOND);
            // Its standard output ended: nobody holds it any more.
            assert!(start.elapsed() < DEADLINE);
        }
    }
}

fn without_proc_stragglers_are_told_as_pid_1() {
    for how in ["session", "stopped"] {
        let output = Init::pid1(&["-t", "1h"]).given("no-proc").run(left_behind(how, 10));
        assert_eq!(output.status.code(), Some(5));
        assert!(output.stdout.ends_with(b"straggler 15\nlast line\n"), "{output:?}");
        assert_eq!(complaint(&output), "");
    }
}

/// The bystander is a child of the same shell that the subreaper is a child of, and in
/// its process group.
fn bystanders_are_spared() {
    let script = r#""$1" --play receive | sed -u 's/^/bystander /' & shift; "$@"; echo "code $?"; read x"#;
    for (options, how) in [(["-t", "1h"], "session"), (["-t", "200ms"], "deaf-session")] {
        let mut command = shell(script);
        command.extend(["sh".into(), play("receive")[0].clone(), sexton().into()]);
        command.extend(words(&options));
        command.extend(left_behind(how, 10));
        let (stdin, _input) = pipe().unwrap();
        let mut running = Init::pid1(&["-A"]).stdin(stdin).start(command);
        let mut heard = Vec::new();
        while heard.last().is_none_or(|line: &String| !line.starts_with("code ")) {
            heard.push(running.stdout.line());
        }
        assert_eq!(heard.last().unwrap(), "code 5");
        while !heard.iter().any(|line| line.starts_with("bystander ready")) {
            heard.push(running.stdout.line());
        }
        assert!(!heard.iter().any(|line| line.starts_with("bystander 1")), "{heard:?}");
        running.signal(libc::SIGWINCH);
        assert_eq!(running.stdout.line(), "bystander 28", "this is the first that it hears");
    }
}

fn a_daemon_is_waited_for() {
    for (init, command) in both_ways(&["-va"], left_behind("session", 10)) {
        let mut running = init.start(command);
        assert_eq!(running.stderr.line(), "sexton: phase: draining");
        for signal in [1, 37] {
            running.signal(signal);
            assert_eq!(running.stdout.line(), format!("straggler {signal}"));
        }
        running.signal(libc::SIGTERM);
        assert_eq!(running.stdout.line(), "straggler 15");
        assert_eq!(running.stdout.line(), "last line");
        assert_eq!(running.status().code(), Some(5));
    }
}

fn a_daemon_is_told_and_killed() {
    for (init, command) in both_ways(&["-vak", "300ms"], left_behind("session-deaf", 0)) {
        let mut running = init.start(command);
        assert_eq!(running.stderr.line(), "sexton: phase: draining");
        let start = Instant::now();
        running.signal(libc::SIGTERM);
        assert_eq!(running.stdout.rest(), b"straggler 15\nstraggler 15\n");
        assert_eq!(running.status().code(), Some(5));
        assert!(start.elapsed() >= 300 * MILLISECOND);
    }
}

fn nobody_left_takes_no_time() {
    let start = Instant::now();
    for options in [&["-t", "1h"][..], &["-a"], &["-at1h", "-k1h", "-d1h"]] {
        assert_eq!(Init::pid1(options).code(shell("exit 6")), 6);
        assert_eq!(Init::plain(options).code(shell("exit 7")), 7);
    }
    assert!(start.elapsed() < SOON);
}

fn signals_reach_those_who_are_left() {
    for (init, command) in both_ways(&["-t", "1h"], left_behind("session-deaf", 0)) {
        let mut running = init.start(command);
        let mut told = [running.stdout.line(), running.stdout.line(), String::new(), String::new()];
        (told[2], told[3]) = (running.stdout.line(), running.stdout.line());
        told.sort();
        assert_eq!(told, ["straggler 15", "straggler 15", "straggler 18", "straggler 18"]);
        for signal in [10, 15, 40] {
            running.signal(signal);
            let line = format!("straggler {signal}");
            assert_eq!([running.stdout.line(), running.stdout.line()], [line.clone(), line]);
        }
        // The rest is the kernel's: it takes the namespace with PID 1.
        kill(running.pid, libc::SIGKILL);
        running.status();
    }
}

fn the_phases_come_in_order() {
    for (options, command, phases) in [
        (
            &["-vk100ms", "-t100ms", "-d100ms"][..],
            {
                // The command ignores TERM, and so does what it leaves behind.
                let mut command = shell(r#""$@"; trap "" TERM; echo ready; while :; do sleep 0.01; done"#);
                command.push("sh".into());
                command.extend(left_behind("session-deaf", 0));
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
            running.signal(libc::SIGTERM);
            running.stdout.rest();
            running.status();
            let told = String::from_utf8(running.stderr.rest()).unwrap();
            let told: Vec<&str> =
                told.lines().filter_map(|line| line.strip_prefix("sexton: phase: ")).collect();
            assert_eq!(told, phases);
        }
    }
}

fn a_request_is_held_back() {
    let mut running = ready(Init::pid1(&["-d", "500ms"]).start(play("receive")));
    let start = Instant::now();
    running.signal(libc::SIGTERM);
    for signal in [1, 10] {
        running.signal(signal);
        assert_eq!(running.stdout.line(), signal.to_string());
    }
    assert_eq!(running.stdout.line(), "15");
    assert!(start.elapsed() >= 500 * MILLISECOND);
    running.signal(libc::SIGTERM);
    assert_eq!(running.stdout.line(), "15", "only the first is held back");
    running.end();
}

/// It goes in place of the one that was held back: two would make many a program give
/// up its orderly end.
fn another_request_ends_the_delay() {
    for (first, second) in [(15, 15), (15, 2), (2, 3)] {
        let mut running = ready(Init::pid1(&["-d", "1h"]).start(play("receive")));
        running.signal(first);
        wait_until("it was taken", || running.is_idle());
        running.signal(second);
        assert_eq!(running.stdout.line(), second.to_string());
        running.signal(libc::SIGUSR1);
        assert_eq!(running.stdout.line(), "10");
        running.end();
    }
}

fn the_command_ends_during_the_delay() {
    let mut running = ready(
        Init::pid1(&["-d", "1h"])
            .start(shell("trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done")),
    );
    running.signal(libc::SIGTERM);
    running.signal(libc::SIGUSR1);
    assert_eq!(running.status().code(), Some(9));
}

fn delay_and_kill_after_add_up() {
    let mut running = ready(Init::pid1(&["-d", "200ms", "-k", "200ms"]).start(play("receive")));
    let start = Instant::now();
    running.signal(libc::SIGTERM);
    assert_eq!(running.stdout.line(), "15");
    assert_eq!(running.status().code(), Some(137));
    assert!(start.elapsed() >= 400 * MILLISECOND);
}

fn stopping_sexton_kills_nobody_early() {
    let mut running = ready(Init::pid1(&["-k", "600ms"]).start(play("receive")));
    let start = Instant::now();
    running.signal(libc::SIGTERM);
    assert_eq!(running.stdout.line(), "15");
    while start.elapsed() < 500 * MILLISECOND {
        running.signal(libc::SIGSTOP);
        wait_until("it is stopped", || process(running.pid).is_some_and(|process| process.state == 'T'));
        running.signal(libc::SIGCONT);
        assert_eq!(running.stdout.line(), "18");
    }
    running.status();
    assert!(start.elapsed() >= 600 * MILLISECOND, "{:?}", start.elapsed());
}

/// Somebody presses Ctrl-Z during the end, and goes to lunch.
fn the_time_while_the_command_is_stopped_does_not_count() {
    let mut running = ready(Init::plain(&["-k", "3s"]).start(play("receive")));
    let start = Instant::now();
    running.signal(libc::SIGTERM);
    assert_eq!(running.stdout.line(), "15");
    kill(running.children()[0].pid, libc::SIGSTOP);
    wait_until("both are stopped", || process(running.pid).is_some_and(|process| process.state == 'T'));
    let stopped = Instant::now();
    wait_until("the time is over", || stopped.elapsed() > 3200 * MILLISECOND);
    let lunch = stopped.elapsed();
    running.signal(libc::SIGCONT);
    assert_eq!(running.stdout.line(), "18", "it goes on");
    assert_eq!(running.status().code(), Some(137));
    assert!(start.elapsed() >= Duration::from_secs(3) + lunch, "{:?} {lunch:?}", start.elapsed());
}

fn refused_times() {
    for (option, value) in [("-k", "soon"), ("-t", "-1"), ("-d", "99999999999h"), ("-k", "1.2.3"), ("-t", "")]
    {
        let output = Init::plain(&[option, value]).run(["true"]);
        assert_eq!(output.status.code(), Some(125));
        let expected = format!("sexton: {option} {value}: not a time (10, 1.5s, 250ms, 2m, 1h)\n");
        assert_eq!(complaint(&output), expected);
    }
}
