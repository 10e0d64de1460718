//! Whom `-t` and `-a` ask to terminate: the processes at the top of what is left, each once.

use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

use Straggler::{Deaf, Forks, Master, Session, Stopped};

use crate::support::*;

crate::tests![
    new the_helper_of_a_straggler_saves_its_work,
    new the_workers_of_a_detached_master_finish_their_jobs,
    new a_worker_in_the_commands_group_gets_one_term,
    new a_stopped_worker_in_the_commands_group_is_continued,
    new a_child_born_after_the_request_is_asked,
    new under_dumb_inits_name_a_worker_gets_one_term,
    new after_the_command_a_stop_signal_is_for_the_roots,
    new without_proc_each_process_is_asked_once,
    new a_chain_of_processes_ends_link_by_link,
    as_root a_process_from_outside_is_asked_and_waited_for,
    as_root a_process_from_outside_that_ignores_term_is_killed,
    as_root wait_all_waits_for_a_process_from_outside,
    as_root a_newcomer_from_outside_is_asked,
    as_root numbers_that_start_again_mislead_no_request,
    as_root a_root_with_the_number_of_one_that_was_asked_is_asked,
];

/// Ten at once, each as PID 1 and as a subreaper.
fn ten_times(options: &[&str], command: &[OsString]) -> Vec<Running> {
    let starts = (0..10).flat_map(|_| both_ways(options, command.to_vec()));
    starts.map(|(init, command)| init.start(command)).collect()
}

