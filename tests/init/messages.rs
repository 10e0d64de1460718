//! Messages, on everything that standard error may be: each line arrives, and none can stop
//! sexton.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Output;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use crate::common::harness::{Need, is_installed, is_root};
use crate::common::wait::is_readable;
use crate::support::*;

crate::tests![
    new every_kind_of_standard_error_gets_every_line,
    new every_kind_of_standard_error_gets_the_failure,
    needing(EXT4) a_file_on_ext4_gets_every_line,
    needing(XFS) a_file_on_xfs_gets_every_line,
    needing(BTRFS) a_file_on_btrfs_gets_every_line,
    needing(TMPFS) a_file_on_tmpfs_gets_every_line,
    new an_unread_pipe_stops_nothing,
    new an_unread_fifo_stops_nothing,
    new an_unread_socket_stops_nothing,
    new an_unread_terminal_stops_nothing,
    new a_paused_terminal_stops_nothing,
    new a_paused_terminal_stops_no_failure,
    new a_terminal_that_is_read_again_gets_whole_lines,
    new messages_need_no_nowait_writes,
    new a_slow_reader_gets_the_failure,
    new a_terminal_is_found_without_proc,
    as_root another_users_terminal_gets_every_line,
];

const EXT4: Need = Need::Other("ext4", || has_file_system("ext4"));
const XFS: Need = Need::Other("xfs", || has_file_system("xfs"));
const BTRFS: Need = Need::Other("btrfs", || has_file_system("btrfs"));
const TMPFS: Need = Need::Other("tmpfs", || has_file_system("tmpfs"));

/// Whether one can be made in a file, and mounted.
fn has_file_system(kind: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let known = known.lines().any(|line| line.ends_with(&format!("\t{kind}")));
    known
        && is_root()
        && (kind == "tmpfs"
            || (is_installed(&format!("mkfs.{kind}")) && Path::new("/dev/loop-control").exists()))
}

// --- Kinds -----------------------------------------------------------------------

/// A standard error, and the end of it that is read.
struct Kind {
    name: &'static str,
    /// Kept, so that it does not end.
    ours: OwnedFd,
    reader: Box<dyn Reader>,
}

trait Reader: Read + AsFd {}

impl<T: Read + AsFd> Reader for T {}

impl Kind {
    fn new(name: &'static str, ours: impl Into<OwnedFd>, reader: impl Reader + 'static) -> Self {
        Self { name, ours: ours.into(), reader: Box::new(reader) }
    }

    fn pipe() -> Self {
        let (reader, writer) = io::pipe().unwrap();
        Self::new("pipe", writer, reader)
    }

    fn fifo() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
        let reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let writer = File::options().write(true).open(&path).unwrap();
        set_nonblocking(&reader, false);
        Self::new("FIFO", writer, reader)
    }

    fn stream() -> Self {
        let (writer, reader) = UnixStream::pair().unwrap();
        Self::new("stream", writer, reader)
    }

    fn datagrams() -> Self {
        struct Receiver(UnixDatagram);
        impl Read for Receiver {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.recv(buffer)
            }
        }
        impl AsFd for Receiver {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }
        let (writer, reader) = UnixDatagram::pair().unwrap();
        Self::new("datagrams", writer, Receiver(reader))
    }

    fn file() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let reader = file.reopen().unwrap();
        let writer = File::options().append(true).open(file.path()).unwrap();
        Self::new("file", writer, reader)
    }

    fn terminal(screen: &Screen) -> Self {
        Self::new("terminal", screen.file(), screen.reader())
    }

    fn all(screen: &Screen) -> [Self; 6] {
        [Self::pipe(), Self::fifo(), Self::stream(), Self::datagrams(), Self::file(), Self::terminal(screen)]
    }

    /// Gives it to sexton.
    fn give(&self, init: Init) -> Init {
        init.stderr(self.ours.try_clone().unwrap())
    }

    /// Waits until this has come, and returns all that came before.
    #[track_caller]
    fn read_until(&mut self, text: &str) -> String {
        let mut all = String::new();
        wait_until(&format!("{}: {text}", self.name), || {
            let mut chunk = [0; 4096];
            assert!(is_readable(&self.reader), "{}: {text:?} does not come: {all}", self.name);
            let length = self.reader.read(&mut chunk).unwrap();
            all.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
            all.contains(text)
        });
        all
    }

    fn read_what_is_there(&mut self) -> String {
        let mut all = Vec::new();
        while is_ready(&self.reader, PollFlags::POLLIN) {
            let mut chunk = [0; 4096];
            let length = self.reader.read(&mut chunk).unwrap();
            all.extend_from_slice(&chunk[..length]);
        }
        String::from_utf8(all).unwrap()
    }

    /// What the command shares must not have become non-blocking, not even for a moment.
    #[track_caller]
    fn is_blocking(&self) {
        let flags = OFlag::from_bits_truncate(fcntl(&self.ours, FcntlArg::F_GETFL).unwrap());
        assert!(!flags.contains(OFlag::O_NONBLOCK), "{}", self.name);
    }
}

