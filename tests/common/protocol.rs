//! What the tests ask of the helper, as words of a command line.

use std::ffi::OsString;
use std::time::Duration;

use super::signal::Signal;

/// What a program is to find when it starts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    /// It is PID 1 of a PID namespace, with a /proc of that.
    Namespace,
    /// As PID 1 it has no /proc.
    NoProc,
    Ignored(Signal),
    Blocked(Signal),
    /// Provided that it is blocked.
    Pending(Signal),
    /// A descriptor is closed.
    Closed(i32),
    /// A descriptor is open on /dev/null.
    Open(i32),
    /// How many processes its user may have.
    ProcessLimit(u64),
    /// It runs as the user and group of this number.
    User(u32),
    /// It leads a session, and has the terminal as these descriptors.
    Terminal {
        path: String,
        descriptors: Vec<i32>,
        controls_the_session: bool,
    },
    /// setpgid, setsid and ioctl fail with this errno, as they do in gVisor and lx zones.
    JobControlFails(i32),
    /// A system call, by its number, fails with this errno, as under a container engine's
    /// seccomp filter.
    CallFails {
        call: i64,
        errno: i32,
    },
    /// How many descriptors it may have.
    DescriptorLimit(u64),
    /// Its standard error is a file that can hold nothing more.
    FullStandardError,
    /// It is a child subreaper.
    Subreaper,
    /// Its cgroup, of version 2, is the root of a cgroup namespace, as a container's is.
    CgroupNamespace,
    /// It may not signal other users' processes.
    WithoutCapKill,
    WorkingDirectory(String),
}

impl Condition {
    pub(crate) fn to_arg(&self) -> String {
        match self {
            Self::Namespace => "namespace".into(),
            Self::NoProc => "no-proc".into(),
            Self::Ignored(signal) => format!("ignored={signal}"),
            Self::Blocked(signal) => format!("blocked={signal}"),
            Self::Pending(signal) => format!("pending={signal}"),
            Self::Closed(descriptor) => format!("closed={descriptor}"),
            Self::Open(descriptor) => format!("open={descriptor}"),
            Self::ProcessLimit(limit) => format!("process-limit={limit}"),
            Self::User(id) => format!("user={id}"),
            Self::Terminal { path, descriptors, controls_the_session } => {
                let kind = if *controls_the_session { "terminal" } else { "other-terminal" };
                let descriptors: Vec<String> = descriptors.iter().map(i32::to_string).collect();
                format!("{kind}={path}:{}", descriptors.join(","))
            }
            Self::JobControlFails(errno) => format!("job-control-fails={errno}"),
            Self::CallFails { call, errno } => format!("call-fails={call}:{errno}"),
            Self::DescriptorLimit(limit) => format!("descriptor-limit={limit}"),
            Self::FullStandardError => "full-standard-error".into(),
            Self::Subreaper => "subreaper".into(),
            Self::CgroupNamespace => "cgroup-namespace".into(),
            Self::WithoutCapKill => "without-cap-kill".into(),
            Self::WorkingDirectory(path) => format!("working-directory={path}"),
        }
    }

    pub(crate) fn from_arg(word: &str) -> Self {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || value.parse().expect("a number");
        match name {
            "namespace" => Self::Namespace,
            "no-proc" => Self::NoProc,
            "ignored" => Self::Ignored(Signal::from_name(value)),
            "blocked" => Self::Blocked(Signal::from_name(value)),
            "pending" => Self::Pending(Signal::from_name(value)),
            "closed" => Self::Closed(number()),
            "open" => Self::Open(number()),
            "process-limit" => Self::ProcessLimit(value.parse().expect("a number")),
            "user" => Self::User(value.parse().expect("a number")),
            "terminal" | "other-terminal" => {
                let (path, descriptors) = value.split_once(':').expect("PATH:DESCRIPTORS");
                let descriptors = descriptors.split(',').filter(|word| !word.is_empty());
                Self::Terminal {
                    path: path.into(),
                    descriptors: descriptors.map(|word| word.parse().expect("a descriptor")).collect(),
                    controls_the_session: name == "terminal",
                }
            }
            "job-control-fails" => Self::JobControlFails(number()),
            "call-fails" => {
                let (call, errno) = value.split_once(':').expect("CALL:ERRNO");
                Self::CallFails {
                    call: call.parse().expect("a call's number"),
                    errno: errno.parse().expect("an errno"),
                }
            }
            "descriptor-limit" => Self::DescriptorLimit(value.parse().expect("a number")),
            "full-standard-error" => Self::FullStandardError,
            "subreaper" => Self::Subreaper,
            "cgroup-namespace" => Self::CgroupNamespace,
            "without-cap-kill" => Self::WithoutCapKill,
            "working-directory" => Self::WorkingDirectory(value.into()),
            other => panic!("no condition {other:?}"),
        }
    }
}

