//! The machine: the state of a rotation, and the decision what to do next.
//!
//! `apply.rs` computes the state from the events; this file decides from the state and the time.

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

/// Evidence that is older than this is gathered again before a key is set Inactive or deleted.
pub(super) const EVIDENCE_FRESH: Duration = Duration::from_mins(15);
/// A wait counts as set by a clock that was ahead only if its date lies further in the future than this. A
/// smaller step back is an ordinary correction of the clock.
pub(super) const CLOCK_SLACK: Duration = Duration::from_mins(1);
/// A listing that is older than this does not allow a CreateAccessKey, so the keys are listed again.
const SURVEY_FRESH: Duration = Duration::from_mins(5);

/// The state of one rotation, computed from the events in its journal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rotation {
    pub(super) id: RotationId,
    /// How many events were applied.
    pub(super) events: u64,
    pub(super) subject: Subject,
    /// The key to be replaced; `None`: this is an issue, or the rotation began with an offboarding.
    pub(super) old: Option<AccessKeyId>,
    /// When the old key was created.
    pub(super) old_created_at: Option<Timestamp>,
    /// The keys that are never taken for the result of an unanswered CreateAccessKey. If no old key is replaced, these
    /// are the keys that were listed before the new one was created, and the new one. An offboarding adds keys that it
    /// suspected and that are in use or gone.
    pub(super) bystanders: BTreeSet<AccessKeyId>,
    /// The new key that the vendor holds, if no old key is replaced and a stray key is being discarded beside it.
    pub(super) given: Option<AccessKeyId>,
    pub(super) started_at: Timestamp,
    pub(super) plan: Plan,
    pub(super) account_id: Option<AccountId>,
    pub(super) stage: Stage,
    /// The time from which the waits of the stage count.
    pub(super) since: Timestamp,
    /// The first date of `since`, while newer events are dated before it (`dates.rs`).
    pub(super) since_first: Option<Timestamp>,
    /// The effect that was intended and is not settled.
    pub(super) in_doubt: Option<PendingEffect>,
    /// The span in which unanswered CreateAccessKey calls may have created a key; `None`: no such call is in doubt.
    pub(super) doubt_span: Option<PendingSpan>,
    /// The earliest time of the next step.
    pub(super) not_before: Timestamp,
    /// When `not_before` was set, by the clock of that time.
    pub(super) wait_set_at: Timestamp,
    /// How many failures there were in a row.
    pub(super) failures: u32,
    /// The kind of effect that failed last.
    pub(super) failing: Option<EffectKind>,
    pub(super) last_fault: Option<String>,
    /// When the vendor was first offered the new key.
    pub(super) offered_at: Option<Timestamp>,
    /// The pending delivery is the first one by which the vendor is offered this key.
    pub(super) is_first_offer: bool,
    /// When the new key was last shown to a person.
    pub(super) revealed_at: Option<Timestamp>,
    /// When GetCallerIdentity was last called, or may have been called, with the new key.
    pub(super) last_probe: OwnDate,
    pub(super) reactivations: u32,
    /// How often the vendor was in trouble while the old key was Inactive or may have been.
    pub(super) troubles: u32,
    pub(super) hold: Option<Hold>,
    /// The rotation was abandoned, and a key of ours may have to be discarded first.
    pub(super) abandoning: bool,
    pub(super) known_keys: KnownKeys,
    /// When the first of the failures happened that `failures` counts.
    pub(super) failing_since: Option<Timestamp>,
    pub(super) last_event_at: Timestamp,
    /// How often in a row AWS refused to create a key because the user had two.
    pub(super) limit_refusals: u32,
    /// The keys that were discarded, and when. A listing may still show them for some time.
    pub(super) discarded: BTreeMap<AccessKeyId, Timestamp>,
    /// A request to delete the old key was intended at some time, and may arrive late.
    pub(super) deletion_intended: bool,
    /// When the old key was used after it had been set Inactive, which made it cool anew.
    pub(super) cooled_anew: Option<Timestamp>,
    /// What the vendor holds, or what it held before the delivery that is under way.
    pub(super) at_vendor: AtVendor,
    /// The incident that was declared for the old key.
    pub(super) incident: Option<Incident>,
    /// The offboarding that an operator asked for, also after it was taken back.
    pub(super) offboarding: Option<Offboarding>,
    /// The keys that are to be set Inactive at once, or were: keys that were declared exposed, and the keys of an
    /// offboarded vendor.
    pub(super) exposed: BTreeMap<AccessKeyId, Cut>,
    /// The key that was the old one before an incident made the new key the one to be replaced.
    pub(super) began_with: Option<AccessKeyId>,
    /// The highest number of a delivery that was intended.
    pub(super) rounds: u32,
    /// The highest number of a delivery of an earlier new key. Numbers are not used again, because a second delivery
    /// must not look like a repeat of the first one.
    pub(super) rounds_before: u32,
    /// When the new key was created, by this machine's clock.
    pub(super) new_created_at: Option<Timestamp>,
    /// When a request to set a key of the vendor Active was last intended. It may arrive late.
    pub(super) reactivation_sent_at: Option<Timestamp>,
}

/// An event in the journal that cannot follow the events before it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("rotation {id}: event {number} ({event}) cannot follow in stage {stage}")]
pub struct IllegalEvent {
    /// The rotation.
    pub id: RotationId,
    /// The number of the event in the rotation, from 1.
    pub number: u64,
    /// The name of the stage in which the rotation was before the event.
    pub stage: &'static str,
    /// The name of the event.
    pub event: &'static str,
}

