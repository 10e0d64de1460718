//! `-P`: no command, only the reaping.

use std::io::pipe;

use crate::support::{
    Init, Screen, complaint, kill, leave_orphans, play, process, sexton, shell, wait_until, words,
};

crate::tests![
    new it_runs_without_a_command,
    new it_waits_for_term_or_int,
    new ctrl_c_ends_it_under_every_name,
    new nothing_else_ends_it,
    new it_reaps_what_is_not_its_own,
    new it_takes_a_grace_period,
    new nothing_goes_with_it,
];

const NOTHING: [&str; 0] = [];

/// Podman starts it with INT, HUP and others ignored, under catatonit's name.
fn it_runs_without_a_command() {
    let mut running = Init::pid1(&["-P"]).start(NOTHING);
    wait_until("it sleeps", || running.is_idle());
    running.signal(libc::SIGTERM);
    assert_eq!(running.status().code(), Some(0));
}

fn it_waits_for_term_or_int() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        for init in [Init::pid1(&["-P"]), Init::plain(&["--pause"]), Init::pid1(&["-P"]).called("catatonit")]
        {
            let init = init.given("ignore=2").given("ignore=1").given("ignore=15");
            let mut running = init.start(NOTHING);
            wait_until("it sleeps", || running.is_idle());
            running.signal(signal);
            assert_eq!(running.status().code(), Some(0));
            assert_eq!(running.stderr.rest(), b"");
        }
    }
}

/// There is no command that would have been interrupted as well.
fn ctrl_c_ends_it_under_every_name() {
    for name in ["sexton", "tini", "dumb-init", "catatonit"] {
        let mut screen = Screen::new();
        let init = Init::pid1(&["-cP"]).called(name).given(&screen.on("012"));
        let mut running = init.start(NOTHING);
        wait_until("it sleeps", || running.is_idle());
        screen.types("\x03");
        assert_eq!(running.status().code(), Some(0), "{name}");
    }
}

fn nothing_else_ends_it() {
    let mut running = Init::pid1(&["-P"]).start(NOTHING);
    for signal in (1..=64).filter(|signal| ![2, 9, 15, 19].contains(signal)) {
        running.signal(signal);
        wait_until("it sleeps again", || running.is_idle());
    }
    running.signal(libc::SIGTERM);
    assert_eq!(running.status().code(), Some(0));
}

/// As what a container's processes become the children of: here it is executed by one
/// that has children already, and one of the orphans is left to it later.
fn it_reaps_what_is_not_its_own() {
    let mut command = play("adopt");
    command.extend([sexton().into(), "-P".into()]);
    let mut running = Init::pid1(&[]).without_init().start(command);
    wait_until("the others are reaped", || running.is_idle() && running.children().len() == 1);
    kill(running.children()[0].pid, libc::SIGKILL);
    wait_until("that one is reaped", || running.children().is_empty());
    running.signal(libc::SIGTERM);
    assert_eq!(running.status().code(), Some(0));

    // As a subreaper, of a shell that it did not start but adopts.
    let (stdin, input) = pipe().unwrap();
    let mut running = leave_orphans(Init::pid1(&[]).stdin(stdin), 20);
    wait_until("all are reaped", || running.children().len() == 1);
    drop(input);
    running.status();
}

fn it_takes_a_grace_period() {
    let script =
        r#"(trap 'echo last line; exit' TERM; echo ready; while :; do sleep 0.01; done) & exec "$@""#;
    let mut command = shell(script);
    command.extend(["sh".into(), sexton().into(), "-Pt1h".into()]);
    let mut running = Init::pid1(&[]).without_init().start(command);
    assert_eq!(running.stdout.line(), "ready");
    wait_until("it sleeps", || running.is_idle());
    running.signal(libc::SIGTERM);
    assert_eq!(running.stdout.line(), "last line");
    assert_eq!(running.status().code(), Some(0));
    assert!(process(running.pid).is_none());
}

fn nothing_goes_with_it() {
    for options in [&["-P", "true"][..], &["-P", "--", "true"], &["--install", "/x", "true"]] {
        let output = Init::plain(options).run(words(&[]));
        assert_eq!(output.status.code(), Some(125));
        assert_eq!(complaint(&output), "sexton: true: no COMMAND goes with that option\n");
    }
}
