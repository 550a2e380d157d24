//! The rules for policies that are given to third parties, as a table.
//!
//! They follow the advice that a vendor gave its own customers: a policy is not overly broad, never gives
//! administrator rights, uses few wildcards and those for reading only, permits no IAM actions, and permits nothing
//! unexpected.

mod statements;

pub use statements::in_words;

use super::actions::{self, AccessLevel, Action};
use super::document::{MANAGED_CHARACTERS, ROLE_CHARACTERS, USER_CHARACTERS};
use super::escalation;
use super::provider;
use super::rights::Rights;
use super::rule::{Reference, Rule, Severity};
use super::trust::{self, ExternalIds};
use super::{Document, Effect, Mistake, Pattern, Span};
use Reference::{Cis, Fsbp, Iam, Paper, ThirdParty};
use Severity::{Critical, High, Low, Medium};

/// Who a policy is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// A third party, which needs no IAM actions.
    ThirdParty,
    /// The rotator itself: its calls on the keys of named users are allowed.
    Rotator,
}

/// A finding of one rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The rule.
    pub rule: &'static Rule,
    /// The place in the policy's text.
    pub span: Span,
    /// What was found, as a sentence without its full stop.
    pub sentence: String,
    /// The parts that the finding is about, such as actions or accounts; for [`ANY_TOKEN`], the condition that is
    /// missing.
    pub items: Vec<String>,
}

/// All rules. The meaning of a code never changes.
pub const RULES: [&Rule; 18] = [
    &UNREADABLE,
    &ADMIN,
    &WHOLE_SERVICE,
    &WILD_CHANGE,
    &IAM_ACTION,
    &ASSUME_ANY,
    &PASS_ROLE,
    &NOT_ACTION,
    &NOT_RESOURCE,
    &ESCALATION,
    &ANY_RESOURCE,
    &UNKNOWN_ACTION,
    &OLD_VERSION,
    &ANYBODY,
    &ANY_TOKEN,
    &UNKNOWN_SERVICE,
    &TOO_LARGE,
    &OUTSIDE_ACCOUNT,
];

