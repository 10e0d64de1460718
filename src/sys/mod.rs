//! The one module with unsafe code: single system calls and the memory that the
//! kernel and C handed us, made safe to use. Policy lives elsewhere.
//!
//! What nix wraps well is called from there; here is what it cannot say. Raw
//! system calls stand where a C library would hide something (signals 32 to 34)
//! or allocate.

mod packed;
pub mod path;
pub mod reason;
pub mod signal;
pub mod wait;

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, read, write};

use crate::sys::signal::Signal;
use crate::sys::wait::Status;
use crate::text::split_once;
use crate::units::Nanoseconds;

/// The vector of arguments, as the kernel laid it out on the stack. It is never
/// copied: the command's arguments are its tail.
#[derive(Clone, Copy)]
pub struct Arguments {
    count: usize,
    vector: *mut *mut c_char,
}

impl Arguments {
    /// Takes `main`'s argc and argv.
    ///
    /// # Safety
    ///
    /// `vector` must point to `count` strings and a null pointer, all of which
    /// live as long as the process and are written by nobody else.
    pub unsafe fn new(count: c_int, vector: *mut *mut c_char) -> Self {
        Self { count: usize::try_from(count).unwrap_or(0), vector }
    }

    /// The argument with this index; the program's own name is number 0.
    pub fn get(self, index: usize) -> Option<&'static CStr> {
        if index >= self.count {
            return None;
        }
        // SAFETY: `new` was promised `count` strings that live for ever.
        Some(unsafe { CStr::from_ptr(*self.vector.add(index)) })
    }
}

/// The vector of environment variables, as the kernel laid it out on the stack.
#[derive(Clone, Copy)]
pub struct Environment {
    vector: *mut *mut c_char,
}

impl Environment {
    /// Takes `main`'s envp.
    ///
    /// # Safety
    ///
    /// `vector` must point to strings and a null pointer, all of which live as
    /// long as the process and are written by nobody else.
    pub unsafe fn new(vector: *mut *mut c_char) -> Self {
        Self { vector }
    }

    fn entry(self, index: usize) -> Option<&'static CStr> {
        // SAFETY: callers count up from 0 and stop at the null pointer, which
        // `new` was promised; what stands before it are strings that live for
        // ever.
        unsafe {
            let string = *self.vector.add(index);
            if string.is_null() { None } else { Some(CStr::from_ptr(string)) }
        }
    }

    /// The index and the value of the first variable with this name.
    pub fn find(self, name: &str) -> Option<(usize, &'static [u8])> {
        let entries = (0..).map_while(|index| Some((index, self.entry(index)?)));
        for (index, entry) in entries {
            let value = entry.to_bytes().strip_prefix(name.as_bytes());
            if let Some([b'=', value @ ..]) = value {
                return Some((index, value));
            }
        }
        None
    }

    /// The value of the first variable with this name.
    pub fn get(self, name: &str) -> Option<&'static [u8]> {
        self.find(name).map(|(_, value)| value)
    }

    /// Puts a copy of `entry` in place of the one that [`Self::find`] found. There is
    /// one place to keep it in, so this can hold for one entry at a time. Where it does
    /// not fit, the old one stays.
    pub fn replace(self, index: usize, entry: &CStr) {
        let bytes = entry.to_bytes_with_nul();
        // SAFETY: there is one thread, and a child that shares our memory runs
        // only while we are suspended; nobody else has a reference to the place.
        // `find` stops before the vector's null pointer.
        unsafe {
            let place = &mut *ENTRY.0.get();
            if bytes.len() <= place.len() {
                for (to, from) in place.iter_mut().zip(bytes) {
                    *to = *from;
                }
                *self.vector.add(index) = place.as_mut_ptr().cast();
            }
        }
    }

    /// Removes all variables with this name.
    pub fn remove(self, name: &str) {
        while let Some((index, _)) = self.find(name) {
            self.close_gap(index);
        }
    }

    /// Closes the gap over the entry that [`Self::find`] found.
    fn close_gap(self, mut index: usize) {
        // SAFETY: `find` stops before the null pointer; this stops with it.
        unsafe {
            while !(*self.vector.add(index)).is_null() {
                *self.vector.add(index) = *self.vector.add(index + 1);
                index += 1;
            }
        }
    }
}

/// These bytes as C has strings: the only zero in them must be the last one. The standard
/// library looks for that eight bytes at a time, which takes four times the code.
pub fn c_string(bytes: &[u8]) -> Option<&CStr> {
    let (_, Some([])) = split_once(bytes, 0) else { return None };
    // SAFETY: nothing is behind the first zero.
    Some(unsafe { CStr::from_bytes_with_nul_unchecked(bytes) })
}

