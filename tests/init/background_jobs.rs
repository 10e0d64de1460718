//! Jobs in the background, which must not take the terminal, and may not use it.

use std::fs;

use tempfile::TempDir;

use crate::at_terminal::*;
use crate::support::*;

with_each_shell![
    a_job_in_a_pid_namespace_does_not_take_the_terminal,
    a_job_in_a_pid_namespace_uses_the_terminal_in_the_foreground,
    a_job_whose_shell_has_gone_cannot_read_the_terminal,
    a_job_whose_shell_has_gone_cannot_change_the_terminal,
    a_job_whose_shell_has_gone_gets_each_signal_once,
    a_job_whose_shell_has_gone_can_be_killed,
    a_stopped_job_is_hung_up_when_its_shell_goes,
    closing_the_terminal_hangs_up_a_job,
];

fn a_job_in_a_pid_namespace_does_not_take_the_terminal(shell: Shell) {
    let mut screen = Screen::new();
    let _running = shell.start(&mut screen);
    screen.types(&format!("unshare -pf --mount-proc $SEXTON sh -c '{PLAIN}' &\n"));
    screen.shows("up-2");
    for word in ["one", "two"] {
        answers(&mut screen, "prompt> ", word);
    }
    screen.types("kill -KILL %1; wait %1; echo ended-$?\n");
    screen.shows("ended-137");
}

fn a_job_in_a_pid_namespace_uses_the_terminal_in_the_foreground(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start(&mut screen);
    screen.types(&format!("unshare -pf --mount-proc $SEXTON {READER}"));
    descendant(running.pid, "sed");
    screen.types("first\n");
    screen.shows("got-first");
    suspends(&mut screen, "prompt> ");
    answers(&mut screen, "prompt> ", "between");
    screen.types("fg\n");
    screen.types("second\n");
    screen.shows("got-second");
    screen.types(INTR);
    screen.shows("prompt> ");
    answers(&mut screen, "prompt> ", "shell");
}

/// Starts a job by a shell that exits at once, and lets the job's command go on when that
/// has happened.
fn orphaned_job(shell: Shell, screen: &mut Screen, options: &str, script: &str) -> (Running, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let flag = directory.path().join("flag");
    let running = shell.start_by(screen, Init::pid1(&["-w"]));
    screen.types(&format!(
        "{} 'set -m; $SEXTON {options} sh -c \"until test -e {}; do sleep 0.01; done; {script}\" </dev/tty &'\n",
        shell.script(),
        flag.display()
    ));
    screen.shows("prompt> ");
    fs::write(flag, "").unwrap();
    (running, directory)
}

fn a_job_whose_shell_has_gone_cannot_read_the_terminal(shell: Shell) {
    let mut screen = Screen::new();
    let (running, _directory) = orphaned_job(shell, &mut screen, "", "exec cat");
    screen.shows("Input/output error");
    wait_until("it exits", || descendants(running.pid, "sexton").is_empty());
    let mut screen = Screen::new();
    let (running, _directory) = orphaned_job(shell, &mut screen, "", "cat; cat");
    screen.shows("Input/output error");
    screen.shows("Input/output error");
    wait_until("it exits", || descendants(running.pid, "sexton").is_empty());
}

fn a_job_whose_shell_has_gone_cannot_change_the_terminal(shell: Shell) {
    for script in ["exec stty echo", "stty echo; stty echo; echo on-\\$((1 + 1))"] {
        let mut screen = Screen::new();
        let (running, _directory) = orphaned_job(shell, &mut screen, "", script);
        screen.shows("Input/output error");
        wait_until("it exits", || descendants(running.pid, "sexton").is_empty());
    }
}

fn a_job_whose_shell_has_gone_gets_each_signal_once(shell: Shell) {
    let mut screen = Screen::new();
    let receive: Vec<_> = play(Role::Receive).into_iter().map(|word| word.into_string().unwrap()).collect();
    let (running, _directory) =
        orphaned_job(shell, &mut screen, "", &format!("cat; exec {}", receive.join(" ")));
    screen.shows("Input/output error");
    screen.shows("ready");
    let sexton = sexton_under(running.pid);
    does_not_spin(sexton);
    for signal in [SIGUSR1, SIGHUP, SIGINT, SIGTSTP, SIGCONT, SIGWINCH, rtmin(1)] {
        kill(sexton, signal).unwrap();
        kill(sexton, SIGUSR2).unwrap();
        let shown = [screen.shows("SIG"), screen.shows("\r\n"), screen.shows("SIG"), screen.shows("\r\n")];
        let mut names = [shown[1].as_str(), shown[3].as_str()];
        names.sort();
        let mut sent = [signal.to_string(), SIGUSR2.to_string()];
        sent.sort();
        assert_eq!(names.map(|name| format!("SIG{name}")), sent);
    }
    kill(sexton, SIGKILL).unwrap();
}

fn a_job_whose_shell_has_gone_can_be_killed(shell: Shell) {
    let mut screen = Screen::new();
    let script = "trap : TERM; cat; echo deaf-\\$((1 + 1)); while :; do sleep 0.01; done";
    let (mut running, _directory) = orphaned_job(shell, &mut screen, "-k 50ms", script);
    screen.shows("deaf-2");
    kill(sexton_under(running.pid), SIGTERM).unwrap();
    screen.shows("(sexton): exited with 137");
    running.end();
}

fn a_stopped_job_is_hung_up_when_its_shell_goes(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start_by(&mut screen, Init::pid1(&["-w"]));
    screen.types(&format!("{} 'set -m; $SEXTON cat </dev/tty & read x; kill -KILL $$'\n", shell.script()));
    let sexton = sexton_under(running.pid);
    wait_until("it stops", || is_in_state(sexton, 'T'));
    screen.types("line\n");
    screen.shows("(sexton): exited with 129");
}

fn closing_the_terminal_hangs_up_a_job(shell: Shell) {
    for stopped in [false, true] {
        let mut screen = Screen::new();
        let running = shell.start(&mut screen);
        screen.types("$SEXTON sleep 1000\n");
        let command = descendant(running.pid, "sleep");
        wait_until("it has the terminal", || has_foreground(command));
        if stopped {
            suspends(&mut screen, "prompt> ");
        }
        drop(screen);
        wait_until("the command ends", || has_ended(command));
    }
}
