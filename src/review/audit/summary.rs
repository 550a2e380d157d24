//! The result of the reviews of all accounts, reduced to what the status shows.

use std::collections::BTreeMap;

use super::{Review, Score};
use crate::core::ids::AccountName;
use crate::core::time::Timestamp;
use crate::review::policy::Severity;

/// The review of one account.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountReview {
    /// The account's name in `[account.NAME]`; `None`: the account of the ambient credentials.
    pub account: Option<AccountName>,
    /// The result of the review.
    pub review: Review,
    /// Whether everything could be read. Only then does a missing finding mean that nothing is wrong there.
    pub is_whole: bool,
}

/// The scores of all vendors, and the number of findings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Summary {
    /// When the review ended.
    pub at: Timestamp,
    /// One score for each vendor.
    pub scorecard: Vec<Score>,
    /// The number of findings without a waiver, by severity. A severity without findings has no entry.
    pub open: BTreeMap<Severity, usize>,
    /// The number of findings with a waiver.
    pub waived: usize,
}

impl Summary {
    /// The summary of these reviews, which ended at `at`.
    #[must_use]
    pub fn of(reviews: &[AccountReview], at: Timestamp) -> Summary {
        let scorecard = reviews.iter().flat_map(|one| one.review.scorecard.iter().cloned()).collect();
        let mut summary = Summary { at, scorecard, open: BTreeMap::new(), waived: 0 };
        for finding in reviews.iter().flat_map(|one| &one.review.findings) {
            match finding.waived {
                None => *summary.open.entry(finding.severity()).or_default() += 1,
                Some(_) => summary.waived += 1,
            }
        }
        summary
    }
}
