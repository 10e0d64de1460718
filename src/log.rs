//! The one place that prints: messages on standard error, a line each, and pages on
//! standard output.
//!
//! PID 1 must never wait for the program that reads its messages: one that stops reading
//! would stop the reaping, and with it the container. So each line is one write of at most
//! `PIPE_BUF` bytes (`pipe(7)`: such a write is whole or not at all), made only when it
//! cannot block ([`crate::sys::output`]). Otherwise the line is dropped, and the next one reports how many were.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::fmt::{self, Arguments, Display, Formatter, Write};

use nix::errno::Errno;

use crate::sys::output::{Timeout, Written, write_to_stdout, write_unless_it_blocks};
use crate::sys::{ErrorText, error_text};

/// How much is logged: from [`Level::Error`], always, to [`Level::Trace`], at `-vvv`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// A fault that the user should fix, and output that an option asked for.
    Error = 0,
    /// `-v`: what could not be done, and the phases of the end.
    Info = 1,
    /// `-vv`: the start, each signal forwarded, the end.
    Debug = 2,
    /// `-vvv`: each child reaped.
    Trace = 3,
}

/// Writes the messages that `-v` asks for.
pub struct Log {
    verbosity: u8,
    dropped: Cell<u32>,
    /// Whether the last line was cut, and has no end.
    cut: Cell<bool>,
}

impl Log {
    /// A log at the level that `-v`, given `verbosity` times, asks for.
    pub fn new(verbosity: u8) -> Self {
        Self { verbosity, dropped: Cell::new(0), cut: Cell::new(false) }
    }

    /// Logs a fault, always.
    pub fn error(&self, message: Arguments) {
        self.log(Level::Error, message);
    }

    /// Logs at `-v`.
    pub fn info(&self, message: Arguments) {
        self.log(Level::Info, message);
    }

    /// Logs at `-vv`.
    pub fn debug(&self, message: Arguments) {
        self.log(Level::Debug, message);
    }

    /// Logs at `-vvv`.
    pub fn trace(&self, message: Arguments) {
        self.log(Level::Trace, message);
    }

    /// Prints output that an option asked for (`-w`, `-R`).
    pub fn print(&self, output: Arguments) {
        self.log(Level::Error, output);
    }

    /// Logs why sexton gives up. Nothing runs yet that a short wait could harm, so a slow
    /// reader gets a second; a dead one cannot keep the process from ending.
    pub fn fatal(&self, message: Arguments) {
        self.write(message, Timeout::OneSecond);
    }

    /// Logs at a level.
    pub fn log(&self, level: Level, message: Arguments) {
        if level as u8 <= self.verbosity {
            self.write(message, Timeout::None);
        }
    }

    fn write(&self, message: Arguments, timeout: Timeout) {
        let line = self.line(message);
        self.note(write_unless_it_blocks(line.as_bytes(), timeout));
    }

    fn line(&self, message: Arguments) -> Line {
        let start = if self.cut.get() { "\n" } else { "" };
        match self.dropped.get() {
            0 => Line::of(format_args!("{start}sexton: {message}")),
            1 => Line::of(format_args!("{start}sexton: [1 message dropped] {message}")),
            dropped => Line::of(format_args!("{start}sexton: [{dropped} messages dropped] {message}")),
        }
    }

    /// A line that was cut counts as dropped, with those before it, which it may not have
    /// reported.
    fn note(&self, written: Written) {
        match written {
            Written::Whole => self.dropped.set(0),
            Written::Part | Written::Nothing => self.dropped.set(self.dropped.get().saturating_add(1)),
        }
        if written != Written::Nothing {
            self.cut.set(written == Written::Part);
        }
    }
}

/// Writes a whole line to standard output, and waits if need be. Only what was asked for
/// with `-h`, `-V`, `-l`, `-z` and `--top` goes there.
pub fn print_line(line: Arguments) -> Result<(), Errno> {
    write_to_stdout(Line::of(line).as_bytes())
}

