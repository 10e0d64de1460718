//! gunicorn: a master with workers in its process group.

use crate::advice::{Advice, Scope};
use crate::common::harness::Need;
use crate::request::{Address, Fate, Server, http};
use crate::site::{Site, python, python_has};
use crate::support::*;

pub(crate) const ADVICE: Advice =
    Advice { program: "gunicorn", scope: Scope::Either, signal: SIGTERM, status: 0 };

const GUNICORN: Need = Need::Other("gunicorn", || python_has(&["gunicorn"]));

crate::tests![
    needing(GUNICORN) term_finishes_requests,
    needing(GUNICORN) term_finishes_requests_of_threads,
    needing(GUNICORN) a_longer_request_is_lost,
];

/// An application of Python's that visits.
pub(crate) const APPLICATION: &str = r#"
from visit import visit

def application(environment, start_response):
    done = visit()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done" if done else b"lost"]
"#;

fn with_server(class: &str, timeout: &str, f: impl FnOnce(&Site, Server)) {
    let site = Site::new();
    site.file("app.py", APPLICATION);
    let bind = format!("unix:{}", site.path("socket"));
    // One worker, which is ready when it visits: one that still starts would miss the signal.
    let words = [python(), "-m", "gunicorn", "-w", "1", "-k", class, "--threads", "2", "-b", &bind];
    let server = Server {
        command: &[
            &words[..],
            &["--graceful-timeout", timeout, "--worker-tmp-dir", "/tmp", "--no-control-socket", "app"],
        ]
        .concat(),
        address: Address::Path(site.path("socket")),
        request: http(),
        ready: None,
        taken: "Handling signal: term",
    };
    f(&site, server);
}

fn term_finishes_requests() {
    with_server("sync", "60", |site, server| server.stops_as_advised(site, &ADVICE));
}

fn term_finishes_requests_of_threads() {
    with_server("gthread", "60", |site, server| server.stops_as_advised(site, &ADVICE));
}

fn a_longer_request_is_lost() {
    with_server("sync", "1", |site, server| {
        for option in ["-g", "-c"] {
            assert_eq!(server.stop(site, &[option], SIGTERM, Fate::Lost), 0, "{option}");
        }
    });
}
