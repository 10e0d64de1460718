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
//! | [`cli`] | the options, and what each name sexton answers to changes |
//! | [`supervise`] | the life of one command |
//! | [`diagnose`] | zombies, orphans, a container's last words |
//! | [`install`] | copying this program somewhere |
//! | [`log`] | what is printed, and that it never blocks |
//! | [`units`] | numbers and times, read and written |
//! | [`sys`] | system calls; all of the unsafe code |

#![deny(unsafe_code)]

pub mod cli;
pub mod diagnose;
pub mod install;
pub mod log;
pub mod supervise;
#[allow(unsafe_code)]
pub mod sys;
mod text;
pub mod units;

use std::ffi::CStr;

use nix::errno::Errno;
use nix::unistd::{Pid, chdir, getpid, getppid};

use cli::compat::{Dialect, Placement};
use cli::{End, Page, Settings, Task};
use diagnose::orphans::Report;
use diagnose::termination::{LastWords, TerminationLog};
use diagnose::zombies;
use log::{Level, Log, Show, Word};
use supervise::forward::{Forwarder, INIT};
use supervise::job::{Job, Place, Problem};
use supervise::spawn::{Command, Failure};
use supervise::{LastSignal, Supervisor, Ways};
use sys::signal::Signal;
use sys::wait::{FAILED, Status};
use sys::{Arguments, Environment, SignalSet, path, wait};

/// Runs sexton and returns its exit code.
pub fn run(arguments: Arguments, environment: Environment) -> u8 {
    // Before anything else: what arrives from now on waits for the command.
    let mask = sys::block_all_signals();

    let dialect = Dialect::of(arguments.get(0).unwrap_or_default().to_bytes());
    let mut settings = dialect.defaults(environment);
    let first = match read_options(&mut settings, arguments, environment) {
        Ok(first) => first,
        Err(code) => return code,
    };
    dialect.complete(&mut settings);
    let log = Log::new(settings.verbosity);

    let runs = match settings.task {
        Task::Run => true,
        Task::Pause => false,
        Task::Zombies(max) => return list_zombies(max, &log),
        Task::Install(target) => return install_to(target, &log),
        Task::Print(page) => return print(page, dialect),
    };
    // Should we have inherited it ignored, no exit status would ever be ours.
    let sigchld_ignored = sys::ignore_sigchld(false);
    let command = Command { arguments, first, environment, mask, sigchld_ignored };
    let code = match serve(&settings, dialect, runs.then_some(&command), &log) {
        Ok(status) => {
            if settings.mirror && getpid() != INIT && !settings.remapped.contains(status.exit_code()) {
                mirror(status);
            }
            status.exit_code()
        }
        Err(code) => code,
    };
    if settings.remapped.contains(code) { 0 } else { code }
}

/// Starts the command, and looks after it until it has ended. Without one it only reaps,
/// until TERM or INT. (Not inlined: it is smaller than with what [`run`] holds at hand.)
#[inline(never)]
fn serve(settings: &Settings, dialect: Dialect, command: Option<&Command>, log: &Log) -> Result<Status, u8> {
    let own_pid = getpid();
    adopt_orphans(settings, dialect, own_pid, log);
    let parent_died = watch_parent(settings, log)?;
    let last_words = settings.termination_log.map(TerminationLog::new);

    let placement = dialect.placement(settings.scope);
    let (mut pid, mut job, mut before) = (None, Job::none(own_pid), SignalSet::EMPTY);
    let mut ways = Ways::default();
    if let Some(command) = command {
        let (place, problem) = Place::prepare(own_pid, placement);
        tell_problem(problem, log);
        let started = command.start(&place).map_err(|failure| {
            place.give_back();
            tell(failure, command, settings, log, last_words.as_ref())
        })?;
        log.say(Level::Debug, "started the command as {}", &[&started.pid]);
        tell_problem(started.problem, log);
        pid = Some(started.pid);
        before = place.signals;
        job = place.into_job(own_pid, started.pid, placement);
        ways = Ways {
            same_group: placement == Placement::OurGroup,
            suspends_itself: dialect.suspends_itself(),
            ends_the_group: dialect.ends_the_group(settings.scope),
        };
    }
    settle();

    // What came before the loop, and is the command's.
    let before = parent_died.into_iter().fold(before, SignalSet::with);
    let supervisor = Supervisor {
        command: pid,
        own_pid,
        forwarder: Forwarder::new(settings.scope, pid, own_pid, log),
        rewrites: &settings.rewrites,
        plan: &settings.plan,
        job,
        warn_on_reap: settings.warn_on_reap,
        ways,
        last_signal: LastSignal::new(last_words.is_some()),
        log,
    };
    let status = look_after(&supervisor, before, settings)?;
    let (Some(command), Some(pid)) = (command, pid) else { return Ok(status) };
    log.say(Level::Debug, "the command {}", &[&status]);
    if let Some(file) = &last_words
        && settings.is_failure(status.exit_code())
    {
        let words = LastWords {
            name: path::base_name(command.name().to_bytes()),
            pid,
            status,
            signal: supervisor.last_signal.get(),
            oom_kills: file.oom_kills(),
        };
        file.write("{}", &[&words], log);
    }
    Ok(status)
}