/// What it prints until it ends, with this exit code.
fn lines_of(running: Running, code: i32) -> Vec<String> {
    let output = running.finish();
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(!stderr_text(&output).contains("sexton: "), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect()
}

fn count(lines: &[String], line: &str) -> usize {
    lines.iter().filter(|printed| *printed == line).count()
}

/// One straggler had one TERM, and finished its work.
fn asked_once(lines: Vec<String>) {
    assert_eq!(count(&lines, "straggler SIGTERM"), 1, "{lines:?}");
    assert_eq!(count(&lines, "last line"), 1, "{lines:?}");
}

/// A shell that leaves such stragglers behind, which work for these milliseconds, and exits
/// with 5.
fn leaving(stragglers: &[(&str, u32)]) -> Vec<OsString> {
    let left = |(properties, work)| format!("\"$0\" leave-behind 5 {work} {properties}; ");
    let script: String = stragglers.iter().copied().map(left).chain(["exit 5".into()]).collect();
    let mut command = shell(&script);
    command.push(helper().into());
    command
}

/// Others end meanwhile, and each end is an occasion to ask who is left.
fn the_helper_of_a_straggler_saves_its_work() {
    let command = leaving(&[
        ("session helper", 1000),
        ("session", 50),
        ("session", 200),
        ("session", 400),
        ("session", 600),
    ]);
    for running in ten_times(&["-t", "1h"], &command) {
        let lines = lines_of(running, 5);
        assert_eq!(count(&lines, "saved"), 1, "{lines:?}");
        assert_eq!(count(&lines, "last line"), 5, "{lines:?}");
        assert_eq!(count(&lines, "straggler SIGTERM"), 5, "{lines:?}");
    }
}

fn the_workers_of_a_detached_master_finish_their_jobs() {
    for running in ten_times(&["-t", "1h"], &left_behind(&[Session, Master], 300)) {
        let lines = lines_of(running, 5);
        assert_eq!(count(&lines, "job done"), 3, "{lines:?}");
        assert_eq!(count(&lines, "straggler SIGTERM"), 1, "{lines:?}");
        assert_eq!(lines.last().unwrap(), "last line");
    }
}

/// A shell that exits with 5 at TERM, and its worker in the same group.
fn with_worker(straggler: &[Straggler], work: u32) -> Vec<OsString> {
    let mut command = shell(r#"trap 'exit 5' TERM; "$@" & while :; do sleep 0.01; done"#);
    command.push("sh".into());
    command.extend(play(Role::Straggle { straggler: straggler.to_vec(), work: work * MILLISECOND }));
    command
}

fn asked_with_its_group(mut running: Running) -> Vec<String> {
    running.prints("ready");
    if let Some(subreaper) = subreaper_of(&running) {
        kill(subreaper, SIGTERM).unwrap();
    } else {
        running.signal(SIGTERM);
    }
    lines_of(running, 5)
}

/// The sexton that is the command of a PID 1.
fn subreaper_of(running: &Running) -> Option<i32> {
    let child = running.children().first()?.pid;
    let name = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    (name(child) == name(running.pid)).then_some(child)
}

fn a_worker_in_the_commands_group_gets_one_term() {
    for running in ten_times(&["-t", "1h"], &with_worker(&[], 300)) {
        asked_once(asked_with_its_group(running));
    }
}

/// The request waits for it while it is stopped.
fn a_stopped_worker_in_the_commands_group_is_continued() {
    let script = r#"trap 'exit 5' TERM; "$@"; echo ready; while :; do sleep 0.01; done"#;
    let mut command = shell(script);
    command.push("sh".into());
    command.extend(left_behind(&[Stopped], 0));
    for running in ten_times(&["-t", "1h"], &command) {
        asked_once(asked_with_its_group(running));
    }
}

/// It did not have the request, however soon after it was born.
fn a_child_born_after_the_request_is_asked() {
    for running in ten_times(&["-t", "1h"], &with_worker(&[Forks], 0)) {
        let lines = asked_with_its_group(running);
        assert_eq!(count(&lines, "straggler SIGTERM"), 2, "{lines:?}");
        assert_eq!(count(&lines, "last line"), 1, "{lines:?}");
    }
}

fn under_dumb_inits_name_a_worker_gets_one_term() {
    for _ in 0..10 {
        let init = Init::pid1(&["-t", "1h"]).called("dumb-init");
        asked_once(asked_with_its_group(init.start(with_worker(&[], 300))));
    }
}

fn after_the_command_a_stop_signal_is_for_the_roots() {
    for mut running in ten_times(&["-va"], &left_behind(&[Session, Master], 100)) {
        assert_eq!(running.stderr.line(), "sexton: phase: draining");
        running.signal(SIGTERM);
        let lines = String::from_utf8(running.stdout.rest()).unwrap();
        let lines: Vec<String> = lines.lines().map(String::from).collect();
        assert_eq!(count(&lines, "job done"), 3, "{lines:?}");
        assert_eq!(count(&lines, "straggler SIGTERM"), 1, "{lines:?}");
        assert_eq!(running.status().code(), Some(5));
    }
}

/// They end one after another, and no end is an occasion to ask the others again.
fn without_proc_each_process_is_asked_once() {
    let command = leaving(&[("session", 50), ("session", 200), ("session", 400)]);
    for _ in 0..10 {
        let init = Init::pid1(&["-t", "1h"]).given(Condition::NoProc);
        let lines = lines_of(init.start(command.clone()), 5);
        assert_eq!(count(&lines, "straggler SIGTERM"), 3, "{lines:?}");
        assert_eq!(count(&lines, "last line"), 3, "{lines:?}");
    }
}

/// The CPU time that sexton takes to end so many processes. One more ignores TERM, so that
/// sexton is there to be looked at.
fn cpu_time_to_end(count: u32, chained: bool) -> Duration {
    let script = format!("\"$0\" leave-behind 5 0 session deaf; \"$0\" leave-many {count} {chained}; exit 5");
    let mut command = shell(&script);
    command.push(helper().into());
    let mut running = Init::pid1(&["-vt", "1h"]).start(command);
    assert_eq!(running.stderr.line(), "sexton: phase: draining, stopping");
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(running.pid);
    wait_until("all others have ended", || {
        let left = processes().iter().filter(|process| namespace(process.pid) == own).count();
        left == 3 && running.is_idle()
    });
    let schedstat = running.proc("schedstat");
    Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
}

/// Each becomes a root when its parent has ended. A look at all processes whenever one has
/// would take a time that grows with the square of their number.
fn a_chain_of_processes_ends_link_by_link() {
    let (chain, side_by_side) = (cpu_time_to_end(400, true), cpu_time_to_end(400, false));
    assert!(chain < 4 * side_by_side + 50 * MILLISECOND, "{chain:?}, {side_by_side:?}");
}

/// Starts a straggler in the namespace of a sexton, as `docker exec` does.
fn from_outside(running: &Running, straggler: &[Straggler], work: u32) -> Running {
    let straggler = play(Role::Straggle { straggler: straggler.to_vec(), work: work * MILLISECOND });
    let role = Role::EnterNamespaceOf(running.pid);
    ready(Init::plain(&[]).without_init().start(play_with(role, straggler)))
}

fn end_command(running: &Running) {
    for child in running.children() {
        kill(child.pid, SIGKILL).unwrap();
    }
}

/// It is no child of PID 1, and its end no signal.
fn a_process_from_outside_is_asked_and_waited_for() {
    for work in [0, 300] {
        let mut running = ready(Init::pid1(&["-t", "1h"]).start(play(Role::Receive)));
        let outside = from_outside(&running, &[], work);
        end_command(&running);
        asked_once(lines_of(outside, 0));
        assert_eq!(running.status().code(), Some(137));
    }
}

fn a_process_from_outside_that_ignores_term_is_killed() {
    let mut running = ready(Init::pid1(&["-t", "300ms"]).start(play(Role::Receive)));
    let mut outside = from_outside(&running, &[Deaf], 0);
    let start = Instant::now();
    end_command(&running);
    assert_eq!(running.status().code(), Some(137));
    assert!(start.elapsed() >= 300 * MILLISECOND);
    assert!(start.elapsed() < SOON);
    let printed = String::from_utf8(outside.stdout.rest()).unwrap();
    assert_eq!(printed.matches("SIGTERM").count(), 1, "{printed}");
    outside.status();
}

/// One that comes while nothing else is left is one more.
fn wait_all_waits_for_a_process_from_outside() {
    let mut running = ready(Init::pid1(&["-va"]).start(play(Role::Receive)));
    let mut first = from_outside(&running, &[], 0);
    end_command(&running);
    assert_eq!(running.stderr.line(), "sexton: phase: draining");
    let second = from_outside(&running, &[Session], 100);
    kill(first_child(first.pid), SIGKILL).unwrap();
    first.status();
    running.signal(SIGTERM);
    asked_once(lines_of(second, 0));
    assert_eq!(running.status().code(), Some(137));
}

/// One that comes after the request is asked, too, when no child is left.
fn a_newcomer_from_outside_is_asked() {
    let mut running = ready(Init::pid1(&["-vt", "1h"]).start(play(Role::Receive)));
    let mut first = from_outside(&running, &[Deaf], 0);
    end_command(&running);
    assert_eq!(running.stderr.line(), "sexton: phase: draining, stopping");
    asked_once(lines_of(from_outside(&running, &[], 0), 0));
    kill(first_child(first.pid), SIGKILL).unwrap();
    first.status();
    // The deaf one's child is left.
    running.signal(SIGKILL);
    running.status();
}

fn first_child(pid: i32) -> i32 {
    children_of(pid)[0].pid
}

/// The processes that are asked come and go while the kernel starts again from the lowest
/// numbers.
fn numbers_that_start_again_mislead_no_request() {
    let script = r#"echo $(($(cat /proc/sys/kernel/pid_max) - 100)) > /proc/sys/kernel/ns_last_pid
        for n in $(seq 60); do "$@"; done; exit 5"#;
    let mut command = shell(script);
    command.push("sh".into());
    command.extend(left_behind(&[Session, Forks], 0));
    let init = Init::pid1(&["-t", "1h"]);
    let lines = lines_of(init.start(command), 5);
    assert_eq!(count(&lines, "straggler SIGTERM"), 120, "{lines:?}");
    assert_eq!(count(&lines, "last line"), 60, "{lines:?}");
}

/// When the first is gone, the second forks a process that gets its number, and exits. (Not
/// before that one is a program of its own: the shell's copy would take TERM for itself.)
fn a_root_with_the_number_of_one_that_was_asked_is_asked() {
    let script = r#"setsid sleep 1000 & export FIRST=$!
        setsid sh -c 'trap "while [ -e /proc/$FIRST ]; do :; done
            echo \$((FIRST - 1)) > /proc/sys/kernel/ns_last_pid
            sleep 1000 & until read -r name < /proc/\$!/comm && [ \$name = sleep ]; do :; done
            echo \$FIRST \$!; exit" TERM
        while :; do sleep 0.01; done' &
        until grep -q '^SigCgt:.*[4567cdef]...$' /proc/$!/status; do :; done
        exit 5"#;
    for _ in 0..10 {
        let lines = lines_of(Init::pid1(&["-t", "1h"]).start(shell(script)), 5);
        let (first, second) = lines[0].split_once(' ').unwrap();
        assert_eq!(first, second);
    }
}
