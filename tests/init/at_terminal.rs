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

/// A shell that people use.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shell {
    Bash,
    Dash,
    Busybox,
}

impl Shell {
    /// Its name with the options that make it run a script.
    pub(crate) fn script(self) -> &'static str {
        match self {
            Self::Bash => "bash -c",
            Self::Dash => "dash -c",
            Self::Busybox => "busybox sh -c",
        }
    }

    /// Starts it, interactive, at a terminal. PID 1 is in another session, as it is on a
    /// host: so a job that its shell has left is an orphaned process group.
    pub(crate) fn start(self, screen: &mut Screen) -> Running {
        self.start_by(screen, Init::pid1(&[]))
    }

    pub(crate) fn start_by(self, screen: &mut Screen, init: Init) -> Running {
        screen.resize(24, 80);
        let running = on(screen, init).start(match self {
            Self::Bash => bash(),
            Self::Dash => words(&["dash", "-i"]),
            Self::Busybox => words(&["busybox", "sh", "-i"]),
        });
        screen.shows("prompt> ");
        running
    }
}

/// Tests that are the same with each shell, which they are given.
macro_rules! with_each_shell {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn tests() -> Vec<crate::Test> {
            use crate::{Test, at_terminal::Shell};
            vec![$(
                Test::with("bash", concat!(stringify!($name), "::bash"), || $name(Shell::Bash)),
                Test::with("dash", concat!(stringify!($name), "::dash"), || $name(Shell::Dash)),
                Test::with("busybox", concat!(stringify!($name), "::busybox"), || $name(Shell::Busybox)),
            )*]
        }
    };
}
pub(crate) use with_each_shell;

/// The descendants of a process that run a program of this name, parents before children.
pub(crate) fn descendants(pid: i32, name: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for child in children_of(pid) {
        if status_field(child.pid, "Name") == name {
            found.push(child.pid);
        }
        found.extend(descendants(child.pid, name));
    }
    found
}

/// Waits for a descendant of this name, and returns the first.
pub(crate) fn descendant(pid: i32, name: &str) -> i32 {
    wait_until(name, || !descendants(pid, name).is_empty());
    descendants(pid, name)[0]
}

/// The sexton that a shell has started.
pub(crate) fn sexton_under(pid: i32) -> i32 {
    descendant(pid, sexton().file_name().unwrap().to_str().unwrap())
}

/// Sees that a process is not scheduled all the time.
pub(crate) fn does_not_spin(pid: i32) {
    let switches = || -> u64 {
        let count = |name| status_field(pid, name).parse::<u64>().expect("a count");
        count("voluntary_ctxt_switches") + count("nonvoluntary_ctxt_switches")
    };
    let (start, before) = (std::time::Instant::now(), switches());
    wait_until("a while is over", || start.elapsed() > 300 * MILLISECOND);
    let more = switches() - before;
    assert!(more < 100, "{more} context switches within {:?}", start.elapsed());
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

/// Whether a process's group has the foreground of its terminal.
pub(crate) fn has_foreground(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    fields.len() > 5 && fields[2] == fields[5]
}

/// Whether a process has exited, be it that its parent has not noticed that.
pub(crate) fn has_ended(pid: i32) -> bool {
    process(pid).is_none_or(|process| process.state == 'Z')
}
