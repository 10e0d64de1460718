//! Docker: as ENTRYPOINT, and as what `docker run --init` starts.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::common::screen::Screen;
use crate::engine::Engine;
use crate::engine::docker::Docker;
use crate::engine::features::{LIMITS, NO_DEFAULT_ACTIONS, REAL_TIME_SIGNALS};
use crate::support::{EXIT_CODES, file_with, lists, name, sexton, wait_until, zombies};

crate::engine::engine_tests![
    Docker:
        pid_1_is_sexton,
        exit_codes_are_passed_on,
        a_container_stops_at_once,
        a_container_stops_at_once_right_after_its_start,
        signals_arrive,
        orphans_are_reaped,
        a_terminal_has_job_control,
        ctrl_z_does_not_freeze_a_plain_command,
        the_default_seccomp_profile_refuses_nothing,
        version_and_commit_are_shown,
        the_variable_configures_the_engines_init,
        the_example_dockerfile_works,
        the_termination_log_is_where_kubernetes_looks,
        a_health_check_counts_zombies,
        sexton_installs_itself_from_a_read_only_image;
    Docker [NO_DEFAULT_ACTIONS]: a_shell_as_pid_1_takes_all_the_time_to_stop;
    Docker [REAL_TIME_SIGNALS]: a_real_time_signal_arrives;
    Docker [LIMITS]:
        sexton_works_locked_down,
        an_out_of_memory_kill_is_named,
        the_limits_that_were_reached_are_named;
];

/// Both ways: in the image, and from the engine.
const WAYS: [&[&str]; 2] = [&["--init=false", "sexton:test"], &["--init", "busybox:test"]];

fn both_ways<'a>(before: &[&'a str], after: &[&'a str]) -> [Vec<&'a str>; 2] {
    WAYS.map(|way| [before, way, after].concat())
}

fn pid_1_is_sexton(docker: &Docker) {
    for arguments in both_ways(&[], &["cat", "/proc/1/cmdline"]) {
        let output = docker.run(&arguments);
        let words = String::from_utf8(output.stdout).unwrap();
        let name = words.split('\0').next().unwrap();
        assert!(["/sexton", "/sbin/docker-init"].contains(&name), "{words}");
    }
    // The daemon's configuration makes it the default.
    let output = docker.run(&["busybox:test", "cat", "/proc/1/comm"]);
    assert_eq!(output.stdout, b"docker-init\n", "{output:?}");
}

fn exit_codes_are_passed_on(docker: &Docker) {
    let code = |arguments: &[&str]| docker.run(arguments).status.code();
    for (words, expected) in EXIT_CODES {
        for arguments in both_ways(&[], words) {
            assert_eq!(code(&arguments), Some(expected), "{arguments:?}");
        }
    }
}

const ENDLESS: &str = "echo ready; while :; do sleep 0.1; done";

fn a_container_stops_at_once(docker: &Docker) {
    for arguments in both_ways(&[], &["sh", "-c", ENDLESS]) {
        let container = docker.start_container(&arguments);
        container.prints("ready");
        let (took, code) = container.stop("50");
        // Well under a second here; the limit is for a machine under load.
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert_eq!(code, 143);
    }
}

/// As PID 1, a shell that does not handle TERM ignores it, as any program would.
fn a_shell_as_pid_1_takes_all_the_time_to_stop(docker: &Docker) {
    let shell = docker.start_container(&["--init=false", "busybox:test", "sh", "-c", ENDLESS]);
    shell.prints("ready");
    let (took, code) = shell.stop("3");
    assert!(took >= Duration::from_secs(3), "{took:?}");
    assert_eq!(code, 137);
}

/// However many descriptors there may be: a daemon often sets a million.
fn a_container_stops_at_once_right_after_its_start(docker: &Docker) {
    let limit = format!("nofile={0}:{0}", docker.descriptor_limit());
    for arguments in both_ways(&["--ulimit", &limit], &["sleep", "1000"]) {
        let container = docker.start_container(&arguments);
        let (took, code) = container.stop("50");
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert_eq!(code, 143);
    }
}

