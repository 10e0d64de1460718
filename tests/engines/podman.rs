//! Podman: as its containers' init, as a pod's pause container, and in a Kubernetes Pod.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::engine::features::{PAUSES_WITH_INIT, SHARED_PIDS};
use crate::engine::podman::Podman;
use crate::support::{file_with, name, sexton, wait_until};

crate::engine::engine_tests![
    Podman:
        the_configured_init_is_sexton,
        init_path_names_sexton,
        a_container_stops_at_once,
        the_example_pod_works,
        the_example_deployment_works;
    Podman [SHARED_PIDS, PAUSES_WITH_INIT]: the_configured_init_pauses_a_pod;
    Podman [SHARED_PIDS]: the_infra_container_reaps_for_all_of_the_pod;
];

const IMAGE: &str = "localhost/busybox:test";

fn run(podman: &Podman, arguments: &[&str]) -> std::process::Output {
    podman.output(&[&["run", "--rm"], arguments].concat())
}

fn version() -> String {
    let output = Command::new(sexton()).arg("--version").output().expect("sexton");
    String::from_utf8(output.stdout).unwrap().trim().trim_start_matches("sexton").to_owned()
}

/// Where it is comes from the example of a configuration.
fn the_configured_init_is_sexton(podman: &Podman) {
    let output = run(podman, &["--init", IMAGE, "/run/podman-init", "--version"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("tini version{}", version()));
    for (words, code) in [(&["sh", "-c", "exit 42"][..], 42), (&["nonexistent"], 127)] {
        let output = run(podman, &[&["--init", IMAGE], words].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
}

fn init_path_names_sexton(podman: &Podman) {
    let path = sexton();
    let options = ["--init", "--init-path", path.to_str().unwrap(), "-e", "SEXTON_OPTIONS=-vv"];
    let output = run(podman, &[&options[..], &[IMAGE, "sh", "-c", "(sleep 0.1 &); sleep 0.3; cat /proc/1/cmdline; grep -c ') Z ' /proc/[0-9]*/stat >/dev/null; exit 7"]].concat());
    assert_eq!(output.status.code(), Some(7));
    assert!(output.stdout.starts_with(b"/run/podman-init\0--\0sh\0"), "{output:?}");
    let logged = String::from_utf8(output.stderr).unwrap();
    assert!(logged.contains(") exited with 7\n"), "{logged}");
}

fn a_container_stops_at_once(podman: &Podman) {
    let name = name();
    podman.answers(&["run", "-d", "--init", "--name", &name, IMAGE, "sleep", "1000"]);
    wait_until("the command runs", || podman.answers(&["exec", &name, "ps"]).contains("sleep 1000"));
    let start = Instant::now();
    podman.answers(&["stop", "-t", "50", &name]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(podman.answers(&["wait", &name]).trim(), "143");
    podman.answers(&["rm", &name]);
}

fn the_infra_container_reaps_for_all_of_the_pod(podman: &Podman) {
    let (pod, member) = (name(), name());
    podman.answers(&[
        "pod",
        "create",
        "--name",
        &pod,
        "--share",
        "pid",
        "--infra-image",
        "localhost/busybox:test",
        "--infra-command",
        "/sexton -P",
    ]);
    let script = "for n in 1 2 3 4; do (sleep 0.2 &); done; exec sleep 1000";
    podman.answers(&["run", "-d", "--pod", &pod, "--name", &member, IMAGE, "sh", "-c", script]);
    let seen = || {
        podman.answers(&[
            "exec",
            &member,
            "sh",
            "-c",
            "cat /proc/1/cmdline; cat /proc/[0-9]*/stat 2>/dev/null; true",
        ])
    };
    wait_until("the orphans came and went", || {
        let seen = seen();
        assert!(seen.starts_with("/sexton\0-P\0"), "{seen}");
        !seen.contains("(sleep) S 1 ") && !seen.contains(") Z ")
    });
    podman.answers(&["pod", "rm", "-f", "-t", "5", &pod]);
}

/// Without a word about an image or a command.
fn the_configured_init_pauses_a_pod(podman: &Podman) {
    let pod = name();
    podman.answers(&["pod", "create", "--name", &pod, "--share", "pid"]);
    let words = podman.answers(&["run", "--rm", "--pod", &pod, IMAGE, "cat", "/proc/1/cmdline"]);
    podman.answers(&["pod", "rm", "-f", "-t", "5", &pod]);
    assert_eq!(words, "/sexton\0-P\0");
}

/// A Pod that was made of a manifest.
struct Pod {
    podman: &'static Podman,
    name: String,
    container: String,
}

/// Plays one of the examples, with its images.
fn play(podman: &'static Podman, example: &str) -> Pod {
    for image in ["localhost/example/app:1", "localhost/example/sexton:1"] {
        podman.answers(&["tag", IMAGE, image]);
    }
    // Podman 4.3 stumbles over removing an init container that has just ended.
    let annotation = "io.podman.annotations.init.container.type: always";
    let example =
        example.replacen("metadata:\n", &format!("metadata:\n  annotations:\n    {annotation}\n"), 1);
    let (_directory, file) = file_with(&example);
    let printed = podman.answers(&["play", "kube", "--network", "none", file.to_str().unwrap()]);
    let after = |heading: &str| {
        let mut lines = printed.lines().skip_while(|line| !line.starts_with(heading));
        lines.nth(1).unwrap_or_else(|| panic!("{printed}")).to_owned()
    };
    Pod { podman, name: after("Pod:"), container: after("Container") }
}

impl Pod {
    fn runs_under_sexton(&self, first_words: &str) {
        let podman = self.podman;
        let words = podman.answers(&["exec", &self.container, "cat", "/proc/1/cmdline"]);
        assert!(words.starts_with("/sexton-bin/sexton\0-T\0"), "{words}");
        wait_until("it has started", || podman.answers(&["logs", &self.container]).contains(first_words));
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.podman.client(&["pod", "rm", "-f", "-t", "0", &self.name]).output();
    }
}

/// What it writes when it fails is tested with Docker: here /dev goes with the container.
fn the_example_pod_works(podman: &'static Podman) {
    let example =
        include_str!("../../examples/pod.yaml").replace("spec:\n", "spec:\n  restartPolicy: Never\n");
    let pod = play(podman, &example);
    pod.runs_under_sexton("running under process 1");
    podman.answers(&["kill", "-s", "HUP", &pod.container]);
    assert_eq!(podman.answers(&["wait", &pod.container]).trim(), "129");
}

fn the_example_deployment_works(podman: &'static Podman) {
    let pod = play(podman, include_str!("../../examples/deployment.yaml"));
    pod.runs_under_sexton("worker started");
    let start = Instant::now();
    podman.answers(&["pod", "stop", &pod.name]);
    assert!(start.elapsed() < Duration::from_secs(50), "{:?}", start.elapsed());
}
