//! The table of options. The parser and `--help` are made from it, and tests compare the
//! manual and the README with it.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};

use nix::errno::Errno;

use crate::log::{Column, Escaped, print_line};
use crate::supervise::forward::Scope;

/// An option.
pub struct Opt {
    /// Its letter, if it has one.
    pub short: Option<u8>,
    /// Its name, without the dashes.
    pub long: &'static str,
    /// Whether it takes a value.
    pub arity: Arity,
    /// What it does, in one line of the help.
    pub help: &'static str,
    pub(super) id: OptionId,
}

/// Whether an option takes a value, and what the value is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arity {
    /// None.
    Flag,
    /// One, attached or the next word.
    Required(&'static str),
    /// One, attached with `=`, or none.
    Optional(&'static str),
}

/// What an option changes.
#[derive(Clone, Copy)]
pub(super) enum OptionId {
    Scope(Scope),
    Rewrite,
    ParentDeathSignal,
    Subreaper,
    MirrorSignal,
    RemapExit,
    Delay,
    KillAfter,
    StopSignal,
    Timeout,
    Grace,
    WaitAll,
    Pause,
    WarnOnReap,
    Report,
    Zombies,
    Top,
    Format,
    TerminationLog,
    Install,
    Verbose,
    Info(InfoPage),
}

/// What can be printed instead of running a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InfoPage {
    /// `-h`
    Help,
    /// `-V`
    Version,
    /// `-l`
    License,
}

use Arity::{Flag, Optional, Required};

/// All of them, in the order of the help.
#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    opt(b'c', "single-child", Flag, OptionId::Scope(Scope::Command), "forward signals to the command alone"),
    opt(b'g', "group", Flag, OptionId::Scope(Scope::Group), "forward to its process group (the default)"),
    opt(b'A', "all", Flag, OptionId::Scope(Scope::Everything), "forward to everything that runs below sexton"),
    opt(b'r', "rewrite", Required("FROM:TO"), OptionId::Rewrite, "forward TO in place of FROM; 0 drops it"),
    opt(b'p', "parent-death-signal", Required("SIG"), OptionId::ParentDeathSignal, "receive SIG when the parent dies"),
    opt(b's', "subreaper", Flag, OptionId::Subreaper, "adopt orphans when not PID 1 (the default)"),
    opt(b'm', "mirror-signal", Flag, OptionId::MirrorSignal, "if a signal killed it, die by the same signal"),
    opt(b'e', "remap-exit", Required("CODE"), OptionId::RemapExit, "exit 0 instead of CODE (0-255)"),
    opt(b'd', "delay", Required("TIME"), OptionId::Delay, "delay the first stop signal by TIME"),
    opt(b'k', "kill-after", Required("TIME"), OptionId::KillAfter, "send KILL TIME after the stop signal"),
    Opt { short: None, long: "stop-signal", arity: Required("SIG"), id: OptionId::StopSignal, help: "take SIG for one, not TERM and INT" },
    opt(b'x', "timeout", Required("TIME"), OptionId::Timeout, "after TIME, as if TERM had arrived; exit 124"),
    opt(b't', "grace", Required("TIME"), OptionId::Grace, "when it exits: TERM the rest, KILL after TIME"),
    opt(b'a', "wait-all", Flag, OptionId::WaitAll, "when it exits: wait for everything else"),
    opt(b'P', "pause", Flag, OptionId::Pause, "run no command: reap until TERM or INT"),
    opt(b'w', "warn-on-reap", Flag, OptionId::WarnOnReap, "print a line for every orphan reaped"),
    opt(b'R', "report", Flag, OptionId::Report, "at exit, print a table of the orphans by name"),
    opt(b'z', "zombies", Optional("MAX"), OptionId::Zombies, "list zombies by holder; exit 1 if over MAX"),
    Opt { short: None, long: "top", arity: Optional("TIME"), id: OptionId::Top, help: "report CPU use, growth, limits, in TIME (2 s)" },
    Opt { short: None, long: "format", arity: Required("FORMAT"), id: OptionId::Format, help: "of -z, --top and -R: text, or json" },
    opt(b'T', "termination-log", Optional("PATH"), OptionId::TerminationLog, "on failure, write one line to PATH"),
    Opt { short: None, long: "install", arity: Required("PATH"), id: OptionId::Install, help: "copy this program to PATH and exit" },
    opt(b'v', "verbose", Flag, OptionId::Verbose, "log more on standard error, up to -vvv"),
    opt(b'h', "help", Flag, OptionId::Info(InfoPage::Help), "print this help and exit"),
    opt(b'V', "version", Flag, OptionId::Info(InfoPage::Version), "print the version and exit"),
    opt(b'l', "license", Flag, OptionId::Info(InfoPage::License), "print the license and exit (also -L)"),
];

const fn opt(short: u8, long: &'static str, arity: Arity, id: OptionId, help: &'static str) -> Opt {
    Opt { short: Some(short), long, arity, help, id }
}

const BEFORE_OPTIONS: &str = "\
Usage: sexton [OPTION]... [--] COMMAND [ARG]...
PID 1 for containers: start COMMAND, forward every signal to it, reap every
orphan, and exit as it did.
";

const AFTER_OPTIONS: &str = "
A signal is a number, a name (TERM, sigterm) or RTMIN+N, RTMAX-N (34 to 64).
A time is a decimal number with an optional ms, s (the default), m or h.
SEXTON_OPTIONS holds options that are read before those of the command line.

