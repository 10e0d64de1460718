//! Where an engine lives: on the machine, or in the root of a newer Debian that
//! `scripts/engines` has set up.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use crate::common::harness::{is_installed, is_root, provided};
use crate::common::process::has_ended;
use crate::support::wait_until;

/// Which hierarchy of cgroups an engine sees.
#[derive(Clone, Copy)]
pub(crate) enum Cgroups {
    /// What the machine has.
    Machine,
    V2,
}

/// Enters a root in a mount namespace: by pivot_root(2), as a process that an engine moves
/// into its namespaces comes to the root of the mount namespace, not to that of a chroot.
/// What is written there lasts no longer than the namespace. The files of the tests are
/// where they are on the machine.
const ENTER: &str = r#"
set -e
root=$1 cgroups=$2 temporary=$3
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
# Where Podman has the locks of a store.
mount -t tmpfs tmpfs "$root/dev/shm"
if [ "$cgroups" = v2 ]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
fi
for directory in run tmp var; do
    mount -t tmpfs tmpfs "$root/$directory"
done
mkdir -p "$root/var/lib" "$root/var/tmp" "$root$temporary"
mount --rbind "$temporary" "$root$temporary"
mount -o remount,bind,ro "$root"
cd "$root"
pivot_root . .
umount -l .
cd /
touch /run/entered
read -r _ || :
"#;

/// The machine, or a root that one process, its keeper, keeps entered for an engine.
pub(crate) struct Home {
    root: Option<(&'static str, Cgroups)>,
    keeper: OnceLock<String>,
}

impl Home {
    pub(crate) const fn machine() -> Self {
        Self { root: None, keeper: OnceLock::new() }
    }

    /// Debian's newest.
    pub(crate) const fn sid(cgroups: Cgroups) -> Self {
        Self { root: Some(("sid", cgroups)), keeper: OnceLock::new() }
    }

    pub(crate) fn is_machine(&self) -> bool {
        self.root.is_none()
    }

    pub(crate) fn has(&self, programs: &[&str]) -> bool {
        let is_there = |program: &&str| match self.root {
            None => is_installed(program),
            Some((root, _)) => {
                ["usr/bin", "usr/sbin"].iter().any(|bin| provided(root).join(bin).join(program).exists())
            }
        };
        is_root() && programs.iter().all(is_there)
    }

    /// A program that runs on the machine wherever it comes from.
    pub(crate) fn client(&self, program: &str) -> Command {
        match self.root {
            None => Command::new(program),
            Some((root, _)) => Command::new(provided(root).join("usr/bin").join(program)),
        }
    }

    /// Whether the controllers of cgroups are in the hierarchy that it has. A machine with
    /// cgroup v1 has them there, and none in v2.
    pub(crate) fn has_controllers(&self) -> bool {
        match self.root {
            Some((_, Cgroups::V2)) => is_machine_on_v2(),
            _ => true,
        }
    }

    /// Whether programs can have been started there.
    pub(crate) fn is_entered(&self, directory: &Path) -> bool {
        self.is_machine() || directory.join(KEEPER).exists()
    }

    /// A program that runs there. The keeper's PID is in a file, for the process that tidies
    /// up.
    pub(crate) fn command(&self, program: &str, directory: &Path) -> Command {
        let Some((root, cgroups)) = self.root else { return Command::new(program) };
        let file = directory.join(KEEPER);
        let keeper = self.keeper.get_or_init(|| {
            fs::read_to_string(&file).unwrap_or_else(|_| {
                let keeper = enter(&provided(root), cgroups);
                fs::write(&file, &keeper).expect("a file");
                keeper
            })
        });
        let mut command = Command::new("nsenter");
        command.args(["--target", keeper, "--mount", "--net", "--wd", program]);
        command
    }
}

/// Whether the machine has its controllers in cgroup v2.
pub(crate) fn is_machine_on_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

const KEEPER: &str = "keeper";

/// Starts a keeper; returns its PID. It ends with the process that tidies up: see
/// [`crate::support::in_a_place`]. A Ctrl-C ends the tests before, and not the keeper.
fn enter(root: &Path, cgroups: Cgroups) -> String {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--propagation", "private", "sh", "-c", ENTER, "enter"]);
    command.arg(root).arg(if matches!(cgroups, Cgroups::V2) { "v2" } else { "machine" });
    command.arg(std::env::temp_dir()).stdout(Stdio::null()).process_group(0);
    let mut keeper = command.spawn().expect("unshare");
    let pid = keeper.id();
    thread::spawn(move || keeper.wait());
    wait_until("the root is entered", || {
        assert!(!has_ended(pid.cast_signed()), "the root cannot be entered");
        Path::new(&format!("/proc/{pid}/root/run/entered")).exists()
    });
    pid.to_string()
}
