//! Kubernetes: pods on a real kubelet, which takes them from files.

use std::fs;
use std::time::Duration;

use crate::common::harness::Need;
use crate::engine::node::{KUBELET, Node, Pod, containerd_version, is_at_least};
use crate::support::{name, wait_until};

crate::tests![
    needing(KUBELET) the_example_pod_works,
    needing(KUBELET) the_example_deployment_works,
    needing(KUBELET) how_it_failed_is_the_termination_message,
    needing(KUBELET) an_out_of_memory_kill_is_in_the_termination_message,
    needing(KUBELET) a_liveness_probe_restarts_what_hoards_zombies,
    needing(KUBELET) a_liveness_probe_leaves_alone_what_an_init_mends,
    needing(KUBELET) a_command_that_ignores_term_ends_before_the_grace_period,
    needing(KUBELET) what_remains_has_time_for_its_last_words,
    needing(KUBELET) a_delay_begins_after_the_pre_stop_hook,
    needing(KUBELET) sexton_works_in_a_hardened_pod,
    needing(KUBELET) the_sandbox_reaps_for_all_of_a_shared_namespace,
    needing(SIDECARS) a_native_sidecar_ends_after_the_app,
    needing(USER_NAMESPACES) sexton_works_in_a_user_namespace,
];

const SIDECARS: Need = Need::Other("kubelet-1.29", || KUBELET.is_met() && is_at_least(29));
const USER_NAMESPACES: Need = Need::Other("kubelet-1.33 and containerd-2", || {
    KUBELET.is_met() && is_at_least(33) && containerd_version().starts_with("2.")
});

/// Runs a pod with these fields of its `spec:` and of its container, each a line of YAML. A
/// directory that the test sees, too, is its /shared. There must be some volume, as a pod of
/// a cluster always has one: without, kubelet 1.20 removes the pod's cgroup when the pod is
/// deleted, and kills what is in it.
fn run_pod(of_pod: &[&str], of_container: &[&str]) -> Pod<'static> {
    let (node, name) = (Node::get(), name());
    let shared = format!("{{path: {}, type: DirectoryOrCreate}}", node.shared(&name).display());
    let manifest = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  {}
  volumes: [{{name: shared, hostPath: {shared}}}]
  containers:
  - name: app
    image: localhost/busybox:1
    volumeMounts: [{{name: shared, mountPath: /shared}}]
    {}
",
        of_pod.join("\n  "),
        of_container.join("\n    ")
    );
    node.run_pod(&name, &manifest)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What runs as PID 1 there.
#[track_caller]
fn init_of(pod: &Pod) -> String {
    pod.exec(&["cat", "/proc/1/cmdline"]).replace('\0', " ")
}

fn the_example_pod_works() {
    let pod = Node::get().run_pod("app", include_str!("../../examples/pod.yaml"));
    pod.prints("running under process 1");
    let init = init_of(&pod);
    assert!(init.starts_with("/sexton-bin/sexton -T -d 5 "), "{init}");
    let took = pod.delete();
    assert!(took >= seconds(5) && took < seconds(30), "{took:?}");
}

/// A Deployment is its controller's business. What reaches a kubelet is a pod of the
/// template, with a name.
fn the_example_deployment_works() {
    let deployment = include_str!("../../examples/deployment.yaml");
    let (_, template) = deployment.split_once("\n  template:\n").expect("a template");
    let lines = template.lines().map(|line| line.strip_prefix("    ").unwrap_or(line));
    let template: String = lines.map(|line| format!("{line}\n")).collect();
    let named = template.replacen("metadata:\n", "metadata:\n  name: worker\n", 1);
    let pod = Node::get().run_pod("worker", &format!("apiVersion: v1\nkind: Pod\n{named}"));
    pod.prints("worker started");
    let init = init_of(&pod);
    assert!(init.starts_with("/sexton-bin/sexton -T -c "), "{init}");
    pod.is_probed(1);
    assert_eq!(pod.restart_count(), 0);
    let took = pod.delete();
    // The grace period is 330 s.
    assert!(took < seconds(30), "{took:?}");
}

