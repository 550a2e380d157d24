//! The known ways of privilege escalation: combinations of a few rights with which a principal gains all rights.
//!
//! The list follows "AWS IAM Privilege Escalation: Methods and Mitigation" (Spencer Gietzen, Rhino Security Labs,
//! 2018 and later), "IAM Vulnerable" (Seth Art, Bishop Fox, 2021) and Cloudsplaining 0.9.1 (Salesforce). A way is
//! open if [`Rights`] grants every step of it. `iam:PassRole` and `sts:AssumeRole` alone have rules of their own.

mod ways;

pub use ways::WAYS;

use super::rights::{Grant, Rights, Target};
use super::{Condition, Pattern, Statement};

/// The publication that lists a way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// Rhino Security Labs.
    Rhino,
    /// IAM Vulnerable.
    BishopFox,
    /// Cloudsplaining's `PRIVILEGE_ESCALATION_METHODS`.
    Cloudsplaining,
}

/// A way of privilege escalation: a principal that has one action of each step can gain all rights.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EscalationPath {
    /// What the principal does, in a few words, for a sentence.
    pub name: &'static str,
    /// The publication that lists this way.
    pub source: Source,
    /// The services, one of which gets the passed role; empty: no role is passed.
    pub services: &'static [&'static str],
    /// The steps, each as its alternative actions: one of them is enough.
    pub steps: &'static [&'static [&'static str]],
}

const PASS_ROLE: &str = "iam:PassRole";
/// Actions that give more rights only on another user: the keys and passwords of one's own user have one's own
/// rights.
const ON_OTHERS: [&str; 5] = [
    "iam:CreateAccessKey",
    "iam:CreateLoginProfile",
    "iam:UpdateLoginProfile",
    "iam:CreateVirtualMFADevice",
    "iam:EnableMFADevice",
];
/// Actions that give more rights only if the caller can choose the policy.
const WITH_A_POLICY: [&str; 3] = ["iam:AttachUserPolicy", "iam:AttachGroupPolicy", "iam:AttachRolePolicy"];

/// A way that is open to a principal.
#[derive(Clone, Debug)]
pub struct Open<'d> {
    /// The way that is open.
    pub way: EscalationPath,
    /// The granted actions: one for each step, in order.
    pub with: Vec<&'static str>,
    /// The statement that grants the first of these actions.
    pub by: &'d Statement,
}

/// The ways that are open to a principal with these rights.
///
/// A grant counts even if only some requests meet its condition, unless the condition fixes the service that a role
/// is passed to, or the policy that is attached.
#[must_use]
pub fn open<'d>(rights: &Rights<'d>) -> Vec<Open<'d>> {
    let open = |way: &EscalationPath| {
        let mut with = Vec::new();
        let mut by = None;
        for step in way.steps {
            let found = step.iter().find_map(|action| {
                let mut grants = rights.grants(action).into_iter();
                grants.find(|grant| opens(grant, action, way)).map(|grant| (*action, grant.statement))
            });
            let (action, statement) = found?;
            with.push(action);
            by = by.or(Some(statement));
        }
        Some(Open { way: *way, with, by: by? })
    };
    WAYS.iter().filter_map(open).collect()
}

/// Whether the grant makes this step of the way possible.
fn opens(grant: &Grant<'_>, action: &str, way: &EscalationPath) -> bool {
    let conditions = || grant.statement.conditions.iter();
    if action == PASS_ROLE {
        return !conditions().any(|one| passes_to_others(one, way.services));
    }
    if WITH_A_POLICY.contains(&action) && conditions().any(names_a_policy) {
        return false;
    }
    !(ON_OTHERS.contains(&action) && is_itself(grant.target))
}

/// Whether the grant applies only to the caller's own user.
fn is_itself(target: Target<'_>) -> bool {
    match target {
        Target::Named(item) => item.value.as_str().to_ascii_lowercase().ends_with("/${aws:username}"),
        Target::Itself | Target::AllBut(_) => false,
    }
}

/// Whether the condition allows passing roles to named services only, and to none of these.
fn passes_to_others(condition: &Condition, services: &[&str]) -> bool {
    let operator = condition.operator.value.to_ascii_lowercase();
    let is_demanded = ["stringequals", "stringlike", "stringequalsignorecase"].contains(&operator.as_str());
    let is_here = |value: &str| services.iter().any(|service| Pattern::new(value).matches(service));
    condition.key.value.eq_ignore_ascii_case("iam:PassedToService")
        && is_demanded
        && !condition.values.iter().any(|value| is_here(&value.value))
}

