//! The life of one command: start it, reap until no child is left to reap, sleep until a
//! signal arrives or a deadline passes, forward, and end as it did.

#![forbid(unsafe_code)]

pub mod config;
pub mod descendants;
pub mod forward;
pub mod job;
pub mod roots;
pub mod shutdown;
pub mod spawn;
mod supervisor;
mod terminal;

use std::fmt::Arguments;

use nix::errno::Errno;
use nix::unistd::{Pid, chdir, getpid, getppid};

use crate::diagnose::Format;
use crate::diagnose::orphans::Report;
use crate::diagnose::termination::{Ending, TerminationMessage};
use crate::log::{Escaped, Level, Log, Reason};
use crate::sys::fd::close_all_but_standard;
use crate::sys::output::OwnTerminal;
use crate::sys::path::base_name;
use crate::sys::process::{
    EXIT_FAILED, INIT, OwnProcess, become_subreaper, is_subreaper, set_parent_death_signal,
};
use crate::sys::signal::{Signal, SignalSet};
use crate::sys::wait::WaitStatus;

use config::Config;
use job::{Job, JobSetup};
use spawn::{Command, Spawned};
use supervisor::{Failure, Supervisor, Target};

/// How the command ended.
pub struct Outcome {
    /// Its wait status.
    pub status: WaitStatus,
    /// Whether the terminal's Ctrl-C or Ctrl-\ killed it, and shall kill sexton, too.
    pub interrupted: bool,
    /// Whether it was still running when its time ran out.
    pub timed_out: bool,
}

/// What `timeout(1)` exits with when the time ran out.
const EXIT_TIMED_OUT: u8 = 124;

impl Outcome {
    /// The exit code that reports it: as `timeout(1)` does where the time ran out, a command
    /// that had to be killed included.
    pub fn exit_code(&self) -> u8 {
        if self.timed_out && self.status.term_signal() != Some(Signal::KILL) {
            EXIT_TIMED_OUT
        } else {
            self.status.exit_code()
        }
    }
}

/// Starts the command, and supervises it until it has exited. Without one it only reaps,
/// until TERM or INT. `mask` is the signal mask that we inherited, for the command; or why
/// signals could not be blocked. A failure of sexton's own is logged, and comes back as the exit code.
pub fn run(
    process: &OwnProcess,
    mask: Result<SignalSet, Errno>,
    command: Option<&Command>,
    config: &Config,
    log: &Log,
) -> Result<Outcome, u8> {
    let own_pid = getpid();
    // C libraries return the kernel's answer as it is, since this call cannot fail; but a
    // filter may refuse it. To the calls that take a PID, a negative number means many.
    if own_pid.as_raw() <= 0 {
        let errno = Errno::from_raw(own_pid.as_raw().saturating_neg());
        log.fatal(format_args!("getpid: {}", Reason(errno)));
        return Err(EXIT_FAILED);
    }
    adopt_orphans(config, own_pid, log);
    let parent_died = watch_parent(config, log)?;
    let message = config.termination_message.map(TerminationMessage::new);
    let terminal = OwnTerminal::open();

    let (target, job, started) = match command {
        None => (Target::Pause { ended: false }, Job::none(own_pid), None),
        Some(command) => {
            let (spawned, job) = start(process, mask, command, own_pid, config, log).map_err(|errno| {
                report_failure(format_args!("fork: {}", Reason(errno)), message.as_ref(), log);
                EXIT_FAILED
            })?;
            (Target::Command(spawned.pid), job, Some((command, spawned)))
        }
    };
    if let Some(terminal) = terminal {
        terminal.replace_stderr();
    }
    release_resources(process, log);

    let mut supervisor = Supervisor::new(process, target, own_pid, job, config, log);
    supervisor.not_blocked = mask.err();
    supervisor.spawned = started.as_ref().map(|(_, spawned)| spawned);
    let ended = if config.report {
        supervise_with_report(&mut supervisor, parent_died, config.format)
    } else {
        supervisor.run(parent_died, None)
    };
    let status = ended.map_err(|failure| {
        log.fatal(format_args!("{failure}"));
        EXIT_FAILED
    })?;
    let executed = started.as_ref().is_none_or(|(_, spawned)| spawned.exec_failure(status).is_none());
    let outcome = Outcome {
        status,
        interrupted: supervisor.interrupted,
        timed_out: executed && supervisor.timed_out(),
    };
    if let Some((command, spawned)) = &started {
        report_end(command, spawned, &outcome, &supervisor, message.as_ref(), config);
    }
    Ok(outcome)
}

