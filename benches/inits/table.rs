//! The figures as a table in Markdown.

use crate::measure::{Figures, Results, STORMS};
use crate::{Init, least};

pub(crate) fn markdown(inits: &[Init], results: &Results, crowd: usize) -> String {
    let Results { figures, alone } = results;
    let mut table = String::from("| |");
    for init in inits {
        table += &format!(" {} |", init.name);
    }
    table += "\n|---|";
    table += &"--:|".repeat(inits.len());
    let mut row = |name: &str, cell: &dyn Fn(&Figures) -> String| {
        table += &format!("\n| {name} |");
        for figures in figures {
            table += &format!(" {} |", cell(figures));
        }
    };
    let first = &figures[0];
    let base = &figures[base_of_overhead(inits)];
    let times = |value: f64, of: f64| format!("{:.2} ×", value / of);
    row("file, KB", &|f| kilobytes(f.size));
    row("resident, KiB", &|f| f.rss.to_string());
    row("proportional share, KiB", &|f| f.pss.to_string());
    row("private dirty, KiB", &|f| f.private_dirty.to_string());
    row("page tables, KiB", &|f| f.page_tables.to_string());
    row("wake-ups while idle", &|f| f.wake_ups.to_string());
    row(&format!("{crowd} at once, MiB"), &|f| format!("{:.1}", f.crowd as f64 / 1024.0));
    row("start overhead, minimum", &|f| times(f.overhead.minimum, base.overhead.minimum));
    row("start overhead, median", &|f| times(f.overhead.median, base.overhead.median));
    for (index, count) in STORMS.into_iter().enumerate() {
        let name = format!("time per orphan, {count} at once");
        row(&name, &|f| times(f.per_orphan[index], first.per_orphan[index]));
    }
    row("resident after those, KiB", &|f| f.peak.iter().map(u64::to_string).collect::<Vec<_>>().join(", "));
    row("signal round trip, median", &|f| times(f.round_trip.0, first.round_trip.0));
    row("signal round trip, 99th percentile", &|f| times(f.round_trip.1, first.round_trip.1));
    table += &format!(
        "\n\nIn this run, `true` alone took {:.0} µs (median {:.0}), and the {} added {:.0} µs (median {:.0}).\n\
        A signal and its answer took {:.0} µs with sexton, median.",
        alone.minimum,
        alone.median,
        inits[base_of_overhead(inits)].name,
        base.overhead.minimum,
        base.overhead.median,
        first.round_trip.0,
    );
    table
}

/// Which init a start is measured against: the least one, or else sexton.
pub(crate) fn base_of_overhead(inits: &[Init]) -> usize {
    inits.iter().position(|init| init.name == least::NAME).unwrap_or(0)
}

/// A file's size, with a digit more where it is less than 10 KB.
pub(crate) fn kilobytes(bytes: u64) -> String {
    let digits = usize::from(bytes < 10_000);
    format!("{:.digits$}", bytes as f64 / 1000.0)
}

/// The page around it.
pub(crate) fn page(table: &str) -> String {
    format!(
        "# Side by side\n\n\
        `cargo bench` made this page in one run. The inits took turns, each as PID 1 of a PID namespace of its own; only the\n\
        starts are those of an ordinary process. Times are ratios, as machines differ and are noisy: to the least init for a\n\
        start, to sexton for everything else. Less than 1 is faster.\n\n\
        - **sexton (dist)** is the binary that `scripts/release` makes. **least init** is [least.c](../benches/inits/least.c),\n  \
        the least that an init can be: it has no C library and no option. The others are the packages that the machine has.\n\
        - **Start overhead** is the time of `INIT -- true` less the time of `true` alone, from before the start to after the\n  \
        end.\n\
        - **Time per orphan**: that many orphans end at once, until the last one has been reaped.\n\
        - **Memory** is the median of nine starts, with the environment that engines give. What many inits have at once is\n  \
        the sum of their proportional shares and page tables.\n\n\
        ![the same as a picture](benchmark.svg)\n\n{table}\n"
    )
}
