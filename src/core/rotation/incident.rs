//! An incident: a key was declared exposed, and the rotation continues by other rules.
//!
//! The event `incident_declared` leaves the stage as it is where that is possible. It adds two things to the rotation,
//! and [`Rotation::next`] considers both before anything else:
//!
//! - **cuts**: keys that must be set Inactive now. A cut is independent of the stage, and leaves it as it is: the
//!   request is repeated at least once a minute until AWS has answered it. So a crash, a lost answer or any stage
//!   delays a cut by one effect at most.
//! - **a mode**, which replaces the plan's gates: `replace-first` and `cut-first` skip the soak, the windows and both
//!   gates on last-used. `cut-and-hold` also does nothing after the cuts until an operator resumes the rotation.
//!
//! | mode | the order |
//! |---|---|
//! | replace-first | create, prove, deliver, verify; then the old key is set Inactive at once |
//! | cut-first | the old key is set Inactive; then create, prove, deliver, verify |
//! | cut-and-hold | every key that the vendor was offered is set Inactive; the rest after `resume` |
//!
//! The exposed key can be the new one, if the vendor was offered it already. Then the rotation begins anew with that
//! key as the old one. The key that was the old one before stays as it is, except in `cut-and-hold`, and a person needs
//! to delete it if it fills the second slot. Any other exposed key of the user is only set Inactive.
//!
//! An incident ends every hold, lets a stuck rotation continue, and cancels an `abandon` that is not finished yet. A
//! hold that is asked for afterwards stops the replacement, but not the cut.
//!
//! **Invariant:** no intent to set an exposed key Active can follow in a journal, unless an operator asks for it with
//! `reactivation_asked` and `exposed`. [`Stage::Restore`], which sets the old key Active, is not entered for an exposed
//! key.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::ids::AccessKeyId;
use crate::core::rotation::apply::{CLOCK_SKEW_MAX, soak_anew};
use crate::core::rotation::effect::{Effect, Evidence};
use crate::core::rotation::event::{EffectKind, Event, Intent, KeyMetadata, KeyStatus, RemovalReason};
use crate::core::rotation::listing::LISTING_SETTLES;
use crate::core::rotation::machine::{CLOCK_SLACK, Rotation};
use crate::core::rotation::next::{Blocker, Next, Waiting};
use crate::core::rotation::pair::AtVendor;
use crate::core::rotation::refusal::RefusalCode;
use crate::core::rotation::retry;
use crate::core::rotation::stage::{Stage, stuck};
use crate::core::time::Timestamp;

/// The longest wait between two attempts of a failed step while [`Rotation::is_hurried`] is true.
pub(super) const HURRIED_WAIT_MAX: Duration = Duration::from_mins(5);

/// The order in which an exposed key is set Inactive and replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncidentMode {
    /// The vendor gets a new key first. The exposed one is set Inactive as soon as the vendor is verified.
    ReplaceFirst,
    /// The exposed key is set Inactive first, and then the vendor gets a new key.
    CutFirst,
    /// Every key that the vendor was offered is set Inactive. No new key is created or delivered before an operator
    /// resumes the rotation.
    CutAndHold,
}

impl IncidentMode {
    /// The name of the mode, as on the command line and in `rotation.mode` of the JSON output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            IncidentMode::ReplaceFirst => "replace-first",
            IncidentMode::CutFirst => "cut-first",
            IncidentMode::CutAndHold => "cut-and-hold",
        }
    }

    /// Whether the exposed key is set Inactive before the vendor has another one.
    #[must_use]
    pub fn cuts_first(self) -> bool {
        match self {
            IncidentMode::ReplaceFirst => false,
            IncidentMode::CutFirst | IncidentMode::CutAndHold => true,
        }
    }
}

/// The incident in which the rotation's old key was declared exposed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Incident {
    /// The order in which the key is set Inactive and replaced.
    pub mode: IncidentMode,
    /// The user that declared it, or `keyround run, by [exposure]`.
    pub by: String,
    /// The reason for the declaration.
    pub why: String,
    /// When it was declared.
    pub at: Timestamp,
    /// Only cuts, and listings that check them, are done until an operator resumes the rotation.
    pub is_held: bool,
    /// The rotation ends when the old key is Inactive. No new key replaces it.
    pub is_cut_only: bool,
}

