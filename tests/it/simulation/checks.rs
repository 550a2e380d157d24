//! The checkers: what may never happen, looked at with each change of the world, and at the end.

use std::time::Duration;

use keyround::core::ids::{AccessKeyId, IamUserName};
use keyround::core::rotation::{Blocker, Event, KeyUsage, Next, Rotation};
use keyround::core::secret::Secret;
use keyround::core::time::Timestamp;

use super::cast::Cast;
use super::cloud::{LATE_MAX, Maker, User};
use super::world::State;

/// Between the last question to a vendor and the end of its old key lie a quarter of an hour and the call
/// itself, which may be late: who goes back in that time cannot be seen to.
const UNSEEN: Duration = Duration::from_mins(40);
/// Between the last look at the keys and the end of one of them lie a minute and the call itself.
const LISTING_GOOD: Duration = Duration::from_mins(2).saturating_add(LATE_MAX);
/// Last-used is good for a quarter of an hour by a clock that can be set back ten minutes; a request without an answer is
/// tried again on the same reading, until a listing five minutes after the last try shows that none of them was done.
const USAGE_GOOD: Duration = Duration::from_hours(1);
/// The program's clock may be this wrong and AWS still talks to it, at either end of a span.
const SKEW: Duration = Duration::from_mins(11);
/// IAM's dates and ours, and how long a listing is not believed (docs/security.md, Limits).
const DOUBT_SLACK: Duration = Duration::from_mins(6);
/// However bad the days are, calls stay few: passes, a hundred questions for a key that AWS does not know, retries.
const CALLS_A_DAY_MAX: u32 = 400;

impl State {
    /// The program takes a key away: never the vendor's, never a stranger's.
    pub(super) fn check_taking(&mut self, user: &IamUserName, id: &AccessKeyId, what: &str) {
        let now = self.now();
        let leans = self.leans_on(user, id);
        let went_back_at = self.user(user).consumer.went_back_at;
        // Halves of two pairs show in the dates of last use only, which come late.
        let shown_from = self.user(user).usage_read_at.minus(self.user(user).usage_lag);
        let is_mixed = self.held(user).is_none();
        let was_unseen =
            went_back_at.is_some_and(|at| now.since(at) < UNSEEN || (is_mixed && shown_from < at));
        let Some(key) = self.key(user, id).map(|key| key.clone()) else { return };
        let is_replaced = self
            .rotations
            .values()
            .any(|rotation| rotation.subject().iam_user == *user && rotation.old() == id);
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

    /// A key that works is set Inactive on what was seen just now, not on what was seen before a crash.
    pub(super) fn check_evidence(&mut self, user: &IamUserName, id: &AccessKeyId) {
        let read_at = self.user(user).usage_read_at;
        let Some(rotation) = self.in_flight(user).filter(|rotation| rotation.old() == id) else { return };
        let plan = rotation.plan();
        let is_read = plan.requires_use() || !plan.quiet_for.is_zero();
        let is_old = is_read && read_at + USAGE_GOOD < self.now();
        if is_old && self.key(user, id).is_some_and(|key| key.works() && key.meddled_at.is_none()) {
            self.break_with(format!("{id} of {user} was set Inactive on a reading of {read_at}"));
        }
    }

    /// Only what was Inactive for its time is deleted, but for keys of ours that nobody was offered.
    pub(super) fn check_deleting(&mut self, user: &IamUserName, id: &AccessKeyId) {
        self.check_taking(user, id, "deleted");
        let cool = self.cools_begun.get(user).copied().unwrap_or_default();
        let now = self.now();
        let User { listed_at, lag_max, .. } = *self.user(user);
        let Some(key) = self.key(user, id) else { return };
        let cooling = if key.offered { cool } else { Duration::ZERO };
        let cooled = key.inactive_since.is_some_and(|since| since + cooling <= now + SKEW);
        // Somebody set it Active and Inactive again, of which no listing tells; or it is a key whose secret nobody has; or
        // it was set Active when the last look before the end had been taken.
        let is_unlisted = |at| at + lag_max > listed_at && now <= listed_at + LISTING_GOOD;
        let is_unseen =
            key.meddled_at.is_some_and(|at| key.inactive_since.is_some() || !key.offered || is_unlisted(at));
        if !cooled && !is_unseen {
            let since = key.inactive_since;
            self.break_with(format!("{id} of {user} was deleted, Inactive since {since:?}"));
        }
    }

    /// What was just written down.
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
            // Who gives up then says that the key stays, and ends the hold.
            Event::Abandoned { .. } => {
                self.holds.remove(&user);
                if let Some(key) = self.undecided.remove(&user).and_then(|id| self.key(&user, &id)) {
                    key.offered = true;
                }
            }
            _ => {}
        }
        // From here on the journal says that the vendor may have it, whatever came of the request.
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

    /// A visit is over, and no rotation is under way: then no key is left that we made and offered nobody.
    pub(super) fn check_nothing_left_over(&mut self, user: &IamUserName) {
        let now = self.now();
        // Of two keys that the journal does not know none is chosen, and the verdict says so.
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

    /// After a month in which nothing went wrong, and people did what they were told.
    pub(super) fn check_at_rest(&mut self, cast: &Cast, calm_since: Timestamp) {
        let users: Vec<IamUserName> = self.users.keys().cloned().collect();
        for user in users {
            self.check_user_at_rest(&user, cast, calm_since);
        }
        if self.calls_a_day_max > CALLS_A_DAY_MAX + cast.passes_a_day() {
            self.break_with(format!("{} calls for one user in a day", self.calls_a_day_max));
        }
    }

    fn check_user_at_rest(&mut self, user: &IamUserName, cast: &Cast, calm_since: Timestamp) {
        let now = self.now();
        let place = self.place(user);
        let begun = self.in_flight(user).map(Rotation::started_at);
        // A rotation that began in the calm may be in the hours between two writes.
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
