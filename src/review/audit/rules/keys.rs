//! The rules for access keys: each is young and in use, a user has one at a time, and a vendor owns it.

use super::{
    DAY, EXPIRED, IDLE, IDLE_KEY, LEFT_INACTIVE, NEVER_USED, NOT_CONFIGURED, QUARANTINED, TOO_OLD, TWO_ACTIVE,
};
use crate::core::rotation::KeyStatus;
use crate::core::time::{Timestamp, in_words};
use crate::review::audit::facts::{Attached, AttachedBy, Facts, Key, User};
use crate::review::audit::{Declared, DeclaredVendor, Finding, GivenAccess};
use crate::review::policy::is_quarantine;

/// The age limit, in days, of keys for which the configuration sets none.
const AGE_DAYS_MAX: u32 = 90;

pub(super) fn judge(facts: &Facts, declared: &Declared) -> Vec<Finding> {
    facts.users.iter().flat_map(|user| judge_user(user, facts, declared)).collect()
}

/// A user's key, with what the rules need to judge it.
struct Holding<'f> {
    facts: &'f Facts,
    declared: &'f Declared,
    user: &'f User,
    key: &'f Key,
    vendor: Option<&'f DeclaredVendor>,
}

fn judge_user(user: &User, facts: &Facts, declared: &Declared) -> Vec<Finding> {
    let vendor = declared.vendor_of(user);
    let rotating = declared.rotating.contains(&user.name);
    let mut found = Vec::new();
    for key in &user.keys {
        let holding = Holding { facts, declared, user, key, vendor };
        match key.status {
            KeyStatus::Active => {
                found.extend(holding.too_old());
                found.extend(holding.idle());
                found.extend(holding.not_configured(declared.moved_from(user)));
            }
            KeyStatus::Inactive if !rotating => found.extend(holding.left_inactive()),
            KeyStatus::Inactive => {}
            KeyStatus::Expired => found.push(holding.finding(&EXPIRED, "is Expired").fix(holding.delete())),
        }
    }
    found.extend(quarantined(user, vendor));
    let active: Vec<&Key> = user.keys.iter().filter(|key| key.status == KeyStatus::Active).collect();
    if active.len() > 1 && !rotating {
        found.push(two_active(user, &active, vendor, declared));
    }
    found
}

fn quarantined(user: &User, vendor: Option<&DeclaredVendor>) -> Option<Finding> {
    let name = |attached: &Attached| match &attached.via {
        AttachedBy::Managed { arn } if is_quarantine(arn) => arn.rsplit('/').next().map(str::to_owned),
        AttachedBy::Managed { .. } | AttachedBy::Inline | AttachedBy::Group { .. } => None,
    };
    let policies: Vec<String> = user.policies.iter().filter_map(name).collect();
    if policies.is_empty() {
        return None;
    }
    let sentence = format!("AWS attached {} to the user {}", policies.join(" and "), user.name);
    let finding = Finding::new(&QUARANTINED, &user.arn, sentence).of(vendor.map(|vendor| &vendor.name));
    let finding = finding.with("policies", policies);
    Some(match vendor {
        Some(vendor) => finding.fix(format!(
            "`keyround incident {} --mode cut-first --why TEXT`, follow the case of AWS Support, and detach the policy only \
             after that",
            vendor.name
        )),
        None => finding,
    })
}

fn two_active(user: &User, active: &[&Key], vendor: Option<&DeclaredVendor>, declared: &Declared) -> Finding {
    let name = &user.name;
    let ids: Vec<&str> = active.iter().map(|key| key.id.as_str()).collect();
    let finding = Finding::new(&TWO_ACTIVE, &user.arn, format!("the user {name} has two active keys"));
    let of = vendor.map(|vendor| &vendor.name);
    // `None` is the least, so a key that was never used comes first.
    let unused = active.iter().min_by_key(|key| key.last_use.as_ref().map(|last| last.at));
    let fix = match unused {
        // A rotation may have delivered the key to the vendor, whether the vendor has used it or not.
        _ if active.iter().any(|key| declared.made.contains(&key.id)) => {
            let whom = of.map_or("its owner".to_owned(), ToString::to_string);
            format!(
                "ask {whom} which of the two it holds: a rotation of this journal made one of them and may have delivered it"
            )
        }
        Some(key) => {
            let what = if key.last_use.is_some() { "was used longer ago" } else { "was never used" };
            format!(
                "the one that {what} is {0}: aws iam update-access-key --user-name {name} --access-key-id {0} --status Inactive",
                key.id
            )
        }
        None => TWO_ACTIVE.fix.to_owned(),
    };
    finding.of(of).with("access_key_ids", ids).fix(fix)
}

