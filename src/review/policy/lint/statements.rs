//! The rules that judge one statement, by what the principal's [`Rights`] leave of it.

use std::collections::BTreeSet;

use super::{
    ADMIN, ANY_RESOURCE, ANYBODY, ASSUME_ANY, Found, IAM_ACTION, NOT_ACTION, NOT_RESOURCE, PASS_ROLE,
    Purpose, UNKNOWN_ACTION, UNKNOWN_SERVICE, WHOLE_SERVICE, WILD_CHANGE, is_change, reads_only,
};
use crate::review::policy::actions::{self, AccessLevel, Action};
use crate::review::policy::document::Principals;
use crate::review::policy::rights::{Grant, Met, Rights, met_by};
use crate::review::policy::rule::Rule;
use crate::review::policy::{Pattern, Spanned, Statement, narrowing};

/// The most names that a sentence lists. A longer list shows one name less, and the number of the others.
const NAMED_MAX: usize = 5;

/// The actions that the rotator calls on the users that its policy names.
const ROTATION: [&str; 6] = [
    "iam:ListAccessKeys",
    "iam:CreateAccessKey",
    "iam:UpdateAccessKey",
    "iam:DeleteAccessKey",
    "iam:GetAccessKeyLastUsed",
    "iam:GetUser",
];
/// The reads of the rotator and of a review that need no named user.
const ROTATION_READS: [&str; 9] = [
    "iam:ListUsers",
    "iam:SimulatePrincipalPolicy",
    "iam:GenerateCredentialReport",
    "iam:GenerateServiceLastAccessedDetails",
    "iam:GetAccountAuthorizationDetails",
    "iam:GetAccountSummary",
    "iam:GetCredentialReport",
    "iam:GetServiceLastAccessedDetails",
    "iam:ListAccessKeys",
];

/// Judges an Allow statement by what is left of it after Denies and boundaries.
pub(super) fn judge<'d>(statement: &'d Statement, purpose: Purpose, rights: &Rights<'d>) -> Vec<Found> {
    let mut found = Vec::new();
    let actions = &statement.actions;
    let left: Vec<Left<'_>> = match actions.negated {
        true => vec![Left::of_others(statement, rights)],
        false => actions.items.iter().map(|item| Left::of(statement, item, rights)).collect(),
    };
    if left.iter().all(|left| left.is_nothing) {
        return found;
    }
    if let Some(principals) = &statement.principals {
        found.extend(anybody(statement, principals));
    }
    if actions.negated {
        let names: Vec<String> = actions.items.iter().map(|item| item.value.to_string()).collect();
        let sentence = format!("everything but {} is allowed", in_words(&names));
        found.push(Found { rule: &NOT_ACTION, span: actions.key, sentence, items: names });
        if statement.is_everywhere() && left.iter().any(Left::is_admin) {
            found.push(admin(statement, actions.key, "NotAction", rights));
        }
    }
    if let Some(resources) = statement.resources.as_ref().filter(|resources| resources.negated) {
        let names: Vec<String> = resources.items.iter().map(|item| item.value.to_string()).collect();
        let sentence = format!("everything but {} may be touched", in_words(&names));
        found.push(Found { rule: &NOT_RESOURCE, span: resources.key, sentence, items: names });
    }
    for (item, left) in actions.items.iter().zip(&left).filter(|_| !actions.negated) {
        if !left.is_nothing {
            found.extend(judge_action(statement, item, left, purpose, rights));
        }
    }
    if !(purpose == Purpose::Rotator && is_rotation(statement)) {
        found.extend(any_resource(statement, &left, rights));
    }
    found
}

/// What one item of a statement's `Action` still allows after the Denies and the permissions boundaries.
struct Left<'d> {
    pattern: Pattern,
    /// The known actions that match the pattern and are still allowed.
    actions: Vec<&'static Action>,
    /// The grants for the pattern as it is written, whether it is a wildcard or an action that the table lacks.
    grants: Vec<Grant<'d>>,
    is_nothing: bool,
    /// The number of known actions that would be left without any Deny and boundary. 0 for `NotAction`, where it is
    /// not used.
    undenied: usize,
}

