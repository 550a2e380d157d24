//! Implementations of webhooks and sealed boxes that are not ours, asked in their own language.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/verify_webhook.py");

/// What the reference says of `question`; the script documents the questions.
pub(crate) fn ask(python: &Path, question: &serde_json::Value) -> Result<String, String> {
    let mut child = Command::new(python)
        .arg(SCRIPT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the reference can be started");
    let mut stdin = child.stdin.take().expect("it was piped");
    stdin.write_all(question.to_string().as_bytes()).expect("it reads the question");
    drop(stdin);
    let done = child.wait_with_output().expect("it ends");
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned()),
        false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
    }
}
