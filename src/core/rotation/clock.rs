//! Whether this machine's clock can be trusted.
//!
//! Every wait of a rotation is measured by this machine's clock. If the clock is wrong, or was set during a wait, the
//! wait may not have passed, and then keyround takes no key away.

use std::fmt;
use std::time::Duration;

use crate::core::time::{Timestamp, in_words};

/// How far this machine's clock may differ from AWS's. AWS itself refuses a request whose date is five minutes off.
pub const CLOCK_OFF_MAX: Duration = Duration::from_mins(2);

/// What is wrong with this machine's clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClockDoubt {
    /// It differs from AWS's by more than [`CLOCK_OFF_MAX`].
    Off {
        /// By how many seconds it is ahead; negative if it is behind.
        ahead_secs: i64,
    },
    /// It was set forward during a wait, so the wait has not really passed yet.
    SetForward {
        /// How far it was set forward.
        by: Duration,
    },
    /// AWS has not answered in this process, so the clock was not compared with AWS's.
    NotCompared,
}

/// By how many seconds our clock is ahead of AWS's; negative if it is behind.
#[must_use]
pub fn ahead_secs(ours: Timestamp, aws: Timestamp) -> i64 {
    ours.unix_seconds() - aws.unix_seconds()
}

impl ClockDoubt {
    /// The doubt that follows from these two times; `None`: there is none. `aws` is `None` if AWS has not answered.
    #[must_use]
    pub fn of(ours: Timestamp, aws: Option<Timestamp>) -> Option<ClockDoubt> {
        let Some(aws) = aws else { return Some(ClockDoubt::NotCompared) };
        let ahead_secs = ahead_secs(ours, aws);
        (ahead_secs.unsigned_abs() > CLOCK_OFF_MAX.as_secs()).then_some(ClockDoubt::Off { ahead_secs })
    }

    /// Whether a person must set the clock, or repair the connection to AWS.
    #[must_use]
    pub fn needs_repair(self) -> bool {
        match self {
            ClockDoubt::Off { .. } | ClockDoubt::NotCompared => true,
            ClockDoubt::SetForward { .. } => false,
        }
    }
}

/// The difference in words, such as `8d ahead of AWS's`.
#[must_use]
pub fn off_in_words(ahead_secs: i64) -> String {
    let side = if ahead_secs < 0 { "behind" } else { "ahead of" };
    format!("{} {side} AWS's", in_words(Duration::from_secs(ahead_secs.unsigned_abs())))
}

impl fmt::Display for ClockDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClockDoubt::Off { ahead_secs } => write!(
                f,
                "this machine's clock is {}; no key is made, delivered or taken away until the two agree; set the clock, \
                 and check the machine's time service",
                off_in_words(*ahead_secs)
            ),
            ClockDoubt::SetForward { by } => write!(
                f,
                "this machine's clock was set forward by {} during this wait; no key is taken away before the whole wait \
                 has really passed",
                in_words(*by)
            ),
            ClockDoubt::NotCompared => f.write_str(
                "AWS has not answered yet, so this machine's clock was not compared with AWS's; no key is taken away \
                 before that; check the way to AWS",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_doubted_beyond_two_minutes_off_or_without_a_comparison() {
        let ours = Timestamp::from_unix(1_800_000_000);
        let doubt = |aws: i64| ClockDoubt::of(ours, Some(Timestamp::from_unix(aws)));
        assert_eq!(doubt(1_800_000_120), None);
        assert_eq!(doubt(1_799_999_880), None);
        assert_eq!(doubt(1_800_000_121), Some(ClockDoubt::Off { ahead_secs: -121 }));
        assert_eq!(doubt(1_799_999_879), Some(ClockDoubt::Off { ahead_secs: 121 }));
        assert_eq!(ClockDoubt::of(ours, None), Some(ClockDoubt::NotCompared));
    }

    #[test]
    fn each_clock_doubt_states_that_key_changes_are_paused() {
        let ahead = ClockDoubt::Off { ahead_secs: 8 * 86_400 };
        assert!(ahead.to_string().starts_with("this machine's clock is 8d ahead of AWS's; no key"));
        let behind = ClockDoubt::Off { ahead_secs: -3600 };
        assert!(behind.to_string().contains("1h behind AWS's"), "{behind}");
        let forward = ClockDoubt::SetForward { by: Duration::from_hours(48) };
        assert!(forward.to_string().contains("set forward by 2d"), "{forward}");
        for doubt in [ahead, behind, forward, ClockDoubt::NotCompared] {
            assert!(doubt.to_string().contains("no key is"), "{doubt}");
        }
        assert!(!forward.needs_repair() && ahead.needs_repair() && ClockDoubt::NotCompared.needs_repair());
    }
}
