//! The far end of a pseudo-terminal: what a person has before them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{FlowArg, Termios, tcflow, tcgetattr};

use super::protocol::Condition;
use super::wait::is_readable;

pub(crate) struct Screen {
    master: PtyMaster,
    path: String,
    shown: String,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("the terminal's other end");
        let path = ptsname_r(&master).expect("its name");
        Self { master, path, shown: String::new() }
    }

    /// The condition that sexton leads a session which the terminal controls, and has it as
    /// these descriptors.
    pub(crate) fn on(&self, descriptors: &[i32]) -> Condition {
        Condition::Terminal {
            path: self.path.clone(),
            descriptors: descriptors.to_vec(),
            controls_the_session: true,
        }
    }

    /// The same with a terminal that does not control the session.
    pub(crate) fn uncontrolled_on(&self, descriptors: &[i32]) -> Condition {
        Condition::Terminal {
            path: self.path.clone(),
            descriptors: descriptors.to_vec(),
            controls_the_session: false,
        }
    }

    /// The end that programs have, as a file.
    pub(crate) fn file(&self) -> File {
        let mut options = File::options();
        options.read(true).write(true).custom_flags(libc::O_NOCTTY);
        options.open(&self.path).expect("the terminal")
    }

    /// Its path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// What is before the person, to be read in another way than by waiting for a text.
    pub(crate) fn reader(&self) -> File {
        File::from(self.master.as_fd().try_clone_to_owned().expect("a duplicate"))
    }

    /// Holds back what is written, as Ctrl-S does.
    pub(crate) fn pause(&self) {
        // The key itself would be heeded only a moment after it was typed.
        tcflow(self.file(), FlowArg::TCOOFF).expect("pause");
    }

    /// Lets it through again.
    pub(crate) fn resume(&self) {
        tcflow(self.file(), FlowArg::TCOON).expect("resume");
    }

    /// Starts a program at this terminal.
    pub(crate) fn start(&self, mut command: Command) -> Child {
        let open = || File::options().read(true).write(true).open(&self.path).expect("the terminal");
        command.stdin(open()).stdout(open()).stderr(open());
        // SAFETY: both calls are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                nix::errno::Errno::result(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
                Ok(())
            })
        };
        command.spawn().expect("the program at the terminal")
    }

    /// Types something.
    pub(crate) fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("type");
    }

    /// Waits until something has been shown since what was waited for last; returns what
    /// was shown before it.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) -> String {
        loop {
            if let Some(start) = self.shown.find(text) {
                let mut skipped: String = self.shown.drain(..start + text.len()).collect();
                skipped.truncate(start);
                return skipped;
            }
            assert!(is_readable(&self.master), "{text:?} does not come; shown: {:?}", self.shown);
            let mut chunk = [0; 4096];
            let length = self.master.read(&mut chunk).unwrap_or(0);
            assert!(length > 0, "hung up before {text:?}; shown: {:?}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
    }

    /// Changes its size.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the request takes a pointer to that.
        assert_eq!(unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }, 0);
    }

    /// Its settings, to compare.
    pub(crate) fn settings(&self) -> Termios {
        tcgetattr(&self.master).expect("its settings")
    }
}
