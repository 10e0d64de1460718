//! The processes that descend from sexton, whatever process group or session they moved
//! to, and those that others put into its PID namespace.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};
use std::mem;

use nix::errno::Errno;
use nix::unistd::{Pid, getpgid};

use super::forward::INIT;
use crate::diagnose::procfs::{Stat, check_own_namespace, for_each_process};
use crate::log::Reason;
use crate::sys::pids::PidSet;
use crate::sys::signal::{PidFd, Signal, kill, kill_everything};
use crate::sys::time::Nanos;

/// Why a signal did not reach the processes that it was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignalError {
    /// Without a /proc of our PID namespace nothing says which processes they are.
    NoProc,
    /// Nor does it where it cannot be read, or nothing be remembered, for this reason. No
    /// process has got the signal.
    CannotFind(Errno),
    /// The kernel refused to send it to one of them, or to find the rest of them.
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
/// meanwhile comes later in the same pass, or has its parent's fate. Where PIDs have
/// started again from the lowest, a child can come before its parent; so passes are made
/// until one finds no more.
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

/// Whether /proc says which processes there are.
fn check_proc(own_pid: Pid) -> Result<(), SignalError> {
    match check_own_namespace(own_pid) {
        Ok(true) => Ok(()),
        Ok(false) => Err(SignalError::NoProc),
        Err(errno) => Err(SignalError::CannotFind(errno)),
    }
}

/// How sending a signal to many processes goes.
#[derive(Default)]
struct Sending {
    /// Whether it was sent to one at least, or tried to.
    begun: bool,
    /// Why one of them did not get it.
    refused: Option<Errno>,
    /// Why the others cannot be found.
    cannot_look: Option<Errno>,
}

impl Sending {
    fn send(&mut self, process: Pid, signals: &[Signal], meant: &dyn Fn() -> Result<bool, Errno>) {
        self.begun = true;
        if let Err(errno) = signal_if(process, signals, meant) {
            self.refused = Some(errno);
        }
    }

    fn outcome(&self) -> Result<(), SignalError> {
        match (self.cannot_look, self.refused) {
            (Some(errno), _) if !self.begun => Err(SignalError::CannotFind(errno)),
            (Some(errno), _) | (None, Some(errno)) => Err(SignalError::Refused(errno)),
            (None, None) => Ok(()),
        }
    }
}

/// How many passes are made: this is not the place to stay for ever.
const PASSES: u8 = 8;

/// Whether a process runs, and is a child of one of the family. A zombie receives nothing,
/// and has no children.
fn is_child(process: Pid, family: &PidSet) -> Result<bool, Errno> {
    let mut buffer = Stat::buffer();
    let stat = Stat::look(process, &mut buffer)?;
    Ok(stat.is_some_and(|stat| stat.is_alive() && family.contains(stat.parent)))
}

/// Sends signals to a process if it is `meant`. Between that look and the signal it may
/// exit, and its PID go to a stranger; a pidfd opened first, and a second look after that,
/// exclude it. Where there are no pidfds (before Linux 5.3, or a filter refuses them), or
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

/// The processes at the top of what is left when the command has exited, and which of them
/// were asked to terminate: each once, as to many programs a second TERM means "at once".
/// Each root decides for its own children, as a daemon's master does for its workers. A
/// process becomes a root when its parent exits.
pub struct Roots {
    own_pid: Pid,
    notified: Notified,
    earlier: Option<EarlierRequest>,
}

/// Which processes were asked.
enum Notified {
    None,
    /// All that there were, as nothing says which the roots are.
    Everything,
    These(PidSet),
}

/// A request that was forwarded while the command ran.
#[derive(Clone, Copy)]
pub struct EarlierRequest {
    /// The process group that got it; None where every process did.
    pub group: Option<Pid>,
    /// When, on the clock of [`crate::sys::time::time_since_boot`].
    pub when: Nanos,
}

impl EarlierRequest {
    fn reached(&self, process: Pid, stat: &Stat) -> bool {
        stat.started <= self.when
            && self.group.is_none_or(|group| getpgid(Some(process)).is_ok_and(|own| own == group))
    }
}

