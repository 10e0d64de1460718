//! The engines that tests run on: a table for each kind, with a row for each version, OCI
//! runtime and cgroup hierarchy. A test is written for a kind, and runs on every row.

pub(crate) mod containerd;
pub(crate) mod docker;
pub(crate) mod home;
pub(crate) mod node;
pub(crate) mod podman;

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::Test;
use crate::common::harness::Need;
use crate::support::{image, place, run, text};

/// A kind of engine; a value is a row of its table.
pub(crate) trait Engine: Sync + Sized + 'static {
    fn table() -> &'static [Self];

    /// What leads the names of its tests.
    fn name(&self) -> &'static str {
        self.need().name()
    }

    /// What the machine must have for it.
    fn need(&self) -> Need;

    /// What it cannot do on a machine like CI's.
    fn lacks(&self) -> &'static [Need];

    /// The client, without arguments. The engine starts when a test first asks for it.
    fn command(&self) -> Command;

    /// Waits until nothing of it is left, in the process that tidies up.
    fn end(&self);

    /// Its own part of [`place`].
    fn directory(&self) -> PathBuf {
        place().join(self.name())
    }

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

/// Limits of memory, CPUs and processes. Where the machine has cgroup v1 with all controllers,
/// an engine on cgroup v2 has none.
pub(crate) const LIMITS: Need = Need::Other("cgroup limits", || true);

/// The machine's own files as volumes of a container.
pub(crate) const MACHINES_FILES: Need = Need::Other("files of the machine", || true);

/// Of all rows of all tables.
pub(crate) fn names() -> Vec<&'static str> {
    fn of<E: Engine>() -> impl Iterator<Item = &'static str> {
        E::table().iter().map(E::name)
    }
    of::<docker::Docker>().chain(of::<podman::Podman>()).chain(of::<containerd::Containerd>()).collect()
}

/// Ends the engines which tests have started.
pub(crate) fn end_all() {
    fn end<E: Engine>() {
        E::table().iter().filter(|engine| engine.directory().exists()).for_each(E::end);
    }
    end::<docker::Docker>();
    end::<podman::Podman>();
    end::<containerd::Containerd>();
    node::Node::end(&place().join("node"));
}

/// The images that each engine has: busybox, and the same with sexton as entry point.
const IMAGES: [(&str, &[&str]); 2] = [
    ("busybox:test", &["ENV PATH=/bin"]),
    ("sexton:test", &["ENV PATH=/bin", "ENTRYPOINT [\"/sexton\",\"--\"]"]),
];

fn import_images(client: impl Fn() -> Command, prefix: &str) {
    for (name, changes) in IMAGES {
        let mut import = client();
        import.arg("import");
        for change in changes {
            import.args(["-c", change]);
        }
        let output = import.arg("-").arg(format!("{prefix}{name}")).stdin(image()).output().expect("import");
        assert!(output.status.success(), "{output:?}");
    }
}

/// A PID 1 that has no default actions. In gVisor it has them.
pub(crate) const NO_DEFAULT_ACTIONS: Need = Need::Other("a PID 1 without default actions", || true);

/// Real-time signals by `docker kill`. Some OCI runtimes know no number above 31.
pub(crate) const REAL_TIME_SIGNALS: Need = Need::Other("real-time signals", || true);

/// That Docker kills what it runs in a container for too long. With gVisor it kills the
/// runtime's client alone.
pub(crate) const KILLS_EXEC: Need = Need::Other("the end of a check at Docker's limit", || true);

/// A container that joins the PID namespace of another. In gVisor each has a kernel of its own.
pub(crate) const JOINS_PIDS: Need = Need::Other("another container's PIDs", || true);

/// A container that joins the PID namespace of another which has all the processes it may.
pub(crate) const JOINS_FULL: Need = Need::Other("the PIDs of a full container", || true);

/// A pod's shared PID namespace, which Podman refuses without cgroups.
pub(crate) const SHARED_PIDS: Need = Need::Other("a pod's shared PIDs", || true);

/// That a pod's pause process is the configured init, as from Podman 5 on.
pub(crate) const PAUSES_WITH_INIT: Need = Need::Other("Podman 5", || true);

/// The test of this name on each row of the table.
pub(crate) fn on_each<E: Engine>(name: &'static str, needs: &[Need], test: fn(&'static E)) -> Vec<Test> {
    let on = |engine: &'static E| {
        let lacks = |need: &Need| engine.lacks().iter().any(|lacked| lacked.name() == need.name());
        let is_there = Test::needing(engine.need(), name, move || test(engine)).on(engine.name());
        needs.iter().fold(is_there, |test, need| {
            test.and(if lacks(need) { Need::Other(need.name(), || false) } else { *need })
        })
    };
    E::table().iter().map(on).collect()
}

/// Names each test after its function, with the kind of engine that it is for.
macro_rules! engine_tests {
    ($($kind:ty $([$($need:expr),*])?: $($name:ident),*);* $(;)?) => {
        pub(crate) fn tests() -> Vec<crate::Test> {
            let mut tests = Vec::new();
            $(
                let needs = &[$($($need),*)?];
                $(tests.extend(crate::engine::on_each::<$kind>(stringify!($name), needs, $name));)*
            )*
            tests
        }
    };
}
pub(crate) use engine_tests;
