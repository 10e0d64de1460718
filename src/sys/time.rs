//! Clocks, and sleeping.

use nix::poll::{PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

use crate::units::{Nanos, SECOND};

/// The time on a clock that is never set (`CLOCK_MONOTONIC` in `clock_gettime(2)`).
pub fn monotonic_time() -> Nanos {
    time_on(ClockId::CLOCK_MONOTONIC)
}

/// The time since the machine started (`CLOCK_BOOTTIME`), on which the kernel notes when
/// a process starts.
pub fn time_since_boot() -> Nanos {
    time_on(ClockId::CLOCK_BOOTTIME)
}

/// Every Linux has these clocks.
fn time_on(clock: ClockId) -> Nanos {
    clock_gettime(clock).map_or(0, |time| nanos(time.tv_sec() as u64, time.tv_nsec() as u64))
}

pub(super) fn nanos(seconds: u64, rest: u64) -> Nanos {
    seconds.saturating_mul(SECOND).saturating_add(rest)
}

/// The unit of times in /proc (`sysconf(3)`, _SC_CLK_TCK), as the kernel passes it to each
/// program (`getauxval(3)`, AT_CLKTCK).
pub fn nanos_per_tick() -> Nanos {
    // SAFETY: has no memory effect.
    let ticks_per_second = unsafe { libc::getauxval(libc::AT_CLKTCK) };
    SECOND.checked_div(ticks_per_second as u64).unwrap_or(SECOND / 100)
}

/// Sleeps for this many milliseconds, or until an unblocked signal arrives.
pub fn sleep_ms(milliseconds: u16) {
    let _ = poll(&mut [], PollTimeout::from(milliseconds));
}
