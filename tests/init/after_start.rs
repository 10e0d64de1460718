//! What sexton holds while the command runs: nothing that it does not need.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use crate::support::*;

crate::tests![
    new sexton_keeps_the_standard_descriptors_only,
    new descriptors_are_closed_where_close_range_is_refused,
    with("strace") few_calls_close_the_descriptors,
    new sexton_leaves_its_working_directory,
    new the_command_can_write_to_pid_1s_standard_output,
    new sexton_stays_dumpable,
    new an_idle_sexton_is_never_scheduled,
    new a_full_standard_error_stops_nothing,
    new dropped_messages_are_counted,
    new a_closed_or_broken_standard_error_stops_nothing,
];

fn sexton_keeps_the_standard_descriptors_only() {
    let mut running =
        Init::pid1(&[]).given(Condition::Open(3)).given(Condition::Open(50)).start(play(Role::Receive));
    running.stdout.line();
    wait_until("it is idle", || running.is_idle());
    let mut held: Vec<_> = fs::read_dir(format!("/proc/{}/fd", running.pid)).unwrap().collect();
    held.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    let names: Vec<_> = held.into_iter().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["0", "1", "2"]);
}

const REFUSALS: [i32; 3] = [libc::ENOSYS, libc::EPERM, libc::EINVAL];

/// With as many as this machine allows, up to Docker's usual limit.
fn descriptors_are_closed_where_close_range_is_refused() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let limit = hard.min(1 << 20);
    for errno in REFUSALS {
        for proc in [true, false] {
            let mut init = Init::pid1(&[])
                .given(Condition::DescriptorLimit(limit))
                .given(Condition::CallFails { call: libc::SYS_close_range, errno })
                .given(Condition::Open(3))
                .given(Condition::Open(limit as i32 - 1));
            if !proc {
                init = init.given(Condition::NoProc);
            }
            let mut running = init.start(play(Role::Receive));
            running.stdout.line();
            running.signal(SIGUSR1);
            running.prints(SIGUSR1);
            wait_until("it is idle", || running.is_idle());
            let held = fs::read_dir(format!("/proc/{}/fd", running.pid)).unwrap().count();
            assert_eq!(held, 3, "{errno} {proc}");
        }
    }
}

/// In gVisor, which takes no number above INT_MAX, a call costs so much that a million of
/// them would take a minute.
fn few_calls_close_the_descriptors() {
    let calls = |init: Init| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("calls");
        let mut command = words(&["strace", "-e", "trace=close,close_range", "-o", file.to_str().unwrap()]);
        command.extend([sexton().into(), "true".into()]);
        assert_eq!(init.without_init().code(command), 0);
        fs::read_to_string(file).unwrap()
    };
    let calls_of_all = calls(Init::pid1(&[]));
    assert!(calls_of_all.contains("close_range(3, 2147483647, 0)"), "{calls_of_all}");
    for errno in REFUSALS {
        let init = Init::pid1(&[]).given(Condition::CallFails { call: libc::SYS_close_range, errno });
        let calls = calls(init.given(Condition::Open(77)));
        assert!(calls.lines().count() < 30 && calls.contains("close(77)"), "{calls}");
    }
}

fn sexton_leaves_its_working_directory() {
    let mut running =
        Init::pid1(&[]).given(Condition::WorkingDirectory("/tmp".into())).start(play(Role::Receive));
    running.stdout.line();
    wait_until("it is idle", || running.is_idle());
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", running.pid)).unwrap().to_str(), Some("/"));
}

fn the_command_can_write_to_pid_1s_standard_output() {
    let output = Init::pid1(&[]).run(shell("echo out > /proc/1/fd/1; echo err > /proc/1/fd/2"));
    assert_eq!((output.stdout, output.stderr), (b"out\n".to_vec(), b"err\n".to_vec()));
}

/// Else its /proc/1/fd would be root's alone.
fn sexton_stays_dumpable() {
    let output = Init::pid1(&[]).run(shell("stat -c %u /proc/1/fd; id -u"));
    let text = String::from_utf8(output.stdout).unwrap();
    let (owner, own) = text.trim().split_once('\n').unwrap();
    assert_eq!(owner, own);
}

/// The one test that has to let time pass: it shows that nothing happens in it.
fn an_idle_sexton_is_never_scheduled() {
    let mut running = Init::pid1(&[]).start(play(Role::Receive));
    running.stdout.line();
    wait_until("it is idle", || running.is_idle());
    let switches =
        || ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"].map(|name| running.status_field(name));
    let before = switches();
    assert!(!before[0].is_empty());
    thread::sleep(Duration::from_secs(2));
    assert_eq!(switches(), before);
    assert!(running.is_idle());
    // And it was not just stuck.
    running.signal(SIGUSR1);
    running.prints(SIGUSR1);
}

fn a_full_standard_error_stops_nothing() {
    // The other end stays open, but is not read.
    let (reader, writer) = io::pipe().unwrap();
    let (stdin, input) = io::pipe().unwrap();
    let mut running = leave_orphans(Init::pid1(&["-vvv"]).stdin(stdin).stderr(writer), 4000);
    // More lines than a pipe of 64 KiB holds.
    wait_until("all orphans are reaped", || running.children().len() == 1);
    running.signal(SIGUSR2);
    assert_eq!(running.status().code(), Some(128 + SIGUSR2.number()));
    drop((input, reader));
}

fn dropped_messages_are_counted() {
    let (mut reader, writer) = io::pipe().unwrap();
    let (stdin, input) = io::pipe().unwrap();
    let mut running = leave_orphans(Init::pid1(&["-vvv"]).stdin(stdin).stderr(writer), 3000);
    wait_until("all orphans are reaped", || running.children().len() == 1);
    // Make room again: the next line has the number of those that found none.
    let mut text = vec![0; 32 * 1024];
    reader.read_exact(&mut text).unwrap();
    drop(input);
    reader.read_to_end(&mut text).unwrap();
    assert_eq!(running.status().code(), Some(0));
    let text = String::from_utf8(text).unwrap();
    let reaped = text.lines().filter(|line| line.contains("reaped")).count();
    let lost: usize = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("sexton: [")?.split_once(" messages dropped] ")?.0.parse::<usize>().ok()
        })
        .sum();
    assert!(lost > 0, "nothing was lost");
    // Each orphan, and the command.
    assert_eq!(reaped + lost, 3001, "{reaped} {lost}");
}

fn a_closed_or_broken_standard_error_stops_nothing() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    assert_eq!(Init::pid1(&["-vvv"]).stderr(writer).code(words(&["true"])), 0);
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    assert_eq!(Init::pid1(&["-vvv"]).stderr(writer).code(words(&["/nonexistent"])), 127);
    assert_eq!(Init::pid1(&["-vvv"]).given(Condition::FullStandardError).code(words(&["true"])), 0);
    // A SIGPIPE that a message raised must not reach the command, or kill sexton.
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut running = Init::pid1(&["-vvv"]).stderr(writer).start(play(Role::Receive));
    running.stdout.line();
    for signal in [SIGUSR1, SIGUSR2, SIGTERM] {
        running.signal(signal);
        running.prints(signal);
    }
    running.signal(SIGKILL);
    assert_eq!(running.status().signal(), Some(SIGKILL.number()));
}
