//! Tests that know what they need. One that needs what a machine may lack is shown as
//! ignored with the reason; where `SEXTON_TEST_REQUIRE` names the need (`root`, `docker`),
//! it fails instead. `tests![…]` lists them in place of `#[test]`, which cannot ignore a
//! test at run time.

use std::fs::{self, File};
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use libtest2_mimic::Trial;

/// The binary under test.
pub(crate) fn sexton() -> PathBuf {
    binary("SEXTON_BIN", env!("CARGO_BIN_EXE_sexton"))
}

/// What plays the commands that sexton starts: `tests/helper`.
pub(crate) fn helper() -> PathBuf {
    // Cargo leaves a dependency by path out of what it publishes, and with it the feature.
    const BUILT: &str =
        env!("CARGO_BIN_EXE_sexton-test-helper", "build the tests with --features test-helper");
    binary("SEXTON_TEST_HELPER", BUILT)
}

/// A binary that a variable names, or else the one that cargo has built.
fn binary(variable: &str, built: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => fs::canonicalize(path).unwrap_or_else(|error| panic!("{variable}: {error}")),
        None => built.into(),
    }
}

/// The path of something that `scripts/engines` sets up: a newer Debian, a kubelet, kernels.
pub(crate) fn provided(name: &str) -> PathBuf {
    let place = std::env::var_os("SEXTON_ENGINES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/engines"), PathBuf::from);
    place.join(name)
}

/// A test, and what it needs that a machine may lack.
pub(crate) struct Test {
    /// What it runs on, where that is not the machine alone: it leads the name.
    on: Option<&'static str>,
    name: String,
    needs: Vec<Need>,
    run: Box<dyn Fn() + Send + Sync>,
}

/// What a machine may lack.
#[derive(Clone, Copy)]
pub(crate) enum Need {
    /// To be root.
    Root,
    /// A program.
    Program(&'static str),
    /// Something that has a name, and a way to find out.
    Other(&'static str, fn() -> bool),
}

impl Need {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Need::Root => "root",
            Need::Program(name) | Need::Other(name, _) => name,
        }
    }

    pub(crate) fn is_met(self) -> bool {
        match self {
            Need::Root => is_root(),
            Need::Program(name) => is_installed(name),
            Need::Other(_, is_met) => is_met(),
        }
    }

    fn is_required(self) -> bool {
        let required = std::env::var("SEXTON_TEST_REQUIRE").unwrap_or_default();
        required.split(',').any(|name| name == self.name())
    }
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether there is such a program in `PATH`.
pub(crate) fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).exists())
}

impl Test {
    pub(crate) fn new(name: impl Into<String>, run: impl Fn() + Send + Sync + 'static) -> Self {
        Self { on: None, name: name.into(), needs: Vec::new(), run: Box::new(run) }
    }

    pub(crate) fn as_root(name: impl Into<String>, run: impl Fn() + Send + Sync + 'static) -> Self {
        Self::needing(Need::Root, name, run)
    }

    pub(crate) fn with(
        program: &'static str,
        name: impl Into<String>,
        run: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self::needing(Need::Program(program), name, run)
    }

    pub(crate) fn needing(
        need: Need,
        name: impl Into<String>,
        run: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, run).and(need)
    }

    pub(crate) fn on(self, on: &'static str) -> Self {
        Self { on: Some(on), ..self }
    }

    pub(crate) fn and(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    fn trial(self, module: &'static str) -> Trial {
        let on = self.on.map(|on| format!("{on}::")).unwrap_or_default();
        let name = format!("{on}{module}::{}", self.name);
        Trial::test(name.clone(), move |context| {
            if let Some(need) = self.needs.iter().find(|need| !need.is_met() && !need.is_required()) {
                // The harness counts it as ignored, but does not show the reason.
                eprintln!("ignored {name}: needs {}", need.name());
                note(&format!("{name} ignored: needs {}", need.name()));
                context.ignore_for(format!("needs {}", need.name()))?;
            }
            let result = panic::catch_unwind(AssertUnwindSafe(&self.run));
            note(&format!("{name} {}", if result.is_ok() { "ok" } else { "failed" }));
            result.map_err(|payload| panic::resume_unwind(payload))
        })
    }
}

/// Adds a line to the file that `SEXTON_TEST_RESULTS` names, for scripts.
pub(crate) fn note(line: &str) {
    let Some(path) = std::env::var_os("SEXTON_TEST_RESULTS") else { return };
    let mut file = File::options().append(true).create(true).open(path).expect("SEXTON_TEST_RESULTS");
    // In one call: other tests do the same meanwhile.
    file.write_all(format!("{line}\n").as_bytes()).expect("SEXTON_TEST_RESULTS");
}

/// The tests of all modules.
pub(crate) fn trials(modules: Vec<(&'static str, Vec<Test>)>) -> impl Iterator<Item = Trial> {
    modules.into_iter().flat_map(|(name, tests)| tests.into_iter().map(move |test| test.trial(name)))
}

/// Names each test after its function.
#[allow(unused_macros)]
macro_rules! tests {
    ($($kind:ident $(($need:expr))? $name:ident),* $(,)?) => {
        pub(crate) fn tests() -> Vec<crate::Test> {
            vec![$(crate::Test::$kind($($need,)? stringify!($name), $name)),*]
        }
    };
}
pub(crate) use tests;
