//! The lookout: what was seen last of everybody, for those who show it or tell of it.
//!
//! Metrics, the page and the alerts are made of this and of the journal. Nobody who looks at a page causes a call to
//! AWS.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::alert::ClockReading;
use crate::audit::Summary;
use crate::driver::{Pass, Visited, Watcher};
use crate::ids::{AccountName, IamUserName, Subject, VendorName};
use crate::rotation::{Event, Rotation};
use crate::time::Timestamp;

/// What was seen last.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// Of each vendor and user.
    pub users: BTreeMap<(VendorName, Option<IamUserName>), Visited>,
    /// Whether everybody was seen at least once.
    pub whole: bool,
    /// Whether a pass is being made just now.
    pub passing: bool,
    /// When the last full pass was over.
    pub last_pass_at: Option<Timestamp>,
    /// When the next pass is due.
    pub next_pass_at: Option<Timestamp>,
    /// How many full passes were made.
    pub passes: u64,
    /// What the last review of the accounts came to.
    pub review: Option<Summary>,
    /// The last comparison of our clock with that of each account.
    pub clocks: BTreeMap<Option<AccountName>, ClockReading>,
}

/// Remembers what was seen last, and says when that changes.
pub struct Lookout {
    sight: Mutex<Sight>,
    changes: watch::Sender<()>,
}

impl Default for Lookout {
    fn default() -> Lookout {
        Lookout { sight: Mutex::default(), changes: watch::Sender::new(()) }
    }
}

impl Lookout {
    /// What was seen last.
    #[must_use]
    pub fn sight(&self) -> Sight {
        self.locked().clone()
    }

    /// Takes what a review of the accounts came to. It is shown; the alert sinks get it from the notifier.
    pub fn reviewed(&self, review: Summary) {
        self.locked().review = Some(review);
    }

    /// Takes a comparison of our clock with that of an account. Alerts and metrics are made of the last one.
    pub fn clock_was_compared(&self, reading: &ClockReading) {
        let before = self.locked().clocks.insert(reading.account.clone(), reading.clone());
        if before.is_none_or(|before| before.is_accepted != reading.is_accepted) {
            self.change();
        }
    }

    /// Hears of each change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Each change is whole before a panic could happen, so a poisoned lock holds a sound state.
    fn locked(&self) -> MutexGuard<'_, Sight> {
        self.sight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, visited: &Visited) {
        let mut visited = visited.clone();
        let mut sight = self.locked();
        let place = (visited.vendor.clone(), visited.iam_user.clone());
        if let Some(before) = sight.users.get(&place) {
            // A rotation under way is driven without a listing; what was known of the account stays known.
            visited.account_id = visited.account_id.or_else(|| before.account_id.clone());
        }
        sight.users.insert(place, visited);
    }

    fn change(&self) {
        self.changes.send_replace(());
    }
}

impl Watcher for Lookout {
    fn appended(&self, _rotation: &Rotation, _event: &Event) {}

    fn visited(&self, _subject: &Subject, visited: &Visited) {
        self.see(visited);
        self.change();
    }

    fn clocks_compared(&self, readings: &[ClockReading]) {
        for reading in readings {
            self.clock_was_compared(reading);
        }
    }

    fn unlisted(&self, visited: &Visited) {
        self.see(visited);
        self.change();
    }

    fn pass_begins(&self) {
        self.locked().passing = true;
        self.change();
    }

