//! The completions for bash, zsh and fish in `completions/`, composed from the table of
//! options. A test compares the files with it; `SEXTON_UPDATE=1 cargo test --lib
//! completions` writes them.

use std::fmt::Write;

use super::options::{Arity, OPTIONS, Opt};
use crate::sys::signal::Signal;

/// What can be offered for the value of an option.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    /// A path.
    Paths,
    /// A signal.
    Signals,
    /// Two signals with a colon between.
    TwoSignals,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Nothing, as for a number.
    Unknown,
}

/// An option's value by its name in the help, if the option takes one.
fn values(option: &Opt) -> Option<Values> {
    let (Arity::Required(name) | Arity::Optional(name)) = option.arity else { return None };
    Some(match name {
        "PATH" => Values::Paths,
        "SIG" => Values::Signals,
        "FROM:TO" => Values::TwoSignals,
        "FORMAT" => Values::Words(&["text", "json"]),
        _ => Values::Unknown,
    })
}

fn needs_value(option: &Opt) -> bool {
    matches!(option.arity, Arity::Required(_))
}

/// The standard signals, without SIG. The real-time ones would be 31 more.
fn signals() -> String {
    let names = (1..32).filter_map(Signal::new).map(|signal| signal.to_string());
    names.map(|name| name.trim_start_matches("SIG").to_owned()).collect::<Vec<_>>().join(" ")
}

/// The letters of the options that satisfy a condition.
fn letters(wanted: impl Fn(&Opt) -> bool) -> String {
    OPTIONS.iter().filter(|option| wanted(option)).filter_map(|option| option.short.map(char::from)).collect()
}

/// The names of the options that satisfy a condition, with their dashes.
fn names(wanted: impl Fn(&Opt) -> bool) -> Vec<String> {
    OPTIONS.iter().filter(|option| wanted(option)).map(|option| format!("--{}", option.long)).collect()
}

/// A pattern of bash's for the options that satisfy a condition: `--long`, or a bundle whose
/// last letter is the option's.
fn bash_pattern(wanted: impl Fn(&Opt) -> bool) -> String {
    let (letters, names) = (letters(&wanted), names(&wanted));
    let bundle = (!letters.is_empty()).then(|| format!("-!(-*)[{letters}]"));
    names.into_iter().chain(bundle).collect::<Vec<_>>().join(" | ")
}

const HEADER: &str = "Made from the table of options by `SEXTON_UPDATE=1 cargo test --lib completions`.";

fn bash() -> String {
    let with_value = bash_pattern(needs_value);
    let mut cases = String::new();
    let mut kinds: Vec<Values> = Vec::new();
    for kind in OPTIONS.iter().filter_map(values) {
        if kinds.contains(&kind) {
            continue;
        }
        kinds.push(kind);
        let pattern = bash_pattern(|option| values(option) == Some(kind) && needs_value(option));
        let attached = names(|option| values(option) == Some(kind) && !needs_value(option));
        let action = match kind {
            Values::Paths => "_filedir".to_owned(),
            Values::Signals => "COMPREPLY=($(compgen -W \"$signals\" -- \"$cur\"))".to_owned(),
            Values::TwoSignals => "\
if [[ $cur == *:* ]]; then
                COMPREPLY=($(compgen -P \"${cur%%:*}:\" -W \"0 $signals\" -- \"${cur#*:}\"))
                __ltrim_colon_completions \"$cur\"
            else
                COMPREPLY=($(compgen -S : -W \"$signals\" -- \"$cur\"))
                compopt -o nospace
            fi"
            .to_owned(),
            Values::Words(words) => {
                format!("COMPREPLY=($(compgen -W '{}' -- \"$cur\"))", words.join(" "))
            }
            Values::Unknown => String::new(),
        };
        let action = if action.is_empty() { action } else { format!("            {action}\n") };
        if !pattern.is_empty() {
            let _ = write!(cases, "        {pattern})\n{action}            return\n            ;;\n");
        }
        // An optional value is only ever attached, which bash-completion calls split.
        if !attached.is_empty() && !action.is_empty() {
            let pattern = attached.join(" | ");
            let _ = write!(
                cases,
                "        {pattern})\n            if $split; then\n    {action}                return\n            fi\n            ;;\n"
            );
        }
    }
    let mut words = String::new();
    for option in OPTIONS {
        if let Some(short) = option.short {
            let _ = write!(words, "-{} ", char::from(short));
        }
        let equals = if needs_value(option) { "=" } else { "" };
        let _ = write!(words, "--{}{equals} ", option.long);
    }
    let words = words.trim_end();
    let signals = signals();
    format!(
        r#"# shellcheck shell=bash disable=SC2034,SC2154,SC2207
# {HEADER}

_sexton()
{{
    local cur prev words cword split
    _init_completion -s -n : || return

    local signals='{signals}'

    # Readline ends a word at `=` and at `:`.
    local index takes_value=false
    for ((index = 1; index < COMP_CWORD; index++)); do
        if [[ ${{COMP_WORDS[index]}} == [=:]* || ${{COMP_WORDS[index - 1]}} == [=:] ]] || $takes_value; then
            takes_value=false
            continue
        fi
        case ${{COMP_WORDS[index]}} in
        --)
            _command_offset $((index + 1))
            return
            ;;
        {with_value})
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
{cases}    esac
    $split && return

    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W '{words}' -- "$cur"))
        [[ ${{COMPREPLY-}} == *= ]] && compopt -o nospace
    else
        _command_offset "$COMP_CWORD"
    fi
}} &&
    complete -F _sexton sexton
"#
    )
}

