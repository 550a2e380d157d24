//! Times that were written by a clock that was wrong.
//!
//! An event that is dated before what the journal holds already was written by a clock that is behind, or the earlier ones
//! by a clock that was ahead: the journal cannot tell which. From then on a wait counts from the date of the newest event,
//! so that no wait lasts for the months that a clock was ahead, and what was seen at such a time is seen anew. If a later
//! event is dated after the first date again, the wait counts from that first date: a clock that was behind for an hour and
//! was set right has not waited for days.
//!
//! **Invariant:** however the clock steps, a wait that takes a key away lasts at least its own span by a clock that is
//! right at its beginning or at its end, and at most twice its span.

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
        self.since_is_doubted_until(at);
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

    /// Lowers `since` to `at` where it lies after it, and takes the first date back once an event is dated after it.
    fn since_is_doubted_until(&mut self, at: Timestamp) {
        if self.since > at {
            self.since_first = self.since_first.max(Some(self.since));
            self.since = at;
        } else if let Some(first) = self.since_first.take_if(|first| *first <= at) {
            self.since = first;
        }
    }

    /// A new span begins, of which no date is in doubt.
    pub(super) fn begin_span(&mut self, at: Timestamp) {
        (self.since, self.since_first) = (at, None);
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
