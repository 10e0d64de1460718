//! `-T`: a container's last words.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use tempfile::TempDir;

use crate::support::*;

crate::tests![
    new a_failure_is_written,
    new a_success_is_not_written,
    new a_command_that_does_not_start_is_written_as_a_failure,
    new a_script_without_an_interpreter_line_has_a_name,
    new the_last_signal_is_written_with_its_time,
    new an_existing_termination_log_is_kept,
    new only_a_regular_file_is_written_to,
    new a_link_is_not_written_through,
    as_root a_file_of_the_kernels_own_is_not_written_to,
    new an_odd_name_is_escaped,
    new an_unwritable_termination_log_is_reported,
    new a_termination_log_on_a_full_disk_is_reported,
];

struct Log {
    _directory: TempDir,
    path: PathBuf,
}

impl Log {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { path: directory.path().join("log"), _directory: directory }
    }

    fn option(&self) -> String {
        format!("-T={}", self.path.display())
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }
}

fn a_failure_is_written() {
    for (command, words) in
        [(shell("exit 3"), " exited with 3\n"), (play(Role::Die(SIGSEGV)), " was killed by SIGSEGV\n")]
    {
        for existing in [false, true] {
            let log = Log::new();
            if existing {
                fs::write(&log.path, "").unwrap();
            }
            let name = PathBuf::from(&command[0]).file_name().unwrap().to_str().unwrap().to_owned();
            assert_ne!(Init::pid1(&[&log.option()]).code(command.clone()), 0);
            let text = log.text();
            assert!(text.starts_with(&format!("{name} (pid ")) && text.ends_with(words), "{text}");
            assert_eq!(fs::metadata(&log.path).unwrap().permissions().mode() & 0o777, 0o644);
        }
    }
    let log = Log::new();
    Init::plain(&[&format!("--termination-log={}", log.path.display())]).code(shell("exit 4"));
    assert!(log.text().ends_with(" exited with 4\n"));
}

fn a_success_is_not_written() {
    for (options, script) in [(&[][..], "exit 0"), (&["-e7"], "exit 7")] {
        let log = Log::new();
        let mut options = options.to_vec();
        let option = log.option();
        options.push(&option);
        assert_eq!(Init::pid1(&options).code(shell(script)), 0);
        assert!(!log.path.exists());
    }
}

fn a_command_that_does_not_start_is_written_as_a_failure() {
    let log = Log::new();
    let output = Init::pid1(&[&log.option()]).run(words(&["/nonexistent"]));
    assert_eq!(output.status.code(), Some(127));
    assert_eq!(log.text(), "/nonexistent: No such file or directory\n");
    assert_eq!(stderr_text(&output), "sexton: /nonexistent: No such file or directory\n");
}

/// It is found through PATH, and runs through the shell.
fn a_script_without_an_interpreter_line_has_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    fs::write(&script, "exit 3\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    for init in [Init::pid1(&["-vv"]), Init::plain(&["-vv"])] {
        let log = Log::new();
        let output = init.env("PATH", &path).env("SEXTON_OPTIONS", log.option()).run(words(&["script"]));
        assert_eq!(output.status.code(), Some(3));
        let text = log.text();
        assert!(text.starts_with("script (pid ") && text.ends_with(") exited with 3\n"), "{text}");
        assert!(stderr_text(&output).ends_with(&format!("sexton: {text}")), "{output:?}");
    }
}

fn the_last_signal_is_written_with_its_time() {
    let log = Log::new();
    let mut running = Init::pid1(&["-k300ms", &log.option()]).start(play(Role::Receive));
    running.stdout.line();
    for signal in [SIGHUP, SIGTERM] {
        running.signal(signal);
        running.stdout.line();
    }
    assert_eq!(running.status().code(), Some(137));
    let text = log.text();
    let (_, end) = text.split_once(" was killed by SIGKILL ").unwrap_or_else(|| panic!("{text}"));
    let seconds: f64 = end.strip_suffix(" s after SIGTERM\n").unwrap().parse().unwrap();
    assert!((0.3..30.0).contains(&seconds), "{text}");
}

