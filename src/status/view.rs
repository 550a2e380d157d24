//! The status view: joins the status store with the history of the journal.
//!
//! **Invariant:** reading the view causes no call to AWS and changes nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};

use crate::config::Settings;
use crate::config::settings::Access;
use crate::core::ids::{AccessKeyId, RotationId};
use crate::core::rotation::{
    EffectKind, Event, KeyMetadata, KeyState, KeyStatus, KeyUsage, KnownKey, Next, Rotation, Stage,
};
use crate::core::schedule::Verdict;
use crate::core::time::Timestamp;
use crate::engine::{UserReport, World};
use crate::ports::overview::{
    HistoryLine, Key, OutcomeCounts, Overview, RotationStatus, Status, VendorStatus, status_word,
};
use crate::ports::{Journal, JournalError, Recorded, Shown};
use crate::status::{StatusSnapshot, StatusStore};

/// How many of the last events are kept in memory.
const HISTORY_MAX: usize = 60;
/// A pass that has not begun this long after it was due counts as missed. A slow pass takes less time.
const PASS_LATE: Duration = Duration::from_mins(30);

/// The status that follows from these reports.
#[must_use]
pub fn status_of(found: &[UserReport], now: Timestamp) -> Status {
    Status {
        generated_at: now,
        vendors: found.iter().map(|user_report| vendor_status(user_report, now)).collect(),
    }
}

fn vendor_status(user_report: &UserReport, now: Timestamp) -> VendorStatus {
    let Verdict { state, reason, due_at, overdue_at, .. } = &user_report.verdict;
    VendorStatus {
        vendor: user_report.vendor.to_string(),
        account_id: user_report.account_id.as_ref().map(ToString::to_string),
        iam_user: user_report.iam_user.as_ref().map(ToString::to_string),
        state: state.as_str(),
        reason,
        sentence: user_report.sentence(),
        due_at: *due_at,
        overdue_at: *overdue_at,
        keys: user_report
            .keys
            .iter()
            .map(|key| key_status(user_report, key, user_report.usage.get(&key.id), now))
            .collect(),
        rotation: user_report.rotation.as_ref().map(|rotation| RotationStatus::new(rotation, now)),
        exposed: user_report.exposure.clone(),
        owner: None,
        max_age: None,
    }
}

fn key_status(user_report: &UserReport, key: &KeyMetadata, usage: Option<&KeyUsage>, now: Timestamp) -> Key {
    let last_used_at = match usage {
        Some(KeyUsage::Used { last_used_at, .. }) => Some(*last_used_at),
        Some(KeyUsage::Never | KeyUsage::Gone) | None => None,
    };
    Key {
        access_key_id: key.id.to_string(),
        status: status_word(key.status),
        created_at: key.created_at,
        age_days: now.days_since(key.created_at),
        last_used_at,
        role: role(user_report, key),
    }
}

fn role(user_report: &UserReport, key: &KeyMetadata) -> &'static str {
    let new = user_report.rotation.as_ref().and_then(Rotation::new_key);
    if new == Some(&key.id) {
        return "new";
    }
    if user_report.verdict.old.as_ref() == Some(&key.id) { "old" } else { "other" }
}

/// What is computed from the events of the history up to `position`.
#[derive(Default)]
struct Projection {
    position: u64,
    /// The rotations that are not finished.
    in_flight: HashMap<RotationId, Rotation>,
    made: HashMap<AccessKeyId, Timestamp>,
    usage: HashMap<AccessKeyId, KeyUsage>,
    rotations: BTreeMap<OutcomeCounts, u64>,
    deliveries: BTreeMap<OutcomeCounts, u64>,
    latest: VecDeque<HistoryLine>,
}

impl Projection {
    async fn catch_up(&mut self, journal: &dyn Journal) -> Result<(), JournalError> {
        for recorded in journal.history_after(self.position).await? {
            self.take(&recorded);
        }
        Ok(())
    }

    fn take(&mut self, recorded: &Recorded) {
        let id = recorded.rotation;
        let vendor = self.follow(id, &recorded.event);
        self.tally(&vendor, &recorded.event);
        self.latest.push_front(HistoryLine {
            at: recorded.event.at(),
            vendor,
            rotation: id.to_string(),
            event: recorded.event.name(),
            sentence: recorded.event.in_words(),
            writer: recorded.writer.clone(),
            hash: recorded.hash.clone(),
            position: recorded.position,
        });
        self.latest.truncate(HISTORY_MAX);
        self.position = recorded.position;
    }

