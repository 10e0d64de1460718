//! Where a server runs, and the work that it is given: a visit to the test, which lasts
//! until the test ends it.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::common::harness::is_installed;
use crate::common::wait::is_readable;
use crate::support::*;

/// A directory for a server, with a socket `gate` in it.
pub(crate) struct Site {
    directory: TempDir,
    gate: UnixListener,
}

/// A module of Python's that makes the visit.
const VISIT: &str = r#"
import os, signal, socket, sys

def visit():
    gate = socket.socket(socket.AF_UNIX)
    gate.connect(os.path.join(os.path.dirname(os.path.abspath(__file__)), "gate"))
    return gate.recv(100) != b""
"#;

impl Site {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("sexton-test-").tempdir().expect("a directory");
        let gate = UnixListener::bind(directory.path().join("gate")).expect("a socket");
        let site = Self { directory, gate };
        // Workers may be of another user.
        for (path, mode) in [(site.path(""), 0o755), (site.path("gate"), 0o777)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
        }
        site.file("visit.py", VISIT);
        site
    }

    /// A path in the directory, as text.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("text").to_owned()
    }

    /// Writes a file; `SITE` in it is the directory.
    pub(crate) fn file(&self, name: &str, content: &str) {
        let directory = self.directory.path().to_str().expect("text");
        fs::write(self.path(name), content.replace("SITE", directory)).expect("a file");
    }

    /// Waits until somebody visits.
    #[track_caller]
    pub(crate) fn visitor(&self) -> Visitor {
        assert!(is_readable(&self.gate), "no visit within {:?}", deadline());
        let (stream, _) = self.gate.accept().expect("a visitor");
        stream.set_read_timeout(Some(deadline())).expect("a timeout");
        Visitor(stream)
    }

    /// Starts a server as the command of a PID 1, in the directory.
    pub(crate) fn start(&self, options: &[&str], command: &[&str]) -> Running {
        Init::pid1(options)
            .given(Condition::WorkingDirectory(self.path("")))
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .start(command)
    }
}

/// One that is at its work.
pub(crate) struct Visitor(UnixStream);

impl Visitor {
    /// Lets it finish; a proxy takes this for an answer.
    pub(crate) fn release(mut self) {
        self.0.write_all(b"HTTP/1.0 200 OK\r\n\r\ndone").expect("the visitor");
        self.0.shutdown(Shutdown::Write).expect("the visitor");
        // A proxy's request: unread, it would reset the connection, and lose the answer.
        self.leaves();
    }

    /// Waits for it to leave before its work is done.
    #[track_caller]
    pub(crate) fn leaves(mut self) {
        let mut request = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut request) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
}

/// Waits for a line with this in it.
#[track_caller]
pub(crate) fn read_to(lines: &mut crate::lines::Lines, text: &str) -> String {
    loop {
        let line = lines.line();
        if line.contains(text) {
            return line;
        }
    }
}

/// Python itself, where `python3` is a script that looks for it.
pub(crate) fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        String::from_utf8(output.expect("python3").stdout).expect("text").trim().to_owned()
    })
}

/// Whether Python has these modules.
pub(crate) fn python_has(modules: &[&str]) -> bool {
    let find = "import importlib.util, sys\nsys.exit(not all(map(importlib.util.find_spec, sys.argv[1:])))";
    let found = || Command::new(python()).args(["-c", find]).args(modules).output();
    is_installed("python3") && found().is_ok_and(|output| output.status.success())
}

/// A program that is at its work, finishes it after TERM, and leaves a note of how often it
/// was asked: a file `terms` with a letter for each, and `saved` when it is done.
const SAVER: &str = r#"
import signal, visit

def asked(*_):
    with open("SITE/terms", "a") as file:
        file.write("x")

signal.signal(signal.SIGTERM, asked)
if visit.visit():
    open("SITE/saved", "w").close()
"#;

impl Site {
    /// Writes the program, as `saver.py`.
    pub(crate) fn with_saver() -> Self {
        let site = Self::new();
        site.file("saver.py", SAVER);
        site
    }

    /// How many TERMs have reached the program.
    pub(crate) fn terms(&self) -> usize {
        fs::read(self.path("terms")).map_or(0, |letters| letters.len())
    }

    /// Whether its work is done.
    pub(crate) fn is_saved(&self) -> bool {
        fs::exists(self.path("saved")).expect("the directory")
    }

    /// Makes it as it was.
    pub(crate) fn clear(&self) {
        for name in ["terms", "saved"] {
            let _ = fs::remove_file(self.path(name));
        }
    }
}
