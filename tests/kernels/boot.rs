//! A machine in QEMU: what is in it, its boot, and what it has printed.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::common::harness::{helper, is_installed, note, provided, sexton};
use crate::common::wait::deadline;
use crate::{cgroup, machine, namespace};

const QEMU: &str = "qemu-system-x86_64";
const BUSYBOX: &str = "/bin/busybox";

/// Whether this kernel, which is one for x86-64, can be booted here and run what cargo built.
pub(crate) fn is_possible(kernel: &str) -> bool {
    cfg!(target_arch = "x86_64")
        && is_installed(QEMU)
        && is_installed("cpio")
        && is_static(Path::new(BUSYBOX))
        && provided("kernels").join(kernel).join("vmlinuz").exists()
}

/// Something that sexton does: a script that runs in the machine, and what is to be seen of it.
pub(crate) struct Behaviour {
    pub(crate) name: &'static str,
    pub(crate) script: &'static str,
    pub(crate) check: fn(&Seen),
}

/// What the script of a behaviour has printed.
pub(crate) struct Seen {
    pub(crate) output: String,
    /// The kernel's version.
    pub(crate) version: (u32, u32),
    /// What a person may want to know.
    pub(crate) figures: RefCell<Vec<(&'static str, String)>>,
}

impl Seen {
    pub(crate) fn of(behaviour: &Behaviour, boot: &Boot) -> Self {
        let output = boot.output_of(behaviour.name).to_owned();
        Self { output, version: boot.version, figures: RefCell::default() }
    }

    pub(crate) fn lines(&self) -> Vec<&str> {
        self.output.lines().collect()
    }

    /// What follows this word at the beginning of a line.
    #[track_caller]
    pub(crate) fn after(&self, start: &str) -> &str {
        let line = self.output.lines().find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("no line that begins with {start:?}"))
    }

    /// The number that does.
    #[track_caller]
    pub(crate) fn number<T: FromStr>(&self, start: &str) -> T {
        let text = self.after(start);
        text.parse().unwrap_or_else(|_| panic!("{start:?} is followed by {text:?}"))
    }

    /// Shows a line to a person, in `SEXTON_TEST_RESULTS`.
    pub(crate) fn show(&self, name: &'static str, text: impl Into<String>) {
        self.figures.borrow_mut().push((name, text.into()));
    }
}

/// What a machine has printed on its serial line.
pub(crate) struct Boot {
    serial: String,
    version: (u32, u32),
}

impl Boot {
    /// The shell is the machine's init; sexton is PID 1 in PID namespaces.
    pub(crate) fn of_shell(row: &str, kernel: &str) -> Self {
        let boot = Self::start(kernel, "rdinit=/init -- namespace cgroup");
        if let Some(version) = section(&boot.serial, "version") {
            note(&format!("{row} version: {}", version.trim_end()));
        }
        boot
    }

    /// sexton is the machine's init.
    pub(crate) fn of_sexton(kernel: &str) -> Self {
        Self::start(kernel, "rdinit=/bin/sexton -- -v /init machine")
    }

    fn start(kernel: &str, init: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        make_archive(directory.path());
        let mut serial = run(kernel, init, directory.path());
        if serial.is_none() {
            eprintln!("kernel {kernel} boots again");
            serial = run(kernel, init, directory.path());
        }
        let serial = serial.unwrap_or_default();
        let version = section(&serial, "version").and_then(|version| {
            let mut numbers = version.split('.').map(|number| number.parse().ok());
            Some((numbers.next()??, numbers.next()??))
        });
        Self { version: version.unwrap_or_default(), serial }
    }

    fn output_of(&self, name: &str) -> &str {
        section(&self.serial, name).unwrap_or_else(|| panic!("it has not run; see what was printed above"))
    }
}

/// What a script has printed, if it has come to its end.
fn section<'a>(serial: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = serial.split_once(&format!("\n=== {name}\n"))?;
    Some(rest.split_once(&format!("--- {name}\n"))?.0)
}

/// How long a script may take. It is less than the time within which the machine must print
/// something: a sexton that hangs is not to be taken for a machine that does.
fn limit_of_script() -> Duration {
    deadline() / 2
}

