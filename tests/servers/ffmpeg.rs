//! ffmpeg: one process, which must write the index of its recording at the end.

use std::fs;

use crate::advice::{Advice, Scope};
use crate::site::{Site, read_to};
use crate::support::*;

pub(crate) const ADVICE: Advice =
    Advice { program: "ffmpeg", scope: Scope::Either, signal: SIGTERM, status: 255 };

crate::tests![
    with("ffmpeg") term_completes_the_recording,
    with("ffmpeg") hang_up_loses_the_recording,
];

/// Stops a recording; returns the status, and whether the recording has its index.
fn stop(option: &str, signal: Signal) -> (Option<i32>, bool) {
    let site = Site::new();
    let film = site.path("film.mp4");
    let source = ["-re", "-f", "lavfi", "-i", "testsrc=size=64x64:rate=20", "-c:v", "mpeg4", &film];
    let command =
        [&["ffmpeg", "-nostdin", "-v", "error", "-stats_period", "0.1", "-progress", "pipe:1"], &source[..]];
    let mut running = site.start(&[option], &command.concat());
    while read_to(&mut running.stdout, "frame=") == "frame=0" {}
    running.signal(signal);
    let code = running.status().code();
    let film = fs::read(film).unwrap_or_default();
    (code, film.windows(4).any(|bytes| bytes == b"moov"))
}

fn term_completes_the_recording() {
    for option in ADVICE.scope.options() {
        assert_eq!(stop(option, ADVICE.signal), (Some(ADVICE.status), true), "{option}");
    }
}

fn hang_up_loses_the_recording() {
    assert_eq!(stop("-g", SIGHUP), (Some(129), false));
}
