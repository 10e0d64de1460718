//! sexton is PID 1 for containers: it starts one command, forwards every signal to
//! it, reaps every orphan, and exits as the command did.
//!
//! This library is the whole program behind C's `main`; it is no interface for
//! others. Two rules hold in all of it, and `.ci/run` checks them on the release
//! binary: nothing allocates, and nothing that is reachable can panic, as a dead
//! PID 1 is a dead container. Nor does anything use `core::fmt`.
//!
//! Which room to enter:
//!
//! | module | what it knows |
//! |---|---|
//! | [`cli`] | the options, their texts, what they add up to |
//! | [`spawn`] | starting the command |
//! | [`supervise`] | the loop: reap, wait, forward |
//! | [`shutdown`] | an orderly end: delay, kill-after, grace, wait-all |
//! | [`forward`] | which signal goes on, as what, to whom |
//! | [`terminal`] | sessions, process groups, the foreground, stopping with the command |
//! | [`exit`] | how a child ended, and the exit code that says so |
//! | [`signal`] | signals and their names |
//! | [`procfs`] | /proc: who descends from whom |
//! | [`message`] | what is printed, and that it never blocks |
//! | [`sys`] | system calls; all of the unsafe code |

#![deny(unsafe_code)]

pub mod cli;
pub mod exit;
pub mod forward;
pub mod message;
pub mod number;
pub mod procfs;
pub mod shutdown;
pub mod signal;
pub mod spawn;
pub mod supervise;
#[allow(unsafe_code)]
pub mod sys;
pub mod terminal;

use std::ffi::CStr;

use nix::sys::prctl;
use nix::unistd::{Pid, chdir, getpid, getppid};

use cli::{End, Page, Settings};
use exit::{FAILED, Status};
use forward::{Forwarder, INIT};
use message::{Level, Log, Word};
use signal::Signal;
use spawn::{Command, Failure, Started};
use supervise::Supervisor;
use sys::{Arguments, Environment, SignalSet};
use terminal::{Place, Problem};

/// Runs sexton and returns its exit code.
pub fn run(arguments: Arguments, environment: Environment) -> u8 {
    // Before anything else: what arrives from now on waits for the command.
    let mask = sys::block_all_signals();

    let mut settings = Settings::default();
    let first = match read_options(&mut settings, arguments, environment) {
        Ok(Request::Command(first)) => first,
        Ok(Request::Page(page)) => return print(page),
        Err(code) => return code,
    };
    let log = Log::new(settings.verbosity);

    // Should we have inherited it ignored, no exit status would ever be ours.
    let sigchld_ignored = sys::ignore_sigchld(false);
    let command = Command { arguments, first, environment, mask, sigchld_ignored };
    let code = match serve(&settings, &command, &log) {
        Ok(status) => {
            log.say(Level::Debug, &[&"the command ", &status]);
            if settings.mirror && getpid() != INIT && !settings.remapped.contains(status.exit_code()) {
                mirror(status);
            }
            status.exit_code()
        }
        Err(code) => code,
    };
    if settings.remapped.contains(code) { 0 } else { code }
}

/// Starts the command, and looks after it until it has ended.
fn serve(settings: &Settings, command: &Command, log: &Log) -> Result<Status, u8> {
    let own_pid = getpid();
    adopt_orphans(own_pid, log);
    let parent_died = watch_parent(settings, log)?;

    let (place, problem) = Place::prepare(own_pid);
    tell_problem(problem, log);
    let Started { pid, problem } = command.start(&place).map_err(|failure| {
        place.give_back();
        tell(failure, command, log)
    })?;
    log.say(Level::Debug, &[&"started the command as ", &pid]);
    tell_problem(problem, log);
    let held_back = place.signals;
    let job = place.into_job(own_pid, pid);
    let _ = chdir(c"/");
    sys::close_all_but_standard();

    // What came before the loop, and is the command's.
    let before = parent_died.into_iter().fold(held_back, SignalSet::with);
    let supervisor = Supervisor {
        command: pid,
        own_pid,
        forwarder: Forwarder::new(settings.scope, pid, own_pid, log),
        rewrites: &settings.rewrites,
        plan: &settings.plan,
        job,
        log,
    };
    let ended = supervisor.run(before);
    supervisor.job.ended();
    ended.map_err(|reason| {
        log.say(Level::Problem, &[&"wait4: ", &reason]);
        FAILED
    })
}

