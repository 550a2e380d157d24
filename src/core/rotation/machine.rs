//! The machine: where a rotation is, and what it wants done next.
//!
//! The fold over events is in `apply.rs`; this file holds the decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::ids::{AccessKeyId, AccountId, RotationId, Subject};
use crate::core::rotation::dates::OwnDate;
use crate::core::rotation::doubt::{PendingEffect, PendingSpan};
use crate::core::rotation::effect::{Effect, Evidence, Outcome};
use crate::core::rotation::event::{EffectKind, Event, RemovalReason};
use crate::core::rotation::hold::Hold;
use crate::core::rotation::incident::{Cut, Incident};
use crate::core::rotation::known_keys::KnownKeys;
use crate::core::rotation::next::{Ending, Next, Waiting};
use crate::core::rotation::offboard::Offboarding;
use crate::core::rotation::pair::AtVendor;
use crate::core::rotation::plan::Plan;
use crate::core::rotation::refusal::RefusalCode;
use crate::core::rotation::stage::Stage;
use crate::core::time::Timestamp;

/// Evidence older than this is gathered again before it takes a key away.
pub(super) const EVIDENCE_FRESH: Duration = Duration::from_mins(15);
/// A clock that is corrected by so little was not ahead.
pub(super) const CLOCK_SLACK: Duration = Duration::from_mins(1);
/// A listing older than this is not a survey any more.
const SURVEY_FRESH: Duration = Duration::from_mins(5);

/// One rotation, as its journal tells it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rotation {
    pub(super) id: RotationId,
    pub(super) events: u64,
    pub(super) subject: Subject,
    /// The key to be replaced; `None`: the user had no Active key, and gets one.
    pub(super) old: Option<AccessKeyId>,
    pub(super) old_created_at: Option<Timestamp>,
    /// The keys that are not the rotation's, where it may begin beside some: as listed before its key was made.
    pub(super) bystanders: BTreeSet<AccessKeyId>,
    /// The key that the vendor was given where none was replaced, while a stray one beside it is cleared away.
    pub(super) given: Option<AccessKeyId>,
    pub(super) started_at: Timestamp,
    pub(super) plan: Plan,
    pub(super) account_id: Option<AccountId>,
    pub(super) stage: Stage,
    pub(super) since: Timestamp,
    /// The first date of `since`, while events are dated before it.
    pub(super) since_first: Option<Timestamp>,
    pub(super) in_doubt: Option<PendingEffect>,
    pub(super) doubt_span: Option<PendingSpan>,
    pub(super) not_before: Timestamp,
    /// When `not_before` was set, by the clock of then.
    pub(super) wait_set_at: Timestamp,
    pub(super) failures: u32,
    pub(super) failing: Option<EffectKind>,
    pub(super) last_fault: Option<String>,
    pub(super) offered_at: Option<Timestamp>,
    /// The pending delivery is the first one that this key was offered by.
    pub(super) is_first_offer: bool,
    pub(super) revealed_at: Option<Timestamp>,
    /// The last identification call with the new key.
    pub(super) last_probe: OwnDate,
    pub(super) reactivations: u32,
    /// How often the vendor was in trouble while the old key cooled.
    pub(super) troubles: u32,
    pub(super) hold: Option<Hold>,
    pub(super) abandoning: bool,
    pub(super) known_keys: KnownKeys,
    /// When the first failure of the row happened that `failures` counts.
    pub(super) failing_since: Option<Timestamp>,
    pub(super) last_event_at: Timestamp,
    /// How often in a row AWS refused a new key because two were there.
    pub(super) limit_refusals: u32,
    /// The keys that were discarded, and when: a listing may still show them for some time.
    pub(super) discarded: BTreeMap<AccessKeyId, Timestamp>,
    /// A request to delete the old key was sent at some time, and may arrive late.
    pub(super) deletion_intended: bool,
    /// When the old key was used although it had been set Inactive.
    pub(super) cooled_anew: Option<Timestamp>,
    /// What the vendor held before the try of a delivery that is under way, or holds now.
    pub(super) at_vendor: AtVendor,
    /// The incident that a person declared for the old key.
    pub(super) incident: Option<Incident>,
    /// The offboarding that a person asked for.
    pub(super) offboarding: Option<Offboarding>,
    /// Each key that is to be set Inactive at once, or was: those that a person declared exposed, and an offboarded vendor's.
    pub(super) exposed: BTreeMap<AccessKeyId, Cut>,
    /// The key that was the old one before an incident.
    pub(super) began_with: Option<AccessKeyId>,
    /// The number of the last delivery that was intended.
    pub(super) rounds: u32,
    /// How many deliveries there were of keys before the present new one: each delivery has a number of its own.
    pub(super) rounds_before: u32,
    /// When the new key was made.
    pub(super) new_created_at: Option<Timestamp>,
    /// When a request to set the old key Active was sent last; it may arrive late.
    pub(super) reactivation_sent_at: Option<Timestamp>,
}

