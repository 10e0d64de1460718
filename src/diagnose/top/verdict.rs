//! What is wrong, or worth to know: each by a fixed rule, which the manual states.

#![forbid(unsafe_code)]

use std::fmt::{self, Display, Formatter};

use super::table::{Count, Kind, Row};
use super::{Children, ParentName};
use crate::diagnose::cgroup::{Figure, Figures};
use crate::units::{Age, Fraction, Nanos, Plural, SECOND, Size};

/// What was found, besides zombies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Finding<'a> {
    /// More and more of a program, none of which ends.
    Grows { row: &'a Row, per_minute: u64, now: Nanos },
    /// Processes that wait in the kernel for something that does not come.
    Stuck { row: &'a Row },
    /// Processes that are stopped.
    Stopped { row: &'a Row },
    /// No PID is left, or a fork was refused between the looks.
    PidLimit { pids: u64, limit: u64, refused: u64 },
    /// Few PIDs are left.
    NearPidLimit { pids: u64, limit: u64 },
    /// Processes were killed between the looks because memory ran out.
    OomKills { count: u64 },
    /// The limit of memory was reached between the looks.
    MemoryLimit { memory: u64, limit: u64, hits: u64 },
    /// Little memory is left.
    NearMemoryLimit { memory: u64, limit: u64 },
    /// It was not let run for part of the time.
    Throttled { throttled: u64, periods: u64, limit: Option<u64> },
    /// What uses most of the CPU time: the processes of a row, and what they or their like
    /// used that has ended.
    MostCpu { row: &'a Row, cpu: Nanos, interval: Nanos, now: Nanos },
}

impl Finding<'_> {
    /// Whether it is a fault that the user should fix.
    pub(super) fn is_fault(&self) -> bool {
        !matches!(
            self,
            Self::Stopped { .. }
                | Self::NearPidLimit { .. }
                | Self::NearMemoryLimit { .. }
                | Self::MostCpu { .. }
        )
    }

    /// What it is called in JSON.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Grows { .. } => "grows",
            Self::Stuck { .. } => "stuck",
            Self::Stopped { .. } => "stopped",
            Self::PidLimit { .. } => "pid-limit",
            Self::NearPidLimit { .. } => "near-pid-limit",
            Self::OomKills { .. } => "oom-kills",
            Self::MemoryLimit { .. } => "memory-limit",
            Self::NearMemoryLimit { .. } => "near-memory-limit",
            Self::Throttled { .. } => "throttled",
            Self::MostCpu { .. } => "most-cpu",
        }
    }

    /// The row that it is about.
    pub(super) fn row(&self) -> Option<&Row> {
        match self {
            Self::Grows { row, .. }
            | Self::Stuck { row }
            | Self::Stopped { row }
            | Self::MostCpu { row, .. } => Some(row),
            _ => None,
        }
    }
}

/// What the rules look at.
pub(super) struct Facts<'a> {
    pub(super) rows: &'a [Row],
    /// The time between the looks.
    pub(super) interval: Nanos,
    /// The second look, on the clock on which processes start.
    pub(super) now: Nanos,
    /// The cgroup then, and what it has counted since the first look.
    pub(super) cgroup: Option<(Figures, Figures)>,
}

impl Facts<'_> {
    /// Calls `f` with each finding.
    pub(super) fn findings(&self, f: &mut dyn FnMut(Finding)) {
        let mut report = |finding: Option<Finding>| finding.into_iter().for_each(&mut *f);
        for row in self.rows {
            report(growth(row, self.interval, self.now));
            report(stuck(row));
            report(stopped(row));
        }
        if let Some((figures, since)) = &self.cgroup {
            report(pid_limit(figures, since));
            report(oom_kills(since));
            report(memory_limit(figures, since));
            report(throttling(figures, since));
        }
        report(most_cpu(self.rows, self.interval, self.now));
    }
}

/// A program grows if at least four of it started between the looks, none ended, and at least
/// two more, which are still there, had started in as long a time before the first look.
/// Where as many end as start, none ends beside four that start once in e⁴, some fifty, times;
/// and what starts its processes once does not go on.
fn growth(row: &Row, interval: Nanos, now: Nanos) -> Option<Finding<'_>> {
    let started = row.get(Count::Started);
    let grows = started >= 4 && row.get(Count::Ended) == 0 && row.get(Count::StartedBefore) >= 2;
    let per_minute = u64::from(started).saturating_mul(60 * SECOND).checked_div(interval)?;
    grows.then_some(Finding::Grows { row, per_minute, now })
}

