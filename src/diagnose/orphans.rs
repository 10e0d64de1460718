//! Who the orphans were: a line for each (`-w`), and a table at the end (`-R`).

#![forbid(unsafe_code)]

use nix::unistd::Pid;

use crate::diagnose::procfs::{Process, Stat};
use crate::log::{Level, Line, Log, Seconds, Show, Side, Tenths, Word};
use crate::sys::Usage;
use crate::sys::wait::Status;
use crate::text::split_once;

/// A child that was reaped and was not the command.
pub struct Orphan<'a> {
    /// Its PID.
    pub pid: Pid,
    /// What /proc said of it, while it was a zombie.
    pub stat: Option<Stat<'a>>,
    /// How it ended.
    pub status: Status,
    /// What it used.
    pub usage: Usage,
}

impl Show for Orphan<'_> {
    fn show(&self, line: &mut Line) {
        line.add("reaped {}: {}", &[&Process(self.pid, self.stat), &self.status]);
        if let Some(stat) = &self.stat {
            line.add(", lived {}", &[&Seconds(stat.age())]);
        }
        line.add(", cpu {}, max rss {}", &[&Seconds(self.usage.cpu), &Memory(self.usage.max_rss)]);
    }
}

/// A size in KiB, to be told in MiB.
struct Memory(u64);

impl Show for Memory {
    fn show(&self, line: &mut Line) {
        line.add("{} MiB", &[&Tenths(self.0.saturating_mul(10).saturating_add(512) / 1024)]);
    }
}

/// The orphans added up by their programs' names.
pub struct Report {
    entries: [Entry; Self::NAMES],
    /// Those of more names than there is room for.
    others: Entry,
}

/// What those of one name add up to. An entry that counts nobody is free.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Entry {
    name: [u8; Self::NAME],
    count: u64,
    killed: u64,
    usage: Usage,
}

impl Entry {
    /// The kernel keeps 15 bytes of a program's name; more, of kernel threads, are cut.
    const NAME: usize = 16;

    fn add(&mut self, killed: u64, usage: Usage) {
        self.count = self.count.saturating_add(1);
        self.killed = self.killed.saturating_add(killed);
        self.use_more(usage);
    }

    fn join(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.killed = self.killed.saturating_add(other.killed);
        self.use_more(other.usage);
    }

    fn use_more(&mut self, usage: Usage) {
        self.usage.cpu = self.usage.cpu.saturating_add(usage.cpu);
        self.usage.max_rss = self.usage.max_rss.max(usage.max_rss);
    }

    fn name(&self) -> &[u8] {
        split_once(&self.name, 0).0
    }
}

impl Default for Report {
    fn default() -> Self {
        Self { entries: [Entry::default(); Self::NAMES], others: Entry::default() }
    }
}

impl Report {
    /// How many names there is room for.
    const NAMES: usize = 64;

    /// Counts an orphan.
    pub fn add(&mut self, orphan: &Orphan) {
        let mut name = [0; Entry::NAME];
        let known = orphan.stat.as_ref().map_or(&b"(unknown)"[..], |stat| stat.name);
        for (place, byte) in name.iter_mut().zip(known.iter().take(Entry::NAME - 1)) {
            *place = *byte;
        }
        let killed = u64::from(orphan.status.term_signal().is_some());
        let entry = self.entries.iter_mut().find(|entry| entry.count == 0 || entry.name == name);
        let entry = entry.unwrap_or(&mut self.others);
        if entry.count == 0 {
            entry.name = name;
        }
        entry.add(killed, orphan.usage);
    }

    /// Prints the table, by falling count; it is used up.
    pub fn print(&mut self, log: &Log) {
        let mut total = Entry::default();
        for entry in self.entries.iter().chain([&self.others]) {
            total.join(entry);
        }
        if total.count == 0 {
            log.say(Level::Problem, "no orphans", &[]);
            return;
        }
        let row =
            |name: &[u8], entry: &Entry| log.say(Level::Problem, "{}", &[&Row { name: Word(name), entry }]);
        log.say(Level::Problem, HEADING, &[]);
        while let Some(entry) = self.most() {
            row(entry.name(), &entry);
        }
        if self.others.count > 0 {
            row(b"(others)", &self.others);
        }
        row(b"total", &total);
    }

