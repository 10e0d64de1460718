//! The search for the command, and what is reported if it cannot be started.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;

use crate::common::harness::Need;
use crate::common::wait::is_readable;
use crate::support::*;

crate::tests![
    new what_cannot_run_is_126_or_127,
    new a_missing_command_is_127,
    new a_file_that_cannot_be_executed_is_126,
    new a_missing_interpreter_is_named_as_such,
    as_root a_refused_fork_is_125_with_the_reason,
    new the_path_is_searched_in_order,
    new a_refusal_on_the_way_is_remembered,
    new a_path_of_128_kilobytes_is_searched,
    new without_a_path_the_usual_places_are_searched,
    new an_empty_entry_is_the_working_directory,
    new a_script_without_an_interpreter_line_runs_through_the_shell,
    new a_program_for_another_machine_does_not_run_through_the_shell,
    needing(EXEC_GATE) term_ends_a_command_that_takes_long_to_execute,
];

/// The exit code, and the one line that was printed.
fn failure(init: Init, command: &[&str]) -> (Option<i32>, String) {
    let output = init.run(words(command));
    assert!(output.stdout.is_empty());
    let line = stderr_text(&output);
    assert_eq!(line.matches('\n').count(), 1, "{line:?}");
    (output.status.code(), line.trim_end().to_owned())
}

fn write(path: &Path, content: impl AsRef<[u8]>, mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn what_cannot_run_is_126_or_127() {
    for (command, code) in [("/nonexistent", 127), ("nonexistent", 127), ("/etc/passwd", 126), ("/", 126)] {
        // Without directories that this user may not search.
        let init = Init::pid1(&[]).env("PATH", "/usr/bin:/bin");
        assert_eq!(init.code([command]), code, "{command}");
    }
}

fn a_missing_command_is_127() {
    for (command, why) in [
        ("/nonexistent", "No such file or directory"),
        ("no-such-command", "No such file or directory"),
        ("", "No such file or directory"),
        ("/etc/passwd/x", "Not a directory"),
    ] {
        // Not the user's own PATH: where part of it may not be searched, that is 126.
        let (code, line) = failure(Init::pid1(&[]).env("PATH", "/usr/bin:/bin"), &[command]);
        assert_eq!((code, line), (Some(127), format!("sexton: {command}: {why}")));
    }
}

fn a_file_that_cannot_be_executed_is_126() {
    for command in ["/etc/passwd", "/etc"] {
        let (code, line) = failure(Init::pid1(&[]), &[command]);
        assert_eq!((code, line), (Some(126), format!("sexton: {command}: Permission denied")));
    }
}

fn a_missing_interpreter_is_named_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    write(&script, "#!/no/such/interpreter\n", 0o755);
    let (code, line) = failure(Init::pid1(&[]), &[script.to_str().unwrap()]);
    assert_eq!(code, Some(127));
    assert!(
        line.ends_with("No such file or directory: the interpreter or loader that it names is missing"),
        "{line}"
    );
}

fn a_refused_fork_is_125_with_the_reason() {
    // A user of its own: the limit counts all of a user's processes.
    let user = Condition::User(2_000_000_000 + std::process::id());
    let init = Init::pid1(&[]).given(Condition::ProcessLimit(1)).given(user);
    let (code, line) = failure(init, &["true"]);
    assert_eq!((code, line.as_str()), (Some(125), "sexton: fork: Resource temporarily unavailable"));
}

fn the_path_is_searched_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    for (place, word) in [(&first, "first"), (&second, "second")] {
        fs::create_dir(place).unwrap();
        write(&place.join("tool"), format!("#!/bin/sh\necho {word} $0 $1\n"), 0o755);
    }
    let path = format!("/nonexistent:/etc/passwd:{}:{}", first.display(), second.display());
    let output = Init::pid1(&[]).env("PATH", path).run(words(&["tool", "one"]));
    assert_eq!(output.stdout, format!("first {}/tool one\n", first.display()).as_bytes());
}

