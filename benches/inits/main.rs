//! sexton side by side with tini, dumb-init and catatonit, where a machine has them: in
//! one run, in turns, as PID 1 of PID namespaces of their own.
//!
//! `cargo bench` prints a table and writes it to `doc/benchmark.md`, with a picture. A
//! release binary in `dist/` is measured as well. `cargo bench -- --quick` is for seeing
//! that it works: it takes few samples and writes nothing.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod measure;
mod picture;
mod roles;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use measure::{Effort, Figures};

/// An init under measurement.
pub(crate) struct Init {
    name: &'static str,
    path: PathBuf,
}

/// Those that are there; sexton is.
fn inits() -> Vec<Init> {
    let mut inits = vec![Init { name: "sexton", path: env!("CARGO_BIN_EXE_sexton").into() }];
    let dist = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/dist"))
        .join(std::env::consts::ARCH)
        .join("sexton");
    if dist.exists() {
        inits.push(Init { name: "sexton (dist)", path: dist });
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for name in ["tini", "tini-static", "dumb-init", "catatonit"] {
        if let Some(path) =
            std::env::split_paths(&path).map(|place| place.join(name)).find(|file| file.exists())
        {
            inits.push(Init { name, path });
        }
    }
    inits
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == "--play") {
        return roles::play(&words[2..]);
    }
    let quick = words.iter().any(|word| word == "--quick");
    let inits = inits();
    let effort = if quick { Effort::QUICK } else { Effort::FULL };
    let figures: Vec<Figures> = measure::all(&inits, &effort);
    let table = table::markdown(&inits, &figures, effort.crowd);
    println!("{table}");
    if !quick {
        let place = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/doc"));
        std::fs::write(place.join("benchmark.md"), table::page(&table)).expect("doc/benchmark.md");
        picture::draw(&place.join("benchmark.svg"), &inits, &figures).expect("doc/benchmark.svg");
    }
    ExitCode::SUCCESS
}
