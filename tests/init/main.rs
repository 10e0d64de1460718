//! The real binary, as PID 1 of a real PID namespace and as an ordinary process.
//!
//! `SEXTON_BIN` names another binary to put under the same tests, `SEXTON_ARGS` what it is
//! to be called with if it is another init (see scripts/compare), `SEXTON_TEST_HELPER`
//! another copy of the helper. A test that needs what a machine may lack is shown as ignored
//! with the reason; where `SEXTON_TEST_REQUIRE` names the need (`root`), it fails instead.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod after_start;
mod at_terminal;
mod cli;
mod diagnosis;
mod dialects;
mod exit_status;
mod inheritance;
mod install;
mod job_control;
mod lines;
mod not_pid1;
mod pause;
mod reaping;
mod remaining;
mod shutdown;
mod signals;
mod start;
mod support;
mod terminal;
mod termination_log;
mod top;

#[path = "../common/mod.rs"]
mod common;

use std::process::ExitCode;

use libtest2_mimic::Harness;

use common::harness;
pub(crate) use common::harness::{Test, tests};

fn main() -> ExitCode {
    let modules = vec![
        ("after_start", after_start::tests()),
        ("cli", cli::tests()),
        ("diagnosis", diagnosis::tests()),
        ("dialects", dialects::tests()),
        ("exit_status", exit_status::tests()),
        ("inheritance", inheritance::tests()),
        ("install", install::tests()),
        ("job_control", job_control::tests()),
        ("not_pid1", not_pid1::tests()),
        ("pause", pause::tests()),
        ("reaping", reaping::tests()),
        ("remaining", remaining::tests()),
        ("shutdown", shutdown::tests()),
        ("signals", signals::tests()),
        ("start", start::tests()),
        ("terminal", terminal::tests()),
        ("termination_log", termination_log::tests()),
        ("top", top::tests()),
    ];
    Harness::with_env().discover(harness::trials(modules)).main()
}
