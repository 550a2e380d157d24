//! What IAM refuses in a policy that is well-formed JSON: the reasons for its errors `MalformedPolicyDocument` and
//! `LimitExceeded`.
//!
//! The rules follow "Grammar of the IAM JSON policy language", "IAM and AWS STS quotas" and the checks of moto's
//! `iam/policy_validation.py`, which repeats IAM's own messages.

use std::collections::BTreeSet;

use super::{Condition, Document, Effect, Mistake, Pattern, Spanned, Statement};

/// The quota of a managed policy, in characters without white space.
pub const MANAGED_CHARACTERS: usize = 6_144;
/// The quota of all inline policies of a role together, in characters without white space.
pub const ROLE_CHARACTERS: usize = 10_240;
/// The quota of all inline policies of a user together, and the default quota of a trust policy, in characters
/// without white space.
pub const USER_CHARACTERS: usize = 2_048;

/// The condition operators, without set prefix and `IfExists`.
const OPERATORS: [&str; 28] = [
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "Bool",
    "BinaryEquals",
    "IpAddress",
    "NotIpAddress",
    "ArnEquals",
    "ArnLike",
    "ArnNotEquals",
    "ArnNotLike",
    "Null",
    // Documented for KMS grants only, and accepted by IAM.
    "BinaryNotEquals",
];
/// The prefixes of resources in ARNs of IAM.
const IAM_RESOURCES: [&str; 13] = [
    "user/",
    "federated-user/",
    "role/",
    "group/",
    "instance-profile/",
    "mfa/",
    "server-certificate/",
    "policy/",
    "sms-mfa/",
    "saml-provider/",
    "oidc-provider/",
    "report/",
    "access-report/",
];

/// The partitions that botocore's `partitions.json` lists.
const PARTITIONS: [&str; 8] =
    ["aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"];

/// The number of characters that IAM counts: all except white space.
#[must_use]
pub fn size(text: &str) -> usize {
    text.chars().filter(|letter| !letter.is_whitespace()).count()
}

/// The reason why IAM refuses this text as a resource; `None`: IAM accepts it. An ARN with fewer than six fields is
/// completed.
pub(super) fn not_a_resource(text: &str) -> Option<String> {
    let pattern = Pattern::new(text);
    if text.contains('*') && text.bytes().all(|byte| byte == b'*') {
        return None;
    }
    let Some([_, partition, service, region, _, resource]) = pattern.arn() else {
        return Some("a resource is * or an ARN, such as arn:aws:s3:::bucket/*".to_owned());
    };
    let is_partition = partition.contains(['*', '?', '$']) || PARTITIONS.contains(&partition);
    if !is_partition {
        return Some(format!("{partition:?} is not a partition; an ARN begins with arn:aws:"));
    }
    if service.is_empty() {
        return Some(
            "the ARN names no service; it is written arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE".to_owned(),
        );
    }
    let has_region = !region.is_empty() && !region.contains(['*', '?', '$']);
    if service == "iam" && has_region {
        return Some("an ARN of IAM has no region: arn:aws:iam::ACCOUNT:RESOURCE".to_owned());
    }
    if service == "iam" && !is_iam_resource(resource) {
        return Some("a resource of IAM is *, or begins with its kind, such as user/ or role/".to_owned());
    }
    if service == "s3" && has_region && !resource.contains('/') {
        return Some("an ARN of a bucket has no region: arn:aws:s3:::BUCKET".to_owned());
    }
    None
}

/// Whether this is a resource of IAM: `root`, `user/…`, or a text whose beginning a wildcard or a variable leaves
/// open, such as `*`.
fn is_iam_resource(resource: &str) -> bool {
    let literal = &resource[..resource.find(['*', '?', '$']).unwrap_or(resource.len())];
    let is_open = literal.len() < resource.len();
    resource == "root"
        || IAM_RESOURCES.iter().any(|kind| {
            literal.starts_with(kind) || is_open && kind.starts_with(literal) || is_open && literal.is_empty()
        })
}

