//! Waiting on conditions, each with a deadline.

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long anything may take. It is for a machine under load: what is waited for happens
/// within milliseconds, or, where a container engine does it, within a second or two.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until something holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until there is something to read, or the end; false if the deadline passes.
pub(crate) fn is_readable(file: &impl AsFd) -> bool {
    let mut descriptors = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(DEADLINE).expect("a timeout");
    poll(&mut descriptors, timeout) == Ok(1)
}
