//! Which process holds a zombie, and what the orphans were: `-z`, `-w` and `-R`.

use std::ffi::{OsStr, OsString};
use std::io::{Write, pipe};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::*;

crate::tests![
    new zombies_are_grouped_with_the_parent_that_holds_them,
    new zombies_are_listed_one_by_one_if_asked_for,
    new ten_thousand_zombies_are_three_lines,
    with("python3") zombies_in_json_whatever_they_are_called,
    with("python3") the_report_in_json,
    new a_pid_1_that_does_not_reap_is_named,
    new a_pid_1_of_a_container_that_does_not_reap_is_named,
    new a_stopped_parent_of_zombies_is_named,
    new no_zombies_is_reported_as_such,
    new zombies_up_to_a_limit_exit_with_0,
    new a_zombies_odd_name_is_escaped,
    new a_main_thread_that_has_exited_is_no_zombie,
    new a_zombies_tracer_is_named,
    new zombies_that_are_reaped_a_moment_later_do_not_count,
    as_root a_zombies_parent_outside_of_the_namespace_is_recognised,
    as_root hidden_processes_are_reported,
    new zombies_cannot_be_listed_without_proc,
    new proc_of_another_namespace_is_not_believed,
    new processes_that_come_and_go_are_no_zombies,
    new an_orphan_is_logged_with_what_it_used,
    new an_orphans_odd_name_is_escaped,
    new the_command_is_no_orphan,
    new the_report_adds_orphans_up,
    new the_report_comes_when_the_command_was_killed,
    new a_report_without_orphans_says_so,
    new pause_reports_orphans_as_well,
    new orphans_have_no_names_without_proc,
    new a_log_that_is_not_read_stops_no_reaping,
    with("strace") reaping_makes_no_further_calls_without_options,
];

/// `sexton -z` among zombies of this kind, as PID 1's command.
fn with_zombies(zombies: Zombies, count: u32, options: &[&str]) -> Vec<OsString> {
    let mut command = play_with(Role::WithZombies(zombies, count), [sexton()]);
    command.extend(words(options));
    command
}

/// What is reported of a parent that is at fault.
const DOES_NOT_WAIT: &str = ", which does not wait for its children";

/// The beginning of the line about an orphan.
const REAPED: &str = "sexton: reaped ";

fn text(output: &Output) -> Vec<&str> {
    assert_eq!(stderr_text(output), "");
    std::str::from_utf8(&output.stdout).unwrap().lines().collect()
}

fn zombies_are_grouped_with_the_parent_that_holds_them() {
    let output = Init::pid1(&[]).run(with_zombies(Zombies::OfThreePrograms, 8, &["-z"]));
    let lines = text(&output);
    assert_eq!(output.status.code(), Some(1), "{lines:?}");
    for (line, start) in
        lines.iter().zip(["3 alpha (PIDs 3, 6, 9), ", "3 beta (PIDs 4, 7, 10), ", "2 gamma (PIDs 5, 8), "])
    {
        let rest = line.strip_prefix(start).unwrap_or_else(|| panic!("{line}"));
        let (age, rest) =
            rest.strip_prefix("the oldest started ").unwrap().split_once(" s ago, children of ").unwrap();
        assert!(age.parse::<f64>().unwrap() < deadline().as_secs_f64());
        let (parent, verdict) = rest.split_once(": ").expect("a verdict");
        assert_eq!(parent, "2 (sexton-test-hel)");
        let expected = format!(
            "held by {parent}, which does not wait for its children: no init can reap it; fix or restart that process"
        );
        assert_eq!(verdict, expected);
    }
    assert_eq!(lines[3..], ["8 zombies (11 processes)"], "{lines:?}");
}

fn zombies_are_listed_one_by_one_if_asked_for() {
    let output = Init::pid1(&[]).run(with_zombies(Zombies::OfThreePrograms, 8, &["-zv"]));
    let lines = text(&output);
    assert_eq!(lines.len(), 9, "{lines:?}");
    for (line, start) in
        lines.iter().zip(["3 (alpha), started ", "6 (alpha), started ", "9 (alpha), started ", "4 (beta), "])
    {
        assert!(line.starts_with(start) && line.contains(" ago, child of 2 ("), "{line}");
    }
}

