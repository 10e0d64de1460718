//! Signals as numbers from 1 to 64, and their names.
//!
//! A signal is no enum here: the real-time ones have no names of their own, and
//! types that leave them out (`nix::sys::signal::Signal`) lose what they cannot
//! say.

#![forbid(unsafe_code)]

use std::ffi::c_int;

use signal_hook::consts::*;

use crate::log::{Line, Show};
use crate::sys::packed::{Packed, packed_size};
use crate::units;

/// The first real-time signal that programs use. The kernel has 32 and 33 as
/// well, which C libraries keep to themselves (`signal(7)`); what they then call
/// SIGRTMIN is 34 with glibc and 35 with musl, and containers mean 34.
const RTMIN: u8 = 34;
/// The last signal of all; Linux has 64 on every architecture but MIPS.
const RTMAX: u8 = 64;

/// A signal: a number from 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signal(u8);

impl Signal {
    /// SIGHUP, 1.
    pub const HUP: Self = Self(libc::SIGHUP as u8);
    /// SIGINT, 2.
    pub const INT: Self = Self(libc::SIGINT as u8);
    /// SIGQUIT, 3.
    pub const QUIT: Self = Self(libc::SIGQUIT as u8);
    /// SIGABRT, 6.
    pub const ABRT: Self = Self(libc::SIGABRT as u8);
    /// SIGKILL, 9.
    pub const KILL: Self = Self(libc::SIGKILL as u8);
    /// SIGPIPE, 13.
    pub const PIPE: Self = Self(libc::SIGPIPE as u8);
    /// SIGTERM, 15.
    pub const TERM: Self = Self(libc::SIGTERM as u8);
    /// SIGCHLD, 17.
    pub const CHLD: Self = Self(libc::SIGCHLD as u8);
    /// SIGCONT, 18.
    pub const CONT: Self = Self(libc::SIGCONT as u8);
    /// SIGSTOP, 19.
    pub const STOP: Self = Self(libc::SIGSTOP as u8);
    /// SIGTSTP, 20.
    pub const TSTP: Self = Self(libc::SIGTSTP as u8);
    /// SIGTTIN, 21.
    pub const TTIN: Self = Self(libc::SIGTTIN as u8);
    /// SIGTTOU, 22.
    pub const TTOU: Self = Self(libc::SIGTTOU as u8);
    /// SIGXFSZ, 25.
    pub const XFSZ: Self = Self(libc::SIGXFSZ as u8);
    /// SIGWINCH, 28.
    pub const WINCH: Self = Self(libc::SIGWINCH as u8);

    /// The signal with this number, if there is one.
    pub fn new(number: c_int) -> Option<Self> {
        match u8::try_from(number) {
            Ok(number @ 1..=RTMAX) => Some(Self(number)),
            _ => None,
        }
    }

    /// Its number, 1 to 64.
    pub fn number(self) -> c_int {
        c_int::from(self.0)
    }

    /// Reads a signal as users write it: a number (`15`), a name with or without
    /// `SIG` in any case (`TERM`, `sigterm`), or one relative to the real-time
    /// range (`RTMIN+3`, `RTMAX-1`).
    ///
    /// ```
    /// # use sexton::sys::signal::Signal;
    /// assert_eq!(Signal::parse(b"sigterm"), Signal::new(15));
    /// assert_eq!(Signal::parse(b"RTMIN+3"), Signal::new(37));
    /// assert_eq!(Signal::parse(b"0"), None);
    /// ```
    pub fn parse(word: &[u8]) -> Option<Self> {
        if let Some(number) = units::decimal(word) {
            return Self::new(c_int::try_from(number).ok()?);
        }
        let name = strip_prefix_ignoring_case(word, b"SIG").unwrap_or(word);
        if let Some(offset) = strip_prefix_ignoring_case(name, b"RTMIN") {
            return Self::real_time(RTMIN, offset, b'+');
        }
        if let Some(offset) = strip_prefix_ignoring_case(name, b"RTMAX") {
            return Self::real_time(RTMAX, offset, b'-');
        }
        let (number, _) = NAMES.find(|_, known| equal_ignoring_case(name, known))?;
        Some(Self(number))
    }

    /// RTMIN or RTMAX, moved into the range between them by a signed number.
    fn real_time(end: u8, offset: &[u8], direction: u8) -> Option<Self> {
        let distance = match offset {
            [] => 0,
            [sign, digits @ ..] if *sign == direction => units::decimal(digits)?,
            _ => return None,
        };
        if distance > u32::from(RTMAX - RTMIN) {
            return None;
        }
        let number = match direction {
            b'+' => u32::from(end) + distance,
            _ => u32::from(end) - distance,
        };
        Self::new(c_int::try_from(number).ok()?)
    }
}

/// Prints the name that [`Signal::parse`] reads: `SIGTERM`, `SIGRTMIN+3`, and
/// the bare number for 32 and 33, which have none.
impl Show for Signal {
    fn show(&self, line: &mut Line) {
        let (base, distance) = match self.0 {
            RTMIN => ("SIGRTMIN", 0),
            RTMAX => ("SIGRTMAX", 0),
            // Counted from the nearer end, as `kill -l` does.
            number @ RTMIN..=49 => ("SIGRTMIN+", number - RTMIN),
            number @ 50..RTMAX => ("SIGRTMAX-", RTMAX - number),
            number => match NAMES.word(number) {
                Some(name) => {
                    line.text("SIG");
                    return line.bytes(name);
                }
                None => return line.number(u64::from(number)),
            },
        };
        line.text(base);
        if distance > 0 {
            line.number(u64::from(distance));
        }
    }
}

