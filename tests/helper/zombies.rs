//! Roles that have zombies.

use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io::{Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::sys::{prctl, ptrace};
use nix::unistd::{Pid, pause};

use crate::process::is_in_state;
use crate::protocol::Zombies;
use crate::signal::{SIGCHLD, SIGSTOP};
use crate::system::{exit, fork, print, raise, reset, wait_for_end_of_input};
use crate::wait::wait_until;

pub(crate) fn with_zombies(zombies: Zombies, count: u32, program: &[OsString]) -> ExitCode {
    reset(SIGCHLD);
    let mut reaped_late = Vec::new();
    match zombies {
        Zombies::OfStopped => {
            let parent = fork(|| {
                for _ in 0..count {
                    make_zombie(|| ());
                }
                raise(SIGSTOP);
            });
            waitid(Id::Pid(parent), WaitPidFlag::WSTOPPED).expect("a stopped child");
        }
        Zombies::Own => drop((0..count).map(|_| make_zombie(|| ())).collect::<Vec<_>>()),
        Zombies::ReapedLate => reaped_late = (0..count).map(|_| make_zombie(|| ())).collect(),
        Zombies::OddlyNamed => {
            for name in ODD_NAMES.iter().cycle().take(count as usize) {
                make_zombie(|| prctl::set_name(name).expect("a name"));
            }
        }
        Zombies::OfThreePrograms => {
            for name in [c"alpha", c"beta", c"gamma"].iter().cycle().take(count as usize) {
                make_zombie(|| prctl::set_name(name).expect("a name"));
            }
        }
        Zombies::MainThreads => (0..count).for_each(|_| lose_main_thread()),
        Zombies::Traced => (0..count).for_each(|_| trace_orphan()),
    }
    let mut program = Command::new(&program[0]).args(&program[1..]).spawn().expect("the program");
    if zombies == Zombies::ReapedLate {
        // While the program looks at them.
        std::thread::sleep(Duration::from_millis(30));
        for child in reaped_late {
            waitpid(child, None).expect("wait");
        }
    }
    ExitCode::from(program.wait().expect("its end").code().expect("an exit code") as u8)
}

/// They look like fields of /proc, command a terminal, end a string, or are no text.
const ODD_NAMES: [&CStr; 6] =
    [c"a) Z 1 (b\n\x9b\u{9d}", c") R 1", c"a b", c"\x1b[31mred\x9b", c"\"\\\t{", c"\xff\xc3\xb6\xc3"];

/// Makes a child that exits and is not waited for; returns when it has exited.
fn make_zombie(before: impl FnOnce()) -> Pid {
    let child = fork(before);
    wait_for_zombie(child);
    child
}

fn wait_for_zombie(pid: Pid) {
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("a zombie");
}

/// Makes a child whose main thread exits while another one lives.
fn lose_main_thread() {
    let child = fork(|| {
        std::thread::spawn(|| {
            loop {
                pause();
            }
        });
        // SAFETY: ends this thread alone, which nothing waits for.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    });
    wait_until("its main thread has exited", || is_in_state(child.as_raw(), 'Z'));
}

/// Makes an orphan that this process traces, and that exits.
fn trace_orphan() {
    let (mut reader, mut writer) = pipe().expect("pipe");
    let (hold, release) = pipe().expect("pipe");
    let parent = fork(|| {
        let orphan = fork(|| {
            // SAFETY: this process has a copy of its own, which no destructor will close.
            unsafe { libc::close(release.as_raw_fd()) };
            let _ = (&hold).read(&mut [0]);
        });
        let _ = writer.write_all(&orphan.as_raw().to_ne_bytes());
        exit(0);
    });
    waitpid(parent, None).expect("wait");
    let mut orphan = [0; 4];
    reader.read_exact(&mut orphan).expect("its PID");
    let orphan = Pid::from_raw(i32::from_ne_bytes(orphan));
    ptrace::seize(orphan, ptrace::Options::empty()).expect("ptrace");
    drop(release);
    wait_for_zombie(orphan);
}

pub(crate) fn in_namespace_of(pid: i32) -> ExitCode {
    let namespace = File::open(format!("/proc/{pid}/ns/pid")).expect("the namespace");
    setns(namespace, CloneFlags::CLONE_NEWPID).expect("setns");
    make_zombie(|| ());
    print("ready");
    wait_for_end_of_input()
}
