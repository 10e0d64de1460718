//! Other inits under the same tests (scripts/compare): `SEXTON_PEER` names the one that
//! `SEXTON_BIN` is.

use std::ffi::OsString;

use crate::support::words;

#[derive(Clone, Copy)]
pub(crate) enum Peer {
    Tini,
    DumbInit,
    Catatonit,
}

/// What sexton does without being asked, and another init perhaps not.
#[derive(Clone, Copy)]
pub(crate) enum Ask {
    /// To forward signals to the command's process group.
    ForwardToGroup,
    /// To adopt orphans when it is not PID 1.
    AdoptOrphans,
}

impl Peer {
    /// The one under test, if it is not sexton.
    pub(crate) fn under_test() -> Option<Self> {
        match std::env::var("SEXTON_PEER").ok()?.as_str() {
            "tini" => Some(Self::Tini),
            "dumb-init" => Some(Self::DumbInit),
            "catatonit" => Some(Self::Catatonit),
            other => panic!("SEXTON_PEER: {other:?} is no init that these tests know"),
        }
    }

    /// The option for that, if it needs and has one.
    fn option(self, ask: Ask) -> Option<&'static str> {
        match (self, ask) {
            (Self::Tini | Self::Catatonit, Ask::ForwardToGroup) => Some("-g"),
            (Self::Tini, Ask::AdoptOrphans) => Some("-s"),
            _ => None,
        }
    }

    /// The option that makes it log each orphan that it reaps.
    pub(crate) fn logs_orphans(self) -> Option<&'static str> {
        match self {
            Self::Tini => Some("-w"),
            Self::DumbInit => Some("-v"),
            Self::Catatonit => None,
        }
    }
}

/// The arguments of the init under test before the command: these options, and, where it is
/// a peer, those that ask for what sexton does without.
pub(crate) fn arguments(options: &[OsString], asks: &[Ask]) -> Vec<OsString> {
    let Some(peer) = Peer::under_test() else { return options.to_vec() };
    let asked: Vec<&str> = asks.iter().filter_map(|ask| peer.option(*ask)).collect();
    let mut arguments = words(&asked);
    arguments.extend_from_slice(options);
    // Else an option of the command would be the init's.
    if options.last().is_none_or(|last| last != "--") {
        arguments.push("--".into());
    }
    arguments
}
