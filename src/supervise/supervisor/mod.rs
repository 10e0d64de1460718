//! The loop: reap until no child is left to reap, then sleep until a signal arrives or a
//! deadline passes.

#![forbid(unsafe_code)]

mod drain;

use std::fmt::{self, Display, Formatter};
use std::mem;

use nix::errno::Errno;
use nix::unistd::Pid;

use drain::Drained;

use super::config::Config;
use super::forward::{Forwarder, Scope, is_for_command};
use super::job::Job;
use super::roots::Roots;
use super::shutdown::{Action, Event, Instant, Phase, State, StopPolicy};
use super::spawn::Spawned;
use crate::diagnose::orphans::Report;
use crate::log::{Log, Reason};
use crate::sys::process::OwnProcess;
use crate::sys::signal::{Signal, SignalInfo, kill, wait_for_signal};
use crate::sys::time::monotonic_time;
use crate::sys::wait::{WaitFor, WaitStatus};
use crate::units::{Nanos, SECOND};

/// What sexton supervises.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A command, by its PID.
    Command(Pid),
    /// Nothing: it reaps until TERM or INT arrives (`-P`).
    Pause {
        /// Whether one has arrived.
        ended: bool,
    },
}

/// The loop's state, and what it works with.
pub(super) struct Supervisor<'a> {
    process: &'a OwnProcess,
    target: Target,
    own_pid: Pid,
    config: &'a Config<'a>,
    pub(super) log: &'a Log,
    /// Why signals could not be blocked, if they could not: then none waits to be taken.
    pub(super) not_blocked: Option<Errno>,
    /// The command as it was started, to know whether it was executed.
    pub(super) spawned: Option<&'a Spawned>,
    forwarder: Forwarder<'a>,
    job: Job,
    roots: Roots,
    state: State,
    /// How the command ended, when it has.
    status: Option<WaitStatus>,
    /// Whether the terminal's Ctrl-C or Ctrl-\ killed it, and shall kill sexton, too.
    pub(super) interrupted: bool,
    /// The last signal that was forwarded to the command, and when.
    last_signal: Option<(Signal, Instant)>,
    /// The same when the command exited, and how long before that it was.
    pub(super) signal_before_exit: Option<(Signal, Nanos)>,
}

/// A call without which there is no way to go on.
pub(super) struct Failure {
    call: &'static str,
    errno: Errno,
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.call, Reason(self.errno))
    }
}

/// How many signals are taken before looking for children to reap. The kernel hands out low
/// numbers first: a flood of HUPs would keep SIGCHLD back for as long as it lasts.
const SIGNALS_BETWEEN_DRAINS: u8 = 64;
/// How long a command may take to die of a signal that sexton forwarded.
const RECENT: Nanos = 10 * SECOND;
/// How often to look whether processes that are no children have exited.
const LOOK_OUTSIDE: Nanos = SECOND / 20;
impl<'a> Supervisor<'a> {
    pub(super) fn new(
        process: &'a OwnProcess,
        target: Target,
        own_pid: Pid,
        job: Job,
        config: &'a Config<'a>,
        log: &'a Log,
    ) -> Self {
        Self {
            process,
            target,
            own_pid,
            config,
            log,
            not_blocked: None,
            spawned: None,
            forwarder: Forwarder::new(config.scope, own_pid, log),
            job,
            roots: Roots::new(own_pid),
            state: State::new(now(&config.stop_policy), &config.stop_policy),
            status: None,
            interrupted: false,
            last_signal: None,
            signal_before_exit: None,
        }
    }

    /// Reaps and forwards until the command has exited, and the remaining processes have, if
    /// sexton waits for them. Returns the command's wait status. `parent_died` is a signal
    /// that has arrived already. Orphans are added to the report, if there is one.
    ///
    /// The order matters:
    ///
    /// 1. The first drain comes before the first sleep, for children that ended before this
    ///    process became sexton: their SIGCHLD is long gone.
    /// 2. SIGCHLD is a wake-up, never a count: the kernel merges several into one
    ///    (`signal(7)`), so each means "reap all there is".
    /// 3. What a drain found is acted upon when the drain is over. Once the command has
    ///    been reaped no signal is sent to it, as its PID may be another process's by then.
    ///
    /// Fails where the command is no child of this process: waiting for it would never end.
    pub(super) fn run(
        &mut self,
        parent_died: Option<Signal>,
        mut report: Option<&mut Report>,
    ) -> Result<WaitStatus, Failure> {
        if let Some(errno) = self.not_blocked {
            return self.run_without_signals(Failure { call: "rt_sigprocmask", errno }, report);
        }
        if let Some(signal) = parent_died {
            self.route(signal);
        }
        loop {
            let mut drained = self.drain(report.as_deref_mut()).map_err(|errno| self.give_up(errno))?;
            self.look_for_others_from_outside(&mut drained);
            self.act_on(&drained);
            self.step(Event::Tick);
            for _ in 0..SIGNALS_BETWEEN_DRAINS {
                if let (Phase::Done, Some(status)) = (self.state.phase, self.status) {
                    return Ok(status);
                }
                // A drain shows which processes remain.
                if self.status.is_none() && self.target == (Target::Pause { ended: true }) {
                    break;
                }
                match wait_for_signal(self.timeout(&drained)) {
                    Ok(info) if info.signal == Signal::CHLD => break,
                    Ok(info) => self.on_signal(info),
                    // The deadlines say how much time is left.
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break,
                    Err(errno) => {
                        let failure = Failure { call: "rt_sigtimedwait", errno };
                        return self.run_without_signals(failure, report);
                    }
                }
            }
        }
    }

