//! An independent policy engine: iam-simulate, from the npm registry, pinned and verified by hashes.
//!
//! Like the Python environment of the tests, the first test that needs it installs it under `target/`, once per
//! lock file. On a machine that cannot install it, the test fails with a sentence that says why.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};

const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../../support/policy_engine/package.json")),
    ("package-lock.json", include_str!("../../support/policy_engine/package-lock.json")),
    ("evaluate.mjs", include_str!("../../support/policy_engine/evaluate.mjs")),
];
const HINT: &str = "the tests need Node.js 20 and npm (Debian: nodejs, npm), and npm must reach a registry";

/// A request: an action on a resource, by a principal of the account of the case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Request {
    pub(crate) action: String,
    pub(crate) resource: String,
}

impl Request {
    pub(crate) fn new(action: &str, resource: &str) -> Request {
        Request { action: action.to_owned(), resource: resource.to_owned() }
    }
}

/// Whether a principal with these policies may make each of the requests.
#[track_caller]
pub(crate) fn allows(account: &str, policies: &[Value], requests: &[Request]) -> Vec<bool> {
    let requests = requests
        .iter()
        .map(|request| json!({ "action": request.action, "resource": request.resource, "account": account }));
    let case = json!({ "policies": policies, "boundary": null, "requests": requests.collect::<Vec<_>>() });
    verdicts(&[case]).remove(0).iter().map(|answer| answer == "Allowed").collect()
}

/// The engine's answers to the requests of each case. `evaluate.mjs` describes the format of both.
#[track_caller]
pub(crate) fn verdicts(cases: &[Value]) -> Vec<Vec<String>> {
    let question = json!({ "cases": cases });
    let mut child = Command::new("node")
        .arg(home().join("evaluate.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(HINT);
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(question.to_string().as_bytes()).expect("it reads the question");
    drop(stdin);
    let done = child.wait_with_output().expect("it ends");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("a list of answers for each case")
}

fn home() -> &'static Path {
    static HOME: LazyLock<PathBuf> = LazyLock::new(provide);
    &HOME
}

fn provide() -> PathBuf {
    let mut hasher = DefaultHasher::new();
    FILES.hash(&mut hasher);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let home = target.join(format!("policy-engine-{:016x}", hasher.finish()));
    let lock = File::create(home.with_extension("lock")).expect("target/ can be written");
    lock.lock().expect("target/ is on a file system with locks");
    if !home.join("complete").exists() {
        fs::create_dir_all(&home).expect("target/ can be written");
        for (name, text) in FILES {
            fs::write(home.join(name), text).expect("target/ can be written");
        }
        let ran = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&home)
            .output()
            .expect(HINT);
        assert!(ran.status.success(), "{HINT}\n{}", String::from_utf8_lossy(&ran.stderr));
        File::create(home.join("complete")).expect("target/ can be written");
    }
    home
}
