//! What uses the CPU, what piles up, and which limit is reached: `--top`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;

use crate::support::*;

crate::tests![
    new what_uses_the_cpu_is_named,
    new brief_children_count_for_their_parent,
    new a_program_that_grows_is_named,
    new zombies_are_named_with_their_holder,
    new a_process_that_is_stuck_in_the_kernel_is_named,
    new a_stopped_job_is_named,
    new nothing_unusual_is_reported_as_such,
    new programs_are_counted_by_parent,
    with("python3") odd_names_do_no_harm,
    as_root what_is_hidden_is_reported,
    new there_is_no_answer_without_proc,
    new the_proc_of_another_namespace_is_not_believed,
    new processes_that_come_and_go_do_no_harm,
    as_root pids_that_are_given_out_again_do_no_harm,
    new a_signal_ends_it,
    new an_output_that_cannot_be_written_is_125,
];

/// What it printed, and its exit code.
#[derive(Debug)]
struct Answer {
    lines: Vec<String>,
    code: Option<i32>,
}

impl Answer {
    fn of(output: &Output) -> Self {
        Self { lines: text(output).into_iter().map(String::from).collect(), code: output.status.code() }
    }

    fn has(&self, line: &str) -> bool {
        self.lines.iter().any(|each| each == line)
    }

    /// The words of a program's row, up to the states.
    fn row(&self, program: &str) -> Option<Vec<&str>> {
        let mut rows = self.lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.find(|words| words.get(1) == Some(&program))
    }

    fn last(&self) -> &str {
        self.lines.last().unwrap()
    }
}

/// What it prints beside a worker, once that is what is expected.
fn top_with(load: Load, options: &[&str], expected: impl Fn(&Answer) -> bool) -> Answer {
    let mut command = play_with(Role::WithLoad(load), [sexton()]);
    command.extend(words(options));
    repeat_until(|| Answer::of(&Init::pid1(&[]).run(command.clone())), expected)
}

/// What it prints as part of a script, once that is what is expected.
fn top_in(script_text: &str, expected: impl Fn(&Answer) -> bool) -> Answer {
    repeat_until(|| Answer::of(&Init::pid1(&[]).run(script(script_text))), expected)
}

/// Whether a row has at least a tenth of a CPU, without which none uses most of it.
fn is_busy(row: &[&str]) -> bool {
    cpus(row) > 0.1
}

/// A shell's script, in which `"$1"` is sexton.
fn script(script: &str) -> Vec<OsString> {
    let mut command = shell(script);
    command.extend(["sh".into(), sexton().into()]);
    command
}

fn text(output: &Output) -> Vec<&str> {
    assert_eq!(stderr_text(output), "");
    std::str::from_utf8(&output.stdout).unwrap().lines().collect()
}

/// The row of a program: the words of its columns, up to the states.
fn row<'a>(lines: &[&'a str], program: &str) -> Vec<&'a str> {
    let mut rows = lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.find(|words| words.get(1) == Some(&program)).unwrap_or_else(|| panic!("{program}: {lines:#?}"))
}

fn cpus(row: &[&str]) -> f64 {
    row[0].parse().unwrap()
}

fn what_uses_the_cpu_is_named() {
    let answer = top_with(Load::Steady, &["--top=1"], |answer| {
        answer.row("worker").is_some_and(|row| is_busy(&row) && row[5..7] == ["1", "run"])
    });
    let words: Vec<&str> = answer.lines[0].split_whitespace().collect();
    let heading =
        ["CPUs", "PROGRAM", "NOW", "STARTED", "ENDED", "STATES", "THREADS", "PSS", "OLDEST", "PARENT"];
    assert_eq!(words, heading);
    let row = answer.row("worker").unwrap();
    assert_eq!(row[2..8], ["1", "0", "0", "1", "run", "1"], "{row:?}");
    assert!(cpus(&row) < 1.5, "{row:?}");
    assert!(row.join(" ").ends_with("sexton-test-hel (2)"), "{row:?}");
    assert!(answer.has("No zombies: an init would change nothing here."), "{answer:#?}");
    let verdict = answer.last();
    assert!(
        verdict.starts_with("worker uses ") && verdict.contains(" CPUs, 1 at a time, the oldest "),
        "{verdict}"
    );
    assert!(verdict.ends_with(". Their number is stable."), "{verdict}");
    assert_eq!(answer.code, Some(0));
}

