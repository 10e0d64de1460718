//! The engines of one run, and what tests do with them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::common::harness::{Need, is_installed, is_root};
use crate::common::process::process;
use crate::node::Node;

pub(crate) use crate::common::harness::sexton;
pub(crate) use crate::common::json::parsed;
pub(crate) use crate::common::wait::{deadline, repeat_until, wait_until};

/// What tests of Docker need.
pub(crate) const DOCKER: Need =
    Need::Other("docker", || is_root() && all(&["dockerd", "docker", "runc", "busybox"]));
/// What tests of Podman need.
pub(crate) const PODMAN: Need = Need::Other("podman", || is_root() && all(&["podman", "runc", "busybox"]));

pub(crate) fn all(programs: &[&str]) -> bool {
    programs.iter().all(|program| is_installed(program))
}

/// Names the directory of this run, for engines and images.
const PLACE: &str = "SEXTON_TEST_ENGINES";

pub(crate) fn place() -> PathBuf {
    std::env::var_os(PLACE).expect("a place").into()
}

pub(crate) fn is_in_place() -> bool {
    std::env::var_os(PLACE).is_some()
}

/// Makes the place, lets `f` run this program in it, and ends what was started there.
pub(crate) fn in_a_place<T>(f: impl FnOnce(Command) -> T) -> T {
    let directory = tempfile::Builder::new().prefix("sexton-test-").tempdir().expect("a directory");
    let mut child = Command::new(std::env::current_exe().expect("a path"));
    child.env(PLACE, directory.path());
    let result = f(child);
    Docker::end(&directory.path().join("docker"));
    Podman::end(&directory.path().join("podman"));
    Node::end(&directory.path().join("node"));
    result
}

/// A name that no other container, image or pod of this run has.
pub(crate) fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a command to its end; fails where it takes too long.
pub(crate) fn run(mut command: Command) -> Output {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawn");
    let streams = (read_all(child.stdout.take().unwrap()), read_all(child.stderr.take().unwrap()));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if start.elapsed() > deadline() {
            let _ = child.kill();
            let _ = child.wait();
            panic!("not within {:?}: {command:?}", deadline());
        }
        thread::sleep(Duration::from_millis(5));
    };
    Output { status, stdout: streams.0.join().unwrap(), stderr: streams.1.join().unwrap() }
}

fn read_all(mut stream: impl std::io::Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    })
}

/// What a command printed, if it succeeded.
pub(crate) fn text(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// A root file system of busybox, with sexton as `/sexton`.
pub(crate) fn root_file_system() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = place().join("root");
        for name in ["bin", "proc", "sys", "dev", "tmp", "etc", "run"] {
            fs::create_dir_all(root.join(name)).expect("a directory");
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox");
        let list = Command::new("/bin/busybox").arg("--list").output().expect("busybox");
        for applet in text(list).lines().filter(|applet| *applet != "busybox") {
            symlink("busybox", root.join("bin").join(applet)).expect("a link");
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("passwd");
        fs::copy(sexton(), root.join("sexton")).expect("sexton");
        root
    })
}

/// The image of that, as a tar file.
fn image() -> File {
    let file = root_file_system().with_extension("tar");
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let mut tar = Command::new("tar");
        text(run({
            tar.arg("-C").arg(root_file_system()).args(["-c", "-f"]).arg(&file).arg(".");
            tar
        }));
    });
    File::open(&file).expect("the image")
}

/// The images that both engines have: busybox, and the same with sexton as entry point.
const IMAGES: [(&str, &[&str]); 2] = [
    ("busybox:test", &["ENV PATH=/bin"]),
    ("sexton:test", &["ENV PATH=/bin", "ENTRYPOINT [\"/sexton\",\"--\"]"]),
];

fn import(engine: &impl Engine, prefix: &str) {
    for (name, changes) in IMAGES {
        let mut import = engine.client(&["import"]);
        for change in changes {
            import.args(["-c", change]);
        }
        let output = import.arg("-").arg(format!("{prefix}{name}")).stdin(image()).output().expect("import");
        assert!(output.status.success(), "{output:?}");
    }
}

/// An engine of this run's own, as its client reaches it.
pub(crate) trait Engine {
    /// The client, without arguments.
    fn command(&self) -> Command;