impl Holding<'_> {
    fn finding(&self, rule: &'static crate::review::policy::Rule, what: &str) -> Finding {
        let Holding { user, key, .. } = self;
        let sentence = format!("the key {} of the user {} {what}", key.id, user.name);
        let used = key.last_use.as_ref().map(|last| last.at.to_string());
        Finding::new(rule, &user.arn, sentence)
            .of(self.vendor.map(|vendor| &vendor.name))
            .detail(key.id.as_str())
            .with("access_key_id", key.id.as_str())
            .with("created_at", key.created_at.to_string())
            .with("last_used_at", used)
    }

    fn delete(&self) -> String {
        if let Some(advice) = self.hands_off() {
            return advice;
        }
        format!("aws iam delete-access-key --user-name {} --access-key-id {}", self.user.name, self.key.id)
    }

    fn deactivate(&self) -> String {
        if let Some(advice) = self.hands_off() {
            return advice;
        }
        let (user, id) = (&self.user.name, &self.key.id);
        format!("aws iam update-access-key --user-name {user} --access-key-id {id} --status Inactive")
    }

    /// The advice for a key that a rotation uses or that keyround created: do not deactivate it by hand. `None`: it
    /// is neither.
    fn hands_off(&self) -> Option<String> {
        if self.is_rotating() {
            return Some(self.wait());
        }
        let is_made = self.declared.made.contains(&self.key.id);
        is_made.then(|| match self.vendor {
            Some(vendor) => {
                let (name, rotate) = (&vendor.name, vendor.rotate(true));
                format!("ask {name} whether it holds this key, which the journal made for it; {rotate} replaces it")
            }
            None => "ask who holds this key: the journal made it for a vendor that the configuration no longer has"
                .to_owned(),
        })
    }

    fn is_rotating(&self) -> bool {
        self.declared.rotating.contains(&self.user.name)
    }

    fn wait(&self) -> String {
        let of = self.vendor.map(|vendor| format!(" {}", vendor.name)).unwrap_or_default();
        format!("leave it as it is: a rotation is under way, and `keyround status{of}` shows where it is")
    }

    fn days_since(&self, at: Timestamp) -> u64 {
        self.facts.at.days_since(at)
    }

    fn too_old(&self) -> Option<Finding> {
        let declared = self.vendor.and_then(|vendor| match &vendor.given {
            GivenAccess::Keys { ages, .. } => Some(ages.limit()),
            GivenAccess::Role { .. } => None,
        });
        let (age, max_age) =
            (self.facts.at.since(self.key.created_at), declared.unwrap_or(DAY * AGE_DAYS_MAX));
        let what =
            format!("is {} days old, and may be {}", self.days_since(self.key.created_at), in_words(max_age));
        let fix = match self.vendor {
            _ if self.is_rotating() => self.wait(),
            Some(vendor) if vendor.enabled => format!("keyround rotate {}", vendor.name),
            Some(vendor) => vendor.rotate(false),
            None => "add a [vendor.NAME] for it, and `keyround rotate NAME`".to_owned(),
        };
        let days = self.days_since(self.key.created_at);
        (age > max_age).then(|| self.finding(&TOO_OLD, &what).with("age_days", days).fix(fix))
    }

    fn idle(&self) -> Option<Finding> {
        let since = |at| self.facts.at.since(at);
        match &self.key.last_use {
            // A new key is not idle: its vendor has not had the time to use it.
            None if since(self.key.created_at) < IDLE => None,
            None => {
                let what = format!("was never used in {} days", self.days_since(self.key.created_at));
                Some(self.finding(&NEVER_USED, &what).fix(self.deactivate()))
            }
            Some(last) if since(last.at) < IDLE => None,
            Some(last) => {
                let what = format!("was last used {} days ago", self.days_since(last.at));
                Some(self.finding(&IDLE_KEY, &what).fix(self.deactivate()))
            }
        }
    }

    /// AWS does not report since when a key is Inactive. The time since its last use is an upper bound.
    fn left_inactive(&self) -> Option<Finding> {
        let last = self.key.last_use.as_ref().map_or(self.key.created_at, |last| last.at);
        let idle = self.facts.at.since(last);
        let what = format!("is Inactive, and was not used for {} days", self.days_since(last));
        (idle >= IDLE).then(|| self.finding(&LEFT_INACTIVE, &what).fix(self.delete()))
    }

    /// Reports an Active key of a user without a vendor. `moved`: the vendor that had this user's keys before it
    /// was given a role.
    fn not_configured(&self, moved: Option<&DeclaredVendor>) -> Option<Finding> {
        let is_ours = self.facts.caller == self.user.arn;
        let finding = || match moved {
            None => self.finding(&NOT_CONFIGURED, "is no vendor's of the configuration"),
            Some(vendor) => {
                let name = &vendor.name;
                let what = format!("still works, though {name} has a role");
                let fix = format!(
                    "ask {name} whether it still signs with this key; when it does not, delete the key"
                );
                self.finding(&NOT_CONFIGURED, &what).of(Some(name)).fix(fix)
            }
        };
        (self.vendor.is_none() && !is_ours).then(finding)
    }
}

#[cfg(test)]
mod tests;
