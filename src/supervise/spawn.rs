//! Starting the command: what the child does between `clone` and `execve`, and
//! the search through `PATH`.
//!
//! The child shares our memory until it executes (`sys::spawn_sharing_memory`).
//! So nothing of the arguments is copied, we learn for certain and with the
//! kernel's reason whether the program runs, and its process group exists before
//! we can forward a first signal to it.

#![forbid(unsafe_code)]

use std::ffi::CStr;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Pid, access, getpid};

use crate::supervise::job::{Place, Problem};
use crate::sys::path::{LongPath, Path};
use crate::sys::{self, Arguments, Environment, SignalMask};
use crate::text::{split, split_once};
use crate::units::{Decimal, decimal};

/// What the command is given.
pub struct Command {
    /// The arguments, ours before the command's.
    pub arguments: Arguments,
    /// The index of the command's name among them.
    pub first: usize,
    /// The environment.
    pub environment: Environment,
    /// The signal mask that we inherited.
    pub mask: SignalMask,
    /// Whether we inherited SIGCHLD ignored.
    pub sigchld_ignored: bool,
}

/// A command that was started.
pub struct Started {
    /// Its PID, and where that was possible its process group.
    pub pid: Pid,
    /// What failed of taking its place in a session, a group and a terminal.
    pub problem: Problem,
}

/// Why a command was not started.
pub enum Failure {
    /// The kernel made no process.
    Clone(Errno),
    /// The kernel executed no program.
    Execute {
        /// Its reason.
        reason: Errno,
        /// Whether the file exists all the same, so that what is missing is the
        /// interpreter or the loader which it names.
        exists: bool,
    },
}

impl Command {
    /// Its name, as it was given.
    pub fn name(&self) -> &'static CStr {
        self.arguments.get(self.first).unwrap_or_default()
    }

    /// Starts the command, and returns when it has executed or failed to.
    pub fn start(&self, place: &Place) -> Result<Started, Failure> {
        let listen_pid = ListenPid::find(self.environment);
        let mut failure = None;
        let mut problem = None;
        let pid = sys::spawn_sharing_memory(&mut || {
            problem = place.take();
            if let Some(index) = listen_pid {
                ListenPid::name_this_process(self.environment, index);
            }
            if self.sigchld_ignored {
                sys::ignore_sigchld(true);
            }
            // Last of all: from here on signals take effect.
            sys::set_signal_mask(self.mask);
            let reason = self.execute();
            failure = Some(reason);
            crate::sys::wait::not_executed(reason)
        })
        .map_err(Failure::Clone)?;
        match failure {
            None => Ok(Started { pid, problem }),
            Some(reason) => {
                // It is on its way out. Leave no zombie for our parent to inherit.
                while sys::wait_and_reap().is_ok_and(|(reaped, _)| reaped != pid) {}
                Err(Failure::Execute { reason, exists: self.exists(reason) })
            }
        }
    }

    /// Executes the command as POSIX's `execvp` does. Returns only where that
    /// failed, with the reason.
    fn execute(&self) -> Errno {
        let name = self.name();
        if name.to_bytes().is_empty() {
            return Errno::ENOENT;
        }
        if has_slash(name) {
            return self.try_file(name);
        }
        let path = self.environment.get("PATH").unwrap_or(DEFAULT_PATH);
        let mut reason = Errno::ENOENT;
        for directory in split(path, b':') {
            let mut path = LongPath::default();
            // An empty directory is the working directory.
            let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
            let Some(file) = path.join(&[directory, separator, name.to_bytes()]) else {
                // Too long to exist.
                continue;
            };
            match self.try_file(file) {
                // Found, but not for us: unless another one is found, say so.
                Errno::EACCES => reason = Errno::EACCES,
                // Not here, or here is nothing that can be searched.
                Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE | Errno::ENODEV | Errno::ETIMEDOUT => {}
                Errno::ELOOP | Errno::ENAMETOOLONG => {}
                other => return other,
            }
        }
        reason
    }

    /// Executes one file; a script without `#!` through the shell.
    fn try_file(&self, file: &CStr) -> Errno {
        let reason = sys::execute(file, self.arguments, self.first, self.environment);
        if reason != Errno::ENOEXEC || is_elf(file) {
            return reason;
        }
        sys::execute_by_shell(file, self.arguments, self.first, self.environment)
    }

    fn exists(&self, reason: Errno) -> bool {
        let name = self.name();
        reason == Errno::ENOENT && has_slash(name) && access(name, AccessFlags::F_OK).is_ok()
    }
}

fn has_slash(name: &CStr) -> bool {
    split_once(name.to_bytes(), b'/').1.is_some()
}

/// Where commands are sought without a `PATH`: what container engines set it to.
/// glibc's and musl's own defaults differ from each other, and are parts of this.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether a file that the kernel cannot execute is a program for another machine
/// all the same. A shell, given that, answers with a riddle about its syntax.
fn is_elf(file: &CStr) -> bool {
    let mut magic = [0; 4];
    sys::read_start(file, &mut magic) == Some(b"\x7fELF")
}

/// Socket activation (`sd_listen_fds(3)`): a service takes the sockets it is
/// handed only where `LISTEN_PID` is its own PID. Whoever started sexton named
/// sexton; it is the command that must find itself named.
struct ListenPid;

impl ListenPid {
    /// The index of a `LISTEN_PID` that names this process.
    fn find(environment: Environment) -> Option<usize> {
        let (index, value) = environment.find("LISTEN_PID")?;
        (decimal(value) == u32::try_from(getpid().as_raw()).ok()).then_some(index)
    }

    /// Makes it name the process that calls this. `LISTEN_PIDFDID`, which names
    /// the same process by another number, is optional and goes.
    fn name_this_process(environment: Environment, index: usize) {
        let pid = Decimal::new(u64::from(getpid().as_raw().unsigned_abs()));
        let mut entry = Path::<32>::default();
        if let Some(entry) = entry.join(&[b"LISTEN_PID=", pid.as_bytes()]) {
            environment.replace(index, entry);
        }
        environment.remove("LISTEN_PIDFDID");
    }
}