/// Where [`Environment::replace`] keeps an entry: `LISTEN_PID=` and a PID fit.
struct Entry(UnsafeCell<[u8; 32]>);

// SAFETY: there is one thread; see `Environment::replace`.
unsafe impl Sync for Entry {}

static ENTRY: Entry = Entry(UnsafeCell::new([0; 32]));

/// The path by which this program was executed, as the kernel tells each program
/// (AT_EXECFN in `getauxval(3)`).
pub fn executed_path() -> Option<&'static CStr> {
    // SAFETY: has no memory effect.
    let address = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const c_char;
    // SAFETY: if it is there, it is a string that lives as long as the process.
    (!address.is_null()).then(|| unsafe { CStr::from_ptr(address) })
}

/// Ends the process, with no handlers of the C library's in between.
pub fn exit(code: u8) -> ! {
    // SAFETY: has no memory effect.
    unsafe { libc::_exit(c_int::from(code)) }
}

// --- Signals -----------------------------------------------------------------

/// A signal mask in the kernel's form: bit N-1 is signal N.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignalMask(u64);

/// A set of signals has the same form.
pub type SignalSet = SignalMask;

/// All 64, those that C libraries hide included.
static ALL_SIGNALS: SignalMask = SignalMask(!0);

impl SignalMask {
    /// No signal.
    pub const EMPTY: Self = Self(0);

    /// The set with a signal added.
    pub fn with(self, signal: Signal) -> Self {
        Self(self.0 | 1 << (signal.number() - 1))
    }

    /// The signals in it, by rising number.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        (1..=64).filter_map(Signal::new).filter(move |signal| self.contains(*signal))
    }

    /// Whether a signal is in it.
    pub fn contains(self, signal: Signal) -> bool {
        self.0 >> (signal.number() - 1) & 1 == 1
    }

    /// Its size, by which the kernel knows that the caller means the same.
    const SIZE: usize = mem::size_of::<u64>();
}

/// Blocks all 64 signals and returns the mask that was in force. A C library's
/// `sigprocmask` would leave out those that it keeps to itself.
pub fn block_all_signals() -> SignalMask {
    let mut old = SignalMask(0);
    // SAFETY: both point to masks of the size that is given.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const ALL_SIGNALS,
            &raw mut old,
            SignalMask::SIZE,
        );
    }
    old
}

/// Puts a mask in force.
pub fn set_signal_mask(mask: SignalMask) {
    // SAFETY: the mask has the size that is given; the old one is not asked for.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            ptr::null_mut::<SignalMask>(),
            SignalMask::SIZE,
        );
    }
}

/// Sets how SIGCHLD is disposed of, and returns whether it was ignored.
///
/// Who ignores it has no zombies, hence no exit statuses to wait for
/// (`wait(2)`, NOTES).
pub fn ignore_sigchld(ignore: bool) -> bool {
    let disposition = if ignore { libc::SIG_IGN } else { libc::SIG_DFL };
    set_disposition(Signal::CHLD, disposition) == libc::SIG_IGN
}

/// Sets what a signal does, and returns what it did (`sigaction(2)`): SIG_DFL,
/// SIG_IGN, or the address of a handler that must be fit to be one. A C library's
/// function takes locks, for threads that there are none of.
fn set_disposition(signal: Signal, disposition: libc::sighandler_t) -> libc::sighandler_t {
    let mut old = KernelSigaction { disposition: 0, flags: 0, restorer: 0, mask: [0; 2] };
    let (flags, restorer) = restorer();
    let new = KernelSigaction { disposition, flags, restorer, mask: [0; 2] };
    // SAFETY: both are what the kernel takes. The one handler that is ever given, below,
    // does nothing.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal.number(),
            &raw const new,
            &raw mut old,
            SignalMask::SIZE,
        );
    }
    old.disposition
}

/// What the kernel calls `sigaction`. There are architectures without a restorer, where
/// the mask has its place.
#[repr(C)]
struct KernelSigaction {
    disposition: libc::sighandler_t,
    flags: c_ulong,
    restorer: usize,
    mask: [u32; 2],
}

/// What a handler returns to, and the flag for it. Only x86-64 has to be given one.
#[cfg(target_arch = "x86_64")]
fn restorer() -> (c_ulong, usize) {
    #[unsafe(naked)]
    unsafe extern "C" fn restore() {
        std::arch::naked_asm!("mov eax, {}", "syscall", const libc::SYS_rt_sigreturn)
    }
    const SA_RESTORER: c_ulong = 0x0400_0000;
    (SA_RESTORER, restore as unsafe extern "C" fn() as usize)
}

