//! Generates policies that are as narrow as possible: for the rotator, from what its configuration needs; for a
//! vendor, from the actions and resources that it declares.
//!
//! **Invariant:** each action of a generated policy is one that is called, and each resource one that it is called
//! on.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::document::{MANAGED_CHARACTERS, size};
use super::lint::{self, Found, Purpose};
use super::quarantine::QUARANTINE_POLICIES;
use super::rights;
use super::{Document, Pattern};
use crate::core::ids::AccountId;

const LANGUAGE: &str = "2012-10-17";
/// The suffix that Secrets Manager appends to a secret's name in its ARN: a hyphen and six characters.
const SECRET_SUFFIX: &str = "-??????";

/// A generated policy. Its members are serialized in the usual order: version, then statements.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Written {
    version: &'static str,
    statement: Vec<Rule>,
    /// Whether `Resource: *` is intended even where it could be narrower; then [`lint::ANY_RESOURCE`] is not
    /// reported.
    #[serde(skip)]
    is_wide_on_purpose: bool,
}

#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    sid: String,
    effect: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    principal: BTreeMap<&'static str, String>,
    action: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_resource: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    condition: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
}

impl Written {
    fn new(statement: Vec<Rule>) -> Written {
        Written { version: LANGUAGE, statement, is_wide_on_purpose: false }
    }

    /// A trust policy that lets this principal assume the role. `demanded`: a condition key, and the value that a
    /// request must have for it (`StringEquals`).
    pub(super) fn trust(sid: &str, principal: &str, demanded: Option<(&'static str, &str)>) -> Written {
        let equals = demanded.map(|(key, value)| ("StringEquals", BTreeMap::from([(key, value.to_owned())])));
        let rule = Rule {
            sid: sid.to_owned(),
            effect: "Allow",
            principal: BTreeMap::from([("AWS", principal.to_owned())]),
            action: vec!["sts:AssumeRole".to_owned()],
            condition: equals.into_iter().collect(),
            ..Rule::default()
        };
        Written::new(vec![rule])
    }

    /// The number of characters that IAM counts: all except white space.
    #[must_use]
    pub fn size(&self) -> usize {
        size(&self.to_json())
    }

    /// The policy as indented JSON.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "it cannot: it is made of texts and lists")]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("it is made of texts and lists")
    }

    /// The findings of [`lint`] on this policy.
    #[must_use]
    pub fn lint(&self, purpose: Purpose) -> Vec<Found> {
        let mut found = match Document::parse(&self.to_json()) {
            Ok(document) => lint::lint(&document, purpose),
            Err(mistakes) => lint::unreadable(&mistakes),
        };
        found.retain(|found| !(self.is_wide_on_purpose && found.rule == &lint::ANY_RESOURCE));
        found
    }

    fn push_resource(&mut self, resource: &str) {
        if let Some(last) = self.statement.last_mut() {
            last.resource.push(resource.to_owned());
        }
    }

    fn allow(&mut self, sid: &str, actions: &[&str], resource: Vec<String>) {
        if resource.is_empty() {
            return;
        }
        let (sid, action) = (sid.to_owned(), actions.iter().map(|action| (*action).to_owned()).collect());
        self.statement.push(Rule { sid, effect: "Allow", action, resource, ..Rule::default() });
    }
}

/// What the rotator needs in one account.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a question that the configuration lets keyround ask"
)]
pub struct Needs {
    /// The partition: `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
    /// The account; `None`: not known, and the ARNs then have `*` in its place. For the caller's own users both
    /// mean the same.
    pub account: Option<AccountId>,
    /// The region of secrets and parameters; `None`: not known, and the ARNs then have `*` in its place.
    pub region: Option<String>,
    /// The users whose keys are rotated, each as its path and name, such as `vendors/vendor-acme`.
    pub users: BTreeSet<String>,
    /// The paths for which the keys of every user are rotated, such as `/vendors/acme/`.
    pub paths: BTreeSet<String>,
    /// The ARNs of the roles that the rotator assumes in other accounts.
    pub roles: BTreeSet<String>,
    /// The secrets that are read: names or ARNs.
    pub secrets: BTreeSet<String>,
    /// The parameters that are read: names or ARNs.
    pub parameters: BTreeSet<String>,
    /// The secrets that new keys are written to: the region, if it differs from `region`, and the name or ARN.
    pub secret_drops: BTreeSet<(Option<String>, String)>,
    /// The parameters that new keys are written to, in the same form.
    pub parameter_drops: BTreeSet<(Option<String>, String)>,
    /// Whether keyround simulates its rights before a rotation (`check --online`, `rotate --dry-run`).
    pub asks_rights: bool,
    /// Whether CloudTrail is queried for the callers that use a key.
    pub asks_cloudtrail: bool,
    /// Whether AWS is asked which users it has quarantined.
    pub asks_exposure: bool,
    /// Whether the account is reviewed with the same credentials (`audit`, `init`).
    pub reviews: bool,
}

