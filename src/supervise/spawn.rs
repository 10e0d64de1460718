//! Starting the command: what the child does between `fork` and `execve`, and the search
//! through `PATH`.
//!
//! The parent does not wait for the execution, which may take long (a lazily pulled image,
//! a network file system): it enters its loop at once. Why the command was not executed
//! comes back through two numbers in shared memory, and is reported when the child has been
//! reaped. If all goes well, that memory is never touched.

#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::fmt::{self, Display, Formatter};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Pid, access, getpid, getppid};

use super::job::JobSetup;
use crate::log::{Escaped, Log, Reason};
use crate::sys::args::{Arguments, EnvSlot, Environment};
use crate::sys::fd::read_prefix;
use crate::sys::path::{LongPath, PathBuffer};
use crate::sys::process::{
    EXIT_FAILED, OwnProcess, SharedNumbers, execute, execute_by_shell, fork, set_parent_death_signal,
};
use crate::sys::signal::{Signal, SignalSet, ignore_sigchld, set_signal_mask};
use crate::sys::wait::WaitStatus;
use crate::units::parse_u32;

/// What the command is given.
pub struct Command {
    /// The arguments, ours before the command's.
    pub arguments: Arguments,
    /// The index of the command's name among them.
    pub first: usize,
    /// The environment.
    pub environment: Environment,
    /// Whether we inherited SIGCHLD ignored.
    pub sigchld_ignored: bool,
}

/// A command that was started.
pub struct Spawned {
    /// Its PID.
    pub pid: Pid,
    failure: Option<SharedNumbers>,
}

impl Spawned {
    /// Why the command was not executed, if the child ended for that reason. The shared
    /// numbers are touched only where the exit code is one that the child gives then.
    pub fn exec_failure(&self, status: WaitStatus) -> Option<ExecFailure> {
        if !matches!(status.exit_status(), Some(NOT_FOUND | NOT_EXECUTABLE)) {
            return None;
        }
        ExecFailure::from_numbers(self.failure.as_ref()?.load())
    }
}

/// Why the kernel did not execute the command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExecFailure {
    errno: Errno,
    /// Whether the file exists all the same, so that what is missing is the interpreter or
    /// the loader which it names.
    exists: bool,
}

/// There is no such command (POSIX's shell, 2.8.2).
const NOT_FOUND: u8 = 127;
/// There is such a command, and it cannot be executed.
const NOT_EXECUTABLE: u8 = 126;

impl ExecFailure {
    /// The exit code that reports it.
    pub fn exit_code(self) -> u8 {
        match self.errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        }
    }

    fn to_numbers(self) -> [i32; 2] {
        [self.errno as i32, i32::from(self.exists)]
    }

    fn from_numbers([errno, exists]: [i32; 2]) -> Option<Self> {
        (errno != 0).then(|| Self { errno: Errno::from_raw(errno), exists: exists != 0 })
    }
}

impl Display for ExecFailure {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let missing = if self.exists { ": the interpreter or loader that it names is missing" } else { "" };
        write!(f, "{}{missing}", Reason(self.errno))
    }
}

impl Command {
    /// Its name, as it was given.
    pub fn name(&self) -> &'static CStr {
        self.arguments.get(self.first).unwrap_or_default()
    }

    /// Starts the command, in the session, group and foreground that `setup` has for it.
    /// `mask` is the signal mask for it, where that of sexton differs. `dies_with` is this
    /// process, where the command is to be killed when it dies.
    pub fn start(
        &self,
        process: &OwnProcess,
        mask: Option<SignalSet>,
        setup: &JobSetup,
        dies_with: Option<Pid>,
        log: &Log,
    ) -> Result<Spawned, Errno> {
        let renamed = ServiceVariables::find(self.environment);
        let failure = SharedNumbers::new().ok();
        let pid = fork(process, || {
            if dies_with.is_some_and(|parent| !die_with(parent, log)) {
                return EXIT_FAILED;
            }
            self.run_child(mask, setup, &renamed, failure.as_ref(), log)
        })?;
        Ok(Spawned { pid, failure })
    }

    /// The child's side. Signals stay blocked until the last moment, so what is forwarded
    /// to it before waits, and takes effect as it would have on the command. Returns only
    /// where the execution failed, with the exit code for that.
    fn run_child(
        &self,
        mask: Option<SignalSet>,
        setup: &JobSetup,
        variables: &ServiceVariables,
        shared: Option<&SharedNumbers>,
        log: &Log,
    ) -> u8 {
        if let Some(failed) = setup.apply_in_child() {
            log.info(format_args!("{failed}"));
        }
        variables.name_this_process(self.environment);
        if self.sigchld_ignored {
            ignore_sigchld(true);
        }
        if let Some(mask) = mask {
            set_signal_mask(mask);
        }
        let errno = self.execute();
        let failure = ExecFailure { errno, exists: self.exists(errno) };
        match shared {
            Some(shared) => shared.store(failure.to_numbers()),
            // Without shared memory, the child reports it itself.
            None => log.fatal(format_args!("{}: {failure}", Escaped(self.name().to_bytes()))),
        }
        failure.exit_code()
    }

    /// Executes the command as POSIX's `execvp` does. Returns only where that failed, with
    /// the reason.
    fn execute(&self) -> Errno {
        let name = self.name();
        if name.is_empty() {
            return Errno::ENOENT;
        }
        if has_slash(name) {
            return self.try_file(name);
        }
        let path = self.environment.get("PATH").unwrap_or(DEFAULT_PATH);
        let mut reason = Errno::ENOENT;
        for directory in path.split(|byte| *byte == b':') {
            let mut path = LongPath::default();
            // An empty directory is the working directory.
            let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
            let Some(file) = path.join(&[directory, separator, name.to_bytes()]) else {
                // Too long to exist.
                continue;
            };
            match self.try_file(file) {
                // Found, but not permitted. That is reported, unless another directory has
                // the command.
                Errno::EACCES => reason = Errno::EACCES,
                // It is not here, or the directory cannot be searched.
                Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE | Errno::ENODEV | Errno::ETIMEDOUT => {}
                Errno::ELOOP | Errno::ENAMETOOLONG => {}
                other => return other,
            }
        }
        reason
    }

    /// Executes one file; a script without `#!` through the shell.
    fn try_file(&self, file: &CStr) -> Errno {
        let errno = execute(file, self.arguments, self.first, self.environment);
        if errno != Errno::ENOEXEC || is_elf(file) {
            return errno;
        }
        execute_by_shell(file, self.arguments, self.first, self.environment)
    }

    fn exists(&self, errno: Errno) -> bool {
        let name = self.name();
        errno == Errno::ENOENT && has_slash(name) && access(name, AccessFlags::F_OK).is_ok()
    }
}

