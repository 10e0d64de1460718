//! Roles that use CPU time, or pile up.

use std::ffi::OsString;
use std::io::{Read, Write, pipe};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::wait::waitpid;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::pause;

use crate::process::is_in_state;
use crate::protocol::Load;
use crate::signal::SIGCHLD;
use crate::system::{fork, reset};
use crate::wait::wait_until;

pub(crate) fn with_load(load: Load, program: &[OsString]) -> ExitCode {
    reset(SIGCHLD);
    let (mut ready, mut writer) = pipe().expect("pipe");
    let worker = fork(|| {
        prctl::set_name(c"worker").expect("a name");
        match load {
            Load::Leak => leak(|| writer.write_all(&[1]).expect("write")),
            Load::Brief => start_brief_children(|| writer.write_all(&[1]).expect("write")),
            Load::Vfork => {
                writer.write_all(&[1]).expect("write");
                wait_for_vfork();
            }
            Load::Steady => {
                writer.write_all(&[1]).expect("write");
                loop {
                    use_cpu(Duration::from_secs(1000));
                }
            }
        }
    });
    ready.read_exact(&mut [0]).expect("it is ready");
    if load == Load::Vfork {
        wait_until("it waits for its child", || is_in_state(worker.as_raw(), 'D'));
    }
    let mut program = Command::new(&program[0]).args(&program[1..]).spawn().expect("the program");
    ExitCode::from(program.wait().expect("its end").code().expect("an exit code") as u8)
}

/// One child more every few milliseconds, none of which ends.
fn leak(mut ready: impl FnMut()) {
    for number in 0.. {
        fork(|| {
            prctl::set_name(c"leaked").expect("a name");
            loop {
                pause();
            }
        });
        if number == 20 {
            ready();
        }
        sleep(Duration::from_millis(10));
    }
}

/// One child after the other, each of which uses 30 ms of CPU time.
fn start_brief_children(mut ready: impl FnMut()) {
    ready();
    loop {
        let child = fork(|| {
            prctl::set_name(c"brief").expect("a name");
            use_cpu(Duration::from_millis(30));
        });
        waitpid(child, None).expect("wait");
    }
}

fn use_cpu(time: Duration) {
    let used = || Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock"));
    while used() < time {}
}

/// The kernel lets no signal but KILL wake it until the child has executed a program or
/// ended, which it does not.
fn wait_for_vfork() {
    // SAFETY: without CLONE_VM this is a fork after which the parent waits; there is one
    // thread.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0) };
    if Errno::result(child).expect("clone") == 0 {
        loop {
            pause();
        }
    }
}
