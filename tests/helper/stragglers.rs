//! Roles that exit and leave processes behind which go on.

use std::io::{PipeWriter, Read, pipe};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::{Pid, getpid, getsid, pause, setpgid, setsid};

use crate::protocol::Straggler;
use crate::signal::{SIGCHLD, SIGQUIT, SIGSTOP, SIGTERM};
use crate::system::{
    block_all, exit, fork, fork_both, print, raise, reset, take_pending_signal, take_signal, unblock_all,
};

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
    Behaviour::prepare(straggler, work, writer).straggle()
}

pub(crate) fn straggle_here(straggler: &[Straggler], work: Duration) -> ExitCode {
    block_all();
    let (_, nothing) = pipe().expect("pipe");
    let behaviour = Behaviour::prepare(straggler, work, nothing);
    print("ready");
    behaviour.straggle()
}

/// What a straggler does at TERM.
struct Behaviour {
    forks: bool,
    deaf: bool,
    helper: bool,
    work: Duration,
    /// Those of a master, and what they wait for the end of.
    workers: Option<(Vec<Pid>, PipeWriter)>,
}

impl Behaviour {
    /// Becomes the straggler; it is ready when the pipe's end is closed.
    fn prepare(straggler: &[Straggler], work: Duration, ready: PipeWriter) -> Self {
        let is = |property| straggler.contains(&property);
        if is(Straggler::Session) {
            setsid().expect("setsid");
        }
        if is(Straggler::Group) {
            setpgid(Pid::from_raw(0), Pid::from_raw(0)).expect("setpgid");
        }
        if is(Straggler::Deaf) && fork_both().is_none() {
            setsid().expect("setsid");
        }
        let workers = is(Straggler::Master).then(|| {
            let (mut word, writer) = pipe().expect("pipe");
            let mut work_for_master = || {
                // SAFETY: this process has copies of its own, which no destructor will close.
                unsafe {
                    libc::close(writer.as_raw_fd());
                    libc::close(ready.as_raw_fd());
                }
                reset(SIGTERM);
                unblock_all();
                let _ = word.read(&mut [0]);
                sleep(work);
                print("job done");
            };
            ((0..3).map(|_| fork(&mut work_for_master)).collect(), writer)
        });
        drop(ready);
        if is(Straggler::Stopped) {
            raise(SIGSTOP);
        }
        Self {
            forks: is(Straggler::Forks),
            deaf: is(Straggler::Deaf),
            helper: is(Straggler::Helper),
            work,
            workers,
        }
    }

    fn straggle(mut self) -> ! {
        loop {
            let signal = take_signal();
            if signal == SIGCHLD {
                continue;
            }
            print(format_args!("straggler {signal}"));
            if self.deaf || ![SIGTERM, SIGQUIT].contains(&signal) {
                continue;
            }
            if std::mem::take(&mut self.forks) {
                match fork_both() {
                    // The child goes on until it gets a TERM of its own.
                    None => continue,
                    Some(_) => exit(0),
                }
            }
            self.finish();
            // Were there a second request, it would show.
            while let Some(signal) = take_pending_signal() {
                if signal == SIGTERM {
                    print(format_args!("straggler {signal}"));
                }
            }
            print("last line");
            exit(0);
        }
    }

    fn finish(&mut self) {
        if let Some((workers, word)) = self.workers.take() {
            drop(word);
            for worker in workers {
                waitpid(worker, None).expect("wait");
            }
        } else if self.helper {
            let work = self.work;
            let helper = fork(|| {
                reset(SIGTERM);
                unblock_all();
                sleep(work);
                print("saved");
            });
            waitpid(helper, None).expect("wait");
        } else {
            sleep(self.work);
        }
    }
}

pub(crate) fn leave_many(count: u32, chained: bool) -> ExitCode {
    let (mut ready, writer) = pipe().expect("pipe");
    let mut parent = true;
    for _ in 0..count {
        match fork_both() {
            None => {
                parent = false;
                if !chained {
                    break;
                }
            }
            Some(_) if parent => {
                if chained {
                    break;
                }
            }
            Some(_) => break,
        }
    }
    if parent {
        drop(writer);
        ready.read_to_end(&mut Vec::new()).expect("the end of the pipe");
        exit(5);
    }
    setsid().expect("setsid");
    drop(writer);
    loop {
        pause();
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
