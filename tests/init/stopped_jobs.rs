//! Commands that another process stops and continues, as a CPU limiter, a debugger and an
//! operator do.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::at_terminal::*;
use crate::support::*;

with_each_shell![
    sexton_stops_and_continues_with_the_command,
    sexton_notices_the_end_of_a_stopped_command,
    nothing_of_a_stopped_job_is_left_when_sexton_is_killed,
    sextons_within_sextons_stop_and_continue,
    a_pipeline_of_sextons_within_sextons_stops,
    a_stopped_job_has_the_status_of_a_ctrl_z,
    fg_and_ctrl_z_in_quick_succession,
    a_job_stops_where_there_is_no_proc,
];

/// Further tests, which need no shell.
pub(crate) fn more_tests() -> Vec<crate::Test> {
    vec![
        crate::Test::new("sexton_without_a_shell_never_stops", sexton_without_a_shell_never_stops),
        crate::Test::new(
            "dumb_init_in_its_callers_group_can_be_stopped_at_any_moment",
            dumb_init_in_its_callers_group_can_be_stopped_at_any_moment,
        ),
        crate::Test::new("nobody_else_continues_the_command", nobody_else_continues_the_command),
    ]
}

/// A command in a job, which is an only child: its sexton, and itself.
fn job(running: &Running, name: &str) -> (i32, i32) {
    let sexton = sexton_under(running.pid);
    (sexton, descendant(sexton, name))
}

fn sexton_without_a_shell_never_stops() {
    for words_before in [&["setsid", "-w"][..], &["sh", "-c", "\"$@\"; exit", "sh"]] {
        let mut command = words(words_before);
        command.extend([sexton().into(), "sleep".into(), "1000".into()]);
        let mut running = Init::pid1(&[]).start(command);
        let inner = descendant(running.pid, "sleep");
        let outer = process(inner).unwrap().parent;
        for _ in 0..20 {
            kill(inner, SIGSTOP).unwrap();
            wait_until("the command stops", || is_in_state(inner, 'T'));
            wait_until("sexton does not", || is_in_state(outer, 'S'));
            assert_eq!(children_of(outer).len(), 1, "there is nothing to watch");
            kill(inner, SIGCONT).unwrap();
            wait_until("the command goes on", || is_in_state(inner, 'S'));
        }
        kill(inner, SIGSTOP).unwrap();
        wait_until("the command stops", || is_in_state(inner, 'T'));
        kill(outer, SIGTERM).unwrap();
        kill(inner, SIGCONT).unwrap();
        assert_eq!(running.status().code(), Some(143));
    }
}

fn sexton_stops_and_continues_with_the_command(shell: Shell) {
    for place in ["", " &"] {
        let mut screen = Screen::new();
        let running = shell.start(&mut screen);
        screen.types(&format!("$SEXTON -w -R sleep 1000{place}\n"));
        let (sexton, command) = job(&running, "sleep");
        for _ in 0..5 {
            kill(command, SIGSTOP).unwrap();
            wait_until("sexton stops", || is_in_state(sexton, 'T'));
            kill(command, SIGCONT).unwrap();
            wait_until("sexton goes on", || is_in_state(sexton, 'S'));
            wait_until("there is no watcher", || children_of(sexton).len() == 1);
            assert_eq!(children_of(sexton)[0].pid, command);
        }
        kill(sexton, SIGTERM).unwrap();
        screen.shows("no orphans");
        answers(&mut screen, "prompt> ", "shell");
    }
}

fn sexton_notices_the_end_of_a_stopped_command(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start(&mut screen);
    screen.types("$SEXTON sleep 1000 &\n");
    let (sexton, command) = job(&running, "sleep");
    kill(command, SIGSTOP).unwrap();
    wait_until("sexton stops", || is_in_state(sexton, 'T'));
    kill(command, SIGKILL).unwrap();
    wait_until("sexton exits", || has_ended(sexton));
    screen.types("wait $!; echo code-$?\n");
    screen.shows("code-137");
}

fn nothing_of_a_stopped_job_is_left_when_sexton_is_killed(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start(&mut screen);
    screen.types("$SEXTON sleep 1000 &\n");
    let (sexton, command) = job(&running, "sleep");
    kill(command, SIGSTOP).unwrap();
    wait_until("sexton stops", || is_in_state(sexton, 'T'));
    let children = children_of(sexton);
    assert_eq!(children.len(), 2, "the command and its watcher");
    kill(sexton, SIGKILL).unwrap();
    // The command is in an orphaned group now, which the kernel hangs up.
    for child in children {
        wait_until("it ends", || process(child.pid).is_none());
    }
}

fn nobody_else_continues_the_command() {
    let mut screen = Screen::new();
    let running = Shell::Bash.start(&mut screen);
    let receive: Vec<_> = play(Role::Receive).into_iter().map(|word| word.into_string().unwrap()).collect();
    screen.types(&format!("$SEXTON {} &\n", receive.join(" ")));
    screen.shows("ready");
    let sexton = sexton_under(running.pid);
    let command = children_of(sexton)[0].pid;
    for _ in 0..5 {
        kill(command, SIGSTOP).unwrap();
        wait_until("sexton stops", || is_in_state(sexton, 'T'));
        kill(command, SIGCONT).unwrap();
        screen.shows("SIGCONT\r\n");
        wait_until("sexton goes on", || is_in_state(sexton, 'S') && children_of(sexton).len() == 1);
        kill(sexton, SIGUSR1).unwrap();
        assert_eq!(screen.shows("SIGUSR1\r\n"), "");
        // Another one's, which is for both.
        kill(command, SIGSTOP).unwrap();
        wait_until("sexton stops", || is_in_state(sexton, 'T'));
        kill(sexton, SIGCONT).unwrap();
        assert_eq!(screen.shows("SIGCONT\r\n"), "");
        kill(sexton, SIGUSR1).unwrap();
        assert_eq!(screen.shows("SIGUSR1\r\n"), "");
    }
    kill(command, SIGKILL).unwrap();
    wait_until("it ends", || process(sexton).is_none());
}

