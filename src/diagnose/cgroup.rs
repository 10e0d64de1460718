//! What the kernel counts and limits of a control group, a container's (`cgroups(7)`).
//!
//! The files are those of version 2 where there are any, else of version 1. A container sees
//! its own group as the root of what is mounted in it.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};

use super::json::{Known, List};
use crate::sys::fd::read_prefix;
use crate::sys::path::LongPath;
use crate::sys::time::{Nanos, SECOND};
use crate::units::{Fraction, Mebibytes, Plural, Seconds, parse_u64, split_once, value_of};

/// What is known of a group; what cannot be read, or has no limit, is none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Figures {
    /// CPU time used.
    pub cpu: Option<Nanos>,
    /// How many CPUs it may use, in hundredths.
    pub cpu_limit: Option<u64>,
    /// How many periods of the limit have passed in which it ran.
    pub periods: Option<u64>,
    /// In how many of them it had used up its share.
    pub throttled: Option<u64>,
    /// How many PIDs it has: of processes and of their threads.
    pub pids: Option<u64>,
    /// How many it may have.
    pub pids_limit: Option<u64>,
    /// How often a fork was refused for that.
    pub forks_refused: Option<u64>,
    /// Memory in KiB, without files that need not be kept.
    pub memory: Option<u64>,
    /// How much it may have.
    pub memory_limit: Option<u64>,
    /// The most that it has had, such files included.
    pub memory_peak: Option<u64>,
    /// How often it was about to exceed the limit.
    pub memory_hits: Option<u64>,
    /// How many of its processes were killed because memory ran out.
    pub oom_kills: Option<u64>,
}

/// Where a figure stands: the file, the beginning of the line, and the unit.
struct Source {
    controller: &'static [u8],
    v2: (&'static [u8], &'static [u8], u64),
    v1: (&'static [u8], &'static [u8], u64),
}

const CPU: Source = Source {
    controller: b"cpuacct",
    v2: (b"cpu.stat", b"usage_usec ", 1000),
    v1: (b"cpuacct.usage", b"", 1),
};
const PERIODS: Source = cpu_stat(b"nr_periods ");
const THROTTLED: Source = cpu_stat(b"nr_throttled ");
const PIDS: Source = pids(b"pids.current", b"");
const PIDS_LIMIT: Source = pids(b"pids.max", b"");
const FORKS_REFUSED: Source = pids(b"pids.events", b"max ");
const MEMORY: Source = memory((b"memory.current", b""), (b"memory.usage_in_bytes", b""));
const INACTIVE_FILE: Source =
    memory((b"memory.stat", b"inactive_file "), (b"memory.stat", b"total_inactive_file "));
const MEMORY_LIMIT: Source = memory((b"memory.max", b""), (b"memory.limit_in_bytes", b""));
const MEMORY_PEAK: Source = memory((b"memory.peak", b""), (b"memory.max_usage_in_bytes", b""));
const MEMORY_HITS: Source = memory((b"memory.events", b"max "), (b"memory.failcnt", b""));
const OOM_KILLS: Source = memory((b"memory.events", b"oom_kill "), (b"memory.oom_control", b"oom_kill "));

const fn cpu_stat(key: &'static [u8]) -> Source {
    Source { controller: b"cpu", v2: (b"cpu.stat", key, 1), v1: (b"cpu.stat", key, 1) }
}

const fn pids(file: &'static [u8], key: &'static [u8]) -> Source {
    Source { controller: b"pids", v2: (file, key, 1), v1: (file, key, 1) }
}

type Line = (&'static [u8], &'static [u8]);

