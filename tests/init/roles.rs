//! What this binary does when it is started with `--play ROLE`: it launches sexton
//! under given conditions, and it plays the commands that sexton runs.

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitCode;
use std::ptr;

/// Plays a role.
pub(crate) fn play(role: &str, arguments: &[OsString]) -> ExitCode {
    let text = |index: usize| arguments[index].to_str().expect("text");
    let number = |index: usize| text(index).parse().expect("a number");
    match role {
        "launch" => launch(arguments),
        "die" => die(number(0)),
        "receive" => receive(),
        "count" => count(number(0)),
        "words" => show_words(arguments),
        "orphans" => orphans(number(0)),
        "escape" => escape(text(0)),
        "adopt" => adopt(arguments),
        "leave" => leave(),
        "standing" => standing(),
        "other-user" => other_user(),
        "storm" => storm(number(0)),
        "leave-behind" => leave_behind(text(0), number(1), number(2)),
        "family" => family(),
        "hop" => hop(),
        "with-zombies" => with_zombies(text(0), number(1), &arguments[2..]),
        "burn" => burn(number(0), number(1)),
        "outside" => outside(number(0)),
        other => panic!("no role {other:?}"),
    }
}

fn check(result: impl Into<i64>) -> i64 {
    let result = result.into();
    assert!(result >= 0, "{}", io::Error::last_os_error());
    result
}

/// `launch REPORT CONDITION... -- PROGRAM ARG...`: reports the PID that the program
/// gets, then executes it, or with `namespace` waits for it and ends as it did.
///
/// Unsafe calls here are plain system calls of a process with one thread; their
/// pointers are to locals that live through the call.
fn launch(arguments: &[OsString]) -> ExitCode {
    let separator = arguments.iter().position(|word| word == "--").expect("--");
    let conditions: Vec<&str> =
        arguments[1..separator].iter().map(|word| word.to_str().expect("text")).collect();
    let report: i32 = arguments[0].to_str().and_then(|word| word.parse().ok()).expect("a descriptor");
    let program = &arguments[separator + 1..];
    // SAFETY: see above; the report's descriptor was inherited for this.
    unsafe {
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL));
        // Whatever the tests themselves were started with, in the background say.
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        check(libc::fcntl(report, libc::F_SETFD, libc::FD_CLOEXEC));
        // Before anybody knows the PID, so that what they send is kept.
        for condition in conditions.iter().filter(|condition| condition.starts_with("block=")) {
            apply(condition);
        }
        let mut report = File::from_raw_fd(report);
        if !conditions.contains(&"namespace") {
            write!(report, "{}", std::process::id()).expect("report");
            execute(&conditions, program);
        }
        enter_namespace();
        let child = check(libc::fork()) as i32;
        if child == 0 {
            drop(report);
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL));
            let (proc, none) = (c"proc".as_ptr(), ptr::null());
            let private = libc::MS_REC | libc::MS_PRIVATE;
            check(libc::mount(none, c"/".as_ptr(), none, private, ptr::null()));
            if !conditions.contains(&"no-proc") {
                check(libc::mount(proc, c"/proc".as_ptr(), proc, 0, ptr::null()));
            } else {
                check(libc::mount(c"none".as_ptr(), c"/proc".as_ptr(), c"tmpfs".as_ptr(), 0, ptr::null()));
            }
            execute(&conditions, program);
        }
        write!(report, "{child}").expect("report");
        drop(report);
        for descriptor in 0..3 {
            libc::close(descriptor);
        }
        let mut status = 0;
        check(libc::waitpid(child, &raw mut status, 0));
        if libc::WIFSIGNALED(status) {
            libc::kill(libc::getpid(), libc::WTERMSIG(status));
        }
        libc::_exit(libc::WEXITSTATUS(status))
    }
}

/// Children will be in a new PID namespace; who is not root becomes it in a user
/// namespace first.
fn enter_namespace() {
    // SAFETY: plain system calls.
    unsafe {
        let (uid, gid) = (libc::getuid(), libc::getgid());
        let user = if uid == 0 { 0 } else { libc::CLONE_NEWUSER };
        check(libc::unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS | user));
        if user != 0 {
            fs::write("/proc/self/setgroups", "deny").expect("setgroups");
            fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("uid_map");
            fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("gid_map");
        }
    }
}

