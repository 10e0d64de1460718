//! The command line and `SEXTON_OPTIONS`: the table of options, from which both
//! the parser and `--help` work, and what they add up to.

#![forbid(unsafe_code)]

pub mod compat;

use nix::errno::Errno;

use crate::cli::compat::Dialect;
use crate::log::{Level, Line, Show, Word, print};
use crate::supervise::forward::{Rewrites, Scope};
use crate::supervise::shutdown::Plan;
use crate::sys;
use crate::sys::signal::Signal;
use crate::sys::wait::ExitCodes;
use crate::text::{split, split_once};
use crate::units;

/// The environment variable with options that are read before those of the
/// command line.
pub const VARIABLE: &str = "SEXTON_OPTIONS";

/// What the options ask for.
pub struct Settings<'a> {
    /// What to do.
    pub task: Task<'a>,
    /// Who gets the signals.
    pub scope: Scope,
    /// What they arrive as.
    pub rewrites: Rewrites,
    /// The signal to receive when the parent dies.
    pub parent_death_signal: Option<Signal>,
    /// Adopt orphans when not PID 1.
    pub adopt: bool,
    /// Tell of each orphan that is reaped.
    pub warn_on_reap: bool,
    /// Add the orphans up.
    pub report: bool,
    /// Where to write how the command failed.
    pub termination_log: Option<&'a [u8]>,
    /// Die of the signal that the command died of.
    pub mirror: bool,
    /// The exit codes that become 0.
    pub remapped: ExitCodes,
    /// How the end is to be.
    pub plan: Plan,
    /// How often `-v` was given.
    pub verbosity: u8,
    /// Warn of what works, though not as its user may think.
    pub warn: bool,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task<'a> {
    /// Run the command.
    Run,
    /// `-P`: run none, and reap.
    Pause,
    /// `--install`: copy the program to this path.
    Install(&'a [u8]),
    /// `-z`: tell whose the zombies are, and fail if there are more than this.
    Zombies(u32),
    /// `-h`, `-V`, `-l`: print a page. No option behind it is read.
    Print(Page),
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self {
            task: Task::Run,
            scope: Scope::Group,
            rewrites: Rewrites::default(),
            parent_death_signal: None,
            adopt: true,
            warn_on_reap: false,
            report: false,
            termination_log: None,
            mirror: false,
            remapped: ExitCodes::default(),
            plan: Plan::default(),
            verbosity: Level::Problem as u8,
            warn: true,
        }
    }
}

/// Where the options ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// With the last word, or with one that asks for a page and nothing else.
    Words,
    /// At the word taken last, the first one that is no option.
    Word,
    /// Before that, at `--`.
    Separator,
}

/// What can be printed instead of running a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Page {
    /// `-h`
    Help,
    /// `-V`
    Version,
    /// `-l`
    License,
}

/// An option used wrongly, to be told in one line.
#[derive(PartialEq, Eq, Debug)]
pub struct Mistake<'a> {
    /// The option as the user spelled it.
    dashes: &'static str,
    name: &'a [u8],
    value: Option<&'a [u8]>,
    why: &'static str,
}

impl Show for Mistake<'_> {
    fn show(&self, line: &mut Line) {
        line.add("{}{}", &[&self.dashes, &Word(self.name)]);
        if let Some(value) = self.value {
            line.add(" {}", &[&Word(value)]);
        }
        line.add(": {}", &[&self.why]);
    }
}

#[derive(Clone, Copy)]
enum Act {
    Scope(Scope),
    Rewrite,
    ParentDeathSignal,
    Subreaper,
    Mirror,
    RemapExit,
    Delay,
    KillAfter,
    Grace,
    WaitAll,
    Pause,
    WarnOnReap,
    Report,
    Zombies,
    TerminationLog,
    Install,
    Verbose,
    Page(Page),
}

/// The help, and what each option in it does. The parser reads the options from the
/// help's own lines, so that there is one list of them.
macro_rules! help {
    ($($before:literal)* options $($line:literal => $act:expr,)* after $($after:literal)*) => {
        const HELP: &str = concat!($($before, "\n",)* $($line, "\n",)* $($after, "\n",)*);
        const ACTS: &[Act] = &[$($act),*];
    };
}

