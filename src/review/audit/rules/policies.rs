//! The rules for what vendors may do: by each policy, by all policies together, and compared with what they declare
//! and use.

use std::collections::BTreeMap;

use serde_json::json;

use super::{DAY, NOT_DECLARED, NOT_USED, WAYS_TOGETHER};
use crate::review::audit::facts::{Attached, AttachedBy, Facts, ServiceUse};
use crate::review::audit::{Declared, DeclaredVendor, Finding};
use crate::review::policy::lint::{self, Found, Purpose, in_words};
use crate::review::policy::rights::Context;
use crate::review::policy::{Document, Effect, Pattern, Place, Rights, actions, escalation};

/// A service without a use for this many days counts as unused. AWS keeps 400 days; a quarter of a year is enough
/// to have seen what is done monthly.
const USED_WITHIN_DAYS: u32 = 90;

pub(super) fn judge(facts: &Facts, declared: &Declared) -> Vec<Finding> {
    let users = declared.vendor_users(facts).map(|(vendor, user)| Holder {
        vendor,
        arn: &user.arn,
        policies: &user.policies,
        boundary: user.boundary.as_ref(),
        used: user.used.as_deref(),
        is_new: facts.at.since(user.created_at) < DAY * USED_WITHIN_DAYS,
    });
    let roles = declared.vendor_roles(facts).map(|(vendor, role)| Holder {
        vendor,
        arn: &role.arn,
        policies: &role.policies,
        boundary: role.boundary.as_ref(),
        used: role.used.as_deref(),
        // The facts do not hold when a role was created.
        is_new: false,
    });
    users.chain(roles).flat_map(|holder| holder.judge(facts)).collect()
}

/// A vendor's user or role, with its policies.
struct Holder<'f> {
    vendor: &'f DeclaredVendor,
    arn: &'f str,
    policies: &'f [Attached],
    boundary: Option<&'f Attached>,
    used: Option<&'f [ServiceUse]>,
    is_new: bool,
}

