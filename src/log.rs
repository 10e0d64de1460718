//! The one place that prints: a line on standard error, and pages on standard
//! output.
//!
//! PID 1 must never wait for whoever reads its messages: a supervisor that stops
//! reading would stop the reaping, and with it the container. So each line is
//! one write of at most `PIPE_BUF` bytes (`pipe(7)`: such a write is whole or not
//! at all), made only when it cannot block; otherwise the line is dropped, and
//! counted in the next. `O_NONBLOCK` is no way out: it belongs to the open file
//! description, which the command shares.

#![forbid(unsafe_code)]

use std::cell::Cell;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::sys::{self, Patience};
use crate::text::split_once;
use crate::units::{Decimal, Nanoseconds};

/// Something that can print itself into a line.
pub trait Show {
    /// Appends it to `line`.
    fn show(&self, line: &mut Line);
}

/// A line being composed. What does not fit is cut off.
pub struct Line {
    bytes: [u8; Self::LONGEST],
    length: usize,
}

impl Line {
    /// Far below `PIPE_BUF`, which POSIX lets be as small as 512 bytes.
    const LONGEST: usize = 512;

    fn new() -> Self {
        Self { bytes: [0; Self::LONGEST], length: 0 }
    }

    /// A line of this text, with the items in it (see [`Self::add`]).
    pub fn of(text: &str, items: &[&dyn Show]) -> Self {
        let mut line = Self::new();
        line.add(text, items);
        line.end();
        line
    }

    /// Appends a text of our own, with an item in place of each `{}`; what the text has no
    /// place for is left out.
    pub fn add(&mut self, text: &str, items: &[&dyn Show]) {
        let mut rest = text.as_bytes();
        for item in items {
            let (before, Some([b'}', after @ ..])) = split_once(rest, b'{') else { break };
            self.bytes(before);
            item.show(self);
            rest = after;
        }
        self.bytes(rest);
    }

    /// Appends text of our own.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(bytes) {
            *place = *byte;
            self.length += 1;
        }
    }

    /// Appends an item in a column of its own: with spaces before it, or behind it.
    pub fn add_column(&mut self, width: usize, side: Side, item: &dyn Show) {
        let mut alone = Self::new();
        item.show(&mut alone);
        if side == Side::Left {
            self.bytes(alone.as_bytes());
        }
        for _ in alone.length..width {
            self.text(" ");
        }
        if side == Side::Right {
            self.bytes(alone.as_bytes());
        }
    }

    /// Appends a number in decimal.
    pub fn number(&mut self, number: u64) {
        self.bytes(Decimal::new(number).as_bytes());
    }

    /// All of it. (Not inlined, as its callers are many.)
    #[inline(never)]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Ends the line, over its last character where it is full.
    fn end(&mut self) {
        self.length = self.length.min(Self::LONGEST - 1);
        self.text("\n");
    }
}

/// Of a column, where an item stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// As words do.
    Left,
    /// As numbers do.
    Right,
}

impl Show for &str {
    fn show(&self, line: &mut Line) {
        line.text(self);
    }
}

impl Show for u32 {
    fn show(&self, line: &mut Line) {
        line.number(u64::from(*self));
    }
}

impl Show for Pid {
    fn show(&self, line: &mut Line) {
        line.number(u64::from(self.as_raw().unsigned_abs()));
    }
}

impl Show for u64 {
    fn show(&self, line: &mut Line) {
        line.number(*self);
    }
}

/// A number of tenths, as a decimal one.
pub struct Tenths(pub u64);

impl Show for Tenths {
    fn show(&self, line: &mut Line) {
        line.add("{}.{}", &[&(self.0 / 10), &(self.0 % 10)]);
    }
}

/// A time, in seconds and tenths.
pub struct Seconds(pub Nanoseconds);

impl Show for Seconds {
    fn show(&self, line: &mut Line) {
        line.add("{} s", &[&Tenths(self.0.saturating_add(50_000_000) / 100_000_000)]);
    }
}

/// A word of the user's. Control characters are printed as `\xNN`, so that a
/// line stays one line and a terminal obeys nobody; a long word is cut.
pub struct Word<'a>(pub &'a [u8]);

impl Word<'_> {
    const LONGEST: usize = 256;
}

impl Show for Word<'_> {
    fn show(&self, line: &mut Line) {
        for byte in self.0.iter().take(Self::LONGEST) {
            if byte.is_ascii_control() {
                let hexadecimal = |digit: u8| digit + if digit < 10 { b'0' } else { b'a' - 10 };
                line.bytes(&[b'\\', b'x', hexadecimal(byte >> 4), hexadecimal(byte & 15)]);
            } else {
                line.bytes(&[*byte]);
            }
        }
        if self.0.len() > Self::LONGEST {
            line.text("...");
        }
    }
}

