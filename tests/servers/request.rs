//! A request that is under way when its server is stopped.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::advice::Advice;
use crate::site::{Site, Visitor, read_to};
use crate::support::*;

/// A server that has one worker or more.
pub(crate) struct Server<'a> {
    pub(crate) command: &'a [&'a str],
    pub(crate) address: Address,
    pub(crate) request: Vec<u8>,
    /// What it logs when it handles signals, if it takes requests earlier than that.
    pub(crate) ready: Option<&'a str>,
    /// What it logs when it has taken the signal.
    pub(crate) taken: &'a str,
}

#[derive(Clone)]
pub(crate) enum Address {
    Path(String),
    Loopback(SocketAddr),
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Address {
    /// One of the many addresses of the loopback device, by our PID: no other run's.
    pub(crate) fn loopback(port: u16) -> Self {
        let [_, a, b, c] = std::process::id().to_be_bytes();
        Self::Loopback(([127, a, b, c], port).into())
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Path(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(deadline()))?;
                Box::new(stream)
            }
            Self::Loopback(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(deadline()))?;
                Box::new(stream)
            }
        })
    }
}

/// A request by HTTP.
pub(crate) fn http() -> Vec<u8> {
    b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n".to_vec()
}

/// What became of the request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    Finished,
    Lost,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::Loopback(address) => address.fmt(f),
        }
    }
}

impl Server<'_> {
    /// Sees that what is advised finishes the request.
    pub(crate) fn stops_as_advised(&self, site: &Site, advice: &Advice) {
        for option in advice.scope.options() {
            let status = self.stop(site, &[option], advice.signal, Fate::Finished);
            assert_eq!(status, advice.status, "{option}");
        }
    }

    /// Starts it and makes a request; returns the work, and where the answer will be.
    pub(crate) fn at_work(&self, site: &Site, options: &[&str]) -> (Running, Visitor, JoinHandle<String>) {
        let mut running = site.start(options, self.command);
        let mut client = None;
        wait_until("the server listens", || {
            client = self.address.connect().ok();
            client.is_some()
        });
        let mut client = client.expect("a connection");
        client.write_all(&self.request).expect("a request");
        let answer = thread::spawn(move || {
            let mut answer = Vec::new();
            // It may be reset.
            let _ = client.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        });
        let visitor = site.visitor();
        if let Some(ready) = self.ready {
            read_to(&mut running.stderr, ready);
        }
        (running, visitor, answer)
    }

    /// Stops it amid a request, which has this fate; returns sexton's exit status.
    pub(crate) fn stop(&self, site: &Site, options: &[&str], signal: Signal, fate: Fate) -> i32 {
        let (mut running, visitor, answer) = self.at_work(site, options);
        let start = Instant::now();
        running.signal(signal);
        if fate == Fate::Finished {
            read_to(&mut running.stderr, self.taken);
            visitor.release();
        }
        let answer = answer.join().expect("the client");
        assert_eq!(answer.contains("done"), fate == Fate::Finished, "{options:?} {signal}: {answer:?}");
        // Sooner than at the end of a time that the server leaves its workers by default.
        assert!(start.elapsed() < SOON);
        running.status().code().expect("a status")
    }
}
