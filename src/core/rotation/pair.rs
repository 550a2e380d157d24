//! What the vendor holds, as far as the outcomes of the deliveries show.
//!
//! Many vendors store the access key id and the secret access key as two values, each written by a request of its own.
//! Between the two writes the vendor holds the new id and the old secret, and no request that it signs is accepted.
//!
//! **Invariant:** a value counts as old or new only while every write of it was answered.

use serde::{Deserialize, Serialize};

use crate::core::rotation::event::{EffectKind, Event, Verification};
use crate::core::rotation::machine::Rotation;
use crate::core::rotation::refusal::{Refusal, RefusalCode};
use crate::core::rotation::stage::Stage;

/// The key to which one of the two values that a vendor stores belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Half {
    /// The old key.
    Old,
    /// The new key.
    New,
    /// A write of the value got no answer, so it may belong to either key, and may still change.
    Unknown,
}

/// A pair that a vendor stores as two values.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Halves {
    /// The access key id.
    pub id: Half,
    /// The secret access key.
    pub secret: Half,
}

impl Halves {
    /// Both values are the old key's.
    pub const OLD: Halves = Halves { id: Half::Old, secret: Half::Old };
    /// Both values are the new key's.
    pub const NEW: Halves = Halves { id: Half::New, secret: Half::New };
    /// Each value may be either key's.
    pub const UNKNOWN: Halves = Halves { id: Half::Unknown, secret: Half::Unknown };

    /// Whether it is known that the values do not belong together.
    #[must_use]
    pub fn is_half(self) -> bool {
        matches!((self.id, self.secret), (Half::New, Half::Old) | (Half::Old, Half::New))
    }

    /// A sentence about the first of these pairs whose values do not belong together, or else the first whose values
    /// may not; `None`: there is no such pair.
    #[must_use]
    pub fn worst_in_words(pairs: &[Halves]) -> Option<&'static str> {
        let known = pairs.iter().find(|pair| pair.is_half());
        known.and_then(|pair| pair.in_words()).or_else(|| pairs.iter().find_map(|pair| pair.in_words()))
    }

    /// A sentence, if the values do not belong together or may not.
    fn in_words(self) -> Option<&'static str> {
        match (self.id, self.secret) {
            (Half::New, Half::Old) => {
                Some("the vendor holds the new id and the old secret, so it cannot work")
            }
            (Half::Old, Half::New) => {
                Some("the vendor holds the old id and the new secret, so it cannot work")
            }
            (Half::New, Half::Unknown) | (Half::Unknown, Half::Old) => {
                Some("the vendor may hold the new id and the old secret, and then cannot work")
            }
            _ => None,
        }
    }
}

/// What the vendor holds, separately for each of its pairs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AtVendor {
    /// What is known of everything that `pairs` does not list.
    rest: Halves,
    /// The pairs that are written in two requests, in the order of the recipe.
    pairs: Vec<Halves>,
    /// An attempt of a delivery has begun and is not settled. The other fields say what was known before it.
    is_being_written: bool,
}

impl AtVendor {
    /// The state before the vendor is offered a new key: it holds the old pair.
    #[must_use]
    pub fn old() -> AtVendor {
        AtVendor { rest: Halves::OLD, pairs: Vec::new(), is_being_written: false }
    }

    /// It is not known what the vendor holds, if anything.
    #[must_use]
    pub fn unknown() -> AtVendor {
        AtVendor { rest: Halves::UNKNOWN, ..AtVendor::old() }
    }

    /// What is known of one pair; the first has the number 0.
    #[must_use]
    pub fn pair(&self, number: usize) -> Halves {
        self.pairs.get(number).copied().unwrap_or(self.rest)
    }

    fn all(&self) -> impl Iterator<Item = Halves> {
        self.pairs.iter().copied().chain([self.rest])
    }
}

/// What the vendor holds, in one word: `rotation.vendor_holds` of `status --format json`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VendorHolds {
    /// The old pair.
    Old,
    /// The new pair.
    New,
    /// The id of one key and the secret of the other.
    Half,
    /// It is not known: a delivery is under way, was cut short, or got no answer.
    Unknown,
}

