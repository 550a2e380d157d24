//! When to try again: arithmetic, never a sleep.

use std::time::Duration;

use crate::rotation::machine::Rotation;
use crate::rotation::stage::Stage;

/// The waits between attempts: the schedule that Standard Webhooks 1.0 suggests, about three days
/// in all. One list for AWS and vendors alike: whoever is down, both keys work meanwhile.
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

/// A Retry-After that asks for more than this is cut: a typing error must not stop a vendor for a year.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// How long to wait after the `failures`-th failure in a row; `None` when a person should look.
#[must_use]
pub fn wait_after(failures: u32, retry_after: Option<Duration>) -> Option<Duration> {
    let index = usize::try_from(failures.checked_sub(1)?).ok()?;
    let wait = *WAITS.get(index)?;
    Some(wait.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX)))
}

/// How long to wait after the `failures`-th failure in a row to set a vendor's key Active again: a minute at most, however
/// long the other side asks to be left alone.
pub(super) fn wait_to_give_back(failures: u32, retry_after: Option<Duration>) -> Duration {
    const WAIT_MAX: Duration = Duration::from_mins(1);
    wait_after(failures, retry_after).unwrap_or(WAIT_MAX).min(WAIT_MAX)
}

/// How many failures in a row are answered with another attempt.
pub const ATTEMPTS_MAX: u32 = 10;
const _: () = assert!(ATTEMPTS_MAX as usize == WAITS.len(), "one wait after each attempt");

impl Rotation {
    /// How often in a row the step that comes next failed, whether or not it is time to try it again. A delivery that
    /// the vendor accepted, and named another key after, counts until the vendor names the new one.
    #[must_use]
    pub fn failures(&self) -> u32 {
        match &self.stage {
            Stage::Deliver { round, .. } | Stage::Verify { round, .. } => self.failures.max(round - 1),
            _ => self.failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let waits: Vec<_> = (1..=ATTEMPTS_MAX).filter_map(|n| wait_after(n, None)).collect();
        assert_eq!(waits.len(), WAITS.len());
        assert!(waits.is_sorted());
        assert_eq!(wait_after(ATTEMPTS_MAX + 1, None), None);
        assert_eq!(wait_after(0, None), None);
    }

    #[test]
    fn retry_after_is_honoured_within_reason() {
        assert_eq!(wait_after(1, Some(Duration::from_mins(3))), Some(Duration::from_mins(3)));
        assert_eq!(wait_after(3, Some(Duration::ZERO)), Some(Duration::from_mins(5)));
        assert_eq!(wait_after(1, Some(Duration::from_hours(24 * 365))), Some(RETRY_AFTER_MAX));
    }
}
