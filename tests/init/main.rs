//! The real binary, as PID 1 of a real PID namespace and as an ordinary process.
//!
//! `SEXTON_BIN` names another binary to put under the same tests. A test that needs
//! what a machine may lack shows itself as ignored with the reason; where
//! `SEXTON_TEST_REQUIRE` names the need (`root`), it fails instead.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod after_start;
mod cli;
mod dialects;
mod exit_status;
mod inheritance;
mod install;
mod not_pid1;
mod pause;
mod reaping;
mod roles;
mod shutdown;
mod signals;
mod start;
mod support;
mod terminal;
mod termination_log;

use std::process::ExitCode;

use libtest2_mimic::{Harness, Trial};

/// A test, and what it needs that a machine may lack.
pub(crate) struct Test {
    name: &'static str,
    needs: Option<Need>,
    run: fn(),
}

#[derive(Clone, Copy)]
enum Need {
    Root,
    Program(&'static str),
}

impl Need {
    fn name(self) -> &'static str {
        match self {
            Need::Root => "root",
            Need::Program(name) => name,
        }
    }

    fn is_met(self) -> bool {
        match self {
            // SAFETY: has no memory effect.
            Need::Root => unsafe { libc::geteuid() == 0 },
            Need::Program(name) => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                std::env::split_paths(&path).any(|directory| directory.join(name).exists())
            }
        }
    }

    fn is_required(self) -> bool {
        let required = std::env::var("SEXTON_TEST_REQUIRE").unwrap_or_default();
        required.split(',').any(|name| name == self.name())
    }
}

impl Test {
    const fn new(name: &'static str, run: fn()) -> Self {
        Self { name, needs: None, run }
    }

    const fn as_root(name: &'static str, run: fn()) -> Self {
        Self { name, needs: Some(Need::Root), run }
    }

    const fn with(program: &'static str, name: &'static str, run: fn()) -> Self {
        Self { name, needs: Some(Need::Program(program)), run }
    }

    fn trial(self, module: &'static str) -> Trial {
        Trial::test(format!("{module}::{}", self.name), move |context| {
            if let Some(need) = self.needs
                && !need.is_met()
                && !need.is_required()
            {
                // The harness counts it as ignored, but does not show the reason.
                eprintln!("ignored {module}::{}: needs {}", self.name, need.name());
                context.ignore_for(format!("needs {}", need.name()))?;
            }
            (self.run)();
            Ok(())
        })
    }
}

/// Names each test after its function.
macro_rules! tests {
    ($($kind:ident $(($program:literal))? $name:ident),* $(,)?) => {
        pub(crate) fn tests() -> Vec<crate::Test> {
            vec![$(crate::Test::$kind($($program,)? stringify!($name), $name)),*]
        }
    };
}
pub(crate) use tests;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "--play") {
        return roles::play(words[2].to_str().expect("a role"), &words[3..]);
    }
    let modules = [
        ("after_start", after_start::tests()),
        ("cli", cli::tests()),
        ("dialects", dialects::tests()),
        ("exit_status", exit_status::tests()),
        ("inheritance", inheritance::tests()),
        ("install", install::tests()),
        ("not_pid1", not_pid1::tests()),
        ("pause", pause::tests()),
        ("reaping", reaping::tests()),
        ("shutdown", shutdown::tests()),
        ("signals", signals::tests()),
        ("start", start::tests()),
        ("terminal", terminal::tests()),
        ("termination_log", termination_log::tests()),
    ];
    let trials =
        modules.into_iter().flat_map(|(name, tests)| tests.into_iter().map(move |test| test.trial(name)));
    Harness::with_env().discover(trials).main()
}