/// How much is said, from [`Level::Problem`], which is always said, to
/// [`Level::Trace`] at `-vvv`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Something that the user should mend.
    Problem = 0,
    /// `-v`: what was done differently from what could be expected.
    Info = 1,
    /// `-vv`: the start, each signal forwarded, the end.
    Debug = 2,
    /// `-vvv`: each child reaped.
    Trace = 3,
}

/// Writes messages, as many as were asked for.
pub struct Log {
    verbosity: u8,
    dropped: Cell<u32>,
}

impl Log {
    /// A log that says what `-v`, given `verbosity` times, asks for.
    pub fn new(verbosity: u8) -> Self {
        Self { verbosity, dropped: Cell::new(0) }
    }

    /// Says `sexton: ` and the text, with the items in it, in one line, if `level` is asked
    /// for and standard error takes it at once.
    pub fn say(&self, level: Level, text: &str, items: &[&dyn Show]) {
        if level as u8 <= self.verbosity {
            self.write(text, items, Patience::None);
        }
    }

    /// Says why sexton is about to give up. Nothing runs yet that could suffer
    /// from a little waiting, so a slow reader gets some time; a dead one cannot
    /// keep the process from ending.
    pub fn fail(&self, text: &str, items: &[&dyn Show]) {
        self.write(text, items, Patience::OneSecond);
    }

    fn write(&self, text: &str, items: &[&dyn Show], patience: Patience) {
        let mut line = Line::new();
        line.text("sexton: ");
        if self.dropped.get() > 0 {
            line.add("[{} lines lost] ", &[&self.dropped.get()]);
        }
        line.add(text, items);
        line.end();
        let written = sys::write_unless_it_blocks(line.as_bytes(), patience);
        self.dropped.set(if written { 0 } else { self.dropped.get().saturating_add(1) });
    }
}

/// Writes all of a line to standard output, waiting for it if need be. Only what
/// was asked for with `-h`, `-V` and `-l` goes there.
pub(crate) fn print(text: &str, items: &[&dyn Show]) -> Result<(), Errno> {
    sys::write_to_stdout(Line::of(text, items).as_bytes())
}

/// What an item prints, for tests.
#[cfg(test)]
pub(crate) fn shown(item: &dyn Show) -> Vec<u8> {
    let mut line = Line::new();
    item.show(&mut line);
    line.as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_word_stays_on_its_line() {
        assert_eq!(shown(&Word(b"a\nb\x1b\x7f")), br"a\x0ab\x1b\x7f");
        assert_eq!(shown(&Word("größe".as_bytes())), "größe".as_bytes());
        assert_eq!(shown(&Word(b"\xff\xfe")), b"\xff\xfe");
    }

    #[test]
    fn a_long_word_is_cut() {
        let long = [b'a'; 300];
        let printed = shown(&Word(&long));
        assert_eq!(printed.len(), 259);
        assert!(printed.ends_with(b"a..."));
    }

    #[test]
    fn items_take_their_places_in_a_text() {
        let line = |text: &str, items: &[&dyn Show]| {
            let line = Line::of(text, items);
            String::from_utf8(line.as_bytes().to_vec()).unwrap()
        };
        assert_eq!(line("wait4: {}", &[&"no"]), "wait4: no\n");
        assert_eq!(line("{}{} of {}s", &[&"{}", &7_u32, &"x"]), "{}7 of xs\n");
        assert_eq!(line("all", &[&"none"]), "all\n");
        assert_eq!(line("", &[]), "\n");
    }

    #[test]
    fn seconds_are_rounded_to_tenths() {
        for (nanoseconds, text) in [
            (0, "0.0 s"),
            (49_999_999, "0.0 s"),
            (50_000_000, "0.1 s"),
            (12_040_000_000, "12.0 s"),
            (59_960_000_000, "60.0 s"),
        ] {
            assert_eq!(shown(&Seconds(nanoseconds)), text.as_bytes());
        }
        assert_eq!(shown(&Seconds(u64::MAX)), b"18446744073.7 s");
    }

    proptest! {
        #[test]
        fn a_full_line_still_ends(words in proptest::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let mut line = Line::new();
            for word in &words {
                Word(word).show(&mut line);
            }
            line.end();
            let newlines = line.as_bytes().iter().filter(|byte| **byte == b'\n').count();
            prop_assert!(line.as_bytes().ends_with(b"\n"));
            prop_assert_eq!(newlines, 1);
        }
    }
}