help! {
    "Usage: sexton [OPTION]... [--] COMMAND [ARG]..."
    "PID 1 for containers: start COMMAND, forward every signal to it, reap every"
    "orphan, and exit as it did."
    ""
    options
    "  -c, --single-child             forward signals to the command alone" => Act::Scope(Scope::Command),
    "  -g, --group                    forward to its process group (the default)" => Act::Scope(Scope::Group),
    "  -A, --all                      forward to everything that runs below sexton" => Act::Scope(Scope::Everything),
    "  -r, --rewrite FROM:TO          forward TO in place of FROM; 0 drops it" => Act::Rewrite,
    "  -p, --parent-death-signal SIG  receive SIG when the parent dies" => Act::ParentDeathSignal,
    "  -s, --subreaper                adopt orphans when not PID 1 (the default)" => Act::Subreaper,
    "  -m, --mirror-signal            when not PID 1, die of the command's signal" => Act::Mirror,
    "  -e, --remap-exit CODE          exit 0 instead of CODE (0-255)" => Act::RemapExit,
    "  -d, --delay TIME               hold the first TERM, INT or QUIT back" => Act::Delay,
    "  -k, --kill-after TIME          KILL that long after TERM, INT or QUIT" => Act::KillAfter,
    "  -t, --grace TIME               after the command TERM others, then KILL" => Act::Grace,
    "  -a, --wait-all                 wait for others when the command has ended" => Act::WaitAll,
    "  -P, --pause                    no command: reap until TERM or INT" => Act::Pause,
    "  -w, --warn-on-reap             a line for every orphan that is reaped" => Act::WarnOnReap,
    "  -R, --report                   at exit, a table of the orphans by name" => Act::Report,
    "  -z, --zombies[=MAX]            whose zombies are here? Exit 1 if more than MAX" => Act::Zombies,
    "  -T, --termination-log[=PATH]   write there how the command failed" => Act::TerminationLog,
    "      --install PATH             copy this program to PATH and exit" => Act::Install,
    "  -v, --verbose                  say more on standard error, up to -vvv" => Act::Verbose,
    "  -h, --help                     print this help and exit" => Act::Page(Page::Help),
    "  -V, --version                  print the version and exit" => Act::Page(Page::Version),
    "  -l, --license                  print the license and exit (-L as well)" => Act::Page(Page::License),
    after
    ""
    "A signal is a number, a name (TERM, sigterm) or RTMIN+N, RTMAX-N (34 to 64)."
    "A time is a decimal number with an optional ms, s (the default), m or h."
    "SEXTON_OPTIONS holds options that are read before those of the command line."
    ""
    "Exit status: the command's own, 128+N if signal N killed it; 127 command not"
    "found, 126 found but not executable, 125 sexton failed or was used wrongly."
}

/// One option of the table.
#[derive(Clone, Copy)]
struct Spec {
    short: Option<u8>,
    long: &'static [u8],
    value: Value,
    act: Act,
}

/// Whether an option takes a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    /// It is attached, or the next word.
    Required,
    /// It is attached with `=`, or not there.
    Optional,
}

impl Spec {
    /// Reads a line of the help: `  -x, --long`, then nothing, ` VALUE` or `[=VALUE]`,
    /// and behind two spaces what it is for.
    fn of(line: &'static [u8], act: Act) -> Option<Self> {
        let [b' ', b' ', dash, short, _, _, b'-', b'-', rest @ ..] = line else { return None };
        let end = rest.iter().position(|byte| matches!(byte, b' ' | b'['))?;
        let (long, rest) = rest.split_at_checked(end)?;
        let value = match rest {
            [b' ', b' ', ..] => Value::None,
            [b' ', ..] => Value::Required,
            _ => Value::Optional,
        };
        Some(Self { short: (*dash == b'-').then_some(*short), long, value, act })
    }

    /// All of them.
    fn all() -> impl Iterator<Item = Self> {
        let mut acts = ACTS.iter();
        let lines = split(HELP.as_bytes(), b'\n').filter(|line| line.starts_with(b"  "));
        lines.filter_map(move |line| Self::of(line, *acts.next()?))
    }

    /// What goes with the option that has this letter or, without one, this long name.
    fn find(short: Option<u8>, long: &[u8]) -> Result<(Value, Act), &'static str> {
        let wanted = |spec: &Self| if short.is_some() { spec.short == short } else { spec.long == long };
        Self::all().find(wanted).map(|spec| (spec.value, spec.act)).ok_or(UNKNOWN)
    }
}

