//! Python environments with the packages of `tests/support/requirements.txt`, or of another such list, each pinned
//! and verified by its hash.
//!
//! The first test that needs an environment creates it under `target/`, once per set of requirements; the others
//! wait at a file lock. On a machine that cannot create it, the test fails with a sentence that says why, because a
//! test that is silently skipped proves nothing.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

/// The packages that the emulator and nearly every test need.
const USUAL: &str = "requirements.txt";

/// A file of `tests/support/`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(name)
}

/// The interpreter of the usual environment.
pub(crate) fn interpreter() -> &'static Path {
    static INTERPRETER: LazyLock<PathBuf> = LazyLock::new(|| provide(USUAL));
    &INTERPRETER
}

/// Runs that script with the question on its standard input, and returns its answer.
pub(crate) fn ask(script_name: &str, question: &serde_json::Value) -> Result<String, String> {
    ask_with(interpreter(), script_name, question)
}

/// Like [`ask`], with another Python.
pub(crate) fn ask_with(
    interpreter: &Path,
    script_name: &str,
    question: &serde_json::Value,
) -> Result<String, String> {
    let mut child = Command::new(interpreter)
        .arg(script(script_name))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(question.to_string().as_bytes()).expect("it reads the question");
    drop(stdin);
    let done = child.wait_with_output().expect("it ends");
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned()),
        false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
    }
}

/// Provides a Python with the packages of this list of `tests/support/`.
pub(crate) fn provide(list: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    fs::read_to_string(script(list)).expect("a list of packages").hash(&mut hasher);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let home = target.join(format!("test-venv-{:016x}", hasher.finish()));
    let lock = File::create(home.with_extension("lock")).expect("target/ can be written");
    lock.lock().expect("target/ is on a file system with locks");
    let complete = home.join("complete");
    if !complete.exists() {
        if home.exists() {
            fs::remove_dir_all(&home).expect("an unfinished environment can be removed");
        }
        build(&home, list);
        File::create(complete).expect("target/ can be written");
    }
    home.join("bin/python")
}

fn build(home: &Path, list: &str) {
    let made = Command::new("python3").args(["-m", "venv"]).arg(home).output();
    demand(made, "install Debian's python3 and python3-venv");
    let installed = Command::new(home.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"])
        // The list is complete, and Prowler declares far more dependencies than its use here needs.
        .args(["--no-deps", "-r"])
        .arg(script(list))
        .output();
    demand(installed, "pip must reach a package index, or wheels in PIP_FIND_LINKS");
}

fn demand(ran: std::io::Result<Output>, hint: &str) {
    match ran {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "the tests' Python environment cannot be made: {hint}\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        ),
        Err(error) => panic!("the tests' Python environment cannot be made: {hint} ({error})"),
    }
}