/// The journal holds something that its own past forbids.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("rotation {id}: event {number} ({event}) cannot follow in stage {stage}")]
pub struct IllegalEvent {
    /// Which rotation.
    pub id: RotationId,
    /// The number of the event in it, from 1.
    pub number: u64,
    /// The stage it was in.
    pub stage: &'static str,
    /// The event that cannot follow.
    pub event: &'static str,
}

impl Rotation {
    /// Rebuilds a rotation from its journal. Starting and carrying on are both this.
    ///
    /// # Errors
    ///
    /// The journal holds an event that its own past forbids, or does not begin with one that begins a rotation.
    pub fn replay<'a>(
        id: RotationId,
        journal: impl IntoIterator<Item = &'a Event>,
    ) -> Result<Rotation, IllegalEvent> {
        let mut events = journal.into_iter();
        let first = events.next();
        let Some(mut rotation) = first.and_then(|event| Rotation::start(id, event)) else {
            let event = first.map_or("nothing", Event::name);
            return Err(IllegalEvent { id, number: 1, stage: "none", event });
        };
        for event in events {
            rotation.apply(event)?;
        }
        Ok(rotation)
    }

    /// What to do now. Pure: the same rotation and time give the same answer.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Next {
        let in_incident = self.next_in_incident(now);
        match (&self.stage, in_incident) {
            (Stage::Done { .. }, _) => return Next::Ended(Ending::Done),
            (Stage::Abandoned, _) => return Next::Ended(self.given_up()),
            // An exposed key is cut whatever else is wrong.
            (_, Some(next)) => return next,
            (Stage::Stuck { blocker, .. }, None) => return Next::Stuck(blocker.clone()),
            (
                Stage::Survey
                | Stage::Create { .. }
                | Stage::Suspect { .. }
                | Stage::Discard { .. }
                | Stage::Prove { .. }
                | Stage::Deliver { .. }
                | Stage::HandOver { .. }
                | Stage::Verify { .. }
                | Stage::Soak { .. }
                | Stage::Cool { .. }
                | Stage::Restore { .. }
                | Stage::Offboard { .. }
                | Stage::Clear { .. },
                None,
            ) => {}
        }
        // A vendor whose id and secret do not belong together cannot work: that is put right first, whoever said to wait.
        let hold = self.held(now).filter(|_| self.half_written().is_none());
        let may_give_back = self.discarded_key_may_be_inactive()
            || (self.old_key_may_be_inactive() && !self.old_is_exposed() && !self.is_offboarded());
        if let Some(hold) = hold.filter(|_| !may_give_back) {
            let why = Waiting::Held { by: hold.by.clone(), why: hold.why.clone() };
            return Next::Wait { until: hold.until.unwrap_or(Timestamp::NEVER), why };
        }
        // A wait that was set by a clock that was ahead is over: its span cannot be measured, and each stage looks anew.
        if now < self.not_before && self.wait_set_at <= now + CLOCK_SLACK {
            return Next::Wait { until: self.not_before, why: self.why_not_yet() };
        }
        match (hold, self.next_in_stage(now)) {
            // A hold stops what takes away, and never what gives back: the vendor is still looked after.
            (Some(hold), next) => Rotation::next_while_held(hold, next, now),
            (None, next) => next,
        }
    }

    pub(super) fn read_usage(&self, new: &AccessKeyId) -> Effect {
        Effect::ReadUsage { keys: self.old.iter().chain([new]).cloned().collect() }
    }

    fn why_not_yet(&self) -> Waiting {
        match (&self.last_fault, &self.stage) {
            (Some(sentence), stage) if self.failures > 0 || matches!(stage, Stage::Deliver { .. }) => {
                Waiting::Backoff { failures: self.failures(), sentence: sentence.clone() }
            }
            (_, Stage::Prove { .. }) => Waiting::Propagation,
            (_, _) => Waiting::Doubt,
        }
    }

    pub(super) fn next_in_stage(&self, now: Timestamp) -> Next {
        match &self.stage {
            Stage::Survey => self.next_in_survey(now),
            Stage::Create { surveyed_at } => self.next_in_create(*surveyed_at, now),
            Stage::Suspect { key } => Next::Perform(Effect::ReadUsage { keys: vec![key.clone()] }),
            Stage::Discard { key, known } => self.next_in_discard(key, known, now),
            Stage::Prove { new, .. } => Next::Perform(Effect::Probe { key: new.clone() }),
            Stage::Deliver { new, round } => {
                Next::Perform(Effect::Deliver { key: new.clone(), round: *round })
            }
            Stage::HandOver { new, read_at, .. } => self.next_in_hand_over(new, *read_at, now),
            Stage::Verify { new, .. } => Next::Perform(Effect::Verify { key: new.clone() }),
            Stage::Soak { .. } => self.next_in_soak(now),
            Stage::Cool { .. } => self.next_in_cool(now),
            Stage::Restore { .. } => match &self.old {
                Some(old) => Next::Perform(Effect::Reactivate { key: old.clone() }),
                None => Next::Ended(self.given_up()),
            },
            Stage::Offboard { .. } => self.next_in_offboard(now),
            Stage::Clear { .. } => self.next_in_clear(now),
            Stage::Done { .. } => Next::Ended(Ending::Done),
            Stage::Stuck { blocker, .. } => Next::Stuck(blocker.clone()),
            Stage::Abandoned => Next::Ended(self.given_up()),
        }
    }

    fn next_in_survey(&self, now: Timestamp) -> Next {
        match self.survey_not_before().filter(|until| now < *until) {
            Some(until) => Next::Wait { until, why: Waiting::Doubt },
            None => Next::Perform(Effect::ListKeys),
        }
    }

    /// Making a key is the one effect that cannot simply be done again: the secret is shown once,
    /// and a second try may leave a key that nobody knows of. So in doubt: wait, and look.
    fn next_in_create(&self, surveyed_at: Timestamp, now: Timestamp) -> Next {
        if let Some(doubt) = &self.in_doubt {
            let believable = doubt.sent.counts_from + self.plan.doubt_window;
            if now < believable && doubt.sent.counts_from <= now {
                return Next::Wait { until: believable, why: Waiting::Doubt };
            }
            return Next::Perform(Effect::ListKeys);
        }
        if !is_good(Some(surveyed_at), SURVEY_FRESH, now) {
            return Next::Perform(Effect::ListKeys);
        }
        Next::Perform(Effect::CreateKey)
    }

    /// What must be written down before `effect` is performed. `None`: it only reads, or it is
    /// written down already and in doubt.
    #[must_use]
    pub fn intend(&self, effect: &Effect, now: Timestamp) -> Option<Event> {
        let intent = effect.intent()?;
        let already = self.in_doubt.as_ref().is_some_and(|doubt| doubt.is_of(&intent, now));
        (!already).then_some(Event::Intended { intent, at: now })
    }

    /// The event that records what came of `effect`.
    #[must_use]
    pub fn settle(&self, effect: &Effect, seen: Outcome, now: Timestamp) -> Event {
        let doing = effect.doing();
        match (seen, doing) {
            (Outcome::Happened(event), _) => event,
            (Outcome::Unknown(doubt), _) => Event::Unanswered { doing, doubt, at: now },
            // A key of ours that is discarded is gone already: an earlier attempt succeeded, or somebody else deleted it. Of
            // a vendor's key, "no such key" may mean that the user is gone, so a listing decides.
            (Outcome::Refused(refusal), EffectKind::Deactivate)
                if refusal.code == RefusalCode::NoSuchKey && self.is_discarding() =>
            {
                Event::Deactivated { at: now, request_id: None }
            }
            (Outcome::Refused(refusal), EffectKind::Delete)
                if refusal.code == RefusalCode::NoSuchKey && self.is_discarding() =>
            {
                Event::Deleted { at: now, request_id: None }
            }
            (Outcome::Refused(refusal), _) => Event::Refused { doing, refusal, at: now },
        }
    }

    fn is_discarding(&self) -> bool {
        matches!(self.stage, Stage::Discard { .. })
    }

    /// Whether the sealed secret is still needed. When not, it is erased with the event that says so.
    #[must_use]
    pub fn needs_secret(&self) -> bool {
        fn needs(stage: &Stage) -> bool {
            match stage {
                Stage::Prove { .. }
                | Stage::Deliver { .. }
                | Stage::HandOver { .. }
                | Stage::Verify { .. } => true,
                Stage::Stuck { resume, .. } => needs(resume),
                Stage::Survey
                | Stage::Create { .. }
                | Stage::Suspect { .. }
                | Stage::Discard { .. }
                | Stage::Soak { .. }
                | Stage::Cool { .. }
                | Stage::Restore { .. }
                | Stage::Offboard { .. }
                | Stage::Clear { .. }
                | Stage::Done { .. }
                | Stage::Abandoned => false,
            }
        }
        needs(&self.stage)
    }

    /// Whose key is rotated.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The rotation's id.
    #[must_use]
    pub fn id(&self) -> RotationId {
        self.id
    }

    /// How many events it has: the number of the last one, and what the next append expects.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The key to be replaced; `None`: the user had no Active key, and gets one.
    #[must_use]
    pub fn old(&self) -> Option<&AccessKeyId> {
        self.old.as_ref()
    }

    pub(super) fn is_old(&self, key: &AccessKeyId) -> bool {
        self.old.as_ref() == Some(key)
    }

    /// When AWS made the key to be replaced, if there is one.
    #[must_use]
    pub fn old_created_at(&self) -> Option<Timestamp> {
        self.old_created_at
    }

    /// Where it is.
    #[must_use]
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// When it came to the stage it is in.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// When it began.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// The settings it runs with.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The AWS account that held the user when the rotation began; `None` in rotations of the first versions.
    #[must_use]
    pub fn account_id(&self) -> Option<&AccountId> {
        self.account_id.as_ref()
    }

    /// When the vendor was first offered the new key; `None` before that. A repeat of the delivery
    /// carries the same times, so that it is the same message.
    #[must_use]
    pub fn offered_at(&self) -> Option<Timestamp> {
        self.offered_at
    }

    /// How often the old key was set Active again, because the vendor went back to it.
    #[must_use]
    pub fn reactivations(&self) -> u32 {
        self.reactivations
    }

    /// The last failure since the stage began, in words.
    #[must_use]
    pub fn last_fault(&self) -> Option<&str> {
        self.failing_cut().map(|(_, _, sentence)| sentence).or(self.last_fault.as_deref())
    }
}

/// Whether what was seen then still counts. A clock that was ahead wrote times that are yet to come:
/// how old such evidence is, nobody knows.
pub(super) fn is_good(seen_at: Option<Timestamp>, span: Duration, now: Timestamp) -> bool {
    seen_at.is_some_and(|seen_at| seen_at <= now && now.since(seen_at) <= span)
}

pub(super) fn superseded(by: &AccessKeyId, verified_at: Timestamp) -> Evidence {
    Evidence::new(RemovalReason::Superseded { by: by.clone(), verified_at })
}