    /// Whether the command was still running when its time ran out.
    pub(super) fn timed_out(&self) -> bool {
        self.state.timed_out
    }

    /// How long to sleep.
    fn timeout(&self, drained: &Drained) -> Option<Nanos> {
        if drained.more {
            return Some(0);
        }
        let left = self.state.deadline().map(|deadline| deadline.saturating_sub(monotonic_time()));
        if drained.others_from_outside {
            return Some(left.unwrap_or(LOOK_OUTSIDE).min(LOOK_OUTSIDE));
        }
        left
    }

    // --- Signals -------------------------------------------------------------------

    fn on_signal(&mut self, info: SignalInfo) {
        let draining = self.state.draining;
        if info.signal == Signal::CONT && !draining {
            self.job.on_continue();
        }
        if self.job.sent(info) {
            return;
        }
        if !info.is_from_user() && !draining {
            self.job.on_terminal_signal(info.signal);
        }
        let is_stop = matches!(info.signal, Signal::TSTP | Signal::TTIN | Signal::TTOU);
        let suspend_always = self.config.suspend_on_stop_signals && is_stop;
        let suspend_with_command = self.job.wants_suspend(info);
        if suspend_always || suspend_with_command || is_for_command(info, self.own_pid, self.job.shares_group)
        {
            self.route(info.signal);
        }
        if suspend_always {
            self.while_stopped(|supervisor| {
                let _ = kill(supervisor.own_pid, Signal::STOP);
            });
        } else if suspend_with_command && draining {
            // While the command runs, sexton stops when the command does.
            self.while_stopped(|supervisor| supervisor.job.suspend(supervisor.process, info.signal));
        }
    }

    /// A signal is for the command: forwards it, or what is to be forwarded in its place.
    fn route(&mut self, received: Signal) {
        let Some(signal) = self.config.rewrites.apply(received) else { return };
        if self.config.stop_signals.ask_by(received, signal) {
            self.step(Event::StopRequested(signal));
        } else {
            self.forward(signal);
        }
    }

    fn forward(&mut self, signal: Signal) {
        match &mut self.target {
            _ if self.state.draining => self.forwarder.signal_remaining(signal),
            Target::Command(command) => {
                let command = *command;
                self.last_signal = Some((signal, monotonic_time()));
                self.send(signal, command);
            }
            Target::Pause { ended } => *ended |= matches!(signal, Signal::TERM | Signal::INT),
        }
    }

    fn send(&mut self, signal: Signal, command: Pid) {
        self.job.leave_group();
        self.forwarder.send(signal, command);
    }

    // --- The end -------------------------------------------------------------------

    /// Feeds an event to the state machine, and carries out the action that it returns.
    fn step(&mut self, event: Event) {
        let policy = &self.config.stop_policy;
        let before = self.state;
        let action = self.state.step(event, self.now(), policy);
        let after = self.state;
        let changed = before.draining != after.draining
            || mem::discriminant(&before.phase) != mem::discriminant(&after.phase);
        if changed && !policy.is_empty() {
            self.log.info(format_args!("phase: {after}"));
        }
        match action {
            Action::None => {}
            Action::Forward(signal) => {
                self.note_request();
                self.forward(signal);
                // As `timeout(1)` does: a stopped command could not act on the signal.
                if let Target::Command(command) = self.target
                    && after.timed_out
                    && !before.timed_out
                {
                    self.send(Signal::CONT, command);
                }
            }
            Action::Terminate(signal) => {
                self.roots.forget();
                self.terminate_roots(signal);
            }
            Action::TerminateRest(signal) => self.terminate_roots(signal),
            Action::Kill => match self.target {
                Target::Command(command) if !after.draining => self.send(Signal::KILL, command),
                _ => self.forwarder.signal_remaining(Signal::KILL),
            },
        }
        if event == Event::Tick && before.phase != Phase::Done && after.phase == Phase::Done {
            self.log.error(format_args!("some processes survived SIGKILL: giving up"));
        }
    }

