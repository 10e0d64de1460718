//! What the kernel counts and limits of a control group, a container's (`cgroups(7)`).
//!
//! The files are those of version 2 where there are any, else of version 1. A container sees
//! its own group as the root of what is mounted in it.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};

use super::json::{Json, Known};
use crate::sys::fd::read_prefix;
use crate::sys::path::LongPath;
use crate::units::{Mebibytes, Plural, Seconds, parse_u64, split_once, value_of};

/// What is counted, and limited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Figure {
    /// CPU time used, in nanoseconds.
    Cpu,
    /// How many periods of the CPU limit have passed in which it ran.
    Periods,
    /// In how many of them it had used up its share.
    Throttled,
    /// How often a fork was refused for want of a PID.
    ForksRefused,
    /// How often it was about to exceed the limit of memory.
    MemoryHits,
    /// How many of its processes were killed because memory ran out.
    OomKills,
    /// How many CPUs it may use, in hundredths.
    CpuLimit,
    /// How many PIDs it has: of processes and of their threads.
    Pids,
    /// How many it may have.
    PidLimit,
    /// Memory in KiB, without files that need not be kept.
    Memory,
    /// How much it may have.
    MemoryLimit,
    /// The most that it has had, such files included.
    MemoryPeak,
}

/// Where a figure stands.
struct Source {
    figure: Figure,
    /// What it is called in JSON.
    key: &'static str,
    controller: &'static [u8],
    v2: Line,
    v1: Line,
}

/// A file, and how the line in it begins.
type Line = (&'static [u8], &'static [u8]);

const fn source(figure: Figure, key: &'static str, controller: &'static [u8], v2: Line, v1: Line) -> Source {
    Source { figure, key, controller, v2, v1 }
}

/// Those up to [`COUNTERS`] only grow. The CPU limit is read from more than one file, and
/// CPU time is in microseconds in version 2.
#[rustfmt::skip]
const SOURCES: &[Source] = &[
    source(Figure::Cpu, "cpu_nanoseconds", b"cpuacct", (b"cpu.stat", b"usage_usec "), (b"cpuacct.usage", b"")),
    source(Figure::Periods, "periods", b"cpu", (b"cpu.stat", b"nr_periods "), (b"cpu.stat", b"nr_periods ")),
    source(Figure::Throttled, "periods_throttled", b"cpu", (b"cpu.stat", b"nr_throttled "), (b"cpu.stat", b"nr_throttled ")),
    source(Figure::ForksRefused, "forks_refused", b"pids", (b"pids.events", b"max "), (b"pids.events", b"max ")),
    source(Figure::MemoryHits, "memory_limit_hits", b"memory", (b"memory.events", b"max "), (b"memory.failcnt", b"")),
    source(Figure::OomKills, "oom_kills", b"memory", (b"memory.events", b"oom_kill "), (b"memory.oom_control", b"oom_kill ")),
    source(Figure::CpuLimit, "cpu_limit_percent", b"cpu", (b"cpu.max", b""), (b"cpu.cfs_quota_us", b"")),
    source(Figure::Pids, "pids", b"pids", (b"pids.current", b""), (b"pids.current", b"")),
    source(Figure::PidLimit, "pid_limit", b"pids", (b"pids.max", b""), (b"pids.max", b"")),
    source(Figure::Memory, "memory_kib", b"memory", (b"memory.current", b""), (b"memory.usage_in_bytes", b"")),
    source(Figure::MemoryLimit, "memory_limit_kib", b"memory", (b"memory.max", b""), (b"memory.limit_in_bytes", b"")),
    source(Figure::MemoryPeak, "memory_peak_kib", b"memory", (b"memory.peak", b""), (b"memory.max_usage_in_bytes", b"")),
];

/// How many of them count something.
const COUNTERS: usize = 6;

/// Files that need not be kept in memory.
const INACTIVE_FILE: (Line, Line) =
    ((b"memory.stat", b"inactive_file "), (b"memory.stat", b"total_inactive_file "));

/// What is known of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figures([u64; SOURCES.len()]);

/// The value of a figure that cannot be read, or of a limit that there is not.
const UNKNOWN: u64 = u64::MAX;

/// Version 1 has a number for "no limit" that depends on the size of pages; no machine has
/// as many bytes.
const NO_LIMIT: u64 = 1 << 60;

