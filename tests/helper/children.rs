//! Roles that have children which live on.

use std::ffi::OsString;
use std::fs::File;
use std::io::{PipeWriter, Read, Write, pipe};
use std::process::ExitCode;

use nix::sched::{CloneFlags, setns};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, setpgid, setsid};

use crate::actors::receive;
use crate::protocol::Escape;
use crate::signal::{SIGCHLD, SIGSTOP, SIGUSR1};
use crate::system::{
    block_all, execute, exit, fork, fork_orphan, fork_without_signal, print, raise, take_signal,
    wait_for_end_of_input,
};

pub(crate) fn with_escaped_child(escape: Escape) -> ExitCode {
    block_all();
    // As an orphan it is reached only by an init that looks for descendants.
    fork_orphan(|| {
        match escape {
            Escape::ToSession => drop(setsid().expect("setsid")),
            Escape::ToGroup => setpgid(Pid::from_raw(0), Pid::from_raw(0)).expect("setpgid"),
        }
        print("child ready");
        loop {
            print(format_args!("child {}", take_signal()));
        }
    });
    print("ready");
    loop {
        match take_signal() {
            SIGCHLD => {}
            signal => print(signal),
        }
    }
}

pub(crate) fn family() -> ExitCode {
    block_all();
    let child = fork(|| {
        loop {
            take_signal();
        }
    });
    print(format_args!("child {child}"));
    receive()
}

pub(crate) fn enter_namespace_of(pid: i32, program: &[OsString]) -> ExitCode {
    let namespace = File::open(format!("/proc/{pid}/ns/pid")).expect("the namespace");
    setns(namespace, CloneFlags::CLONE_NEWPID).expect("setns");
    let child = fork(|| execute(program));
    match waitpid(child, None).expect("wait") {
        WaitStatus::Exited(_, code) => ExitCode::from(code as u8),
        WaitStatus::Signaled(_, signal, _) => ExitCode::from(128 + signal as u8),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn descendants(count: u32, chain: bool) -> ExitCode {
    block_all();
    let (mut reader, writer) = pipe().expect("pipe");
    if chain {
        fork_chain(count, &writer);
    } else {
        (0..count).for_each(|_| fork_chain(1, &writer));
    }
    let mut a_byte_of_each = vec![0; count as usize];
    for line in ["ready", "all"] {
        reader.read_exact(&mut a_byte_of_each).expect("a byte of each");
        print(line);
    }
    wait_for_end_of_input()
}

/// Forks a process that forks the next, and so on.
fn fork_chain(count: u32, mut done: &PipeWriter) {
    if count == 0 {
        return;
    }
    fork(|| {
        fork_chain(count - 1, done);
        done.write_all(&[0]).expect("write");
        while take_signal() != SIGUSR1 {}
        done.write_all(&[0]).expect("write");
        loop {
            take_signal();
        }
    });
}

/// One is a zombie already, its SIGCHLD taken. One is stopped, and stays so until it is
/// killed. A silent one sends no SIGCHLD, so that only `__WALL` finds it.
pub(crate) fn adopt(silent: bool, program: &[OsString]) -> ExitCode {
    let zombie = fork(|| exit(3));
    waitid(Id::Pid(zombie), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("a zombie");
    let stopped = fork(|| {
        raise(SIGSTOP);
        exit(4);
    });
    waitid(Id::Pid(stopped), WaitPidFlag::WSTOPPED).expect("a stopped child");
    if silent {
        fork_without_signal(5);
    }
    execute(program)
}
