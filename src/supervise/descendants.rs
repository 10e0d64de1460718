//! The processes that descend from sexton, whatever process group or session they moved to.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::diagnose::procfs::{Stat, check_own_namespace, for_each_process};
use crate::log::Reason;
use crate::sys::pids::PidSet;
use crate::sys::process::INIT;
use crate::sys::signal::{PidFd, Signal, kill, kill_everything};

/// Why a signal did not reach the processes that it was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignalError {
    /// Without a /proc of our PID namespace they cannot be found.
    NoProc,
    /// /proc cannot be read, or there is no memory to note what was found. No process got
    /// the signal.
    CannotFind(Errno),
    /// The kernel refused to send it to one of them, or to show the rest of them.
    Refused(Errno),
}

impl From<Errno> for SignalError {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno)
    }
}

impl Display for SignalError {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::NoProc => f.write_str("cannot find descendants (is /proc mounted?)"),
            Self::CannotFind(errno) => write!(f, "cannot find descendants: {}", Reason(*errno)),
            Self::Refused(errno) => Reason(*errno).fmt(f),
        }
    }
}

/// Sends a signal to every process but ourselves: as PID 1 to all of the namespace, else
/// to every descendant.
pub fn signal_all(own_pid: Pid, signal: Signal) -> Result<(), SignalError> {
    if own_pid == INIT { Ok(kill_everything(signal)?) } else { signal_descendants(own_pid, signal) }
}

/// One pass over /proc, which lists processes by rising PID: a process that is forked
/// meanwhile comes later in the same pass, or shares its parent's fate. Once PIDs have
/// wrapped around, a child can come before its parent; so passes are made until one finds
/// no more.
fn signal_descendants(ancestor: Pid, signal: Signal) -> Result<(), SignalError> {
    check_proc(ancestor)?;
    let mut family = PidSet::new().map_err(SignalError::CannotFind)?;
    family.insert(ancestor);
    let mut sending = Sending::default();
    for _ in 0..PASSES {
        let mut found = false;
        let pass = for_each_process(&mut |process| {
            if sending.cannot_look.is_some() || family.contains(process) {
                return;
            }
            match is_child(process, &family) {
                Ok(false) => return,
                Ok(true) => {}
                Err(errno) => return sending.cannot_look = Some(errno),
            }
            found = true;
            family.insert(process);
            sending.send(process, &[signal], &|| is_child(process, &family));
        });
        if !found || pass.is_err() || sending.cannot_look.is_some() {
            sending.cannot_look = sending.cannot_look.or(pass.err());
            break;
        }
    }
    sending.outcome()
}

/// Checks that /proc shows which processes there are.
pub(super) fn check_proc(own_pid: Pid) -> Result<(), SignalError> {
    match check_own_namespace(own_pid) {
        Ok(true) => Ok(()),
        Ok(false) => Err(SignalError::NoProc),
        Err(errno) => Err(SignalError::CannotFind(errno)),
    }
}

/// How sending a signal to many processes went.
#[derive(Default)]
pub(super) struct Sending {
    /// Whether it was sent to one at least, or tried to.
    begun: bool,
    /// Why one of them did not get it.
    refused: Option<Errno>,
    /// Why the others cannot be found.
    pub(super) cannot_look: Option<Errno>,
}

impl Sending {
    pub(super) fn send(&mut self, process: Pid, signals: &[Signal], meant: &dyn Fn() -> Result<bool, Errno>) {
        self.begun = true;
        if let Err(errno) = signal_if(process, signals, meant) {
            self.refused = Some(errno);
        }
    }

    pub(super) fn outcome(&self) -> Result<(), SignalError> {
        match (self.cannot_look, self.refused) {
            (Some(errno), _) if !self.begun => Err(SignalError::CannotFind(errno)),
            (Some(errno), _) | (None, Some(errno)) => Err(SignalError::Refused(errno)),
            (None, None) => Ok(()),
        }
    }
}

/// The limit on passes, as there may be a process that never stops forking.
const PASSES: u8 = 8;

/// Whether a process runs, and is a child of one of the family. A zombie receives nothing,
/// and has no children.
fn is_child(process: Pid, family: &PidSet) -> Result<bool, Errno> {
    let stat = Stat::look(process)?;
    Ok(stat.is_some_and(|stat| stat.is_alive() && family.contains(stat.parent)))
}

/// Sends signals to a process if it is `meant`. Between that look and the signal it may
/// exit, and another process get its PID. A pidfd that is opened first, and a second look,
/// exclude that. Where there are no pidfds (before Linux 5.3, or a filter refuses them), or
/// no descriptor is free for both at once, the gap stays.
fn signal_if(process: Pid, signals: &[Signal], meant: &dyn Fn() -> Result<bool, Errno>) -> Result<(), Errno> {
    let mut handle = match PidFd::open(process) {
        Err(Errno::ESRCH) => return Ok(()),
        handle => handle.ok(),
    };
    if handle.is_some() {
        match meant() {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(_) => handle = None,
        }
    }
    let send = |signal: &Signal| {
        let sent = handle.as_ref().map_or(Err(Errno::ENOSYS), |handle| handle.kill(*signal));
        match sent {
            Err(Errno::ESRCH) => Ok(()),
            Ok(()) => Ok(()),
            Err(_) => kill(process, *signal),
        }
    };
    match signals.iter().try_for_each(send) {
        Err(Errno::ESRCH) => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_of_the_family() {
        let mut family = PidSet::new().unwrap();
        family.insert(Pid::parent());
        assert_eq!(is_child(Pid::this(), &family), Ok(true));
        assert_eq!(is_child(Pid::parent(), &family), Ok(false));
        assert_eq!(is_child(Pid::from_raw(i32::MAX), &family), Ok(false), "there is no such process");
    }

    #[test]
    fn an_outcome_reports_what_was_not_reached() {
        let outcome = |begun, refused, cannot_look| Sending { begun, refused, cannot_look }.outcome();
        let (refused, want) = (Some(Errno::EPERM), Some(Errno::EMFILE));
        assert_eq!(outcome(true, None, None), Ok(()));
        assert_eq!(outcome(false, None, None), Ok(()), "there is none");
        assert_eq!(outcome(true, refused, None), Err(SignalError::Refused(Errno::EPERM)));
        assert_eq!(outcome(false, None, want), Err(SignalError::CannotFind(Errno::EMFILE)));
        // Some have got it, and must not get it again.
        assert_eq!(outcome(true, None, want), Err(SignalError::Refused(Errno::EMFILE)));
    }
}