/// Boots the machine. What it has printed; None where it stood still.
///
/// QEMU does that now and then on a machine under load.
fn run(kernel: &str, init: &str, directory: &Path) -> Option<String> {
    let output = directory.join("serial");
    let stdout = File::create(&output).expect("a file");
    let mut qemu = Command::new(QEMU);
    // The second serial line is a terminal at which nobody sits. The kernel's check of its
    // timer can fail on a machine under load.
    qemu.args(["-accel", "tcg", "-cpu", "max", "-m", "256", "-display", "none", "-no-user-config"])
        .args(["-nodefaults", "-no-reboot", "-serial", "stdio", "-serial", "null"])
        .arg("-kernel")
        .arg(provided("kernels").join(kernel).join("vmlinuz"))
        .arg("-initrd")
        .arg(directory.join("archive"))
        .args(["-append", &format!("console=ttyS0 quiet panic=-1 no_timer_check {init}")])
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().expect("a file"))
        .stderr(stdout);
    // It shall not outlive this thread, which waits for it.
    // SAFETY: prctl is async-signal-safe.
    unsafe { qemu.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
    let mut qemu = qemu.spawn().expect(QEMU);
    let size = || fs::metadata(&output).expect("the output").len();
    let (mut printed, mut since) = (0, Instant::now());
    let has_ended = loop {
        if qemu.try_wait().expect("wait").is_some() {
            break true;
        }
        if size() > printed {
            (printed, since) = (size(), Instant::now());
        }
        if since.elapsed() > deadline() {
            let _ = qemu.kill();
            let _ = qemu.wait();
            break false;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let serial = fs::read(&output).expect("the output");
    let serial = String::from_utf8_lossy(&serial).replace('\r', "");
    if section(&serial, "end").is_none() {
        let how = if has_ended { "ended too early" } else { "stood still" };
        eprintln!("kernel {kernel}, {init}, {how}:\n{serial}");
    }
    has_ended.then_some(serial)
}

/// The file system that the kernel unpacks. All of it belongs to root.
fn make_archive(directory: &Path) {
    let root = directory.join("root");
    for name in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
        fs::create_dir_all(root.join(name)).expect("a directory");
    }
    for (name, file) in [("busybox", Path::new(BUSYBOX)), ("sexton", &sexton()), ("helper", &helper())] {
        assert!(is_static(file), "{} is not static: it cannot run without its libraries", file.display());
        fs::copy(file, root.join("bin").join(name)).expect("a copy");
    }
    symlink("busybox", root.join("bin/sh")).expect("a link");
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").expect("passwd");
    let limit = limit_of_script().as_secs().to_string();
    let init = INIT.replace("LIMIT", &limit);
    for (name, script) in [("init", &*init), ("bin/in-cgroup", IN_CGROUP), ("bin/hungry", HUNGRY)] {
        fs::write(root.join(name), script).expect("a script");
        fs::set_permissions(root.join(name), PermissionsExt::from_mode(0o755)).expect("a mode");
    }
    fs::write(root.join("prelude"), PRELUDE.replace("LIMIT", &limit)).expect("prelude");
    for (kind, behaviours) in [
        ("namespace", namespace::BEHAVIOURS),
        ("cgroup", cgroup::BEHAVIOURS),
        ("machine", machine::BEHAVIOURS),
    ] {
        let directory = root.join("behaviours").join(kind);
        fs::create_dir_all(&directory).expect("a directory");
        for behaviour in behaviours {
            fs::write(directory.join(behaviour.name), behaviour.script).expect("a script");
        }
    }

    let mut cpio = Command::new("cpio");
    cpio.args(["--create", "--format=newc", "--quiet", "--owner=0:0"]).current_dir(&root);
    let archive = File::create(directory.join("archive")).expect("a file");
    let mut cpio = cpio.stdin(Stdio::piped()).stdout(archive).spawn().expect("cpio");
    let mut names = String::new();
    list(&root, Path::new("."), &mut names);
    cpio.stdin.take().expect("a pipe").write_all(names.as_bytes()).expect("names");
    assert!(cpio.wait().expect("cpio").success());
}

/// Adds the names of all files below a directory, each directory before what is in it.
fn list(root: &Path, directory: &Path, names: &mut String) {
    writeln!(names, "{}", directory.display()).expect("a line");
    for entry in fs::read_dir(root.join(directory)).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = directory.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            list(root, &name, names);
        } else {
            writeln!(names, "{}", name.display()).expect("a line");
        }
    }
}

