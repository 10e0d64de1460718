//! Job control, by shells on real pseudo-terminals.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use crate::at_terminal::*;
use crate::support::*;

crate::tests![
    new a_shell_has_job_control_as_pid_1s_command,
    new a_job_is_suspended_and_resumed_from_a_shell,
    new a_background_job_does_not_take_the_terminal,
    new a_shell_within_a_shell_gives_the_terminal_back,
    new a_script_can_read_after_the_command_has_ended,
    new a_pipeline_stops_and_continues_as_one_job,
    new job_control_works_through_three_sextons_as_pid_1,
    new job_control_works_through_three_sextons_from_a_shell,
    new stop_signals_by_kill_suspend_sexton_and_the_command,
    new remaining_processes_can_be_suspended_and_interrupted,
    new the_time_while_a_job_is_suspended_does_not_count,
    with("script") job_control_works_in_a_terminal_within_a_terminal,
];

fn a_shell_has_job_control_as_pid_1s_command() {
    let mut screen = Screen::new();
    let mut running = on(&screen, Init::pid1(&[])).start(bash());
    screen.shows("prompt> ");
    has_job_control(&mut screen, "prompt> ");
    screen.types("exit 7\n");
    assert_eq!(running.status().code(), Some(7));
}

fn a_job_is_suspended_and_resumed_from_a_shell() {
    let mut screen = Screen::new();
    let _shell = from_a_shell(&mut screen);
    // Many times: where the command does not stop with its init, it sometimes reads what is
    // for the shell.
    for _ in 0..20 {
        screen.types(&format!("$SEXTON {READER}"));
        screen.types("first\n");
        screen.shows("got-first");
        for round in ["second", "third"] {
            suspends(&mut screen, "prompt> ");
            answers(&mut screen, "prompt> ", "between");
            screen.types("fg\n");
            screen.types(&format!("{round}\n"));
            screen.shows(&format!("got-{round}"));
        }
        screen.types(INTR);
        screen.shows("prompt> ");
        code_is(&mut screen, 130);
    }
    // Resumed without the terminal, it runs, and the shell has the terminal.
    // (In a shell that starts programs, its vfork could hide the Ctrl-Z from itself.)
    screen.types(&format!("$SEXTON sh -c '{PLAIN}'\n"));
    screen.shows("up-2");
    suspends(&mut screen, "prompt> ");
    screen.types("bg\n");
    screen.shows("prompt> ");
    answers(&mut screen, "prompt> ", "beside");
    screen.types("jobs\n");
    screen.shows("Running");
    screen.shows("prompt> ");
    screen.types("kill %1; wait %1; echo ended-$?\n");
    screen.shows("ended-143");
}

fn a_background_job_does_not_take_the_terminal() {
    let mut screen = Screen::new();
    let _shell = from_a_shell(&mut screen);
    screen.types(&format!("$SEXTON {}&\n", READER.trim_end()));
    screen.shows("prompt> ");
    answers(&mut screen, "prompt> ", "still-mine");
    // It reads, hence it stops; the shell learns it from sexton.
    jobs_become(&mut screen, "Stopped");
    screen.types("fg\n");
    screen.types("line\n");
    screen.shows("got-line");
    screen.types("\x04");
    screen.shows("prompt> ");
    code_is(&mut screen, 0);
}

fn a_shell_within_a_shell_gives_the_terminal_back() {
    let mut screen = Screen::new();
    let _shell = from_a_shell(&mut screen);
    screen.types("PS1='inner> ' $SEXTON bash --norc --noprofile --noediting -i\n");
    screen.shows("inner> ");
    has_job_control(&mut screen, "inner> ");
    screen.types("exit 3\n");
    screen.shows("prompt> ");
    code_is(&mut screen, 3);
    answers(&mut screen, "prompt> ", "mine-again");
}

fn a_script_can_read_after_the_command_has_ended() {
    for command in ["true", "sh -c 'kill -KILL $$'", "/nonexistent", "sh -c 'sleep 1000 & exit 0'"] {
        let mut screen = Screen::new();
        let script = format!("$SEXTON {command}; echo up-$((1 + 1)); read x; echo \"got-$x\"");
        let mut running = on(&screen, Init::pid1(&[]).without_init()).start(shell(&script));
        screen.shows("up-2");
        screen.types("hello\n");
        screen.shows("got-hello");
        assert_eq!(running.status().code(), Some(0), "{command}");
    }
}

fn a_pipeline_stops_and_continues_as_one_job() {
    let mut screen = Screen::new();
    let _shell = from_a_shell(&mut screen);
    screen.types(&format!("$SEXTON {} | cat\n", READER.trim_end()));
    screen.types("first\n");
    screen.shows("got-first");
    suspends(&mut screen, "prompt> ");
    screen.types("fg\n");
    screen.types("second\n");
    screen.shows("got-second");
    screen.types(INTR);
    screen.shows("prompt> ");
    answers(&mut screen, "prompt> ", "mine");
}

