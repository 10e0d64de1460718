//! The loop: reap until nothing is left to reap, then sleep until a signal comes.

#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::exit::Status;
use crate::forward::{Forwarder, Rewrites, is_for_the_command};
use crate::message::{Level, Log};
use crate::signal::Signal;
use crate::sys;
use crate::terminal::Job;

/// Reaps and forwards until the command has ended; returns how it did.
///
/// The order matters. SIGCHLD is a wake-up, never a count: the kernel merges
/// several into one (`signal(7)`), so each means "reap all there is". The first
/// drain comes before the first sleep, for children that ended before this process
/// became sexton, whose SIGCHLD is long gone. What a drain finds is decided upon
/// after it; and once the command has been reaped nothing is forwarded any more,
/// as its PID may be somebody else's by now.
///
/// ECHILD where the command is no child of ours, which would be waiting for ever.
pub fn supervise(forwarder: &Forwarder, rewrites: &Rewrites, job: &Job, log: &Log) -> Result<Status, Errno> {
    loop {
        let command = drain(forwarder.command, job.ours, log)?;
        if let Some(status) = command.ended {
            return Ok(status);
        }
        if let Some(signal) = command.stopped {
            log.say(Level::Debug, &[&"the command was stopped by ", &signal]);
            job.stopped(signal);
        }
        // The kernel hands out low numbers first: a flood of HUPs would keep
        // SIGCHLD back for as long as it lasts.
        for _ in 0..SIGNALS_BETWEEN_DRAINS {
            let received = match sys::wait_for_signal() {
                Ok(received) if received.signal == Signal::CHLD => break,
                Ok(received) => received,
                Err(Errno::EINTR) => continue,
                Err(reason) => return reap_without_signals(forwarder.command, reason, log),
            };
            if received.signal == Signal::CONT {
                job.continued();
            }
            if (is_for_the_command(received, forwarder.own_pid) || job.is_suspended_by(received))
                && let Some(signal) = rewrites.apply(received.signal)
            {
                forwarder.send(signal);
            }
        }
    }
}

const SIGNALS_BETWEEN_DRAINS: u8 = 64;

/// What a drain found out about the command.
#[derive(Default)]
struct Found {
    ended: Option<Status>,
    stopped: Option<Signal>,
}

/// Reaps all that can be reaped.
fn drain(command: Pid, stops: bool, log: &Log) -> Result<Found, Errno> {
    let mut found = Found::default();
    loop {
        match sys::reap(stops) {
            Ok(Some((pid, status))) => {
                if status.stop_signal().is_none() {
                    tell_reaped(pid, status, log);
                    if pid == command {
                        found.ended = Some(status);
                    }
                } else if pid == command {
                    found.stopped = status.stop_signal();
                }
            }
            Ok(None) => return Ok(found),
            // No child at all: right where the command was the last one.
            Err(Errno::ECHILD) if found.ended.is_some() => return Ok(found),
            Err(reason) => return Err(reason),
        }
    }
}

/// Where signals cannot be waited for (a seccomp filter), a PID 1 that gave up
/// would kill its container, and one that tried again would spin: reap at least.
fn reap_without_signals(command: Pid, reason: Errno, log: &Log) -> Result<Status, Errno> {
    log.say(Level::Problem, &[&"rt_sigtimedwait: ", &reason, &": no signal can be forwarded"]);
    loop {
        let (pid, status) = sys::wait_and_reap()?;
        tell_reaped(pid, status, log);
        if pid == command {
            return Ok(status);
        }
    }
}

fn tell_reaped(pid: Pid, status: Status, log: &Log) {
    log.say(Level::Trace, &[&"reaped ", &pid, &": ", &status]);
}
