//! What several roles do. The calls that nix does not have, or not for all signals, are
//! here; the helper has one thread whenever it forks.

use std::ffi::{CString, OsStr, OsString};
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, execveat, execvp};

use crate::signal::Signal;

/// Prints a line.
pub(crate) fn print(line: impl Display) {
    let mut out = io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("standard output");
}

pub(crate) fn wait_for_end_of_input() -> ExitCode {
    let _ = io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}

/// Exits without what a program does at its end, which is the parent's in a child.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: has no memory effect.
    unsafe { libc::_exit(code) }
}

/// Forks; both go on. The PID of the child, or none in the child.
pub(crate) fn fork_both() -> Option<Pid> {
    // SAFETY: there is one thread, so the child may do all that its parent may.
    match unsafe { nix::unistd::fork() }.expect("fork") {
        ForkResult::Parent { child } => Some(child),
        ForkResult::Child => None,
    }
}

/// Forks; the child does `work` and exits with 0.
pub(crate) fn fork(work: impl FnOnce()) -> Pid {
    fork_both().unwrap_or_else(|| {
        work();
        exit(0)
    })
}

/// Forks twice: the grandchild, which does `work` and exits, is an orphan.
pub(crate) fn fork_orphan(work: impl FnOnce()) {
    let parent = fork(|| {
        fork(work);
    });
    waitpid(parent, None).expect("wait");
}

/// Forks a child that sends no SIGCHLD when it exits with this code.
pub(crate) fn fork_without_signal(code: i32) {
    // SAFETY: without a stack and flags, clone(2) is fork(2) without a signal; there is one
    // thread.
    let child = unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) };
    if Errno::result(child).expect("clone") == 0 {
        exit(code);
    }
}

/// Executes a program, with this process's environment.
pub(crate) fn execute(words: &[OsString]) -> ! {
    Program::find(words).execute()
}

/// A program that was looked up before the right to search the way to it was lost.
pub(crate) struct Program {
    words: Vec<CString>,
    file: Option<OwnedFd>,
}

impl Program {
    pub(crate) fn find(words: &[OsString]) -> Self {
        let words: Vec<CString> = words.iter().map(|word| text(word)).collect();
        // With a number that no condition asks for.
        let file = open(words[0].as_c_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .and_then(|file| fcntl(file, FcntlArg::F_DUPFD_CLOEXEC(200)))
            // SAFETY: it is new.
            .map(|number| unsafe { OwnedFd::from_raw_fd(number) });
        Self { words, file: file.ok() }
    }

    pub(crate) fn execute(self) -> ! {
        if let Some(file) = self.file {
            let environment: Vec<CString> = std::env::vars_os()
                .map(|(mut entry, value)| {
                    entry.push("=");
                    entry.push(value);
                    text(&entry)
                })
                .collect();
            let _ = execveat(file, c"", &self.words, &environment, AtFlags::AT_EMPTY_PATH);
        }
        let _ = execvp(&self.words[0], &self.words);
        exit(99)
    }
}

fn text(word: &OsStr) -> CString {
    CString::new(word.as_bytes()).expect("no zero byte")
}

/// Ignores a signal; by a bare call, as nix knows no real-time signals.
pub(crate) fn ignore(signal: Signal) {
    // SAFETY: installs no handler.
    assert_ne!(unsafe { libc::signal(signal.number(), libc::SIG_IGN) }, libc::SIG_ERR);
}

/// Lets a signal do what it does by default; by a bare call, as the C library refuses two.
/// The kernel refuses two others, for which it makes no difference.
pub(crate) fn reset(signal: Signal) {
    // SIG_DFL, and no flags; there is more room than the kernel reads.
    let action = [0_u64; 8];
    let none = ptr::null_mut::<u64>();
    // SAFETY: installs no handler.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal.number(), &raw const action, none, 8_usize) };
}

/// Sends this process a signal.
pub(crate) fn raise(signal: Signal) {
    crate::process::kill(std::process::id() as i32, signal).expect("raise");
}

pub(crate) fn block(signal: Signal) {
    set_mask(libc::SIG_BLOCK, 1 << (signal.number() - 1));
}

pub(crate) fn block_all() {
    set_mask(libc::SIG_SETMASK, !0);
}

/// Lets every signal act.
pub(crate) fn unblock_all() {
    set_mask(libc::SIG_SETMASK, 0);
}

/// By a bare call: the C library would leave two signals out.
fn set_mask(how: libc::c_int, set: u64) {
    let none = ptr::null_mut::<u64>();
    // SAFETY: a kernel signal set is 64 bits.
    let result = unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const set, none, 8_usize) };
    Errno::result(result).expect("sigprocmask");
}

/// Takes one of the signals, which are all blocked.
pub(crate) fn take_signal() -> Signal {
    loop {
        match wait_for_signal(ptr::null()) {
            Ok(signal) => return signal,
            // It was stopped and continued.
            Err(Errno::EINTR) => {}
            Err(errno) => panic!("sigtimedwait: {errno}"),
        }
    }
}

/// Takes one of those that have arrived.
pub(crate) fn take_pending_signal() -> Option<Signal> {
    wait_for_signal(&libc::timespec { tv_sec: 0, tv_nsec: 0 }).ok()
}

/// By a bare call: the C library would leave two signals out.
fn wait_for_signal(timeout: *const libc::timespec) -> Result<Signal, Errno> {
    let all = !0_u64;
    let no_info = ptr::null_mut::<libc::siginfo_t>();
    // SAFETY: a kernel signal set is 64 bits; no siginfo is asked for, and the timeout is
    // none or lives through the call.
    let taken =
        unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const all, no_info, timeout, 8_usize) };
    Errno::result(taken).map(|number| Signal::from_number(number as i32))
}
