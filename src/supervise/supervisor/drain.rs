//! Reaping: all that can be reaped in one go, with a look at orphans where an option asks for
//! it.

#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{Supervisor, Target};
use crate::diagnose::orphans::{Orphan, Report};
use crate::diagnose::procfs::Stat;
use crate::log::Level;
use crate::sys::signal::Signal;
use crate::sys::wait::{WaitFor, WaitStatus, detach_tracee, peek, reap, reap_with_usage, take_stopped};

/// How many children are reaped before looking for signals and at the clock.
const REAPED_IN_A_DRAIN: u16 = 1024;

/// What a drain found.
#[derive(Default)]
pub(super) struct Drained {
    /// How the command ended, if it did.
    pub(super) exited: Option<WaitStatus>,
    /// The signal that stopped it.
    pub(super) stopped: Option<Signal>,
    /// Whether another process was reaped.
    pub(super) orphan_exited: bool,
    /// Whether there is no child at all.
    pub(super) no_children: bool,
    /// Whether only processes are left that are no children.
    pub(super) others_from_outside: bool,
    /// Whether there may be more to reap.
    pub(super) more: bool,
}

impl Supervisor<'_> {
    /// The command's PID, as long as it runs.
    pub(super) fn running(&self) -> Option<Pid> {
        match self.target {
            Target::Command(command) if self.status.is_none() => Some(command),
            _ => None,
        }
    }

    /// Reaps all that can be reaped, up to a limit: where children exit as fast as they are
    /// reaped, signals and deadlines need their turn, too. ECHILD is no error if there is
    /// no command to wait for, or it has just been reaped.
    pub(super) fn drain(&mut self, mut report: Option<&mut Report>) -> Result<Drained, Errno> {
        let running = self.running();
        let mut drained = Drained::default();
        for _ in 0..REAPED_IN_A_DRAIN {
            let reaped = if self.config.warn_on_reap || report.is_some() {
                self.reap_and_report(self.what_to_wait_for(), running, report.as_deref_mut())
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

    pub(super) fn sort(&mut self, pid: Pid, status: WaitStatus, running: Option<Pid>, drained: &mut Drained) {
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
    pub(super) fn reap_and_report(
        &self,
        what: WaitFor,
        running: Option<Pid>,
        report: Option<&mut Report>,
    ) -> Result<Option<(Pid, WaitStatus)>, Errno> {
        let peeked = match peek(what) {
            Ok(None) if what == WaitFor::ExitOrStop => return take_stopped(),
            Ok(None) => return Ok(None),
            Err(Errno::ECHILD) => return Err(Errno::ECHILD),
            // Where `waitid` is refused, by a seccomp filter say, children are reaped
            // without a look.
            peeked => peeked.unwrap_or(None),
        };
        let stat = match peeked {
            Some(pid) if running != peeked => Stat::read(pid),
            _ => None,
        };
        let Some((pid, status, usage)) = reap_with_usage(peeked, what)? else {
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
        let level = if self.config.warn_on_reap { Level::Error } else { Level::Trace };
        self.log.log(level, format_args!("{orphan}"));
        if let Some(report) = report {
            report.add(orphan);
        }
    }

    fn trace_reaped(&self, pid: Pid, status: WaitStatus) {
        if status.stop_signal().is_none() {
            self.log.trace(format_args!("reaped {pid}: {status}"));
        }
    }
}
