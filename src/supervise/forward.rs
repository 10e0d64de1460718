//! Forwarding: which signal goes on, as what, and to whom.

#![forbid(unsafe_code)]

use std::cell::Cell;

use nix::errno::Errno;
use nix::unistd::{Pid, getpgid};

use crate::diagnose::procfs;
use crate::log::{Level, Log, Show};
use crate::sys::signal::Signal;
use crate::sys::{self, Received};
use crate::text::split_once;

/// Who gets the signals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The command alone.
    Command,
    /// The command's process group.
    Group,
    /// As PID 1 all of the namespace, else every descendant.
    Everything,
}

/// What each signal is forwarded as.
pub struct Rewrites([u8; 65]);

/// Stands for a signal that no rule names, and that stays what it is.
const UNNAMED: u8 = u8::MAX;

impl Default for Rewrites {
    fn default() -> Self {
        Self([UNNAMED; 65])
    }
}

impl Rewrites {
    /// Takes `to` in place of `from`, unless a rule names that.
    pub fn set_default(&mut self, from: Signal, to: Signal) {
        if let Some(entry @ &mut UNNAMED) = self.0.get_mut(from.number() as usize) {
            *entry = to.number() as u8;
        }
    }

    /// Takes a `FROM:TO`, or says why not. TO may be 0, for nothing.
    pub fn add(&mut self, rule: &[u8]) -> Result<(), &'static str> {
        let (from, Some(to)) = split_once(rule, b':') else { return Err("not FROM:TO") };
        let from = Signal::parse(from).ok_or("FROM is not a signal")?;
        if matches!(from, Signal::KILL | Signal::STOP | Signal::CHLD) {
            return Err("FROM is never forwarded");
        }
        let to = match to {
            b"0" => 0,
            name => Signal::parse(name).ok_or("TO is not a signal or 0")?.number(),
        };
        if let Some(entry) = self.0.get_mut(from.number() as usize) {
            *entry = to as u8;
        }
        Ok(())
    }

    /// What to forward when `signal` arrives; None where it is to be dropped.
    pub fn apply(&self, signal: Signal) -> Option<Signal> {
        match *self.0.get(signal.number() as usize)? {
            UNNAMED => Some(signal),
            entry => Signal::new(i32::from(entry)),
        }
    }
}

/// Whether a signal was meant for the command. Four kinds are not:
///
/// - SIGCHLD is about sexton's own children.
/// - The terminal's driver raises TSTP, TTIN and TTOU against whoever is in its
///   process group, that is against sexton itself; the command gets its own. Then
///   `si_code` is SI_KERNEL, and from a process it is never positive
///   (`sigaction(2)`). Nor those with which sexton stopped its own process group,
///   after the command had stopped.
/// - Where the two are in one process group, the driver raises INT, QUIT and WINCH
///   against both.
/// - SIGPIPE and SIGXFSZ that sexton raised by writing a message.
pub fn is_for_the_command(received: Received, own_pid: Pid, same_group: bool) -> bool {
    match received.signal {
        Signal::CHLD => false,
        Signal::TSTP | Signal::TTIN | Signal::TTOU => {
            received.sent_by_a_process() && received.sender() != Some(own_pid)
        }
        Signal::INT | Signal::QUIT | Signal::WINCH => received.sent_by_a_process() || !same_group,
        Signal::PIPE | Signal::XFSZ => received.sender() != Some(own_pid),
        _ => true,
    }
}

/// Sends signals on.
pub struct Forwarder<'a> {
    scope: Scope,
    command: Option<Pid>,
    own_pid: Pid,
    log: &'a Log,
    /// Whether a failure was told: a signal that repeats must not flood the log.
    refusal_told: Cell<bool>,
    /// The newest process when all that is left was told to end.
    newest_told: Cell<Option<Pid>>,
}

impl<'a> Forwarder<'a> {
    /// `command`, if there is one, leads the process group of the same number, or at
    /// least has led it, where the scope is more than itself.
    pub fn new(scope: Scope, command: Option<Pid>, own_pid: Pid, log: &'a Log) -> Self {
        Self { scope, command, own_pid, log, refusal_told: Cell::new(false), newest_told: Cell::new(None) }
    }

    /// Sends `signal` to those it is for. Must not be called once the command has
    /// been reaped: its PID may then be somebody else's.
    pub fn send(&self, signal: Signal) {
        let Some(command) = self.command else { return };
        self.log.say(Level::Debug, "forwarding {}", &[&signal]);
        let sent = match self.scope {
            Scope::Command => sys::kill(command, signal),
            Scope::Group => send_to_group(command, signal),
            Scope::Everything => match self.send_to_everything(signal) {
                // Without a /proc of our namespace only the group is known.
                Err(Errno::ENOSYS) => {
                    self.tell_once(signal, &NO_PROC);
                    send_to_group(command, signal)
                }
                sent => sent,
            },
        };
        self.heed(signal, sent);
    }

