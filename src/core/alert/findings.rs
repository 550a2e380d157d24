//! The findings of a review of the accounts, as alerts.

use crate::core::alert::active::Alert;

/// The findings of one review of all accounts, for the alert sinks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Findings {
    /// One alert for the root user's keys, and one for each vendor with a grave finding.
    pub alerts: Vec<Alert>,
    /// Whether everything could be read, so that a finding that is not in here does not exist any more.
    pub is_whole: bool,
}
