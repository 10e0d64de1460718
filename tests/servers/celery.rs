//! celery: a worker with a pool of processes in its process group, or of threads.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::advice::{Advice, Scope};
use crate::common::harness::{Need, is_installed};
use crate::site::{Site, python, python_has, read_to};
use crate::support::*;

pub(crate) const PREFORK: Advice =
    Advice { program: "celery, prefork", scope: Scope::Command, signal: SIGTERM, status: 0 };
pub(crate) const THREADS: Advice =
    Advice { program: "celery, threads", scope: Scope::Command, signal: SIGTERM, status: 0 };

const CELERY: Need =
    Need::Other("celery", || is_installed("redis-server") && python_has(&["celery", "redis"]));

crate::tests![
    needing(CELERY) prefork_finishes_its_task,
    needing(CELERY) prefork_loses_its_task_with_the_group,
    needing(CELERY) threads_finish_their_task,
    needing(CELERY) threads_lose_the_program_that_a_task_runs_with_the_group,
];

/// The worker gives itself the task when it is ready.
const APP: &str = r#"
import subprocess, sys
from celery import Celery
from celery.signals import worker_ready
from visit import visit

app = Celery("app", broker="redis+socket://SITE/redis", backend="redis+socket://SITE/redis")

@app.task
def work():
    done = visit()
    print("task finished" if done else "task lost", file=sys.stderr)

@app.task
def render():
    subprocess.run([sys.executable, "-S", "-c", "import visit; visit.visit()"], check=True)
    print("task finished", file=sys.stderr)

@worker_ready.connect
def ready(**_):
    app.send_task("app.TASK")
"#;

struct Redis(Child);

impl Redis {
    fn start(site: &Site) -> Self {
        let socket = site.path("redis");
        let words = ["--port", "0", "--save", "", "--unixsocket", &socket, "--dir", &site.path("")];
        let child = Command::new("redis-server").args(words).stdout(Stdio::null()).spawn();
        let redis = Self(child.expect("redis-server"));
        wait_until("redis listens", || fs::exists(&socket).is_ok_and(|exists| exists));
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A worker with this pool, at this task.
fn at_work(option: &str, pool: &str, task: &str, f: impl FnOnce(Running, crate::site::Visitor)) {
    let site = Site::new();
    site.file("app.py", &APP.replace("TASK", task));
    let _redis = Redis::start(&site);
    let words = [python(), "-m", "celery", "-A", "app", "worker", "--pool", pool, "-c", "2"];
    let running = site.start(&[option], &[&words[..], &["--without-gossip", "--without-mingle"]].concat());
    let visitor = site.visitor();
    f(running, visitor);
}

/// Stops it as advised.
fn finishes(advice: &Advice, pool: &str, task: &str) {
    for option in advice.scope.options() {
        at_work(option, pool, task, |mut running, visitor| {
            running.signal(advice.signal);
            read_to(&mut running.stdout, "Warm shutdown");
            visitor.release();
            read_to(&mut running.stderr, "task finished");
            assert_eq!(running.status().code(), Some(advice.status));
        });
    }
}

fn prefork_finishes_its_task() {
    finishes(&PREFORK, "prefork", "work");
}

fn prefork_loses_its_task_with_the_group() {
    at_work("-g", "prefork", "work", |running, visitor| {
        running.signal(SIGTERM);
        visitor.leaves();
        let output = running.finish();
        // Whether the worker notices (WorkerLostError) before it ends is a matter of time.
        assert!(!stderr_text(&output).contains("task finished"), "{output:?}");
        assert_eq!(output.status.code(), Some(0));
    });
}

fn threads_finish_their_task() {
    finishes(&THREADS, "threads", "render");
}

fn threads_lose_the_program_that_a_task_runs_with_the_group() {
    at_work("-g", "threads", "render", |running, visitor| {
        running.signal(SIGTERM);
        visitor.leaves();
        let output = running.finish();
        assert!(stderr_text(&output).contains("died with <Signals.SIGTERM"), "{output:?}");
    });
}