/// Whether it can be read or written right now.
fn is_ready(file: &impl AsFd, event: PollFlags) -> bool {
    poll(&mut [PollFd::new(file.as_fd(), event)], PollTimeout::ZERO) == Ok(1)
}

fn set_nonblocking(file: &impl AsFd, nonblocking: bool) {
    let mut flags = OFlag::from_bits_truncate(fcntl(file, FcntlArg::F_GETFL).unwrap());
    flags.set(OFlag::O_NONBLOCK, nonblocking);
    fcntl(file, FcntlArg::F_SETFL(flags)).unwrap();
}

// --- Every line ------------------------------------------------------------------

/// A command that leaves five orphans behind. With `-a`, all of them are waited for.
const FIVE_ORPHANS: &str = "for n in 1 2 3 4 5; do (sleep 0 &); done";

#[track_caller]
fn has_every_line(kind: &str, text: &str) {
    assert_eq!(text.matches(" (sleep): exited with 0, lived ").count(), 5, "{kind}: {text}");
    assert!(text.replace('\r', "").lines().all(|line| line.starts_with("sexton: ")), "{kind}: {text}");
    assert!(!text.contains("dropped"), "{kind}: {text}");
}

fn every_kind_of_standard_error_gets_every_line() {
    let screen = Screen::new();
    for mut kind in Kind::all(&screen) {
        let init = kind.give(Init::pid1(&["-awvv"]));
        assert_eq!(init.code(shell(FIVE_ORPHANS)), 0, "{}", kind.name);
        kind.is_blocking();
        let text = kind.read_until("sexton: phase: done");
        has_every_line(kind.name, &text);
    }
}

fn every_kind_of_standard_error_gets_the_failure() {
    let screen = Screen::new();
    for mut kind in Kind::all(&screen) {
        for (words, code, line) in [
            (&["/nonexistent"][..], 127, "sexton: /nonexistent: No such file or directory"),
            (&["--nonsense"], 125, "sexton: --nonsense: unknown option (see sexton --help)"),
        ] {
            assert_eq!(kind.give(Init::pid1(&[])).code(words), code, "{}", kind.name);
            kind.read_until(line);
        }
        kind.is_blocking();
    }
}

