//! The names that sexton answers to: called as another init, it takes that program's
//! defaults, environment variables and quirks. The options are the same under every name.

#![forbid(unsafe_code)]

use super::Settings;
use crate::log::Level;
use crate::supervise::forward::Scope;
use crate::supervise::job::Placement;
use crate::sys::args::Environment;
use crate::sys::path::base_name;
use crate::sys::signal::Signal;
use crate::units::parse_u32;

/// What a name changes.
pub struct Profile {
    /// The base names of `argv[0]` under which it applies.
    names: &'static [&'static str],
    /// What `--version` prints before the number. Docker and Podman look for tini's.
    pub version_name: &'static str,
    /// Which processes get the signals, unless an option chooses others.
    scope: Scope,
    /// Whether to adopt orphans when not PID 1, without an option.
    adopt: bool,
    /// Whether to warn where orphans are not adopted.
    warn_of_orphans: bool,
    /// Reads the program's own environment variables.
    read_environment: fn(&mut Settings, Environment),
    /// Changes what depends on the options, when all are known.
    finish: fn(&mut Settings),
}

const SEXTON: Profile = Profile {
    names: &["sexton"],
    version_name: "sexton",
    scope: Scope::Group,
    adopt: true,
    warn_of_orphans: false,
    read_environment: |_, _| {},
    finish: |_| {},
};

const PROFILES: &[Profile] = &[
    SEXTON,
    Profile {
        names: &["tini", "tini-static", "docker-init"],
        version_name: "tini version",
        scope: Scope::Command,
        adopt: false,
        warn_of_orphans: true,
        read_environment: read_tini_environment,
        finish: |_| {},
    },
    Profile {
        names: &["dumb-init"],
        version_name: "sexton",
        scope: Scope::Group,
        adopt: false,
        warn_of_orphans: false,
        read_environment: read_dumb_init_environment,
        finish: take_dumb_init_quirks,
    },
    Profile {
        names: &["catatonit", "podman-init"],
        version_name: "tini version",
        scope: Scope::Command,
        adopt: true,
        warn_of_orphans: false,
        read_environment: |settings, environment| {
            if environment.get("CATATONIT_DEBUG").is_some() {
                settings.verbosity = Level::Trace as u8;
            }
        },
        finish: |_| {},
    },
];

impl Profile {
    /// The profile for the name in `argv[0]`.
    pub fn of(name: &[u8]) -> &'static Self {
        let base = base_name(name);
        let known = |profile: &&Self| profile.names.iter().any(|known| known.as_bytes() == base);
        PROFILES.iter().find(known).unwrap_or(const { &SEXTON })
    }

    /// The settings to begin with, before any option.
    pub fn defaults(&self, environment: Environment) -> Settings<'static> {
        let mut settings = Settings::default();
        settings.config.scope = self.scope;
        settings.config.adopt = self.adopt;
        settings.config.warn_of_orphans = self.warn_of_orphans;
        (self.read_environment)(&mut settings, environment);
        settings
    }

    /// Completes the settings when the options have been read.
    pub fn finish(&self, settings: &mut Settings) {
        let config = &mut settings.config;
        // A process that is waited for must become a child of ours.
        config.adopt |= config.stop_policy.waits_for_others();
        // TERM is rewritten as if it had arrived; but to drop that is to drop no time limit.
        if let (Some(timeout), Some(signal)) =
            (&mut config.stop_policy.timeout, config.rewrites.apply(Signal::TERM))
        {
            timeout.signal = signal;
        }
        (self.finish)(settings);
    }
}

fn read_tini_environment(settings: &mut Settings, environment: Environment) {
    if environment.get("TINI_KILL_PROCESS_GROUP").is_some() {
        settings.config.scope = Scope::Group;
    }
    settings.config.adopt = environment.get("TINI_SUBREAPER").is_some();
    // Its levels begin one below ours: 0 silences even warnings, 1 is the default.
    if let Some(level) = environment.get("TINI_VERBOSITY").and_then(parse_u32) {
        settings.config.warn_of_orphans = level > 0;
        settings.verbosity = level.saturating_sub(1).min(u32::from(u8::MAX)) as u8;
    }
}

fn read_dumb_init_environment(settings: &mut Settings, environment: Environment) {
    if environment.get("DUMB_INIT_SETSID") == Some(b"0") {
        settings.config.scope = Scope::Command;
    }
    if environment.get("DUMB_INIT_DEBUG") == Some(b"1") {
        settings.verbosity = Level::Trace as u8;
    }
}

