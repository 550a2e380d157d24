//! Turns the findings of a review into alerts for the sinks that subscribed to them.

use std::collections::BTreeMap;

use super::rules::ROOT_KEYS;
use super::{AccountReview, Finding};
use crate::core::alert::{Alert, Condition, Findings};
use crate::core::ids::VendorName;
use crate::core::time::Timestamp;
use crate::review::policy::Severity;

/// The lowest severity that raises an alert. `keyround audit` shows the findings below it.
const SEVERITY_MIN: Severity = Severity::High;

/// The alerts of these reviews, which ended at `at`.
#[must_use]
pub fn findings(reviews: &[AccountReview], at: Timestamp) -> Findings {
    let alerts = reviews.iter().flat_map(|one| alerts_of(one, at)).collect();
    Findings { alerts, is_whole: reviews.iter().all(|one| one.is_whole) }
}

/// The alerts of one account: one for the access keys of root, and one for each vendor with findings of high
/// severity or above, as well as one for such findings without a vendor. A waived finding raises no alert.
fn alerts_of(one: &AccountReview, at: Timestamp) -> Vec<Alert> {
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
    let mut by_vendor: BTreeMap<Option<&VendorName>, Vec<&Finding>> = BTreeMap::new();
    for finding in others {
        by_vendor.entry(finding.vendor.as_ref()).or_default().push(finding);
    }
    let of_vendors = by_vendor.iter().filter_map(|(vendor, found)| alert(Condition::Audit, *vendor, found));
    alert(Condition::RootKey, None, &root).into_iter().chain(of_vendors).collect()
}
