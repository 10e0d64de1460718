//! Terminals and job control, as without an init; on real pseudo-terminals.

use std::ffi::OsString;
use std::fs;

use crate::support::{
    Init, Running, Screen, complaint, play, play_with, sexton, shell, wait_until, with_arguments, words,
};

crate::tests![
    new a_shell_has_job_control_as_pid_1s_command,
    new ctrl_c_and_ctrl_backslash_end_a_plain_command,
    new ctrl_z_does_not_freeze_a_plain_command,
    new closing_the_terminal_hangs_the_command_up,
    new a_resize_reaches_the_foreground_and_no_signal_of_our_own_does,
    new the_command_leads_a_session_with_any_terminal_or_none,
    new calls_that_fail_keep_no_command_from_starting,
    new a_job_is_suspended_and_resumed_from_a_shell,
    new a_background_job_does_not_take_the_terminal,
    new a_shell_within_a_shell_gives_the_terminal_back,
    new a_script_can_read_after_the_command_has_ended,
    new a_pipeline_stops_and_continues_as_one_job,
    new three_deep_as_pid_1,
    new three_deep_from_a_shell,
    new stop_signals_by_kill_suspend_and_resume_the_whole,
    new what_is_left_can_be_suspended_and_interrupted,
    with("less") less_leaves_the_terminal_sane,
    with("busybox") vi_and_top_leave_the_terminal_sane,
    with("script") a_terminal_within_a_terminal,
];

/// Ctrl-C, Ctrl-Z and Ctrl-\ as they are typed.
const INTR: &str = "\x03";
const SUSP: &str = "\x1a";
const QUIT: &str = "\x1c";

/// A command that answers what is typed, unlike the terminal's echo.
const READER: &str = "sed -u s/^/got-/\n";

/// An interactive bash, without what a person's configuration would add.
fn bash() -> Vec<OsString> {
    words(&["bash", "--norc", "--noprofile", "--noediting", "-i"])
}

fn on(screen: &Screen, init: Init) -> Init {
    let init = init.given(&screen.on("012"));
    let mut sexton = sexton().into_os_string();
    for argument in with_arguments(&[]) {
        sexton.push(" ");
        sexton.push(argument);
    }
    init.env("PS1", "prompt> ").env("TERM", "dumb").env_remove("PROMPT_COMMAND").env("SEXTON", sexton)
}

/// An interactive bash in sexton's place, which it is to be started from.
fn from_a_shell(screen: &mut Screen) -> Running {
    let running = on(screen, Init::pid1(&[]).without_init()).start(bash());
    screen.shows("prompt> ");
    running
}

/// A shell behind `prompt` answers a command of which the echo does not show what it
/// prints.
fn answers(screen: &mut Screen, prompt: &str, word: &str) {
    screen.types(&format!("echo {word}-$((40 + 2))\n"));
    screen.shows(&format!("{word}-42"));
    screen.shows(prompt);
}

/// The last job's exit code, as the shell knows it.
fn code_is(screen: &mut Screen, code: u8) {
    screen.types("echo code-$?\n");
    screen.shows(&format!("code-{code}"));
    screen.shows("prompt> ");
}

/// A Ctrl-Z stops the job in the foreground, and the shell has the terminal.
fn suspends(screen: &mut Screen, prompt: &str) {
    screen.types(SUSP);
    screen.shows("Stopped");
    screen.shows(prompt);
}

/// Lets the shell wait until its jobs are in this state.
fn jobs_become(screen: &mut Screen, state: &str) {
    screen.types(&format!("until jobs | grep -q {state}; do sleep 0.01; done; echo it-$((1 + 1))\n"));
    screen.shows("it-2");
    screen.shows("prompt> ");
}