/// The names of signals without their `SIG`, by number.
macro_rules! names {
    ($($signal:path => $name:literal)*) => { &[$(($signal as u8, $name)),*] };
}

static NAMES: Packed<{ packed_size(KNOWN) }> = Packed::new(KNOWN);

/// Those of `signal(7)`, of which each signal prints the first. Two are not signal-hook's, as
/// not every Unix has them.
const KNOWN: &[(u8, &str)] = names! {
    SIGHUP => "HUP" SIGINT => "INT" SIGQUIT => "QUIT" SIGILL => "ILL" SIGTRAP => "TRAP"
    SIGABRT => "ABRT" SIGBUS => "BUS" SIGFPE => "FPE" SIGKILL => "KILL" SIGUSR1 => "USR1"
    SIGSEGV => "SEGV" SIGUSR2 => "USR2" SIGPIPE => "PIPE" SIGALRM => "ALRM" SIGTERM => "TERM"
    libc::SIGSTKFLT => "STKFLT" SIGCHLD => "CHLD" SIGCONT => "CONT" SIGSTOP => "STOP"
    SIGTSTP => "TSTP" SIGTTIN => "TTIN" SIGTTOU => "TTOU" SIGURG => "URG" SIGXCPU => "XCPU"
    SIGXFSZ => "XFSZ" SIGVTALRM => "VTALRM" SIGPROF => "PROF" SIGWINCH => "WINCH" SIGIO => "IO"
    libc::SIGPWR => "PWR" SIGSYS => "SYS" SIGABRT => "IOT" SIGCHLD => "CLD" SIGIO => "POLL"
};

fn strip_prefix_ignoring_case<'a>(word: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = word.split_at_checked(prefix.len())?;
    equal_ignoring_case(start, prefix).then_some(rest)
}

/// Byte by byte: the standard library's does it by sixteens, in three times the code.
fn equal_ignoring_case(word: &[u8], other: &[u8]) -> bool {
    let same = |(byte, other): (&u8, &u8)| byte.eq_ignore_ascii_case(other);
    word.len() == other.len() && word.iter().zip(other).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::shown;
    use proptest::prelude::*;

    fn parse(word: &str) -> Option<c_int> {
        Signal::parse(word.as_bytes()).map(Signal::number)
    }

    #[test]
    fn names_numbers_and_case() {
        for word in ["15", "TERM", "term", "SIGTERM", "SigTerm", "015"] {
            assert_eq!(parse(word), Some(15), "{word}");
        }
        for (word, number) in
            [("HUP", 1), ("IOT", 6), ("CLD", 17), ("STKFLT", 16), ("POLL", 29), ("PWR", 30), ("SYS", 31)]
        {
            assert_eq!(parse(word), Some(number), "{word}");
        }
    }

    #[test]
    fn names_are_those_of_signal_hook() {
        for number in 1..=31 {
            if let Some(name) = signal_hook::low_level::signal_name(number) {
                assert_eq!(shown(&Signal::new(number).unwrap()), name.as_bytes());
            }
        }
    }

    #[test]
    fn real_time_signals_count_from_34_and_64() {
        for (word, number) in [
            ("RTMIN", 34),
            ("rtmin+3", 37),
            ("SIGRTMIN+30", 64),
            ("RTMAX", 64),
            ("RTMAX-1", 63),
            ("RTMAX-30", 34),
            ("32", 32),
        ] {
            assert_eq!(parse(word), Some(number), "{word}");
        }
    }

    #[test]
    fn nonsense_is_no_signal() {
        for word in [
            "",
            "0",
            "65",
            "-1",
            "+1",
            " 15",
            "15 ",
            "4294967311",
            "SIG",
            "SIGSIGTERM",
            "SIG15",
            "TERMS",
            "RTMIN-1",
            "RTMIN+",
            "RTMIN+31",
            "RTMIN3",
            "RTMAX+1",
            "RTMAX-31",
            "RTMIN+4294967296",
            "RT",
            "NULL",
            "EXIT",
        ] {
            assert_eq!(parse(word), None, "{word:?}");
        }
    }

    #[test]
    fn every_signal_reads_back_as_it_is_printed() {
        for number in 1..=64 {
            let signal = Signal::new(number).unwrap();
            assert_eq!(Signal::parse(&shown(&signal)), Some(signal));
        }
        assert_eq!(shown(&Signal(37)), b"SIGRTMIN+3");
        assert_eq!(shown(&Signal(62)), b"SIGRTMAX-2");
        assert_eq!(Signal::new(0), None);
        assert_eq!(Signal::new(65), None);
        assert_eq!(Signal::new(-1), None);
    }

    proptest! {
        #[test]
        fn no_word_makes_it_panic(word in any::<Vec<u8>>()) {
            let _ = Signal::parse(&word);
        }

        #[test]
        fn what_it_accepts_it_prints_and_accepts_again(word in "(SIG)?([A-Z]{2,6}|RTM(IN|AX)[-+][0-9]{1,2}|[0-9]{1,2})") {
            if let Some(signal) = Signal::parse(word.as_bytes()) {
                prop_assert_eq!(Signal::parse(&shown(&signal)), Some(signal));
            }
        }
    }
}
