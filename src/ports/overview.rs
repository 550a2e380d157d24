//! The model of what is shown: the data behind `status --format json`, `/api/status`, the metrics and the page.
//!
//! **Invariant:** it holds no secret, because a verdict, a rotation and a listing hold none.

use std::time::Duration;

use serde::Serialize;

use crate::core::rotation::{Next, Rotation};
pub use crate::core::schedule::status_word;
use crate::core::time::Timestamp;
use crate::review::audit::Summary;

/// The content of `status --format json`. Other programs rely on its fields.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The time for which it holds.
    pub generated_at: Timestamp,
    /// One entry for each user of each vendor, and for each vendor without a user.
    pub vendors: Vec<VendorStatus>,
}

/// One user of a vendor, or a vendor without one.
#[derive(Clone, Debug, Serialize)]
pub struct VendorStatus {
    /// The name of the vendor.
    pub vendor: String,
    /// The AWS account of the user, where it is known.
    pub account_id: Option<String>,
    /// The IAM user; `None` for a vendor without one.
    pub iam_user: Option<String>,
    /// The state as one word, such as `ok` or `overdue`.
    pub state: &'static str,
    /// The reason code.
    pub reason: &'static str,
    /// The reason as a sentence, with what to do.
    pub sentence: String,
    /// When the key is due to be replaced, or was.
    pub due_at: Option<Timestamp>,
    /// When the key is overdue, or since when it is.
    pub overdue_at: Option<Timestamp>,
    /// The user's access keys, as far as they are known.
    pub keys: Vec<Key>,
    /// The rotation under way, if there is one.
    pub rotation: Option<RotationStatus>,
    /// The quarantine policies that AWS has attached to the user; not there: that was not asked, or not answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed: Option<Vec<String>>,
    /// The person or team to ask about the vendor, from the configuration.
    #[serde(skip)]
    pub owner: Option<String>,
    /// The age at which a key is due, or with `inactive_by` the age by which it is to be Inactive.
    #[serde(skip)]
    pub max_age: Option<Duration>,
}

/// One access key.
#[derive(Clone, Debug, Serialize)]
pub struct Key {
    /// Its AccessKeyId.
    pub access_key_id: String,
    /// `Active`, `Inactive`, …
    pub status: &'static str,
    /// Its `CreateDate`.
    pub created_at: Timestamp,
    /// Its age in whole days.
    pub age_days: u64,
    /// When it was last used, where AWS was asked and knows a use.
    pub last_used_at: Option<Timestamp>,
    /// `old`: the key that is judged, or is being replaced; `new`: the key that replaces it; `other`: neither.
    pub role: &'static str,
}

/// A rotation under way.
#[derive(Clone, Debug, Serialize)]
pub struct RotationStatus {
    /// Its id.
    pub id: String,
    /// The name of its stage.
    pub stage: &'static str,
    /// When it entered the stage.
    pub since: Timestamp,
    /// When it continues, if time alone decides that.
    pub next_at: Option<Timestamp>,
    /// The key to be replaced; `null` where the user had no Active key and gets one.
    pub old_access_key_id: Option<String>,
    /// The key that replaces it, once it is created.
    pub new_access_key_id: Option<String>,
    /// How it is made: `routine`, `issue`, or the mode of the incident that was declared for the old key.
    pub mode: &'static str,
    /// What the vendor holds: `old`, `new`, `half` (the id of one key and the secret of the other) or `unknown`.
    pub vendor_holds: &'static str,
    /// The stage in which it continues after `resume`, if it is stuck.
    #[serde(skip)]
    pub resumes_in: Option<&'static str>,
}

impl VendorStatus {
    /// The key that is judged: the one to be replaced, or being replaced.
    #[must_use]
    pub fn judged(&self) -> Option<&Key> {
        self.keys.iter().find(|key| key.role == "old")
    }
}

impl RotationStatus {
    /// The status of this rotation at `now`.
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
            old_access_key_id: rotation.old().map(ToString::to_string),
            new_access_key_id: rotation.new_key().map(ToString::to_string),
            mode: rotation.mode(),
            vendor_holds: rotation.vendor_holds().as_str(),
            resumes_in: rotation.stage().resumes_in(),
        }
    }
}

/// One event of the history, as it is shown.
#[derive(Clone, Debug)]
pub struct HistoryLine {
    /// When the event happened.
    pub at: Timestamp,
    /// The vendor; empty if the start of the rotation is not known.
    pub vendor: String,
    /// The id of the rotation.
    pub rotation: String,
    /// The event's name.
    pub event: &'static str,
    /// What happened, as a sentence.
    pub sentence: String,
    /// The host and process that wrote it.
    pub writer: String,
    /// The hash over this event and all events before it.
    pub hash: String,
    /// Its position in the history, from 1.
    pub position: u64,
}

/// What a counter counts: one outcome at one vendor.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct OutcomeCounts {
    /// The vendor.
    pub vendor: String,
    /// The outcome: how a rotation ended, or what came of a delivery.
    pub outcome: &'static str,
}

/// Everything that is shown.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The users of all vendors.
    pub status: Status,
    /// When the last full pass ended; before the first one of this process has ended, when the last scheduled pass
    /// began.
    pub last_pass_at: Option<Timestamp>,
    /// When the next pass is due.
    pub next_pass_at: Option<Timestamp>,
    /// The last events, newest first.
    pub history: Vec<HistoryLine>,
    /// How many rotations ended, by vendor and ending.
    pub rotations: std::collections::BTreeMap<OutcomeCounts, u64>,
    /// How many deliveries were attempted, by vendor and outcome.
    pub deliveries: std::collections::BTreeMap<OutcomeCounts, u64>,
    /// Why `/healthz` is not ready, as sentences; empty means ready.
    pub unready: Vec<String>,
    /// The result of the last review of the accounts, if there was one since the start.
    pub review: Option<Summary>,
    /// This machine's time minus AWS's in seconds, by the account's name in the configuration. The name is empty for
    /// the account of the ambient credentials.
    pub clock_offsets: std::collections::BTreeMap<String, i64>,
}
