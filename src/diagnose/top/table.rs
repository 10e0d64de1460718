//! What two looks add up to, by program and parent.

#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::unistd::Pid;

use super::sample::{Sample, find, find_again};
use crate::diagnose::procfs::ProgramName;
use crate::diagnose::sort::sort;
use crate::sys::memory::MappedVec;
use crate::units::Nanos;

/// A row of the table: the processes of one program whose parents are of one program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub(super) kind: Kind,
    pub(super) name: ProgramName,
    pub(super) parent: Parent,
    /// CPU time between the looks.
    pub(super) cpu: Nanos,
    /// In KiB.
    pub(super) memory: u64,
    /// When the oldest one started; 0 where there is none.
    pub(super) oldest: Nanos,
    /// The greatest age at either look, of those that are gone by now, too.
    pub(super) greatest_age: Nanos,
    pub(super) counts: Counts,
    /// One of those that are stuck, and one of those that are stopped.
    pub(super) stuck: i32,
    pub(super) stopped: i32,
}

/// What is counted in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Count {
    Running,
    Sleeping,
    /// In state D.
    Blocked,
    Stopped,
    Zombies,
    /// All that there are.
    Now,
    /// Those of them that there were at both looks.
    Stayed,
    /// Those that have started in between.
    Started,
    /// Those that have ended in between: they are gone, or zombies now.
    Ended,
    /// Those that started within the same time before the first look, and were there at both.
    StartedBefore,
    Threads,
    /// Those that were in state D at both looks and did not run in between.
    StuckAtBoth,
    StoppedAtBoth,
    /// Those whose memory is the resident set, as their share could not be read.
    Resident,
}

/// The counts of a row.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Counts([u32; Count::Resident as usize + 1]);

impl Counts {
    pub(super) fn get(&self, count: Count) -> u32 {
        self.0.get(count as usize).copied().unwrap_or(0)
    }

    fn set(&mut self, count: Count, value: u32) {
        if let Some(place) = self.0.get_mut(count as usize) {
            *place = value;
        }
    }

    fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What a row is of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    /// Processes that were seen.
    Program,
    /// Children that ended between the looks, of which only the CPU time is known, from
    /// their parent.
    Ended,
}

/// The parent of the processes of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Parent {
    /// One of them.
    pub(super) pid: Pid,
    /// How many they are.
    pub(super) count: u32,
    /// Their program; empty where it is not known.
    pub(super) name: ProgramName,
}

impl Parent {
    /// Whether another row is of the same parents.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.pid.as_raw().min(2), self.name) == (other.pid.as_raw().min(2), other.name)
    }
}

impl Row {
    fn new(kind: Kind, name: ProgramName, parent: Parent) -> Self {
        let counts = Counts::default();
        Self {
            kind,
            name,
            parent,
            cpu: 0,
            memory: 0,
            oldest: 0,
            greatest_age: 0,
            counts,
            stuck: 0,
            stopped: 0,
        }
    }

    pub(super) fn get(&self, count: Count) -> u32 {
        self.counts.get(count)
    }

    /// How many are alive.
    pub(super) fn alive(&self) -> u32 {
        self.get(Count::Now).saturating_sub(self.get(Count::Zombies))
    }

    /// How many were alive at the first look.
    pub(super) fn alive_before(&self) -> u32 {
        self.alive().saturating_add(self.get(Count::Ended)).saturating_sub(self.get(Count::Started))
    }

    /// Rows of one program and parent stand together. PID 1, and what is outside of the
    /// namespace, are parents of their own, whatever their names are.
    fn key(&self) -> (Kind, ProgramName, i32, ProgramName) {
        (self.kind, self.name, self.parent.pid.as_raw().min(2), self.parent.name)
    }

    fn is_before(&self, other: &Self) -> bool {
        (self.key(), self.parent.pid) < (other.key(), other.parent.pid)
    }

    /// Whether it is to be shown above another one.
    fn outranks(&self, other: &Self) -> bool {
        let rank = |row: &Self| (row.cpu, row.get(Count::Now), row.get(Count::Ended));
        rank(self) > rank(other) || rank(self) == rank(other) && self.is_before(other)
    }

    fn add(&mut self, other: &Self) {
        if self.parent.pid != other.parent.pid {
            self.parent.pid = other.parent.pid;
            self.parent.count = self.parent.count.saturating_add(1);
        }
        self.cpu = self.cpu.saturating_add(other.cpu);
        self.memory = self.memory.saturating_add(other.memory);
        if self.oldest == 0 || (other.oldest > 0 && other.oldest < self.oldest) {
            self.oldest = other.oldest;
        }
        self.greatest_age = self.greatest_age.max(other.greatest_age);
        self.counts.add(&other.counts);
        self.stuck = self.stuck.max(other.stuck);
        self.stopped = self.stopped.max(other.stopped);
    }
}

