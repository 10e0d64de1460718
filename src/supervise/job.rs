//! The command as a job: its session, its process group, the terminal's foreground, and
//! stopping together (`credentials(7)`, `setsid(2)`, `tty_ioctl(4)`; POSIX, General Terminal
//! Interface).
//!
//! The command gets what it would have had in sexton's place. The cases, of which the first
//! that applies counts:
//!
//! | sexton | the command | the foreground | when the command stops |
//! |---|---|---|---|
//! | is called dumb-init, `-c` | stays in sexton's group | is theirs together | the signal that stops it stops sexton |
//! | is called dumb-init | leads a session | goes with the terminal, if sexton leads the session that has it | its group is orphaned: only STOP stops it |
//! | leads a session that has a terminal (a container's PID 1) | leads a session, and takes the terminal, which sexton gives up | is the command's | its group is orphaned: only STOP stops it |
//! | the same with `-t` or `-a` | leads a group. Its exit must not hang up the processes that sexton waits for, as that of a session's leader would | is handed over, also when the command needs it in the background | sexton's group is orphaned: it is continued, unless by STOP |
//! | is in a job of a shell | leads a group | is handed over, if sexton's group has it: at once, or, in a pipeline, when the command needs it | sexton stops, too, and the rest of a pipeline or script with it. When sexton is continued, so is the command. When the command is continued or exits, sexton is continued |
//! | is in an orphaned group, or has no terminal | leads a group | is handed over, if sexton's group has it | it is continued, unless by STOP; its use of the terminal fails with EIO |
//!
//! A process group is *orphaned* if no member has a parent in another group of the same
//! session (POSIX), which could continue it. The kernel does not stop a process of such a
//! group for TSTP, TTIN and TTOU, and sexton does not stop there, either.
//!
//! Nothing here is ever fatal. Each of these calls fails somewhere: without a terminal, on a
//! terminal of another session, in sandboxes that know none of it.

#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;

use nix::unistd::{Pid, getpgrp, getppid, getsid, setpgid, setsid, tcgetpgrp, tcsetpgrp};

use super::terminal::{
    FailedCall, THIS, controlling_terminal, is_foreground, is_in_pipeline, lead_group,
    own_group_has_foreground, release,
};
use crate::diagnose::procfs::{Stat, shows_own_namespace};
use crate::sys::fd::take_terminal;
use crate::sys::process::{OwnProcess, fork};
use crate::sys::signal::{
    Signal, SignalInfo, SignalSet, group_exists, kill, kill_group, kill_own_group, stop_by_pending,
    take_pending_signal,
};
use crate::sys::time::sleep_ms;
use crate::sys::wait::{WaitStatus, reap_child, wait_for_stop_or_exit};

/// Which session and process group the command gets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Placement {
    /// Those that it would have had in sexton's place.
    #[default]
    Auto,
    /// A session of its own.
    NewSession,
    /// Sexton's process group.
    SharedGroup,
}

/// What is prepared for the command before it starts.
pub struct JobSetup {
    placement: Placement,
    kind: JobKind,
}

enum JobKind {
    /// It leads a session, and takes this terminal.
    Session(Option<OwnedFd>),
    /// It leads a process group, and takes the foreground of this terminal: there is one
    /// only where sexton's group has it.
    Group(Option<OwnedFd>),
    /// It stays in sexton's process group.
    SharedGroup,
}

impl JobSetup {
    /// Chooses the case, and gives the terminal up where that has to be done first.
    pub fn prepare(
        process: &OwnProcess,
        own_pid: Pid,
        placement: Placement,
        waits_for_others: bool,
    ) -> (Self, Option<FailedCall>) {
        if placement == Placement::SharedGroup {
            return (Self { placement, kind: JobKind::SharedGroup }, None);
        }
        let mut terminal = controlling_terminal();
        let mut failed = None;
        let new_session = placement == Placement::NewSession || !waits_for_others;
        if new_session
            && getsid(None) == Ok(own_pid)
            && let Some(given_up) = terminal.take()
        {
            failed = release(process, &given_up);
            if failed.is_none() {
                return (Self { placement, kind: JobKind::Session(Some(given_up)) }, None);
            }
            terminal = Some(given_up);
        }
        let kind = match placement {
            // The terminal stays with sexton's session.
            Placement::NewSession => JobKind::Session(None),
            _ => JobKind::Group(terminal.filter(|terminal| !is_in_pipeline() && is_foreground(terminal))),
        };
        (Self { placement, kind }, failed)
    }