impl<'d> Left<'d> {
    fn of(statement: &'d Statement, item: &Spanned<Pattern>, rights: &Rights<'d>) -> Left<'d> {
        let pattern = item.value.clone();
        let actions = rights.left_of(statement, &pattern);
        let grants = rights.left(statement, &pattern);
        let is_known = !actions::matching(&pattern).is_empty();
        let is_nothing = actions.is_empty() && (is_known || grants.is_empty());
        let undenied = match rights.is_unlimited() {
            true => actions.len(),
            false => rights.unlimited().left_of(statement, &pattern).len(),
        };
        Left { pattern, actions, grants, is_nothing, undenied }
    }

    /// What is left of all the actions that `NotAction` does not name.
    fn of_others(statement: &'d Statement, rights: &Rights<'d>) -> Left<'d> {
        let pattern = Pattern::new("*");
        let mut actions = rights.left_of(statement, &pattern);
        actions.retain(|action| statement.actions.covers(&action.full_name()));
        let is_nothing = actions.is_empty();
        Left { grants: Vec::new(), is_nothing, pattern, actions, undenied: 0 }
    }

    /// Whether an action is left that writes or attaches policies. Its holder can give every other right to any
    /// user or role.
    fn is_admin(&self) -> bool {
        let gives =
            ["AttachUserPolicy", "AttachRolePolicy", "PutUserPolicy", "PutRolePolicy", "CreatePolicyVersion"];
        self.actions.iter().any(|action| action.service == "iam" && gives.contains(&action.name))
    }

    /// Whether Denies leave at least half of the actions that the pattern matches. If they leave less, the pattern
    /// is judged by the remaining actions, and not as a whole service.
    fn is_most(&self) -> bool {
        self.actions.len() * 2 >= self.undenied
    }

    fn has(&self, name: &str) -> bool {
        self.actions.iter().any(|action| action.full_name() == name)
    }

    /// The full names of the actions that change something.
    fn changes(&self) -> Vec<String> {
        self.actions.iter().filter(|action| is_change(action)).map(|action| action.full_name()).collect()
    }
}

fn admin(
    statement: &Statement,
    span: crate::review::policy::Span,
    pattern: &str,
    rights: &Rights<'_>,
) -> Found {
    let mut sentence = match statement.actions.negated {
        true => "every action that NotAction does not name is allowed, and with it every right".to_owned(),
        false => "every action of every service is allowed".to_owned(),
    };
    if !rights.is_unlimited() {
        sentence.push_str(", but for what is denied; rights can still be given to anybody");
    }
    Found { rule: &ADMIN, span, sentence, items: vec![pattern.to_owned()] }
}

/// Whether the statement holds only what the rotator is for: its calls on named users, or the reads that need no
/// named user.
pub(super) fn is_rotation(statement: &Statement) -> bool {
    let is_call = |item: &Spanned<Pattern>| ROTATION.contains(&item.value.as_str());
    let is_user = |item: &Spanned<Pattern>| {
        let arn = item.value.as_str();
        // A path also names users: all those under it.
        let name = arn.split_once(":user/").map(|(_, name)| name);
        arn.starts_with("arn:") && name.is_some_and(|name| !name.starts_with('*') && !name.is_empty())
    };
    let users =
        statement.resources.as_ref().is_some_and(|list| !list.negated && list.items.iter().all(is_user));
    let calls = !statement.actions.negated && statement.actions.items.iter().all(is_call);
    let is_read = |item: &Spanned<Pattern>| {
        let name = item.value.as_str();
        ROTATION_READS.contains(&name) || name.starts_with("cloudtrail:") && reads_only(&item.value)
    };
    let reads = !statement.actions.negated && statement.actions.items.iter().all(is_read);
    (users && calls) || reads
}

fn anybody(statement: &Statement, principals: &Principals) -> Option<Found> {
    let everyone = principals
        .items
        .iter()
        .find(|(kind, who)| (kind == "*" || kind == "AWS") && who.value.chars().all(|letter| letter == '*'));
    let span = match everyone {
        Some((_, who)) => who.span,
        None if principals.negated => principals.key,
        None => return None,
    };
    if narrowing::narrowed_by(statement).is_some() {
        return None;
    }
    let what = &statement.actions.items[0].value;
    let sentence = format!("anybody in the world may {what}");
    Some(Found { rule: &ANYBODY, span, sentence, items: vec![what.to_string()] })
}

