//! Policies: what is written is enough, minimal and tight, by an engine that is not ours; what is
//! judged is judged like another lint judges it, or differently for a reason.

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

/// The account of the tests' configurations.
const ACCOUNT: &str = "111122223333";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `keyround policy …` with this configuration, and demands that exit code. No AWS is asked.
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
