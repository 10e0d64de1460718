//! The real binary, as PID 1 of a real PID namespace and as an ordinary process.
//!
//! `SEXTON_BIN` names another binary to put under the same tests, `SEXTON_ARGS` what it is
//! to be called with if it is another init (see scripts/compare). A test that needs
//! what a machine may lack shows itself as ignored with the reason; where
//! `SEXTON_TEST_REQUIRE` names the need (`root`), it fails instead.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod after_start;
mod cli;
mod diagnosis;
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

#[path = "../harness/mod.rs"]
mod harness;

use std::process::ExitCode;

use libtest2_mimic::Harness;

pub(crate) use harness::{Test, tests};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "--play") {
        return roles::play(words[2].to_str().expect("a role"), &words[3..]);
    }
    let modules = vec![
        ("after_start", after_start::tests()),
        ("cli", cli::tests()),
        ("diagnosis", diagnosis::tests()),
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
    Harness::with_env().discover(harness::trials(modules)).main()
}