/// What the helper plays. Where a program is named, it is the words that follow.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Role {
    /// Prints `ready PID`, then the name of each signal that arrives.
    Receive,
    /// Prints `ready`, and, when SIGRTMAX arrives, how often this one has.
    Count(Signal),
    /// Dies of a signal, by its default action.
    Die(Signal),
    /// Makes next to no system call, and needs none to succeed. Leaves two orphans: one exits
    /// with 3; one leads a session, and prints `ready PID`. A TERM kills the command and that
    /// one.
    Bare,
    /// Asks its parent to trace it, prints `ready`, and waits until a signal kills it.
    Traced,
    /// Asks its parent to trace it, and executes a program.
    TracedProgram,
    /// Has an orphan that asks sexton to trace it, is stopped so by a signal, prints
    /// `still here`, and exits with 3. Waits for the end of its standard input.
    TracedOrphan,
    /// Has so many descendants, each the parent of the next or all of them children. Prints
    /// `ready`, `all` when each of them has got USR1, and waits for the end of its standard
    /// input.
    Descendants { count: u32, chain: bool },
    /// Prints the words that follow and the environment, byte for byte.
    ShowWords,
    /// Prints what it leads (`session`, `group` or `nothing`), and whether it is in the
    /// foreground or background of a controlling terminal, or has none.
    Standing,
    /// Makes itself the leader of a process group, as daemons do, and prints how that went.
    LeadGroup,
    /// Moves into the process group of its parent, then receives.
    JoinParentsGroup,
    /// Becomes another user, then receives.
    BecomeOtherUser,
    /// Leaves orphans behind that end at once, prints `left`, and waits for the end of its
    /// standard input.
    Orphans(u32),
    /// Makes orphans, each in a session of its own, prints `ready`, and lets them all exit at
    /// the same instant when a byte comes on standard input. Prints, when SIGRTMAX arrives, how often the other signal
    /// has, and waits for the end of its standard input.
    Storm(u32, Signal),
    /// Receives, as does an orphan that has left; lines of the latter begin with `child`.
    WithEscapedChild(Escape),
    /// Prints `child PID` of a child in its process group; both receive, the child in
    /// silence.
    Family,
    /// Leaves a straggler behind, and exits with the code as soon as that one is ready.
    LeaveBehind { straggler: Vec<Straggler>, code: u8, work: Duration },
    /// Prints `ready`, and is such a straggler itself.
    Straggle { straggler: Vec<Straggler>, work: Duration },
    /// Exits with 5, and leaves so many processes behind, which any signal ends: each the
    /// parent of the next, or all side by side.
    LeaveMany { count: u32, chained: bool },
    /// Runs a program in the PID namespace of this process, and exits as it did.
    EnterNamespaceOf(i32),
    /// Exits with 5, and leaves processes behind that ignore all signals, fork and exit, as
    /// their children do in their turn, for ever.
    Hop,
    /// Leaves an orphan behind that uses so much CPU time and MiB of memory.
    Burn { cpu: Duration, memory: usize },
    /// Makes a zombie, a stopped child, and, if it is to, one that sends no signal when it
    /// exits; then executes a program, whose children they become.
    Adopt { silent: bool },
    /// Makes zombies, runs a program, and exits as that did.
    WithZombies(Zombies, u32),
    /// Has a child `worker` that does this, runs a program, and exits as that did.
    WithLoad(Load),
    /// Has a zombie in the PID namespace of this process, prints `ready`, and waits for the
    /// end of its standard input.
    ZombieInNamespaceOf(i32),
}

