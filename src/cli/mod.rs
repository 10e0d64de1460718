//! The command line and `SEXTON_OPTIONS`: what they ask for, and every usage error.

#![forbid(unsafe_code)]

pub mod compat;
pub mod options;
mod parse;

use std::ffi::CStr;
use std::fmt::{self, Display, Formatter};

use nix::errno::Errno;

use crate::log::{Escaped, Level, print_line};
use crate::supervise::config::Config;
use crate::sys::args::{Arguments, Environment};
use crate::sys::fd::write_to_stdout;
use crate::sys::time::Nanos;
use compat::Profile;
use options::{InfoPage, print_help};
use parse::{NextWord, ParseEnd, Parser};

/// The environment variable with options that are read before those of the command line.
const OPTIONS_ENV: &str = "SEXTON_OPTIONS";

/// What the options ask for.
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode<'a> {
    /// Run the command.
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

impl Default for Settings<'_> {
    fn default() -> Self {
        Self { mode: Mode::Run, config: Config::default(), mirror: false, verbosity: Level::Error as u8 }
    }
}

impl Settings<'static> {
    /// Reads the options of the variable, then those of the command line. Returns the index
    /// of the command's name, too.
    pub fn read(
        profile: &Profile,
        arguments: Arguments,
        environment: Environment,
    ) -> Result<(Self, usize), UsageError<'static>> {
        let mut settings = profile.defaults(environment);
        settings.read_variable(environment.get(OPTIONS_ENV).unwrap_or_default())?;
        let mut index = 0;
        let end = settings.read_words(&mut || {
            index += 1;
            arguments.get(index).map(CStr::to_bytes)
        })?;
        let first = if end == ParseEnd::Separator { index + 1 } else { index };
        profile.finish(&mut settings);
        match (settings.mode, arguments.get(first)) {
            (Mode::Run, None) if arguments.get(1).is_none() => Err(UsageError::Nothing),
            (Mode::Run, None) => Err(UsageError::NoCommand),
            (mode, word) => match mode.option_without_command().zip(word) {
                Some((option, word)) => Err(UsageError::Command { option, word: word.to_bytes() }),
                None => Ok((settings, first)),
            },
        }
    }
}

impl<'a> Settings<'a> {
    /// Reads options up to the first word that is none.
    fn read_words(&mut self, words: NextWord<'a, '_>) -> Result<ParseEnd, UsageError<'a>> {
        Parser { settings: self, words }.parse()
    }

    /// Reads options only, separated by white space.
    fn read_variable(&mut self, value: &'a [u8]) -> Result<(), UsageError<'a>> {
        let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let mut last: &[u8] = b"";
        let end = self.read_words(&mut || {
            last = words.next()?;
            Some(last)
        });
        match end {
            Ok(ParseEnd::Words) => Ok(()),
            Ok(ParseEnd::Word | ParseEnd::Separator) => Err(UsageError::NotAnOption(last)),
            Err(error) => Err(error.in_variable()),
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
    /// A command with an option that takes none.
    Command {
        /// The option.
        option: &'static str,
        /// The command's name.
        word: &'a [u8],
    },
    /// In the variable, a word that is not an option.
    NotAnOption(&'a [u8]),
    /// An option that is wrong.
    Option {
        /// Whether it stands in the variable.
        in_variable: bool,
        /// Which one.
        option: Spelled<'a>,
        /// What is wrong.
        fault: Fault<'a>,
    },
}

/// What is wrong with an option.
#[derive(PartialEq, Eq, Debug)]
pub enum Fault<'a> {
    /// There is none of this name; but perhaps one of a similar name.
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
        /// What would be right.
        hint: &'static str,
    },
}

impl<'a> UsageError<'a> {
    fn in_variable(self) -> Self {
        match self {
            Self::Option { option, fault, .. } => Self::Option { in_variable: true, option, fault },
            error => error,
        }
    }
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
            Self::NotAnOption(word) => write!(f, "{OPTIONS_ENV}: '{}' is not an option", Escaped(word)),
            Self::Option { in_variable, option, fault } => {
                if *in_variable {
                    write!(f, "{OPTIONS_ENV}: ")?;
                }
                write!(f, "{option}{fault}")
            }
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
