//! Policies. An independent engine shows that generated policies are sufficient, minimal and tight; another lint
//! shows that policies are judged as it judges them, or differently for a stated reason.

mod agreement;
mod corpus;
mod escalation;
mod evaluator;
mod generated;
mod sizes;

use std::path::PathBuf;

use serde_json::Value;

use crate::support::moto::Emulator;
use crate::support::program::Program;

/// The account in the configurations of these tests.
const ACCOUNT: &str = "111122223333";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `keyround policy …` with this configuration, and requires that exit code. It makes no call to AWS.
#[track_caller]
fn policy(rotation_toml: &str, code: i32, arguments: &[&str]) -> (String, String) {
    let program = Program::new(Emulator::shared(), rotation_toml);
    let ran = program.run(&[&["policy"], arguments].concat());
    assert_eq!(ran.code, Some(code), "{arguments:?}: {ran}");
    (ran.stdout, ran.stderr)
}

#[track_caller]
fn written(rotation_toml: &str, arguments: &[&str]) -> Value {
    let (text, _) = policy(rotation_toml, 0, arguments);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
