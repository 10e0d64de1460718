//! Starting sexton the way a container engine or a shell would, and waiting for what it
//! does.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use crate::lines::Lines;
use crate::peer::Peer;

pub(crate) use crate::common::harness::{helper, sexton};
pub(crate) use crate::common::json::parsed;
pub(crate) use crate::common::process::{
    Process, children_of, is_in_state, kill, process, processes, status_field,
};
pub(crate) use crate::common::protocol::{Condition, Escape, Load, Role, Straggler, Zombies};
pub(crate) use crate::common::screen::Screen;
pub(crate) use crate::common::signal::*;
pub(crate) use crate::common::wait::{deadline, repeat_until, wait_until};
pub(crate) use crate::peer::Ask;

pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

/// Far more than what is immediate takes, and far less than what must not be waited for.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// The words that run one of the helper's roles as a command.
pub(crate) fn play(role: Role) -> Vec<OsString> {
    let mut command = vec![helper().into()];
    command.extend(role.to_args());
    command
}

/// The same with a program for the role to run.
pub(crate) fn play_with(role: Role, program: impl IntoIterator<Item = impl Into<OsString>>) -> Vec<OsString> {
    let mut command = play(role);
    command.extend(program.into_iter().map(Into::into));
    command
}

/// The words of a shell command.
pub(crate) fn shell(script: &str) -> Vec<OsString> {
    words(&["sh", "-c", script])
}

/// Owned words.
pub(crate) fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// A start of sexton, or of something else in its place.
pub(crate) struct Init {
    program: Option<PathBuf>,
    /// Where it is, if it is there for this start only.
    directory: Option<tempfile::TempDir>,
    conditions: Vec<Condition>,
    arguments: Vec<OsString>,
    asks: Vec<Ask>,
    environment: Vec<(OsString, OsString)>,
    without: Vec<OsString>,
    stdin: Stdio,
    stdout: Stdio,
    stderr: Stdio,
}

impl Init {
    /// As PID 1 of a PID namespace of its own, with a /proc of its own.
    pub(crate) fn pid1(options: &[&str]) -> Self {
        let mut init = Self::plain(options);
        init.conditions.push(Condition::Namespace);
        init
    }

    /// As an ordinary process.
    pub(crate) fn plain(options: &[&str]) -> Self {
        Self {
            program: Some(sexton()),
            directory: None,
            conditions: Vec::new(),
            arguments: words(options),
            asks: Vec::new(),
            environment: Vec::new(),
            without: vec!["SEXTON_OPTIONS".into()],
            stdin: Stdio::null(),
            stdout: Stdio::piped(),
            stderr: Stdio::piped(),
        }
    }

    /// Where it is another init, it is asked for this.
    pub(crate) fn asked_to(mut self, ask: Ask) -> Self {
        self.asks.push(ask);
        self
    }

    /// Under this name, which is a symbolic link on sexton.
    pub(crate) fn called(mut self, name: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let link = directory.path().join(name);
        std::os::unix::fs::symlink(sexton(), &link).expect("a link");
        self.program = Some(link);
        self.directory = Some(directory);
        self
    }

    /// The command itself in sexton's place: what it would see without an init.
    pub(crate) fn without_init(mut self) -> Self {
        self.program = None;
        self
    }