/// The actions that a rotation calls on its user. [`rotator`] adds `iam:GetUser` where rights are simulated,
/// because the simulation needs the ARN of the user.
const ROTATION: [&str; 5] = [
    "iam:CreateAccessKey",
    "iam:DeleteAccessKey",
    "iam:GetAccessKeyLastUsed",
    "iam:ListAccessKeys",
    "iam:UpdateAccessKey",
];
/// The actions that write a new key to a secret: keyround describes the secret, reads it, and writes it.
const SECRET_DROP: [&str; 3] =
    ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"];
/// The actions that write a new key to a parameter.
const PARAMETER_DROP: [&str; 2] = ["ssm:GetParameter", "ssm:PutParameter"];
/// The actions that a Deny forbids on every user that is not rotated, whatever other policies allow.
const GUARDED: [&str; 3] = ["iam:CreateAccessKey", "iam:DeleteAccessKey", "iam:UpdateAccessKey"];
/// The actions with which a review reads the account as a whole.
const REVIEW: [&str; 6] = [
    "cloudtrail:DescribeTrails",
    "iam:GenerateCredentialReport",
    "iam:GetAccountAuthorizationDetails",
    "iam:GetAccountSummary",
    "iam:GetCredentialReport",
    "iam:GetServiceLastAccessedDetails",
];
/// The actions with which a review reads each trail.
const REVIEW_TRAILS: [&str; 2] = ["cloudtrail:GetEventSelectors", "cloudtrail:GetTrailStatus"];

/// The least that the rotator needs, and a Deny for the keys of all other users.
#[must_use]
pub fn rotator(needs: &Needs) -> Written {
    let mut policy = Written::new(Vec::new());
    let any = || vec!["*".to_owned()];
    let users = needs.user_arns();
    let mut calls = ROTATION.to_vec();
    if needs.asks_rights {
        calls.push("iam:GetUser");
    }
    // A review has this action on every user anyway, in the statement `ReviewKeys`.
    calls.retain(|call| !(needs.reviews && *call == "iam:ListAccessKeys"));
    calls.sort_unstable();
    policy.allow("RotateKeys", &calls, users.clone());
    if needs.asks_rights && !users.is_empty() {
        policy.allow("AskForRights", &["iam:SimulatePrincipalPolicy"], needs.everybody());
    }
    if !needs.paths.is_empty() {
        policy.allow("FindUsers", &["iam:ListUsers"], any());
    }
    if needs.asks_cloudtrail {
        policy.allow("SeeWhoUsesKeys", &["cloudtrail:LookupEvents"], any());
    }
    if needs.asks_exposure {
        let arn = |policy| format!("arn:{}:iam::aws:policy/{policy}", needs.partition);
        let policies = QUARANTINE_POLICIES.map(arn).to_vec();
        policy.allow("SeeQuarantines", &["iam:ListEntitiesForPolicy"], policies);
    }
    policy.allow("EnterAccounts", &["sts:AssumeRole"], needs.roles.iter().cloned().collect());
    let here = |id: &String| (None, id.clone());
    let secrets: BTreeSet<_> =
        needs.secrets.iter().map(here).filter(|id| !needs.secret_drops.contains(id)).collect();
    let parameters: BTreeSet<_> =
        needs.parameters.iter().map(here).filter(|id| !needs.parameter_drops.contains(id)).collect();
    policy.allow("ReadSecrets", &["secretsmanager:GetSecretValue"], needs.secret_arns(&secrets));
    policy.allow("ReadParameters", &["ssm:GetParameter"], needs.parameter_arns(&parameters));
    policy.allow("PutKeysIntoSecrets", &SECRET_DROP, needs.secret_arns(&needs.secret_drops));
    policy.allow("PutKeysIntoParameters", &PARAMETER_DROP, needs.parameter_arns(&needs.parameter_drops));
    if needs.reviews {
        policy.allow("ReviewAccount", &REVIEW, any());
        policy.allow("ReviewTrails", &REVIEW_TRAILS, vec![needs.trails()]);
        policy.allow("ReviewKeys", &["iam:ListAccessKeys"], vec![needs.identities("user/*")]);
        policy.allow("ReviewUse", &["iam:GenerateServiceLastAccessedDetails"], needs.everybody());
    }
    if !users.is_empty() {
        let action = GUARDED.iter().map(|action| (*action).to_owned()).collect();
        let sid = "NobodyElsesKeys".to_owned();
        policy.statement.push(Rule { sid, effect: "Deny", action, not_resource: users, ..Rule::default() });
    }
    policy
}

