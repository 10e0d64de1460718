//! A container engine's seccomp filter refuses system calls that it does not know, each with
//! an errno of its choice. Each call that sexton makes is refused here: either nothing is
//! lost by that, or one line says what is.

use std::fs;

use nix::errno::Errno;

use crate::support::*;

crate::tests![
    new each_call_that_is_refused_costs_what_is_logged,
    new a_failed_execution_is_reported_without_shared_memory,
    new pause_does_not_start_where_nothing_could_end_it,
    new remaining_processes_are_asked_once_where_none_can_be_noted,
    with("strace") no_call_is_missing_in_the_list,
];

/// What it costs that a call is refused. In a line, `{}` stands for the reason.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Costs {
    /// Nothing that concerns the others here; this is logged at `-v`.
    Line(&'static str),
    /// As PID 1 nothing. Elsewhere `-A` reaches the process group alone.
    Descendants(&'static str),
    /// As PID 1 no signal is forwarded. Elsewhere there is another way.
    ForwardingOfPid1(&'static str),
    /// No signal is forwarded.
    Forwarding(&'static str),
    /// As PID 1 nothing. Elsewhere orphans are not adopted, so that nothing finds them.
    Orphans(&'static str),
    /// The command.
    All(&'static str),
}

use Costs::*;

const NOTHING: Costs = Line("");

const GROUP_ONLY: &str = "cannot find descendants: {}: forwarding SIGTERM to the process group only";

macro_rules! calls {
    ($($(#[$attribute:meta])? $number:ident $costs:expr,)*) => {
        &[$($(#[$attribute])? (stringify!($number), libc::$number, $costs)),*]
    };
}

/// Each system call that the supervising sexton makes.
const CALLS: &[(&str, i64, Costs)] = calls![
    SYS_chdir Line("chdir: {}"),
    SYS_close NOTHING,
    SYS_close_range NOTHING,
    SYS_fcntl NOTHING,
    SYS_fstat NOTHING,
    SYS_fstatfs NOTHING,
    SYS_getdents64 Descendants(GROUP_ONLY),
    SYS_getpgid NOTHING,
    SYS_getpid All("getpid: {}"),
    SYS_getppid NOTHING,
    SYS_getsid NOTHING,
    SYS_ioctl NOTHING,
    SYS_kill ForwardingOfPid1("forwarding SIGTERM: {}"),
    SYS_lseek NOTHING,
    SYS_mmap Descendants(GROUP_ONLY),
    SYS_munmap NOTHING,
    SYS_newfstatat NOTHING,
    SYS_openat Descendants(GROUP_ONLY),
    SYS_pidfd_open NOTHING,
    SYS_pidfd_send_signal NOTHING,
    #[cfg(target_arch = "x86_64")]
    SYS_poll NOTHING,
    SYS_ppoll NOTHING,
    SYS_prctl Orphans("PR_SET_CHILD_SUBREAPER: {}"),
    SYS_prlimit64 NOTHING,
    SYS_ptrace NOTHING,
    SYS_pwritev2 NOTHING,
    SYS_read Descendants(GROUP_ONLY),
    SYS_rt_sigaction NOTHING,
    SYS_rt_sigprocmask
        Forwarding("rt_sigprocmask: {}: signals will not be forwarded, and time limits do not apply"),
    SYS_rt_sigtimedwait
        Forwarding("rt_sigtimedwait: {}: signals will not be forwarded, and time limits do not apply"),
    SYS_setpgid Line("setpgid: {}"),
    SYS_setsid NOTHING,
    SYS_wait4 All("wait4: {}"),
    SYS_waitid NOTHING,
    SYS_write NOTHING,
];

/// By any of these a C library forks.
const FORKS: &[i64] = &[
    libc::SYS_clone,
    libc::SYS_clone3,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

const ERRNOS: [Errno; 3] = [Errno::ENOSYS, Errno::EPERM, Errno::EINVAL];

/// Calls that a C library may make in place of another one.
const SAME: &[(&str, i64, i64)] = &[
    #[cfg(target_arch = "x86_64")]
    ("open", libc::SYS_open, libc::SYS_openat),
    #[cfg(target_arch = "x86_64")]
    ("stat", libc::SYS_stat, libc::SYS_newfstatat),
    #[cfg(target_arch = "x86_64")]
    ("lstat", libc::SYS_lstat, libc::SYS_newfstatat),
];

fn refusing(init: Init, call: i64, errno: Errno) -> Init {
    let others = SAME.iter().filter(|(_, _, same)| *same == call).map(|(_, other, _)| *other);
    others
        .chain([call])
        .fold(init, |init, call| init.given(Condition::CallFails { call, errno: errno as i32 }))
}

/// An error in the words of `strerror(3)`.
fn reason(errno: Errno) -> String {
    let words = std::io::Error::from(errno).to_string();
    words.split(" (os error").next().unwrap().to_owned()
}

fn each_call_that_is_refused_costs_what_is_logged() {
    for (name, call, costs) in CALLS {
        for errno in ERRNOS {
            for is_pid1 in [true, false] {
                // A look at all processes of a busy machine would use the descriptors up.
                if *call == libc::SYS_close && !is_pid1 {
                    continue;
                }
                let _context = Context(format!("{name} fails with {errno:?}, as PID 1: {is_pid1}"));
                check(*call, errno, *costs, is_pid1);
            }
        }
    }
    for errno in ERRNOS {
        let init = FORKS.iter().fold(Init::pid1(&[]), |init, call| refusing(init, *call, errno));
        let output = init.run(play(Role::Bare));
        let line = format!("sexton: fork: {}\n", reason(errno));
        assert_eq!((output.status.code(), stderr_text(&output)), (Some(125), line.as_str()));
        let output = refusing(Init::pid1(&["-p", "TERM"]), libc::SYS_prctl, errno).run(play(Role::Bare));
        let line = format!("sexton: PR_SET_PDEATHSIG: {}\n", reason(errno));
        assert_eq!((output.status.code(), stderr_text(&output)), (Some(125), line.as_str()));
    }
}

/// Printed if a test fails within it.
struct Context(String);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("where {}", self.0);
        }
    }
}

fn check(call: i64, errno: Errno, costs: Costs, is_pid1: bool) {
    let directory = tempfile::tempdir().unwrap();
    let message = directory.path().join("message");
    let termination_log = format!("-T={}", message.display());
    let mut options = vec!["-vAw", "-k", "1h", &termination_log];
    // It cannot go without the call that -p asks for.
    if call != libc::SYS_prctl {
        options.extend(["-p", "USR2"]);
    }
    let init = if is_pid1 { Init::pid1(&options) } else { Init::plain(&options) };
    let init = refusing(init, call, errno);

    if let All(line) = costs {
        let output = init.run(play(Role::Bare));
        let line = format!("sexton: {}\n", line.replace("{}", &reason(errno)));
        assert_eq!((output.status.code(), stderr_text(&output)), (Some(125), line.as_str()));
        return;
    }

    let mut running = init.start(play(Role::Bare));
    let ready = running.stdout.line();
    let escaped: i32 = ready.strip_prefix("ready ").expect("a PID").parse().unwrap();
    let mut lines = Vec::new();
    // The other orphan is reaped, in any case.
    wait_until("the orphan is reaped", || running.children_in('Z') == 0);
    if is_pid1 || !matches!(costs, Orphans(_)) {
        while !lines.iter().any(|line: &String| is_of_orphan(line)) {
            lines.push(running.stderr.line());
        }
        let reaped = lines.iter().find(|line| is_of_orphan(line)).unwrap();
        assert!(reaped.contains(": exited with 3"), "{reaped}");
    }

    let (expected, is_forwarded, reaches_all) = match costs {
        Line(line) => (line, true, true),
        Descendants(line) if !is_pid1 => (line, true, false),
        Orphans(line) if !is_pid1 => (line, true, false),
        ForwardingOfPid1(line) if is_pid1 => (line, false, true),
        Forwarding(line) => (line, false, false),
        _ => ("", true, true),
    };
    if is_forwarded {
        running.signal(SIGTERM);
        let status = running.status();
        let mut logged = || String::from_utf8_lossy(&running.stderr.rest()).into_owned();
        assert_eq!(status.code(), Some(143), "{:?} {}", lines, logged());
    } else {
        // Where nothing could be blocked, it would do to sexton what it does by default.
        if !matches!(costs, Forwarding(_)) {
            running.signal(SIGTERM);
            lines.push(running.stderr.line());
        }
        running.end();
    }
    if !is_pid1 && !reaches_all {
        if is_forwarded {
            assert!(!is_gone(escaped), "more was reached than it says");
        }
        let _ = kill(escaped, SIGKILL);
    }
    if !is_pid1 {
        wait_until("the one in another session has got it", || is_gone(escaped));
    }
    let rest = String::from_utf8(running.stderr.rest()).unwrap();
    lines.extend(rest.lines().map(str::to_owned));
    let is_about_message = |line: &str| line.contains("/message: ");
    let is_written = fs::read(&message).is_ok_and(|message| !message.is_empty());
    assert!(!is_written || !lines.iter().any(|line| is_about_message(line)));
    lines.retain(|line| !is_about_message(line));
    lines.retain(|line| {
        !is_of_orphan(line) && !line.contains("sexton: phase: ") && !line.contains(" was killed by SIG")
    });
    let lines: Vec<String> = lines.iter().map(|line| in_glibcs_words(line)).collect();
    let expected = |errno| -> Vec<String> {
        let expected = expected.replace("{}", &reason(errno));
        expected.lines().map(|line| format!("sexton: {line}")).collect()
    };
    // musl makes ENOMEM of mmap's EPERM.
    if call == libc::SYS_mmap && errno == Errno::EPERM && lines == expected(Errno::ENOMEM) {
        return;
    }
    assert_eq!(lines, expected(errno));
}

fn is_of_orphan(line: &str) -> bool {
    line.starts_with("sexton: reaped ")
}

fn is_gone(pid: i32) -> bool {
    process(pid).is_none_or(|process| process.state == 'Z')
}

/// The reason has no other way from the child to sexton than a line of the child's own.
fn a_failed_execution_is_reported_without_shared_memory() {
    for errno in ERRNOS {
        let init = refusing(Init::pid1(&[]), libc::SYS_mmap, errno);
        let output = init.run(words(&["/nonexistent"]));
        let line = "sexton: /nonexistent: No such file or directory\n";
        assert_eq!((output.status.code(), stderr_text(&output)), (Some(127), line));
    }
}

fn pause_does_not_start_where_nothing_could_end_it() {
    for (name, call) in
        [("rt_sigprocmask", libc::SYS_rt_sigprocmask), ("rt_sigtimedwait", libc::SYS_rt_sigtimedwait)]
    {
        for errno in ERRNOS {
            let output = refusing(Init::pid1(&["-P"]), call, errno).run(words(&[]));
            let line = format!("sexton: {name}: {}\n", reason(errno));
            assert_eq!((output.status.code(), stderr_text(&output)), (Some(125), line.as_str()));
        }
    }
}

/// A list of those that were asked needs memory.
fn remaining_processes_are_asked_once_where_none_can_be_noted() {
    let straggler =
        Role::LeaveBehind { straggler: vec![Straggler::Session], code: 5, work: 50 * MILLISECOND };
    for errno in ERRNOS {
        let init = refusing(Init::pid1(&["-t", "1h"]), libc::SYS_getdents64, errno);
        let output = init.run(play(straggler.clone()));
        assert_eq!(output.status.code(), Some(5));
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed.matches("straggler SIGTERM").count(), 1, "{printed}");
        assert!(printed.ends_with("last line\n"), "{printed}");
    }
}

/// What the C library calls at a program's start and end, and what executes one.
const NOT_SEXTONS: &[&str] = &[
    "arch_prctl",
    "brk",
    "clone",
    "execve",
    "exit_group",
    "fork",
    "getrandom",
    "mprotect",
    "readlink",
    "readlinkat",
    "rseq",
    "set_robust_list",
    "set_tid_address",
];

fn no_call_is_missing_in_the_list() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let message = format!("-T={}", file("message"));
    let all =
        ["-A", "-t100ms", "-k1h", "-d10ms", "-wR", "-pTERM", "-s", "-m", "-vvv", "-rHUP:QUIT", &message];
    let busy = "(sleep 0.01 &); (trap '' TERM; setsid sleep 1 &)
        trap '' USR1; kill -USR1 $PPID; sleep 0.1; exit 3";
    for (number, (options, command)) in [
        (&["-vvv"][..], shell(busy)),
        (&all, shell(busy)),
        (&["-c", "-wR"], shell(busy)),
        (&["-a", "-k100ms"], shell("trap '' TERM; kill -TERM $PPID; sleep 1000")),
        (&["-T", "-v"], words(&["/nonexistent"])),
        (&["-m"], shell("kill -TERM $$")),
        (&[], shell("(sleep 0.1; kill -CONT $$) & kill -STOP $$")),
    ]
    .into_iter()
    .enumerate()
    {
        for namespace in [&[][..], &["unshare", "-pf", "--mount-proc"]] {
            let trace = format!("{number}-{}", namespace.len());
            let mut traced = words(&["strace", "-qq", "-ff", "-o", &file(&trace)]);
            traced.extend(words(namespace));
            traced.push(sexton().into());
            traced.extend(words(options));
            traced.extend(command.iter().cloned());
            Init::pid1(&[]).code(traced);
        }
    }
    let mut traces = 0;
    for entry in fs::read_dir(directory.path()).unwrap() {
        let trace = String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap()).into_owned();
        let execution = format!("execve(\"{}\"", sexton().display());
        let Some(start) = trace.lines().position(|line| line.starts_with(&execution)) else { continue };
        traces += 1;
        for line in trace.lines().skip(start) {
            let Some((name, _)) = line.split_once('(') else { continue };
            let is_call =
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            let is_listed = CALLS.iter().any(|(number, _, _)| number.strip_prefix("SYS_") == Some(name))
                || SAME.iter().any(|(same, _, _)| *same == name);
            assert!(!is_call || is_listed || NOT_SEXTONS.contains(&name), "{line}");
        }
    }
    assert_eq!(traces, 14);
}