/// On a file system of this kind.
fn file_gets_every_line(kind: &str) {
    let script = format!(
        r#"
        if [ $2 = tmpfs ]; then mount -t tmpfs none /mnt; else
            truncate -s 400M $3 && mkfs.$2 -q $3 >/dev/null 2>&1 && mount -o loop $3 /mnt
        fi || exit 99
        for n in 1 2 3 4; do "$1" -awvv sh -c '{FIVE_ORPHANS}' 2>> /mnt/log; done
        "$1" /nonexistent 2>> /mnt/log; cat /mnt/log; cd /; umount /mnt"#
    );
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut command = shell(&script);
    let image = directory.path().join("image");
    command.extend(["sh".into(), sexton().into(), kind.into(), image.into()]);
    let Output { status, stdout, stderr } = Init::pid1(&[]).run(command);
    let text = String::from_utf8(stdout).unwrap();
    assert_eq!(status.code(), Some(0), "{text} {}", String::from_utf8_lossy(&stderr));
    let (text, failure) =
        text.split_at(text.rfind("sexton: /nonexistent").unwrap_or_else(|| panic!("{text}")));
    assert_eq!(failure, "sexton: /nonexistent: No such file or directory\n");
    assert_eq!(text.matches(" (sleep): exited with 0, lived ").count(), 20, "{text}");
    assert_eq!(text.matches(") exited with 0\n").count(), 4, "{text}");
}

fn a_file_on_ext4_gets_every_line() {
    file_gets_every_line("ext4");
}

fn a_file_on_xfs_gets_every_line() {
    file_gets_every_line("xfs");
}

fn a_file_on_btrfs_gets_every_line() {
    file_gets_every_line("btrfs");
}

fn a_file_on_tmpfs_gets_every_line() {
    file_gets_every_line("tmpfs");
}

// --- Nobody reads ----------------------------------------------------------------

/// Leaves more orphans behind than there is room for lines on them; they are reaped all the
/// same, and a signal that comes then reaches the command.
#[track_caller]
fn stops_nothing(init: Init, kind: &Kind) {
    let (stdin, input) = io::pipe().unwrap();
    let mut running = leave_orphans(init.stdin(stdin), 3000);
    wait_until("all orphans are reaped", || running.children().len() == 1);
    kind.is_blocking();
    running.signal(SIGTERM);
    assert_eq!(running.status().code(), Some(143), "{}", kind.name);
    drop(input);
}

fn an_unread_pipe_stops_nothing() {
    let kind = Kind::pipe();
    stops_nothing(kind.give(Init::pid1(&["-wvvv"])), &kind);
}

fn an_unread_fifo_stops_nothing() {
    let kind = Kind::fifo();
    stops_nothing(kind.give(Init::pid1(&["-wvvv"])), &kind);
}

fn an_unread_socket_stops_nothing() {
    for kind in [Kind::stream(), Kind::datagrams()] {
        stops_nothing(kind.give(Init::pid1(&["-wvvv"])), &kind);
    }
}

/// Each of them: one that controls sexton's session, and one that does not.
fn terminal_stops_nothing(prepare: fn(&Screen)) {
    for controls in [false, true] {
        for init in [Init::pid1(&["-wvvv"]), Init::plain(&["-wvvv"])] {
            let screen = Screen::new();
            prepare(&screen);
            let kind = Kind::terminal(&screen);
            let init = if controls { init.given(screen.on(&[2])) } else { kind.give(init) };
            stops_nothing(init, &kind);
            screen.resume();
        }
    }
}

fn an_unread_terminal_stops_nothing() {
    terminal_stops_nothing(|_| ());
}

fn a_paused_terminal_stops_nothing() {
    terminal_stops_nothing(Screen::pause);
}

/// The process that gives up waits for a second, not for ever.
fn a_paused_terminal_stops_no_failure() {
    for (words, code) in [("/nonexistent", 127), ("--nonsense", 125)] {
        for init in [Init::pid1(&[]), Init::plain(&[])] {
            let screen = Screen::new();
            screen.pause();
            assert_eq!(init.given(screen.on(&[2])).code([words]), code);
            screen.resume();
        }
    }
}