/// In state D at both looks, without having run in between.
fn stuck(row: &Row) -> Option<Finding<'_>> {
    (row.get(Count::StuckAtBoth) > 0).then_some(Finding::Stuck { row })
}

/// Stopped at both looks.
fn stopped(row: &Row) -> Option<Finding<'_>> {
    (row.get(Count::StoppedAtBoth) > 0).then_some(Finding::Stopped { row })
}

fn is_near(used: u64, limit: u64) -> bool {
    used >= limit.saturating_sub(limit / 10)
}

/// All PIDs are in use, or a fork was refused between the looks; or 9 in 10 are.
fn pid_limit(figures: &Figures, since: &Figures) -> Option<Finding<'static>> {
    let refused = since.get(Figure::ForksRefused).unwrap_or(0);
    let (pids, limit) = (figures.get(Figure::Pids)?, figures.get(Figure::PidLimit)?);
    if pids >= limit || refused > 0 {
        return Some(Finding::PidLimit { pids, limit, refused });
    }
    is_near(pids, limit).then_some(Finding::NearPidLimit { pids, limit })
}

fn oom_kills(since: &Figures) -> Option<Finding<'static>> {
    since.some(Figure::OomKills).map(|count| Finding::OomKills { count })
}

/// 9 tenths of the memory are in use, without files that need not be kept; and the limit was
/// reached between the looks.
fn memory_limit(figures: &Figures, since: &Figures) -> Option<Finding<'static>> {
    let (memory, limit) = (figures.get(Figure::Memory)?, figures.get(Figure::MemoryLimit)?);
    let hits = since.get(Figure::MemoryHits).unwrap_or(0);
    let finding = if hits > 0 {
        Finding::MemoryLimit { memory, limit, hits }
    } else {
        Finding::NearMemoryLimit { memory, limit }
    };
    is_near(memory, limit).then_some(finding)
}

/// Throttled in at least a tenth of the periods between the looks.
fn throttling(figures: &Figures, since: &Figures) -> Option<Finding<'static>> {
    let (throttled, periods) = (since.some(Figure::Throttled)?, since.get(Figure::Periods)?);
    let limit = figures.get(Figure::CpuLimit);
    (throttled >= periods / 10).then_some(Finding::Throttled { throttled, periods, limit })
}

/// A program uses most of the CPU time if it uses at least half of all, and at least a tenth
/// of a CPU. What has ended between the looks counts for it if, of its parent's children, no
/// other program's came or went.
fn most_cpu(rows: &[Row], interval: Nanos, now: Nanos) -> Option<Finding<'_>> {
    let total = rows.iter().fold(0, |sum: Nanos, row| sum.saturating_add(row.cpu));
    let with_ended = |row| (row, cpu_with_ended(row, rows));
    let most = |cpu: Nanos| cpu >= total / 2 && cpu > 0 && cpu >= interval / 10;
    let (row, cpu) =
        rows.iter().map(with_ended).max_by_key(|(row, cpu)| (*cpu, row.kind == Kind::Program))?;
    most(cpu).then_some(Finding::MostCpu { row, cpu, interval, now })
}

/// The CPU time of a row, with that of what has ended, if that can only have been of it.
fn cpu_with_ended(row: &Row, rows: &[Row]) -> Nanos {
    let comes_or_goes =
        |row: &Row| row.kind == Kind::Program && (row.get(Count::Started) > 0 || row.get(Count::Ended) > 0);
    let siblings = || rows.iter().filter(|other| other.parent.is_same(&row.parent));
    if !comes_or_goes(row) || siblings().filter(|other| comes_or_goes(other)).count() != 1 {
        return row.cpu;
    }
    let ended = siblings().filter(|other| other.kind == Kind::Ended);
    ended.fold(row.cpu, |sum, ended| sum.saturating_add(ended.cpu))
}