fn judge_action<'d>(
    statement: &'d Statement,
    item: &Spanned<Pattern>,
    left: &Left<'d>,
    purpose: Purpose,
    rights: &Rights<'d>,
) -> Vec<Found> {
    let pattern = &left.pattern;
    let one = |rule: &'static Rule, sentence: String| Found {
        rule,
        span: item.span,
        sentence,
        items: vec![pattern.to_string()],
    };
    if pattern.is_everything() && statement.is_everywhere() && left.is_admin() {
        return vec![admin(statement, item.span, pattern.as_str(), rights)];
    }
    if pattern.is_everything() && left.is_most() {
        let limit = if rights.is_unlimited() { "" } else { ", but for what is denied" };
        return vec![one(
            &WHOLE_SERVICE,
            format!("every action is allowed on {}{limit}", resources(statement)),
        )];
    }
    let mut found = Vec::new();
    let (service, name) = pattern.action().unwrap_or(("", ""));
    if left.is_most() && (is_wild(name) || service.contains('*') && !reads_only(pattern)) {
        let count = left.changes().len();
        let known =
            if count == 0 { String::new() } else { format!(", {count} of them known to change something") };
        let limit = if rights.is_unlimited() { "" } else { ", but for what is denied" };
        found.push(one(&WHOLE_SERVICE, format!("{pattern} is every action of {service}{known}{limit}")));
    } else if pattern.has_wildcard() && !reads_only(pattern) && !is_known_to_read(left) {
        found.push(one(&WILD_CHANGE, format!("{pattern} stands for {}", what_it_changes(left))));
    }
    let its_calling = purpose == Purpose::Rotator && is_rotation(statement);
    let is_of_iam = left.actions.iter().any(|action| action.service == "iam")
        || service.eq_ignore_ascii_case("iam") && !left.grants.is_empty();
    if is_of_iam && !its_calling {
        found.push(one(&IAM_ACTION, format!("{pattern} is an action on identities and rights")));
    }
    if left.has("iam:PassRole") && !passes_one_role(statement) {
        found.push(one(&PASS_ROLE, format!("{pattern} passes {}", resources(statement))));
    }
    let assumes = || rights.left(statement, &Pattern::new("sts:AssumeRole"));
    if statement.principals.is_none()
        && left.has("sts:AssumeRole")
        && assumes().iter().any(|grant| grant.target.is_open())
    {
        found.push(one(&ASSUME_ANY, format!("{pattern} on {} is more than one role", resources(statement))));
    }
    found
}

/// Whether the name matches every action: `*`, `**`, `?*`.
fn is_wild(name: &str) -> bool {
    name.contains('*') && name.bytes().all(|byte| byte == b'*' || byte == b'?')
}

/// Whether every known action that is left of the pattern only reads, whatever word its name begins with.
fn is_known_to_read(left: &Left<'_>) -> bool {
    !left.actions.is_empty() && left.changes().is_empty()
}

fn what_it_changes(left: &Left<'_>) -> String {
    match left.changes().as_slice() {
        [] => "unknown actions whose names do not start like those of read-only actions".to_owned(),
        names => in_words(names),
    }
}

fn names_no_role(statement: &Statement) -> bool {
    let is_open = |item: &Spanned<Pattern>| item.value.has_wildcard();
    statement.resources.as_ref().is_none_or(|list| list.negated || list.items.iter().any(is_open))
}

/// Whether the statement names its roles without wildcards and the services that they are passed to, which is what
/// the fix of [`PASS_ROLE`] asks for.
fn passes_one_role(statement: &Statement) -> bool {
    let names_service = statement.conditions.iter().any(|condition| {
        condition.key.value.eq_ignore_ascii_case("iam:PassedToService")
            && condition.operator.value.eq_ignore_ascii_case("StringEquals")
    });
    names_service && !names_no_role(statement)
}

fn resources(statement: &Statement) -> String {
    let Some(resources) = &statement.resources else { return "everything".to_owned() };
    let names: Vec<String> = resources.items.iter().map(|item| item.value.to_string()).collect();
    if resources.negated { format!("all but {}", in_words(&names)) } else { in_words(&names) }
}

