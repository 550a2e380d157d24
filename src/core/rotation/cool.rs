//! The cooling time: the old key is Inactive, and can be set Active again until it is deleted.
//!
//! A vendor that breaks usually breaks right after its old key was set Inactive, so keyround checks the vendor often at
//! first and rarely later. Such a check is called a question. Each question ends with a listing, so that it also finds
//! a new key that somebody set Inactive.
//!
//! **Invariant:** the old key is deleted only after keyround has asked AWS, at the end of the cooling time, for the
//! last use and the status of both keys, and has asked the vendor, if it can be asked.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::ids::AccessKeyId;
use crate::core::rotation::apply::soak_anew;
use crate::core::rotation::effect::Effect;
use crate::core::rotation::event::{EffectKind, KeyStatus, KeyUsage};
use crate::core::rotation::listing::LISTING_SETTLES;
use crate::core::rotation::machine::{EVIDENCE_FRESH, Rotation, is_good, superseded};
use crate::core::rotation::next::{Blocker, Next, Waiting};
use crate::core::rotation::stage::{Stage, stuck};
use crate::core::time::{Timestamp, in_words};

/// When the first questions are due, counted from when the old key was set Inactive.
const FIRST_QUESTIONS: [Duration; 4] =
    [Duration::from_mins(5), Duration::from_mins(15), Duration::from_hours(1), Duration::from_hours(3)];
/// How many questions the cooling time has besides the first ones.
const COOLING_QUESTIONS: u32 = 8;
const COOLING_QUESTION_EVERY_MIN: Duration = Duration::from_hours(1);
/// A use of the old key this soon after it was set Inactive may have happened before, because the clocks of AWS and of
/// this machine differ.
const USE_AFTER_RETIREMENT_MIN: Duration = Duration::from_mins(1);
/// AWS may publish a last use hours late. A cooling time that is shorter than this cannot show whether the new key is
/// in use.
const USE_PUBLISHED_WITHIN: Duration = Duration::from_hours(4);
/// A vendor that cannot be asked, and that used the new key regularly, may leave it unused for a night.
const SILENCE_MIN: Duration = Duration::from_hours(20);
/// Such a vendor may also leave the new key unused for this many times as long as the key had been unused when the old
/// one was set Inactive.
const SILENCE_FACTOR: u32 = 4;

/// The last reading of last-used, and when it was taken.
pub(super) type UsageReading = (BTreeMap<AccessKeyId, KeyUsage>, Timestamp);

impl Rotation {
    pub(super) fn next_in_cool(&self, now: Timestamp) -> Next {
        let (Stage::Cool { new, accepted_at, asked_at, listed_at, usage, .. }, Some(old)) =
            (&self.stage, &self.old)
        else {
            return self.next_in_stage(now);
        };
        // A clock that was ahead wrote these times. The time of the listing replaces them.
        let newest = [Some(self.since), Some(*accepted_at), *listed_at].into_iter().flatten().max();
        if newest > Some(now) {
            return Next::Perform(Effect::ListKeys);
        }
        let cooled = self.since + self.plan.cool;
        if now < cooled || self.held(now).is_some() {
            let due = self.next_question(listed_at.unwrap_or(self.since));
            let due = if now < cooled { due.min(cooled) } else { due };
            return if now < due {
                Next::Wait { until: due, why: Waiting::Cool }
            } else {
                Next::Perform(self.question(due, now))
            };
        }
        if let Some(wait) = self.unused_since_retirement(usage.as_ref(), *listed_at, now) {
            return wait;
        }
        if self.plan.can_ask_vendor && !is_good(Some(*asked_at), EVIDENCE_FRESH, now) {
            return Next::Perform(Effect::Verify { key: new.clone() });
        }
        if !is_good(usage.as_ref().map(|(_, read_at)| *read_at), EVIDENCE_FRESH, now) {
            return Next::Perform(self.read_usage(new));
        }
        let listed_at = listed_at.filter(|at| *at >= cooled);
        if let Some(look) = self.last_look(new, Some(*asked_at), listed_at, now) {
            return look;
        }
        Next::Perform(Effect::Delete { key: old.clone(), evidence: superseded(new, *asked_at) })
    }