impl Display for Finding<'_> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match *self {
            Self::Grows { row, per_minute, now } => {
                let Row { name, .. } = row;
                write!(f, "{name} grows: {per_minute} more a minute, and none ends. ")?;
                write!(
                    f,
                    "There are {}, the oldest {}, {}.",
                    row.alive(),
                    Age(now.saturating_sub(row.oldest)),
                    Children(row)
                )
            }
            Self::Stuck { row } => write!(
                f,
                "{} of {} stuck in the kernel (state D, PID {}): no signal reaches {them} until what {they} for comes.",
                Plural(row.get(Count::StuckAtBoth).into(), "process"),
                row.name,
                row.stuck,
                them = if row.get(Count::StuckAtBoth) == 1 { "it" } else { "them" },
                they = if row.get(Count::StuckAtBoth) == 1 { "it waits" } else { "they wait" },
            ),
            Self::Stopped { row } => write!(
                f,
                "{} of {} stopped (PID {}): continue (SIGCONT) or kill {them}.",
                Plural(row.get(Count::StoppedAtBoth).into(), "process"),
                row.name,
                row.stopped,
                them = if row.get(Count::StoppedAtBoth) == 1 { "it" } else { "them" },
            ),
            Self::PidLimit { pids, limit, refused: 0 } => {
                write!(f, "The limit of PIDs is reached, {pids} of {limit}: the next fork fails.")
            }
            Self::PidLimit { pids, limit, refused } => {
                write!(f, "{} refused: {pids} of {limit} PIDs are in use.", Plural(refused, "fork"))
            }
            Self::NearPidLimit { pids, limit } => {
                write!(f, "Few PIDs are left: {pids} of {limit} are in use.")
            }
            Self::OomKills { count } => {
                write!(f, "{} because memory ran out.", Plural(count, "OOM kill"))
            }
            Self::MemoryLimit { memory, limit, hits } => write!(
                f,
                "The limit of memory was reached {}: {} of {} are in use.",
                Plural(hits, "time"),
                Size(memory),
                Size(limit)
            ),
            Self::NearMemoryLimit { memory, limit } => {
                write!(f, "Little memory is left: {} of {} are in use.", Size(memory), Size(limit))
            }
            Self::Throttled { throttled, periods, limit } => {
                write!(f, "Throttled by the CPU limit in {throttled} of {periods} periods")?;
                match limit {
                    Some(limit) => write!(f, ": it has {} CPUs.", Fraction(limit)),
                    None => f.write_str("."),
                }
            }
            Self::MostCpu { row: row @ Row { kind: Kind::Ended, .. }, cpu, interval, .. } => write!(
                f,
                "Children of {} that ended within the time used {} CPUs.",
                ParentName(&row.parent),
                Fraction::of(cpu, interval)
            ),
            Self::MostCpu { row, cpu, interval, now } => {
                write!(
                    f,
                    "{} uses {} CPUs, {} at a time",
                    row.name,
                    Fraction::of(cpu, interval),
                    row.alive()
                )?;
                if row.get(Count::Stayed) > 0 {
                    write!(f, ", the oldest {}", Age(now.saturating_sub(row.oldest)))?;
                } else {
                    write!(f, ", none seen older than {}", Age(row.greatest_age))?;
                }
                let (before, alive) = (row.alive_before(), row.alive());
                if before.abs_diff(alive) <= (before / 4).max(1) {
                    f.write_str(". Their number is stable.")
                } else {
                    write!(f, ". They were {before}, and are {alive}.")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::super::table::{Looks, build};
    use super::*;

    const START: Nanos = 100 * SECOND;
    const INTERVAL: Nanos = 2 * SECOND;

    fn rows(first: &[Sample], second: &[Sample]) -> Vec<Row> {
        build(&Looks { first, second, start: START, interval: INTERVAL }).unwrap().to_vec()
    }

    fn findings(rows: &[Row], cgroup: Option<(Figures, Figures)>) -> Vec<(String, bool)> {
        let facts = Facts { rows, interval: INTERVAL, now: START + INTERVAL, cgroup };
        let mut all = Vec::new();
        facts.findings(&mut |finding| all.push((finding.to_string(), finding.is_fault())));
        all
    }

    /// Sleepers of a worker, by the tenths of a second when they started.
    fn sleepers(tenths: impl IntoIterator<Item = u64>) -> Vec<Sample> {
        let pids = 10..;
        let sample = |(pid, tenth)| Sample::example(pid, 7, "sleep", tenth * SECOND / 10, 0, 0);
        pids.zip(tenths).map(sample).collect()
    }

    #[test]
    fn growth_is_what_goes_on() {
        let of = |first: &[Sample], second: &[Sample]| findings(&rows(first, second), None);
        let grown = sleepers([985, 990, 995, 1003, 1006, 1010, 1015]);
        let text = "sleep grows: 120 more a minute, and none ends. There are 7, the oldest 3.5 s, children of PID 7.";
        assert_eq!(of(&grown[..3], &grown), [(text.to_owned(), true)]);
        // Few that started are no growth.
        assert_eq!(of(&grown[..4], &grown), []);
        // None had started just before.
        assert_eq!(of(&[], &grown[3..]), []);
        let old = sleepers([500, 510, 990, 1003, 1006, 1010, 1015]);
        assert_eq!(of(&old[..3], &old), []);
        // One ended.
        assert_eq!(of(&grown[..3], &grown[1..]), []);
    }

    #[test]
    fn most_of_the_cpu_time_counts() {
        let busy = |pid, parent, name: &str, tenths, children| {
            Sample::example(pid, parent, name, 10 * SECOND, tenths * SECOND / 10, children * SECOND / 10)
        };
        let of = |first: &[Sample], second: &[Sample]| findings(&rows(first, second), None);
        let idle = [busy(7, 1, "celery", 0, 0), busy(8, 7, "a", 0, 0)];
        let text = "a uses 0.50 CPUs, 1 at a time, the oldest 2 min. Their number is stable.";
        assert_eq!(
            of(&idle, &[busy(7, 1, "celery", 9, 0), busy(8, 7, "a", 10, 0)]),
            [(text.to_owned(), false)]
        );
        // Less than a tenth of a CPU.
        assert_eq!(of(&idle, &[busy(7, 1, "celery", 0, 0), busy(8, 7, "a", 1, 0)]), []);
        // Less than half of all.
        let three = |tenths| [7, 8, 9].map(|pid| busy(pid, 1, &pid.to_string(), tenths, 0));
        assert_eq!(of(&three(0), &three(10)), []);
    }

    #[test]
    fn what_ended_counts_for_the_one_program_that_comes_and_goes() {
        let at = |pid, parent, name: &str, started, cpu, children| {
            Sample::example(pid, parent, name, started * SECOND, cpu * SECOND, children * SECOND)
        };
        let of = |first: &[Sample], second: &[Sample]| findings(&rows(first, second), None)[0].0.clone();
        let first = [at(7, 1, "celery", 2, 0, 0), at(9, 7, "helper", 2, 0, 0), at(20, 7, "render", 99, 1, 0)];
        let second =
            [at(7, 1, "celery", 2, 0, 3), at(9, 7, "helper", 2, 0, 0), at(21, 7, "render", 101, 1, 0)];
        assert_eq!(
            of(&first, &second),
            "render uses 1.50 CPUs, 1 at a time, none seen older than 1.0 s. Their number is stable."
        );
        // Another program ended, too: whose time it was cannot be known.
        let first = [at(7, 1, "celery", 2, 0, 0), at(9, 7, "helper", 2, 0, 0), at(20, 7, "render", 99, 1, 0)];
        let second = [at(7, 1, "celery", 2, 0, 4), at(21, 7, "render", 101, 1, 0)];
        assert_eq!(of(&first, &second), "Children of celery (7) that ended within the time used 1.50 CPUs.");
    }

    #[test]
    fn limits() {
        use Figure::*;
        let of = |now: &[(Figure, u64)], since: &[(Figure, u64)]| {
            findings(&[], Some((Figures::example(now), Figures::example(since))))
        };
        let said = |text: &str, fault| vec![(text.to_owned(), fault)];
        assert_eq!(of(&[], &[]), []);
        assert_eq!(of(&[(Pids, 89), (PidLimit, 100)], &[(ForksRefused, 0)]), []);
        assert_eq!(
            of(&[(Pids, 90), (PidLimit, 100)], &[(ForksRefused, 0)]),
            said("Few PIDs are left: 90 of 100 are in use.", false)
        );
        assert_eq!(
            of(&[(Pids, 100), (PidLimit, 100)], &[]),
            said("The limit of PIDs is reached, 100 of 100: the next fork fails.", true)
        );
        assert_eq!(
            of(&[(Pids, 30), (PidLimit, 100)], &[(ForksRefused, 1)]),
            said("1 fork refused: 30 of 100 PIDs are in use.", true)
        );
        let memory = |kib| [(Memory, kib), (MemoryLimit, 100 << 10)];
        assert_eq!(of(&memory(50 << 10), &[(MemoryHits, 3)]), []);
        assert_eq!(
            of(&memory(95 << 10), &[(MemoryHits, 0)]),
            said("Little memory is left: 95 MiB of 100 MiB are in use.", false)
        );
        assert_eq!(
            of(&memory(95 << 10), &[(MemoryHits, 3)]),
            said("The limit of memory was reached 3 times: 95 MiB of 100 MiB are in use.", true)
        );
        assert_eq!(of(&[], &[(OomKills, 2)]), said("2 OOM kills because memory ran out.", true));
        assert_eq!(of(&[], &[(Throttled, 1), (Periods, 20)]), []);
        assert_eq!(
            of(&[(CpuLimit, 20)], &[(Throttled, 19), (Periods, 20)]),
            said("Throttled by the CPU limit in 19 of 20 periods: it has 0.20 CPUs.", true)
        );
    }
}