impl Roots {
    /// Those of this process's namespace, or descendants.
    pub fn new(own_pid: Pid) -> Self {
        Self { own_pid, notified: Notified::None, earlier: None }
    }

    /// Notes a request that the command's group had. Its members are not asked again.
    pub fn note_earlier_request(&mut self, request: EarlierRequest) {
        self.earlier = Some(request);
    }

    /// Forgets which roots were asked: there is a new request.
    pub fn forget(&mut self) {
        self.notified = Notified::None;
        self.earlier = None;
    }

    /// Notes that a process was reaped. Its PID may be another's soon.
    pub fn reaped(&mut self, process: Pid) {
        if let Notified::These(notified) = &mut self.notified {
            notified.remove(process);
        }
    }

    /// Asks each root that was not asked yet to terminate by this signal, and continues it,
    /// as a stopped process could not act on it.
    pub fn terminate(&mut self, signal: Signal) -> Result<(), SignalError> {
        if matches!(self.notified, Notified::Everything) {
            return Ok(());
        }
        match self.terminate_roots(signal) {
            // Then PID 1 asks every process, once.
            Err(SignalError::NoProc | SignalError::CannotFind(_))
                if self.own_pid == INIT && matches!(self.notified, Notified::None) =>
            {
                self.notified = Notified::Everything;
                kill_everything(signal)?;
                Ok(kill_everything(Signal::CONT)?)
            }
            outcome => outcome,
        }
    }

    fn terminate_roots(&mut self, signal: Signal) -> Result<(), SignalError> {
        let (own_pid, earlier) = (self.own_pid, self.earlier);
        check_proc(own_pid)?;
        let (mut notified, begun) = match mem::replace(&mut self.notified, Notified::None) {
            Notified::These(notified) => (notified, true),
            _ => (PidSet::new().map_err(SignalError::CannotFind)?, false),
        };
        let mut sending = Sending::default();
        let pass = for_each_process(&mut |process| {
            if sending.cannot_look.is_some() || process == own_pid || notified.contains(process) {
                return;
            }
            match is_root(process, own_pid, None) {
                Ok(false) => return,
                Ok(true) => {}
                Err(errno) => return sending.cannot_look = Some(errno),
            }
            notified.insert(process);
            let meant = || is_root(process, own_pid, earlier.as_ref());
            if meant() != Ok(false) {
                sending.send(process, &[signal, Signal::CONT], &meant);
            }
        });
        sending.cannot_look = sending.cannot_look.or(pass.err());
        let outcome = sending.outcome();
        // Otherwise none was asked, ever.
        if begun || !matches!(outcome, Err(SignalError::CannotFind(_))) {
            self.notified = Notified::These(notified);
        }
        outcome
    }
}

/// Whether a process is a root that an earlier request did not reach: its parent is
/// sexton, or lies outside of the PID namespace (`docker exec`).
fn is_root(process: Pid, own_pid: Pid, earlier: Option<&EarlierRequest>) -> Result<bool, Errno> {
    let mut buffer = Stat::buffer();
    Ok(Stat::look(process, &mut buffer)?.is_some_and(|stat| {
        let outside = own_pid == INIT && stat.parent.as_raw() == 0;
        stat.is_alive()
            && (stat.parent == own_pid || outside)
            && !earlier.is_some_and(|request| request.reached(process, &stat))
    }))
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
    fn a_root_is_a_child_that_no_request_reached() {
        let (parent, own) = (Pid::parent(), Pid::this());
        assert_eq!(is_root(own, parent, None), Ok(true));
        assert_eq!(is_root(parent, own, None), Ok(false));
        let request = |group, when| EarlierRequest { group, when };
        let group = getpgid(None).ok();
        assert_eq!(is_root(own, parent, Some(&request(group, Nanos::MAX))), Ok(false));
        assert_eq!(is_root(own, parent, Some(&request(None, Nanos::MAX))), Ok(false));
        assert_eq!(is_root(own, parent, Some(&request(group, 0))), Ok(true), "it started later");
        assert_eq!(
            is_root(own, parent, Some(&request(Some(INIT), Nanos::MAX))),
            Ok(true),
            "another group had it"
        );
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
