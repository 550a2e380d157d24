//! Applies events to a rotation. `stage_after` is one table that covers every pair of a stage and an event.
//!
//! **Invariant:** an event that the stage forbids is an error, and never ignored. A journal with such an event was
//! damaged, or written by a version with other rules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::ids::{AccessKeyId, RotationId};
use crate::core::rotation::dates::OwnDate;
use crate::core::rotation::doubt::{self, PendingSpan};
use crate::core::rotation::event::{EffectKind, Event, Intent, KeyUsage};
use crate::core::rotation::hold::Hold;
use crate::core::rotation::known_keys::KnownKeys;
use crate::core::rotation::machine::{IllegalEvent, Rotation};
use crate::core::rotation::next::Blocker;
use crate::core::rotation::pair::AtVendor;
use crate::core::rotation::refusal::{Doubt, Refusal, RefusalCode};
use crate::core::rotation::retry;
use crate::core::rotation::stage::{Stage, stuck};
use crate::core::time::Timestamp;

/// AWS refuses a request that is dated further from its own clock than this (`SigV4`; 5 minutes for most calls, 15 for
/// some). So its dates and ours are at most this far apart, and no request takes effect later than this after it was
/// signed.
pub(super) const CLOCK_SKEW_MAX: Duration = Duration::from_mins(15);
/// How often AWS may refuse a new key before the rotation is stuck: ten minutes at the default interval of the proofs.
/// AWS does not know a new key for seconds, rarely minutes, so more than that is not propagation.
const NOT_USABLE_MAX: u32 = 100;
/// The shortest wait before the next proof of a key that AWS does not know yet, even if the plan's interval is shorter.
const NOT_USABLE_WAIT_MIN: Duration = Duration::from_secs(5);
/// After this many failures to set the old key Active, another answer that it does not exist ends the attempts.
const NO_SUCH_KEY_MAX: u32 = 2;
/// After the vendor has named another key this many times, a delivery that it accepted is made afresh.
const DENIALS_BEFORE_REDELIVERY: u32 = 3;
/// How often the soak begins anew after the old key was set Active for a vendor in trouble; then a person must look.
const TROUBLES_MAX: u32 = 3;

impl Rotation {
    /// Begins a rotation with its first event; `None`: this event does not begin one.
    pub(super) fn start(id: RotationId, event: &Event) -> Option<Rotation> {
        let (subject, old, plan, account_id, at) = match event {
            Event::Started { subject, old, old_created_at, plan, account_id, at, .. } => {
                (subject, Some((old.clone(), *old_created_at)), plan, account_id, at)
            }
            Event::IssueAsked { subject, plan, account_id, at, .. } => (subject, None, plan, account_id, at),
            Event::OffboardAsked { begins: Some(begins), at, .. } => {
                (&begins.subject, None, &begins.plan, &begins.account_id, at)
            }
            _ => return None,
        };
        let (old, old_created_at) = old.unzip();
        let at_vendor = if old.is_some() { AtVendor::old() } else { AtVendor::unknown() };
        let mut rotation = Rotation {
            id,
            events: 1,
            subject: subject.clone(),
            old,
            old_created_at,
            bystanders: BTreeSet::new(),
            given: None,
            started_at: *at,
            plan: plan.clone(),
            account_id: account_id.clone(),
            stage: Stage::Survey,
            since: *at,
            since_first: None,
            in_doubt: None,
            doubt_span: None,
            not_before: Timestamp::EPOCH,
            wait_set_at: Timestamp::EPOCH,
            failures: 0,
            failing: None,
            last_fault: None,
            offered_at: None,
            is_first_offer: false,
            revealed_at: None,
            last_probe: OwnDate::NEVER,
            reactivations: 0,
            troubles: 0,
            hold: None,
            abandoning: false,
            known_keys: KnownKeys::default(),
            failing_since: None,
            last_event_at: *at,
            limit_refusals: 0,
            discarded: BTreeMap::new(),
            deletion_intended: false,
            cooled_anew: None,
            at_vendor,
            incident: None,
            offboarding: None,
            exposed: BTreeMap::new(),
            began_with: None,
            rounds: 0,
            rounds_before: 0,
            new_created_at: None,
            reactivation_sent_at: None,
        };
        if let Event::OffboardAsked { .. } = event {
            rotation.offboard_asked(event)?;
        }
        Some(rotation)
    }

