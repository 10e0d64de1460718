//! Without a command there is nothing to keep signals for: they end sexton.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::support::*;

crate::tests![
    new a_full_pipe_keeps_no_page_from_ending,
    new a_paused_terminal_keeps_no_page_from_ending,
    new a_full_pipe_keeps_no_error_from_ending,
    new ignored_and_blocked_signals_stay_so,
    new a_reader_that_has_gone_is_no_fault,
    new a_page_waits_for_a_reader_that_does_not_block,
];

const PAGES: [&str; 6] = ["-h", "--help", "-V", "-l", "-z", "--top=0.1"];

const NOTHING: [&str; 0] = [];

/// These signals end it while it waits for the reader. PID 1 dies of none that it has no
/// handler for.
#[track_caller]
fn ends(init: impl Fn() -> Init, pid1: bool) {
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        let mut running = init().start(NOTHING);
        wait_until("it waits", || running.is_in(&[libc::SYS_write]));
        running.signal(signal);
        let status = running.status();
        if pid1 {
            assert_eq!(status.code(), Some(128 + signal.number()), "{signal}");
        } else {
            assert_eq!(status.signal(), Some(signal.number()), "{signal}");
        }
    }
}

fn a_full_pipe_keeps_no_page_from_ending() {
    let (_reader, writer) = io::pipe().unwrap();
    fill(&writer);
    for page in PAGES {
        ends(|| Init::plain(&[page]).stdout(writer.try_clone().unwrap()), false);
        ends(|| Init::pid1(&[page]).stdout(writer.try_clone().unwrap()), true);
    }
}

fn a_paused_terminal_keeps_no_page_from_ending() {
    for page in PAGES {
        let screen = Screen::new();
        screen.pause();
        ends(|| Init::plain(&[page]).stdout(screen.file()), false);
        ends(|| Init::pid1(&[page]).stdout(screen.file()), true);
        screen.resume();
    }
}

/// A message waits for a second: each try has to be over by then.
fn a_full_pipe_keeps_no_error_from_ending() {
    let (_reader, writer) = io::pipe().unwrap();
    fill(&writer);
    for options in
        [&["--nonsense"][..], &["-e"], &["--install", "/dev/null"], &["--install", "/nonexistent/x"]]
    {
        let ended = (0..20).any(|_| {
            let mut running = Init::plain(options).stderr(writer.try_clone().unwrap()).start(NOTHING);
            wait_until("it waits", || running.is_in_poll() || running.has_ended());
            let _ = kill(running.pid, SIGTERM);
            running.status().signal() == Some(SIGTERM.number())
        });
        assert!(ended, "{options:?}");
    }
}

/// They have the mask and the dispositions that they would have without sexton.
fn ignored_and_blocked_signals_stay_so() {
    let (_reader, writer) = io::pipe().unwrap();
    fill(&writer);
    for condition in [Condition::Ignored(SIGINT), Condition::Blocked(SIGINT)] {
        for init in [Init::plain(&["-h"]), Init::pid1(&["-h"])] {
            let init = init.given(condition.clone()).stdout(writer.try_clone().unwrap());
            let mut running = init.start(NOTHING);
            wait_until("it waits", || running.is_in(&[libc::SYS_write]));
            running.signal(SIGINT);
            running.signal(SIGTERM);
            let status = running.status();
            assert!(
                status.signal().is_some_and(|number| number == SIGTERM.number())
                    || status.code() == Some(143),
                "{status}"
            );
        }
    }
}

/// As with `sexton --help | head -1`.
fn a_reader_that_has_gone_is_no_fault() {
    for page in PAGES {
        let run = |init: Init| {
            let (reader, writer) = io::pipe().unwrap();
            drop(reader);
            let output = init.stdout(writer).run(NOTHING);
            assert_eq!(stderr_text(&output), "", "{page}");
            output.status
        };
        assert_eq!(run(Init::plain(&[page])).signal(), Some(SIGPIPE.number()), "{page}");
        for init in [
            Init::pid1(&[page]),
            Init::plain(&[page]).given(Condition::Ignored(SIGPIPE)),
            Init::plain(&[page]).given(Condition::Blocked(SIGPIPE)),
        ] {
            assert_eq!(run(init).code(), Some(141), "{page}");
        }
    }
}

fn a_page_waits_for_a_reader_that_does_not_block() {
    let whole = Init::plain(&["--help"]).run(NOTHING).stdout;
    let (mut reader, writer) = io::pipe().unwrap();
    fill(&writer);
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut running = Init::plain(&["--help"]).stdout(writer).start(NOTHING);
    wait_until("it waits", || running.is_in_poll());
    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    assert_eq!(running.status().code(), Some(0));
    assert!(text.ends_with(&whole));
}