/// Supervises to the end, and reports.
fn look_after(supervisor: &Supervisor, before: SignalSet, settings: &Settings) -> Result<Status, u8> {
    let ended = if settings.report { reporting(supervisor, before) } else { supervisor.run(before, None) };
    supervisor.job.ended();
    ended.map_err(|reason| {
        supervisor.log.say(Level::Problem, "wait4: {}", &[&reason]);
        FAILED
    })
}

/// Not inlined: the report takes a page of the stack, which each frame touches.
#[inline(never)]
fn reporting(supervisor: &Supervisor, before: SignalSet) -> Result<Status, Errno> {
    let mut report = Report::default();
    let ended = supervisor.run(before, Some(&mut report));
    report.print(supervisor.log);
    ended
}

/// Keeps nothing alive that others may want to be rid of: no working directory, and no
/// descriptor but the standard ones.
fn settle() {
    let _ = chdir(c"/");
    sys::close_all_but_standard();
}

/// Neither this nor the next is inlined: with their buffers in it, the frame of [`run`]
/// would touch ten pages of the stack, for as long as the command runs.
#[inline(never)]
fn list_zombies(max: u32, log: &Log) -> u8 {
    match zombies::list() {
        Ok(count) => u8::from(count > max),
        Err(failure) => {
            log.fail("{}", &[&failure]);
            FAILED
        }
    }
}

#[inline(never)]
fn install_to(target: &[u8], log: &Log) -> u8 {
    match install::install(target) {
        Ok(()) => 0,
        Err(failure) => {
            log.fail("--install {}: {}", &[&Word(target), &failure]);
            FAILED
        }
    }
}

/// Tells of a call about a terminal, a session or a group that failed.
fn tell_problem(problem: Problem, log: &Log) {
    if let Some((call, reason)) = problem {
        log.say(Level::Info, "{}: {}", &[&call, &reason]);
    }
}

/// Reads the options from the variable, then from the command line; returns the index of
/// the word that follows them. A mistake is told, and comes back as the exit code.
fn read_options(
    settings: &mut Settings<'static>,
    arguments: Arguments,
    environment: Environment,
) -> Result<usize, u8> {
    let log = Log::new(Level::Problem as u8);
    let wrong = |text: &str, items: &[&dyn Show]| {
        log.fail(text, items);
        FAILED
    };
    let value = environment.get(cli::VARIABLE).unwrap_or_default();
    settings.read_variable(value).map_err(|mistake| wrong("{}: {}", &[&cli::VARIABLE, &mistake]))?;
    let mut index = 0;
    let mut next_word = || {
        index += 1;
        arguments.get(index).map(CStr::to_bytes)
    };
    let end = settings.read(&mut next_word).map_err(|mistake| wrong("{}", &[&mistake]))?;
    let first = if end == End::Separator { index + 1 } else { index };
    match (settings.task, arguments.get(first)) {
        (Task::Run, None) => Err(wrong("COMMAND: missing (see sexton --help)", &[])),
        (Task::Run | Task::Print(_), _) | (_, None) => Ok(first),
        (_, Some(word)) => Err(wrong("{}: no COMMAND goes with that option", &[&Word(word.to_bytes())])),
    }
}

fn print(page: Page, dialect: Dialect) -> u8 {
    match page.print(dialect) {
        Ok(()) => 0,
        Err(reason) => {
            Log::new(Level::Problem as u8).fail("standard output: {}", &[&reason]);
            FAILED
        }
    }
}

/// As PID 1 we get the namespace's orphans in any case. Elsewhere those of our own
/// descendants are ours if we ask for them (`PR_SET_CHILD_SUBREAPER(2const)`);
/// where that is refused they go to whoever got them before.
fn adopt_orphans(settings: &Settings, dialect: Dialect, own_pid: Pid, log: &Log) {
    if own_pid == INIT {
        return;
    }
    if settings.adopt {
        if let Err(reason) = sys::become_subreaper() {
            log.say(Level::Info, "PR_SET_CHILD_SUBREAPER: {}", &[&reason]);
        }
    } else if dialect.warns_of_orphans() && settings.warn && !sys::is_subreaper() {
        log.say(
            Level::Problem,
            "not PID 1, nor a subreaper: zombie reaping won't work (use -s or TINI_SUBREAPER, or be PID 1)",
            &[],
        );
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
        log.fail("PR_SET_PDEATHSIG: {}", &[&reason]);
        return Err(FAILED);
    }
    Ok((getppid() != parent).then_some(signal))
}

/// Tells why the command was not started; returns the exit code for that.
fn tell(
    failure: Failure,
    command: &Command,
    settings: &Settings,
    log: &Log,
    last_words: Option<&TerminationLog>,
) -> u8 {
    let say = |text: &str, items: &[&dyn Show], code| {
        log.fail(text, items);
        if let Some(file) = last_words
            && settings.is_failure(code)
        {
            file.write(text, items, log);
        }
        code
    };
    match failure {
        Failure::Clone(reason) => say("clone: {}", &[&reason], FAILED),
        Failure::Execute { reason, exists } => {
            let name = Word(command.name().to_bytes());
            let text =
                if exists { "{}: {}: the interpreter or loader that it names is missing" } else { "{}: {}" };
            say(text, &[&name, &reason], wait::not_executed(reason))
        }
    }
}

/// Dies of the signal that the command died of, if it did.
fn mirror(status: Status) {
    if let Some(signal) = status.term_signal() {
        sys::die_of(signal);
    }
}
