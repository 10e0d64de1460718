//! The measurements.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Init;

/// How much is done for a figure.
pub(crate) struct Effort {
    /// How many starts are observed while there is nothing to do.
    rests: usize,
    starts: usize,
    storms: usize,
    signals: usize,
    /// How many of one kind run at once.
    pub(crate) crowd: usize,
    idle: Duration,
}

impl Effort {
    pub(crate) const FULL: Self =
        Self { rests: 9, starts: 1500, storms: 5, signals: 3000, crowd: 500, idle: Duration::from_secs(5) };
    pub(crate) const QUICK: Self =
        Self { rests: 1, starts: 20, storms: 1, signals: 50, crowd: 10, idle: Duration::from_millis(1100) };
}

/// How many orphans exit at once.
pub(crate) const STORMS: [usize; 3] = [100, 1_000, 10_000];

/// The figures of an init. Times are in microseconds, sizes in KiB.
#[derive(Default, Clone)]
pub(crate) struct Figures {
    /// Of the file, in bytes.
    pub(crate) size: u64,
    pub(crate) rss: u64,
    pub(crate) pss: u64,
    pub(crate) private_dirty: u64,
    pub(crate) page_tables: u64,
    pub(crate) wake_ups: u64,
    /// What many of them take in memory together: their proportional shares and their page
    /// tables.
    pub(crate) crowd: u64,
    /// From before the start of `true` to after its end, less what it takes alone.
    pub(crate) overhead: Spread,
    /// For each orphan of a storm of each size, the median of some.
    pub(crate) per_orphan: [f64; STORMS.len()],
    /// The largest resident set after a storm of each size.
    pub(crate) peak: [u64; STORMS.len()],
    /// From a signal, through the init to the command, to a byte back: the median, and the
    /// value that 99 of 100 stay below.
    pub(crate) round_trip: (f64, f64),
}

/// What remains of many samples.
#[derive(Default, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) minimum: f64,
    pub(crate) median: f64,
}

impl Spread {
    fn of(samples: &mut [f64]) -> Self {
        Self { minimum: quantile(samples, 0.0), median: quantile(samples, 0.5) }
    }
}

/// The figures of all inits.
pub(crate) struct Results {
    /// In the order of the inits.
    pub(crate) figures: Vec<Figures>,
    /// What `true` takes without an init, in microseconds.
    pub(crate) alone: Spread,
}

/// Measures all of them, in turns.
pub(crate) fn all(inits: &[Init], effort: &Effort) -> Results {
    // Pages of a file that was just built, and is not yet on the disk, would count as
    // dirty.
    // SAFETY: has no memory effect.
    unsafe { libc::sync() };
    let mut figures: Vec<Figures> = inits.iter().map(|init| at_rest(init, effort)).collect();
    for (init, figures) in inits.iter().zip(&mut figures) {
        figures.crowd = crowd(init, effort.crowd);
    }
    let alone = starts(inits, effort, &mut figures);
    storms(inits, effort, &mut figures);
    round_trips(inits, effort, &mut figures);
    Results { figures, alone }
}

/// An init that is PID 1, with one of our roles as its command.
struct Running {
    unshare: Child,
    init: i32,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(init: &Init, role: &[&str]) -> Self {
        let mut command = Command::new("unshare");
        // SAFETY: has no memory effect.
        if unsafe { libc::geteuid() } != 0 {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(&init.path).arg("--");
        as_in_a_container(&mut command);
        command.arg(std::env::current_exe().expect("a path")).arg("--play").args(role);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut unshare = command.spawn().expect("unshare");
        let mut output = BufReader::new(unshare.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "{}", init.name);
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let init = fs::read_to_string(children).expect("children").trim().parse().expect("one child");
        Self { unshare, init, output }
    }

    fn field(&self, file: &str, name: &str) -> u64 {
        field(self.init, file, name)
    }

    fn end(mut self) {
        drop(self.unshare.stdin.take());
        let _ = self.unshare.wait();
    }
}

/// Gives a command the environment that an engine gives: a larger one takes more of the
/// stack's pages, of whichever init.
fn as_in_a_container(command: &mut Command) {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    command.env_clear().envs([("PATH", path), ("HOSTNAME", "0123456789ab"), ("HOME", "/root")]);
}

/// A number that /proc reports of a process.
fn field(process: i32, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/{file}")).expect("proc");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name}"))
        .split_whitespace()
        .next()
        .expect("a value")
        .parse()
        .expect("a number")
}

