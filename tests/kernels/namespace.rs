//! sexton as PID 1 of a PID namespace, and as an ordinary process: what rests on calls and
//! files that differ from kernel to kernel.

use crate::boot::Behaviour;

pub(crate) const BEHAVIOURS: &[Behaviour] = &[
    Behaviour {
        name: "exit_codes",
        script: r#"
            touch file
            for command in true 'sh -c "exit 42"' /nonexistent ./file 'sh -c "kill -KILL \$\$"' 'sh -c "kill -TERM \$\$"'; do
                eval "pid1 $command" 2> messages
                echo $?
            done"#,
        check: |seen| assert_eq!(seen.lines(), ["0", "42", "127", "126", "137", "143"]),
    },
    Behaviour {
        name: "signals_reach_the_command",
        script: r#"
            start helper receive
            wait_until 'grep -q ready out'
            for signal in 1 2 3 10 12 15 34 50 64; do kill -$signal $init; done
            wait_until '[ $(wc -l < out) = 10 ]'
            kill -KILL $init
            finish
            cat out"#,
        check: |seen| {
            let mut lines = seen.lines();
            assert!(lines.remove(1).starts_with("ready "));
            lines.sort_unstable();
            let signals = [
                "SIGHUP",
                "SIGINT",
                "SIGQUIT",
                "SIGRTMAX",
                "SIGRTMIN",
                "SIGRTMIN+16",
                "SIGTERM",
                "SIGUSR1",
                "SIGUSR2",
            ];
            assert_eq!(lines, [&signals[..], &["code 137"]].concat());
        },
    },
    Behaviour {
        name: "queued_signals_keep_their_order_and_number",
        script: r#"
            start helper receive
            wait_until 'grep -q ready out'
            kill -STOP $init
            wait_until 'grep -q "^State:.T" /proc/$init/status'
            for signal in 64 40 40 35 15 40 10 10; do kill -$signal $init; done
            kill -CONT $init
            wait_until 'grep -q SIGRTMAX out'
            kill -KILL $init
            finish
            cat out"#,
        check: |seen| {
            let lines = seen.lines();
            assert_eq!(
                lines[2..],
                [
                    "SIGUSR1",
                    "SIGTERM",
                    "SIGCONT",
                    "SIGRTMIN+1",
                    "SIGRTMIN+6",
                    "SIGRTMIN+6",
                    "SIGRTMIN+6",
                    "SIGRTMAX",
                ]
            );
        },
    },
    Behaviour {
        name: "orphans_are_reaped",
        script: r#"
            mkfifo in
            exec 9<> in
            stdin=in
            zombies() {
                for child in $(children $init); do grep -s '^State:.Z' /proc/$child/status; done | wc -l
            }
            start helper orphans 50
            wait_until 'grep -q left out && [ $(children $init | wc -l) = 1 ]'
            echo "with sexton: $(zombies)"
            kill -KILL $init
            finish
            start_init helper orphans 50
            wait_until '[ $(zombies) = 50 ]'
            echo "without: $(zombies)"
            kill -KILL $init
            finish"#,
        check: |seen| assert_eq!(seen.lines(), ["with sexton: 0", "code 137", "without: 50", "code 137"]),
    },
    Behaviour {
        name: "what_the_command_leaves_has_time_to_end",
        script: r#"
            pid1 -t 1000 -- helper leave-behind 3 300 session
            echo "code $?"
            timed pid1 -t 0.5 -- helper leave-behind 4 0 session deaf
            echo "code $code"
            pid1 helper leave-behind 5 300 session
            echo "code $?""#,
        check: |seen| {
            let lines = seen.lines();
            assert_eq!(lines[..4], ["straggler SIGTERM", "last line", "code 3", "straggler SIGTERM"]);
            assert!(seen.number::<u32>("took ") >= 50);
            // The control says nothing.
            assert!(lines[lines.len() - 3].starts_with("took ") && lines[lines.len() - 2] == "code 4");
            assert_eq!(lines[lines.len() - 1], "code 5");
        },
    },
    Behaviour {
        name: "a_command_that_does_not_stop_is_killed",
        script: r#"
            start -k 0.5 -- helper receive
            wait_until 'grep -q ready out'
            timed stop
            cat out"#,
        check: |seen| {
            assert_eq!(seen.lines()[0], "code 137");
            assert!(seen.number::<u32>("took ") >= 50);
            assert_eq!(*seen.lines().last().unwrap(), "SIGTERM");
        },
    },
    Behaviour {
        name: "a_stop_is_delayed",
        // Of two signals that are the same, one may be left: INT is the second. In the
        // background the shell ignores it.
        script: r#"
            cat > server <<'END'
            trap 'exit 5' TERM
            echo ready
            while :; do sleep 0.02; done
END
            start -d 1 -- sh server
            wait_until 'grep -q ready out'
            timed stop
            echo 'twice:'
            start -d 1000 -- sh server
            wait_until 'grep -q ready out'
            kill -TERM $init
            kill -INT $init
            stop"#,
        check: |seen| {
            let lines = seen.lines();
            assert_eq!([lines[0], lines[2], lines[3]], ["code 5", "twice:", "code 5"]);
            assert!(seen.number::<u32>("took ") >= 100);
        },
    },
    Behaviour {
        name: "a_time_limit",
        script: r#"
            timed pid1 -x 0.5 -- sleep 1000
            for options in '-x 0.1 -- sleep 1000' '-x 0.1 -k 0.1 -- helper receive' '-x 1000 -- sh -c "exit 4"'; do
                eval "pid1 $options"
                echo "code $?"
            done"#,
        check: |seen| {
            assert!(seen.number::<u32>("took ") >= 50);
            let codes: Vec<_> = seen.lines().into_iter().filter(|line| line.starts_with("code ")).collect();
            assert_eq!(codes, ["code 124", "code 137", "code 4"]);
        },
    },
    Behaviour {
        name: "a_signal_to_all_reaches_a_child_that_has_left",
        // The last signal comes after all that were sent before it.
        script: r#"
            for scope in -A -g; do
                start $scope -- helper with-escaped-child session
                wait_until '[ $(grep -c ready out) = 2 ]'
                kill -TERM $init
                wait_until 'grep -q ^SIGTERM out'
                for child in $(children $init); do kill -64 $child; done
                wait_until '[ $(grep -c SIGRTMAX out) = 2 ]'
                kill -KILL $init
                finish
                echo "$scope: $(grep -c 'child SIGTERM' out)"
            done"#,
        check: |seen| assert_eq!([seen.after("-A: "), seen.after("-g: ")], ["1", "0"]),
    },
    Behaviour {
        name: "as_a_child_subreaper",
        // Signals go to the descendants one by one, by a pidfd. The control's orphan becomes
        // the child of the machine's init.
        script: r#"
            sexton -A -- helper with-escaped-child session > out 2>&1 &
            sexton=$!
            wait_until '[ $(grep -c ready out) = 2 ]'
            echo "children: $(children $sexton | wc -l)"
            kill -TERM $sexton
            wait_until '[ $(grep -c SIGTERM out) = 2 ]'
            orphan=$(children $sexton | tail -n 1)
            kill -KILL $orphan
            wait_until '[ ! -e /proc/$orphan ]'
            echo 'the orphan is reaped'
            kill -KILL $sexton $(children $sexton)
            wait $sexton 2> /dev/null
            helper with-escaped-child session > out 2>&1 &
            helper=$!
            wait_until '[ $(grep -c ready out) = 2 ]'
            echo "children without: $(children $helper | wc -l)"
            kill -KILL $helper $(grep -l '^Name:.helper' /proc/[0-9]*/status | cut -d / -f 3)"#,
        check: |seen| {
            assert_eq!(seen.lines()[..3], ["children: 2", "the orphan is reaped", "children without: 0"]);
        },
    },
    Behaviour {
        name: "the_death_of_the_parent_is_forwarded",
        script: r#"
            sh -c 'sexton -p RTMIN+5 -- helper receive > out 2>&1 & echo $! > pid; wait' &
            wait_until 'grep -q ready out'
            kill -KILL $!
            wait_until 'grep -q SIGRTMIN out'
            tail -n 1 out
            kill -KILL $(cat pid) $(children $(cat pid))"#,
        check: |seen| assert_eq!(seen.lines()[0], "SIGRTMIN+5"),
    },
    Behaviour {
        name: "zombies_and_their_culprit_are_named",
        script: r#"
            pid1 helper with-zombies own 3 sexton -z
            echo "code $?"
            unshare -pf --mount-proc helper with-zombies own 3 sexton -z
            echo "code $?""#,
        check: |seen| {
            let lines = seen.lines();
            assert_eq!(lines.len(), 6);
            assert!(lines[0].starts_with("3 helper (PIDs "));
            assert!(
                lines[0].contains(": held by 2 (helper), which does not wait for its children: no init can")
            );
            assert_eq!(lines[1..3], ["3 zombies (6 processes)", "code 1"]);
            assert!(lines[3].contains(": PID 1 (helper) does not reap: run it under an init"));
            assert_eq!(lines[4..], ["3 zombies (5 processes)", "code 1"]);
        },
    },
    Behaviour {
        name: "orphans_are_reported_with_what_they_used",
        script: r#"
            pid1 -a -wR -- helper burn 300 20"#,
        check: |seen| {
            let line = seen.after("sexton: reaped ");
            let (_, figures) = line.split_once(" (burner): killed by SIGKILL, lived ").expect("the orphan");
            let (_, cpu) = figures.split_once(" s, cpu ").expect("CPU time");
            let (cpu, memory) = cpu.split_once(" s, max rss ").expect("memory");
            assert!(cpu.parse::<f64>().unwrap() >= 0.3);
            assert!(memory.strip_suffix(" MiB").unwrap().parse::<f64>().unwrap() >= 20.0);
            let row: Vec<_> = seen.after("sexton: burner ").split_whitespace().collect();
            assert_eq!(row[..2], ["1", "1"]);
            assert!(seen.after("sexton: cgroup: ").starts_with("cpu "));
        },
    },
    Behaviour {
        name: "it_installs_itself",
        script: r#"
            mkdir bin
            sexton --install bin/init
            echo "code $?"
            cmp /bin/sexton bin/init && stat -c %a bin/init
            unshare -pf --mount-proc bin/init sh -c 'exit 7'
            echo "code $?""#,
        check: |seen| assert_eq!(seen.lines(), ["code 0", "755", "code 7"]),
    },
    Behaviour {
        name: "descriptors_are_the_commands_alone",
        script: r#"
            descriptors() { echo $(ls /proc/$1/fd); }
            start sleep 1000 7< /init 300< /init
            wait_until '[ "$(descriptors $init)" = "0 1 2" ]'
            command=$(children $init)
            echo $(descriptors $command)
            kill -KILL $init
            finish"#,
        check: |seen| assert_eq!(seen.lines(), ["0 1 2 300 7", "code 137"]),
    },
    Behaviour {
        name: "at_a_terminal_the_command_is_in_the_foreground",
        script: r#"
            setsid -c unshare -pf --mount-proc sexton helper standing < /dev/ttyS1
            pid1 helper standing"#,
        check: |seen| assert_eq!(seen.lines(), ["group, foreground", "group, no terminal"]),
    },
    Behaviour {
        name: "a_stopped_command_is_continued_at_its_time_limit",
        script: r#"
            pid1 -x 0.3 -- sh -c 'kill -STOP $$'
            echo "code $?""#,
        check: |seen| assert_eq!(seen.lines(), ["code 124"]),
    },
];
