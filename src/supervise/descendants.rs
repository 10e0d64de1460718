//! The processes that descend from sexton, whatever process group or session they moved
//! to, and those that others put into its PID namespace.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};

use nix::errno::Errno;
use nix::unistd::{Pid, getpgid};

use super::forward::INIT;
use crate::diagnose::procfs::{Stat, for_each_process, shows_own_namespace};
use crate::log::Reason;
use crate::sys::pids::PidSet;
use crate::sys::signal::{PidFd, Signal, kill, kill_everything};
use crate::units::Nanos;

/// Why a signal did not reach the processes that it was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignalError {
    /// Without a /proc of our PID namespace they cannot be found.
    NoProc,
    /// The kernel refused something.
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
    if !shows_own_namespace(ancestor) {
        return Err(SignalError::NoProc);
    }
    let mut family = PidSet::new()?;
    family.insert(ancestor);
    let mut outcome = Ok(());
    for _ in 0..PASSES {
        let mut found = false;
        for_each_process(&mut |process| {
            if family.contains(process) || !is_child(process, &family) {
                return;
            }
            found = true;
            family.insert(process);
            if let Err(errno) = signal_if(process, &[signal], &|| is_child(process, &family)) {
                outcome = Err(SignalError::Refused(errno));
            }
        })?;
        if !found {
            break;
        }
    }
    outcome
}

/// The limit on passes, as there may be a process that never stops forking.
const PASSES: u8 = 8;

/// Whether a process runs, and is a child of one of the family. A zombie receives nothing,
/// and has no children.
fn is_child(process: Pid, family: &PidSet) -> bool {
    Stat::read(process).is_some_and(|stat| stat.is_alive() && family.contains(stat.parent))
}

/// Sends signals to a process if it is `meant`. Between that look and the signal it may
/// exit, and another process get its PID. A pidfd that is opened first, and a second look,
/// exclude that. Where there are no pidfds (before Linux 5.3, or a filter refuses them) the
/// gap stays.
fn signal_if(process: Pid, signals: &[Signal], meant: &dyn Fn() -> bool) -> Result<(), Errno> {
    let handle = match PidFd::open(process) {
        Err(Errno::ESRCH) => return Ok(()),
        handle => handle.ok(),
    };
    if handle.is_some() && !meant() {
        return Ok(());
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
    notified: Option<PidSet>,
    earlier: Option<EarlierRequest>,
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
        Self { own_pid, notified: None, earlier: None }
    }

    /// Notes a request that the command's group has received. Its members are not asked
    /// again.
    pub fn note_earlier_request(&mut self, request: EarlierRequest) {
        self.earlier = Some(request);
    }

    /// Forgets which roots were asked, as there is a new request.
    pub fn forget(&mut self) {
        self.notified = None;
        self.earlier = None;
    }

    /// Notes that a process was reaped. Its PID may be another's soon.
    pub fn reaped(&mut self, process: Pid) {
        if let Some(notified) = &mut self.notified {
            notified.remove(process);
        }
    }

    /// Asks each root that was not asked yet to terminate by this signal, and continues it,
    /// as a stopped process could not act on it.
    pub fn terminate(&mut self, signal: Signal) -> Result<(), SignalError> {
        let first = self.notified.is_none();
        if !shows_own_namespace(self.own_pid) {
            // Without /proc, every process is asked, once.
            if first && self.own_pid == INIT {
                self.notified = PidSet::new().ok();
                kill_everything(signal)?;
                kill_everything(Signal::CONT)?;
                return Ok(());
            }
            return Err(SignalError::NoProc);
        }
        if first {
            self.notified = Some(PidSet::new()?);
        }
        let Some(notified) = &mut self.notified else { return Ok(()) };
        let (own_pid, earlier) = (self.own_pid, self.earlier);
        let mut outcome = Ok(());
        for_each_process(&mut |process| {
            if process == own_pid || notified.contains(process) || !is_root(process, own_pid, None) {
                return;
            }
            notified.insert(process);
            let meant = || is_root(process, own_pid, earlier.as_ref());
            if meant()
                && let Err(errno) = signal_if(process, &[signal, Signal::CONT], &meant)
            {
                outcome = Err(SignalError::Refused(errno));
            }
        })?;
        outcome
    }
}

/// Whether a process is a root that an earlier request did not reach: its parent is
/// sexton, or lies outside of the PID namespace (`docker exec`).
fn is_root(process: Pid, own_pid: Pid, earlier: Option<&EarlierRequest>) -> bool {
    Stat::read(process).is_some_and(|stat| {
        let outside = own_pid == INIT && stat.parent.as_raw() == 0;
        stat.is_alive()
            && (stat.parent == own_pid || outside)
            && !earlier.is_some_and(|request| request.reached(process, &stat))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_of_the_family() {
        let mut family = PidSet::new().unwrap();
        family.insert(Pid::parent());
        assert!(is_child(Pid::this(), &family));
        assert!(!is_child(Pid::parent(), &family));
        assert!(!is_child(Pid::from_raw(i32::MAX), &family), "there is no such process");
    }

    #[test]
    fn a_root_is_a_child_that_no_request_reached() {
        let (parent, own) = (Pid::parent(), Pid::this());
        assert!(is_root(own, parent, None));
        assert!(!is_root(parent, own, None));
        let request = |group, when| EarlierRequest { group, when };
        let group = getpgid(None).ok();
        assert!(!is_root(own, parent, Some(&request(group, Nanos::MAX))));
        assert!(!is_root(own, parent, Some(&request(None, Nanos::MAX))));
        assert!(is_root(own, parent, Some(&request(group, 0))), "it started later");
        assert!(is_root(own, parent, Some(&request(Some(INIT), Nanos::MAX))), "another group had it");
    }
}