/// The cut of one key: setting it Inactive at once, because it is exposed or its vendor is offboarded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Cut {
    /// The key was declared exposed; `false`: only its vendor is offboarded.
    pub(super) is_exposed: bool,
    /// The key is to be set Inactive now.
    is_due: bool,
    /// When AWS answered that the key is Inactive, or that it does not exist.
    done_at: Option<Timestamp>,
    /// The keys are listed once after this time, because a late request to set the key Active may have undone the cut.
    pub(super) look_at: Option<Timestamp>,
    /// How many attempts in a row failed.
    failures: u32,
    failing_since: Option<Timestamp>,
    /// The last failure, as a sentence.
    fault: Option<String>,
    /// The earliest time of the next attempt.
    not_before: Timestamp,
    /// When `not_before` was set.
    wait_set_at: Timestamp,
}

impl Cut {
    fn new(is_due: bool) -> Cut {
        Cut {
            is_exposed: false,
            is_due,
            done_at: None,
            look_at: None,
            failures: 0,
            failing_since: None,
            fault: None,
            not_before: Timestamp::EPOCH,
            wait_set_at: Timestamp::EPOCH,
        }
    }

    fn make_due(&mut self) {
        (self.is_due, self.done_at, self.look_at) = (true, None, None);
        (self.failures, self.failing_since, self.fault) = (0, None, None);
        self.not_before = Timestamp::EPOCH;
    }

    fn fail(&mut self, sentence: &str, retry_after: Option<Duration>, at: Timestamp) {
        self.failing_since.get_or_insert(at);
        self.failures += 1;
        self.fault = Some(sentence.to_owned());
        (self.not_before, self.wait_set_at) = (at + retry::wait_for_one_key(self.failures, retry_after), at);
    }
}

impl Rotation {
    /// The incident in force for the old key. Setting that key Active again, or an offboarding, ends it.
    #[must_use]
    pub fn incident(&self) -> Option<&Incident> {
        self.incident.as_ref()
    }