/// None of them needs to be there at either look.
fn brief_children_count_for_their_parent() {
    let answer = top_with(Load::Brief, &["--top=1"], |answer| {
        answer.row("(ended)").is_some_and(|row| is_busy(&row)) && answer.code == Some(0)
    });
    let ended = answer.row("(ended)").unwrap();
    assert!(ended.join(" ").ends_with(" worker (3)"), "{ended:?}");
    assert!(cpus(&ended) < 1.5, "{ended:?}");
    let verdict = answer.last();
    let named =
        verdict.starts_with("brief uses ") || verdict.starts_with("Children of worker (3) that ended ");
    assert!(named, "{verdict}");
}

fn a_program_that_grows_is_named() {
    let verdict = |answer: &Answer| {
        let line = answer.lines.iter().find_map(|line| line.strip_prefix("leaked grows: "))?;
        let (rate, rest) = line.split_once(" more a minute, ")?;
        Some((rate.parse::<u32>().ok()?, rest.to_owned()))
    };
    // One every 10 ms, or fewer on a machine under load.
    let answer = top_with(Load::Leak, &["--top=1"], |answer| {
        verdict(answer).is_some_and(|(rate, _)| (120..=6300).contains(&rate))
    });
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    let (_, rest) = verdict(&answer).unwrap();
    assert!(rest.starts_with("and none ends. There are ") && rest.contains(", the oldest "), "{rest}");
    assert!(rest.ends_with(", children of worker (3)."), "{rest}");
}

fn zombies_are_named_with_their_holder() {
    let mut command = play_with(Role::WithZombies(Zombies::OfThreePrograms, 5), [sexton()]);
    command.push("--top=0.2".into());
    let output = Init::pid1(&[]).run(command);
    let lines = text(&output);
    assert_eq!(output.status.code(), Some(1));
    let first = lines.iter().position(|line| *line == "5 zombies:").expect("zombies");
    assert!(lines[first + 1].starts_with("2 alpha (PIDs 3, 6), the oldest started "), "{lines:#?}");
    assert!(lines[first + 1].contains(": held by 2 (sexton-test-hel), which does not wait"), "{lines:#?}");
    assert!(lines[first + 3].starts_with("5 (gamma), started "), "{lines:#?}");
    assert_eq!(row(&lines, "alpha")[2..8], ["2", "0", "0", "2", "zombie", "0"]);
}

fn a_process_that_is_stuck_in_the_kernel_is_named() {
    let expected = "1 process of worker stuck in the kernel (state D, PID 3): no signal reaches it until what it waits for comes.";
    let answer = top_with(Load::Vfork, &["--top=0.2"], |answer| answer.has(expected));
    assert_eq!(answer.code, Some(1), "{answer:#?}");
}

fn a_stopped_job_is_named() {
    let expected = "1 process of sh stopped (PID 3): continue (SIGCONT) or kill it.";
    let answer = top_in(
        r#"sh -c 'kill -STOP $$' & job=$!
        until grep -q ') T ' /proc/$job/stat; do :; done; "$1" --top=0.2"#,
        |answer| answer.has(expected),
    );
    assert_eq!(answer.code, Some(0));
}

fn nothing_unusual_is_reported_as_such() {
    let answer =
        top_in(r#"sleep 1000 & sleep 0.2; "$1" --top=0.2"#, |answer| answer.last() == "Nothing unusual.");
    let row = answer.row("sleep").unwrap();
    assert_eq!(row[1..8], ["sleep", "1", "0", "0", "1", "sleep", "1"]);
    assert_eq!(answer.code, Some(0));
}

/// Those of one program and one kind of parent are a row.
fn programs_are_counted_by_parent() {
    let rows = |answer: &Answer| -> Vec<String> {
        let mut rows: Vec<String> =
            answer.lines.iter().filter(|line| line.contains("  sleep  ")).cloned().collect();
        rows.sort_by_key(|row| row.ends_with("  PID 1"));
        rows
    };
    // A child is called `sh` until it has executed `sleep`.
    let counts = |answer: &Answer| -> Vec<String> {
        rows(answer).iter().map(|row| row.split_whitespace().nth(2).unwrap().to_owned()).collect()
    };
    let answer = top_in(r#"sleep 1000 & sleep 1000 & (sleep 1000 &); "$1" --top=0.1"#, |answer| {
        counts(answer) == ["2", "1"]
    });
    let rows = rows(&answer);
    assert!(rows[0].ends_with("  sh (2)") && rows[1].ends_with("  PID 1"), "{rows:#?}");
}

