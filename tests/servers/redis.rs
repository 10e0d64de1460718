//! redis: one process.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::advice::{Advice, Scope};
use crate::site::Site;
use crate::support::*;

pub(crate) const ADVICE: Advice =
    Advice { program: "redis", scope: Scope::Either, signal: SIGTERM, status: 0 };

crate::tests![
    with("redis-server") term_saves_the_data,
    with("redis-server") quit_loses_the_data,
];

/// Stops it with data that are not saved; returns the status, and whether they are.
fn stop(option: &str, signal: Signal) -> (Option<i32>, bool) {
    let site = Site::new();
    let socket = site.path("redis");
    let words = ["redis-server", "--port", "0", "--save", "3600 1", "--unixsocket", &socket];
    let mut running = site.start(&[option], &[&words[..], &["--dir", &site.path("")]].concat());
    let mut client = None;
    wait_until("redis listens", || {
        client = UnixStream::connect(&socket).ok();
        client.is_some()
    });
    let mut client = client.expect("a connection");
    client.set_read_timeout(Some(deadline())).expect("a timeout");
    client.write_all(b"SET key precious\r\n").expect("a request");
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"+OK\r\n");
    running.signal(signal);
    let code = running.status().code();
    let saved = fs::read(site.path("dump.rdb")).unwrap_or_default();
    (code, saved.windows(8).any(|bytes| bytes == b"precious"))
}

fn term_saves_the_data() {
    for option in ADVICE.scope.options() {
        assert_eq!(stop(option, ADVICE.signal), (Some(ADVICE.status), true), "{option}");
    }
}

fn quit_loses_the_data() {
    assert_eq!(stop("-g", SIGQUIT), (Some(131), false));
}
