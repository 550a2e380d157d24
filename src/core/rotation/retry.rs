//! When to try again. This is arithmetic, and never a sleep.

use std::time::Duration;

use crate::core::rotation::event::{EffectKind, Event};
use crate::core::rotation::incident::HURRIED_WAIT_MAX;
use crate::core::rotation::machine::Rotation;
use crate::core::rotation::next::Blocker;
use crate::core::rotation::stage::{Stage, stuck};
use crate::core::time::Timestamp;

/// The waits between attempts: the schedule that Standard Webhooks 1.0 suggests, about three days in all. AWS and
/// vendors share one list, because both keys work whichever of them is down.
const WAITS: [Duration; 10] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];

/// A Retry-After that asks for more than this is cut: a typing error must not stop the rotation of a vendor's key for a
/// year.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// How long to wait after the `failures`-th failure in a row, counted from 1; `None`: all attempts are used up, and a
/// person should look.
#[must_use]
pub fn wait_after(failures: u32, retry_after: Option<Duration>) -> Option<Duration> {
    let index = usize::try_from(failures.checked_sub(1)?).ok()?;
    let wait = *WAITS.get(index)?;
    Some(wait.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX)))
}

/// How long to wait after the `failures`-th failure in a row to set a vendor's key Active again, or an exposed key
/// Inactive: at most a minute, even if the other side asks for a longer wait.
pub(super) fn wait_for_one_key(failures: u32, retry_after: Option<Duration>) -> Duration {
    const WAIT_MAX: Duration = Duration::from_mins(1);
    wait_after(failures, retry_after).unwrap_or(WAIT_MAX).min(WAIT_MAX)
}

/// How long to wait after the `failures`-th failure in a row to complete a pair of which the vendor holds one half: at
/// most five minutes.
fn wait_to_complete_pair(failures: u32, retry_after: Option<Duration>) -> Duration {
    const WAIT_MAX: Duration = Duration::from_mins(5);
    wait_after(failures, retry_after).unwrap_or(WAIT_MAX).min(WAIT_MAX)
}

/// How many failures in a row lead to another attempt.
pub const ATTEMPTS_MAX: u32 = 10;
const _: () = assert!(ATTEMPTS_MAX as usize == WAITS.len(), "one wait after each attempt");
/// While the old key cools, this many verifications in a row without a good answer count as trouble; with the waits
/// between them that takes six minutes. The cause is not known, and it is always safe to have both keys Active.
pub(super) const UNANSWERED_WHILE_COOLING_MAX: u32 = 4;

impl Rotation {
    /// How often in a row the next step has failed, whether or not it is time to try it again. If the vendor accepted a
    /// delivery and then named another key, the delivery counts as failed until the vendor names the new key.
    #[must_use]
    pub fn failures(&self) -> u32 {
        if let Some((failures, ..)) = self.failing_cut() {
            return failures;
        }
        match &self.stage {
            Stage::Deliver { round, .. } | Stage::Verify { round, .. } => {
                self.failures.max(self.times_delivered(*round) - 1)
            }
            _ => self.failures,
        }
    }

    /// The number of this delivery among those of the present new key, counted from 1.
    pub(super) fn times_delivered(&self, round: u32) -> u32 {
        round.saturating_sub(self.rounds_before).max(1)
    }

    /// Ends the row of failures if the event is a success of the same kind. Without this, failures that lie weeks apart
    /// would add up in a long stage.
    pub(super) fn end_row_of_failures(&mut self, event: &Event) {
        let ended = match self.failing {
            Some(EffectKind::Verify) => matches!(event, Event::Verified { .. }),
            Some(EffectKind::ReadUsage) => matches!(event, Event::UsageRead { .. }),
            Some(EffectKind::List) => matches!(event, Event::Listed { .. }),
            Some(
                EffectKind::Create
                | EffectKind::Probe
                | EffectKind::Deliver
                | EffectKind::Deactivate
                | EffectKind::Reactivate
                | EffectKind::Delete,
            )
            | None => false,
        };
        if ended {
            (self.failures, self.failing, self.last_fault) = (0, None, None);
        }
    }

    /// Counts a failure. It leads to another attempt, or to a blocker when all attempts are used up.
    pub(super) fn fail(
        &mut self,
        doing: EffectKind,
        sentence: &str,
        retry_after: Option<Duration>,
        at: Timestamp,
    ) {
        if self.failures == 0 {
            self.failing_since = Some(at);
        }
        self.failures += 1;
        if doing == EffectKind::Verify
            && self.failures >= UNANSWERED_WHILE_COOLING_MAX
            && self.old_key_may_be_inactive()
            && let Some(stage) = self.stage.restored()
        {
            return self.trouble(stage, sentence, at);
        }
        self.failing = Some(doing);
        self.last_fault = Some(sentence.to_owned());
        let wait = match doing {
            // The vendor may have no working key, so this is tried again without end.
            EffectKind::Reactivate => Some(wait_for_one_key(self.failures, retry_after)),
            EffectKind::Deliver if self.half_written().is_some() => {
                Some(wait_to_complete_pair(self.failures, retry_after))
            }
            // In an incident the vendor may have no key, and an exposed key may be in use. So it is tried again soon,
            // and without end.
            _ if self.is_hurried() => {
                let wait = wait_after(self.failures, retry_after).unwrap_or(HURRIED_WAIT_MAX);
                Some(wait.min(HURRIED_WAIT_MAX))
            }
            _ => wait_after(self.failures, retry_after),
        };
        if let Some(wait) = wait {
            self.wait_until(at + wait, at);
        } else {
            let blocker = Blocker::Exhausted { doing, sentence: sentence.to_owned() };
            self.stage = stuck(blocker, self.stage.clone());
            self.begin_span(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_waits_grow_and_end_after_the_last_attempt() {
        let waits: Vec<_> = (1..=ATTEMPTS_MAX).filter_map(|n| wait_after(n, None)).collect();
        assert_eq!(waits.len(), WAITS.len());
        assert!(waits.is_sorted());
        assert_eq!(wait_after(ATTEMPTS_MAX + 1, None), None);
        assert_eq!(wait_after(0, None), None);
    }

    #[test]
    fn retry_after_is_honoured_between_the_own_wait_and_a_maximum() {
        assert_eq!(wait_after(1, Some(Duration::from_mins(3))), Some(Duration::from_mins(3)));
        assert_eq!(wait_after(3, Some(Duration::ZERO)), Some(Duration::from_mins(5)));
        assert_eq!(wait_after(1, Some(Duration::from_hours(24 * 365))), Some(RETRY_AFTER_MAX));
    }
}
