//! Other inits' names: called by one of them, sexton takes that program's defaults,
//! environment variables and ways. The options are the same under every name.

#![forbid(unsafe_code)]

use crate::cli::Settings;
use crate::log::Level;
use crate::supervise::forward::Scope;
use crate::sys::Environment;
use crate::sys::path::base_name;
use crate::sys::signal::Signal;
use crate::units::decimal;

/// Which program sexton was called as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// Itself.
    Sexton,
    /// tini, which Docker calls docker-init.
    Tini,
    /// dumb-init.
    DumbInit,
    /// catatonit, which Podman calls podman-init.
    Catatonit,
}

/// Where the command is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// Where it would have been in our place: in a session of its own where we lead
    /// one, in a process group of its own elsewhere.
    AsInOurPlace,
    /// In a session of its own.
    OwnSession,
    /// In our process group.
    OurGroup,
}

impl Dialect {
    /// The one that goes with the name in `argv[0]`.
    pub fn of(name: &[u8]) -> Self {
        let base = base_name(name);
        NAMES.iter().find(|(known, _)| *known == base).map_or(Self::Sexton, |(_, dialect)| *dialect)
    }

    /// The settings to begin with, before any option.
    pub fn defaults(self, environment: Environment) -> Settings<'static> {
        let value = |name| environment.get(name);
        let is_set = |name| value(name).is_some();
        let mut settings = Settings::default();
        match self {
            Self::Sexton => {}
            Self::Tini => {
                let group = is_set("TINI_KILL_PROCESS_GROUP");
                settings.scope = if group { Scope::Group } else { Scope::Command };
                settings.adopt = is_set("TINI_SUBREAPER");
                // Its levels begin one below ours: 0 silences even warnings, 1 is usual.
                if let Some(level) = value("TINI_VERBOSITY").and_then(decimal) {
                    settings.warn = level > 0;
                    settings.verbosity = level.saturating_sub(1).min(u32::from(u8::MAX)) as u8;
                }
            }
            Self::DumbInit => {
                settings.adopt = false;
                if value("DUMB_INIT_SETSID") == Some(b"0") {
                    settings.scope = Scope::Command;
                }
                if value("DUMB_INIT_DEBUG") == Some(b"1") {
                    settings.verbosity = Level::Trace as u8;
                }
            }
            Self::Catatonit => {
                settings.scope = Scope::Command;
                if is_set("CATATONIT_DEBUG") {
                    settings.verbosity = Level::Trace as u8;
                }
            }
        }
        settings
    }

    /// What is left to say when the options have been read.
    pub fn complete(self, settings: &mut Settings) {
        // Who is to be waited for must become a child of ours.
        settings.adopt |= settings.plan.waits_for_others();
        // Outside of an orphaned group the terminal's stop signals would stop the
        // command, but a session of its own is one. STOP stops it.
        if self == Self::DumbInit && settings.scope != Scope::Command {
            for signal in [Signal::TSTP, Signal::TTIN, Signal::TTOU] {
                settings.rewrites.set_default(signal, Signal::STOP);
            }
        }
    }

    /// Where the command is to be.
    pub fn placement(self, scope: Scope) -> Placement {
        match (self, scope) {
            (Self::DumbInit, Scope::Command) => Placement::OurGroup,
            (Self::DumbInit, _) => Placement::OwnSession,
            _ => Placement::AsInOurPlace,
        }
    }

    /// Whether TSTP, TTIN and TTOU, from whomever, are forwarded and then stop us.
    pub fn suspends_itself(self) -> bool {
        self == Self::DumbInit
    }

    /// Whether the command's process group gets TERM when the command has ended.
    pub fn ends_the_group(self, scope: Scope) -> bool {
        self == Self::DumbInit && scope != Scope::Command
    }

    /// Whether to warn where orphans go to somebody else.
    pub fn warns_of_orphans(self) -> bool {
        self == Self::Tini
    }

    /// What the version begins with. Docker and Podman look for tini's.
    pub fn version_prefix(self) -> &'static str {
        match self {
            Self::Tini | Self::Catatonit => "tini version",
            Self::Sexton | Self::DumbInit => "sexton",
        }
    }
}

/// The names by which others are called.
const NAMES: &[(&[u8], Dialect)] = &[
    (b"tini", Dialect::Tini),
    (b"tini-static", Dialect::Tini),
    (b"docker-init", Dialect::Tini),
    (b"dumb-init", Dialect::DumbInit),
    (b"catatonit", Dialect::Catatonit),
    (b"podman-init", Dialect::Catatonit),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_a_directory() {
        for (name, dialect) in [
            ("sexton", Dialect::Sexton),
            ("/sbin/docker-init", Dialect::Tini),
            ("tini", Dialect::Tini),
            ("./tini-static", Dialect::Tini),
            ("/usr/bin/dumb-init", Dialect::DumbInit),
            ("/run/podman-init", Dialect::Catatonit),
            ("/usr/libexec/podman/catatonit", Dialect::Catatonit),
            ("tini2", Dialect::Sexton),
            ("tini/", Dialect::Sexton),
            ("", Dialect::Sexton),
        ] {
            assert_eq!(Dialect::of(name.as_bytes()), dialect, "{name}");
        }
    }

    #[test]
    fn where_the_command_is_put() {
        for dialect in [Dialect::Sexton, Dialect::Tini, Dialect::Catatonit] {
            for scope in [Scope::Command, Scope::Group, Scope::Everything] {
                assert_eq!(dialect.placement(scope), Placement::AsInOurPlace);
                assert!(!dialect.ends_the_group(scope));
            }
        }
        assert_eq!(Dialect::DumbInit.placement(Scope::Group), Placement::OwnSession);
        assert_eq!(Dialect::DumbInit.placement(Scope::Command), Placement::OurGroup);
        assert!(!Dialect::DumbInit.ends_the_group(Scope::Command));
    }

    #[test]
    fn to_wait_for_others_is_to_adopt_them() {
        for (options, adopts) in [(&[][..], false), (&["-k9"], false), (&["-t9"], true), (&["-a"], true)] {
            let mut settings = Settings { adopt: false, ..Settings::default() };
            let mut words = options.iter().map(|word| word.as_bytes());
            settings.read(&mut || words.next()).unwrap();
            Dialect::DumbInit.complete(&mut settings);
            assert_eq!(settings.adopt, adopts, "{options:?}");
        }
    }

    #[test]
    fn dumb_init_stops_its_session_unless_told_otherwise() {
        let rewritten = |options: &[&str]| {
            let mut settings = Settings::default();
            let mut words = options.iter().map(|word| word.as_bytes());
            settings.read(&mut || words.next()).unwrap();
            Dialect::DumbInit.complete(&mut settings);
            settings.rewrites.apply(Signal::TSTP)
        };
        assert_eq!(rewritten(&[]), Some(Signal::STOP));
        assert_eq!(rewritten(&["-r", "TSTP:TERM"]), Some(Signal::TERM));
        assert_eq!(rewritten(&["-r", "TSTP:TSTP"]), Some(Signal::TSTP));
        assert_eq!(rewritten(&["-r", "TSTP:0"]), None);
        assert_eq!(rewritten(&["-c"]), Some(Signal::TSTP));
    }
}
