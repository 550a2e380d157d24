//! What the reviews of all accounts came to, for those who only look.

use std::collections::BTreeMap;

use super::{Review, Score};
use crate::core::ids::AccountName;
use crate::core::time::Timestamp;
use crate::review::policy::Severity;

/// The review of one account.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountReview {
    /// `[account.NAME]`; `None`: the account of the ambient credentials.
    pub account: Option<AccountName>,
    /// What it gives.
    pub review: Review,
    /// Everything could be read, so what was not found is not there.
    pub is_whole: bool,
}

/// Each vendor's marks, and how much was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Summary {
    /// When the review was over.
    pub at: Timestamp,
    /// One for each vendor.
    pub scorecard: Vec<Score>,
    /// How many findings of each severity nobody has accepted. What is not in it was not found.
    pub open: BTreeMap<Severity, usize>,
    /// How many somebody has.
    pub waived: usize,
}

impl Summary {
    /// Of these reviews, which were over then.
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