/// sexton within sexton within sexton.
fn nested(command: Vec<OsString>) -> Vec<OsString> {
    let inner = [sexton().into(), "--".into(), sexton().into(), "--".into()];
    inner.into_iter().chain(command).collect()
}

fn job_control_works_through_three_sextons_as_pid_1() {
    let mut screen = Screen::new();
    let mut running = on(&screen, Init::pid1(&[])).start(nested(bash()));
    screen.shows("prompt> ");
    has_job_control(&mut screen, "prompt> ");
    screen.types("exit 7\n");
    assert_eq!(running.status().code(), Some(7));

    let mut screen = Screen::new();
    let mut running = on(&screen, Init::pid1(&[])).start(nested(shell(PLAIN)));
    screen.shows("up-2");
    screen.types(SUSP);
    screen.types(INTR);
    assert_eq!(running.status().code(), Some(130));
}

fn job_control_works_through_three_sextons_from_a_shell() {
    let mut screen = Screen::new();
    let _shell = from_a_shell(&mut screen);
    screen.types(&format!("$SEXTON $SEXTON $SEXTON {READER}"));
    screen.types("first\n");
    screen.shows("got-first");
    suspends(&mut screen, "prompt> ");
    answers(&mut screen, "prompt> ", "between");
    screen.types("fg\n");
    screen.types("second\n");
    screen.shows("got-second");
    screen.types(INTR);
    screen.shows("prompt> ");
    screen.types(&format!("echo code-$?; $SEXTON $SEXTON $SEXTON {}&\n", READER.trim_end()));
    screen.shows("code-130");
    screen.shows("prompt> ");
    jobs_become(&mut screen, "Stopped");
    screen.types("fg\n");
    screen.types("third\n");
    screen.shows("got-third");
}

fn stop_signals_by_kill_suspend_sexton_and_the_command() {
    let mut screen = Screen::new();
    let _shell = from_a_shell(&mut screen);
    for signal in ["TSTP", "TTIN", "TTOU"] {
        screen.types(&format!("$SEXTON sh -c '{PLAIN}' &\n"));
        screen.shows("up-2");
        screen.types(&format!("kill -{signal} $!\n"));
        jobs_become(&mut screen, "Stopped");
        screen.types("kill -CONT $!\n");
        jobs_become(&mut screen, "Running");
        screen.types("kill $!; wait $!\n");
        code_is(&mut screen, 143);
    }
}

/// The command has exited, and sexton waits for others, which are the job now.
fn remaining_processes_can_be_suspended_and_interrupted() {
    let mut screen = Screen::new();
    let running = from_a_shell(&mut screen);
    let straggler = vec![Straggler::Deaf];
    let command = play(Role::LeaveBehind { straggler, code: 5, work: Duration::ZERO });
    let command: Vec<_> = command.into_iter().map(|word| word.into_string().unwrap()).collect();
    screen.types(&format!("$SEXTON -vt 1h {}\n", command.join(" ")));
    screen.shows("draining, stopping");
    screen.shows("straggler SIGTERM");
    suspends(&mut screen, "prompt> ");
    answers(&mut screen, "prompt> ", "shell");
    screen.types("fg\n");
    screen.shows("straggler SIGCONT");
    screen.types(INTR);
    screen.shows("straggler SIGINT");
    suspends(&mut screen, "prompt> ");
    drop(running);
}

fn the_time_while_a_job_is_suspended_does_not_count() {
    let mut screen = Screen::new();
    let running = from_a_shell(&mut screen);
    // It starts no programs: a Ctrl-Z between vfork and exec would stop the child alone.
    let script = "trap \"echo term-\\$((1 + 1))\" TERM; echo up-$((1 + 1)); while :; do read x; done";
    screen.types(&format!("$SEXTON -k 3s sh -c '{script}'\n"));
    screen.shows("up-2");
    let start = Instant::now();
    kill(running.children()[0].pid, SIGTERM).unwrap();
    screen.shows("term-2");
    suspends(&mut screen, "prompt> ");
    let suspended = Instant::now();
    wait_until("the time is over", || suspended.elapsed() > Duration::from_millis(3200));
    screen.types("fg\n");
    let suspended = suspended.elapsed();
    screen.shows("prompt> ");
    assert!(start.elapsed() >= Duration::from_secs(3) + suspended, "{:?} {suspended:?}", start.elapsed());
    code_is(&mut screen, 137);
}

fn job_control_works_in_a_terminal_within_a_terminal() {
    let mut screen = Screen::new();
    let mut running = on(&screen, Init::pid1(&[])).start(words(&[
        "script",
        "--quiet",
        "--return",
        "--command",
        "PS1='prompt> ' exec $SEXTON bash --norc --noprofile --noediting -i",
        "/dev/null",
    ]));
    screen.shows("prompt> ");
    has_job_control(&mut screen, "prompt> ");
    screen.types("exit 9\n");
    wait_until("script ends", || running.status().code() == Some(9));
}
