//! The status store: the last report of each user, for the parts that show it and for the alerts.
//!
//! Metrics, the page and the alerts are made from this store and from the journal, so a reader of the page causes no
//! call to AWS.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::core::alert::{ClockReading, ExposureReading};
use crate::core::ids::{AccountName, IamUserName, Subject, VendorName};
use crate::core::rotation::{Event, Rotation};
use crate::core::time::Timestamp;
use crate::engine::{Pass, UserReport, Watcher};
use crate::review::audit::Summary;

/// The content of the store at one moment.
#[derive(Clone, Debug, Default)]
pub struct StatusSnapshot {
    /// The last report of each user, and of each vendor without one.
    pub users: BTreeMap<(VendorName, Option<IamUserName>), UserReport>,
    /// Whether a full pass has ended since the start, so that each user was seen once.
    pub whole: bool,
    /// Whether a pass is under way.
    pub passing: bool,
    /// When the last full pass ended.
    pub last_pass_at: Option<Timestamp>,
    /// When the next pass is due.
    pub next_pass_at: Option<Timestamp>,
    /// How many full passes have ended since the start. A full pass covers all vendors.
    pub passes: u64,
    /// The result of the last review of the accounts.
    pub review: Option<Summary>,
    /// The last comparison of this machine's clock with that of each account.
    pub clocks: BTreeMap<Option<AccountName>, ClockReading>,
    /// What AWS said last of quarantines, for each account.
    pub exposures: Vec<ExposureReading>,
}

impl StatusSnapshot {
    /// The quarantine policies of a user; `None`: that is not known.
    #[must_use]
    pub fn exposure_of(&self, report: &UserReport) -> Option<Vec<String>> {
        let user = report.iam_user.as_ref()?;
        let mut readings = self.exposures.iter();
        readings.find_map(|reading| reading.policies_of(&report.vendor, user)).map(<[String]>::to_vec)
    }
}

/// Keeps the last reports, and notifies subscribers of each change.
pub struct StatusStore {
    snapshot: Mutex<StatusSnapshot>,
    changes: watch::Sender<()>,
}

impl Default for StatusStore {
    fn default() -> StatusStore {
        StatusStore { snapshot: Mutex::default(), changes: watch::Sender::new(()) }
    }
}

impl StatusStore {
    /// A copy of the content.
    #[must_use]
    pub fn snapshot(&self) -> StatusSnapshot {
        self.locked().clone()
    }

    /// Stores the result of a review of the accounts, to be shown. The alerts get it from the review itself, so no
    /// change is signalled.
    pub fn reviewed(&self, review: Summary) {
        self.locked().review = Some(review);
    }

    /// Stores a comparison of this machine's clock with that of an account. Subscribers are notified only if the clock
    /// became acceptable or unacceptable: alerts depend on that, and metrics are read when they are needed.
    pub fn clock_was_compared(&self, reading: &ClockReading) {
        let before = self.locked().clocks.insert(reading.account.clone(), reading.clone());
        if before.is_none_or(|before| before.is_accepted != reading.is_accepted) {
            self.change();
        }
    }

    /// Takes what AWS said of quarantines, account by account.
    pub fn exposures_were_read(&self, readings: Vec<ExposureReading>) {
        let is_new = {
            let mut snapshot = self.locked();
            let is_new = snapshot.exposures != readings;
            snapshot.exposures = readings;
            is_new
        };
        if is_new {
            self.change();
        }
    }

    /// A receiver that is notified of each change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Every change is complete before any code could panic, so a poisoned lock still holds a consistent state.
    fn locked(&self) -> MutexGuard<'_, StatusSnapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, user_report: &UserReport) {
        let mut user_report = user_report.clone();
        let mut snapshot = self.locked();
        let place = (user_report.vendor.clone(), user_report.iam_user.clone());
        if let Some(before) = snapshot.users.get(&place) {
            // A rotation under way is driven without asking for the account, so the account that is known is kept.
            user_report.account_id = user_report.account_id.or_else(|| before.account_id.clone());
        }
        snapshot.users.insert(place, user_report);
    }

    fn change(&self) {
        self.changes.send_replace(());
    }
}

impl Watcher for StatusStore {
    fn appended(&self, _rotation: &Rotation, _event: &Event) {}

    fn reconciled(&self, _subject: &Subject, user_report: &UserReport) {
        self.see(user_report);
        self.change();
    }

    fn clocks_compared(&self, readings: &[ClockReading]) {
        for reading in readings {
            self.clock_was_compared(reading);
        }
    }

    fn unlisted(&self, user_report: &UserReport) {
        self.see(user_report);
        self.change();
    }

    fn pass_begins(&self) {
        self.locked().passing = true;
        self.change();
    }

