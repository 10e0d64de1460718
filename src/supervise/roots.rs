//! The processes at the top of what is left when the command has exited.

#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::unistd::{Pid, getpgid};

use super::descendants::{Sending, SignalError, check_proc};
use crate::diagnose::procfs::{Stat, for_each_child, for_each_process, shows_own_namespace};
use crate::sys::pids::PidSet;
use crate::sys::process::INIT;
use crate::sys::signal::{Signal, kill_everything};
use crate::sys::time::time_since_boot;
use crate::units::Nanos;

/// The roots of what is left, and which of them were asked to terminate: each once, as to
/// many programs a second TERM means "quit now". Each root decides for its own children, as
/// a daemon's master does for its workers. A process becomes a root when its parent exits.
pub struct Roots {
    own_pid: Pid,
    notified: Notified,
    earlier: Option<EarlierRequest>,
}

/// Which processes were asked.
enum Notified {
    None,
    /// All that there were, as nothing shows which the roots are.
    Everything,
    These(PidSet),
}

/// A request that was forwarded while the command ran.
struct EarlierRequest {
    /// The processes that it was for.
    meant: PidSet,
    /// When, on the clock of [`time_since_boot`]. A process that has one of these PIDs
    /// and started later is another one.
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
        Self { own_pid, notified: Notified::None, earlier: None }
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
        let (own_pid, earlier) = (self.own_pid, self.earlier.as_ref());
        check_proc(own_pid)?;
        let (mut notified, first) = match std::mem::replace(&mut self.notified, Notified::None) {
            Notified::These(notified) => (notified, false),
            _ => (PidSet::new().map_err(SignalError::CannotFind)?, true),
        };
        let mut sending = Sending::default();
        let mut ask = |process| {
            if sending.cannot_look.is_some() || process == own_pid || notified.contains(process) {
                return;
            }
            let reached = match find_root(process, own_pid, earlier) {
                Ok(Some(reached)) => reached,
                Ok(None) => return,
                Err(errno) => return sending.cannot_look = Some(errno),
            };
            notified.insert(process);
            // One that was stopped has not acted on the earlier request either.
            let signals: &[Signal] = if reached { &[Signal::CONT] } else { &[signal, Signal::CONT] };
            sending.send(process, signals, &|| Ok(find_root(process, own_pid, earlier)? == Some(reached)));
        };
        // A process that becomes a root later is a child. To look at all processes whenever
        // one has exited would take a long chain of them a time that grows with its square.
        let pass = if first || !for_each_child(&mut ask) { for_each_process(&mut ask) } else { Ok(()) };
        sending.cannot_look = sending.cannot_look.or(pass.err());
        let outcome = sending.outcome();
        // Otherwise none was asked, ever.
        if !first || !matches!(outcome, Err(SignalError::CannotFind(_))) {
            self.notified = Notified::These(notified);
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

/// Whether an earlier request reached a process, if it is a root: its parent is sexton, or
/// lies outside of the PID namespace.
fn find_root(process: Pid, own_pid: Pid, earlier: Option<&EarlierRequest>) -> Result<Option<bool>, Errno> {
    let Some(stat) = Stat::look(process)? else { return Ok(None) };
    let is_root = stat.parent == own_pid || own_pid == INIT && is_from_outside(&stat);
    let reached = || earlier.is_some_and(|request| request.reached(process, &stat));
    Ok((stat.is_alive() && is_root).then(reached))
}

/// Whether a process was put into the PID namespace by one outside of it (`docker exec`).
fn is_from_outside(stat: &Stat) -> bool {
    stat.parent.as_raw() == 0 && !stat.is_kernel_thread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_a_child_that_a_request_may_have_reached() {
        let (parent, own) = (Pid::parent(), Pid::this());
        assert_eq!(find_root(own, parent, None), Ok(Some(false)));
        assert_eq!(find_root(parent, own, None), Ok(None));
        let reached = |members: &[Pid], when| {
            let mut meant = PidSet::new().unwrap();
            members.iter().for_each(|process| meant.insert(*process));
            find_root(own, parent, Some(&EarlierRequest { meant, when })).unwrap()
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