/// Sends each of these; then the command exits by the last.
fn arrive(docker: &Docker, signals: &[(&str, &str)]) {
    let script =
        "trap 'echo got-HUP' HUP; trap 'echo got-USR1' USR1; trap 'echo got-37' 37; trap 'exit 7' TERM
        echo ready; while :; do sleep 0.05; done";
    for arguments in both_ways(&[], &["sh", "-c", script]) {
        let container = docker.start_container(&arguments);
        container.prints("ready");
        for (signal, line) in signals {
            container.kill(signal);
            container.prints(line);
        }
        container.kill("TERM");
        assert_eq!(container.code(), 7);
    }
}

fn signals_arrive(docker: &Docker) {
    arrive(docker, &[("HUP", "got-HUP"), ("USR1", "got-USR1")]);
}

fn a_real_time_signal_arrives(docker: &Docker) {
    arrive(docker, &[("RTMIN+3", "got-37")]);
}

fn orphans_are_reaped(docker: &Docker) {
    let script = "for n in 1 2 3 4 5 6 7 8; do (sleep 0.5 &); done; echo left; exec sleep 1000";
    for arguments in both_ways(&[], &["sh", "-c", script]) {
        let container = docker.start_container(&arguments);
        container.prints("left");
        wait_until("they have ended, and no zombie is left", || {
            !lists(&container.exec(&["ps"]), "sleep 0.5") && zombies(|words| container.exec(words)) == 0
        });
    }
    // The control: without an init they stay.
    let container = docker.start_container(&["--init=false", "busybox:test", "sh", "-c", script]);
    container.prints("left");
    wait_until("they are zombies", || zombies(|words| container.exec(words)) == 8);
}

fn a_terminal_has_job_control(docker: &Docker) {
    for arguments in both_ways(&[], &["sh"]) {
        let mut terminal = Screen::new();
        let mut run = docker.client(&["run", "--rm", "-it", "--network", "none"]);
        run.args(&arguments);
        let mut client = terminal.start(run);
        terminal.types("echo up-$((1 + 1))\n");
        terminal.shows("up-2");
        // What is typed ahead, the shell may keep for itself.
        terminal.types("echo run-$((1 + 1)); cat\n");
        terminal.shows("run-2");
        terminal.types("first\n");
        terminal.shows("first\r\nfirst");
        terminal.types("\x1a");
        terminal.shows("Stopped");
        terminal.types("echo on-$((1 + 1)); fg\n");
        terminal.shows("on-2");
        terminal.shows("cat");
        terminal.types("second\n");
        terminal.shows("second\r\nsecond");
        terminal.types("\x03");
        terminal.shows("# ");
        terminal.types("echo alive-$((1 + 1)); exit 9\n");
        terminal.shows("alive-2");
        assert_eq!(client.wait().unwrap().code(), Some(9));
    }
}

/// No process could continue it.
fn ctrl_z_does_not_freeze_a_plain_command(docker: &Docker) {
    for arguments in both_ways(&[], &["sh", "-c", "echo ready; exec cat"]) {
        let (mut terminal, name) = (Screen::new(), name());
        let mut run = docker.client(&["run", "--rm", "-it", "--network", "none", "--name", &name]);
        run.args(&arguments);
        let mut client = terminal.start(run);
        terminal.shows("ready");
        terminal.types("first\n");
        terminal.shows("first\r\nfirst");
        terminal.types("\x1a");
        terminal.shows("^Z");
        // A program that is about to stop may still answer; after these it does not.
        for line in ["second", "third", "fourth"] {
            docker.answers(&["exec", &name, "true"]);
            terminal.types(&format!("{line}\n"));
            terminal.shows(&format!("{line}\r\n{line}"));
        }
        terminal.types("\x04");
        assert_eq!(client.wait().unwrap().code(), Some(0));
    }
}

const LOCKED_DOWN: [&str; 12] = [
    "--read-only",
    "--cap-drop",
    "ALL",
    "--user",
    "1234",
    "--security-opt",
    "no-new-privileges",
    "--pids-limit",
    "20",
    "--memory",
    "8m",
    "--memory-swap=8m",
];

