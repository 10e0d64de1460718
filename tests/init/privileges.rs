//! A sexton with rights that its caller lacks would write files and signal processes for
//! everyone: it refuses to run.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::*;

crate::tests![
    as_root a_setuid_sexton_refuses_to_run,
    as_root a_setgid_sexton_refuses_to_run,
    as_root a_sexton_with_capabilities_refuses_to_run,
    as_root root_has_all_rights_already,
];

const USER: Condition = Condition::User(12345);

/// A copy that every user may execute.
struct Copy {
    place: TempDir,
    program: PathBuf,
}

impl Copy {
    fn new(mode: u32) -> Self {
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = place.path().join("sexton");
        copy_sexton(&program);
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
        Self { place, program }
    }

    fn init(&self) -> Init {
        Init::plain(&[]).without_init()
    }

    fn command(&self, options: &[&str]) -> Vec<std::ffi::OsString> {
        let mut command = vec![self.program.clone().into()];
        command.extend(words(options));
        command
    }

    /// Whatever it is asked for, it does nothing.
    #[track_caller]
    fn refuses(&self) {
        let made = self.place.path().join("made");
        let install = format!("--install={}", made.display());
        for (options, variable) in [
            (&["true"][..], ""),
            (&["--version"], ""),
            (&[&install], ""),
            (&["--nonsense"], ""),
            (&["true"], &install),
        ] {
            let init = self.init().given(USER).env("SEXTON_OPTIONS", variable);
            let output = init.run(self.command(options));
            assert_eq!(output.status.code(), Some(125), "{options:?}");
            let line = "sexton: not to be run with rights that its caller lacks: installed setuid, setgid or with capabilities\n";
            assert_eq!((stderr_text(&output), output.stdout.as_slice()), (line, &b""[..]));
        }
        assert!(!made.exists());
    }
}

fn a_setuid_sexton_refuses_to_run() {
    Copy::new(0o4755).refuses();
}

fn a_setgid_sexton_refuses_to_run() {
    Copy::new(0o2755).refuses();
}

fn a_sexton_with_capabilities_refuses_to_run() {
    let copy = Copy::new(0o755);
    // The control.
    assert_eq!(copy.init().given(USER).code(copy.command(&["true"])), 0);
    for effective in [false, true] {
        set_capability(&copy.program, effective);
        copy.refuses();
    }
}

/// Gives a program CAP_DAC_OVERRIDE (`struct vfs_cap_data` in `capabilities(7)`).
fn set_capability(program: &Path, effective: bool) {
    const REVISION_2: u32 = 0x0200_0000;
    const CAP_DAC_OVERRIDE: u32 = 1;
    let data: Vec<u8> = [REVISION_2 | u32::from(effective), 1 << CAP_DAC_OVERRIDE, 0, 0, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let path = std::ffi::CString::new(program.as_os_str().as_bytes()).unwrap();
    // SAFETY: both strings end, and the value is as long as is said.
    let done = unsafe {
        libc::setxattr(path.as_ptr(), c"security.capability".as_ptr(), data.as_ptr().cast(), data.len(), 0)
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

fn root_has_all_rights_already() {
    for mode in [0o4755, 0o2755] {
        let copy = Copy::new(mode);
        assert_eq!(copy.init().code(copy.command(&["true"])), 0);
        assert_eq!(Init::pid1(&[]).without_init().code(copy.command(&["true"])), 0);
    }
}