fn odd_names_do_no_harm() {
    let run = |options: &[&str]| {
        let mut command = play_with(Role::WithZombies(Zombies::OddlyNamed, 6), [sexton()]);
        command.extend(words(options));
        Init::pid1(&[]).run(command)
    };
    let output = run(&["--top=0.1"]);
    let lines = text(&output);
    assert!(lines.iter().any(|line| line.contains(r" a) Z 1 (b\x0a\x9b\xc2\x9d ")), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains(char::is_control)), "{lines:#?}");
    let output = run(&["--top=0.1", "--format=json"]);
    let names = parsed(
        &output.stdout,
        "[len(d['programs']), len(d['zombies']), 'a) Z 1 (b\\n\\ufffd\\x9d' in [p['program'] for p in d['programs']], d['fault']]",
    );
    assert_eq!((names.as_str(), output.status.code()), ("[8, 6, true, true]", Some(1)));
}

fn what_is_hidden_is_reported() {
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let copy = place.path().join("sexton");
    fs::copy(sexton(), &copy).unwrap();
    let mut command = shell(
        r#"mount -o remount,hidepid=2 /proc && exec setpriv --reuid=12345 --regid=12345 --clear-groups "$@""#,
    );
    command.extend(["sh".into(), copy.into(), "--top=0.1".into()]);
    let output = Init::pid1(&[]).run(command);
    let lines = text(&output);
    let hidden = "some processes are hidden (/proc is mounted with hidepid): try again as root";
    assert!(lines.contains(&hidden), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("limits unknown")), "{lines:#?}");
}

fn there_is_no_answer_without_proc() {
    let output = Init::pid1(&[]).given(Condition::NoProc).run([sexton(), "--top".into()]);
    let expected = "sexton: /proc is not mounted: cannot list processes\n";
    assert_eq!((output.status.code(), stderr_text(&output)), (Some(125), expected));
    assert_eq!(output.stdout, b"");
}

fn the_proc_of_another_namespace_is_not_believed() {
    let output = Init::pid1(&[]).run(words(&["unshare", "-pf", sexton().to_str().unwrap(), "--top"]));
    let expected =
        "sexton: /proc belongs to another PID namespace: mount this one's (mount -t proc proc /proc)\n";
    assert_eq!((output.status.code(), stderr_text(&output)), (Some(125), expected));
}

fn processes_that_come_and_go_do_no_harm() {
    let output = Init::pid1(&[]).run(script(
        r#"(while :; do (:); (: & :); done) & (while :; do (exec true); done) &
        for n in 1 2 3 4 5; do "$1" --top=0.1; [ $? -le 1 ] || exit 3; done"#,
    ));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    text(&output);
}

/// They are for each PID namespace since Linux 6.14; before, this would be the machine's.
fn pids_that_are_given_out_again_do_no_harm() {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(6), Some(14)) {
        return;
    }
    let mut command = shell(r#"echo 400 > /proc/sys/kernel/pid_max && exec "$@""#);
    command.push("sh".into());
    command.extend(script(
        r#"sleep 1000 & until grep -q '(sleep) S' /proc/$!/stat; do :; done
        (while :; do (:); (: & :); done) &
        for n in 1 2 3 4 5 6 7 8; do "$1" --top=0.1; [ $? -le 1 ] || exit 3; done"#,
    ));
    let output = Init::pid1(&[]).run(command);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = text(&output);
    assert!(!lines.iter().any(|line| line.contains(" given out")), "{lines:#?}");
    for line in lines.iter().filter(|line| line.contains("  sleep  ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..5], ["0.00", "sleep", "1", "0", "0"]);
    }
}

/// All signals are blocked for a command, which this does not run.
fn a_signal_ends_it() {
    let mut running = Init::plain(&["--top=1h"]).start(words(&[]));
    wait_until("it sleeps", || running.is_in_poll());
    running.signal(SIGTERM);
    assert_eq!(running.status().signal(), Some(SIGTERM.number()));
    let mut running = Init::pid1(&["--top=1h"]).start(words(&[]));
    wait_until("it sleeps", || running.is_in_poll());
    running.signal(SIGTERM);
    assert_eq!(running.status().code(), Some(128 + SIGTERM.number()));
}

fn an_output_that_cannot_be_written_is_125() {
    for options in [&["--top=0.1"][..], &["--top=0.1", "--format=json"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = Init::plain(options).stdout(full).run(words(&[]));
        assert_eq!(output.status.code(), Some(125));
        assert_eq!(stderr_text(&output), "sexton: standard output: No space left on device\n");
    }
}
