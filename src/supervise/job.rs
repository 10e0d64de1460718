//! The command as a job: its session, its process group, the terminal's foreground, and
//! stopping together (`credentials(7)`, `setsid(2)`, `tty_ioctl(4)`; POSIX, General Terminal
//! Interface).
//!
//! The command gets what it would have had in sexton's place. The cases, of which the first
//! that applies counts:
//!
//! | sexton | the command | the foreground | when the command stops |
//! |---|---|---|---|
//! | is called dumb-init, `-c` | stays in sexton's group | is shared | the same signal stops sexton |
//! | is called dumb-init | leads a session | is the command's, if sexton leads its session | its group is orphaned: only STOP stops it |
//! | leads its session, has a terminal (a container's PID 1) | leads a session, and takes the terminal, which sexton gives up | is the command's | its group is orphaned: only STOP stops it |
//! | the same with `-t` or `-a` | leads a group. Its exit must not hang up the processes that sexton waits for, as that of a session's leader would | is handed over | nothing would continue sexton: as if the group were orphaned |
//! | is in a job of a shell | leads a group | is handed over, if the job has it | sexton stops, too, and the rest of a pipeline or script with it. When sexton is continued, the command is. When the command is continued or exits, sexton is continued |
//! | is in an orphaned group, or has no terminal | leads a group | stays where it is | TSTP is undone, reading the terminal fails with EIO. STOP stops the command alone |
//!
//! A shell that would continue sexton has a terminal, and a process in sexton's session but
//! in another group (POSIX: otherwise the group is *orphaned*). If there is none, sexton
//! never stops.
//!
//! Nothing here is ever fatal. Each of these calls fails somewhere: without a terminal, on a
//! terminal of another session, in sandboxes that know none of it.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Pid, getpgid, getpgrp, getppid, getsid, read, setpgid, setsid, tcgetpgrp, tcsetpgrp};

use crate::diagnose::procfs::{Stat, parent, shows_own_namespace};
use crate::log::Reason;
use crate::sys::fd::{give_up_terminal, open, standard_descriptor_that_controls, take_terminal};
use crate::sys::process::{OwnProcess, fork};
use crate::sys::signal::{Signal, SignalInfo, group_exists, kill, kill_group, kill_own_group};
use crate::sys::time::sleep_ms;
use crate::sys::wait::{WaitStatus, reap_child};

/// Which session and process group the command gets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Placement {
    /// Those that it would have in sexton's place.
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

/// A call that failed, to be logged at `-v`.
pub struct FailedCall {
    call: &'static str,
    errno: Errno,
}

impl FailedCall {
    fn of(call: &'static str, result: Result<(), Errno>) -> Option<Self> {
        Some(Self { call, errno: result.err()? })
    }
}

impl Display for FailedCall {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.call, Reason(self.errno))
    }
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
            failed = release_terminal(process, &given_up);
            if failed.is_none() {
                return (Self { placement, kind: JobKind::Session(Some(given_up)) }, None);
            }
            terminal = Some(given_up);
        }
        let kind = match placement {
            // The terminal stays with sexton's session.
            Placement::NewSession => JobKind::Session(None),
            _ => JobKind::Group(terminal.filter(is_foreground)),
        };
        (Self { placement, kind }, failed)
    }

    /// Applies the setup to the child, before it executes the command. All signals are
    /// still blocked: a background process that blocks SIGTTOU may set the foreground
    /// (`tcsetpgrp(3)`).
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

    /// Completes the setup when the command has been started, and closes the terminal.
    ///
    /// Parent and child both make the process group, as either may be first to use it.
    pub fn into_job(self, own_pid: Pid, command: Pid) -> Job {
        let leads_group = matches!(self.kind, JobKind::Group(_));
        if leads_group {
            let _ = lead_group(command);
        }
        Job {
            own_pid,
            command,
            stops_with_command: leads_group && self.placement == Placement::Auto,
            shares_group: matches!(self.kind, JobKind::SharedGroup),
            gave_foreground: matches!(self.kind, JobKind::Group(Some(_))),
            watcher: None,
        }
    }
}

/// To `setpgid(2)`, the calling process.
const THIS: Pid = Pid::from_raw(0);

fn lead_group(process: Pid) -> Result<(), Errno> {
    setpgid(process, THIS)
}

