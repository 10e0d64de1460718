//! Real servers under sexton as PID 1: whether a stop lets them finish the work that is
//! under way. The README's table "Group or command?" is what is seen here.
//!
//! A server that the machine lacks is shown as ignored with the reason; where
//! `SEXTON_TEST_REQUIRE` names it (`nginx`), its test fails instead. Nothing is installed.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod advice;
mod apache;
mod celery;
mod ffmpeg;
mod gunicorn;
mod nginx;
mod npm;
mod php_fpm;
mod postgres;
mod redis;
mod request;
mod shell;
mod site;
mod supervisord;
mod uwsgi;

#[path = "../common/mod.rs"]
mod common;
// How sexton is started is the other suite's; each uses a part of it.
#[path = "../init/lines.rs"]
mod lines;
#[allow(dead_code, unused_imports)]
#[path = "../init/peer.rs"]
mod peer;
#[allow(dead_code, unused_imports)]
#[path = "../init/support.rs"]
mod support;

use std::process::ExitCode;

use libtest2_mimic::Harness;

use common::harness;
pub(crate) use common::harness::{Test, tests};

fn main() -> ExitCode {
    let modules = vec![
        ("advice", advice::tests()),
        ("apache", apache::tests()),
        ("celery", celery::tests()),
        ("ffmpeg", ffmpeg::tests()),
        ("gunicorn", gunicorn::tests()),
        ("nginx", nginx::tests()),
        ("npm", npm::tests()),
        ("php_fpm", php_fpm::tests()),
        ("postgres", postgres::tests()),
        ("redis", redis::tests()),
        ("shell", shell::tests()),
        ("supervisord", supervisord::tests()),
        ("uwsgi", uwsgi::tests()),
    ];
    Harness::with_env().discover(harness::trials(modules)).main()
}
