//! The image that scripts/package makes, where it has been made: for `docker run`, for `COPY
//! --from`, and as a volume.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::harness::Need;
use crate::engine::Engine;
use crate::engine::docker::Docker;
use crate::engine::features::JOINS_PIDS;
use crate::engine::podman::Podman;
use crate::support::{name, place, wait_until};

crate::engine::engine_tests![
    Docker [IMAGE]:
        docker_loads_the_image_of_each_architecture,
        the_image_serves_copy_from;
    Docker [IMAGE, JOINS_PIDS]: the_image_lists_the_zombies_of_another_container;
    Podman [IMAGE]:
        podman_loads_the_image_of_this_machine,
        the_image_is_a_volume;
];

const IMAGE: Need = Need::Other("image", || image().exists());

fn image() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/sexton-oci.tar")
}

/// What Docker and Podman call the architecture of this machine.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Loads it from where the engine sees it; returns its name.
fn load(engine: &impl Engine, suffix: &str) -> String {
    let file = place().join(name());
    fs::copy(image(), &file).expect("a copy");
    engine.answers(&["load", "--input", file.to_str().unwrap()]);
    fs::remove_file(file).expect("a copy");
    format!("localhost/sexton:{VERSION}{suffix}")
}

fn loaded_by_docker(docker: &Docker) -> String {
    load(docker, &format!("-{}", architecture()))
}

fn loaded_by_podman(podman: &Podman) -> String {
    load(podman, "")
}

fn docker_loads_the_image_of_each_architecture(docker: &Docker) {
    let name = loaded_by_docker(docker);
    assert!(docker.answers(&["run", "--rm", "--network", "none", &name, "--version"]).contains(VERSION));
    let images = docker.answers(&["images", "localhost/sexton", "--format", "{{.Tag}}"]);
    for arch in fs::read_dir(image().parent().unwrap())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().is_dir())
    {
        let arch = arch.unwrap().file_name().into_string().unwrap();
        let tag = match arch.as_str() {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "armv7" => "arm",
            other => other,
        };
        let tag = format!("{VERSION}-{tag}");
        assert!(images.lines().any(|line| line == tag), "no {tag} among {images}");
    }
    let field = |format| docker.answers(&["image", "inspect", "--format", format, &name]).trim().to_owned();
    assert_eq!(field("{{.Config.User}} {{.Config.Entrypoint}}"), "65532:65532 [/sexton]");
    assert_eq!(field("{{index .Config.Labels \"org.opencontainers.image.version\"}}"), VERSION);
}

fn the_image_serves_copy_from(docker: &Docker) {
    let (image, name) = (loaded_by_docker(docker), name());
    let directory = tempfile::tempdir().expect("a directory");
    let dockerfile = format!(
        "FROM busybox:test\nCOPY --from={image} /sexton /tini /bin/\nENTRYPOINT [\"/bin/sexton\", \"--\"]\n"
    );
    fs::write(directory.path().join("Dockerfile"), dockerfile).expect("a file");
    docker.answers(&["build", "--network", "none", "--tag", &name, directory.path().to_str().unwrap()]);
    let run = |words: &[&str]| docker.run(&[&["--init=false", &name], words].concat());
    assert_eq!(run(&["sh", "-c", "exit 42"]).status.code(), Some(42));
    assert!(run(&["/bin/tini", "--version"]).stdout.starts_with(b"tini version "));
    docker.answers(&["rmi", &name]);
}

fn the_image_lists_the_zombies_of_another_container(docker: &Docker) {
    let image = loaded_by_docker(docker);
    let script = "sleep 0.1 & exec sleep 1000";
    let container = docker.start_container(&["--init=false", "busybox:test", "sh", "-c", script]);
    let pid = format!("container:{}", container.name);
    wait_until("there is a zombie", || container.exec(&["ps"]).contains("[sleep]"));
    let output = docker.run(&["--init=false", "--pid", &pid, &image, "-z"]);
    let listed = String::from_utf8_lossy(&output.stdout);
    assert!(listed.contains("PID 1 (sleep) does not reap"), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
}

fn podman_loads_the_image_of_this_machine(podman: &Podman) {
    let name = loaded_by_podman(podman);
    assert!(podman.answers(&["run", "--rm", &name, "--version"]).contains(VERSION));
    let arch = podman.answers(&["image", "inspect", "--format", "{{.Architecture}}", &name]);
    assert_eq!(arch.trim(), architecture());
}

fn the_image_is_a_volume(podman: &Podman) {
    let image = loaded_by_podman(podman);
    let mount = format!("type=image,source={image},destination=/init");
    let run = ["run", "--rm", "--mount", &mount, "--entrypoint", "/init/sexton", "localhost/busybox:test"];
    let output = podman.output(&[&run[..], &["sh", "-c", "cat /proc/1/comm; exit 7"]].concat());
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(7), b"sexton\n".as_slice()),
        "{output:?}"
    );
}