/// How a process leaves the others of its command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Escape {
    ToSession,
    ToGroup,
}

/// What a straggler is like. It receives, its lines beginning with `straggler`; at TERM or
/// QUIT it works for a while, prints `last line`, and exits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Straggler {
    /// It leads a session.
    Session,
    /// It leads a process group.
    Group,
    /// It stops itself when it is ready.
    Stopped,
    /// At TERM it forks and exits, and the child, which has got no TERM, goes on.
    Forks,
    /// It does not exit at TERM, nor does a child that it has in another session.
    Deaf,
    /// At TERM a child does the work, prints `saved`, and would be killed by a TERM itself.
    Helper,
    /// It has workers, which TERM would kill. At TERM it lets each finish its job: that
    /// takes a while, and then prints `job done`.
    Master,
}

/// Whose the zombies are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Zombies {
    /// The helper's.
    Own,
    /// A stopped child's.
    OfStopped,
    /// The helper's, with names that are hard to read, one after the other.
    OddlyNamed,
    /// The helper's, of three programs in turn: `alpha`, `beta` and `gamma`.
    OfThreePrograms,
    /// No zombies, but processes whose main thread has ended alone.
    MainThreads,
    /// Orphans, which the helper traces.
    Traced,
    /// The helper's, which reaps them a moment later.
    ReapedLate,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Load {
    /// It starts more and more children `leaked`, which do not end.
    Leak,
    /// It starts one child `brief` after the other, each of which uses 30 ms of CPU time.
    Brief,
    /// It waits in the kernel, in state D, for a child that does nothing.
    Vfork,
    /// It uses a CPU.
    Steady,
}

/// Names for the values of an enum.
macro_rules! names {
    ($type:ident { $($value:ident $name:literal),* $(,)? }) => {
        impl $type {
            fn name(self) -> &'static str {
                match self { $(Self::$value => $name),* }
            }

            fn from_name(name: &str) -> Self {
                match name { $($name => Self::$value,)* other => panic!("no {} {other:?}", stringify!($type)) }
            }
        }
    };
}

names!(Escape { ToSession "session", ToGroup "group" });
names!(Straggler { Session "session", Group "group", Stopped "stopped", Forks "forks", Deaf "deaf", Helper "helper", Master "master" });
names!(Load { Leak "leak", Brief "brief", Vfork "vfork", Steady "steady" });
names!(Zombies {
    Own "own",
    OfStopped "of-stopped",
    OddlyNamed "oddly-named",
    OfThreePrograms "of-three-programs",
    MainThreads "main-threads",
    Traced "traced",
    ReapedLate "reaped-late",
});

impl Role {
    pub(crate) fn to_args(&self) -> Vec<OsString> {
        let words: Vec<String> = match self {
            Self::Receive => vec!["receive".into()],
            Self::Count(signal) => vec!["count".into(), signal.to_string()],
            Self::Die(signal) => vec!["die".into(), signal.to_string()],
            Self::Bare => vec!["bare".into()],
            Self::Traced => vec!["traced".into()],
            Self::TracedProgram => vec!["traced-program".into()],
            Self::TracedOrphan => vec!["traced-orphan".into()],
            Self::Descendants { count, chain } => {
                vec!["descendants".into(), count.to_string(), chain.to_string()]
            }
            Self::ShowWords => vec!["show-words".into()],
            Self::Standing => vec!["standing".into()],
            Self::LeadGroup => vec!["lead-group".into()],
            Self::JoinParentsGroup => vec!["join-parents-group".into()],
            Self::BecomeOtherUser => vec!["become-other-user".into()],
            Self::Orphans(count) => vec!["orphans".into(), count.to_string()],
            Self::Storm(count, signal) => vec!["storm".into(), count.to_string(), signal.to_string()],
            Self::WithEscapedChild(escape) => vec!["with-escaped-child".into(), escape.name().into()],
            Self::Family => vec!["family".into()],
            Self::LeaveBehind { straggler, code, work } => {
                let mut words = vec!["leave-behind".into(), code.to_string(), work.as_millis().to_string()];
                words.extend(straggler.iter().map(|property| property.name().into()));
                words
            }
            Self::Straggle { straggler, work } => {
                let mut words = vec!["straggle".into(), work.as_millis().to_string()];
                words.extend(straggler.iter().map(|property| property.name().into()));
                words
            }
            Self::LeaveMany { count, chained } => {
                vec!["leave-many".into(), count.to_string(), chained.to_string()]
            }
            Self::EnterNamespaceOf(pid) => vec!["enter-namespace-of".into(), pid.to_string()],
            Self::Hop => vec!["hop".into()],
            Self::Burn { cpu, memory } => {
                vec!["burn".into(), cpu.as_millis().to_string(), memory.to_string()]
            }
            Self::Adopt { silent: false } => vec!["adopt".into()],
            Self::Adopt { silent: true } => vec!["adopt-silent".into()],
            Self::WithZombies(zombies, count) => {
                vec!["with-zombies".into(), zombies.name().into(), count.to_string()]
            }
            Self::WithLoad(load) => vec!["with-load".into(), load.name().into()],
            Self::ZombieInNamespaceOf(pid) => vec!["zombie-in-namespace-of".into(), pid.to_string()],
        };
        words.into_iter().map(OsString::from).collect()
    }