/// A group, and where its files are.
pub struct Cgroup<'a> {
    /// `/proc/PID/cgroup` of one of its processes.
    lines: &'a [u8],
    /// A directory in which /sys is.
    root: &'a [u8],
    /// Whether what is mounted there is this group alone.
    alone: bool,
}

/// Room for a `/proc/PID/cgroup`.
pub type Lines = [u8; 4096];

impl<'a> Cgroup<'a> {
    /// The one of this process.
    pub fn own(lines: &'a mut Lines) -> Self {
        let lines = read_prefix(c"/proc/self/cgroup", lines).unwrap_or_default();
        Self { lines, root: b"", alone: true }
    }

    /// The one of PID 1, if its files can be reached. A process that only shares the PID
    /// namespace, as one of `docker run --pid=container:…`, is in a group of its own, and
    /// must not take that for the other one.
    pub fn of_init(own: &'a mut Lines, init: &'a mut Lines) -> Option<Self> {
        let lines = read_prefix(c"/proc/1/cgroup", init)?;
        if read_prefix(c"/proc/self/cgroup", own)? == lines {
            return Some(Self { lines, root: b"", alone: true });
        }
        let seen_by_init = Self { lines, root: b"/proc/1/root", alone: true };
        if seen_by_init.is_within_reach() {
            return Some(seen_by_init);
        }
        let seen_by_us = Self { lines, root: b"", alone: false };
        seen_by_us.is_within_reach().then_some(seen_by_us)
    }

    fn is_within_reach(&self) -> bool {
        SOURCES.first().is_some_and(|cpu| self.get(cpu).is_some())
    }

    /// All that can be read.
    pub fn figures(&self) -> Figures {
        self.first_figures(SOURCES.len())
    }

    /// Only those that count something.
    pub fn counters(&self) -> Figures {
        self.first_figures(COUNTERS)
    }

    fn first_figures(&self, count: usize) -> Figures {
        let mut figures = Figures::default();
        for (place, source) in figures.0.iter_mut().zip(SOURCES).take(count) {
            *place = self.get(source).unwrap_or(UNKNOWN);
        }
        figures
    }

    fn get(&self, source: &Source) -> Option<u64> {
        let Source { controller, v2, v1, .. } = *source;
        match source.figure {
            Figure::Cpu => match self.value_v2(v2) {
                Some(microseconds) => microseconds.checked_mul(1000),
                None => self.value_v1(controller, v1),
            },
            Figure::CpuLimit => self.cpu_limit(),
            Figure::Memory => {
                let (v2_inactive, v1_inactive) = INACTIVE_FILE;
                let inactive = self
                    .value_v2(v2_inactive)
                    .or_else(|| self.value_v1(controller, v1_inactive))
                    .unwrap_or(0);
                let bytes = self.value(controller, v2, v1)?;
                Some(bytes.saturating_sub(inactive) / 1024)
            }
            Figure::MemoryLimit | Figure::MemoryPeak => {
                let bytes = self.value(controller, v2, v1)?;
                (bytes < NO_LIMIT).then_some(bytes / 1024)
            }
            _ => self.value(controller, v2, v1),
        }
    }

    fn value(&self, controller: &[u8], v2: Line, v1: Line) -> Option<u64> {
        self.value_v2(v2).or_else(|| self.value_v1(controller, v1))
    }

    fn value_v2(&self, (file, key): Line) -> Option<u64> {
        parse_u64(value_of(self.read_v2(file, &mut [0; 4096])?, key)?)
    }

    fn value_v1(&self, controller: &[u8], (file, key): Line) -> Option<u64> {
        parse_u64(value_of(self.read_v1(controller, file, &mut [0; 4096])?, key)?)
    }

    /// `cpu.max` has the time that may be used in a period, and the period; version 1 has a
    /// file for each.
    fn cpu_limit(&self) -> Option<u64> {
        let (mut first, mut second) = ([0; 64], [0; 64]);
        let (quota, period) = match self.read_v2(b"cpu.max", &mut first) {
            Some(text) => split_once(value_of(text, b"")?, b' '),
            None => (
                value_of(self.read_v1(b"cpu", b"cpu.cfs_quota_us", &mut first)?, b"")?,
                value_of(self.read_v1(b"cpu", b"cpu.cfs_period_us", &mut second)?, b""),
            ),
        };
        parse_u64(quota)?.checked_mul(100)?.checked_div(parse_u64(period?)?)
    }

