//! The findings of a review of the accounts, as alerts.

use crate::core::alert::active::Alert;

/// The findings of one review of all accounts, for the alert sinks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Findings {
    /// One for root's keys, and one for each vendor with a grave finding.
    pub alerts: Vec<Alert>,
    /// Everything could be read, so a finding that is not in here does not exist any more.
    pub is_whole: bool,
}
