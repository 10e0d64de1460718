//! `--install`: sexton copies itself.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Output;

use nix::sys::stat::Mode;

use crate::support::*;

crate::tests![
    new sexton_installs_to_a_file_and_into_a_directory,
    new an_installed_file_is_replaced_again_and_again,
    new concurrent_installs_leave_one_file,
    new sexton_installs_without_proc,
    new a_noexec_mount_is_named,
    new a_full_disk_leaves_nothing_behind,
    new a_failed_install_names_the_reason,
    new no_device_or_pipe_is_replaced,
    new a_link_is_replaced_and_not_written_through,
];

fn install(target: &Path) -> Output {
    Init::plain(&["--install", target.to_str().unwrap()]).run(words(&[]))
}

fn is_installed(file: &Path) {
    assert_eq!(fs::read(file).unwrap(), fs::read(sexton()).unwrap());
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o755);
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn sexton_installs_to_a_file_and_into_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    for target in ["init", ".", ""] {
        let output = install(&directory.path().join(target));
        assert_eq!((output.status.code(), stderr_text(&output)), (Some(0), ""), "{target}");
        assert_eq!(output.stdout, b"");
    }
    assert_eq!(names(directory.path()), ["init", "sexton"]);
    is_installed(&directory.path().join("init"));
    is_installed(&directory.path().join("sexton"));
    // Whatever the umask, and the directory from where it is called.
    let mut command = shell("umask 077; cd \"$2\" && \"$1\" --install relative");
    command.extend(["sh".into(), sexton().into(), directory.path().into()]);
    assert_eq!(Init::plain(&[]).code(command), 0);
    is_installed(&directory.path().join("relative"));
}

fn an_installed_file_is_replaced_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("sexton");
    fs::write(&target, "something else").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o400)).unwrap();
    for _ in 0..3 {
        assert_eq!(install(directory.path()).status.code(), Some(0));
        is_installed(&target);
        // While it runs, as well.
        let mut command = words(&[]);
        command.extend([target.clone().into(), "--install".into(), target.clone().into()]);
        assert_eq!(Init::plain(&[]).code(command), 0);
        is_installed(&target);
    }
    assert_eq!(names(directory.path()), ["sexton"]);
}

fn concurrent_installs_leave_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().to_str().unwrap();
    // As PID 1 each, as init containers are.
    let mut all: Vec<_> = (0..20).map(|_| Init::pid1(&["--install", target]).start(words(&[]))).collect();
    for running in &mut all {
        assert_eq!(running.status().code(), Some(0));
    }
    assert_eq!(names(directory.path()), ["sexton"]);
    is_installed(&directory.path().join("sexton"));
}

fn sexton_installs_without_proc() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = words(&[]);
    command.extend([sexton().into(), "--install".into(), directory.path().into()]);
    assert_eq!(Init::pid1(&[]).given(Condition::NoProc).code(command), 0);
    is_installed(&directory.path().join("sexton"));
}

/// Runs `--install /mnt` as PID 1 of a mount namespace with such a file system there,
/// and shows what it leaves behind.
fn on_a_mount(options: &str) -> Output {
    let mut command =
        shell(r#"mount -t tmpfs -o "$2" none /mnt; "$1" --install /mnt; code=$?; ls -A /mnt; exit $code"#);
    command.extend(["sh".into(), sexton().into(), options.into()]);
    Init::pid1(&[]).run(command)
}

fn a_noexec_mount_is_named() {
    let output = on_a_mount("noexec");
    assert_eq!(output.status.code(), Some(125));
    let expected = "sexton: --install /mnt: mounted noexec: no program can be executed there\n";
    assert_eq!((stderr_text(&output), output.stdout.as_slice()), (expected, &b""[..]));
}

fn a_full_disk_leaves_nothing_behind() {
    let output = on_a_mount("size=16k");
    assert_eq!(output.status.code(), Some(125));
    let expected = "sexton: --install /mnt: No space left on device\n";
    assert_eq!((stderr_text(&output), output.stdout.as_slice()), (expected, &b""[..]));
}

fn a_failed_install_names_the_reason() {
    for (target, why) in [
        ("/nonexistent/sexton", "No such file or directory"),
        ("/dev/null/sexton", "Not a directory"),
        ("", "No such file or directory"),
        ("/proc/1", "No such file or directory"),
    ] {
        let output = Init::plain(&["--install", target]).run(words(&[]));
        assert_eq!(output.status.code(), Some(125), "{target}");
        let logged = stderr_text(&output);
        assert!(
            logged.starts_with(&format!("sexton: --install {target}: ")) && logged.lines().count() == 1,
            "{logged}"
        );
        let alternatives = [why, "Permission denied", "Operation not permitted"];
        assert!(alternatives.iter().any(|why| logged.ends_with(&format!("{why}\n"))), "{logged}");
    }
}

/// `/dev/null`, say, by a slip of the hand.
fn no_device_or_pipe_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (fifo, socket) = (directory.path().join("fifo"), directory.path().join("socket"));
    nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o666)).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();
    let null = Path::new("/dev/null");
    for target in [&fifo, &socket, null] {
        let before = fs::symlink_metadata(target).unwrap();
        let output = install(target);
        assert_eq!(output.status.code(), Some(125));
        let line = format!("sexton: --install {}: not replaced: not a regular file\n", target.display());
        assert_eq!(stderr_text(&output), line);
        assert_eq!(fs::symlink_metadata(target).unwrap().ino(), before.ino());
    }
    assert_eq!(names(directory.path()), ["fifo", "socket"]);
}

fn a_link_is_replaced_and_not_written_through() {
    let directory = tempfile::tempdir().unwrap();
    let (link, end) = (directory.path().join("link"), directory.path().join("end"));
    symlink(&end, &link).unwrap();
    assert_eq!(install(&link).status.code(), Some(0));
    is_installed(&link);
    assert!(!end.exists());
    fs::write(&end, "mine").unwrap();
    fs::remove_file(&link).unwrap();
    symlink(&end, &link).unwrap();
    assert_eq!(install(&link).status.code(), Some(0));
    assert!(link.symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read(&end).unwrap(), b"mine");
    // One that leads to a directory is that directory.
    fs::remove_file(&link).unwrap();
    fs::create_dir(directory.path().join("d")).unwrap();
    symlink("d", &link).unwrap();
    assert_eq!(install(&link).status.code(), Some(0));
    is_installed(&directory.path().join("d/sexton"));
}