const fn memory(v2: Line, v1: Line) -> Source {
    Source { controller: b"memory", v2: (v2.0, v2.1, 1), v1: (v1.0, v1.1, 1) }
}

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
        if seen_by_init.get(&CPU).is_some() {
            return Some(seen_by_init);
        }
        let seen_by_us = Self { lines, root: b"", alone: false };
        seen_by_us.get(&CPU).is_some().then_some(seen_by_us)
    }

    /// All that can be read.
    pub fn figures(&self) -> Figures {
        let limit = |source| self.get(source).filter(|limit| *limit < NO_LIMIT);
        let kib = |bytes| bytes / 1024;
        let inactive = self.get(&INACTIVE_FILE).unwrap_or(0);
        Figures {
            cpu_limit: self.cpu_limit(),
            pids: self.get(&PIDS),
            pids_limit: limit(&PIDS_LIMIT),
            memory: self.get(&MEMORY).map(|bytes| kib(bytes.saturating_sub(inactive))),
            memory_limit: limit(&MEMORY_LIMIT).map(kib),
            memory_peak: self.get(&MEMORY_PEAK).map(kib),
            ..self.counters()
        }
    }

    /// Only those that count something.
    pub fn counters(&self) -> Figures {
        Figures {
            cpu: self.get(&CPU),
            periods: self.get(&PERIODS),
            throttled: self.get(&THROTTLED),
            forks_refused: self.get(&FORKS_REFUSED),
            memory_hits: self.get(&MEMORY_HITS),
            oom_kills: self.get(&OOM_KILLS),
            ..Figures::default()
        }
    }

    fn get(&self, source: &Source) -> Option<u64> {
        let mut buffer = [0; 4096];
        let value = |text: &[u8], key, unit: u64| parse_u64(value_of(text, key)?)?.checked_mul(unit);
        let (file, key, unit) = source.v2;
        if let Some(text) = self.read_v2(file, &mut buffer) {
            return value(text, key, unit);
        }
        let (file, key, unit) = source.v1;
        value(self.read_v1(source.controller, file, &mut buffer)?, key, unit)
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
        self.read(&[self.root, b"/sys/fs/cgroup"], path_of(self.lines, None), file, buffer)
    }

    fn read_v1<'b>(&self, controller: &[u8], file: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let path = path_of(self.lines, Some(controller));
        self.read(&[self.root, b"/sys/fs/cgroup/", controller], path, file, buffer)
    }

    /// A file of the group's directory, or of what is mounted.
    fn read<'b>(&self, mount: &[&[u8]], path: &[u8], file: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let (mut mounted, mut place) = (LongPath::default(), LongPath::default());
        let mounted = mounted.join(mount)?.to_bytes();
        // A path that leads out of the namespace's root has no file in it (`cgroup_namespaces(7)`).
        let inside = !path.starts_with(b"/..");
        let length = (inside && !path.is_empty())
            .then(|| read_prefix(place.join(&[mounted, path, b"/", file])?, buffer).map(<[u8]>::len))
            .flatten()
            .or_else(|| {
                let whole = self.alone.then(|| place.join(&[mounted, b"/", file]))??;
                read_prefix(whole, buffer).map(<[u8]>::len)
            })?;
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

impl Figures {
    /// Those of them that count something, less what had been counted before.
    pub fn since(&self, before: &Self) -> Self {
        let less = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Self {
            cpu: less(self.cpu, before.cpu),
            periods: less(self.periods, before.periods),
            throttled: less(self.throttled, before.throttled),
            forks_refused: less(self.forks_refused, before.forks_refused),
            memory_hits: less(self.memory_hits, before.memory_hits),
            oom_kills: less(self.oom_kills, before.oom_kills),
            ..*self
        }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Writes them as members of a JSON object.
    pub fn write_json(&self, object: &mut List) -> fmt::Result {
        let fraction = |value: Option<u64>, unit| Known(value.map(|value| Fraction::of(value, unit)));
        object.member("cpu_seconds", fraction(self.cpu, SECOND))?;
        object.member("cpu_limit", fraction(self.cpu_limit, 100))?;
        for (key, value) in [
            ("periods", self.periods),
            ("periods_throttled", self.throttled),
            ("pids", self.pids),
            ("pids_limit", self.pids_limit),
            ("forks_refused", self.forks_refused),
            ("memory_kib", self.memory),
            ("memory_limit_kib", self.memory_limit),
            ("memory_peak_kib", self.memory_peak),
            ("memory_limit_hits", self.memory_hits),
            ("oom_kills", self.oom_kills),
        ] {
            object.member(key, Known(value))?;
        }
        Ok(())
    }
}

/// Totals in words.
pub struct Totals<'a>(pub &'a Figures);

