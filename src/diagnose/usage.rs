//! What processes use: for tables of many.

#![forbid(unsafe_code)]

use nix::unistd::Pid;

use super::procfs::{Stat, read_of, read_status};
use crate::sys::fd::read_prefix;
use crate::sys::page_size;
use crate::sys::time::nanos_per_tick;
use crate::units::{Nanos, parse_u32, parse_u64, split_once, value_of};

/// What a process uses, from the same file; 0 where it is not to be had.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// Its CPU time.
    pub cpu: Nanos,
    /// That of its children that have ended and that it waited for, theirs included.
    pub cpu_of_children: Nanos,
    /// Its resident set, in KiB.
    pub resident: u64,
}

impl Usage {
    /// Fields 14 to 17, and the 24th. The second one ends with the last parenthesis.
    fn parse(stat: &[u8]) -> Self {
        let close = stat.iter().rposition(|byte| *byte == b')').unwrap_or(0);
        let mut fields = stat.get(close..).unwrap_or_default().split(|byte| *byte == b' ');
        let mut field = |skipped| fields.nth(skipped).and_then(parse_u64).unwrap_or(0);
        let mut ticks = |skipped| field(skipped).saturating_mul(nanos_per_tick());
        let cpu = ticks(12).saturating_add(ticks(0));
        let cpu_of_children = ticks(0).saturating_add(ticks(0));
        Self { cpu, cpu_of_children, resident: field(6).saturating_mul(page_size() / 1024) }
    }

    /// Reads both.
    pub fn read_with_stat(process: Pid) -> Option<(Stat, Self)> {
        let mut buffer = [0; 512];
        let stat = read_of(process, "stat", &mut buffer)?;
        Some((Stat::parse(stat)?, Self::parse(stat)))
    }
}

/// The proportional share of memory of a process, in KiB. It takes the right to trace the
/// process (`proc_pid_smaps(5)`).
pub fn proportional_memory(process: Pid) -> Option<u64> {
    let mut rollup = [0; 1024];
    let rollup = read_of(process, "smaps_rollup", &mut rollup)?;
    let words = value_of(rollup, b"Pss:")?;
    words.split(|byte| *byte == b' ').find_map(parse_u64)
}

/// How often the main thread of a process has gone to sleep.
pub fn sleeps(process: Pid) -> Option<u64> {
    // The line is behind that of the process's groups, of which there may be many.
    let mut status = [0; 8192];
    parse_u64(value_of(read_status(process, &mut status)?, b"voluntary_ctxt_switches:\t")?)
}

/// On how many CPUs a process may run.
pub fn allowed_cpus(process: Pid) -> Option<u32> {
    let mut status = [0; 8192];
    Some(count_bits(value_of(read_status(process, &mut status)?, b"Cpus_allowed:\t")?))
}

/// The bits of hexadecimal digits, whatever is between them.
fn count_bits(digits: &[u8]) -> u32 {
    let bits = |digit: &u8| char::from(*digit).to_digit(16).map_or(0, u32::count_ones);
    digits.iter().map(bits).sum()
}

/// The PID that was given out last, to a process or a thread of this PID namespace.
pub fn last_pid() -> Option<u32> {
    let mut load = [0; 128];
    let load = read_prefix(c"/proc/loadavg", &mut load)?;
    let line = split_once(load, b'\n').0;
    parse_u32(line.rsplit(|byte| *byte == b' ').next()?)
}

/// How many PIDs there are to be given out.
pub fn pid_max() -> Option<u32> {
    let mut max = [0; 32];
    parse_u32(split_once(read_prefix(c"/proc/sys/kernel/pid_max", &mut max)?, b'\n').0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usage_is_behind_the_last_parenthesis() {
        for name in ["sh", "a) R 1 2 3 (b", "x\ny"] {
            let stat = format!(
                "42 ({name}) R 17 42 42 0 -1 4194560 1 2 3 4 30 4 70 8 20 0 3 0 250 9000 25 18446744073709551615"
            );
            let tick = nanos_per_tick();
            let expected =
                Usage { cpu: 34 * tick, cpu_of_children: 78 * tick, resident: 25 * page_size() / 1024 };
            assert_eq!(Usage::parse(stat.as_bytes()), expected);
        }
        assert_eq!(Usage::parse(b"42 (sh) S 17 42"), Usage::default());
        let (_, usage) = Usage::read_with_stat(Pid::this()).unwrap();
        assert!(usage.resident > 100, "{usage:?}");
    }

    #[test]
    fn other_files() {
        assert_eq!([&b"f"[..], b"00000000,0000000f", b"3,ffffffff", b""].map(count_bits), [4, 4, 34, 0]);
        assert!(allowed_cpus(Pid::this()).is_some_and(|cpus| cpus > 0));
        assert!(proportional_memory(Pid::this()).is_some_and(|kib| kib > 100));
        assert!(sleeps(Pid::this()).is_some());
        assert!(last_pid().is_some_and(|last| last <= pid_max().unwrap()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = (Usage::parse(&bytes), count_bits(&bytes));
        }
    }
}