    /// A condition for it to start under.
    pub(crate) fn given(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().into()));
        self
    }

    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.without.push(name.into());
        self
    }

    pub(crate) fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = stdin.into();
        self
    }

    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = stdout.into();
        self
    }

    pub(crate) fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.stderr = stderr.into();
        self
    }

    /// Starts it with this command.
    #[track_caller]
    pub(crate) fn start(self, command: impl IntoIterator<Item = impl Into<OsString>>) -> Running {
        let (mut report, report_end) = io::pipe().expect("pipe");
        let mut launch = Command::new(helper());
        launch.arg("launch").arg(report_end.as_raw_fd().to_string());
        launch.args(self.conditions.iter().map(Condition::to_arg)).arg("--");
        if let Some(program) = &self.program {
            launch.arg(program).args(crate::peer::arguments(&self.arguments, &self.asks));
        }
        launch.args(command.into_iter().map(Into::into));
        for name in &self.without {
            launch.env_remove(name);
        }
        launch.envs(self.environment).stdin(self.stdin).stdout(self.stdout).stderr(self.stderr);
        inherit(&mut launch, report_end.as_raw_fd());
        let mut launcher = launch.spawn().expect("the launcher does not start");
        drop(report_end);
        let mut pid = String::new();
        report.read_to_string(&mut pid).expect("the launcher's report");
        let Ok(pid) = pid.trim().parse() else {
            let mut text = String::new();
            if let Some(mut stderr) = launcher.stderr.take() {
                stderr.read_to_string(&mut text).expect("the launcher's stderr");
            }
            panic!("the launcher failed: {} {text}", launcher.wait().expect("wait"));
        };
        Running {
            pid,
            stdout: Lines::new(launcher.stdout.take().map(Into::into)),
            stderr: Lines::new(launcher.stderr.take().map(Into::into)),
            launcher,
            _directory: self.directory,
        }
    }

    /// Starts it with this command and waits for its end.
    pub(crate) fn run(self, command: impl IntoIterator<Item = impl Into<OsString>>) -> Output {
        self.start(command).finish()
    }

    /// Runs it with this command; returns the exit code.
    pub(crate) fn code(self, command: impl IntoIterator<Item = impl Into<OsString>>) -> i32 {
        let output = self.run(command);
        output.status.code().unwrap_or_else(|| panic!("no exit code: {output:?}"))
    }
}

/// Lets a child inherit a descriptor.
fn inherit(command: &mut Command, descriptor: RawFd) {
    let clear = move || {
        // SAFETY: fcntl is async-signal-safe and touches no memory.
        match unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure does nothing but that.
    unsafe { command.pre_exec(clear) };
}

/// Copies sexton. Not in this process: another test that forks meanwhile would hold the copy
/// open for writing for a moment, and it could not be executed (ETXTBSY).
pub(crate) fn copy_sexton(to: &Path) {
    let status = Command::new("cp").arg(sexton()).arg(to).status().expect("cp");
    assert!(status.success());
}

/// Writes until there is no more room, and leaves it blocking.
pub(crate) fn fill(pipe: &(impl AsFd + ?Sized)) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("non-blocking");
    for size in [1 << 16, 1] {
        while nix::unistd::write(pipe, &vec![b'x'; size]).is_ok() {}
    }
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::empty())).expect("blocking");
}

/// A line with errors in glibc's words, where musl has others.
pub(crate) fn in_glibcs_words(line: &str) -> String {
    let line = line.replace("Out of memory", "Cannot allocate memory");
    line.replace("No file descriptors available", "Too many open files")
}

/// Waits until a command that prints so is ready.
#[track_caller]
pub(crate) fn ready(mut running: Running) -> Running {
    assert!(running.stdout.line().starts_with("ready"));
    running
}

/// A sexton that runs. Dropping it kills it, and with it its namespace.
pub(crate) struct Running {
    /// Its PID as seen from here.
    pub(crate) pid: i32,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
    launcher: Child,
    _directory: Option<tempfile::TempDir>,
}

