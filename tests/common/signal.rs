//! Signals by name. The table is the tests' own: were it sexton's, a wrong entry there
//! would go unnoticed.

use std::fmt;

/// A signal, by the kernel's number; it is shown as its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Signal(i32);

macro_rules! signals {
    ($($name:ident $number:literal),* $(,)?) => {
        $(pub(crate) const $name: Signal = Signal($number);)*

        /// Those below the real-time signals.
        const NAMES: &[(i32, &str)] = &[$(($number, stringify!($name))),*];
    };
}

// The numbers of signal(7) for x86, Arm and most others.
signals![
    SIGHUP 1, SIGINT 2, SIGQUIT 3, SIGILL 4, SIGTRAP 5, SIGABRT 6, SIGBUS 7, SIGFPE 8,
    SIGKILL 9, SIGUSR1 10, SIGSEGV 11, SIGUSR2 12, SIGPIPE 13, SIGALRM 14, SIGTERM 15,
    SIGSTKFLT 16, SIGCHLD 17, SIGCONT 18, SIGSTOP 19, SIGTSTP 20, SIGTTIN 21, SIGTTOU 22,
    SIGURG 23, SIGXCPU 24, SIGXFSZ 25, SIGVTALRM 26, SIGPROF 27, SIGWINCH 28, SIGIO 29,
    SIGPWR 30, SIGSYS 31,
];

/// The first real-time signal that C libraries offer; 32 and 33 are for themselves.
pub(crate) const SIGRTMIN: Signal = Signal(34);

/// The last one.
pub(crate) const SIGRTMAX: Signal = Signal(64);

/// The real-time signal that is so many after `SIGRTMIN`.
pub(crate) const fn rtmin(plus: i32) -> Signal {
    Signal(SIGRTMIN.0 + plus)
}

/// The two real-time signals that C libraries keep for themselves.
pub(crate) const C_LIBRARY_SIGNALS: [Signal; 2] = [Signal(32), Signal(33)];

impl Signal {
    pub(crate) const fn number(self) -> i32 {
        self.0
    }

    /// A number that the kernel gave.
    pub(crate) fn from_number(number: i32) -> Self {
        assert!((1..=64).contains(&number), "no signal {number}");
        Self(number)
    }

    /// All that the kernel has.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (1..=64).map(Self)
    }

    /// The one that is shown like this.
    pub(crate) fn from_name(name: &str) -> Self {
        Self::all().find(|signal| signal.to_string() == name).unwrap_or_else(|| panic!("no signal {name:?}"))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if let Some((_, name)) = NAMES.iter().find(|(number, _)| *number == self.0) {
            return f.write_str(name);
        }
        match *self {
            SIGRTMIN => f.write_str("SIGRTMIN"),
            SIGRTMAX => f.write_str("SIGRTMAX"),
            Self(number @ 32..=33) => write!(f, "SIG{number}"),
            Self(number) => write!(f, "SIGRTMIN+{}", number - SIGRTMIN.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
