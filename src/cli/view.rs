//! What results look like: one structure for a vendor, rendered as a table row, as JSON, as sentences.

use serde::Serialize;

use crate::cli::layout::{Row, table};
use crate::driver::Visited;
use crate::rotation::{Blocker, KeyMetadata, KeyStatus, KeyUsage, Next, Rotation, Stage, Waiting};
use crate::schedule::Verdict;
use crate::time::Timestamp;

/// `status --format json`, as in the contract.
#[derive(Serialize)]
pub(crate) struct StatusView {
    generated_at: Timestamp,
    vendors: Vec<VendorView>,
}

#[derive(Serialize)]
struct VendorView {
    vendor: String,
    account_id: Option<String>,
    iam_user: Option<String>,
    state: &'static str,
    reason: &'static str,
    sentence: String,
    due_at: Option<Timestamp>,
    overdue_at: Option<Timestamp>,
    keys: Vec<KeyView>,
    rotation: Option<RotationView>,
}

#[derive(Serialize)]
struct KeyView {
    access_key_id: String,
    status: &'static str,
    created_at: Timestamp,
    age_days: u64,
    last_used_at: Option<Timestamp>,
    /// `old`: to be replaced, or replaced; `new`: the one that replaces it; `other`: neither.
    role: &'static str,
}

#[derive(Serialize)]
struct RotationView {
    id: String,
    stage: &'static str,
    since: Timestamp,
    next_at: Option<Timestamp>,
    old_access_key_id: String,
    new_access_key_id: Option<String>,
}

impl StatusView {
    pub(crate) fn new(found: &[Visited], now: Timestamp) -> StatusView {
        StatusView {
            generated_at: now,
            vendors: found.iter().map(|visited| VendorView::new(visited, now)).collect(),
        }
    }
}

impl VendorView {
    fn new(visited: &Visited, now: Timestamp) -> VendorView {
        let Verdict { state, reason, due_at, overdue_at, .. } = &visited.verdict;
        VendorView {
            vendor: visited.vendor.to_string(),
            account_id: visited.account_id.as_ref().map(ToString::to_string),
            iam_user: visited.iam_user.as_ref().map(ToString::to_string),
            state: state.as_str(),
            reason,
            sentence: sentence(visited),
            due_at: *due_at,
            overdue_at: *overdue_at,
            keys: visited.keys.iter().map(|key| KeyView::new(visited, key, now)).collect(),
            rotation: visited.rotation.as_ref().map(|rotation| RotationView::new(rotation, now)),
        }
    }
}

impl KeyView {
    fn new(visited: &Visited, key: &KeyMetadata, now: Timestamp) -> KeyView {
        let last_used_at = match visited.usage.get(&key.id) {
            Some(KeyUsage::Used { last_used_at, .. }) => Some(*last_used_at),
            Some(KeyUsage::Never | KeyUsage::Gone) | None => None,
        };
        KeyView {
            access_key_id: key.id.to_string(),
            status: status_word(key.status),
            created_at: key.created_at,
            age_days: now.days_since(key.created_at),
            last_used_at,
            role: role(visited, key),
        }
    }
}

fn role(visited: &Visited, key: &KeyMetadata) -> &'static str {
    let new = visited.rotation.as_ref().and_then(|rotation| rotation.stage().new_key());
    if new == Some(&key.id) {
        return "new";
    }
    if visited.verdict.old.as_ref() == Some(&key.id) { "old" } else { "other" }
}

pub(crate) fn status_word(status: KeyStatus) -> &'static str {
    match status {
        KeyStatus::Active => "Active",
        KeyStatus::Inactive => "Inactive",
        KeyStatus::Expired => "Expired",
    }
}

impl RotationView {
    fn new(rotation: &Rotation, now: Timestamp) -> RotationView {
        let next_at = match rotation.next(now) {
            Next::Perform(_) => Some(now),
            Next::Wait { until, .. } if until < Timestamp::NEVER => Some(until),
            Next::Wait { .. } | Next::Stuck(_) | Next::Ended(_) => None,
        };
        RotationView {
            id: rotation.id().to_string(),
            stage: rotation.stage().name(),
            since: rotation.since(),
            next_at,
            old_access_key_id: rotation.old().to_string(),
            new_access_key_id: rotation.stage().new_key().map(ToString::to_string),
        }
    }
}

/// The rows of `status`, one for each user.
pub(crate) fn status_table(found: &[Visited], now: Timestamp, columns: Option<usize>) -> String {
    let row = |visited: &Visited| {
        let judged = visited.keys.iter().find(|key| Some(&key.id) == visited.verdict.old.as_ref());
        let age = judged.map(|key| format!("{}d", now.days_since(key.created_at)));
        let stage = visited.rotation.as_ref().map(|rotation| rotation.stage().name().to_owned());
        let cells = vec![
            visited.vendor.to_string(),
            visited.iam_user.as_ref().map_or_else(dash, ToString::to_string),
            visited.verdict.state.to_string(),
            stage.unwrap_or_else(dash),
            age.unwrap_or_else(dash),
            visited.verdict.due_at.map_or_else(dash, |due_at| due_at.to_string()),
        ];
        Row { cells, sentence: sentence(visited) }
    };
    let header = ["VENDOR", "IAM USER", "STATE", "STAGE", "AGE", "DUE", "WHY"];
    table(&header, found.iter().map(row).collect(), columns)
}

/// The verdict's sentence, and where only a person can go on, the command.
pub(crate) fn sentence(visited: &Visited) -> String {
    let sentence = &visited.verdict.sentence;
    match way_on(visited) {
        Some(command) => format!("{sentence}; to go on: `{command}`"),
        None => sentence.clone(),
    }
}

/// The waits for a person, for their codes.
const REVEAL: Waiting = Waiting::Reveal { since: Timestamp::EPOCH, days: 0 };
const HAND_OVER: Waiting = Waiting::HandOver { revealed_at: Timestamp::EPOCH, days: 0 };

fn way_on(visited: &Visited) -> Option<String> {
    let vendor = &visited.vendor;
    match visited.verdict.reason {
        reason if reason == REVEAL.code() => return Some(format!("keyround reveal {vendor}")),
        reason if reason == HAND_OVER.code() => return Some(format!("keyround ack {vendor}")),
        _ => {}
    }
    let Stage::Stuck { blocker, .. } = visited.rotation.as_ref()?.stage() else { return None };
    Some(match blocker {
        Blocker::OldKeyGone { .. } | Blocker::NewKeyGone { .. } | Blocker::WrongIdentity { .. } => {
            format!("keyround abandon {vendor} --why REASON")
        }
        Blocker::OldKeyNotActive { .. }
        | Blocker::NoFreeSlot { .. }
        | Blocker::UnknownKey { .. }
        | Blocker::NewKeyNotActive { .. }
        | Blocker::NewKeyNeverWorked { .. }
        | Blocker::VendorGone { .. }
        | Blocker::VendorKeepsOldKey { .. }
        | Blocker::VendorWentBack { .. }
        | Blocker::Exhausted { .. } => format!("keyround resume {vendor}"),
    })
}

pub(crate) fn dash() -> String {
    "-".to_owned()
}
