//! What the suites share.

// Each suite uses a part of it.
#![allow(dead_code, unused_imports)]

pub(crate) mod harness;
pub(crate) mod json;
pub(crate) mod process;
pub(crate) mod protocol;
pub(crate) mod screen;
pub(crate) mod signal;
pub(crate) mod wait;
