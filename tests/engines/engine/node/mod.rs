//! A Kubernetes node of this run's own: a kubelet without an API server, which takes its
//! pods from files, and a containerd.

mod files;

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use super::home::is_machine_on_v2;
use super::{Started, noted_pid};
use crate::common::harness::{self, Need, is_root};
use crate::common::process::{children_of, has_ended};
use crate::support::{all, deadline, parsed, place, run, sexton, text, version_of, wait_until};

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
    let cgroup = if is_machine_on_v2() { "v2" } else { "v1" };
    let (kubelet, containerd, runc) = (version(), containerd_version(), version_of(Command::new("runc")));
    format!("kubelet {kubelet}, containerd {containerd}, runc {runc}, cgroup {cgroup}")
}

/// Whether the kubelet's version is 1.MINOR or newer.
pub(crate) fn is_at_least(minor: u32) -> bool {
    let parts: Vec<u32> = version().split('.').map_while(|part| part.parse().ok()).collect();
    parts >= vec![1, minor]
}

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
        fs::create_dir(&directory).expect("a directory");
        for hierarchy in hierarchies() {
            fs::create_dir(hierarchy.join(cgroup(&directory))).expect("a cgroup");
        }
        files::write(&directory);

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
        fs::write(directory.join("pid"), pid.to_string()).expect("a file");

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
        if let Some(pid) = noted_pid(directory) {
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

/// Where the machine's cgroups are: in one tree, or in one for each controller.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if is_machine_on_v2() {
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
