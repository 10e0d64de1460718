//! Health checks and `exec` with a time limit: nothing is left of them.

use std::fs;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::engine::docker::{Container, Docker};
use crate::engine::features::KILLS_EXEC;
use crate::engine::podman::Podman;
use crate::support::{name, wait_until};

crate::engine::engine_tests![
    Docker:
        docker_exec_with_a_limit_leaves_nothing,
        a_docker_health_check_with_a_limit_leaves_nothing;
    Docker [KILLS_EXEC]: a_shorter_limit_of_dockers_ends_the_command;
    Podman:
        podman_exec_with_a_limit_leaves_nothing,
        a_podman_health_check_with_a_limit_leaves_nothing;
];

/// Children of every kind, and none of them, nor the command, heeds TERM.
const PROBE: &str = "trap '' TERM
    sleep 1234 & setsid sleep 1234 & (sleep 1234 &) & (setsid sleep 1234 &) &
    while :; do sleep 0.1; done";

const LIMIT: [&str; 8] = ["/sexton", "-x", "0.3", "-k", "0.2", "-t", "0.2", "--"];

const ROUNDS: usize = 10;

fn probe<'a>(limit: &[&'a str]) -> Vec<&'a str> {
    [limit, &["sh", "-c", PROBE]].concat()
}

/// How many processes of the probes there are.
fn left(ps: &str) -> usize {
    ps.lines().filter(|line| line.contains("sleep 1234") && !line.contains("sh -c")).count()
}

fn left_in(container: &Container) -> usize {
    left(&container.exec(&["ps"]))
}

fn docker_exec_with_a_limit_leaves_nothing(docker: &Docker) {
    let container = docker.start_container(&["--init", "busybox:test", "sleep", "1000"]);
    let exec = |limit: &[&str]| docker.output(&[&["exec", &container.name], &probe(limit)[..]].concat());
    for _ in 0..ROUNDS {
        let output = exec(&LIMIT);
        assert_eq!(output.status.code(), Some(137), "{output:?}");
        assert_eq!(left_in(&container), 0);
    }
    // The control: timeout(1) ends its own child.
    let container = docker.start_container(&["--init", "busybox:test", "sleep", "1000"]);
    let mut client = docker.client(&["exec", "-d", &container.name]);
    assert!(client.args(probe(&["timeout", "-s", "KILL", "1"])).status().unwrap().success());
    wait_until("timeout is over", || left_in(&container) > 0 && !container.exec(&["ps"]).contains("timeout"));
    assert_eq!(left_in(&container), 4);
}

/// An image with such a health check.
fn with_health_check(docker: &Docker, check: &[&str], timeout: &str) -> String {
    let context = tempfile::tempdir().unwrap();
    let words: Vec<String> = check.iter().map(|word| format!("{word:?}")).collect();
    let file = format!(
        "FROM busybox:test\nHEALTHCHECK --interval=200ms --timeout={timeout} --retries=1 CMD [{}]\n",
        words.join(", ")
    );
    fs::write(context.path().join("Dockerfile"), file).unwrap();
    let image = format!("{}:test", name());
    docker.answers(&["build", "-q", "-t", &image, context.path().to_str().unwrap()]);
    image
}

fn wait_for_failures(docker: &Docker, container: &Container, count: usize) {
    wait_until("the checks have failed", || {
        let format = ["inspect", "-f", "{{.State.Health.FailingStreak}}", &container.name];
        docker.answers(&format).trim().parse::<usize>().unwrap() >= count
    });
}

fn a_docker_health_check_with_a_limit_leaves_nothing(docker: &Docker) {
    let image = with_health_check(docker, &probe(&LIMIT), "30s");
    let container = docker.start_container(&["--init", &image, "sleep", "1000"]);
    wait_for_failures(docker, &container, ROUNDS);
    wait_until("nothing is left between two checks", || left_in(&container) == 0);
    let log = docker.answers(&["inspect", "-f", "{{json .State.Health.Log}}", &container.name]);
    assert!(log.contains("\"ExitCode\":137"), "{log}");
    // The control.
    let image = with_health_check(docker, &probe(&["timeout", "-s", "KILL", "0.3"]), "30s");
    let container = docker.start_container(&["--init", &image, "sleep", "1000"]);
    wait_for_failures(docker, &container, 3);
    assert!(left_in(&container) >= 12);
}

fn a_shorter_limit_of_dockers_ends_the_command(docker: &Docker) {
    let check = ["/sexton", "-x", "1h", "-t", "1", "--", "sh", "-c", "sleep 1234 & exec sleep 4321"];
    let image = with_health_check(docker, &check, "300ms");
    let container = docker.start_container(&["--init", &image, "sleep", "1000"]);
    wait_for_failures(docker, &container, 3);
    wait_until("no command is left between two checks", || {
        let ps = container.exec(&["ps"]);
        // What the command has forked, no process is there to end.
        left(&ps) >= 3 && !ps.contains("sleep 4321")
    });
}

fn podman_exec_with_a_limit_leaves_nothing(podman: &Podman) {
    let name = name();
    podman.answers(&["run", "-d", "--init", "--name", &name, "localhost/busybox:test", "sleep", "1000"]);
    let ps = || podman.answers(&["exec", &name, "ps"]);
    wait_until("the command runs", || ps().contains("sleep 1000"));
    for _ in 0..ROUNDS {
        let output = podman.output(&[&["exec", &name], &probe(&LIMIT)[..]].concat());
        assert_eq!(output.status.code(), Some(137), "{output:?}");
        assert_eq!(left(&ps()), 0);
    }
    // The control.
    let control = probe(&["timeout", "-s", "KILL", "1"]);
    podman.answers(&[&["exec", "-d", &name], &control[..]].concat());
    wait_until("timeout is over", || left(&ps()) > 0 && !ps().contains("timeout"));
    assert_eq!(left(&ps()), 4);
    podman.answers(&["rm", "-f", "-t", "0", &name]);
}

/// A container with the probe as its health check, to be run by hand. The check is one line
/// of words, so the probe is in a file.
fn with_podman_health_check(podman: &Podman, limit: &[&str]) -> String {
    let name = name();
    let check = format!("--health-cmd={} sh /tmp/probe", limit.join(" "));
    let options = ["run", "-d", "--init", "--health-interval=disable", &check, "--name", &name];
    podman.answers(&[&options[..], &["localhost/busybox:test", "sleep", "1000"]].concat());
    wait_until("the command runs", || podman_ps(podman, &name).contains("sleep 1000"));
    podman.answers(&["exec", &name, "sh", "-c", "echo \"$0\" > /tmp/probe", PROBE]);
    name
}

fn podman_ps(podman: &Podman, name: &str) -> String {
    podman.answers(&["exec", name, "ps"])
}

fn a_podman_health_check_with_a_limit_leaves_nothing(podman: &Podman) {
    let name = with_podman_health_check(podman, &LIMIT);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let output = podman.output(&["healthcheck", "run", &name]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(start.elapsed() >= Duration::from_millis(500));
        assert_eq!(left(&podman_ps(podman, &name)), 0);
    }
    podman.answers(&["rm", "-f", "-t", "0", &name]);
    // The control.
    let name = with_podman_health_check(podman, &["timeout", "-s", "KILL", "0.3"]);
    podman.output(&["healthcheck", "run", &name]);
    wait_until("they are left", || left(&podman_ps(podman, &name)) == 4);
    podman.answers(&["rm", "-f", "-t", "0", &name]);
}