    /// The next effect of a question. A question asks the vendor if it can be asked, reads last-used if only that can
    /// tell, and then lists the keys.
    fn question(&self, due: Timestamp, now: Timestamp) -> Effect {
        let Stage::Cool { new, asked_at, usage, .. } = &self.stage else { return Effect::ListKeys };
        if self.plan.can_ask_vendor && (*asked_at < due || *asked_at > now) {
            return Effect::Verify { key: new.clone() };
        }
        let read_at = usage.as_ref().map(|(_, read_at)| *read_at);
        let silence_counts = self.silent_until().is_some_and(|until| until <= now);
        if !self.plan.can_ask_vendor && silence_counts && read_at.is_none_or(|at| at < due || at > now) {
            return self.read_usage(new);
        }
        Effect::ListKeys
    }

    /// When the next question is due, if the last one was at `last`.
    pub(super) fn next_question(&self, last: Timestamp) -> Timestamp {
        let every = (self.plan.cool / COOLING_QUESTIONS).max(COOLING_QUESTION_EVERY_MIN);
        let early = FIRST_QUESTIONS.into_iter().map(|span| self.since + span).find(|at| *at > last);
        let regular = early.unwrap_or(last + every);
        self.silent_until().filter(|until| *until > last).map_or(regular, |until| until.min(regular))
    }

    /// How long a vendor that cannot be asked may leave the new key unused; `None`: last-used cannot tell.
    fn silence_allowed(&self) -> Option<Duration> {
        let Stage::Cool { unused_for, .. } = &self.stage else { return None };
        unused_for.map(|span| (span * SILENCE_FACTOR).max(SILENCE_MIN))
    }

    /// Until when the vendor may leave the new key unused, by the last reading; `None`: the vendor can be asked, or
    /// last-used cannot tell.
    fn silent_until(&self) -> Option<Timestamp> {
        let Stage::Cool { new, usage, .. } = &self.stage else { return None };
        let allowed = self.silence_allowed().filter(|_| !self.plan.can_ask_vendor)?;
        let used_at = usage.as_ref().and_then(|(usage, _)| self.used_by_vendor_at(usage.get(new), None));
        Some(used_at.map_or(self.since, |at| at.max(self.since)) + allowed)
    }

