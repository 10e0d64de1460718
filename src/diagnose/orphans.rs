//! The orphans that were reaped: a line for each (`-w`), and a table at the end (`-R`).

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter, Write};

use nix::unistd::Pid;

use super::Format;
use super::cgroup::{Cgroup, Figures, Totals};
use super::json::{Json, Text};
use super::procfs::{Process, ProgramName, Stat};
use crate::log::{Column, Escaped, Log, Output};
use crate::sys::wait::{Usage, WaitStatus};
use crate::units::{Fraction, Mebibytes, Seconds};

/// A child that was reaped and was not the command.
pub struct Orphan {
    /// Its PID.
    pub pid: Pid,
    /// What /proc reported of it, while it was a zombie.
    pub stat: Option<Stat>,
    /// How it ended.
    pub status: WaitStatus,
    /// What it used.
    pub usage: Usage,
}

impl Display for Orphan {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "reaped {}: {}", Process(self.pid, self.stat), self.status)?;
        if let Some(stat) = &self.stat {
            write!(f, ", lived {}", Seconds(stat.age()))?;
        }
        write!(f, ", cpu {}, max rss {}", Seconds(self.usage.cpu), Mebibytes(self.usage.max_rss))
    }
}

/// The orphans, added up by program name.
pub struct Report {
    entries: [Entry; Self::NAMES],
    /// The orphans of all names that find no room.
    others: Entry,
}

/// What the orphans of one name add up to. An entry that counts none is free.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Entry {
    name: ProgramName,
    count: u64,
    killed: u64,
    usage: Usage,
}

impl Entry {
    fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.killed = self.killed.saturating_add(other.killed);
        self.usage.cpu = self.usage.cpu.saturating_add(other.usage.cpu);
        self.usage.max_rss = self.usage.max_rss.max(other.usage.max_rss);
    }

    fn write_json(&self, key: &str, name: &[u8], json: &mut Json) {
        json.begin_object(key);
        json.member("program", &Text(name));
        json.member("count", &self.count);
        json.member("killed", &self.killed);
        json.member("cpu_seconds", &Fraction::seconds(self.usage.cpu));
        json.member("max_rss_kib", &self.usage.max_rss);
        json.end();
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
        let name = orphan.stat.map_or_else(|| ProgramName::new(b"(unknown)"), |stat| stat.name);
        let killed = u64::from(orphan.status.term_signal().is_some());
        let entry = self.entries.iter_mut().find(|entry| entry.count == 0 || entry.name == name);
        let entry = entry.unwrap_or(&mut self.others);
        entry.name = name;
        entry.add(&Entry { name, count: 1, killed, usage: orphan.usage });
    }

    /// Prints the table, sorted by falling count, and what the cgroup has used; empties the table.
    pub fn print(&mut self, format: Format, log: &Log) {
        let mut total = Entry::default();
        for entry in self.entries.iter().chain([&self.others]) {
            total.add(entry);
        }
        let cgroup = Cgroup::own(&mut [0; _]).figures();
        match format {
            Format::Text => self.print_text(&total, &cgroup, log),
            Format::Json => Output::log(|to| self.write_json(&total, &cgroup, to)),
        }
    }

    fn print_text(&mut self, total: &Entry, cgroup: &Figures, log: &Log) {
        let row = |name: &[u8], entry: &Entry| log.print(format_args!("{}", Row { name, entry }));
        if total.count == 0 {
            log.print(format_args!("no orphans"));
        } else {
            log.print(format_args!("{HEADING}"));
            while let Some(entry) = self.most() {
                row(entry.name.as_bytes(), &entry);
            }
            if self.others.count > 0 {
                row(OTHERS, &self.others);
            }
            row(b"total", total);
        }
        if !cgroup.is_empty() {
            log.print(format_args!("cgroup: {}", Totals(cgroup)));
        }
    }

    fn write_json(&mut self, total: &Entry, cgroup: &Figures, to: &mut dyn Write) {
        let mut json = Json::object(to);
        json.begin_array("orphans");
        while let Some(entry) = self.most() {
            entry.write_json("", entry.name.as_bytes(), &mut json);
        }
        if self.others.count > 0 {
            self.others.write_json("", OTHERS, &mut json);
        }
        json.end_array();
        total.write_json("total", b"total", &mut json);
        json.begin_object("cgroup");
        cgroup.write_json(&mut json);
        json.end();
        json.end();
    }

    /// Takes the entry with the highest count; of several, the first.
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

/// What those are called for which there is no room.
const OTHERS: &[u8] = b"(others)";

const HEADING: &str = "orphans reaped       count   killed           cpu       max rss";

/// A line of the table.
struct Row<'a> {
    name: &'a [u8],
    entry: &'a Entry,
}

impl Display for Row<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Entry { count, killed, usage, .. } = self.entry;
        let name = Column(Escaped(self.name), 15);
        let (cpu, rss) = (Seconds(usage.cpu), Mebibytes(usage.max_rss));
        write!(f, "{name}{count:>11}{killed:>9}{cpu:>14}{rss:>14}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orphan(name: &str, status: i32, cpu: u64, max_rss: u64) -> Orphan {
        let stat = Stat {
            name: ProgramName::new(name.as_bytes()),
            state: b'Z',
            parent: Pid::from_raw(1),
            is_kernel_thread: false,
            threads: 1,
            started: crate::sys::time::time_since_boot().saturating_sub(81_200_000_000),
        };
        Orphan {
            pid: Pid::from_raw(2179),
            stat: Some(stat),
            status: WaitStatus::from_raw(status),
            usage: Usage { cpu, max_rss },
        }
    }

    #[test]
    fn a_line_describes_an_orphan() {
        let mut orphan = orphan("render", 11, 16_400_000_000, 422 * 1024);
        assert_eq!(
            orphan.to_string(),
            "reaped 2179 (render): killed by SIGSEGV, lived 81.2 s, cpu 16.4 s, max rss 422.0 MiB"
        );
        orphan.stat = None;
        assert_eq!(orphan.to_string(), "reaped 2179: killed by SIGSEGV, cpu 16.4 s, max rss 422.0 MiB");
    }

    fn rows(report: &mut Report) -> Vec<(String, u64)> {
        let mut rows: Vec<_> = std::iter::from_fn(|| report.most())
            .map(|entry| (String::from_utf8_lossy(entry.name.as_bytes()).into_owned(), entry.count))
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
    fn names_that_do_not_fit_are_counted_together() {
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
        let row = Row { name: b"render", entry: &entry }.to_string();
        assert_eq!(row, "render                  12        3        16.4 s     422.0 MiB");
        assert_eq!(HEADING.len(), "render                  12        3        16.4 s     422.0 MiB".len());
    }
}