/// Brings the conditions about and executes the program.
fn execute(conditions: &[&str], program: &[OsString]) -> ! {
    let path = CString::new(program[0].as_bytes()).expect("no zero");
    let words: Vec<CString> =
        program.iter().map(|word| CString::new(word.as_bytes()).expect("no zero")).collect();
    let mut vector: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    vector.push(ptr::null());
    // SAFETY: plain system calls; the vector ends with a null pointer.
    unsafe {
        // Opened first: a user who is nobody may not search the way to it.
        let file = libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
        // The runtime ignores it; a container engine does not.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        for condition in conditions {
            apply(condition);
        }
        if file >= 0 {
            libc::syscall(
                libc::SYS_execveat,
                file,
                c"".as_ptr(),
                vector.as_ptr(),
                environ,
                libc::AT_EMPTY_PATH,
            );
        }
        libc::execvp(path.as_ptr(), vector.as_ptr());
        libc::_exit(99)
    }
}

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}

fn apply(condition: &str) {
    let (name, value) = condition.split_once('=').unwrap_or((condition, ""));
    let number = || value.parse::<i64>().expect("a number");
    // SAFETY: plain system calls; a kernel signal set is 64 bits.
    unsafe {
        match name {
            "namespace" | "no-proc" => {}
            "ignore" => assert_ne!(libc::signal(number() as i32, libc::SIG_IGN), libc::SIG_ERR),
            "block" => {
                let set: u64 = 1 << (number() - 1);
                let none = ptr::null_mut::<u64>();
                check(libc::syscall(
                    libc::SYS_rt_sigprocmask,
                    libc::SIG_BLOCK,
                    &raw const set,
                    none,
                    8_usize,
                ));
            }
            // Pending when sexton starts, provided that it is blocked.
            "raise" => drop(check(libc::kill(libc::getpid(), number() as i32))),
            "close" => drop(check(libc::close(number() as i32))),
            "open" => {
                let null = check(libc::open(c"/dev/null".as_ptr(), libc::O_RDWR)) as i32;
                check(libc::dup2(null, number() as i32));
            }
            "processes" => {
                let limit = libc::rlimit { rlim_cur: number() as u64, rlim_max: number() as u64 };
                check(libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit));
            }
            "user" => {
                let id = number() as u32;
                check(libc::setresgid(id, id, id));
                check(libc::setresuid(id, id, id));
            }
            // `terminal=PATH:012`: leads a session that it controls, and has it as these
            // descriptors. `other-terminal`: it does not control the session.
            "terminal" | "other-terminal" => {
                let (path, onto) = value.split_once(':').expect("PATH:DESCRIPTORS");
                let path = CString::new(path).expect("no zero");
                libc::setsid();
                let terminal = check(libc::open(path.as_ptr(), libc::O_RDWR | libc::O_NOCTTY)) as i32;
                if name == "terminal" {
                    check(libc::ioctl(terminal, libc::TIOCSCTTY, 0));
                }
                for descriptor in onto.bytes() {
                    check(libc::dup2(terminal, i32::from(descriptor - b'0')));
                }
                libc::close(terminal);
            }
            // As gVisor and lx zones do: these calls fail with this errno.
            "refuse" => refuse(number() as u32),
            // A file that can hold nothing more.
            "stderr-full" => {
                let full = check(libc::open(c"/dev/full".as_ptr(), libc::O_WRONLY)) as i32;
                check(libc::dup2(full, 2));
            }
            "subreaper" => drop(check(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1))),
            "without-cap-kill" => {
                const CAP_KILL: i32 = 5;
                check(libc::prctl(libc::PR_CAPBSET_DROP, CAP_KILL));
            }
            "cwd" => std::env::set_current_dir(value).expect("cwd"),
            other => panic!("no condition {other:?}"),
        }
    }
}

