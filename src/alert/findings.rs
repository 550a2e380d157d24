//! What a review of the accounts found, as alerts.

use std::collections::BTreeMap;

use crate::alert::condition::Condition;
use crate::alert::picture::Alert;
use crate::audit::rules::ROOT_KEYS;
use crate::audit::{AccountReview, Finding};
use crate::ids::VendorName;
use crate::policy::Severity;
use crate::time::Timestamp;

/// Whom a lesser finding would wake, `keyround audit` tells by daylight.
const SEVERITY_MIN: Severity = Severity::High;

/// The findings of one review of all accounts, for the alert sinks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Findings {
    pub(super) alerts: Vec<Alert>,
    /// Everything could be read, so what was not found is not there.
    pub(super) is_whole: bool,
}

impl Findings {
    /// Of these reviews, which were over then.
    #[must_use]
    pub fn of(reviews: &[AccountReview], at: Timestamp) -> Findings {
        let mut findings = Findings { alerts: Vec::new(), is_whole: true };
        for one in reviews {
            findings.add(one, at);
        }
        findings
    }

    /// Adds those of one account: root's keys are an alert of their own, and what is grave with a vendor, or with no
    /// vendor, is one for each. What somebody has accepted is none.
    fn add(&mut self, one: &AccountReview, at: Timestamp) {
        self.is_whole &= one.is_whole;
        let findings = one.review.findings.iter();
        let grave = findings.filter(|finding| finding.waived.is_none() && finding.severity() >= SEVERITY_MIN);
        let (root, others): (Vec<&Finding>, Vec<&Finding>) =
            grave.partition(|finding| finding.rule.code == ROOT_KEYS.code);
        let alert = |condition, vendor: Option<&VendorName>, found: &[&Finding]| {
            let worst = found.iter().max_by_key(|finding| finding.severity())?;
            let more = match found.len() - 1 {
                0 => String::new(),
                more => format!("; and {more} more: `keyround audit`"),
            };
            let sentence = format!("{}; to mend it: {}{more}", worst.sentence, worst.fix);
            let alert = Alert::of_house(condition, worst.rule.code, sentence, at);
            Some(Alert { vendor: vendor.cloned(), account: one.account.clone(), ..alert })
        };
        self.alerts.extend(alert(Condition::RootKey, None, &root));
        let mut by_vendor: BTreeMap<Option<&VendorName>, Vec<&Finding>> = BTreeMap::new();
        for finding in others {
            by_vendor.entry(finding.vendor.as_ref()).or_default().push(finding);
        }
        self.alerts
            .extend(by_vendor.iter().filter_map(|(vendor, found)| alert(Condition::Audit, *vendor, found)));
    }
}
