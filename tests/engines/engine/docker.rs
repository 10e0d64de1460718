//! Docker: a dockerd of this run's own for each row.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;

use super::features::{
    JOINS_FULL, JOINS_PIDS, KILLS_EXEC, LIMITS, MACHINES_FILES, NO_DEFAULT_ACTIONS, REAL_TIME_SIGNALS,
};
use super::home::{Cgroups, Home};
use super::{Engine, Row, import_images, noted_pid};
use crate::common::harness::{Need, is_installed, provided};
use crate::common::process::has_ended;
use crate::common::wait::{deadline, wait_until};
use crate::support::{name, sexton, text, version_of, without_suffix};

/// A dockerd: its socket, its data, and network and mount namespaces, so that it changes
/// nothing of the machine's.
pub(crate) struct Docker {
    row: Row,
    runtime: Option<Runtime>,
}

/// An OCI runtime, where it is not runc: the program that `scripts/engines` has set up.
struct Runtime {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// Whether a container may have more descriptors than the machine's limit.
    has_own_limits: bool,
}

const YOUKI: Runtime =
    Runtime { name: "youki", program: "youki/bin/youki", arguments: &[], has_own_limits: false };

/// Without a network, and without cgroups, which it would make among the machine's.
const GVISOR: Runtime = Runtime {
    name: "runsc",
    program: "gvisor/runsc",
    arguments: &["--network=none", "--ignore-cgroups"],
    has_own_limits: true,
};

static TABLE: [Docker; 5] = [
    Docker::new(Need::Other("docker", has_docker), Home::machine(), None, &[]),
    Docker::new(Need::Other("sid-docker", has_sid), Home::sid(Cgroups::Machine), None, &[MACHINES_FILES]),
    Docker::new(Need::Other("sid-docker-v2", has_sid), Home::sid(Cgroups::V2), None, &[MACHINES_FILES]),
    Docker::new(
        Need::Other("sid-docker-youki", || has_sid() && YOUKI.path().exists()),
        Home::sid(Cgroups::Machine),
        Some(YOUKI),
        &[MACHINES_FILES, REAL_TIME_SIGNALS, JOINS_FULL],
    ),
    Docker::new(
        Need::Other("sid-docker-gvisor", || has_sid() && GVISOR.path().exists()),
        Home::sid(Cgroups::Machine),
        Some(GVISOR),
        &[MACHINES_FILES, LIMITS, NO_DEFAULT_ACTIONS, REAL_TIME_SIGNALS, KILLS_EXEC, JOINS_PIDS],
    ),
];

fn has_docker() -> bool {
    Home::machine().has(&["dockerd", "docker", "runc", "busybox"])
}

fn has_sid() -> bool {
    is_installed("busybox") && Home::sid(Cgroups::Machine).has(&["dockerd", "docker", "containerd", "runc"])
}

impl Runtime {
    fn path(&self) -> PathBuf {
        provided(self.program)
    }
}

impl Engine for Docker {
    fn table() -> &'static [Self] {
        &TABLE
    }

    fn row(&self) -> &Row {
        &self.row
    }

    fn lacks(&self) -> Vec<Need> {
        let mut lacks = self.row.lacks.to_vec();
        if !self.row.home.has_controllers() {
            lacks.push(LIMITS);
        }
        lacks
    }

    fn start(&self) {
        let directory = self.directory();
        let at = |name: &str| directory.join(name);
        // Docker asks an init of this name, or `tini`, for its version.
        symlink(sexton(), at("docker-init")).expect("a link");
        fs::write(at("daemon.json"), self.configuration()).expect("daemon.json");
        let log = File::create(at("log")).expect("a log");
        let mut command = if self.row.home.is_machine() {
            // A containerd of the machine's would not see what this dockerd mounts.
            let hide =
                "mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd && exec dockerd \"$@\"";
            let mut command = Command::new("unshare");
            command.args(["--mount", "--net", "--propagation", "private", "sh", "-c", hide, "dockerd"]);
            command
        } else {
            self.row.home.command("dockerd", &directory)
        };
        command.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
        command.arg("--config-file").arg(at("daemon.json")).arg("--data-root").arg(at("data"));
        command.arg("--exec-root").arg(at("exec")).arg("--pidfile").arg(at("pid"));
        command.arg("-H").arg(self.host());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        // It shall not outlive us, whatever becomes of us; and that is tied to the life of
        // the thread which starts it.
        // SAFETY: prctl is async-signal-safe.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGTERM)?)) };
        thread::spawn(move || command.status());
        wait_until("dockerd answers", || {
            self.bare_client().arg("version").output().is_ok_and(|output| output.status.success())
        });
        import_images(self, "");
    }

    fn bare_client(&self) -> Command {
        let mut command = self.row.home.client("docker");
        command.env("DOCKER_HOST", self.host()).env("DOCKER_BUILDKIT", "0");
        command
    }

    fn versions(&self) -> String {
        let version = |of: &str| {
            let format = format!(
                "{{{{range .Server.Components}}}}{{{{if eq .Name {of:?}}}}}{{{{.Version}}}}{{{{end}}}}{{{{end}}}}"
            );
            let output = self.bare_client().args(["version", "--format", &format]).output().expect("docker");
            without_suffix(text(output).trim()).to_owned()
        };
        let (engine, containerd) = (version("Engine"), version("containerd"));
        let runtime = match &self.runtime {
            None => format!("runc {}", version("runc")),
            Some(runtime) => format!("{} {}", runtime.name, version_of(Command::new(runtime.path()))),
        };
        format!("Docker {engine}, containerd {containerd}, {runtime}")
    }

    /// It ends, with its containers, when the tests have: see [`Self::start`].
    fn end(&self) {
        let Some(pid) = noted_pid(&self.directory()) else { return };
        wait_until("dockerd ends", || has_ended(pid));
    }
}