impl Display for Totals<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Figures { cpu, throttled, periods, forks_refused, oom_kills, .. } = *self.0;
        let mut parts = Parts { f, separator: "" };
        if let Some(cpu) = cpu {
            parts.add(format_args!("cpu {}", Seconds(cpu)))?;
        }
        parts.add_peak(self.0)?;
        if let (Some(throttled), Some(periods @ 1..)) = (throttled, periods) {
            parts.add(format_args!("throttled in {throttled} of {periods} periods"))?;
        }
        if let Some(refused) = forks_refused {
            parts.add(format_args!("{} refused", Plural(refused, "fork")))?;
        }
        if let Some(kills) = oom_kills {
            parts.add(format_args!("{}", Plural(kills, "OOM kill")))?;
        }
        Ok(())
    }
}

/// The limits that were reached, in words, each behind a semicolon.
pub struct LimitsReached<'a>(pub &'a Figures);

impl Display for LimitsReached<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let figures = self.0;
        if let Some(kills @ 1..) = figures.oom_kills {
            write!(f, "; {} in its cgroup since start", Plural(kills, "OOM kill"))?;
        }
        let near = |peak: u64, limit: u64| peak >= limit.saturating_sub(limit / 20);
        if let (Some(peak), Some(limit)) = (figures.memory_peak, figures.memory_limit)
            && near(peak, limit)
        {
            write!(f, "; peak memory {} of {}", Mebibytes(peak), Mebibytes(limit))?;
        }
        if let (Some(throttled @ 1..), Some(periods)) = (figures.throttled, figures.periods) {
            write!(f, "; throttled in {throttled} of {periods} periods")?;
            if let Some(cpu) = figures.cpu {
                write!(f, " (cpu {})", Seconds(cpu))?;
            }
        }
        if let Some(refused @ 1..) = figures.forks_refused {
            write!(f, "; {} refused", Plural(refused, "fork"))?;
        }
        Ok(())
    }
}

/// A list with commas.
struct Parts<'a, 'b> {
    f: &'a mut Formatter<'b>,
    separator: &'static str,
}

impl Parts<'_, '_> {
    fn add(&mut self, part: fmt::Arguments) -> fmt::Result {
        write!(self.f, "{}{part}", std::mem::replace(&mut self.separator, ", "))
    }

    fn add_peak(&mut self, figures: &Figures) -> fmt::Result {
        match (figures.memory_peak, figures.memory_limit) {
            (Some(peak), Some(limit)) => {
                self.add(format_args!("peak memory {} of {}", Mebibytes(peak), Mebibytes(limit)))
            }
            (Some(peak), None) => self.add(format_args!("peak memory {}", Mebibytes(peak))),
            _ => Ok(()),
        }
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

    const EXPECTED: Figures = Figures {
        cpu: Some(2_500_000_000),
        cpu_limit: Some(20),
        periods: Some(60),
        throttled: Some(50),
        pids: Some(18),
        pids_limit: Some(1000),
        forks_refused: Some(3),
        memory: Some(6144),
        memory_limit: Some(65536),
        memory_peak: Some(65527),
        memory_hits: Some(12),
        oom_kills: Some(1),
    };

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
        assert_eq!(
            figures_in(root.path(), lines, false),
            Figures { pids: None, pids_limit: None, forks_refused: None, ..EXPECTED }
        );
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
        let later = Figures { cpu: Some(3_000_000_000), throttled: Some(55), pids: Some(1), ..EXPECTED };
        let since = later.since(&EXPECTED);
        assert_eq!((since.cpu, since.throttled, since.periods), (Some(500_000_000), Some(5), Some(0)));
        assert_eq!((since.pids, since.memory_peak), (Some(1), EXPECTED.memory_peak));
        assert_eq!(later.since(&Figures::default()).throttled, None);
    }

    #[test]
    fn totals_and_limits_in_words() {
        assert_eq!(
            Totals(&EXPECTED).to_string(),
            "cpu 2.5 s, peak memory 64.0 MiB of 64.0 MiB, throttled in 50 of 60 periods, 3 forks refused, 1 OOM kill"
        );
        assert_eq!(Totals(&Figures::default()).to_string(), "");
        assert_eq!(
            LimitsReached(&EXPECTED).to_string(),
            "; 1 OOM kill in its cgroup since start; peak memory 64.0 MiB of 64.0 MiB; throttled in 50 of 60 periods (cpu 2.5 s); 3 forks refused"
        );
        let well = Figures {
            oom_kills: Some(0),
            memory_peak: Some(100),
            throttled: Some(0),
            forks_refused: Some(0),
            ..EXPECTED
        };
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