/// Starts the command, in the session, group and foreground that are chosen for it.
fn start(
    process: &OwnProcess,
    mask: Result<SignalSet, Errno>,
    command: &Command,
    own_pid: Pid,
    config: &Config,
    log: &Log,
) -> Result<(Spawned, Job), Errno> {
    let waits = config.stop_policy.waits_for_others();
    let (setup, failed) = JobSetup::prepare(process, own_pid, config.placement, waits);
    if let Some(failed) = failed {
        log.info(format_args!("{failed}"));
    }
    // As PID 1 sexton takes the whole namespace with it.
    let dies_with = (own_pid != INIT && config.stop_policy.limits_time()).then_some(own_pid);
    let spawned = command.start(process, mask.ok(), &setup, dies_with, log)?;
    log.debug(format_args!("started command, PID {}", spawned.pid));
    let job = setup.into_job(own_pid, spawned.pid);
    Ok((spawned, job))
}

/// Not inlined: the table takes a page of the stack, which the frame of [`run`] would keep
/// for as long as the command runs.
#[inline(never)]
fn supervise_with_report(
    supervisor: &mut Supervisor,
    parent_died: Option<Signal>,
    format: Format,
) -> Result<WaitStatus, Failure> {
    let mut report = Report::default();
    let status = supervisor.run(parent_died, Some(&mut report))?;
    report.print(format, supervisor.log);
    Ok(status)
}

/// Keeps no resource busy while the command runs: no working directory on a mount, and no
/// descriptor but the standard ones.
fn release_resources(process: &OwnProcess, log: &Log) {
    if let Err(errno) = chdir(c"/") {
        log.info(format_args!("chdir: {}", Reason(errno)));
    }
    close_all_but_standard(process);
}

/// Reports how the command ended, or why it was not executed.
fn report_end(
    command: &Command,
    spawned: &Spawned,
    outcome: &Outcome,
    supervisor: &Supervisor,
    message: Option<&TerminationMessage>,
    config: &Config,
) {
    let (name, log) = (command.name().to_bytes(), supervisor.log);
    let message = message.filter(|_| config.is_failure(outcome.exit_code()));
    if let Some(failure) = spawned.exec_failure(outcome.status) {
        return report_failure(format_args!("{}: {failure}", Escaped(name)), message, log);
    }
    let ending = Ending {
        name: base_name(name),
        pid: spawned.pid,
        status: outcome.status,
        timed_out_after: config.stop_policy.timeout.filter(|_| outcome.timed_out).map(|limit| limit.after),
        signal: supervisor.signal_before_exit,
        figures: message.map(TerminationMessage::figures).unwrap_or_default(),
    };
    let ended_by_force = outcome.timed_out || outcome.status.term_signal().is_some();
    let level = if ended_by_force { Level::Info } else { Level::Debug };
    log.log(level, format_args!("{ending}"));
    if let Some(message) = message {
        message.write(format_args!("{ending}"), log);
    }
}

/// Reports that the command could not be started, on standard error and in the termination
/// message.
fn report_failure(failure: Arguments, message: Option<&TerminationMessage>, log: &Log) {
    log.fatal(failure);
    if let Some(message) = message {
        message.write(failure, log);
    }
}

/// As PID 1 sexton gets the namespace's orphans in any case. Elsewhere it gets those among
/// its own descendants if it asks for them (`PR_SET_CHILD_SUBREAPER(2const)`). Where that
/// is refused they go to the next subreaper above it, or to PID 1.
fn adopt_orphans(config: &Config, own_pid: Pid, log: &Log) {
    if own_pid == INIT {
        return;
    }
    if config.adopt {
        if let Err(errno) = become_subreaper() {
            log.info(format_args!("PR_SET_CHILD_SUBREAPER: {}", Reason(errno)));
        }
    } else if config.warn_of_orphans && !is_subreaper() {
        log.error(format_args!(
            "neither PID 1 nor a child subreaper: orphans will not be reaped (use -s, set TINI_SUBREAPER, or run as PID 1)"
        ));
    }
}

/// Asks for the signal at our parent's death. Returns the signal if the parent died just
/// before that: then the kernel will not send it.
///
/// A parent that died earlier is not noticed: sexton is PID 1's child then, as it is where
/// PID 1 started it.
fn watch_parent(config: &Config, log: &Log) -> Result<Option<Signal>, u8> {
    let Some(signal) = config.parent_death_signal else { return Ok(None) };
    let parent = getppid();
    if let Err(errno) = set_parent_death_signal(signal) {
        log.fatal(format_args!("PR_SET_PDEATHSIG: {}", Reason(errno)));
        return Err(EXIT_FAILED);
    }
    Ok((getppid() != parent).then_some(signal))
}