/// Tells of a call about a terminal, a session or a group that failed.
fn tell_problem(problem: Problem, log: &Log) {
    if let Some((call, reason)) = problem {
        log.say(Level::Info, &[&call, &": ", &reason]);
    }
}

/// What the options ask for.
enum Request {
    /// To run the command that is the argument with this index.
    Command(usize),
    /// To print a page.
    Page(Page),
}

/// Reads the options from the variable, then from the command line. A mistake is
/// told, and comes back as the exit code.
fn read_options(
    settings: &mut Settings,
    arguments: Arguments,
    environment: Environment,
) -> Result<Request, u8> {
    let log = Log::new(Level::Problem as u8);
    let value = environment.get(cli::VARIABLE).unwrap_or_default();
    match settings.read_variable(value) {
        Ok(None) => {}
        Ok(Some(page)) => return Ok(Request::Page(page)),
        Err(mistake) => {
            log.fail(&[&cli::VARIABLE, &": ", &mistake]);
            return Err(FAILED);
        }
    }
    let first = match settings.read(arguments.from(1).map(CStr::to_bytes)) {
        Ok(End::Page(page)) => return Ok(Request::Page(page)),
        Ok(End::Word(index) | End::Separator(index)) => index + 1,
        Ok(End::Words) => usize::MAX,
        Err(mistake) => {
            log.fail(&[&mistake]);
            return Err(FAILED);
        }
    };
    if arguments.get(first).is_none() {
        log.fail(&[&"COMMAND: missing (see sexton --help)"]);
        return Err(FAILED);
    }
    Ok(Request::Command(first))
}

fn print(page: Page) -> u8 {
    match page.print() {
        Ok(()) => 0,
        Err(reason) => {
            Log::new(Level::Problem as u8).fail(&[&"standard output: ", &reason]);
            FAILED
        }
    }
}

/// As PID 1 we get the namespace's orphans in any case. Elsewhere those of our own
/// descendants are ours if we ask for them (`PR_SET_CHILD_SUBREAPER(2const)`);
/// where that is refused they go to whoever got them before.
fn adopt_orphans(own_pid: Pid, log: &Log) {
    if own_pid != INIT
        && let Err(reason) = prctl::set_child_subreaper(true)
    {
        log.say(Level::Info, &[&"PR_SET_CHILD_SUBREAPER: ", &reason]);
    }
}

/// Asks for the signal at our parent's death. It returns the signal if the parent
/// died just before that: then the kernel will not send it.
///
/// A parent that was dead before that cannot be told from one that is alive: we
/// are then PID 1's child, and so are those whom PID 1 itself started.
fn watch_parent(settings: &Settings, log: &Log) -> Result<Option<Signal>, u8> {
    let Some(signal) = settings.parent_death_signal else { return Ok(None) };
    let parent = getppid();
    if let Err(reason) = sys::set_parent_death_signal(signal) {
        log.fail(&[&"PR_SET_PDEATHSIG: ", &reason]);
        return Err(FAILED);
    }
    Ok((getppid() != parent).then_some(signal))
}

/// Tells why the command was not started; returns the exit code for that.
fn tell(failure: Failure, command: &Command, log: &Log) -> u8 {
    match failure {
        Failure::Clone(reason) => {
            log.fail(&[&"clone: ", &reason]);
            FAILED
        }
        Failure::Execute { reason, exists } => {
            let name = Word(command.arguments.get(command.first).unwrap_or_default().to_bytes());
            let hint = if exists { ": the interpreter or loader that it names is missing" } else { "" };
            log.fail(&[&name, &": ", &reason, &hint]);
            exit::not_executed(reason)
        }
    }
}

/// Dies of the signal that the command died of, if it did.
fn mirror(status: Status) {
    if let Some(signal) = status.term_signal() {
        sys::die_of(signal);
    }
}
