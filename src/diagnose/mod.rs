//! What /proc and the kernel's accounting report of processes.

#![forbid(unsafe_code)]

pub mod orphans;
pub mod procfs;
pub mod termination;
pub mod zombies;
