//! The worker of the story: celery with four threads, each of which runs an external
//! program that leaves grandchildren behind.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::common::harness::Need;
use crate::support::{DOCKER, Docker, all, wait_until};

/// What it needs besides Docker.
const CELERY: Need = Need::Other("celery", || {
    let python = || {
        Command::new("python3")
            .args(["-c", "import celery, kombu.transport.redis"])
            .stderr(Stdio::null())
            .status()
    };
    matches!(DOCKER, Need::Other(_, docker) if docker())
        && all(&["redis-server", "redis-cli", "python3"])
        && python().is_ok_and(|status| status.success())
});

crate::tests![
    needing(CELERY) celery_leaves_no_zombies_and_finishes_its_task,
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
def slow():
    open("begun", "w").close()
    time.sleep(2)
    open("done", "w").close()
"#;

const PRODUCE: &str = r#"
import app
results = [app.render.delay(n) for n in range(40)]
assert sum(result.get(timeout=50) for result in results) == sum(range(40))
app.slow.delay()
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

/// Python and celery are this machine's, which the container sees.
fn celery_leaves_no_zombies_and_finishes_its_task() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("app.py"), APP).unwrap();
    fs::write(at("produce.py"), PRODUCE).unwrap();
    let _redis = Redis::start(directory.path());
    let python = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let python = String::from_utf8(python.stdout).unwrap().trim().to_owned();
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
    arguments.extend([python.clone()]);
    arguments.extend(
        ["-m", "celery", "-A", "app", "worker", "--pool", "threads", "--concurrency", "4"].map(String::from),
    );
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let container = Docker::get().start_container(&arguments);

    let produced = Command::new(&python)
        .arg("produce.py")
        .current_dir(directory.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONPATH", directory.path())
        .output()
        .unwrap();
    assert!(produced.status.success(), "{produced:?} {}", container.logs());
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
