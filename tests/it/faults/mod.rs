//! Real faults of the real program: a process that is stopped in the middle of a call, a disk that fills, a journal
//! that was damaged, a bad connection to AWS, its rate limits, vendors that cannot be trusted, and secrets on every path that fails.
//!
//! **Invariant:** each fault ends in a sentence that names it, with no harm to the vendor; and when the fault is
//! repaired, the same rotation carries on. Every test prints one line for each fault: the fault, and the program's
//! sentence about it.

mod canary;
mod damaged_journal;
mod full_disk;
mod needs_root;
mod party;
mod rate_limit;
mod rough_line;
mod stopped;
mod untrusted_vendor;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::moto::Emulator;
use crate::support::process::{Corner, Finished};

/// A rotation as far as the passing of time alone can take it.
const ROTATE: [&str; 4] = ["rotate", "--wait", "--format", "json"];

/// The emulator that all of these tests share; each test has its own users.
fn emulator() -> &'static Emulator {
    Emulator::shared()
}

/// The exit code, and the sentence that a person reads.
fn said(finished: &Finished) -> String {
    let code = finished.code.map_or("killed".to_owned(), |code| format!("exit {code}"));
    format!("{code}: {}", sentence(finished))
}

/// The error that ended the command, or else the sentence about the first vendor in the result.
fn sentence(finished: &Finished) -> String {
    let ending = finished.err.lines().rev().find_map(|line| line.strip_prefix("error: "));
    if let Some(ending) = ending {
        return ending.to_owned();
    }
    let result = serde_json::from_str::<Value>(&finished.out).unwrap_or_default();
    result["vendors"][0]["sentence"].as_str().unwrap_or_default().to_owned()
}

/// The sentences of the failures in a rotation's history.
fn complaints(corner: &Corner) -> Vec<String> {
    let told = |event: &Value| {
        let sentence = match event["event"].as_str()? {
            "refused" => &event["refusal"]["sentence"],
            "unanswered" => &event["doubt"]["sentence"],
            _ => return None,
        };
        sentence.as_str().map(str::to_owned)
    };
    history(corner).iter().filter_map(told).collect()
}

/// The events of the history.
fn history(corner: &Corner) -> Vec<Value> {
    let rows = corner.run_well(&["history", "--format", "json"]).json();
    rows.as_array().expect("rows").iter().map(|row| row["event"].clone()).collect()
}

/// Asserts that CreateAccessKey was sent exactly once for each intent in the history.
#[track_caller]
fn assert_no_key_was_made_twice(corner: &Corner) {
    let creates = corner.emulator.calls_about(&corner.user);
    let sent = creates.iter().filter(|call| call.action == "iam:CreateAccessKey").count();
    let intended = history(corner).iter().filter(|event| event["intent"]["intent"] == "create").count();
    assert_eq!(sent, intended, "CreateAccessKey is sent once for each intent");
}

/// Asserts that each repeated message had the same body.
#[track_caller]
fn assert_repeats_are_the_same(corner: &Corner) {
    let mut bodies = BTreeMap::new();
    for request in corner.vendor.requests().into_iter().filter(|request| request.method == "POST") {
        let id = request.headers["webhook-id"].clone();
        let before = bodies.entry(id).or_insert_with(|| request.body.clone());
        assert_eq!(*before, request.body, "one message, one body");
    }
}

/// Asserts that the rotation has finished, and that nothing that must happen once happened twice.
#[track_caller]
fn assert_well_ended(corner: &Corner, old: &str) {
    corner.assert_rotated_from(old);
    assert_no_key_was_made_twice(corner);
    assert_repeats_are_the_same(corner);
}

/// What must hold before the fault is repaired.
#[track_caller]
fn assert_no_harm(corner: &Corner) {
    corner.assert_vendor_works();
    corner.assert_no_held_key_was_touched();
    corner.assert_no_secret_on_disk();
}
