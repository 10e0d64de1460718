//! A shell script that waits for a program: TERM ends the script at once, or, where it has a
//! trap for that, when the program has ended.

use crate::advice::{Advice, Scope};
use crate::site::{Site, python};
use crate::support::*;

pub(crate) const PLAIN: Advice =
    Advice { program: "a shell script, with `-t`", scope: Scope::Either, signal: SIGTERM, status: 143 };
pub(crate) const WITH_TRAP: Advice =
    Advice { program: "a shell script that traps TERM", scope: Scope::Group, signal: SIGTERM, status: 0 };

crate::tests![
    with("python3") term_lets_the_program_finish_in_its_grace,
    with("python3") term_loses_the_program_without_grace,
    with("python3") a_trap_lets_the_program_finish,
    with("python3") a_trap_keeps_the_program_from_the_signal_without_the_group,
    with("python3") exec_makes_the_program_the_command,
];

/// Stops a script amid its program, which finishes or not.
fn stop(options: &[&str], script: &str, finishes: bool) -> Option<i32> {
    let site = Site::with_saver();
    let script = script.replace("PROGRAM", &format!("{} {}", python(), site.path("saver.py")));
    let mut running = site.start(options, &["sh", "-c", &script]);
    let visitor = site.visitor();
    running.signal(SIGTERM);
    if finishes {
        wait_until("the program was asked", || site.terms() > 0);
        visitor.release();
    } else {
        visitor.leaves();
    }
    let status = running.status();
    assert_eq!(site.is_saved(), finishes, "{options:?}");
    if options.contains(&"-c") && !finishes {
        assert_eq!(site.terms(), 0);
    }
    status.code()
}

fn term_lets_the_program_finish_in_its_grace() {
    for option in PLAIN.scope.options() {
        assert_eq!(stop(&[option, "-t", "60"], "PROGRAM; echo next", true), Some(PLAIN.status));
    }
}

fn term_loses_the_program_without_grace() {
    for option in ["-g", "-c"] {
        assert_eq!(stop(&[option], "PROGRAM; echo next", false), Some(143));
    }
}

const TRAP: &str = "trap 'stopped=1' TERM; PROGRAM; exit 0";

fn a_trap_lets_the_program_finish() {
    for option in WITH_TRAP.scope.options() {
        assert_eq!(stop(&[option], TRAP, true), Some(WITH_TRAP.status));
    }
}

/// The shell runs the trap when the program has ended, which has not been asked to.
fn a_trap_keeps_the_program_from_the_signal_without_the_group() {
    assert_eq!(stop(&["-c", "-k", "300ms"], TRAP, false), Some(137));
}

fn exec_makes_the_program_the_command() {
    for option in ["-g", "-c"] {
        assert_eq!(stop(&[option], "exec PROGRAM", true), Some(0));
    }
}