/// Whether a program needs no other file: it names no loader.
fn is_static(program: &Path) -> bool {
    const INTERPRETER: usize = 3;
    let Ok(file) = File::open(program) else { return false };
    let mut start = Vec::new();
    file.take(4096).read_to_end(&mut start).expect("a program");
    // ELF for 64 bits, little-endian (`elf(5)`): e_phoff, e_phentsize, e_phnum; p_type is first.
    let number = |at: usize, size: usize| {
        let bytes = start.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    let headers = || Some((number(32, 8)?, number(54, 2)?, number(56, 2)?));
    let Some((offset, size, count)) = headers().filter(|_| start.starts_with(b"\x7fELF\x02\x01")) else {
        return false;
    };
    (0..count).all(|index| number(offset + index * size, 4).is_some_and(|kind| kind != INTERPRETER))
}

/// Runs the scripts in the directories that it is given. Their output goes to a file first, so
/// that a process which one has left does not write into the output of the next.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo '+cpu +memory +pids' > /sys/fs/cgroup/cgroup.subtree_control
# What the kernel logs would get between the lines.
dmesg -n 1
printf '\n=== version\n%s\n--- version\n' "$(uname -r)"
# Where sexton is the machine's init, it forwards this one.
trap : USR2
for directory; do
    for script in /behaviours/$directory/*; do
        name=${script##*/}
        printf '\n=== %s\n' $name
        mkdir /tmp/$name
        cd /tmp/$name
        timeout -s KILL LIMIT sh -c '. /prelude; . "$0"' $script > output 2>&1 < /dev/null || echo "exited with $?" >> output
        cat output
        printf -- '--- %s\n' $name
    done
done
printf '\n=== end\n--- end\n'
poweroff -f
"#;

/// Runs a program in a cgroup, which is the root of a cgroup namespace.
const IN_CGROUP: &str = r#"#!/bin/sh
echo 0 > $1/cgroup.procs
shift
exec helper launch 9 cgroup-namespace -- "$@" 9> /dev/null
"#;

/// Takes all the memory that there is. It is killed before anything else is.
const HUNGRY: &str = "#!/bin/sh
echo 1000 > /proc/self/oom_score_adj
exec tail /dev/zero
";

/// What the scripts share.
const PRELUDE: &str = r#"
# sexton as PID 1 of a PID namespace.
pid1() {
    unshare -pf --mount-proc sexton "$@"
}

# Starts a program as PID 1 of a PID namespace. $init is its PID out here; its output goes to
# `out`, its input comes from $stdin.
start_init() {
    unshare -pf --mount-proc "$@" < ${stdin:-/dev/null} > out 2>&1 &
    unshare=$!
    wait_until 'init=$(children $unshare)'
}

# Starts sexton so.
start() {
    start_init sexton "$@"
}

# Waits for the end of what was started. The shell would report a KILL.
finish() {
    wait $unshare 2> /dev/null
    echo "code $?"
}

# Makes a cgroup with these limits, each FILE=VALUE. $group is its directory.
cgroup() {
    group=/sys/fs/cgroup/$1
    shift
    mkdir $group
    for limit; do
        echo "${limit#*=}" > $group/${limit%%=*}
    done
}

# sexton as PID 1, in that cgroup.
pid1_in_cgroup() {
    unshare -pf --mount-proc in-cgroup $group sexton "$@"
}

# `sexton --top`, from outside of the cgroup of what was started. It is repeated until it
# reports this, as on a machine at rest it does the first time.
top() {
    expected=$1
    wait_until 'nsenter -t $init -p -m sexton --top=1 > report; grep -q "$expected" report'
    cat report
}

stop() {
    kill -TERM $init
    finish
}

# The PIDs of a process's children, the oldest first.
children() {
    for status in $(grep -sl "^PPid:.$1\$" /proc/[0-9]*/status); do
        status=${status%/status}
        echo ${status#/proc/}
    done | sort -n | grep .
}

wait_until() {
    deadline=$(($(now) + 50 * LIMIT))
    until eval "$1" 2> /dev/null; do
        if [ $(now) -gt $deadline ]; then
            echo "not in time: $1"
            cat out report 2> /dev/null
            exit 1
        fi
        sleep 0.02
    done
}

# Hundredths of a second.
now() {
    read -r uptime _ < /proc/uptime
    echo $((${uptime%.*} * 100 + 1${uptime#*.} - 100))
}

# Runs a command, and says how long it took. $code is how it exited.
timed() {
    before=$(now)
    "$@"
    code=$?
    echo "took $(($(now) - before))"
}
"#;
