//! sexton as the machine's own init.

use crate::boot::Behaviour;

pub(crate) const BEHAVIOURS: &[Behaviour] = &[Behaviour {
    name: "as_the_machines_init_it_reaps_and_cannot_be_killed",
    // PID 1 has two children: its command, and what keeps this script's time limit. A signal
    // is for the whole group, and so for this shell.
    script: r#"
        echo "it is $(cat /proc/1/comm)"
        kill -KILL 1
        kill -STOP 1
        n=0; while [ $n -lt 20 ]; do n=$((n + 1)); (true &); done
        wait_until '[ $(children 1 | wc -l) = 2 ]'
        echo "it is $(cat /proc/1/comm), in state $(cut -d ' ' -f 3 /proc/1/stat)"
        sexton -z
        trap 'arrived=USR2' USR2
        kill -USR2 1
        wait_until '[ "$arrived" ]' 2> /dev/null
        echo "$arrived""#,
    check: |seen| {
        let lines = seen.lines();
        assert_eq!(lines[..2], ["it is sexton", "it is sexton, in state S"]);
        assert!(lines[2].starts_with("no zombies ("));
        assert_eq!(lines[3..], ["USR2"]);
    },
}];
