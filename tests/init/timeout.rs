//! `-x`: a time limit.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use crate::at_terminal::*;
use crate::support::*;

crate::tests![
    new a_command_that_is_in_time_keeps_its_status,
    new a_command_that_is_late_gets_term_and_124,
    new a_command_that_ignores_term_is_killed_and_137,
    new a_time_limit_can_be_remapped_and_is_not_mirrored,
    new phases_of_a_time_limit_are_logged,
    new a_time_limit_is_written_to_the_termination_log,
    new a_stop_signal_that_comes_first_wins,
    new no_delay_holds_a_time_limit_back,
    new a_time_limit_forwards_what_term_is_rewritten_to,
    new a_time_limit_is_for_the_scope,
    new remaining_processes_get_their_grace_after_a_time_limit,
    new a_time_limit_of_zero_or_of_centuries_is_none,
    new a_pause_takes_no_time_limit,
    new a_command_that_is_not_found_in_time_is_127,
    new term_and_the_limit_at_the_same_instant,
    new the_time_while_a_job_is_suspended_is_no_part_of_the_limit,
    new with_a_limit_the_command_dies_with_sexton,
    new a_stopped_command_is_continued_at_the_limit,
    as_root a_limit_needs_no_parent_in_the_same_namespace,
    new the_last_signal_is_reported_with_its_time_before_the_commands_end,
];

/// For a command that receives: a limit that is over before it is ready does not end it.
fn receiver(options: &[&str]) -> Init {
    Init::pid1(options).given(Condition::Blocked(SIGTERM)).given(Condition::Blocked(SIGQUIT))
}

/// Ends at once at TERM, with this code.
fn ends_at_term(code: i32) -> String {
    format!("trap 'exit {code}' TERM; echo ready; while :; do sleep 0.01; done")
}

fn a_command_that_is_in_time_keeps_its_status() {
    for options in [&["-x", "1h"][..], &["-x1h", "-k1", "-t1"]] {
        for code in [0, 3, 124] {
            assert_eq!(Init::pid1(options).code(shell(&format!("exit {code}"))), code);
            assert_eq!(Init::plain(options).code(shell(&format!("exit {code}"))), code);
        }
        assert_eq!(Init::pid1(options).code(play(Role::Die(SIGTERM))), 143);
    }
}

fn a_command_that_is_late_gets_term_and_124() {
    for init in [Init::pid1, Init::plain] {
        for command in [words(&["sleep", "1000"]), shell(&ends_at_term(0)), shell(&ends_at_term(3))] {
            let start = Instant::now();
            assert_eq!(init(&["-x", "200ms"]).code(command), 124);
            assert!(start.elapsed() >= 200 * MILLISECOND && start.elapsed() < SOON);
        }
    }
}

fn a_command_that_ignores_term_is_killed_and_137() {
    let start = Instant::now();
    let mut running = ready(receiver(&["-x", "300ms", "-k", "200ms"]).start(play(Role::Receive)));
    running.prints(SIGTERM);
    assert_eq!(running.status().code(), Some(137));
    assert!(start.elapsed() >= 500 * MILLISECOND);
    // Without -k it may take its time, and is late all the same.
    let script = "trap 'echo asked' TERM; trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done";
    let mut running = ready(Init::pid1(&["-x", "1s"]).start(shell(script)));
    running.prints("asked");
    running.signal(SIGUSR1);
    assert_eq!(running.status().code(), Some(124));
}

fn a_time_limit_can_be_remapped_and_is_not_mirrored() {
    let sleep = || words(&["sleep", "1000"]);
    assert_eq!(Init::pid1(&["-x", "50ms", "-e", "124"]).code(sleep()), 0);
    assert_eq!(Init::pid1(&["-x", "50ms", "-e", "143"]).code(sleep()), 124);
    assert_eq!(Init::plain(&["-x", "50ms", "-m"]).code(sleep()), 124);
    let deaf = || play(Role::Receive);
    let blocked = Condition::Blocked(SIGTERM);
    assert_eq!(Init::pid1(&["-x50ms", "-k50ms", "-e137"]).given(blocked.clone()).code(deaf()), 0);
    // It had to be killed.
    let status = Init::plain(&["-x50ms", "-k50ms", "-m"]).given(blocked).run(deaf()).status;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(SIGKILL.number()));
}

