//! Compiles in the commit that the program is built from, and has the linker leave out what
//! a release build does not need.

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let suffix = match commit() {
        Some(commit) => format!(" - git.{commit}"),
        None => String::new(),
    };
    println!("cargo::rustc-env=SEXTON_COMMIT={suffix}");
    add_to_linker_script();
}

/// Only for a release build, as a debug build unwinds by these tables; and only where GNU
/// ld links, which `.cargo/config.toml` asks for: the script adds to GNU ld's own. (Flags in
/// `.cargo/config.toml` would go to both kinds of build.)
fn add_to_linker_script() {
    const SCRIPT: &str = ".cargo/release.ld";
    println!("cargo::rerun-if-changed={SCRIPT}");
    let variable = |name| std::env::var(name).unwrap_or_default();
    if variable("PROFILE") == "release" && variable("CARGO_ENCODED_RUSTFLAGS").contains("-fuse-ld=bfd") {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}/{SCRIPT}", env!("CARGO_MANIFEST_DIR"));
    }
}

/// The first seven hexadecimal digits of the commit, where this is a git
/// checkout of sexton itself and not, say, a copy unpacked inside another one.
fn commit() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // HEAD changes with the branch, its reflog with every commit.
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(root, &["rev-parse", "--git-path", file])?;
        if root.join(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit = git(root, &["rev-parse", "HEAD"])?;
    let short = commit.get(..7)?;
    short.bytes().all(|b| b.is_ascii_hexdigit()).then(|| short.to_owned())
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}