/// Output of any length, for what is no list of lines.
pub struct Output {
    bytes: [u8; Self::SIZE],
    length: usize,
    write: fn(&[u8]) -> Result<(), Errno>,
    written: Result<(), Errno>,
}

impl Output {
    /// `PIPE_BUF`, more than which no write to a pipe may be.
    const SIZE: usize = 4096;

    /// Prints on standard output all that `f` writes, and the end of the line.
    pub fn print(f: impl FnOnce(&mut dyn Write)) -> Result<(), Errno> {
        Self::write_by(write_to_stdout, f)
    }

    /// The same on standard error, up to where that would block.
    pub fn log(f: impl FnOnce(&mut dyn Write)) {
        let write = |bytes: &[u8]| match write_unless_it_blocks(bytes, Timeout::None) {
            Written::Whole => Ok(()),
            Written::Part | Written::Nothing => Err(Errno::EAGAIN),
        };
        let _ = Self::write_by(write, f);
    }

    fn write_by(write: fn(&[u8]) -> Result<(), Errno>, f: impl FnOnce(&mut dyn Write)) -> Result<(), Errno> {
        let mut output = Self { bytes: [0; Self::SIZE], length: 0, write, written: Ok(()) };
        f(&mut output);
        let _ = output.write_char('\n');
        output.flush();
        output.written
    }

    fn flush(&mut self) {
        if self.written.is_ok() {
            self.written = (self.write)(self.bytes.get(..self.length).unwrap_or_default());
        }
        self.length = 0;
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.length == Self::SIZE {
                self.flush();
            }
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
        self.written.map_err(|_| fmt::Error)
    }
}

/// A line of text, composed in place. What does not fit is cut off.
pub struct Line {
    bytes: [u8; Self::SIZE],
    length: usize,
}

impl Line {
    /// Far below `PIPE_BUF`, which POSIX lets be as small as 512 bytes.
    const SIZE: usize = 512;

    /// The text, and the end of the line.
    pub fn of(text: Arguments) -> Self {
        let mut line = Self::without_end(text);
        if let Some(end) = line.bytes.get_mut(line.length) {
            *end = b'\n';
            line.length += 1;
        }
        line
    }

    /// The text alone.
    pub fn without_end(text: Arguments) -> Self {
        let mut line = Self { bytes: [0; Self::SIZE], length: 0 };
        let _ = line.write_fmt(text);
        line
    }

    /// All of it.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// All of it, as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // One byte stays for the end of the line.
        let room = self.bytes.get_mut(self.length..Self::SIZE - 1).unwrap_or_default();
        let mut end = text.len().min(room.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        for (place, byte) in room.iter_mut().zip(text.bytes().take(end)) {
            *place = byte;
        }
        self.length += end;
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Text that sexton did not write: a name, a path, a word of the user's. Control
/// characters and bytes that are not UTF-8 are printed as `\xNN`, so that a line stays one
/// line and no name can command a terminal. A long text is cut.
pub struct Escaped<'a>(pub &'a [u8]);

impl Escaped<'_> {
    const LONGEST: usize = 256;
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let shown = self.0.get(..Self::LONGEST).unwrap_or(self.0);
        for chunk in shown.utf8_chunks() {
            for character in chunk.valid().chars() {
                if is_control(character) {
                    write_hex(f, character.encode_utf8(&mut [0; 4]).as_bytes())?;
                } else {
                    f.write_char(character)?;
                }
            }
            write_hex(f, chunk.invalid())?;
        }
        if shown.len() < self.0.len() { f.write_str("...") } else { Ok(()) }
    }
}

/// Text that fills a column, of at least this many characters.
pub struct Column<T>(pub T, pub usize);

impl<T: Display> Display for Column<T> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut counter = Counter { to: f, characters: 0 };
        write!(counter, "{}", self.0)?;
        (counter.characters..self.1).try_for_each(|_| f.write_char(' '))
    }
}

/// Passes text on, and counts its characters.
struct Counter<'a, 'b> {
    to: &'a mut Formatter<'b>,
    characters: usize,
}

