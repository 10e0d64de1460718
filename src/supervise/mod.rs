//! The life of one command: start it, reap until no child is left to reap, sleep until a
//! signal arrives or a deadline passes, forward, and end as it did.

#![forbid(unsafe_code)]

pub mod config;
pub mod descendants;
pub mod forward;
pub mod job;
pub mod shutdown;
pub mod spawn;
mod supervisor;

use nix::errno::Errno;
use nix::unistd::{Pid, chdir, getpid, getppid};

use crate::diagnose::Format;
use crate::diagnose::orphans::Report;
use crate::diagnose::termination::{Ending, TerminationMessage};
use crate::log::{Escaped, Log, Reason};
use crate::sys::fd::close_all_but_standard;
use crate::sys::path::base_name;
use crate::sys::process::{EXIT_FAILED, OwnProcess, become_subreaper, is_subreaper, set_parent_death_signal};
use crate::sys::signal::Signal;
use crate::sys::wait::WaitStatus;

use config::Config;
use forward::INIT;
use job::{Job, JobSetup};
use spawn::{Command, Spawned};
use supervisor::{Supervisor, Target};

/// How the command ended.
pub struct Outcome {
    /// Its wait status.
    pub status: WaitStatus,
    /// Whether the terminal's Ctrl-C or Ctrl-\ killed it, and shall kill sexton, too.
    pub interrupted: bool,
}

/// Starts the command, and supervises it until it has exited. Without one it only reaps,
/// until TERM or INT. A failure of sexton's own is logged, and comes back as the exit code.
pub fn run(
    process: &OwnProcess,
    command: Option<&Command>,
    config: &Config,
    log: &Log,
) -> Result<Outcome, u8> {
    let own_pid = getpid();
    adopt_orphans(config, own_pid, log);
    let parent_died = watch_parent(config, log)?;
    let message = config.termination_message.map(TerminationMessage::new);

    let (target, job, started) = match command {
        None => (Target::Pause { ended: false }, Job::none(own_pid), None),
        Some(command) => {
            let (spawned, job) = start(process, command, own_pid, config, log).map_err(|errno| {
                log.fatal(format_args!("fork: {}", Reason(errno)));
                if let Some(message) = &message {
                    message.write(format_args!("fork: {}", Reason(errno)), log);
                }
                EXIT_FAILED
            })?;
            (Target::Command(spawned.pid), job, Some((command, spawned)))
        }
    };
    release_resources(process);

    let mut supervisor = Supervisor::new(process, target, own_pid, job, config, log);
    supervisor.signals_blocked = command.is_none_or(|command| command.mask.is_ok());
    supervisor.spawned = started.as_ref().map(|(_, spawned)| spawned);
    let ended = if config.report {
        supervise_with_report(&mut supervisor, parent_died, config.format)
    } else {
        supervisor.run(parent_died, None)
    };
    let status = ended.map_err(|errno| {
        log.error(format_args!("wait4: {}", Reason(errno)));
        EXIT_FAILED
    })?;
    if let Some((command, spawned)) = &started {
        report_end(command, spawned, status, &supervisor, message.as_ref(), config);
    }
    Ok(Outcome { status, interrupted: supervisor.interrupted })
}

/// Starts the command, in the session, group and foreground that are for it.
fn start(
    process: &OwnProcess,
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
    let spawned = command.start(process, &setup, log)?;
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
) -> Result<WaitStatus, Errno> {
    let mut report = Report::default();
    let ended = supervisor.run(parent_died, Some(&mut report));
    report.print(format, supervisor.log);
    ended
}

/// Keeps no resource busy while the command runs: no working directory on a mount, and no
/// descriptor but the standard ones.
fn release_resources(process: &OwnProcess) {
    let _ = chdir(c"/");
    close_all_but_standard(process);
}

/// Reports how the command ended, or why it was not executed.
fn report_end(
    command: &Command,
    spawned: &Spawned,
    status: WaitStatus,
    supervisor: &Supervisor,
    message: Option<&TerminationMessage>,
    config: &Config,
) {
    let (name, log) = (command.name().to_bytes(), supervisor.log);
    let message = message.filter(|_| config.is_failure(status.exit_code()));
    if let Some(failure) = spawned.exec_failure(status) {
        log.fatal(format_args!("{}: {failure}", Escaped(name)));
        if let Some(message) = message {
            message.write(format_args!("{}: {failure}", Escaped(name)), log);
        }
        return;
    }
    let ending = Ending {
        name: base_name(name),
        pid: spawned.pid,
        status,
        signal: supervisor.last_signal(),
        figures: message.map(TerminationMessage::figures).unwrap_or_default(),
    };
    if status.term_signal().is_some() {
        log.info(format_args!("{ending}"));
    } else {
        log.debug(format_args!("{ending}"));
    }
    if let Some(message) = message {
        message.write(format_args!("{ending}"), log);
    }
}

/// As PID 1 we get the namespace's orphans in any case. Elsewhere those of our own
/// descendants are ours if we ask for them (`PR_SET_CHILD_SUBREAPER(2const)`); where that is
/// refused they go to the process that got them before.
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
            "neither PID 1 nor a child subreaper: zombie reaping won't work (use -s, set TINI_SUBREAPER, or run as PID 1)"
        ));
    }
}

/// Asks for the signal at our parent's death. Returns the signal if the parent died just
/// before that: then the kernel will not send it.
///
/// A parent that was dead before that cannot be distinguished from one that is alive: we are
/// then PID 1's child, and so are those that PID 1 itself started.
fn watch_parent(config: &Config, log: &Log) -> Result<Option<Signal>, u8> {
    let Some(signal) = config.parent_death_signal else { return Ok(None) };
    let parent = getppid();
    if let Err(errno) = set_parent_death_signal(signal) {
        log.fatal(format_args!("PR_SET_PDEATHSIG: {}", Reason(errno)));
        return Err(EXIT_FAILED);
    }
    Ok((getppid() != parent).then_some(signal))
}
