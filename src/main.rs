//! C's entry into sexton. There is no Rust `main`: std's runtime would ignore SIGPIPE,
//! install handlers and allocate before our first line runs.

#![no_main]
#![deny(unsafe_code)]

use std::ffi::{c_char, c_int};

use sexton::sys::args::{Arguments, Environment};
use sexton::sys::process::{OwnProcess, exit};

/// Called by the C library, which reads `envp` from the same stack as `argv`.
#[allow(unsafe_code)]
// SAFETY: no other code in the program defines `main`.
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *mut *mut c_char, envp: *mut *mut c_char) -> c_int {
    // SAFETY: these are the vectors that the kernel laid out for this process; no other
    // code has touched them, and they stay where they are until it ends. No other code has
    // made a thread or opened a descriptor.
    let (process, arguments, environment) =
        unsafe { (OwnProcess::new(), Arguments::new(argc, argv), Environment::new(envp)) };
    exit(sexton::run(&process, arguments, environment))
}
