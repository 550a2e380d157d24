//! The rows of a report that rank the keys by risk, and that list the findings by control.

use serde::Serialize;

use crate::review::audit::{Control, Ranked};

/// A control of a compliance framework, and how many findings concern it.
#[derive(Serialize)]
pub(super) struct ControlRow {
    name: String,
    rules: String,
    found: String,
}

impl ControlRow {
    pub(super) fn new(control: &Control) -> ControlRow {
        ControlRow {
            name: format!("{} {}", control.framework, control.number),
            rules: control.codes.join(", "),
            found: format!("{} open, {} accepted", control.open, control.waived),
        }
    }
}

/// A key in the risk ranking, with the reason for its rank.
#[derive(Serialize)]
pub(super) struct KeyRow {
    key: String,
    owner: String,
    points: u64,
    why: String,
}

impl KeyRow {
    pub(super) fn new(ranked: &Ranked) -> KeyRow {
        KeyRow {
            key: ranked.key.to_string(),
            owner: ranked.vendor.as_ref().map_or_else(|| ranked.user.to_string(), ToString::to_string),
            points: ranked.points,
            why: ranked.why(),
        }
    }
}
