//! The command line and `SEXTON_OPTIONS`: what they ask for, and every usage error.

#![forbid(unsafe_code)]

pub mod compat;
#[cfg(test)]
mod completions;
pub mod options;
mod parse;

use std::ffi::CStr;
use std::fmt::{self, Display, Formatter};

use nix::errno::Errno;

use crate::log::{Escaped, print_line};
use crate::supervise::config::Config;
use crate::sys::args::Arguments;
use crate::sys::output::write_to_stdout;
use crate::units::Nanos;
use compat::Profile;
use options::{InfoPage, print_help};
use parse::{NextWord, ParseEnd, Parser};

/// The environment variable with options that are read before those of the command line.
pub const OPTIONS_ENV: &str = "SEXTON_OPTIONS";

/// What the options ask for.
#[derive(Default)]
pub struct Settings<'a> {
    /// What to do.
    pub mode: Mode<'a>,
    /// How to supervise.
    pub config: Config<'a>,
    /// Die by the signal that killed the command.
    pub mirror: bool,
    /// How often `-v` was given.
    pub verbosity: u8,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Mode<'a> {
    /// Run the command.
    #[default]
    Run,
    /// `-P`: run none, and reap.
    Pause,
    /// `--install`: copy the program to this path.
    Install(&'a [u8]),
    /// `-z`: list the zombies, and fail if there are more than this.
    Zombies(u32),
    /// `--top`: look at all processes twice, so long apart.
    Top(Nanos),
    /// `-h`, `-V`, `-l`: print a page. No option behind it is read.
    Print(InfoPage),
}

impl Mode<'_> {
    /// The option that chose it, where that takes no command.
    fn option_without_command(self) -> Option<&'static str> {
        match self {
            Self::Run | Self::Print(_) => None,
            Self::Pause => Some("--pause"),
            Self::Install(_) => Some("--install"),
            Self::Zombies(_) => Some("--zombies"),
            Self::Top(_) => Some("--top"),
        }
    }
}

impl Settings<'static> {
    /// Reads the options of the command line. Returns the index of the command's name.
    pub fn read_arguments(&mut self, arguments: Arguments) -> Result<usize, UsageError<'static>> {
        let mut index = 0;
        let end = self.read_words(&mut || {
            index += 1;
            arguments.get(index).map(CStr::to_bytes)
        })?;
        let first = if end == ParseEnd::Separator { index + 1 } else { index };
        match (self.mode, arguments.get(first)) {
            (Mode::Run, None) if arguments.get(1).is_none() => Err(UsageError::Nothing),
            (Mode::Run, None) => Err(UsageError::NoCommand),
            (Mode::Pause, None) if self.config.stop_policy.timeout.is_some() => {
                Err(UsageError::TimeoutOfPause)
            }
            (mode, word) => match mode.option_without_command().zip(word) {
                Some((option, word)) => Err(UsageError::Command { option, word: word.to_bytes() }),
                None => Ok(first),
            },
        }
    }
}

impl<'a> Settings<'a> {
    /// Reads options up to the first word that is none.
    fn read_words(&mut self, words: NextWord<'a, '_>) -> Result<ParseEnd, UsageError<'a>> {
        Parser { settings: self, words }.parse()
    }

    /// Reads options only, separated by white space, as the variable has them.
    pub fn read_variable(&mut self, value: &'a [u8]) -> Result<(), UsageError<'a>> {
        let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let mut last: &[u8] = b"";
        let end = self.read_words(&mut || {
            last = words.next()?;
            Some(last)
        });
        match end? {
            ParseEnd::Words => Ok(()),
            ParseEnd::Word | ParseEnd::Separator => Err(UsageError::NotAnOption(last)),
        }
    }
}

/// An option, as the user spelled it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spelled<'a> {
    dashes: &'static str,
    name: &'a [u8],
}

impl Display for Spelled<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}{}", self.dashes, Escaped(self.name))
    }
}

/// A usage error, to be reported in one line.
#[derive(PartialEq, Eq, Debug)]
pub enum UsageError<'a> {
    /// Neither options nor a command.
    Nothing,
    /// No command behind the options.
    NoCommand,
    /// A command behind an option that takes none.
    Command {
        /// The option.
        option: &'static str,
        /// The command's name.
        word: &'a [u8],
    },
    /// A time limit, and no command that it is for.
    TimeoutOfPause,
    /// In the variable, a word that is not an option.
    NotAnOption(&'a [u8]),
    /// An option that is wrong.
    Option {
        /// Which one.
        option: Spelled<'a>,
        /// What is wrong.
        fault: Fault<'a>,
    },
}

/// What is wrong with an option.
#[derive(PartialEq, Eq, Debug)]
pub enum Fault<'a> {
    /// No option has this name. The nearest name, if one is near.
    Unknown(Option<&'static str>),
    /// It takes no value, and got one.
    UnwantedValue(&'a [u8]),
    /// It takes a value, and got none.
    MissingValue(&'static str),
    /// Its value is not of the kind that it takes.
    InvalidValue {
        /// The kind.
        kind: &'static str,
        /// The value.
        value: &'a [u8],
        /// What a right one looks like.
        hint: &'static str,
    },
}

impl Display for UsageError<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::Nothing => {
                f.write_str("usage: sexton [OPTION]... [--] COMMAND [ARG]... (see sexton --help)")
            }
            Self::NoCommand => f.write_str("no command given (see sexton --help)"),
            Self::Command { option, word } => {
                write!(f, "{option} takes no command (got '{}')", Escaped(word))
            }
            Self::TimeoutOfPause => f.write_str("--timeout needs a command, and --pause runs none"),
            Self::NotAnOption(word) => write!(f, "'{}' is not an option", Escaped(word)),
            Self::Option { option, fault } => write!(f, "{option}{fault}"),
        }
    }
}

impl Display for Fault<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::Unknown(None) => f.write_str(": unknown option (see sexton --help)"),
            Self::Unknown(Some(name)) => {
                write!(f, ": unknown option, did you mean --{name}? (see sexton --help)")
            }
            Self::UnwantedValue(value) => write!(f, " takes no value (got '{}')", Escaped(value)),
            Self::MissingValue(value) => write!(f, " needs a value: {value}"),
            Self::InvalidValue { kind, value, hint } => {
                write!(f, ": invalid {kind} '{}' ({hint})", Escaped(value))
            }
        }
    }
}

impl InfoPage {
    /// Writes the page to standard output.
    pub fn print(self, profile: &Profile) -> Result<(), Errno> {
        match self {
            Self::Help => print_help(),
            Self::Version => print_line(format_args!(
                concat!("{} ", env!("CARGO_PKG_VERSION"), env!("SEXTON_COMMIT")),
                profile.version_name
            )),
            Self::License => write_to_stdout(include_bytes!("../../LICENSE")),
        }
    }
}
