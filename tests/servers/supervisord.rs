//! supervisord: its programs lead process groups of their own.

use crate::advice::{Advice, Scope};
use crate::common::harness::Need;
use crate::site::{Site, python, python_has, read_to};
use crate::support::*;

pub(crate) const ADVICE: Advice =
    Advice { program: "supervisord", scope: Scope::Either, signal: SIGTERM, status: 0 };

const SUPERVISORD: Need = Need::Other("supervisord", || python_has(&["supervisor"]));

crate::tests![
    needing(SUPERVISORD) term_lets_programs_finish,
];

const CONFIGURATION: &str = "
[supervisord]
nodaemon = true
user = root
logfile = SITE/log
pidfile = SITE/pid
childlogdir = SITE

[program:saver]
command = PYTHON SITE/saver.py
stopwaitsecs = 60
";

fn term_lets_programs_finish() {
    let site = Site::with_saver();
    site.file("conf", &CONFIGURATION.replace("PYTHON", python()));
    for option in ADVICE.scope.options() {
        let command = [python(), "-W", "ignore", "-m", "supervisor.supervisord", "-c", &site.path("conf")];
        let mut running = site.start(&[option], &command);
        let visitor = site.visitor();
        running.signal(ADVICE.signal);
        read_to(&mut running.stdout, "received SIGTERM indicating exit request");
        wait_until("the program was asked", || site.terms() > 0);
        visitor.release();
        assert_eq!(running.status().code(), Some(ADVICE.status), "{option}");
        assert!(site.is_saved());
        assert_eq!(site.terms(), 1);
        site.clear();
    }
}