    /// The wait for a use of the new key, if the plan requires one and AWS has recorded none since the old key was set
    /// Inactive. AWS is asked again as often as a question is due.
    fn unused_since_retirement(
        &self,
        usage: Option<&UsageReading>,
        listed_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Next> {
        let Stage::Cool { new, .. } = &self.stage else { return None };
        if !self.plan.requires_use() || self.plan.cool < USE_PUBLISHED_WITHIN {
            return None;
        }
        let (usage, read_at) = usage.filter(|(_, read_at)| *read_at >= self.since + self.plan.cool)?;
        let used_at = self.used_by_vendor_at(usage.get(new), self.of_old(usage));
        if used_at.is_some_and(|at| at >= self.since) {
            return None;
        }
        if listed_at.is_none_or(|at| at < *read_at) {
            return Some(Next::Perform(Effect::ListKeys));
        }
        let until = self.next_question(*read_at);
        let why = Waiting::UseAfterRetirement { since: self.since };
        (now < until).then_some(Next::Wait { until, why })
    }

    /// The cool stage that begins when the old key was set Inactive.
    pub(super) fn begin_cooling(&self, soak: Stage, at: Timestamp) -> Option<Stage> {
        let Stage::Soak { new, accepted_at, asked_at, usage, .. } = soak else { return None };
        let unused_for = usage.as_ref().filter(|_| self.plan.requires_use()).and_then(|(usage, read_at)| {
            let used_at = self.used_by_vendor_at(usage.get(&new), self.of_old(usage))?;
            Some(read_at.since(used_at))
        });
        // In an incident, the vendor may not have been asked since it was offered the key.
        let unasked = if self.old_is_exposed() { accepted_at } else { at };
        let asked_at = asked_at.unwrap_or(unasked);
        Some(Stage::Cool { new, accepted_at, asked_at, listed_at: None, usage: None, unused_for })
    }

    /// The stage after a reading of last-used while the old key cools. `None`: the reading is counted as trouble.
    pub(super) fn read_while_cooling(
        &mut self,
        seen: &BTreeMap<AccessKeyId, KeyUsage>,
        at: Timestamp,
    ) -> Option<Stage> {
        let Stage::Cool { new, accepted_at, asked_at, listed_at, unused_for, .. } = self.stage.clone() else {
            return None;
        };
        let usage = Some((seen.clone(), at));
        let mut cool = Stage::Cool { new: new.clone(), accepted_at, asked_at, listed_at, usage, unused_for };
        if let Some(KeyUsage::Used { last_used_at, .. }) = self.of_old(seen)
            && *last_used_at > self.since + USE_AFTER_RETIREMENT_MIN
        {
            // Somebody set the key Active, used it, and set it Inactive again. The vendor needed it after all, so it
            // cools anew.
            self.begin_span(at);
            self.cooled_anew = Some(*last_used_at);
            if let Stage::Cool { listed_at, .. } = &mut cool {
                *listed_at = None;
            }
            return Some(cool);
        }
        self.stage = cool.clone();
        let (Some(until), Some(allowed)) = (self.silent_until(), self.silence_allowed()) else {
            return Some(cool);
        };
        if at < until {
            return Some(cool);
        }
        let sentence = format!(
            "AWS has recorded no use of the new key {new} for {}, and it was in regular use before the old key was set \
             Inactive",
            in_words(allowed)
        );
        self.trouble(Stage::Restore { new, accepted_at }, &sentence, at);
        None
    }

    /// The stage after a listing while the old key cools. `None`: the listing is counted as a failure or as trouble.
    pub(super) fn looked_while_cooling(
        &mut self,
        stage: Stage,
        (old, new): (Option<KeyStatus>, Option<KeyStatus>),
        at: Timestamp,
    ) -> Option<Stage> {
        let Stage::Cool { new: key, accepted_at, asked_at, usage, unused_for, .. } = stage else {
            return None;
        };
        let cool = |listed_at| Stage::Cool {
            new: key.clone(),
            accepted_at,
            asked_at,
            listed_at,
            usage: usage.clone(),
            unused_for,
        };
        Some(match (old, new) {
            // An earlier request of ours deleted the old key, or somebody else did. The vendor works with the new key.
            (None, Some(KeyStatus::Active)) => Stage::Done { new: key },
            // The old key is gone and the new one is gone or not Active, or the user was renamed, made anew, or is in
            // another account.
            (None, new) => {
                let old = self.old.clone()?;
                let blocker = Blocker::NoKeyLeft { old, new: key.clone(), exists: new.is_some() };
                stuck(blocker, cool(None))
            }
            (Some(KeyStatus::Active), _) if at < self.since + LISTING_SETTLES || self.old_is_exposed() => {
                // A listing may lag behind our own request; one that was taken after LISTING_SETTLES is believed. What
                // it shows of the new key is true, and that is all that a question needs; a deletion waits for a
                // listing that shows the expected status of both. An exposed key that is Active is set Inactive again,
                // and cools anew (`incident.rs`).
                if new != Some(KeyStatus::Active) {
                    self.new_key_taken_away(key, new, accepted_at, at);
                    return None;
                }
                if at < self.since + self.plan.cool {
                    return Some(cool(Some(at)));
                }
                self.fail(EffectKind::List, "the listing does not show the old key Inactive yet", None, at);
                return None;
            }
            (Some(KeyStatus::Active), _) => {
                // Somebody set the old key Active and will have had a reason, so the soak begins anew.
                self.reactivations += 1;
                self.in_doubt = None;
                soak_anew(key, accepted_at)
            }
            (Some(_), None | Some(KeyStatus::Inactive | KeyStatus::Expired)) => {
                self.new_key_taken_away(key, new, accepted_at, at);
                return None;
            }
            (Some(KeyStatus::Inactive | KeyStatus::Expired), Some(KeyStatus::Active)) => cool(Some(at)),
        })
    }

    /// When the old key was used although it had been set Inactive, which made it cool anew; `None`: it was not.
    #[must_use]
    pub fn cooled_anew(&self) -> Option<Timestamp> {
        self.cooled_anew
    }
}