impl VendorHolds {
    /// The word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            VendorHolds::Old => "old",
            VendorHolds::New => "new",
            VendorHolds::Half => "half",
            VendorHolds::Unknown => "unknown",
        }
    }
}

impl Rotation {
    /// What the vendor holds, as far as that is known. While a delivery is under way: what it held before.
    #[must_use]
    pub fn at_vendor(&self) -> &AtVendor {
        &self.at_vendor
    }

    /// What the vendor holds, in one word.
    #[must_use]
    pub fn vendor_holds(&self) -> VendorHolds {
        if self.at_vendor.pairs.iter().any(|pair| pair.is_half()) {
            return VendorHolds::Half;
        }
        if self.at_vendor.is_being_written {
            return VendorHolds::Unknown;
        }
        let all = |wanted: Halves| self.at_vendor.all().all(|halves| halves == wanted);
        match (all(Halves::OLD), all(Halves::NEW)) {
            (true, _) => VendorHolds::Old,
            (false, true) => VendorHolds::New,
            (false, false) => VendorHolds::Unknown,
        }
    }

    /// A sentence, if the vendor's id and secret do not belong together or may not. Such a vendor cannot work, and
    /// nothing is more urgent.
    #[must_use]
    pub fn half_written(&self) -> Option<&'static str> {
        Halves::worst_in_words(&self.at_vendor.pairs)
    }

    /// Whether the next step gives a vendor a working pair that it may lack now: the old key is set Active again, or
    /// the second of two values is written.
    #[must_use]
    pub fn gives_back(&self) -> bool {
        matches!(self.stage(), Stage::Restore { .. }) || self.half_written().is_some()
    }

    /// An attempt of a delivery begins. An earlier attempt that was never settled may have had any effect.
    pub(super) fn delivery_begins(&mut self) {
        if self.at_vendor.is_being_written {
            self.vendor_holds_anything();
        }
        self.at_vendor.is_being_written = true;
    }

    /// The vendor may hold anything, because a person was shown the key or an attempt was cut short.
    pub(super) fn vendor_holds_anything(&mut self) {
        self.at_vendor = AtVendor::unknown();
    }

    /// The vendor holds the new pair, because every write of a delivery was accepted or the hand-over by a person
    /// succeeded.
    pub(super) fn vendor_holds_new(&mut self) {
        self.at_vendor = AtVendor { rest: Halves::NEW, ..AtVendor::old() };
    }

    /// A refused delivery certainly did nothing, except what the refusal says of the pairs. A refused verification can
    /// say that the vendor names another key.
    pub(super) fn learn_of_refusal(&mut self, doing: EffectKind, refusal: &Refusal) {
        if doing == EffectKind::Deliver {
            self.at_vendor.is_being_written = false;
            if !refusal.pairs.is_empty() {
                self.at_vendor.pairs.clone_from(&refusal.pairs);
            }
        }
        if refusal.code == RefusalCode::NotInForce {
            self.vendor_names(Half::Unknown);
        }
    }

    /// Records what an accepted delivery, or the answer to a verification, says of what the vendor holds.
    pub(super) fn learn_of_vendor(&mut self, event: &Event) {
        match event {
            Event::Delivered { .. } => self.vendor_holds_new(),
            Event::Verified { by: Verification::Asked, .. } => self.vendor_names(Half::New),
            _ => {}
        }
    }

    /// A delivery without an answer may have had any effect, except for what it says of the pairs.
    pub(super) fn delivery_unanswered(&mut self, pairs: &[Halves]) {
        self.at_vendor = AtVendor { rest: Halves::UNKNOWN, pairs: pairs.to_vec(), ..AtVendor::old() };
    }

    /// The vendor was asked which key is in force. Its answer is about the id alone.
    fn vendor_names(&mut self, id: Half) {
        self.at_vendor.rest.id = id;
        self.at_vendor.pairs.iter_mut().for_each(|pair| pair.id = id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::rotation::samples::{self, at, created, listed};
    use crate::core::rotation::{Doubt, Effect, Intent, Next, Plan};
    use crate::core::time::Timestamp;

    const HALF: Halves = Halves { id: Half::New, secret: Half::Old };

    fn proved() -> Rotation {
        let plan = Plan { prove_successes: 1, ..Plan::default() };
        samples::rotation(plan, &[listed(1), created(2), Event::Probed { at: at(10) }])
    }

    /// A delivery was attempted, after which the vendor holds these pairs.
    fn tried(rotation: &mut Rotation, pairs: &[Halves], seconds: i64) {
        let doubt = Doubt { sentence: "no".to_owned(), retry_after: None, pairs: pairs.to_vec(), said: None };
        let intent = Intent::Deliver { key: samples::key('B'), round: 1 };
        rotation.apply(&Event::Intended { intent, at: at(seconds) }).expect("legal");
        let event = Event::Unanswered { doing: EffectKind::Deliver, doubt, at: at(seconds) };
        rotation.apply(&event).expect("legal");
    }

    fn next_delivery(rotation: &Rotation, now: Timestamp) -> Timestamp {
        match rotation.next(now) {
            Next::Perform(Effect::Deliver { .. }) => now,
            Next::Wait { until, .. } => until,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_half_written_vendor_is_retried_every_five_minutes_even_under_a_hold() {
        let mut rotation = proved();
        assert_eq!((rotation.vendor_holds(), rotation.half_written()), (VendorHolds::Old, None));
        let mut now = 20;
        for _ in 0..50 {
            tried(&mut rotation, &[HALF], now);
            assert_eq!(rotation.vendor_holds(), VendorHolds::Half);
            let words = rotation.half_written().expect("it is half-written");
            assert_eq!(words, "the vendor holds the new id and the old secret, so it cannot work");
            let wait = next_delivery(&rotation, at(now)).since(at(now));
            assert!(wait <= Duration::from_mins(5), "{wait:?}");
            now += 300;
        }
        let (by, why) = ("alex".to_owned(), "a freeze".to_owned());
        rotation.apply(&Event::Held { until: None, by, why, at: at(now) }).expect("legal");
        assert!(next_delivery(&rotation, at(now)) <= at(now + 300));
    }

    #[test]
    fn an_interrupted_delivery_makes_the_state_of_the_vendor_unknown() {
        let mut rotation = proved();
        let intent = Intent::Deliver { key: samples::key('B'), round: 1 };
        rotation.apply(&Event::Intended { intent: intent.clone(), at: at(20) }).expect("legal");
        assert_eq!(rotation.vendor_holds(), VendorHolds::Unknown);
        assert_eq!(rotation.at_vendor().pair(0), Halves::OLD, "nothing was done before this try");
        rotation.apply(&Event::Intended { intent, at: at(30) }).expect("legal");
        assert_eq!(rotation.at_vendor().pair(0), Halves::UNKNOWN, "the try before may have done anything");
        rotation.apply(&Event::Delivered { at: at(31) }).expect("legal");
        assert_eq!(rotation.vendor_holds(), VendorHolds::New);
    }

    #[test]
    fn a_refusal_keeps_the_known_vendor_state_and_verify_covers_only_the_id() {
        let mut rotation = proved();
        let intent = Intent::Deliver { key: samples::key('B'), round: 1 };
        let refusal = Refusal {
            code: RefusalCode::VendorRefused,
            sentence: "no".to_owned(),
            retry_after: None,
            nothing_sent: false,
            pairs: vec![Halves::OLD],
            said: None,
        };
        rotation.apply(&Event::Intended { intent, at: at(20) }).expect("legal");
        let refused = Event::Refused { doing: EffectKind::Deliver, refusal: refusal.clone(), at: at(21) };
        rotation.apply(&refused).expect("legal");
        assert_eq!(rotation.vendor_holds(), VendorHolds::Old);
        samples::happen(&mut rotation, &Event::Delivered { at: at(60) }).expect("legal");
        let not_in_force = Refusal { code: RefusalCode::NotInForce, pairs: Vec::new(), ..refusal };
        let denied = Event::Refused { doing: EffectKind::Verify, refusal: not_in_force, at: at(70) };
        rotation.apply(&denied).expect("legal");
        assert_eq!(rotation.vendor_holds(), VendorHolds::Unknown);
        assert_eq!(rotation.at_vendor().pair(0).secret, Half::New, "it is not taken back");
    }
}
