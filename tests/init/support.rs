//! Starting sexton the way a container engine or a shell would, and waiting for
//! what it does: on conditions, each with a deadline.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take. It is for a machine under load: what is waited for
/// happens within milliseconds.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) use crate::harness::sexton;

/// What another init is to be called with, so that the tests mean the same to it:
/// `SEXTON_ARGS` with the words before a test's own options, and `--` ends them.
pub(crate) fn with_arguments(options: &[OsString]) -> Vec<OsString> {
    match std::env::var("SEXTON_ARGS") {
        Ok(more) => {
            let more = more.split_whitespace().map(OsString::from);
            let end = (options.last().is_none_or(|last| last != "--")).then(|| "--".into());
            more.chain(options.iter().cloned()).chain(end).collect()
        }
        Err(_) => options.to_vec(),
    }
}

/// The words that run one of this binary's own roles (`roles.rs`) as a command.
pub(crate) fn play(role: &str) -> Vec<OsString> {
    let own = std::env::current_exe().expect("no path to the test binary");
    vec![own.into(), "--play".into(), role.into()]
}

/// The same with an argument for the role.
pub(crate) fn play_with(role: &str, argument: impl ToString) -> Vec<OsString> {
    let mut command = play(role);
    command.push(argument.to_string().into());
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
    conditions: Vec<String>,
    arguments: Vec<OsString>,
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
        init.conditions.push("namespace".into());
        init
    }

    /// As an ordinary process.
    pub(crate) fn plain(options: &[&str]) -> Self {
        Self {
            program: Some(sexton()),
            directory: None,
            conditions: Vec::new(),
            arguments: words(options),
            environment: Vec::new(),
            without: vec!["SEXTON_OPTIONS".into()],
            stdin: Stdio::null(),
            stdout: Stdio::piped(),
            stderr: Stdio::piped(),
        }
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

    /// One of the conditions that the `launch` role knows, for sexton to start in.
    pub(crate) fn given(mut self, condition: &str) -> Self {
        self.conditions.push(condition.into());
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
    pub(crate) fn start(self, command: impl IntoIterator<Item = impl Into<OsString>>) -> Running {
        let (mut report, report_end) = io::pipe().expect("pipe");
        let launcher = play("launch");
        let mut launch = Command::new(&launcher[0]);
        launch.args(&launcher[1..]).arg(report_end.as_raw_fd().to_string()).args(&self.conditions).arg("--");
        if let Some(program) = &self.program {
            launch.arg(program).args(with_arguments(&self.arguments));
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

/// Waits until a command that says so is ready.
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
    pub(crate) fn signal(&self, signal: i32) {
        assert_eq!(kill(self.pid, signal), 0, "kill({}, {signal}): {}", self.pid, io::Error::last_os_error());
    }

    /// Waits for sexton's end.
    pub(crate) fn status(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("sexton ends", || {
            status = self.launcher.try_wait().expect("wait");
            status.is_some()
        });
        status.expect("it ended")
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
        if std::env::var_os("SEXTON_ARGS").is_some() {
            return process(self.pid).is_some_and(|process| process.state == 'S');
        }
        self.proc("syscall").split(' ').next() == Some(&libc::SYS_rt_sigtimedwait.to_string())
            && self.status_field("ShdPnd").chars().all(|digit| digit == '0')
    }

    /// A field of sexton's `/proc/PID/status`.
    pub(crate) fn status_field(&self, name: &str) -> String {
        field(&self.proc("status"), name)
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
            kill(child.pid, libc::SIGKILL);
        }
        assert_eq!(self.status().code(), Some(137));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The launcher takes sexton with it (PR_SET_PDEATHSIG), and a PID 1 its
        // namespace. Where it is not PID 1, tests see to their own leavings.
        if let Ok(None) = self.launcher.try_wait() {
            kill(self.pid, libc::SIGKILL);
            let _ = self.launcher.wait();
        }
    }
}

/// A field of a `/proc/PID/status`.
pub(crate) fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// `kill(2)`.
pub(crate) fn kill(pid: i32, signal: i32) -> i32 {
    // SAFETY: has no memory effect.
    unsafe { libc::kill(pid, signal) }
}

/// A process, as /proc shows it.
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) state: char,
}

/// All processes.
pub(crate) fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(process).collect()
}

/// The children of a process.
pub(crate) fn children_of(pid: i32) -> Vec<Process> {
    let mut children = processes();
    children.retain(|process| process.parent == pid);
    children
}