    /// The role, and the words that follow it.
    pub(crate) fn from_args(words: &[OsString]) -> (Self, &[OsString]) {
        let text = |index: usize| words[index].to_str().expect("text");
        let number = |index: usize| text(index).parse().expect("a number");
        let time = |index: usize| Duration::from_millis(text(index).parse().expect("milliseconds"));
        let stragglers =
            |first: usize| (first..words.len()).map(|index| Straggler::from_name(text(index))).collect();
        let (role, taken) = match text(0) {
            "receive" => (Self::Receive, 1),
            "count" => (Self::Count(Signal::from_name(text(1))), 2),
            "die" => (Self::Die(Signal::from_name(text(1))), 2),
            "bare" => (Self::Bare, 1),
            "traced" => (Self::Traced, 1),
            "traced-program" => (Self::TracedProgram, 1),
            "traced-orphan" => (Self::TracedOrphan, 1),
            "descendants" => {
                (Self::Descendants { count: number(1), chain: text(2).parse().expect("a truth value") }, 3)
            }
            "show-words" => (Self::ShowWords, 1),
            "standing" => (Self::Standing, 1),
            "lead-group" => (Self::LeadGroup, 1),
            "join-parents-group" => (Self::JoinParentsGroup, 1),
            "become-other-user" => (Self::BecomeOtherUser, 1),
            "orphans" => (Self::Orphans(number(1)), 2),
            "storm" => (Self::Storm(number(1), Signal::from_name(text(2))), 3),
            "with-escaped-child" => (Self::WithEscapedChild(Escape::from_name(text(1))), 2),
            "family" => (Self::Family, 1),
            "leave-behind" => {
                let code = text(1).parse().expect("an exit code");
                (Self::LeaveBehind { straggler: stragglers(3), code, work: time(2) }, words.len())
            }
            "straggle" => (Self::Straggle { straggler: stragglers(2), work: time(1) }, words.len()),
            "leave-many" => {
                (Self::LeaveMany { count: number(1), chained: text(2).parse().expect("true or false") }, 3)
            }
            "enter-namespace-of" => (Self::EnterNamespaceOf(text(1).parse().expect("a PID")), 2),
            "hop" => (Self::Hop, 1),
            "burn" => (Self::Burn { cpu: time(1), memory: text(2).parse().expect("MiB") }, 3),
            "adopt" => (Self::Adopt { silent: false }, 1),
            "adopt-silent" => (Self::Adopt { silent: true }, 1),
            "with-zombies" => (Self::WithZombies(Zombies::from_name(text(1)), number(2)), 3),
            "with-load" => (Self::WithLoad(Load::from_name(text(1))), 2),
            "zombie-in-namespace-of" => (Self::ZombieInNamespaceOf(text(1).parse().expect("a PID")), 2),
            other => panic!("no role {other:?}"),
        };
        (role, &words[taken..])
    }
}
