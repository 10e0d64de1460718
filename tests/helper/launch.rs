//! Starts a program under given conditions.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, getgid, getuid, setresgid, setresuid, setsid};

use crate::protocol::Condition;
use crate::signal::{SIGPIPE, Signal};
use crate::system::{Program, block, fork, ignore, raise, reset};

/// `launch REPORT CONDITION... -- PROGRAM ARG...`: reports the PID that the program gets to
/// the descriptor REPORT, then executes it, or waits for it and ends as it did if it is in
/// a PID namespace.
pub(crate) fn launch(words: &[OsString]) -> ExitCode {
    let separator = words.iter().position(|word| word == "--").expect("--");
    let conditions: Vec<Condition> =
        words[1..separator].iter().map(|word| Condition::from_arg(word.to_str().expect("text"))).collect();
    let report: RawFd = words[0].to_str().and_then(|word| word.parse().ok()).expect("a descriptor");
    let program = &words[separator + 1..];

    die_with_parent();
    // Whatever the tests themselves were started with, by a shell in the background for example.
    Signal::all().for_each(reset);
    // SAFETY: the descriptor was inherited for this.
    let mut report = File::from(unsafe { OwnedFd::from_raw_fd(report) });
    fcntl(&report, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("close-on-exec");
    // Before the PID is known, so that a signal to it is kept.
    for condition in &conditions {
        if let Condition::Blocked(signal) = condition {
            block(*signal);
        }
    }
    if !conditions.contains(&Condition::Namespace) {
        write!(report, "{}", std::process::id()).expect("report");
        execute(&conditions, program);
    }
    enter_namespace();
    let child = fork(|| {
        die_with_parent();
        mount_proc(!conditions.contains(&Condition::NoProc));
        execute(&conditions, program);
    });
    write!(report, "{child}").expect("report");
    drop(report);
    for descriptor in 0..3 {
        let _ = nix::unistd::close(descriptor);
    }
    end_like(child)
}

fn die_with_parent() {
    prctl::set_pdeathsig(nix::sys::signal::SIGKILL).expect("pdeathsig");
}

/// Children will be in a new PID namespace. One that is not root becomes it in a user
/// namespace first.
fn enter_namespace() {
    let (uid, gid) = (getuid(), getgid());
    let mut namespaces = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    if !uid.is_root() {
        namespaces |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(namespaces).expect("unshare");
    if !uid.is_root() {
        fs::write("/proc/self/setgroups", "deny").expect("setgroups");
        fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("uid_map");
        fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("gid_map");
    }
}

/// Mounts the PID namespace's /proc, or an empty file system in its place.
fn mount_proc(real: bool) {
    const NONE: Option<&str> = None;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).expect("private mounts");
    let kind = if real { "proc" } else { "tmpfs" };
    mount(Some(kind), "/proc", Some(kind), MsFlags::empty(), NONE).expect("/proc");
}

/// Mounts the cgroup namespace's hierarchy in the place of the one that is there; the mount
/// namespace is this program's own.
fn enter_cgroup_namespace() {
    const PLACE: &str = "/sys/fs/cgroup";
    unshare(CloneFlags::CLONE_NEWCGROUP).expect("a cgroup namespace");
    umount(PLACE).expect("the old hierarchy");
    let kind = Some("cgroup2");
    mount(kind, PLACE, kind, MsFlags::empty(), None::<&str>).expect("the new one");
}

/// Waits for a child, and ends as it did.
fn end_like(child: Pid) -> ExitCode {
    match waitpid(child, None).expect("wait") {
        WaitStatus::Exited(_, code) => ExitCode::from(code as u8),
        WaitStatus::Signaled(_, signal, _) => {
            raise(Signal::from_number(signal as i32));
            ExitCode::FAILURE
        }
        other => panic!("{other:?}"),
    }
}

/// Brings the conditions about and executes the program.
fn execute(conditions: &[Condition], program: &[OsString]) -> ! {
    let program = Program::find(program);
    // The runtime ignores it; a container engine does not.
    reset(SIGPIPE);
    conditions.iter().for_each(apply);
    program.execute()
}

fn apply(condition: &Condition) {
    match condition {
        Condition::Namespace | Condition::NoProc => {}
        Condition::Ignored(signal) => ignore(*signal),
        Condition::Blocked(signal) => block(*signal),
        Condition::Pending(signal) => raise(*signal),
        Condition::Closed(descriptor) => nix::unistd::close(*descriptor).expect("close"),
        Condition::Open(descriptor) => {
            let null = open("/dev/null", OFlag::O_RDWR, Mode::empty()).expect("/dev/null");
            duplicate(&null, *descriptor);
            if null.as_raw_fd() == *descriptor {
                std::mem::forget(null);
            }
        }
        Condition::ProcessLimit(limit) => {
            setrlimit(Resource::RLIMIT_NPROC, *limit, *limit).expect("setrlimit");
        }
        Condition::User(id) => become_user(*id),
        Condition::Terminal { path, descriptors, controls_the_session } => {
            // It leads one already if it leads a process group.
            let _ = setsid();
            let terminal = open(path.as_str(), OFlag::O_RDWR | OFlag::O_NOCTTY, Mode::empty());
            let terminal = terminal.expect("the terminal");
            if *controls_the_session {
                set_controlling_terminal(&terminal);
            }
            for descriptor in descriptors {
                duplicate(&terminal, *descriptor);
            }
        }
        Condition::JobControlFails(errno) => {
            fail_calls(&[libc::SYS_setpgid, libc::SYS_setsid, libc::SYS_ioctl], *errno);
        }
        Condition::CallFails { call, errno } => fail_calls(&[*call], *errno),
        Condition::DescriptorLimit(limit) => {
            setrlimit(Resource::RLIMIT_NOFILE, *limit, *limit).expect("setrlimit");
        }
        Condition::FullStandardError => {
            let full = open("/dev/full", OFlag::O_WRONLY, Mode::empty()).expect("/dev/full");
            duplicate(&full, 2);
        }
        Condition::Subreaper => prctl::set_child_subreaper(true).expect("subreaper"),
        Condition::CgroupNamespace => enter_cgroup_namespace(),
        Condition::WithoutCapKill => drop_cap_kill(),
        Condition::WorkingDirectory(path) => std::env::set_current_dir(path).expect("chdir"),
    }
}

/// Becomes another user and group.
pub(crate) fn become_user(id: u32) {
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    setresgid(group, group, group).expect("setresgid");
    setresuid(user, user, user).expect("setresuid");
}

/// Makes a descriptor of this number.
fn duplicate(file: &impl AsFd, number: RawFd) {
    if file.as_fd().as_raw_fd() == number {
        return;
    }
    // SAFETY: no owner of that number is left in this process.
    let copy = unsafe { nix::unistd::dup2_raw(file, number) }.expect("dup2");
    std::mem::forget(copy);
}

fn set_controlling_terminal(terminal: &impl AsFd) {
    nix::ioctl_write_int_bad!(set_controlling, libc::TIOCSCTTY);
    // SAFETY: the request takes a number.
    unsafe { set_controlling(terminal.as_fd().as_raw_fd(), 0) }.expect("a controlling terminal");
}

fn drop_cap_kill() {
    const CAP_KILL: i32 = 5;
    // SAFETY: takes a number.
    Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_KILL) }).expect("CAP_KILL");
}

/// Makes system calls fail from now on, over exec as well.
fn fail_calls(calls: &[libc::c_long], errno: i32) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let plain = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    // The number of the call is the first word of `seccomp_data`.
    let mut filter = vec![plain(LOAD, 0)];
    for (index, number) in calls.iter().enumerate() {
        // To the last instruction.
        let jump = (calls.len() - index) as u8;
        filter.push(libc::sock_filter { code: EQUAL, jt: jump, jf: 0, k: *number as u32 });
    }
    filter.push(plain(RETURN, libc::SECCOMP_RET_ALLOW));
    filter.push(plain(RETURN, libc::SECCOMP_RET_ERRNO | errno as u32));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    prctl::set_no_new_privs().expect("no_new_privs");
    // SAFETY: the program and its filter live through the call, which copies them.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    Errno::result(result).expect("seccomp");
}