fn crowd(init: &Init, count: usize) -> u64 {
    let start = |_| {
        let mut command = Command::new(&init.path);
        command.args(["--", "/bin/sleep", "1000"]).stdin(Stdio::null()).stderr(Stdio::null());
        as_in_a_container(&mut command);
        command.spawn().expect("a start")
    };
    let mut all: Vec<Child> = (0..count).map(start).collect();
    // They have nothing left to do.
    thread::sleep(Duration::from_millis(500));
    let memory = all.iter().map(|child| {
        let process = child.id().cast_signed();
        field(process, "smaps_rollup", "Pss") + field(process, "status", "VmPTE")
    });
    let memory = memory.sum();
    for child in &mut all {
        // SAFETY: has no memory effect.
        unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
        let _ = child.wait();
    }
    memory
}

fn at_rest(init: &Init, effort: &Effort) -> Figures {
    const MEMORY: [(&str, &str); 4] = [
        ("smaps_rollup", "Rss"),
        ("smaps_rollup", "Pss"),
        ("smaps_rollup", "Private_Dirty"),
        ("status", "VmPTE"),
    ];
    let mut wake_ups = 0;
    let mut memory = MEMORY.map(|_| Vec::new());
    // The kernel leaves gaps at random in a stack and between mappings, so what takes one
    // page takes two at another time.
    for round in 0..effort.rests {
        let running = Running::start(init, &["rest"]);
        // It has nothing left to do.
        thread::sleep(Duration::from_millis(300));
        if round == 0 {
            let before = running.field("status", "voluntary_ctxt_switches");
            thread::sleep(effort.idle);
            wake_ups = running.field("status", "voluntary_ctxt_switches") - before;
        }
        for (found, (file, name)) in memory.iter_mut().zip(MEMORY) {
            found.push(running.field(file, name) as f64);
        }
        running.end();
    }
    let [rss, pss, private_dirty, page_tables] = memory.map(|mut found| quantile(&mut found, 0.5) as u64);
    let size = fs::metadata(&init.path).expect("the file").len();
    Figures { size, rss, pss, private_dirty, page_tables, wake_ups, ..Figures::default() }
}

fn time_of(program: &Path, arguments: &[&str]) -> f64 {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().expect("a start");
    let took = start.elapsed();
    assert!(status.success());
    took.as_secs_f64() * 1e6
}

/// Gives the time of the command alone, which has its turn as each init has.
fn starts(inits: &[Init], effort: &Effort, figures: &mut [Figures]) -> Spread {
    let command = Path::new("/bin/true");
    let mut alone = Vec::new();
    let mut times = vec![Vec::new(); inits.len()];
    for round in 0..effort.starts {
        for turn in turns(round, inits.len() + 1) {
            match inits.get(turn) {
                Some(init) => times[turn].push(time_of(&init.path, &["--", "/bin/true"])),
                None => alone.push(time_of(command, &[])),
            }
        }
    }
    let alone = Spread::of(&mut alone);
    for (figures, times) in figures.iter_mut().zip(&mut times) {
        let with_init = Spread::of(times);
        figures.overhead =
            Spread { minimum: with_init.minimum - alone.minimum, median: with_init.median - alone.median };
    }
    alone
}

fn storms(inits: &[Init], effort: &Effort, figures: &mut [Figures]) {
    for (index, count) in STORMS.into_iter().enumerate() {
        let mut times = vec![Vec::new(); inits.len()];
        for round in 0..effort.storms {
            for turn in turns(round, inits.len()) {
                let mut running = Running::start(&inits[turn], &["storm", &count.to_string()]);
                running.unshare.stdin.as_mut().expect("a pipe").write_all(b"go\n").expect("go");
                let mut line = String::new();
                running.output.read_line(&mut line).expect("a line");
                times[turn].push(line.trim().parse::<f64>().expect("a time") / count as f64);
                let peak = &mut figures[turn].peak[index];
                *peak = (*peak).max(running.field("status", "VmHWM"));
                running.end();
            }
        }
        for (figures, times) in figures.iter_mut().zip(&mut times) {
            figures.per_orphan[index] = quantile(times, 0.5);
        }
    }
}

fn round_trips(inits: &[Init], effort: &Effort, figures: &mut [Figures]) {
    let mut all: Vec<Running> = inits.iter().map(|init| Running::start(init, &["echo"])).collect();
    let mut times = vec![Vec::new(); inits.len()];
    for round in 0..effort.signals {
        for turn in turns(round, inits.len()) {
            let running = &mut all[turn];
            let start = Instant::now();
            // SAFETY: has no memory effect.
            assert_eq!(unsafe { libc::kill(running.init, libc::SIGUSR1) }, 0);
            running.output.read_exact(&mut [0]).expect("the answer");
            times[turn].push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    for (figures, times) in figures.iter_mut().zip(&mut times) {
        figures.round_trip = (quantile(times, 0.5), quantile(times, 0.99));
    }
    all.into_iter().for_each(Running::end);
}

/// Each round begins with another init, as the first one after a pause is slower.
fn turns(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (turn + round) % count)
}

/// The value below which this part of the samples is.
fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}
