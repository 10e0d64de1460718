//! The command line, as a user sees it.

use std::fs::File;
use std::process::Output;

use crate::support::*;

crate::tests![
    new help_version_and_license_go_to_standard_output,
    new the_readme_describes_every_option,
    new the_man_page_describes_every_option_and_no_other,
    new the_version_has_the_shape_that_docker_reads,
    new help_that_cannot_be_printed_is_125,
    new every_misuse_is_one_line_and_125,
    new options_come_from_the_variable_too,
    new a_mistake_in_the_variable_names_it,
    new options_of_the_command_are_its_own,
    new verbose_messages_go_to_standard_error,
];

fn page(option: &str) -> Output {
    Init::plain(&[option]).run(words(&[]))
}

fn help_version_and_license_go_to_standard_output() {
    for (options, text) in [
        (["-h", "--help"], "Usage: sexton [OPTION]... [--] COMMAND [ARG]..."),
        (["-V", "--version"], "sexton "),
        (["-l", "--license"], "MIT License"),
        (["-L", "--license"], "MIT License"),
    ] {
        let outputs = options.map(page);
        for output in &outputs {
            assert!(output.stdout.starts_with(text.as_bytes()), "{options:?}");
            assert_eq!((output.status.code(), stderr_text(output)), (Some(0), ""));
        }
        assert_eq!(outputs[0].stdout, outputs[1].stdout);
    }
}

/// The names of each option, as the help has them.
fn options() -> Vec<Vec<String>> {
    let help = String::from_utf8(page("--help").stdout).unwrap();
    let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let names = |line: &str| -> Vec<String> {
        let words = line.split_whitespace().take_while(|word| word.starts_with('-'));
        words.map(|word| word.split('[').next().unwrap().trim_end_matches(',').to_owned()).collect()
    };
    let options: Vec<_> = lines.map(names).collect();
    assert!(options.len() > 20);
    options
}

fn the_readme_describes_every_option() {
    let readme = include_str!("../../README.md");
    for names in options() {
        let mut rows = readme.lines().filter(|row| row.starts_with('|'));
        assert!(rows.any(|row| names.iter().all(|name| row.contains(&format!("`{name}")))), "{names:?}");
    }
}

fn the_man_page_describes_every_option_and_no_other() {
    let page = include_str!("../../doc/sexton.8");
    let items = page.lines().filter_map(|line| line.strip_prefix(".It Fl "));
    let described: Vec<Vec<String>> = items
        .map(|item| {
            let names = item.split(" , Fl ").map(|name| name.split_whitespace().next().unwrap());
            names.map(|name| format!("-{name}")).collect()
        })
        .collect();
    assert_eq!(described, options());
}

/// `docker info` splits the line at ` - ` and takes what follows as the commit.
fn the_version_has_the_shape_that_docker_reads() {
    let output = page("--version");
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.strip_suffix('\n').expect("a line");
    let rest = line.strip_prefix("sexton ").expect("the name");
    let (version, commit) = rest.split_once(" - ").unwrap_or((rest, "git.0000000"));
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let digits = commit.strip_prefix("git.").expect("git.");
    assert!(digits.len() == 7 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
}

fn help_that_cannot_be_printed_is_125() {
    for option in ["-h", "-V", "-l"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = Init::plain(&[option]).stdout(full).run(words(&[]));
        assert_eq!(output.status.code(), Some(125));
        assert_eq!(stderr_text(&output), "sexton: standard output: No space left on device\n");
        let output = Init::plain(&[option]).given(Condition::Closed(1)).run(words(&[]));
        assert_eq!(output.status.code(), Some(125));
    }
}

fn every_misuse_is_one_line_and_125() {
    for (options, line) in [
        (&[][..], "usage: sexton [OPTION]... [--] COMMAND [ARG]... (see sexton --help)"),
        (&["--"], "no command given (see sexton --help)"),
        (&["-v"], "no command given (see sexton --help)"),
        (&["-q", "true"], "-q: unknown option (see sexton --help)"),
        (&["-vvX", "true"], "-X: unknown option (see sexton --help)"),
        (
            &["--kill-afer=3", "true"],
            "--kill-afer: unknown option, did you mean --kill-after? (see sexton --help)",
        ),
        (&["--verbos", "true"], "--verbos: unknown option, did you mean --verbose? (see sexton --help)"),
        (&["--nonsense=1", "true"], "--nonsense: unknown option (see sexton --help)"),
        (&["-p", "FOO", "true"], "-p: invalid signal 'FOO' (examples: TERM, sigterm, 15, RTMIN+3)"),
        (&["-r", "TERM", "true"], "-r: invalid rewrite 'TERM' (expected FROM:TO)"),
        (&["--remap-exit=256", "true"], "--remap-exit: invalid exit code '256' (0 to 255)"),
        (&["-e"], "-e needs a value: CODE"),
        (&["-p", "a\nb", "true"], "-p: invalid signal 'a\\x0ab' (examples: TERM, sigterm, 15, RTMIN+3)"),
    ] {
        let output = Init::pid1(options).run(words(&[]));
        assert_eq!(stderr_text(&output), format!("sexton: {line}\n"));
        assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0));
    }
}

fn options_come_from_the_variable_too() {
    let code = |options: &[&str], variable: &str, script: &str| {
        Init::pid1(options).env("SEXTON_OPTIONS", variable).code(shell(script))
    };
    assert_eq!(code(&[], " -e 7\t-e\n8 ", "exit 8"), 0);
    assert_eq!(code(&["-e", "9"], "-e 7", "exit 9"), 0);
    assert_eq!(code(&[], "", "exit 8"), 8);
    let output = Init::pid1(&[]).env("SEXTON_OPTIONS", "--help").run(shell("exit 8"));
    assert!(output.stdout.starts_with(b"Usage: "));
}

fn a_mistake_in_the_variable_names_it() {
    for (variable, line) in [
        ("-q", "-q: unknown option (see sexton --help)"),
        ("-v sh", "'sh' is not an option"),
        ("-v --", "'--' is not an option"),
        ("-p", "-p needs a value: SIG"),
    ] {
        let output = Init::pid1(&[]).env("SEXTON_OPTIONS", variable).run(words(&["true"]));
        assert_eq!(stderr_text(&output), format!("sexton: SEXTON_OPTIONS: {line}\n"));
        assert_eq!(output.status.code(), Some(125));
    }
}

fn options_of_the_command_are_its_own() {
    for options in [&[][..], &["--"]] {
        let output = Init::pid1(options).run(words(&["echo", "-v", "--help", "--"]));
        assert_eq!(output.stdout, b"-v --help --\n");
    }
}

fn verbose_messages_go_to_standard_error() {
    let output = Init::pid1(&["-vvv"]).run(words(&["true"]));
    assert!(output.stdout.is_empty());
    let text = stderr_text(&output);
    for part in ["started command, PID ", ": exited with 0\n", ") exited with 0\n"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(text.lines().all(|line| line.starts_with("sexton: ")), "{text}");
    assert_eq!(stderr_text(&Init::pid1(&[]).run(words(&["true"]))), "");
}