    fn read_v2<'b>(&self, file: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        self.read(b"", path_of(self.lines, None), file, buffer)
    }

    fn read_v1<'b>(&self, controller: &[u8], file: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        self.read(controller, path_of(self.lines, Some(controller)), file, buffer)
    }

    /// A file of the group's directory, or else of what is mounted.
    fn read<'b>(
        &self,
        controller: &[u8],
        path: &[u8],
        file: &[u8],
        buffer: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        let mut place = LongPath::default();
        let mut read = |path: &[u8]| {
            let parts = [self.root, b"/sys/fs/cgroup/", controller, path, b"/", file];
            Some(read_prefix(place.join(&parts)?, buffer)?.len())
        };
        // A path that leads out of the namespace's root has no file in it (`cgroup_namespaces(7)`).
        let within = !path.is_empty() && !path.starts_with(b"/..");
        let length = within.then(|| read(path)).flatten();
        let length = length.or_else(|| if self.alone { read(b"") } else { None })?;
        buffer.get(..length)
    }
}

/// The path of a group in the hierarchy of version 2, or of a controller of version 1, from
/// lines of `ID:CONTROLLERS:PATH`.
fn path_of<'a>(lines: &'a [u8], controller: Option<&[u8]>) -> &'a [u8] {
    let path = |line: &'a [u8]| {
        let (id, rest) = split_once(line, b':');
        let (controllers, path) = split_once(rest?, b':');
        let matches = match controller {
            None => id == b"0" && controllers.is_empty(),
            Some(name) => controllers.split(|byte| *byte == b',').any(|each| each == name),
        };
        path.filter(|_| matches)
    };
    lines.split(|byte| *byte == b'\n').find_map(path).unwrap_or_default()
}

impl Default for Figures {
    fn default() -> Self {
        Self([UNKNOWN; SOURCES.len()])
    }
}

impl Figures {
    /// One of them, if it is known.
    pub fn get(&self, figure: Figure) -> Option<u64> {
        self.0.get(figure as usize).copied().filter(|value| *value != UNKNOWN)
    }

    /// One that counts something, if it is more than none.
    pub fn some(&self, figure: Figure) -> Option<u64> {
        self.get(figure).filter(|count| *count > 0)
    }

    /// The same with what had been counted before taken off.
    pub fn since(&self, before: &Self) -> Self {
        let mut figures = *self;
        for (now, before) in figures.0.iter_mut().zip(before.0).take(COUNTERS) {
            *now = if before == UNKNOWN || *now == UNKNOWN { UNKNOWN } else { now.saturating_sub(before) };
        }
        figures
    }

    /// Some, for a test.
    #[cfg(test)]
    pub fn example(known: &[(Figure, u64)]) -> Self {
        let mut figures = Self::default();
        for (figure, value) in known {
            figures.0[*figure as usize] = *value;
        }
        figures
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|value| *value == UNKNOWN)
    }

    /// Writes them as members of a JSON object.
    pub fn write_json(&self, json: &mut Json) {
        write_json(self, SOURCES, json);
    }

    /// The same of those alone that count something.
    pub fn write_counters(&self, json: &mut Json) {
        write_json(self, SOURCES.get(..COUNTERS).unwrap_or_default(), json);
    }
}

fn write_json(figures: &Figures, sources: &[Source], json: &mut Json) {
    for source in sources {
        json.member(source.key, &Known(figures.get(source.figure)));
    }
}

/// Totals in words.
pub struct Totals<'a>(pub &'a Figures);

impl Display for Totals<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let figures = self.0;
        let mut separator = "";
        let mut add = |part: fmt::Arguments| write!(f, "{}{part}", std::mem::replace(&mut separator, ", "));
        if let Some(cpu) = figures.get(Figure::Cpu) {
            add(format_args!("cpu {}", Seconds(cpu)))?;
        }
        if let Some(peak) = figures.get(Figure::MemoryPeak) {
            add(format_args!("peak memory {}", Mebibytes(peak)))?;
        }
        if let (Some(throttled), Some(periods)) =
            (figures.get(Figure::Throttled), figures.some(Figure::Periods))
        {
            add(format_args!("throttled in {throttled} of {periods} periods"))?;
        }
        if let Some(refused) = figures.get(Figure::ForksRefused) {
            add(format_args!("{} refused", Plural(refused, "fork")))?;
        }
        if let Some(kills) = figures.get(Figure::OomKills) {
            add(format_args!("{}", Plural(kills, "OOM kill")))?;
        }
        Ok(())
    }
}

