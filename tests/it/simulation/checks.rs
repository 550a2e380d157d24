//! The checkers. They check the promises of `src/lib.rs` ("What always holds") with each change of the world,
//! and that all is well at the end.

use std::time::Duration;

use keyround::core::ids::{AccessKeyId, IamUserName};
use keyround::core::rotation::{Blocker, Event, KeyUsage, Next, Rotation};
use keyround::core::secret::Secret;
use keyround::core::time::Timestamp;

use super::cast::Cast;
use super::cloud::{LATE_MAX, Maker, User};
use super::world::State;

/// Between the last check of a vendor and the end of its old key lie a quarter of an hour and the call itself,
/// which may be late. The program cannot notice a vendor that goes back to the old key in that time.
const UNSEEN: Duration = Duration::from_mins(40);
/// Between the last listing of the keys and the end of one of them lie a minute and the call itself.
const LISTING_GOOD: Duration = Duration::from_mins(2).saturating_add(LATE_MAX);
/// A last-used reading is valid for a quarter of an hour by a clock that can be set back ten minutes. A request
/// without an answer is retried on the same reading, until a listing five minutes after the last attempt shows that
/// none of them took effect.
const USAGE_GOOD: Duration = Duration::from_hours(1);
/// The error of the program's clock with which AWS still accepts its requests, at either end of a span.
const SKEW: Duration = Duration::from_mins(11);
/// The differences between IAM's dates and the program's clock, and the time for which the program does not trust a
/// listing (docs/security.md, Limits).
const DOUBT_SLACK: Duration = Duration::from_mins(6);
/// The bound on calls for one user in a day, however many faults there are. It covers passes, a hundred probes of a
/// key that AWS does not know yet, and retries.
const CALLS_A_DAY_MAX: u32 = 400;
/// The same while a pair may have to be completed: each five minutes a listing and a request that is sent three times.
const PAIR_CALLS_A_DAY_MAX: u32 = 24 * 12 * 4;

impl State {
    /// The program deactivates or deletes a key. It must never be one that the vendor depends on, or another
    /// person's key.
    pub(super) fn check_taking(&mut self, user: &IamUserName, id: &AccessKeyId, what: &str) {
        let now = self.now();
        let leans = self.leans_on(user, id);
        let went_back_at = self.user(user).consumer.went_back_at;
        // A vendor that holds halves of two pairs is visible only in the last-used dates, which come late.
        let shown_from = self.user(user).usage_read_at.minus(self.user(user).usage_lag);
        let is_mixed = self.held(user).is_none();
        let was_unseen =
            went_back_at.is_some_and(|at| now.since(at) < UNSEEN || (is_mixed && shown_from < at));
        let Some(key) = self.key(user, id).map(|key| key.clone()) else { return };
        let is_replaced = self
            .rotations
            .values()
            .any(|rotation| rotation.subject().iam_user == *user && rotation.old() == Some(id));
        if key.maker == Maker::Stranger && !is_replaced {
            let (read_at, lag) = (self.user(user).usage_read_at, self.user(user).usage_lag);
            let unseen_use = key.usage(read_at.minus(lag)) == KeyUsage::Never;
            let in_doubt = self.user(user).doubts.iter().any(|(from, until)| {
                key.created_at + DOUBT_SLACK >= *from && key.created_at <= *until + DOUBT_SLACK
            });
            if unseen_use && in_doubt {
                self.known_limit_met += 1;
            } else {
                self.break_with(format!("{id}, a stranger's key of {user}, was {what}"));
            }
        }
        if leans && !was_unseen && key.meddled_at.is_none() {
            self.break_with(format!("{id}, which the vendor of {user} works with, was {what}"));
        }
    }

    /// The program must set a working key Inactive on a recent last-used reading, not on one from before a crash.
    pub(super) fn check_evidence(&mut self, user: &IamUserName, id: &AccessKeyId) {
        let read_at = self.user(user).usage_read_at;
        let Some(rotation) = self.in_flight(user).filter(|rotation| rotation.old() == Some(id)) else {
            return;
        };
        let plan = rotation.plan();
        let is_read = plan.requires_use() || !plan.quiet_for.is_zero();
        let is_old = is_read && read_at + USAGE_GOOD < self.now();
        if is_old && self.key(user, id).is_some_and(|key| key.works() && key.meddled_at.is_none()) {
            self.break_with(format!("{id} of {user} was set Inactive on a reading of {read_at}"));
        }
    }

    /// Only a key that was Inactive for its cooling time is deleted, except for keys of ours that were never offered.
    pub(super) fn check_deleting(&mut self, user: &IamUserName, id: &AccessKeyId) {
        self.check_taking(user, id, "deleted");
        let cool = self.cools_begun.get(user).copied().unwrap_or_default();
        let now = self.now();
        let User { listed_at, lag_max, .. } = *self.user(user);
        let Some(key) = self.key(user, id) else { return };
        let cooling = if key.offered { cool } else { Duration::ZERO };
        let cooled = key.inactive_since.is_some_and(|since| since + cooling <= now + SKEW);
        // Excused, because another person changed the key: it is Inactive again, and no listing shows that it was
        // Active; or it was never offered; or the last listing, which was recent enough to act on, may not show the
        // change yet.
        let is_unlisted = |at| at + lag_max > listed_at && now <= listed_at + LISTING_GOOD;
        let is_unseen =
            key.meddled_at.is_some_and(|at| key.inactive_since.is_some() || !key.offered || is_unlisted(at));
        if !cooled && !is_unseen {
            let since = key.inactive_since;
            self.break_with(format!("{id} of {user} was deleted, Inactive since {since:?}"));
        }
    }