/// The next word, if there is one.
pub type NextWord<'a, 'w> = &'w mut dyn FnMut() -> Option<&'a [u8]>;

impl<'a> Settings<'a> {
    /// Whether an exit code of the command is a failure.
    pub fn is_failure(&self, code: u8) -> bool {
        code != 0 && !self.remapped.contains(code)
    }

    /// Reads options up to the first word that is none.
    pub fn read(&mut self, words: NextWord<'a, '_>) -> Result<End, Mistake<'a>> {
        let mut reader = Reader { settings: self, words, dashes: "", name: b"", value: None };
        reader.read().map_err(|why| {
            let Reader { dashes, name, value, .. } = reader;
            Mistake { dashes, name, value, why }
        })
    }

    /// Reads `SEXTON_OPTIONS`: options only, separated by white space.
    pub fn read_variable(&mut self, value: &'a [u8]) -> Result<(), Mistake<'a>> {
        let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let mut last: &[u8] = b"";
        let mut next = || {
            last = words.next()?;
            Some(last)
        };
        match self.read(&mut next)? {
            End::Words => Ok(()),
            End::Word | End::Separator => {
                Err(Mistake { dashes: "", name: last, value: None, why: "not an option" })
            }
        }
    }
}

/// Reads options one by one; after a mistake, name and value are of the one that was
/// used wrongly.
struct Reader<'a, 'w> {
    settings: &'w mut Settings<'a>,
    words: NextWord<'a, 'w>,
    dashes: &'static str,
    name: &'a [u8],
    value: Option<&'a [u8]>,
}

