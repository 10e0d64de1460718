//! `--top` on real containers: from within, and from a second container that shares the PID
//! namespace of the first one.

use std::process::{Command, Output};

use crate::engine::Engine;
use crate::engine::docker::Docker;
use crate::engine::features::{JOINS_FULL, LIMITS};
use crate::support::{parsed, repeat_until, run, sexton};

crate::engine::engine_tests![
    Docker [LIMITS]:
        a_container_that_is_throttled_is_named,
        a_limit_of_memory_that_is_reached_is_named,
        brief_children_add_up_to_the_cgroups_count,
        another_containers_limits_are_not_taken_for_its_own;
    Docker [LIMITS, JOINS_FULL]: a_limit_of_pids_that_is_reached_is_named;
];

/// The image with nothing but sexton in it.
pub(crate) fn scratch_image(docker: &Docker) -> &'static str {
    const NAME: &str = "scratch:test";
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(sexton(), directory.path().join("sexton")).unwrap();
    let tar = Command::new("tar").arg("-C").arg(directory.path()).args(["-c", "sexton"]).output().unwrap();
    let file = directory.path().join("tar");
    std::fs::write(&file, tar.stdout).unwrap();
    let mut import = docker.client(&["import", "-c", "ENTRYPOINT [\"/sexton\"]"]);
    let output = import.arg(&file).arg(NAME).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    NAME
}

/// Runs `sexton` from a second container, which has nothing and may do nothing.
pub(crate) fn from_beside(docker: &Docker, container: &str, options: &[&str], sexton: &[&str]) -> Output {
    let pid = format!("--pid=container:{container}");
    let image = scratch_image(docker);
    docker.run(&[&["--init=false", &pid], options, &[image], sexton].concat())
}

/// As little as Docker gives.
pub(crate) const LOCKED_DOWN: &[&str] = &["--read-only", "--cap-drop", "ALL", "--user", "65534"];

fn exec(docker: &Docker, container: &str, options: &[&str]) -> Output {
    run(docker.client(&[&["exec", container, "/sexton"], options].concat()))
}

fn lines(output: &Output) -> Vec<&str> {
    assert_eq!(output.stderr, b"", "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap().lines().collect()
}

fn a_container_that_is_throttled_is_named(docker: &Docker) {
    let container =
        docker.start_container(&["--cpus", "0.2", "busybox:test", "sh", "-c", "while :; do :; done"]);
    let throttled = |line: &&str| {
        line.starts_with("Throttled by the CPU limit in ") && line.ends_with(" periods: it has 0.20 CPUs.")
    };
    let output = repeat_until(
        || exec(docker, &container.name, &["--top=2"]),
        |output| {
            lines(output).iter().any(throttled)
                && lines(output).iter().any(|line| line.starts_with("sh uses 0."))
        },
    );
    let lines = lines(&output);
    assert_eq!(output.status.code(), Some(1), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains(" of 0.20 CPUs")), "{lines:#?}");
}

/// Not from within: `docker exec` needs PIDs, too.
fn a_limit_of_pids_that_is_reached_is_named(docker: &Docker) {
    let script = "n=0; while [ $n -lt 38 ]; do sleep 1000 & n=$((n + 1)); done; echo ready; wait";
    let container = docker.start_container(&["--pids-limit", "40", "busybox:test", "sh", "-c", script]);
    container.prints("ready");
    let output = from_beside(docker, &container.name, &[], &["--top=0.5"]);
    let lines = lines(&output);
    assert_eq!(output.status.code(), Some(1), "{lines:#?}");
    assert!(lines.contains(&"The limit of PIDs is reached, 40 of 40: the next fork fails."), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("; 40 of 40 PIDs")), "{lines:#?}");
}

fn a_limit_of_memory_that_is_reached_is_named(docker: &Docker) {
    let script = "while :; do tail /dev/zero; done";
    let container = docker.start_container(&[
        "--memory",
        "32m",
        "--memory-swap",
        "32m",
        "busybox:test",
        "sh",
        "-c",
        script,
    ]);
    let killed = |line: &&str| line.contains("OOM kill") && line.ends_with(" because memory ran out.");
    let output = repeat_until(
        || from_beside(docker, &container.name, &[], &["--top=3"]),
        |output| lines(output).iter().any(killed),
    );
    let lines = lines(&output);
    assert_eq!(output.status.code(), Some(1), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains(" of 32 MiB")), "{lines:#?}");
}

/// Each of some 30 ms, which no look needs to see.
fn brief_children_add_up_to_the_cgroups_count(docker: &Docker) {
    let script = "while :; do sh -c 'n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done'; done";
    let container = docker.start_container(&["busybox:test", "sh", "-c", script]);
    // The kernel adds a child's time up in whole ticks.
    let add_up = |output: &Output| {
        let number = |expression: &str| parsed(&output.stdout, expression).parse::<f64>().unwrap();
        let counted = number("d['cgroup']['since_first_look']['cpu_nanoseconds'] / 1e9 / d['seconds']");
        (number("d['cpus']") / counted - 1.0).abs() < 0.05
    };
    let output = repeat_until(
        || exec(docker, &container.name, &["--top=4", "--format=json"]),
        |output| output.status.code() == Some(0) && add_up(output),
    );
    assert_eq!(parsed(&output.stdout, "[row['parent']['program'] for row in d['ended']][:1]"), "[\"sh\"]");
}

fn another_containers_limits_are_not_taken_for_its_own(docker: &Docker) {
    let container = docker.start_container(&["--pids-limit", "40", "busybox:test", "sleep", "1000"]);
    let unknown = from_beside(
        docker,
        &container.name,
        &[LOCKED_DOWN, &["--pids-limit", "20"]].concat(),
        &["--top=0.2"],
    );
    assert!(lines(&unknown).iter().any(|line| line.contains("limits unknown")), "{unknown:?}");
    let known = from_beside(docker, &container.name, &["--pids-limit", "20"], &["--top=0.2"]);
    assert!(lines(&known).iter().any(|line| line.contains(" of 40 PIDs")), "{known:?}");
}
