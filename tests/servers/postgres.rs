//! PostgreSQL: a postmaster whose servers lead sessions of their own.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::advice::{Advice, Scope};
use crate::common::harness::{Need, is_installed, is_root};
use crate::lines::Lines;
use crate::site::{Site, read_to};
use crate::support::*;

/// It waits for the last client to leave.
pub(crate) const SMART: Advice =
    Advice { program: "PostgreSQL, smart", scope: Scope::Either, signal: SIGTERM, status: 0 };
/// It rolls back what is not committed.
pub(crate) const FAST: Advice =
    Advice { program: "PostgreSQL, fast", scope: Scope::Either, signal: SIGINT, status: 0 };

/// It refuses to run as root, so the tests must be root to become another user.
const POSTGRES: Need = Need::Other("postgres", || is_root() && is_installed("setpriv") && bin().is_some());

crate::tests![
    needing(POSTGRES) smart_finishes_transactions_and_fast_rolls_back,
];

/// Where Debian keeps the programs of its newest version.
fn bin() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let bins = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    bins.filter(|bin| bin.join("postgres").exists() && bin.join("psql").exists()).max()
}

fn program(name: &str) -> String {
    bin().expect("postgres").join(name).to_str().expect("text").to_owned()
}

/// Which exec's: the program has its PID.
const AS_NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

struct Database {
    site: Site,
}

impl Database {
    fn new() -> Self {
        let site = Site::new();
        std::os::unix::fs::chown(site.path(""), Some(65534), Some(65534)).expect("chown");
        let mut command = Command::new(AS_NOBODY[0]);
        command.args(&AS_NOBODY[1..]).arg(program("initdb")).args(["-D", &site.path("data")]);
        command.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        let output = command.current_dir(site.path("")).output().expect("initdb");
        assert!(output.status.success(), "{output:?}");
        Self { site }
    }

    fn start(&self, option: &str) -> Running {
        let (program, data, sockets) = (program("postgres"), self.site.path("data"), self.site.path(""));
        let words = [&program, "-D", &data, "-k", &sockets, "-h", "", "-c", "fsync=off"];
        let mut running = self.site.start(&[option], &[&AS_NOBODY[..], &words].concat());
        read_to(&mut running.stderr, "ready to accept connections");
        running
    }

    fn session(&self) -> Session {
        let mut command = Command::new(program("psql"));
        command.args(["-X", "-A", "-t", "-U", "postgres", "-d", "postgres", "-h", &self.site.path("")]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("psql");
        let stdout = OwnedFd::from(child.stdout.take().expect("a pipe"));
        let stderr = OwnedFd::from(child.stderr.take().expect("a pipe"));
        Session {
            stdin: child.stdin.take(),
            stdout: Lines::new(Some(stdout)),
            stderr: Lines::new(Some(stderr)),
            child,
        }
    }
}

/// A client.
struct Session {
    stdin: Option<ChildStdin>,
    stdout: Lines,
    stderr: Lines,
    child: Child,
}

impl Session {
    #[track_caller]
    fn answers(&mut self, statement: &str, answer: &str) {
        writeln!(self.stdin.as_mut().expect("a pipe"), "{statement};").expect("psql");
        assert_eq!(self.stdout.line(), answer);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Which ends it.
        self.stdin = None;
        let _ = self.child.wait();
    }
}

fn smart_finishes_transactions_and_fast_rolls_back() {
    let database = Database::new();
    let mut running = database.start("-g");
    database.session().answers("CREATE TABLE t (n int)", "CREATE TABLE");
    // At once: who is connected is cut off, and the next start must recover.
    running.signal(SIGQUIT);
    assert_eq!(running.status().code(), Some(0));
    let mut rows = 0;
    for option in SMART.scope.options() {
        let mut running = database.start(option);
        let mut session = database.session();
        session.answers("BEGIN", "BEGIN");
        session.answers("INSERT INTO t VALUES (1)", "INSERT 0 1");
        running.signal(SMART.signal);
        read_to(&mut running.stderr, "received smart shutdown request");
        session.answers("COMMIT", "COMMIT");
        rows += 1;
        session.answers("SELECT count(*) FROM t", &rows.to_string());
        drop(session);
        assert_eq!(running.status().code(), Some(SMART.status), "{option}");
    }
    for option in FAST.scope.options() {
        let mut running = database.start(option);
        let mut session = database.session();
        session.answers("BEGIN", "BEGIN");
        session.answers("INSERT INTO t VALUES (1)", "INSERT 0 1");
        running.signal(FAST.signal);
        assert_eq!(running.status().code(), Some(FAST.status), "{option}");
        let _ = writeln!(session.stdin.as_mut().expect("a pipe"), "COMMIT;");
        read_to(&mut session.stderr, "terminating connection due to administrator command");
        drop(session);
    }
    let mut running = database.start("-g");
    database.session().answers("SELECT count(*) FROM t", &rows.to_string());
    running.signal(FAST.signal);
    assert_eq!(running.status().code(), Some(FAST.status));
}
