//! What any init could do, asked by means that favour none: rows of COMPARISON.md, which
//! other inits are put under as well. Nothing here may depend on an option or a message of
//! sexton's, nor on how an init waits.

use std::fs;
use std::io::pipe;

use crate::common::process::field;
use crate::peer::Peer;
use crate::support::*;

crate::tests![
    new standard_signals_reach_the_command,
    new fault_signals_that_a_process_sent_reach_the_command,
    new real_time_signals_reach_the_command,
    new tstp_from_a_process_reaches_the_command,
    new ttin_and_ttou_from_a_process_reach_the_command,
    new a_signal_during_the_start_reaches_the_command,
    new a_signal_before_the_start_reaches_the_command,
    as_root a_refused_forward_does_not_end_the_init,
    new the_command_inherits_the_mask,
    new the_command_inherits_ignored_signals,
    new the_init_ends_with_sigchld_ignored,
    new the_init_ends_with_sigchld_blocked,
    new orphans_are_reaped_with_sigchld_blocked,
    new a_child_from_before_is_reaped_when_it_ends,
    new a_zombie_from_before_is_reaped,
    new the_init_starts_without_standard_descriptors,
    new listen_pid_names_the_command,
    new inherited_descriptors_are_closed,
    new the_working_directory_is_left,
    as_root a_refused_fork_is_125,
    new signals_are_rewritten_and_dropped_by_number,
    new remaining_processes_of_the_group_get_term,
    new each_reaped_orphan_is_logged_with_its_pid,
    new each_reaped_orphan_is_logged_with_its_name,
];

/// Each is followed by a different one: were it to arrive twice, or another with it, the
/// wrong line would be next.
fn each_arrives_once(signals: impl IntoIterator<Item = Signal>) {
    let mut running = ready(Init::pid1(&[]).start(play(Role::Receive)));
    for signal in signals {
        running.signal(signal);
        running.prints(signal);
    }
    running.signal(SIGUSR1);
    running.prints(SIGUSR1);
}

/// Those that the kernel sends a process for what that has done.
const FAULTS: [Signal; 7] = [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS];

fn standard_signals_reach_the_command() {
    let others = [SIGKILL, SIGSTOP, SIGCHLD, SIGTSTP, SIGTTIN, SIGTTOU];
    let standard = Signal::all().filter(|signal| *signal <= SIGSYS);
    each_arrives_once(standard.filter(|signal| !FAULTS.contains(signal) && !others.contains(signal)));
}

fn fault_signals_that_a_process_sent_reach_the_command() {
    each_arrives_once(FAULTS);
}

fn real_time_signals_reach_the_command() {
    each_arrives_once(Signal::all().filter(|signal| *signal >= SIGRTMIN));
}

fn tstp_from_a_process_reaches_the_command() {
    each_arrives_once([SIGTSTP]);
}

fn ttin_and_ttou_from_a_process_reach_the_command() {
    each_arrives_once([SIGTTIN, SIGTTOU]);
}

/// TERM is blocked, so that the kernel keeps it whenever it comes. The command has got it if
/// it dies of it, or, where it inherits the mask, if it is pending there.
fn a_signal_during_the_start_reaches_the_command() {
    for round in 0..300_u32 {
        let init = Init::pid1(&[]).given(Condition::Blocked(SIGTERM));
        let mut running = init.start(words(&["sleep", "1000"]));
        for _ in 0..(round % 30) * 100 {
            std::hint::spin_loop();
        }
        running.signal(SIGTERM);
        reaches_the_command(&mut running);
    }
}

fn a_signal_before_the_start_reaches_the_command() {
    let init = Init::pid1(&[]).given(Condition::Blocked(SIGTERM)).given(Condition::Pending(SIGTERM));
    reaches_the_command(&mut init.start(words(&["sleep", "1000"])));
}

fn reaches_the_command(running: &mut Running) {
    wait_until("TERM reaches the command", || {
        running.has_ended() || {
            let children = running.children();
            children.first().is_some_and(|command| {
                u64::from_str_radix(&status_field(command.pid, "ShdPnd"), 16)
                    .is_ok_and(|pending| pending & 1 << (SIGTERM.number() - 1) != 0)
            })
        }
    });
    if running.has_ended() {
        assert_eq!(running.status().code(), Some(128 + SIGTERM.number()));
    }
}

