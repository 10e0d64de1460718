//! sexton on real container engines, which belong to this run of the tests: dockerds, stores
//! of Podman's, a containerd, and a Kubernetes node. `engine` has the table of them; the
//! other modules have the tests. Images are made on the spot, and nothing is fetched.
//!
//! `SEXTON_BIN` names another sexton to put under the same tests. They need root, and the
//! engines: the machine's own, and those that `scripts/engines` sets up.
//! `SEXTON_TEST_REQUIRE=docker,sid-podman` makes it a failure not to have these two.

#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;
mod containerd;
mod docker;
mod engine;
mod examples;
mod image;
mod kubelet;
mod podman;
mod probes;
mod support;
mod top;
mod worker;

use std::process::ExitCode;

use libtest2_mimic::Harness;

use common::harness;
pub(crate) use common::harness::{Test, tests};

/// The tests run in a child of this process, so that one process is left to tidy up.
fn main() -> ExitCode {
    if !support::is_in_place() {
        return support::in_a_place(engine::end_all);
    }
    let modules = vec![
        ("containerd", containerd::tests()),
        ("docker", docker::tests()),
        ("examples", examples::tests()),
        ("examples", examples::plain_tests()),
        ("image", image::tests()),
        ("kubelet", kubelet::tests()),
        ("podman", podman::tests()),
        ("probes", probes::tests()),
        ("top", top::tests()),
        ("worker", worker::tests()),
    ];
    Harness::with_env().discover(harness::trials(modules)).main()
}
