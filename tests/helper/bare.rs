//! A role that runs while a seccomp filter refuses any one system call. Rust's runtime would
//! abort without some of them, so this comes before it and does without: it looks at no
//! result, and allocates nothing.

use std::ffi::{CStr, c_char, c_int};
use std::io::Write;

use crate::system::exit;

/// Called by the C library before `main`, with the same arguments.
// SAFETY: the section holds pointers to such functions.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = before_main;

extern "C" fn before_main(count: c_int, arguments: *const *const c_char, _: *const *const c_char) {
    // SAFETY: these are the arguments, of which number 1 is there.
    if count > 1 && unsafe { CStr::from_ptr(*arguments.add(1)) } == c"bare" {
        play();
    }
}

fn play() -> ! {
    // SAFETY: has no memory effect. The C library's own fork is more than a bare call, and
    // this is before its start is over; it has one thread.
    unsafe {
        let parent = libc::fork();
        if parent == 0 {
            if libc::fork() == 0 {
                exit(3);
            }
            if libc::fork() == 0 {
                libc::setsid();
                print_ready();
                wait_for_signals();
            }
            exit(0);
        }
        libc::waitpid(parent, std::ptr::null_mut(), 0);
    }
    wait_for_signals()
}

fn print_ready() {
    let mut line = [0; 32];
    let mut rest = line.as_mut_slice();
    let _ = writeln!(rest, "ready {}", std::process::id());
    let length = 32 - rest.len();
    let piece = libc::iovec { iov_base: line.as_mut_ptr().cast(), iov_len: length };
    // SAFETY: that much of the line is written. By another call where one is refused.
    unsafe {
        if libc::write(1, line.as_ptr().cast(), length) < 0 {
            libc::writev(1, &raw const piece, 1);
        }
    };
}

/// By two calls, as one of them may be refused.
fn wait_for_signals() -> ! {
    loop {
        // SAFETY: neither has an effect on memory.
        unsafe {
            libc::pause();
            libc::sleep(1);
        }
    }
}