impl Rotation {
    /// Rebuilds a rotation from the events in its journal. A new rotation and a restart both use this function.
    ///
    /// # Errors
    ///
    /// An event cannot follow the events before it, or the first event does not begin a rotation.
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

    /// What to do now. This is a pure function: the same rotation and time give the same result.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Next {
        let in_incident = self.next_in_incident(now);
        match (&self.stage, in_incident) {
            (Stage::Done { .. }, _) => return Next::Ended(Ending::Done),
            (Stage::Abandoned, _) => return Next::Ended(self.given_up()),
            // A key that must be set Inactive at once is set Inactive even if the rotation is stuck.
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
        // A vendor whose access key id and secret do not belong together cannot work, so the pair is completed first,
        // even under a hold.
        let hold = self.held(now).filter(|_| self.half_written().is_none());
        // The vendor may need a key that is Inactive. Then a hold must not stop the checks that find this out.
        let may_give_back = self.discarded_key_may_be_inactive()
            || (self.old_key_may_be_inactive() && !self.old_is_exposed() && !self.is_offboarded());
        if let Some(hold) = hold.filter(|_| !may_give_back) {
            let why = Waiting::Held { by: hold.by.clone(), why: hold.why.clone() };
            return Next::Wait { until: hold.until.unwrap_or(Timestamp::NEVER), why };
        }
        // A wait that was set by a clock that was ahead does not count, because its span cannot be measured. The stage
        // then decides from the times that it knows.
        if now < self.not_before && self.wait_set_at <= now + CLOCK_SLACK {
            return Next::Wait { until: self.not_before, why: self.why_not_yet() };
        }
        match (hold, self.next_in_stage(now)) {
            // A hold stops effects that create, deliver or take away a key. Checks and giving a key back continue.
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

    /// CreateAccessKey is the one effect that cannot simply be repeated: AWS shows the secret once, and a second
    /// request may leave a key whose secret is lost. So after a request without an answer, keyround waits and lists the
    /// keys.
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

    /// The event that must be in the journal before `effect` is performed. `None`: the effect only reads, or its intent
    /// is in the journal already and pending.
    #[must_use]
    pub fn intend(&self, effect: &Effect, now: Timestamp) -> Option<Event> {
        let intent = effect.intent()?;
        let already = self.in_doubt.as_ref().is_some_and(|doubt| doubt.is_of(&intent, now));
        (!already).then_some(Event::Intended { intent, at: now })
    }

    /// The event that records the outcome of `effect`.
    #[must_use]
    pub fn settle(&self, effect: &Effect, seen: Outcome, now: Timestamp) -> Event {
        let doing = effect.doing();
        match (seen, doing) {
            (Outcome::Happened(event), _) => event,
            (Outcome::Unknown(doubt), _) => Event::Unanswered { doing, doubt, at: now },
            // A key that is being discarded is gone already: an earlier attempt succeeded, or somebody else deleted it.
            // For a vendor's key, "no such key" may mean that the user is gone, so a listing decides.
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

    /// Whether the sealed secret of the new key is still needed. The event after which it is not needed erases it.
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

    /// The vendor and the IAM user whose key is rotated.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The rotation's id.
    #[must_use]
    pub fn id(&self) -> RotationId {
        self.id
    }

    /// How many events the rotation has. The next event has this number plus one.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The key to be replaced; `None`: this is an issue, or the rotation began with an offboarding.
    #[must_use]
    pub fn old(&self) -> Option<&AccessKeyId> {
        self.old.as_ref()
    }

    pub(super) fn is_old(&self, key: &AccessKeyId) -> bool {
        self.old.as_ref() == Some(key)
    }

    /// When the key to be replaced was created; `None`: there is no such key.
    #[must_use]
    pub fn old_created_at(&self) -> Option<Timestamp> {
        self.old_created_at
    }

    /// The stage in which the rotation is.
    #[must_use]
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The time from which the waits of the present stage count: when the stage began, or when its wait began anew,
    /// such as when an exposed key was set Inactive once more.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// When the rotation began.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// The settings with which this rotation runs until it ends.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The AWS account that held the user when the rotation began; `None`: AWS did not name it, or one of the first
    /// versions began the rotation.
    #[must_use]
    pub fn account_id(&self) -> Option<&AccountId> {
        self.account_id.as_ref()
    }

    /// When the vendor was first offered the new key; `None` before that. A repeat of the delivery contains this same
    /// time, so that it is the same message.
    #[must_use]
    pub fn offered_at(&self) -> Option<Timestamp> {
        self.offered_at
    }

    /// How often the old key was set Active again: for a vendor in trouble, by an operator command, or outside
    /// keyround.
    #[must_use]
    pub fn reactivations(&self) -> u32 {
        self.reactivations
    }

    /// The last failure since the stage began, as a sentence. A failure to set a key Inactive that must be Inactive at
    /// once comes first.
    #[must_use]
    pub fn last_fault(&self) -> Option<&str> {
        self.failing_cut().map(|(_, _, sentence)| sentence).or(self.last_fault.as_deref())
    }
}

/// Whether something that was seen at that time still counts. A time in the future was written by a clock that was
/// ahead, so the age of such evidence is not known, and it does not count.
pub(super) fn is_good(seen_at: Option<Timestamp>, span: Duration, now: Timestamp) -> bool {
    seen_at.is_some_and(|seen_at| seen_at <= now && now.since(seen_at) <= span)
}

/// Evidence that the vendor holds another key.
pub(super) fn superseded(by: &AccessKeyId, verified_at: Timestamp) -> Evidence {
    Evidence::new(RemovalReason::Superseded { by: by.clone(), verified_at })
}
