//! What the options ask of the supervision of a command.

#![forbid(unsafe_code)]

use super::forward::{Rewrites, Scope};
use super::job::Placement;
use super::shutdown::{StopPolicy, StopSignals};
use crate::diagnose::Format;
use crate::sys::signal::Signal;

/// How to supervise.
#[derive(Default)]
pub struct Config<'a> {
    /// Which processes get the signals.
    pub scope: Scope,
    /// Which signal is forwarded in place of another one.
    pub rewrites: Rewrites,
    /// Which signals ask for an end.
    pub stop_signals: StopSignals,
    /// What to do at one of these, and when the command has exited.
    pub stop_policy: StopPolicy,
    /// The session and process group that the command gets.
    pub placement: Placement,
    /// Whether TSTP, TTIN and TTOU are forwarded, whatever sent them, and then stop sexton.
    pub suspend_on_stop_signals: bool,
    /// Whether the command's process group gets TERM when the command has exited.
    pub terminate_group: bool,
    /// The signal to receive when the parent dies.
    pub parent_death_signal: Option<Signal>,
    /// Whether to adopt orphans when not PID 1.
    pub adopt: bool,
    /// Whether to warn where orphans are not adopted.
    pub warn_of_orphans: bool,
    /// Whether to print a line for each orphan that is reaped.
    pub warn_on_reap: bool,
    /// Whether to print a table of the orphans.
    pub report: bool,
    /// How that table, and what runs no command, is printed.
    pub format: Format,
    /// The file for a termination message.
    pub termination_message: Option<&'a [u8]>,
    /// Exit codes that become 0.
    pub remapped: ExitCodes,
}

impl Config<'_> {
    /// Whether an exit code is a failure.
    pub fn is_failure(&self, code: u8) -> bool {
        code != 0 && !self.remapped.contains(code)
    }
}

/// A set of exit codes.
#[derive(Default)]
pub struct ExitCodes([u8; 32]);

impl ExitCodes {
    /// Adds a code.
    pub fn insert(&mut self, code: u8) {
        if let Some(eight) = self.0.get_mut(usize::from(code / 8)) {
            *eight |= 1 << (code % 8);
        }
    }

    /// Whether a code is in it.
    pub fn contains(&self, code: u8) -> bool {
        self.0.get(usize::from(code / 8)).is_some_and(|eight| eight >> (code % 8) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_codes_holds_each_by_itself() {
        for code in 0..=255 {
            let mut set = ExitCodes::default();
            set.insert(code);
            for other in 0..=255 {
                assert_eq!(set.contains(other), other == code);
            }
        }
    }
}