/// `die SIGNAL`: dies of it, by its default action.
fn die(signal: i32) -> ExitCode {
    // SAFETY: plain system calls. C libraries refuse 32 and 33, which no test uses.
    unsafe {
        let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
        libc::signal(signal, libc::SIG_DFL);
        libc::kill(libc::getpid(), signal);
    }
    ExitCode::FAILURE
}

/// Blocks all signals by a raw call: the C library would leave out 32 and 33.
fn block_all() {
    let all = !0_u64;
    // SAFETY: a kernel signal set is 64 bits.
    unsafe {
        let none = ptr::null_mut::<u64>();
        check(libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, none, 8_usize));
    }
}

/// Takes one signal.
fn take() -> i64 {
    let all = !0_u64;
    loop {
        // SAFETY: a kernel signal set is 64 bits; neither siginfo nor timeout is given.
        let taken = unsafe {
            libc::syscall(
                libc::SYS_rt_sigtimedwait,
                &raw const all,
                ptr::null_mut::<libc::siginfo_t>(),
                ptr::null::<libc::timespec>(),
                8_usize,
            )
        };
        // It was stopped and continued.
        if taken < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
            continue;
        }
        return check(taken);
    }
}

fn say(line: impl std::fmt::Display) {
    let mut out = io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("stdout");
}

/// `receive`: says `ready PID`, then the number of each signal that arrives.
fn receive() -> ExitCode {
    block_all();
    say(format_args!("ready {}", std::process::id()));
    loop {
        say(take());
    }
}

/// `count SIGNAL`: says `ready`, and how often SIGNAL has arrived when RTMAX does.
fn count(signal: i32) -> ExitCode {
    block_all();
    say("ready");
    say(arrivals(signal.into()));
    ExitCode::SUCCESS
}

/// The arrivals of a signal until RTMAX's, the last that the kernel hands out.
fn arrivals(signal: i64) -> u32 {
    let mut seen = 0;
    loop {
        match take() {
            64 => return seen,
            taken if taken == signal => seen += 1,
            _ => {}
        }
    }
}

/// `words ...`: writes the arguments, then the environment, byte for byte.
fn show_words(arguments: &[OsString]) -> ExitCode {
    let mut out = Vec::new();
    for word in arguments {
        out.extend_from_slice(word.as_bytes());
        out.push(0);
    }
    out.push(b'\n');
    for (name, value) in std::env::vars_os() {
        out.extend(name.into_vec());
        out.push(b'=');
        out.extend(value.into_vec());
        out.push(0);
    }
    io::stdout().write_all(&out).expect("stdout");
    ExitCode::SUCCESS
}

/// `orphans N`: leaves N orphans behind that end at once, says `left`, and waits for
/// the end of its standard input.
fn orphans(count: i32) -> ExitCode {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    for _ in 0..count {
        // SAFETY: one thread; parents and children only fork and end.
        unsafe {
            let child = check(libc::fork());
            if child == 0 {
                check(libc::fork());
                libc::_exit(0);
            }
            check(libc::waitpid(child as i32, ptr::null_mut(), 0));
        }
    }
    say("left");
    wait_for_end_of_input()
}

fn wait_for_end_of_input() -> ExitCode {
    let _ = io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}

/// `escape HOW`: a child leaves (`session`, `group`), and both receive: the child's
/// lines begin with `child`.
fn escape(how: &str) -> ExitCode {
    block_all();
    // SAFETY: one thread.
    unsafe {
        let child = check(libc::fork());
        if child == 0 {
            match how {
                "session" => check(libc::setsid()),
                _ => check(libc::setpgid(0, 0)),
            };
            // Its own parent gone, it is reached only by who knows descendants.
            if check(libc::fork()) > 0 {
                libc::_exit(0);
            }
            say("child ready");
            loop {
                say(format_args!("child {}", take()));
            }
        }
        check(libc::waitpid(child as i32, ptr::null_mut(), 0));
    }
    say("ready");
    loop {
        match take() {
            17 => {}
            signal => say(signal),
        }
    }
}