fn sexton_works_locked_down(docker: &Docker) {
    let script = "(sleep 0.1 &); id -u; sleep 0.3; cat /proc/[0-9]*/stat | grep -c ') Z '; exit 42";
    for arguments in both_ways(&LOCKED_DOWN, &["sh", "-c", script]) {
        let output = docker.run(&arguments);
        assert_eq!(output.stdout, b"1234\n0\n", "{output:?}");
        assert_eq!(output.status.code(), Some(42));
    }
}

/// With every option; what is refused is logged at -v.
fn the_default_seccomp_profile_refuses_nothing(docker: &Docker) {
    let script = "(trap '' TERM; sleep 1000 &); (sleep 0 &); sleep 0.2; kill -USR1 1; sleep 1000";
    let options = "-vv -A -T -k 9 -t 200ms -d 0 -p KILL -m -r USR2:TERM";
    for arguments in both_ways(&["-e", &format!("SEXTON_OPTIONS={options}")], &["sh", "-c", script]) {
        let output = docker.run(&arguments);
        let logged = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(138), "it dies of its own USR1: {logged}");
        for refusal in ["not permitted", "not implemented", "denied", "nvalid"] {
            assert!(!logged.contains(refusal), "{logged}");
        }
        assert!(logged.contains("forwarding SIGUSR1") && logged.contains("phase: done"), "{logged}");
    }
}

/// Docker asks the init for both.
fn version_and_commit_are_shown(docker: &Docker) {
    let answer = Command::new(sexton()).arg("--version").output().expect("sexton");
    let answer = String::from_utf8(answer.stdout).unwrap();
    let (version, commit) = answer.trim().split_once(" - git.").unwrap_or((answer.trim(), ""));
    let format = "{{range .Server.Components}}{{.Name}} {{.Version}} {{.Details.GitCommit}}\n{{end}}";
    let shown = docker.answers(&["version", "--format", format]);
    let expected = format!("docker-init {} {commit}", version.trim_start_matches("sexton "));
    assert!(shown.lines().any(|line| line == expected), "{expected:?}: {shown}");
    let info = docker.answers(&["info"]);
    assert!(info.contains(&format!("init version: {commit}")), "{info}");
}

fn the_variable_configures_the_engines_init(docker: &Docker) {
    let script =
        "(trap 'sleep 0.3; echo last line; exit' TERM; while :; do sleep 0.05; done) & sleep 0.3; exit 5";
    let run = |options: &str| {
        let variable = format!("SEXTON_OPTIONS={options}");
        docker.run(&["--init", "-e", &variable, "busybox:test", "sh", "-c", script])
    };
    let output = run("-t 30");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(5), &b"last line\n"[..]));
    // The control: without it, they have no time.
    let output = run("");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(5), &b""[..]));
    let output = run("-q");
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(output.stderr, b"sexton: SEXTON_OPTIONS: -q: unknown option (see sexton --help)\n");
}

