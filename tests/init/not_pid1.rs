//! Where sexton is an ordinary process.

use std::io::pipe;

use crate::support::*;

crate::tests![
    new sexton_adopts_the_orphans_of_its_descendants,
    new subreaper_asks_for_what_is_the_default,
    new the_command_leads_a_process_group,
    new without_proc_all_means_the_group,
    new the_death_of_the_parent_is_a_signal,
    new nothing_is_left_of_a_command_that_was_not_executed,
];

fn sexton_adopts_the_orphans_of_its_descendants() {
    adopts_the_orphans(&[]);
}

fn subreaper_asks_for_what_is_the_default() {
    adopts_the_orphans(&["-s"]);
}

fn adopts_the_orphans(options: &[&str]) {
    let (stdin, _input) = pipe().unwrap();
    let mut running = Init::plain(options)
        .asked_to(Ask::AdoptOrphans)
        .stdin(stdin)
        .start(shell("(sleep 1000 & echo $!); read x"));
    let orphan: i32 = running.stdout.line().parse().unwrap();
    wait_until("it is sexton's", || process(orphan).is_some_and(|process| process.parent == running.pid));
    kill(orphan, SIGKILL).unwrap();
    wait_until("it is reaped", || process(orphan).is_none());
    running.signal(SIGTERM);
    running.status();
}

fn the_command_leads_a_process_group() {
    let mut running = Init::plain(&[])
        .start(shell("echo $$; ps -o pgid= -p $$ 2>/dev/null || cut -d' ' -f5 /proc/$$/stat"));
    let (pid, group) = (running.stdout.line(), running.stdout.line());
    assert_eq!(pid, group.trim());
    running.status();
}

/// In a /proc that is not its own PID namespace's, the numbers mean strangers.
fn without_proc_all_means_the_group() {
    let script = "mount -t tmpfs none /proc; \"$@\"; exit $?";
    let mut command = shell(script);
    command.push("sh".into());
    command.push(sexton().into());
    command.push("-A".into());
    command.extend(play(Role::Receive));
    let mut running = Init::pid1(&[]).start(command);
    assert!(running.stdout.line().starts_with("ready"));
    let shell = running.children()[0].pid;
    kill(children_of(shell)[0].pid, SIGUSR1).unwrap();
    running.prints(SIGUSR1);
    assert_eq!(
        running.stderr.line(),
        "sexton: cannot find descendants (is /proc mounted?): forwarding SIGUSR1 to the process group only"
    );
}

fn the_death_of_the_parent_is_a_signal() {
    // The parent, a shell, ends with its input; another shell keeps PID 1 alive.
    let script = r#"exec 3<&0; sh -c '"$@" & read x <&3' sh "$@"; exec sleep 1000"#;
    let mut command = shell(script);
    command.push("sh".into());
    command.push(sexton().into());
    command.extend(["-p".into(), "USR2".into()]);
    command.extend(play(Role::Receive));
    let (stdin, input) = pipe().unwrap();
    let mut running = Init::pid1(&[]).stdin(stdin).start(command);
    assert!(running.stdout.line().starts_with("ready"));
    drop(input);
    running.prints(SIGUSR2);
}

fn nothing_is_left_of_a_command_that_was_not_executed() {
    let mut command = shell("\"$@\"; echo $?; echo /proc/[0-9]*; read x");
    command.push("sh".into());
    command.push(sexton().into());
    command.push("/nonexistent".into());
    let (stdin, input) = pipe().unwrap();
    let mut running = Init::pid1(&[]).without_init().stdin(stdin).start(command);
    running.prints("127");
    running.prints("/proc/1");
    assert_eq!(running.status_field("Name"), "sh");
    drop(input);
}