    /// The client with these.
    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = self.command();
        command.args(arguments);
        command
    }

    /// Runs the client to its end.
    fn output(&self, arguments: &[&str]) -> Output {
        run(self.client(arguments))
    }

    /// What the client prints, if it succeeds.
    fn answers(&self, arguments: &[&str]) -> String {
        text(self.output(arguments))
    }
}

/// A dockerd of this run's own: its socket, its data, and network and mount namespaces,
/// so that it changes nothing of the machine's.
pub(crate) struct Docker {
    directory: PathBuf,
}

static DOCKER_DAEMON: OnceLock<Docker> = OnceLock::new();

impl Docker {
    pub(crate) fn get() -> &'static Self {
        DOCKER_DAEMON.get_or_init(Self::start)
    }

    fn start() -> Self {
        let directory = place().join("docker");
        fs::create_dir(&directory).expect("a directory");
        let at = |name: &str| directory.join(name);
        symlink(sexton(), at("init")).expect("a link");
        // The example is the configuration, but for where sexton is.
        let example = include_str!("../../examples/daemon.json");
        let configuration = example.replace("/usr/local/bin/sexton", at("init").to_str().expect("text"));
        assert_ne!(example, configuration);
        fs::write(at("daemon.json"), configuration).expect("daemon.json");
        let log = File::create(at("log")).expect("a log");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--propagation", "private", "dockerd"]);
        command.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
        command.arg("--config-file").arg(at("daemon.json")).arg("--data-root").arg(at("data"));
        command.arg("--exec-root").arg(at("exec")).arg("--pidfile").arg(at("pid"));
        command.arg("-H").arg(format!("unix://{}", at("socket").display()));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        // It shall not outlive us, whatever becomes of us; and that is tied to the life of
        // the thread which starts it.
        // SAFETY: prctl is async-signal-safe.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGTERM)?)) };
        thread::spawn(move || command.status());
        let docker = Self { directory };
        wait_until("dockerd answers", || {
            docker.client(&["version"]).output().is_ok_and(|output| output.status.success())
        });
        import(&docker, "");
        docker
    }

    /// It ends, with its containers, when the tests have: see [`Self::start`].
    fn end(directory: &Path) {
        let Ok(pid) = fs::read_to_string(directory.join("pid")) else { return };
        let pid = pid.trim().parse().expect("a PID");
        wait_until("dockerd ends", || process(pid).is_none());
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.directory.join("socket").display())
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

impl Engine for Docker {
    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", self.host()).env("DOCKER_BUILDKIT", "0");
        command
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

/// A store of Podman's of this run's own.
pub(crate) struct Podman {
    directory: PathBuf,
}

static PODMAN_STORE: OnceLock<Podman> = OnceLock::new();

impl Podman {
    pub(crate) fn get() -> &'static Self {
        PODMAN_STORE.get_or_init(Self::start)
    }

    fn start() -> Self {
        let directory = place().join("podman");
        fs::create_dir(&directory).expect("a directory");
        // The example, with where sexton is and what a machine like CI's needs: runc, as
        // crun refuses hybrid cgroups, and limits that need not be raised.
        let example = include_str!("../../examples/containers.conf");
        let containers =
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\nnetns = \"none\"";
        let configuration = example
            .replace("/usr/local/bin/sexton", sexton().to_str().expect("text"))
            .replace("[containers]", containers);
        let engine =
            "\n[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
        fs::write(directory.join("containers.conf"), configuration + engine).expect("containers.conf");
        let podman = Self { directory };
        import(&podman, "localhost/");
        podman
    }

    fn end(directory: &Path) {
        if !directory.exists() {
            return;
        }
        let podman = Self { directory: directory.to_owned() };
        for what in [&["pod", "rm"][..], &["rm"]] {
            let _ = run(podman.client(&[what, &["-f", "-t", "0", "-a"]].concat()));
        }
        for name in ["root/overlay", "root/vfs"] {
            let _ = Command::new("umount").arg(directory.join(name)).output();
        }
    }
}

impl Engine for Podman {
    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        let at = |name: &str| self.directory.join(name);
        command.env("CONTAINERS_CONF", at("containers.conf"));
        command.arg("--root").arg(at("root")).arg("--runroot").arg(at("run")).arg("--tmpdir").arg(at("tmp"));
        command
    }
}

/// A file with this content, in a directory that goes when the test ends.
pub(crate) fn file_with(content: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    File::create(&path).and_then(|mut file| file.write_all(content.as_bytes())).expect("a file");
    (directory, path)
}