impl Write for Counter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.characters += text.chars().count();
        self.to.write_str(text)
    }
}

/// The control characters of ASCII, and those of ISO 6429 (C1), which terminals obey, too.
fn is_control(character: char) -> bool {
    matches!(character, '\0'..='\x1f' | '\x7f'..='\u{9f}')
}

fn write_hex(f: &mut Formatter, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

/// An error in the C library's words (`strerror(3)`).
pub struct Reason(pub Errno);

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut text: ErrorText = [0; size_of::<ErrorText>()];
        Escaped(error_text(self.0, &mut text).to_bytes()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_that_were_dropped_or_cut_are_reported_by_the_next() {
        let log = Log::new(0);
        let text = || String::from_utf8(log.line(format_args!("x")).as_bytes().to_vec()).unwrap();
        assert_eq!(text(), "sexton: x\n");
        log.note(Written::Nothing);
        assert_eq!(text(), "sexton: [1 message dropped] x\n");
        log.note(Written::Part);
        assert_eq!(text(), "\nsexton: [2 messages dropped] x\n");
        log.note(Written::Nothing);
        assert_eq!(text(), "\nsexton: [3 messages dropped] x\n");
        log.note(Written::Whole);
        assert_eq!(text(), "sexton: x\n");
    }

    #[test]
    fn foreign_text_stays_on_its_line() {
        assert_eq!(Escaped(b"a\nb\x1b\x7f").to_string(), r"a\x0ab\x1b\x7f");
        assert_eq!(Escaped("größe \u{1f9d1}".as_bytes()).to_string(), "größe \u{1f9d1}");
        assert_eq!(Escaped(b"\xff\xfea").to_string(), r"\xff\xfea");
    }

    #[test]
    fn no_control_character_reaches_a_terminal() {
        assert_eq!(Escaped(b"\x9b31m\x9d0;title\x9c").to_string(), r"\x9b31m\x9d0;title\x9c");
        assert_eq!(Escaped("\u{9b}31m\u{85}".as_bytes()).to_string(), r"\xc2\x9b31m\xc2\x85");
        for character in (0..=u16::MAX).filter_map(|code| char::from_u32(code.into())) {
            assert_eq!(is_control(character), character.is_control(), "{character:?}");
        }
    }

    #[test]
    fn long_foreign_text_is_cut() {
        let printed = Escaped(&[b'a'; 300]).to_string();
        assert_eq!(printed.len(), 259);
        assert!(printed.ends_with("a..."));
        // In the middle of a character, too.
        assert!(Escaped("ö".repeat(200).as_bytes()).to_string().ends_with("ö..."));
        assert!(Escaped(format!("a{}", "ö".repeat(200)).as_bytes()).to_string().ends_with(r"ö\xc3..."));
    }

    #[test]
    fn foreign_text_fills_a_column() {
        assert_eq!(
            format!("[{}][{}]", Column(Escaped(b"ab"), 5), Column(Escaped("ö\n".as_bytes()), 6)),
            "[ab   ][ö\\x0a ]"
        );
    }

    #[test]
    fn errors_have_the_words_of_the_c_library() {
        for errno in [Errno::ENOENT, Errno::EACCES, Errno::EKEYREJECTED, Errno::EHWPOISON] {
            let theirs = std::io::Error::from_raw_os_error(errno as i32).to_string();
            assert_eq!(format!("{} (os error {})", Reason(errno), errno as i32), theirs);
        }
    }

    proptest! {
        #[test]
        fn a_full_line_still_ends(words in proptest::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let words: String = words.iter().map(|word| Escaped(word).to_string()).collect();
            let line = Line::of(format_args!("{words}"));
            let newlines = line.as_bytes().iter().filter(|byte| **byte == b'\n').count();
            prop_assert!(line.as_bytes().ends_with(b"\n"));
            prop_assert_eq!(newlines, 1);
            prop_assert!(str::from_utf8(line.as_bytes()).is_ok());
        }
    }
}
