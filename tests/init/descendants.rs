//! `-A` where sexton is not PID 1: it finds its descendants in /proc.

use std::ffi::OsString;
use std::io::pipe;
use std::time::{Duration, Instant};

use crate::common::harness::{Need, is_root};
use crate::support::*;

crate::tests![
    new a_signal_reaches_all_with_few_descriptors,
    new a_deep_family_takes_no_longer_than_a_broad_one,
    needing(FEW_PIDS) a_process_is_asked_once_while_pids_start_again,
];

/// The command of a PID 1, which it is not itself.
fn subreaper(options: &[&str], command: Vec<OsString>) -> Vec<OsString> {
    let mut inner: Vec<OsString> = vec![sexton().into()];
    inner.extend(words(options));
    inner.extend(command);
    inner
}

/// With the standard descriptors there is room for none, one, two and so on.
fn a_signal_reaches_all_with_few_descriptors() {
    for limit in 3..=8 {
        let init = Init::plain(&["-A"]).given(Condition::DescriptorLimit(limit));
        let mut running = init.start(play(Role::Bare));
        let ready = running.stdout.line();
        let escaped: i32 = ready.strip_prefix("ready ").unwrap().parse().unwrap();
        running.signal(SIGTERM);
        assert_eq!(running.status().code(), Some(143), "{limit}");
        if limit < 5 {
            assert_eq!(
                in_glibcs_words(&running.stderr.line()),
                "sexton: cannot find descendants: Too many open files: forwarding SIGTERM to the process group only"
            );
            kill(escaped, SIGKILL).unwrap();
        }
        wait_until("all have got it", || process(escaped).is_none_or(|process| process.state == 'Z'));
        assert_eq!(running.stderr.rest(), b"", "{limit}");
    }
}

/// Each is the parent of the next, or all are children of one.
fn a_deep_family_takes_no_longer_than_a_broad_one() {
    let took = |chain| {
        let (stdin, _input) = pipe().unwrap();
        let command = subreaper(&["-A"], play(Role::Descendants { count: 800, chain }));
        let mut running = Init::pid1(&[]).stdin(stdin).start(command);
        running.prints("ready");
        let inner = running.children()[0].pid;
        let start = Instant::now();
        kill(inner, SIGUSR1).unwrap();
        running.prints("all");
        start.elapsed()
    };
    let (broad, deep) = (took(false), took(true));
    assert!(deep < 4 * broad + Duration::from_millis(500), "{deep:?}, {broad:?}");
}

/// A PID namespace can have few PIDs of its own (Linux 6.14).
const FEW_PIDS: Need = Need::Other("pid-max-of-a-namespace", || {
    let script = "echo 400 > /proc/sys/kernel/pid_max";
    is_root() && Init::pid1(&[]).run(shell(script)).status.success() && read_pid_max() > 400
});

fn read_pid_max() -> u32 {
    std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap().trim().parse().unwrap()
}

/// From 400 on, PIDs start again at 300. Below that are those that the first processes got.
fn a_process_is_asked_once_while_pids_start_again() {
    let script = r#"echo 400 > /proc/sys/kernel/pid_max
        "$@"
        (trap "" TERM; for n in $(seq 300); do (: &); done) &
        exit 5"#;
    let straggler = Role::LeaveBehind { straggler: vec![Straggler::Deaf], code: 5, work: MILLISECOND };
    let mut command = shell(script);
    command.push("sh".into());
    command.extend(play(straggler));
    let output = Init::pid1(&["-t", "1500ms"]).run(command);
    assert_eq!(output.status.code(), Some(5));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.matches("straggler SIGTERM").count(), 1, "{printed}");
}
