//! What there is to show of everybody: the structure behind `status --format json`, `/api/status`, the metrics and the
//! page.
//!
//! **Invariant:** it holds no secret: there is none in a verdict, a rotation or a listing.

use std::time::Duration;

use serde::Serialize;

use crate::core::rotation::{Next, Rotation};
pub use crate::core::schedule::status_word;
use crate::core::time::Timestamp;
use crate::review::audit::Summary;

/// `status --format json`, as in the contract.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// When it was so.
    pub generated_at: Timestamp,
    /// Each user of each vendor, and each vendor without one.
    pub vendors: Vec<VendorStatus>,
}

/// One user of a vendor, or a vendor without one.
#[derive(Clone, Debug, Serialize)]
pub struct VendorStatus {
    /// The vendor.
    pub vendor: String,
    /// The user's account.
    pub account_id: Option<String>,
    /// The user.
    pub iam_user: Option<String>,
    /// In a word.
    pub state: &'static str,
    /// The reason code.
    pub reason: &'static str,
    /// The reason, with what to do.
    pub sentence: String,
    /// When the key is, or was, due.
    pub due_at: Option<Timestamp>,
    /// When it is, or was, overdue.
    pub overdue_at: Option<Timestamp>,
    /// The user's keys.
    pub keys: Vec<Key>,
    /// The rotation under way.
    pub rotation: Option<RotationStatus>,
    /// Whom to ask about the vendor.
    #[serde(skip)]
    pub owner: Option<String>,
    /// The age at which a key is due, or with `inactive_by` the age by which it is to be Inactive.
    #[serde(skip)]
    pub max_age: Option<Duration>,
}

/// One access key.
#[derive(Clone, Debug, Serialize)]
pub struct Key {
    /// Its public half.
    pub access_key_id: String,
    /// `Active`, `Inactive`, …
    pub status: &'static str,
    /// When AWS made it.
    pub created_at: Timestamp,
    /// How old it is.
    pub age_days: u64,
    /// When it was last used, where that was asked.
    pub last_used_at: Option<Timestamp>,
    /// `old`: to be replaced, or replaced; `new`: the one that replaces it; `other`: neither.
    pub role: &'static str,
}

/// A rotation under way.
#[derive(Clone, Debug, Serialize)]
pub struct RotationStatus {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub stage: &'static str,
    /// Since when.
    pub since: Timestamp,
    /// When it goes on, if time alone decides that.
    pub next_at: Option<Timestamp>,
    /// The key to be replaced.
    pub old_access_key_id: String,
    /// The one that replaces it.
    pub new_access_key_id: Option<String>,
    /// How it is made: `routine`, or the mode of the incident that was declared for the old key.
    pub mode: &'static str,
    /// What the vendor holds: `old`, `new`, `half` (the id of one key and the secret of the other) or `unknown`.
    pub vendor_holds: &'static str,
    /// Where it would go on, if it is stuck.
    #[serde(skip)]
    pub resumes_in: Option<&'static str>,
}

impl VendorStatus {
    /// The key that is judged: to be replaced, or being replaced.
    #[must_use]
    pub fn judged(&self) -> Option<&Key> {
        self.keys.iter().find(|key| key.role == "old")
    }
}

impl RotationStatus {
    /// How this rotation is now.
    #[must_use]
    pub fn new(rotation: &Rotation, now: Timestamp) -> RotationStatus {
        let next_at = match rotation.next(now) {
            Next::Perform(_) => Some(now),
            Next::Wait { until, .. } if until < Timestamp::NEVER => Some(until),
            Next::Wait { .. } | Next::Stuck(_) | Next::Ended(_) => None,
        };
        RotationStatus {
            id: rotation.id().to_string(),
            stage: rotation.stage().name(),
            since: rotation.since(),
            next_at,
            old_access_key_id: rotation.old().to_string(),
            new_access_key_id: rotation.stage().new_key().map(ToString::to_string),
            mode: rotation.mode(),
            vendor_holds: rotation.vendor_holds().as_str(),
            resumes_in: rotation.stage().resumes_in(),
        }
    }
}

/// One line of the history.
#[derive(Clone, Debug)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// To which vendor.
    pub vendor: String,
    /// In which rotation.
    pub rotation: String,
    /// The event's name.
    pub event: &'static str,
    /// What it says.
    pub sentence: String,
    /// The host and process that wrote it.
    pub writer: String,
    /// The hash over it and all before it.
    pub hash: String,
    /// Its place in the history.
    pub position: u64,
}

/// How often something ended how, for one vendor.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Tally {
    /// The vendor.
    pub vendor: String,
    /// How.
    pub outcome: &'static str,
}

/// Everything there is to show.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Everybody.
    pub status: Status,
    /// When the last full pass was over.
    pub last_pass_at: Option<Timestamp>,
    /// When the next one is due.
    pub next_pass_at: Option<Timestamp>,
    /// What happened lately, newest first.
    pub history: Vec<Happening>,
    /// Rotations that ended, by vendor and ending.
    pub rotations: std::collections::BTreeMap<Tally, u64>,
    /// Deliveries, by vendor and outcome.
    pub deliveries: std::collections::BTreeMap<Tally, u64>,
    /// Why it is not ready, in sentences; empty: it is.
    pub unready: Vec<String>,
    /// What the last review of the accounts came to, if there was one since the start.
    pub review: Option<Summary>,
    /// Our time minus that of AWS in seconds, by the account's name in the configuration; empty for the account of the
    /// ambient credentials.
    pub clock_offsets: std::collections::BTreeMap<String, i64>,
}
