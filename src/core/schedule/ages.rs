//! At which age a key is due, and by which age a key that is replaced must be Inactive.

use std::time::Duration;

use crate::core::ids::{AccountName, IamUserName};
use crate::core::schedule::cron::jitter_for;
use crate::core::time::Timestamp;

/// The ages that decide when a key is due soon, due and overdue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ages {
    /// A key of this age is due. With a deadline, this is computed from the deadline, and each user's share of the
    /// slack is added.
    pub max_age: Duration,
    /// How long before its due date a key is due soon.
    pub warn_before: Duration,
    /// How long after its due date a key is overdue, if it is not rotated.
    pub overdue_after: Duration,
    /// The setting `inactive_by`, if it is used in place of `max_age`.
    pub deadline: Option<Deadline>,
}

/// The age by which a key that is replaced must be Inactive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deadline {
    /// The age, from the setting `inactive_by`.
    pub inactive_by: Duration,
    /// Keys of the same age come due within the first three quarters of this span, each at a time of its own. The last
    /// quarter is for the time between passes, and for attempts that fail.
    pub slack: Duration,
}

impl Ages {
    /// The age that no Active key should reach: `inactive_by`, or else `max_age`.
    #[must_use]
    pub fn limit(self) -> Duration {
        self.deadline.map_or(self.max_age, |deadline| deadline.inactive_by)
    }

    /// These ages for one user. With a deadline, each user has its own share of the slack, which is the same each time.
    #[must_use]
    pub fn of_user(self, account: Option<&AccountName>, user: &IamUserName) -> Ages {
        let Some(deadline) = self.deadline else { return self };
        let salt = format!("slack/{}/{user}", account.map_or("", AccountName::as_str));
        Ages { max_age: self.max_age + jitter_for(Timestamp::EPOCH, deadline.slack / 4 * 3, &salt), ..self }
    }

    /// When a key that was created at `created_at` is due, and when it is overdue. With a deadline, it is overdue no
    /// later than the deadline.
    #[must_use]
    pub fn dates(self, created_at: Timestamp) -> (Timestamp, Timestamp) {
        let due_at = created_at + self.max_age;
        let overdue_at = due_at + self.overdue_after;
        let inactive_by = self.deadline.map(|deadline| created_at + deadline.inactive_by);
        (due_at, inactive_by.map_or(overdue_at, |inactive_by| overdue_at.min(inactive_by)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn ages(deadline: Option<Deadline>) -> Ages {
        Ages { max_age: 80 * DAY, warn_before: 14 * DAY, overdue_after: 3 * DAY, deadline }
    }

    fn user(number: u32) -> IamUserName {
        format!("vendor-{number}").parse().expect("a user")
    }

    #[test]
    fn without_a_deadline_all_users_are_due_at_the_same_age() {
        let ages = ages(None);
        assert_eq!((ages.of_user(None, &user(1)), ages.limit()), (ages, 80 * DAY));
        let created = Timestamp::from_unix(0);
        assert_eq!(ages.dates(created), (created + 80 * DAY, created + 83 * DAY));
    }

    #[test]
    fn due_times_of_keys_created_together_are_spread_over_hours() {
        let ages = ages(Some(Deadline { inactive_by: 90 * DAY, slack: 3 * DAY }));
        let mut hours = std::collections::BTreeMap::new();
        for number in 0..1000 {
            let due = ages.of_user(None, &user(number)).max_age;
            assert!(due >= 80 * DAY && due <= 83 * DAY, "{due:?}");
            *hours.entry(due.as_secs() / 3600).or_insert(0) += 1;
        }
        let busiest = hours.values().max().copied().unwrap_or_default();
        assert!(busiest <= 50, "{busiest} of 1,000 in the busiest hour");
        let account: AccountName = "other".parse().expect("a name");
        assert_ne!(ages.of_user(Some(&account), &user(1)), ages.of_user(None, &user(1)));
        assert_eq!(ages.of_user(None, &user(1)), ages.of_user(None, &user(1)));
    }

    #[test]
    fn a_key_is_overdue_at_its_deadline_regardless_of_overdue_after() {
        let created = Timestamp::from_unix(0);
        let deadline = Some(Deadline { inactive_by: 82 * DAY, slack: DAY });
        assert_eq!(ages(deadline).dates(created), (created + 80 * DAY, created + 82 * DAY));
        assert_eq!(ages(deadline).limit(), 82 * DAY);
    }
}
