//! The least that an init can be: `least.c`, about 900 bytes without a C library.

use std::path::PathBuf;
use std::process::Command;

pub(crate) const NAME: &str = "least init";

/// Compiles it, and gives the binary; or the reason why this machine cannot.
pub(crate) fn build() -> Result<PathBuf, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("it is written for x86-64 only".into());
    }
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/inits/least.c");
    let binary = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("least-init");
    let gcc = Command::new("gcc")
        .args(["-Os", "-std=c11", "-ffreestanding", "-nostdlib", "-static", "-no-pie", "-s"])
        // Both call into the C library, or need what it prepares.
        .args(["-fno-pie", "-fno-stack-protector"])
        // One page of code, as its size is the point.
        .args(["-fcf-protection=none", "-fno-asynchronous-unwind-tables"])
        .arg("-Wl,--build-id=none,-z,norelro,-z,noseparate-code")
        .arg("-o")
        .args([binary.as_os_str(), source.as_ref()])
        .output()
        .map_err(|error| format!("gcc: {error}"))?;
    if !gcc.status.success() {
        let output = String::from_utf8_lossy(&gcc.stderr);
        return Err(format!(
            "gcc: {}",
            output.lines().find(|line| line.contains("error")).unwrap_or("failed")
        ));
    }
    Ok(binary)
}
