//! Roles that ask their parent to trace them, as programs do which do not want a debugger.

use std::ffi::OsString;
use std::process::ExitCode;

use nix::sys::ptrace::traceme;
use nix::unistd::{getppid, pause};

use crate::signal::SIGWINCH;
use crate::system::{exit, fork_orphan, print, raise, wait_for_end_of_input};
use crate::wait::wait_until;

pub(crate) fn wait() -> ExitCode {
    traceme().expect("ptrace");
    print("ready");
    loop {
        pause();
    }
}

pub(crate) fn execute(program: &[OsString]) -> ExitCode {
    traceme().expect("ptrace");
    crate::system::execute(program)
}

pub(crate) fn orphan() -> ExitCode {
    let sexton = getppid();
    fork_orphan(|| {
        wait_until("it is sexton's", || getppid() == sexton);
        traceme().expect("ptrace");
        // By default it does nothing; it stops a process that is traced.
        raise(SIGWINCH);
        print("still here");
        exit(3);
    });
    wait_for_end_of_input()
}
