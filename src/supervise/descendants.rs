//! The processes that descend from sexton, whatever process group or session they moved
//! to, and those that others put into its PID namespace.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};

use nix::errno::Errno;
use nix::unistd::{Pid, getpgid};

use super::forward::INIT;
use crate::diagnose::procfs::{Stat, for_each_child, for_each_process, shows_own_namespace};
use crate::log::Reason;
use crate::sys::pids::PidSet;
use crate::sys::signal::{PidFd, Signal, kill, kill_everything};
use crate::sys::time::time_since_boot;
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
struct EarlierRequest {
    /// The processes that it was for.
    meant: PidSet,
    /// When, on the clock of [`time_since_boot`]. Who has one of these PIDs and started later
    /// is another process.
    when: Nanos,
}

impl EarlierRequest {
    fn reached(&self, process: Pid, stat: &Stat) -> bool {
        self.meant.contains(process) && stat.started <= self.when
    }
}

impl Roots {
    /// Those of this process's namespace, or descendants.
    pub fn new(own_pid: Pid) -> Self {
        Self { own_pid, notified: None, earlier: None }
    }

    /// Notes a request that a process group is about to get, or every process: its members
    /// are not asked again. (Those which it forks at the last moment are.) Where /proc does
    /// not show them, nothing is noted.
    pub fn note_earlier_request(&mut self, group: Option<Pid>) -> Result<(), Errno> {
        if !shows_own_namespace(self.own_pid) {
            return Ok(());
        }
        let mut meant = match self.earlier.take() {
            Some(earlier) => earlier.meant,
            None => PidSet::new()?,
        };
        for_each_process(&mut |process| {
            if group.is_none_or(|group| getpgid(Some(process)) == Ok(group)) {
                meant.insert(process);
            } else {
                meant.remove(process);
            }
        })?;
        self.earlier = Some(EarlierRequest { meant, when: time_since_boot() });
        Ok(())
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
        if first {
            self.notified = Some(PidSet::new()?);
        }
        if !shows_own_namespace(self.own_pid) {
            return terminate_unseen(self.own_pid, signal, first);
        }
        let Some(notified) = &mut self.notified else { return Ok(()) };
        let (own_pid, earlier) = (self.own_pid, self.earlier.as_ref());
        let mut outcome = Ok(());
        let mut ask = |process| {
            if process == own_pid || notified.contains(process) {
                return;
            }
            let Some(reached) = find_root(process, own_pid, earlier) else { return };
            notified.insert(process);
            // One that was stopped has not acted on the earlier request either.
            let signals: &[Signal] = if reached { &[Signal::CONT] } else { &[signal, Signal::CONT] };
            let meant = || find_root(process, own_pid, earlier) == Some(reached);
            if let Err(errno) = signal_if(process, signals, &meant) {
                outcome = Err(SignalError::Refused(errno));
            }
        };
        // Who becomes a root later is a child. To look at all processes whenever one has
        // exited would take a long chain of them a time that grows with its square.
        if first || !for_each_child(&mut ask) {
            for_each_process(&mut ask)?;
        }
        outcome
    }

    /// Whether there is a root that is no child: its parent lies outside of the PID namespace.
    pub fn are_left_from_outside(&self) -> bool {
        let mut found = false;
        if self.own_pid == INIT && shows_own_namespace(INIT) {
            let _ = for_each_process(&mut |process| {
                found |= process != INIT
                    && Stat::read(process).is_some_and(|stat| stat.is_alive() && is_from_outside(&stat));
            });
        }
        found
    }
}

/// Without a /proc every process of the namespace is asked, once.
fn terminate_unseen(own_pid: Pid, signal: Signal, first: bool) -> Result<(), SignalError> {
    if own_pid != INIT {
        return Err(SignalError::NoProc);
    }
    if first {
        kill_everything(signal)?;
        kill_everything(Signal::CONT)?;
    }
    Ok(())
}

/// Whether an earlier request reached a process, if it is a root: its parent is sexton, or
/// lies outside of the PID namespace.
fn find_root(process: Pid, own_pid: Pid, earlier: Option<&EarlierRequest>) -> Option<bool> {
    let stat = Stat::read(process)?;
    let is_root = stat.parent == own_pid || own_pid == INIT && is_from_outside(&stat);
    (stat.is_alive() && is_root).then(|| earlier.is_some_and(|request| request.reached(process, &stat)))
}

/// Whether a process was put into the PID namespace by one outside of it (`docker exec`).
fn is_from_outside(stat: &Stat) -> bool {
    stat.parent.as_raw() == 0 && !stat.is_kernel_thread
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
    fn a_root_is_a_child_that_a_request_may_have_reached() {
        let (parent, own) = (Pid::parent(), Pid::this());
        assert_eq!(find_root(own, parent, None), Some(false));
        assert_eq!(find_root(parent, own, None), None);
        let reached = |members: &[Pid], when| {
            let mut meant = PidSet::new().unwrap();
            members.iter().for_each(|process| meant.insert(*process));
            find_root(own, parent, Some(&EarlierRequest { meant, when }))
        };
        assert_eq!(reached(&[own], Nanos::MAX), Some(true));
        assert_eq!(reached(&[own], 0), Some(false), "it started later");
        assert_eq!(reached(&[parent], Nanos::MAX), Some(false), "another one had it");
    }

    #[test]
    fn a_request_is_noted_for_the_members_of_a_group() {
        let own = Pid::this();
        let mut roots = Roots::new(own);
        let noted = |roots: &Roots| roots.earlier.as_ref().unwrap().meant.contains(own);
        roots.note_earlier_request(getpgid(None).ok()).unwrap();
        assert!(noted(&roots));
        // The last one counts.
        roots.note_earlier_request(Some(Pid::from_raw(i32::MAX))).unwrap();
        assert!(!noted(&roots));
        roots.note_earlier_request(None).unwrap();
        assert!(noted(&roots));
        roots.forget();
        assert!(roots.earlier.is_none());
    }

    #[test]
    fn no_root_of_an_ordinary_process_is_from_outside() {
        assert!(!Roots::new(Pid::this()).are_left_from_outside());
    }
}
