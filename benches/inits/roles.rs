//! What the inits run: this binary with `--play ROLE`.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Instant;

pub(crate) fn play(words: &[String]) -> ExitCode {
    match words[0].as_str() {
        "rest" => {
            say("ready");
            wait_for_end_of_input();
        }
        "storm" => storm(words[1].parse().expect("a number")),
        "echo" => echo(),
        other => panic!("no role {other:?}"),
    }
    ExitCode::SUCCESS
}

fn say(line: &str) {
    let mut out = io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("stdout");
}

fn wait_for_end_of_input() {
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

/// Makes COUNT orphans that wait for the end of a pipe, and lets them exit at once when a
/// line arrives. Prints how many microseconds it took until none of them was left.
fn storm(count: usize) {
    let mut orphans = Vec::with_capacity(count);
    let mut hold = [0; 2];
    let mut report = [0; 2];
    // SAFETY: one thread; plain system calls, whose pointers are to locals.
    unsafe {
        assert_eq!(libc::pipe(hold.as_mut_ptr()) | libc::pipe(report.as_mut_ptr()), 0);
        for _ in 0..count {
            let parent = libc::fork();
            assert!(parent >= 0);
            if parent == 0 {
                let orphan = libc::fork();
                if orphan == 0 {
                    libc::close(hold[1]);
                    let mut byte = 0_u8;
                    libc::read(hold[0], (&raw mut byte).cast(), 1);
                } else {
                    libc::write(report[1], (&raw const orphan).cast(), size_of_val(&orphan));
                }
                libc::_exit(0);
            }
            let mut orphan: libc::pid_t = 0;
            libc::read(report[0], (&raw mut orphan).cast(), size_of_val(&orphan));
            assert!(orphan > 0);
            orphans.push(orphan);
            libc::waitpid(parent, std::ptr::null_mut(), 0);
        }
        say("ready");
        let mut line = String::new();
        io::stdin().read_line(&mut line).expect("the word to go");
        let start = Instant::now();
        libc::close(hold[1]);
        // A zombie can still be signalled; one that was reaped cannot.
        for orphan in orphans {
            while libc::kill(orphan, 0) == 0 {
                libc::sched_yield();
            }
        }
        say(&(start.elapsed().as_secs_f64() * 1e6).to_string());
    }
    wait_for_end_of_input();
}

/// Answers each USR1 with a byte, until the end of the input.
fn echo() {
    // SAFETY: the set is initialised before it is used.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        say("ready");
        std::thread::spawn(|| {
            wait_for_end_of_input();
            std::process::exit(0);
        });
        loop {
            let mut signal = 0;
            libc::sigwait(&raw const set, &raw mut signal);
            libc::write(1, b".".as_ptr().cast(), 1);
        }
    }
}