impl<'a> Reader<'a, '_> {
    fn begin(&mut self, dashes: &'static str, name: &'a [u8]) {
        self.dashes = dashes;
        self.name = name;
        self.value = None;
    }

    fn read(&mut self) -> Result<End, &'static str> {
        while !self.is_done()
            && let Some(word) = (self.words)()
        {
            match word {
                [b'-', b'-'] => return Ok(End::Separator),
                [b'-', b'-', long @ ..] => self.long_option(long)?,
                [b'-', bundle @ ..] if !bundle.is_empty() => self.short_options(bundle)?,
                _ => return Ok(End::Word),
            }
        }
        Ok(End::Words)
    }

    fn is_done(&self) -> bool {
        matches!(self.settings.task, Task::Print(_))
    }

    fn long_option(&mut self, word: &'a [u8]) -> Result<(), &'static str> {
        let (name, attached) = split_once(word, b'=');
        self.begin("--", name);
        let (takes, act) = Spec::find(None, name)?;
        if takes == Value::None && attached.is_some() {
            return Err("takes no value");
        }
        self.apply(takes, act, attached)
    }

    /// A bundle of letters, the last of which may be followed by its value.
    fn short_options(&mut self, mut bundle: &'a [u8]) -> Result<(), &'static str> {
        while !self.is_done()
            && let Some((letter, rest)) = bundle.split_at_checked(1)
        {
            self.begin("-", letter);
            // tini has -l for its license, others have -L.
            let short = if letter == b"L" { Some(b'l') } else { letter.first().copied() };
            let (takes, act) = Spec::find(short, b"")?;
            let (attached, next) = match (takes, rest) {
                (Value::Required, [_, ..]) => (Some(rest), [].as_slice()),
                (Value::Optional, [b'=', value @ ..]) => (Some(value), [].as_slice()),
                _ => (None, rest),
            };
            self.apply(takes, act, attached)?;
            bundle = next;
        }
        Ok(())
    }

    fn apply(&mut self, takes: Value, act: Act, attached: Option<&'a [u8]>) -> Result<(), &'static str> {
        let value = match (takes, attached) {
            (Value::Required, None) => (self.words)().ok_or("needs a value")?,
            (_, attached) => attached.unwrap_or_default(),
        };
        self.value = Some(value);
        let time = || units::duration(value).ok_or("not a time (10, 1.5s, 250ms, 2m, 1h)");
        let settings = &mut *self.settings;
        match act {
            Act::Scope(scope) => settings.scope = scope,
            Act::Rewrite => settings.rewrites.add(value)?,
            Act::ParentDeathSignal => {
                settings.parent_death_signal = Some(Signal::parse(value).ok_or("not a signal")?);
            }
            Act::Subreaper => settings.adopt = true,
            Act::Mirror => settings.mirror = true,
            Act::RemapExit => {
                let code = units::decimal(value).and_then(|code| u8::try_from(code).ok());
                settings.remapped.insert(code.ok_or("not an exit code (0-255)")?);
            }
            Act::Delay => settings.plan.delay = time()?,
            Act::KillAfter => settings.plan.kill_after = Some(time()?),
            Act::Grace => settings.plan.grace = Some(time()?),
            Act::WaitAll => settings.plan.wait_all = true,
            Act::Pause => settings.task = Task::Pause,
            Act::WarnOnReap => settings.warn_on_reap = true,
            Act::Report => settings.report = true,
            Act::Zombies => {
                let max = if attached.is_none() { Some(0) } else { units::decimal(value) };
                settings.task = Task::Zombies(max.ok_or("not a number of zombies")?);
            }
            Act::TerminationLog => match value {
                [] if attached.is_none() => settings.termination_log = Some(TERMINATION_LOG),
                // Nobody would look for it in `/`, where we go.
                [b'/', ..] => settings.termination_log = Some(value),
                _ => return Err("not an absolute path"),
            },
            Act::Install => settings.task = Task::Install(value),
            Act::Verbose => settings.verbosity = settings.verbosity.saturating_add(1),
            Act::Page(page) => settings.task = Task::Print(page),
        }
        Ok(())
    }
}

/// Where Kubernetes looks for a container's last words, unless told otherwise.
const TERMINATION_LOG: &[u8] = b"/dev/termination-log";

const UNKNOWN: &str = "unknown option (see sexton --help)";

impl Page {
    /// Writes the page to standard output.
    pub fn print(self, dialect: Dialect) -> Result<(), Errno> {
        match self {
            Page::Help => sys::write_to_stdout(HELP.as_bytes()),
            Page::Version => {
                let version = concat!("{} ", env!("CARGO_PKG_VERSION"), env!("SEXTON_COMMIT"));
                print(version, &[&dialect.version_prefix()])
            }
            Page::License => sys::write_to_stdout(include_bytes!("../../LICENSE")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::shown;
    use proptest::prelude::*;

    /// The settings, where the options ended, and how many words were taken.
    fn accepted<'a>(words: &[&'a str]) -> (Settings<'a>, (End, usize)) {
        let mut settings = Settings::default();
        let mut rest = words.iter().map(|word| word.as_bytes());
        let end = settings.read(&mut || rest.next()).unwrap();
        (settings, (end, words.len() - rest.len()))
    }

    fn refused(words: &[&str]) -> String {
        let mut words = words.iter().map(|word| word.as_bytes());
        let mistake = Settings::default().read(&mut || words.next()).unwrap_err();
        String::from_utf8(shown(&mistake)).unwrap()
    }

    fn signal(name: &str) -> Signal {
        Signal::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn options_end_at_the_first_other_word_or_at_two_dashes() {
        assert_eq!(accepted(&["ls", "-l"]).1, (End::Word, 1));
        assert_eq!(accepted(&["-v", "ls", "-l"]).1, (End::Word, 2));
        assert_eq!(accepted(&["-v", "--", "-v"]).1, (End::Separator, 2));
        assert_eq!(accepted(&["-"]).1, (End::Word, 1));
        assert_eq!(accepted(&[""]).1, (End::Word, 1));
        assert_eq!(accepted(&[]).1, (End::Words, 0));
        assert_eq!(accepted(&["-v", "--"]).1, (End::Separator, 2));
    }

    #[test]
    fn values_are_attached_or_separate() {
        for words in [
            &["-pTERM", "x"][..],
            &["-p", "TERM", "x"],
            &["--parent-death-signal=TERM", "x"],
            &["--parent-death-signal", "TERM", "x"],
            &["-mvpTERM", "x"],
            &["-mvp", "15", "x"],
        ] {
            let (settings, end) = accepted(words);
            assert_eq!(settings.parent_death_signal, Some(signal("TERM")), "{words:?}");
            assert_eq!(end, (End::Word, words.len()), "{words:?}");
        }
    }

    #[test]
    fn short_flags_bundle() {
        let (settings, _) = accepted(&["-vvmA", "-v"]);
        assert_eq!(settings.verbosity, 3);
        assert!(settings.mirror);
        assert_eq!(settings.scope, Scope::Everything);
    }

    #[test]
    fn the_last_scope_wins() {
        assert_eq!(accepted(&["-c", "-A", "-g"]).0.scope, Scope::Group);
        assert_eq!(accepted(&["-Ac"]).0.scope, Scope::Command);
        assert_eq!(accepted(&["--single-child", "--all"]).0.scope, Scope::Everything);
    }

    #[test]
    fn repeatable_options_add_up() {
        let (settings, _) = accepted(&["-e143", "-e", "0", "--remap-exit=7", "-r", "TERM:QUIT", "-rHUP:0"]);
        assert!([143, 0, 7].iter().all(|code| settings.remapped.contains(*code)));
        assert!(!settings.remapped.contains(1));
        assert_eq!(settings.rewrites.apply(signal("TERM")), Some(signal("QUIT")));
        assert_eq!(settings.rewrites.apply(signal("HUP")), None);
    }

    #[test]
    fn a_plan_for_the_end() {
        assert!(accepted(&["-v"]).0.plan.is_empty());
        let (settings, _) = accepted(&["-k", "1.5s", "-d250ms", "--grace=2m", "-a"]);
        let plan = Plan {
            delay: 250_000_000,
            kill_after: Some(1_500_000_000),
            grace: Some(120_000_000_000),
            wait_all: true,
        };
        assert_eq!(settings.plan, plan);
        assert_eq!(accepted(&["-t0"]).0.plan.grace, Some(0));
    }

    #[test]
    fn a_value_that_is_optional_is_attached() {
        let log = |words: &'static [&str]| accepted(words).0.termination_log;
        assert_eq!(log(&["-v", "x"]), None);
        for words in [&["-T", "/x"][..], &["--termination-log", "/x"], &["-Tv", "x"], &["-vT"]] {
            assert_eq!(log(words), Some(&b"/dev/termination-log"[..]), "{words:?}");
        }
        for words in [&["-T=/x=y", "x"][..], &["--termination-log=/x=y"], &["-vT=/x=y", "x"]] {
            assert_eq!(log(words), Some(&b"/x=y"[..]), "{words:?}");
        }
        assert_eq!(accepted(&["-Tv", "x"]).0.verbosity, 1);
    }

    #[test]
    fn other_tasks_than_to_run_a_command() {
        assert_eq!(accepted(&["-v"]).0.task, Task::Run);
        assert_eq!(accepted(&["-vP"]).0.task, Task::Pause);
        for (words, max) in [(&["-z"][..], 0), (&["--zombies"], 0), (&["-z=3"], 3), (&["--zombies=3"], 3)] {
            assert_eq!(accepted(words).0.task, Task::Zombies(max));
        }
        for words in [&["--install", "/x", "-v"][..], &["--install=/x"]] {
            assert_eq!(accepted(words).0.task, Task::Install(b"/x"));
        }
    }

    #[test]
    fn a_page_is_printed_at_once() {
        for words in [&["-h"][..], &["-vhq", "--nonsense"], &["--help", "x"]] {
            let (settings, end) = accepted(words);
            assert_eq!((settings.task, end), (Task::Print(Page::Help), (End::Words, 1)));
        }
        assert_eq!(accepted(&["-L"]).0.task, Task::Print(Page::License));
        assert_eq!(accepted(&["-V"]).0.task, Task::Print(Page::Version));
    }

    #[test]
    fn every_mistake_names_the_word() {
        for (words, text) in [
            (&["-q", "x"][..], "-q: unknown option (see sexton --help)"),
            (&["-pTERM", "-q", "x"], "-q: unknown option (see sexton --help)"),
            (&["-e1", "--verbose=2"], "--verbose: takes no value"),
            (&["-e1", "-e"], "-e: needs a value"),
            (&["-vq", "x"], "-q: unknown option (see sexton --help)"),
            (&["--quux=1", "x"], "--quux: unknown option (see sexton --help)"),
            (&["--verbos", "x"], "--verbos: unknown option (see sexton --help)"),
            (&["--=", "x"], "--: unknown option (see sexton --help)"),
            (&["--verbose=2", "x"], "--verbose: takes no value"),
            (&["-p"], "-p: needs a value"),
            (&["--rewrite"], "--rewrite: needs a value"),
            (&["-p", "FOO", "x"], "-p FOO: not a signal"),
            (&["-p", "0", "x"], "-p 0: not a signal"),
            (&["--parent-death-signal=", "x"], "--parent-death-signal : not a signal"),
            (&["-e256", "x"], "-e 256: not an exit code (0-255)"),
            (&["-e", "-1", "x"], "-e -1: not an exit code (0-255)"),
            (&["-k", "-1", "x"], "-k -1: not a time (10, 1.5s, 250ms, 2m, 1h)"),
            (&["--grace=soon", "x"], "--grace soon: not a time (10, 1.5s, 250ms, 2m, 1h)"),
            (&["-d99999999999h", "x"], "-d 99999999999h: not a time (10, 1.5s, 250ms, 2m, 1h)"),
            (&["-T=log", "x"], "-T log: not an absolute path"),
            (&["--termination-log=", "x"], "--termination-log : not an absolute path"),
            (&["--install"], "--install: needs a value"),
            (&["-z=many"], "-z many: not a number of zombies"),
            (&["--zombies="], "--zombies : not a number of zombies"),
            (&["--pause=1"], "--pause: takes no value"),
            (&["-r", "TERM", "x"], "-r TERM: not FROM:TO"),
            (&["-r", "TERM:", "x"], "-r TERM:: TO is not a signal or 0"),
            (&["-r", "0:TERM", "x"], "-r 0:TERM: FROM is not a signal"),
            (&["-r", "KILL:TERM", "x"], "-r KILL:TERM: FROM is never forwarded"),
        ] {
            assert_eq!(refused(words), text);
        }
    }

    #[test]
    fn the_variable_holds_options_only() {
        let mut settings = Settings::default();
        assert_eq!(settings.read_variable(b" -vv\t-p\n TERM  -A "), Ok(()));
        assert_eq!(settings.verbosity, 2);
        assert_eq!(settings.scope, Scope::Everything);
        assert_eq!(settings.read_variable(b""), Ok(()));
        assert_eq!(settings.read_variable(b"-h ls"), Ok(()));
        assert_eq!(settings.task, Task::Print(Page::Help));
        for (value, text) in [
            (&b"-v ls"[..], "ls: not an option"),
            (b"-v -- -v", "--: not an option"),
            (b"-p", "-p: needs a value"),
            (b"-p 'TERM'", "-p 'TERM': not a signal"),
        ] {
            let mistake = Settings::default().read_variable(value).unwrap_err();
            assert_eq!(String::from_utf8(shown(&mistake)).unwrap(), text);
        }
    }

    #[test]
    fn every_option_has_names_of_its_own_and_a_line_in_the_help() {
        let options: Vec<Spec> = Spec::all().collect();
        assert_eq!(options.len(), ACTS.len());
        for (index, spec) in options.iter().enumerate() {
            let long = str::from_utf8(spec.long).unwrap();
            assert!(spec.short.is_none_or(|short| short.is_ascii_alphabetic()));
            assert!(!long.is_empty() && long.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
            for other in &options[index + 1..] {
                let shorts_differ = spec.short.is_none() || spec.short != other.short;
                assert!(shorts_differ && spec.long != other.long, "{long}");
            }
        }
        const COLUMN: usize = "  -p, --parent-death-signal SIG  ".len();
        for line in HELP.lines() {
            assert!(line.len() <= 80 && line.is_ascii(), "{line:?} does not fit a terminal");
            if line.starts_with(' ') {
                assert!(line[..COLUMN].ends_with("  ") && !line[COLUMN..].starts_with(' '), "{line:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_words_make_it_panic(words in proptest::collection::vec(any::<Vec<u8>>(), 0..6)) {
            let mut words = words.iter().map(Vec::as_slice);
            let _ = Settings::default().read(&mut || words.next());
        }

        #[test]
        fn no_near_miss_makes_it_panic(words in proptest::collection::vec("-{0,2}[a-zA-Z:=0-9-]{0,24}", 0..6)) {
            let mut words = words.iter().map(String::as_bytes);
            if let Err(mistake) = Settings::default().read(&mut || words.next()) {
                prop_assert!(!shown(&mistake).is_empty());
            }
        }

        #[test]
        fn no_variable_makes_it_panic(value in any::<Vec<u8>>()) {
            let _ = Settings::default().read_variable(&value);
        }
    }
}