/// Each was a line once, and each was looked at for a while.
fn ten_thousand_zombies_are_three_lines() {
    let script = r#"
        "$@" -z > /dev/null; before=$(date +%s%N); "$@" -z; code=$?
        echo $((($(date +%s%N) - before) / 1000000)) ms; exit $code"#;
    let mut command = shell(script);
    command.extend(["sh".into(), sexton().into()]);
    let output = Init::pid1(&[]).run(play_with(Role::WithZombies(Zombies::OfThreePrograms, 10_000), command));
    let lines = text(&output);
    assert_eq!((output.status.code(), lines.len()), (Some(1), 5), "{lines:?}");
    assert!(lines[0].starts_with("3334 alpha (PIDs 3, 6, 9, ...), "), "{lines:?}");
    assert!(lines[3].starts_with("10000 zombies ("), "{lines:?}");
    // A second on a machine at rest; the limit is for one under load.
    let took: u64 = lines[4].strip_suffix(" ms").unwrap().parse().unwrap();
    assert!(took < 10_000, "{took} ms");
}

fn zombies_in_json_whatever_they_are_called() {
    let output = Init::pid1(&[]).run(with_zombies(Zombies::OddlyNamed, 6, &["-z", "--format=json"]));
    assert_eq!((output.status.code(), stderr_text(&output)), (Some(1), ""));
    assert_eq!(
        parsed(&output.stdout, "sorted(group['program'] for group in d['groups'])"),
        r#"["\u001b[31mred\ufffd", "\"\\\t{", ") R 1", "a b", "a) Z 1 (b\n\ufffd\u009d", "\ufffd\u00f6\ufffd"]"#
    );
    assert_eq!(parsed(&output.stdout, "[d['zombies'], d['processes'], d['hidden']]"), "[6, 9, false]");
    let group = "[(g['count'], g['parent']['pid'], g['holder']['pid'], g['verdict'], g['fault']) for g in d['groups']][0]";
    assert_eq!(parsed(&output.stdout, group), "[1, 2, 2, \"parent-does-not-wait\", true]");

    for (options, pids) in
        [(&["-z", "--format=json"][..], "[3, 4, 5]"), (&["-zv", "--format=json"], "[3, 4, 5, 6, 7]")]
    {
        let output = Init::pid1(&[]).run(with_zombies(Zombies::Own, 5, options));
        assert_eq!(parsed(&output.stdout, "d['groups'][0]['pids']"), pids);
    }
    let output = Init::pid1(&[]).run([sexton(), "-z".into(), "--format=json".into()]);
    assert_eq!((output.status.code(), parsed(&output.stdout, "d['groups']")), (Some(0), "[]".into()));
}

/// As long as it takes the names of 64 programs; it is written in several pieces.
fn the_report_in_json() {
    let script = r#"
        n=0; while [ $n -lt 70 ]; do n=$((n+1)); (sh -c "echo program-name-$n > /proc/self/comm; kill -KILL \$\$" &); done
        until [ "$(cat /proc/[0-9]*/stat 2>/dev/null | wc -l)" -le 4 ]; do sleep 0.01; done"#;
    let output = Init::pid1(&["-R", "--format", "json"]).run(shell(script));
    assert_eq!(output.status.code(), Some(0));
    let json = &output.stderr;
    assert_eq!(parsed(json, "[d['total']['count'], d['total']['killed']]"), "[70, 70]");
    assert_eq!(parsed(json, "sum(entry['count'] for entry in d['orphans'])"), "70");
    assert_eq!(parsed(json, "'oom_kills' in d['cgroup']"), "true");
}

/// PID 1 is an ordinary program.
fn a_pid_1_that_does_not_reap_is_named() {
    let output = Init::pid1(&[]).without_init().run(with_zombies(Zombies::Own, 1, &["--zombies"]));
    let lines = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(lines[0].contains(": PID 1 (") && lines[0].ends_with(") does not reap: run it under an init (docker run --init, or ENTRYPOINT [\"/sexton\", \"--\"])"), "{lines:?}");
    assert!(lines[1].starts_with("1 zombie ("), "{lines:?}");
}

/// Seen from the host: an init in the container is the remedy. Sexton looks from the outer
/// namespace, the zombie's parent is PID 1 of the inner one.
fn a_pid_1_of_a_container_that_does_not_reap_is_named() {
    let (stdin, input) = pipe().unwrap();
    let script = r#"sexton=$1; shift; unshare -pf "$@" & until "$sexton" -z > lines; test $? = 1; do :; done; cat lines"#;
    let directory = tempfile::tempdir().unwrap();
    let mut command = shell(script);
    command.extend(["sh".into(), sexton().into()]);
    command.extend(play_with(Role::WithZombies(Zombies::Own, 1), ["sleep", "1000"]));
    let init = Init::pid1(&[]).given(Condition::WorkingDirectory(directory.path().display().to_string()));
    let mut running = init.stdin(stdin).start(command);
    let line = running.stdout.line();
    assert!(line.contains(": held by ") && line.contains(" (sexton-test-hel), PID 1 of a container, which does not reap: run it under an init (docker run --init, or ENTRYPOINT"), "{line}");
    assert!(running.stdout.line().starts_with("1 zombie ("));
    drop(input);
    running.status();
}

