//! `--install`: copies this program, into a volume for an image that does not contain it.

#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::fmt::{self, Display, Formatter};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, lstat};
use nix::sys::statfs::fstatfs;
use nix::sys::statvfs::FsFlags;
use nix::unistd::{AccessFlags, access, fsync, read, unlink, write};

use crate::log::Reason;
use crate::sys::fd::open;
use crate::sys::path::{LongPath, PathBuffer};
use crate::sys::process::exec_path;
use crate::sys::time::monotonic_time;

/// Why the program was not installed.
#[derive(PartialEq, Eq, Debug)]
pub enum Failure {
    /// The kernel refused something.
    Refused(Errno),
    /// Nothing can be executed there.
    NoExec,
    /// What is there is a device, a pipe or a socket, which a file would take the place of.
    NoRegularFile,
    /// This program's own file cannot be found.
    NoSource(Errno),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Self::Refused(errno) => Reason(*errno).fmt(f),
            Self::NoExec => f.write_str("mounted noexec: no program can be executed there"),
            Self::NoRegularFile => f.write_str("not replaced: not a regular file"),
            Self::NoSource(errno) => write!(f, "reading this program: {}", Reason(*errno)),
        }
    }
}

/// Copies this program to `target`, or as `sexton` into it if that is a directory.
///
/// The new file appears whole or not at all (`rename(2)`), even while a process runs the
/// old one. Everyone may execute it, and that is checked. A symbolic
/// link is replaced, and not written through.
pub fn install(target: &[u8]) -> Result<(), Failure> {
    let mut path = LongPath::default();
    let into: &[u8] =
        if is_directory(path.join(&[target]).ok_or(Errno::ENAMETOOLONG)?) { b"/sexton" } else { b"" };
    let path = path.join(&[target, into]).ok_or(Errno::ENAMETOOLONG)?;
    if is_special(path) {
        return Err(Failure::NoRegularFile);
    }
    let source = open_own_file().map_err(Failure::NoSource)?;

    // The copy is made in the same directory, so that it can be renamed. A PID would be no
    // unique name for it: processes of several PID namespaces may install at the same
    // moment.
    let directory = match path.to_bytes().iter().rposition(|byte| *byte == b'/') {
        Some(slash) => path.to_bytes().get(..=slash).unwrap_or_default(),
        None => b"",
    };
    let mut name = PathBuffer::<32>::default();
    let name = name.format(format_args!(".sexton-{}", monotonic_time())).ok_or(Errno::ENAMETOOLONG)?;
    let mut temporary = LongPath::default();
    let temporary = temporary.join(&[directory, name.to_bytes()]).ok_or(Errno::ENAMETOOLONG)?;
    let copy = open(temporary, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL, 0o700)?;
    let installed =
        fill(&source, copy, temporary).and_then(|()| Ok(renameat(AT_FDCWD, temporary, AT_FDCWD, path)?));
    if installed.is_err() {
        let _ = unlink(temporary);
    }
    // The new name must survive a crash, too.
    let parent = if directory.is_empty() { b"." } else { directory };
    let mut path = LongPath::default();
    if let Some(Ok(parent)) = path.join(&[parent]).map(|parent| open(parent, OFlag::O_RDONLY, 0)) {
        let _ = fsync(&parent);
    }
    installed
}

fn is_directory(path: &CStr) -> bool {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY, 0).is_ok()
}

fn is_special(path: &CStr) -> bool {
    lstat(path).is_ok_and(|found| {
        let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
        !matches!(kind, SFlag::S_IFREG | SFlag::S_IFLNK | SFlag::S_IFDIR)
    })
}

/// Opens the file that was executed, by the kernel's reference to it or, without a /proc,
/// by the path that was given to `execve`.
fn open_own_file() -> Result<OwnedFd, Errno> {
    open(c"/proc/self/exe", OFlag::O_RDONLY, 0).or_else(|errno| match exec_path() {
        Some(path) => open(path, OFlag::O_RDONLY, 0),
        None => Err(errno),
    })
}

/// Fills the copy, and makes sure that it is on the disk and can be executed.
fn fill(source: &OwnedFd, copy: OwnedFd, path: &CStr) -> Result<(), Failure> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let length = read(source, &mut buffer)?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
        while !rest.is_empty() {
            let written = write(&copy, rest)?;
            rest = rest.get(written.max(1)..).unwrap_or_default();
        }
    }
    // The umask may have removed permissions.
    fchmod(&copy, Mode::from_bits_truncate(0o755))?;
    fsync(&copy)?;
    // Everyone has permission, so only the mount or a security module can forbid it.
    access(path, AccessFlags::X_OK).map_err(|errno| {
        let noexec = fstatfs(&copy).is_ok_and(|found| found.flags().contains(FsFlags::ST_NOEXEC));
        if noexec { Failure::NoExec } else { Failure::Refused(errno) }
    })
}
