//! The loop: reap until no child is left to reap, then sleep until a signal arrives or a
//! deadline passes.

#![forbid(unsafe_code)]

use std::mem;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::config::Config;
use super::descendants::{EarlierRequest, Roots};
use super::forward::{Forwarder, Scope, is_for_command};
use super::job::Job;
use super::shutdown::{Action, Event, Instant, Phase, State, is_stop_signal};
use super::spawn::Spawned;
use crate::diagnose::orphans::{Orphan, Report};
use crate::diagnose::procfs::Stat;
use crate::log::{Log, Reason};
use crate::sys::process::OwnProcess;
use crate::sys::signal::{Signal, SignalInfo, kill, wait_for_signal};
use crate::sys::time::{Nanos, monotonic_time, time_since_boot};
use crate::sys::wait::{
    WaitFor, WaitStatus, detach_tracee, peek, reap, reap_blocking, reap_with_usage, take_stopped,
};

/// What sexton lives for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A command, by its PID.
    Command(Pid),
    /// None: it reaps until it is asked to end (`-P`).
    Pause {
        /// Whether it was.
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
    /// Whether signals wait to be taken. Where the kernel refused to block them, none does.
    pub(super) signals_blocked: bool,
    /// The command's start, to know whether it was executed.
    pub(super) spawned: Option<&'a Spawned>,
    forwarder: Forwarder<'a>,
    job: Job,
    roots: Roots,
    state: State,
    /// How the command ended, when it has.
    status: Option<WaitStatus>,
    /// Whether the terminal's Ctrl-C or Ctrl-\ killed it, and shall kill sexton, too.
    pub(super) interrupted: bool,
    last_signal: Option<(Signal, Instant)>,
}

/// How many signals are taken before looking for children to reap. The kernel hands out low
/// numbers first: a flood of HUPs would keep SIGCHLD back for as long as it lasts.
const SIGNALS_BETWEEN_DRAINS: u8 = 64;
/// How many children are reaped before looking for signals and at the clock.
const REAPED_IN_A_DRAIN: u16 = 1024;