fn an_existing_termination_log_is_kept() {
    let log = Log::new();
    fs::write(&log.path, "the program's own last words").unwrap();
    assert_eq!(Init::pid1(&[&log.option()]).code(shell("exit 3")), 3);
    assert_eq!(log.text(), "the program's own last words");
    // Written by the command itself.
    let log = Log::new();
    let mut command = shell("echo mine > $1; exit 3");
    command.extend(["sh".into(), log.path.clone().into()]);
    assert_eq!(Init::pid1(&[&log.option()]).code(command), 3);
    assert_eq!(log.text(), "mine\n");
}

/// Fails, and prints this one line.
#[track_caller]
fn is_refused(path: impl AsRef<Path>, why: &str) {
    let path = path.as_ref().display();
    let output = Init::pid1(&[&format!("-T={path}")]).run(shell("exit 3"));
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stderr_text(&output), format!("sexton: {path}: {why}\n"));
}

fn only_a_regular_file_is_written_to() {
    const WHY: &str = "not written to: not a regular file";
    let log = Log::new();
    nix::unistd::mkfifo(&log.path, Mode::from_bits_truncate(0o666)).unwrap();
    is_refused(&log.path, WHY);
    // With a reader, too.
    let _reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&log.path).unwrap();
    is_refused(&log.path, WHY);
    let log = Log::new();
    let _socket = UnixListener::bind(&log.path).unwrap();
    is_refused(&log.path, WHY);
    is_refused("/dev/null", WHY);
    is_refused("/dev/full", WHY);
    is_refused(Screen::new().path(), WHY);
    is_refused("/", "Is a directory");
}

/// Neither an empty file of another user's, nor one that does not exist yet.
fn a_link_is_not_written_through() {
    let log = Log::new();
    let end = log.path.with_extension("end");
    symlink(&end, &log.path).unwrap();
    is_refused(&log.path, "not written to: a symbolic link");
    assert!(!end.exists());
    fs::write(&end, "").unwrap();
    is_refused(&log.path, "not written to: a symbolic link");
    fs::remove_file(&log.path).unwrap();
    fs::hard_link(&end, &log.path).unwrap();
    is_refused(&log.path, "not written to: a file with another name (hard link)");
    assert_eq!(fs::read(&end).unwrap(), b"");
    // A link on the way to the file is the user's own business.
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    symlink(end.parent().unwrap(), &link).unwrap();
    assert_eq!(Init::pid1(&[&format!("-T={}/new", link.display())]).code(shell("exit 3")), 3);
    assert!(fs::read_to_string(end.with_file_name("new")).unwrap().ends_with("exited with 3\n"));
}

fn a_file_of_the_kernels_own_is_not_written_to() {
    const WHY: &str = "not written to: a file of the kernel's own";
    let knob = "/proc/sys/kernel/domainname";
    let before = fs::read(knob).unwrap();
    let log = Log::new();
    symlink(knob, &log.path).unwrap();
    is_refused(&log.path, "not written to: a symbolic link");
    is_refused(knob, WHY);
    symlink("/proc/sys/kernel", log.path.with_extension("d")).unwrap();
    is_refused(log.path.with_extension("d").join("domainname"), WHY);
    assert_eq!(fs::read(knob).unwrap(), before);
}

/// The command's name is one that a terminal would obey.
fn an_odd_name_is_escaped() {
    let log = Log::new();
    let program = log.path.with_file_name(OsStr::from_bytes(b"\x9b31m\xc2\x9d\x1b]0;x"));
    symlink("/bin/false", &program).unwrap();
    let output = Init::pid1(&["-vv", &log.option()]).run([program]);
    let shown = r"\x9b31m\xc2\x9d\x1b]0;x (pid 2) exited with 1";
    assert_eq!(log.text(), format!("{shown}\n"));
    assert!(stderr_text(&output).contains(&format!("sexton: {shown}\n")), "{output:?}");
}

fn an_unwritable_termination_log_is_reported() {
    is_refused("/nonexistent/log", "No such file or directory");
    is_refused("/etc/passwd/log", "Not a directory");
}

fn a_termination_log_on_a_full_disk_is_reported() {
    let script = r#"
        mount -t tmpfs -o size=4k none /mnt && : > /mnt/log && head -c 4096 /dev/zero > /mnt/full
        "$1" -T=/mnt/log sh -c 'exit 3'"#;
    let mut command = shell(script);
    command.extend(["sh".into(), sexton().into()]);
    let output = Init::pid1(&[]).run(command);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stderr_text(&output), "sexton: /mnt/log: No space left on device\n");
}
