//! Under other inits' names: their defaults, variables and ways.

use std::io::pipe;
use std::time::Duration;

use crate::support::*;

crate::tests![
    new tini_and_catatonit_forward_to_the_command_only,
    new tinis_variable_means_the_group,
    new the_version_is_the_one_that_engines_look_for,
    new tini_warns_where_orphans_go_elsewhere,
    new tini_adopts_orphans_if_asked_to,
    new dumb_init_and_catatonit_adopt_orphans_as_they_do,
    new variables_set_the_verbosity,
    new dumb_init_gives_the_command_a_session,
    new dumb_init_ends_the_group,
    new dumb_init_suspends_itself_and_its_session,
    new dumb_init_single_child_leaves_the_group_alone,
    new dumb_init_single_child_gets_a_key_once,
    new dumb_inits_rewrites_are_understood,
    new sextons_options_work_under_every_name,
];

/// Whether the child of `family` gets a signal that goes to its parent.
fn reaches_the_group(init: Init) -> bool {
    let mut running = init.start(play(Role::Family));
    assert!(running.stdout.line().starts_with("child "));
    assert!(running.stdout.line().starts_with("ready"));
    // By its PID as it is seen from here; it keeps what it gets, as it is stopped.
    let child = children_of(running.children()[0].pid)[0].pid;
    kill(child, SIGSTOP).unwrap();
    wait_until("it is stopped", || is_in_state(child, 'T'));
    // Its parent gets that, too.
    running.prints(SIGCHLD);
    running.signal(SIGUSR1);
    running.prints(SIGUSR1);
    let reached = status_field(child, "ShdPnd") != "0000000000000000";
    kill(child, SIGKILL).unwrap();
    running.signal(SIGKILL);
    running.status();
    reached
}

fn tini_and_catatonit_forward_to_the_command_only() {
    for name in ["tini", "tini-static", "docker-init", "catatonit", "podman-init"] {
        assert!(!reaches_the_group(Init::pid1(&[]).called(name)), "{name}");
        assert!(reaches_the_group(Init::pid1(&["-g"]).called(name)), "{name} -g");
    }
    for name in ["dumb-init", "sexton", "anything"] {
        assert!(reaches_the_group(Init::pid1(&[]).called(name)), "{name}");
        assert!(!reaches_the_group(Init::pid1(&["-c"]).called(name)), "{name} -c");
    }
}

fn tinis_variable_means_the_group() {
    // It is set, to whatever.
    for value in ["", "1"] {
        let init = Init::pid1(&[]).called("tini").env("TINI_KILL_PROCESS_GROUP", value);
        assert!(reaches_the_group(init));
    }
    let init = Init::pid1(&["-c"]).called("tini").env("TINI_KILL_PROCESS_GROUP", "1");
    assert!(!reaches_the_group(init), "an option goes before a variable");
    let init = Init::pid1(&["-c"]).env("TINI_KILL_PROCESS_GROUP", "1");
    assert!(!reaches_the_group(init), "under its own name it knows none of that");
}

fn the_version_is_the_one_that_engines_look_for() {
    for (name, prefix) in [
        ("tini", "tini version "),
        ("docker-init", "tini version "),
        ("catatonit", "tini version "),
        ("podman-init", "tini version "),
        ("dumb-init", "sexton "),
    ] {
        for option in ["--version", "-V"] {
            let output = Init::plain(&[option]).called(name).run(words(&[]));
            let text = String::from_utf8(output.stdout).unwrap();
            let version = text.strip_prefix(prefix).unwrap_or_else(|| panic!("{name}: {text}"));
            assert!(version.starts_with(env!("CARGO_PKG_VERSION")), "{text}");
            assert_eq!(text.lines().count(), 1);
        }
    }
}

const WARNING: &str = "sexton: neither PID 1 nor a child subreaper: orphans will not be reaped (use -s, set TINI_SUBREAPER, or run as PID 1)\n";