    fn pass_ended(&self, pass: &Pass) {
        for visited in &pass.found {
            self.see(visited);
        }
        {
            let mut sight = self.locked();
            sight.passing = false;
            sight.next_pass_at = pass.next_at;
            if pass.whole {
                let unlisted = |vendor: &VendorName| {
                    pass.found.iter().any(|visited| {
                        visited.vendor == *vendor && visited.iam_user.is_none() && visited.failed
                    })
                };
                let was_found = |place: &(VendorName, Option<IamUserName>)| {
                    pass.found
                        .iter()
                        .any(|visited| (&visited.vendor, &visited.iam_user) == (&place.0, &place.1))
                };
                sight.users.retain(|place, _| was_found(place) || unlisted(&place.0));
                sight.whole = true;
                sight.last_pass_at = Some(pass.ended_at);
                sight.passes += 1;
            }
        }
        self.change();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::AccountId;
    use crate::schedule::Verdict;

    #[test]
    fn whoever_was_not_found_in_a_full_pass_is_gone_unless_nobody_could_say_who_there_is() {
        let lookout = Lookout::default();
        let everybody = [user("acme", "a"), user("acme", "b"), user("zeta", "c")];
        lookout.pass_ended(&pass(true, &everybody));
        assert_eq!(places(&lookout), ["acme/a", "acme/b", "zeta/c"]);

        lookout.pass_ended(&pass(false, &[user("acme", "a")]));
        assert_eq!(places(&lookout), ["acme/a", "acme/b", "zeta/c"], "the others were not asked for");

        let unlisted = Visited { failed: true, ..vendor("zeta") };
        lookout.pass_ended(&pass(true, &[user("acme", "a"), unlisted]));
        assert_eq!(places(&lookout), ["acme/a", "zeta", "zeta/c"]);

        let failed = Visited { failed: true, ..user("zeta", "d") };
        lookout.pass_ended(&pass(true, &[user("acme", "a"), failed]));
        assert_eq!(places(&lookout), ["acme/a", "zeta/d"]);

        lookout.pass_ended(&pass(true, &[user("acme", "a"), vendor("zeta")]));
        assert_eq!(places(&lookout), ["acme/a", "zeta"], "it is switched off");
    }

    #[test]
    fn full_passes_are_counted_and_every_change_is_heard_of() {
        let lookout = Lookout::default();
        let mut changes = lookout.changes();
        let mut heard = || {
            let has_changed = changes.has_changed().expect("it is there");
            changes.mark_unchanged();
            has_changed
        };
        let before = lookout.sight();
        assert!(!before.whole && !before.passing && before.last_pass_at.is_none() && !heard());

        lookout.pass_begins();
        assert!(lookout.sight().passing && heard());
        let subject = Subject { vendor: name("acme"), account: None, iam_user: "a".parse().expect("a user") };
        lookout.visited(&subject, &user("acme", "a"));
        assert!(heard() && places(&lookout) == ["acme/a"]);
        lookout.unlisted(&vendor("zeta"));
        assert!(heard() && places(&lookout) == ["acme/a", "zeta"]);

        lookout.pass_ended(&pass(false, &[]));
        let asked_for = lookout.sight();
        assert!(!asked_for.passing && !asked_for.whole && asked_for.passes == 0 && heard());
        lookout.pass_ended(&pass(true, &[]));
        let sight = lookout.sight();
        assert!(sight.whole && sight.passes == 1 && heard());
        assert_eq!((sight.last_pass_at, sight.next_pass_at), (Some(at(20)), Some(at(80))));
        assert!(sight.review.is_none());
        lookout.reviewed(Summary::of(&[], at(30)));
        assert!(lookout.sight().review.is_some());
    }

    #[test]
    fn an_account_that_was_known_stays_known() {
        let lookout = Lookout::default();
        let account: AccountId = "111122223333".parse().expect("an account");
        let known = Visited { account_id: Some(account.clone()), ..user("acme", "a") };
        lookout.pass_ended(&pass(true, &[known]));
        lookout.pass_ended(&pass(true, &[user("acme", "a")]));
        let sight = lookout.sight();
        assert_eq!(sight.users.values().next().and_then(|seen| seen.account_id.clone()), Some(account));
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    fn name(vendor: &str) -> VendorName {
        vendor.parse().expect("a vendor")
    }

    fn vendor(vendor: &str) -> Visited {
        Visited::of(name(vendor), None, Verdict::disabled())
    }

    fn user(vendor: &str, user: &str) -> Visited {
        Visited::of(name(vendor), Some(user.parse().expect("a user")), Verdict::disabled())
    }

    fn pass(whole: bool, found: &[Visited]) -> Pass {
        Pass { began_at: at(10), ended_at: at(20), whole, found: found.to_vec(), next_at: Some(at(80)) }
    }

    fn places(lookout: &Lookout) -> Vec<String> {
        let place = |(vendor, user): &(VendorName, Option<IamUserName>)| match user {
            Some(user) => format!("{vendor}/{user}"),
            None => vendor.to_string(),
        };
        lookout.sight().users.keys().map(place).collect()
    }
}
