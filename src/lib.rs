//! sexton is PID 1 for containers: it starts one command, forwards every signal to it, reaps
//! every orphan, and exits as the command did.
//!
//! This library is the whole program behind C's `main`; it is no interface for others. Two
//! rules hold in all of it, and a check of the release binary enforces them: nothing
//! allocates, and nothing that is reachable can panic, as a dead PID 1 is a dead container.
//!
//! The modules (`doc/design.md` has more):
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

use nix::errno::Errno;
use nix::unistd::getpid;

use cli::compat::Profile;
use cli::options::InfoPage;
use cli::{Mode, OPTIONS_ENV, Settings};
use diagnose::{Failure, top, zombies};
use log::{Escaped, Level, Log, Reason};
use supervise::spawn::Command;
use sys::args::{Arguments, Environment};
use sys::process::{EXIT_FAILED, INIT, OwnProcess, die_of, exit_at_request, has_rights_of_its_file};
use sys::signal::{Signal, SignalSet, block_all_signals, ignore_sigchld, set_signal_mask};
use units::Nanos;

/// Runs sexton and returns its exit code.
pub fn run(process: &OwnProcess, arguments: Arguments, environment: Environment) -> u8 {
    // Before anything else: a signal that arrives from now on waits for the command.
    let mask = block_all_signals();
    if has_rights_of_its_file() {
        take_signals_again(&mask);
        Log::new(Level::Error as u8).fatal(format_args!(
            "not to be run with rights that its caller lacks: installed setuid, setgid or with capabilities"
        ));
        return EXIT_FAILED;
    }

    let profile = Profile::of(arguments.get(0).unwrap_or_default().to_bytes());
    let mut settings = profile.defaults(environment);
    let log = Log::new(Level::Error as u8);
    if let Err(error) = settings.read_variable(environment.get(OPTIONS_ENV).unwrap_or_default()) {
        take_signals_again(&mask);
        log.fatal(format_args!("{OPTIONS_ENV}: {error}"));
        return EXIT_FAILED;
    }
    let first = match settings.read_arguments(arguments) {
        Ok(first) => first,
        Err(error) => {
            take_signals_again(&mask);
            log.fatal(format_args!("{error}"));
            return EXIT_FAILED;
        }
    };
    profile.finish(&mut settings);
    let log = Log::new(settings.verbosity);
    let command = match settings.mode {
        Mode::Print(page) => return print(page, profile, &mask, &log),
        Mode::Zombies(max) => return list_zombies(max, &settings, &mask, &log),
        Mode::Top(time) => return report_top(time, &settings, &mask, &log),
        Mode::Install(target) => return install_to(target, &mask, &log),
        Mode::Pause => {
            ignore_sigchld(false);
            None
        }
        Mode::Run => {
            // With SIGCHLD ignored, the kernel keeps no wait status for us (`wait(2)`,
            // NOTES).
            let sigchld_ignored = ignore_sigchld(false);
            Some(Command { arguments, first, environment, sigchld_ignored })
        }
    };
    let code = match supervise::run(process, mask, command.as_ref(), &settings.config, &log) {
        Ok(outcome) => {
            let code = outcome.exit_code();
            if (settings.mirror || outcome.interrupted)
                && getpid() != INIT
                && !settings.config.remapped.contains(code)
                && code == outcome.status.exit_code()
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

/// The signal mask that was inherited; or why none could be set.
type InheritedMask = Result<SignalSet, Errno>;

/// Where there is no command to keep signals for, they do what they do to any program: a
/// terminal that is paused or a pipe that is full cannot hold it against Ctrl-C and TERM.
fn take_signals_again(mask: &InheritedMask) {
    if getpid() == INIT {
        exit_at_request();
    }
    if let Ok(mask) = mask {
        set_signal_mask(*mask);
    }
}

// None of these is inlined: with their buffers in it, the frame of `run` would keep ten
// pages of the stack for as long as the command runs.

#[inline(never)]
fn print(page: InfoPage, profile: &Profile, mask: &InheritedMask, log: &Log) -> u8 {
    take_signals_again(mask);
    match page.print(profile) {
        Ok(()) => 0,
        Err(errno) => report_unwritten(errno, log),
    }
}

#[inline(never)]
fn list_zombies(max: u32, settings: &Settings, mask: &InheritedMask, log: &Log) -> u8 {
    take_signals_again(mask);
    match zombies::list(settings.verbosity > 0, settings.config.format) {
        Ok(count) => u8::from(count > max),
        Err(failure) => report_failure(failure, log),
    }
}

#[inline(never)]
fn report_top(time: Nanos, settings: &Settings, mask: &InheritedMask, log: &Log) -> u8 {
    take_signals_again(mask);
    match top::run(time, settings.verbosity > 0, settings.config.format) {
        Ok(fault) => u8::from(fault),
        Err(failure) => report_failure(failure, log),
    }
}

fn report_failure(failure: Failure, log: &Log) -> u8 {
    if let Failure::Output(errno) = failure {
        return report_unwritten(errno, log);
    }
    log.fatal(format_args!("{failure}"));
    EXIT_FAILED
}

/// Reports why standard output was not written to. Where its reader has gone, `head` say, that
/// is no fault: the exit code is that of a death by SIGPIPE, which is ignored or blocked here,
/// or sent to PID 1.
fn report_unwritten(errno: Errno, log: &Log) -> u8 {
    if errno == Errno::EPIPE {
        return 0x80 | Signal::PIPE.number() as u8;
    }
    log.fatal(format_args!("standard output: {}", Reason(errno)));
    EXIT_FAILED
}

/// Signals wait while the file is copied, so that no half of it is left behind.
#[inline(never)]
fn install_to(target: &[u8], mask: &InheritedMask, log: &Log) -> u8 {
    let installed = install::install(target);
    take_signals_again(mask);
    match installed {
        Ok(()) => 0,
        Err(failure) => {
            log.fatal(format_args!("--install {}: {failure}", Escaped(target)));
            EXIT_FAILED
        }
    }
}