/// KR500: a text that IAM would not accept as a policy.
pub static UNREADABLE: Rule = Rule {
    code: "KR500",
    severity: High,
    title: "this is not a policy that IAM would accept",
    why: "what cannot be read cannot be reviewed, and IAM may read it otherwise than its author",
    fix: "correct it at the place that is named",
    references: &[Iam("reference_policies_grammar")],
};
/// KR501: every right, such as `"Action": "*"` on `"Resource": "*"`.
pub static ADMIN: Rule = Rule {
    code: "KR501",
    severity: Critical,
    title: "the policy gives administrator rights",
    why: "a holder of these credentials controls the account; no vendor needs that",
    fix: "name the actions that the vendor needs: `keyround policy vendor NAME` writes the policy",
    references: &[
        Cis { v7: Some("2.14"), v6: Some("2.15") },
        Fsbp("IAM.1"),
        ThirdParty("IAM Access Policies: never give admin-level access"),
    ],
};
/// KR502: every action of a service, such as `ec2:*`.
pub static WHOLE_SERVICE: Rule = Rule {
    code: "KR502",
    severity: High,
    title: "the policy gives every action of a service",
    why: "it permits far more than anybody expects, and whatever AWS adds to the service later",
    fix: "name the actions that are needed",
    references: &[Fsbp("IAM.21"), ThirdParty("IAM Access Policies: it should not be overly broad")],
};
/// KR503: a wildcard that matches changing actions, such as `ec2:Start*`.
pub static WILD_CHANGE: Rule = Rule {
    code: "KR503",
    severity: High,
    title: "a wildcard stands for actions that change something",
    why: "wildcards hide which actions are permitted; they are acceptable for Get, List and Describe only",
    fix: "name the actions that are needed",
    references: &[ThirdParty(
        "IAM Access Policies: as few wildcards as possible, never for actionable commands",
    )],
};
/// KR504: an action of IAM, such as `iam:GetUser`.
pub static IAM_ACTION: Rule = Rule {
    code: "KR504",
    severity: High,
    title: "the policy permits IAM actions",
    why: "who can change users, keys, roles or policies can give itself and others more rights",
    fix: "take the iam: actions out; a vendor that reads IAM gets the single Get or List actions, and a reason",
    references: &[ThirdParty(
        "IAM Access Policies: be cautious if the policy is permitting any IAM commands",
    )],
};
/// KR505: `sts:AssumeRole` on more than single named roles, such as `*`.
pub static ASSUME_ANY: Rule = Rule {
    code: "KR505",
    severity: High,
    title: "the policy lets its holder assume roles that it does not name",
    why: "every role of the account that trusts the account itself becomes the vendor's",
    fix: "name the roles, each by its whole ARN, in Resource",
    references: &[
        Iam("id_roles_use_permissions-to-switch"),
        Paper("Prowler: iam_no_custom_policy_permissive_role_assumption"),
    ],
};
/// KR506: `iam:PassRole`, unless for named roles and named services.
pub static PASS_ROLE: Rule = Rule {
    code: "KR506",
    severity: High,
    title: "the policy lets its holder pass roles to services",
    why: "a service that is given a role acts for its caller: the caller has the role's rights",
    fix: "take iam:PassRole out, or name the one role in Resource and the one service under iam:PassedToService",
    references: &[Iam("id_roles_use_passrole")],
};
/// KR507: `NotAction` in an Allow.
pub static NOT_ACTION: Rule = Rule {
    code: "KR507",
    severity: High,
    title: "the policy allows all actions but some",
    why: "NotAction with Allow permits every action of every service that it does not name, also future ones",
    fix: "name the actions that are needed in Action",
    references: &[Iam("reference_policies_elements_notaction")],
};
/// KR508: `NotResource` in an Allow.
pub static NOT_RESOURCE: Rule = Rule {
    code: "KR508",
    severity: High,
    title: "the policy allows its actions on all resources but some",
    why: "NotResource with Allow permits every resource that it does not name, also those made tomorrow",
    fix: "name the resources in Resource, and what must not be touched in a statement with Deny",
    references: &[Iam("reference_policies_elements_notresource")],
};
/// KR509: a combination of actions with which the holder can gain every right.
pub static ESCALATION: Rule = Rule {
    code: "KR509",
    severity: Critical,
    title: "the policy lets its holder gain more rights than it gives",
    why: "with these actions together, anybody becomes administrator in known steps",
    fix: "take one of the actions out",
    references: &[
        Paper("AWS IAM Privilege Escalation: Methods and Mitigation (Rhino Security Labs)"),
        Paper("IAM Vulnerable (Bishop Fox)"),
    ],
};
/// KR510: `"Resource": "*"` for actions whose resources could be named.
pub static ANY_RESOURCE: Rule = Rule {
    code: "KR510",
    severity: Medium,
    title: "the policy names no resources where it could",
    why: "it permits the actions on everything that there is and will be, not on what the vendor is there for",
    fix: "name the resources: `resources = [\"arn:…\"]` in the vendor's section, or Resource here; `resources = [\"*\"]` says that the whole account is meant",
    references: &[ThirdParty(
        "IAM Access Policies: it should not permit more than you are expecting it to permit",
    )],
};
/// KR511: a misspelt action, such as `s3:GetObjet`.
pub static UNKNOWN_ACTION: Rule = Rule {
    code: "KR511",
    severity: Low,
    title: "an action that is not known and looks like a slip",
    why: "it has no effect; its author meant something else",
    fix: "correct the name",
    references: &[Paper("AWS Service Authorization Reference")],
};
/// KR512: a `Version` other than `"2012-10-17"`, or none.
pub static OLD_VERSION: Rule = Rule {
    code: "KR512",
    severity: Low,
    title: "the policy is written in the language of 2008",
    why: "without \"Version\": \"2012-10-17\" a variable such as ${aws:username} is taken as plain text",
    fix: "write \"Version\": \"2012-10-17\"",
    references: &[Iam("reference_policies_elements_version")],
};
/// KR513: `"Principal": "*"` without a condition that narrows it.
pub static ANYBODY: Rule = Rule {
    code: "KR513",
    severity: Critical,
    title: "the policy allows something to anybody in the world",
    why: "a principal of * is every AWS account, the attacker's too",
    fix: "name the account in Principal: \"arn:aws:iam::111122223333:root\", and the external id under StringEquals",
    references: &[Iam("reference_policies_elements_principal")],
};
/// KR514: a `"Federated"` principal without a condition that names one identity.
pub static ANY_TOKEN: Rule = Rule {
    code: "KR514",
    severity: High,
    title: "the trust opens for every token of an identity provider",
    why: "every customer of the provider can get such a token: any repository of any owner",
    fix: "ask for the subject: a condition on PROVIDER:sub that names the organization and the repository",
    references: &[Iam("id_roles_providers_oidc_secure-by-default"), Iam("id_roles_create_for-idp_oidc")],
};