/// One process, if it exists.
pub(crate) fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some(Process { pid, state: fields.next()?.parse().ok()?, parent: fields.next()?.parse().ok()? })
}

/// Waits until something holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The lines that come out of a pipe, each within the deadline.
pub(crate) struct Lines {
    pipe: Option<PipeReader>,
    buffer: Vec<u8>,
}

impl Lines {
    fn new(pipe: Option<std::os::fd::OwnedFd>) -> Self {
        Self { pipe: pipe.map(PipeReader::from), buffer: Vec::new() }
    }

    /// Waits for one line.
    pub(crate) fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).take(end).collect();
                return String::from_utf8(line).expect("a line of text");
            }
            assert!(self.fill(), "ended before the line: {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// All that is still to come.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.pipe.is_some() && self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    fn fill(&mut self) -> bool {
        let pipe = self.pipe.as_mut().expect("a pipe");
        assert!(
            is_readable(pipe),
            "nothing came within {DEADLINE:?}; so far: {:?}",
            String::from_utf8_lossy(&self.buffer)
        );
        let mut chunk = [0; 1 << 16];
        let length = pipe.read(&mut chunk).expect("read");
        self.buffer.extend_from_slice(&chunk[..length]);
        length > 0
    }
}

/// Waits until there is something to read, or the end; false if there is not.
fn is_readable(file: &impl AsRawFd) -> bool {
    let mut descriptor = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the pointer is to one descriptor.
    unsafe { libc::poll(&raw mut descriptor, 1, DEADLINE.as_millis() as i32) == 1 }
}

/// Starts a command that leaves this many orphans behind, which end at once; it
/// waits for the end of its input.
pub(crate) fn leave_orphans(init: Init, count: usize) -> Running {
    let mut running = init.start(play_with("orphans", count));
    assert_eq!(running.stdout.line(), "left");
    running
}

/// Standard error as text.
pub(crate) fn complaint(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

/// The far end of a pseudo-terminal: what a person has before them.
pub(crate) struct Screen {
    master: File,
    path: String,
    shown: String,
}

impl Screen {
    pub(crate) fn new() -> Self {
        // SAFETY: plain calls; the buffer is as long as is said.
        unsafe {
            let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
            assert!(master >= 0 && libc::grantpt(master) == 0 && libc::unlockpt(master) == 0);
            let mut name = [0; 64];
            assert_eq!(libc::ptsname_r(master, name.as_mut_ptr(), name.len()), 0);
            let path = CStr::from_ptr(name.as_ptr()).to_str().expect("text").to_owned();
            Self { master: File::from_raw_fd(master), path, shown: String::new() }
        }
    }

    /// The condition under which sexton has it as these descriptors.
    pub(crate) fn on(&self, descriptors: &str) -> String {
        format!("terminal={}:{descriptors}", self.path)
    }

    /// The same with a terminal that does not control its session.
    pub(crate) fn uncontrolled_on(&self, descriptors: &str) -> String {
        format!("other-terminal={}:{descriptors}", self.path)
    }

    /// Types something.
    pub(crate) fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("type");
    }

    /// Waits until something has been shown since what was waited for last; returns what
    /// was shown before it.
    pub(crate) fn shows(&mut self, text: &str) -> String {
        loop {
            if let Some(start) = self.shown.find(text) {
                let mut skipped: String = self.shown.drain(..start + text.len()).collect();
                skipped.truncate(start);
                return skipped;
            }
            assert!(is_readable(&self.master), "{text:?} does not come; shown: {:?}", self.shown);
            let mut chunk = [0; 4096];
            let length = self.master.read(&mut chunk).unwrap_or(0);
            assert!(length > 0, "hung up before {text:?}; shown: {:?}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
    }

    /// Changes its size.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the request takes a pointer to that.
        assert_eq!(unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }, 0);
    }

    /// Its settings, as numbers to compare.
    pub(crate) fn settings(&self) -> [u32; 4] {
        // SAFETY: zeroed termios are valid, and the call fills them in.
        let settings = unsafe {
            let mut settings = std::mem::zeroed::<libc::termios>();
            assert_eq!(libc::tcgetattr(self.master.as_raw_fd(), &raw mut settings), 0);
            settings
        };
        [settings.c_iflag, settings.c_oflag, settings.c_cflag, settings.c_lflag]
    }
}