    /// Tells what is left of the command's process group to end, as soon as the command
    /// has been reaped: the group keeps its number while it has members.
    pub fn end_group(&self) {
        if let Some(command) = self.command {
            let _ = sys::kill_group(command, Signal::TERM);
        }
    }

    /// Sends `signal` to all that is left, when the command has ended.
    pub fn send_to_rest(&self, signal: Signal) {
        self.log.say(Level::Debug, "forwarding {} to all that is left", &[&signal]);
        self.heed(signal, self.send_to_everything(signal));
    }

    /// Tells all that is left to end. Who is stopped is continued, to be able to; as
    /// CONT goes to all, no /proc is needed to know who that is.
    ///
    /// Who is born meanwhile was not told, or had it from its parent's hands: see
    /// [`Self::end_newcomers`].
    pub fn end_rest(&self, signal: Signal) {
        self.log.say(Level::Debug, "sending {} to all that is left", &[&signal]);
        let newest = procfs::newest();
        self.newest_told.set(newest);
        let sent = if self.own_pid == INIT {
            sys::kill_everything(signal).and_then(|()| sys::kill_everything(Signal::CONT))
        } else {
            procfs::signal_descendants(self.own_pid, &[signal, Signal::CONT], &|process| {
                newest.is_none_or(|newest| process <= newest || !procfs::is_newer(process, newest))
            })
        };
        self.heed(signal, sent);
        self.end_newcomers(signal);
    }

    /// Tells those to end who were born since that was told last, each of them once.
    /// Where the kernel does not say which process is the newest, nobody is told.
    pub fn end_newcomers(&self, signal: Signal) {
        // More come while these are told; but this is not the place to stay for ever.
        for _ in 0..ROUNDS {
            let Some(told) = self.newest_told.get() else { return };
            let Some(newest) = procfs::newest() else { return };
            if newest == told {
                return;
            }
            self.newest_told.set(Some(newest));
            let sent = procfs::signal_descendants(self.own_pid, &[signal, Signal::CONT], &|process| {
                procfs::is_between(process, told, newest)
            });
            self.heed(signal, sent);
        }
    }

    fn send_to_everything(&self, signal: Signal) -> Result<(), Errno> {
        if self.own_pid == INIT {
            sys::kill_everything(signal)
        } else {
            procfs::signal_descendants(self.own_pid, &[signal], &|_| true)
        }
    }

    fn heed(&self, signal: Signal, sent: Result<(), Errno>) {
        match sent {
            // Whoever it was for is gone, or about to be.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(Errno::ENOSYS) => self.tell_once(signal, &NO_PROC),
            Err(reason) => self.tell_once(signal, &reason),
        }
    }

    fn tell_once(&self, signal: Signal, reason: &dyn Show) {
        if !self.refusal_told.replace(true) {
            self.log.say(Level::Problem, "forwarding {}: {}", &[&signal, reason]);
        }
    }
}

/// A command that left its process group is still the one to be told to stop.
fn send_to_group(command: Pid, signal: Signal) -> Result<(), Errno> {
    let sent = sys::kill_group(command, signal);
    match getpgid(Some(command)) {
        Ok(group) if group != command => sys::kill(command, signal),
        _ => sent,
    }
}

const NO_PROC: &str = "no /proc to find descendants in";

/// How often in a row newcomers are looked for.
const ROUNDS: u8 = 8;

/// The PID that makes a process the init of its namespace
/// (`pid_namespaces(7)`).
pub const INIT: Pid = Pid::from_raw(1);

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
    fn what_is_forwarded() {
        let own = Pid::from_raw(7);
        let forwarded = |name, code, sender| {
            is_for_the_command(Received::new(signal(name), code, Pid::from_raw(sender)), own, false)
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
    fn what_the_terminal_sends_to_a_shared_group_is_not_sent_twice() {
        let own = Pid::from_raw(7);
        let forwarded = |name, code, same_group| {
            is_for_the_command(Received::new(signal(name), code, Pid::from_raw(0)), own, same_group)
        };
        for name in ["INT", "QUIT", "WINCH"] {
            assert!(!forwarded(name, libc::SI_KERNEL, true));
            assert!(forwarded(name, libc::SI_KERNEL, false));
            assert!(forwarded(name, libc::SI_USER, true));
        }
        assert!(forwarded("HUP", libc::SI_KERNEL, true), "a hang-up goes to the session's leader alone");
    }

    proptest! {
        #[test]
        fn no_rule_makes_it_panic(rule in any::<Vec<u8>>()) {
            let _ = Rewrites::default().add(&rule);
        }
    }
}