/// Asks for KILL when the parent dies (`PR_SET_PDEATHSIG(2const)`). Returns whether it lives:
/// had it died before that, the kernel would send nothing.
fn die_with(parent: Pid, log: &Log) -> bool {
    if let Err(errno) = set_parent_death_signal(Signal::KILL) {
        log.info(format_args!("PR_SET_PDEATHSIG: {}", Reason(errno)));
    }
    let found = getppid();
    // 0: this child is the first process of a PID namespace that its parent is outside of
    // (`unshare --pid` without a fork).
    found == parent || found.as_raw() == 0
}

fn has_slash(name: &CStr) -> bool {
    name.to_bytes().contains(&b'/')
}

/// Where commands are searched for without a `PATH`: the value that container engines set.
/// The defaults of glibc and musl differ, and both are parts of this.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether a file that the kernel cannot execute is a program all the same, for another
/// machine. A shell would take it for a script, and report a syntax error.
fn is_elf(file: &CStr) -> bool {
    let mut magic = [0; 4];
    read_prefix(file, &mut magic) == Some(b"\x7fELF")
}

/// The variables by which a service manager names the process that it means: a service
/// takes the sockets it is handed (`sd_listen_fds(3)`), and sends keep-alives
/// (`sd_watchdog_enabled(3)`), only where they hold its own PID. The service manager has
/// put sexton's PID there; the command needs its own.
struct ServiceVariables {
    listen: Option<EnvSlot>,
    watchdog: Option<EnvSlot>,
}

impl ServiceVariables {
    /// Those that name this process.
    fn find(environment: Environment) -> Self {
        let own = u32::try_from(getpid().as_raw()).ok();
        let find = |name| {
            let (slot, value) = environment.find(name)?;
            (parse_u32(value) == own).then_some(slot)
        };
        Self { listen: find("LISTEN_PID"), watchdog: find("WATCHDOG_PID") }
    }

    /// Makes them name the process that calls this. `LISTEN_PIDFDID`, which names the same
    /// process by another number, is optional and goes.
    fn name_this_process(&self, environment: Environment) {
        name_in(environment, self.watchdog, "WATCHDOG_PID");
        if self.listen.is_some() {
            name_in(environment, self.listen, "LISTEN_PID");
            environment.remove("LISTEN_PIDFDID");
        }
    }
}

fn name_in(environment: Environment, slot: Option<EnvSlot>, name: &str) {
    let Some(slot) = slot else { return };
    let mut entry = PathBuffer::<32>::default();
    if let Some(entry) = entry.format(format_args!("{name}={}", getpid())) {
        environment.replace(slot, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_the_shells_exit_codes() {
        let code = |errno| ExecFailure { errno, exists: false }.exit_code();
        for errno in [Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP, Errno::ENAMETOOLONG] {
            assert_eq!(code(errno), 127);
        }
        for errno in [Errno::EACCES, Errno::ENOEXEC, Errno::E2BIG] {
            assert_eq!(code(errno), 126);
        }
    }

    #[test]
    fn a_failure_passes_through_shared_memory() {
        let shared = SharedNumbers::new().unwrap();
        assert_eq!(ExecFailure::from_numbers(shared.load()), None);
        let failure = ExecFailure { errno: Errno::ENOENT, exists: true };
        shared.store(failure.to_numbers());
        assert_eq!(ExecFailure::from_numbers(shared.load()), Some(failure));
    }
}