fn the_example_dockerfile_works(docker: &Docker) {
    let context = tempfile::tempdir().unwrap();
    fs::create_dir_all(context.path().join("target/release")).unwrap();
    fs::copy(sexton(), context.path().join("target/release/sexton")).unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Dockerfile.example");
    let path = context.path().to_str().unwrap();
    docker.answers(&[
        "build",
        "-q",
        "-f",
        file,
        "--build-arg",
        "BASE=busybox:test",
        "-t",
        "example:test",
        path,
    ]);
    let output = docker.run(&["--init=false", "example:test"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("and this is process 1:\n/sexton -- sh -c "), "{text}");
}

fn the_termination_log_is_where_kubernetes_looks(docker: &Docker) {
    let (_directory, log) = file_with("");
    let volume = format!("{}:/dev/termination-log", log.display());
    let container = docker.start_container(&[
        "--init",
        "-e",
        "SEXTON_OPTIONS=-T",
        "-v",
        &volume,
        "busybox:test",
        "sh",
        "-c",
        "trap '' TERM; echo ready; while :; do sleep 0.05; done",
    ]);
    container.prints("ready");
    container.kill("HUP");
    assert_eq!(container.code(), 129);
    let words = fs::read_to_string(log).unwrap();
    assert!(
        words.starts_with("sh (pid ")
            && words.contains(") was killed by SIGHUP 0.")
            && words.ends_with(" s after SIGHUP\n"),
        "{words}"
    );
}

fn an_out_of_memory_kill_is_named(docker: &Docker) {
    let (_directory, log) = file_with("");
    let volume = format!("{}:/dev/termination-log", log.display());
    let options = ["--memory", "20m", "--memory-swap", "20m", "-v", &volume, "-e", "SEXTON_OPTIONS=-T"];
    let output = docker.run(&[&options[..], &["--init", "busybox:test", "tail", "/dev/zero"]].concat());
    assert_eq!(output.status.code(), Some(137), "{output:?}");
    let words = fs::read_to_string(log).unwrap();
    let expected =
        " was killed by SIGKILL; 1 OOM kill in its cgroup since start; peak memory 20.0 MiB of 20.0 MiB\n";
    assert!(words.ends_with(expected), "{words}");
}

fn the_limits_that_were_reached_are_named(docker: &Docker) {
    let busy = "timeout 1 sh -c 'while :; do :; done'; exit 3";
    let forking = "n=0; while [ $n -lt 40 ]; do sleep 1000 & n=$((n + 1)); done; exit 3";
    for (limit, script, part) in [
        (["--cpus", "0.2"], busy, "; throttled in "),
        (["--pids-limit", "30"], forking, " refused"),
        (["--memory", "1g"], "exit 3", " exited with 3\n"),
    ] {
        let (_directory, log) = file_with("");
        let volume = format!("{}:/dev/termination-log", log.display());
        let options =
            ["-v", &volume, "-e", "SEXTON_OPTIONS=-T", "--init", "busybox:test", "sh", "-c", script];
        docker.run(&[&limit[..], &options].concat());
        let words = fs::read_to_string(log).unwrap();
        assert!(words.contains(part), "{words}");
    }
}

/// A program that does not wait for its child holds a zombie, until it ends itself.
fn a_health_check_counts_zombies(docker: &Docker) {
    let context = tempfile::tempdir().unwrap();
    let file = "FROM sexton:test\nHEALTHCHECK --interval=500ms --retries=1 CMD [\"/sexton\", \"-z\"]\n";
    fs::write(context.path().join("Dockerfile"), file).unwrap();
    docker.answers(&["build", "-q", "-t", "health:test", context.path().to_str().unwrap()]);
    let script = "read go < /tmp/go; sh -c 'sleep 0.1 & exec sleep 5'; exec sleep 1000";
    let script = format!("mkfifo /tmp/go; {script}");
    let container = docker.start_container(&["--init=false", "health:test", "sh", "-c", &script]);
    let becomes = |status: &str| {
        wait_until(status, || {
            docker.answers(&["inspect", "-f", "{{.State.Health.Status}}", &container.name]).trim() == status
        });
    };
    becomes("healthy");
    container.exec(&["sh", "-c", "echo > /tmp/go"]);
    becomes("unhealthy");
    let log = docker.answers(&["inspect", "-f", "{{json .State.Health.Log}}", &container.name]);
    assert!(log.contains("(sleep), which does not wait for its children: no init can reap it"), "{log}");
    becomes("healthy");
}

/// As an init container does it.
fn sexton_installs_itself_from_a_read_only_image(docker: &Docker) {
    let volume = tempfile::tempdir().unwrap();
    let mount = format!("{}:/volume", volume.path().display());
    for _ in 0..2 {
        let words = [
            "--read-only",
            "--init=false",
            "-v",
            &mount,
            "--entrypoint",
            "/sexton",
            "sexton:test",
            "--install",
            "/volume",
        ];
        let output = docker.run(&words);
        assert!(output.status.success(), "{output:?}");
    }
    let mount = format!("{}:/volume:ro", volume.path().display());
    let words = [
        "--init=false",
        "-v",
        &mount,
        "--entrypoint",
        "/volume/sexton",
        "busybox:test",
        "sh",
        "-c",
        "exit 6",
    ];
    assert_eq!(docker.run(&words).status.code(), Some(6));
}
