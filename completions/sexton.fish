# Made from the table of options by `SEXTON_UPDATE=1 cargo test --lib completions`.

set -g __sexton_signals HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS

# Prints the command and its arguments, each followed by a zero byte, and fails if there are
# none yet.
function __sexton_command
    set -l tokens (commandline -opc) (commandline -ct)
    set -e tokens[1]
    argparse -s 'c/single-child' 'g/group' 'A/all' 'r/rewrite=' 'p/parent-death-signal=' 's/subreaper' 'm/mirror-signal' 'e/remap-exit=' 'd/delay=' 'k/kill-after=' 'stop-signal=' 'x/timeout=' 't/grace=' 'a/wait-all' 'P/pause' 'w/warn-on-reap' 'R/report' 'z/zombies=?' 'top=?' 'format=' 'T/termination-log=?' 'install=' 'v/verbose' 'h/help' 'V/version' 'l/license' -- $tokens 2>/dev/null
    and test -n "$argv"
    and not string match -q -- '-*' $argv[1]
    and string join0 -- $argv
end

function __sexton_is_at_options
    not __sexton_command >/dev/null
end

function __sexton_complete_command
    set -l command (__sexton_command | string split0)
    or set command ''
    complete -C (string escape -- $command | string join ' ')
end

function __sexton_two_signals
    for from in $__sexton_signals
        printf '%s:%s\n' $from 0
        for to in $__sexton_signals
            test $from = $to; or printf '%s:%s\n' $from $to
        end
    end
end

complete -c sexton -x -a '(__sexton_complete_command)'
complete -c sexton -n __sexton_is_at_options -s c -l single-child -d 'forward signals to the command alone'
complete -c sexton -n __sexton_is_at_options -s g -l group -d 'forward to its process group (the default)'
complete -c sexton -n __sexton_is_at_options -s A -l all -d 'forward to everything that runs below sexton'
complete -c sexton -n __sexton_is_at_options -s r -l rewrite -d 'forward TO in place of FROM; 0 drops it' -xa '(__sexton_two_signals)'
complete -c sexton -n __sexton_is_at_options -s p -l parent-death-signal -d 'receive SIG when the parent dies' -xa "$__sexton_signals"
complete -c sexton -n __sexton_is_at_options -s s -l subreaper -d 'adopt orphans when not PID 1 (the default)'
complete -c sexton -n __sexton_is_at_options -s m -l mirror-signal -d 'if a signal killed it, die by the same signal'
complete -c sexton -n __sexton_is_at_options -s e -l remap-exit -d 'exit 0 instead of CODE (0-255)' -x
complete -c sexton -n __sexton_is_at_options -s d -l delay -d 'delay the first stop signal by TIME' -x
complete -c sexton -n __sexton_is_at_options -s k -l kill-after -d 'send KILL TIME after the stop signal' -x
complete -c sexton -n __sexton_is_at_options -l stop-signal -d 'take SIG for one, not TERM and INT' -xa "$__sexton_signals"
complete -c sexton -n __sexton_is_at_options -s x -l timeout -d 'after TIME, as if TERM had arrived; exit 124' -x
complete -c sexton -n __sexton_is_at_options -s t -l grace -d 'when it exits: TERM the rest, KILL after TIME' -x
complete -c sexton -n __sexton_is_at_options -s a -l wait-all -d 'when it exits: wait for everything else'
complete -c sexton -n __sexton_is_at_options -s P -l pause -d 'run no command: reap until TERM or INT'
complete -c sexton -n __sexton_is_at_options -s w -l warn-on-reap -d 'print a line for every orphan reaped'
complete -c sexton -n __sexton_is_at_options -s R -l report -d 'at exit, print a table of the orphans by name'
complete -c sexton -n __sexton_is_at_options -s z -l zombies -d 'list zombies by holder; exit 1 if over MAX'
complete -c sexton -n __sexton_is_at_options -l top -d 'report CPU use, growth, limits, in TIME (2 s)'
complete -c sexton -n __sexton_is_at_options -l format -d 'of -z, --top and -R: text, or json' -xa 'text json'
complete -c sexton -n __sexton_is_at_options -s T -l termination-log -d 'on failure, write one line to PATH'
complete -c sexton -n __sexton_is_at_options -l install -d 'copy this program to PATH and exit' -rF
complete -c sexton -n __sexton_is_at_options -s v -l verbose -d 'log more on standard error, up to -vvv'
complete -c sexton -n __sexton_is_at_options -s h -l help -d 'print this help and exit'
complete -c sexton -n __sexton_is_at_options -s V -l version -d 'print the version and exit'
complete -c sexton -n __sexton_is_at_options -s l -l license -d 'print the license and exit (also -L)'