#[cfg(not(target_arch = "x86_64"))]
fn restorer() -> (c_ulong, usize) {
    (0, 0)
}

/// Catches TSTP, TTIN and TTOU from now until the process executes a program, which
/// makes them what they were (`execve(2)`: handlers become default actions).
///
/// For a child that shares our memory: were it stopped before it executes, we would
/// be suspended with it, and nobody left who could see to it.
pub fn catch_stop_signals() {
    extern "C" fn nothing(_: c_int) {}
    for signal in [Signal::TSTP, Signal::TTIN, Signal::TTOU] {
        let handler = nothing as extern "C" fn(c_int) as libc::sighandler_t;
        if set_disposition(signal, handler) == libc::SIG_IGN {
            set_disposition(signal, libc::SIG_IGN);
        }
    }
}

/// The time on a clock that no one sets (`CLOCK_MONOTONIC` in `clock_gettime(2)`).
pub fn monotonic_time() -> Nanoseconds {
    time_on(libc::CLOCK_MONOTONIC)
}

/// The time since the start of the machine (`CLOCK_BOOTTIME`), on which the kernel notes
/// when a process starts.
pub fn time_since_boot() -> Nanoseconds {
    time_on(libc::CLOCK_BOOTTIME)
}

/// There is no Linux without these clocks. A C library's function would ask the vDSO,
/// which is quicker, and takes more code to find than this program has for anything.
fn time_on(clock: libc::clockid_t) -> Nanoseconds {
    let mut time = KernelTimespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: `time` is there to be written, and of the kind that this call writes.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, &raw mut time) };
    nanoseconds(time.seconds as u64, time.nanoseconds as u64)
}

fn nanoseconds(seconds: u64, rest: u64) -> Nanoseconds {
    seconds.wrapping_mul(NANOSECONDS).wrapping_add(rest)
}

/// The unit of times in /proc (`sysconf(3)`, _SC_CLK_TCK), as the kernel tells each
/// program.
pub fn nanoseconds_per_tick() -> Nanoseconds {
    // SAFETY: has no memory effect.
    let ticks_per_second = unsafe { libc::getauxval(libc::AT_CLKTCK) };
    NANOSECONDS.checked_div(ticks_per_second as u64).unwrap_or(NANOSECONDS / 100)
}

/// Sleeps for a while, or until a signal comes that is not blocked.
pub fn pause_for(milliseconds: u16) {
    let _ = poll(&mut [], PollTimeout::from(milliseconds));
}

/// In a second.
const NANOSECONDS: u64 = 1_000_000_000;

/// A signal that was waited for, and where it comes from.
#[derive(Clone, Copy)]
pub struct Received {
    /// Which one.
    pub signal: Signal,
    code: c_int,
    pid: Pid,
}

impl Received {
    #[cfg(test)]
    pub(crate) fn new(signal: Signal, code: c_int, pid: Pid) -> Self {
        Self { signal, code, pid }
    }

    /// Whether a process sent it, as opposed to the kernel (`sigaction(2)`).
    pub fn sent_by_a_process(self) -> bool {
        self.code <= 0
    }

    /// Who sent it with `kill(2)`, or caused it by its own doing; PID 0 stands
    /// for a process outside of our PID namespace.
    pub fn sender(self) -> Option<Pid> {
        (self.code == libc::SI_USER).then_some(self.pid)
    }
}

/// Sleeps until a signal arrives, and takes it; for at most `limit`, if one is
/// given, and then fails with EAGAIN. Fails with EINTR when a debugger attaches or the
/// process was stopped and continued (`signal(7)`), however much time is left.
pub fn wait_for_signal(limit: Option<Nanoseconds>) -> Result<Received, Errno> {
    take_signal(ALL_SIGNALS, limit)
}

/// Takes a signal of `set` that is pending.
pub fn take_pending_signal(set: SignalSet) -> Option<Received> {
    take_signal(set, Some(0)).ok()
}

/// What the kernel calls `__kernel_old_timespec`: on 64-bit architectures the only
/// kind, on others the one that `SYS_rt_sigtimedwait` and `SYS_clock_gettime` take,
/// whatever a C library makes of `timespec`.
#[repr(C)]
struct KernelTimespec {
    seconds: c_long,
    nanoseconds: c_long,
}

