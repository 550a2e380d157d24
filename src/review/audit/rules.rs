//! The rules for an account, as a table, and the functions that apply them.
//!
//! | codes | about | where |
//! |---|---|---|
//! | KR1xx | unique credentials | `credentials` |
//! | KR2xx | root | `root` |
//! | KR3xx | roles and their trust | `roles` |
//! | KR4xx | keys | `keys` |
//! | KR5xx | policies; those of one document are [`crate::review::policy::lint`]'s | `policies` |
//! | KR6xx | CloudTrail | `trails` |
//! | KR7xx | how keys are rotated | `hygiene` |
//! | KR9xx | the review itself | here, `waive` |

mod credentials;
mod hygiene;
mod keys;
mod policies;
mod roles;
mod root;
mod table;
mod trails;

pub use table::*;

use std::time::Duration;

use super::{Declared, Facts, Finding};
use crate::review::policy::{Rule, lint};

const DAY: Duration = Duration::from_hours(24);
/// The time without use after which CIS and AWS both call a key idle: 45 days.
const IDLE: Duration = Duration::from_hours(45 * 24);

/// Applies all rules.
pub(super) fn judge(facts: &Facts, declared: &Declared) -> Vec<Finding> {
    let judges: [fn(&Facts, &Declared) -> Vec<Finding>; 8] = [
        credentials::judge,
        root::judge,
        roles::judge,
        keys::judge,
        policies::judge,
        trails::judge,
        hygiene::judge,
        gaps,
    ];
    judges.iter().flat_map(|judge| judge(facts, declared)).collect()
}

/// The rule with this code, among those for accounts and those for policies.
#[must_use]
pub fn by_code(code: &str) -> Option<&'static Rule> {
    TABLE.into_iter().chain(lint::RULES).find(|rule| rule.code == code)
}

fn gaps(facts: &Facts, _: &Declared) -> Vec<Finding> {
    let found = |gap: &super::facts::Gap| {
        let sentence = format!("{} could not be read: {}", gap.what, gap.sentence);
        Finding::new(&NOT_CHECKED, facts.account_arn(), sentence)
            .detail(gap.what.clone())
            .with("what", gap.what.clone())
    };
    facts.gaps.iter().map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_unique_code_and_complete_bounded_texts() {
        let rules: Vec<&Rule> = TABLE.into_iter().chain(lint::RULES).collect();
        for rule in &rules {
            assert_eq!(rules.iter().filter(|other| other.code == rule.code).count(), 1, "{}", rule.code);
            let digits = rule.code.strip_prefix("KR").unwrap_or_default();
            assert!(digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()), "{}", rule.code);
            assert!(
                rule.why.len() > 20 && rule.fix.len() > 5 && !rule.references.is_empty(),
                "{}",
                rule.code
            );
            // The AWS Security Finding Format (ASFF) limits a title to 256 characters and a recommendation to 512.
            assert!(rule.title.len() <= 200 && rule.fix.len() <= 500, "{}", rule.code);
        }
    }
}
