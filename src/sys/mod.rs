//! All of the unsafe code: system calls, and the memory that the kernel and C pass to
//! `main`, behind safe interfaces. A type for each concept stands beside the calls that use
//! it. There is no policy here.
//!
//! What nix wraps well is called through nix. These calls are bare, each for its reason:
//!
//! | call | why |
//! |---|---|
//! | `rt_sigprocmask`, `rt_sigaction`, `rt_sigtimedwait` | C libraries hide signals 32 to 34; nix knows no real-time signal |
//! | `kill`, `prctl(PR_SET_PDEATHSIG)` | nix takes no real-time signal |
//! | `wait4`, `waitid` | nix loses a child that a real-time signal killed; musl's `rusage` is not the kernel's where `long` has 32 bits |
//! | `ptrace(PTRACE_DETACH)` | nix takes no real-time signal |
//! | `_Fork` | nix has none |
//! | `execve` | nix allocates to copy the arguments |
//! | `pidfd_open`, `pidfd_send_signal`, `close_range`, `pwritev2` | nix does not have it for Linux |
//! | `send` | nix needs a further library for its sockets |
//! | `getdents64` | nix's `Dir` allocates |
//! | `prlimit64` | musl's `setrlimit` synchronises threads, which is 4 KB of code |
//! | `ioctl(TIOCNOTTY)`, `ioctl(TIOCSCTTY)`, `tcgetsid` | nix has none |
//! | `getauxval`, `capget`, `prctl(PR_CAP_AMBIENT)` | nix has none |

pub mod args;
pub mod fd;
pub mod memory;
pub mod output;
pub mod path;
pub mod pids;
pub mod process;
pub mod signal;
pub mod time;
pub mod wait;

use std::ffi::CStr;

use nix::errno::Errno;

/// The size of a page (`getauxval(3)`, AT_PAGESZ).
pub fn page_size() -> u64 {
    // SAFETY: has no memory effect.
    unsafe { libc::getauxval(libc::AT_PAGESZ) as u64 }
}

/// Room for the text of any error.
pub type ErrorText = [u8; 128];

/// The C library's text for an error (`strerror(3)`).
pub fn error_text(errno: Errno, buffer: &mut ErrorText) -> &CStr {
    // SAFETY: the function writes no more than the buffer's length, a zero at the end
    // included.
    unsafe { libc::strerror_r(errno as i32, buffer.as_mut_ptr().cast(), buffer.len()) };
    CStr::from_bytes_until_nul(buffer).unwrap_or_default()
}
