//! A set of PIDs, a bit for each that the kernel may give out.

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, munmap};
use nix::unistd::Pid;

use super::memory::map;

/// The set. It is a mapping, of which only pages with a PID in them take memory.
pub struct PidSet(NonNull<u8>);

impl PidSet {
    /// PIDs are below this (`proc_sys_kernel(5)`, pid_max: PID_MAX_LIMIT).
    const LIMIT: usize = 1 << 22;
    const SIZE: NonZeroUsize = NonZeroUsize::new(Self::LIMIT / 8).unwrap();

    /// An empty set.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self(map(Self::SIZE, MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE)?.cast()))
    }

    /// Adds a PID.
    pub fn insert(&mut self, process: Pid) {
        if let Some((byte, bit)) = Self::place(process) {
            // SAFETY: the place is within the mapping, which `self` alone refers to.
            unsafe { *self.0.as_ptr().add(byte) |= bit }
        }
    }

    /// Removes a PID.
    pub fn remove(&mut self, process: Pid) {
        if let Some((byte, bit)) = Self::place(process) {
            // SAFETY: as above.
            unsafe { *self.0.as_ptr().add(byte) &= !bit }
        }
    }

    /// Whether a PID is in it.
    pub fn contains(&self, process: Pid) -> bool {
        // SAFETY: as above; nothing is written.
        Self::place(process).is_some_and(|(byte, bit)| unsafe { *self.0.as_ptr().add(byte) & bit > 0 })
    }

    fn place(process: Pid) -> Option<(usize, u8)> {
        let number = usize::try_from(process.as_raw()).ok().filter(|number| *number < Self::LIMIT)?;
        Some((number / 8, 1 << (number % 8)))
    }
}

impl Drop for PidSet {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the mapping any more.
        let _ = unsafe { munmap(self.0.cast(), Self::SIZE.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pid_is_in_it_by_itself() {
        let mut set = PidSet::new().unwrap();
        let pids = [0, 1, 7, 8, 32768, 4_194_303].map(Pid::from_raw);
        for pid in pids {
            assert!(!set.contains(pid));
            set.insert(pid);
            assert!(set.contains(pid));
        }
        set.remove(Pid::from_raw(7));
        assert!(!set.contains(Pid::from_raw(7)) && set.contains(Pid::from_raw(8)));
        for pid in [-1, 4_194_304, i32::MAX].map(Pid::from_raw) {
            set.insert(pid);
            assert!(!set.contains(pid));
        }
    }
}
