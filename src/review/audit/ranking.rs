//! Ranks the active keys of an account by urgency: the key that endangers the account most comes first.
//!
//! A rank is the product of four small numbers. [`Ranked`] holds each of them, so that a reader sees the reason:
//! the key's age relative to its limit, whether it is in use, how much its user may do, and from how many places it
//! is used.

use std::collections::BTreeSet;
use std::time::Duration;

use super::facts::{Facts, Key, User};
use super::{Declared, Finding, GivenAccess};
use crate::core::ids::{AccessKeyId, IamUserName, VendorName};
use crate::core::rotation::KeyStatus;
use crate::review::policy::{Severity, narrowing};

/// A key without a use for this many days counts as idle.
const IDLE_DAYS: u64 = 45;
/// The age limit of keys for which the configuration sets none.
const MAX_AGE: Duration = Duration::from_hours(90 * 24);
/// The bounds of the age weight, in percent of the age limit: even a new key counts, and the weight of an old key
/// stops at ten times the limit.
const AGE_PERCENT: (u64, u64) = (25, 1000);
const ORIGINS_MAX: u64 = 4;
/// The rules about use of another vendor's service or from another vendor's address: the key may have leaked.
const FOREIGN: [&str; 2] = ["KR102", "KR103"];
const FOREIGN_WEIGHT: u64 = 8;

/// An active key and its rank.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ranked {
    /// The product of the four weights. A key that has reached its age limit, is idle and harmless, and is used
    /// from one place has 100.
    pub points: u64,
    /// The key.
    pub key: AccessKeyId,
    /// The user that the key belongs to.
    pub user: IamUserName,
    /// The configured vendor of the user, if there is one.
    pub vendor: Option<VendorName>,
    /// The key's age in days.
    pub age_days: u64,
    /// The age weight: percent of the age limit, 25 to 1000.
    pub age: u64,
    /// The use weight: 2 if the key was used within the last 45 days, otherwise 1.
    pub used: u64,
    /// The power weight: 8, 4 or 2 for a worst finding on the user's policies of critical, high or medium severity,
    /// otherwise 1.
    pub power: u64,
    /// The origin weight: the number of addresses that the key is used from, 1 to 4, or 1 if CloudTrail was not
    /// asked; 8 if its use looks like another vendor's.
    pub origin: u64,
    /// Whether CloudTrail was asked for the origins of its calls.
    pub origin_checked: bool,
}

impl Ranked {
    /// The four weights as a sentence.
    #[must_use]
    pub fn why(&self) -> String {
        let Ranked { age, age_days, used, power, origin, origin_checked, .. } = self;
        let note = if *origin_checked { "" } else { " (not checked)" };
        format!("age {age} % ({age_days} days) × use {used} × power {power} × origin {origin}{note}")
    }
}

/// The active keys, the most urgent first.
#[must_use]
pub(super) fn of(facts: &Facts, declared: &Declared, findings: &[Finding]) -> Vec<Ranked> {
    let active = |user: &'_ User| -> Vec<Ranked> {
        let keys = user.keys.iter().filter(|key| key.status == KeyStatus::Active);
        keys.map(|key| rank(user, key, facts, declared, findings)).collect()
    };
    let mut ranked: Vec<Ranked> = facts.users.iter().flat_map(active).collect();
    ranked.sort_by(|a, b| b.points.cmp(&a.points).then_with(|| a.key.cmp(&b.key)));
    ranked
}

fn rank(user: &User, key: &Key, facts: &Facts, declared: &Declared, findings: &[Finding]) -> Ranked {
    let vendor = declared.vendor_of(user);
    let max_age = vendor.map_or(MAX_AGE, |vendor| match &vendor.given {
        GivenAccess::Keys { ages, .. } => ages.limit(),
        GivenAccess::Role { .. } => MAX_AGE,
    });
    let percent = facts.at.since(key.created_at).as_secs() * 100 / max_age.as_secs().max(1);
    let age = percent.clamp(AGE_PERCENT.0, AGE_PERCENT.1);
    let is_in_use = key.last_use.as_ref().is_some_and(|last| facts.at.days_since(last.at) < IDLE_DAYS);
    let in_use = if is_in_use { 2 } else { 1 };
    let of_user = || findings.iter().filter(|finding| finding.subject == user.arn);
    let policies = of_user().filter(|finding| finding.rule.code.starts_with("KR5"));
    let power = match policies.map(Finding::severity).max() {
        Some(Severity::Critical) => 8,
        Some(Severity::High) => 4,
        Some(Severity::Medium) => 2,
        Some(Severity::Low | Severity::Info) | None => 1,
    };
    let is_foreign =
        of_user().any(|finding| FOREIGN.contains(&finding.rule.code) && finding.detail == key.id.as_str());
    let places: BTreeSet<&str> = key.origins.iter().flatten().map(|origin| origin.address.as_str()).collect();
    let places = places.into_iter().filter(|address| narrowing::is_address(address)).count();
    let origin = match is_foreign {
        true => FOREIGN_WEIGHT,
        false => u64::try_from(places).unwrap_or(ORIGINS_MAX).clamp(1, ORIGINS_MAX),
    };
    Ranked {
        points: age * in_use * power * origin,
        key: key.id.clone(),
        user: user.name.clone(),
        vendor: vendor.map(|vendor| vendor.name.clone()),
        age_days: facts.at.days_since(key.created_at),
        age,
        used: in_use,
        power,
        origin,
        origin_checked: key.origins.is_some(),
    }
}
