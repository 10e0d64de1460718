//! What tests of all engines use: the place of this run, commands, and images.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{self, SigHandler, Signal};
use tempfile::TempDir;

use crate::common::harness::{self, is_installed};

pub(crate) use crate::common::json::parsed;
pub(crate) use crate::common::wait::{deadline, repeat_until, wait_until};

pub(crate) fn all(programs: &[&str]) -> bool {
    programs.iter().all(|program| is_installed(program))
}

/// Names the directory of this run.
const VARIABLE: &str = "SEXTON_TEST_PLACE";

static PLACE: OnceLock<PathBuf> = OnceLock::new();

/// The directory of this run, for engines and images.
pub(crate) fn place() -> &'static Path {
    PLACE.get_or_init(|| std::env::var_os(VARIABLE).expect("a place").into())
}

pub(crate) fn is_in_place() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Makes the place, runs this program once more in it, and then `tidy_up`.
pub(crate) fn in_a_place(tidy_up: impl FnOnce() -> bool) -> ExitCode {
    let directory = tempfile::Builder::new().prefix("sexton-test-").tempdir().expect("a directory");
    fs::copy(harness::sexton(), directory.path().join("sexton")).expect("sexton");
    PLACE.set(directory.path().to_owned()).expect("no place yet");
    let mut tests = Command::new(std::env::current_exe().expect("a path"));
    tests.args(std::env::args_os().skip(1)).env(VARIABLE, directory.path()).stdin(Stdio::piped());
    // Before the tests start: a signal that is ignored, as by nohup(1), would be ignored in
    // containers, too. That it is handled is not inherited over exec.
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
        // SAFETY: the handler is async-signal-safe.
        unsafe { signal::signal(signal, SigHandler::Handler(pass_on)) }.expect("a handler");
    }
    let mut tests = tests.spawn().expect("the tests");
    TESTS.store(tests.id().cast_signed(), Ordering::Relaxed);
    // What lives as long as this process reads their standard input, which ends then.
    let lifeline = tests.stdin.take();
    let status = tests.wait().expect("the tests");
    let is_tidy = tidy_up();
    drop(lifeline);
    ExitCode::from(status.code().filter(|_| is_tidy).map_or(1, |code| code as u8))
}

/// The process that runs the tests, or 0.
static TESTS: AtomicI32 = AtomicI32::new(0);

/// What would end this process ends the tests, so that it can tidy up.
extern "C" fn pass_on(signal: libc::c_int) {
    let tests = TESTS.load(Ordering::Relaxed);
    if tests > 0 {
        // SAFETY: has no memory effect.
        unsafe { libc::kill(tests, signal) };
    }
}

/// The binary under test, where each engine sees it.
pub(crate) fn sexton() -> PathBuf {
    place().join("sexton")
}

/// A name that no other container, image or pod of this run has.
pub(crate) fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a command to its end; fails where it takes too long.
pub(crate) fn run(mut command: Command) -> Output {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawn");
    let streams = (read_all(child.stdout.take().unwrap()), read_all(child.stderr.take().unwrap()));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if start.elapsed() > deadline() {
            let _ = child.kill();
            let _ = child.wait();
            panic!("not within {:?}: {command:?}", deadline());
        }
        thread::sleep(Duration::from_millis(5));
    };
    Output { status, stdout: streams.0.join().unwrap(), stderr: streams.1.join().unwrap() }
}

fn read_all(mut stream: impl std::io::Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    })
}

/// The version that a program prints of itself.
pub(crate) fn version_of(mut program: Command) -> String {
    program.arg("--version");
    let printed = text(run(program));
    let is_version =
        |word: &&str| word.trim_start_matches('v').starts_with(|first: char| first.is_ascii_digit());
    let version = printed.split_whitespace().find(is_version).expect("a version");
    without_suffix(version.trim_start_matches('v')).to_owned()
}

/// A version, without what Debian adds.
pub(crate) fn without_suffix(version: &str) -> &str {
    version.split('+').next().and_then(|version| version.split("~ds").next()).expect("a version")
}

/// What a command printed, if it succeeded.
pub(crate) fn text(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Commands, and the exit codes that sexton passes on, or has for what does not run.
pub(crate) const EXIT_CODES: [(&[&str], i32); 6] = [
    (&["sh", "-c", "exit 42"], 42),
    (&["true"], 0),
    (&["nonexistent"], 127),
    (&["/tmp"], 126),
    (&["sh", "-c", "kill -KILL $$"], 137),
    (&["sh", "-c", "kill -TERM $$"], 143),
];

/// Whether `ps` lists a process of this command, and not just a script that contains it.
pub(crate) fn lists(ps: &str, command: &str) -> bool {
    let command = format!(" {command}");
    ps.lines().any(|line| line.trim_end().ends_with(&command))
}

/// How many zombies a container has; `exec` runs words there.
pub(crate) fn zombies(exec: impl Fn(&[&str]) -> String) -> usize {
    let states = exec(&["sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //'"]);
    states.lines().filter(|line| line.starts_with('Z')).count()
}

/// A root file system of busybox, with sexton as `/sexton`.
pub(crate) fn root_file_system() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = place().join("root");
        for name in ["bin", "proc", "sys", "dev", "tmp", "etc", "run"] {
            fs::create_dir_all(root.join(name)).expect("a directory");
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox");
        let list = Command::new("/bin/busybox").arg("--list").output().expect("busybox");
        for applet in text(list).lines().filter(|applet| *applet != "busybox") {
            symlink("busybox", root.join("bin").join(applet)).expect("a link");
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("passwd");
        fs::copy(sexton(), root.join("sexton")).expect("sexton");
        root
    })
}

/// The image of that, as a tar file.
pub(crate) fn image() -> File {
    let file = root_file_system().with_extension("tar");
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let mut tar = Command::new("tar");
        text(run({
            tar.arg("-C").arg(root_file_system()).args(["-c", "-f"]).arg(&file).arg(".");
            tar
        }));
    });
    File::open(&file).expect("the image")
}

/// A file with this content, in a directory that goes when the test ends.
pub(crate) fn file_with(content: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    File::create(&path).and_then(|mut file| file.write_all(content.as_bytes())).expect("a file");
    (directory, path)
}
