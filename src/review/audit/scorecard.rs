//! Scores each vendor by the practices that it meets, so that the owner can ask it about the others.

use super::{Declared, DeclaredVendor, Finding, GivenAccess};
use crate::core::ids::VendorName;

/// The score of one vendor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Score {
    /// The vendor's name.
    pub vendor: VendorName,
    /// The share of the practices that it meets, in percent, rounded down.
    pub score: u32,
    /// The practices that it meets.
    pub passed: Vec<&'static str>,
    /// The practices that it does not meet.
    pub failed: Vec<&'static str>,
}

/// The kind of vendor that a practice applies to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum For {
    Everybody,
    Keys,
    Roles,
}

/// The practices, each with the rules whose findings show that it is not met. A waived finding counts as well:
/// somebody has accepted the risk, but the vendor does not meet the practice.
const PRACTICES: [(&str, For, &[&str]); 10] = [
    ("unique credentials", For::Keys, &["KR101", "KR102", "KR103", "KR104", "KR105"]),
    ("a role in place of a key", For::Keys, &["KR301"]),
    (
        "a trust with an external id",
        For::Roles,
        &["KR302", "KR303", "KR304", "KR305", "KR306", "KR307", "KR308", "KR310"],
    ),
    ("keys rotated in time", For::Keys, &["KR401", "KR705"]),
    ("no idle or spare keys", For::Keys, &["KR402", "KR403", "KR404", "KR405", "KR407"]),
    ("no key beside the role", For::Roles, &["KR406"]),
    (
        "least privilege",
        For::Everybody,
        &[
            "KR500", "KR501", "KR502", "KR503", "KR504", "KR505", "KR506", "KR507", "KR508", "KR509",
            "KR510", "KR513", "KR521",
        ],
    ),
    ("no more than declared", For::Everybody, &["KR520", "KR522"]),
    ("rotation that is verified", For::Keys, &["KR703"]),
    ("rotation with time to turn back", For::Keys, &["KR701", "KR702"]),
];

pub(super) fn of(findings: &[Finding], declared: &Declared) -> Vec<Score> {
    declared.vendors.iter().map(|vendor| score(findings, vendor)).collect()
}

fn score(findings: &[Finding], vendor: &DeclaredVendor) -> Score {
    let (mut passed, mut failed) = (Vec::new(), Vec::new());
    for (name, whom, codes) in PRACTICES {
        let applies = match (whom, &vendor.given) {
            (For::Everybody, _)
            | (For::Keys, GivenAccess::Keys { .. })
            | (For::Roles, GivenAccess::Role { .. }) => true,
            (For::Keys, GivenAccess::Role { .. }) | (For::Roles, GivenAccess::Keys { .. }) => false,
        };
        let is_against = |finding: &&Finding| {
            finding.vendor.as_ref() == Some(&vendor.name) && codes.contains(&finding.rule.code)
        };
        if applies && findings.iter().any(|finding| is_against(&finding)) {
            failed.push(name);
        } else if applies {
            passed.push(name);
        }
    }
    let (met, all) = (passed.len(), passed.len() + failed.len());
    let score = u32::try_from(met * 100 / all.max(1)).unwrap_or(0);
    Score { vendor: vendor.name.clone(), score, passed, failed }
}
