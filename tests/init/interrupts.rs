//! Ctrl-C and Ctrl-\ at scripts that run their steps under sexton.

use crate::at_terminal::*;
use crate::support::*;

with_each_shell![
    an_interrupt_ends_the_script,
    an_interrupt_ends_a_script_within_sextons,
    an_interrupt_ends_a_script_that_runs_a_pipeline,
    an_interrupt_that_is_sent_ends_one_step,
    a_command_that_handles_the_interrupt_ends_one_step,
    remapping_hides_the_interrupt,
    an_interrupt_reaches_no_other_session,
];

/// Runs a script of two steps from an interactive shell, and sees the first one run.
fn first_step(shell: Shell, screen: &mut Screen, step: &str) -> Running {
    let running = shell.start(screen);
    screen.types(&format!("{} '{step}; echo next-$((1 + 1))'\n", shell.script()));
    screen.shows("up-2");
    running
}

/// The first step ends, and the script with it; the shell is at its prompt.
fn script_ends(screen: &mut Screen, code: u8) {
    let shown = screen.shows("prompt> ");
    assert!(!shown.contains("next-2"), "{shown:?}");
    code_is(screen, code);
}

const SLEEP: &str = "sh -c \"echo up-\\$((1 + 1)); exec sleep 1000\"";

fn an_interrupt_ends_the_script(shell: Shell) {
    for options in ["", "-m", "-c", "-t 1h"] {
        let mut screen = Screen::new();
        let _running = first_step(shell, &mut screen, &format!("$SEXTON {options} {SLEEP}"));
        screen.types(INTR);
        script_ends(&mut screen, 130);
    }
    // The others ignore it.
    if shell == Shell::Dash {
        let mut screen = Screen::new();
        let _running = first_step(shell, &mut screen, &format!("$SEXTON {SLEEP}"));
        screen.types(QUIT);
        script_ends(&mut screen, 131);
    }
}

fn an_interrupt_ends_a_script_within_sextons(shell: Shell) {
    let mut screen = Screen::new();
    let _running = first_step(shell, &mut screen, &format!("$SEXTON $SEXTON {SLEEP}"));
    screen.types(INTR);
    script_ends(&mut screen, 130);
}

fn an_interrupt_ends_a_script_that_runs_a_pipeline(shell: Shell) {
    for step in [format!("true | $SEXTON {SLEEP}"), format!("$SEXTON {SLEEP} | cat")] {
        let mut screen = Screen::new();
        let _running = first_step(shell, &mut screen, &step);
        screen.types(INTR);
        script_ends(&mut screen, 130);
    }
}

fn an_interrupt_that_is_sent_ends_one_step(shell: Shell) {
    let mut screen = Screen::new();
    let running = first_step(shell, &mut screen, &format!("$SEXTON {SLEEP}"));
    kill(sexton_under(running.pid), SIGINT).unwrap();
    screen.shows("next-2");
    screen.shows("prompt> ");
    code_is(&mut screen, 0);
}

fn a_command_that_handles_the_interrupt_ends_one_step(shell: Shell) {
    let mut screen = Screen::new();
    let handles = "sh -c \"trap \\\"exit 3\\\" INT; echo up-\\$((1 + 1)); while :; do read x; done\"";
    let _running = first_step(shell, &mut screen, &format!("$SEXTON {handles}"));
    screen.types(INTR);
    screen.shows("next-2");
    screen.shows("prompt> ");
    code_is(&mut screen, 0);
}

fn remapping_hides_the_interrupt(shell: Shell) {
    let mut screen = Screen::new();
    let _running = shell.start(&mut screen);
    screen.types(&format!("$SEXTON -e 130 {SLEEP}\n"));
    screen.shows("up-2");
    screen.types(INTR);
    screen.shows("prompt> ");
    code_is(&mut screen, 0);
}

/// What the keyboard sends is for the foreground: a process in another session that sexton
/// waits for gets no INT.
fn an_interrupt_reaches_no_other_session(shell: Shell) {
    let mut screen = Screen::new();
    let running = shell.start(&mut screen);
    let straggler =
        play(Role::LeaveBehind { straggler: vec![Straggler::Session], code: 0, work: MILLISECOND });
    let straggler: Vec<_> = straggler.into_iter().map(|word| word.into_string().unwrap()).collect();
    screen.types(&format!("$SEXTON -a sh -c '{}; {PLAIN}'\n", straggler.join(" ")));
    screen.shows("up-2");
    let sexton = sexton_under(running.pid);
    descendant(sexton, "sleep");
    screen.types(INTR);
    wait_until("the command has exited", || descendants(sexton, "sleep").is_empty());
    // sexton has passed the Ctrl-C on by now, if it has at all.
    wait_until("sexton waits", || is_in_state(sexton, 'S'));
    kill(sexton, SIGUSR1).unwrap();
    let shown = screen.shows("straggler SIGUSR1");
    assert!(!shown.contains("SIGINT"), "{shown:?}");
    kill(sexton, SIGTERM).unwrap();
    screen.shows("last line");
    screen.shows("prompt> ");
    code_is(&mut screen, 130);
}