/// The mistakes that IAM reports for the policy as a whole and for its conditions.
pub(super) fn refused(document: &Document) -> Vec<Mistake> {
    let mut refused = Vec::new();
    // Policies of buckets, keys and queues are checked by their services, which allow other statement ids and
    // sizes.
    let is_of_iam = document.is_trust() || document.statements.iter().all(|one| one.principals.is_none());
    if is_of_iam {
        refused.extend(sids(document));
    }
    let is_trust = document.is_trust();
    for statement in &document.statements {
        refused.extend(statement.conditions.iter().filter_map(operator));
        refused.extend(statement.conditions.iter().flat_map(no_dates));
        refused.extend(not_principal(statement));
        if is_trust && let Some(resources) = &statement.resources {
            let message = "a trust policy has no Resource: it is about the role that it belongs to";
            refused.push(Mistake { span: resources.key, message: message.to_owned() });
        }
    }
    refused
}

fn sids(document: &Document) -> Vec<Mistake> {
    let mut refused = Vec::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for sid in document.statements.iter().filter_map(|statement| statement.sid.as_ref()) {
        let mut refuse = |message: String| refused.push(Mistake { span: sid.span, message });
        if !sid.value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            refuse("a Sid has letters A-Z and a-z and digits only".to_owned());
        }
        if !sid.value.is_empty() && !seen.insert(&sid.value) {
            refuse(format!("the Sid {} is here twice; each is used once in a policy", sid.value));
        }
    }
    refused
}

fn operator(condition: &Condition) -> Option<Mistake> {
    let written = condition.operator.value.as_str();
    let refuse = |message: String| Some(Mistake { span: condition.operator.span, message });
    let bare = match written.split_once(':') {
        None => written,
        Some((set, bare)) if ["foranyvalue", "forallvalues"].contains(&set.to_ascii_lowercase().as_str()) => {
            bare
        }
        Some((set, _)) => {
            return refuse(format!("{set}: is no set operator; there are ForAnyValue: and ForAllValues:"));
        }
    };
    let is_known = |name: &str| OPERATORS.iter().any(|known| known.eq_ignore_ascii_case(name));
    let without = bare.len().checked_sub("IfExists".len()).filter(|at| bare.is_char_boundary(*at));
    let if_exists =
        without.map(|at| bare.split_at(at)).filter(|(_, end)| end.eq_ignore_ascii_case("IfExists"));
    match if_exists {
        Some((name, _)) if name.eq_ignore_ascii_case("Null") => {
            refuse("Null is not followed by IfExists: it asks whether the key exists".to_owned())
        }
        Some((name, _)) if is_known(name) => None,
        None if is_known(bare) => None,
        _ => {
            let distance = |known: &&&str| strsim::damerau_levenshtein(known, bare);
            let near = OPERATORS.iter().min_by_key(distance).filter(|known| distance(known) <= 3);
            let hint = near.map(|near| format!("; perhaps {near} is meant")).unwrap_or_default();
            refuse(format!("{bare:?} is no condition operator{hint}"))
        }
    }
}

/// The values of date operators that are not dates. A value with a variable is accepted, because IAM fills it in
/// later.
fn no_dates(condition: &Condition) -> Vec<Mistake> {
    let operator = condition.operator.value.to_ascii_lowercase();
    let bare = operator.split_once(':').map_or(operator.as_str(), |(_, bare)| bare);
    let values = condition.values.iter().filter(|_| bare.starts_with("date"));
    // IAM accepts each form of ISO 8601 in the W3C note, from a bare year on, and seconds since 1970.
    let is_date = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.+TtZz".contains(&byte))
    };
    let wrong = values.filter(|value| !value.value.contains('$') && !is_date(&value.value));
    let refuse = |value: &Spanned<String>| Mistake {
        span: value.span,
        message: format!("{:?} is no date, such as 2026-01-31T00:00:00Z", value.value),
    };
    wrong.map(refuse).collect()
}