impl Holder<'_> {
    fn judge(&self, facts: &Facts) -> Vec<Finding> {
        let rights = self.rights();
        let mut found: Vec<Finding> =
            self.policies.iter().flat_map(|policy| self.lint(policy, &rights)).collect();
        found.extend(self.ways_together(&found, &rights));
        found.extend(self.policies.iter().filter_map(|policy| self.not_declared(policy, &rights)));
        found.extend(self.not_used(facts));
        found
    }

    /// The rights from all of its policies together, within its boundary. The ARN and the account of the caller are
    /// known.
    fn rights(&self) -> Rights<'_> {
        let documents: Vec<&Document> =
            self.policies.iter().filter_map(|policy| policy.document.as_ref()).collect();
        let one = |value: &str| vec![value.to_owned()];
        let mut known = Context::from([("aws:principalarn".to_owned(), one(self.arn))]);
        known.extend(self.arn.split(':').nth(4).map(|id| ("aws:principalaccount".to_owned(), one(id))));
        let rights = Rights::of(&documents).knowing(known);
        match self.boundary.and_then(|boundary| boundary.document.as_ref()) {
            Some(boundary) => rights.within(boundary),
            None => rights,
        }
    }

    fn finding(&self, rule: &'static crate::review::policy::Rule, sentence: String) -> Finding {
        Finding::new(rule, self.arn, sentence).of(Some(&self.vendor.name))
    }

    /// The findings of the linter on one policy: one finding for each rule, with every place in its evidence.
    fn lint<'d>(&self, policy: &'d Attached, rights: &Rights<'d>) -> Vec<Finding> {
        let mut found = lint::unreadable(&policy.mistakes);
        if let Some(document) = &policy.document {
            found.extend(lint::lint_within(document, Purpose::ThirdParty, rights));
        }
        let mut by_rule: BTreeMap<&str, Vec<Found>> = BTreeMap::new();
        for one in found {
            by_rule.entry(one.rule.code).or_default().push(one);
        }
        by_rule.into_values().map(|found| self.of_one_rule(policy, &found)).collect()
    }

    fn of_one_rule(&self, policy: &Attached, found: &[Found]) -> Finding {
        let places = found.iter().map(|one| {
            let Place { line, column } = Place::of(&policy.text, one.span.start);
            json!({ "line": line, "column": column, "sentence": one.sentence, "items": one.items })
        });
        let sentences: Vec<String> = found.iter().map(|one| one.sentence.clone()).collect();
        let sentence = format!("in the policy {}{}: {}", policy.name, via(policy), in_words(&sentences));
        let finding = self.finding(found[0].rule, sentence).detail(policy.name.clone());
        finding.with("policy", policy.name.clone()).with("places", places.collect::<Vec<_>>())
    }

    /// The ways of privilege escalation that all policies together open, and none of them alone.
    fn ways_together(&self, found: &[Finding], rights: &Rights<'_>) -> Option<Finding> {
        // With administrator rights every way is open, and one finding is enough.
        if found.iter().any(|one| one.rule == &lint::ADMIN) {
            return None;
        }
        let documents = self.policies.iter().filter_map(|policy| policy.document.as_ref());
        let alone: Vec<escalation::EscalationPath> = documents
            .flat_map(|document| escalation::open(&rights.of_one(document)))
            .map(|open| open.way)
            .collect();
        let open: Vec<escalation::Open<'_>> =
            escalation::open(rights).into_iter().filter(|open| !alone.contains(&open.way)).collect();
        let words =
            |open: &escalation::Open<'_>| format!("with {} it {}", open.with.join(" and "), open.way.name);
        let ways: Vec<String> = open.iter().map(words).collect();
        let finding = || self.finding(&WAYS_TOGETHER, in_words(&ways)).with("ways", ways.clone());
        (!ways.is_empty()).then(finding)
    }

    fn not_declared<'d>(&self, policy: &'d Attached, rights: &Rights<'d>) -> Option<Finding> {
        let declared = &self.vendor.actions;
        let document = policy.document.as_ref()?;
        if declared.is_empty() {
            return None;
        }
        let allowing = document.statements.iter().filter(|statement| statement.effect == Effect::Allow);
        let mut more: Vec<String> = Vec::new();
        for statement in allowing {
            if statement.actions.negated {
                more.push("everything that NotAction does not name".to_owned());
            }
            let items = statement.actions.items.iter().filter(|_| !statement.actions.negated);
            // An action that a Deny forbids all the same is not allowed.
            let items = items.filter(|item| {
                let is_known = !actions::matching(&item.value).is_empty();
                !rights.left_of(statement, &item.value).is_empty()
                    || !is_known && !rights.left(statement, &item.value).is_empty()
            });
            more.extend(
                items.filter(|item| !is_declared(&item.value, declared)).map(|item| item.value.to_string()),
            );
        }
        more.sort_unstable();
        more.dedup();
        let sentence =
            format!("the policy {}{} allows {} besides", policy.name, via(policy), in_words(&more));
        let finding = || {
            let fix =
                format!("attach what `keyround policy vendor {}` writes in place of it", self.vendor.name);
            let finding = self.finding(&NOT_DECLARED, sentence.clone()).detail(policy.name.clone()).fix(fix);
            finding.with("policy", policy.name.clone()).with("actions", more.clone())
        };
        (!more.is_empty()).then(finding)
    }

    fn not_used(&self, facts: &Facts) -> Option<Finding> {
        let used = self.used?;
        let recent =
            |one: &ServiceUse| one.last_used_at.is_some_and(|at| facts.at.since(at) < DAY * USED_WITHIN_DAYS);
        let mut idle: Vec<String> =
            used.iter().filter(|one| !recent(one)).map(|one| one.service.clone()).collect();
        idle.sort_unstable();
        // A vendor that uses nothing at all is idle, not too widely allowed: the rules for keys report it.
        if idle.is_empty() || idle.len() == used.len() || self.is_new {
            return None;
        }
        let sentence = format!("it may use {}, and has not for {USED_WITHIN_DAYS} days", in_words(&idle));
        let fix = format!(
            "remove them; `keyround policy vendor {} --from used` writes a policy of the used ones",
            self.vendor.name
        );
        Some(self.finding(&NOT_USED, sentence).fix(fix).with("services", idle))
    }
}

fn via(policy: &Attached) -> String {
    match &policy.via {
        AttachedBy::Inline | AttachedBy::Managed { .. } => String::new(),
        AttachedBy::Group { group } => format!(" of the group {group}"),
    }
}

/// Whether the vendor declares everything that this pattern matches: each known action, or the pattern itself if it
/// matches no known action.
fn is_declared(granted: &Pattern, declared: &[Pattern]) -> bool {
    let covers = |name: &str| declared.iter().any(|pattern| pattern.matches(name));
    let known = actions::matching(granted);
    if granted.is_everything() {
        return declared.iter().any(Pattern::is_everything);
    }
    if known.is_empty() {
        covers(granted.as_str())
    } else {
        known.iter().all(|action| covers(&action.full_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_pattern_covers_the_actions_that_it_matches() {
        let declared = ["s3:Get*", "ec2:DescribeInstances", "quicksite:*"].map(Pattern::new);
        let is_declared = |granted: &str| is_declared(&Pattern::new(granted), &declared);
        assert!(
            is_declared("s3:GetObject") && is_declared("S3:GetBucket*") && is_declared("quicksite:Describe*")
        );
        assert!(!is_declared("s3:*") && !is_declared("ec2:Describe*") && !is_declared("*"));
    }
}
