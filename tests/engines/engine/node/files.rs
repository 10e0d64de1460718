//! What the node's programs read: images, configurations, and the scripts that start it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{PLUGINS, cgroup, is_at_least, kubelet};
use crate::image::architecture;
use crate::support::{root_file_system, run, text};

/// Makes all of it.
pub(super) fn write(directory: &Path) {
    for name in ["images", "lib", "log", "manifests", "network", "plugins", "shared", "sysctls"] {
        fs::create_dir(directory.join(name)).expect("a directory");
    }
    make_images(directory);
    for (name, content) in [
        ("containerd.toml", containerd_configuration(directory)),
        ("network/10-bridge.conflist", NETWORK.to_owned()),
        ("kubelet.yaml", kubelet_configuration(directory)),
        ("node.sh", node_script(directory)),
        ("kubelet.sh", kubelet_script(directory)),
    ] {
        fs::write(directory.join(name), content).expect("a file");
    }
}

/// The images: their names, entry points, and what is left out of the root file system.
const IMAGES: [(&str, &str, &[&str]); 4] = [
    ("example/app:1", "", &["./sexton"]),
    ("example/sexton:1", "", &["./bin", "./etc"]),
    ("localhost/pause:1", r#""/sexton", "-P""#, &["./bin", "./etc"]),
    ("localhost/busybox:1", "", &[]),
];

/// Where a namespace of the kubelet's own has files in place of the machine's settings, as a
/// kubelet changes these. In containerd's they would hinder pods with a user namespace.
const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Makes an archive of the images, as `docker save` does.
fn make_images(directory: &Path) {
    let at = |name: &str| directory.join("images").join(name);
    let tar = |archive: &Path, root: &Path, excluded: &[&str]| {
        let mut tar = Command::new("tar");
        tar.arg("-c").arg("-f").arg(archive).arg("-C").arg(root);
        tar.args(excluded.iter().map(|name| format!("--exclude={name}"))).arg(".");
        text(run(tar));
    };
    let mut manifests = Vec::new();
    for (number, (name, entry_point, excluded)) in IMAGES.iter().enumerate() {
        let (layer, configuration) = (format!("{number}.tar"), format!("{number}.json"));
        tar(&at(&layer), root_file_system(), excluded);
        let mut sha256 = Command::new("sha256sum");
        sha256.arg(at(&layer));
        let digest = text(run(sha256)).split(' ').next().unwrap_or_default().to_owned();
        let architecture = architecture();
        let json = format!(
            r#"{{"architecture": "{architecture}", "os": "linux",
                "config": {{"Entrypoint": [{entry_point}], "Env": ["PATH=/bin"]}},
                "rootfs": {{"type": "layers", "diff_ids": ["sha256:{digest}"]}}}}"#
        );
        fs::write(at(&configuration), json).expect("a file");
        manifests.push(format!(
            r#"{{"Config": "{configuration}", "RepoTags": ["{name}"], "Layers": ["{layer}"]}}"#
        ));
    }
    fs::write(at("manifest.json"), format!("[{}]", manifests.join(", "))).expect("a file");
    tar(&directory.join("images.tar"), &at(""), &[]);
}

/// containerd, as it is but for where its pods' sandboxes and networks come from. It may
/// have to do without the privilege to lower a process's score, and on a file system that no
/// overlay can be made of.
fn containerd_configuration(directory: &Path) -> String {
    format!(
        r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{PLUGINS}"
  conf_dir = "{}"
"#,
        directory.join("network").display()
    )
}

const NETWORK: &str = r#"{
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [{
        "type": "bridge",
        "bridge": "pods0",
        "isGateway": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]]}
    }]
}"#;

const SOCKET: &str = "unix:///run/containerd/containerd.sock";

fn kubelet_configuration(directory: &Path) -> String {
    let cgroup = cgroup(directory).display();
    let directory = directory.display();
    // Older ones have it as an option.
    let newer = if is_at_least(27) {
        format!(
            "containerRuntimeEndpoint: {SOCKET}\nfailCgroupV1: false\nlocalStorageCapacityIsolation: false\n"
        )
    } else {
        String::new()
    };
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: {directory}/manifests
volumePluginDir: {directory}/plugins
cgroupRoot: /{cgroup}
cgroupDriver: cgroupfs
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
address: 127.0.0.1
readOnlyPort: 10255
fileCheckFrequency: 1s
resolvConf: ""
# What a machine that is not the kubelet's own may have or lack.
failSwapOn: false
enforceNodeAllocatable: []
makeIPTablesUtilChains: false
oomScoreAdj: 0
evictionHard: {{memory.available: "0%", nodefs.available: "0%", imagefs.available: "0%"}}
imageGCHighThresholdPercent: 100
{newer}"#
    )
}

fn node_script(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        "mount --make-rshared /
mount -t tmpfs tmpfs /run
mount --bind '{directory}/lib' /var/lib
mount --bind '{directory}/log' /var/log
ip link set lo up
ip link add node0 type bridge
ip addr add 10.99.0.1/24 dev node0
ip link set node0 up
ip route add default via 10.99.0.2
# The kubelet asks there which cloud it is in.
ip route add unreachable 169.254.0.0/16
containerd --config '{directory}/containerd.toml' &
until ctr version > /dev/null 2>&1; do sleep 0.1; done
ctr -n k8s.io images import '{directory}/images.tar'
exec unshare --mount --propagation unchanged sh -e '{directory}/kubelet.sh'
"
    )
}

fn kubelet_script(directory: &Path) -> String {
    let mut script = "mount --make-rprivate /proc\n".to_owned();
    let directory = directory.display();
    for (number, (name, value)) in SYSCTLS.iter().enumerate() {
        let file = format!("'{directory}/sysctls/{number}'");
        script += &format!("echo {value} > {file}; mount --bind {file} /proc/sys/{name}\n");
    }
    let runtime = if is_at_least(27) {
        String::new()
    } else {
        format!("--container-runtime remote --container-runtime-endpoint {SOCKET}")
    };
    script
        + &format!(
            "exec '{}' --config '{directory}/kubelet.yaml' --hostname-override node --node-ip 10.99.0.1 -v 2 {runtime}\n",
            kubelet().display()
        )
}
