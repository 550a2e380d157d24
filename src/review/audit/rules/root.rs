//! The rules for root: it has no access keys, and it was not used recently.

use super::{DAY, ROOT_KEYS, ROOT_USED};
use crate::review::audit::facts::Facts;
use crate::review::audit::{Declared, Finding};

/// A use within this many days counts as recent.
const LATELY_DAYS: u32 = 45;

pub(super) fn judge(facts: &Facts, _: &Declared) -> Vec<Finding> {
    let root = &facts.root;
    let mut found = Vec::new();
    if root.has_keys == Some(true) {
        let sentence = format!("root of the account {} has access keys", facts.account_id);
        found.push(
            Finding::new(&ROOT_KEYS, facts.account_arn(), sentence).with("account_access_keys_present", true),
        );
    }
    let lately = root.last_used_at.filter(|at| facts.at.since(*at) < DAY * LATELY_DAYS);
    if let Some(at) = lately {
        let sentence = format!("root of the account {} was last used at {at}", facts.account_id);
        found.push(
            Finding::new(&ROOT_USED, facts.account_arn(), sentence).with("last_used_at", at.to_string()),
        );
    }
    found
}
