//! This process and the children it makes.

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulong};
use std::num::NonZeroUsize;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::mman::MapFlags;
use nix::sys::prctl;
use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
use nix::unistd::Pid;

use super::args::{Arguments, Environment};
use super::memory::map;
use super::signal::{Signal, SignalSet, kill, set_disposition, unblock};

/// The PID that makes a process the init of its namespace (`pid_namespaces(7)`).
pub const INIT: Pid = Pid::from_raw(1);

/// Proves that this process is sexton's alone: it has one thread, and no other code in it
/// owns a descriptor.
pub struct OwnProcess(());

impl OwnProcess {
    /// Makes the proof.
    ///
    /// # Safety
    ///
    /// The process must have one thread, and no code but sexton's may hold descriptors.
    pub unsafe fn new() -> Self {
        Self(())
    }
}

/// Ends the process without the C library's exit handlers.
pub fn exit(code: u8) -> ! {
    // SAFETY: has no memory effect.
    unsafe { libc::_exit(c_int::from(code)) }
}

/// The exit code for a failure of sexton's own, and for wrong usage.
pub const EXIT_FAILED: u8 = 125;

/// Ends this process at HUP, INT, QUIT or TERM, as far as they are not ignored, with the exit
/// code that a shell reports for that. For PID 1, to which the kernel sends no signal that it
/// has no handler for (`pid_namespaces(7)`).
pub fn exit_at_request() {
    extern "C" fn handler(signal: c_int) {
        exit(0x80 | signal as u8)
    }
    let action = SigAction::new(SigHandler::Handler(handler), SaFlags::empty(), SigSet::empty());
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        // SAFETY: the handler does nothing but `_exit`, which may be called in one
        // (`signal-safety(7)`), and a disposition that is put back was in force before.
        unsafe {
            if let Ok(old) = sigaction(signal, &action)
                && matches!(old.handler(), SigHandler::SigIgn)
            {
                let _ = sigaction(signal, &old);
            }
        }
    }
}

/// Whether the program's file gave this process rights that its caller does not have: by the
/// set-user-ID or set-group-ID bit, or by capabilities (`execve(2)`).
///
/// The kernel says so by AT_SECURE (`getauxval(3)`), which security modules set as well, at
/// every change of domain: an SELinux policy may have one at the start of each container. So
/// the rights are looked at, too.
pub fn has_rights_of_its_file() -> bool {
    // SAFETY: has no memory effect.
    let [secure, user, effective_user, group, effective_group] =
        [libc::AT_SECURE, libc::AT_UID, libc::AT_EUID, libc::AT_GID, libc::AT_EGID]
            .map(|entry| unsafe { libc::getauxval(entry) });
    secure != 0
        && user != 0
        && (user != effective_user || group != effective_group || has_capabilities_of_its_file())
}

/// Whether it has capabilities that are not ambient, as those are that another user than root
/// keeps over `execve` otherwise (`capabilities(7)`).
fn has_capabilities_of_its_file() -> bool {
    const VERSION_3: u32 = 0x2008_0522;
    /// Effective, permitted, inheritable.
    type Sets = [u32; 3];
    let header: [u32; 2] = [VERSION_3, 0];
    let mut sets: [Sets; 2] = [[0; 3]; 2];
    // SAFETY: header and sets are laid out as `capget(2)` has them.
    if unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) } != 0 {
        return false;
    }
    let [[_, low, _], [_, high, _]] = sets;
    let permitted = u64::from(high) << 32 | u64::from(low);
    (0..u64::BITS).any(|capability| {
        // SAFETY: has no memory effect.
        permitted >> capability & 1 == 1
            && unsafe {
                libc::prctl(
                    libc::PR_CAP_AMBIENT,
                    libc::PR_CAP_AMBIENT_IS_SET as c_ulong,
                    c_ulong::from(capability),
                    0 as c_ulong,
                    0 as c_ulong,
                )
            } != 1
    })
}

