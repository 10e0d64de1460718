//! The real binary, as PID 1 of a real PID namespace and as an ordinary process.
//!
//! `SEXTON_BIN` names another binary to put under the same tests, `SEXTON_PEER` which init it
//! is if not sexton (see scripts/compare), `SEXTON_TEST_HELPER` another copy of the helper. A
//! test that needs what a machine may lack is shown as ignored
//! with the reason; where `SEXTON_TEST_REQUIRE` names the need (`root`), it fails instead.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod after_start;
mod any_init;
mod at_terminal;
mod background_jobs;
mod cli;
mod descendants;
mod diagnosis;
mod dialects;
mod entrypoints;
mod exit_status;
mod inheritance;
mod install;
mod interrupts;
mod job_control;
mod lines;
mod messages;
mod no_command;
mod not_pid1;
mod pause;
mod peer;
mod pipelines;
mod privileges;
mod reaping;
mod refused;
mod remaining;
mod roots;
mod shutdown;
mod signals;
mod start;
mod stopped_jobs;
mod support;
mod terminal;
mod termination_log;
mod timeout;
mod top;
mod tracing;

#[path = "../common/mod.rs"]
mod common;

use std::process::ExitCode;

use libtest2_mimic::Harness;

use common::harness;
pub(crate) use common::harness::{Test, tests};

fn main() -> ExitCode {
    let modules = vec![
        ("after_start", after_start::tests()),
        ("any_init", any_init::tests()),
        ("background_jobs", background_jobs::tests()),
        ("cli", cli::tests()),
        ("descendants", descendants::tests()),
        ("diagnosis", diagnosis::tests()),
        ("dialects", dialects::tests()),
        ("entrypoints", entrypoints::tests()),
        ("exit_status", exit_status::tests()),
        ("inheritance", inheritance::tests()),
        ("install", install::tests()),
        ("interrupts", interrupts::tests()),
        ("job_control", job_control::tests()),
        ("messages", messages::tests()),
        ("no_command", no_command::tests()),
        ("not_pid1", not_pid1::tests()),
        ("pause", pause::tests()),
        ("privileges", privileges::tests()),
        ("pipelines", pipelines::tests()),
        ("reaping", reaping::tests()),
        ("refused", refused::tests()),
        ("remaining", remaining::tests()),
        ("roots", roots::tests()),
        ("shutdown", shutdown::tests()),
        ("signals", signals::tests()),
        ("start", start::tests()),
        ("stopped_jobs", stopped_jobs::tests()),
        ("stopped_jobs", stopped_jobs::more_tests()),
        ("terminal", terminal::tests()),
        ("termination_log", termination_log::tests()),
        ("timeout", timeout::tests()),
        ("tracing", tracing::tests()),
        ("top", top::tests()),
    ];
    Harness::with_env().discover(harness::trials(modules)).main()
}