impl Docker {
    const fn new(need: Need, home: Home, runtime: Option<Runtime>, lacks: &'static [Need]) -> Self {
        Self { row: Row::new(need, home, lacks), runtime }
    }

    /// The example, but for where sexton is and the OCI runtime.
    fn configuration(&self) -> String {
        let example = include_str!("../../../examples/daemon.json");
        let init = self.directory().join("docker-init");
        let example = example.replacen("/usr/local/bin/sexton", init.to_str().expect("text"), 1);
        assert!(example.contains(init.to_str().unwrap()));
        let Some(runtime) = &self.runtime else { return example };
        // Where the daemon sees it.
        let path = self.directory().join("runtime");
        fs::copy(runtime.path(), &path).expect(runtime.program);
        let arguments = runtime.arguments;
        let runtimes = format!(
            "{{\n\"runtimes\": {{ \"other\": {{ \"path\": {path:?}, \"runtimeArgs\": {arguments:?} }} }},
            \"default-runtime\": \"other\","
        );
        example.replacen('{', &runtimes, 1)
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.directory().join("socket").display())
    }

    /// How many descriptors a container may have at most: the usual number, where the
    /// machine's limit need not be raised, which root may lack a capability for.
    pub(crate) fn descriptor_limit(&self) -> u64 {
        const USUAL: u64 = 1_048_576;
        if self.runtime.as_ref().is_some_and(|runtime| runtime.has_own_limits) {
            return USUAL;
        }
        getrlimit(Resource::RLIMIT_NOFILE).map_or(USUAL, |(_, hard)| hard.min(USUAL))
    }

    /// `docker run` to its end, without a network; with the engine's init, which the
    /// daemon's configuration makes the default, unless `--init=false` is given.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut all = vec!["run", "--rm", "--network", "none"];
        all.extend(arguments);
        self.output(&all)
    }

    /// Starts a container in the background; returns its name.
    pub(crate) fn start_container(&self, arguments: &[&str]) -> Container<'_> {
        let name = name();
        let mut all = vec!["run", "-d", "--network", "none", "--name", &name];
        all.extend(arguments);
        self.answers(&all);
        Container { docker: self, name }
    }
}

/// A container of Docker's, which goes when this is dropped.
pub(crate) struct Container<'a> {
    docker: &'a Docker,
    pub(crate) name: String,
}

impl Container<'_> {
    pub(crate) fn logs(&self) -> String {
        let output = self.docker.output(&["logs", &self.name]);
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Waits until it has printed this line.
    pub(crate) fn prints(&self, line: &str) {
        let start = Instant::now();
        while !self.logs().lines().any(|printed| printed.trim_end() == line) {
            assert!(start.elapsed() < deadline(), "{line:?} does not come: {}", self.logs());
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn exec(&self, words: &[&str]) -> String {
        let mut all = vec!["exec", &self.name];
        all.extend(words);
        self.docker.answers(&all)
    }

    /// `docker stop`; how long it took, and the exit code.
    pub(crate) fn stop(&self, limit: &str) -> (Duration, i32) {
        let start = Instant::now();
        self.docker.answers(&["stop", "-t", limit, &self.name]);
        (start.elapsed(), self.code())
    }

    /// Waits for its end.
    pub(crate) fn code(&self) -> i32 {
        self.docker.answers(&["wait", &self.name]).trim().parse().expect("a code")
    }

    pub(crate) fn kill(&self, signal: &str) {
        self.docker.answers(&["kill", "-s", signal, &self.name]);
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.docker.client(&["rm", "-f", &self.name]).output();
    }
}
