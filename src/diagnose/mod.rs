//! What /proc and the kernel's accounting say of processes.

#![forbid(unsafe_code)]

pub mod cgroup;
pub mod json;
pub mod orphans;
pub mod procfs;
pub mod sort;
pub mod termination;
pub mod zombies;
