//! Every file under `examples/`. The configurations are what the engines of these tests run
//! with, and the manifests are tested in `podman.rs` and `kubelet.rs`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Test;
use crate::common::harness::Need;
use crate::engine::docker::Docker;
use crate::engine::{self, Engine};
use crate::support::{all, name, run, sexton, text, wait_until};

const COMPOSE: Need = Need::Other("compose", || all(&["docker-compose"]));

crate::engine::engine_tests![
    Docker: every_dockerfile_works;
    Docker [COMPOSE]: the_compose_file_works;
];

/// Those that need no engine.
pub(crate) fn plain_tests() -> Vec<Test> {
    vec![
        Test::new("every_example_has_a_test", every_example_has_a_test),
        Test::new("the_readme_lists_every_engine", the_readme_lists_every_engine),
    ]
}

fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"))
}

fn every_dockerfile_works(docker: &Docker) {
    for base in ["debian", "alpine", "distroless", "scratch"] {
        let context = tempfile::tempdir().unwrap();
        fs::copy(sexton(), context.path().join("sexton")).unwrap();
        // A static program that knows --version.
        fs::copy(sexton(), context.path().join("app")).unwrap();
        let file = directory().join(format!("{base}.Dockerfile"));
        let (file, path, image) = (file.to_str().unwrap(), context.path().to_str().unwrap(), name());
        let base_image: &[&str] = if base == "scratch" { &[] } else { &["--build-arg", "BASE=busybox:test"] };
        docker.answers(&[&["build", "-q", "-f", file, "-t", &image], base_image, &[path]].concat());
        let output = docker.run(&["--init=false", &image]);
        assert!(output.status.success(), "{base}: {output:?}");
        let container = docker.start_container(&["--init=false", &image]);
        assert_eq!(container.code(), 0, "{base}");
    }
}

/// The services run without a network, as this daemon has none. Its
/// configuration gives every container an init: in the worker, there are two.
fn the_compose_file_works(docker: &Docker) {
    docker.answers(&["tag", "busybox:test", "example/app:1"]);
    let project = tempfile::tempdir().unwrap();
    fs::copy(sexton(), project.path().join("sexton")).unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/compose.yaml");
    fs::copy(example, project.path().join("compose.yaml")).unwrap();
    let services = ["worker", "engine"];
    let without_network: String =
        services.iter().map(|service| format!("  {service}:\n    network_mode: none\n")).collect();
    fs::write(
        project.path().join("override.yaml"),
        format!("version: \"2.4\"\nservices:\n{without_network}"),
    )
    .unwrap();
    let compose = |arguments: &[&str]| {
        let mut command = Command::new("docker-compose");
        command.env("DOCKER_HOST", docker.host()).current_dir(project.path());
        command.args(["-f", "compose.yaml", "-f", "override.yaml", "-p", "example"]).args(arguments);
        text(run(command))
    };
    compose(&["up", "-d"]);
    wait_until("both have started", || {
        let logs = compose(&["logs"]);
        services.iter().all(|service| logs.contains(&format!("{service} started")))
    });
    for (service, name) in [("worker", "/sexton\0-c\0-k\08\0"), ("engine", "/sbin/docker-init\0--\0sh\0")] {
        let words = compose(&["exec", "-T", service, "cat", "/proc/1/cmdline"]);
        assert!(words.contains(name), "{words}");
    }
    compose(&["down"]);
}

fn every_example_has_a_test() {
    let tests = [
        include_str!("examples.rs"),
        include_str!("kubelet.rs"),
        include_str!("engine/docker.rs"),
        include_str!("engine/podman.rs"),
    ]
    .concat();
    for entry in fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let stem = name.trim_end_matches(".Dockerfile");
        assert!(
            name == "README.md"
                || tests.contains(&format!("\"{stem}\""))
                || tests.contains(&format!("/{name}\"")),
            "{name}"
        );
        assert!(
            include_str!("../../examples/README.md").contains(&format!("({name})")) || name == "README.md",
            "{name}"
        );
    }
}

fn the_readme_lists_every_engine() {
    for name in engine::names().into_iter().chain(["kubelet"]) {
        assert!(include_str!("../../README.md").contains(&format!("\n| `{name}` | ")), "{name}");
    }
}
