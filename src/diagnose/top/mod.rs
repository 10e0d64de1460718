//! What uses the CPU, what piles up, and which limit is reached (`--top`): two looks at all
//! processes, compared.

#![forbid(unsafe_code)]

mod sample;
mod table;
mod verdict;

use std::fmt::{self, Display, Formatter, Write};

use nix::errno::Errno;
use nix::unistd::{Pid, getpid};

use super::cgroup::{Figure, Figures};
use super::json::{Json, Known, Text};
use super::usage::{allowed_cpus, pid_max};
use super::zombies::Zombies;
use super::{Failure, Format, HIDDEN, check_proc, is_init_hidden};
use crate::log::{Column, Line, Output, print_line};
use crate::sys::memory::MappedVec;
use crate::sys::process::INIT;
use crate::sys::time::{monotonic_time, sleep_ms};
use crate::units::{Age, Fraction, Nanos, Plural, SECOND, Size};
use sample::{Look, find_again};
use table::{Count, Kind, Looks, Parent, Row, build};
use verdict::{Facts, Finding};

/// Ticks of the kernel's clock would drown in less.
const SHORTEST: Nanos = SECOND / 10;

/// How many rows are shown unless all are asked for.
const SHOWN: usize = 20;

/// Looks twice, so long apart, and prints what that shows; returns whether something is
/// wrong.
pub fn run(time: Nanos, all: bool, format: Format) -> Result<bool, Failure> {
    check_proc()?;
    let own_pid = getpid();
    let first = Look::now(own_pid)?;
    wait_for(time.max(SHORTEST));
    let mut second = Look::now(own_pid)?;
    second.read_shares();
    let answer = Answer::of(&first, &second)?;
    let printed = match format {
        Format::Text => answer.print(all),
        Format::Json => Output::print(|to| answer.write_json(all, to)),
    };
    printed.map_err(Failure::Output)?;
    Ok(answer.is_fault())
}

fn wait_for(time: Nanos) {
    const MILLISECOND: Nanos = SECOND / 1000;
    let end = monotonic_time().saturating_add(time);
    loop {
        let left = end.saturating_sub(monotonic_time());
        if left == 0 {
            return;
        }
        sleep_ms(u16::try_from(left.div_ceil(MILLISECOND)).unwrap_or(u16::MAX));
    }
}

/// All that the looks show.
struct Answer {
    rows: MappedVec<Row>,
    zombies: Zombies,
    processes: usize,
    interval: Nanos,
    now: Nanos,
    cpus: Option<u32>,
    cgroup: Option<(Figures, Figures)>,
    /// How many PIDs were given out, where that can be known.
    pids_given_out: Option<u32>,
    hidden: bool,
}

impl Answer {
    fn of(first: &Look, second: &Look) -> Result<Self, Failure> {
        let interval = second.time.saturating_sub(first.time);
        let looks = Looks { first: &first.processes, second: &second.processes, start: first.time, interval };
        Ok(Self {
            rows: build(&looks).map_err(Failure::Memory)?,
            zombies: zombies(first, second).map_err(Failure::Memory)?,
            processes: second.processes.len(),
            interval,
            now: second.time,
            cpus: allowed_cpus(INIT).or_else(|| allowed_cpus(Pid::this())),
            cgroup: first.cgroup.zip(second.cgroup).map(|(before, now)| (now, now.since(&before))),
            pids_given_out: pids_given_out(first.last_pid, second.last_pid, pid_max()),
            hidden: is_init_hidden(),
        })
    }