    /// Applies it to the child, before that executes. All signals are still blocked: a
    /// background process that blocks SIGTTOU may set the foreground (`tcsetpgrp(3)`).
    pub fn apply_in_child(&self) -> Option<FailedCall> {
        match &self.kind {
            JobKind::Session(terminal) => match (setsid(), terminal) {
                (Ok(_), None) => None,
                (Ok(_), Some(terminal)) => FailedCall::of("TIOCSCTTY", take_terminal(terminal)),
                (Err(errno), _) => {
                    let _ = lead_group(THIS);
                    Some(FailedCall { call: "setsid", errno })
                }
            },
            JobKind::Group(foreground) => match (lead_group(THIS), foreground) {
                (Err(errno), _) => Some(FailedCall { call: "setpgid", errno }),
                (Ok(()), Some(terminal)) => FailedCall::of("tcsetpgrp", tcsetpgrp(terminal, getpgrp())),
                (Ok(()), None) => None,
            },
            JobKind::SharedGroup => None,
        }
    }

    /// What remains to be done for a command that was started; lets go of the terminal.
    ///
    /// Parent and child both make the process group, as either may be first to use it.
    pub fn into_job(self, own_pid: Pid, command: Pid) -> Job {
        let leads_group = matches!(self.kind, JobKind::Group(_));
        if leads_group {
            let _ = lead_group(command);
        }
        Job {
            stops_with_command: leads_group && self.placement == Placement::Auto,
            shares_group: matches!(self.kind, JobKind::SharedGroup),
            gave_foreground: matches!(self.kind, JobKind::Group(Some(_))),
            wants_foreground: leads_group && !is_in_pipeline(),
            ..Job::new(own_pid, command)
        }
    }
}

/// The command as a job.
pub struct Job {
    own_pid: Pid,
    command: Pid,
    /// Whether sexton looks at the command's stops.
    pub stops_with_command: bool,
    /// Whether sexton is in the command's process group.
    pub shares_group: bool,
    /// Whether the command has been given the foreground, and not lost it to sexton's group.
    gave_foreground: bool,
    /// Whether it is to have the foreground as soon as sexton's group has it: not where it is
    /// a part of a pipeline and has made no use of the terminal.
    wants_foreground: bool,
    /// Whether sexton has stopped with the command, and not noticed since that it was
    /// continued.
    suspended: bool,
    /// The last process that watched a stopped command.
    watcher: Option<Pid>,
    /// The signal of a Ctrl-C or Ctrl-\ that has reached sexton's process group.
    interrupt: Option<Signal>,
}

impl Job {
    fn new(own_pid: Pid, command: Pid) -> Self {
        Self {
            own_pid,
            command,
            stops_with_command: false,
            shares_group: false,
            gave_foreground: false,
            wants_foreground: false,
            suspended: false,
            watcher: None,
            interrupt: None,
        }
    }

    /// The job that there is without a command.
    pub fn none(own_pid: Pid) -> Self {
        Self::new(own_pid, own_pid)
    }

    /// The command was stopped by `signal`.
    pub fn on_command_stop(&mut self, process: &OwnProcess, signal: Signal) {
        let wants_terminal = matches!(signal, Signal::TTIN | Signal::TTOU);
        // The command needs the foreground, and sexton's group has it: it is a part of a
        // pipeline, or the shell has given the foreground to that group once more, as some
        // do with each part of a pipeline.
        if wants_terminal && self.hand_over_foreground() {
            return self.continue_command();
        }
        if !has_job_control(process) {
            // Without sexton, none of these but STOP would have stopped the command; and
            // its use of the terminal would have failed, as its group would be an orphaned
            // one.
            if wants_terminal && !self.shares_group {
                self.orphan_command();
            }
            if signal != Signal::STOP {
                self.continue_command();
            }
            return;
        }
        // The terminal stops all of the foreground group; without sexton, the rest of a
        // pipeline or the script that runs it would have been in it. That group has the
        // foreground again first, where another sexton started this one and does the same.
        let stops_group = self.take_back_foreground() && signal != Signal::STOP;
        self.suspend_until_command_continues(process, signal, stops_group);
    }

