//! sexton side by side with tini, dumb-init and catatonit, where a machine has them, and
//! with the least that an init can be: in one run, in turns, as PID 1 of PID namespaces of
//! their own.
//!
//! `cargo bench` prints a table and writes it to `doc/benchmark.md`, with a picture. A
//! release binary in `dist/` is measured as well.
//!
//! - `cargo bench -- --also NAME=PATH` measures one more binary that takes sexton's command
//!   line, an older release for example. It writes nothing. It can be given more than once.
//! - `cargo bench -- --quick` is for seeing that the benchmark works: it takes few samples
//!   and writes nothing.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod least;
mod measure;
mod picture;
mod roles;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use measure::Effort;

/// The package, where cargo starts a benchmark.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const USAGE: &str = "usage: cargo bench -- [--quick] [--also NAME=PATH]...";

/// An init under measurement.
pub(crate) struct Init {
    name: String,
    path: PathBuf,
}

impl Init {
    fn new(name: &str, path: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), path: path.into() }
    }

    /// Whether it runs a command at all, with the reason if not.
    fn check(&self) -> Result<(), String> {
        let start = Command::new(&self.path).args(["--", "/bin/true"]).stdin(Stdio::null()).status();
        let reason = match start {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        Err(format!("{}: {} -- /bin/true: {reason}", self.name, self.path.display()))
    }
}

/// What the command line asks for.
#[derive(Default)]
struct Options {
    quick: bool,
    also: Vec<Init>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        // cargo adds one at the end.
        let mut rest = arguments.iter().filter(|argument| *argument != "--bench");
        while let Some(argument) = rest.next() {
            let also = match argument.as_str() {
                "--quick" => {
                    options.quick = true;
                    continue;
                }
                "--also" => rest.next().ok_or("--also needs NAME=PATH")?,
                other => other.strip_prefix("--also=").ok_or_else(|| format!("{other}: unknown option"))?,
            };
            let (name, path) = also
                .split_once('=')
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| format!("{also}: not NAME=PATH"))?;
            let path = Path::new(path).canonicalize().map_err(|error| format!("{path}: {error}"))?;
            let init = Init::new(name, path);
            init.check()?;
            options.also.push(init);
        }
        Ok(options)
    }
}

/// The inits that this machine has; sexton is always one of them.
fn inits(also: Vec<Init>) -> Vec<Init> {
    let mut inits = vec![Init::new("sexton", env!("CARGO_BIN_EXE_sexton"))];
    let dist = Path::new(ROOT).join("dist").join(std::env::consts::ARCH).join("sexton");
    if dist.exists() {
        inits.push(Init::new("sexton (dist)", dist));
    }
    inits.extend(also);
    match least::build() {
        Ok(path) => inits.push(Init::new(least::NAME, path)),
        Err(reason) => eprintln!("inits: {} is left out: {reason}", least::NAME),
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for name in ["tini", "tini-static", "dumb-init", "catatonit"] {
        if let Some(path) =
            std::env::split_paths(&path).map(|place| place.join(name)).find(|file| file.exists())
        {
            inits.push(Init::new(name, path));
        }
    }
    inits
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == "--play") {
        return roles::play(&words[2..]);
    }
    let options = match Options::parse(&words[1..]) {
        Ok(options) => options,
        Err(reason) => {
            eprintln!("inits: {reason}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // The documents hold figures of a full run, and of what anyone can build.
    let write = !options.quick && options.also.is_empty();
    let inits = inits(options.also);
    let effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    let results = measure::all(&inits, &effort);
    let table = table::markdown(&inits, &results, effort.crowd);
    println!("{table}");
    if write {
        let place = Path::new(ROOT).join("doc");
        std::fs::write(place.join("benchmark.md"), table::page(&table)).expect("doc/benchmark.md");
        picture::draw(&place.join("benchmark.svg"), &inits, &results.figures).expect("doc/benchmark.svg");
    }
    ExitCode::SUCCESS
}
