//! A Kubernetes node of this run's own: a kubelet without an API server, which takes its
//! pods from files, and a containerd.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use super::Started;
use crate::common::harness::{self, Need, is_root};
use crate::common::process::{children_of, has_ended};
use crate::image::architecture;
use crate::support::{
    all, deadline, parsed, place, root_file_system, run, sexton, text, version_of, wait_until,
};

/// What tests of Kubernetes need.
pub(crate) const KUBELET: Need = Need::Other("kubelet", || {
    let programs = ["containerd", "ctr", "runc", "ip", "nsenter", "busybox", "python3", "sha256sum"];
    is_root() && kubelet().exists() && Path::new(PLUGINS).join("bridge").exists() && all(&programs)
});

fn kubelet() -> PathBuf {
    std::env::var_os("SEXTON_TEST_KUBELET").map_or_else(|| harness::provided("kubelet"), PathBuf::from)
}

/// Where Debian has the plugins that give a pod its network.
const PLUGINS: &str = "/usr/lib/cni";

/// The kubelet's version, as in `1.20.2`.
fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| version_of(Command::new(kubelet())))
}

/// The version of containerd.
pub(crate) fn containerd_version() -> String {
    version_of(Command::new("containerd"))
}

/// What these tests run with.
pub(crate) fn versions() -> String {
    let cgroup = if is_cgroup_v2() { "v2" } else { "v1" };
    let (kubelet, containerd, runc) = (version(), containerd_version(), version_of(Command::new("runc")));
    format!("kubelet {kubelet}, containerd {containerd}, runc {runc}, cgroup {cgroup}")
}

/// Whether the kubelet's version is 1.MINOR or newer.
pub(crate) fn is_at_least(minor: u32) -> bool {
    let parts: Vec<u32> = version().split('.').map_while(|part| part.parse().ok()).collect();
    parts >= vec![1, minor]
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

/// The node. It has a mount, a network and a PID namespace, so that nothing survives their
/// PID 1: no process, no mount, no interface. It sees a /run, a /var/lib and a /var/log of
/// its own. Its cgroups are below one that has the name of this run's place.
pub(crate) struct Node {
    directory: PathBuf,
    /// PID 1 of its namespace.
    pid: i32,
}

static STARTED: Started = Started::new();
static NODE: OnceLock<Node> = OnceLock::new();

impl Node {
    pub(crate) fn get() -> &'static Self {
        STARTED.by("the node", &place().join("node/node.log"), || {
            let _ = NODE.set(Self::start());
        });
        NODE.get().expect("the node")
    }

    fn start() -> Self {
        let directory = place().join("node");
        for name in ["lib", "log", "manifests", "network", "plugins", "shared", "sysctls"] {
            fs::create_dir_all(directory.join(name)).expect("a directory");
        }
        for hierarchy in hierarchies() {
            fs::create_dir(hierarchy.join(cgroup(&directory))).expect("a cgroup");
        }
        make_images(&directory);
        let write = |name: &str, content: String| {
            fs::write(directory.join(name), content).expect("a file");
        };
        write("containerd.toml", containerd_configuration(&directory));
        write("network/10-bridge.conflist", NETWORK.into());
        write("kubelet.yaml", kubelet_configuration(&directory));
        write("node.sh", node_script(&directory));
        write("kubelet.sh", kubelet_script(&directory));

        let log = File::create(directory.join("node.log")).expect("a log");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--propagation", "private"]);
        command.args(["--fork", "--kill-child", "--mount-proc"]);
        // It reaps what containerd leaves behind.
        command.arg(sexton()).args(["--", "sh", "-e"]).arg(directory.join("node.sh"));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        // As with dockerd; but unshare blocks TERM.
        // SAFETY: prctl is async-signal-safe.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut unshare = command.spawn().expect("unshare");
            sender.send(unshare.id().cast_signed()).expect("a receiver");
            unshare.wait()
        });
        let unshare = receiver.recv().expect("a PID");
        wait_until("there is a PID 1", || !children_of(unshare).is_empty());
        let pid = children_of(unshare)[0].pid;
        write("pid", pid.to_string());

        let node = Self { directory, pid };
        wait_until("the kubelet answers", || {
            assert!(!has_ended(pid), "{}", node.log());
            thread::sleep(Duration::from_millis(100));
            node.client(&["busybox", "wget", "-q", "-O-", PODS]).output().is_ok_and(|o| o.status.success())
        });
        harness::note(&format!("kubelet version: {}", versions()));
        node
    }

    /// It ends when the tests have, as unshare then gets KILL. What is left is its cgroups.
    pub(crate) fn end(directory: &Path) {
        let pid = fs::read_to_string(directory.join("pid")).ok();
        if let Some(pid) = pid.and_then(|pid| pid.parse().ok()) {
            wait_until("the node ends", || has_ended(pid));
        }
        for hierarchy in hierarchies() {
            let cgroup = hierarchy.join(cgroup(directory));
            wait_until("its cgroups are removed", || {
                remove_cgroup(&cgroup);
                !cgroup.exists()
            });
        }
    }

    /// What containerd and the kubelet have logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("node.log")).expect("a log")
    }

    /// A command inside the node.
    fn client(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid.to_string(), "-m", "-n", "-p", "--"]).args(words);
        command
    }

    fn answers(&self, words: &[&str]) -> String {
        text(run(self.client(words)))
    }

    /// The PID of a container that runs, in the node's namespace.
    fn pid_of(&self, container: &str) -> Option<String> {
        let tasks = self.answers(&["ctr", "-n", "k8s.io", "tasks", "list"]);
        let mut tasks = tasks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        tasks.find_map(|task| match task[..] {
            [id, pid, "RUNNING"] if id == container => Some(pid.to_owned()),
            _ => None,
        })
    }

    /// A directory for a pod of this name and its test.
    pub(crate) fn shared(&self, name: &str) -> PathBuf {
        self.directory.join("shared").join(name)
    }

    /// Gives the kubelet a pod; the manifest names it.
    pub(crate) fn run_pod(&self, name: &str, manifest: &str) -> Pod<'_> {
        let manifests = self.directory.join("manifests");
        let pod = Pod { node: self, name: name.to_owned(), manifest: manifests.join(name) };
        // The kubelet does not read a file whose name begins with a dot.
        let draft = manifests.join(format!(".{name}"));
        fs::write(&draft, manifest).expect("a manifest");
        fs::rename(draft, &pod.manifest).expect("a manifest");
        pod
    }
}

