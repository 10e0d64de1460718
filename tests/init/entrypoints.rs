//! The processes beside the command, where a container has a terminal; and where it has none.

use crate::at_terminal::*;
use crate::support::*;

crate::tests![
    new helpers_of_the_entrypoint_are_not_hung_up,
    new helpers_of_the_command_get_their_time,
    new helpers_of_the_command_are_waited_for,
    new an_interrupt_reaches_who_is_waited_for,
    new ctrl_z_does_not_freeze_a_command_whose_helpers_are_waited_for,
    new a_shell_has_job_control_where_others_are_waited_for,
    new closing_the_terminal_hangs_the_command_up_where_others_are_waited_for,
    new a_resize_reaches_the_command_where_others_are_waited_for,
    new a_command_can_lead_a_group_without_a_terminal,
    new a_step_of_a_script_beside_one_that_has_the_terminal_fails_to_read_it,
    with("python3") a_command_in_the_background_of_its_session_gets_the_terminal,
];

/// A command that leaves a helper behind in its own process group.
fn leave_behind(init: Init, screen: &mut Screen) -> Running {
    on(screen, init).start(play(Role::LeaveBehind { straggler: vec![], code: 5, work: MILLISECOND }))
}

fn helpers_of_the_entrypoint_are_not_hung_up() {
    for options in ["", "-t 1h", "-a"] {
        let mut screen = Screen::new();
        let receive: Vec<_> =
            play(Role::Receive).into_iter().map(|word| word.into_string().unwrap()).collect();
        // The command runs when the helper is there, and shows that it does.
        let script = format!("{} & sleep 0.1; exec $SEXTON {options} sh -c '{PLAIN}'", receive.join(" "));
        let running = on(&screen, Init::pid1(&[]).without_init()).start(shell(&script));
        screen.shows("ready");
        let mut shown = screen.shows("up-2");
        let helper = descendant(running.pid, "sexton-test-hel");
        kill(helper, SIGUSR1).unwrap();
        shown += &screen.shows("SIGUSR1");
        assert!(!shown.contains("SIG"), "{shown:?}");
    }
}

fn helpers_of_the_command_get_their_time() {
    let mut screen = Screen::new();
    let mut running = leave_behind(Init::pid1(&["-t", "1h"]), &mut screen);
    assert_eq!(screen.shows("straggler SIGTERM"), "");
    screen.shows("last line");
    assert_eq!(running.status().code(), Some(5));
}

fn helpers_of_the_command_are_waited_for() {
    let mut screen = Screen::new();
    let mut running = leave_behind(Init::pid1(&["-va"]), &mut screen);
    screen.shows("draining");
    running.signal(SIGUSR1);
    let shown = screen.shows("straggler SIGUSR1");
    assert!(!shown.contains("straggler"), "{shown:?}");
    running.signal(SIGTERM);
    screen.shows("last line");
    assert_eq!(running.status().code(), Some(5));
}

fn an_interrupt_reaches_who_is_waited_for() {
    let mut screen = Screen::new();
    let mut running = leave_behind(Init::pid1(&["-va"]), &mut screen);
    screen.shows("draining");
    screen.types(INTR);
    screen.shows("straggler SIGINT");
    screen.types(QUIT);
    screen.shows("last line");
    assert_eq!(running.status().code(), Some(5));
}

fn ctrl_z_does_not_freeze_a_command_whose_helpers_are_waited_for() {
    for options in [&["-t", "1h"][..], &["-a"]] {
        let mut screen = Screen::new();
        let mut running = plain(&mut screen, Init::pid1(options));
        for _ in 0..5 {
            screen.types(SUSP);
            wait_until("the command runs", || running.children_in('S') == 1);
        }
        screen.types(INTR);
        assert_eq!(running.status().code(), Some(130));
    }
}

fn a_shell_has_job_control_where_others_are_waited_for() {
    let mut screen = Screen::new();
    let mut running = on(&screen, Init::pid1(&["-t", "1h"])).start(bash());
    screen.shows("prompt> ");
    has_job_control(&mut screen, "prompt> ");
    screen.types("exit 7\n");
    assert_eq!(running.status().code(), Some(7));
}

fn closing_the_terminal_hangs_the_command_up_where_others_are_waited_for() {
    for init in [Init::pid1(&["-t", "1h"]), Init::pid1(&["-a"]), Init::plain(&["-t", "1h"])] {
        let mut screen = Screen::new();
        let mut running = plain(&mut screen, init);
        drop(screen);
        assert_eq!(running.status().code(), Some(129));
    }
}

fn a_resize_reaches_the_command_where_others_are_waited_for() {
    let mut screen = Screen::new();
    let mut running = on(&screen, Init::pid1(&["-a"])).start(play(Role::Receive));
    screen.shows("ready");
    screen.resize(50, 132);
    screen.shows("SIGWINCH\r\n");
    running.signal(SIGUSR1);
    assert_eq!(screen.shows("SIGUSR1\r\n"), "");
    running.end();
}

fn a_command_can_lead_a_group_without_a_terminal() {
    for init in [Init::pid1(&[]), Init::plain(&[]), Init::pid1(&["-t", "1"])] {
        let output = init.run(play(Role::LeadGroup));
        assert_eq!(output.stdout, b"Ok(())\n", "{}", stderr_text(&output));
    }
}

/// Sexton's parent is in its group, and the group is an orphaned one: nothing would continue
/// it.
fn a_step_of_a_script_beside_one_that_has_the_terminal_fails_to_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut screen = Screen::new();
    let script =
        "$SEXTON sh -c 'touch \"$0\"; exec sleep 1000' \"$0\" & until [ -e \"$0\" ]; do sleep 0.01; done
        LC_ALL=C $SEXTON head -n1 </dev/tty; echo \"over-$((1 + 1))\"";
    let mut command = shell(script);
    command.push(directory.path().join("up").into());
    let _running = on(&screen, Init::pid1(&[]).without_init()).start(command);
    screen.shows("Input/output error");
    screen.shows("over-2");
}

/// With `-t` it is in sexton's session, which has the terminal, and has given the foreground
/// to a child that does not use it.
fn a_command_in_the_background_of_its_session_gets_the_terminal() {
    const SCRIPT: &str = "
import os, signal
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if child == 0:
    while True: signal.pause()
os.setpgid(child, child)
terminal = os.open('/dev/tty', os.O_RDWR)
os.tcsetpgrp(terminal, child)
print('ready', flush=True)
print('got', os.read(terminal, 10), flush=True)
os.kill(child, signal.SIGKILL)";
    let mut screen = Screen::new();
    let mut running = on(&screen, Init::pid1(&["-t", "1h"])).start(words(&["python3", "-c", SCRIPT]));
    screen.shows("ready");
    screen.types("line\n");
    screen.shows("got b'line");
    assert_eq!(running.status().code(), Some(0));
}
