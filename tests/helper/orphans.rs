//! Roles that leave orphans behind, which exit.

use std::io::{self, Read, pipe};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::prctl;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::setsid;

use crate::actors::arrivals;
use crate::signal::{SIGCHLD, SIGKILL, Signal};
use crate::system::{block_all, fork, fork_orphan, print, raise, reset, wait_for_end_of_input};

pub(crate) fn leave(count: u32) -> ExitCode {
    // Were it ignored, the wait for the parent would find nothing.
    reset(SIGCHLD);
    for _ in 0..count {
        fork_orphan(|| ());
    }
    print("left");
    wait_for_end_of_input()
}

pub(crate) fn storm(count: u32, signal: Signal) -> ExitCode {
    block_all();
    let (reader, writer) = pipe().expect("pipe");
    for _ in 0..count {
        fork_orphan(|| {
            // What an init forwards to the command's group does not mean them.
            setsid().expect("setsid");
            let (mut reader, mut byte) = (&reader, [0]);
            // SAFETY: this process has its own, which no destructor will close again.
            unsafe { libc::close(writer.as_raw_fd()) };
            let _ = reader.read(&mut byte);
        });
    }
    print("ready");
    io::stdin().read_exact(&mut [0]).expect("the word to go");
    drop(writer);
    print(arrivals(signal));
    wait_for_end_of_input()
}

pub(crate) fn burn(cpu: Duration, memory: usize) -> ExitCode {
    fork(|| {
        prctl::set_name(c"burner").expect("a name");
        let touched = vec![1_u8; memory * 1024 * 1024];
        std::hint::black_box(&touched);
        let used = || Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock"));
        while used() < cpu {}
        raise(SIGKILL);
    });
    wait_for_end_of_input()
}