/// Gives the terminal up, as the leader of the session that it controls.
///
/// The kernel then sends HUP and CONT to the foreground group, in which may be helpers that
/// the entrypoint has started. So that no process gets them, a child makes a group of its
/// own the foreground, and exits: that group is empty.
fn release_terminal(process: &OwnProcess, terminal: &OwnedFd) -> Option<FailedCall> {
    let child =
        fork(process, || u8::from(lead_group(THIS).and_then(|()| tcsetpgrp(terminal, getpgrp())).is_err()));
    match child.and_then(reap_child) {
        Ok(WaitStatus::SUCCESS) => {}
        Ok(_) => return Some(FailedCall { call: "tcsetpgrp", errno: Errno::EIO }),
        Err(errno) => return Some(FailedCall { call: "fork", errno }),
    }
    let failed = FailedCall::of("TIOCNOTTY", give_up_terminal(terminal));
    if failed.is_some() {
        let _ = tcsetpgrp(terminal, getpgrp());
    }
    failed
}

/// Whether sexton's own process group has a terminal's foreground.
///
/// Groups from outside of the PID namespace all have the number 0 in it. If sexton's is one
/// of them, a read of no bytes decides: with SIGTTIN blocked, it fails with EIO in the
/// background.
fn is_foreground(terminal: &OwnedFd) -> bool {
    let own = getpgrp();
    let foreground = tcgetpgrp(terminal) == Ok(own);
    foreground && (own.as_raw() > 0 || read(terminal, &mut []) != Err(Errno::EIO))
}