fn not_principal(statement: &Statement) -> Option<Mistake> {
    let principals = statement.principals.as_ref()?;
    let allows_all_but = principals.negated && statement.effect == Effect::Allow;
    allows_all_but.then(|| Mistake {
        span: principals.key,
        message: "NotPrincipal is for Deny only; with Allow it would let in everybody else in the world"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(statement: &str, expect: &[&str]) {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
        let (document, mistakes) = Document::read(&text);
        let said: Vec<&str> = mistakes.iter().map(|mistake| mistake.message.as_str()).collect();
        assert_eq!(said.len(), expect.len(), "{text}: {said:?}");
        for (said, expect) in said.iter().zip(expect) {
            assert!(said.contains(expect), "{text}: {said}");
        }
        assert!(document.is_some_and(|document| !document.statements.is_empty()), "{text}");
    }

    fn with(more: &str) -> String {
        format!(r#"{{{more}"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}}"#)
    }

    #[test]
    fn a_construct_that_iam_refuses_is_reported_and_the_policy_still_read() {
        check(&with(r#""Sid":"auto-generated","#), &["letters A-Z"]);
        check(&format!("{0},{0}", with(r#""Sid":"A","#)), &["twice"]);
        check(&format!("{0},{0}", with(r#""Sid":"","#)), &[]);
        check(
            &with(r#""Condition":{"StringEqual":{"aws:PrincipalOrgID":"o-1"}},"#),
            &["perhaps StringEquals"],
        );
        check(&with(r#""Condition":{"ForAnyValues:StringEquals":{"aws:TagKeys":"x"}},"#), &["set operator"]);
        check(&with(r#""Condition":{"NullIfExists":{"aws:TagKeys":"true"}},"#), &["Null is not followed"]);
        check(&with(r#""Condition":{"ForAnyValue:StringEqualsIfExists":{"aws:TagKeys":"x"}},"#), &[]);
        check(&with(r#""Condition":{"DateLessThan":{"aws:CurrentTime":"tomorrow"}},"#), &["is no date"]);
        for date in [
            "2026-01-31",
            "2026-01-31T00:00:00Z",
            "2026-01-31T00:00:00+01:00",
            "2026-01",
            "2026-01-31T00:00Z",
            "1767225600",
            "${aws:x}",
        ] {
            check(&with(&format!(r#""Condition":{{"DateLessThan":{{"aws:CurrentTime":"{date}"}}}},"#)), &[]);
        }
        check(&with(r#""Condition":{"stringlikeifexists":{"aws:TagKeys":"x"}},"#), &[]);
    }

    #[test]
    fn key_trust_and_not_principal_policies_are_checked_by_their_own_rules() {
        let key = r#"{"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}"#;
        check(key, &[]);
        let all_but = r#"{"Effect":"Allow","NotPrincipal":{"AWS":"111122223333"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}"#;
        check(all_but, &["for Deny only"]);
        let trust = r#"{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole","Resource":"*"}"#;
        check(trust, &["has no Resource"]);
    }

    #[test]
    fn resources_are_accepted_and_refused_like_in_iam() {
        for taken in [
            "arn:aws:sns:*",
            "arn:aws:*",
            "arn:aws",
            "arn:*:s3:::b",
            "*",
            "**",
            "arn:aws:iam::111122223333:*",
            "arn:aws:iam::*:us*",
            "arn:aws:iam::${aws:PrincipalAccount}:user/${aws:username}",
            "arn:aws:s3:eu-west-1:111122223333:accesspoint/x",
        ] {
            assert_eq!(not_a_resource(taken), None, "{taken}");
        }
        for refused in [
            "bucket",
            "arn",
            "",
            "arn:amazon:s3:::b",
            "arn:aws-gov:s3:::b",
            "arn:aws::::b",
            "arn:aws:iam:eu-west-1:111122223333:user/x",
            "arn:aws:iam::111122223333:x",
            "arn:aws:s3:eu-west-1::b",
        ] {
            assert!(not_a_resource(refused).is_some(), "{refused}");
        }
    }
}