    fn pass_ended(&self, pass: &Pass) {
        for user_report in &pass.found {
            self.see(user_report);
        }
        {
            let mut snapshot = self.locked();
            snapshot.passing = false;
            snapshot.next_pass_at = pass.next_at;
            if pass.whole {
                let unlisted = |vendor: &VendorName| {
                    pass.found.iter().any(|user_report| {
                        user_report.vendor == *vendor && user_report.iam_user.is_none() && user_report.failed
                    })
                };
                let was_found = |place: &(VendorName, Option<IamUserName>)| {
                    pass.found.iter().any(|user_report| {
                        (&user_report.vendor, &user_report.iam_user) == (&place.0, &place.1)
                    })
                };
                // A user that a full pass did not find is gone, unless its vendor's users could not be listed.
                snapshot.users.retain(|place, _| was_found(place) || unlisted(&place.0));
                snapshot.whole = true;
                snapshot.last_pass_at = Some(pass.ended_at);
                snapshot.passes += 1;
            }
        }
        self.change();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::AccountId;
    use crate::core::schedule::Verdict;

    #[test]
    fn a_full_pass_removes_missing_users_unless_their_vendor_was_unlisted() {
        let status_store = StatusStore::default();
        let everybody = [user("acme", "a"), user("acme", "b"), user("zeta", "c")];
        status_store.pass_ended(&pass(true, &everybody));
        assert_eq!(places(&status_store), ["acme/a", "acme/b", "zeta/c"]);

        status_store.pass_ended(&pass(false, &[user("acme", "a")]));
        assert_eq!(places(&status_store), ["acme/a", "acme/b", "zeta/c"], "the others were not asked for");

        let unlisted = UserReport { failed: true, ..vendor("zeta") };
        status_store.pass_ended(&pass(true, &[user("acme", "a"), unlisted]));
        assert_eq!(places(&status_store), ["acme/a", "zeta", "zeta/c"]);

        let failed = UserReport { failed: true, ..user("zeta", "d") };
        status_store.pass_ended(&pass(true, &[user("acme", "a"), failed]));
        assert_eq!(places(&status_store), ["acme/a", "zeta/d"]);

        status_store.pass_ended(&pass(true, &[user("acme", "a"), vendor("zeta")]));
        assert_eq!(places(&status_store), ["acme/a", "zeta"], "it is switched off");
    }

    #[test]
    fn full_passes_are_counted_and_every_change_is_signalled() {
        let status_store = StatusStore::default();
        let mut changes = status_store.changes();
        let mut heard = || {
            let has_changed = changes.has_changed().expect("it is there");
            changes.mark_unchanged();
            has_changed
        };
        let before = status_store.snapshot();
        assert!(!before.whole && !before.passing && before.last_pass_at.is_none() && !heard());

        status_store.pass_begins();
        assert!(status_store.snapshot().passing && heard());
        let subject = Subject { vendor: name("acme"), account: None, iam_user: "a".parse().expect("a user") };
        status_store.reconciled(&subject, &user("acme", "a"));
        assert!(heard() && places(&status_store) == ["acme/a"]);
        status_store.unlisted(&vendor("zeta"));
        assert!(heard() && places(&status_store) == ["acme/a", "zeta"]);

        status_store.pass_ended(&pass(false, &[]));
        let asked_for = status_store.snapshot();
        assert!(!asked_for.passing && !asked_for.whole && asked_for.passes == 0 && heard());
        status_store.pass_ended(&pass(true, &[]));
        let snapshot = status_store.snapshot();
        assert!(snapshot.whole && snapshot.passes == 1 && heard());
        assert_eq!((snapshot.last_pass_at, snapshot.next_pass_at), (Some(at(20)), Some(at(80))));
        assert!(snapshot.review.is_none());
        status_store.reviewed(Summary::of(&[], at(30)));
        assert!(status_store.snapshot().review.is_some());
    }

    #[test]
    fn a_known_account_id_is_kept_when_a_later_pass_lacks_it() {
        let status_store = StatusStore::default();
        let account: AccountId = "111122223333".parse().expect("an account");
        let known = UserReport { account_id: Some(account.clone()), ..user("acme", "a") };
        status_store.pass_ended(&pass(true, &[known]));
        status_store.pass_ended(&pass(true, &[user("acme", "a")]));
        let snapshot = status_store.snapshot();
        assert_eq!(snapshot.users.values().next().and_then(|seen| seen.account_id.clone()), Some(account));
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    fn name(vendor: &str) -> VendorName {
        vendor.parse().expect("a vendor")
    }

    fn vendor(vendor: &str) -> UserReport {
        UserReport::of(name(vendor), None, Verdict::disabled())
    }

    fn user(vendor: &str, user: &str) -> UserReport {
        UserReport::of(name(vendor), Some(user.parse().expect("a user")), Verdict::disabled())
    }

    fn pass(whole: bool, found: &[UserReport]) -> Pass {
        Pass { began_at: at(10), ended_at: at(20), whole, found: found.to_vec(), next_at: Some(at(80)) }
    }

    fn places(status_store: &StatusStore) -> Vec<String> {
        let place = |(vendor, user): &(VendorName, Option<IamUserName>)| match user {
            Some(user) => format!("{vendor}/{user}"),
            None => vendor.to_string(),
        };
        status_store.snapshot().users.keys().map(place).collect()
    }
}