fn phases_of_a_time_limit_are_logged() {
    let output = receiver(&["-v", "-x100ms", "-k100ms"]).run(play(Role::Receive));
    let text = stderr_text(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..3],
        ["sexton: phase: timed out, stopping", "sexton: phase: timed out, killing", "sexton: phase: done"]
    );
    assert!(lines[3].contains(" timed out after 0.1 s and was killed by SIGKILL 0."), "{text}");
    assert!(lines[3].ends_with(" s after SIGTERM"), "{text}");
    assert_eq!(lines.len(), 4);
    let output = Init::pid1(&["-v", "-x1s"]).run(shell("trap 'exit 0' TERM; while :; do sleep 0.01; done"));
    let text = stderr_text(&output);
    assert!(text.contains(" timed out after 1.0 s and exited with 0 "), "{text}");
}

fn a_time_limit_is_written_to_the_termination_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let option = format!("-T={}", path.display());
    // Not a failure of the command's own.
    let script = "trap 'exit 0' TERM; while :; do sleep 0.01; done";
    assert_eq!(Init::pid1(&["-x1s", "-e124", &option]).code(shell(script)), 0);
    assert!(!path.exists());
    assert_eq!(Init::pid1(&["-x1s", &option]).code(shell(script)), 124);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("sh (pid "), "{text}");
    assert!(
        text.contains(" timed out after 1.0 s and exited with 0 0.") && text.ends_with(" s after SIGTERM\n")
    );
}

fn a_stop_signal_that_comes_first_wins() {
    let script = "trap 'echo asked' TERM; trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done";
    let policies: [&[&str]; 3] = [&["-x", "4s"], &["-x", "4s", "-d", "100ms"], &["-x", "4s", "-t", "1h"]];
    let start = Instant::now();
    let mut all = policies.map(|options| ready(Init::pid1(options).start(shell(script))));
    for running in &mut all {
        running.signal(SIGTERM);
        running.prints("asked");
    }
    wait_until("the limit is over", || start.elapsed() > Duration::from_millis(4500));
    for mut running in all {
        running.signal(SIGUSR1);
        assert_eq!(running.stdout.rest(), b"");
        assert_eq!(running.status().code(), Some(7));
    }
}

fn no_delay_holds_a_time_limit_back() {
    assert_eq!(Init::pid1(&["-x", "1s", "-d", "1h"]).code(shell(&ends_at_term(3))), 124);
}

fn a_time_limit_forwards_what_term_is_rewritten_to() {
    for (rule, forwarded) in [("TERM:QUIT", SIGQUIT), ("TERM:0", SIGTERM), ("INT:QUIT", SIGTERM)] {
        let options = ["-x", "200ms", "-k", "50ms", "-r", rule, "--stop-signal", "USR1"];
        let mut running = ready(receiver(&options).start(play(Role::Receive)));
        running.prints(forwarded);
        assert_eq!(running.status().code(), Some(137));
    }
}

fn a_time_limit_is_for_the_scope() {
    let mut running =
        ready_both(receiver(&["-Ax", "1s"]).start(play(Role::WithEscapedChild(Escape::ToSession))));
    // A SIGCONT follows each SIGTERM, and a process to which both are pending handles it first.
    running.prints_in_any_order(["SIGTERM", "SIGCONT", "child SIGTERM", "child SIGCONT"]);
    running.end();
    // And what is left is killed, as far as the scope reaches.
    let mut running = Init::plain(&["-x", "1s", "-k", "100ms"]).start(play(Role::Family));
    let line = running.stdout.line();
    let child: i32 = line["child ".len()..].parse().unwrap();
    assert_eq!(running.status().code(), Some(137));
    wait_until("it is gone", || process(child).is_none_or(|process| process.state == 'Z'));
}

