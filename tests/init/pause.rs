//! `-P`: no command, only the reaping.

use std::io::pipe;

use crate::support::*;

crate::tests![
    new pause_runs_without_a_command,
    new pause_ends_at_term_or_int,
    new ctrl_c_ends_a_pause_under_every_name,
    new no_other_signal_ends_a_pause,
    new pause_reaps_children_that_are_not_its_own,
    new pause_takes_a_grace_period,
    new pause_ends_at_a_delayed_request,
    new pause_waits_for_children_with_sigchld_ignored,
    new pause_and_install_reject_a_command,
];

const NOTHING: [&str; 0] = [];

/// Podman starts it with INT, HUP and others ignored, under catatonit's name.
fn pause_runs_without_a_command() {
    let mut running = Init::pid1(&["-P"]).start(NOTHING);
    wait_until("it sleeps", || running.is_idle());
    running.signal(SIGTERM);
    assert_eq!(running.status().code(), Some(0));
}

fn pause_ends_at_term_or_int() {
    for signal in [SIGTERM, SIGINT] {
        for init in [Init::pid1(&["-P"]), Init::plain(&["--pause"]), Init::pid1(&["-P"]).called("catatonit")]
        {
            let init = init
                .given(Condition::Ignored(SIGINT))
                .given(Condition::Ignored(SIGHUP))
                .given(Condition::Ignored(SIGTERM));
            let mut running = init.start(NOTHING);
            wait_until("it sleeps", || running.is_idle());
            running.signal(signal);
            assert_eq!(running.status().code(), Some(0));
            assert_eq!(running.stderr.rest(), b"");
        }
    }
}

/// There is no command that would have been interrupted as well.
fn ctrl_c_ends_a_pause_under_every_name() {
    for name in ["sexton", "tini", "dumb-init", "catatonit"] {
        let mut screen = Screen::new();
        let init = Init::pid1(&["-cP"]).called(name).given(screen.on(&[0, 1, 2]));
        let mut running = init.start(NOTHING);
        wait_until("it sleeps", || running.is_idle());
        screen.types("\x03");
        assert_eq!(running.status().code(), Some(0), "{name}");
    }
}

fn no_other_signal_ends_a_pause() {
    let mut running = Init::pid1(&["-P"]).start(NOTHING);
    let ends_it = [SIGINT, SIGTERM, SIGKILL, SIGSTOP];
    for signal in Signal::all().filter(|signal| !ends_it.contains(signal)) {
        running.signal(signal);
        wait_until("it sleeps again", || running.is_idle());
    }
    running.signal(SIGTERM);
    assert_eq!(running.status().code(), Some(0));
}

/// As what a container's processes become the children of: here it is executed by one
/// that has children already, and one of the orphans is left to it later.
fn pause_reaps_children_that_are_not_its_own() {
    let command = play_with(Role::Adopt { silent: true }, [sexton(), "-P".into()]);
    let mut running = Init::pid1(&[]).without_init().start(command);
    wait_until("the others are reaped", || running.is_idle() && running.children().len() == 1);
    kill(running.children()[0].pid, SIGKILL).unwrap();
    wait_until("that one is reaped", || running.children().is_empty());
    running.signal(SIGTERM);
    assert_eq!(running.status().code(), Some(0));

    // As a subreaper, of a shell that it did not start but adopts.
    let (stdin, input) = pipe().unwrap();
    let mut running = leave_orphans(Init::pid1(&[]).stdin(stdin), 20);
    wait_until("all are reaped", || running.children().len() == 1);
    drop(input);
    running.status();
}

fn pause_takes_a_grace_period() {
    let script =
        r#"(trap 'echo last line; exit' TERM; echo ready; while :; do sleep 0.01; done) & exec "$@""#;
    let mut command = shell(script);
    command.extend(["sh".into(), sexton().into(), "-Pt1h".into()]);
    let mut running = Init::pid1(&[]).without_init().start(command);
    running.prints("ready");
    wait_until("it sleeps", || running.is_idle());
    running.signal(SIGTERM);
    running.prints("last line");
    assert_eq!(running.status().code(), Some(0));
    assert!(process(running.pid).is_none());
}

/// Nothing comes after the delay that could wake sexton.
fn pause_ends_at_a_delayed_request() {
    for options in [&["-Pd50ms"][..], &["-Pad50ms"], &["-Pd50ms", "-t1h", "-k1h"]] {
        let mut running = Init::pid1(options).start(NOTHING);
        wait_until("it sleeps", || running.is_idle());
        running.signal(SIGTERM);
        assert_eq!(running.status().code(), Some(0), "{options:?}");
    }
}

fn pause_waits_for_children_with_sigchld_ignored() {
    let mut command = shell(r#"(sleep 0.3; kill -TERM 1) & sleep 0.6 & exec env --ignore-signal=CHLD "$@""#);
    command.extend(["sh".into(), sexton().into(), "-Pwa".into()]);
    let output = Init::pid1(&[]).without_init().run(command);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr_text(&output).matches("sexton: reaped ").count(), 2, "{output:?}");
}

fn pause_and_install_reject_a_command() {
    for (options, option) in [
        (&["-P", "true"][..], "--pause"),
        (&["-P", "--", "true"], "--pause"),
        (&["--install", "/x", "true"], "--install"),
        (&["-z", "true"], "--zombies"),
    ] {
        let output = Init::plain(options).run(words(&[]));
        assert_eq!(output.status.code(), Some(125));
        assert_eq!(stderr_text(&output), format!("sexton: {option} takes no command (got 'true')\n"));
    }
}
