//! Apache: a parent with children in its process group.

use std::process::Command;

use crate::advice::{Advice, Scope};
use crate::common::harness::{Need, is_installed, is_root};
use crate::request::{Address, Fate, Server, http};
use crate::site::Site;
use crate::support::*;

pub(crate) const ADVICE: Advice =
    Advice { program: "Apache", scope: Scope::Either, signal: SIGWINCH, status: 0 };

/// It refuses to serve as root, so it must be root to become another user.
const APACHE: Need = Need::Other("apache2", || is_root() && is_installed("apache2"));

/// That, and a sexton with the option.
const STOP_SIGNAL: Need = Need::Other("stop-signal", || {
    let help = Command::new(sexton()).arg("--help").output().expect("sexton");
    matches!(APACHE, Need::Other(_, apache) if apache())
        && String::from_utf8_lossy(&help.stdout).contains("--stop-signal")
});

crate::tests![
    needing(APACHE) winch_finishes_requests,
    needing(STOP_SIGNAL) winch_starts_the_time_limit_as_stop_signal,
    needing(APACHE) term_loses_requests,
];

const CONFIGURATION: &str = "
ServerRoot SITE
ServerName localhost
Listen ADDRESS
PidFile SITE/pid
DefaultRuntimeDir SITE
ErrorLog /dev/stderr
LogLevel notice
User nobody
Group nogroup
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
StartServers 2
ProxyPass / unix:SITE/gate|http://localhost/
";

fn with_server(port: u16, f: impl FnOnce(&Site, Server)) {
    let site = Site::new();
    let address = Address::loopback(port);
    site.file("conf", &CONFIGURATION.replace("ADDRESS", &address.to_string()));
    let server = Server {
        command: &["apache2", "-D", "FOREGROUND", "-f", &site.path("conf")],
        address,
        request: http(),
        ready: None,
        taken: "caught SIGWINCH, shutting down gracefully",
    };
    f(&site, server);
}

fn winch_finishes_requests() {
    with_server(8001, |site, server| server.stops_as_advised(site, &ADVICE));
}

/// The request takes longer than the limit.
fn winch_starts_the_time_limit_as_stop_signal() {
    with_server(8002, |site, server| {
        let options = ["--stop-signal", "WINCH", "-k", "300ms"];
        assert_eq!(server.stop(site, &options, SIGWINCH, Fate::Lost), 137);
    });
}

fn term_loses_requests() {
    with_server(8003, |site, server| {
        for option in ["-g", "-c"] {
            assert_eq!(server.stop(site, &[option], SIGTERM, Fate::Lost), 0, "{option}");
        }
    });
}
