//! What a program prints.

use std::io::{PipeReader, Read};
use std::os::fd::OwnedFd;

use crate::common::wait::{deadline, is_readable};

/// The lines that come out of a pipe, each within the deadline.
pub(crate) struct Lines {
    pipe: Option<PipeReader>,
    buffer: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(pipe: Option<OwnedFd>) -> Self {
        Self { pipe: pipe.map(PipeReader::from), buffer: Vec::new() }
    }

    /// Waits for one line.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).take(end).collect();
                return String::from_utf8(line).expect("a line of text");
            }
            assert!(self.fill(), "ended before the line: {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// All that is still to come.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.pipe.is_some() && self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    #[track_caller]
    fn fill(&mut self) -> bool {
        let pipe = self.pipe.as_mut().expect("a pipe");
        assert!(
            is_readable(pipe),
            "nothing came within {:?}; so far: {:?}",
            deadline(),
            String::from_utf8_lossy(&self.buffer)
        );
        let mut chunk = [0; 1 << 16];
        let length = pipe.read(&mut chunk).expect("read");
        self.buffer.extend_from_slice(&chunk[..length]);
        length > 0
    }
}
