//! What was intended, and is not known to have happened or not.
//!
//! **Invariant:** an answer tells of the try that it answers. What became of one before it, only a listing tells that
//! was taken when that one must have arrived.

use crate::core::rotation::apply::CLOCK_SKEW_MAX;
use crate::core::rotation::dates::OwnDate;
use crate::core::rotation::event::{Because, EffectKind, Event, Intent, KeyStatus};
use crate::core::rotation::listing::LISTING_SETTLES;
use crate::core::rotation::machine::Rotation;
use crate::core::rotation::stage::Stage;
use crate::core::time::Timestamp;

/// An effect that was intended and is not known to have happened or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PendingEffect {
    pub(super) intent: Intent,
    /// When it was last known to be under way.
    pub(super) sent: OwnDate,
    /// A try of it got no answer, or none that was written down.
    is_unanswered: bool,
}

/// When an unanswered CreateAccessKey of ours may have made a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PendingSpan {
    /// The earliest date of a try, also when a clock that stepped back wrote it. No key was there at the listing before the
    /// first try, so that an earlier date takes in no other key.
    pub(super) from: Timestamp,
    /// The latest date under which a try was written down.
    pub(super) to: Timestamp,
    /// What a wait for the last try counts from. A clock that steps back lowers it.
    pub(super) settles_from: Timestamp,
}

impl PendingSpan {
    /// From when on a listing shows what the tries made.
    pub(super) fn settles_at(span: Option<PendingSpan>) -> Timestamp {
        span.map_or(Timestamp::EPOCH, |span| span.settles_from + CLOCK_SKEW_MAX)
    }
}

impl PendingEffect {
    /// Whether this try is written down already. A request to take a key away is dated at each try, because a
    /// listing can tell what came of it only so long after the last one. Each try of a delivery is written down, because
    /// a refusal that says that nothing was sent must not speak for a try that was cut short.
    pub(super) fn is_of(&self, intent: &Intent, now: Timestamp) -> bool {
        self.intent == *intent
            && match intent {
                Intent::Create | Intent::Reactivate { .. } => true,
                Intent::Deactivate { .. } | Intent::Delete { .. } => self.sent.counts_from == now,
                Intent::Deliver { .. } => false,
            }
    }

    /// Whether a listing with this of the old key shows that no try was done: then what let the key be taken away may
    /// have changed meanwhile, and is asked again.
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
        if let Intent::Deactivate { because: Because::Exposed, .. } = intent {
            self.cut_intended(at);
        }
        if let Intent::Reactivate { key } = intent
            && *key == self.old
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
            && *key == self.old
        {
            self.deletion_intended = true;
        }
        // Else what came of the last try would be written down, and nothing would be in doubt.
        let is_unanswered = self.is_in_doubt_of(intent.doing());
        self.in_doubt = Some(PendingEffect { intent: intent.clone(), sent: OwnDate::new(at), is_unanswered });
    }

    /// It may have been under way from the intent until now.
    pub(super) fn intent_unanswered(&mut self, doing: EffectKind, at: Timestamp) {
        if let Some(before) = self.in_doubt.clone().filter(|before| before.intent.doing() == doing) {
            self.remember_doubt();
            self.in_doubt = Some(PendingEffect { sent: OwnDate::new(at), is_unanswered: true, ..before });
            self.remember_doubt();
        }
    }

    /// A refusal settles what was intended, if that was its only try; a refused look at it does not.
    pub(super) fn intent_refused(&mut self, doing: EffectKind) {
        self.in_doubt.take_if(|doubt| doubt.intent.doing() == doing && !doubt.is_unanswered);
    }

    /// Keeps the time in which an unanswered CreateAccessKey may make a key, when the intent is forgotten.
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

    /// A first delivery that certainly sent nothing offered the key to nobody.
    pub(super) fn take_offer_back(&mut self) {
        if std::mem::take(&mut self.is_first_offer) {
            self.offered_at = None;
        }
    }

    /// Whether such an effect was intended, and is not settled.
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
        if self.cut_at(&self.old).is_some() {
            return true;
        }
        match self.stage.beneath() {
            Stage::Cool { .. } | Stage::Restore { .. } => true,
            Stage::Soak { .. } => self.is_in_doubt_of(EffectKind::Deactivate),
            _ => false,
        }
    }
}

/// What must have been intended before this can have happened by our doing.
pub(super) fn requires_intent(event: &Event) -> Option<EffectKind> {
    match event {
        Event::Created { .. } => Some(EffectKind::Create),
        Event::Delivered { .. } => Some(EffectKind::Deliver),
        Event::Deactivated { .. } => Some(EffectKind::Deactivate),
        Event::Reactivated { .. } => Some(EffectKind::Reactivate),
        Event::Deleted { .. } => Some(EffectKind::Delete),
        Event::Started { .. }
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
