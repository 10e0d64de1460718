//! What one types at a terminal, and waits for there.

use std::ffi::OsString;

use crate::support::*;

/// Ctrl-C, Ctrl-Z and Ctrl-\ as they are typed.
pub(crate) const INTR: &str = "\x03";
pub(crate) const SUSP: &str = "\x1a";
pub(crate) const QUIT: &str = "\x1c";

/// A command that answers what is typed, which the terminal's echo does not.
pub(crate) const READER: &str = "sed -u s/^/got-/\n";

/// An interactive bash, without what a person's configuration would add.
pub(crate) fn bash() -> Vec<OsString> {
    words(&["bash", "--norc", "--noprofile", "--noediting", "-i"])
}

pub(crate) fn on(screen: &Screen, init: Init) -> Init {
    let init = init.given(screen.on(&[0, 1, 2]));
    let mut sexton = sexton().into_os_string();
    for argument in crate::peer::arguments(&[], &[Ask::AdoptOrphans]) {
        sexton.push(" ");
        sexton.push(argument);
    }
    init.env("PS1", "prompt> ").env("TERM", "dumb").env_remove("PROMPT_COMMAND").env("SEXTON", sexton)
}

/// An interactive bash in sexton's place, which it is to be started from.
pub(crate) fn from_a_shell(screen: &mut Screen) -> Running {
    let running = on(screen, Init::pid1(&[]).without_init()).start(bash());
    screen.shows("prompt> ");
    running
}

/// A shell behind `prompt` answers a command of which the echo does not show what it
/// prints.
pub(crate) fn answers(screen: &mut Screen, prompt: &str, word: &str) {
    screen.types(&format!("echo {word}-$((40 + 2))\n"));
    screen.shows(&format!("{word}-42"));
    screen.shows(prompt);
}

/// The last job's exit code, as the shell knows it.
pub(crate) fn code_is(screen: &mut Screen, code: u8) {
    screen.types("echo code-$?\n");
    screen.shows(&format!("code-{code}"));
    screen.shows("prompt> ");
}

/// A Ctrl-Z stops the job in the foreground, and the shell has the terminal.
pub(crate) fn suspends(screen: &mut Screen, prompt: &str) {
    screen.types(SUSP);
    screen.shows("Stopped");
    screen.shows(prompt);
}

/// Lets the shell wait until its jobs are in this state.
pub(crate) fn jobs_become(screen: &mut Screen, state: &str) {
    screen.types(&format!("until jobs | grep -q {state}; do sleep 0.01; done; echo it-$((1 + 1))\n"));
    screen.shows("it-2");
    screen.shows("prompt> ");
}

/// An interactive shell behind `prompt` stops, continues and interrupts a job.
pub(crate) fn has_job_control(screen: &mut Screen, prompt: &str) {
    screen.types("case $- in *m*) echo jobs-$((1 + 1));; esac\n");
    screen.shows("jobs-2");
    screen.types(READER);
    screen.types("first\n");
    screen.shows("got-first");
    suspends(screen, prompt);
    screen.types("fg\n");
    screen.types("second\n");
    screen.shows("got-second");
    screen.types(INTR);
    screen.shows(prompt);
    answers(screen, prompt, "alive");
}

/// A plain command that prints `up-2` once it runs.
pub(crate) const PLAIN: &str = "echo up-$((1 + 1)); exec sleep 1000";

pub(crate) fn plain(screen: &mut Screen, init: Init) -> Running {
    let running = on(screen, init).start(shell(PLAIN));
    screen.shows("up-2");
    running
}
