//! Roles of one process.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitCode;

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Pid, getpgid, getpgrp, getpid, getppid, getsid, setpgid, tcgetpgrp};

use crate::launch::become_user;
use crate::signal::{SIGRTMAX, Signal};
use crate::system::{block_all, print, raise, reset, take_signal};

pub(crate) fn receive() -> ExitCode {
    block_all();
    print(format_args!("ready {}", getpid()));
    loop {
        print(take_signal());
    }
}

pub(crate) fn count(signal: Signal) -> ExitCode {
    block_all();
    print("ready");
    print(arrivals(signal));
    ExitCode::SUCCESS
}

/// The arrivals of a signal until SIGRTMAX's, which the kernel hands out last.
pub(crate) fn arrivals(signal: Signal) -> u32 {
    let mut seen = 0;
    loop {
        match take_signal() {
            SIGRTMAX => return seen,
            taken if taken == signal => seen += 1,
            _ => {}
        }
    }
}

pub(crate) fn die(signal: Signal) -> ExitCode {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).expect("no core file");
    reset(signal);
    raise(signal);
    ExitCode::FAILURE
}

pub(crate) fn show_words(words: &[OsString]) -> ExitCode {
    let mut out = Vec::new();
    for word in words {
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
    io::stdout().write_all(&out).expect("standard output");
    ExitCode::SUCCESS
}

pub(crate) fn standing() -> ExitCode {
    let leads = match (getsid(None) == Ok(getpid()), getpgrp() == getpid()) {
        (true, _) => "session",
        (false, true) => "group",
        (false, false) => "nothing",
    };
    let has = match File::options().read(true).write(true).open("/dev/tty") {
        Err(_) => "no terminal",
        Ok(terminal) if tcgetpgrp(&terminal) == Ok(getpgrp()) => "foreground",
        Ok(_) => "background",
    };
    print(format_args!("{leads}, {has}"));
    ExitCode::SUCCESS
}

pub(crate) fn lead_group() -> ExitCode {
    let this = Pid::from_raw(0);
    print(format_args!("{:?}", setpgid(this, this)));
    ExitCode::SUCCESS
}

pub(crate) fn join_parents_group() -> ExitCode {
    let group = getpgid(Some(getppid())).expect("its group");
    setpgid(Pid::from_raw(0), group).expect("setpgid");
    receive()
}

pub(crate) fn become_other_user() -> ExitCode {
    become_user(12345);
    receive()
}