/// KR515: a service that the table lacks, such as `quicksite:Describe*`.
pub static UNKNOWN_SERVICE: Rule = Rule {
    code: "KR515",
    severity: Low,
    title: "a service that is not known",
    why: "it is either newer than this program or a slip, and its actions are judged by their names alone",
    fix: "correct the prefix, or read what its actions do in the Service Authorization Reference",
    references: &[Paper("AWS Service Authorization Reference")],
};
/// KR516: more than 6,144 characters in a policy, or 2,048 in a trust policy.
pub static TOO_LARGE: Rule = Rule {
    code: "KR516",
    severity: Medium,
    title: "the policy is too large for where it may go",
    why: "IAM counts characters without white space, and refuses what has more than its quota",
    fix: "split it into several managed policies",
    references: &[Iam("reference_iam-quotas")],
};
/// KR517: a trust policy that admits an account without an exact external id.
pub static OUTSIDE_ACCOUNT: Rule = Rule {
    code: "KR517",
    severity: Medium,
    title: "the trust policy lets an account in without asking for an external id",
    why: "if the account is a vendor's, its other customers can have it assume this role for them (confused deputy)",
    fix: "ask for sts:ExternalId under StringEquals with the id that the vendor made, or, for an account of your own, for aws:PrincipalOrgID",
    references: &[
        Iam("confused-deputy"),
        ThirdParty("Third-Party IAM Roles: the external id acts like a password"),
    ],
};

/// Judges one policy as the only policy of its principal.
#[must_use]
pub fn lint(document: &Document, purpose: Purpose) -> Vec<Found> {
    lint_within(document, purpose, &Rights::of(&[document]))
}

/// Judges one policy of a principal. `rights`: the principal's rights from all of its policies and its boundary.
#[must_use]
pub fn lint_within<'d>(document: &'d Document, purpose: Purpose, rights: &Rights<'d>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    found.extend(old_version(document));
    for statement in document.statements.iter().filter(|statement| statement.effect == Effect::Allow) {
        found.extend(statements::judge(statement, purpose, rights));
    }
    if purpose == Purpose::ThirdParty {
        found.extend(outside_accounts(document));
    }
    found.extend(provider::any_token(document).into_iter().map(|door| Found {
        rule: &ANY_TOKEN,
        span: door.span,
        sentence: door.sentence(),
        items: vec![door.wanted()],
    }));
    for statement in &document.statements {
        found.extend(statements::unknown_actions(statement));
    }
    // With administrator rights every way is open, and one finding is enough.
    if !found.iter().any(|found| found.rule == &ADMIN) {
        found.extend(ways_out(document, purpose, rights));
    }
    found.sort_by_key(|found| (found.span, found.rule.code));
    found
}

/// Turns the mistakes of a text that IAM would not accept into findings.
#[must_use]
pub fn unreadable(mistakes: &[Mistake]) -> Vec<Found> {
    let found = |mistake: &Mistake| Found {
        rule: &UNREADABLE,
        span: mistake.span,
        sentence: mistake.message.clone(),
        items: Vec::new(),
    };
    mistakes.iter().map(found).collect()
}

fn old_version(document: &Document) -> Option<Found> {
    let is_old = document.version.as_ref().is_none_or(|version| version.value != "2012-10-17");
    let sentence = match &document.version {
        Some(version) => format!("Version is {}", version.value),
        None => "Version is missing, so IAM applies that of 2008".to_owned(),
    };
    let first =
        document.statements.first().map(|statement| Span { end: statement.span.start + 1, ..statement.span });
    let span = document.version.as_ref().map(|version| version.span).or(first)?;
    is_old.then(|| Found { rule: &OLD_VERSION, span, sentence, items: Vec::new() })
}

