//! Dates that a wrong clock wrote.
//!
//! An event may be dated before what the journal holds already. Then the clock was behind when it wrote this event, or
//! it was ahead when it wrote the earlier ones: the journal cannot tell which. From then on a wait counts from the date
//! of the newest event, so that no wait lasts for the months that a clock was ahead, and evidence with a later date is
//! gathered anew. If a later event is dated after the first date again, the wait counts from that first date, so that
//! it does not count as days of waiting when a clock that was days behind for an hour is set right.
//!
//! **Invariant:** however the clock steps, a wait before a key is taken away lasts at least its own span, measured by a
//! clock that is right at its beginning or at its end, and at most twice its span.

use crate::core::rotation::machine::Rotation;
use crate::core::rotation::stage::Stage;
use crate::core::time::Timestamp;

/// A date that keyround gave to something that AWS dates too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct OwnDate {
    /// The time from which a wait counts. A clock that steps back lowers it.
    pub(super) counts_from: Timestamp,
    /// The date as it was recorded. It is compared with AWS's dates, which do not change when our clock steps back.
    pub(super) written: Timestamp,
}

impl OwnDate {
    /// A date before all others: it never happened.
    pub(super) const NEVER: OwnDate = OwnDate::new(Timestamp::EPOCH);

    /// A date that is recorded now.
    pub(super) const fn new(at: Timestamp) -> OwnDate {
        OwnDate { counts_from: at, written: at }
    }

    fn clock_was_ahead_until(&mut self, at: Timestamp) {
        self.counts_from = self.counts_from.min(at);
    }
}

impl Rotation {
    /// Replaces every time that lies after the newest event by the time of that event.
    pub(super) fn clock_was_ahead_until(&mut self, at: Timestamp) {
        let earliest = |time: &mut Timestamp| *time = (*time).min(at);
        if self.wait_set_at > at {
            self.not_before = at + self.not_before.since(self.wait_set_at);
            self.wait_set_at = at;
        }
        self.since_is_doubted_until(at);
        self.last_probe.clock_was_ahead_until(at);
        self.revealed_at.iter_mut().for_each(earliest);
        self.in_doubt.iter_mut().for_each(|doubt| doubt.sent.clock_was_ahead_until(at));
        self.doubt_span.iter_mut().for_each(|span| {
            earliest(&mut span.from);
            earliest(&mut span.settles_from);
        });
        self.discarded.values_mut().for_each(earliest);
        self.new_created_at.iter_mut().for_each(earliest);
        self.reactivation_sent_at.iter_mut().for_each(earliest);
        self.cuts_were_ahead_until(at);
        self.stage.clock_was_ahead_until(at);
    }

    /// Lowers `since` to `at` if it lies after `at`. Restores the first date once an event is dated after it.
    fn since_is_doubted_until(&mut self, at: Timestamp) {
        if self.since > at {
            self.since_first = self.since_first.max(Some(self.since));
            self.since = at;
        } else if let Some(first) = self.since_first.take_if(|first| *first <= at) {
            self.since = first;
        }
    }

    /// Begins a new span. Its date is not in doubt.
    pub(super) fn begin_span(&mut self, at: Timestamp) {
        (self.since, self.since_first) = (at, None);
    }
}

impl Stage {
    /// Lowers to `at` the times from which waits count, and drops what was seen at a later time: evidence of unknown
    /// age does not count.
    fn clock_was_ahead_until(&mut self, at: Timestamp) {
        let forget = |seen_at: &mut Option<Timestamp>| {
            seen_at.take_if(|seen_at| *seen_at > at);
        };
        match self {
            Stage::Create { surveyed_at } if *surveyed_at > at => *surveyed_at = Timestamp::EPOCH,
            Stage::Discard { known, .. } => {
                forget(&mut known.listed_at);
                forget(&mut known.read_at);
            }
            Stage::HandOver { read_at, .. } => forget(read_at),
            Stage::Verify { accepted_at, .. } | Stage::Restore { accepted_at, .. } => {
                *accepted_at = (*accepted_at).min(at);
            }
            Stage::Soak { accepted_at, asked_at, listed_at, usage, .. } => {
                *accepted_at = (*accepted_at).min(at);
                forget(asked_at);
                forget(listed_at);
                usage.take_if(|(_, read_at)| *read_at > at);
            }
            Stage::Cool { accepted_at, asked_at, listed_at, usage, .. } => {
                *accepted_at = (*accepted_at).min(at);
                if *asked_at > at {
                    *asked_at = *accepted_at;
                }
                forget(listed_at);
                usage.take_if(|(_, read_at)| *read_at > at);
            }
            Stage::Offboard { listed_at, .. } => forget(listed_at),
            Stage::Stuck { resume, .. } => resume.clock_was_ahead_until(at),
            Stage::Create { .. }
            | Stage::Survey
            | Stage::Suspect { .. }
            | Stage::Prove { .. }
            | Stage::Deliver { .. }
            | Stage::Clear { .. }
            | Stage::Done { .. }
            | Stage::Abandoned => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rotation::samples::{DAY, at, created, happen, key, listed, metadata, rotation};
    use crate::core::rotation::{EffectKind, Event, Intent, KeyUsage, Plan, Refusal, RefusalCode};

    /// A failure, dated by a clock that is this many days behind.
    fn failed(doing: EffectKind, days_behind: i64) -> Event {
        let refusal = Refusal {
            code: RefusalCode::Other,
            sentence: "AWS refused the date of the request".to_owned(),
            retry_after: None,
            nothing_sent: false,
            pairs: Vec::new(),
            said: None,
        };
        Event::Refused { doing, refusal, at: at(-days_behind * DAY) }
    }

    #[test]
    fn a_clock_set_back_does_not_turn_a_probe_into_a_vendor_use() {
        let plan = Plan { prove_successes: 1, ..Plan::default() };
        let events = [
            listed(1),
            created(2),
            Event::Probed { at: at(10) },
            Event::Delivered { at: at(20) },
            failed(EffectKind::List, 100),
            Event::Verified { by: crate::core::rotation::Verification::Asked, at: at(DAY) },
        ];
        let rotation = rotation(plan, &events);
        let used = |seconds, service: &str| KeyUsage::Used {
            last_used_at: at(seconds),
            service: service.to_owned(),
            region: None,
            witness: None,
        };
        assert_eq!(rotation.used_by_vendor_at(Some(&used(10, "sts")), None), None);
        assert_eq!(rotation.used_by_vendor_at(Some(&used(10, "s3")), None), Some(at(10)));
    }

    #[test]
    fn a_created_key_is_recognised_although_the_clock_was_set_back() {
        let mut rotation = rotation(Plan::default(), &[listed(1)]);
        let intent = Event::Intended { intent: Intent::Create, at: at(2) };
        for event in [intent, failed(EffectKind::List, 42)] {
            happen(&mut rotation, &event).expect("legal");
        }
        let keys = vec![metadata('A', -100 * DAY), metadata('B', 2)];
        happen(&mut rotation, &Event::Listed { keys, at: at(DAY) }).expect("legal");
        assert_eq!(rotation.stage(), &Stage::Suspect { key: key('B') });
    }
}
