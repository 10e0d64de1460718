//! The engines that tests run on: a table for each kind, with a row for each version, OCI
//! runtime and cgroup hierarchy. A test is written for a kind, and runs on every row.

pub(crate) mod containerd;
pub(crate) mod docker;
pub(crate) mod features;
pub(crate) mod home;
pub(crate) mod node;
pub(crate) mod podman;

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use self::home::Home;
use crate::Test;
use crate::common::harness::{Need, note};
use crate::support::{image, place, run, text};

/// A kind of engine; a value is a row of its table.
pub(crate) trait Engine: Sync + Sized + 'static {
    fn table() -> &'static [Self];

    /// What leads the names of its tests.
    fn name(&self) -> &'static str {
        self.need().name()
    }

    /// What all kinds have.
    fn row(&self) -> &Row;

    /// What the machine must have for it.
    fn need(&self) -> Need {
        self.row().need
    }

    /// Which of the [`features`] it does not have on this machine.
    fn lacks(&self) -> Vec<Need> {
        self.row().lacks.to_vec()
    }

    /// Starts it, in its directory.
    fn start(&self);

    /// The versions of the programs which it consists of.
    fn versions(&self) -> String;

    /// Its client, whether it has started or not.
    fn bare_client(&self) -> Command;

    /// The client, without arguments. The engine starts when a test first asks for it.
    fn command(&self) -> Command {
        self.row().started.by(self.name(), &self.directory().join("log"), || {
            fs::create_dir(self.directory()).expect("a directory");
            self.start();
            note(&format!("{} version: {}", self.name(), self.versions()));
        });
        self.bare_client()
    }

    /// Waits until nothing of it is left, in the process that tidies up. The engine may have
    /// started in part only.
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

/// What a row of any table has.
pub(crate) struct Row {
    need: Need,
    home: Home,
    lacks: &'static [Need],
    started: Started,
}

impl Row {
    const fn new(need: Need, home: Home, lacks: &'static [Need]) -> Self {
        Self { need, home, lacks, started: Started::new() }
    }
}

/// Of all rows of all tables.
pub(crate) fn names() -> Vec<&'static str> {
    fn of<E: Engine>() -> impl Iterator<Item = &'static str> {
        E::table().iter().map(E::name)
    }
    of::<docker::Docker>().chain(of::<podman::Podman>()).chain(of::<containerd::Containerd>()).collect()
}

/// Ends the engines which tests have started; false if one of them does not end.
pub(crate) fn end_all() -> bool {
    fn is_ended(directory: &Path, end: impl FnOnce()) -> bool {
        !directory.exists() || panic::catch_unwind(AssertUnwindSafe(end)).is_ok()
    }
    fn are_ended<E: Engine>() -> bool {
        E::table().iter().filter(|engine| !is_ended(&engine.directory(), || engine.end())).count() == 0
    }
    let node = place().join("node");
    let ended = [
        are_ended::<docker::Docker>(),
        are_ended::<podman::Podman>(),
        are_ended::<containerd::Containerd>(),
        is_ended(&node, || node::Node::end(&node)),
    ];
    ended == [true; 4]
}

/// Whether an engine has started, which is tried once.
pub(crate) struct Started(OnceLock<bool>);

impl Started {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Starts it; fails in every test where it does not, and shows what it has logged.
    fn by(&self, name: &str, log: &Path, start: impl FnOnce()) {
        let has_started = self.0.get_or_init(|| {
            let result = panic::catch_unwind(AssertUnwindSafe(start));
            if result.is_err() {
                eprintln!("{name} has logged:\n{}", fs::read_to_string(log).unwrap_or_default());
            }
            result.is_ok()
        });
        assert!(has_started, "{name} does not start");
    }
}

/// The PID that an engine has written to its directory, if it has come so far.
fn noted_pid(directory: &Path) -> Option<i32> {
    fs::read_to_string(directory.join("pid")).ok()?.trim().parse().ok()
}

/// The images that each engine has: busybox, and the same with sexton as entry point.
const IMAGES: [(&str, &[&str]); 2] = [
    ("busybox:test", &["ENV PATH=/bin"]),
    ("sexton:test", &["ENV PATH=/bin", "ENTRYPOINT [\"/sexton\",\"--\"]"]),
];

fn import_images(engine: &impl Engine, prefix: &str) {
    for (name, changes) in IMAGES {
        let mut import = engine.bare_client();
        import.arg("import");
        for change in changes {
            import.args(["-c", change]);
        }
        let output = import.arg("-").arg(format!("{prefix}{name}")).stdin(image()).output().expect("import");
        assert!(output.status.success(), "{output:?}");
    }
}

/// The test of this name on each row of the table.
pub(crate) fn on_each<E: Engine>(name: &'static str, needs: &[Need], test: fn(&'static E)) -> Vec<Test> {
    let on = |engine: &'static E| {
        let lacks = |need: &Need| engine.lacks().iter().any(|lacked| lacked.name() == need.name());
        let test = Test::needing(engine.need(), name, move || test(engine)).on(engine.name());
        needs.iter().fold(test, |test, need| {
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