fn a_refusal_on_the_way_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("tool"), "", 0o644);
    write(&directory.path().join("true"), "", 0o644);
    let path = format!("{}:/nonexistent:/usr/bin:/bin", directory.path().display());
    let (code, line) = failure(Init::pid1(&[]).env("PATH", &path), &["tool"]);
    assert_eq!((code, line.as_str()), (Some(126), "sexton: tool: Permission denied"));
    assert_eq!(Init::pid1(&[]).env("PATH", &path).code(words(&["true"])), 0);
}

fn a_path_of_128_kilobytes_is_searched() {
    let mut path = "/nonexistent/and/rather/long:".repeat(4000);
    path.push_str(&"x".repeat(9000));
    path.push_str(":/usr/bin:/bin");
    assert!(path.len() > 120 * 1024);
    assert_eq!(Init::pid1(&[]).env("PATH", path).code(words(&["true"])), 0);
}

fn without_a_path_the_usual_places_are_searched() {
    assert_eq!(Init::pid1(&[]).env_remove("PATH").code(words(&["true"])), 0);
}

fn an_empty_entry_is_the_working_directory() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("here"), "#!/bin/sh\nexit 7\n", 0o755);
    let here = Condition::WorkingDirectory(directory.path().display().to_string());
    for path in [":/nonexistent", "/nonexistent:", ""] {
        assert_eq!(Init::pid1(&[]).given(here.clone()).env("PATH", path).code(words(&["here"])), 7);
    }
}

fn a_script_without_an_interpreter_line_runs_through_the_shell() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    write(&script, "echo \"$0 $# $1\"\nexit 6\n", 0o755);
    for options in [&[][..], &["--"]] {
        let command = [script.as_os_str().to_owned(), "a b".into()];
        let output = Init::pid1(options).run(command);
        assert_eq!(output.status.code(), Some(6));
        let mut expected = script.as_os_str().as_bytes().to_vec();
        expected.extend_from_slice(b" 1 a b\n");
        assert_eq!(output.stdout, expected);
    }
    let path = format!("{}:/bin", directory.path().display());
    assert_eq!(Init::pid1(&[]).env("PATH", path).code(words(&["script"])), 6);
}

fn a_program_for_another_machine_does_not_run_through_the_shell() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    write(&program, b"\x7fELF\x01\x01\x01 of some other machine", 0o755);
    let name = program.to_str().unwrap();
    let (code, line) = failure(Init::pid1(&[]), &[name]);
    assert_eq!((code, line), (Some(126), format!("sexton: {name}: Exec format error")));
}

/// The kernel can be made to ask before it executes a file (`fanotify_mark(2)`,
/// FAN_OPEN_EXEC_PERM).
const EXEC_GATE: Need = Need::Other("fanotify", || ExecGate::of(Path::new("/dev/null")).is_ok());

/// Keeps every process waiting that executes a file, until it is dropped.
struct ExecGate(OwnedFd);

impl ExecGate {
    fn of(file: &Path) -> Result<Self, Errno> {
        let path = CString::new(file.as_os_str().as_bytes()).unwrap();
        // SAFETY: has no memory effect.
        let gate = unsafe { libc::fanotify_init(libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC, 0) };
        // SAFETY: it is new.
        let gate = Self(unsafe { OwnedFd::from_raw_fd(Errno::result(gate)?) });
        let (add, kind) = (libc::FAN_MARK_ADD, libc::FAN_OPEN_EXEC_PERM);
        // SAFETY: the path lives through the call.
        let marked =
            unsafe { libc::fanotify_mark(gate.0.as_raw_fd(), add, kind, libc::AT_FDCWD, path.as_ptr()) };
        Errno::result(marked).map(|_| gate)
    }

    /// Waits until a process does.
    fn is_reached(&self) -> bool {
        is_readable(&self.0)
    }
}

/// A lazily pulled image, a network file system, a virus scanner.
fn term_ends_a_command_that_takes_long_to_execute() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    for options in [&[][..], &["-c"], &["-wR", "-A", "-t", "1h"]] {
        for init in [Init::pid1(options), Init::plain(options)] {
            fs::copy("/bin/true", &program).unwrap();
            let gate = ExecGate::of(&program).unwrap();
            let mut running = init.start([&program]);
            assert!(gate.is_reached());
            running.signal(SIGTERM);
            assert_eq!(running.status().code(), Some(143));
            drop(gate);
            fs::remove_file(&program).unwrap();
        }
    }
}
