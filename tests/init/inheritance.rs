//! The command gets what sexton was given, and nothing more.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixListener;

use crate::common::process::field;
use crate::support::*;

crate::tests![
    new mask_and_dispositions_are_passed_on_bit_for_bit,
    new arguments_and_environment_arrive_byte_for_byte,
    new a_hundred_thousand_arguments_and_no_environment,
    new a_broken_pipe_still_kills_silently,
    new sexton_works_with_the_standard_descriptors_closed,
    new other_descriptors_are_the_commands,
    new the_working_directory_is_the_commands,
    new socket_activation_names_the_command,
    new socket_activation_of_another_process_is_left_alone,
    new a_watchdog_names_the_command,
    new a_watchdog_of_another_process_is_left_alone,
];

/// With these signals blocked and those ignored, the command starts as without an init, and
/// its exit code is passed on.
fn inherits(blocked: &[Signal], ignored: &[Signal]) {
    let init = || {
        let blocked = blocked.iter().map(|signal| Condition::Blocked(*signal));
        let ignored = ignored.iter().map(|signal| Condition::Ignored(*signal));
        blocked.chain(ignored).fold(Init::pid1(&[]), Init::given)
    };
    let state = |init: Init| {
        // `cat` alone: a shell would install handlers of its own.
        let output = init.run(words(&["cat", "/proc/self/status"]));
        assert_eq!(output.status.code(), Some(0), "{blocked:?} {ignored:?} {}", stderr_text(&output));
        let status = String::from_utf8(output.stdout).unwrap();
        ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"].map(|name| field(&status, name))
    };
    assert_eq!(state(init()), state(init().without_init()), "{blocked:?} {ignored:?}");
    assert_eq!(init().code(shell("exit 42")), 42, "{blocked:?} {ignored:?}");
}

fn mask_and_dispositions_are_passed_on_bit_for_bit() {
    inherits(&[], &[]);
    inherits(&[], &[SIGHUP]);
    inherits(&[], &[SIGPIPE]);
    inherits(&[], &[SIGCHLD]);
    inherits(&[SIGCHLD], &[]);
    inherits(&[SIGCHLD], &[SIGCHLD]);
    inherits(&[SIGTERM, rtmin(3), SIGRTMAX], &[]);
    inherits(&[], &[SIGTSTP, SIGTTIN, SIGTTOU, SIGRTMIN]);
    inherits(&C_LIBRARY_SIGNALS, &[]);
}

fn arguments_and_environment_arrive_byte_for_byte() {
    let mut arguments = Vec::new();
    for index in 0..20_000_u32 {
        arguments.push(match index % 4 {
            0 => OsString::new(),
            1 => OsString::from_vec(vec![0xff, 0xc0, b'0' + (index % 10) as u8]),
            2 => OsString::from("-v"),
            _ => OsString::from(format!("word {index}\n")),
        });
    }
    let mut command = play(Role::ShowWords);
    command.extend(arguments.iter().cloned());
    let run = |init: Init| {
        let init =
            init.env("LARGE", "x".repeat(50 * 1024)).env("BYTES", OsString::from_vec(vec![0xfe, b'=']));
        init.env("LISTEN_PIDFDID", "1").env("EMPTY", "").run(command.clone())
    };
    let (with, without) = (run(Init::pid1(&[])), run(Init::pid1(&[]).without_init()));
    assert!(with.stdout == without.stdout, "they differ");
    let mut expected: Vec<u8> = Vec::new();
    for word in &arguments {
        expected.extend_from_slice(word.as_bytes());
        expected.push(0);
    }
    assert!(with.stdout.starts_with(&expected));
}

fn a_hundred_thousand_arguments_and_no_environment() {
    let arguments = vec![OsString::from("word"); 100_000];
    let mut command = words(&["env", "-i"]);
    command.push(sexton().into());
    command.push("-wR".into());
    command.extend(play(Role::ShowWords));
    command.extend(arguments);
    let output = Init::pid1(&[]).run(command);
    assert_eq!(output.status.code(), Some(0), "{}", stderr_text(&output));
    let mut expected = b"word\0".repeat(100_000);
    expected.push(b'\n');
    assert!(output.stdout == expected, "{}", output.stdout.len());
}

/// Where SIGPIPE is ignored, `yes` reports a broken pipe.
fn a_broken_pipe_still_kills_silently() {
    let output = Init::pid1(&[]).run(shell("i=0; while [ $i -lt 50 ]; do yes | head -n 1; i=$((i+1)); done"));
    assert_eq!((output.status.code(), stderr_text(&output)), (Some(0), ""));
    assert_eq!(output.stdout.len(), 100);
}