impl Running {
    /// Sends sexton a signal.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        assert_eq!(kill(self.pid, signal), Ok(()), "kill({}, {signal})", self.pid);
    }

    /// Waits for the next line of standard output, which is this one.
    #[track_caller]
    pub(crate) fn prints(&mut self, line: impl Display) {
        assert_eq!(self.stdout.line(), line.to_string());
    }

    /// The same of several lines that come in any order.
    #[track_caller]
    pub(crate) fn prints_in_any_order<const N: usize>(&mut self, mut lines: [&str; N]) {
        let mut printed: [String; N] = std::array::from_fn(|_| self.stdout.line());
        printed.sort();
        lines.sort();
        assert_eq!(printed, lines);
    }

    /// Waits for sexton's end.
    #[track_caller]
    pub(crate) fn status(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("sexton ends", || {
            status = self.launcher.try_wait().expect("wait");
            status.is_some()
        });
        status.expect("it ended")
    }

    /// Whether sexton has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.launcher.try_wait().expect("wait").is_some()
    }

    /// Waits for sexton's end, and takes all that it and its command printed.
    pub(crate) fn finish(mut self) -> Output {
        let stdout = self.stdout.rest();
        let stderr = self.stderr.rest();
        Output { status: self.status(), stdout, stderr }
    }

    /// A file in sexton's directory in /proc.
    pub(crate) fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid)).unwrap_or_default()
    }

    /// Whether sexton sleeps in its one wait, with nothing left to do.
    pub(crate) fn is_idle(&self) -> bool {
        // Others sleep in other calls.
        if Peer::under_test().is_some() {
            return is_in_state(self.pid, 'S');
        }
        self.proc("syscall").split(' ').next() == Some(&libc::SYS_rt_sigtimedwait.to_string())
            && self.status_field("ShdPnd").chars().all(|digit| digit == '0')
    }

    /// Whether sexton sleeps in one of these system calls.
    pub(crate) fn is_in(&self, calls: &[libc::c_long]) -> bool {
        let call = self.proc("syscall");
        calls.iter().any(|number| call.starts_with(&format!("{number} ")))
    }

    /// Whether it waits for a descriptor.
    pub(crate) fn is_in_poll(&self) -> bool {
        #[cfg(target_arch = "x86_64")]
        const CALLS: &[libc::c_long] = &[libc::SYS_poll, libc::SYS_ppoll];
        #[cfg(not(target_arch = "x86_64"))]
        const CALLS: &[libc::c_long] = &[libc::SYS_ppoll];
        self.is_in(CALLS)
    }

    /// A field of sexton's `/proc/PID/status`.
    pub(crate) fn status_field(&self, name: &str) -> String {
        status_field(self.pid, name)
    }

    /// The children of sexton.
    pub(crate) fn children(&self) -> Vec<Process> {
        children_of(self.pid)
    }

    /// How many of them are in this state: `Z` is a zombie, `T` stopped.
    pub(crate) fn children_in(&self, state: char) -> usize {
        self.children().iter().filter(|process| process.state == state).count()
    }

    /// Kills sexton's children, the command among them, and sees sexton end of it.
    pub(crate) fn end(&mut self) {
        for child in self.children() {
            let _ = kill(child.pid, SIGKILL);
        }
        assert_eq!(self.status().code(), Some(137));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The launcher takes sexton with it (PR_SET_PDEATHSIG), and a PID 1 its
        // namespace. Where it is not PID 1, tests see to their own leavings.
        if let Ok(None) = self.launcher.try_wait() {
            let _ = kill(self.pid, SIGKILL);
            let _ = self.launcher.wait();
        }
    }
}

/// Starts a command that leaves this many orphans behind, which end at once; it
/// waits for the end of its input.
pub(crate) fn leave_orphans(init: Init, count: u32) -> Running {
    let mut running = init.start(play(Role::Orphans(count)));
    running.prints("left");
    running
}

/// As PID 1, and as a subreaper, which is the command of a PID 1: were it to signal
/// strangers, these would not be the machine's.
pub(crate) fn both_ways(options: &[&str], command: Vec<OsString>) -> [(Init, Vec<OsString>); 2] {
    let mut inner: Vec<OsString> = vec![sexton().into()];
    inner.extend(words(options));
    inner.extend(command.iter().cloned());
    [(Init::pid1(options), command), (Init::pid1(&[]), inner)]
}

/// A command that exits with 5 and leaves such a straggler, which works for so many
/// milliseconds when it gets TERM.
pub(crate) fn left_behind(straggler: &[Straggler], work: u32) -> Vec<OsString> {
    play(Role::LeaveBehind { straggler: straggler.to_vec(), code: 5, work: work * MILLISECOND })
}

/// Standard error as text.
pub(crate) fn stderr_text(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}