    /// Applies the event to its rotation, and counts the rotation if it is finished now, whichever event finished it.
    /// Returns the name of its vendor, or an empty text for an unknown rotation.
    fn follow(&mut self, id: RotationId, event: &Event) -> String {
        if let Ok(rotation) = Rotation::replay(id, [event]) {
            self.in_flight.insert(id, rotation);
        } else if let Some(rotation) = self.in_flight.get_mut(&id) {
            // An event that cannot follow is ignored here: the code that drives the rotation reports it.
            let _ = rotation.apply(event);
        }
        let Some(rotation) = self.in_flight.get(&id) else { return String::new() };
        let vendor = rotation.subject().vendor.to_string();
        if let Next::Ended(ending) = rotation.next(event.at()) {
            let tally = OutcomeCounts { vendor: vendor.clone(), outcome: ending.as_str() };
            *self.rotations.entry(tally).or_default() += 1;
            self.in_flight.remove(&id);
        }
        vendor
    }

    fn tally(&mut self, vendor: &str, event: &Event) {
        match event {
            Event::Created { key, at, .. } => {
                self.made.insert(key.clone(), *at);
            }
            Event::UsageRead { usage, .. } => self.usage.extend(usage.clone()),
            Event::Delivered { .. } | Event::Acknowledged { .. } => self.delivered(vendor, "accepted"),
            Event::Refused { doing: EffectKind::Deliver, .. } => self.delivered(vendor, "refused"),
            Event::Unanswered { doing: EffectKind::Deliver, .. } => self.delivered(vendor, "unknown"),
            Event::Started { .. }
            | Event::IssueAsked { .. }
            | Event::OffboardAsked { .. }
            | Event::Intended { .. }
            | Event::Listed { .. }
            | Event::Revealed { .. }
            | Event::Probed { .. }
            | Event::Verified { .. }
            | Event::Deactivated { .. }
            | Event::Reactivated { .. }
            | Event::Deleted { .. }
            | Event::Refused { .. }
            | Event::Unanswered { .. }
            | Event::Held { .. }
            | Event::Resumed { .. }
            | Event::ReactivationAsked { .. }
            | Event::IncidentDeclared { .. }
            | Event::Abandoned { .. } => {}
        }
    }

    fn delivered(&mut self, vendor: &str, outcome: &'static str) {
        *self.deliveries.entry(OutcomeCounts { vendor: vendor.to_owned(), outcome }).or_default() += 1;
    }

    /// The keys of a user as they are shown. If the keys were not listed, or the rotation changed one after the
    /// listing, the rotation's own two keys are shown as the rotation knows them.
    fn keys(&self, user_report: &UserReport, now: Timestamp) -> Vec<Key> {
        let mut keys = user_report.keys.clone();
        let newer =
            |rotation: &&Rotation| user_report.keys_listed_at.is_none_or(|at| !rotation.is_shown_by(at));
        if let Some(rotation) = user_report.rotation.as_ref().filter(newer) {
            let (old, new) = (rotation.old(), rotation.new_key());
            keys.retain(|key| Some(&key.id) != old && Some(&key.id) != new);
            let status = |key: &AccessKeyId, meant: KeyStatus| match rotation.known_keys().get(key) {
                Some(KnownKey { state: KeyState::Is(status), .. }) => Some(*status),
                Some(KnownKey { state: KeyState::Gone, .. }) => None,
                Some(KnownKey { state: KeyState::InDoubt, .. }) | None => Some(meant),
            };
            let old = old.zip(rotation.old_created_at()).and_then(|(old, created_at)| {
                let status = status(old, old_status(rotation.stage()))?;
                Some(KeyMetadata { id: old.clone(), status, created_at })
            });
            keys.extend(old);
            let new = new.and_then(|new| Some((new, status(new, KeyStatus::Active)?)));
            keys.extend(new.map(|(new, status)| KeyMetadata {
                id: new.clone(),
                status,
                created_at: self.made.get(new).copied().unwrap_or_else(|| rotation.started_at()),
            }));
        }
        keys.iter().map(|key| key_status(user_report, key, self.usage.get(&key.id), now)).collect()
    }
}

fn old_status(stage: &Stage) -> KeyStatus {
    match stage {
        Stage::Cool { .. } | Stage::Restore { .. } | Stage::Offboard { .. } => KeyStatus::Inactive,
        Stage::Stuck { resume, .. } => old_status(resume),
        Stage::Survey
        | Stage::Create { .. }
        | Stage::Suspect { .. }
        | Stage::Discard { .. }
        | Stage::Prove { .. }
        | Stage::Deliver { .. }
        | Stage::HandOver { .. }
        | Stage::Verify { .. }
        | Stage::Clear { .. }
        | Stage::Soak { .. }
        | Stage::Done { .. }
        | Stage::Abandoned => KeyStatus::Active,
    }
}