/// The ways of privilege escalation that this policy opens by itself.
fn ways_out<'d>(document: &'d Document, purpose: Purpose, rights: &Rights<'d>) -> Vec<Found> {
    let found = |open: escalation::Open<'d>| {
        let its_calling = purpose == Purpose::Rotator && statements::is_rotation(open.by);
        let items: Vec<String> = open.with.iter().map(|action| (*action).to_owned()).collect();
        let sentence = format!("with {} its holder {}", items.join(" and "), open.way.name);
        (!its_calling).then_some(Found { rule: &ESCALATION, span: open.by.actions.key, sentence, items })
    };
    escalation::open(&rights.of_one(document)).into_iter().filter_map(found).collect()
}

/// The accounts that a trust policy admits without an exact external id. The policy does not say which account is
/// the vendor's, so every account counts.
fn outside_accounts(document: &Document) -> Vec<Found> {
    let found = |door: trust::TrustGrant| {
        let accounts: Vec<String> = door.outside_accounts().into_iter().map(str::to_owned).collect();
        let sentence = match &door.external_ids {
            ExternalIds::Exact(_) => return None,
            ExternalIds::Unasked => {
                format!("{} may assume the role, and no external id is asked for", in_words(&accounts))
            }
            ExternalIds::Loose(operator) => format!(
                "{} may assume the role, and the external id is compared with {operator}, which demands no one value",
                in_words(&accounts)
            ),
        };
        let span = door.span;
        (!accounts.is_empty()).then_some(Found { rule: &OUTSIDE_ACCOUNT, span, sentence, items: accounts })
    };
    trust::doors(document).into_iter().filter_map(found).collect()
}

/// The finding for a policy that exceeds a size quota of IAM. `characters`: the number without white space, as IAM
/// counts. `None`: it fits, has no statement, or belongs to a resource, whose service has its own quota.
#[must_use]
pub fn sizes(document: &Document, characters: usize) -> Option<Found> {
    let first = document.statements.first()?;
    let span = Span { end: first.span.start + 1, ..first.span };
    let is_of_resource = first.principals.is_some() && !document.is_trust();
    let (rule, limit): (&'static Rule, String) = match characters {
        _ if is_of_resource => return None,
        _ if document.is_trust() && characters > 2 * USER_CHARACTERS => {
            (&UNREADABLE, "a trust policy takes 2,048, and 4,096 where the quota was raised".to_owned())
        }
        _ if document.is_trust() && characters > USER_CHARACTERS => {
            (&TOO_LARGE, "a trust policy takes 2,048, unless the quota was raised".to_owned())
        }
        _ if document.is_trust() => return None,
        _ if characters > ROLE_CHARACTERS => (
            &UNREADABLE,
            "a managed policy takes 6,144, and the inline policies of a role take 10,240 together".to_owned(),
        ),
        _ if characters > MANAGED_CHARACTERS => (
            &TOO_LARGE,
            "a managed policy takes 6,144, the inline policies of a user 2,048, of a group 5,120 and of a role 10,240 together"
                .to_owned(),
        ),
        _ => return None,
    };
    let sentence = format!("the policy has {characters} characters without white space: {limit}");
    Some(Found { rule, span, sentence, items: Vec::new() })
}

/// Whether a pattern with a wildcard matches only actions that read, judged by the first word of the name.
fn reads_only(pattern: &Pattern) -> bool {
    const READING: [&str; 3] = ["get", "list", "describe"];
    // For services that the table lacks, these words count as reading as well. They are words of AWS's own
    // `ReadOnlyAccess` policy with which no changing action begins.
    const ALSO_READING: [&str; 9] =
        ["batchdescribe", "batchget", "count", "lookup", "query", "read", "search", "select", "view"];
    let (service, name) = pattern.action().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    let literal = &name[..name.find(['*', '?']).unwrap_or(name.len())];
    let begins = |words: &[&str]| words.iter().any(|word| literal.starts_with(word));
    begins(&READING) || begins(&ALSO_READING) && !service.contains('*') && !actions::knows(service)
}

/// Whether the action changes something.
fn is_change(action: &Action) -> bool {
    !matches!(action.level, AccessLevel::List | AccessLevel::Read)
}