    /// Makes the command's process group an orphaned one, in which the use of the terminal
    /// fails with EIO.
    fn orphan_command(&mut self) {
        if getsid(None) == Ok(self.own_pid) {
            // A session's leader can neither leave it nor join a group. All of the session
            // descends from the command, so the foreground is taken from no other program.
            if let Some(terminal) = controlling_terminal() {
                self.gave_foreground |= tcsetpgrp(&terminal, self.command).is_ok();
            }
        } else if !self.gave_foreground && getsid(Some(getppid())) == getsid(None) {
            // In the group, sexton would have its parent in another group of the session.
            let _ = setsid();
        } else {
            self.shares_group = setpgid(THIS, self.command).is_ok();
        }
    }

    /// Sexton was continued: hands the foreground over, if its group has it.
    pub fn on_continue(&mut self) {
        self.suspended = false;
        if self.wants_foreground {
            self.hand_over_foreground();
        }
    }

    /// The terminal's driver has raised a signal against sexton's process group.
    pub fn on_terminal_signal(&mut self, signal: Signal) {
        match signal {
            // Another part of a pipeline needs the terminal. If the command has it, that part
            // gets it, and goes on.
            Signal::TTIN | Signal::TTOU if self.stops_with_command => {
                if self.take_back_foreground() {
                    self.wants_foreground = false;
                }
                if own_group_has_foreground() {
                    let _ = kill_own_group(Signal::CONT);
                }
            }
            // A Ctrl-Z right after the job was continued: a stop signal discards a CONT that
            // has not been taken yet (`signal(7)`), so the command is stopped still, and would
            // not stop.
            Signal::TSTP if std::mem::take(&mut self.suspended) => self.continue_command(),
            Signal::INT | Signal::QUIT => self.interrupt = Some(signal),
            _ => {}
        }
    }

    /// Whether a stop signal that the terminal's driver raised against sexton's process group
    /// is for the command: in a job, where it would have been in that group. (While the
    /// command has the foreground, a Ctrl-Z reaches its group alone.) TTIN and TTOU are if
    /// sexton's group does not have the foreground: then they are about the whole job.
    pub fn wants_suspend(&self, info: SignalInfo) -> bool {
        !info.is_from_user()
            && self.stops_with_command
            && match info.signal {
                // Also if it has handed the foreground over since.
                Signal::TSTP => true,
                Signal::TTIN | Signal::TTOU => !own_group_has_foreground(),
                _ => false,
            }
    }

    /// Whether sexton itself or its watcher has sent a signal: not for the command, but to
    /// sexton or its process group.
    pub fn sent(&self, info: SignalInfo) -> bool {
        let sender = info.sender();
        match info.signal {
            Signal::CONT => sender.is_some() && (sender == Some(self.own_pid) || sender == self.watcher),
            signal => sender == Some(self.own_pid) && self.interrupt == Some(signal),
        }
    }

    /// Stops sexton, after the command has exited, if something would continue it.
    pub fn suspend(&self, process: &OwnProcess, signal: Signal) {
        if has_job_control(process) {
            let _ = kill(self.own_pid, signal);
            stop_by_pending(signal);
        }
    }

    /// The command has exited: takes the foreground back. Returns whether the terminal's
    /// Ctrl-C or Ctrl-\ killed the command, and shall kill sexton, too. `forwarded` is the
    /// last signal that sexton itself sent to the command.
    ///
    /// Where the command had the foreground, the rest of sexton's process group has not had
    /// that signal, as it would have without sexton, and gets it now.
    pub fn on_command_exit(&mut self, status: WaitStatus, forwarded: Option<Signal>) -> bool {
        let killed_by = status.term_signal().filter(|signal| matches!(*signal, Signal::INT | Signal::QUIT));
        let had_foreground = self.gave_foreground && self.return_foreground();
        if let Some(signal) = killed_by
            && had_foreground
            && forwarded != killed_by
        {
            self.interrupt = killed_by;
            let _ = kill_own_group(signal);
        }
        killed_by.is_some() && killed_by == self.interrupt
    }

