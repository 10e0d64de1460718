//! What a test may need of an engine, and not every engine can do. Where a row lacks it, the
//! test is shown as ignored.

use crate::common::harness::Need;

const fn feature(name: &'static str) -> Need {
    Need::Other(name, || true)
}

/// Limits of memory, CPUs and processes.
pub(crate) const LIMITS: Need = feature("cgroup limits");

/// The machine's own files as volumes of a container.
pub(crate) const MACHINES_FILES: Need = feature("files of the machine");

/// A PID 1 that has no default actions. In gVisor it has them.
pub(crate) const NO_DEFAULT_ACTIONS: Need = feature("a PID 1 without default actions");

/// Real-time signals by `docker kill`. Some OCI runtimes know no number above 31.
pub(crate) const REAL_TIME_SIGNALS: Need = feature("real-time signals");

/// That Docker kills what it runs in a container for too long. With gVisor it kills the
/// runtime's client alone.
pub(crate) const KILLS_EXEC: Need = feature("the end of a check at Docker's limit");

/// A container that joins the PID namespace of another. In gVisor each has a kernel of its own.
pub(crate) const JOINS_PIDS: Need = feature("another container's PIDs");

/// A container that joins the PID namespace of another which has all the processes it may.
pub(crate) const JOINS_FULL: Need = feature("the PIDs of a full container");

/// A pod's shared PID namespace, which Podman refuses without cgroups.
pub(crate) const SHARED_PIDS: Need = feature("a pod's shared PIDs");

/// That a pod's pause process is the configured init, as from Podman 5 on.
pub(crate) const PAUSES_WITH_INIT: Need = feature("Podman 5");
