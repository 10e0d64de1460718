//! The terminal that controls sexton's session, and its foreground (`tty_ioctl(4)`).

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Pid, getpgrp, getsid, read, setpgid, tcgetpgrp, tcsetpgrp};

use crate::log::Reason;
use crate::sys::fd::{give_up_terminal, is_pipe, open, standard_descriptor_that_controls};
use crate::sys::process::{OwnProcess, fork};
use crate::sys::wait::{WaitStatus, reap_child};

/// A call that failed, to be logged at `-v`.
pub struct FailedCall {
    pub(super) call: &'static str,
    pub(super) errno: Errno,
}

impl FailedCall {
    /// The failure of a call, if it is one.
    pub(super) fn of(call: &'static str, result: Result<(), Errno>) -> Option<Self> {
        Some(Self { call, errno: result.err()? })
    }
}

impl Display for FailedCall {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.call, Reason(self.errno))
    }
}

/// The terminal that controls our session. `/dev/tty` is it by definition, and ENXIO there
/// means that there is none (`tty(4)`). Where there is no such file, one of the standard
/// descriptors may be it.
pub(super) fn controlling_terminal() -> Option<OwnedFd> {
    match open(c"/dev/tty", OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK, 0) {
        Ok(terminal) => Some(terminal),
        Err(Errno::ENXIO) => None,
        Err(_) => standard_descriptor_that_controls(getsid(None).ok()?),
    }
}

/// Whether sexton's own process group has a terminal's foreground.
///
/// In a PID namespace that the group comes from outside of, it and every other one from
/// there have the number 0. Then a read of nothing decides: with SIGTTIN blocked, it fails
/// with EIO in the background.
pub(super) fn is_foreground(terminal: &OwnedFd) -> bool {
    let own = getpgrp();
    let foreground = tcgetpgrp(terminal) == Ok(own);
    foreground && (own.as_raw() > 0 || read(terminal, &mut []) != Err(Errno::EIO))
}

/// Whether sexton's own process group has the foreground of its terminal.
pub(super) fn own_group_has_foreground() -> bool {
    controlling_terminal().is_some_and(|terminal| is_foreground(&terminal))
}

/// Whether sexton seems to be a part of a pipeline, of which another part may use the
/// terminal: then the command gets the foreground when it needs it. (`less`, stopped because
/// it has not got it, could be continued; but some shells do not notice that, and take the
/// job for a stopped one.)
pub(super) fn is_in_pipeline() -> bool {
    is_pipe(libc::STDIN_FILENO) || is_pipe(libc::STDOUT_FILENO)
}

/// Gives the terminal up, as the leader of the session that it controls.
///
/// The kernel then sends HUP and CONT to the foreground group, in which may be helpers that
/// the entrypoint has started. So that no process gets them, a child makes a group of its
/// own the foreground, and exits: that group is empty.
pub(super) fn release(process: &OwnProcess, terminal: &OwnedFd) -> Option<FailedCall> {
    let child =
        fork(process, || u8::from(lead_group(THIS).and_then(|()| tcsetpgrp(terminal, getpgrp())).is_err()));
    match child.and_then(reap_child) {
        Ok(WaitStatus::SUCCESS) => {}
        Ok(_) => return Some(FailedCall { call: "tcsetpgrp", errno: Errno::EIO }),
        Err(errno) => return Some(FailedCall { call: "fork", errno }),
    }
    let failed = FailedCall::of("TIOCNOTTY", give_up_terminal(terminal));
    if failed.is_some() {
        let _ = tcsetpgrp(terminal, getpgrp());
    }
    failed
}

/// To `setpgid(2)`, the calling process.
pub(super) const THIS: Pid = Pid::from_raw(0);

/// Makes a process, a child or this one, the leader of a process group.
pub(super) fn lead_group(process: Pid) -> Result<(), Errno> {
    setpgid(process, THIS)
}