/// In `args`, `$$` stands for one `$`.
fn how_it_failed_is_the_termination_message() {
    let cases = [
        ("[sh, -c, kill -KILL $$$$]", 137, "sh (pid ", ") was killed by SIGKILL"),
        ("[sh, -c, exit 3]", 3, "sh (pid ", ") exited with 3"),
        ("[nonexistent]", 127, "nonexistent: ", "No such file or directory"),
        ("[/tmp]", 126, "/tmp: ", "Permission denied"),
    ];
    let pods = cases.map(|(args, ..)| {
        run_pod(&["restartPolicy: Never"], &["command: [/sexton, -T, --]", &format!("args: {args}")])
    });
    for (pod, (args, code, start, end)) in pods.iter().zip(cases) {
        let (status, message) = pod.failure();
        assert_eq!(status, code, "{args}");
        assert!(message.starts_with(start) && message.ends_with(end), "{args}: {message}");
    }
}

fn an_out_of_memory_kill_is_in_the_termination_message() {
    let pod = run_pod(
        &["restartPolicy: Never"],
        &["command: [/sexton, -T, --]", "args: [tail, /dev/zero]", "resources: {limits: {memory: 20Mi}}"],
    );
    let (code, message) = pod.failure();
    assert_eq!(code, 137, "{message}");
    let killed = " was killed by SIGKILL; 1 OOM kill in its cgroup since start; peak memory ";
    assert!(message.starts_with("tail (pid ") && message.contains(killed), "{message}");
    // The kernel charges pages by the batch, so the peak may end just below.
    assert!(message.ends_with(" of 20.0 MiB"), "{message}");
}

/// Fails when there are more zombies than that. The second by default is too short for a
/// machine under load.
fn liveness_probe(zombies: u32) -> String {
    let command = format!("[/sexton, -z={zombies}]");
    format!(
        "livenessProbe: {{exec: {{command: {command}}}, periodSeconds: 1, timeoutSeconds: 30, failureThreshold: 2}}"
    )
}

/// `sleep` does not wait for the children that it inherits from the shell.
fn a_liveness_probe_restarts_what_hoards_zombies() {
    let pod = run_pod(
        &[],
        &[
            "command: [/sexton, --]",
            "args: [sh, -c, sleep 0 & sleep 0 & sleep 0 & exec sleep 1000]",
            &liveness_probe(2),
        ],
    );
    pod.becomes("s['restartCount'] > 0", "true");
    assert!(pod.probes("failed") >= 2);
    // What the probe printed is in the kubelet's log, and in a cluster in the pod's events.
    let log = Node::get().log();
    let expected = "(sleep), which does not wait for its children: no init can reap it";
    assert!(log.contains(expected), "{}", pod.status("p['status']"));
}

/// Orphans all the time. PID 1 reaps them, or else they stay.
fn a_liveness_probe_leaves_alone_what_an_init_mends() {
    let script = "(while :; do (sleep 0.1 &); (sleep 0.1 &); sleep 0.1; done) & exec sleep 1000";
    let run = |init: &str| {
        run_pod(
            &["terminationGracePeriodSeconds: 1"],
            &[&format!("command: [{init}sh, -c, '{script}']"), &liveness_probe(20)],
        )
    };
    // The control: without an init, it is restarted.
    let (mended, control) = (run("/sexton, -w, --, "), run(""));
    control.becomes("s['restartCount'] > 0", "true");
    mended.is_probed(10);
    assert_eq!((mended.probes("failed"), mended.restart_count()), (0, 0));
    let reaped = mended.output().matches("reaped").count();
    assert!(reaped > 20, "{}", mended.output());
}

fn a_command_that_ignores_term_ends_before_the_grace_period() {
    let pod = run_pod(
        &["terminationGracePeriodSeconds: 50"],
        &[
            "command: [/sexton, -d, '3', -k, '4', --]",
            "args: [sh, -c, trap '' TERM; echo ready; while :; do sleep 0.1; done]",
        ],
    );
    pod.prints("ready");
    let took = pod.delete();
    assert!(took >= seconds(7) && took < seconds(25), "{took:?}");
}

/// The command dies of TERM at once. What it has started takes a second longer.
fn what_remains_has_time_for_its_last_words() {
    let helper =
        "trap 'sleep 1; echo done > /shared/helper; exit' TERM; echo ready; while :; do sleep 0.1; done";
    let run = |options: &str| {
        run_pod(
            &["terminationGracePeriodSeconds: 50"],
            &[
                &format!("command: [/sexton, {options}--]"),
                &format!("args: [sh, -c, \"({helper}) & exec sleep 1000\"]"),
            ],
        )
    };
    // The control: without -t, they have no time.
    for (pod, time) in [(run("-t, '20', "), true), (run(""), false)] {
        pod.prints("ready");
        let took = pod.delete();
        assert!(took < seconds(20), "{took:?}");
        assert_eq!(pod.shared().join("helper").exists(), time);
    }
}