/// dumb-init's command leads a session, or with `-c` stays in dumb-init's process group.
/// TSTP, TTIN and TTOU suspend dumb-init, too. When the command has exited its group gets
/// TERM, unless an option says what the remaining processes get.
fn take_dumb_init_quirks(settings: &mut Settings) {
    let config = &mut settings.config;
    config.suspend_on_stop_signals = true;
    if config.scope == Scope::Command {
        config.placement = Placement::SharedGroup;
        return;
    }
    config.placement = Placement::NewSession;
    config.terminate_group = !config.stop_policy.waits_for_others();
    // A session of its own is an orphaned group, which the terminal's stop signals do not
    // stop. STOP does.
    for signal in [Signal::TSTP, Signal::TTIN, Signal::TTOU] {
        config.rewrites.set_default(signal, Signal::STOP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(name: &str, options: &[&'static str]) -> Settings<'static> {
        let profile = Profile::of(name.as_bytes());
        let mut settings = Settings::default();
        settings.config.adopt = profile.adopt;
        let mut words = options.iter().map(|word| word.as_bytes());
        settings.read_words(&mut || words.next()).unwrap();
        profile.finish(&mut settings);
        settings
    }

    #[test]
    fn names_with_and_without_a_directory() {
        for (name, known) in [
            ("sexton", "sexton"),
            ("/sbin/docker-init", "tini"),
            ("tini", "tini"),
            ("./tini-static", "tini"),
            ("/usr/bin/dumb-init", "dumb-init"),
            ("/run/podman-init", "catatonit"),
            ("/usr/libexec/podman/catatonit", "catatonit"),
            ("tini2", "sexton"),
            ("tini/", "sexton"),
            ("", "sexton"),
        ] {
            assert_eq!(Profile::of(name.as_bytes()).names[0], known, "{name}");
        }
    }

    #[test]
    fn only_dumb_init_places_the_command_otherwise() {
        for name in ["sexton", "tini", "catatonit"] {
            for option in ["-c", "-g", "-A"] {
                let config = finished(name, &[option]).config;
                assert_eq!((config.placement, config.terminate_group), (Placement::Auto, false));
            }
        }
        let config = finished("dumb-init", &[]).config;
        assert_eq!((config.placement, config.terminate_group), (Placement::NewSession, true));
        let config = finished("dumb-init", &["-c"]).config;
        assert_eq!((config.placement, config.terminate_group), (Placement::SharedGroup, false));
    }

    /// With both, a process of the group would get TERM twice.
    #[test]
    fn a_policy_for_other_processes_goes_before_dumb_inits() {
        for (options, terminates) in [(&[][..], true), (&["-k9"], true), (&["-t9"], false), (&["-a"], false)]
        {
            assert_eq!(finished("dumb-init", options).config.terminate_group, terminates, "{options:?}");
        }
    }

    #[test]
    fn a_time_limit_forwards_what_a_rule_has_for_term() {
        for (options, forwarded) in [
            (&["-x9"][..], Signal::TERM),
            (&["-x9", "-rTERM:QUIT"], Signal::QUIT),
            (&["-rTERM:INT", "-x9"], Signal::INT),
            (&["-x9", "-rTERM:0"], Signal::TERM),
        ] {
            let timeout = finished("sexton", options).config.stop_policy.timeout;
            assert_eq!(timeout.map(|timeout| timeout.signal), Some(forwarded), "{options:?}");
        }
    }

    #[test]
    fn to_wait_for_processes_is_to_adopt_them() {
        for (options, adopts) in [(&[][..], false), (&["-k9"], false), (&["-t9"], true), (&["-a"], true)] {
            assert_eq!(finished("dumb-init", options).config.adopt, adopts, "{options:?}");
        }
    }

    #[test]
    fn dumb_init_stops_its_session_unless_told_otherwise() {
        let rewritten =
            |options: &[&'static str]| finished("dumb-init", options).config.rewrites.apply(Signal::TSTP);
        assert_eq!(rewritten(&[]), Some(Signal::STOP));
        assert_eq!(rewritten(&["-r", "TSTP:TERM"]), Some(Signal::TERM));
        assert_eq!(rewritten(&["-r", "TSTP:TSTP"]), Some(Signal::TSTP));
        assert_eq!(rewritten(&["-r", "TSTP:0"]), None);
        assert_eq!(rewritten(&["-c"]), Some(Signal::TSTP));
    }
}
