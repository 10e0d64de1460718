//! PHP-FPM: a master with workers in its process group.

use crate::advice::{Advice, Scope};
use crate::common::harness::{Need, is_installed};
use crate::request::{Address, Fate, Server};
use crate::site::Site;
use crate::support::*;

pub(crate) const ADVICE: Advice =
    Advice { program: "PHP-FPM", scope: Scope::Either, signal: SIGQUIT, status: 0 };

/// Debian has its version in the name.
const NAMES: &[&str] = &["php-fpm", "php-fpm8.2", "php-fpm8.3", "php-fpm8.4"];

const PHP_FPM: Need = Need::Other("php-fpm", || program().is_some());

fn program() -> Option<&'static str> {
    NAMES.iter().find(|name| is_installed(name)).copied()
}

crate::tests![
    needing(PHP_FPM) quit_finishes_requests,
    needing(PHP_FPM) quit_without_a_timeout_loses_requests,
    needing(PHP_FPM) term_loses_requests,
];

const CONFIGURATION: &str = "
[global]
daemonize = no
pid = SITE/pid
error_log = /dev/stderr
TIMEOUT
[www]
user = root
listen = SITE/socket
pm = static
pm.max_children = 2
";

const SCRIPT: &str = "<?php
$gate = stream_socket_client('unix://SITE/gate');
echo fread($gate, 100) ? 'done' : 'lost';
";

/// A request by FastCGI for a script.
fn fastcgi(script: &str) -> Vec<u8> {
    const BEGIN: u8 = 1;
    const PARAMETERS: u8 = 4;
    const STANDARD_INPUT: u8 = 5;
    let record = |kind, content: &[u8]| {
        let length = u16::try_from(content.len()).expect("a short one").to_be_bytes();
        [&[1, kind, 0, 1, length[0], length[1], 0, 0], content].concat()
    };
    let parameter = |name: &str, value: &str| {
        let lengths = [name, value].map(|text| u8::try_from(text.len()).expect("a short one"));
        [&lengths, name.as_bytes(), value.as_bytes()].concat()
    };
    let parameters = [parameter("SCRIPT_FILENAME", script), parameter("REQUEST_METHOD", "GET")].concat();
    [
        record(BEGIN, &[0, 1, 0, 0, 0, 0, 0, 0]),
        record(PARAMETERS, &parameters),
        record(PARAMETERS, &[]),
        record(STANDARD_INPUT, &[]),
    ]
    .concat()
}

fn with_server(timeout: &str, f: impl FnOnce(&Site, Server)) {
    let site = Site::new();
    site.file("conf", &CONFIGURATION.replace("TIMEOUT", timeout));
    site.file("index.php", SCRIPT);
    let server = Server {
        command: &[program().expect("php-fpm"), "-n", "-R", "-F", "-y", &site.path("conf")],
        address: Address::Path(site.path("socket")),
        request: fastcgi(&site.path("index.php")),
        ready: None,
        taken: "Finishing ...",
    };
    f(&site, server);
}

fn quit_finishes_requests() {
    with_server("process_control_timeout = 60s", |site, server| server.stops_as_advised(site, &ADVICE));
}

fn quit_without_a_timeout_loses_requests() {
    with_server("", |site, server| {
        for option in ["-g", "-c"] {
            assert_eq!(server.stop(site, &[option], SIGQUIT, Fate::Lost), 0, "{option}");
        }
    });
}

fn term_loses_requests() {
    with_server("process_control_timeout = 60s", |site, server| {
        for option in ["-g", "-c"] {
            assert_eq!(server.stop(site, &[option], SIGTERM, Fate::Lost), 0, "{option}");
        }
    });
}
