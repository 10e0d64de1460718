//! The figures as a table in Markdown.

use crate::Init;
use crate::measure::{Figures, STORMS};

pub(crate) fn markdown(inits: &[Init], figures: &[Figures], crowd: usize) -> String {
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
    let times = |value: f64, of: f64| format!("{:.2} ×", value / of);
    row("file, KB", &|f| format!("{:.0}", f.size as f64 / 1000.0));
    row("resident, KiB", &|f| f.rss.to_string());
    row("proportional share, KiB", &|f| f.pss.to_string());
    row("private dirty, KiB", &|f| f.private_dirty.to_string());
    row("page tables, KiB", &|f| f.page_tables.to_string());
    row("wake-ups while idle", &|f| f.wake_ups.to_string());
    row(&format!("{crowd} at once, MiB"), &|f| format!("{:.1}", f.crowd as f64 / 1024.0));
    row("start to end, least", &|f| times(f.overhead.0, first.overhead.0));
    row("start to end, median", &|f| times(f.overhead.1, first.overhead.1));
    for (index, count) in STORMS.into_iter().enumerate() {
        let name = format!("time per orphan, {count} at once");
        row(&name, &|f| times(f.per_orphan[index], first.per_orphan[index]));
    }
    row("resident after those, KiB", &|f| f.peak.iter().map(u64::to_string).collect::<Vec<_>>().join(", "));
    row("signal round trip, median", &|f| times(f.round_trip.0, first.round_trip.0));
    row("signal round trip, 99th percentile", &|f| times(f.round_trip.1, first.round_trip.1));
    table
}

/// The page around it.
pub(crate) fn page(table: &str) -> String {
    format!(
        "# Side by side\n\n\
        Made by `cargo bench`: all in one run, in turns, each as PID 1 of a PID namespace of its own, but for the starts,\n\
        which are those of an ordinary process. Times are ratios to sexton's, as machines differ and are noisy: below 1\n\
        is faster than sexton. What a start takes is counted from before it to after the end of `true`, less what `true`\n\
        takes alone. A storm is that many orphans that end at once. Memory is the median of nine starts, with an\n\
        environment as engines give it; what many at once have of it is their proportional shares and page tables. The\n\
        others are whatever packages of them the machine has; sexton (dist) is the binary that `scripts/release` makes.\n\n\
        ![the same as a picture](benchmark.svg)\n\n{table}\n"
    )
}