/// The two looks to compare.
pub(super) struct Looks<'a> {
    pub(super) first: &'a [Sample],
    pub(super) second: &'a [Sample],
    /// When the first one was, on the clock on which processes start.
    pub(super) start: Nanos,
    /// The time between them.
    pub(super) interval: Nanos,
}

/// The rows, by falling CPU time.
pub(super) fn build(looks: &Looks) -> Result<MappedVec<Row>, Errno> {
    let mut parts = MappedVec::new();
    let charges = charge_ancestors(looks)?;
    let mut owed = 0;
    // PID 1 comes last: what its descendants owe may have become its own.
    for (process, charge) in looks.second.iter().zip(charges.iter()).rev() {
        let before = find_again(looks.first, process);
        parts.push(row_of(process, before, looks))?;
        let grown = before.map_or(0, |before| before.usage.cpu_of_children);
        let grown = process.usage.cpu_of_children.saturating_sub(grown);
        let charge = if process.pid.as_raw() == 1 { charge.saturating_add(owed) } else { *charge };
        owed = owed.saturating_add(charge.saturating_sub(grown));
        let cpu = grown.saturating_sub(charge);
        if cpu > 0 {
            let parent = Parent { pid: process.pid, count: 1, name: process.name };
            parts.push(Row { cpu, ..Row::new(Kind::Ended, ProgramName::new(b"(ended)"), parent) })?;
        }
    }
    for gone in looks.first {
        if !gone.is_zombie() && find_again(looks.second, gone).is_none() {
            let mut row = Row::new(Kind::Program, gone.name, parent_of(gone, looks));
            row.counts.set(Count::Ended, 1);
            row.greatest_age = looks.start.saturating_sub(gone.started);
            parts.push(row)?;
        }
    }
    sort(&mut parts, Row::is_before);
    let mut rows: MappedVec<Row> = MappedVec::new();
    for part in parts.iter() {
        match rows.last_mut() {
            Some(row) if row.key() == part.key() => row.add(part),
            _ => rows.push(*part)?,
        }
    }
    sort(&mut rows, Row::outranks);
    Ok(rows)
}

fn row_of(process: &Sample, before: Option<&Sample>, looks: &Looks) -> Row {
    let Sample { usage, state, .. } = *process;
    let mut row = Row::new(Kind::Program, process.name, parent_of(process, looks));
    row.cpu = usage.cpu.saturating_sub(before.map_or(0, |before| before.usage.cpu));
    row.memory = process.share.unwrap_or(usage.resident);
    row.oldest = process.started.max(1);
    row.greatest_age = looks.start.saturating_add(looks.interval).saturating_sub(process.started);

    let state_before = before.map_or(b' ', |before| before.state);
    let stuck =
        state == b'D' && state_before == b'D' && before.is_some_and(|before| before.sleeps == process.sleeps);
    let stopped = matches!((state, state_before), (b'T' | b't', b'T' | b't'));
    let just_before = process.started.saturating_add(looks.interval) > looks.start;
    let zombie = process.is_zombie();
    for (count, is) in [
        (Count::Now, true),
        (Count::Stayed, before.is_some()),
        (Count::Started, before.is_none()),
        (Count::Ended, zombie && before.is_none_or(|before| !before.is_zombie())),
        (Count::StartedBefore, before.is_some() && !zombie && just_before),
        (Count::StuckAtBoth, stuck && row.cpu == 0),
        (Count::StoppedAtBoth, stopped),
        (Count::Resident, process.share.is_none() && usage.resident > 0),
        (count_of_state(state), true),
    ] {
        row.counts.set(count, is.into());
    }
    row.counts.set(Count::Threads, if zombie { 0 } else { process.threads });
    if stuck {
        row.stuck = process.pid.as_raw();
    }
    if stopped {
        row.stopped = process.pid.as_raw();
    }
    row
}

fn count_of_state(state: u8) -> Count {
    match state {
        b'R' => Count::Running,
        b'D' => Count::Blocked,
        b'T' | b't' => Count::Stopped,
        b'Z' | b'X' => Count::Zombies,
        _ => Count::Sleeping,
    }
}

fn parent_of(process: &Sample, looks: &Looks) -> Parent {
    let parent = find(looks.second, process.parent).or_else(|| find(looks.first, process.parent));
    let name = parent.map_or(ProgramName::default(), |parent| parent.name);
    Parent { pid: process.parent, count: 1, name }
}

