//! The worker of the story: celery with four threads or processes, each of which runs an
//! external program, which leaves grandchildren behind or uses the CPU.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::common::harness::Need;
use crate::engine::docker::{Container, Docker};
use crate::engine::features::MACHINES_FILES;
use crate::support::{all, parsed, repeat_until, wait_until};
use crate::top::{LOCKED_DOWN, from_beside};

/// What it needs besides Docker.
const CELERY: Need = Need::Other("celery", || {
    let python = || {
        Command::new("python3")
            .args(["-c", "import celery, kombu.transport.redis"])
            .stderr(Stdio::null())
            .status()
    };
    all(&["redis-server", "redis-cli", "python3"]) && python().is_ok_and(|status| status.success())
});

crate::engine::engine_tests![
    Docker [CELERY, MACHINES_FILES]:
        celery_leaves_no_zombies_and_finishes_its_task,
        what_uses_the_cpu_is_not_zombies_but_renderers;
];

/// `render` is the external program: it leaves two grandchildren, which end later.
/// `slow` leaves a file when it begins, and one when it is done.
const APP: &str = r#"
import os, subprocess, time
from celery import Celery

SOCKET = os.path.abspath("redis.sock")

app = Celery("app", broker="redis+socket://" + SOCKET + "", backend="redis+socket://" + SOCKET + "")
app.conf.worker_hijack_root_logger = False
app.conf.broker_connection_retry_on_startup = True

@app.task
def render(n):
    subprocess.run(["sh", "-c", "(sleep 0.1 &); (sh -c 'sleep 0.2 &' &); exit 0"], check=True)
    return n

@app.task
def burn():
    subprocess.run(["./render"], check=True)

@app.task
def slow():
    open("begun", "w").close()
    time.sleep(2)
    open("done", "w").close()
"#;

/// Tasks for the first test.
const SMALL_TASKS: &str = r#"
import app
results = [app.render.delay(n) for n in range(40)]
assert sum(result.get(timeout=50) for result in results) == sum(range(40))
app.slow.delay()
"#;

/// Tasks for the second one.
const LARGE_TASKS: &str = r#"
import app
for n in range(300): app.burn.delay()
"#;

/// A program that uses a CPU for three seconds, as far as there is one.
const RENDERER: &str = r#"
import time
end = time.monotonic() + 3
while time.monotonic() < end: pass
"#;

struct Redis(Child);

impl Redis {
    fn start(directory: &Path) -> Self {
        let socket = directory.join("redis.sock");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--unixsocketperm", "777", "--unixsocket"]).arg(&socket);
        command.arg("--dir").arg(directory).stdout(Stdio::null());
        let redis = Self(command.spawn().expect("redis-server"));
        wait_until("redis listens", || socket.exists());
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A worker in a container. Python and celery are this machine's, which the container sees.
struct Worker {
    container: Container<'static>,
    directory: TempDir,
    python: String,
    _redis: Redis,
}

impl Worker {
    fn start(docker: &'static Docker, pool: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("app.py"), APP).unwrap();
        let redis = Redis::start(directory.path());
        let python =
            Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        let python = String::from_utf8(python.stdout).unwrap().trim().to_owned();
        fs::write(at("render"), format!("#!{python}{RENDERER}")).unwrap();
        fs::set_permissions(at("render"), fs::Permissions::from_mode(0o755)).unwrap();
        let mut arguments: Vec<String> =
            vec!["--init".into(), "-v".into(), format!("{}:/job", directory.path().display())];
        for part in ["bin", "lib", "lib64", "usr", "etc", "opt", "root"] {
            let path = Path::new("/").join(part);
            if path.exists() {
                arguments.extend(["-v".into(), format!("{0}:{0}:ro", path.display())]);
            }
        }
        arguments.extend(
            ["-e", "PYTHONDONTWRITEBYTECODE=1", "-e", "PATH=/usr/bin:/bin", "-w", "/job", "busybox:test"]
                .map(String::from),
        );
        arguments.push(python.clone());
        arguments.extend(
            ["-m", "celery", "-A", "app", "worker", "--pool", pool, "--concurrency", "4"].map(String::from),
        );
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let container = docker.start_container(&arguments);
        Self { container, directory, python, _redis: redis }
    }

    /// Runs a program that gives it tasks.
    fn produce(&self, program: &str) {
        let produced: Output = Command::new(&self.python)
            .args(["-c", program])
            .current_dir(self.directory.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        assert!(produced.status.success(), "{produced:?} {}", self.container.logs());
    }
}

fn celery_leaves_no_zombies_and_finishes_its_task(docker: &'static Docker) {
    let worker = Worker::start(docker, "threads");
    let container = &worker.container;
    let at = |name: &str| worker.directory.path().join(name);
    worker.produce(SMALL_TASKS);
    wait_until("the slow task has begun", || at("begun").exists());
    wait_until("the grandchildren are gone", || {
        let processes = container.exec(&["sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null; true"]);
        !processes.contains("(sleep)") && !processes.contains(") Z ")
    });
    assert!(!at("done").exists(), "it is still running");
    let (_, code) = container.stop("50");
    assert_eq!(code, 0, "{}", container.logs());
    assert!(at("done").exists(), "it was let finish");
}

/// As it is seen from a second container.
fn what_uses_the_cpu_is_not_zombies_but_renderers(docker: &'static Docker) {
    let worker = Worker::start(docker, "prefork");
    let container = &worker.container;
    worker.produce(LARGE_TASKS);
    wait_until("four renderers run", || {
        let processes = container.exec(&["sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null; true"]);
        processes.matches("(render) R").count() == 4
    });
    // One that may read the cgroup's own count, over the same time.
    // Between two tasks, a process of the worker may have none.
    let json = repeat_until(
        || from_beside(docker, &container.name, &[], &["--top=5", "--format=json"]),
        |json| {
            let renderers =
                "[[p['now'], p['parent']['count']] for p in d['programs'] if p['program'] == 'render']";
            let ratio: f64 = parsed(&json.stdout, "d['cpus'] / d['cgroup']['cpus']").parse().unwrap();
            (0.9..1.1).contains(&ratio) && parsed(&json.stdout, renderers) == "[[4, 4]]"
        },
    );
    assert_eq!(json.status.code(), Some(0), "{json:?}");

    let text = repeat_until(
        || from_beside(docker, &container.name, LOCKED_DOWN, &["--top=5"]),
        |output| {
            let text = String::from_utf8_lossy(&output.stdout);
            let verdict = text.lines().find(|line| line.starts_with("render uses ")).unwrap_or_default();
            verdict.contains(" CPUs, 4 at a time, ") && verdict.ends_with("Their number is stable.")
        },
    );
    assert_eq!(text.status.code(), Some(0), "{text:?}");
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("\nNo zombies: an init would change nothing here.\n"), "{text}");
}