/// Each begins on a line of its own, though a terminal takes the part of a line that it has
/// room for.
fn a_terminal_that_is_read_again_gets_whole_lines() {
    let screen = Screen::new();
    let mut kind = Kind::terminal(&screen);
    let (stdin, input) = io::pipe().unwrap();
    let mut running = leave_orphans(kind.give(Init::pid1(&["-wvvv"])).stdin(stdin), 3000);
    wait_until("all orphans are reaped", || running.children().len() == 1);
    let mut text = String::new();
    wait_until("there is room again", || {
        text.push_str(&kind.read_what_is_there());
        is_ready(&kind.ours, PollFlags::POLLOUT)
    });
    drop(input);
    text.push_str(&kind.read_until(") exited with 0"));
    assert_eq!(running.status().code(), Some(0));
    for line in text.lines() {
        assert!(line.starts_with("sexton: ") && line.matches("sexton: ").count() == 1, "{line}");
    }
    assert!(text.contains("messages dropped] "), "{text}");
}

/// Pipes know them from Linux 6.5 on, and sandboxes refuse the call.
fn messages_need_no_nowait_writes() {
    for errno in [libc::ENOSYS, libc::EPERM, libc::EINVAL, libc::EOPNOTSUPP, libc::EACCES] {
        let init = |options: &[&str]| {
            Init::pid1(options).given(Condition::CallFails { call: libc::SYS_pwritev2, errno })
        };
        let screen = Screen::new();
        for mut kind in Kind::all(&screen) {
            assert_eq!(kind.give(init(&["-awvv"])).code(shell(FIVE_ORPHANS)), 0, "{}", kind.name);
            has_every_line(kind.name, &kind.read_until("sexton: phase: done"));
        }
        for kind in [Kind::pipe(), Kind::fifo()] {
            stops_nothing(kind.give(init(&["-wvvv"])), &kind);
        }
    }
}

/// Each try has to be over within the second for which sexton waits.
fn a_slow_reader_gets_the_failure() {
    let tries = (0..20).any(|_| {
        let (mut reader, writer) = io::pipe().unwrap();
        fill(&writer);
        let mut running = Init::pid1(&[]).stderr(writer).start(["/nonexistent"]);
        wait_until("it waits", || running.is_in_poll() || running.has_ended());
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(running.status().code(), Some(127));
        text.ends_with("sexton: /nonexistent: No such file or directory\n")
    });
    assert!(tries);
}

/// By the number that it has.
fn a_terminal_is_found_without_proc() {
    let screen = Screen::new();
    let mut kind = Kind::terminal(&screen);
    let mut running = kind.give(Init::pid1(&["-wvvv"])).given(Condition::NoProc).start(play(Role::Receive));
    assert!(running.stdout.line().starts_with("ready"));
    let text = kind.read_until("started command, PID 2");
    assert!(text.starts_with("sexton: "), "{text}");
    running.signal(SIGKILL);
}

/// It may not be opened by its name. The one that controls the session can be all the same;
/// of another one, the last message comes at least.
fn another_users_terminal_gets_every_line() {
    const OTHER: Condition = Condition::User(12345);
    for init in [Init::pid1(&["-wvv"]), Init::plain(&["-wvv"])] {
        let screen = Screen::new();
        fs::set_permissions(screen.path(), fs::Permissions::from_mode(0o600)).unwrap();
        let mut kind = Kind::terminal(&screen);
        let mut running = init.given(screen.on(&[2])).given(OTHER).start(play(Role::Receive));
        assert!(running.stdout.line().starts_with("ready"));
        running.signal(SIGUSR1);
        kind.read_until("SIGUSR1");
        running.end();
        kind.read_until("was killed by SIGKILL");
        kind.is_blocking();
    }
    let screen = Screen::new();
    fs::set_permissions(screen.path(), fs::Permissions::from_mode(0o600)).unwrap();
    let mut kind = Kind::terminal(&screen);
    let init = Init::pid1(&[]).given(screen.uncontrolled_on(&[2])).given(OTHER);
    assert_eq!(init.code(["/nonexistent"]), 127);
    kind.read_until("sexton: /nonexistent: No such file or directory");
}