/// Makes setpgid, setsid and ioctl fail from now on, over exec as well.
fn refuse(errno: u32) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let equal =
        |number: libc::c_long, jump| libc::sock_filter { code: EQUAL, jt: jump, jf: 0, k: number as u32 };
    let plain = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let mut filter = [
        // The number of the call is the first word of `seccomp_data`.
        plain(LOAD, 0),
        equal(libc::SYS_setpgid, 3),
        equal(libc::SYS_setsid, 2),
        equal(libc::SYS_ioctl, 1),
        plain(RETURN, libc::SECCOMP_RET_ALLOW),
        plain(RETURN, libc::SECCOMP_RET_ERRNO | errno),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter live through the call, which copies them.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        check(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program));
    }
}

/// `standing`: says what it leads, `session` or `group` or `nothing`, and whether it
/// has a controlling terminal, and that terminal's foreground.
fn standing() -> ExitCode {
    // SAFETY: plain system calls.
    unsafe {
        let pid = libc::getpid();
        let leads = match (libc::getsid(0) == pid, libc::getpgrp() == pid) {
            (true, _) => "session",
            (false, true) => "group",
            (false, false) => "nothing",
        };
        let terminal = libc::open(c"/dev/tty".as_ptr(), libc::O_RDWR);
        let has = match (terminal >= 0, libc::tcgetpgrp(terminal) == libc::getpgrp()) {
            (false, _) => "no terminal",
            (true, true) => "foreground",
            (true, false) => "background",
        };
        say(format_args!("{leads}, {has}"));
    }
    ExitCode::SUCCESS
}

/// `leave`: moves into sexton's process group, then receives.
fn leave() -> ExitCode {
    // SAFETY: plain system calls.
    unsafe {
        check(libc::setpgid(0, libc::getpgid(libc::getppid())));
    }
    receive()
}

/// `other-user`: becomes one, then receives.
fn other_user() -> ExitCode {
    // SAFETY: plain system calls.
    unsafe {
        check(libc::setresgid(12345, 12345, 12345));
        check(libc::setresuid(12345, 12345, 12345));
    }
    receive()
}

/// `adopt PROGRAM...`: makes children of each kind, then executes PROGRAM, whose
/// children they become.
fn adopt(program: &[OsString]) -> ExitCode {
    // SAFETY: one thread; the children only end, or wait to be killed.
    unsafe {
        // One that is a zombie already, its SIGCHLD taken.
        let zombie = check(libc::fork());
        if zombie == 0 {
            libc::_exit(3);
        }
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        check(libc::waitid(libc::P_PID, zombie as u32, &raw mut info, libc::WEXITED | libc::WNOWAIT));
        // One that is stopped, and stays so until somebody kills it.
        let stopped = check(libc::fork());
        if stopped == 0 {
            libc::raise(libc::SIGSTOP);
            libc::_exit(4);
        }
        check(libc::waitid(libc::P_PID, stopped as u32, &raw mut info, libc::WSTOPPED));
        // One that sends no SIGCHLD, so that only __WALL finds it.
        if check(libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0)) == 0 {
            libc::_exit(5);
        }
    }
    execute(&[], program)
}

/// `storm N`: makes N orphans that wait for the end of a pipe, says `ready`, and at
/// a byte on standard input lets them all die at the same instant. Then says how
/// often signal 40 has arrived when RTMAX does.
fn storm(count: i32) -> ExitCode {
    block_all();
    let (reader, writer) = io::pipe().expect("pipe");
    for _ in 0..count {
        // SAFETY: one thread.
        unsafe {
            let child = check(libc::fork());
            if child == 0 {
                if check(libc::fork()) == 0 {
                    libc::close(writer.as_raw_fd());
                    let mut byte = 0_u8;
                    libc::read(reader.as_raw_fd(), (&raw mut byte).cast(), 1);
                }
                libc::_exit(0);
            }
            check(libc::waitpid(child as i32, ptr::null_mut(), 0));
        }
    }
    say("ready");
    let mut line = [0];
    io::stdin().read_exact(&mut line).expect("the word to go");
    drop(writer);
    say(arrivals(40));
    wait_for_end_of_input()
}