/// `rt_sigtimedwait`.
fn take_signal(set: SignalSet, limit: Option<Nanoseconds>) -> Result<Received, Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // Should the time not fit, the sleep is shorter than it was to be.
    let limit = limit.map(|limit| KernelTimespec {
        seconds: c_long::try_from(limit / NANOSECONDS).unwrap_or(c_long::MAX),
        nanoseconds: (limit % NANOSECONDS) as c_long,
    });
    let timeout = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: set, siginfo and timespec are of the sizes that the kernel expects, and
    // live through the call.
    let number = unsafe {
        libc::syscall(libc::SYS_rt_sigtimedwait, &raw const set, info.as_mut_ptr(), timeout, SignalMask::SIZE)
    };
    let number = Errno::result(number)?;
    // SAFETY: it was zeroed, and the kernel wrote over that; where `si_code` is
    // not one of those with a PID, other plain integers are read as one.
    let (code, pid) = unsafe {
        let info = info.assume_init();
        (info.si_code, Pid::from_raw(info.si_pid()))
    };
    match Signal::new(number as c_int) {
        Some(signal) => Ok(Received { signal, code, pid }),
        None => Err(Errno::EINVAL),
    }
}

/// Sends a signal to one process.
pub fn kill(process: Pid, signal: Signal) -> Result<(), Errno> {
    kill_raw(process.as_raw(), signal)
}

/// Sends a signal to all of a process group.
pub fn kill_group(group: Pid, signal: Signal) -> Result<(), Errno> {
    kill_raw(-group.as_raw(), signal)
}

/// Sends a signal to every process of the PID namespace but PID 1. For PID 1
/// alone: to anybody else, `kill(-1)` means what it may signal at all.
pub fn kill_everything(signal: Signal) -> Result<(), Errno> {
    kill_raw(-1, signal)
}

/// Sends a signal to our own process group, us included.
pub fn kill_own_group(signal: Signal) -> Result<(), Errno> {
    kill_raw(0, signal)
}

/// Whether a process group has members. PID 1's always has: to `kill(2)`, -1 does
/// not mean that group, nor -0 one from outside of the PID namespace.
pub fn group_exists(group: Pid) -> bool {
    if group.as_raw() <= 1 {
        return true;
    }
    // SAFETY: has no memory effect; signal 0 is none.
    let sent = unsafe { libc::kill(-group.as_raw(), 0) };
    Errno::result(sent) != Err(Errno::ESRCH)
}

/// `nix::sys::signal::kill` takes no real-time signal.
fn kill_raw(target: libc::pid_t, signal: Signal) -> Result<(), Errno> {
    // SAFETY: has no memory effect.
    Errno::result(unsafe { libc::kill(target, signal.number()) }).map(drop)
}

/// A reference to a process that cannot turn into one to another process when the
/// PID is used again (`pidfd_open(2)`, Linux 5.3).
pub struct ProcessHandle(OwnedFd);

impl ProcessHandle {
    /// Takes hold of a process.
    pub fn open(process: Pid) -> Result<Self, Errno> {
        // SAFETY: has no memory effect.
        let made = unsafe { libc::syscall(libc::SYS_pidfd_open, process.as_raw(), 0) };
        // SAFETY: that call makes one.
        unsafe { new_descriptor(made) }.map(Self)
    }

    /// Sends it a signal.
    pub fn kill(&self, signal: Signal) -> Result<(), Errno> {
        // SAFETY: no siginfo is given, so no memory is read.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal.number(),
                ptr::null::<libc::siginfo_t>(),
                0 as c_uint,
            )
        };
        Errno::result(sent).map(drop)
    }
}

/// Asks for a signal when the parent dies (`PR_SET_PDEATHSIG(2const)`).
pub fn set_parent_death_signal(signal: Signal) -> Result<(), Errno> {
    prctl(libc::PR_SET_PDEATHSIG, signal.number() as usize)
}

/// Asks for the orphans among our descendants (`PR_SET_CHILD_SUBREAPER(2const)`).
pub fn become_subreaper() -> Result<(), Errno> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// Whether we get them already.
pub fn is_subreaper() -> bool {
    let mut is: c_int = 0;
    prctl(libc::PR_GET_CHILD_SUBREAPER, (&raw mut is).expose_provenance()).is_ok() && is != 0
}

/// An operation whose argument is a number or points to something that may be written.
fn prctl(operation: c_int, argument: usize) -> Result<(), Errno> {
    // SAFETY: what an argument of the callers above points to is there to be written.
    let done =
        unsafe { libc::syscall(libc::SYS_prctl, operation, argument, 0 as c_long, 0 as c_long, 0 as c_long) };
    Errno::result(done).map(drop)
}