Exit status: the command's own, 128+N if signal N killed it; 127 command not
found, 126 found but not executable, 125 sexton failed or usage error.";

/// Prints the help.
pub(super) fn print_help() -> Result<(), Errno> {
    print_line(format_args!("{BEFORE_OPTIONS}"))?;
    for option in OPTIONS {
        print_line(format_args!("{}{}", Column(Usage(option), HELP_COLUMN), option.help))?;
    }
    print_line(format_args!("{AFTER_OPTIONS}"))
}

/// An option as the help has it: `  -p, --parent-death-signal SIG`.
struct Usage<'a>(&'a Opt);

impl Display for Usage<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self.0.short {
            Some(letter) => write!(f, "  -{}, --", Escaped(&[letter]))?,
            None => f.write_str("      --")?,
        }
        f.write_str(self.0.long)?;
        match self.0.arity {
            Flag => Ok(()),
            Required(value) => write!(f, " {value}"),
            Optional(value) => write!(f, "[={value}]"),
        }
    }
}

/// Where the descriptions begin.
const HELP_COLUMN: usize = "  -p, --parent-death-signal SIG  ".len();

/// The option with this letter.
pub(super) fn find_short(letter: u8) -> Option<&'static Opt> {
    // tini has -l for its license, others have -L.
    let letter = if letter == b'L' { b'l' } else { letter };
    OPTIONS.iter().find(|option| option.short == Some(letter))
}

/// The option with this name.
pub(super) fn find_long(name: &[u8]) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.long.as_bytes() == name)
}

/// The name that a mistyped one was probably meant to be: the nearest, if few letters
/// differ.
pub(super) fn nearest(name: &[u8]) -> Option<&'static str> {
    let most = if name.len() < 5 { 1 } else { 2 };
    let distances =
        OPTIONS.iter().filter_map(|option| Some((distance(name, option.long.as_bytes())?, option.long)));
    distances
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, long)| long)
}

/// How many letters to insert, remove or replace to make one word of the other. None for
/// words that are longer than any option.
fn distance(word: &[u8], other: &[u8]) -> Option<usize> {
    const LONGEST: usize = 24;
    // The row of the table of distances between the beginnings of both words, for the
    // letters of `word` so far.
    let mut row = [0; LONGEST + 1];
    if word.len() > LONGEST || other.len() > LONGEST {
        return None;
    }
    for (place, count) in row.iter_mut().zip(0..) {
        *place = count;
    }
    for (letter, count) in word.iter().zip(1..) {
        let mut diagonal = std::mem::replace(&mut row[0], count);
        let mut left = count;
        for (place, other) in row.iter_mut().skip(1).zip(other) {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = *place;
            left = replaced.min(*place + 1).min(left + 1);
            *place = left;
        }
    }
    row.get(other.len()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_names_of_its_own_and_a_help_that_fits() {
        for (index, option) in OPTIONS.iter().enumerate() {
            let long = option.long;
            assert!(option.short.is_none_or(|short| short.is_ascii_alphabetic()));
            assert!(!long.is_empty() && long.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
            assert!(HELP_COLUMN + option.help.len() <= 80 && option.help.is_ascii(), "{long}");
            for other in &OPTIONS[index + 1..] {
                let shorts_differ = option.short.is_none() || option.short != other.short;
                assert!(shorts_differ && long != other.long, "{long}");
            }
        }
        for line in BEFORE_OPTIONS.lines().chain(AFTER_OPTIONS.lines()) {
            assert!(line.len() <= 80 && line.is_ascii(), "{line:?} does not fit a terminal");
        }
    }

    /// The manual describes each option, in the order of the table, under its names.
    #[test]
    fn the_manual_has_every_option() {
        let manual = include_str!("../../doc/sexton.8");
        let mut rest = manual;
        for option in OPTIONS {
            let long = option.long;
            let names = match option.short {
                Some(short) => format!(".It Fl {} , Fl -{long}", char::from(short)),
                None => format!(".It Fl -{long}"),
            };
            let heading = match option.arity {
                Flag => names,
                Required("FROM:TO") => format!("{names} Ar from Ns Cm \\&: Ns Ar to"),
                Required(value) => format!("{names} Ar {}", value.to_lowercase()),
                Optional(value) => format!("{names} Ns Op = Ns Ar {}", value.to_lowercase()),
            };
            let heading = format!("\n{heading}\n");
            let place = rest.find(&heading).unwrap_or_else(|| panic!("the manual lacks {heading}"));
            rest = &rest[place..];
        }
    }

    #[test]
    fn a_mistyped_name_is_near_the_one_that_was_meant() {
        for (typed, meant) in [
            ("verbos", "verbose"),
            ("verbsoe", "verbose"),
            ("zombie", "zombies"),
            ("kil-after", "kill-after"),
            ("grac", "grace"),
            ("al", "all"),
            ("single_child", "single-child"),
        ] {
            assert_eq!(nearest(typed.as_bytes()), Some(meant), "{typed}");
        }
        for typed in ["", "x", "quux", "timeout-of-all", "verbosity", "sesquipedalian-nonsense-words"] {
            assert_eq!(nearest(typed.as_bytes()), None, "{typed}");
        }
    }
}
