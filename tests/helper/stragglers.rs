//! Roles that exit and leave processes behind which go on.

use std::io::{Read, pipe};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getpid, getsid, setpgid, setsid};

use crate::protocol::Straggler;
use crate::signal::{SIGQUIT, SIGSTOP, SIGTERM};
use crate::system::{block_all, exit, fork_both, print, raise, take_signal};

pub(crate) fn leave_behind(straggler: &[Straggler], code: u8, work: Duration) -> ExitCode {
    let is = |property| straggler.contains(&property);
    block_all();
    let (mut ready, writer) = pipe().expect("pipe");
    if fork_both().is_some() {
        drop(writer);
        // It ends when every straggler has closed it.
        ready.read_to_end(&mut Vec::new()).expect("the end of the pipe");
        if is(Straggler::Stopped) {
            waitid(Id::All, WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT).expect("it stops");
        }
        exit(code.into());
    }
    drop(ready);
    if is(Straggler::Session) {
        setsid().expect("setsid");
    }
    if is(Straggler::Group) {
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).expect("setpgid");
    }
    if is(Straggler::Deaf) && fork_both().is_none() {
        setsid().expect("setsid");
    }
    drop(writer);
    if is(Straggler::Stopped) {
        raise(SIGSTOP);
    }
    straggle(is(Straggler::Forks), is(Straggler::Deaf), work)
}

fn straggle(mut forks: bool, deaf: bool, work: Duration) -> ! {
    loop {
        let signal = take_signal();
        print(format_args!("straggler {signal}"));
        if deaf || ![SIGTERM, SIGQUIT].contains(&signal) {
            continue;
        }
        if std::mem::take(&mut forks) {
            match fork_both() {
                // The child goes on until it gets a TERM of its own.
                None => continue,
                Some(_) => exit(0),
            }
        }
        sleep(work);
        print("last line");
        exit(0);
    }
}

pub(crate) fn hop() -> ExitCode {
    block_all();
    for _ in 0..3 {
        if fork_both().is_none() {
            setsid().expect("setsid");
            break;
        }
    }
    if getsid(None) != Ok(getpid()) {
        exit(5);
    }
    // Few, and not too fast: this is to escape, not to bring the machine down.
    loop {
        sleep(Duration::from_micros(300));
        if fork_both().is_some() {
            exit(0);
        }
    }
}
