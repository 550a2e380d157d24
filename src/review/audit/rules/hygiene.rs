//! The rules for how keys are rotated, judged by the configuration.

use super::{DAY, LONG_AGE, NO_SINKS, NOT_VERIFIED, SHORT_COOL, SHORT_SOAK};
use crate::core::time::in_words;
use crate::review::audit::{Declared, DeclaredVendor, Facts, Finding, GivenAccess};

/// The least soak, in hours: what IAM reports as last use lags by up to some hours.
const SOAK_HOURS_MIN: u32 = 1;
/// The least cooling time, in days: somebody should have been at work during it, to notice that the old key is
/// missed.
const COOL_DAYS_MIN: u32 = 1;
/// The longest age, in days, that CIS and AWS both allow.
const AGE_DAYS_MAX: u32 = 90;

pub(super) fn judge(facts: &Facts, declared: &Declared) -> Vec<Finding> {
    let mut found: Vec<Finding> = declared.vendors.iter().flat_map(judge_vendor).collect();
    let holds_keys = |vendor: &DeclaredVendor| matches!(vendor.given, GivenAccess::Keys { .. });
    if declared.alert_sinks == Some(0) && declared.vendors.iter().any(holds_keys) {
        let sentence = "the configuration has no [alert.NAME]";
        found.push(Finding::new(&NO_SINKS, facts.account_arn(), sentence));
    }
    found
}

fn judge_vendor(vendor: &DeclaredVendor) -> Vec<Finding> {
    let GivenAccess::Keys { ages, care, .. } = &vendor.given else { return Vec::new() };
    let name = &vendor.name;
    let subject = format!("vendor/{name}");
    let finding = |rule, sentence: String| Finding::new(rule, &subject, sentence).of(Some(name));
    let mut found = Vec::new();
    if care.soak < DAY / 24 * SOAK_HOURS_MIN {
        let soak = in_words(care.soak);
        found.push(finding(&SHORT_SOAK, format!("soak of {name} is {soak}")).with("soak", soak));
    }
    if care.cool < DAY * COOL_DAYS_MIN {
        let cool = in_words(care.cool);
        found.push(finding(&SHORT_COOL, format!("cool of {name} is {cool}")).with("cool", cool));
    }
    if !care.verified {
        let fix = format!("add a [vendor.{name}.verify] if it can be asked; else keep require_use = true");
        found.push(finding(&NOT_VERIFIED, format!("the vendor {name} has no verify")).fix(fix));
    }
    if ages.limit() > DAY * AGE_DAYS_MAX {
        let (age, key) =
            (in_words(ages.limit()), if ages.deadline.is_some() { "inactive_by" } else { "max_age" });
        found.push(finding(&LONG_AGE, format!("{key} of {name} is {age}")).with("max_age", age));
    }
    found
}
