//! sexton's command as a part of a shell's pipeline, of which another part uses the terminal.

use crate::at_terminal::*;
use crate::support::*;

with_each_shell![
    a_pager_shows_what_the_command_writes,
    a_pager_that_reads_to_the_end_keeps_the_terminal,
    a_pager_may_come_first,
    a_pager_is_suspended_and_resumed,
    an_interrupt_reaches_all_of_a_pipeline,
    the_first_part_reads_the_terminal,
    the_command_and_another_part_both_read_the_terminal,
    a_pipeline_in_the_background_stops_for_the_terminal,
];

/// Shows the numbers up to 99999, which the terminal does not echo as such.
const NUMBERS: &str = "seq $((99990 + 9))";
/// By its path: busybox has one of its own.
const LESS: &str = "TERM=xterm $(which less)";

fn leaves(screen: &mut Screen) {
    screen.types("q");
    screen.shows("prompt> ");
    answers(screen, "prompt> ", "shell");
}

fn a_pager_shows_what_the_command_writes(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start(&mut screen);
    // Many times: which of the two is first is for the scheduler to decide.
    for _ in 0..5 {
        screen.types(&format!("$SEXTON {NUMBERS} | {LESS}\n"));
        screen.shows("23");
        screen.types(" ");
        screen.shows("46");
        does_not_spin(sexton_under(running.pid));
        leaves(&mut screen);
    }
}

fn a_pager_that_reads_to_the_end_keeps_the_terminal(shell: Shell) {
    let mut screen = Screen::new();
    let _running = shell.start(&mut screen);
    screen.types(&format!("$SEXTON {NUMBERS} | {LESS}\n"));
    screen.shows("23");
    screen.types("G");
    screen.shows("99999");
    // The command has exited.
    screen.types("1G");
    screen.shows("23");
    leaves(&mut screen);
}

fn a_pager_may_come_first(shell: Shell) {
    let mut screen = Screen::new();
    let _running = shell.start(&mut screen);
    screen.types(&format!("{{ sleep 0.1; $SEXTON {NUMBERS}; }} | {LESS}\n"));
    screen.shows("23");
    screen.types("G");
    screen.shows("99999");
    leaves(&mut screen);
}

fn a_pager_is_suspended_and_resumed(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start(&mut screen);
    screen.types(&format!("$SEXTON {NUMBERS} | {LESS}\n"));
    screen.shows("23");
    let less = descendant(running.pid, "less");
    for _ in 0..3 {
        // It heeds a Ctrl-Z when it waits for a key.
        screen.shows(":");
        wait_until("less waits", || is_in_state(less, 'S'));
        suspends(&mut screen, "prompt> ");
        answers(&mut screen, "prompt> ", "between");
        screen.types("fg\n");
        screen.shows("23");
    }
    leaves(&mut screen);
}

fn an_interrupt_reaches_all_of_a_pipeline(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start(&mut screen);
    // Busybox has one of its own, by which nothing comes through.
    screen.types("CAT=$(which cat)\n");
    screen.shows("prompt> ");
    for pipeline in
        ["$SEXTON cat | $CAT", "$CAT | $SEXTON cat", "$SEXTON cat | $SEXTON cat", "sleep 1000 | $SEXTON cat"]
    {
        screen.types(&format!("{pipeline}; echo next-$((1 + 1))\n"));
        // What is typed before the shell has left the terminal to them may be lost.
        wait_until("the command runs", || !children_of(sexton_under(running.pid)).is_empty());
        if !pipeline.starts_with("sleep") {
            screen.types("line\n");
            screen.shows("line\r\nline\r\n");
        }
        screen.types(INTR);
        screen.shows("prompt> ");
        answers(&mut screen, "prompt> ", "shell");
    }
}

fn the_first_part_reads_the_terminal(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start(&mut screen);
    screen.types("{ read x; echo got-$x; } </dev/tty | $SEXTON cat\n");
    descendant(sexton_under(running.pid), "cat");
    screen.types("line\n");
    screen.shows("got-line");
    screen.shows("prompt> ");
    answers(&mut screen, "prompt> ", "shell");
}

fn the_command_and_another_part_both_read_the_terminal(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start(&mut screen);
    screen.types("tee /dev/stderr </dev/tty | $SEXTON cat /dev/tty\n");
    descendant(sexton_under(running.pid), "cat");
    for line in ["one", "two", "three", "four"] {
        screen.types(&format!("{line}\n"));
        screen.shows(&format!("{line}\r\n{line}\r\n"));
    }
    does_not_spin(sexton_under(running.pid));
    let tee = descendant(running.pid, "tee");
    screen.types(INTR);
    // dash, which has seen it stopped once, does not wait for that.
    wait_until("tee ends", || has_ended(tee));
    screen.shows("prompt> ");
    answers(&mut screen, "prompt> ", "shell");
}

fn a_pipeline_in_the_background_stops_for_the_terminal(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start(&mut screen);
    // less waits until sexton runs: before that, the shell's child is what it would stop, or
    // not, as the shell itself ignores these signals.
    let directory = tempfile::tempdir().unwrap();
    let flag = directory.path().join("flag");
    let flag = flag.display();
    screen.types(&format!(
        "$SEXTON sh -c \"touch {flag}; exec {NUMBERS}\" | {{ until test -e {flag}; do sleep 0.01; done; {LESS}; }} &\n"
    ));
    screen.shows("prompt> ");
    let sexton = sexton_under(running.pid);
    wait_until("all of it stops", || is_in_state(sexton, 'T'));
    screen.types("fg\n");
    screen.shows("23");
    leaves(&mut screen);
}
