//! The parser: bundles, attached values, `--`; and what each option changes.

#![forbid(unsafe_code)]

use super::options::{Arity, Opt, OptionId, find_long, find_short, nearest};
use super::{Fault, Mode, Settings, Spelled, UsageError};
use crate::diagnose::Format;
use crate::supervise::shutdown::Timeout;
use crate::sys::signal::Signal;
use crate::units::{Nanos, SECOND, parse_duration, parse_u32, split_once};

/// The next word, if there is one.
pub(super) type NextWord<'a, 'w> = &'w mut dyn FnMut() -> Option<&'a [u8]>;

/// Where the options ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ParseEnd {
    /// With the last word, or with one that asks for a page and nothing else.
    Words,
    /// At the word taken last, the first one that is not an option.
    Word,
    /// Before that, at `--`.
    Separator,
}

/// Where Kubernetes looks for a container's termination message by default.
const TERMINATION_LOG: &[u8] = b"/dev/termination-log";

/// The time between the looks of `--top` by default.
const TOP_TIME: Nanos = 2 * SECOND;

pub(super) struct Parser<'a, 'w> {
    pub(super) settings: &'w mut Settings<'a>,
    pub(super) words: NextWord<'a, 'w>,
}

impl<'a> Parser<'a, '_> {
    pub(super) fn parse(&mut self) -> Result<ParseEnd, UsageError<'a>> {
        while !self.is_done()
            && let Some(word) = (self.words)()
        {
            match word {
                [b'-', b'-'] => return Ok(ParseEnd::Separator),
                [b'-', b'-', long @ ..] => self.long_option(long)?,
                [b'-', bundle @ ..] if !bundle.is_empty() => self.short_options(bundle)?,
                _ => return Ok(ParseEnd::Word),
            }
        }
        Ok(ParseEnd::Words)
    }

    fn is_done(&self) -> bool {
        matches!(self.settings.mode, Mode::Print(_))
    }

    fn long_option(&mut self, word: &'a [u8]) -> Result<(), UsageError<'a>> {
        let (name, attached) = split_once(word, b'=');
        let spelled = Spelled { dashes: "--", name };
        let wrong = |fault| UsageError::Option { option: spelled, fault };
        let option = find_long(name).ok_or_else(|| wrong(Fault::Unknown(nearest(name))))?;
        if let (Arity::Flag, Some(value)) = (option.arity, attached) {
            return Err(wrong(Fault::UnwantedValue(value)));
        }
        self.take(option, attached).map_err(wrong)
    }

    /// A bundle of letters, the last of which may be followed by its value.
    fn short_options(&mut self, mut bundle: &'a [u8]) -> Result<(), UsageError<'a>> {
        while !self.is_done()
            && let Some((name, rest)) = bundle.split_at_checked(1)
        {
            let spelled = Spelled { dashes: "-", name };
            let wrong = |fault| UsageError::Option { option: spelled, fault };
            let option = name.first().and_then(|letter| find_short(*letter));
            let option = option.ok_or_else(|| wrong(Fault::Unknown(None)))?;
            let (attached, next) = match (option.arity, rest) {
                (Arity::Required(_), [_, ..]) => (Some(rest), [].as_slice()),
                (Arity::Optional(_), [b'=', value @ ..]) => (Some(value), [].as_slice()),
                _ => (None, rest),
            };
            self.take(option, attached).map_err(wrong)?;
            bundle = next;
        }
        Ok(())
    }

    /// Takes an option, with the next word as its value where it needs one.
    fn take(&mut self, option: &Opt, attached: Option<&'a [u8]>) -> Result<(), Fault<'a>> {
        let value = match (option.arity, attached) {
            (Arity::Required(name), None) => Some((self.words)().ok_or(Fault::MissingValue(name))?),
            (_, attached) => attached,
        };
        let invalid = |(kind, hint)| Fault::InvalidValue { kind, value: value.unwrap_or_default(), hint };
        self.apply(option.id, value).map_err(invalid)
    }

    /// Changes the settings, or returns what kind of value was expected, and a hint at what
    /// would be right.
    fn apply(&mut self, id: OptionId, given: Option<&'a [u8]>) -> Result<(), (&'static str, &'static str)> {
        let value = given.unwrap_or_default();
        let duration = || parse_duration(value).ok_or(("duration", "examples: 10, 1.5s, 250ms, 2m, 1h"));
        let signal = || Signal::parse(value).ok_or(("signal", "examples: TERM, sigterm, 15, RTMIN+3"));
        let Settings { mode, config, mirror, verbosity } = &mut *self.settings;
        match id {
            OptionId::Scope(scope) => config.scope = scope,
            OptionId::Rewrite => config.rewrites.add(value).map_err(|why| ("rewrite", why))?,
            OptionId::ParentDeathSignal => config.parent_death_signal = Some(signal()?),
            OptionId::Subreaper => config.adopt = true,
            OptionId::MirrorSignal => *mirror = true,
            OptionId::RemapExit => {
                let code = parse_u32(value).and_then(|code| u8::try_from(code).ok());
                config.remapped.insert(code.ok_or(("exit code", "0 to 255"))?);
            }
            OptionId::Delay => config.stop_policy.delay = duration()?,
            OptionId::KillAfter => config.stop_policy.kill_after = Some(duration()?),
            OptionId::StopSignal => match signal()? {
                Signal::KILL | Signal::STOP | Signal::CHLD => {
                    return Err(("stop signal", "KILL, STOP and CHLD are never forwarded"));
                }
                signal => config.stop_signals.choose(signal),
            },
            OptionId::Timeout => {
                // 0 is no limit, as for timeout(1).
                let after = Some(duration()?).filter(|after| *after > 0);
                config.stop_policy.timeout = after.map(|after| Timeout { after, signal: Signal::TERM });
            }
            OptionId::Grace => config.stop_policy.grace = Some(duration()?),
            OptionId::WaitAll => config.stop_policy.wait_all = true,
            OptionId::Pause => *mode = Mode::Pause,
            OptionId::WarnOnReap => config.warn_on_reap = true,
            OptionId::Report => config.report = true,
            OptionId::Zombies => {
                let max = if given.is_none() { Some(0) } else { parse_u32(value) };
                *mode = Mode::Zombies(max.ok_or(("count", "a whole number"))?);
            }
            OptionId::Top => *mode = Mode::Top(if given.is_none() { TOP_TIME } else { duration()? }),
            OptionId::Format => {
                config.format = match value {
                    b"text" => Format::Text,
                    b"json" => Format::Json,
                    _ => return Err(("format", "text or json")),
                }
            }
            OptionId::TerminationLog => match value {
                [] if given.is_none() => config.termination_message = Some(TERMINATION_LOG),
                // Sexton's own working directory is `/`, not that of the command.
                [b'/', ..] => config.termination_message = Some(value),
                _ => return Err(("path", "it must be absolute")),
            },
            OptionId::Install => *mode = Mode::Install(value),
            OptionId::Verbose => *verbosity = verbosity.saturating_add(1),
            OptionId::Info(page) => *mode = Mode::Print(page),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::options::InfoPage;
    use crate::supervise::forward::Scope;
    use crate::supervise::shutdown::StopPolicy;
    use proptest::prelude::*;

    /// The settings, where the options ended, and how many words were taken.
    fn accepted<'a>(words: &[&'a str]) -> (Settings<'a>, (ParseEnd, usize)) {
        let mut settings = Settings::default();
        let mut rest = words.iter().map(|word| word.as_bytes());
        let end = settings.read_words(&mut || rest.next()).unwrap();
        (settings, (end, words.len() - rest.len()))
    }

    fn refused(words: &[&str]) -> String {
        let mut words = words.iter().map(|word| word.as_bytes());
        Settings::default().read_words(&mut || words.next()).unwrap_err().to_string()
    }

    fn signal(name: &str) -> Signal {
        Signal::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn options_end_at_the_first_other_word_or_at_two_dashes() {
        assert_eq!(accepted(&["ls", "-l"]).1, (ParseEnd::Word, 1));
        assert_eq!(accepted(&["-v", "ls", "-l"]).1, (ParseEnd::Word, 2));
        assert_eq!(accepted(&["-v", "--", "-v"]).1, (ParseEnd::Separator, 2));
        assert_eq!(accepted(&["-"]).1, (ParseEnd::Word, 1));
        assert_eq!(accepted(&[""]).1, (ParseEnd::Word, 1));
        assert_eq!(accepted(&[]).1, (ParseEnd::Words, 0));
        assert_eq!(accepted(&["-v", "--"]).1, (ParseEnd::Separator, 2));
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
            assert_eq!(settings.config.parent_death_signal, Some(signal("TERM")), "{words:?}");
            assert_eq!(end, (ParseEnd::Word, words.len()), "{words:?}");
        }
    }

    #[test]
    fn short_flags_bundle() {
        let (settings, _) = accepted(&["-vvmA", "-v"]);
        assert_eq!(settings.verbosity, 3);
        assert!(settings.mirror);
        assert_eq!(settings.config.scope, Scope::Everything);
    }

    #[test]
    fn the_last_scope_wins() {
        assert_eq!(accepted(&["-c", "-A", "-g"]).0.config.scope, Scope::Group);
        assert_eq!(accepted(&["-Ac"]).0.config.scope, Scope::Command);
        assert_eq!(accepted(&["--single-child", "--all"]).0.config.scope, Scope::Everything);
    }

    #[test]
    fn repeatable_options_add_up() {
        let (settings, _) = accepted(&["-e143", "-e", "0", "--remap-exit=7", "-r", "TERM:QUIT", "-rHUP:0"]);
        assert!([143, 0, 7].iter().all(|code| settings.config.remapped.contains(*code)));
        assert!(!settings.config.remapped.contains(1));
        assert_eq!(settings.config.rewrites.apply(signal("TERM")), Some(signal("QUIT")));
        assert_eq!(settings.config.rewrites.apply(signal("HUP")), None);
    }

    #[test]
    fn a_policy_for_the_end() {
        assert!(accepted(&["-v"]).0.config.stop_policy.is_empty());
        let (settings, _) = accepted(&["-k", "1.5s", "-d250ms", "--grace=2m", "-a"]);
        let policy = StopPolicy {
            delay: 250_000_000,
            kill_after: Some(1_500_000_000),
            grace: Some(120_000_000_000),
            wait_all: true,
            timeout: None,
        };
        assert_eq!(settings.config.stop_policy, policy);
        assert_eq!(accepted(&["-t0"]).0.config.stop_policy.grace, Some(0));
    }

    #[test]
    fn a_time_limit_of_zero_is_none() {
        let limit = |words: &'static [&str]| accepted(words).0.config.stop_policy.timeout;
        assert_eq!(limit(&["-x", "1.5", "x"]), Some(Timeout { after: 1_500_000_000, signal: Signal::TERM }));
        assert_eq!(limit(&["--timeout=2m"]).map(|timeout| timeout.after), Some(120_000_000_000));
        for words in [&["-x0"][..], &["-x5", "--timeout", "0ms"], &["-v"]] {
            assert_eq!(limit(words), None, "{words:?}");
        }
    }

    #[test]
    fn chosen_stop_signals_take_the_place_of_the_default() {
        let asks = |words: &'static [&str], name: &str| {
            accepted(words).0.config.stop_signals.ask_by(signal(name), signal(name))
        };
        for (words, yes, no) in [
            (&[][..], &["TERM", "INT"][..], &["QUIT", "HUP", "WINCH"][..]),
            (&["--stop-signal", "QUIT"], &["QUIT"], &["TERM", "INT"]),
            (&["--stop-signal=TERM", "--stop-signal=RTMIN+3"], &["TERM", "37"], &["INT", "QUIT"]),
        ] {
            for name in yes.iter().chain(no) {
                assert_eq!(asks(words, name), yes.contains(name), "{words:?} {name}");
            }
        }
    }

    #[test]
    fn a_value_that_is_optional_is_attached() {
        let log = |words: &'static [&str]| accepted(words).0.config.termination_message;
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
    fn modes_that_run_no_command() {
        assert_eq!(accepted(&["-v"]).0.mode, Mode::Run);
        assert_eq!(accepted(&["-vP"]).0.mode, Mode::Pause);
        for (words, max) in [(&["-z"][..], 0), (&["--zombies"], 0), (&["-z=3"], 3), (&["--zombies=3"], 3)] {
            assert_eq!(accepted(words).0.mode, Mode::Zombies(max));
        }
        for (words, time) in [(&["--top"][..], 2_000), (&["--top=0.5"], 500), (&["--top=1m", "-v"], 60_000)] {
            assert_eq!(accepted(words).0.mode, Mode::Top(time * 1_000_000));
        }
        for (words, format) in [
            (&["-z"][..], Format::Text),
            (&["-z", "--format", "json"], Format::Json),
            (&["--format=json", "-R", "--format=text"], Format::Text),
        ] {
            assert_eq!(accepted(words).0.config.format, format);
        }
        for words in [&["--install", "/x", "-v"][..], &["--install=/x"]] {
            assert_eq!(accepted(words).0.mode, Mode::Install(b"/x"));
        }
    }

    #[test]
    fn a_page_is_printed_at_once() {
        for words in [&["-h"][..], &["-vhq", "--nonsense"], &["--help", "x"]] {
            let (settings, end) = accepted(words);
            assert_eq!((settings.mode, end), (Mode::Print(InfoPage::Help), (ParseEnd::Words, 1)));
        }
        assert_eq!(accepted(&["-L"]).0.mode, Mode::Print(InfoPage::License));
        assert_eq!(accepted(&["-V"]).0.mode, Mode::Print(InfoPage::Version));
    }

    #[test]
    fn every_usage_error_names_the_option_and_the_value() {
        const SIGNALS: &str = "(examples: TERM, sigterm, 15, RTMIN+3)";
        const TIMES: &str = "(examples: 10, 1.5s, 250ms, 2m, 1h)";
        for (words, text) in [
            (&["-q", "x"][..], "-q: unknown option (see sexton --help)"),
            (&["-pTERM", "-q", "x"], "-q: unknown option (see sexton --help)"),
            (&["-vq", "x"], "-q: unknown option (see sexton --help)"),
            (&["--quux=1", "x"], "--quux: unknown option (see sexton --help)"),
            (&["--verbos", "x"], "--verbos: unknown option, did you mean --verbose? (see sexton --help)"),
            (&["--=", "x"], "--: unknown option (see sexton --help)"),
            (&["--verbose=2", "x"], "--verbose takes no value (got '2')"),
            (&["-e1", "--verbose="], "--verbose takes no value (got '')"),
            (&["--pause=1"], "--pause takes no value (got '1')"),
            (&["-p"], "-p needs a value: SIG"),
            (&["-e1", "-e"], "-e needs a value: CODE"),
            (&["--rewrite"], "--rewrite needs a value: FROM:TO"),
            (&["--install"], "--install needs a value: PATH"),
            (&["-p", "FOO", "x"], &format!("-p: invalid signal 'FOO' {SIGNALS}")),
            (&["-p0", "x"], &format!("-p: invalid signal '0' {SIGNALS}")),
            (
                &["--parent-death-signal=", "x"],
                &format!("--parent-death-signal: invalid signal '' {SIGNALS}"),
            ),
            (&["-e256", "x"], "-e: invalid exit code '256' (0 to 255)"),
            (&["-e", "-1", "x"], "-e: invalid exit code '-1' (0 to 255)"),
            (&["-k", "-1", "x"], &format!("-k: invalid duration '-1' {TIMES}")),
            (&["--grace=soon", "x"], &format!("--grace: invalid duration 'soon' {TIMES}")),
            (&["-d99999999999h", "x"], &format!("-d: invalid duration '99999999999h' {TIMES}")),
            (&["-x", "soon", "x"], &format!("-x: invalid duration 'soon' {TIMES}")),
            (&["--timeout"], "--timeout needs a value: TIME"),
            (&["--stop-signal=FOO", "x"], &format!("--stop-signal: invalid signal 'FOO' {SIGNALS}")),
            (
                &["--stop-signal", "kill", "x"],
                "--stop-signal: invalid stop signal 'kill' (KILL, STOP and CHLD are never forwarded)",
            ),
            (&["-T=log", "x"], "-T: invalid path 'log' (it must be absolute)"),
            (&["--termination-log=", "x"], "--termination-log: invalid path '' (it must be absolute)"),
            (&["-z=many"], "-z: invalid count 'many' (a whole number)"),
            (&["--zombies="], "--zombies: invalid count '' (a whole number)"),
            (&["--top=soon"], &format!("--top: invalid duration 'soon' {TIMES}")),
            (&["--format=xml"], "--format: invalid format 'xml' (text or json)"),
            (&["--format"], "--format needs a value: FORMAT"),
            (&["-r", "TERM", "x"], "-r: invalid rewrite 'TERM' (expected FROM:TO)"),
            (&["-r", "TERM:", "x"], "-r: invalid rewrite 'TERM:' (TO is neither a signal nor 0)"),
            (&["-r", "0:TERM", "x"], "-r: invalid rewrite '0:TERM' (FROM is not a signal)"),
            (
                &["-r", "KILL:TERM", "x"],
                "-r: invalid rewrite 'KILL:TERM' (KILL, STOP and CHLD cannot be rewritten)",
            ),
        ] {
            assert_eq!(refused(words), text);
        }
    }

    #[test]
    fn the_variable_holds_options_only() {
        let mut settings = Settings::default();
        assert_eq!(settings.read_variable(b" -vv\t-p\n TERM  -A "), Ok(()));
        assert_eq!(settings.verbosity, 2);
        assert_eq!(settings.config.scope, Scope::Everything);
        assert_eq!(settings.read_variable(b""), Ok(()));
        assert_eq!(settings.read_variable(b"-h ls"), Ok(()));
        assert_eq!(settings.mode, Mode::Print(InfoPage::Help));
        for (value, text) in [
            (&b"-v ls"[..], "'ls' is not an option"),
            (b"-v -- -v", "'--' is not an option"),
            (b"-p", "-p needs a value: SIG"),
            (b"-q", "-q: unknown option (see sexton --help)"),
            (b"-e x\ty", "-e: invalid exit code 'x' (0 to 255)"),
        ] {
            assert_eq!(Settings::default().read_variable(value).unwrap_err().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn no_words_make_it_panic(words in proptest::collection::vec(any::<Vec<u8>>(), 0..6)) {
            let mut words = words.iter().map(Vec::as_slice);
            let _ = Settings::default().read_words(&mut || words.next());
        }

        #[test]
        fn no_near_miss_makes_it_panic(words in proptest::collection::vec("-{0,2}[a-zA-Z:=0-9-]{0,24}", 0..6)) {
            let mut words = words.iter().map(String::as_bytes);
            if let Err(error) = Settings::default().read_words(&mut || words.next()) {
                prop_assert!(!error.to_string().is_empty());
            }
        }

        #[test]
        fn no_variable_makes_it_panic(value in any::<Vec<u8>>()) {
            let _ = Settings::default().read_variable(&value);
        }
    }
}
