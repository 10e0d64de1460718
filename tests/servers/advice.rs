//! What the README advises for each server: its tests stop it in this way.

use crate::support::Signal;

/// A row of the README's table.
pub(crate) struct Advice {
    pub(crate) program: &'static str,
    pub(crate) scope: Scope,
    pub(crate) signal: Signal,
    /// Of a good stop.
    pub(crate) status: i32,
}

/// Who is to get the signal for the work to be finished.
pub(crate) enum Scope {
    Group,
    Command,
    Either,
}

impl Scope {
    /// The options to try.
    pub(crate) fn options(&self) -> &'static [&'static str] {
        match self {
            Self::Group => &["-g"],
            Self::Command => &["-c"],
            Self::Either => &["-g", "-c"],
        }
    }

    fn shown(&self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Command => "`-c`",
            Self::Either => "either",
        }
    }
}

crate::tests![
    new the_readme_advises_what_the_tests_do,
];

fn the_readme_advises_what_the_tests_do() {
    let advice = [
        crate::apache::ADVICE,
        crate::celery::PREFORK,
        crate::celery::THREADS,
        crate::ffmpeg::ADVICE,
        crate::gunicorn::ADVICE,
        crate::nginx::ADVICE,
        crate::npm::ADVICE,
        crate::php_fpm::ADVICE,
        crate::postgres::SMART,
        crate::postgres::FAST,
        crate::redis::ADVICE,
        crate::shell::PLAIN,
        crate::shell::WITH_TRAP,
        crate::supervisord::ADVICE,
        crate::uwsgi::ADVICE,
    ];
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("Group or command?\n").expect("the section");
    let section = section.split("\n#").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    for Advice { program, scope, signal, status } in &advice {
        let signal = signal.to_string();
        let signal = signal.trim_start_matches("SIG");
        let row = format!("| {program} | {signal} | {} | {status} |", scope.shown());
        assert!(rows.iter().any(|line| line.starts_with(&row)), "no row {row}");
    }
    assert_eq!(rows.len(), advice.len());
}
