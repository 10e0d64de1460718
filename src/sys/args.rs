//! The vectors of arguments and environment variables, as the kernel laid them out on
//! the stack. Neither is ever copied.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The arguments. The command's are the tail of sexton's.
#[derive(Clone, Copy)]
pub struct Arguments {
    count: usize,
    vector: *mut *mut c_char,
}

impl Arguments {
    /// Takes `main`'s argc and argv.
    ///
    /// # Safety
    ///
    /// `vector` must point to `count` strings and a null pointer, all of which live as
    /// long as the process and are written by no other code.
    pub unsafe fn new(count: c_int, vector: *mut *mut c_char) -> Self {
        Self { count: usize::try_from(count).unwrap_or(0), vector }
    }

    /// The argument with this index; the program's own name is number 0.
    pub fn get(self, index: usize) -> Option<&'static CStr> {
        if index >= self.count {
            return None;
        }
        // SAFETY: `new` was promised `count` strings that live for ever.
        Some(unsafe { CStr::from_ptr(*self.vector.add(index)) })
    }

    /// The vector from this index on, as `execve(2)` takes it.
    pub(super) fn tail(self, index: usize) -> *const *const c_char {
        // SAFETY: the null pointer at the end is still within the vector.
        unsafe { self.vector.add(index.min(self.count)).cast() }
    }

    /// Puts another string in place of an argument, and returns the one that was there.
    ///
    /// # Safety
    ///
    /// `string` must live for as long as the argument may be read.
    pub(super) unsafe fn replace(self, index: usize, string: *mut c_char) -> Option<*mut c_char> {
        if index >= self.count {
            return None;
        }
        // SAFETY: the index is within the vector; the caller answers for the string.
        unsafe { Some(self.vector.add(index).replace(string)) }
    }
}

/// The environment variables.
#[derive(Clone, Copy)]
pub struct Environment {
    vector: *mut *mut c_char,
}

/// The position of a variable in the vector. Only [`Environment::find`] makes one.
#[derive(Clone, Copy)]
pub struct EnvSlot(usize);

impl Environment {
    /// Takes `main`'s envp.
    ///
    /// # Safety
    ///
    /// `vector` must point to strings and a null pointer, all of which live as long as
    /// the process and are written by no other code.
    pub unsafe fn new(vector: *mut *mut c_char) -> Self {
        Self { vector }
    }

    fn entry(self, index: usize) -> Option<&'static CStr> {
        // SAFETY: callers count up from 0 and stop at the null pointer, which `new` was
        // promised; what stands before it are strings that live for ever.
        unsafe {
            let string = *self.vector.add(index);
            if string.is_null() { None } else { Some(CStr::from_ptr(string)) }
        }
    }

    /// The place and the value of the first variable with this name.
    pub fn find(self, name: &str) -> Option<(EnvSlot, &'static [u8])> {
        let entries = (0..).map_while(|index| Some((index, self.entry(index)?)));
        for (index, entry) in entries {
            let value = entry.to_bytes().strip_prefix(name.as_bytes());
            if let Some([b'=', value @ ..]) = value {
                return Some((EnvSlot(index), value));
            }
        }
        None
    }

    /// The value of the first variable with this name.
    pub fn get(self, name: &str) -> Option<&'static [u8]> {
        self.find(name).map(|(_, value)| value)
    }

    /// Puts a copy of `entry` in place of a variable. There is room for a few short
    /// entries; where there is none left, the variable stays as it is.
    pub fn replace(self, slot: EnvSlot, entry: &CStr) {
        let Some(place) = Replacement::take(entry.to_bytes_with_nul()) else { return };
        // SAFETY: the slot is within the vector that `new` was given, even where `remove`
        // has shortened the list in it since.
        unsafe { *self.vector.add(slot.0) = place }
    }

    /// Removes all variables with this name. Those behind them move up.
    pub fn remove(self, name: &str) {
        while let Some((EnvSlot(mut index), _)) = self.find(name) {
            // SAFETY: `find` stops before the null pointer; this stops with it.
            unsafe {
                while !(*self.vector.add(index)).is_null() {
                    *self.vector.add(index) = *self.vector.add(index + 1);
                    index += 1;
                }
            }
        }
    }

    /// The vector, as `execve(2)` takes it.
    pub(super) fn vector(self) -> *const *const c_char {
        self.vector.cast()
    }
}

/// Where [`Environment::replace`] keeps an entry. `WATCHDOG_PID=` and a PID fit.
struct Replacement(UnsafeCell<[u8; Self::SIZE]>);

// SAFETY: `take` hands each one out once.
unsafe impl Sync for Replacement {}

impl Replacement {
    const SIZE: usize = 32;

    fn take(bytes: &[u8]) -> Option<*mut c_char> {
        static PLACES: [Replacement; 4] = [const { Replacement(UnsafeCell::new([0; 32])) }; 4];
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        if bytes.len() > Self::SIZE {
            return None;
        }
        let place = PLACES.get(TAKEN.fetch_add(1, Ordering::Relaxed))?.0.get();
        // SAFETY: this place was handed out to no other caller, and the bytes fit.
        unsafe {
            place.cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        Some(place.cast())
    }
}
