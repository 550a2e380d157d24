//! The rules that look at one statement.

use super::{
    ADMIN, ANY_RESOURCE, ANYBODY, ASSUME_ANY, Found, IAM_ACTION, NOT_ACTION, NOT_RESOURCE, PASS_ROLE,
    Purpose, UNKNOWN_ACTION, WHOLE_SERVICE, WILD_CHANGE, changes, is_known_to_read, reads_only,
};
use crate::policy::actions::{self, Action};
use crate::policy::document::Principals;
use crate::policy::rule::Rule;
use crate::policy::{Pattern, Spanned, Statement, narrowing};

/// Names in a sentence; more than these are counted.
const NAMED_MAX: usize = 5;

/// What the rotator calls on the users that its policy names.
const ROTATION: [&str; 6] = [
    "iam:ListAccessKeys",
    "iam:CreateAccessKey",
    "iam:UpdateAccessKey",
    "iam:DeleteAccessKey",
    "iam:GetAccessKeyLastUsed",
    "iam:GetUser",
];
/// What the rotator reads without naming anybody, and what a review of the account reads.
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

/// Judges a statement that allows something.
pub(super) fn judge(statement: &Statement, purpose: Purpose) -> Vec<Found> {
    let mut found = Vec::new();
    if let Some(principals) = &statement.principals {
        found.extend(anybody(statement, principals));
    }
    if statement.actions.negated {
        let names: Vec<String> = statement.actions.items.iter().map(|item| item.value.to_string()).collect();
        let sentence = format!("everything but {} is allowed", in_words(&names));
        found.push(Found { rule: &NOT_ACTION, span: statement.actions.key, sentence, items: names });
    }
    if let Some(resources) = statement.resources.as_ref().filter(|resources| resources.negated) {
        let names: Vec<String> = resources.items.iter().map(|item| item.value.to_string()).collect();
        let sentence = format!("everything but {} may be touched", in_words(&names));
        found.push(Found { rule: &NOT_RESOURCE, span: resources.key, sentence, items: names });
    }
    for item in statement.actions.items.iter().filter(|_| !statement.actions.negated) {
        found.extend(judge_action(statement, item, purpose));
    }
    found.extend(any_resource(statement));
    found
}