/// Reports `Resource: *`, or another spelling of it, for actions whose resources could be narrower. A statement
/// whose condition is not met by every request is not reported, because the condition may narrow it on purpose.
fn any_resource<'d>(statement: &'d Statement, left: &[Left<'d>], rights: &Rights<'d>) -> Option<Found> {
    let resources = statement.resources.as_ref().filter(|list| !list.negated)?;
    if statement.actions.negated || met_by(&statement.conditions, &rights.known_of_all()) != Met::Always {
        return None;
    }
    let wide = resources.items.iter().find(|item| item.value.is_every_resource());
    let mut span = wide.map(|item| item.span);
    let mut names = BTreeSet::new();
    for left in left.iter().filter(|left| !left.pattern.is_everything() || !left.is_most()) {
        // Actions of the level List are left out: they are usually granted for the whole account, because vendors
        // find their resources with them.
        let scoped =
            left.actions.iter().filter(|action| action.is_scoped() && action.level != AccessLevel::List);
        for action in scoped {
            let grants = rights.left(statement, &Pattern::new(&action.full_name()));
            let every: Vec<_> = grants.iter().filter(|grant| grant.target.is_every(action)).collect();
            let is_narrow = |grant: &&Grant<'_>| {
                grant.target.is_beside(action) && !every.iter().any(|wide| wide.target.covers(&grant.target))
            };
            let widest = every.first().filter(|_| !grants.iter().any(|grant| is_narrow(&grant)));
            if let Some(grant) = widest {
                span = span.or(grant.target.span());
                names.insert(action.full_name());
            }
        }
    }
    let names: Vec<String> = names.into_iter().collect();
    let sentence = format!("{} could be held to the resources that they are for", in_words(&names));
    let span = span?;
    (!names.is_empty()).then_some(Found { rule: &ANY_RESOURCE, span, sentence, items: names })
}

/// Reports actions that a known service does not have and that look like a misspelling, and services that the table
/// lacks. AWS adds actions every day, so a name that resembles no known action may be a new one: then there is no
/// finding, and only [`actions::unknown`] lists it.
pub(super) fn unknown_actions(statement: &Statement) -> Vec<Found> {
    let found = |item: &Spanned<Pattern>| {
        let (service, name) = item.value.action()?;
        let items = vec![item.value.to_string()];
        let span = item.span;
        if !service.contains('*') && !actions::knows(service) {
            let near = actions::service_meant(service);
            let hint = near.map(|near| format!("; perhaps {near} is meant")).unwrap_or_default();
            let sentence = format!("{service} is no service that is known{hint}");
            return Some(Found { rule: &UNKNOWN_SERVICE, span, sentence, items });
        }
        if service.contains('*') || !actions::matching(&item.value).is_empty() {
            return None;
        }
        let meant = actions::meant(service, name)?;
        let sentence = format!("{} is not an action; perhaps {} is meant", item.value, meant.full_name());
        Some(Found { rule: &UNKNOWN_ACTION, span, sentence, items })
    };
    statement.actions.items.iter().filter_map(found).collect()
}

