//! The real binary on kernels that are not this machine's: each boots in QEMU, with nothing
//! but busybox, sexton and the tests' helper in it. `scripts/engines` sets the kernels up.
//!
//! A boot runs the scripts of all behaviours, one after the other. Each test looks at what
//! one of them has printed. No test needs root.
//!
//! `SEXTON_BIN` names another sexton to put under the same tests; it must be a static one.
//! `SEXTON_TEST_REQUIRE=kernels` makes it a failure not to have the kernels or QEMU.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod boot;
mod cgroup;
mod machine;
mod namespace;

#[path = "../common/mod.rs"]
mod common;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::OnceLock;

use libtest2_mimic::Harness;

use boot::{Behaviour, Boot, Seen};
use common::harness::{self, Need, Test, note};

/// A kernel under test.
struct Kernel {
    /// What its tests are called after.
    row: &'static str,
    need: Need,
    /// The directory of its file.
    name: &'static str,
    /// As it runs busybox's shell as the machine's init, and sexton in PID namespaces.
    boot: OnceLock<Boot>,
    /// As it runs sexton as the machine's init.
    sexton_boot: OnceLock<Boot>,
}

impl Kernel {
    const fn new(row: &'static str, name: &'static str, is_there: fn() -> bool) -> Self {
        let need = Need::Other("kernels", is_there);
        Self { row, need, name, boot: OnceLock::new(), sexton_boot: OnceLock::new() }
    }

    /// A test for each behaviour.
    fn tests(&'static self) -> Vec<Test> {
        let mut tests: Vec<_> = namespace::BEHAVIOURS
            .iter()
            .chain(cgroup::BEHAVIOURS)
            .map(|behaviour| {
                Test::needing(self.need, behaviour.name, || {
                    let boot = self.boot.get_or_init(|| Boot::of_shell(self.row, self.name));
                    self.check(behaviour, boot);
                })
            })
            .collect();
        // How the kernel treats PID 1 is the same in all of them.
        if self.name == "newest" {
            tests.extend(machine::BEHAVIOURS.iter().map(|behaviour| {
                Test::needing(self.need, behaviour.name, || {
                    let boot = self.sexton_boot.get_or_init(|| Boot::of_sexton(self.name));
                    self.check(behaviour, boot);
                })
            }));
        }
        tests
    }

    fn check(&self, behaviour: &Behaviour, boot: &Boot) {
        let seen = Seen::of(behaviour, boot);
        let result = panic::catch_unwind(AssertUnwindSafe(|| (behaviour.check)(&seen)));
        if let Err(payload) = result {
            eprintln!("{}::{} printed:\n{}", self.row, behaviour.name, seen.output);
            panic::resume_unwind(payload);
        }
        for (name, text) in seen.figures.into_inner() {
            note(&format!("{} {name}: {text}", self.row));
        }
    }
}

static KERNELS: [Kernel; 4] = [
    Kernel::new("kernel-5.10", "5.10", || boot::is_possible("5.10")),
    Kernel::new("kernel-6.1", "6.1", || boot::is_possible("6.1")),
    Kernel::new("kernel-6.12", "6.12", || boot::is_possible("6.12")),
    Kernel::new("kernel-newest", "newest", || boot::is_possible("newest")),
];

fn main() -> ExitCode {
    let readme = Test::new("the_readme_lists_every_kernel", || {
        for kernel in &KERNELS {
            let row = format!("\n| `{}` | ", kernel.row);
            assert!(include_str!("../../README.md").contains(&row), "{row}");
        }
    });
    let modules = KERNELS.iter().map(|kernel| (kernel.row, kernel.tests()));
    let modules = modules.chain([("readme", vec![readme])]).collect();
    Harness::with_env().discover(harness::trials(modules)).main()
}
