//! cgroup v2 with its controllers: what sexton reports of limits that are reached.
//!
//! But for one, the tests show sexton its cgroup as a container's init sees it: as the root
//! of a cgroup namespace.

use crate::boot::{Behaviour, Seen};

pub(crate) const BEHAVIOURS: &[Behaviour] = &[
    Behaviour {
        name: "an_oom_kill_is_named",
        // The second time the counters are not zero at the start.
        script: r#"
            cgroup oom memory.max=32M
            pid1_in_cgroup -T=$PWD/log -- hungry
            echo "code $?"
            cat log
            rm log
            pid1_in_cgroup -T=$PWD/log -- sh -c 'hungry 2> /dev/null; exit 3' 2> /dev/null
            echo "code $?"
            cat log"#,
        check: |seen| {
            let peak = if has_memory_peak(seen) { "; peak memory 32.0 MiB of 32.0 MiB" } else { "" };
            let killed =
                format!("hungry (pid 2) was killed by SIGKILL; 1 OOM kill in its cgroup since start{peak}");
            let exited = format!("sh (pid 2) exited with 3; 1 OOM kill in its cgroup since start{peak}");
            assert_eq!(seen.lines(), ["code 137", &killed, "code 3", &exited]);
            seen.show("-T, out of memory", killed);
        },
    },
    Behaviour {
        name: "an_oom_kill_of_the_group_takes_sexton_as_well",
        script: r#"
            cgroup group memory.max=32M memory.oom.group=1
            pid1_in_cgroup -T=$PWD/log -R -- sh -c 'hungry; exit 3' 2> /dev/null
            echo "code $?"
            [ -e log ] || echo 'no message'
            cat $group/memory.events"#,
        check: |seen| {
            let lines = seen.lines();
            assert_eq!(lines[..2], ["code 137", "no message"]);
            // sexton, the shell, and what it ran.
            assert!(seen.number::<u32>("oom_kill ") >= 3);
            if seen.version >= (5, 17) {
                assert_eq!(seen.number::<u32>("oom_group_kill "), 1);
            }
        },
    },
    Behaviour {
        name: "a_refused_fork_is_named",
        script: r#"
            cgroup pids pids.max=5
            pid1_in_cgroup -T=$PWD/log -R -- sh -c 'while sleep 1000 & do :; done'
            echo "code $?"
            cat log"#,
        check: |seen| {
            assert!(seen.after("sexton: cgroup: ").contains(", 1 fork refused, 0 OOM kills"));
            let message = "sh (pid 2) exited with 2; 1 fork refused";
            assert_eq!(seen.lines()[3..], ["code 2", message]);
            seen.show("-T, no more PIDs", message);
        },
    },
    Behaviour {
        name: "sexton_has_no_pid_for_the_command",
        script: r#"
            cgroup pid pids.max=1
            pid1_in_cgroup -T=$PWD/log -- true
            echo "code $?"
            cat log"#,
        check: |seen| {
            let reason = "fork: Resource temporarily unavailable";
            assert_eq!(seen.lines(), [&format!("sexton: {reason}"), "code 125", reason]);
        },
    },
    Behaviour {
        name: "a_fork_that_the_parents_limit_refuses_is_counted_by_older_kernels",
        // Since 6.11 the count is the parent's, which is not to be seen from within.
        script: r#"
            cgroup parent pids.max=5
            echo '+pids' > $group/cgroup.subtree_control
            cgroup parent/child
            pid1_in_cgroup -R -- sh -c 'while sleep 1000 & do :; done'
            grep max $group/../pids.events"#,
        check: |seen| {
            let (own, parents) = if seen.version < (6, 11) { (1, 0) } else { (0, 1) };
            let forks = if own == 1 { "fork" } else { "forks" };
            assert!(seen.after("sexton: cgroup: ").ends_with(&format!(", {own} {forks} refused")));
            assert_eq!(seen.number::<u32>("max "), parents);
        },
    },
    Behaviour {
        name: "throttling_is_reported",
        script: r#"
            cgroup cpu 'cpu.max=20000 100000'
            pid1_in_cgroup -T=$PWD/log -R -x 2 -- sh -c 'while :; do :; done'
            echo "code $?"
            cat log"#,
        check: |seen| {
            let totals = seen.after("sexton: cgroup: ");
            check_totals(seen, totals);
            assert!(totals.ends_with(" periods, 0 forks refused, 0 OOM kills"));
            let (throttled, all) = periods(totals);
            assert!(0 < throttled && throttled <= all);
            assert_eq!(seen.lines()[2], "code 124");
            let message = seen.after("sh (pid 2) timed out after 2.0 s and was killed by SIGTERM ");
            let (_, limits) = message.split_once(" s after SIGTERM; ").expect("limits");
            assert!(periods(limits).0 > 0 && limits.contains(" periods (cpu "));
            seen.show("-R, throttled", totals);
            seen.show("-T, throttled", limits);
        },
    },
    Behaviour {
        name: "a_cgroup_below_the_root_is_found",
        // As on a host, or in a container that shares the host's cgroup namespace.
        script: r#"
            cgroup below memory.max=32M pids.max=40
            unshare -pf --mount-proc sh -c 'echo 0 > $0/cgroup.procs; exec sexton "$@"' $group -T=$PWD/log -R -- hungry
            cat log"#,
        check: |seen| {
            let totals = seen.after("sexton: cgroup: ");
            check_totals(seen, totals);
            assert!(totals.ends_with(", 0 forks refused, 1 OOM kill"));
            assert!(
                seen.after("hungry (pid 2) was killed by SIGKILL; ").starts_with("1 OOM kill in its cgroup")
            );
            seen.show("-R, out of memory", totals);
        },
    },
    Behaviour {
        name: "top_names_a_limit_of_cpu",
        script: r#"
            cgroup top-cpu 'cpu.max=20000 100000'
            start_init in-cgroup $group sexton sh -c 'while :; do :; done'
            top 'Throttled'
            kill -KILL $init
            finish"#,
        check: |seen| {
            assert!(seen.after("Throttled by the CPU limit in ").ends_with(" periods: it has 0.20 CPUs."));
            assert!(seen.lines().iter().any(|line| line.contains(" of 0.20 CPUs; 2 processes, ")));
            assert!(seen.after("sh uses ").contains(", 1 at a time, "));
            show_top(seen, "--top, throttled", "Throttled");
        },
    },
    Behaviour {
        name: "top_names_a_limit_of_pids",
        script: r#"
            cgroup top-pids pids.max=10
            start_init in-cgroup $group sexton sh -c 'n=0; while [ $n -lt 8 ]; do n=$((n + 1)); sleep 1000 & done; wait'
            top 'limit of PIDs'
            kill -KILL $init
            finish"#,
        check: |seen| {
            let lines = seen.lines();
            assert!(lines.contains(&"The limit of PIDs is reached, 10 of 10: the next fork fails."));
            assert!(lines.iter().any(|line| line.contains("; 10 of 10 PIDs; ")));
            show_top(seen, "--top, no more PIDs", "The limit of PIDs");
        },
    },
    Behaviour {
        name: "top_names_oom_kills",
        script: r#"
            cgroup top-memory memory.max=32M
            start_init in-cgroup $group sexton sh -c 'while :; do hungry; done'
            top 'because memory ran out'
            kill -KILL $init
            finish"#,
        check: |seen| {
            let lines = seen.lines();
            assert!(lines.iter().any(|line| line.ends_with(" because memory ran out.")));
            assert!(lines.iter().any(|line| line.contains(" of 32 MiB; ") && line.ends_with(" so far")));
            show_top(seen, "--top, out of memory", "OOM kill");
        },
    },
];