/// TERM comes to sexton when the hook has ended, and to the command two seconds later.
fn a_delay_begins_after_the_pre_stop_hook() {
    let pod = run_pod(
        &["terminationGracePeriodSeconds: 50"],
        &[
            "command: [/sexton, -d, '2', --]",
            "args: [sh, -c, trap 'cat /proc/uptime > /shared/term; exit' TERM; echo ready; while :; do sleep 0.1; done]",
            "lifecycle: {preStop: {exec: {command: [sh, -c, sleep 1; cat /proc/uptime > /shared/hook]}}}",
        ],
    );
    pod.prints("ready");
    let took = pod.delete();
    assert!(took < seconds(25), "{took:?}");
    let time = |file: &str| {
        let uptime = fs::read_to_string(pod.shared().join(file)).expect("an uptime");
        uptime.split(' ').next().unwrap_or_default().parse::<f64>().expect("a number")
    };
    let between = time("term") - time("hook");
    assert!(between >= 1.9, "{between}");
}

/// In a shell: leaves an orphan, and waits until it is reaped.
const ORPHAN: &str =
    "(sleep 0.1 &); sleep 0.3; while cat /proc/[0-9]*/stat 2>/dev/null | grep -q ') Z '; do sleep 0.1; done";

fn sexton_works_in_a_hardened_pod() {
    let look = "id -u; grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/1/status; touch /file";
    let script = format!("{look}; {ORPHAN}; exit 42");
    let pod = run_pod(
        &[
            "restartPolicy: Never",
            "securityContext: {runAsNonRoot: true, runAsUser: 1234, seccompProfile: {type: RuntimeDefault}}",
        ],
        &[
            "command: [/sexton, -T, -t, '1', --]",
            &format!("args: [sh, -c, {script:?}]"),
            "securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}",
        ],
    );
    let (code, message) = pod.failure();
    assert_eq!(code, 42, "{}", pod.output());
    assert!(message.starts_with("sh (pid ") && message.ends_with(") exited with 42"), "{message}");
    for line in [
        "1234",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "CapEff:\t0000000000000000",
        "touch: /file: Read-only file system",
    ] {
        pod.prints(line);
    }
}

fn the_sandbox_reaps_for_all_of_a_shared_namespace() {
    let pod = run_pod(
        &["shareProcessNamespace: true", "terminationGracePeriodSeconds: 50"],
        &["command: [sh, -c, '(sh -c \"sleep 1; echo ended\" &); exec sleep 1000']"],
    );
    assert_eq!(init_of(&pod), "/sexton -P ");
    pod.prints("ended");
    let processes = || pod.exec(&["sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null; true"]);
    wait_until("the orphan is reaped", || !processes().contains(") Z "));
    let took = pod.delete();
    assert!(took < seconds(20), "{took:?}");
}

fn a_native_sidecar_ends_after_the_app() {
    let script = |name: &str| {
        format!(
            "trap 'sleep 1; echo {name} >> /shared/order; exit' TERM; echo {name}; while :; do sleep 0.1; done"
        )
    };
    let pod = run_pod(
        &[
            "terminationGracePeriodSeconds: 50",
            "initContainers:",
            "- name: sidecar",
            "  restartPolicy: Always",
            "  image: localhost/busybox:1",
            "  command: [/sexton, --]",
            &format!("  args: [sh, -c, {:?}]", script("sidecar")),
            "  volumeMounts: [{name: shared, mountPath: /shared}]",
        ],
        &["command: [/sexton, --]", &format!("args: [sh, -c, {:?}]", script("app"))],
    );
    pod.prints("sidecar");
    pod.prints("app");
    pod.delete();
    let order = || fs::read_to_string(pod.shared().join("order")).unwrap_or_default();
    wait_until("both have ended", || order().lines().count() == 2);
    assert_eq!(order(), "app\nsidecar\n");
}

fn sexton_works_in_a_user_namespace() {
    let look = "read inside outside count < /proc/1/uid_map; test $outside != 0";
    let script = format!("{look} || exit; {ORPHAN}; exit 42");
    let pod = run_pod(
        &["restartPolicy: Never", "hostUsers: false"],
        &["command: [/sexton, -T, --]", &format!("args: [sh, -c, {script:?}]")],
    );
    let (code, message) = pod.failure();
    assert_eq!(code, 42, "{}", pod.output());
    assert!(message.ends_with(") exited with 42"), "{message}");
}