/// The command becomes another user, which an unprivileged init may not signal; only when it
/// gets a signal, as catatonit checks with kill(2) that it has started.
fn a_refused_forward_does_not_end_the_init() {
    let mut command = shell(r#"trap 'exec "$@"' USR1; echo up; while :; do sleep 0.01; done"#);
    command.push("sh".into());
    command.extend(play(Role::BecomeOtherUser));
    let mut running = Init::pid1(&[]).given(Condition::WithoutCapKill).start(command);
    running.prints("up");
    running.signal(SIGUSR1);
    let mut running = ready(running);
    running.signal(SIGUSR1);
    wait_until("the init has taken it", || {
        running.has_ended() || running.status_field("ShdPnd") == "0000000000000000"
    });
    wait_until("the init sleeps again", || running.has_ended() || is_in_state(running.pid, 'S'));
    assert!(!running.has_ended());
    kill(running.children()[0].pid, SIGUSR2).unwrap();
    running.prints(SIGUSR2);
}

/// A field of the command's `/proc/PID/status`, with an init and without; `cat` alone: a
/// shell would install handlers of its own.
fn is_inherited(name: &str, condition: impl Fn(Signal) -> Condition, signals: &[Signal]) {
    for signal in signals {
        let state = |init: Init| {
            let output = init.given(condition(*signal)).run(words(&["cat", "/proc/self/status"]));
            assert_eq!(output.status.code(), Some(0), "{signal} {}", stderr_text(&output));
            field(&String::from_utf8(output.stdout).unwrap(), name)
        };
        assert_eq!(state(Init::pid1(&[])), state(Init::pid1(&[]).without_init()), "{signal}");
    }
}

fn the_command_inherits_the_mask() {
    is_inherited("SigBlk", Condition::Blocked, &[SIGHUP, SIGTERM, SIGUSR1, SIGTSTP, SIGRTMIN, SIGRTMAX]);
}

fn the_command_inherits_ignored_signals() {
    is_inherited("SigIgn", Condition::Ignored, &[SIGHUP, SIGINT, SIGTSTP, SIGTTIN, SIGTTOU, SIGRTMIN]);
}

fn the_init_ends_with_sigchld_ignored() {
    assert_eq!(Init::pid1(&[]).given(Condition::Ignored(SIGCHLD)).code(shell("exit 42")), 42);
}

fn the_init_ends_with_sigchld_blocked() {
    assert_eq!(Init::pid1(&[]).given(Condition::Blocked(SIGCHLD)).code(shell("exit 42")), 42);
}

fn orphans_are_reaped_with_sigchld_blocked() {
    let (stdin, _input) = pipe().unwrap();
    let init = Init::pid1(&[]).given(Condition::Blocked(SIGCHLD)).stdin(stdin);
    let running = leave_orphans(init, 20);
    wait_until("all are reaped", || running.children().len() == 1);
}

/// The init is executed by a process that has two children: one is a zombie already, one is
/// stopped.
fn with_children_from_before() -> Running {
    let mut command = play_with(Role::Adopt { silent: false }, [sexton()]);
    command.extend(crate::peer::arguments(&[], &[]));
    command.extend(play(Role::Receive));
    ready(Init::pid1(&[]).without_init().start(command))
}

fn a_child_from_before_is_reaped_when_it_ends() {
    let running = with_children_from_before();
    let stopped = running.children().into_iter().find(|process| process.state == 'T');
    let stopped = stopped.expect("the stopped child").pid;
    kill(stopped, SIGKILL).unwrap();
    wait_until("it is reaped", || process(stopped).is_none());
}

fn a_zombie_from_before_is_reaped() {
    let running = with_children_from_before();
    wait_until("the zombie is reaped", || running.children_in('Z') == 0);
}

fn the_init_starts_without_standard_descriptors() {
    let init = (0..3).fold(Init::pid1(&[]), |init, descriptor| init.given(Condition::Closed(descriptor)));
    assert_eq!(init.code(shell("exit 5")), 5);
}

/// As `systemd-socket-activate` hands it over, to the process that it executes.
fn listen_pid_names_the_command() {
    let init = Init::pid1(&[]).given(Condition::Open(3)).env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    assert_eq!(init.code(shell("test $LISTEN_PID = $$ && test -e /proc/self/fd/3")), 0);
}

/// Those of its own, a signalfd say, do no harm.
fn inherited_descriptors_are_closed() {
    let init = Init::pid1(&[]).given(Condition::Open(7)).given(Condition::Open(50));
    let running = ready(init.start(play(Role::Receive)));
    wait_until("they are closed", || {
        [7, 50].iter().all(|number| {
            let target = fs::read_link(format!("/proc/{}/fd/{number}", running.pid));
            !target.is_ok_and(|target| target.as_os_str() == "/dev/null")
        })
    });
}

fn the_working_directory_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let init = Init::pid1(&[]).given(Condition::WorkingDirectory(path.display().to_string()));
    let running = ready(init.start(play(Role::Receive)));
    wait_until("it is left", || fs::read_link(format!("/proc/{}/cwd", running.pid)).unwrap() != path);
}