/// An interactive shell behind `prompt` stops, continues and interrupts a job.
fn has_job_control(screen: &mut Screen, prompt: &str) {
    screen.types("case $- in *m*) echo jobs-$((1 + 1));; esac\n");
    screen.shows("jobs-2");
    screen.types(READER);
    screen.types("first\n");
    screen.shows("got-first");
    suspends(screen, prompt);
    screen.types("fg\n");
    screen.types("second\n");
    screen.shows("got-second");
    screen.types(INTR);
    screen.shows(prompt);
    answers(screen, prompt, "alive");
}

/// A plain command that says `up-2` once it runs.
const PLAIN: &str = "echo up-$((1 + 1)); exec sleep 1000";

fn plain(screen: &mut Screen, init: Init) -> Running {
    let running = on(screen, init).start(shell(PLAIN));
    screen.shows("up-2");
    running
}

fn a_shell_has_job_control_as_pid_1s_command() {
    let mut screen = Screen::new();
    let mut running = on(&screen, Init::pid1(&[])).start(bash());
    screen.shows("prompt> ");
    has_job_control(&mut screen, "prompt> ");
    screen.types("exit 7\n");
    assert_eq!(running.status().code(), Some(7));
}

fn ctrl_c_and_ctrl_backslash_end_a_plain_command() {
    for (key, code) in [(INTR, 130), (QUIT, 131)] {
        let mut screen = Screen::new();
        let mut running = plain(&mut screen, Init::pid1(&[]));
        screen.types(key);
        assert_eq!(running.status().code(), Some(code));
    }
}

fn ctrl_z_does_not_freeze_a_plain_command() {
    let mut screen = Screen::new();
    let script = "trap 'echo int-$((1 + 1)); exit 3' INT; echo up-$((1 + 1)); while :; do sleep 0.01; done";
    let mut running = on(&screen, Init::pid1(&[])).start(shell(script));
    screen.shows("up-2");
    screen.types(SUSP);
    screen.types(INTR);
    screen.shows("int-2");
    assert_eq!(running.status().code(), Some(3));
}

fn closing_the_terminal_hangs_the_command_up() {
    for init in [Init::pid1(&[]), Init::plain(&[])] {
        let mut screen = Screen::new();
        let mut running = plain(&mut screen, init);
        drop(screen);
        assert_eq!(running.status().code(), Some(129));
    }
}

fn a_resize_reaches_the_foreground_and_no_signal_of_our_own_does() {
    let mut screen = Screen::new();
    let mut running = on(&screen, Init::pid1(&[])).start(play("receive"));
    screen.shows("ready");
    // No HUP or CONT before this one: those are ours, from giving the terminal up.
    running.signal(libc::SIGUSR1);
    screen.shows("\n10\r\n");
    screen.resize(50, 132);
    screen.shows("28\r\n");
    for signal in [libc::SIGHUP, libc::SIGCONT] {
        running.signal(signal);
        screen.shows(&format!("{signal}\r\n"));
    }
    running.end();
}

/// What the `standing` role says, which it says on the terminal or into a pipe.
fn standing(screen: &mut Screen, init: Init, on_terminal: bool, says: &str) {
    if on_terminal {
        let mut running = init.start(play("standing"));
        screen.shows(says);
        assert_eq!(running.status().code(), Some(0));
        return;
    }
    let output = init.run(play("standing"));
    assert_eq!(
        String::from_utf8(output.stdout.clone()).unwrap(),
        format!("{says}\n"),
        "{}",
        complaint(&output)
    );
}

fn the_command_leads_a_session_with_any_terminal_or_none() {
    for (descriptors, on_terminal) in [("012", true), ("0", false), ("1", true), ("2", false), ("", false)] {
        let mut screen = Screen::new();
        let init = Init::pid1(&["-v"]).given(&screen.on(descriptors));
        standing(&mut screen, init, on_terminal, "session, foreground");
        let mut screen = Screen::new();
        let init = Init::pid1(&["-v"]).given(&screen.uncontrolled_on(descriptors));
        standing(&mut screen, init, on_terminal, "session, no terminal");
    }
    let mut screen = Screen::new();
    // Elsewhere, too, a command takes the place of who leads a session.
    let init = Init::plain(&["-v"]).given(&screen.on("012"));
    standing(&mut screen, init, true, "session, foreground");
    // Without one, and not leading: a process group.
    standing(&mut screen, Init::plain(&[]), false, "group, no terminal");
}