    /// Takes the foreground back from a command that has exited, unless another group has it
    /// by now. Returns whether the command had it to the last.
    fn return_foreground(&self) -> bool {
        let Some(terminal) = controlling_terminal() else { return false };
        let Ok(group) = tcgetpgrp(&terminal) else { return false };
        let had_foreground = group == self.command;
        if !had_foreground && group_exists(group) {
            return false;
        }
        let _ = tcsetpgrp(&terminal, getpgrp());
        // A part of a pipeline that needed it at that moment was stopped.
        if take_pending_signal(SignalSet::EMPTY.with(Signal::TTIN).with(Signal::TTOU)).is_some() {
            let _ = kill_own_group(Signal::CONT);
        }
        had_foreground
    }

    /// Leaves the command's process group, if sexton has joined it, before that group gets a
    /// signal: it would come back to sexton, kill it or stop it, or hide one of the same kind
    /// that another process sends. The command's next use of the terminal joins it again.
    pub fn leave_group(&mut self) {
        if self.shares_group && self.stops_with_command {
            self.shares_group = lead_group(THIS).is_err();
        }
    }

    fn continue_command(&self) {
        let _ = kill_group(self.command, Signal::CONT);
    }

    /// Hands the foreground over to the command, if sexton's group has it. Returns whether
    /// it did.
    fn hand_over_foreground(&mut self) -> bool {
        let terminal = if self.stops_with_command { controlling_terminal() } else { None };
        let Some(terminal) = terminal else { return false };
        let handed = is_foreground(&terminal) && tcsetpgrp(&terminal, self.command).is_ok();
        self.gave_foreground |= handed;
        self.wants_foreground |= handed;
        handed
    }

    /// Takes the foreground back for sexton's group, if the command has it. Returns whether
    /// it had.
    fn take_back_foreground(&mut self) -> bool {
        let Some(terminal) = controlling_terminal() else { return false };
        let had = self.gave_foreground && tcgetpgrp(&terminal) == Ok(self.command);
        if had {
            let _ = tcsetpgrp(&terminal, getpgrp());
        }
        had
    }

    /// Stops sexton as the command was, so that the shell which waits for it notices. A
    /// stopped process cannot see that its child goes on; so meanwhile a child of sexton's
    /// looks at the command, and continues sexton when another process has continued the
    /// command, or it has exited.
    ///
    /// The signal is sent once, when all is prepared: a second one would discard the CONT of
    /// a shell that is as quick as that (`signal(7)`).
    fn suspend_until_command_continues(&mut self, process: &OwnProcess, signal: Signal, stops_group: bool) {
        self.watcher = if shows_own_namespace(self.own_pid) {
            fork(process, || self.watch_command()).ok()
        } else {
            None
        };
        self.suspended = true;
        let _ = if stops_group { kill_own_group(signal) } else { kill(self.own_pid, signal) };
        stop_by_pending(signal);
        if let Some(watcher) = self.watcher
            && kill(watcher, Signal::KILL).is_ok()
        {
            let _ = reap_child(watcher);
        }
    }

    /// Continues sexton again and again, from when the command is not stopped any more, until
    /// sexton kills this process, or has ended itself. (Once is not enough: sexton may not
    /// have stopped yet.)
    fn watch_command(&self) -> u8 {
        while getppid() == self.own_pid {
            sleep_ms(WATCH_INTERVAL_MS);
            // Without a look at it (hidepid), it is as if it were stopped.
            let stopped = Stat::read(self.command).is_none_or(|stat| stat.is_stopped());
            if !stopped {
                let _ = kill(self.own_pid, Signal::CONT);
            }
        }
        0
    }
}

/// Whether a job-control shell would continue sexton: it has a terminal, and its process
/// group is no orphaned one (POSIX, Orphaned Process Group). The kernel knows that: it does
/// not stop a process of such a group for TSTP. So a child tries.
fn has_job_control(process: &OwnProcess) -> bool {
    // The parent of a session's leader is in another session. (gVisor stops processes of such
    // a group all the same, and its PID 1, too.)
    if getsid(None) == Ok(Pid::this()) || controlling_terminal().is_none() {
        return false;
    }
    let Ok(child) = fork(process, || {
        let _ = kill(Pid::this(), Signal::TSTP);
        stop_by_pending(Signal::TSTP);
        0
    }) else {
        return false;
    };
    let stopped = wait_for_stop_or_exit(child).is_ok_and(|status| status.stop_signal().is_some());
    if stopped && kill(child, Signal::KILL).is_ok() {
        let _ = reap_child(child);
    }
    stopped
}

/// How often a stopped command is looked at.
const WATCH_INTERVAL_MS: u16 = 50;
