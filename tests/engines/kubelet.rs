//! Kubernetes: pods on a real kubelet, which takes them from files.

use std::fs;
use std::time::Duration;

use crate::common::harness::{Need, Test};
use crate::node::{KUBELET, Node, Pod, is_at_least, version};
use crate::support::name;



crate::tests![
    needing(KUBELET) the_example_pod_works,
];

/// Runs a pod with this `spec:`, in YAML.
fn run_pod(spec: &str) -> Pod<'static> {
    let name = name();
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    let manifest = format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n{spec}");
    Node::get().run_pod(&name, &manifest)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn the_example_pod_works() {
    let pod = Node::get().run_pod("app", include_str!("../../examples/pod.yaml"));
    pod.prints("running under process 1");
    let words = pod.exec(&["cat", "/proc/1/cmdline"]);
    assert!(words.starts_with("/sexton-bin/sexton\0-T\0-d\05\0"), "{words}");
    let took = pod.delete();
    assert!(took >= seconds(5) && took < seconds(30), "{took:?}");
}
