//! What uses the CPU, what piles up, and which limit is reached: `--top`.

use std::ffi::OsString;
use std::fs;
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

fn top_with(load: Load, options: &[&str]) -> Output {
    let mut command = play_with(Role::WithLoad(load), [sexton()]);
    command.extend(words(options));
    Init::pid1(&[]).run(command)
}

/// The same as often as it takes for the worker to get a tenth of a CPU, as it does at once
/// on a machine that is not under load.
fn top_with_busy(load: Load) -> Output {
    let mut output = None;
    wait_until("the worker gets a tenth of a CPU", || {
        let answer = top_with(load, &["--top=1"]);
        let used = text(&answer)[1].split_whitespace().next().unwrap().parse::<f64>().unwrap();
        output = Some(answer);
        used > 0.1
    });
    output.unwrap()
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
    let output = top_with_busy(Load::Steady);
    let lines = text(&output);
    let words: Vec<&str> = lines[0].split_whitespace().collect();
    let heading =
        ["CPUs", "PROGRAM", "NOW", "STARTED", "ENDED", "STATES", "THREADS", "PSS", "OLDEST", "PARENT"];
    assert_eq!(words, heading);
    let row = row(&lines, "worker");
    assert_eq!(row[2..8], ["1", "0", "0", "1", "run", "1"], "{row:?}");
    assert!((0.1..1.1).contains(&cpus(&row)), "{row:?}");
    assert!(row.join(" ").ends_with("sexton-test-hel (2)"), "{row:?}");
    assert!(lines.contains(&"No zombies: an init would change nothing here."), "{lines:#?}");
    let verdict = lines.last().unwrap();
    assert!(
        verdict.starts_with("worker uses ") && verdict.contains(" CPUs, 1 at a time, the oldest "),
        "{verdict}"
    );
    assert!(verdict.ends_with(". Their number is stable."), "{verdict}");
    assert_eq!(output.status.code(), Some(0));
}

/// None of them needs to be there at either look.
fn brief_children_count_for_their_parent() {
    let output = top_with_busy(Load::Brief);
    let lines = text(&output);
    let ended = row(&lines, "(ended)");
    assert!(ended.join(" ").ends_with(" worker (3)"), "{ended:?}");
    assert!((0.1..1.1).contains(&cpus(&ended)), "{ended:?}");
    let verdict = lines.last().unwrap();
    let named =
        verdict.starts_with("brief uses ") || verdict.starts_with("Children of worker (3) that ended ");
    assert!(named, "{verdict}");
    assert_eq!(output.status.code(), Some(0));
}

fn a_program_that_grows_is_named() {
    let output = top_with(Load::Leak, &["--top=1"]);
    let lines = text(&output);
    assert_eq!(output.status.code(), Some(1), "{lines:#?}");
    let verdict = lines.iter().find(|line| line.starts_with("leaked grows: ")).expect("a verdict");
    let (rate, rest) =
        verdict.strip_prefix("leaked grows: ").unwrap().split_once(" more a minute, ").unwrap();
    // One every 10 ms, or fewer on a machine under load.
    assert!((120..=6300).contains(&rate.parse::<u32>().unwrap()), "{verdict}");
    assert!(rest.starts_with("and none ends. There are ") && rest.contains(", the oldest "), "{verdict}");
    assert!(rest.ends_with(", children of worker (3)."), "{verdict}");
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
    let output = top_with(Load::Vfork, &["--top=0.2"]);
    let lines = text(&output);
    assert_eq!(output.status.code(), Some(1), "{lines:#?}");
    let expected = "1 process of worker stuck in the kernel (state D, PID 3): no signal reaches it until what it waits for comes.";
    assert!(lines.contains(&expected), "{lines:#?}");
}

fn a_stopped_job_is_named() {
    let output = Init::pid1(&[]).run(script(
        r#"sh -c 'kill -STOP $$' & job=$!
        until grep -q ') T ' /proc/$job/stat; do :; done; "$1" --top=0.2"#,
    ));
    let lines = text(&output);
    let expected = "1 process of sh stopped (PID 3): continue (SIGCONT) or kill it.";
    assert!(lines.contains(&expected), "{lines:#?}");
    assert_eq!(output.status.code(), Some(0));
}

fn nothing_unusual_is_reported_as_such() {
    let output = Init::pid1(&[]).run(script(r#"sleep 1000 & sleep 0.2; "$1" --top=0.2"#));
    let lines = text(&output);
    assert_eq!(row(&lines, "sleep")[..8], ["0.00", "sleep", "1", "0", "0", "1", "sleep", "1"]);
    assert_eq!(lines.last(), Some(&"Nothing unusual."), "{lines:#?}");
    assert_eq!(output.status.code(), Some(0));
}

/// Those of one program and one kind of parent are a row.
fn programs_are_counted_by_parent() {
    let output = Init::pid1(&[]).run(script(r#"sleep 1000 & sleep 1000 & (sleep 1000 &); "$1" --top=0.1"#));
    let lines = text(&output);
    let rows: Vec<&&str> = lines.iter().filter(|line| line.contains("  sleep  ")).collect();
    assert_eq!(rows.len(), 2, "{lines:#?}");
    assert!(rows[0].contains("  2 ") && rows[0].ends_with("  sh (2)"), "{rows:#?}");
    assert!(rows[1].contains("  1 ") && rows[1].ends_with("  PID 1"), "{rows:#?}");
}

fn odd_names_do_no_harm() {
    let run = |options: &[&str]| {
        let mut command = play_with(Role::WithZombies(Zombies::OddlyNamed, 6), [sexton()]);
        command.extend(words(options));
        Init::pid1(&[]).run(command)
    };
    let output = run(&["--top=0.1"]);
    let lines = text(&output);
    assert!(lines.iter().any(|line| line.contains(r" a) Z 1 (b\x0ac ")), "{lines:#?}");
    assert!(lines.iter().all(|line| !line.contains(char::is_control)), "{lines:#?}");
    let output = run(&["--top=0.1", "--format=json"]);
    let names = parsed(
        &output.stdout,
        "[len(d['programs']), len(d['zombies']), 'a) Z 1 (b\\nc' in [p['program'] for p in d['programs']], d['fault']]",
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
        r#"(while :; do (:); (: & :); done) & sleep 1000 &
        for n in 1 2 3 4 5 6 7 8; do "$1" --top=0.1; [ $? -le 1 ] || exit 3; done"#,
    ));
    let output = Init::pid1(&[]).run(command);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = text(&output);
    assert!(!lines.iter().any(|line| line.contains("PIDs given out")), "{lines:#?}");
    for line in lines.iter().filter(|line| line.contains("  sleep  ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..5], ["0.00", "sleep", "1", "0", "0"]);
    }
}

/// All signals are blocked for a command, which this does not run.
fn a_signal_ends_it() {
    let mut running = Init::plain(&["--top=1h"]).start(words(&[]));
    wait_until("it sleeps", || running.proc("syscall").starts_with(&format!("{} ", libc::SYS_poll)));
    running.signal(SIGTERM);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&running.status()), Some(SIGTERM.number()));
}

fn an_output_that_cannot_be_written_is_125() {
    for options in [&["--top=0.1"][..], &["--top=0.1", "--format=json"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = Init::plain(options).stdout(full).run(words(&[]));
        assert_eq!(output.status.code(), Some(125));
        assert_eq!(stderr_text(&output), "sexton: standard output: No space left on device\n");
    }
}