    /// Applies one event, and moves the rotation to the stage that follows.
    ///
    /// # Errors
    ///
    /// The event cannot follow the ones before it.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        self.events += 1;
        if matches!(self.stage, Stage::Done { .. } | Stage::Abandoned) {
            return Err(self.illegal(event));
        }
        self.known_keys.take(event, &self.stage, self.old.as_ref());
        self.last_event_at = event.at();
        self.clock_was_ahead_until(event.at());
        if let Event::Listed { keys, at } = event {
            self.look_at_exposed(keys, *at);
        }
        if self.learn_of_cut(event) {
            return Ok(());
        }
        match event {
            Event::Intended { intent, .. } if !self.may_intend(intent) => return Err(self.illegal(event)),
            Event::Intended { intent, at } => self.intended(intent, *at),
            Event::IncidentDeclared { .. } | Event::OffboardAsked { begins: None, .. } => {
                self.declared(event).ok_or_else(|| self.illegal(event))?;
            }
            Event::Refused { doing, refusal, at } if self.refused_while_leaving(*doing, refusal, *at) => {}
            Event::Refused { doing, refusal, at } => self.refused(*doing, refusal, *at),
            Event::Unanswered { doing, doubt, at } => self.unanswered(*doing, doubt, *at),
            Event::Held { until, by, why, at } => {
                self.hold = Some(Hold { until: *until, by: by.clone(), why: why.clone(), at: *at });
            }
            Event::Resumed { at, .. } => self.resumed(*at),
            Event::Listed { keys, at } if self.looks_at_both() => {
                if let Some(stage) = self.after_another_look(keys, *at) {
                    self.end_row_of_failures(event);
                    self.enter(stage, *at);
                }
            }
            Event::UsageRead { usage, at } if matches!(self.stage, Stage::Cool { .. }) => {
                if let Some(stage) = self.read_while_cooling(usage, *at) {
                    self.end_row_of_failures(event);
                    self.enter(stage, *at);
                }
            }
            // The clock was set back while a CreateAccessKey was pending, so this listing is too early to be believed.
            Event::Listed { at, .. } if self.is_too_early(*at) => {}
            Event::Listed { .. } if self.is_beside_the_stage() => {}
            Event::Started { .. }
            | Event::IssueAsked { .. }
            | Event::OffboardAsked { .. }
            | Event::Listed { .. }
            | Event::Created { .. }
            | Event::Probed { .. }
            | Event::Delivered { .. }
            | Event::Revealed { .. }
            | Event::Acknowledged { .. }
            | Event::Verified { .. }
            | Event::UsageRead { .. }
            | Event::Deactivated { .. }
            | Event::Reactivated { .. }
            | Event::Deleted { .. }
            | Event::ReactivationAsked { .. }
            | Event::Abandoned { .. } => {
                let stage = self.stage_after(event).ok_or_else(|| self.illegal(event))?;
                // These two only read, and settle no pending effect: a listing shows whether a key was created.
                if !matches!(event, Event::Verified { .. } | Event::UsageRead { .. }) {
                    self.in_doubt = None;
                }
                self.learn_of_vendor(event);
                self.end_row_of_failures(event);
                self.enter(stage, event.at());
            }
        }
        Ok(())
    }

    fn is_too_early(&self, listed_at: Timestamp) -> bool {
        if matches!(self.stage, Stage::Survey) {
            return self.survey_not_before().is_some_and(|settles| listed_at < settles);
        }
        let doubt = self.in_doubt.as_ref().filter(|doubt| doubt.intent == Intent::Create);
        matches!(self.stage, Stage::Create { .. })
            && doubt.is_some_and(|doubt| listed_at < doubt.sent.counts_from + self.plan.doubt_window)
    }

    fn illegal(&self, event: &Event) -> IllegalEvent {
        IllegalEvent { id: self.id, number: self.events, stage: self.stage.name(), event: event.name() }
    }

    /// Moves the rotation to a stage, and sets the earliest time of its next step. Another kind of stage begins a new
    /// span and resets the failures. The same stage with a newer reading or answer does not.
    pub(super) fn enter(&mut self, stage: Stage, at: Timestamp) {
        if std::mem::discriminant(&stage) != std::mem::discriminant(&self.stage) {
            self.begin_span(at);
            (self.failures, self.failing, self.last_fault) = (0, None, None);
        }
        let not_before = match &stage {
            Stage::Prove { .. } => at + self.plan.prove_every,
            // The first delivery is made at once. Each further one waits as long as after that many failures.
            Stage::Deliver { round, .. } => retry::wait_after(self.times_delivered(*round) - 1, None)
                .map_or(Timestamp::EPOCH, |wait| at + wait),
            // One listing decides whether a key of ours is left behind, so it waits until it can be believed.
            Stage::Survey if self.abandoning => PendingSpan::settles_at(self.doubt_span),
            Stage::Survey
            | Stage::Create { .. }
            | Stage::Suspect { .. }
            | Stage::Discard { .. }
            | Stage::HandOver { .. }
            | Stage::Verify { .. }
            | Stage::Soak { .. }
            | Stage::Cool { .. }
            | Stage::Restore { .. }
            | Stage::Offboard { .. }
            | Stage::Clear { .. }
            | Stage::Done { .. }
            | Stage::Stuck { .. }
            | Stage::Abandoned => Timestamp::EPOCH,
        };
        self.wait_until(not_before, at);
        self.stage = stage;
    }

    /// Sets the earliest time of the next step. `at` is the time at which the wait begins.
    pub(super) fn wait_until(&mut self, not_before: Timestamp, at: Timestamp) {
        (self.not_before, self.wait_set_at) = (not_before, at);
    }

    /// The stage after an event that can change the stage; `None`: the event cannot follow.
    fn stage_after(&mut self, event: &Event) -> Option<Stage> {
        if doubt::requires_intent(event).is_some_and(|doing| !self.is_in_doubt_of(doing)) {
            return None;
        }
        let stage = self.stage.clone();
        Some(match (stage, event) {
            (Stage::Survey | Stage::Create { .. }, Event::Listed { keys, at }) => {
                self.after_listing(keys, *at)
            }
            (Stage::Suspect { key }, Event::UsageRead { usage, at }) => {
                self.after_suspicion(usage.get(&key)?, key, *at)
            }
            (Stage::Create { .. }, Event::Created { key, at, .. }) => self.after_creation(key.clone(), *at),
            (Stage::Prove { new, successes, not_usable }, Event::Probed { at }) => {
                self.after_probe(new, successes + 1, not_usable, *at)
            }
            (Stage::Deliver { new, round }, Event::Delivered { at }) => {
                Stage::Verify { new, round, accepted_at: *at, denials: 0 }
            }
            (verify @ Stage::Verify { .. }, Event::Verified { at, .. }) => {
                self.after_verification(verify, *at)?
            }
            (Stage::Soak { new, accepted_at, listed_at, usage, .. }, Event::Verified { at, .. }) => {
                Stage::Soak { new, accepted_at, asked_at: Some(*at), listed_at, usage }
            }
            (soak @ Stage::Soak { .. }, Event::UsageRead { usage, at }) => {
                Self::after_soak_reading(soak, usage, *at)?
            }
            (soak @ Stage::Soak { .. }, Event::Deactivated { at, .. }) => self.after_retirement(soak, *at)?,
            (
                Stage::Cool { new, accepted_at, listed_at, usage, unused_for, .. },
                Event::Verified { at, .. },
            ) => Stage::Cool { new, accepted_at, asked_at: *at, listed_at, usage, unused_for },
            (Stage::Cool { new, .. }, Event::Deleted { .. }) => Stage::Done { new },
            (Stage::Restore { new, accepted_at }, Event::Reactivated { .. }) => {
                self.reactivations += 1;
                self.after_reactivation(soak_anew(new, accepted_at))
            }
            (stage, Event::ReactivationAsked { exposed, .. }) => self.when_asked_back(&stage, *exposed)?,
            // Otherwise a key that must be set Inactive at once would stay Active.
            (_, Event::Abandoned { .. }) if self.is_cut_due() => return None,
            (stage, Event::Abandoned { at, .. }) => self.after_abandoning(stage, *at)?,
            (stage, event) if stage.is_last() => self.after_last_event(stage, event)?,
            (Stage::Discard { key, known }, event) => self.after_discard_event(key, known, event)?,
            (Stage::HandOver { new, round, .. }, event) => self.after_hand_over(new, round, event)?,
            (
                _,
                Event::Started { .. }
                | Event::IssueAsked { .. }
                | Event::OffboardAsked { .. }
                | Event::IncidentDeclared { .. }
                | Event::Listed { .. }
                | Event::Created { .. }
                | Event::Probed { .. }
                | Event::Delivered { .. }
                | Event::Revealed { .. }
                | Event::Acknowledged { .. }
                | Event::Verified { .. }
                | Event::UsageRead { .. }
                | Event::Deactivated { .. }
                | Event::Reactivated { .. }
                | Event::Deleted { .. }
                | Event::Intended { .. }
                | Event::Refused { .. }
                | Event::Unanswered { .. }
                | Event::Held { .. }
                | Event::Resumed { .. },
            ) => return None,
        })
    }

    fn after_creation(&mut self, key: AccessKeyId, at: Timestamp) -> Stage {
        self.new_created_at = Some(at);
        self.forget_doubt_after(&key);
        self.limit_refusals = 0;
        self.at_vendor = if self.old.is_some() { AtVendor::old() } else { AtVendor::unknown() };
        Stage::Prove { new: key, successes: 0, not_usable: 0 }
    }

    fn after_probe(&mut self, new: AccessKeyId, successes: u32, not_usable: u32, at: Timestamp) -> Stage {
        self.last_probe = OwnDate::new(at);
        match successes < self.plan.prove_successes {
            true => Stage::Prove { new, successes, not_usable },
            false => self.to_be_delivered(new, self.rounds_before + 1),
        }
    }

    fn after_soak_reading(
        soak: Stage,
        usage: &BTreeMap<AccessKeyId, KeyUsage>,
        at: Timestamp,
    ) -> Option<Stage> {
        let Stage::Soak { new, accepted_at, asked_at, listed_at, .. } = soak else { return None };
        let gone = usage.get(&new) == Some(&KeyUsage::Gone);
        let usage = Some((usage.clone(), at));
        let soak = Stage::Soak { new: new.clone(), accepted_at, asked_at, listed_at, usage };
        Some(if gone { stuck(Blocker::NewKeyGone { key: new }, soak) } else { soak })
    }

    fn resumed(&mut self, at: Timestamp) {
        self.hold = None;
        self.end_incident_hold();
        (self.failures, self.limit_refusals) = (0, 0);
        // A resume does not shorten the wait for the listing that shows whether an abandoned rotation leaves a key.
        if !(self.abandoning && self.stage == Stage::Survey) {
            self.wait_until(Timestamp::EPOCH, at);
        }
        if let Stage::Stuck { resume, .. } = self.stage.clone() {
            self.stage = *resume;
            self.begin_span(at);
        }
    }

    fn unanswered(&mut self, doing: EffectKind, doubt: &Doubt, at: Timestamp) {
        self.is_first_offer = false;
        if doing == EffectKind::Deliver {
            self.delivery_unanswered(&doubt.pairs);
        }
        self.intent_unanswered(doing, at);
        if let Stage::Prove { successes, .. } = &mut self.stage {
            *successes = 0;
        }
        self.fail(doing, &doubt.in_words(), doubt.retry_after, at);
    }

    fn refused(&mut self, doing: EffectKind, refusal: &Refusal, at: Timestamp) {
        let sentence = refusal.in_words();
        let sentence = sentence.as_str();
        if doing == EffectKind::Deliver && refusal.nothing_sent {
            self.take_offer_back();
        }
        self.learn_of_refusal(doing, refusal);
        self.is_first_offer = false;
        self.intent_refused(doing);
        match (self.stage.clone(), refusal.code) {
            (Stage::Create { .. }, RefusalCode::LimitExceeded) => {
                // An unanswered attempt of ours, or somebody else, may have created the second key, so the keys are
                // listed again. A listing does not reset the count: each refusal follows one with a free slot.
                self.limit_refusals += 1;
                self.failures = self.failures.max(self.limit_refusals - 1);
                self.stage = Stage::Survey;
                self.fail(doing, sentence, refusal.retry_after, at);
                self.wait_until(self.not_before.max(at + self.plan.doubt_window), at);
            }
            (Stage::Prove { new, not_usable, .. }, RefusalCode::NotUsable) => {
                self.not_usable_yet(new, not_usable + 1, at);
            }
            (stage, RefusalCode::OtherAccount) => {
                self.enter(stuck(Blocker::OtherAccount { sentence: sentence.to_owned() }, stage), at);
            }
            (stage @ Stage::Prove { .. }, RefusalCode::WrongIdentity) => {
                self.enter(stuck(Blocker::WrongIdentity { sentence: sentence.to_owned() }, stage), at);
            }
            (stage @ Stage::Deliver { .. }, RefusalCode::VendorGone) => {
                self.enter(stuck(Blocker::VendorGone { sentence: sentence.to_owned() }, stage), at);
            }
            (Stage::Verify { new, round, accepted_at, denials }, RefusalCode::NotInForce) => {
                self.vendor_denies(
                    Stage::Verify { new, round, accepted_at, denials: denials + 1 },
                    refusal,
                    at,
                );
            }
            (
                Stage::Cool { new, accepted_at, .. } | Stage::Soak { new, accepted_at, .. },
                RefusalCode::NotInForce,
            ) if self.old_key_may_be_inactive() => {
                self.trouble(Stage::Restore { new, accepted_at }, sentence, at);
            }
            (stage @ Stage::Soak { .. }, RefusalCode::NotInForce) if self.troubles >= TROUBLES_MAX => {
                self.enter(stuck(Blocker::VendorWentBack { sentence: sentence.to_owned() }, stage), at);
            }
            // The key or the user does not exist for AWS. A listing shows which of them.
            (Stage::Soak { .. } | Stage::Cool { .. }, RefusalCode::NoSuchKey)
                if matches!(doing, EffectKind::Deactivate | EffectKind::Delete) =>
            {
                self.forget_listing();
            }
            (Stage::Discard { key, .. }, RefusalCode::NoSuchKey) if doing == EffectKind::Reactivate => {
                let stage = self.after_discarding(key, at);
                self.enter(stage, at);
            }
            // One such answer may come from a part of AWS that lags behind.
            (Stage::Restore { .. }, RefusalCode::NoSuchKey) if self.failures >= NO_SUCH_KEY_MAX => {
                self.enter_without_old_key(at);
            }
            (_, _) => {
                if let Stage::Prove { successes, .. } = &mut self.stage {
                    *successes = 0;
                }
                self.fail(doing, sentence, refusal.retry_after, at);
            }
        }
    }

    fn not_usable_yet(&mut self, new: AccessKeyId, not_usable: u32, at: Timestamp) {
        let stage = Stage::Prove { new: new.clone(), successes: 0, not_usable };
        if not_usable < NOT_USABLE_MAX {
            self.enter(stage, at);
            self.wait_until(self.not_before.max(at + NOT_USABLE_WAIT_MIN), at);
        } else {
            let again = Stage::Prove { new: new.clone(), successes: 0, not_usable: 0 };
            self.enter(stuck(Blocker::NewKeyNeverWorked { key: new }, again), at);
        }
    }

    /// Handles a vendor that accepted the key and names another one. It may be slow, so it is asked again before the
    /// delivery is made afresh.
    fn vendor_denies(&mut self, verify: Stage, refusal: &Refusal, at: Timestamp) {
        let Stage::Verify { new, round, denials, .. } = &verify else { return };
        if *denials < DENIALS_BEFORE_REDELIVERY {
            self.stage = verify;
            self.fail(EffectKind::Verify, &refusal.in_words(), refusal.retry_after, at);
        } else if self.times_delivered(*round) < retry::ATTEMPTS_MAX {
            self.enter(self.to_be_delivered(new.clone(), round + 1), at);
            self.last_fault = Some(refusal.in_words());
        } else {
            let again = self.to_be_delivered(new.clone(), round + 1);
            let deliveries = self.times_delivered(*round);
            self.enter(stuck(Blocker::VendorKeepsOldKey { deliveries }, again), at);
        }
    }

    fn forget_listing(&mut self) {
        if let Stage::Soak { listed_at, .. } | Stage::Cool { listed_at, .. } = &mut self.stage {
            *listed_at = None;
        }
    }

    /// Handles trouble of the vendor while the old key is or may be Inactive: that key is set Active again, whatever
    /// the trouble is. If the key is exposed, it is not, and the rotation is stuck.
    pub(super) fn trouble(&mut self, restore: Stage, sentence: &str, at: Timestamp) {
        self.troubles += 1;
        let next = match self.old.clone().filter(|old| self.is_exposed(old)) {
            Some(key) => {
                stuck(Blocker::ExposedKeyNeeded { key, sentence: sentence.to_owned() }, self.stage.clone())
            }
            None => restore,
        };
        self.enter(next, at);
        self.last_fault = Some(sentence.to_owned());
    }

    /// The stage after the old key was set Active again: a new soak, or stuck if the vendor was in trouble too often.
    fn after_reactivation(&self, soak: Stage) -> Stage {
        match &self.last_fault {
            Some(sentence) if self.troubles > TROUBLES_MAX => {
                stuck(Blocker::VendorWentBack { sentence: sentence.clone() }, soak)
            }
            Some(_) | None => soak,
        }
    }
}