fn sexton_works_with_the_standard_descriptors_closed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("descriptors");
    // What the shell itself opens to write the list is all that is there.
    let script = format!("ls /proc/self/fd | wc -l > {}; exit 5", file.display());
    for options in [&[][..], &["-vvv"]] {
        let init = Init::pid1(options)
            .given(Condition::Closed(0))
            .given(Condition::Closed(1))
            .given(Condition::Closed(2));
        assert_eq!(init.code(shell(&script)), 5);
    }
    for descriptor in 0..3 {
        let closed = || Condition::Closed(descriptor);
        assert_eq!(Init::pid1(&["-vvv"]).given(closed()).code(words(&["true"])), 0);
        assert_eq!(Init::pid1(&["-vvv"]).given(closed()).code(words(&["/nonexistent"])), 127);
    }
}

fn other_descriptors_are_the_commands() {
    let init = Init::pid1(&[]).given(Condition::Open(7)).given(Condition::Open(99));
    // sexton's own are closed once it knows that the command runs.
    let own = "until test $(ls /proc/1/fd | wc -l) = 3; do :; done; ls /proc/1/fd";
    let output =
        init.run(shell(&format!("test -e /proc/self/fd/7 && test -e /proc/self/fd/99 || exit; {own}")));
    assert_eq!((output.status.code(), output.stdout), (Some(0), b"0\n1\n2\n".to_vec()));
}

fn the_working_directory_is_the_commands() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let output =
        Init::pid1(&[]).given(Condition::WorkingDirectory(path.display().to_string())).run(words(&["pwd"]));
    assert_eq!(output.stdout, format!("{}\n", path.display()).as_bytes());
}

/// As `systemd-socket-activate` hands it over: the socket is descriptor 3, and
/// `LISTEN_PID` names the process that it executes.
fn socket_activation_names_the_command() {
    let directory = tempfile::tempdir().unwrap();
    let _listener = UnixListener::bind(directory.path().join("socket")).unwrap();
    let script = "test $LISTEN_PID = $$ && test -e /proc/self/fd/3 && test $LISTEN_FDS = 1 && env";
    let init = Init::pid1(&[]).given(Condition::Open(3)).env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    let output = init.env("LISTEN_PIDFDID", "12345").env("LAST", "kept").run(shell(script));
    assert_eq!(output.status.code(), Some(0), "{}", stderr_text(&output));
    let environment = String::from_utf8(output.stdout).unwrap();
    assert!(environment.contains("LAST=kept\n"));
    assert!(!environment.contains("LISTEN_PIDFDID"));
}

fn socket_activation_of_another_process_is_left_alone() {
    for pid in ["2", "0", "", "11", "1x", "99999999999"] {
        let mut expected = String::new();
        writeln!(expected, "{pid} 7").unwrap();
        let init = Init::pid1(&[]).env("LISTEN_PID", pid).env("LISTEN_PIDFDID", "7");
        let output = init.run(shell("echo \"$LISTEN_PID $LISTEN_PIDFDID\""));
        assert_eq!(output.stdout, expected.as_bytes(), "{pid}");
    }
}

/// A service manager wants keep-alives of the process that it started, and of no other
/// (`sd_watchdog_enabled(3)`).
fn a_watchdog_names_the_command() {
    let script = "test $WATCHDOG_PID = $$ && test $WATCHDOG_USEC = 3000000 && echo ${LISTEN_PID-none}";
    for (listen, printed) in [(None, "none"), (Some("1"), "7"), (Some("12"), "12")] {
        for init in [Init::pid1(&[]), Init::pid1(&["-c"])] {
            let mut init = init.env("WATCHDOG_PID", "1").env("WATCHDOG_USEC", "3000000").env("LAST", "kept");
            if let Some(listen) = listen {
                init = init.env("LISTEN_PID", listen).env("LISTEN_FDS", "0");
            }
            let output = init.run(shell(&format!("{script} && test $LAST = kept && echo $$")));
            assert_eq!(output.status.code(), Some(0), "{}", stderr_text(&output));
            let text = String::from_utf8(output.stdout).unwrap();
            let (first, pid) = text.trim_end().split_once('\n').expect("two lines");
            assert_eq!(first, if printed == "7" { pid } else { printed });
        }
    }
}

fn a_watchdog_of_another_process_is_left_alone() {
    for pid in ["2", "0", "", "11", "1x", "99999999999"] {
        let init = Init::pid1(&[]).env("WATCHDOG_PID", pid).env("LISTEN_PID", "1");
        let output = init.run(shell("echo \"$WATCHDOG_PID\"; test $LISTEN_PID = $$"));
        assert_eq!((output.status.code(), output.stdout), (Some(0), format!("{pid}\n").into_bytes()));
    }
}