fn a_stopped_parent_of_zombies_is_named() {
    let output = Init::pid1(&[]).run(with_zombies(Zombies::OfStopped, 2, &["-z"]));
    let lines = text(&output);
    assert!(lines[0].ends_with(", which is stopped: continue it (SIGCONT) or kill it"), "{lines:?}");
    assert!(lines[1].starts_with("2 zombies"), "{lines:?}");
}

fn no_zombies_is_reported_as_such() {
    let output = Init::pid1(&[]).run([sexton(), "-z".into()]);
    assert_eq!(text(&output), ["no zombies (2 processes)"]);
    assert_eq!(output.status.code(), Some(0));
}

fn zombies_up_to_a_limit_exit_with_0() {
    for (options, code) in [(&["--zombies=3"][..], 0), (&["-z=2"], 1), (&["-z=100"], 0)] {
        let output = Init::pid1(&[]).run(with_zombies(Zombies::Own, 3, options));
        assert_eq!(output.status.code(), Some(code));
        assert!(text(&output)[1].starts_with("3 zombies ("));
    }
}

fn a_zombies_odd_name_is_escaped() {
    let output = Init::pid1(&[]).run(with_zombies(Zombies::OddlyNamed, 1, &["-z"]));
    let lines = text(&output);
    assert!(lines[0].contains(r" (a) Z 1 (b\x0a\x9b\xc2\x9d), started "), "{lines:?}");
    assert!(lines[0].contains(DOES_NOT_WAIT), "{lines:?}");
}