/// `leave-behind HOW CODE TIME`: leaves a straggler behind that receives, its lines
/// beginning with `straggler`, and exits with CODE as soon as that one is ready. At
/// TERM or QUIT the straggler works for TIME more, in milliseconds, says `last line`,
/// and ends. HOW is one or several of
///
/// - `session`, `group`: it leaves for one of its own;
/// - `stopped`: it stops itself when it is ready;
/// - `fork`: at TERM it forks and ends, and the child, which has not got it, goes on;
/// - `deaf`: it does not end, nor does a child that it has in another session.
fn leave_behind(how: &str, code: i32, time: i32) -> ExitCode {
    let is = |word: &str| how.split('-').any(|part| part == word);
    block_all();
    let (mut ready, writer) = io::pipe().expect("pipe");
    // SAFETY: one thread; plain system calls.
    unsafe {
        if check(libc::fork()) > 0 {
            drop(writer);
            let mut word = String::new();
            ready.read_to_string(&mut word).expect("the straggler's word");
            if is("stopped") {
                let mut info = std::mem::zeroed::<libc::siginfo_t>();
                check(libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WSTOPPED | libc::WNOWAIT));
            }
            libc::_exit(code);
        }
        drop(ready);
        if is("session") {
            check(libc::setsid());
        }
        if is("group") {
            check(libc::setpgid(0, 0));
        }
        if is("deaf") && check(libc::fork()) == 0 {
            check(libc::setsid());
        }
        drop(writer);
        if is("stopped") {
            check(libc::raise(libc::SIGSTOP));
        }
        let mut forks = i32::from(is("fork"));
        loop {
            let signal = take();
            say(format_args!("straggler {signal}"));
            if is("deaf") || ![3, 15].contains(&signal) {
                continue;
            }
            if forks > 0 {
                forks -= 1;
                // Of its own, so that it lives until it is told.
                if check(libc::fork()) == 0 {
                    continue;
                }
                libc::_exit(0);
            }
            libc::usleep(time as u32 * 1000);
            say("last line");
            libc::_exit(0);
        }
    }
}

/// `family`: a child of the same process group says its PID; both receive, the child
/// in silence.
fn family() -> ExitCode {
    block_all();
    // SAFETY: one thread; plain system calls.
    unsafe {
        let child = check(libc::fork());
        if child == 0 {
            loop {
                take();
            }
        }
        say(format_args!("child {child}"));
    }
    receive()
}

/// `hop`: exits with 5, and leaves processes behind that ignore all signals, fork and
/// end, as their children do in their turn, for ever.
fn hop() -> ExitCode {
    block_all();
    // SAFETY: one thread; plain system calls.
    unsafe {
        for _ in 0..3 {
            if check(libc::fork()) == 0 {
                check(libc::setsid());
                break;
            }
        }
        if libc::getsid(0) != libc::getpid() {
            libc::_exit(5);
        }
        // Few, and not too fast: this is to escape, not to bring the machine down.
        loop {
            libc::usleep(300);
            if check(libc::fork()) > 0 {
                libc::_exit(0);
            }
        }
    }
}

/// A child that ends at once, and that nobody waits for; returns when it has.
///
/// Safety: one thread.
unsafe fn make_zombie(first: impl FnOnce()) -> i32 {
    // SAFETY: plain system calls.
    unsafe {
        let child = check(libc::fork()) as i32;
        if child == 0 {
            first();
            libc::_exit(0);
        }
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        check(libc::waitid(libc::P_PID, child as u32, &raw mut info, libc::WEXITED | libc::WNOWAIT));
        child
    }
}