const PODS: &str = "http://127.0.0.1:10255/pods";

/// Waits as `wait_until` does, but leaves the machine some time between two questions.
#[track_caller]
fn wait_for(what: &str, limit: Duration, mut holds: impl FnMut() -> bool, seen: impl Fn() -> String) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}; {}", seen());
        thread::sleep(Duration::from_millis(100));
    }
}

/// A pod with one container, besides init containers. The kubelet ends it when this is
/// dropped.
pub(crate) struct Pod<'a> {
    node: &'a Node,
    name: String,
    manifest: PathBuf,
}

impl Pod<'_> {
    /// What a Python expression makes of the status, as JSON: `p` is the pod, `s` the status
    /// of its container. `null` before there is one.
    pub(crate) fn status(&self, expression: &str) -> String {
        let pods = self.node.answers(&["busybox", "wget", "-q", "-O-", PODS]);
        // A pod that comes from a file has the node's name in its own.
        let of_this_pod = format!("if p['metadata']['name'] == '{}-node'", self.name);
        let containers = "for s in p['status'].get('containerStatuses', [])";
        let values = format!("{expression} for p in d['items'] or [] {of_this_pod} {containers}");
        parsed(pods.as_bytes(), &format!("next(({values}), None)"))
    }

    /// Waits for this value of an expression.
    #[track_caller]
    pub(crate) fn becomes(&self, expression: &str, expected: &str) {
        let holds = || self.status(expression) == expected;
        wait_for(&format!("{expression} is {expected}"), deadline(), holds, || {
            format!("{}\n{}", self.status("p['status']"), self.output())
        });
    }

    /// Waits until its container has ended for good; its exit code and its message.
    #[track_caller]
    pub(crate) fn failure(&self) -> (i32, String) {
        self.becomes("'terminated' in s['state']", "true");
        let code = self.status("s['state']['terminated']['exitCode']").parse().expect("a code");
        let message = self.status("s['state']['terminated'].get('message')");
        // JSON of a line, which is all in ASCII.
        let message = message.trim_matches('"').trim_end_matches("\\n").to_owned();
        (code, message)
    }

    pub(crate) fn shared(&self) -> PathBuf {
        self.node.shared(&self.name)
    }

    pub(crate) fn restart_count(&self) -> usize {
        self.status("s['restartCount']").parse().expect("a number")
    }

    /// What its containers have printed, each line after its time and its stream.
    pub(crate) fn output(&self) -> String {
        let logs = self.node.directory.join(format!("log/pods/default_{}-node", self.name));
        let mut cat = Command::new("sh");
        cat.args(["-c", "cat \"$0\"_*/*/*.log"]).arg(logs);
        // There may be none yet.
        String::from_utf8_lossy(&run(cat).stdout).into_owned()
    }

    /// Waits until it has printed this line.
    #[track_caller]
    pub(crate) fn prints(&self, line: &str) {
        let expected = format!(" F {line}");
        wait_for(
            &format!("it prints {line:?}"),
            deadline(),
            || self.output().lines().any(|printed| printed.ends_with(&expected)),
            || format!("{}\n{}", self.status("p['status']"), self.output()),
        );
    }

    /// Runs words in its container. Not by `ctr tasks exec`, which may lose the output.
    #[track_caller]
    pub(crate) fn exec(&self, words: &[&str]) -> String {
        let pid = self.node.pid_of(&self.container_id()).expect("a process");
        self.node.answers(&[&["nsenter", "-t", &pid, "-a", "--"], words].concat())
    }

    /// The status has it some time after the container has started.
    #[track_caller]
    fn container_id(&self) -> String {
        self.becomes("'running' in s['state']", "true");
        let id = self.status("s['containerID']");
        id.trim_matches('"').trim_start_matches("containerd://").to_owned()
    }

    /// How often the kubelet has seen its liveness probe end so: `successful` or `failed`.
    pub(crate) fn probes(&self, result: &str) -> usize {
        let metrics =
            self.node.answers(&["busybox", "wget", "-q", "-O-", "http://127.0.0.1:10255/metrics/probes"]);
        let pod = format!("pod=\"{}-node\"", self.name);
        let result = format!("result=\"{result}\"");
        let counts = metrics.lines().filter(|line| line.contains(&pod) && line.contains(&result));
        let counts = counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok());
        counts.sum()
    }

    /// Waits for so many successful probes.
    #[track_caller]
    pub(crate) fn is_probed(&self, count: usize) {
        // A probe may have a period of half a minute, and begins after as much.
        let limit = deadline() * 2;
        let holds = || self.probes("successful") >= count;
        wait_for("the probes succeed", limit, holds, || self.status("p['status']"));
    }

    /// Removes the manifest; how long it takes until the container has ended.
    #[track_caller]
    pub(crate) fn delete(&self) -> Duration {
        let id = self.container_id();
        let is_running = || self.node.pid_of(&id).is_some();
        assert!(is_running(), "{}", self.output());
        let start = Instant::now();
        fs::remove_file(&self.manifest).expect("a manifest");
        wait_for("the container ends", deadline(), || !is_running(), || self.output());
        start.elapsed()
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.manifest);
    }
}

fn is_cgroup_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Where the machine's cgroups are: in one tree, or in one for each controller.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if is_cgroup_v2() {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).expect("cgroups").filter_map(Result::ok);
    // `cpu` may be a link to `cpu,cpuacct`.
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// The name of the node's cgroup: that of this run's place.
fn cgroup(directory: &Path) -> &Path {
    directory.parent().and_then(Path::file_name).expect("a name").as_ref()
}

/// Removes a cgroup and those below it, as far as they are empty.
fn remove_cgroup(cgroup: &Path) {
    let Ok(entries) = fs::read_dir(cgroup) else { return };
    let entries = entries.filter_map(Result::ok);
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_cgroup(&entry.path());
    }
    let _ = fs::remove_dir(cgroup);
}

/// Makes an archive of the images, as `docker save` does.
fn make_images(directory: &Path) {
    let at = |name: &str| directory.join("images").join(name);
    fs::create_dir(at("")).expect("a directory");
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