fn sextons_within_sextons_stop_and_continue(shell: Shell) {
    for sexton in ["$SEXTON", "$SEXTON -A -t 1h"] {
        let mut screen = Screen::new();
        let running = shell.start(&mut screen);
        screen.types(&format!("{sexton} {sexton} {sexton} sleep 1000\n"));
        let command = descendant(running.pid, "sleep");
        let sextons = descendants(running.pid, "sexton");
        assert_eq!(sextons.len(), 3);
        let are_in = |state| sextons.iter().all(|sexton| is_in_state(*sexton, state));
        for _ in 0..3 {
            kill(command, SIGSTOP).unwrap();
            wait_until("all stop", || are_in('T'));
            kill(command, SIGCONT).unwrap();
            wait_until("all go on", || are_in('S'));
        }
        // The watchers are among the descendants that get it.
        kill(command, SIGSTOP).unwrap();
        wait_until("all stop", || are_in('T'));
        kill(sextons[0], SIGTERM).unwrap();
        kill(sextons[0], SIGCONT).unwrap();
        wait_until("all end", || has_ended(sextons[0]) && has_ended(command));
        answers(&mut screen, "prompt> ", "shell");
    }
}

fn a_pipeline_of_sextons_within_sextons_stops(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start(&mut screen);
    for pipeline in ["$SEXTON $SEXTON sleep 1000 | sleep 1000", "sleep 1000 | $SEXTON $SEXTON sleep 1000"] {
        screen.types(&format!("{pipeline}\n"));
        wait_until("both run", || descendants(running.pid, "sexton").len() == 2);
        descendant(descendants(running.pid, "sexton")[1], "sleep");
        // Without watchers, which there are none of yet.
        let sextons = descendants(running.pid, "sexton");
        suspends(&mut screen, "prompt> ");
        answers(&mut screen, "prompt> ", "between");
        screen.types("fg\n");
        wait_until("all go on", || sextons.iter().all(|sexton| is_in_state(*sexton, 'S')));
        screen.types(INTR);
        screen.shows("prompt> ");
        wait_until("all end", || sextons.iter().all(|sexton| has_ended(*sexton)));
    }
}

fn a_stopped_job_has_the_status_of_a_ctrl_z(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start(&mut screen);
    for sextons in ["$SEXTON", "$SEXTON $SEXTON"] {
        screen.types(&format!("{sextons} sleep 1000\n"));
        descendant(running.pid, "sleep");
        wait_until("it has the terminal", || has_foreground(descendants(running.pid, "sleep")[0]));
        suspends(&mut screen, "prompt> ");
        code_is(&mut screen, 148);
        screen.types("kill %1; fg\n");
        screen.shows("prompt> ");
    }
}

fn fg_and_ctrl_z_in_quick_succession(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start(&mut screen);
    screen.types("$SEXTON sleep 1000\n");
    let (_, command) = job(&running, "sleep");
    wait_until("it has the terminal", || has_foreground(command));
    for _ in 0..20 {
        suspends(&mut screen, "prompt> ");
        screen.types("fg\n");
        // Not before it is continued: what comes then is lost, as without sexton.
        wait_until("the command goes on", || has_foreground(command) && is_in_state(command, 'S'));
    }
    screen.types(INTR);
    screen.shows("prompt> ");
}

fn a_job_stops_where_there_is_no_proc(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start_by(&mut screen, Init::pid1(&[]).given(Condition::NoProc));
    screen.types("$SEXTON sleep 1000\n");
    let command = descendant(running.pid, "sleep");
    let runs = || has_foreground(command) && is_in_state(command, 'S');
    wait_until("it has the terminal", runs);
    for _ in 0..3 {
        suspends(&mut screen, "prompt> ");
        answers(&mut screen, "prompt> ", "between");
        screen.types("fg\n");
        wait_until("it has the terminal again", runs);
    }
    screen.types(INTR);
    screen.shows("prompt> ");
}

/// A stop signal for the job, as Ctrl-Z is one, while the command is being started, which the
/// search through a long PATH delays: the job stops, and ends.
fn dumb_init_in_its_callers_group_can_be_stopped_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let dumb_init = directory.path().join("dumb-init");
    std::os::unix::fs::symlink(sexton(), &dumb_init).unwrap();
    let path = format!("{}/nonexistent:", "/proc/self/root".repeat(30)).repeat(250) + "/usr/bin:/bin";
    for round in 0..100 {
        let mut command = Command::new(&dumb_init);
        command.args(["-c", "sleep", "1000"]).env("PATH", &path).stdin(Stdio::null()).process_group(0);
        let mut job = command.spawn().unwrap();
        let pid = job.id().cast_signed();
        let start = Instant::now();
        wait_until("a moment is over", || start.elapsed() > round * MILLISECOND / 4);
        kill(-pid, SIGTSTP).unwrap();
        wait_until("it stops", || {
            let stopped = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WUNTRACED | WaitPidFlag::WNOHANG));
            matches!(stopped, Ok(WaitStatus::Stopped(..)))
        });
        kill(-pid, SIGKILL).unwrap();
        job.wait().unwrap();
    }
}