/// The terminal that controls our session. `/dev/tty` is it by definition, and ENXIO there
/// means that there is none (`tty(4)`). Where there is no such file, one of the standard
/// descriptors may be it.
fn controlling_terminal() -> Option<OwnedFd> {
    match open(c"/dev/tty", OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK, 0) {
        Ok(terminal) => Some(terminal),
        Err(Errno::ENXIO) => None,
        Err(_) => standard_descriptor_that_controls(getsid(None).ok()?),
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
    /// Whether sexton gave the command the foreground.
    gave_foreground: bool,
    /// The last process that watched a stopped command.
    watcher: Option<Pid>,
}

impl Job {
    /// The job where there is no command.
    pub fn none(own_pid: Pid) -> Self {
        Self {
            own_pid,
            command: own_pid,
            stops_with_command: false,
            shares_group: false,
            gave_foreground: false,
            watcher: None,
        }
    }

    /// The command was stopped by `signal`.
    pub fn on_command_stop(&mut self, process: &OwnProcess, signal: Signal) {
        let wants_terminal = matches!(signal, Signal::TTIN | Signal::TTOU);
        // The command needs the foreground, and sexton's group has it. The shell may have
        // set it again, as it does for each part of a pipeline that it starts.
        if wants_terminal && self.hand_over_foreground() {
            return self.continue_command();
        }
        if !self.has_job_control() {
            // Without sexton, the command's group would be orphaned: only STOP would have
            // stopped the command, and its use of the terminal would have failed with EIO.
            // If sexton joins that group, the group is orphaned.
            if wants_terminal && !self.shares_group {
                self.shares_group = setpgid(THIS, self.command).is_ok();
            }
            if signal != Signal::STOP {
                self.continue_command();
            }
            return;
        }
        // The terminal stops every process of the foreground group. Without sexton, the
        // rest of the pipeline, or the script that runs the command, would have been in
        // that group.
        if signal != Signal::STOP && self.command_has_foreground() {
            let _ = kill_own_group(signal);
        }
        self.suspend_until_command_continues(process);
    }

    /// Sexton was continued: hands the foreground over, if its group has it.
    pub fn on_continue(&mut self) {
        self.hand_over_foreground();
    }

    /// Another part of the pipeline, in sexton's own group, was stopped because it needs
    /// the terminal. If the command has the foreground, that group gets it now.
    pub fn on_terminal_wanted(&mut self) {
        if !self.gave_foreground || !self.command_has_foreground() {
            return;
        }
        if let Some(terminal) = controlling_terminal()
            && tcsetpgrp(&terminal, getpgrp()).is_ok()
        {
            let _ = kill_own_group(Signal::CONT);
        }
    }

    /// Whether a Ctrl-Z that reached sexton was for the command. It was if sexton is in a
    /// job and its own group has the foreground; otherwise the terminal stops the command's
    /// group.
    pub fn wants_suspend(&self, info: SignalInfo) -> bool {
        info.signal == Signal::TSTP
            && !info.is_from_user()
            && self.stops_with_command
            && controlling_terminal().is_some_and(|terminal| is_foreground(&terminal))
    }

    /// Whether a signal is a CONT that sexton or its watcher sent.
    pub fn sent(&self, info: SignalInfo) -> bool {
        let sender = info.sender();
        info.signal == Signal::CONT
            && sender.is_some()
            && (sender == Some(self.own_pid) || sender == self.watcher)
    }

    /// Stops sexton, after the command has exited, if something would continue it.
    pub fn suspend(&self) {
        if self.has_job_control() {
            let _ = kill(self.own_pid, Signal::STOP);
        }
    }

    /// The command has exited: takes the foreground back, unless another group has it by
    /// now. Returns whether the terminal's Ctrl-C or Ctrl-\ killed the command: then it has
    /// reached the rest of sexton's process group, too, as it would have without sexton, and
    /// shall end sexton. `forwarded` is the last signal that sexton itself sent to the
    /// command.
    pub fn on_command_exit(&mut self, status: WaitStatus, forwarded: Option<Signal>) -> bool {
        if !std::mem::take(&mut self.gave_foreground) {
            return false;
        }
        let Some(terminal) = controlling_terminal() else { return false };
        let Ok(group) = tcgetpgrp(&terminal) else { return false };
        if group != self.command && group_exists(group) {
            return false;
        }
        let _ = tcsetpgrp(&terminal, getpgrp());
        let Some(signal @ (Signal::INT | Signal::QUIT)) = status.term_signal() else { return false };
        group == self.command
            && forwarded != Some(signal)
            && self.has_job_control()
            && kill_own_group(signal).is_ok()
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
        handed
    }

    fn command_has_foreground(&self) -> bool {
        controlling_terminal().is_some_and(|terminal| tcgetpgrp(&terminal) == Ok(self.command))
    }

    /// Stops sexton, so that the shell which waits for it notices. A stopped process cannot
    /// see that its child goes on. So meanwhile another child of sexton's, the watcher,
    /// looks at the command. It continues sexton when another process has continued the
    /// command, or the command has exited.
    fn suspend_until_command_continues(&mut self, process: &OwnProcess) {
        self.watcher = if shows_own_namespace(self.own_pid) {
            fork(process, || self.watch_command()).ok()
        } else {
            None
        };
        let _ = kill(self.own_pid, Signal::STOP);
        if let Some(watcher) = self.watcher {
            let _ = kill(watcher, Signal::KILL);
            let _ = reap_child(watcher);
        }
    }

    /// The watcher: from when the command is no longer stopped, it sends sexton CONT in
    /// each interval, until sexton kills it or has exited.
    fn watch_command(&self) -> u8 {
        while getppid() == self.own_pid {
            sleep_ms(WATCH_INTERVAL_MS);
            let state = Stat::read(self.command).map(|stat| stat.state);
            if !matches!(state, Some(b'T' | b't')) {
                let _ = kill(self.own_pid, Signal::CONT);
            }
        }
        0
    }

    /// Whether a job-control shell would continue sexton: it has a terminal, and its process
    /// group is no orphaned one.
    fn has_job_control(&self) -> bool {
        controlling_terminal().is_some() && !self.is_orphaned()
    }

    /// Whether sexton's process group is an orphaned one: the parent of the job that it is
    /// part of is in no other group of the same session (POSIX, Orphaned Process Group).
    fn is_orphaned(&self) -> bool {
        // The parent of a session's leader is in another session.
        if getsid(None) == Ok(self.own_pid) {
            return true;
        }
        let mut ancestor = getppid();
        while ancestor.as_raw() > 0 && getpgid(Some(ancestor)) == Ok(getpgrp()) {
            match parent(ancestor) {
                Some(next) => ancestor = next,
                None => return false,
            }
        }
        // The session of a process outside of our PID namespace is not known.
        ancestor.as_raw() > 0 && getsid(Some(ancestor)) != getsid(None)
    }
}

/// How often the watcher looks at the command.
const WATCH_INTERVAL_MS: u16 = 50;