    fn facts(&self) -> Facts<'_> {
        Facts { rows: &self.rows, interval: self.interval, now: self.now, cgroup: self.cgroup }
    }

    fn is_fault(&self) -> bool {
        let mut fault = self.zombies.count() > 0;
        self.facts().findings(&mut |finding| fault |= finding.is_fault());
        fault
    }

    /// CPUs used, in hundredths.
    fn cpus_used(&self) -> Fraction {
        let total = self.rows.iter().fold(0, |sum: Nanos, row| sum.saturating_add(row.cpu));
        Fraction::of(total, self.interval)
    }

    /// CPUs that may be used, in hundredths: the limit's, or as many as there are.
    fn cpus_available(&self) -> Option<Fraction> {
        let limit = self.cgroup.and_then(|(figures, _)| figures.get(Figure::CpuLimit));
        let cpus = self.cpus.map(|cpus| u64::from(cpus).saturating_mul(100));
        limit.into_iter().chain(cpus).min().map(Fraction)
    }

    /// CPUs used, by the cgroup's own count.
    fn cpus_of_cgroup(&self) -> Option<Fraction> {
        let (_, since) = self.cgroup?;
        Some(Fraction::of(since.get(Figure::Cpu)?, self.interval))
    }

    // --- Text ----------------------------------------------------------------------

    fn print(&self, all: bool) -> Result<(), Errno> {
        let some_resident = self.rows.iter().any(is_resident);
        let some_shares = self.rows.iter().any(|row| !is_resident(row) && row.memory > 0);
        let memory = match (some_shares, some_resident) {
            (true, true) => "MEMORY",
            (_, false) => "PSS",
            (false, true) => "RSS",
        };
        print_line(format_args!(
            " CPUs  {:<15}  {:>6} {:>7} {:>6}  {:<15} {:>7} {memory:>9}  {:>8}  PARENT",
            "PROGRAM", "NOW", "STARTED", "ENDED", "STATES", "THREADS", "OLDEST"
        ))?;
        let shown = if all { usize::MAX } else { SHOWN };
        for row in self.rows.iter().take(shown) {
            self.print_row(row, some_shares && is_resident(row))?;
        }
        match self.rows.len().saturating_sub(shown) {
            0 => {}
            more => print_line(format_args!("{more} more rows (-v shows all)"))?,
        }
        if some_shares && some_resident {
            print_line(format_args!("* the resident set: the share (PSS) cannot be read"))?;
        }
        print_line(format_args!("{}", Summary(self)))?;
        if self.hidden {
            print_line(format_args!("{HIDDEN}"))?;
        }
        self.print_findings()
    }

    fn print_row(&self, row: &Row, mark: bool) -> Result<(), Errno> {
        let memory = Line::without_end(format_args!("{}{}", Size(row.memory), if mark { "*" } else { "" }));
        let states = Line::without_end(format_args!("{}", StatesInWords(row)));
        let oldest = Line::without_end(format_args!("{}", Age(self.age(row).unwrap_or(0))));
        let known = row.kind == Kind::Program;
        let number = |count| known.then(|| row.get(count));
        let text = |line| if known { Line::as_str(line) } else { "-" };
        print_line(format_args!(
            "{:>5}  {}  {:>6} {:>7} {:>6}  {} {:>7} {:>9}  {:>8}  {}",
            Fraction::of(row.cpu, self.interval),
            Column(row.name, 15),
            OrDash(number(Count::Now)),
            OrDash(number(Count::Started)),
            OrDash(number(Count::Ended)),
            Column(text(&states), 15),
            OrDash(number(Count::Threads)),
            text(&memory),
            text(&oldest),
            ParentName(&row.parent),
        ))
    }

    fn print_findings(&self) -> Result<(), Errno> {
        match u64::from(self.zombies.count()) {
            0 => print_line(format_args!("No zombies: an init would change nothing here."))?,
            count => print_line(format_args!("{}:", Plural(count, "zombie")))?,
        }
        self.zombies.print(false)?;
        let (mut printed, mut any) = (Ok(()), self.zombies.count() > 0);
        self.facts().findings(&mut |finding| {
            any = true;
            printed = printed.and_then(|()| print_line(format_args!("{finding}")));
        });
        if !any {
            printed = printed.and_then(|()| print_line(format_args!("Nothing unusual.")));
        }
        printed
    }

    // --- JSON ----------------------------------------------------------------------

    fn write_json(&self, all: bool, to: &mut dyn Write) {
        let mut json = Json::object(to);
        json.member("seconds", &Fraction::seconds(self.interval));
        json.member("fault", &self.is_fault());
        json.member("hidden", &self.hidden);
        json.member("processes", &self.processes);
        json.member("pids_given_out", &Known(self.pids_given_out));
        json.member("cpus", &self.cpus_used());
        json.member("cpus_available", &Known(self.cpus_available()));
        json.begin_array("programs");
        for row in self.rows.iter().filter(|row| row.kind == Kind::Program) {
            self.write_row(row, &mut json);
        }
        json.end_array();
        json.begin_array("ended");
        for row in self.rows.iter().filter(|row| row.kind == Kind::Ended) {
            json.begin_object("");
            json.member("cpus", &Fraction::of(row.cpu, self.interval));
            write_parent(&row.parent, &mut json);
            json.end();
        }
        json.end_array();
        json.begin_array("zombies");
        self.zombies.write_json(all, &mut json);
        json.end_array();
        self.write_cgroup(&mut json);
        json.begin_array("verdicts");
        self.facts().findings(&mut |finding| write_finding(&finding, &mut json));
        json.end_array();
        json.end();
    }

    fn write_row(&self, row: &Row, json: &mut Json) {
        json.begin_object("");
        json.member("program", &Text(row.name.as_bytes()));
        write_parent(&row.parent, json);
        json.member("cpus", &Fraction::of(row.cpu, self.interval));
        for (key, count) in COUNTS_IN_JSON {
            json.member(key, &row.get(*count));
        }
        json.member("memory_kib", &row.memory);
        json.member("memory", &Text(if is_resident(row) { b"rss" } else { b"pss" }));
        json.member("oldest_seconds", &Known(self.age(row).map(Fraction::seconds)));
        json.end();
    }

    fn write_cgroup(&self, json: &mut Json) {
        let Some((figures, since)) = &self.cgroup else {
            return json.member("cgroup", &Known::<u8>(None));
        };
        json.begin_object("cgroup");
        figures.write_json(json);
        json.member("cpus", &Known(self.cpus_of_cgroup()));
        json.begin_object("since_first_look");
        since.write_counters(json);
        json.end();
        json.end();
    }

    /// The age of the oldest process of a row.
    fn age(&self, row: &Row) -> Option<Nanos> {
        (row.oldest > 0).then(|| self.now.saturating_sub(row.oldest))
    }
}