    /// Takes the entry with the highest count; of several, the one that was there first.
    fn most(&mut self) -> Option<Entry> {
        let mut most: Option<&mut Entry> = None;
        for entry in self.entries.iter_mut().filter(|entry| entry.count > 0) {
            if most.as_ref().is_none_or(|most| entry.count > most.count) {
                most = Some(entry);
            }
        }
        most.map(std::mem::take)
    }
}

const HEADING: &str = "orphans reaped       count   killed           cpu       max rss";

/// A line of the table.
struct Row<'a> {
    name: Word<'a>,
    entry: &'a Entry,
}

impl Show for Row<'_> {
    fn show(&self, line: &mut Line) {
        line.add_column(15, Side::Left, &self.name);
        line.add_column(11, Side::Right, &self.entry.count);
        line.add_column(9, Side::Right, &self.entry.killed);
        line.add_column(14, Side::Right, &Seconds(self.entry.usage.cpu));
        line.add_column(14, Side::Right, &Memory(self.entry.usage.max_rss));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::shown;

    fn orphan<'a>(name: &'a str, status: i32, cpu: u64, max_rss: u64) -> Orphan<'a> {
        let stat = Stat {
            name: name.as_bytes(),
            state: b'Z',
            parent: Pid::from_raw(1),
            threads: 1,
            started: crate::sys::time_since_boot().saturating_sub(81_200_000_000),
        };
        Orphan {
            pid: Pid::from_raw(2179),
            stat: Some(stat),
            status: Status::from_raw(status),
            usage: Usage { cpu, max_rss },
        }
    }

    #[test]
    fn a_line_says_who_it_was() {
        let mut orphan = orphan("render", 11, 16_400_000_000, 422 * 1024);
        assert_eq!(
            String::from_utf8(shown(&orphan)).unwrap(),
            "reaped 2179 (render): killed by SIGSEGV, lived 81.2 s, cpu 16.4 s, max rss 422.0 MiB"
        );
        orphan.stat = None;
        assert_eq!(
            String::from_utf8(shown(&orphan)).unwrap(),
            "reaped 2179: killed by SIGSEGV, cpu 16.4 s, max rss 422.0 MiB"
        );
    }

    fn rows(report: &mut Report) -> Vec<(String, u64)> {
        let mut rows: Vec<_> = std::iter::from_fn(|| report.most())
            .map(|entry| (String::from_utf8_lossy(entry.name()).into_owned(), entry.count))
            .collect();
        rows.push(("(others)".into(), report.others.count));
        rows
    }

    #[test]
    fn names_are_sorted_by_their_counts() {
        let mut report = Report::default();
        for name in ["a", "b", "c", "b", "c", "c", "d"] {
            report.add(&orphan(name, 0, 1, 1));
        }
        let expected = [("c", 3), ("b", 2), ("a", 1), ("d", 1), ("(others)", 0)];
        assert_eq!(rows(&mut report), expected.map(|(name, count)| (name.to_owned(), count)));
    }

    #[test]
    fn what_does_not_fit_is_counted_all_the_same() {
        let mut report = Report::default();
        for number in 0..100 {
            for _ in 0..2 {
                report.add(&orphan(&format!("program-{number}"), 9, 10, number));
            }
        }
        assert_eq!(report.others.count, 2 * (100 - Report::NAMES as u64));
        assert_eq!(report.others.killed, report.others.count);
        assert_eq!(report.others.usage, Usage { cpu: report.others.count * 10, max_rss: 99 });
        assert_eq!(rows(&mut report).iter().map(|(_, count)| count).sum::<u64>(), 200);
    }

    #[test]
    fn columns_are_aligned() {
        let entry = Entry {
            count: 12,
            killed: 3,
            usage: Usage { cpu: 16_400_000_000, max_rss: 422 * 1024 },
            ..Entry::default()
        };
        let row = shown(&Row { name: Word(b"render"), entry: &entry });
        assert_eq!(
            String::from_utf8(row).unwrap(),
            "render                  12        3        16.4 s     422.0 MiB"
        );
        assert_eq!(HEADING.len(), "render                  12        3        16.4 s     422.0 MiB".len());
    }
}
