//! uWSGI: a master with workers in its process group.

use crate::advice::{Advice, Scope};
use crate::common::harness::{Need, is_installed};
use crate::gunicorn::APPLICATION;
use crate::request::{Address, Fate, Server, http};
use crate::site::{Site, read_to};
use crate::support::*;

pub(crate) const ADVICE: Advice =
    Advice { program: "uWSGI", scope: Scope::Command, signal: SIGTERM, status: 0 };

const UWSGI: Need = Need::Other("uwsgi", || is_installed("uwsgi_python3"));

crate::tests![
    needing(UWSGI) term_finishes_requests_if_configured,
    needing(UWSGI) term_to_the_group_loses_requests,
    needing(UWSGI) term_alone_is_a_restart,
    needing(UWSGI) die_on_term_loses_requests,
];

fn with_server(how: &[&str], f: impl FnOnce(&Site, Server)) {
    let site = Site::new();
    site.file("app.py", APPLICATION);
    let socket = site.path("socket");
    // One worker, which is ready when it visits: one that still starts would miss the signal.
    let words = ["uwsgi_python3", "--master", "-p", "1", "--http-socket", &socket, "--module", "app"];
    let report = ["--hook-master-start", "print:master is ready"];
    let server = Server {
        command: &[&words[..], how, &report].concat(),
        address: Address::Path(socket.clone()),
        request: http(),
        ready: Some("master is ready"),
        taken: "graceful shutdown triggered",
    };
    f(&site, server);
}

const GRACEFUL: &[&str] = &["--hook-master-start", "unix_signal:15 gracefully_kill_them_all"];

fn term_finishes_requests_if_configured() {
    with_server(GRACEFUL, |site, server| server.stops_as_advised(site, &ADVICE));
}

fn term_to_the_group_loses_requests() {
    with_server(GRACEFUL, |site, server| {
        assert_eq!(server.stop(site, &["-g"], SIGTERM, Fate::Lost), 0);
    });
}

fn term_alone_is_a_restart() {
    with_server(&[], |site, server| {
        let (mut running, visitor, _) = server.at_work(site, &["-c"]);
        running.signal(SIGTERM);
        visitor.leaves();
        read_to(&mut running.stderr, "master is ready");
    });
}

fn die_on_term_loses_requests() {
    with_server(&["--die-on-term"], |site, server| {
        for option in ["-g", "-c"] {
            assert_eq!(server.stop(site, &[option], SIGTERM, Fate::Lost), 0, "{option}");
        }
    });
}
