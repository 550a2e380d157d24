//! A hold: what an operator stopped, and what continues all the same.
//!
//! **Invariant:** a hold stops effects that take a key away, except the cut of an exposed key, and never one that gives
//! the old key back.

use crate::core::rotation::machine::{EVIDENCE_FRESH, Rotation};
use crate::core::rotation::next::{Next, Waiting};
use crate::core::time::Timestamp;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Hold {
    /// The end of the hold; `None`: it lasts until an operator resumes the rotation.
    pub(super) until: Option<Timestamp>,
    pub(super) by: String,
    pub(super) why: String,
    /// When the hold was asked for.
    pub(super) at: Timestamp,
}

impl Rotation {
    /// The hold that is in force; `None`: there is none, or it has ended.
    pub(super) fn held(&self, now: Timestamp) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| hold.until.is_none_or(|until| now < until))
    }

    pub(super) fn next_while_held(hold: &Hold, next: Next, now: Timestamp) -> Next {
        let wait = |until: Timestamp| {
            let why = Waiting::HeldWhileInactive { by: hold.by.clone(), why: hold.why.clone() };
            Next::Wait { until: until.min(hold.until.unwrap_or(Timestamp::NEVER)), why }
        };
        match next {
            // The vendor is asked again as soon as its last answer is too old.
            Next::Perform(effect) if effect.is_held_back() => wait(now + EVIDENCE_FRESH),
            Next::Wait { until, .. } => wait(until),
            next @ (Next::Perform(_) | Next::Stuck(_) | Next::Ended(_)) => next,
        }
    }

    /// Whether a person said to wait.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.held(now).is_some()
    }

    /// When the hold that is in force at `now` was asked for.
    #[must_use]
    pub fn held_since(&self, now: Timestamp) -> Option<Timestamp> {
        self.held(now).map(|hold| hold.at)
    }
}
