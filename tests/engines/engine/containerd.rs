//! containerd, as `ctr` reaches it: one of this run's own for each row.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::home::{Cgroups, Home};
use super::{Engine, Row, noted_pid};
use crate::common::harness::{Need, is_installed};
use crate::common::process::has_ended;
use crate::common::wait::wait_until;
use crate::support::{name, place, root_file_system, run, text, version_of};

/// A containerd: its socket, data, and network and mount namespaces.
pub(crate) struct Containerd(Row);

static TABLE: [Containerd; 1] = [Containerd(Row::new(
    Need::Other("sid-containerd", || {
        is_installed("busybox") && Home::sid(Cgroups::Machine).has(&["containerd", "ctr", "runc"])
    }),
    Home::sid(Cgroups::Machine),
    &[],
))];

/// Serves until the tests have ended and been tidied up: see [`crate::support::in_a_place`].
const SERVE: &str = r#"containerd --config "$1" & echo $! > "$2"; read -r _; kill $!; wait"#;

impl Engine for Containerd {
    fn table() -> &'static [Self] {
        &TABLE
    }

    fn row(&self) -> &Row {
        &self.0
    }

    fn start(&self) {
        let directory = self.directory();
        let at = |name: &str| directory.join(name);
        let configuration = format!(
            "version = 3\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.cri.v1.images\", \
             \"io.containerd.cri.v1.runtime\", \"io.containerd.grpc.v1.cri\", \"io.containerd.nri.v1.nri\"]\n\
             [grpc]\naddress = {:?}\n",
            at("data"),
            at("state"),
            at("socket"),
        );
        fs::write(at("containerd.toml"), configuration).expect("containerd.toml");
        let log = File::create(at("log")).expect("a log");
        let mut command = self.0.home.command("sh", &directory);
        command.args(["-c", SERVE, "serve"]).arg(at("containerd.toml")).arg(at("pid"));
        // A Ctrl-C ends the tests before, and not containerd.
        command.process_group(0);
        command.stdin(Stdio::inherit()).stdout(log.try_clone().expect("a log")).stderr(log);
        thread::spawn(move || command.status());
        wait_until("containerd answers", || {
            self.bare_client().arg("version").output().is_ok_and(|output| output.status.success())
        });
    }

    fn bare_client(&self) -> Command {
        let mut command = self.0.home.command("ctr", &self.directory());
        command.arg("--address").arg(self.directory().join("socket"));
        command
    }

    fn versions(&self) -> String {
        let version = |program: &str| version_of(self.0.home.command(program, &self.directory()));
        format!("containerd {}, runc {}", version("containerd"), version("runc"))
    }

    /// Its containers outlive it, so they come first.
    fn end(&self) {
        let Some(pid) = noted_pid(&self.directory()) else { return };
        let ctr = |arguments: &[&str]| {
            let mut command = self.bare_client();
            command.args(arguments);
            run(command)
        };
        let tasks = || text(ctr(&["task", "list", "-q"]));
        for task in tasks().lines() {
            ctr(&["task", "delete", "--force", task]);
        }
        wait_until("its containers have ended", || tasks().is_empty());
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        wait_until("containerd ends", || has_ended(pid));
    }
}

impl Containerd {
    /// A container of the busybox root, which is made of these options and this command.
    fn words(name: &str, options: &[&str], words: &[&str]) -> Vec<String> {
        let root = root_file_system().to_str().expect("text");
        let run = ["run", "--rootfs", "--env", "PATH=/bin"];
        [&run, options, &[root, name], words].concat().into_iter().map(String::from).collect()
    }

    /// A name that no other run has: containerd makes cgroups of it.
    fn name() -> String {
        let place = place().file_name().expect("a name").to_str().expect("text");
        format!("{place}-{}", name())
    }

    /// `ctr run` to its end.
    pub(crate) fn run(&self, options: &[&str], words: &[&str]) -> Output {
        let mut command = self.command();
        command.args(Self::words(&Self::name(), &[&["--rm"], options].concat(), words));
        run(command)
    }

    /// Starts a container in the background.
    pub(crate) fn start_container(&self, options: &[&str], words: &[&str]) -> Task<'_> {
        let name = Self::name();
        let mut command = self.command();
        command.args(Self::words(&name, &[&["--rm", "--null-io"], options].concat(), words));
        let client = command.stdin(Stdio::null()).spawn().expect("ctr");
        let task = Task { containerd: self, name, client: Some(client) };
        wait_until("the task runs", || {
            self.answers(&["task", "list", "-q"]).lines().any(|line| line == task.name)
        });
        task
    }
}

/// A container's task, which goes when this is dropped.
pub(crate) struct Task<'a> {
    containerd: &'a Containerd,
    name: String,
    client: Option<Child>,
}

impl Task<'_> {
    /// What a program in the container prints.
    pub(crate) fn exec(&self, words: &[&str]) -> String {
        let id = name();
        self.containerd.answers(&[&["task", "exec", "--exec-id", &id, &self.name], words].concat())
    }

    pub(crate) fn kill(&self, signal: &str) {
        self.containerd.answers(&["task", "kill", "--signal", signal, &self.name]);
    }

    /// Waits for its end: the client exits as the container does.
    pub(crate) fn code(mut self) -> i32 {
        let client = self.client.take().expect("a client");
        client.wait_with_output().expect("ctr").status.code().expect("a code")
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        let Some(mut client) = self.client.take() else { return };
        self.containerd.output(&["task", "kill", "--signal", "KILL", &self.name]);
        let _ = client.wait();
    }
}
