//! Podman: a store of this run's own for each row.

use std::fs;
use std::process::Command;

use super::features::{PAUSES_WITH_INIT, SHARED_PIDS};
use super::home::{Cgroups, Home};
use super::{Engine, Row, import_images};
use crate::common::harness::{Need, is_installed};
use crate::support::{run, sexton, version_of};

/// A store, and the configuration that goes with it.
pub(crate) struct Podman {
    row: Row,
    runtime: &'static str,
}

static TABLE: [Podman; 3] = [
    Podman::new(Need::Other("podman", has_podman), Home::machine(), "runc", &[PAUSES_WITH_INIT]),
    Podman::new(Need::Other("sid-podman", || has_sid("runc")), Home::sid(Cgroups::Machine), "runc", &[]),
    Podman::new(Need::Other("sid-podman-crun", || has_sid("crun")), Home::sid(Cgroups::V2), "crun", &[]),
];

fn has_podman() -> bool {
    Home::machine().has(&["podman", "runc", "busybox"])
}

fn has_sid(runtime: &str) -> bool {
    is_installed("busybox") && Home::sid(Cgroups::Machine).has(&["podman", "conmon", runtime])
}

impl Engine for Podman {
    fn table() -> &'static [Self] {
        &TABLE
    }

    fn row(&self) -> &Row {
        &self.row
    }

    fn lacks(&self) -> Vec<Need> {
        let mut lacks = self.row.lacks.to_vec();
        if !self.has_cgroups() {
            lacks.push(SHARED_PIDS);
        }
        lacks
    }

    fn start(&self) {
        // The example, with where sexton is and what a machine like CI's needs: limits that
        // need not be raised.
        let example = include_str!("../../../examples/containers.conf");
        let cgroups = if self.has_cgroups() { "" } else { "cgroups = \"disabled\"\n" };
        let containers = format!(
            "[containers]\n{cgroups}default_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\nnetns = \"none\""
        );
        let configuration = example
            .replace("/usr/local/bin/sexton", sexton().to_str().expect("text"))
            .replace("[containers]", &containers);
        let engine = format!(
            "\n[engine]\nruntime = \"{}\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n",
            self.runtime
        );
        fs::write(self.directory().join("containers.conf"), configuration + &engine)
            .expect("containers.conf");
        import_images(self, "localhost/");
    }

    fn bare_client(&self) -> Command {
        let directory = self.directory();
        let at = |name: &str| directory.join(name);
        let mut command = self.row.home.command("podman", &directory);
        command.env("CONTAINERS_CONF", at("containers.conf")).env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
        command.arg("--root").arg(at("root")).arg("--runroot").arg(at("run")).arg("--tmpdir").arg(at("tmp"));
        command
    }

    fn versions(&self) -> String {
        let version = |program: &str| version_of(self.row.home.command(program, &self.directory()));
        format!("Podman {}, {} {}", version("podman"), self.runtime, version(self.runtime))
    }

    fn end(&self) {
        if !self.row.home.is_entered(&self.directory()) {
            return;
        }
        for what in [&["pod", "rm"][..], &["rm"]] {
            let mut remove = self.bare_client();
            remove.args(what).args(["-f", "-t", "0", "-a"]);
            run(remove);
        }
        if self.row.home.is_machine() {
            for name in ["root/overlay", "root/vfs"] {
                let _ = Command::new("umount").arg(self.directory().join(name)).output();
            }
        }
    }
}

impl Podman {
    const fn new(need: Need, home: Home, runtime: &'static str, lacks: &'static [Need]) -> Self {
        Self { row: Row::new(need, home, lacks), runtime }
    }

    /// crun refuses a hybrid of both hierarchies, and v2 without controllers.
    fn has_cgroups(&self) -> bool {
        self.runtime != "crun" || self.row.home.has_controllers()
    }
}