    fn terminate_roots(&mut self, signal: Signal) {
        self.log.debug(format_args!("sending {signal} to the remaining processes"));
        let sent = self.roots.terminate(signal);
        self.forwarder.check(signal, sent);
    }

    /// Notes which processes a stop signal is about to reach, for when the command has
    /// exited.
    fn note_request(&mut self) {
        let Target::Command(command) = self.target else { return };
        let group = match self.config.scope {
            Scope::Command => return,
            Scope::Group => Some(command),
            Scope::Everything => None,
        };
        if !self.state.draining && self.config.stop_policy.waits_for_others() {
            let _ = self.roots.note_earlier_request(group);
        }
    }

    /// The command has exited; or, without a command, TERM or INT has arrived.
    fn on_exit(&mut self, status: WaitStatus, others: bool) {
        self.status = Some(status);
        self.signal_before_exit =
            self.last_signal.map(|(signal, then)| (signal, monotonic_time().saturating_sub(then)));
        // One that was forwarded long ago is not what has killed the command now.
        let forwarded = self.signal_before_exit.filter(|(_, ago)| *ago < RECENT).map(|(signal, _)| signal);
        self.interrupted = self.job.on_command_exit(status, forwarded);
        let failed = self.spawned.is_some_and(|spawned| spawned.exec_failure(status).is_some());
        if let Target::Command(command) = self.target
            && self.config.terminate_group
        {
            self.forwarder.terminate_group(command);
        }
        self.step(Event::CommandExited { others: others && !failed });
    }

    /// Does something that may stop sexton, and does not count that time.
    fn while_stopped(&mut self, stop: impl FnOnce(&mut Self)) {
        let before = self.now();
        stop(self);
        let now = self.now();
        self.state.postpone(now.saturating_sub(before));
    }

    /// The time, if an option needs it.
    fn now(&self) -> Instant {
        now(&self.config.stop_policy)
    }

    // --- Children ------------------------------------------------------------------

    fn act_on(&mut self, drained: &Drained) {
        if let Some(status) = drained.exited {
            self.on_exit(status, !drained.no_children);
        } else if self.status.is_none() && self.target == (Target::Pause { ended: true }) {
            self.on_exit(WaitStatus::SUCCESS, !drained.no_children);
        } else if self.status.is_some() && drained.no_children {
            self.step(Event::NoChildrenLeft);
        } else if self.status.is_some() && drained.orphan_exited {
            self.step(Event::OrphanExited);
        } else if let Some(signal) = drained.stopped {
            self.log.debug(format_args!("command stopped by {signal}"));
            self.while_stopped(|supervisor| supervisor.job.on_command_stop(supervisor.process, signal));
        }
    }

    /// No child is left. As PID 1 sexton waits for processes of the namespace that are no
    /// children, too: no signal reports their exit, and new ones may have come.
    fn look_for_others_from_outside(&mut self, drained: &mut Drained) {
        let ended = self.status.is_some()
            || drained.exited.is_some()
            || self.target == (Target::Pause { ended: true });
        if drained.no_children
            && ended
            && self.config.stop_policy.waits_for_others()
            && self.roots.are_left_from_outside()
        {
            drained.no_children = false;
            drained.orphan_exited = true;
            drained.others_from_outside = true;
        }
    }

    /// Where signals cannot be waited for (a seccomp filter), a PID 1 that gave up would kill
    /// its container, and one that tried again would spin: it reaps at least, until the
    /// command exits.
    fn run_without_signals(
        &mut self,
        failure: Failure,
        mut report: Option<&mut Report>,
    ) -> Result<WaitStatus, Failure> {
        if let Some(status) = self.status {
            self.log.error(format_args!("{failure}: not waiting for the remaining processes"));
            return Ok(status);
        }
        if self.running().is_none() {
            return Err(failure);
        }
        let limits = if self.config.stop_policy.is_empty() { "" } else { ", and time limits do not apply" };
        self.log.error(format_args!("{failure}: signals will not be forwarded{limits}"));
        loop {
            let running = self.running();
            let mut drained = Drained::default();
            let reaped = self.reap_and_report(WaitFor::NextExit, running, report.as_deref_mut());
            if let Some((pid, status)) = reaped.map_err(|errno| self.give_up(errno))? {
                self.sort(pid, status, running, &mut drained);
            }
            if let Some(status) = drained.exited {
                self.status = Some(status);
                return Ok(status);
            }
        }
    }

    /// Children cannot be waited for. The command, if it is one, is not left behind without
    /// sexton: with a PID 1, it would end as well.
    fn give_up(&mut self, errno: Errno) -> Failure {
        if errno != Errno::ECHILD
            && let Some(command) = self.running()
        {
            self.forwarder.send(Signal::KILL, command);
        }
        Failure { call: "wait4", errno }
    }
}

/// The time, where it matters.
fn now(policy: &StopPolicy) -> Instant {
    if policy.is_empty() { 0 } else { monotonic_time() }
}