/// The limits that were reached, in words, each behind a semicolon.
pub struct LimitsReached<'a>(pub &'a Figures);

impl Display for LimitsReached<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let figures = self.0;
        if let Some(kills) = figures.some(Figure::OomKills) {
            write!(f, "; {} in its cgroup since start", Plural(kills, "OOM kill"))?;
        }
        if let (Some(peak), Some(limit)) = (figures.get(Figure::MemoryPeak), figures.get(Figure::MemoryLimit))
            && peak >= limit.saturating_sub(limit / 20)
        {
            write!(f, "; peak memory {} of {}", Mebibytes(peak), Mebibytes(limit))?;
        }
        if let (Some(throttled), Some(periods)) =
            (figures.some(Figure::Throttled), figures.get(Figure::Periods))
        {
            write!(f, "; throttled in {throttled} of {periods} periods")?;
            if let Some(cpu) = figures.get(Figure::Cpu) {
                write!(f, " (cpu {})", Seconds(cpu))?;
            }
        }
        if let Some(refused) = figures.some(Figure::ForksRefused) {
            write!(f, "; {} refused", Plural(refused, "fork"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::path::Path;

    fn figures_in(root: &Path, lines: &str, alone: bool) -> Figures {
        Cgroup { lines: lines.as_bytes(), root: root.to_str().unwrap().as_bytes(), alone }.figures()
    }

    fn write_files(directory: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    const V2_FILES: &[(&str, &str)] = &[
        (
            "cpu.stat",
            "usage_usec 2500000\nuser_usec 1\nsystem_usec 1\nnr_periods 60\nnr_throttled 50\nthrottled_usec 9\n",
        ),
        ("cpu.max", "20000 100000\n"),
        ("pids.current", "18\n"),
        ("pids.max", "1000\n"),
        ("pids.events", "max 3\n"),
        ("memory.current", "10485760\n"),
        ("memory.stat", "anon 1\nfile 2\ninactive_anon 7\nactive_anon 7\ninactive_file 4194304\n"),
        ("memory.max", "67108864\n"),
        ("memory.peak", "67100000\n"),
        ("memory.events", "low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n"),
    ];

    /// In the order of [`Figure`].
    const EXPECTED: Figures = Figures([2_500_000_000, 60, 50, 3, 12, 1, 20, 18, 1000, 6144, 65536, 65527]);

    fn with(mut figures: Figures, changes: &[(Figure, u64)]) -> Figures {
        for (figure, value) in changes {
            figures.0[*figure as usize] = *value;
        }
        figures
    }

    #[test]
    fn the_table_is_in_order() {
        for (index, source) in SOURCES.iter().enumerate() {
            assert_eq!(source.figure as usize, index);
        }
        assert_eq!(Figure::OomKills as usize + 1, COUNTERS);
    }

    #[test]
    fn figures_of_version_2() {
        let root = tempfile::tempdir().unwrap();
        write_files(&root.path().join("sys/fs/cgroup"), V2_FILES);
        assert_eq!(figures_in(root.path(), "0::/\n", true), EXPECTED);
        assert_eq!(figures_in(root.path(), "0::/\n", false), EXPECTED);
        // A path that is not to be seen from here.
        assert_eq!(figures_in(root.path(), "0::/docker/abc\n", true), EXPECTED);
        assert!(figures_in(root.path(), "0::/docker/abc\n", false).is_empty());
        assert!(figures_in(root.path(), "0::/../abc\n", false).is_empty());

        let root = tempfile::tempdir().unwrap();
        write_files(&root.path().join("sys/fs/cgroup/kubepods/x"), V2_FILES);
        assert_eq!(figures_in(root.path(), "0::/kubepods/x\n", false), EXPECTED);
        assert!(figures_in(root.path(), "0::/kubepods/y\n", true).is_empty());
    }

    #[test]
    fn figures_of_version_1() {
        let files = [
            ("cpuacct/docker/a:b/cpuacct.usage", "2500000000\n"),
            ("cpu/docker/a:b/cpu.stat", "nr_periods 60\nnr_throttled 50\nthrottled_time 9\n"),
            ("cpu/docker/a:b/cpu.cfs_quota_us", "20000\n"),
            ("cpu/docker/a:b/cpu.cfs_period_us", "100000\n"),
            ("pids/pids.current", "18\n"),
            ("pids/pids.max", "1000\n"),
            ("pids/pids.events", "max 3\n"),
            ("memory/docker/a:b/memory.usage_in_bytes", "10485760\n"),
            (
                "memory/docker/a:b/memory.stat",
                "cache 5\ninactive_file 1\ntotal_cache 4\ntotal_inactive_file 4194304\n",
            ),
            ("memory/docker/a:b/memory.limit_in_bytes", "67108864\n"),
            ("memory/docker/a:b/memory.max_usage_in_bytes", "67100000\n"),
            ("memory/docker/a:b/memory.failcnt", "12\n"),
            ("memory/docker/a:b/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
        ];
        let root = tempfile::tempdir().unwrap();
        write_files(&root.path().join("sys/fs/cgroup"), &files);
        let lines = "5:cpu,cpuacct,memory:/docker/a:b\n4:pids:/x\n0::/\n";
        assert_eq!(figures_in(root.path(), lines, true), EXPECTED);
        let unreachable =
            [Figure::Pids, Figure::PidLimit, Figure::ForksRefused].map(|figure| (figure, UNKNOWN));
        assert_eq!(figures_in(root.path(), lines, false), with(EXPECTED, &unreachable));
    }

    #[test]
    fn no_limit_is_none() {
        let root = tempfile::tempdir().unwrap();
        let files = [
            ("cpu.max", "max 100000\n"),
            ("pids.max", "max\n"),
            ("pids.current", "x\n"),
            ("memory.max", "max\n"),
        ];
        write_files(&root.path().join("sys/fs/cgroup"), &files);
        assert!(figures_in(root.path(), "0::/\n", true).is_empty());
        let root = tempfile::tempdir().unwrap();
        let files =
            [("cpu/cpu.cfs_quota_us", "-1\n"), ("memory/memory.limit_in_bytes", "9223372036854771712\n")];
        write_files(&root.path().join("sys/fs/cgroup"), &files);
        assert!(figures_in(root.path(), "3:cpu,memory:/\n", true).is_empty());
    }

    #[test]
    fn counters_are_counted_from_a_moment_on() {
        let changes = [(Figure::Cpu, 3_000_000_000), (Figure::Throttled, 55), (Figure::Pids, 1)];
        let later = with(EXPECTED, &changes);
        let since = later.since(&EXPECTED);
        assert_eq!(since.get(Figure::Cpu), Some(500_000_000));
        assert_eq!((since.some(Figure::Throttled), since.get(Figure::Periods)), (Some(5), Some(0)));
        assert_eq!((since.some(Figure::Periods), since.get(Figure::Pids)), (None, Some(1)));
        assert_eq!(later.since(&Figures::default()).get(Figure::Throttled), None);
        assert_eq!(Figures::default().since(&later).get(Figure::Throttled), None);
    }

    #[test]
    fn totals_and_limits_in_words() {
        assert_eq!(
            Totals(&EXPECTED).to_string(),
            "cpu 2.5 s, peak memory 64.0 MiB, throttled in 50 of 60 periods, 3 forks refused, 1 OOM kill"
        );
        assert_eq!(Totals(&Figures::default()).to_string(), "");
        assert_eq!(
            LimitsReached(&EXPECTED).to_string(),
            "; 1 OOM kill in its cgroup since start; peak memory 64.0 MiB of 64.0 MiB; throttled in 50 of 60 periods (cpu 2.5 s); 3 forks refused"
        );
        let well = with(
            EXPECTED,
            &[
                (Figure::OomKills, 0),
                (Figure::MemoryPeak, 100),
                (Figure::Throttled, 0),
                (Figure::ForksRefused, 0),
            ],
        );
        assert_eq!(LimitsReached(&well).to_string(), "");
    }

    #[test]
    fn paths_of_each_hierarchy() {
        let lines = b"5:cpu,memory:/docker/a:b\n4:pids:/x\n1:name=systemd:/z\n0::/kubepods/y\n";
        assert_eq!(path_of(lines, None), b"/kubepods/y");
        assert_eq!(path_of(lines, Some(b"memory")), b"/docker/a:b");
        assert_eq!(path_of(lines, Some(b"cpuacct")), b"");
        assert_eq!(path_of(b"", None), b"");
    }

    proptest! {
        #[test]
        fn no_lines_make_it_panic(lines in any::<Vec<u8>>()) {
            let _ = path_of(&lines, None);
            let _ = path_of(&lines, Some(b"memory"));
        }
    }
}
