//! sexton is PID 1 for containers: it starts one command, forwards every signal to it, reaps
//! every orphan, and exits as the command did.
//!
//! This library is the whole program behind C's `main`; it is no interface for others. Two
//! rules hold in all of it, and a check of the release binary enforces them: nothing
//! allocates, and nothing that is reachable can panic, as a dead PID 1 is a dead container.
//!
//! Which room to enter (`doc/design.md` tells more):
//!
//! | module | what it knows |
//! |---|---|
//! | [`cli`] | the options, and what each name that sexton answers to changes |
//! | [`supervise`] | the life of one command |
//! | [`diagnose`] | what uses the CPU and what piles up, zombies, orphans, the termination message |
//! | [`install`] | copying this program somewhere |
//! | [`log`] | what is printed, and that it never blocks |
//! | [`units`] | numbers, times and sizes, read and printed |
//! | [`sys`] | system calls; all of the unsafe code |

#![deny(unsafe_code)]

pub mod cli;
pub mod diagnose;
pub mod install;
pub mod log;
pub mod supervise;
#[allow(unsafe_code)]
pub mod sys;
pub mod units;

use nix::unistd::getpid;

use cli::compat::Profile;
use cli::options::InfoPage;
use cli::{Mode, Settings};
use diagnose::{top, zombies};
use log::{Escaped, Level, Log, Reason};
use supervise::forward::INIT;
use supervise::spawn::Command;
use sys::args::{Arguments, Environment};
use sys::process::{EXIT_FAILED, OwnProcess, die_of};
use sys::signal::{block_all_signals, ignore_sigchld};
use sys::time::Nanos;

/// Runs sexton and returns its exit code.
pub fn run(process: &OwnProcess, arguments: Arguments, environment: Environment) -> u8 {
    // Before anything else: a signal that arrives from now on waits for the command.
    let mask = block_all_signals();

    let profile = Profile::of(arguments.get(0).unwrap_or_default().to_bytes());
    let (settings, first) = match Settings::read(profile, arguments, environment) {
        Ok(read) => read,
        Err(error) => {
            Log::new(Level::Error as u8).fatal(format_args!("{error}"));
            return EXIT_FAILED;
        }
    };
    let log = Log::new(settings.verbosity);
    let command = match settings.mode {
        Mode::Print(page) => return print(page, profile, &log),
        Mode::Zombies(max) => return list_zombies(max, &settings, &log),
        Mode::Top(time) => return top(time, &settings, &log),
        Mode::Install(target) => return install_to(target, &log),
        Mode::Pause => None,
        Mode::Run => {
            // Had we inherited it ignored, no wait status would ever be ours.
            let sigchld_ignored = ignore_sigchld(false);
            Some(Command { arguments, first, environment, mask, sigchld_ignored })
        }
    };
    let code = match supervise::run(process, command.as_ref(), &settings.config, &log) {
        Ok(outcome) => {
            let code = outcome.status.exit_code();
            if (settings.mirror || outcome.interrupted)
                && getpid() != INIT
                && !settings.config.remapped.contains(code)
                && let Some(signal) = outcome.status.term_signal()
            {
                die_of(signal);
            }
            code
        }
        Err(code) => code,
    };
    if settings.config.remapped.contains(code) { 0 } else { code }
}

// None of these is inlined: with their buffers in it, the frame of `run` would touch ten
// pages of the stack, for as long as the command runs.

#[inline(never)]
fn print(page: InfoPage, profile: &Profile, log: &Log) -> u8 {
    match page.print(profile) {
        Ok(()) => 0,
        Err(errno) => {
            log.fatal(format_args!("standard output: {}", Reason(errno)));
            EXIT_FAILED
        }
    }
}

#[inline(never)]
fn list_zombies(max: u32, settings: &Settings, log: &Log) -> u8 {
    match zombies::list(settings.verbosity > 0, settings.config.format) {
        Ok(count) => u8::from(count > max),
        Err(failure) => {
            log.fatal(format_args!("{failure}"));
            EXIT_FAILED
        }
    }
}

#[inline(never)]
fn top(time: Nanos, settings: &Settings, log: &Log) -> u8 {
    match top::run(time, settings.verbosity > 0, settings.config.format) {
        Ok(fault) => u8::from(fault),
        Err(failure) => {
            log.fatal(format_args!("{failure}"));
            EXIT_FAILED
        }
    }
}

#[inline(never)]
fn install_to(target: &[u8], log: &Log) -> u8 {
    match install::install(target) {
        Ok(()) => 0,
        Err(failure) => {
            log.fatal(format_args!("--install {}: {failure}", Escaped(target)));
            EXIT_FAILED
        }
    }
}