/// A soak without earlier evidence.
pub(super) fn soak_anew(new: AccessKeyId, accepted_at: Timestamp) -> Stage {
    Stage::Soak { new, accepted_at, asked_at: None, listed_at: None, usage: None }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::core::rotation::event::{Intent, KeyMetadata, KeyStatus};
    use crate::core::rotation::listing::LISTING_SETTLES;
    use crate::core::rotation::retry::UNANSWERED_WHILE_COOLING_MAX;
    use crate::core::rotation::samples::{self, at, key, listed};
    use crate::core::rotation::{Effect, Next, Plan, Verification, Waiting};

    fn rotation(events: &[Event]) -> Rotation {
        samples::rotation(Plan { prove_successes: 1, ..Plan::default() }, events)
    }

    fn unread(seconds: i64) -> Event {
        let doubt =
            Doubt { sentence: "no answer".to_owned(), retry_after: None, pairs: Vec::new(), said: None };
        Event::Unanswered { doing: EffectKind::ReadUsage, doubt, at: at(seconds) }
    }

    #[test]
    fn only_consecutive_failures_make_a_rotation_stuck() {
        let mut rotation = rotation(&[
            listed(1),
            Event::Created { key: key('B'), at: at(2), request_id: None },
            Event::Probed { at: at(10) },
            Event::Delivered { at: at(11) },
            Event::Verified { by: Verification::Acceptance, at: at(12) },
        ]);
        for hour in 0..50 {
            let usage = BTreeMap::from([(key('A'), KeyUsage::Never), (key('B'), KeyUsage::Never)]);
            samples::happen(&mut rotation, &unread(100_000 + hour * 3600)).expect("legal");
            assert!(rotation.last_fault().is_some());
            let read = Event::UsageRead { usage, at: at(100_010 + hour * 3600) };
            samples::happen(&mut rotation, &read).expect("legal");
            assert_eq!(rotation.last_fault(), None);
        }
        assert_eq!(rotation.stage().name(), "soak");
        for failure in 0..=retry::ATTEMPTS_MAX {
            samples::happen(&mut rotation, &unread(1_000_000 + i64::from(failure))).expect("legal");
        }
        assert_eq!(rotation.stage().name(), "stuck");
    }

    /// A rotation in the cooling time, of a vendor that can be asked.
    fn cooling() -> Rotation {
        let plan = Plan {
            prove_successes: 1,
            require_use: false,
            quiet_for: Duration::ZERO,
            can_ask_vendor: true,
            ..Plan::default()
        };
        samples::rotation(
            plan,
            &[
                listed(1),
                Event::Created { key: key('B'), at: at(2), request_id: None },
                Event::Probed { at: at(10) },
                Event::Delivered { at: at(11) },
                Event::Verified { by: Verification::Asked, at: at(12) },
                Event::Deactivated { at: at(100_000), request_id: None },
            ],
        )
    }

    fn both(seconds: i64, old: KeyStatus) -> Event {
        let row = |id, status| KeyMetadata { id, status, created_at: at(-8_000_000) };
        Event::Listed { keys: vec![row(key('A'), old), row(key('B'), KeyStatus::Active)], at: at(seconds) }
    }

    fn unused(seconds: i64) -> Event {
        let usage = BTreeMap::from([(key('A'), KeyUsage::Never), (key('B'), KeyUsage::Never)]);
        Event::UsageRead { usage, at: at(seconds) }
    }

    fn silence(seconds: i64) -> Event {
        let doubt =
            Doubt { sentence: "no answer".to_owned(), retry_after: None, pairs: Vec::new(), said: None };
        Event::Unanswered { doing: EffectKind::Verify, doubt, at: at(seconds) }
    }

    #[test]
    fn the_old_key_is_reactivated_when_a_vendor_stops_answering_in_cool() {
        let mut rotation = cooling();
        for question in 1..UNANSWERED_WHILE_COOLING_MAX {
            samples::happen(&mut rotation, &silence(110_000 + i64::from(question))).expect("legal");
            assert!(matches!(rotation.stage(), Stage::Cool { .. }), "silence {question} may be nothing");
        }
        samples::happen(&mut rotation, &silence(120_000)).expect("legal");
        let give_back = Effect::Reactivate { key: key('A') };
        assert_eq!(rotation.next(at(120_000)), Next::Perform(give_back));
        samples::happen(&mut rotation, &Event::Reactivated { at: at(120_001) }).expect("legal");
        assert_eq!(rotation.stage().name(), "soak");
    }

    #[test]
    fn a_vendor_answer_resets_the_count_of_unanswered_verifications() {
        let mut rotation = cooling();
        for day in 0..20 {
            for question in 1..UNANSWERED_WHILE_COOLING_MAX {
                samples::happen(&mut rotation, &silence(110_000 + day * 1000 + i64::from(question)))
                    .expect("legal");
            }
            let answer = Event::Verified { by: Verification::Asked, at: at(110_500 + day * 1000) };
            samples::happen(&mut rotation, &answer).expect("legal");
        }
        assert!(matches!(rotation.stage(), Stage::Cool { .. }));
    }

    #[test]
    fn a_vendor_that_refuses_in_every_cool_stage_makes_the_rotation_stuck() {
        let mut rotation = cooling();
        for time in 0..=i64::from(TROUBLES_MAX) {
            let refusal = Refusal {
                code: RefusalCode::NotInForce,
                sentence: "the vendor names another key".to_owned(),
                retry_after: None,
                nothing_sent: false,
                pairs: Vec::new(),
                said: None,
            };
            let begun = 200_000 + time * 1_000_000;
            let refused = Event::Refused { doing: EffectKind::Verify, refusal, at: at(begun) };
            samples::happen(&mut rotation, &refused).expect("legal");
            samples::happen(&mut rotation, &Event::Reactivated { at: at(begun + 1) }).expect("legal");
            if time < i64::from(TROUBLES_MAX) {
                let answer = Event::Verified { by: Verification::Asked, at: at(begun + 100_000) };
                samples::happen(&mut rotation, &answer).expect("legal");
                let retired = Event::Deactivated { at: at(begun + 100_001), request_id: None };
                samples::happen(&mut rotation, &retired).expect("legal");
            }
        }
        let Next::Stuck(blocker) = rotation.next(at(9_000_000)) else { panic!("{:?}", rotation.stage()) };
        assert_eq!(blocker.code(), "vendor_went_back");
    }

    #[test]
    fn an_old_key_found_active_in_cool_is_not_deleted() {
        let mut rotation = cooling();
        let cooled = 100_000 + 7 * 86_400;
        samples::happen(&mut rotation, &Event::Verified { by: Verification::Asked, at: at(cooled) })
            .expect("legal");
        samples::happen(&mut rotation, &unused(cooled)).expect("legal");
        assert_eq!(rotation.next(at(cooled)), Next::Perform(Effect::ListKeys), "others were not looked at");
        samples::happen(&mut rotation, &both(cooled, KeyStatus::Active)).expect("legal");
        assert_eq!(rotation.stage().name(), "soak");
    }

    #[test]
    fn the_old_key_is_reactivated_when_the_new_key_is_missing_in_cool() {
        let mut rotation = cooling();
        let cooled = 100_000 + 7 * 86_400;
        let old = KeyMetadata { id: key('A'), status: KeyStatus::Inactive, created_at: at(-8_000_000) };
        samples::happen(&mut rotation, &Event::Listed { keys: vec![old], at: at(cooled) }).expect("legal");
        assert_eq!(rotation.next(at(cooled)), Next::Perform(Effect::Reactivate { key: key('A') }));
        samples::happen(&mut rotation, &Event::Reactivated { at: at(cooled + 1) }).expect("legal");
        let looks_at = at(cooled + 1) + LISTING_SETTLES;
        assert_eq!(rotation.next(looks_at), Next::Perform(Effect::ListKeys), "it may have been undone");
        samples::happen(&mut rotation, &both(cooled + 1000, KeyStatus::Inactive)).expect("legal");
        assert_eq!(rotation.next(looks_at), Next::Perform(Effect::Reactivate { key: key('A') }));
    }

    #[test]
    fn an_inactive_new_key_blocks_the_deactivation_of_the_old_key() {
        let plan =
            Plan { require_use: false, quiet_for: Duration::ZERO, soak: Duration::ZERO, ..Plan::default() };
        let mut rotation = samples::rotation(
            Plan { prove_successes: 1, ..plan },
            &[
                listed(1),
                Event::Created { key: key('B'), at: at(2), request_id: None },
                Event::Probed { at: at(10) },
                Event::Delivered { at: at(11) },
                Event::Verified { by: Verification::Acceptance, at: at(12) },
            ],
        );
        assert_eq!(rotation.next(at(12)), Next::Perform(Effect::ListKeys));
        samples::happen(&mut rotation, &listed(13)).expect("legal");
        assert!(
            matches!(rotation.next(at(13)), Next::Wait { .. }),
            "a listing may be late, and is asked again"
        );
        let row = |id, status| KeyMetadata { id, status, created_at: at(-8_000_000) };
        let keys = vec![row(key('A'), KeyStatus::Active), row(key('B'), KeyStatus::Inactive)];
        samples::happen(&mut rotation, &Event::Listed { keys, at: at(20) }).expect("legal");
        let Next::Stuck(blocker) = rotation.next(at(20)) else { panic!("{:?}", rotation.stage()) };
        assert_eq!(blocker.code(), "new_key_not_active");
    }

    #[test]
    fn an_abandoned_rotation_ends_even_if_the_old_key_is_gone() {
        let doubt =
            Doubt { sentence: "no answer".to_owned(), retry_after: None, pairs: Vec::new(), said: None };
        let mut rotation = rotation(&[
            listed(1),
            Event::Intended { intent: Intent::Create, at: at(2) },
            Event::Unanswered { doing: EffectKind::Create, doubt, at: at(30) },
            Event::Abandoned { by: "somebody".to_owned(), why: "a test".to_owned(), at: at(40) },
        ]);
        samples::happen(&mut rotation, &Event::Listed { keys: Vec::new(), at: at(1000) }).expect("legal");
        assert_eq!(rotation.stage(), &Stage::Abandoned);
    }

    #[test]
    fn a_verification_dated_by_a_clock_ahead_does_not_allow_the_delete() {
        let mut rotation = cooling();
        let cooled = 100_000 + 7 * 86_400;
        let ahead = Event::Verified { by: Verification::Asked, at: at(cooled + 5000) };
        samples::happen(&mut rotation, &ahead).expect("legal");
        samples::happen(&mut rotation, &both(cooled, KeyStatus::Inactive)).expect("legal");
        assert_eq!(rotation.next(at(cooled)), Next::Perform(Effect::Verify { key: key('B') }));
        samples::happen(&mut rotation, &Event::Verified { by: Verification::Asked, at: at(cooled) })
            .expect("legal");
        samples::happen(&mut rotation, &unused(cooled)).expect("legal");
        let Next::Perform(effect) = rotation.next(at(cooled)) else { panic!("{:?}", rotation.stage()) };
        assert_eq!(effect.doing(), EffectKind::Delete);
    }

    #[test]
    fn an_unbounded_doubt_window_does_not_panic() {
        let stranger = KeyMetadata { id: key('C'), status: KeyStatus::Active, created_at: at(3) };
        let old = KeyMetadata { id: key('A'), status: KeyStatus::Active, created_at: at(-8_000_000) };
        let doubt =
            Doubt { sentence: "no answer".to_owned(), retry_after: None, pairs: Vec::new(), said: None };
        let rotation = samples::rotation(
            Plan { doubt_window: Duration::from_secs(u64::MAX), ..Plan::default() },
            &[
                listed(1),
                Event::Intended { intent: Intent::Create, at: at(2) },
                Event::Unanswered { doing: EffectKind::Create, doubt, at: at(30) },
                Event::Listed { keys: vec![old, stranger], at: at(40) },
            ],
        );
        assert!(matches!(rotation.stage(), Stage::Create { .. }), "{:?}", rotation.stage());
    }

    #[test]
    fn a_rotation_stuck_by_many_failures_resumes_at_its_stage() {
        let mut rotation = rotation(&[listed(1)]);
        for failure in 2..200_000 {
            samples::happen(&mut rotation, &unread(failure)).expect("legal");
        }
        samples::happen(&mut rotation, &Event::Resumed { by: "somebody".to_owned(), at: at(300_000) })
            .expect("legal");
        assert_eq!(rotation.stage(), &Stage::Create { surveyed_at: at(1) });
    }

    #[test]
    fn no_event_is_accepted_after_the_end_of_a_rotation() {
        let mut rotation =
            rotation(&[Event::Abandoned { by: "somebody".to_owned(), why: "a test".to_owned(), at: at(1) }]);
        assert_eq!(rotation.stage(), &Stage::Abandoned);
        let held =
            Event::Held { until: None, by: "somebody".to_owned(), why: "a test".to_owned(), at: at(2) };
        for event in [unread(2), held, Event::Intended { intent: Intent::Create, at: at(2) }] {
            assert!(rotation.clone().apply(&event).is_err(), "{}", event.name());
        }
        assert!(
            samples::happen(&mut rotation, &Event::Resumed { by: "somebody".to_owned(), at: at(3) }).is_err()
        );
    }

    #[test]
    fn a_resume_does_not_shorten_the_listing_wait_of_an_abandoned_rotation() {
        let doubt =
            Doubt { sentence: "no answer".to_owned(), retry_after: None, pairs: Vec::new(), said: None };
        let rotation = rotation(&[
            listed(1),
            Event::Intended { intent: Intent::Create, at: at(2) },
            Event::Unanswered { doing: EffectKind::Create, doubt, at: at(30) },
            Event::Abandoned { by: "somebody".to_owned(), why: "a test".to_owned(), at: at(40) },
            Event::Resumed { by: "somebody".to_owned(), at: at(41) },
        ]);
        let believable = at(30) + CLOCK_SKEW_MAX;
        assert_eq!(rotation.next(at(42)), Next::Wait { until: believable, why: Waiting::Doubt });
    }
}
