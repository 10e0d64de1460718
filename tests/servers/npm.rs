//! `npm start`: npm, a shell and node, all in one process group. What becomes of node depends
//! on the shell: dash stays, and TERM ends it at once; bash becomes node.

use std::time::Instant;

use crate::advice::{Advice, Scope};
use crate::common::harness::{Need, is_installed};
use crate::site::{Site, Visitor};
use crate::support::*;

/// The status is dash's: with bash it is node's.
pub(crate) const ADVICE: Advice =
    Advice { program: "`npm start`, with `-t`", scope: Scope::Command, signal: SIGTERM, status: 143 };

const NPM: Need =
    Need::Other("npm", || ["npm", "node", "dash", "bash"].iter().all(|program| is_installed(program)));

crate::tests![
    needing(NPM) term_reaches_node_once,
    needing(NPM) term_loses_node_without_grace,
    needing(NPM) term_to_the_group_reaches_node_twice,
];

const PACKAGE: &str = r#"{ "name": "server", "version": "1.0.0", "scripts": { "start": "node server.js" } }"#;

/// It finishes what it is at, and counts how often it is asked.
const SERVER: &str = r#"
const fs = require("fs");
process.on("SIGTERM", () => fs.appendFileSync("terms", "x"));
const gate = require("net").connect("SITE/gate");
gate.on("data", () => { fs.writeFileSync("saved", ""); process.exit(0); });
"#;

fn at_work(options: &[&str], shell: &str, f: impl FnOnce(&Site, Running, Visitor)) {
    let site = Site::new();
    site.file("package.json", PACKAGE);
    site.file("server.js", SERVER);
    let shell = format!("npm_config_script_shell={shell}");
    let cache = format!("npm_config_cache={}", site.path("cache"));
    let command = ["env", &shell, &cache, "npm_config_update_notifier=false", "npm", "start"];
    let running = site.start(options, &command);
    let visitor = site.visitor();
    f(&site, running, visitor);
}

fn term_reaches_node_once() {
    for option in ADVICE.scope.options() {
        for (shell, status) in [("dash", ADVICE.status), ("bash", 0)] {
            at_work(&[option, "-t", "60"], shell, |site, mut running, visitor| {
                running.signal(ADVICE.signal);
                wait_until("node was asked", || site.terms() > 0);
                visitor.release();
                assert_eq!(running.status().code(), Some(status), "{shell}");
                assert!(site.is_saved());
                assert_eq!(site.terms(), 1);
            });
        }
    }
}

fn term_loses_node_without_grace() {
    for option in ["-g", "-c"] {
        at_work(&[option], "dash", |site, mut running, visitor| {
            running.signal(SIGTERM);
            visitor.leaves();
            assert_eq!(running.status().code(), Some(143));
            assert!(!site.is_saved());
        });
    }
}

/// Two that come at once merge into one (signal(7)), so it may take several.
fn term_to_the_group_reaches_node_twice() {
    at_work(&["-g"], "bash", |site, mut running, visitor| {
        let mut sent = 0;
        while site.terms() <= sent {
            let before = site.terms();
            running.signal(SIGTERM);
            sent += 1;
            assert!(sent < 100, "one each");
            wait_until("node was asked", || site.terms() > before);
            // The next one would merge with what npm still has to forward.
            let start = Instant::now();
            wait_until("npm forwards", || site.terms() > sent || start.elapsed() > 500 * MILLISECOND);
        }
        visitor.release();
        assert_eq!(running.status().code(), Some(0));
    });
}