fn calls_that_fail_keep_no_command_from_starting() {
    for errno in [libc::EPERM, libc::ENOSYS, libc::EIO, libc::EINVAL, libc::ENOTTY, libc::EBADF, libc::ENXIO]
    {
        let screen = Screen::new();
        for init in [Init::pid1(&[]), Init::pid1(&["-vvv"]), Init::plain(&[])] {
            let init = init.given(&screen.on("012")).given(&format!("refuse={errno}"));
            assert_eq!(init.start(words(&["sh", "-c", "exit 6"])).status().code(), Some(6), "{errno}");
        }
        let output = Init::pid1(&["-v"]).given(&format!("refuse={errno}")).run(words(&["true"]));
        assert!(complaint(&output).starts_with("sexton: "), "what failed is told");
        // The group that could not be made is nobody to forward to.
        let mut running = Init::pid1(&[]).given(&format!("refuse={errno}")).start(play("receive"));
        running.stdout.line();
        running.signal(libc::SIGUSR1);
        assert_eq!(running.stdout.line(), "10");
    }
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

fn three_deep_as_pid_1() {
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

fn three_deep_from_a_shell() {
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

fn stop_signals_by_kill_suspend_and_resume_the_whole() {
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

/// The command has ended, and sexton waits for others: it is the job that the keys mean.
fn what_is_left_can_be_suspended_and_interrupted() {
    let mut screen = Screen::new();
    let running = from_a_shell(&mut screen);
    let command: Vec<_> =
        play_with("leave-behind", "deaf").into_iter().map(|word| word.into_string().unwrap()).collect();
    screen.types(&format!("$SEXTON -vt 1h {} 5 0\n", command.join(" ")));
    screen.shows("draining, stopping");
    screen.shows("straggler 15");
    suspends(&mut screen, "prompt> ");
    answers(&mut screen, "prompt> ", "shell");
    screen.types("fg\n");
    screen.shows("straggler 18");
    screen.types(INTR);
    screen.shows("straggler 2");
    suspends(&mut screen, "prompt> ");
    drop(running);
}

fn less_leaves_the_terminal_sane() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "a line to be shown\n".repeat(200)).unwrap();
    sane(&["less", file.to_str().unwrap()], "a line to be shown", "q");
}

fn vi_and_top_leave_the_terminal_sane() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "a line\n").unwrap();
    sane(&["busybox", "vi", file.to_str().unwrap()], "1/1", ":q!\r");
    sane(&["busybox", "top"], "PID", "q");
}

/// Runs a program that changes the terminal's settings, as PID 1's command and from
/// a shell.
fn sane(command: &[&str], shows: &str, leave: &str) {
    let mut screen = Screen::new();
    screen.resize(24, 80);
    let before = screen.settings();
    let init = on(&screen, Init::pid1(&[])).env("TERM", "xterm");
    let mut running = init.start(words(command));
    screen.shows(shows);
    assert_ne!(screen.settings(), before);
    screen.types(leave);
    assert_eq!(running.status().code(), Some(0));
    assert_eq!(screen.settings(), before);

    let mut screen = Screen::new();
    screen.resize(24, 80);
    let _shell = from_a_shell(&mut screen);
    let before = screen.settings();
    screen.types(&format!("TERM=xterm $SEXTON {}\n", command.join(" ")));
    screen.shows(shows);
    screen.types(leave);
    screen.shows("prompt> ");
    answers(&mut screen, "prompt> ", "sane");
    assert_eq!(screen.settings(), before);
}

fn a_terminal_within_a_terminal() {
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