fn tini_warns_where_orphans_go_elsewhere() {
    let logged = |init: Init| stderr_text(&init.called("tini").run(["true"])).to_owned();
    assert_eq!(logged(Init::plain(&[])), WARNING);
    assert_eq!(logged(Init::plain(&[]).env("TINI_VERBOSITY", "1")), WARNING);
    assert_eq!(logged(Init::plain(&[]).env("TINI_VERBOSITY", "0")), "");
    assert_eq!(logged(Init::plain(&["-s"])), "");
    assert_eq!(logged(Init::plain(&[]).env("TINI_SUBREAPER", "")), "");
    assert_eq!(logged(Init::pid1(&[])), "");
    assert_eq!(logged(Init::plain(&[]).given(Condition::Subreaper)), "", "it is one already");
}

/// Whether an orphan of the command becomes sexton's child.
fn adopts(init: Init) -> bool {
    let (stdin, _input) = pipe().unwrap();
    let mut running = init.stdin(stdin).start(shell("(sleep 1000 & echo $!); read x"));
    let orphan: i32 = running.stdout.line().parse().unwrap();
    let mut parent = 0;
    let command = running.children()[0].pid;
    wait_until("its parent has ended", || {
        parent = process(orphan).expect("the orphan").parent;
        // Between the two, there was only the command's own child.
        parent == running.pid || process(parent).is_none_or(|process| process.parent != command)
    });
    kill(orphan, SIGKILL).unwrap();
    running.signal(SIGTERM);
    running.status();
    parent == running.pid
}

fn tini_adopts_orphans_if_asked_to() {
    assert!(!adopts(Init::plain(&[]).called("tini")));
    assert!(adopts(Init::plain(&["-s"]).called("tini")));
    assert!(adopts(Init::plain(&[]).called("docker-init").env("TINI_SUBREAPER", "1")));
}

fn dumb_init_and_catatonit_adopt_orphans_as_they_do() {
    assert!(!adopts(Init::plain(&[]).called("dumb-init")));
    assert!(adopts(Init::plain(&["-s"]).called("dumb-init")));
    assert!(adopts(Init::plain(&[]).called("catatonit")));
}

fn variables_set_the_verbosity() {
    let lines_logged = |init: Init| stderr_text(&init.run(["true"])).lines().count();
    for (name, variable, value, talks) in [
        ("tini", "TINI_VERBOSITY", "3", true),
        ("tini", "TINI_VERBOSITY", "1", false),
        ("tini", "TINI_VERBOSITY", "nonsense", false),
        ("dumb-init", "DUMB_INIT_DEBUG", "1", true),
        ("dumb-init", "DUMB_INIT_DEBUG", "0", false),
        ("catatonit", "CATATONIT_DEBUG", "", true),
        ("sexton", "CATATONIT_DEBUG", "1", false),
    ] {
        let lines = lines_logged(Init::pid1(&[]).called(name).env(variable, value));
        assert_eq!(lines > 0, talks, "{name} {variable}={value}");
    }
}

fn dumb_init_gives_the_command_a_session() {
    let leads = |init: Init| {
        let mut running = init.start(shell("echo $$; cut -d' ' -f5,6 /proc/$$/stat"));
        let (pid, ids) = (running.stdout.line(), running.stdout.line());
        running.status();
        let (group, session) = ids.split_once(' ').unwrap();
        (group == pid, session == pid)
    };
    assert_eq!(leads(Init::plain(&[]).called("dumb-init")), (true, true));
    assert_eq!(leads(Init::plain(&["-c"]).called("dumb-init")), (false, false));
    let init = Init::plain(&[]).called("dumb-init").env("DUMB_INIT_SETSID", "0");
    assert_eq!(leads(init), (false, false));
    let init = Init::plain(&[]).called("dumb-init").env("DUMB_INIT_SETSID", "1");
    assert_eq!(leads(init), (true, true));
    assert_eq!(leads(Init::plain(&[]).called("tini")), (true, false));
}