/// What a process used is counted once more among its parent's children when the parent
/// waits for it (`getrusage(2)`, RUSAGE_CHILDREN): all of it, of which the part up to the
/// first look does not belong to the time between the looks. Returns these parts, for each
/// process of the second look.
///
/// Where the parent is gone as well, the account is with the nearest ancestor that is not;
/// unless the child was an orphan by then, which PID 1 waits for.
fn charge_ancestors(looks: &Looks) -> Result<MappedVec<Nanos>, Errno> {
    let mut charges: MappedVec<Nanos> = MappedVec::new();
    for _ in looks.second {
        charges.push(0)?;
    }
    for gone in looks.first.iter().filter(|process| find_again(looks.second, process).is_none()) {
        let ancestor = nearest_ancestor(gone, looks);
        if let Some(charge) = ancestor.and_then(|place| charges.get_mut(place)) {
            let used = gone.usage.cpu.saturating_add(gone.usage.cpu_of_children);
            *charge = charge.saturating_add(used);
        }
    }
    Ok(charges)
}

/// The place in the second look.
fn nearest_ancestor(gone: &Sample, looks: &Looks) -> Option<usize> {
    const DEPTH: usize = 100;
    let mut pid = gone.parent;
    for _ in 0..DEPTH {
        let parent = find(looks.first, pid)?;
        let place = looks.second.binary_search_by_key(&pid, |process| process.pid).ok();
        let again = place.filter(|place| {
            looks.second.get(*place).is_some_and(|process| process.started == parent.started)
        });
        if again.is_some() {
            return again;
        }
        pid = parent.parent;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SECOND;
    use proptest::prelude::*;

    fn sample(pid: i32, parent: i32, name: &str, started: u64, cpu: u64, children: u64) -> Sample {
        Sample::example(pid, parent, name, started * SECOND, cpu * SECOND, children * SECOND)
    }

    /// The rows of looks at 100 s and 105 s.
    fn rows(first: &[Sample], second: &[Sample]) -> Vec<Row> {
        build(&Looks { first, second, start: 100 * SECOND, interval: 5 * SECOND }).unwrap().to_vec()
    }

    /// Of each row: its name, its parent's, seconds of CPU, and how many are, started and
    /// ended.
    fn brief(rows: &[Row]) -> Vec<(String, String, u64, [u32; 3])> {
        let text = |name: ProgramName| String::from_utf8_lossy(name.as_bytes()).into_owned();
        let counts = |row: &Row| [Count::Now, Count::Started, Count::Ended].map(|count| row.get(count));
        rows.iter()
            .map(|row| (text(row.name), text(row.parent.name), row.cpu / SECOND, counts(row)))
            .collect()
    }

    fn expected(rows: &[(&str, &str, u64, [u32; 3])]) -> Vec<(String, String, u64, [u32; 3])> {
        rows.iter()
            .map(|(name, parent, cpu, counts)| (name.to_string(), parent.to_string(), *cpu, *counts))
            .collect()
    }

    #[test]
    fn what_ended_counts_for_its_parent_from_the_first_look_on() {
        let first = [
            sample(1, 0, "init", 1, 0, 0),
            sample(7, 1, "celery", 2, 10, 50),
            // It had used 2 s before the first look.
            sample(20, 7, "render", 97, 2, 0),
        ];
        let second = [
            sample(1, 0, "init", 1, 0, 0),
            // It has waited for that one, which used 3 s in all, and for one that used 1 s.
            sample(7, 1, "celery", 2, 11, 54),
            sample(22, 7, "render", 102, 3, 0),
        ];
        assert_eq!(
            brief(&rows(&first, &second)),
            expected(&[
                ("render", "celery", 3, [1, 1, 1]),
                ("(ended)", "celery", 2, [0, 0, 0]),
                ("celery", "init", 1, [1, 0, 0]),
                ("init", "", 0, [1, 0, 0]),
            ])
        );
    }

    /// A parent that ignores SIGCHLD gets no account; a grandparent gets that of both.
    #[test]
    fn what_no_parent_or_another_one_waited_for_is_not_counted_twice() {
        let first = [
            sample(1, 0, "init", 1, 0, 5),
            sample(7, 1, "shell", 2, 0, 0),
            sample(8, 7, "make", 2, 1, 4),
            sample(9, 8, "cc", 3, 2, 0),
        ];
        let second = |children| [sample(1, 0, "init", 1, 0, 5), sample(7, 1, "shell", 2, 0, children)];
        let cpu = |children| rows(&first, &second(children)).iter().map(|row| row.cpu / SECOND).sum::<u64>();
        assert_eq!(cpu(0), 0);
        // make, with 1 + 4 s, and cc, with 2 s, had used 7 s before.
        assert_eq!([7, 8, 10].map(cpu), [0, 1, 3]);
        // cc was an orphan by the time it ended.
        let second = [sample(1, 0, "init", 1, 0, 9), sample(7, 1, "shell", 2, 0, 5)];
        assert_eq!(rows(&first, &second).iter().map(|row| row.cpu / SECOND).sum::<u64>(), 2);
    }

    #[test]
    fn a_pid_that_was_given_out_again_is_another_process() {
        let first = [sample(1, 0, "init", 1, 0, 0), sample(9, 1, "a", 3, 50, 0)];
        let second = [sample(1, 0, "init", 1, 0, 0), sample(9, 1, "a", 101, 2, 0)];
        let rows = rows(&first, &second);
        assert_eq!(brief(&rows)[0], expected(&[("a", "init", 2, [1, 1, 1])])[0]);
        assert_eq!(rows[0].get(Count::Stayed), 0);
    }

    #[test]
    fn rows_are_by_program_and_parents_program() {
        let both = [
            sample(1, 0, "sh", 1, 0, 0),
            sample(5, 1, "sh", 1, 0, 0),
            sample(6, 1, "sh", 1, 0, 0),
            sample(10, 1, "sleep", 20, 0, 0),
            sample(11, 5, "sleep", 10, 0, 0),
            sample(12, 6, "sleep", 15, 0, 0),
            sample(13, 0, "sleep", 15, 0, 0),
            sample(14, 6, "sleep", 15, 0, 0),
        ];
        let rows = rows(&both, &both);
        let sleeps: Vec<_> = rows
            .iter()
            .filter(|row| row.name == ProgramName::new(b"sleep"))
            .map(|row| (row.get(Count::Now), row.parent.pid.as_raw(), row.parent.count, row.oldest / SECOND))
            .collect();
        assert_eq!(sleeps, [(3, 6, 2, 10), (1, 0, 1, 15), (1, 1, 1, 20)]);
    }

    #[test]
    fn states_at_both_looks() {
        let with = |state, sleeps, cpu| Sample { state, sleeps, ..sample(9, 1, "x", 3, cpu, 0) };
        let row = |before: Sample, now: Sample| rows(&[before], &[now])[0];
        let blocked = |sleeps, cpu| with(b'D', Some(sleeps), cpu);
        let stuck = |before, now| row(before, now).get(Count::StuckAtBoth);
        assert_eq!(stuck(blocked(5, 1), blocked(5, 1)), 1);
        assert_eq!(stuck(blocked(5, 1), blocked(6, 1)), 0, "it ran in between");
        assert_eq!(stuck(blocked(5, 1), blocked(5, 2)), 0);
        assert_eq!(stuck(with(b'S', None, 1), blocked(5, 1)), 0);
        let stopped = row(with(b'T', None, 0), with(b't', None, 0));
        assert_eq!(
            (stopped.get(Count::StoppedAtBoth), stopped.stopped, stopped.get(Count::Stopped)),
            (1, 9, 1)
        );
        let zombie = row(with(b'S', None, 0), with(b'Z', None, 0));
        assert_eq!([Count::Ended, Count::Now, Count::Threads].map(|count| zombie.get(count)), [1, 1, 0]);
        assert_eq!((zombie.alive(), zombie.alive_before()), (0, 1));
        let zombie = row(with(b'Z', None, 0), with(b'Z', None, 0));
        assert_eq!((zombie.get(Count::Ended), zombie.alive_before()), (0, 0));
        // It had ended before.
        let gone = rows(&[with(b'Z', None, 0)], &[sample(1, 0, "init", 1, 0, 0)]);
        assert_eq!(brief(&gone).len(), 1);
    }

    proptest! {
        /// Whatever the looks are: each process is in one row.
        #[test]
        fn no_process_is_lost(
            looks in proptest::collection::vec((1..40_i32, 0..40_i32, 0..3_u64, 0..2_u64, any::<(bool, bool)>()), 0..40)
        ) {
            let mut looks = looks;
            looks.sort();
            looks.dedup_by_key(|process| process.0);
            let look = |first: bool| -> Vec<Sample> {
                let seen = looks.iter().filter(|process| if first { process.4.0 } else { process.4.1 });
                seen.map(|(pid, parent, name, cpu, _)| sample(*pid, *parent, &name.to_string(), 1, *cpu, 0)).collect()
            };
            let (first, second) = (look(true), look(false));
            let rows = rows(&first, &second);
            let sum = |count| rows.iter().map(|row| row.get(count) as usize).sum::<usize>();
            prop_assert_eq!(sum(Count::Now), second.len());
            prop_assert_eq!(sum(Count::Now) + sum(Count::Ended) - sum(Count::Started), first.len());
        }
    }
}
