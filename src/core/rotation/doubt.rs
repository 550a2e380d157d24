//! Pending effects: intended, and not known to have happened or not.
//!
//! **Invariant:** a response settles only its own attempt. An earlier attempt is settled by a listing, taken when that
//! attempt must have arrived.

use crate::core::rotation::apply::CLOCK_SKEW_MAX;
use crate::core::rotation::dates::OwnDate;
use crate::core::rotation::event::{EffectKind, Event, Intent, KeyStatus, RemovalReason};
use crate::core::rotation::listing::LISTING_SETTLES;
use crate::core::rotation::machine::Rotation;
use crate::core::rotation::stage::Stage;
use crate::core::time::Timestamp;

/// An effect that was intended, and that is not known to have happened or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PendingEffect {
    pub(super) intent: Intent,
    /// When it was last known to be under way.
    pub(super) sent: OwnDate,
    /// An attempt of it got no answer, or its answer was not written down.
    is_unanswered: bool,
}

/// When an unanswered CreateAccessKey of ours may have created a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PendingSpan {
    /// The earliest date of an attempt, even if a clock that stepped back wrote it. The listing before the first
    /// attempt showed no other key, so an earlier date cannot include one that was there before.
    pub(super) from: Timestamp,
    /// The latest date under which an attempt was recorded.
    pub(super) to: Timestamp,
    /// The time from which the wait for the last attempt counts. A clock that steps back lowers it.
    pub(super) settles_from: Timestamp,
}

impl PendingSpan {
    /// The time from which on a listing shows what the attempts created.
    pub(super) fn settles_at(span: Option<PendingSpan>) -> Timestamp {
        span.map_or(Timestamp::EPOCH, |span| span.settles_from + CLOCK_SKEW_MAX)
    }
}

impl PendingEffect {
    /// Whether the journal already has the intent of this attempt. Each attempt to take a key away is recorded with its
    /// date, because a listing shows the result only a certain time after the last attempt. Each attempt of a delivery
    /// is recorded, because a refusal which says that nothing was sent must not count for an earlier attempt that was
    /// cut short.
    pub(super) fn is_of(&self, intent: &Intent, now: Timestamp) -> bool {
        self.intent == *intent
            && match intent {
                Intent::Create | Intent::Reactivate { .. } => true,
                Intent::Deactivate { .. } | Intent::Delete { .. } => self.sent.counts_from == now,
                Intent::Deliver { .. } => false,
            }
    }

    /// Whether a listing that shows the old key in this state proves that no attempt was done. Then the conditions for
    /// taking the key away may have changed meanwhile, and they are checked again.
    pub(super) fn is_refuted_by(&self, old: Option<KeyStatus>, listed_at: Timestamp) -> bool {
        let is_undone = match self.intent {
            Intent::Deactivate { .. } => old == Some(KeyStatus::Active),
            Intent::Delete { .. } => old.is_some(),
            Intent::Create | Intent::Deliver { .. } | Intent::Reactivate { .. } => false,
        };
        is_undone && listed_at >= self.sent.counts_from + LISTING_SETTLES
    }
}

impl Rotation {
    pub(super) fn intended(&mut self, intent: &Intent, at: Timestamp) {
        if let Intent::Deactivate { because: RemovalReason::Exposed | RemovalReason::Offboarded, .. } = intent
        {
            self.cut_intended(at);
        }
        if let Intent::Reactivate { key } = intent
            && (self.is_old(key) || self.offboarding.is_some())
        {
            self.reactivation_sent_at = Some(at);
        }
        if let Intent::Deliver { round, .. } = intent {
            self.rounds = self.rounds.max(*round);
            self.is_first_offer = self.offered_at.is_none();
            self.offered_at.get_or_insert(at);
            self.delivery_begins();
        }
        if let Intent::Delete { key, .. } = intent
            && self.is_old(key)
        {
            self.deletion_intended = true;
        }
        // Without this, the outcome of the earlier attempt would have been recorded and nothing would be pending.
        let is_unanswered = self.is_in_doubt_of(intent.doing());
        self.in_doubt = Some(PendingEffect { intent: intent.clone(), sent: OwnDate::new(at), is_unanswered });
    }