/// The command exits, and its background child gets TERM.
fn dumb_init_ends_the_group() {
    let script =
        "(trap 'echo notified; exit' TERM; echo ready; while :; do sleep 0.01; done) & read x; exit 3";
    for (options, printed) in [(&[][..], "notified\n"), (&["-c"], "")] {
        let (stdin, input) = pipe().unwrap();
        let mut running = ready(Init::plain(options).called("dumb-init").stdin(stdin).start(shell(script)));
        let command = running.children()[0].pid;
        let child = children_of(command)[0].pid;
        drop(input);
        assert_eq!(running.status().code(), Some(3));
        if printed.is_empty() {
            assert!(process(child).is_some(), "it got a signal");
            kill(child, SIGTERM).unwrap();
            assert_eq!(running.stdout.rest(), b"notified\n");
        } else {
            assert_eq!(running.stdout.rest(), printed.as_bytes());
        }
    }
}

fn in_state(pid: i32, state: char) {
    wait_until("it is in this state", || is_in_state(pid, state));
}

fn dumb_init_suspends_itself_and_its_session() {
    for signal in [SIGTSTP, SIGTTIN, SIGTTOU] {
        let mut running = ready(Init::plain(&[]).called("dumb-init").start(play(Role::Receive)));
        let command = running.children()[0].pid;
        running.signal(signal);
        in_state(running.pid, 'T');
        in_state(command, 'T');
        running.signal(SIGCONT);
        // It was stopped by STOP, which no process can receive.
        running.prints(SIGCONT);
        in_state(running.pid, 'S');
        running.signal(SIGUSR1);
        running.prints(SIGUSR1);
        running.end();
    }
}

fn dumb_init_single_child_leaves_the_group_alone() {
    let mut running = ready(Init::plain(&["-c"]).called("dumb-init").start(play(Role::Receive)));
    running.signal(SIGTSTP);
    running.prints(SIGTSTP);
    in_state(running.pid, 'T');
    running.signal(SIGCONT);
    running.prints(SIGCONT);
    running.end();
}

/// The terminal's driver signals the process group that the two are in.
fn dumb_init_single_child_gets_a_key_once() {
    let mut screen = Screen::new();
    let init = Init::pid1(&["-c"]).called("dumb-init").given(screen.on(&[0, 1, 2]));
    let running = init.start(play(Role::Receive));
    screen.shows("ready");
    screen.shows("\r\n");
    // Each is followed by another: were it to arrive twice, its name would be before that.
    for _ in 0..2 {
        for (key, signal) in [("\x03", SIGINT), ("\x1c", SIGQUIT)] {
            screen.types(key);
            let skipped = screen.shows(&format!("{signal}\r\n"));
            assert!(!skipped.contains("SIG"), "{skipped:?}");
        }
    }
    // While one from the terminal is pending, the kernel takes another for the same.
    wait_until("sexton has taken its own", || running.is_idle());
    running.signal(SIGINT);
    assert_eq!(screen.shows("SIGINT\r\n"), "");
}

fn dumb_inits_rewrites_are_understood() {
    let options = ["-r", "15:0", "--rewrite", "1:2", "-r", "20:12"];
    let mut running = ready(Init::pid1(&options).called("dumb-init").start(play(Role::Receive)));
    for (sent, received) in
        [(SIGTERM, None), (SIGHUP, Some(SIGINT)), (SIGTSTP, Some(SIGUSR2)), (SIGUSR1, Some(SIGUSR1))]
    {
        running.signal(sent);
        if let Some(received) = received {
            running.prints(received);
        }
    }
    running.end();
}

/// Every option means the same under every name.
fn sextons_options_work_under_every_name() {
    for name in ["tini", "dumb-init", "catatonit"] {
        let straggler = vec![Straggler::Session];
        let command = play(Role::LeaveBehind { straggler, code: 5, work: Duration::ZERO });
        let init = Init::pid1(&["-t", "1h"]).called(name);
        let output = init.env("SEXTON_OPTIONS", "-v").run(command);
        assert_eq!(output.status.code(), Some(5), "{name}");
        assert!(output.stdout.ends_with(b"last line\n"), "{name}: {output:?}");
    }
}
