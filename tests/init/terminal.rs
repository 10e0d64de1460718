//! Terminals, as without an init; on real pseudo-terminals.

use std::fs;

use crate::at_terminal::*;
use crate::support::*;

crate::tests![
    new ctrl_c_and_ctrl_backslash_end_a_plain_command,
    new ctrl_z_does_not_freeze_a_plain_command,
    new closing_the_terminal_hangs_the_command_up,
    new a_resize_reaches_the_command_and_no_signal_of_giving_up_the_terminal_does,
    new the_command_leads_a_session_where_there_is_a_terminal,
    new calls_that_fail_keep_no_command_from_starting,
    with("less") less_leaves_the_terminal_sane,
    with("busybox") vi_and_top_leave_the_terminal_sane,
];

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

fn a_resize_reaches_the_command_and_no_signal_of_giving_up_the_terminal_does() {
    let mut screen = Screen::new();
    let mut running = on(&screen, Init::pid1(&[])).start(play(Role::Receive));
    screen.shows("ready");
    // No HUP or CONT before this one: the kernel sends those when sexton gives the terminal
    // up.
    running.signal(SIGUSR1);
    screen.shows("\nSIGUSR1\r\n");
    screen.resize(50, 132);
    screen.shows("SIGWINCH\r\n");
    for signal in [SIGHUP, SIGCONT] {
        running.signal(signal);
        screen.shows(&format!("{signal}\r\n"));
    }
    running.end();
}

/// A command prints this of its standing, on the terminal or into a pipe.
fn standing(screen: &mut Screen, init: Init, on_terminal: bool, line: &str) {
    if on_terminal {
        let mut running = init.start(play(Role::Standing));
        screen.shows(line);
        assert_eq!(running.status().code(), Some(0));
        return;
    }
    let output = init.run(play(Role::Standing));
    assert_eq!(
        String::from_utf8(output.stdout.clone()).unwrap(),
        format!("{line}\n"),
        "{}",
        stderr_text(&output)
    );
}

fn the_command_leads_a_session_where_there_is_a_terminal() {
    for (descriptors, on_terminal) in
        [(&[0, 1, 2][..], true), (&[0], false), (&[1], true), (&[2], false), (&[], false)]
    {
        let mut screen = Screen::new();
        let init = Init::pid1(&["-v"]).given(screen.on(descriptors));
        standing(&mut screen, init, on_terminal, "session, foreground");
        let mut screen = Screen::new();
        let init = Init::pid1(&["-v"]).given(screen.uncontrolled_on(descriptors));
        standing(&mut screen, init, on_terminal, "group, no terminal");
    }
    let mut screen = Screen::new();
    // A sexton that leads a session hands that to its command when it is not PID 1, too.
    let init = Init::plain(&["-v"]).given(screen.on(&[0, 1, 2]));
    standing(&mut screen, init, true, "session, foreground");
    // Without one, and not leading: a process group.
    standing(&mut screen, Init::plain(&[]), false, "group, no terminal");
}

fn calls_that_fail_keep_no_command_from_starting() {
    for errno in [libc::EPERM, libc::ENOSYS, libc::EIO, libc::EINVAL, libc::ENOTTY, libc::EBADF, libc::ENXIO]
    {
        let screen = Screen::new();
        for init in [Init::pid1(&[]), Init::pid1(&["-vvv"]), Init::plain(&[])] {
            let init = init.given(screen.on(&[0, 1, 2])).given(Condition::JobControlFails(errno));
            assert_eq!(init.start(words(&["sh", "-c", "exit 6"])).status().code(), Some(6), "{errno}");
        }
        let output = Init::pid1(&["-v"]).given(Condition::JobControlFails(errno)).run(words(&["true"]));
        assert!(stderr_text(&output).starts_with("sexton: "), "what failed is logged");
        // There is no group to forward to, as it could not be made.
        let mut running = Init::pid1(&[]).given(Condition::JobControlFails(errno)).start(play(Role::Receive));
        running.stdout.line();
        running.signal(SIGUSR1);
        running.prints(SIGUSR1);
    }
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