fn a_main_thread_that_has_exited_is_no_zombie() {
    let output = Init::pid1(&[]).run(with_zombies(Zombies::MainThreads, 1, &["-z"]));
    let lines = text(&output);
    assert!(
        lines[0].ends_with(": not a zombie: the main thread has exited, other threads are still running"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("no zombies"), "{lines:?}");
    assert_eq!(output.status.code(), Some(0));
}

fn a_zombies_tracer_is_named() {
    let output = Init::pid1(&[]).run(with_zombies(Zombies::Traced, 1, &["-z"]));
    let lines = text(&output);
    assert!(lines[0].contains(" ago, child of 1 (sexton): held by its tracer "), "{lines:?}");
    assert!(lines[0].ends_with(") until the tracer detaches"), "{lines:?}");
    assert_eq!(output.status.code(), Some(1));
}

fn zombies_that_are_reaped_a_moment_later_do_not_count() {
    let output = Init::pid1(&[]).run(with_zombies(Zombies::ReapedLate, 2, &["-z"]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

fn a_zombies_parent_outside_of_the_namespace_is_recognised() {
    let (stdin, mut input) = pipe().unwrap();
    let script = r#"echo ready; read x; "$1" -z"#;
    let mut command = shell(script);
    command.extend(["sh".into(), sexton().into()]);
    let mut running = Init::pid1(&[]).stdin(stdin).start(command);
    running.prints("ready");
    let role = play(Role::ZombieInNamespaceOf(running.pid));
    let mut outside = Command::new(&role[0]);
    let mut outside = outside.args(&role[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(outside.stdout.as_mut().unwrap(), &mut ready).unwrap();
    input.write_all(b"\n").unwrap();
    let line = running.stdout.line();
    let rest = running.stdout.rest();
    assert!(line.ends_with(" ago, child of 0: held by a process outside of this PID namespace (docker exec, kubectl exec): no init can reap it"), "{line}");
    assert!(rest.starts_with(b"1 zombie ("));
    // PID 1 cannot end before all of its namespace has been reaped.
    drop(outside.stdin.take());
    outside.wait().unwrap();
    assert_eq!(running.status().code(), Some(1));
}

fn hidden_processes_are_reported() {
    let script =
        r#"mount -o remount,hidepid=2 /proc && exec setpriv --reuid=12345 --regid=12345 --clear-groups "$@""#;
    let mut command = shell(script);
    command.extend(["sh".into(), sexton().into(), "-z".into()]);
    // Where every user may search the way to it.
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let copy = place.path().join("sexton");
    copy_sexton(&copy);
    command[4] = copy.into();
    let output = Init::pid1(&[]).run(command);
    let lines = text(&output);
    assert_eq!(lines[0], "some processes are hidden (/proc is mounted with hidepid): try again as root");
    assert_eq!(lines[1], "no zombies (1 process)");
    assert_eq!(output.status.code(), Some(0));
}

fn zombies_cannot_be_listed_without_proc() {
    let output = Init::pid1(&[]).given(Condition::NoProc).run([sexton(), "-z".into()]);
    assert_eq!(output.status.code(), Some(125));
    let expected = "sexton: /proc is not mounted: cannot list processes\n";
    assert_eq!((stderr_text(&output), output.stdout.as_slice()), (expected, &b""[..]));
}

/// It is what `unshare -pf` without `--mount-proc` leaves one with.
fn proc_of_another_namespace_is_not_believed() {
    let output = Init::pid1(&[]).run(words(&["unshare", "-pf", sexton().to_str().unwrap(), "-z"]));
    assert_eq!(output.status.code(), Some(125));
    let expected =
        "sexton: /proc belongs to another PID namespace: mount this one's (mount -t proc proc /proc)\n";
    assert_eq!(stderr_text(&output), expected);
}

/// While it looks, processes vanish by the hundred.
fn processes_that_come_and_go_are_no_zombies() {
    let script = r#"
        (while :; do (:); (: & :); done) & busy=$!
        for n in 1 2 3 4 5 6 7 8 9 10; do "$1" -z || exit 3; done; kill $busy"#;
    let mut command = shell(script);
    command.extend(["sh".into(), sexton().into()]);
    let output = Init::pid1(&[]).run(command);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output).iter().filter(|line| line.starts_with("no zombies (")).count(), 10);
}

/// The numbers of a line: seconds lived, seconds of CPU, MiB.
fn numbers(line: &str) -> (f64, f64, f64) {
    let number = |before: &str, after: &str| -> f64 {
        let (_, rest) = line.split_once(before).unwrap_or_else(|| panic!("{line}"));
        rest.split_once(after).unwrap_or_else(|| panic!("{line}")).0.parse().unwrap()
    };
    (number(", lived ", " s"), number(", cpu ", " s"), number(", max rss ", " MiB"))
}

fn burner() -> Vec<OsString> {
    play(Role::Burn { cpu: Duration::from_millis(200), memory: 50 })
}

fn an_orphan_is_logged_with_what_it_used() {
    for init in [Init::pid1(&["-w"]), Init::plain(&["--warn-on-reap"])] {
        let (stdin, input) = pipe().unwrap();
        let mut running = init.stdin(stdin).start(shell_around(burner()));
        let line = running.stderr.line();
        assert!(line.starts_with(REAPED) && line.contains(" (burner): killed by SIGKILL, lived "), "{line}");
        let (lived, cpu, memory) = numbers(&line);
        assert!((0.2..0.4).contains(&cpu), "{line}");
        assert!((50.0..70.0).contains(&memory), "{line}");
        assert!(lived >= 0.1 && lived < deadline().as_secs_f64(), "{line}");
        drop(input);
        assert_eq!(running.status().code(), Some(0));
        assert_eq!(running.stderr.rest(), b"", "nothing of the command");
    }
}

/// `burn`'s child is an orphan once `burn` itself, the shell's child, has ended.
fn shell_around(command: Vec<OsString>) -> Vec<OsString> {
    let mut words = shell(r#""$@" < /dev/null; read x; exit 0"#);
    words.push("sh".into());
    words.extend(command);
    words
}

/// The name is one that a terminal would obey: controls of ISO 6429 as bytes and as UTF-8.
fn an_orphans_odd_name_is_escaped() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join(OsStr::from_bytes(b"\x9b31m\xc2\x9d0;x"));
    std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
    let wait = r#"until [ "$(cat /proc/[0-9]*/stat 2>/dev/null | wc -l)" -le 4 ]; do :; done"#;
    let mut command = shell(&format!(r#"("$1" 0 &); {wait}"#));
    command.extend(["sh".into(), program.into()]);
    let output = Init::pid1(&["-wR"]).run(command);
    let logged = stderr_text(&output);
    assert!(logged.contains(r" (\x9b31m\xc2\x9d0;x): exited with 0, "), "{logged}");
    assert!(logged.contains(r"sexton: \x9b31m\xc2\x9d0;x "), "{logged}");
    assert!(!logged.chars().any(|character| character.is_control() && character != '\n'), "{logged:?}");
}

fn the_command_is_no_orphan() {
    let output = Init::pid1(&["-w"]).run(shell("exit 3"));
    assert_eq!((output.status.code(), stderr_text(&output)), (Some(3), ""));
}

/// Three of `true` and two of another name, of which one is killed.
fn the_report_adds_orphans_up() {
    let script = r#"
        for n in 1 2 3; do (sleep 0 &); done
        (sh -c 'kill -KILL $$' &); (sh -c 'exit 1' &)
        until [ "$(cat /proc/[0-9]*/stat 2>/dev/null | wc -l)" -le 4 ]; do sleep 0.01; done; exit 4"#;
    let output = Init::pid1(&["-R"]).run(shell(script));
    assert_eq!(output.status.code(), Some(4));
    let logged = stderr_text(&output);
    let (logged, _) = logged.split_once("sexton: cgroup: ").unwrap_or((logged, ""));
    let rows: Vec<Vec<&str>> = logged
        .lines()
        .map(|line| line.strip_prefix("sexton: ").unwrap().split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["orphans", "reaped", "count", "killed", "cpu", "max", "rss"], "{logged}");
    assert_eq!(rows[1][..3], ["sleep", "3", "0"], "{logged}");
    assert_eq!(rows[2][..3], ["sh", "2", "1"], "{logged}");
    assert_eq!(rows.last().unwrap()[..3], ["total", "5", "1"], "{logged}");
    // The columns are aligned.
    let widths: Vec<usize> = logged.lines().map(str::len).collect();
    assert!(widths.iter().all(|width| *width == widths[0]), "{logged}");
}

fn the_report_comes_when_the_command_was_killed() {
    let (stdin, _input) = pipe().unwrap();
    let mut running = leave_orphans(Init::pid1(&["-R"]).stdin(stdin), 10);
    wait_until("all are reaped", || running.children().len() == 1);
    running.end();
    let logged = String::from_utf8(running.stderr.rest()).unwrap();
    assert!(logged.contains("\nsexton: total                   10 "), "{logged}");
}

fn a_report_without_orphans_says_so() {
    let output = Init::pid1(&["-R"]).run(["true"]);
    assert_eq!(stderr_text(&output).lines().next(), Some("sexton: no orphans"));
}

fn pause_reports_orphans_as_well() {
    let command = play_with(Role::Adopt { silent: true }, [sexton(), "-PwR".into()]);
    let mut running = Init::pid1(&[]).without_init().start(command);
    wait_until("they are reaped", || running.is_idle() && running.children().len() == 1);
    running.signal(SIGTERM);
    assert_eq!(running.status().code(), Some(0));
    let logged = String::from_utf8(running.stderr.rest()).unwrap();
    assert_eq!(logged.matches(REAPED).count(), 2, "{logged}");
    assert!(logged.contains("): exited with 3, ") && logged.contains("): exited with 5, "), "{logged}");
    assert!(logged.contains("\nsexton: total                    2 "), "{logged}");
}

fn orphans_have_no_names_without_proc() {
    let (stdin, input) = pipe().unwrap();
    let mut running = leave_orphans(Init::pid1(&["-wR"]).given(Condition::NoProc).stdin(stdin), 3);
    for _ in 0..3 {
        let line = running.stderr.line();
        assert!(line.starts_with(REAPED) && line.contains(": exited with 0, cpu 0.0 s, max rss "), "{line}");
    }
    drop(input);
    running.status();
    let logged = String::from_utf8(running.stderr.rest()).unwrap();
    assert!(logged.contains("sexton: (unknown) "), "{logged}");
}

/// A pipe that is not read, and one whose other end is closed.
fn a_log_that_is_not_read_stops_no_reaping() {
    for closed in [false, true] {
        let (reader, writer) = pipe().unwrap();
        let reader = (!closed).then_some(reader);
        let (stdin, input) = pipe().unwrap();
        let mut running = leave_orphans(Init::pid1(&["-vvvwR"]).stdin(stdin).stderr(writer), 1500);
        wait_until("all are reaped", || running.children().len() == 1);
        drop(input);
        assert_eq!(running.status().code(), Some(0));
        drop(reader);
    }
}

/// Neither the look before the reaping, nor anything of /proc.
fn reaping_makes_no_further_calls_without_options() {
    let calls = |options: &[&str]| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("calls");
        let mut command = words(&["strace", "-o", file.to_str().unwrap()]);
        command.push(sexton().into());
        command.extend(words(options));
        command.extend(shell("for n in 1 2 3 4 5; do (sleep 0.01 &); done; sleep 0.1"));
        assert_eq!(Init::pid1(&[]).code(command), 0);
        std::fs::read_to_string(file).unwrap()
    };
    let plain = calls(&[]);
    assert!(!plain.contains("waitid(") && !plain.contains("/stat\""), "{plain}");
    assert!(plain.contains("wait4(") && plain.contains(", NULL)"), "{plain}");
    // The control.
    let logged = calls(&["-w"]);
    assert!(logged.contains("waitid(") && logged.contains("/stat\""), "{logged}");
}