const COUNTS_IN_JSON: &[(&str, Count)] = &[
    ("now", Count::Now),
    ("started", Count::Started),
    ("ended", Count::Ended),
    ("running", Count::Running),
    ("sleeping", Count::Sleeping),
    ("blocked", Count::Blocked),
    ("stopped", Count::Stopped),
    ("zombies", Count::Zombies),
    ("threads", Count::Threads),
];

fn is_resident(row: &Row) -> bool {
    row.get(Count::Resident) > 0
}

fn write_parent(parent: &Parent, json: &mut Json) {
    json.begin_object("parent");
    json.member("program", &Text(parent.name.as_bytes()));
    json.member("pid", &parent.pid);
    json.member("count", &parent.count);
    json.end();
}

fn write_finding(finding: &Finding, json: &mut Json) {
    json.begin_object("");
    json.member("verdict", &Text(finding.key().as_bytes()));
    json.member("fault", &finding.is_fault());
    if let Some(row) = finding.row() {
        json.member("program", &Text(row.name.as_bytes()));
        write_parent(&row.parent, json);
    }
    json.member("text", &Text(Line::without_end(format_args!("{finding}")).as_bytes()));
    json.end();
}

/// Those that were zombies at both looks.
fn zombies(first: &Look, second: &Look) -> Result<Zombies, Errno> {
    let mut zombies = Zombies::default();
    for process in second.processes.iter().filter(|process| process.is_zombie()) {
        if find_again(&first.processes, process).is_some_and(sample::Sample::is_zombie) {
            zombies.note(process.pid, process.parent, process.name, process.started, process.threads)?;
        }
    }
    zombies.judge();
    Ok(zombies)
}