/// Whether the condition names the policies that may be attached, and none of them gives wide rights.
fn names_a_policy(condition: &Condition) -> bool {
    let operator = condition.operator.value.to_ascii_lowercase();
    let is_demanded = ["stringequals", "arnequals", "stringlike", "arnlike"].contains(&operator.as_str());
    let is_one = |value: &str| {
        let pattern = Pattern::new(value);
        let is_wide = ["AdministratorAccess", "IAMFullAccess", "PowerUserAccess"]
            .iter()
            .any(|name| pattern.matches_resource(&format!("arn:aws:iam::aws:policy/{name}")));
        !is_wide && !pattern.is_every_resource()
    };
    condition.key.value.eq_ignore_ascii_case("iam:PolicyARN")
        && is_demanded
        && condition.values.iter().all(|value| is_one(&value.value))
}

#[cfg(test)]
mod tests {
    use super::super::Document;
    use super::*;

    fn ways(text: &str) -> Vec<&'static str> {
        let document = Document::parse(text).expect("a policy");
        open(&Rights::of(&[&document])).into_iter().map(|open| open.way.name).collect()
    }

    fn allow(actions: &str) -> String {
        format!(r#"{{"Statement": {{"Effect": "Allow", "Action": [{actions}], "Resource": "*"}}}}"#)
    }

    #[test]
    fn each_escalation_path_needs_all_of_its_actions() {
        for way in WAYS {
            for missing in 0..=way.steps.len() {
                let steps = way.steps.iter().enumerate().filter(|(number, _)| *number != missing);
                let actions: Vec<String> = steps.map(|(_, step)| format!("{:?}", step[0])).collect();
                if actions.is_empty() {
                    continue;
                }
                let is_open = ways(&allow(&actions.join(", "))).contains(&way.name);
                assert_eq!(is_open, missing == way.steps.len(), "{} without step {missing}", way.name);
            }
        }
    }

    #[test]
    fn wildcards_open_escalation_paths_and_a_deny_closes_them() {
        assert_eq!(ways(&allow("\"*\"")).len(), WAYS.len());
        assert!(ways(&allow("\"iam:*LoginProfile\"")).contains(&"sets a console password for another user"));
        let denied = r#"{"Statement": [{"Effect": "Allow", "Action": "iam:Create*", "Resource": "*"},
            {"Effect": "Deny", "Action": "iam:*", "Resource": "*"}]}"#;
        assert!(ways(denied).is_empty());
        let elsewhere = r#"{"Statement": [{"Effect": "Allow", "Action": "iam:CreateAccessKey", "Resource": "*"},
            {"Effect": "Deny", "Action": "iam:*", "NotResource": "arn:aws:iam::111122223333:user/admin"}]}"#;
        assert_eq!(ways(elsewhere).len(), 1, "one user is left");
        let not = r#"{"Statement": {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}}"#;
        assert_eq!(ways(not).len(), WAYS.len());
    }

    #[test]
    fn rights_on_own_policies_escalate_and_rights_on_own_keys_do_not() {
        let own = |action: &str| {
            let own = "arn:aws:iam::*:user/${aws:username}";
            ways(&format!(
                r#"{{"Statement": {{"Effect": "Allow", "Action": "{action}", "Resource": "{own}"}}}}"#
            ))
        };
        assert!(own("iam:CreateAccessKey").is_empty() && own("iam:*LoginProfile").is_empty());
        assert_eq!(own("iam:PutUserPolicy"), ["writes a policy of its own into itself"]);
    }

    #[test]
    fn a_service_or_policy_condition_closes_the_other_escalation_paths() {
        let with = |actions: &str, condition: &str| {
            ways(&format!(
                r#"{{"Statement": {{"Effect": "Allow", "Action": [{actions}], "Resource": "*", "Condition": {condition}}}}}"#
            ))
        };
        let run = r#""iam:PassRole", "ec2:RunInstances""#;
        let to = |service: &str| format!(r#"{{"StringEquals": {{"iam:PassedToService": "{service}"}}}}"#);
        assert_eq!(with(run, &to("ec2.amazonaws.com")), ["starts a machine with any role"]);
        assert!(with(run, &to("ecs-tasks.amazonaws.com")).is_empty());
        let attach = |policy: &str| {
            with(r#""iam:AttachUserPolicy""#, &format!(r#"{{"ArnEquals": {{"iam:PolicyARN": "{policy}"}}}}"#))
                .len()
        };
        assert_eq!(attach("arn:aws:iam::111122223333:policy/reader"), 0);
        assert_eq!(attach("arn:aws:iam::aws:policy/AdministratorAccess"), 1);
    }
}