/// A policy, split into several managed policies.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Split {
    /// At least one; each fits into a managed policy.
    pub policies: Vec<Written>,
    /// The number of users in the Deny for all other users' keys, if that Deny does not fit into a managed policy
    /// and is left out. A Deny with `NotResource` cannot be divided: each half would deny the users that only the
    /// other half exempts.
    pub left_out: Option<usize>,
}

/// Splits a policy into as many managed policies as it needs, each resource together with its actions.
#[must_use]
pub fn split(whole: &Written) -> Split {
    if whole.size() <= MANAGED_CHARACTERS {
        return Split { policies: vec![whole.clone()], left_out: None };
    }
    let mut split = Split::default();
    let mut current = Written::new(Vec::new());
    for rule in &whole.statement {
        let alone = Written::new(vec![rule.clone()]);
        if !rule.not_resource.is_empty() {
            match alone.size() <= MANAGED_CHARACTERS {
                true => split.policies.push(alone),
                false => split.left_out = Some(rule.not_resource.len()),
            }
            continue;
        }
        current.statement.push(Rule { resource: Vec::new(), ..rule.clone() });
        for resource in &rule.resource {
            let mut more = current.clone();
            more.push_resource(resource);
            if more.size() > MANAGED_CHARACTERS {
                current.statement.retain(|rule| !rule.resource.is_empty());
                split.policies.push(std::mem::replace(&mut current, Written::new(Vec::new())));
                current.statement.push(Rule { resource: Vec::new(), ..rule.clone() });
                more = current.clone();
                more.push_resource(resource);
            }
            current = more;
        }
    }
    if !current.statement.is_empty() {
        split.policies.push(current);
    }
    split
}

impl Needs {
    fn user_arns(&self) -> Vec<String> {
        let users = self.users.iter().map(|user| format!("user/{}", user.trim_start_matches('/')));
        let paths = self.paths.iter().map(|path| format!("user{path}*"));
        users.chain(paths).map(|user| self.identities(&user)).collect()
    }

    /// The ARN patterns of every role and every user: the configuration does not name the identities whose rights
    /// and use are queried.
    fn everybody(&self) -> Vec<String> {
        vec![self.identities("role/*"), self.identities("user/*")]
    }

    fn identities(&self, which: &str) -> String {
        let account = self.account.as_ref().map_or("*", AccountId::as_str);
        format!("arn:{}:iam::{account}:{which}", self.partition)
    }

    /// The ARN pattern of every trail. Region and account are `*`, because a trail of an organization is in another
    /// account.
    fn trails(&self) -> String {
        format!("arn:{}:cloudtrail:*:*:trail/*", self.partition)
    }

    fn secret_arns(&self, secrets: &BTreeSet<(Option<String>, String)>) -> Vec<String> {
        let arn = |(region, id): &(Option<String>, String)| match id.starts_with("arn:") {
            true => id.clone(),
            false => self.arn("secretsmanager", region.as_deref(), &format!("secret:{id}{SECRET_SUFFIX}")),
        };
        secrets.iter().map(arn).collect()
    }

    fn parameter_arns(&self, parameters: &BTreeSet<(Option<String>, String)>) -> Vec<String> {
        let arn = |(region, name): &(Option<String>, String)| match name.starts_with("arn:") {
            true => name.clone(),
            false => {
                self.arn("ssm", region.as_deref(), &format!("parameter/{}", name.trim_start_matches('/')))
            }
        };
        parameters.iter().map(arn).collect()
    }