    /// Records that an attempt got no answer. It may have been under way from its intent until `at`.
    pub(super) fn intent_unanswered(&mut self, doing: EffectKind, at: Timestamp) {
        if let Some(before) = self.in_doubt.clone().filter(|before| before.intent.doing() == doing) {
            self.remember_doubt();
            self.in_doubt = Some(PendingEffect { sent: OwnDate::new(at), is_unanswered: true, ..before });
            self.remember_doubt();
        }
    }

    /// Records a refusal. It settles the pending effect if that was its only attempt. A refusal of another kind of
    /// effect, such as a listing, settles nothing.
    pub(super) fn intent_refused(&mut self, doing: EffectKind) {
        self.in_doubt.take_if(|doubt| doubt.intent.doing() == doing && !doubt.is_unanswered);
    }

    /// Keeps the time in which an unanswered CreateAccessKey may create a key, before the pending effect is dropped.
    pub(super) fn remember_doubt(&mut self) {
        let Some(doubt) = self.in_doubt.as_ref().filter(|doubt| doubt.intent == Intent::Create) else {
            return;
        };
        let OwnDate { counts_from, written } = doubt.sent;
        let this = PendingSpan { from: counts_from, to: written, settles_from: counts_from };
        let span = self.doubt_span.unwrap_or(this);
        self.doubt_span = Some(PendingSpan {
            from: span.from.min(this.from),
            to: span.to.max(this.to),
            settles_from: span.settles_from.max(this.settles_from),
        });
    }

    /// Takes the offer of the key back after its first delivery certainly sent nothing, because then nobody was offered
    /// the key.
    pub(super) fn take_offer_back(&mut self) {
        if std::mem::take(&mut self.is_first_offer) {
            self.offered_at = None;
        }
    }

    /// Whether an effect of this kind was intended and is not settled.
    #[cfg(test)]
    pub(crate) fn is_intended(&self, doing: EffectKind) -> bool {
        self.is_in_doubt_of(doing)
    }

    pub(super) fn is_in_doubt_of(&self, doing: EffectKind) -> bool {
        self.in_doubt.as_ref().is_some_and(|doubt| doubt.intent.doing() == doing)
    }

    /// Whether the old key was set Inactive, or a request to do so may have arrived or still be under way.
    #[must_use]
    pub fn old_key_may_be_inactive(&self) -> bool {
        if self.old_cut_at().is_some() {
            return true;
        }
        match self.stage.beneath() {
            Stage::Cool { .. } | Stage::Restore { .. } | Stage::Offboard { .. } => true,
            Stage::Soak { .. } => self.is_in_doubt_of(EffectKind::Deactivate),
            _ => false,
        }
    }

    /// Whether the key that is being discarded was set Inactive, or a request to do so may have arrived or still be
    /// under way. A vendor may use that key if the journal was restored from a backup.
    pub(super) fn discarded_key_may_be_inactive(&self) -> bool {
        match self.stage.beneath() {
            Stage::Discard { known, .. } => known.is_inactive || self.is_in_doubt_of(EffectKind::Deactivate),
            _ => false,
        }
    }
}

/// The kind of intent that must come before this event, as keyround caused it; `None`: the event needs none.
pub(super) fn requires_intent(event: &Event) -> Option<EffectKind> {
    match event {
        Event::Created { .. } => Some(EffectKind::Create),
        Event::Delivered { .. } => Some(EffectKind::Deliver),
        Event::Deactivated { .. } => Some(EffectKind::Deactivate),
        Event::Reactivated { .. } => Some(EffectKind::Reactivate),
        Event::Deleted { .. } => Some(EffectKind::Delete),
        Event::Started { .. }
        | Event::IssueAsked { .. }
        | Event::OffboardAsked { .. }
        | Event::Intended { .. }
        | Event::Listed { .. }
        | Event::Probed { .. }
        | Event::Revealed { .. }
        | Event::Acknowledged { .. }
        | Event::Verified { .. }
        | Event::UsageRead { .. }
        | Event::Refused { .. }
        | Event::Unanswered { .. }
        | Event::Held { .. }
        | Event::Resumed { .. }
        | Event::ReactivationAsked { .. }
        | Event::IncidentDeclared { .. }
        | Event::Abandoned { .. } => None,
    }
}
