//! Forwarding: which signal goes on, in place of which, and to which processes.

#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::unistd::{Pid, getpgid};

use super::descendants::{SignalError, signal_all};
use crate::log::Log;
use crate::sys::signal::{Signal, SignalInfo, kill, kill_group};
use crate::units::split_once;

/// Which processes get the signals.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Scope {
    /// The command alone.
    Command,
    /// The command's process group.
    #[default]
    Group,
    /// As PID 1 all of the namespace, else every descendant.
    Everything,
}

/// What is forwarded when a signal arrives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rewrite {
    Keep,
    Drop,
    To(Signal),
}

/// What is forwarded in place of each signal.
pub struct Rewrites([Rewrite; 65]);

impl Default for Rewrites {
    fn default() -> Self {
        Self([Rewrite::Keep; 65])
    }
}

impl Rewrites {
    /// Forwards `to` in place of `from`, unless a rule names that.
    pub fn set_default(&mut self, from: Signal, to: Signal) {
        if let Some(rewrite @ Rewrite::Keep) = self.0.get_mut(from.number() as usize) {
            *rewrite = Rewrite::To(to);
        }
    }

    /// Adds a rule `FROM:TO`, or returns why it is not one. TO may be 0, for nothing.
    pub fn add(&mut self, rule: &[u8]) -> Result<(), &'static str> {
        let (from, Some(to)) = split_once(rule, b':') else { return Err("expected FROM:TO") };
        let from = Signal::parse(from).ok_or("FROM is not a signal")?;
        if matches!(from, Signal::KILL | Signal::STOP | Signal::CHLD) {
            return Err("KILL, STOP and CHLD cannot be rewritten");
        }
        let to = match to {
            b"0" => Rewrite::Drop,
            name => Rewrite::To(Signal::parse(name).ok_or("TO is neither a signal nor 0")?),
        };
        if let Some(rewrite) = self.0.get_mut(from.number() as usize) {
            *rewrite = to;
        }
        Ok(())
    }

    /// The signal to forward when `signal` arrives; None where it is to be dropped.
    pub fn apply(&self, signal: Signal) -> Option<Signal> {
        match *self.0.get(signal.number() as usize)? {
            Rewrite::Keep => Some(signal),
            Rewrite::Drop => None,
            Rewrite::To(to) => Some(to),
        }
    }
}

/// Whether a signal is meant for the command. These are not:
///
/// - SIGCHLD, which is about sexton's own children.
/// - TSTP, TTIN and TTOU that the terminal's driver raises against sexton's process group:
///   the command's group gets its own. Their `si_code` is SI_KERNEL; from a process it is
///   never positive (`sigaction(2)`). Nor are those that sexton itself sent to its group,
///   after the command had stopped.
/// - INT, QUIT and WINCH from the driver, where sexton and the command share a process
///   group: the command has received them. What sexton sends to that group comes back to
///   it.
/// - SIGPIPE and SIGXFSZ that sexton raised by writing a message.
pub fn is_for_command(info: SignalInfo, own_pid: Pid, shared_group: bool) -> bool {
    let from_ourselves = info.sender() == Some(own_pid);
    match info.signal {
        Signal::CHLD => false,
        Signal::TSTP | Signal::TTIN | Signal::TTOU => info.is_from_user() && !from_ourselves,
        Signal::INT | Signal::QUIT | Signal::WINCH if shared_group => info.is_from_user() && !from_ourselves,
        Signal::PIPE | Signal::XFSZ => !from_ourselves,
        _ => !(shared_group && from_ourselves),
    }
}

/// Sends signals on. A failure is logged once: a signal that repeats must not flood the
/// log.
pub struct Forwarder<'a> {
    scope: Scope,
    own_pid: Pid,
    log: &'a Log,
    failure_logged: bool,
}

impl<'a> Forwarder<'a> {
    /// For this scope.
    pub fn new(scope: Scope, own_pid: Pid, log: &'a Log) -> Self {
        Self { scope, own_pid, log, failure_logged: false }
    }

    /// Sends `signal` to the processes in the scope. Must not be called once the command
    /// has been reaped: its PID may then be another process's.
    pub fn send(&mut self, signal: Signal, command: Pid) {
        self.log.debug(format_args!("forwarding {signal}"));
        let sent = match self.scope {
            Scope::Command => kill(command, signal).map_err(SignalError::Refused),
            Scope::Group => send_to_group(command, signal),
            Scope::Everything => match signal_all(self.own_pid, signal) {
                Err(error @ (SignalError::NoProc | SignalError::CannotFind(_))) => {
                    self.log_once(format_args!("{error}: forwarding {signal} to the process group only"));
                    send_to_group(command, signal)
                }
                sent => sent,
            },
        };
        self.check(signal, sent);
    }

    /// Sends TERM to the rest of the command's process group, when the command has been
    /// reaped: the group keeps its number while it has members.
    pub fn terminate_group(&self, command: Pid) {
        let _ = kill_group(command, Signal::TERM);
    }

    /// Sends `signal` to all remaining processes, when the command has exited.
    pub fn signal_remaining(&mut self, signal: Signal) {
        self.log.debug(format_args!("forwarding {signal} to all remaining processes"));
        let sent = signal_all(self.own_pid, signal);
        self.check(signal, sent);
    }

