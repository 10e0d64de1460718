//! Processes, as /proc shows them.

use std::fs;

use super::signal::Signal;

/// A process.
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// `Z` is a zombie, `T` stopped, `S` asleep.
    pub(crate) state: char,
}

/// All processes.
pub(crate) fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(process).collect()
}

/// The children of a process.
pub(crate) fn children_of(pid: i32) -> Vec<Process> {
    let mut children = processes();
    children.retain(|process| process.parent == pid);
    children
}

/// One process, if it exists.
pub(crate) fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some(Process { pid, state: fields.next()?.parse().ok()?, parent: fields.next()?.parse().ok()? })
}

/// Whether a process has ended, be it that its parent has not waited for it yet.
pub(crate) fn has_ended(pid: i32) -> bool {
    process(pid).is_none_or(|process| process.state == 'Z')
}

/// Whether a process is in this state.
pub(crate) fn is_in_state(pid: i32, state: char) -> bool {
    process(pid).is_some_and(|process| process.state == state)
}

/// A field of a process's `/proc/PID/status`; empty if there is none.
pub(crate) fn status_field(pid: i32, name: &str) -> String {
    field(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), name)
}

/// A field of a `/proc/PID/status`.
pub(crate) fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// `kill(2)`; by a bare call, as nix knows no real-time signals.
pub(crate) fn kill(pid: i32, signal: Signal) -> nix::Result<()> {
    // SAFETY: has no memory effect.
    nix::errno::Errno::result(unsafe { libc::kill(pid, signal.number()) }).map(drop)
}