/// Starts a child that runs `child` in a copy of this process's memory, and exits with the
/// code that it returns (`fork(2)`).
///
/// By `_Fork`, which may be called in a signal handler, as it does nothing but fork
/// (POSIX.1-2024): `fork` would first take all locks of the C library, its allocator's and
/// standard streams' too, on behalf of threads that this process does not have.
pub fn fork(_: &OwnProcess, child: impl FnOnce() -> u8) -> Result<Pid, Errno> {
    unsafe extern "C" {
        fn _Fork() -> libc::pid_t;
    }
    // SAFETY: there is one thread, so the child cannot inherit a lock that another one
    // holds.
    match Errno::result(unsafe { _Fork() })? {
        0 => exit(child()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Two numbers that this process shares with the children that it starts from now on. They
/// take no memory until they are touched.
pub struct SharedNumbers(NonNull<[AtomicI32; 2]>);

impl SharedNumbers {
    /// Makes them, both 0.
    pub fn new() -> Result<Self, Errno> {
        const SIZE: NonZeroUsize = NonZeroUsize::new(size_of::<[AtomicI32; 2]>()).unwrap();
        Ok(Self(map(SIZE, MapFlags::MAP_SHARED)?.cast()))
    }

    /// What they are now.
    pub fn load(&self) -> [i32; 2] {
        // SAFETY: the mapping is never removed, and zeroes are valid numbers.
        let [first, second] = unsafe { self.0.as_ref() };
        [first.load(Ordering::Acquire), second.load(Ordering::Acquire)]
    }

    /// Sets them.
    pub fn store(&self, numbers: [i32; 2]) {
        // SAFETY: as above.
        let [first, second] = unsafe { self.0.as_ref() };
        first.store(numbers[0], Ordering::Release);
        second.store(numbers[1], Ordering::Release);
    }
}

/// Executes a program with the arguments from `first` on. Returns only if that failed, with
/// the reason.
pub fn execute(program: &CStr, arguments: Arguments, first: usize, environment: Environment) -> Errno {
    // SAFETY: both vectors are as `execve(2)` takes them.
    unsafe { libc::execve(program.as_ptr(), arguments.tail(first), environment.vector()) };
    Errno::last()
}

/// Executes `/bin/sh` on a script, in place of the command that is argument number
/// `command`: the slot before it holds the shell's name, and its own the script's path.
/// That slot is free, as argument 0 is never a command. Returns only where that failed.
pub fn execute_by_shell(
    script: &CStr,
    arguments: Arguments,
    command: usize,
    environment: Environment,
) -> Errno {
    const SHELL: &CStr = c"/bin/sh";
    let Some(before) = command.checked_sub(1) else { return Errno::ENOEXEC };
    // SAFETY: the shell's name lives for ever. The script's path lives through the call,
    // and where that returns the slot is given back what it held.
    unsafe {
        arguments.replace(before, SHELL.as_ptr().cast_mut());
        let Some(name) = arguments.replace(command, script.as_ptr().cast_mut()) else {
            return Errno::ENOEXEC;
        };
        let errno = execute(SHELL, arguments, before, environment);
        arguments.replace(command, name);
        errno
    }
}

/// The path by which this program was executed (`getauxval(3)`, AT_EXECFN).
pub fn exec_path() -> Option<&'static CStr> {
    // SAFETY: has no memory effect.
    let address = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const c_char;
    // SAFETY: if it is there, it is a string that lives as long as the process.
    (!address.is_null()).then(|| unsafe { CStr::from_ptr(address) })
}

/// Asks for a signal when the parent dies (`PR_SET_PDEATHSIG(2const)`). nix's function
/// takes no real-time signal.
pub fn set_parent_death_signal(signal: Signal) -> Result<(), Errno> {
    // SAFETY: has no memory effect.
    let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal.number() as libc::c_ulong) };
    Errno::result(done).map(drop)
}

/// Makes this process the parent of orphans among its descendants
/// (`PR_SET_CHILD_SUBREAPER(2const)`).
pub fn become_subreaper() -> Result<(), Errno> {
    prctl::set_child_subreaper(true)
}

/// Whether it is so already.
pub fn is_subreaper() -> bool {
    prctl::get_child_subreaper() == Ok(true)
}

/// Dies of a signal, leaving no core file: the command left one already. Returns where
/// that is not possible.
///
/// Only this signal is unblocked: others may be pending, and would come first.
///
/// signal-hook's `emulate_default_handler` knows 28 of the 64 signals, takes SIGIO for one
/// that is ignored, and aborts where a signal does not kill.
pub fn die_of(signal: Signal) {
    // If either fails, the rest is tried all the same. The limit is for core files. A
    // program that core dumps are piped to is started whatever the limit is, but not for a
    // process that is not dumpable (`core(5)`).
    limit(libc::RLIMIT_CORE, Some(Limit { soft: 0, hard: 0 }));
    let _ = prctl::set_dumpable(false);
    set_disposition(signal, libc::SIG_DFL);
    let _ = kill(Pid::this(), signal);
    unblock(SignalSet::EMPTY.with(signal));
}

/// The highest number of a descriptor that may be open, plus one (RLIMIT_NOFILE).
pub(super) fn descriptor_limit() -> Option<u64> {
    limit(libc::RLIMIT_NOFILE, None).map(|limit| limit.soft)
}

/// What the kernel calls `rlimit64`.
#[repr(C)]
struct Limit {
    soft: u64,
    hard: u64,
}

/// Sets a limit, if a new one is given, and returns what it was; None where that is
/// refused. The `setrlimit` of some C libraries synchronises all threads of the process;
/// there is only one.
fn limit<R: Into<i64>>(resource: R, new: Option<Limit>) -> Option<Limit> {
    let mut old = Limit { soft: 0, hard: 0 };
    let new = new.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both limits are of the kind that this call takes, and live through it.
    let done = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource.into() as c_uint, new, &raw mut old) };
    (done == 0).then_some(old)
}