    fn arn(&self, service: &str, region: Option<&str>, resource: &str) -> String {
        let region = region.or(self.region.as_deref()).unwrap_or("*");
        let account = self.account.as_ref().map_or("*", AccountId::as_str);
        format!("arn:{}:{service}:{region}:{account}:{resource}", self.partition)
    }
}

/// `Resource` for everything. A vendor that reads a whole account lists it among its resources on purpose.
pub const EVERYTHING: &str = "*";

/// The bucket of an S3 object's ARN: `arn:aws:s3:::bucket` for `arn:aws:s3:::bucket/*`. `None`: it is no object of
/// S3.
fn bucket_of(object: &Pattern) -> Option<Pattern> {
    let is_of_s3 = object.arn().is_some_and(|fields| fields[2] == "s3" && fields[4].is_empty());
    let (bucket, _) = object.as_str().split_once('/').filter(|_| is_of_s3)?;
    Some(Pattern::new(bucket))
}

/// Generates a policy for a vendor: these actions, on these resources where AWS lets a policy name them.
///
/// Each action gets the resources that it can apply to, whatever their service: for example `sts:AssumeRole` gets
/// the roles. An action that can apply to none of the resources gets `*`. [`lint`] reports where that could be
/// narrower, unless [`EVERYTHING`] is among the resources: then it is intended.
#[must_use]
pub fn vendor(allowed: &[Pattern], resources: &[String]) -> Written {
    let named: Vec<Pattern> =
        resources.iter().filter(|name| *name != EVERYTHING).map(|name| Pattern::new(name)).collect();
    let mut groups: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
    for action in allowed {
        let about = named.iter().filter(|resource| rights::may_be_about(action, resource));
        let mut on: Vec<String> = about.map(ToString::to_string).collect();
        if on.is_empty() {
            // If `resources` names only objects of a bucket, an action on the bucket itself is limited to that
            // bucket.
            let buckets = named.iter().filter_map(bucket_of);
            let buckets = buckets.filter(|bucket| rights::may_be_about(action, bucket));
            on = buckets.map(|bucket| bucket.to_string()).collect::<BTreeSet<_>>().into_iter().collect();
        }
        let on = if on.is_empty() { vec![EVERYTHING.to_owned()] } else { on };
        groups.entry(on).or_default().insert(action.to_string());
    }
    let mut policy = Written::new(Vec::new());
    policy.is_wide_on_purpose = resources.iter().any(|name| name == EVERYTHING);
    for (number, (on, names)) in groups.into_iter().enumerate() {
        let actions: Vec<&str> = names.iter().map(String::as_str).collect();
        policy.allow(&format!("Declared{}", number + 1), &actions, on);
    }
    policy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(items: &[&str]) -> BTreeSet<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    fn needs() -> Needs {
        Needs {
            partition: "aws".to_owned(),
            account: "111122223333".parse().ok(),
            region: Some("eu-west-1".to_owned()),
            users: set(&["vendor-acme", "vendors/vendor-b"]),
            paths: set(&["/vendors/fastly/"]),
            roles: set(&["arn:aws:iam::999988887777:role/keyround"]),
            secrets: set(&["acme-token"]),
            parameters: set(&["/acme/secret"]),
            secret_drops: BTreeSet::from([(Some("us-east-2".to_owned()), "drop".to_owned())]),
            parameter_drops: BTreeSet::from([(None, "/drop".to_owned())]),
            asks_rights: true,
            asks_cloudtrail: true,
            asks_exposure: true,
            reviews: true,
        }
    }

    #[test]
    fn the_rotator_policy_has_exactly_the_statements_that_it_needs() {
        let json = rotator(&needs()).to_json();
        let whole: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let sids: Vec<&str> = whole["Statement"]
            .as_array()
            .expect("statements")
            .iter()
            .filter_map(|one| one["Sid"].as_str())
            .collect();
        let expect = [
            "RotateKeys",
            "AskForRights",
            "FindUsers",
            "SeeWhoUsesKeys",
            "SeeQuarantines",
            "EnterAccounts",
            "ReadSecrets",
            "ReadParameters",
            "PutKeysIntoSecrets",
            "PutKeysIntoParameters",
            "ReviewAccount",
            "ReviewTrails",
            "ReviewKeys",
            "ReviewUse",
            "NobodyElsesKeys",
        ];
        assert_eq!(sids, expect);
        assert_eq!(whole["Statement"][0]["Resource"][1], "arn:aws:iam::111122223333:user/vendors/vendor-b");
        assert!(json.contains("arn:aws:secretsmanager:eu-west-1:111122223333:secret:acme-token-??????"));
        assert!(json.contains("arn:aws:ssm:eu-west-1:111122223333:parameter/acme/secret"));
        assert!(json.contains("arn:aws:secretsmanager:us-east-2:111122223333:secret:drop-??????"));
        let small = Needs { partition: "aws".to_owned(), users: set(&["a"]), ..Needs::default() };
        let small: serde_json::Value = serde_json::from_str(&rotator(&small).to_json()).expect("JSON");
        assert_eq!(small["Statement"].as_array().map(Vec::len), Some(2));
        assert_eq!(small["Statement"][0]["Action"].as_array().map(Vec::len), Some(5));
    }

    #[test]
    fn the_generated_rotator_policy_has_no_finding() {
        assert_eq!(rotator(&needs()).lint(Purpose::Rotator), []);
    }

    #[test]
    fn a_too_large_policy_is_split_and_only_the_deny_may_be_left_out() {
        for count in [1, 50, 60, 150, 300] {
            let users: BTreeSet<String> =
                (0..count).map(|n| format!("svc-partner-integration-{n:03}")).collect();
            let whole = rotator(&Needs { users: users.clone(), ..needs() });
            let split = split(&whole);
            let mut named = Vec::new();
            for policy in &split.policies {
                assert!(policy.size() <= MANAGED_CHARACTERS, "{count}: {}", policy.size());
                assert_eq!(policy.lint(Purpose::Rotator), [], "{count}");
                named.extend(
                    policy
                        .statement
                        .iter()
                        .filter(|rule| rule.sid == "RotateKeys")
                        .flat_map(|rule| rule.resource.clone()),
                );
            }
            let rotate = whole.statement.iter().find(|rule| rule.sid == "RotateKeys").expect("a statement");
            assert_eq!(named, rotate.resource, "{count}");
            let guards = split
                .policies
                .iter()
                .flat_map(|policy| &policy.statement)
                .filter(|rule| rule.effect == "Deny");
            assert_eq!(guards.count() == 1, split.left_out.is_none(), "{count}");
            let sids = |policies: &[Written]| -> BTreeSet<String> {
                policies.iter().flat_map(|policy| &policy.statement).map(|rule| rule.sid.clone()).collect()
            };
            let mut expect = sids(std::slice::from_ref(&whole));
            if split.left_out.is_some() {
                expect.remove("NobodyElsesKeys");
            }
            assert_eq!(sids(&split.policies), expect, "{count}");
        }
    }

    #[test]
    fn a_resource_is_paired_with_the_actions_of_its_service() {
        let allowed = ["s3:PutObject", "s3:ListAllMyBuckets", "ec2:DescribeInstances"].map(Pattern::new);
        let policy = vendor(&allowed, &["arn:aws:s3:::logs/*".to_owned()]);
        assert_eq!(policy.lint(Purpose::ThirdParty), []);
        let whole: serde_json::Value = serde_json::from_str(&policy.to_json()).expect("JSON");
        assert_eq!(whole["Statement"][0]["Resource"][0], "*");
        assert_eq!(whole["Statement"][0]["Action"].as_array().map(Vec::len), Some(2));
        assert_eq!(whole["Statement"][1]["Action"][0], "s3:PutObject");
        let of = |allowed: &[&str], resources: &[&str]| {
            let allowed: Vec<Pattern> = allowed.iter().map(|action| Pattern::new(action)).collect();
            vendor(&allowed, &resources.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        let role = of(&["sts:AssumeRole"], &["arn:aws:iam::111122223333:role/x"]);
        assert!(role.to_json().contains("role/x") && role.lint(Purpose::ThirdParty).is_empty());
        let reader =
            of(&["dynamodb:DescribeTable", "ec2:DescribeInstances", "rds:ListTagsForResource"], &["*"]);
        assert_eq!(reader.lint(Purpose::ThirdParty), []);
        let both = of(&["dynamodb:DescribeTable", "s3:GetObject"], &["*", "arn:aws:s3:::logs/*"]);
        assert!(both.to_json().contains("arn:aws:s3:::logs/*") && both.lint(Purpose::ThirdParty).is_empty());
        let open = vendor(&allowed, &[]);
        assert_eq!(open.lint(Purpose::ThirdParty)[0].rule.code, "KR510");
    }
}