/// The file `memory.peak` is there since 5.19.
fn has_memory_peak(seen: &Seen) -> bool {
    seen.version >= (5, 19)
}

/// The CPU time, and the peak of memory where the kernel has one.
fn check_totals(seen: &Seen, totals: &str) {
    let (cpu, rest) = totals.strip_prefix("cpu ").and_then(|rest| rest.split_once(" s, ")).expect("CPU time");
    assert!(cpu.parse::<f64>().unwrap() > 0.0);
    let peak = rest.strip_prefix("peak memory ").and_then(|rest| rest.split_once(" MiB, "));
    assert_eq!(peak.is_some(), has_memory_peak(seen));
    assert!(peak.is_none_or(|(peak, _)| (0.1..=32.0).contains(&peak.parse::<f64>().unwrap())));
}

/// In how many periods it was throttled, and of how many.
fn periods(text: &str) -> (u32, u32) {
    let (_, rest) = text.split_once("throttled in ").expect("throttled");
    let (throttled, rest) = rest.split_once(" of ").expect("of");
    let (periods, _) = rest.split_once(" periods").expect("periods");
    (throttled.parse().unwrap(), periods.parse().unwrap())
}

/// What `--top` says of the whole cgroup, and of the limit.
fn show_top(seen: &Seen, name: &'static str, limit: &str) {
    let lines = seen.lines();
    let totals = lines.iter().find(|line| line.contains(" given out")).expect("the totals");
    let verdict = lines.iter().find(|line| line.contains(limit) && line.ends_with('.')).expect("the verdict");
    seen.show(name, format!("{totals} | {verdict}"));
}