/// Whether the statement is what a rotator is for: its calls, on users that are named.
pub(super) fn is_rotation(statement: &Statement) -> bool {
    let is_call = |item: &Spanned<Pattern>| ROTATION.contains(&item.value.as_str());
    let is_user = |item: &Spanned<Pattern>| {
        let arn = item.value.as_str();
        // Every user under one path is named by the path.
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

fn judge_action(statement: &Statement, item: &Spanned<Pattern>, purpose: Purpose) -> Vec<Found> {
    let pattern = &item.value;
    let one = |rule: &'static Rule, sentence: String| Found {
        rule,
        span: item.span,
        sentence,
        items: vec![pattern.to_string()],
    };
    if pattern.is_everything() && statement.is_everywhere() {
        return vec![one(&ADMIN, "every action of every service is allowed".to_owned())];
    }
    if pattern.is_everything() {
        return vec![one(&WHOLE_SERVICE, format!("every action is allowed on {}", resources(statement)))];
    }
    let mut found = Vec::new();
    let (service, name) = pattern.action().unwrap_or(("", ""));
    if name.chars().all(|letter| letter == '*') || service.contains('*') && !reads_only(pattern) {
        let count = changes(pattern).len();
        let known =
            if count == 0 { String::new() } else { format!(", {count} of them known to change something") };
        found.push(one(&WHOLE_SERVICE, format!("{pattern} is every action of {service}{known}")));
    } else if pattern.has_wildcard() && !reads_only(pattern) && !is_known_to_read(pattern) {
        found.push(one(&WILD_CHANGE, format!("{pattern} stands for {}", what_it_changes(pattern))));
    }
    let its_calling = purpose == Purpose::Rotator && is_rotation(statement);
    if pattern.overlaps(&Pattern::new("iam:*")) && statement.touches("iam") && !its_calling {
        found.push(one(&IAM_ACTION, format!("{pattern} is an action on identities and rights")));
    }
    if pattern.matches("iam:PassRole") && statement.touches("iam") && !passes_one_role(statement) {
        found.push(one(&PASS_ROLE, format!("{pattern} passes {}", resources(statement))));
    }
    let assumes = pattern.matches("sts:AssumeRole") && statement.touches("iam");
    if statement.principals.is_none() && assumes && names_no_role(statement) {
        found.push(one(&ASSUME_ANY, format!("{pattern} on {} is more than one role", resources(statement))));
    }
    found
}

fn what_it_changes(pattern: &Pattern) -> String {
    match changes(pattern).as_slice() {
        [] => "actions of which nothing is known, and whose names do not say that they only read".to_owned(),
        names => in_words(names),
    }
}

fn names_no_role(statement: &Statement) -> bool {
    let is_open = |item: &Spanned<Pattern>| item.value.has_wildcard();
    statement.resources.as_ref().is_none_or(|list| list.negated || list.items.iter().any(is_open))
}

/// Roles that are named, for services that are named: what the fix of [`PASS_ROLE`] asks for.
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

/// `Resource: *` with actions for which it could be narrower. A condition may narrow it as well, so
/// whoever wrote one knew what they did.
fn any_resource(statement: &Statement) -> Option<Found> {
    let star = statement.resources.as_ref()?.everything()?;
    let patterns = statement.actions.items.iter().map(|item| &item.value);
    if statement.actions.negated || !statement.conditions.is_empty() {
        return None;
    }
    let is_listing = |action: &&Action| action.level == actions::Level::List;
    let scoped = patterns.filter(|pattern| !pattern.is_everything()).flat_map(actions::matching);
    // What only lists names is given for the whole account, as a rule: a vendor finds its way with it.
    let scoped = scoped.filter(|action| action.scoped && !is_listing(action));
    let mut names: Vec<String> = scoped.map(Action::full_name).collect();
    names.sort_unstable();
    names.dedup();
    let sentence = format!("{} could be held to the resources that they are for", in_words(&names));
    (!names.is_empty()).then_some(Found { rule: &ANY_RESOURCE, span: star.span, sentence, items: names })
}

/// Actions of a known service that are not known, and look like a slip. AWS makes new ones every day, so a name
/// that is like no other may well be one of those: [`actions::unknown`] names it, and nobody is accused.
pub(super) fn unknown_actions(statement: &Statement) -> Vec<Found> {
    let found = |item: &Spanned<Pattern>| {
        let (service, name) = item.value.action()?;
        let known = !actions::matching(&item.value).is_empty() || !actions::knows(service);
        let meant = actions::meant(service, name)?;
        let sentence = format!("{} is not an action; perhaps {} is meant", item.value, meant.full_name());
        let items = vec![item.value.to_string()];
        (!known).then_some(Found { rule: &UNKNOWN_ACTION, span: item.span, sentence, items })
    };
    statement.actions.items.iter().filter_map(found).collect()
}

/// `a, b and c`; of many, the first few and how many more.
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
    use crate::policy::{Document, lint};

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
    fn what_a_vendor_needs_is_left_alone() {
        check(r#""s3:GetObject", "s3:PutObject""#, BUCKET, &[]);
        check(r#""ec2:DescribeInstances", "ec2:Describe*""#, r#""*""#, &[]);
        check(r#""ce:GetCostAndUsage", "cloudwatch:GetMetricData", "tag:GetResources""#, r#""*""#, &[]);
        check(r#""quicksight:Describe*""#, r#""*""#, &[]);
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
        check(r#""ec2:Start*""#, r#""arn:aws:ec2:*:*:instance/*""#, &["KR503"]);
        check(r#""quicksight:Create*""#, r#""*""#, &["KR503"]);
        check(r#""iam:GetUser""#, r#""arn:aws:iam::111122223333:user/x""#, &["KR504"]);
        check(r#""sts:AssumeRole""#, r#""*""#, &["KR505", "KR510"]);
        check(r#""sts:AssumeRole""#, r#""arn:aws:iam::111122223333:role/*""#, &["KR505"]);
        check(r#""iam:PassRole""#, r#""arn:aws:iam::111122223333:role/x""#, &["KR504", "KR506"]);
        check(r#""iam:CreateAccessKey""#, r#""arn:aws:iam::111122223333:user/x""#, &["KR509", "KR504"]);
        check(r#""s3:GetObject""#, r#""*""#, &["KR510"]);
        check(r#""s3:GetObjet""#, BUCKET, &["KR511"]);
        check(r#""s3:AskTheOracle""#, BUCKET, &[]);
        check(r#""inspector2:BatchGet*", "sdb:Select*""#, r#""*""#, &[]);
        check(r#""s3:Batch*", "inspector2:Batch*""#, BUCKET, &["KR503", "KR503"]);
    }

    #[test]
    fn what_is_said_the_other_way_round_is_found() {
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
    fn a_policy_for_the_whole_world_is_found() {
        let open = r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":"sts:AssumeRole"}}"#;
        assert_eq!(codes_for(Purpose::ThirdParty, open), ["KR512", "KR513"]);
    }

    #[test]
    fn the_rotator_may_do_its_work_on_users_that_are_named_and_nothing_else() {
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
    fn many_names_are_counted() {
        let names: Vec<String> = (0..7).map(|number| number.to_string()).collect();
        assert_eq!(in_words(&names[..2]), "0 and 1");
        assert_eq!(in_words(&names), "0, 1, 2, 3 and 3 more");
    }
}
