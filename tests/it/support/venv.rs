//! A Python environment with pinned packages, made once under the target folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/requirements-webhooks.txt");

/// The interpreter of an environment that has the reference implementations.
pub(crate) fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venv-webhooks");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    // Test processes run side by side; the lock ends with the process that holds it.
    let lock = File::create(folder.join("lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let python = folder.join("bin/python");
    let wanted = fs::read_to_string(REQUIREMENTS).expect("the requirements");
    let made = folder.join("made-from.txt");
    if fs::read_to_string(&made).is_ok_and(|found| found == wanted) {
        return python;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--require-hashes", "--only-binary", ":all:", "-r", REQUIREMENTS]));
    fs::write(made, wanted).expect("the target folder can be written");
    python
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    assert!(done.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&done.stderr));
}