fn ready_both(mut running: Running) -> Running {
    running.prints_in_any_order(["ready", "child ready"]);
    running
}

fn remaining_processes_get_their_grace_after_a_time_limit() {
    let straggler = || vec![Straggler::Session];
    let mut command = shell(r#""$@"; trap 'exit 3' TERM; while :; do sleep 0.01; done"#);
    command.push("sh".into());
    command.extend(play(Role::LeaveBehind { straggler: straggler(), code: 5, work: 200 * MILLISECOND }));
    let ends = |options: &[&str], command: Vec<OsString>| {
        both_ways(options, command).map(|(init, command)| init.start(command))
    };
    let start = Instant::now();
    let late = ends(&["-x", "3s", "-t", "1h"], command);
    // Where the command was in time, the grace period is all there is.
    let in_time = ends(&["-x", "3s", "-t", "4s"], left_behind(&[Straggler::Session, Straggler::Deaf], 0));
    // Under -a the limit is a stop signal for those who are left.
    let waiting = ends(&["-x", "3s", "-a"], left_behind(&straggler(), 0));
    for running in late {
        let output = running.finish();
        assert_eq!(output.status.code(), Some(124), "{output:?}");
        assert!(output.stdout.starts_with(b"straggler SIGTERM\n"), "{output:?}");
        assert!(output.stdout.ends_with(b"last line\n"), "{output:?}");
    }
    for running in in_time {
        let output = running.finish();
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        assert_eq!(output.stdout, b"straggler SIGTERM\nstraggler SIGCONT\n");
        assert!(start.elapsed() >= Duration::from_secs(4));
    }
    for running in waiting {
        let output = running.finish();
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        assert!(output.stdout.starts_with(b"straggler SIGTERM\n"), "{output:?}");
    }
}

/// The third argument of the system call in which sexton sleeps is the time limit.
fn is_armed(running: &Running) -> bool {
    wait_until("it is idle", || running.is_idle());
    running.proc("syscall").split(' ').nth(3).is_some_and(|limit| limit != "0x0")
}

fn a_time_limit_of_zero_or_of_centuries_is_none() {
    for (limit, armed) in [("0", false), ("0ms", false), ("18446744073", true), ("5124095h", true)] {
        for options in [&["-x", limit][..], &["-x", limit, "-k", "18446744073", "-t", "5124095h"]] {
            let mut running = ready(Init::pid1(options).start(shell(&ends_at_term(3))));
            assert_eq!(is_armed(&running), armed, "{limit}");
            running.signal(SIGTERM);
            assert_eq!(running.status().code(), Some(3));
        }
    }
    for limit in ["18446744074", "5124096h", "-1", "1e3", ""] {
        let output = Init::plain(&["-x", limit]).run(["true"]);
        assert_eq!(output.status.code(), Some(125), "{limit}");
        assert_eq!(stderr_text(&output).lines().count(), 1);
    }
}

fn a_pause_takes_no_time_limit() {
    for init in [Init::plain(&["-P", "-x", "5"]), Init::plain(&["-P"]).env("SEXTON_OPTIONS", "--timeout=5")] {
        let output = init.run(words(&[]));
        assert_eq!(output.status.code(), Some(125));
        assert_eq!(stderr_text(&output), "sexton: --timeout needs a command, and --pause runs none\n");
    }
}

fn a_command_that_is_not_found_in_time_is_127() {
    assert_eq!(Init::pid1(&["-x", "1h"]).code(["/nonexistent"]), 127);
    // Nor is that the limit's doing, where TERM has come and could not end the attempt.
    for _ in 0..20 {
        let init = Init::pid1(&["-x", "1ms"]).given(Condition::Blocked(SIGTERM));
        assert_eq!(init.code(["/nonexistent"]), 127);
    }
}

/// Whichever comes first decides; the other one is too late. After each run TERM is sent
/// a little earlier or later, to where the two meet.
fn term_and_the_limit_at_the_same_instant() {
    const LIMIT: Duration = Duration::from_millis(20);
    let mut wait = LIMIT;
    let mut seen = [0, 0];
    for _ in 0..300 {
        let mut running = Init::pid1(&["-x20ms", "-k1h", "-t1h"]).start(["sleep", "1000"]);
        let start = Instant::now();
        while start.elapsed() < wait {
            std::hint::spin_loop();
        }
        let sent = kill(running.pid, SIGTERM);
        match running.status().code() {
            Some(143) => {
                seen[0] += 1;
                wait += LIMIT / 100;
            }
            Some(124) => {
                seen[1] += 1;
                wait = wait.saturating_sub(LIMIT / 100);
            }
            other => panic!("{other:?} {sent:?}"),
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

fn the_time_while_a_job_is_suspended_is_no_part_of_the_limit() {
    let mut screen = Screen::new();
    let _running = from_a_shell(&mut screen);
    let start = Instant::now();
    // It starts no programs: a Ctrl-Z between vfork and exec would stop the child alone.
    screen.types("$SEXTON -x 3s sh -c 'echo up-$((1 + 1)); exec sleep 1000'\n");
    screen.shows("up-2");
    suspends(&mut screen, "prompt> ");
    let suspended = Instant::now();
    wait_until("the time is over", || suspended.elapsed() > Duration::from_millis(3200));
    screen.types("fg\n");
    let suspended = suspended.elapsed();
    screen.shows("prompt> ");
    assert!(start.elapsed() >= Duration::from_secs(3) + suspended, "{:?} {suspended:?}", start.elapsed());
    code_is(&mut screen, 124);
}

fn a_stopped_command_is_continued_at_the_limit() {
    assert_eq!(Init::pid1(&["-x", "200ms"]).code(shell("kill -STOP $$")), 124);
}

/// The command is PID 1 of the new namespace, and knows no parent there.
fn a_limit_needs_no_parent_in_the_same_namespace() {
    let mut command = words(&["unshare", "--pid"]);
    command.extend([sexton().into(), "-x".into(), "1h".into(), "echo".into(), "hi".into()]);
    let output = Init::pid1(&[]).run(command);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"hi\n"[..]), "{output:?}");
}

/// Not of the end of what it leaves behind.
fn the_last_signal_is_reported_with_its_time_before_the_commands_end() {
    let script = r#"(trap "" TERM; exec setsid sleep 1000) & echo ready; exec sleep 1000"#;
    let mut running = ready(Init::pid1(&["-vt", "1500ms"]).start(shell(script)));
    running.signal(SIGTERM);
    assert_eq!(running.status().code(), Some(143));
    let text = String::from_utf8(running.stderr.rest()).unwrap();
    let (_, rest) = text.split_once("was killed by SIGTERM ").expect(&text);
    let seconds: f64 = rest.split_once(" s after SIGTERM").expect(&text).0.parse().unwrap();
    assert!(seconds < 1.5, "{text}");
}

/// An engine whose own limit is shorter kills sexton alone.
fn with_a_limit_the_command_dies_with_sexton() {
    for (options, dies) in [
        (&["-x", "1h"][..], true),
        (&["-t", "1h"], true),
        (&["-c", "-x", "1h"], true),
        (&["-k", "1h"], false),
        (&[], false),
    ] {
        let mut running = Init::plain(options).start(play(Role::Receive));
        let line = running.stdout.line();
        let command: i32 = line["ready ".len()..].parse().unwrap();
        running.signal(SIGKILL);
        running.status();
        if dies {
            wait_until("it is gone", || process(command).is_none_or(|process| process.state == 'Z'));
        } else {
            kill(command, SIGUSR1).unwrap();
            running.prints(SIGUSR1);
            kill(command, SIGKILL).unwrap();
        }
    }
}
