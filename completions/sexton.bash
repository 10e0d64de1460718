# shellcheck shell=bash disable=SC2034,SC2154,SC2207
# Made from the table of options by `SEXTON_UPDATE=1 cargo test --lib completions`.

_sexton()
{
    local cur prev words cword split
    _init_completion -s -n : || return

    local signals='HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'

    # Readline ends a word at `=` and at `:`.
    local index takes_value=false
    for ((index = 1; index < COMP_CWORD; index++)); do
        if [[ ${COMP_WORDS[index]} == [=:]* || ${COMP_WORDS[index - 1]} == [=:] ]] || $takes_value; then
            takes_value=false
            continue
        fi
        case ${COMP_WORDS[index]} in
        --)
            _command_offset $((index + 1))
            return
            ;;
        --rewrite | --parent-death-signal | --remap-exit | --delay | --kill-after | --stop-signal | --timeout | --grace | --format | --install | -!(-*)[rpedkxt])
            takes_value=true
            ;;
        -?*) ;;
        *)
            _command_offset $index
            return
            ;;
        esac
    done

    case $prev in
        --rewrite | -!(-*)[r])
            if [[ $cur == *:* ]]; then
                COMPREPLY=($(compgen -P "${cur%%:*}:" -W "0 $signals" -- "${cur#*:}"))
                __ltrim_colon_completions "$cur"
            else
                COMPREPLY=($(compgen -S : -W "$signals" -- "$cur"))
                compopt -o nospace
            fi
            return
            ;;
        --parent-death-signal | --stop-signal | -!(-*)[p])
            COMPREPLY=($(compgen -W "$signals" -- "$cur"))
            return
            ;;
        --remap-exit | --delay | --kill-after | --timeout | --grace | -!(-*)[edkxt])
            return
            ;;
        --format)
            COMPREPLY=($(compgen -W 'text json' -- "$cur"))
            return
            ;;
        --install)
            _filedir
            return
            ;;
        --termination-log)
            if $split; then
                _filedir
                return
            fi
            ;;
    esac
    $split && return

    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W '-c --single-child -g --group -A --all -r --rewrite= -p --parent-death-signal= -s --subreaper -m --mirror-signal -e --remap-exit= -d --delay= -k --kill-after= --stop-signal= -x --timeout= -t --grace= -a --wait-all -P --pause -w --warn-on-reap -R --report -z --zombies --top --format= -T --termination-log --install= -v --verbose -h --help -V --version -l --license' -- "$cur"))
        [[ ${COMPREPLY-} == *= ]] && compopt -o nospace
    else
        _command_offset "$COMP_CWORD"
    fi
} &&
    complete -F _sexton sexton
