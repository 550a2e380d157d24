//! How long a pass waits for a rotation before it leaves it to the next pass.

use std::time::Duration;

use crate::rotation::Waiting;
use crate::time::Timestamp;

/// A wait that `rotate` without `--wait` still waits out: the propagation of a new key, a first
/// retry. Longer ones are left to the next pass.
const SHORT_WAIT: Duration = Duration::from_mins(1);

/// How long a wait is waited out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patience {
    /// A minute at most.
    Short,
    /// As long as time alone can end it.
    Unlimited,
}

impl Patience {
    pub(super) fn covers(self, until: Timestamp, why: &Waiting, now: Timestamp) -> bool {
        // When a vendor uses its key is the vendor's own affair: no single pass waits for that.
        let is_short = until.since(now) <= SHORT_WAIT && !matches!(why, Waiting::Use { .. });
        until < Timestamp::NEVER && !why.is_for_person() && (self == Patience::Unlimited || is_short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_pass_waits_out_a_minute_and_never_a_person_or_a_vendor() {
        let now = Timestamp::from_unix(1_800_000_000);
        let covers = |patience: Patience, seconds, why: &Waiting| {
            patience.covers(now + Duration::from_secs(seconds), why, now)
        };
        assert!(covers(Patience::Short, 60, &Waiting::Soak) && !covers(Patience::Short, 61, &Waiting::Soak));
        assert!(covers(Patience::Unlimited, 61, &Waiting::Soak));
        assert!(
            !covers(Patience::Short, 1, &Waiting::Use { old_used_at: None })
                && covers(Patience::Unlimited, 1, &Waiting::Use { old_used_at: None })
        );
        let reveal = Waiting::Reveal { since: now, days: 0 };
        let hold = Waiting::Held { by: "alex".to_owned(), why: "a freeze".to_owned() };
        for patience in [Patience::Short, Patience::Unlimited] {
            assert!(!covers(patience, 1, &reveal));
            assert!(!patience.covers(Timestamp::NEVER, &hold, now), "no time ends it");
            assert!(
                !patience.covers(Timestamp::NEVER, &Waiting::Soak, now),
                "and nothing is waited for for ever"
            );
        }
        assert!(!Patience::Short.covers(Timestamp::NEVER, &hold, Timestamp::NEVER));
    }
}