    /// Logs that a signal did not reach all of the processes that it was for.
    pub fn check(&mut self, signal: Signal, sent: Result<(), SignalError>) {
        match sent {
            // The process has exited, or is about to.
            Ok(()) | Err(SignalError::Refused(Errno::ESRCH)) => {}
            Err(error) => self.log_once(format_args!("forwarding {signal}: {error}")),
        }
    }

    fn log_once(&mut self, message: std::fmt::Arguments) {
        if !self.failure_logged {
            self.failure_logged = true;
            self.log.error(message);
        }
    }
}

/// The command leads the group that has its PID as number. Before it has made that group,
/// and once it has left it, it gets the signal by its PID.
fn send_to_group(command: Pid, signal: Signal) -> Result<(), SignalError> {
    let sent = kill_group(command, signal);
    let left = || getpgid(Some(command)).is_ok_and(|group| group != command);
    if sent == Err(Errno::ESRCH) || left() {
        return Ok(kill(command, signal)?);
    }
    Ok(sent?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signal(name: &str) -> Signal {
        Signal::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn without_rules_every_signal_stays_itself() {
        let rewrites = Rewrites::default();
        for number in 1..=64 {
            let signal = Signal::new(number).unwrap();
            assert_eq!(rewrites.apply(signal), Some(signal));
        }
    }

    #[test]
    fn rules_do_not_chain_and_the_last_one_wins() {
        let mut rewrites = Rewrites::default();
        for rule in ["HUP:USR1", "HUP:TERM", "TERM:QUIT", "RTMIN+3:INT", "USR1:0", "INT:KILL"] {
            rewrites.add(rule.as_bytes()).unwrap();
        }
        assert_eq!(rewrites.apply(signal("HUP")), Some(signal("TERM")));
        assert_eq!(rewrites.apply(signal("TERM")), Some(signal("QUIT")));
        assert_eq!(rewrites.apply(signal("37")), Some(signal("INT")));
        assert_eq!(rewrites.apply(signal("USR1")), None);
        assert_eq!(rewrites.apply(signal("INT")), Some(Signal::KILL));
    }

    #[test]
    fn rules_for_what_never_arrives_are_refused() {
        for rule in
            ["KILL:TERM", "19:TERM", "CHLD:0", "TERM", "", ":", "TERM:FOO", "TERM:QUIT:HUP", "TERM:00"]
        {
            assert!(Rewrites::default().add(rule.as_bytes()).is_err(), "{rule}");
        }
    }

    #[test]
    fn signals_for_sexton_itself_are_not_forwarded() {
        let own = Pid::from_raw(7);
        let forwarded = |name, code, sender| {
            is_for_command(SignalInfo::new(signal(name), code, Pid::from_raw(sender)), own, false)
        };
        assert!(forwarded("TERM", libc::SI_USER, 1));
        assert!(forwarded("TERM", libc::SI_USER, 0), "from outside the namespace");
        assert!(forwarded("SEGV", libc::SI_TKILL, 1));
        assert!(forwarded("RTMIN", libc::SI_QUEUE, 1));
        assert!(forwarded("HUP", libc::SI_KERNEL, 0));
        assert!(!forwarded("CHLD", libc::SI_USER, 1));
        for stop in ["TSTP", "TTIN", "TTOU"] {
            assert!(forwarded(stop, libc::SI_USER, 1));
            assert!(forwarded(stop, libc::SI_QUEUE, 1));
            assert!(!forwarded(stop, libc::SI_KERNEL, 0));
            assert!(!forwarded(stop, libc::SI_USER, 7), "sent to our own group");
        }
        assert!(!forwarded("PIPE", libc::SI_USER, 7), "raised by a message of our own");
        assert!(!forwarded("XFSZ", libc::SI_USER, 7));
        assert!(forwarded("PIPE", libc::SI_USER, 8));
        assert!(forwarded("TERM", libc::SI_USER, 7), "raised before this process became sexton");
    }

    #[test]
    fn the_terminals_signals_to_a_shared_group_are_not_forwarded() {
        let own = Pid::from_raw(7);
        let forwarded = |name, code, same_group| {
            is_for_command(SignalInfo::new(signal(name), code, Pid::from_raw(0)), own, same_group)
        };
        for name in ["INT", "QUIT", "WINCH"] {
            assert!(!forwarded(name, libc::SI_KERNEL, true));
            assert!(forwarded(name, libc::SI_KERNEL, false));
            assert!(forwarded(name, libc::SI_USER, true));
        }
        assert!(forwarded("HUP", libc::SI_KERNEL, true), "a hang-up goes to the session's leader alone");
        let sent_by_us = SignalInfo::new(signal("TERM"), libc::SI_USER, own);
        assert!(!is_for_command(sent_by_us, own, true), "it was sent to the group");
        assert!(is_for_command(sent_by_us, own, false));
    }

    proptest! {
        #[test]
        fn no_rule_makes_it_panic(rule in any::<Vec<u8>>()) {
            let _ = Rewrites::default().add(&rule);
        }
    }
}