/// Words for zsh's `_arguments`, inside single quotes and brackets.
fn zsh_help(help: &str) -> String {
    help.replace('\\', r"\\").replace('[', r"\[").replace(']', r"\]").replace('\'', r"'\''")
}

fn zsh() -> String {
    let mut specs = String::new();
    for option in OPTIONS {
        let (arity, help) = (option.arity, zsh_help(option.help));
        let value = values(option).map_or(String::new(), |kind| {
            let (Arity::Required(name) | Arity::Optional(name)) = arity else { unreachable!() };
            let action = match kind {
                Values::Paths => "_files".to_owned(),
                Values::Signals => "($signals)".to_owned(),
                Values::TwoSignals => "_sexton_two_signals".to_owned(),
                Values::Words(words) => format!("({})", words.join(" ")),
                Values::Unknown => String::new(),
            };
            format!(":{}:{action}", name.to_lowercase().replace(':', r"\:"))
        });
        let quote = if value.contains('$') { '"' } else { '\'' };
        let mut add = |names: &str, sign: &str, value: &str| {
            let _ = writeln!(specs, "        {quote}*{names}{sign}[{help}]{value}{quote} \\");
        };
        let long = format!("--{}", option.long);
        let short = option.short.map(|short| format!("-{}", char::from(short)));
        match arity {
            Arity::Flag => {
                short.iter().for_each(|short| add(short, "", ""));
                add(&long, "", "");
            }
            Arity::Required(_) => {
                short.iter().for_each(|short| add(short, "+", &value));
                add(&long, "=", &value);
            }
            Arity::Optional(_) => {
                short.iter().for_each(|short| add(short, "", ""));
                add(&long, "=-", &format!(":{value}"));
            }
        }
    }
    let signals = signals();
    format!(
        r#"#compdef sexton
# {HEADER}

local -a signals=({signals})

(( $+functions[_sexton_two_signals] )) ||
_sexton_two_signals() {{
    if compset -P '*:'; then
        compadd "$@" 0 $signals
    else
        compadd "$@" -qS : $signals
    fi
}}

_arguments -s -S -A '-*' \
{specs}        '(-)1:command: _command_names -e' \
        '*::arguments: _normal'
"#
    )
}

fn fish() -> String {
    let mut specs = String::new();
    let mut lines = String::new();
    for option in OPTIONS {
        let short = option.short.map(char::from);
        let spec = short.map_or(option.long.to_owned(), |short| format!("{short}/{}", option.long));
        let sign = match option.arity {
            Arity::Flag => "",
            Arity::Required(_) => "=",
            Arity::Optional(_) => "=?",
        };
        let _ = write!(specs, " '{spec}{sign}'");
        let _ = write!(lines, "complete -c sexton -n __sexton_is_at_options");
        if let Some(short) = short {
            let _ = write!(lines, " -s {short}");
        }
        let _ = write!(lines, " -l {} -d '{}'", option.long, option.help.replace('\'', r"\'"));
        let required = needs_value(option);
        let _ = match values(option) {
            None => Ok(()),
            Some(Values::Paths) if required => write!(lines, " -rF"),
            Some(Values::Signals) => write!(lines, " -xa \"$__sexton_signals\""),
            Some(Values::TwoSignals) => write!(lines, " -xa '(__sexton_two_signals)'"),
            Some(Values::Words(words)) => write!(lines, " -xa '{}'", words.join(" ")),
            Some(_) if required => write!(lines, " -x"),
            Some(_) => Ok(()),
        };
        lines.push('\n');
    }
    let signals = signals();
    format!(
        r#"# {HEADER}

set -g __sexton_signals {signals}

# Prints the command and its arguments, each followed by a zero byte, and fails if there are
# none yet.
function __sexton_command
    set -l tokens (commandline -opc) (commandline -ct)
    set -e tokens[1]
    argparse -s{specs} -- $tokens 2>/dev/null
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
{lines}"#
    )
}

#[test]
fn the_completions_are_those_of_the_table() {
    for (file, text) in [("sexton.bash", bash()), ("_sexton", zsh()), ("sexton.fish", fish())] {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/completions/").to_owned() + file;
        if std::env::var_os("SEXTON_UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == text,
            "completions/{file} differs: {}",
            "SEXTON_UPDATE=1 cargo test --lib completions"
        );
    }
}