    /// Checks an event that the journal has just stored.
    pub(super) fn check_event(&mut self, rotation: &Rotation, event: &Event, secret: Option<&Secret>) {
        let user = rotation.subject().iam_user.clone();
        if secret.is_some() && !rotation.needs_secret() {
            self.break_with(format!("the secret of {user} outlives {}", event.name()));
        }
        match event {
            Event::Started { reason, .. } => {
                self.holds.remove(&user);
                let cool = self.cool_of(&user);
                self.cools_begun.insert(user.clone(), cool);
                self.mark_code(reason);
            }
            Event::UsageRead { .. } => self.user(&user).usage_read_at = self.now(),
            Event::Held { until, at, .. } => drop(self.holds.insert(user.clone(), (*at, *until))),
            Event::Resumed { .. } => {
                self.holds.remove(&user);
                self.undecided.remove(&user);
            }
            // With an abandon, the operator decides that the key stays, and ends the hold.
            Event::Abandoned { .. } => {
                self.holds.remove(&user);
                if let Some(key) = self.undecided.remove(&user).and_then(|id| self.key(&user, &id)) {
                    key.offered = true;
                }
            }
            _ => {}
        }
        // From this event on, the journal treats the key as offered, whatever the result of the request.
        let offered = rotation.stage().new_key().filter(|_| rotation.offered_at().is_some());
        if let Some(key) = offered.and_then(|id| self.key(&user, id)) {
            key.offered = true;
        }
        let next = rotation.next(self.clock());
        if let Next::Stuck(Blocker::NoFreeSlot { other }) = &next {
            let is_ours = |key: &mut super::cloud::Key| key.maker == Maker::Program && !key.offered;
            if self.key(&user, other).is_some_and(is_ours) {
                self.break_with(format!("{user} is stuck for {other}, a key of our own"));
            }
        }
        if let Next::Stuck(Blocker::NotDiscarded { key }) = &next {
            self.undecided.insert(user.clone(), key.clone());
        }
        let code = match next {
            Next::Perform(effect) => effect.name(),
            Next::Wait { why, .. } => why.code(),
            Next::Stuck(blocker) => blocker.code(),
            Next::Ended(ending) => ending.as_str(),
        };
        self.mark_code(code);
        self.mark_code(event.name());
    }

    /// After a reconcile with no rotation under way, no key may be left that the program made and did not offer.
    pub(super) fn check_nothing_left_over(&mut self, user: &IamUserName) {
        let now = self.now();
        // With another person's key beside it, the program does not choose between two keys that the journal does
        // not name; its verdict reports that.
        let is_strange = |key: &super::cloud::Key| key.maker == Maker::Stranger && key.status().is_some();
        if self.place(user) != "idle" || self.user(user).keys.iter().any(is_strange) {
            return;
        }
        let is_left = |key: &&super::cloud::Key| {
            let is_ours = key.maker == Maker::Program && !key.offered && key.meddled_at.is_none();
            is_ours && key.status().is_some() && key.created_at + SKEW < now
        };
        if let Some(id) = self.user(user).keys.iter().find(is_left).map(|key| key.id.clone()) {
            self.break_with(format!("{id}, which nobody was offered, is left over at {user}"));
        }
    }

    /// Checks the world after a month in which nothing went wrong and operators did what the messages told them.
    pub(super) fn check_at_rest(&mut self, cast: &Cast, calm_since: Timestamp) {
        let users: Vec<IamUserName> = self.users.keys().cloned().collect();
        for user in users {
            self.check_user_at_rest(&user, cast, calm_since);
        }
        if self.calls_a_day_max > CALLS_A_DAY_MAX + cast.passes_a_day() {
            self.break_with(format!("{} calls for one user in a day", self.calls_a_day_max));
        }
        if self.pair_calls_a_day_max > PAIR_CALLS_A_DAY_MAX + cast.passes_a_day() {
            self.break_with(format!("{} calls to complete a pair in a day", self.pair_calls_a_day_max));
        }
    }

    fn check_user_at_rest(&mut self, user: &IamUserName, cast: &Cast, calm_since: Timestamp) {
        let now = self.now();
        let place = self.place(user);
        let begun = self.in_flight(user).map(Rotation::started_at);
        // A rotation that began in the calm may be in the hours between the two writes of a pair.
        let Some(held) = self.held(user) else {
            if begun.is_some_and(|begun| begun >= calm_since) {
                return;
            }
            return self.break_with(format!("at rest the halves of {user}'s pair do not fit, in {place}"));
        };
        let Some(key) = self.key(user, &held).filter(|key| key.works()).map(|key| key.clone()) else {
            return self.break_with(format!("at rest {held} of {user} does not work, in {place}"));
        };
        let old_at = key.created_at + cast.oldest_at_rest();
        if place == "idle" && old_at < now {
            self.break_with(format!(
                "at rest {held} of {user} is {} days old",
                now.days_since(key.created_at)
            ));
        }
        let keys = self.slots_taken(user);
        if place == "idle" && keys != 1 {
            self.break_with(format!("at rest {user} has {keys} keys"));
        }
        if begun.is_some_and(|begun| begun < calm_since) {
            self.break_with(format!("a rotation of {user} that began in the storm is still in {place}"));
        }
        if place == "stuck" {
            self.break_with(format!("at rest {user} is stuck"));
        }
    }
}
