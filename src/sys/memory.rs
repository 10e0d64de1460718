//! Memory for tables of any length. Only the modes that run no command use it.

use std::ffi::c_void;
use std::mem::size_of;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Maps memory that is zero.
pub(super) fn map(size: NonZeroUsize, kind: MapFlags) -> Result<NonNull<c_void>, Errno> {
    // SAFETY: the kernel chooses an address that nothing else has.
    unsafe { mmap_anonymous(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, kind) }
}

/// A list of plain values that grows, in memory that is mapped for it until the process ends.
pub struct MappedVec<T: Copy> {
    start: NonNull<T>,
    length: usize,
    /// In bytes; 0 where nothing is mapped yet.
    mapped: usize,
}

impl<T: Copy> MappedVec<T> {
    const FIRST: usize = 1 << 16;

    /// An empty list.
    pub const fn new() -> Self {
        const { assert!(size_of::<T>() > 0 && size_of::<T>() <= Self::FIRST) }
        Self { start: NonNull::dangling(), length: 0, mapped: 0 }
    }

    /// Adds a value at the end.
    pub fn push(&mut self, value: T) -> Result<(), Errno> {
        if self.length >= self.mapped / size_of::<T>() {
            self.grow()?;
        }
        // SAFETY: there is room for one more within the mapping, which `self` alone refers
        // to; a page is aligned for any value.
        unsafe { self.start.add(self.length).write(value) };
        self.length += 1;
        Ok(())
    }

    /// Maps twice as much, and moves the values there.
    fn grow(&mut self) -> Result<(), Errno> {
        let size = self.mapped.saturating_mul(2).max(Self::FIRST);
        let length = size.try_into().map_err(|_| Errno::ENOMEM)?;
        let address = map(length, MapFlags::MAP_PRIVATE)?.cast();
        if self.mapped > 0 {
            // SAFETY: so many values were written, and the new mapping, which is another one,
            // has room for them. No reference to the old one lives, as `self` is borrowed
            // mutably.
            unsafe {
                address.copy_from_nonoverlapping(self.start, self.length);
                let _ = munmap(self.start.cast(), self.mapped);
            }
        }
        self.start = address;
        self.mapped = size;
        Ok(())
    }
}

impl<T: Copy> Default for MappedVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy> Deref for MappedVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: so many values were written; `self` is borrowed as long as they are.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T: Copy> DerefMut for MappedVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `self` alone refers to the mapping.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_as_the_list_grows() {
        let mut list = MappedVec::new();
        assert!(list.is_empty());
        for number in 0..100_000_u64 {
            list.push([number, !number]).unwrap();
        }
        assert_eq!(list.len(), 100_000);
        assert!((0..).zip(list.iter()).all(|(number, value)| *value == [number, !number]));
        list[7][0] = 1;
        assert_eq!(list[7], [1, !7]);
    }
}
