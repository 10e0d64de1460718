//! nginx: a master with workers in its process group.

use crate::advice::{Advice, Scope};
use crate::request::{Address, Fate, Server, http};
use crate::site::Site;
use crate::support::*;

pub(crate) const ADVICE: Advice =
    Advice { program: "nginx", scope: Scope::Either, signal: SIGQUIT, status: 0 };

crate::tests![
    with("nginx") quit_finishes_requests,
    with("nginx") term_rewritten_to_quit_finishes_requests,
    with("nginx") term_loses_requests,
];

const CONFIGURATION: &str = "
daemon off;
user root;
worker_processes 2;
pid SITE/pid;
error_log stderr notice;
events {}
http {
    access_log off;
    client_body_temp_path SITE/body;
    proxy_temp_path SITE/proxy;
    fastcgi_temp_path SITE/fastcgi;
    uwsgi_temp_path SITE/uwsgi;
    scgi_temp_path SITE/scgi;
    server {
        listen unix:SITE/socket;
        location / { proxy_pass http://unix:SITE/gate; }
    }
}
";

fn with_server(f: impl FnOnce(&Site, Server)) {
    let site = Site::new();
    site.file("conf", CONFIGURATION);
    let server = Server {
        command: &["nginx", "-p", &site.path(""), "-e", "stderr", "-c", &site.path("conf")],
        address: Address::Path(site.path("socket")),
        request: http(),
        ready: None,
        taken: "gracefully shutting down",
    };
    f(&site, server);
}

fn quit_finishes_requests() {
    with_server(|site, server| server.stops_as_advised(site, &ADVICE));
}

/// Where the engine sends nothing but TERM.
fn term_rewritten_to_quit_finishes_requests() {
    with_server(|site, server| {
        let options = ["-r", "TERM:QUIT", "-k", "60"];
        assert_eq!(server.stop(site, &options, SIGTERM, Fate::Finished), ADVICE.status);
    });
}

fn term_loses_requests() {
    with_server(|site, server| {
        for option in ["-g", "-c"] {
            assert_eq!(server.stop(site, &[option], SIGTERM, Fate::Lost), 0, "{option}");
        }
    });
}