/// Dies of a signal, leaving no core file: the command has left one already.
/// Returns where that is not possible.
///
/// signal-hook's `emulate_default_handler` knows 28 of the 64 signals, and brings a heap
/// along with its `io::Error`.
pub fn die_of(signal: Signal) {
    // Neither may fail the attempt. The limit is for core files, and where a
    // program takes core dumps it is ignored: there it must be the flag (core(5)).
    limit(libc::RLIMIT_CORE, Some(Limit { soft: 0, hard: 0 }));
    let _ = prctl(libc::PR_SET_DUMPABLE, 0);
    set_disposition(signal, libc::SIG_DFL);
    let _ = kill(Pid::this(), signal);
    set_signal_mask(SignalMask(0));
}

/// What the kernel calls `rlimit64`.
#[repr(C)]
struct Limit {
    soft: u64,
    hard: u64,
}

/// Sets a limit, if a new one is given, and returns what it was; None where that is
/// refused. Some C libraries' `setrlimit` sees to all threads of the process, of which
/// there is one.
fn limit<R: Into<i64>>(resource: R, new: Option<Limit>) -> Option<Limit> {
    let mut old = Limit { soft: 0, hard: 0 };
    let new = new.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both limits are of the kind that this call takes, and live through it.
    let done = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource.into() as c_uint, new, &raw mut old) };
    (done == 0).then_some(old)
}

// --- Children ----------------------------------------------------------------

/// Takes one child's change of state: its end, which reaps it, or where `stops` are
/// asked for, that it has stopped. `__WALL` finds those as well that were cloned
/// without SIGCHLD, before this process became sexton. None where nothing has
/// changed; ECHILD where there are no children.
pub fn reap(stops: bool) -> Result<Option<(Pid, Status)>, Errno> {
    wait4(libc::WNOHANG | if stops { libc::WUNTRACED } else { 0 })
}

/// Waits until a child ends, and reaps it.
pub fn wait_and_reap() -> Result<(Pid, Status), Errno> {
    wait4(0)?.ok_or(Errno::ECHILD)
}

/// A child that has ended, which is left as it is (`waitid(2)`, WNOWAIT). None where
/// there is no such child; ECHILD where there are no children.
pub fn dead_child() -> Result<Option<Pid>, Errno> {
    let (pid, _) = waitid(libc::WEXITED | libc::WNOWAIT)?;
    Ok((pid.as_raw() > 0).then_some(pid))
}

/// A child that has stopped since this was asked last.
pub fn stopped_child() -> Result<Option<(Pid, Status)>, Errno> {
    let (pid, signal) = waitid(libc::WSTOPPED)?;
    Ok((pid.as_raw() > 0).then_some((pid, Status::from_raw(signal << 8 | 0x7f))))
}