/// What a drain found.
#[derive(Default)]
struct Drained {
    /// The command's end.
    exited: Option<WaitStatus>,
    /// The signal that stopped it.
    stopped: Option<Signal>,
    /// Whether another process was reaped.
    orphan_exited: bool,
    /// Whether there is no child at all.
    no_children: bool,
    /// Whether there may be more to reap.
    more: bool,
}

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
            signals_blocked: true,
            spawned: None,
            forwarder: Forwarder::new(config.scope, own_pid, log),
            job,
            roots: Roots::new(own_pid),
            state: State::START,
            status: None,
            interrupted: false,
            last_signal: None,
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
    /// 3. What a drain found is acted upon when it is over. Once the command has been reaped
    ///    no signal is sent to it any more, as its PID may be another process's by now.
    ///
    /// ECHILD where the command is no child of ours: waiting for it would never end.
    pub(super) fn run(
        &mut self,
        parent_died: Option<Signal>,
        mut report: Option<&mut Report>,
    ) -> Result<WaitStatus, Errno> {
        if !self.signals_blocked {
            return self.reap_without_signals("rt_sigprocmask", Errno::EPERM);
        }
        if let Some(signal) = parent_died {
            self.route(signal);
        }
        loop {
            let drained = self.drain(report.as_deref_mut())?;
            self.act_on(&drained);
            self.step(Event::Tick);
            for _ in 0..SIGNALS_BETWEEN_DRAINS {
                if let (Phase::Done, Some(status)) = (self.state.phase, self.status) {
                    return Ok(status);
                }
                match wait_for_signal(self.timeout(&drained)) {
                    Ok(info) if info.signal == Signal::CHLD => break,
                    Ok(info) => self.on_signal(info),
                    // The deadlines say how much time is left.
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break,
                    Err(errno) => {
                        return match self.status {
                            Some(status) => Ok(status),
                            None => self.reap_without_signals("rt_sigtimedwait", errno),
                        };
                    }
                }
                // To see which processes remain.
                if self.target == (Target::Pause { ended: true }) {
                    break;
                }
            }
        }
    }

    /// The last signal that was forwarded to the command, and how long ago that was.
    pub(super) fn last_signal(&self) -> Option<(Signal, Nanos)> {
        let (signal, then) = self.last_signal?;
        Some((signal, monotonic_time().saturating_sub(then)))
    }

    /// How long to sleep.
    fn timeout(&self, drained: &Drained) -> Option<Nanos> {
        if drained.more {
            return Some(0);
        }
        Some(self.state.deadline()?.saturating_sub(monotonic_time()))
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
        if is_stop_signal(received, signal) {
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

    /// Takes an event into account, and does what is to be done then.
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
            self.roots.note_earlier_request(EarlierRequest { group, when: time_since_boot() });
        }
    }

    /// The command has exited; or sexton in its place was asked to.
    fn on_exit(&mut self, status: WaitStatus, others: bool) {
        self.status = Some(status);
        let forwarded = self.last_signal.map(|(signal, _)| signal);
        self.interrupted = self.job.on_command_exit(status, forwarded);
        let failed = self.spawned.is_some_and(|spawned| spawned.exec_failure(status).is_some());
        if let Target::Command(command) = self.target
            && self.config.terminate_group
        {
            self.forwarder.terminate_group(command);
            self.roots.note_earlier_request(EarlierRequest { group: Some(command), when: time_since_boot() });
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

    /// The time, where it matters.
    fn now(&self) -> Instant {
        if self.config.stop_policy.is_empty() { 0 } else { monotonic_time() }
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

    /// The command's PID, as long as it runs.
    fn running(&self) -> Option<Pid> {
        match self.target {
            Target::Command(command) if self.status.is_none() => Some(command),
            _ => None,
        }
    }

    /// Reaps all that can be reaped, unless children end as fast as that: signals and
    /// deadlines must be heeded, too. That there is no child at all is right where there is
    /// no command, or the command was the last one.
    fn drain(&mut self, mut report: Option<&mut Report>) -> Result<Drained, Errno> {
        let running = self.running();
        let mut drained = Drained::default();
        for _ in 0..REAPED_IN_A_DRAIN {
            let reaped = if self.config.warn_on_reap || report.is_some() {
                self.reap_and_report(running, report.as_deref_mut())
            } else {
                self.reap()
            };
            match reaped {
                Ok(Some((pid, status))) => self.sort(pid, status, running, &mut drained),
                Ok(None) => return Ok(drained),
                Err(Errno::ECHILD) if running.is_none() || drained.exited.is_some() => {
                    drained.no_children = true;
                    return Ok(drained);
                }
                Err(errno) => return Err(errno),
            }
        }
        drained.more = true;
        Ok(drained)
    }

    fn sort(&mut self, pid: Pid, status: WaitStatus, running: Option<Pid>, drained: &mut Drained) {
        let is_command = running == Some(pid);
        match status.stop_signal() {
            Some(signal) if detach_tracee(pid, signal).is_ok() => {
                self.log.info(format_args!("detached from {pid}, which asked to be traced"));
            }
            Some(signal) if is_command => drained.stopped = Some(signal),
            Some(_) => {}
            None if is_command => drained.exited = Some(status),
            None => {
                self.roots.reaped(pid);
                drained.orphan_exited = true;
            }
        }
    }

    fn what_to_wait_for(&self) -> WaitFor {
        if self.job.stops_with_command { WaitFor::ExitOrStop } else { WaitFor::Exit }
    }

    fn reap(&self) -> Result<Option<(Pid, WaitStatus)>, Errno> {
        let reaped = reap(self.what_to_wait_for())?;
        if let Some((pid, status)) = reaped {
            self.trace_reaped(pid, status);
        }
        Ok(reaped)
    }

    /// The same, with a look at /proc before the process is reaped, as there is none after.
    /// (Not inlined: the buffers would take a quarter of a page of the stack in the loop's
    /// frame.)
    #[inline(never)]
    fn reap_and_report(
        &self,
        running: Option<Pid>,
        report: Option<&mut Report>,
    ) -> Result<Option<(Pid, WaitStatus)>, Errno> {
        let peeked = match peek() {
            Ok(None) if self.job.stops_with_command => return take_stopped(),
            Ok(None) => return Ok(None),
            Err(Errno::ECHILD) => return Err(Errno::ECHILD),
            // Where no look is allowed, by a seccomp filter say, they are reaped without one.
            peeked => peeked.unwrap_or(None),
        };
        let mut buffer = Stat::buffer();
        let stat = match peeked {
            Some(pid) if running != peeked => Stat::read(pid, &mut buffer),
            _ => None,
        };
        let Some((pid, status, usage)) = reap_with_usage(peeked, self.what_to_wait_for())? else {
            return Ok(None);
        };
        if running == Some(pid) || status.stop_signal().is_some() {
            self.trace_reaped(pid, status);
        } else {
            self.report_orphan(&Orphan { pid, stat, status, usage }, report);
        }
        Ok(Some((pid, status)))
    }

    fn report_orphan(&self, orphan: &Orphan, report: Option<&mut Report>) {
        if self.config.warn_on_reap {
            self.log.print(format_args!("{orphan}"));
        } else {
            self.log.trace(format_args!("{orphan}"));
        }
        if let Some(report) = report {
            report.add(orphan);
        }
    }

    /// Where signals cannot be waited for (a seccomp filter), a PID 1 that gave up would kill
    /// its container, and one that tried again would spin: it reaps at least.
    fn reap_without_signals(&mut self, call: &str, errno: Errno) -> Result<WaitStatus, Errno> {
        self.log.error(format_args!("{call}: {}: signals will not be forwarded", Reason(errno)));
        loop {
            let (pid, status) = reap_blocking()?;
            self.trace_reaped(pid, status);
            if self.running() == Some(pid) {
                self.status = Some(status);
                return Ok(status);
            }
        }
    }

    fn trace_reaped(&self, pid: Pid, status: WaitStatus) {
        if status.stop_signal().is_none() {
            self.log.trace(format_args!("reaped {pid}: {status}"));
        }
    }
}