    /// The mode of the rotation, in one word: `routine`, `issue`, `offboard`, or the incident's mode.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        match &self.incident {
            _ if self.offboarding.is_some() => "offboard",
            Some(incident) => incident.mode.as_str(),
            None if self.is_issue() => "issue",
            None => "routine",
        }
    }

    /// Whether this key was declared exposed.
    #[must_use]
    pub fn is_exposed(&self, key: &AccessKeyId) -> bool {
        self.exposed.get(key).is_some_and(|cut| cut.is_exposed)
    }

    /// When AWS answered that this key is Inactive or gone, after it was declared exposed or its vendor was offboarded;
    /// `None`: it was neither, or AWS has not answered that yet.
    #[must_use]
    pub fn cut_at(&self, key: &AccessKeyId) -> Option<Timestamp> {
        self.exposed.get(key)?.done_at
    }

    /// [`Rotation::cut_at`] of the old key; `None` also if there is no old key.
    #[must_use]
    pub fn old_cut_at(&self) -> Option<Timestamp> {
        self.cut_at(self.old.as_ref()?)
    }

    /// Whether the old key is only set Inactive, and not replaced.
    #[must_use]
    pub fn is_cut_only(&self) -> bool {
        self.incident.as_ref().is_some_and(|incident| incident.is_cut_only)
    }

    /// Whether a key is still to be set Inactive at once.
    #[must_use]
    pub fn is_cut_due(&self) -> bool {
        self.exposed.values().any(|cut| cut.is_due)
    }

    pub(super) fn old_is_exposed(&self) -> bool {
        self.old.as_ref().is_some_and(|old| self.is_exposed(old))
    }

    /// Whether a failed step is repeated soon and without end: in an incident until the old key cools, and in an
    /// offboarding until every key is Inactive.
    #[must_use]
    pub fn is_hurried(&self) -> bool {
        let is_offboarding = self.is_offboarded() && self.is_cut_due();
        is_offboarding || self.incident.is_some() && !matches!(self.stage.beneath(), Stage::Cool { .. })
    }

    /// A cut that fails: how often in a row, since when, and the last failure; `None`: no cut fails.
    pub(super) fn failing_cut(&self) -> Option<(u32, Option<Timestamp>, &str)> {
        let cut = self.exposed.values().find(|cut| cut.is_due && cut.failures > 0)?;
        Some((cut.failures, cut.failing_since, cut.fault.as_deref().unwrap_or_default()))
    }

    /// What cuts or an incident require before the stage decides; `None`: nothing.
    pub(super) fn next_in_incident(&self, now: Timestamp) -> Option<Next> {
        if let Some((key, cut)) = self.exposed.iter().find(|(_, cut)| cut.is_due) {
            // A wait that was set by a clock that was ahead does not count.
            if now < cut.not_before && cut.wait_set_at <= now + CLOCK_SLACK {
                let sentence = cut.fault.clone().unwrap_or_default();
                let why = Waiting::Backoff { failures: cut.failures, sentence };
                return Some(Next::Wait { until: cut.not_before, why });
            }
            let because = if cut.is_exposed { RemovalReason::Exposed } else { RemovalReason::Offboarded };
            let evidence = Evidence::new(because);
            return Some(Next::Perform(Effect::Deactivate { key: key.clone(), evidence }));
        }
        let look_at = self.exposed.values().filter_map(|cut| cut.look_at).min();
        if look_at.is_some_and(|look_at| look_at <= now) {
            return Some(Next::Perform(Effect::ListKeys));
        }
        let incident = self.incident.as_ref().filter(|incident| incident.is_held)?;
        let why = Waiting::IncidentHeld { by: incident.by.clone(), why: incident.why.clone() };
        Some(Next::Wait { until: look_at.unwrap_or(Timestamp::NEVER), why })
    }

    /// Applies an incident or an offboarding. `None`: the event cannot follow. That is so for a new key that the vendor
    /// was not offered, for a cut-only incident except for the old key in the first stage, and for a second
    /// offboarding.
    pub(super) fn declared(&mut self, declared: &Event) -> Option<()> {
        let Event::IncidentDeclared { mode, key, cut_only, by, why, at } = declared else {
            return self.offboard_asked(declared);
        };
        if self.offboarding.is_some() {
            // No replacement is made. The key is cut once more, and an operator who wants it back must confirm that.
            self.expose(key.clone(), true);
            return Some(());
        }
        let stage = self.stage.beneath().clone();
        let new = self.new_key().cloned();
        let offered = new.clone().filter(|_| self.offered_at.is_some());
        let is_old = self.is_old(key);
        if *cut_only && !(is_old && matches!(stage, Stage::Survey)) {
            return None;
        }
        if !is_old && Some(key) == new.as_ref() && offered.is_none() {
            return None;
        }
        if !is_old && Some(key) != offered.as_ref() {
            self.expose(key.clone(), true);
            return Some(());
        }
        let is_held = *mode == IncidentMode::CutAndHold && !cut_only;
        let (by, why, is_cut_only) = (by.clone(), why.clone(), *cut_only);
        self.incident = Some(Incident { mode: *mode, by, why, at: *at, is_held, is_cut_only });
        self.go_on_at_once(stage, *at);
        match offered.filter(|new| key == new || *mode == IncidentMode::CutAndHold) {
            Some(new) => {
                let before = self.begin_anew_with(new, *at);
                if let Some(before) = before.filter(|_| *mode == IncidentMode::CutAndHold) {
                    self.expose(before, mode.cuts_first());
                }
            }
            None => self.give_nothing_back(*mode),
        }
        // A key that cools is Inactive already. One more request makes sure of that.
        let is_cooling = matches!(self.stage, Stage::Cool { .. });
        self.expose(self.old.clone()?, mode.cuts_first() || *cut_only || is_cooling);
        Some(())
    }

    /// Marks a key as exposed. `is_due`: it is to be set Inactive at once.
    fn expose(&mut self, key: AccessKeyId, is_due: bool) {
        let cut = self.exposed.entry(key).or_insert_with(|| Cut::new(false));
        cut.is_exposed = true;
        if is_due {
            cut.make_due();
        }
    }

    /// Makes a key due to be set Inactive at once, without marking it as exposed.
    pub(super) fn cut(&mut self, key: AccessKeyId) {
        self.exposed.entry(key).or_insert_with(|| Cut::new(false)).make_due();
    }

    /// Continues in `stage` without delay: ends a hold, a blocker, an unfinished abandon, and the wait after a failure.
    pub(super) fn go_on_at_once(&mut self, stage: Stage, at: Timestamp) {
        if matches!(self.stage, Stage::Stuck { .. }) {
            self.begin_span(at);
        }
        self.stage = stage;
        self.hold = None;
        self.abandoning = false;
        (self.failures, self.failing, self.limit_refusals) = (0, None, 0);
        self.wait_until(Timestamp::EPOCH, at);
    }

    /// Makes the key that the vendor was offered the old key, and begins anew. Returns the key that was the old one.
    fn begin_anew_with(&mut self, new: AccessKeyId, at: Timestamp) -> Option<AccessKeyId> {
        self.remember_doubt();
        self.in_doubt = None;
        let created_at = self.new_created_at.unwrap_or(self.started_at);
        let before = self.old.replace(new);
        (self.old_created_at, self.new_created_at) = (Some(created_at), None);
        self.began_with.clone_from(&before);
        (self.offered_at, self.revealed_at, self.is_first_offer) = (None, None, false);
        (self.reactivations, self.troubles) = (0, 0);
        self.rounds_before = self.rounds;
        (self.deletion_intended, self.cooled_anew, self.last_fault) = (false, None, None);
        self.at_vendor = AtVendor::old();
        self.stage = Stage::Survey;
        self.begin_span(at);
        before
    }

    /// Leaves [`Stage::Restore`], because the old key is exposed now and must not be set Active.
    fn give_nothing_back(&mut self, mode: IncidentMode) {
        let (Stage::Restore { new, accepted_at }, Some(old)) = (self.stage.clone(), self.old.clone()) else {
            return;
        };
        let soak = soak_anew(new, accepted_at);
        self.stage = match mode {
            IncidentMode::ReplaceFirst => {
                let sentence = self.last_fault.clone().unwrap_or_default();
                stuck(Blocker::ExposedKeyNeeded { key: old, sentence }, soak)
            }
            IncidentMode::CutFirst | IncidentMode::CutAndHold => soak,
        };
    }

    /// The key for which a request to cut it is pending.
    fn being_cut(&self) -> Option<AccessKeyId> {
        match &self.in_doubt.as_ref()?.intent {
            Intent::Deactivate { key, because: RemovalReason::Exposed | RemovalReason::Offboarded } => {
                Some(key.clone())
            }
            Intent::Deactivate { .. }
            | Intent::Create
            | Intent::Deliver { .. }
            | Intent::Reactivate { .. }
            | Intent::Delete { .. } => None,
        }
    }

    /// Prepares for a cut, which becomes the pending effect. A pending CreateAccessKey is remembered as a span, and the
    /// keys are surveyed again after the cut to find what it may have created.
    pub(super) fn cut_intended(&mut self, at: Timestamp) {
        self.remember_doubt();
        if self.is_in_doubt_of(EffectKind::Create) {
            self.stage = Stage::Survey;
            self.begin_span(at);
        }
    }

    /// In an incident, the time from which a listing shows whether an unanswered CreateAccessKey created a key; `None`:
    /// there was no such call, there is no incident, or the rotation is abandoned, which has a wait of its own.
    pub(super) fn survey_not_before(&self) -> Option<Timestamp> {
        let span = self.doubt_span.filter(|_| self.incident.is_some() && !self.abandoning)?;
        Some(span.settles_from + self.plan.doubt_window)
    }

    /// Applies the outcome of a cut. `false`: the event concerns something else.
    pub(super) fn learn_of_cut(&mut self, event: &Event) -> bool {
        let Some(key) = self.being_cut() else { return false };
        match event {
            Event::Deactivated { at, .. } => {
                self.in_doubt = None;
                self.cut_done(&key, *at);
            }
            Event::Refused { doing: EffectKind::Deactivate, refusal, at } => {
                self.intent_refused(EffectKind::Deactivate);
                let is_gone = matches!(refusal.code, RefusalCode::NoSuchKey | RefusalCode::NoSuchUser);
                if is_gone {
                    self.in_doubt = None;
                    self.cut_done(&key, *at);
                } else if let Some(cut) = self.exposed.get_mut(&key) {
                    cut.fail(&refusal.in_words(), refusal.retry_after, *at);
                }
            }
            Event::Unanswered { doing: EffectKind::Deactivate, doubt, at } => {
                self.intent_unanswered(EffectKind::Deactivate, *at);
                if let Some(cut) = self.exposed.get_mut(&key) {
                    cut.fail(&doubt.in_words(), doubt.retry_after, *at);
                }
            }
            _ => return false,
        }
        true
    }

    /// Records that a key is Inactive or gone. A cut of the old key can end the rotation, or begin the cooling time.
    fn cut_done(&mut self, key: &AccessKeyId, at: Timestamp) {
        let look_at = self.reactivation_sent_at.map(|_| at + CLOCK_SKEW_MAX);
        if let Some(cut) = self.exposed.get_mut(key) {
            (cut.is_due, cut.done_at, cut.look_at) = (false, Some(at), look_at);
            (cut.failures, cut.failing_since, cut.fault) = (0, None, None);
        }
        if let Stage::Offboard { .. } = self.stage.beneath() {
            self.begin_span(at);
        }
        if !self.is_old(key) {
            return;
        }
        if self.is_cut_only() {
            self.stage = Stage::Abandoned;
            return;
        }
        if let Stage::Soak { .. } = self.stage.beneath()
            && let Some(cool) = self.begin_cooling(self.stage.beneath().clone(), at)
        {
            self.stage = cool;
        }
        if let Stage::Cool { .. } = self.stage {
            self.begin_span(at);
        }
    }

    /// Records that the old key was set Inactive at the end of the soak, so a cut of it is not needed any more.
    pub(super) fn retired(&mut self, at: Timestamp) {
        if let Some(cut) = self.old.as_ref().and_then(|old| self.exposed.get_mut(old)) {
            (cut.is_due, cut.done_at) = (false, Some(at));
        }
    }

    /// Ends the wait of a `cut-and-hold` incident, after a resume or an abandon.
    pub(super) fn end_incident_hold(&mut self) {
        if let Some(incident) = &mut self.incident {
            incident.is_held = false;
        }
    }

    /// Makes a cut due again if a listing shows the key Active long after it. Somebody, or a late request of ours, set
    /// the key Active.
    pub(super) fn look_at_exposed(&mut self, keys: &[KeyMetadata], at: Timestamp) {
        for (key, cut) in &mut self.exposed {
            let Some(done_at) = cut.done_at else { continue };
            cut.look_at.take_if(|look_at| *look_at <= at);
            let is_active = keys.iter().any(|row| row.id == *key && row.status == KeyStatus::Active);
            if is_active && at >= done_at + LISTING_SETTLES {
                cut.make_due();
            }
        }
    }

    /// Lowers the dates of cuts that lie after the newest event, because a clock that was ahead wrote them.
    pub(super) fn cuts_were_ahead_until(&mut self, at: Timestamp) {
        for cut in self.exposed.values_mut() {
            cut.done_at.iter_mut().for_each(|done_at| *done_at = (*done_at).min(at));
            cut.look_at.iter_mut().for_each(|look_at| *look_at = (*look_at).min(at + CLOCK_SKEW_MAX));
        }
    }

    /// Ends the incident, because an operator asked to set the exposed old key Active.
    pub(super) fn incident_taken_back(&mut self) {
        self.incident = None;
        if let Some(old) = &self.old {
            self.exposed.remove(old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rotation::samples::{self, at, created, happen, key, listed};
    use crate::core::rotation::{KeyUsage, Plan, Refusal, Verification};

    const HOUR: i64 = 3600;

    fn plan() -> Plan {
        Plan { prove_successes: 1, can_ask_vendor: true, ..Plan::default() }
    }

    fn declared(mode: IncidentMode, of: char, seconds: i64) -> Event {
        let (by, why) = ("alex".to_owned(), "it leaked".to_owned());
        Event::IncidentDeclared { mode, key: key(of), cut_only: false, by, why, at: at(seconds) }
    }

    fn life() -> Vec<Event> {
        vec![
            listed(1),
            created(2),
            Event::Probed { at: at(10) },
            Event::Delivered { at: at(11) },
            Event::Verified { by: Verification::Asked, at: at(12) },
            Event::Deactivated { at: at(2 * 86_400), request_id: None },
        ]
    }

    /// A rotation after this many events of `life`, followed by the events `then`.
    fn after(events: usize, then: &[Event]) -> Rotation {
        samples::rotation(plan(), &[&life()[..events], then].concat())
    }

    fn cut(of: char) -> Next {
        Next::Perform(Effect::Deactivate { key: key(of), evidence: Evidence::new(RemovalReason::Exposed) })
    }

    /// Sets an exposed key Inactive, as the machine asks for it.
    fn is_cut(rotation: &mut Rotation, of: char, seconds: i64) {
        let intent = Intent::Deactivate { key: key(of), because: RemovalReason::Exposed };
        for event in [
            Event::Intended { intent, at: at(seconds) },
            Event::Deactivated { at: at(seconds), request_id: None },
        ] {
            rotation.apply(&event).expect("legal");
        }
    }

    /// Performs the next effect if it changes the status of a key. Gives the key that was set Active, if one was.
    fn change_status(rotation: &mut Rotation, seconds: i64) -> Option<AccessKeyId> {
        let (intent, event, back) = match rotation.next(at(seconds)) {
            Next::Perform(Effect::Deactivate { key, evidence }) => {
                let intent = Intent::Deactivate { key, because: evidence.because().clone() };
                (intent, Event::Deactivated { at: at(seconds), request_id: None }, None)
            }
            Next::Perform(Effect::Reactivate { key }) => {
                (Intent::Reactivate { key: key.clone() }, Event::Reactivated { at: at(seconds) }, Some(key))
            }
            _ => return None,
        };
        rotation.apply(&Event::Intended { intent, at: at(seconds) }).expect("legal");
        rotation.apply(&event).expect("legal");
        back
    }

    #[test]
    fn an_exposed_key_stays_inactive_when_an_offboarding_was_taken_back() {
        let row = |of| KeyMetadata { id: key(of), status: KeyStatus::Active, created_at: at(-8_000_000) };
        let (by, why) = (|| "alex".to_owned(), || "they leave".to_owned());
        let keys = vec![row('A'), row('B')];
        let offboard = Event::OffboardAsked { begins: None, keys, by: by(), why: why(), at: at(100) };
        let mut rotation = after(5, &[offboard]);
        for seconds in 101..105 {
            assert_eq!(change_status(&mut rotation, seconds), None);
        }
        assert!(rotation.cut_at(&key('A')).is_some() && rotation.cut_at(&key('B')).is_some());
        let back = Event::ReactivationAsked { by: by(), why: why(), exposed: false, at: at(200) };
        rotation.apply(&back).expect("legal");
        rotation.apply(&declared(IncidentMode::CutFirst, 'A', 201)).expect("legal");
        let given_back: Vec<_> =
            (202..210).filter_map(|seconds| change_status(&mut rotation, seconds)).collect();
        assert_eq!(given_back, [key('B')]);
    }

    fn name(next: &Next) -> &'static str {
        match next {
            Next::Perform(effect) => effect.name(),
            Next::Wait { why, .. } => why.code(),
            Next::Stuck(blocker) => blocker.code(),
            Next::Ended(ending) => ending.as_str(),
        }
    }

    fn both(seconds: i64, old: KeyStatus) -> Event {
        let row = |id, status| KeyMetadata { id, status, created_at: at(-8_000_000) };
        Event::Listed { keys: vec![row(key('A'), old), row(key('B'), KeyStatus::Active)], at: at(seconds) }
    }

    #[test]
    fn an_exposed_key_is_deactivated_first_and_then_its_stage_continues() {
        let goes_on = [
            "ListAccessKeys",
            "CreateAccessKey",
            "GetCallerIdentity",
            "deliver",
            "verify",
            "cooling",
            "cooling",
        ];
        for (events, then) in goes_on.into_iter().enumerate() {
            let now = if events == 6 { 3 * 86_400 } else { 20 };
            let mut rotation = after(events, &[declared(IncidentMode::CutFirst, 'A', now)]);
            assert_eq!(rotation.next(at(now)), cut('A'), "after {events} events");
            assert_eq!(rotation.mode(), "cut-first");
            is_cut(&mut rotation, 'A', now + 1);
            assert_eq!(name(&rotation.next(at(now + 1))), then, "after {events} events");
            assert!(rotation.cut_at(&key('A')).is_some());
        }
    }

    #[test]
    fn replace_first_verifies_lists_and_deactivates_without_the_soak_wait() {
        let routine = after(5, &[]);
        assert_eq!(name(&routine.next(at(HOUR))), "soaking");
        let mut rotation = after(5, &[declared(IncidentMode::ReplaceFirst, 'A', HOUR)]);
        // The vendor was asked an hour ago.
        assert_eq!(name(&rotation.next(at(HOUR))), "verify");
        for event in
            [Event::Verified { by: Verification::Asked, at: at(HOUR) }, both(HOUR, KeyStatus::Active)]
        {
            happen(&mut rotation, &event).expect("legal");
        }
        let Next::Perform(Effect::Deactivate { key: of, evidence }) = rotation.next(at(HOUR)) else {
            panic!("{:?}", rotation.next(at(HOUR)))
        };
        let superseded = RemovalReason::Superseded { by: key('B'), verified_at: at(HOUR) };
        assert_eq!((of, evidence.because()), (key('A'), &superseded));
    }

    #[test]
    fn cut_and_hold_deactivates_every_offered_key_and_waits_for_a_resume() {
        let mut rotation = after(5, &[declared(IncidentMode::CutAndHold, 'A', HOUR)]);
        assert_eq!(rotation.next(at(HOUR)), cut('A'));
        is_cut(&mut rotation, 'A', HOUR);
        assert_eq!(rotation.next(at(HOUR)), cut('B'), "the vendor has it, too");
        is_cut(&mut rotation, 'B', HOUR);
        assert_eq!(name(&rotation.next(at(30 * 86_400))), "incident_held");
        happen(&mut rotation, &Event::Resumed { by: "alex".to_owned(), at: at(2 * HOUR) }).expect("legal");
        assert_eq!(name(&rotation.next(at(2 * HOUR))), "ListAccessKeys");
        let row = |id| KeyMetadata { id, status: KeyStatus::Inactive, created_at: at(2) };
        let listed = Event::Listed { keys: vec![row(key('A')), row(key('B'))], at: at(2 * HOUR) };
        happen(&mut rotation, &listed).expect("legal");
        assert_eq!(name(&rotation.next(at(2 * HOUR))), "slot_filled_in_incident");
        // If the vendor was not offered the new key yet, that key is kept until the resume.
        let mut rotation = after(3, &[declared(IncidentMode::CutAndHold, 'A', 20)]);
        is_cut(&mut rotation, 'A', 20);
        assert_eq!(name(&rotation.next(at(HOUR))), "incident_held");
        assert!(rotation.needs_secret());
        happen(&mut rotation, &Event::Resumed { by: "alex".to_owned(), at: at(2 * HOUR) }).expect("legal");
        assert_eq!(name(&rotation.next(at(2 * HOUR))), "deliver");
    }

    #[test]
    fn a_hold_a_blocker_and_an_abandon_do_not_stop_an_incident() {
        let (by, why) = ("alex".to_owned(), "a freeze".to_owned());
        let held = || Event::Held { until: None, by: by.clone(), why: why.clone(), at: at(20) };
        let after_hold = after(2, &[held(), declared(IncidentMode::CutFirst, 'A', 21)]);
        assert_eq!(after_hold.next(at(21)), cut('A'));
        let mut held_later = after(2, &[declared(IncidentMode::CutFirst, 'A', 21), held()]);
        assert_eq!(held_later.next(at(21)), cut('A'), "a hold stops no cut");
        is_cut(&mut held_later, 'A', 22);
        assert_eq!(name(&held_later.next(at(22))), "held", "and stops the replacement");
        let gone = Event::Listed { keys: Vec::new(), at: at(1) };
        let mut stuck = samples::rotation(plan(), &[gone, declared(IncidentMode::CutFirst, 'A', 21)]);
        assert_eq!(stuck.next(at(21)), cut('A'));
        let abandoned = Event::Abandoned { by: by.clone(), why: why.clone(), at: at(22) };
        assert!(stuck.clone().apply(&abandoned).is_err(), "the key would stay Active");
        is_cut(&mut stuck, 'A', 22);
        assert!(stuck.apply(&abandoned).is_ok());
        let giving_up = [Event::Abandoned { by, why, at: at(20) }, declared(IncidentMode::CutFirst, 'A', 21)];
        let mut giving_up = after(3, &giving_up);
        is_cut(&mut giving_up, 'A', 22);
        assert!(matches!(giving_up.stage(), Stage::Discard { .. }));
        let gone = Event::UsageRead { usage: [(key('B'), KeyUsage::Gone)].into(), at: at(23) };
        happen(&mut giving_up, &gone).expect("legal");
        assert_eq!(giving_up.stage(), &Stage::Survey, "a new key is made all the same");
    }

    #[test]
    fn an_exposed_key_is_reactivated_only_if_the_operator_confirms_it() {
        let exposed = after(6, &[declared(IncidentMode::ReplaceFirst, 'A', 3 * 86_400)]);
        let intent = Intent::Reactivate { key: key('A') };
        assert!(exposed.clone().apply(&Event::Intended { intent, at: at(3 * 86_400) }).is_err());
        let asked = |exposed| Event::ReactivationAsked {
            by: "alex".to_owned(),
            why: "a job".to_owned(),
            exposed,
            at: at(3 * 86_400),
        };
        assert!(exposed.clone().apply(&asked(false)).is_err());
        let mut asked_for = exposed.clone();
        asked_for.apply(&asked(true)).expect("legal");
        assert_eq!(name(&asked_for.next(at(3 * 86_400))), "UpdateAccessKey Active");
        assert_eq!(asked_for.mode(), "routine");
        let mut in_trouble = exposed;
        is_cut(&mut in_trouble, 'A', 3 * 86_400);
        let refusal = Refusal {
            code: RefusalCode::NotInForce,
            sentence: "the vendor names another key".to_owned(),
            retry_after: None,
            nothing_sent: false,
            pairs: Vec::new(),
            said: None,
        };
        let denied = Event::Refused { doing: EffectKind::Verify, refusal, at: at(4 * 86_400) };
        happen(&mut in_trouble, &denied).expect("legal");
        assert_eq!(name(&in_trouble.next(at(4 * 86_400))), "exposed_key_needed");
    }

    #[test]
    fn an_exposed_key_that_is_active_again_is_deactivated_and_cools_anew() {
        let mut rotation = after(5, &[declared(IncidentMode::CutFirst, 'A', 20)]);
        is_cut(&mut rotation, 'A', 20);
        happen(&mut rotation, &both(30, KeyStatus::Active)).expect("legal");
        assert_ne!(rotation.next(at(30)), cut('A'), "a listing may lag behind the cut");
        happen(&mut rotation, &both(HOUR, KeyStatus::Active)).expect("legal");
        assert_eq!(rotation.next(at(HOUR)), cut('A'));
        is_cut(&mut rotation, 'A', HOUR);
        assert_eq!(rotation.since(), at(HOUR));
    }

    #[test]
    fn a_failed_deactivation_of_an_exposed_key_is_retried_within_a_minute() {
        let mut rotation = after(2, &[declared(IncidentMode::CutFirst, 'A', 20)]);
        let mut now = 20;
        for failure in 1..=50 {
            let intent = Intent::Deactivate { key: key('A'), because: RemovalReason::Exposed };
            rotation.apply(&Event::Intended { intent, at: at(now) }).expect("legal");
            let sentence = "no answer".to_owned();
            let doubt =
                crate::core::rotation::Doubt { sentence, retry_after: None, pairs: Vec::new(), said: None };
            rotation
                .apply(&Event::Unanswered { doing: EffectKind::Deactivate, doubt, at: at(now) })
                .expect("legal");
            assert_eq!((rotation.failures(), rotation.last_fault()), (failure, Some("no answer")));
            let Next::Wait { until, .. } = rotation.next(at(now)) else { panic!("it waits") };
            assert!(until <= at(now + 60));
            now = until.unix_seconds() - at(0).unix_seconds();
            assert_eq!(rotation.next(at(now)), cut('A'));
        }
        is_cut(&mut rotation, 'A', now);
        assert_eq!((rotation.failures(), rotation.last_fault()), (0, None));
    }

    #[test]
    fn an_unanswered_create_is_looked_for_after_a_cut_before_another_create() {
        let intended = Event::Intended { intent: Intent::Create, at: at(2) };
        let mut rotation = after(1, &[intended, declared(IncidentMode::CutFirst, 'A', 3)]);
        is_cut(&mut rotation, 'A', 4);
        assert_eq!(rotation.next(at(4)), Next::Wait { until: at(62), why: Waiting::Doubt });
        assert_eq!(name(&rotation.next(at(62))), "ListAccessKeys");
        happen(&mut rotation, &both(62, KeyStatus::Inactive)).expect("legal");
        assert!(!matches!(rotation.stage(), Stage::Create { .. }), "{:?}", rotation.stage());
    }

    #[test]
    fn an_exposed_new_key_becomes_the_old_key_of_the_rotation() {
        let mut rotation = after(6, &[declared(IncidentMode::CutFirst, 'B', 3 * 86_400)]);
        assert_eq!((rotation.old(), rotation.stage()), (Some(&key('B')), &Stage::Survey));
        assert_eq!(rotation.old_created_at(), Some(at(2)));
        assert_eq!(rotation.next(at(3 * 86_400)), cut('B'));
        assert!(!rotation.is_exposed(&key('A')));
        is_cut(&mut rotation, 'B', 3 * 86_400);
        let now = 3 * 86_400 + 1;
        let row = KeyMetadata { id: key('B'), status: KeyStatus::Inactive, created_at: at(2) };
        for event in [
            Event::Listed { keys: vec![row], at: at(now) },
            Event::Created { key: key('C'), at: at(now), request_id: None },
            Event::Probed { at: at(now) },
        ] {
            happen(&mut rotation, &event).expect("legal");
        }
        // A second delivery must not look like a repeat of the first one.
        let deliver = Effect::Deliver { key: key('C'), round: 2 };
        assert_eq!(rotation.next(at(now + 10)), Next::Perform(deliver));
    }

    #[test]
    fn an_unoffered_key_cannot_be_declared_and_a_foreign_key_is_only_cut() {
        assert!(after(3, &[]).apply(&declared(IncidentMode::CutFirst, 'B', 20)).is_err());
        let mut rotation = after(2, &[declared(IncidentMode::ReplaceFirst, 'X', 20)]);
        assert_eq!((rotation.next(at(20)), rotation.mode()), (cut('X'), "routine"));
        is_cut(&mut rotation, 'X', 20);
        assert_eq!(name(&rotation.next(at(20))), "GetCallerIdentity");
    }

    #[test]
    fn a_cut_only_incident_ends_its_rotation_after_the_deactivation() {
        let (by, why) = ("alex".to_owned(), "it leaked".to_owned());
        let mode = IncidentMode::CutFirst;
        let declared = Event::IncidentDeclared { mode, key: key('A'), cut_only: true, by, why, at: at(1) };
        let mut rotation = after(0, &[declared]);
        assert_eq!(rotation.next(at(1)), cut('A'));
        is_cut(&mut rotation, 'A', 2);
        assert_eq!(name(&rotation.next(at(2))), "cut");
    }
}