/// How many PIDs were given out. Unknown where they may have begun anew at the lowest one,
/// more than once perhaps.
fn pids_given_out(first: Option<u32>, second: Option<u32>, pid_max: Option<u32>) -> Option<u32> {
    const ENOUGH: u32 = 1 << 15;
    second?.checked_sub(first?).filter(|_| pid_max.is_some_and(|max| max >= ENOUGH))
}

/// A number that there may not be.
struct OrDash(Option<u32>);

impl Display for OrDash {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.pad("-"),
        }
    }
}

/// How many processes of a row are in which state.
struct StatesInWords<'a>(&'a Row);

impl Display for StatesInWords<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut separator = "";
        for (count, name) in [
            (Count::Running, "run"),
            (Count::Sleeping, "sleep"),
            (Count::Blocked, "disk"),
            (Count::Stopped, "stop"),
            (Count::Zombies, "zombie"),
        ] {
            let count = self.0.get(count);
            if count > 0 {
                write!(f, "{separator}{count} {name}")?;
                separator = ", ";
            }
        }
        if separator.is_empty() { f.write_str("-") } else { Ok(()) }
    }
}

/// A parent as it is printed.
struct ParentName<'a>(&'a Parent);

impl Display for ParentName<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Parent { pid, count, name } = self.0;
        match pid.as_raw() {
            0 => f.write_str("outside"),
            1 => f.write_str("PID 1"),
            _ if name.as_bytes().is_empty() => write!(f, "PID {pid}"),
            _ if *count > 1 => write!(f, "{name} ({count} PIDs)"),
            _ => write!(f, "{name} ({pid})"),
        }
    }
}

/// Whose children the processes of a row are.
struct Children<'a>(&'a Row);

impl Display for Children<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "children of {}", ParentName(&self.0.parent))
    }
}

/// The container as a whole.
struct Summary<'a>(&'a Answer);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let answer = self.0;
        write!(f, "{}", answer.cpus_used())?;
        if let Some(available) = answer.cpus_available() {
            write!(f, " of {available}")?;
        }
        f.write_str(" CPUs")?;
        if let Some(counted) = answer.cpus_of_cgroup()
            && counted.0 > answer.cpus_used().0.saturating_add(10)
        {
            write!(f, " ({counted} by its cgroup's count)")?;
        }
        write!(f, "; {}", Plural(answer.processes as u64, "process"))?;
        if let Some(given_out) = answer.pids_given_out {
            write!(f, ", {} given out", Plural(given_out.into(), "PID"))?;
        }
        let Some((figures, since)) = &answer.cgroup else {
            return f.write_str("; limits unknown (the cgroup of PID 1 cannot be read from here)");
        };
        match (figures.get(Figure::Pids), figures.get(Figure::PidLimit)) {
            (Some(pids), Some(limit)) => write!(f, "; {pids} of {limit} PIDs")?,
            (Some(pids), None) => write!(f, "; {}, no limit", Plural(pids, "PID"))?,
            _ => {}
        }
        match (figures.get(Figure::Memory), figures.get(Figure::MemoryLimit)) {
            (Some(memory), Some(limit)) => write!(f, "; {} of {}", Size(memory), Size(limit))?,
            (Some(memory), None) => write!(f, "; {}, no limit", Size(memory))?,
            _ => {}
        }
        if figures.get(Figure::CpuLimit).is_some() && since.get(Figure::Throttled) == Some(0) {
            f.write_str("; not throttled")?;
        }
        match figures.some(Figure::OomKills) {
            Some(kills) => write!(f, "; {} so far", Plural(kills, "OOM kill")),
            _ => Ok(()),
        }
    }
}