/// `with-zombies HOW COUNT PROGRAM...`: makes COUNT zombies, runs PROGRAM, and exits as
/// that did. HOW is one of
///
/// - `own`: they are this process's;
/// - `stopped`: they are a child's that is stopped;
/// - `named`: this one's, with a name that is hard to read;
/// - `threads`: no zombies, but processes whose main thread has ended alone;
/// - `traced`: orphans, which this process traces;
/// - `slow`: this process reaps them, a moment later.
fn with_zombies(how: &str, count: i32, program: &[OsString]) -> ExitCode {
    let mut children = Vec::new();
    // SAFETY: one thread; plain system calls.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        if how == "stopped" {
            let holder = check(libc::fork()) as i32;
            if holder == 0 {
                for _ in 0..count {
                    make_zombie(|| ());
                }
                libc::raise(libc::SIGSTOP);
                libc::_exit(0);
            }
            let mut info = std::mem::zeroed::<libc::siginfo_t>();
            check(libc::waitid(libc::P_PID, holder as u32, &raw mut info, libc::WSTOPPED));
        } else {
            for _ in 0..count {
                match how {
                    "named" => drop(make_zombie(|| {
                        libc::prctl(libc::PR_SET_NAME, c"a) Z 1 (b\nc".as_ptr());
                    })),
                    "threads" => lose_main_thread(),
                    "traced" => trace_orphan(),
                    _ => children.push(make_zombie(|| ())),
                }
            }
        }
    }
    let mut program =
        std::process::Command::new(&program[0]).args(&program[1..]).spawn().expect("the program");
    if how == "slow" {
        std::thread::sleep(std::time::Duration::from_millis(30));
        for child in children {
            // SAFETY: a plain system call.
            check(unsafe { libc::waitpid(child, ptr::null_mut(), 0) });
        }
    }
    ExitCode::from(program.wait().expect("its end").code().expect("a code") as u8)
}

/// A child whose main thread ends while another one lives.
///
/// Safety: one thread.
unsafe fn lose_main_thread() {
    // SAFETY: plain system calls; the child has this thread alone, and may make more.
    unsafe {
        let child = check(libc::fork()) as i32;
        if child == 0 {
            std::thread::spawn(|| {
                loop {
                    libc::pause();
                }
            });
            libc::syscall(libc::SYS_exit, 0);
        }
        crate::support::wait_until("it has ended", || {
            crate::support::process(child).is_some_and(|process| process.state == 'Z')
        });
    }
}

/// An orphan that this process traces, and that ends.
///
/// Safety: one thread.
unsafe fn trace_orphan() {
    // SAFETY: plain system calls.
    unsafe {
        let (mut reader, mut writer) = io::pipe().expect("pipe");
        let (hold, release) = io::pipe().expect("pipe");
        let parent = check(libc::fork());
        if parent == 0 {
            let orphan = check(libc::fork());
            if orphan == 0 {
                drop(release);
                let mut byte = 0_u8;
                libc::read(hold.as_raw_fd(), (&raw mut byte).cast(), 1);
                libc::_exit(0);
            }
            let _ = writer.write_all(&(orphan as i32).to_ne_bytes());
            libc::_exit(0);
        }
        check(libc::waitpid(parent as i32, ptr::null_mut(), 0));
        let mut orphan = [0; 4];
        reader.read_exact(&mut orphan).expect("its PID");
        let orphan = i32::from_ne_bytes(orphan);
        check(libc::ptrace(libc::PTRACE_SEIZE, orphan, 0, 0));
        drop(release);
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        check(libc::waitid(libc::P_PID, orphan as u32, &raw mut info, libc::WEXITED | libc::WNOWAIT));
    }
}

/// `burn CPU MEMORY`: leaves an orphan that uses CPU milliseconds and touches MEMORY MiB.
fn burn(cpu: i32, memory: i32) -> ExitCode {
    // SAFETY: one thread; plain system calls.
    unsafe {
        if check(libc::fork()) == 0 {
            libc::prctl(libc::PR_SET_NAME, c"burner".as_ptr());
            let touched = vec![1_u8; memory as usize * 1024 * 1024];
            std::hint::black_box(&touched);
            let mut used = std::mem::zeroed::<libc::timespec>();
            while used.tv_sec * 1000 + used.tv_nsec / 1_000_000 < i64::from(cpu) {
                libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut used);
            }
            libc::raise(libc::SIGKILL);
        }
    }
    wait_for_end_of_input()
}

/// `outside PID`: a child in the PID namespace of that process, which ends and which is
/// not waited for until the end of the input. Says `ready`.
fn outside(pid: i32) -> ExitCode {
    let namespace = File::open(format!("/proc/{pid}/ns/pid")).expect("the namespace");
    // SAFETY: one thread; plain system calls.
    unsafe {
        check(libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWPID));
        make_zombie(|| ());
    }
    say("ready");
    wait_for_end_of_input()
}
