//! Times that were written by a clock that was ahead.
//!
//! **Invariant:** an event is newer than all that was written before it. A time in the rotation that lies after its newest
//! event was written by a clock that was ahead, and counts as the time of that event where a wait is measured from it. So no
//! wait is longer than its own span, however wrong the clock was. What was seen at such a time is seen anew.

use crate::rotation::machine::Rotation;
use crate::rotation::stage::Stage;
use crate::time::Timestamp;

impl Rotation {
    /// Takes the time of the newest event for every time that lies after it.
    pub(super) fn clock_was_ahead_until(&mut self, at: Timestamp) {
        let earliest = |time: &mut Timestamp| *time = (*time).min(at);
        if self.wait_set_at > at {
            self.not_before = at + self.not_before.since(self.wait_set_at);
            self.wait_set_at = at;
        }
        earliest(&mut self.since);
        earliest(&mut self.last_probe_at);
        self.revealed_at.iter_mut().for_each(earliest);
        self.in_doubt.iter_mut().for_each(|doubt| earliest(&mut doubt.at));
        self.doubt_span.iter_mut().for_each(|span| {
            earliest(&mut span.from);
            earliest(&mut span.to);
        });
        self.discarded.values_mut().for_each(earliest);
        self.stage.clock_was_ahead_until(at);
    }
}

impl Stage {
    /// What a wait is measured from counts as of `at`. What was seen at an unknown time is no evidence any more.
    fn clock_was_ahead_until(&mut self, at: Timestamp) {
        let forget = |seen_at: &mut Option<Timestamp>| {
            seen_at.take_if(|seen_at| *seen_at > at);
        };
        match self {
            Stage::Create { surveyed_at } if *surveyed_at > at => *surveyed_at = Timestamp::EPOCH,
            Stage::Discard { known, .. } => {
                forget(&mut known.listed_at);
                forget(&mut known.read_at);
                known.inactive_since = known.inactive_since.map(|since| since.min(at));
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
            Stage::Stuck { resume, .. } => resume.clock_was_ahead_until(at),
            Stage::Create { .. }
            | Stage::Survey
            | Stage::Suspect { .. }
            | Stage::Prove { .. }
            | Stage::Deliver { .. }
            | Stage::Done { .. }
            | Stage::Abandoned => {}
        }
    }
}
