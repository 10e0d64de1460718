//! Sessions, process groups and the controlling terminal: what the command would
//! have had in our place, it gets (`credentials(7)`, `setsid(2)`, `tty_ioctl(4)`;
//! POSIX, General Terminal Interface).
//!
//! Nothing here is ever fatal. Every one of these calls fails somewhere: without a
//! terminal, on a terminal that is not ours, in sandboxes that know none of it.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Pid, getpgid, getpgrp, getppid, getsid, setpgid, setsid, tcgetpgrp, tcsetpgrp};

use crate::cli::compat::Placement;
use crate::diagnose::procfs;
use crate::supervise::forward::INIT;
use crate::sys::signal::Signal;
use crate::sys::{self, Received};

/// The place that is kept for the command, from before its start.
pub struct Place {
    kind: Kind,
    /// Signals that came while the terminal was given up, and are the command's.
    pub signals: sys::SignalSet,
}

enum Kind {
    /// It leads a session, and takes the terminal that we gave up, if there is one.
    Session(Option<OwnedFd>),
    /// It leads a process group, and takes the foreground of this terminal: there
    /// is one only where we have it.
    Group(Option<OwnedFd>),
    /// It stays in our process group.
    Ours,
}

/// A call that failed, to be told at `-v`.
pub type Problem = Option<(&'static str, Errno)>;

impl Place {
    /// Makes the place.
    ///
    /// Where we lead our session, as a container's PID 1 does, the command shall
    /// lead one: else its process group would not be an orphaned one, a Ctrl-Z
    /// would stop it, and nobody be there to continue it. So the terminal must be
    /// given up first. Elsewhere we are part of somebody's job, and stay so.
    pub fn prepare(own_pid: Pid, placement: Placement) -> (Self, Problem) {
        let mut signals = sys::SignalSet::EMPTY;
        if placement == Placement::OurGroup {
            return (Self { kind: Kind::Ours, signals }, None);
        }
        let terminal = controlling_terminal();
        let mut failed = None;
        if getsid(None) == Ok(own_pid) {
            if let Some(terminal) = &terminal {
                failed = problem("TIOCNOTTY", sys::give_up_terminal(terminal));
            }
            if failed.is_none() {
                if terminal.is_some() {
                    signals = hang_ups_by_others(own_pid);
                }
                return (Self { kind: Kind::Session(terminal), signals }, None);
            }
        }
        if placement == Placement::OwnSession {
            // The terminal stays with our session.
            return (Self { kind: Kind::Session(None), signals }, failed);
        }
        let foreground = terminal.filter(is_ours);
        (Self { kind: Kind::Group(foreground), signals }, failed)
    }

    /// Takes the place; called by the child before it executes, all signals still
    /// blocked: a background process that blocks SIGTTOU may set the foreground
    /// (`tcsetpgrp(3)`).
    pub fn take(&self) -> Problem {
        match &self.kind {
            Kind::Session(terminal) => match (setsid(), terminal) {
                (Ok(_), None) => None,
                (Ok(_), Some(terminal)) => problem("TIOCSCTTY", sys::take_terminal(terminal)),
                (Err(reason), _) => {
                    let _ = lead_group();
                    Some(("setsid", reason))
                }
            },
            Kind::Group(foreground) => {
                // From the foreground on a Ctrl-Z can reach us, and stop us too early. (It
                // stops nobody who leads a session: that group is an orphaned one.)
                sys::catch_stop_signals();
                match (lead_group(), foreground) {
                    (Err(reason), _) => Some(("setpgid", reason)),
                    (Ok(()), Some(terminal)) => problem("tcsetpgrp", tcsetpgrp(terminal, getpgrp())),
                    (Ok(()), None) => None,
                }
            }
            Kind::Ours => None,
        }
    }

    /// Takes the foreground back from a command that did not start. It is gone, and
    /// its process group with it.
    pub fn give_back(&self) {
        if let Kind::Group(Some(terminal)) = &self.kind {
            let _ = tcsetpgrp(terminal, getpgrp());
        }
    }

    /// What is left to do for a command that has started; lets go of the terminal.
    pub fn into_job(self, own_pid: Pid, command: Pid, placement: Placement) -> Job {
        let foreground = Cell::new(matches!(self.kind, Kind::Group(Some(_))));
        let usual = placement == Placement::AsInOurPlace;
        let ours = usual && (own_pid != INIT || matches!(self.kind, Kind::Group(_)));
        Job { own_pid, command, ours, foreground }
    }
}

/// Makes the caller the leader of a process group.
fn lead_group() -> Result<(), Errno> {
    setpgid(Pid::from_raw(0), Pid::from_raw(0))
}

/// Whether our own process group has a terminal's foreground.
fn is_ours(terminal: &OwnedFd) -> bool {
    tcgetpgrp(terminal) == Ok(getpgrp())
}

fn problem(call: &'static str, result: Result<(), Errno>) -> Problem {
    Some((call, result.err()?))
}

/// The terminal that controls our session. `/dev/tty` is it by definition, and
/// ENXIO there means that there is none (`tty(4)`). Where there is no such file, one
/// of the standard descriptors may be it.
fn controlling_terminal() -> Option<OwnedFd> {
    match sys::open(c"/dev/tty", OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK, 0) {
        Ok(terminal) => Some(terminal),
        Err(Errno::ENXIO) => None,
        Err(_) => sys::standard_descriptor_that_controls(getsid(None).ok()?),
    }
}

/// Takes the HUP and the CONT that the kernel sends to the foreground group when
/// its leader gives the terminal up. They come in our own name; what somebody else
/// sent is returned. (While one is pending the kernel drops another of its kind,
/// so they are taken at once.)
fn hang_ups_by_others(own_pid: Pid) -> sys::SignalSet {
    let mut others = sys::SignalSet::EMPTY;
    let looked_for = sys::SignalSet::EMPTY.with(Signal::HUP).with(Signal::CONT);
    while let Some(received) = sys::take_pending_signal(looked_for) {
        if received.sender() != Some(own_pid) {
            others = others.with(received.signal);
        }
    }
    others
}

/// The command as a job that can stop, and we with it.
pub struct Job {
    own_pid: Pid,
    command: Pid,
    /// Whether we are part of a job ourselves, which stops as one. The PID 1 that leads
    /// its session is not: it has nobody to stop for.
    pub ours: bool,
    /// Whether the command was given the foreground.
    foreground: Cell<bool>,
}

impl Job {
    /// That there is no command.
    pub fn none(own_pid: Pid) -> Self {
        Self { own_pid, command: own_pid, ours: false, foreground: Cell::new(false) }
    }

    /// The command has stopped: stop as well, so that whoever waits for us sees it.
    pub fn stopped(&self, signal: Signal) {
        // Without us, the kernel would have let these stop nobody.
        if signal != Signal::STOP && self.is_orphaned() {
            let _ = sys::kill_group(self.command, Signal::CONT);
            return;
        }
        // It needs the foreground, and we have it: the shell may give it to our group
        // once more after we passed it on, with each further part of a pipeline.
        if matches!(signal, Signal::TTIN | Signal::TTOU) && self.continued() {
            let _ = sys::kill_group(self.command, Signal::CONT);
            return;
        }
        // The terminal stops all of the foreground group; ours, the rest of a
        // pipeline or the script that runs us, would have been it.
        let foreground = controlling_terminal().and_then(|terminal| tcgetpgrp(terminal).ok());
        if signal != Signal::STOP && foreground == Some(self.command) {
            let _ = sys::kill_own_group(signal);
        }
        let _ = sys::kill(self.own_pid, Signal::STOP);
    }

    /// Stops us, after the command has ended, if somebody would continue us.
    pub fn stop(&self) {
        if !self.is_orphaned() {
            let _ = sys::kill(self.own_pid, Signal::STOP);
        }
    }

    /// We were continued: hand the foreground over, if we were given it. Says
    /// whether it was.
    pub fn continued(&self) -> bool {
        let terminal = if self.ours { controlling_terminal() } else { None };
        let Some(terminal) = terminal else { return false };
        let handed = is_ours(&terminal) && tcsetpgrp(&terminal, self.command).is_ok();
        if handed {
            self.foreground.set(true);
        }
        handed
    }

    /// Whether a Ctrl-Z that reached us was for the command: in a job, while our own
    /// group has the foreground. Elsewhere the command gets its own.
    pub fn is_suspended_by(&self, received: Received) -> bool {
        received.signal == Signal::TSTP
            && !received.sent_by_a_process()
            && self.ours
            && controlling_terminal().is_some_and(|terminal| is_ours(&terminal))
    }

    /// The command has ended: take the foreground back, unless somebody else has it
    /// by now.
    pub fn ended(&self) {
        if !self.foreground.take() {
            return;
        }
        let Some(terminal) = controlling_terminal() else { return };
        let Ok(group) = tcgetpgrp(&terminal) else { return };
        if group == self.command || !sys::group_exists(group) {
            let _ = tcsetpgrp(&terminal, getpgrp());
        }
    }

    /// Whether our process group is an orphaned one: the parent of the job that we
    /// are part of is in no other group of the same session, so nobody would
    /// continue it (POSIX, Orphaned Process Group).
    fn is_orphaned(&self) -> bool {
        // A session's leader has its parent in another one.
        if getsid(None) == Ok(self.own_pid) {
            return true;
        }
        let mut parent = getppid();
        while parent.as_raw() > 0 && getpgid(Some(parent)) == Ok(getpgrp()) {
            match procfs::parent(parent) {
                Some(next) => parent = next,
                None => return false,
            }
        }
        // Who is outside of our PID namespace cannot be asked.
        parent.as_raw() > 0 && getsid(Some(parent)) != getsid(None)
    }
}
