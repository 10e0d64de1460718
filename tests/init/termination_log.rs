//! `-T`: a container's last words.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::*;

crate::tests![
    new a_failure_is_written,
    new a_success_is_not_written,
    new a_command_that_does_not_start_is_written_as_a_failure,
    new a_script_without_an_interpreter_line_has_a_name,
    new the_last_signal_is_written_with_its_time,
    new an_existing_termination_log_is_kept,
    new odd_termination_logs_do_not_block,
    new an_unwritable_termination_log_is_reported,
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

fn odd_termination_logs_do_not_block() {
    let log = Log::new();
    assert!(std::process::Command::new("mkfifo").arg(&log.path).status().unwrap().success());
    let output = Init::pid1(&[&log.option()]).run(shell("exit 3"));
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr_text(&output).ends_with("log: No such device or address\n"), "{output:?}");
    assert_eq!(Init::pid1(&["-T=/dev/null"]).code(shell("exit 3")), 3);
    // A dangling link: no file is made at its end.
    let log = Log::new();
    let end = log.path.with_extension("end");
    std::os::unix::fs::symlink(&end, &log.path).unwrap();
    assert_eq!(Init::pid1(&[&log.option()]).code(shell("exit 3")), 3);
    assert!(!end.exists());
}

fn an_unwritable_termination_log_is_reported() {
    for (path, why) in [
        ("/nonexistent/log", "No such file or directory"),
        ("/", "Is a directory"),
        ("/dev/full", "No space left on device"),
    ] {
        let mut running = Init::pid1(&[&format!("-T={path}")]).start(play(Role::Receive));
        running.stdout.line();
        kill(running.children()[0].pid, SIGKILL).unwrap();
        assert_eq!(running.status().code(), Some(137));
        assert_eq!(running.stderr.line(), format!("sexton: {path}: {why}"));
    }
}