/// Reads the status store and the journal, and builds the overview.
pub struct StatusView {
    worlds: watch::Receiver<World>,
    status_store: Arc<StatusStore>,
    projection: Mutex<Projection>,
}

impl StatusView {
    /// Creates a view of this store that uses the newest [`World`] of `worlds`.
    #[must_use]
    pub fn new(worlds: watch::Receiver<World>, status_store: Arc<StatusStore>) -> StatusView {
        StatusView { worlds, status_store, projection: Mutex::default() }
    }
}

#[async_trait]
impl Shown for StatusView {
    async fn overview(&self) -> Overview {
        let world = self.worlds.borrow().clone();
        let (now, snapshot) = (world.clock.now(), self.status_store.snapshot());
        let mut projection = self.projection.lock().await;
        let read = projection.catch_up(world.journal.as_ref()).await;
        let last_pass_at = match snapshot.last_pass_at {
            Some(at) => Some(at),
            None => world.journal.last_tick().await.ok().flatten(),
        };
        let vendors = snapshot.users.values().map(|user_report| {
            let keys = projection.keys(user_report, now);
            let exposure = snapshot.exposure_of(user_report);
            let shown = UserReport { exposure, ..user_report.clone() };
            let status = VendorStatus { keys, ..vendor_status(&shown, now) };
            configured(&world.settings, user_report, status)
        });
        Overview {
            status: Status { generated_at: now, vendors: vendors.collect() },
            last_pass_at,
            next_pass_at: snapshot.next_pass_at,
            history: projection.latest.iter().cloned().collect(),
            rotations: projection.rotations.clone(),
            deliveries: projection.deliveries.clone(),
            unready: unready(&snapshot, read.err(), now),
            review: snapshot.review,
            clock_offsets: snapshot
                .clocks
                .iter()
                .map(|(account, reading)| {
                    (account.as_ref().map(ToString::to_string).unwrap_or_default(), reading.offset_secs)
                })
                .collect(),
        }
    }
}

fn configured(settings: &Settings, user_report: &UserReport, status: VendorStatus) -> VendorStatus {
    let Some(vendor) = settings.vendors.get(&user_report.vendor) else { return status };
    let owner = vendor.owner.clone();
    let Access::Key(access) = &vendor.access else { return VendorStatus { owner, ..status } };
    let account = access.account.as_ref().and_then(|name| settings.accounts.get(name));
    let account_id = account.and_then(|account| account.id.as_ref()).map(ToString::to_string);
    let account_id = status.account_id.clone().or(account_id);
    // After a rotation is finished, the next judgement is about the key that it made. So that key is shown as the old
    // one.
    let is_over =
        status.rotation.as_ref().is_some_and(|rotation| ["done", "abandoned"].contains(&rotation.stage));
    let rotation = status.rotation.filter(|_| !is_over);
    let mut keys = status.keys;
    for key in keys.iter_mut().filter(|key| is_over && key.role == "new") {
        key.role = "old";
    }
    VendorStatus { owner, account_id, keys, rotation, max_age: Some(access.ages.limit()), ..status }
}

fn unready(snapshot: &StatusSnapshot, journal: Option<JournalError>, now: Timestamp) -> Vec<String> {
    let mut unready = Vec::new();
    if let Some(error) = journal {
        unready.push(format!("the journal cannot be read: {error}"));
    }
    if snapshot.passes == 0 {
        unready.push("the first pass since the start is not over yet".to_owned());
    }
    if let Some(next) = snapshot.next_pass_at.filter(|next| now > *next + PASS_LATE && !snapshot.passing) {
        unready.push(format!("the pass that was due at {next} was not made"));
    }
    unready
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_ready_after_the_first_pass_until_one_is_late() {
        let at = |seconds| Timestamp::from_unix(seconds);
        let snapshot = StatusSnapshot::default();
        assert_eq!(unready(&snapshot, None, at(0)), ["the first pass since the start is not over yet"]);
        let snapshot = StatusSnapshot { passes: 1, next_pass_at: Some(at(1000)), ..snapshot };
        assert_eq!(unready(&snapshot, None, at(2800)), [""; 0]);
        assert_eq!(
            unready(&snapshot, None, at(2801)),
            ["the pass that was due at 1970-01-01T00:16:40Z was not made"]
        );
        let broken = JournalError::Unavailable("the disk is gone".to_owned());
        assert_eq!(unready(&snapshot, Some(broken), at(0)), ["the journal cannot be read: the disk is gone"]);
    }
}