fn waitid(what: c_int) -> Result<(Pid, c_int), Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` is there to be written. Zeroes are valid in it, and stay where no
    // child was found.
    unsafe {
        let options = what | libc::WNOHANG | libc::__WALL;
        Errno::result(libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options))?;
        let info = info.assume_init();
        Ok((Pid::from_raw(info.si_pid()), info.si_status()))
    }
}

/// What a child has used, with those of its own children that it waited for
/// (`getrusage(2)`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Usage {
    /// CPU time, of the program and of the kernel for it.
    pub cpu: Nanoseconds,
    /// The largest resident set, in KiB.
    pub max_rss: u64,
}

/// Reaps a child that has ended. None where it has not.
pub fn reap_with_usage(child: Pid) -> Result<Option<(Status, Usage)>, Errno> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both are there to be written; zeroes are valid in them.
    let (pid, usage) = unsafe {
        let options = libc::WNOHANG | libc::__WALL;
        (libc::wait4(child.as_raw(), &raw mut status, options, usage.as_mut_ptr()), usage.assume_init())
    };
    if Errno::result(pid)? == 0 {
        return Ok(None);
    }
    let time =
        |time: libc::timeval| nanoseconds(time.tv_sec as u64, (time.tv_usec as u64).saturating_mul(1000));
    let cpu = time(usage.ru_utime).saturating_add(time(usage.ru_stime));
    Ok(Some((Status::from_raw(status), Usage { cpu, max_rss: usage.ru_maxrss as u64 })))
}

/// All signals are blocked, so EINTR does not happen.
fn wait4(options: c_int) -> Result<Option<(Pid, Status)>, Errno> {
    let mut status = 0;
    // SAFETY: `status` is there to be written; resource usage is not asked for.
    let pid = unsafe { libc::wait4(-1, &raw mut status, options | libc::__WALL, ptr::null_mut()) };
    match Errno::result(pid)? {
        0 => Ok(None),
        pid => Ok(Some((Pid::from_raw(pid), Status::from_raw(status)))),
    }
}

/// Where the stack is on which a child runs until it executes. With an alignment of its own
/// it would keep the other variables off the page on which initialised ones are, too.
#[repr(C, align(16))]
struct Stack(UnsafeCell<[u8; Stack::SIZE + Stack::PAGE]>);

// SAFETY: there is one thread, and it is suspended while the child uses the stack.
unsafe impl Sync for Stack {}

impl Stack {
    /// A path of 4 KiB is composed on it; the rest is for call frames, which are
    /// large in a debug build.
    const SIZE: usize = 32 * 1024;
    /// It begins at a multiple of this, to be given back.
    const PAGE: usize = 4096;

    fn bottom(&self) -> *mut u8 {
        let start = self.0.get().cast::<u8>();
        // SAFETY: it is larger than what is used of it by as much as this can be.
        unsafe { start.add(start.addr().wrapping_neg() % Self::PAGE) }
    }
}

static STACK: Stack = Stack(UnsafeCell::new([0; Stack::SIZE + Stack::PAGE]));

/// Starts a child that runs `f` in our memory, on a stack of its own, while we
/// are suspended until it executes a program or ends (`clone(2)`, CLONE_VM and
/// CLONE_VFORK; what `posix_spawn` does inside). Nothing is copied, and what `f`
/// writes is here for us to read.
///
/// In `f`, only what `signal-safety(7)` allows may be called: no allocation, no
/// lock, no unwinding. That is so for all of this program's code.
pub fn spawn_sharing_memory<F: FnMut() -> u8>(f: &mut F) -> Result<Pid, Errno> {
    extern "C" fn run<F: FnMut() -> u8>(f: *mut c_void) -> c_int {
        // SAFETY: `f` is the one handed to `clone` below, whose caller is
        // suspended and does not touch it meanwhile.
        c_int::from(unsafe { (*f.cast::<F>())() })
    }
    // SAFETY: the stack is ours alone (see `Stack`), large enough, and its end is
    // aligned. Not sharing descriptors, directory and signal handlers (no
    // CLONE_FILES, CLONE_FS, CLONE_SIGHAND) leaves ours as they are.
    unsafe {
        let bottom = STACK.bottom();
        let pid = libc::clone(
            run::<F>,
            bottom.add(Stack::SIZE).cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            ptr::from_mut(f).cast(),
        );
        let pid = Errno::result(pid)?;
        // Nobody uses it any more: give its pages back. Where pages are larger
        // than its alignment this may fail, at no harm.
        libc::syscall(libc::SYS_madvise, bottom, Stack::SIZE, libc::MADV_DONTNEED);
        Ok(Pid::from_raw(pid))
    }
}

/// Gives back the memory of this program's own code and constants, as far as the linker put
/// those before the end of the code. Nobody writes to them, but for a debugger, whose
/// breakpoints go: what is needed once more comes from the file again. Now the start is over,
/// that is little.
pub fn give_back_code() {
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    let (start, end) = (&raw const __executable_start, &raw const etext);
    let length = end.addr().saturating_sub(start.addr());
    // SAFETY: the linker defines both. A page with code on it holds nothing that is written.
    unsafe { libc::syscall(libc::SYS_madvise, start, length, libc::MADV_DONTNEED) };
}

/// Executes a program with the arguments from `first` on. Returns only where that
/// failed, with the reason.
pub fn execute(program: &CStr, arguments: Arguments, first: usize, environment: Environment) -> Errno {
    // SAFETY: both vectors are as `execve(2)` wants them; `first` was the index of
    // an argument.
    unsafe {
        libc::execve(
            program.as_ptr(),
            arguments.vector.add(first.min(arguments.count)).cast(),
            environment.vector.cast(),
        );
    }
    Errno::last()
}

/// Executes `/bin/sh` on a script, in place of the command that is argument
/// number `command`: the slot before it becomes the shell's name, and its own the
/// script's path. Ours is that slot in any case, as argument 0 is never a command.
pub fn execute_by_shell(
    script: &CStr,
    arguments: Arguments,
    command: usize,
    environment: Environment,
) -> Errno {
    const SHELL: &CStr = c"/bin/sh";
    let Some(before) = command.checked_sub(1).filter(|_| command < arguments.count) else {
        return Errno::ENOEXEC;
    };
    // SAFETY: both slots are within the vector. Should the shell not be there,
    // the command's name is put back, as the parent reads it to tell the failure.
    unsafe {
        let slot = arguments.vector.add(command);
        let name = *slot;
        *arguments.vector.add(before) = SHELL.as_ptr().cast_mut();
        *slot = script.as_ptr().cast_mut();
        let reason = execute(SHELL, arguments, before, environment);
        *slot = name;
        reason
    }
}

// --- The terminal -------------------------------------------------------------

/// Gives the controlling terminal up. For a session's leader: all of the session
/// loses it, and the foreground group gets HUP and CONT (`tty_ioctl(4)`, TIOCNOTTY).
pub fn give_up_terminal(terminal: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: this request has no argument.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) }).map(drop)
}

/// Makes it the controlling terminal of the session that the caller leads, and the
/// caller's group the foreground one (`tty_ioctl(4)`, TIOCSCTTY).
pub fn take_terminal(terminal: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: this request's argument is a number: 0, not to steal it.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// A duplicate of the first standard descriptor that is the controlling terminal of
/// this session.
pub fn standard_descriptor_that_controls(session: Pid) -> Option<OwnedFd> {
    for descriptor in libc::STDIN_FILENO..=libc::STDERR_FILENO {
        // SAFETY: has no memory effect.
        if unsafe { libc::tcgetsid(descriptor) } == session.as_raw() {
            // SAFETY: has no memory effect.
            let made = unsafe { libc::syscall(libc::SYS_fcntl, descriptor, libc::F_DUPFD_CLOEXEC, 3) };
            // SAFETY: that call makes one.
            return unsafe { new_descriptor(made) }.ok();
        }
    }
    None
}

// --- Descriptors -------------------------------------------------------------

const STDOUT: BorrowedFd<'static> = standard(libc::STDOUT_FILENO);
const STDERR: BorrowedFd<'static> = standard(libc::STDERR_FILENO);

const fn standard(number: c_int) -> BorrowedFd<'static> {
    // SAFETY: sexton never closes 0, 1 and 2. It may have been started without
    // them; then the calls that use them fail with EBADF, which all callers heed.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// How long a message may wait for its reader.
#[derive(Clone, Copy)]
pub enum Patience {
    /// Not at all.
    None,
    /// A second.
    OneSecond,
}

/// Writes a line to standard error, if that can be done without blocking. Says
/// whether it was.
///
/// A broken pipe is not written to: the SIGPIPE that follows would be blocked,
/// taken, and be one more signal to tell from the command's.
pub fn write_unless_it_blocks(line: &[u8], patience: Patience) -> bool {
    let timeout = match patience {
        Patience::None => PollTimeout::ZERO,
        Patience::OneSecond => PollTimeout::from(1000_u16),
    };
    let mut descriptors = [PollFd::new(STDERR, PollFlags::POLLOUT)];
    let ready = poll(&mut descriptors, timeout).is_ok();
    let [descriptor] = descriptors;
    if !ready || descriptor.revents() != Some(PollFlags::POLLOUT) {
        return false;
    }
    // The command, or anyone who holds the same pipe, may fill it right now.
    // This flag makes the kernel refuse rather than wait, for this write alone;
    // where it does not know the flag (a terminal, an old kernel), poll's word
    // is what there is.
    match write_nowait(STDERR, line) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => write(STDERR, line).is_ok(),
        written => written.is_ok(),
    }
}

/// `pwritev2(2)` with RWF_NOWAIT, at the file's own offset. The offset is given
/// in two halves, of which -1 twice is -1 on every architecture.
fn write_nowait(descriptor: BorrowedFd, bytes: &[u8]) -> Result<(), Errno> {
    let piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let minus_one: c_long = -1;
    // SAFETY: the kernel only reads the bytes of the one piece.
    let written = unsafe {
        libc::syscall(
            libc::SYS_pwritev2,
            descriptor.as_raw_fd(),
            &raw const piece,
            1 as c_long,
            minus_one,
            minus_one,
            libc::RWF_NOWAIT,
        )
    };
    Errno::result(written).map(drop)
}

/// Writes all bytes to standard output, waiting if need be.
pub fn write_to_stdout(mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(STDOUT, bytes) {
            Ok(0) => return Err(Errno::EIO),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(reason) => return Err(reason),
        }
    }
    Ok(())
}

/// Closes every descriptor but 0, 1 and 2.
///
/// Before Linux 5.9, and under a seccomp filter that does not know the call, they
/// are closed one by one up to the limit, which is bounded: some engines set it to
/// a billion.
pub fn close_all_but_standard() {
    const FIRST: c_uint = 3;
    const HIGHEST_TRIED: u64 = 1 << 20;
    // SAFETY: nothing in sexton holds a descriptor above 2 at this point.
    unsafe {
        if libc::syscall(libc::SYS_close_range, FIRST, c_uint::MAX, 0 as c_uint) == 0 {
            return;
        }
        let limit = limit(libc::RLIMIT_NOFILE, None).map_or(HIGHEST_TRIED, |limit| limit.soft);
        for descriptor in FIRST..limit.min(HIGHEST_TRIED) as c_uint {
            libc::close(descriptor as c_int);
        }
    }
}

/// Opens a file (`open(2)`); one that is made has these permissions, less the umask.
pub fn open(path: &CStr, flags: OFlag, permissions: u32) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlag::O_CLOEXEC | OFlag::O_LARGEFILE;
    // SAFETY: the path ends with a zero.
    let made =
        unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags.bits(), permissions) };
    // SAFETY: that call makes one.
    unsafe { new_descriptor(made) }
}

/// The descriptor that a system call has made, or its failure.
///
/// # Safety
///
/// `made` must be what a call returned that makes descriptors, and be used for nothing else.
unsafe fn new_descriptor(made: c_long) -> Result<OwnedFd, Errno> {
    let descriptor = Errno::result(made as c_int)?;
    // SAFETY: the kernel just made it, for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The start of a file, as much as fits.
pub fn read_start<'a>(path: &CStr, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    let file = open(path, OFlag::O_RDONLY, 0).ok()?;
    let length = read(file, buffer).ok()?;
    buffer.get(..length)
}

/// Sets a file's permissions (`fchmod(2)`). Some C libraries have a way around
/// descriptors that cannot be written, through /proc; ours can.
pub fn set_permissions(file: &OwnedFd, mode: u32) -> Result<(), Errno> {
    // SAFETY: has no memory effect.
    Errno::result(unsafe { libc::syscall(libc::SYS_fchmod, file.as_raw_fd(), mode) }).map(drop)
}

/// Whether a symbolic link is there, and may be read.
pub fn is_link(directory: BorrowedFd, path: &CStr) -> bool {
    let mut buffer = [0_u8; 1];
    // SAFETY: the kernel writes no more than the buffer's length.
    let length = unsafe {
        libc::syscall(
            libc::SYS_readlinkat,
            directory.as_raw_fd(),
            path.as_ptr(),
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    };
    length >= 0
}

/// Whether we may trace others by capability (`CAP_SYS_PTRACE` in `capabilities(7)`):
/// then to ask for it is not refused, and noted nowhere.
pub fn may_trace() -> bool {
    const VERSION_3: u32 = 0x2008_0522;
    const CAP_SYS_PTRACE: u32 = 19;
    let header = [VERSION_3, 0];
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: header and sets are as `capget(2)` has them in this version: the version and
    // a PID, of which 0 is our own; and twice the effective, permitted and inheritable set.
    let got = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) };
    let [[effective, ..], _] = sets;
    got == 0 && effective >> CAP_SYS_PTRACE & 1 == 1
}

/// Whether a process has memory: a zombie has none. Fails with EPERM where we may not
/// trace it (`process_vm_readv(2)`). Nothing is read, as nothing is at the address.
pub fn has_memory(process: Pid) -> Result<bool, Errno> {
    let mut byte = 0_u8;
    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let there = libc::iovec { iov_base: ptr::null_mut(), iov_len: 1 };
    // SAFETY: the one byte that could be written is ours.
    let read = unsafe {
        let (count, flags) = (1 as c_ulong, 0 as c_ulong);
        let process = process.as_raw();
        libc::syscall(
            libc::SYS_process_vm_readv,
            process,
            &raw const here,
            count,
            &raw const there,
            count,
            flags,
        )
    };
    match Errno::result(read) {
        Ok(_) | Err(Errno::EFAULT) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(reason) => Err(reason),
    }
}

/// Reads entries of a directory into a buffer (`getdents64(2)`), as many as fit,
/// and returns how many bytes they fill: 0 at the end.
pub fn read_directory(directory: BorrowedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel writes no more than the buffer's length.
    let length = unsafe {
        libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
    };
    Errno::result(length).map(|length| length as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a child, whose signals are nobody else's.
    #[test]
    fn a_caught_stop_signal_does_nothing() {
        let segv = Signal::new(libc::SIGSEGV).unwrap();
        let mut child = || {
            // The test's own handler would hide that ours cannot return.
            set_disposition(segv, libc::SIG_DFL);
            catch_stop_signals();
            set_signal_mask(SignalMask::EMPTY);
            let sent = kill(Pid::this(), Signal::TSTP);
            let was = set_disposition(Signal::TSTP, libc::SIG_DFL);
            // An exit code may hold no more.
            u8::from(sent.is_err() || was == libc::SIG_DFL || was == libc::SIG_IGN)
        };
        let mask = block_all_signals();
        let child = spawn_sharing_memory(&mut child).unwrap();
        let mut status = 0;
        // SAFETY: `status` is there to be written.
        let reaped = unsafe { libc::waitpid(child.as_raw(), &raw mut status, libc::WUNTRACED) };
        set_signal_mask(mask);
        assert_eq!((reaped, status), (child.as_raw(), 0));
    }
}
