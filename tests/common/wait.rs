//! Waiting on conditions, each with a deadline.

use std::fmt::Debug;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long anything may take. It is for a machine under load: what is waited for happens
/// within milliseconds, or, where a container engine does it, within a second or two.
/// `SEXTON_TEST_DEADLINE` sets another, in seconds.
pub(crate) fn deadline() -> Duration {
    let seconds = std::env::var("SEXTON_TEST_DEADLINE").map(|seconds| seconds.parse().expect("seconds"));
    Duration::from_secs(seconds.unwrap_or(60))
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < deadline(), "not within {:?}: {what}", deadline());
        thread::sleep(Duration::from_millis(2));
    }
}

/// Repeats something until its result is as it would be at once on a machine that is not
/// under load.
#[track_caller]
pub(crate) fn repeat_until<T: Debug>(mut f: impl FnMut() -> T, holds: impl Fn(&T) -> bool) -> T {
    let start = Instant::now();
    loop {
        let result = f();
        if holds(&result) {
            return result;
        }
        assert!(start.elapsed() < deadline(), "not within {:?}; the last: {result:#?}", deadline());
    }
}

/// Waits until there is something to read, or the end; false if the deadline passes.
pub(crate) fn is_readable(file: &impl AsFd) -> bool {
    let mut descriptors = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(deadline()).expect("a timeout");
    poll(&mut descriptors, timeout) == Ok(1)
}