/// 125 is what env(1), nice(1) and engines exit with if they fail themselves.
fn a_refused_fork_is_125() {
    // A user of its own: the limit counts all of a user's processes.
    let user = Condition::User(2_000_000_000 + std::process::id());
    let output = Init::pid1(&[]).given(Condition::ProcessLimit(1)).given(user).run(words(&["true"]));
    assert_eq!(output.status.code(), Some(125));
    assert!(!output.stderr.is_empty());
}

/// In dumb-init's language, which was there first.
fn signals_are_rewritten_and_dropped_by_number() {
    let options = ["-r", "15:3", "-r", "1:0"];
    let mut running = ready(Init::pid1(&options).start(play(Role::Receive)));
    for (sent, received) in [(SIGTERM, Some(SIGQUIT)), (SIGHUP, None), (SIGUSR1, Some(SIGUSR1))] {
        running.signal(sent);
        if let Some(received) = received {
            running.prints(received);
        }
    }
}

/// Under the name of dumb-init, which does so. A WINCH after the init's end shows whether TERM
/// was there before: shells run traps in the order of the signals' numbers.
fn remaining_processes_of_the_group_get_term() {
    let script = "(trap 'echo notified; exit' TERM; trap 'echo left alone; exit' WINCH
        echo ready; while :; do sleep 0.01; done) & read x";
    let (stdin, input) = pipe().unwrap();
    let mut running = ready(Init::plain(&[]).called("dumb-init").stdin(stdin).start(shell(script)));
    let child = children_of(running.children()[0].pid)[0].pid;
    drop(input);
    running.status();
    let _ = kill(child, SIGWINCH);
    running.prints("notified");
}

/// A line of standard error about an orphan of this name, of which it gets the PID.
fn a_line_about_an_orphan(is_it: impl Fn(&str, &str) -> bool) {
    let option = match Peer::under_test() {
        Some(peer) => peer.logs_orphans().expect("an option for it"),
        None => "-w",
    };
    let directory = tempfile::tempdir().unwrap();
    let orphan = directory.path().join("orphan");
    fs::write(&orphan, "#!/bin/sh\necho $$\n").unwrap();
    fs::set_permissions(&orphan, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (stdin, _input) = pipe().unwrap();
    let script = format!("({} &); read x", orphan.display());
    let mut running = Init::pid1(&[option]).stdin(stdin).start(shell(&script));
    let pid = running.stdout.line();
    while !is_it(&running.stderr.line(), &pid) {}
}

fn each_reaped_orphan_is_logged_with_its_pid() {
    a_line_about_an_orphan(|line, pid| line.split(|c: char| !c.is_ascii_digit()).any(|word| word == pid));
}

fn each_reaped_orphan_is_logged_with_its_name() {
    a_line_about_an_orphan(|line, _| line.contains("orphan"));
}
