//! JSON, by a parser that is not ours.

use std::io::Write;
use std::process::{Command, Stdio};

/// What another program's parser makes of it: the value of a Python expression, as
/// JSON in ASCII.
pub(crate) fn parsed(json: &[u8], expression: &str) -> String {
    let script =
        format!("import json, sys; d = json.load(sys.stdin.buffer); print(json.dumps({expression}))");
    let mut python = Command::new("python3");
    let python =
        python.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = python.spawn().unwrap();
    python.stdin.take().unwrap().write_all(json).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?} of {}", String::from_utf8_lossy(json));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
