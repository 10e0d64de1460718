//! The commands that sexton starts in tests, and what starts sexton.
//!
//! `sexton-test-helper launch …` starts a program under given conditions; with a role
//! (`tests/common/protocol.rs`) it plays that.

#[allow(dead_code)]
#[path = "../common/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../common/protocol.rs"]
mod protocol;
#[allow(dead_code)]
#[path = "../common/signal.rs"]
mod signal;
#[allow(dead_code)]
#[path = "../common/wait.rs"]
mod wait;

mod actors;
mod bare;
mod children;
mod launch;
mod load;
mod orphans;
mod stragglers;
mod system;
mod traced;
mod zombies;

use std::ffi::OsString;
use std::process::ExitCode;

use protocol::Role;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if words.first().is_some_and(|word| word == "launch") {
        return launch::launch(&words[1..]);
    }
    let (role, rest) = Role::from_args(&words);
    match role {
        Role::Receive => actors::receive(),
        Role::Count(signal) => actors::count(signal),
        Role::Die(signal) => actors::die(signal),
        Role::Bare => unreachable!("it was played before main"),
        Role::Traced => traced::wait(),
        Role::TracedProgram => traced::execute(rest),
        Role::TracedOrphan => traced::orphan(),
        Role::Descendants { count, chain } => children::descendants(count, chain),
        Role::ShowWords => actors::show_words(rest),
        Role::Standing => actors::standing(),
        Role::LeadGroup => actors::lead_group(),
        Role::JoinParentsGroup => actors::join_parents_group(),
        Role::BecomeOtherUser => actors::become_other_user(),
        Role::Orphans(count) => orphans::leave(count),
        Role::Storm(count, signal) => orphans::storm(count, signal),
        Role::Burn { cpu, memory } => orphans::burn(cpu, memory),
        Role::WithEscapedChild(escape) => children::with_escaped_child(escape),
        Role::Family => children::family(),
        Role::Adopt { silent } => children::adopt(silent, rest),
        Role::LeaveBehind { straggler, code, work } => stragglers::leave_behind(&straggler, code, work),
        Role::Straggle { straggler, work } => stragglers::straggle_here(&straggler, work),
        Role::LeaveMany { count, chained } => stragglers::leave_many(count, chained),
        Role::EnterNamespaceOf(pid) => children::enter_namespace_of(pid, rest),
        Role::Hop => stragglers::hop(),
        Role::WithZombies(zombies, count) => zombies::with_zombies(zombies, count, rest),
        Role::WithLoad(load) => load::with_load(load, rest),
        Role::ZombieInNamespaceOf(pid) => zombies::in_namespace_of(pid),
    }
}