/// Joins names as `a, b and c`. Of a long list it gives the first few names and the number of the others.
#[must_use]
pub fn in_words(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [head @ .., last] if names.len() <= NAMED_MAX => format!("{} and {last}", head.join(", ")),
        many => format!("{} and {} more", many[..NAMED_MAX - 1].join(", "), many.len() - (NAMED_MAX - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::policy::{Document, lint};

    fn codes_for(purpose: Purpose, text: &str) -> Vec<&'static str> {
        let document = Document::parse(text).unwrap_or_else(|mistakes| panic!("{mistakes:?}: {text}"));
        lint(&document, purpose).iter().map(|found| found.rule.code).collect()
    }

    #[track_caller]
    fn check(actions: &str, resource: &str, expect: &[&str]) {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":[{actions}],"Resource":[{resource}]}}]}}"#
        );
        assert_eq!(codes_for(Purpose::ThirdParty, &text), expect, "{text}");
    }

    const BUCKET: &str = r#""arn:aws:s3:::b/*""#;

    #[test]
    fn narrow_vendor_statements_have_no_finding() {
        check(r#""s3:GetObject", "s3:PutObject""#, BUCKET, &[]);
        check(r#""ec2:DescribeInstances", "ec2:Describe*""#, r#""*""#, &[]);
        check(r#""ce:GetCostAndUsage", "cloudwatch:GetMetricData", "tag:GetResources""#, r#""*""#, &[]);
        check(r#""quicksight:ListUsers""#, r#""*""#, &[]);
        check(r#""dynamodb:BatchGet*""#, r#""arn:aws:dynamodb:*:111122223333:table/t""#, &[]);
        check(r#""sts:AssumeRole""#, r#""arn:aws:iam::111122223333:role/x""#, &[]);
    }

    #[test]
    fn each_fault_of_a_statement_is_found_once() {
        check(r#""*""#, r#""*""#, &["KR501"]);
        check(r#""*:*""#, r#""*""#, &["KR501"]);
        check(r#""*""#, BUCKET, &["KR502"]);
        check(r#""s3:*""#, BUCKET, &["KR502"]);
        check(r#""*:Put*""#, BUCKET, &["KR502"]);
        check(r#""ec2:Start*""#, r#""arn:aws:ec2:*:*:instance/i-0*""#, &["KR503"]);
        check(r#""ec2:StartInstances""#, r#""arn:aws:ec2:*:*:instance/*""#, &["KR510"]);
        check(r#""s3:GetObject""#, r#""arn:aws:s3:::*""#, &["KR510"]);
        check(r#""*""#, r#""arn:aws:*""#, &["KR501"]);
        check(r#""quicksight:Create*""#, r#""*""#, &["KR503", "KR510"]);
        check(r#""newservice:Create*""#, r#""*""#, &["KR503", "KR515"]);
        check(r#""iam:GetUser""#, r#""arn:aws:iam::111122223333:user/x""#, &["KR504"]);
        check(r#""sts:AssumeRole""#, r#""*""#, &["KR505", "KR510"]);
        check(r#""sts:AssumeRole""#, r#""arn:aws:iam::111122223333:role/*""#, &["KR505", "KR510"]);
        check(r#""iam:PassRole""#, r#""arn:aws:iam::111122223333:role/x""#, &["KR504", "KR506"]);
        check(r#""iam:CreateAccessKey""#, r#""arn:aws:iam::111122223333:user/x""#, &["KR509", "KR504"]);
        check(r#""s3:GetObject""#, r#""*""#, &["KR510"]);
        check(r#""s3:GetObjet""#, BUCKET, &["KR511"]);
        check(r#""s3:AskTheOracle""#, BUCKET, &[]);
        check(r#""inspector2:BatchGet*""#, r#""*""#, &[]);
        check(r#""sdb:Select*""#, r#""*""#, &["KR510"]);
        check(r#""s3:Batch*", "inspector2:Batch*""#, BUCKET, &["KR503"]);
    }

    #[test]
    fn a_wildcard_limited_by_a_deny_is_judged_by_the_remaining_actions() {
        let with = |action: &str, except: &str| {
            codes_for(
                Purpose::ThirdParty,
                &format!(
                    r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}","Resource":"arn:aws:s3:::b/*"}},{{"Effect":"Deny","NotAction":"{except}","Resource":"*"}}]}}"#
                ),
            )
        };
        assert!(with("*", "s3:GetObject").is_empty() && with("s3:*", "s3:GetObject").is_empty());
        assert_eq!(with("s3:*", "s3:PutObject"), ["KR503"]);
        assert_eq!(with("s3:*", "s3:*"), ["KR502"]);
    }

    #[test]
    fn not_action_and_not_resource_statements_are_found() {
        let not_action =
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}}"#;
        let codes = codes_for(Purpose::ThirdParty, not_action);
        assert!(codes.contains(&"KR507") && codes.contains(&"KR509"), "{codes:?}");
        let not_resource = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","NotResource":"arn:aws:s3:::b/*"}}"#;
        assert_eq!(codes_for(Purpose::ThirdParty, not_resource), ["KR508"]);
        let deny =
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","NotAction":"s3:*","NotResource":"*"}}"#;
        assert!(codes_for(Purpose::ThirdParty, deny).is_empty());
    }

    #[test]
    fn a_policy_open_to_every_principal_is_found() {
        let open = r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":"sts:AssumeRole"}}"#;
        assert_eq!(codes_for(Purpose::ThirdParty, open), ["KR512", "KR513"]);
    }

    #[test]
    fn rotator_rights_beyond_the_keys_of_named_users_are_findings() {
        let policy = |action: &str, resource: &str| {
            format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"{action}","Resource":"{resource}"}}}}"#
            )
        };
        let codes = |action, resource| codes_for(Purpose::Rotator, &policy(action, resource));
        assert!(codes("iam:CreateAccessKey", "arn:aws:iam::111122223333:user/vendors/*").is_empty());
        assert!(codes("iam:ListUsers", "*").is_empty());
        assert!(!codes("iam:CreateAccessKey", "*").is_empty());
        assert!(!codes("iam:CreateAccessKey", "arn:aws:iam::111122223333:user/*").is_empty());
        assert!(!codes("iam:AttachUserPolicy", "arn:aws:iam::111122223333:user/x").is_empty());
    }

    #[test]
    fn a_long_list_of_names_is_shortened_with_a_count() {
        let names: Vec<String> = (0..7).map(|number| number.to_string()).collect();
        assert_eq!(in_words(&names[..2]), "0 and 1");
        assert_eq!(in_words(&names), "0, 1, 2, 3 and 3 more");
    }
}
