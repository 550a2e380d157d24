//! Decides whether a condition restricts `"Principal": "*"` to known callers.
//!
//! The keys, and what counts as a fixed value, follow "The meaning of public" in the Amazon S3 User Guide: a policy
//! that admits everybody in one's own organization is not public.
//!
//! **Invariant:** only a condition that demands a value narrows. One that passes when the key is absent
//! (`…IfExists`, `ForAllValues:…`), that excludes, or whose value is a wildcard does not.

use super::address::Network;
use super::trust::account_of;
use super::{Condition, Statement};

/// Condition keys that identify the caller and whose value AWS itself sets.
const KEYS: [&str; 17] = [
    "aws:PrincipalAccount",
    "aws:PrincipalArn",
    "aws:PrincipalOrgID",
    "aws:PrincipalOrgPaths",
    "aws:SourceAccount",
    "aws:SourceArn",
    "aws:SourceOrgID",
    "aws:SourceOrgPaths",
    "aws:SourceOwner",
    "aws:SourceVpc",
    "aws:SourceVpce",
    "aws:VpceAccount",
    "aws:VpceOrgID",
    "aws:userid",
    "kms:CallerAccount",
    "s3:DataAccessPointAccount",
    "s3:DataAccessPointArn",
];
const OPERATORS: [&str; 5] = ["StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"];
const SOURCE_IP: &str = "aws:SourceIp";
/// The shortest prefix of a network that narrows, in bits. A wider network counts as the whole internet.
const V4_BITS_MIN: u32 = 8;
const V6_BITS_MIN: u32 = 32;

/// The first condition that restricts who may call, if there is one.
#[must_use]
pub fn narrowed_by(statement: &Statement) -> Option<&Condition> {
    statement.conditions.iter().find(|condition| {
        let values = || condition.values.iter().map(|value| value.value.as_str());
        let key = condition.key.value.as_str();
        let is_one_of = |keys: &[&str]| keys.iter().any(|other| other.eq_ignore_ascii_case(key));
        let narrows = is_one_of(&KEYS) && demands(condition, &OPERATORS) && values().all(is_fixed)
            || is_one_of(&[SOURCE_IP]) && demands(condition, &["IpAddress"]) && values().all(is_network);
        narrows && !condition.values.is_empty()
    })
}

/// The accounts that the condition names; empty if its key does not name accounts.
#[must_use]
pub fn accounts(condition: &Condition) -> Vec<String> {
    let by_account = ["aws:PrincipalAccount", "aws:PrincipalArn"];
    if !by_account.iter().any(|key| key.eq_ignore_ascii_case(&condition.key.value)) {
        return Vec::new();
    }
    condition.values.iter().filter_map(|value| account_of(&value.value)).map(str::to_owned).collect()
}

fn demands(condition: &Condition, operators: &[&str]) -> bool {
    let operator = condition.operator.value.to_ascii_lowercase();
    let operator = operator.strip_prefix("foranyvalue:").unwrap_or(&operator);
    operators.iter().any(|other| other.eq_ignore_ascii_case(operator))
}

/// Whether the value names one caller or a bounded set: an ARN has an account or no wildcard; any other value does
/// not begin with a wildcard.
fn is_fixed(value: &str) -> bool {
    let wild = ['*', '?'];
    !value.is_empty()
        && if value.starts_with("arn:") {
            account_of(value).is_some() || !value.contains(wild)
        } else {
            !value.starts_with(wild)
        }
}

/// Whether this is an IP address, and not the name of an AWS service.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_hexdigit() || b".:".contains(&byte);
    text.contains(['.', ':']) && text.bytes().all(is_letter)
}

fn is_network(value: &str) -> bool {
    Network::parse(value)
        .is_some_and(|network| network.shared >= if network.is_v6() { V6_BITS_MIN } else { V4_BITS_MIN })
}

#[cfg(test)]
mod tests {
    use super::super::Document;
    use super::*;

    fn statement(condition: &str) -> Statement {
        let text = format!(
            r#"{{"Statement":{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*","Condition":{condition}}}}}"#
        );
        Document::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}: {text}")).statements.remove(0)
    }

    #[test]
    fn a_condition_on_the_caller_or_the_source_narrows_a_statement() {
        for condition in [
            r#"{"StringEquals":{"aws:PrincipalOrgID":"o-abcdef1234"}}"#,
            r#"{"StringEquals":{"AWS:principalorgid":["o-abcdef1234"]}}"#,
            r#"{"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":["o-abcdef1234/r-ab12/*"]}}"#,
            r#"{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/*"}}"#,
            r#"{"ArnEquals":{"aws:SourceArn":"arn:aws:s3:::bucket"}}"#,
            r#"{"IpAddress":{"aws:SourceIp":["203.0.113.0/24","2001:db8::/32","203.0.113.7"]}}"#,
            r#"{"Bool":{"aws:SecureTransport":true},"StringEquals":{"aws:SourceVpce":"vpce-1a2b3c4d"}}"#,
        ] {
            assert!(narrowed_by(&statement(condition)).is_some(), "{condition}");
        }
    }

    #[test]
    fn a_condition_that_every_caller_can_meet_does_not_narrow() {
        for condition in [
            r#"{"Bool":{"aws:SecureTransport":true}}"#,
            r#"{"StringEquals":{"sts:ExternalId":"7d1b9c1e-0a35-4a5b"}}"#,
            r#"{"StringEqualsIfExists":{"aws:PrincipalOrgID":"o-abcdef1234"}}"#,
            r#"{"ForAllValues:StringEquals":{"aws:PrincipalOrgID":"o-abcdef1234"}}"#,
            r#"{"StringNotEquals":{"aws:PrincipalOrgID":"o-abcdef1234"}}"#,
            r#"{"StringLike":{"aws:PrincipalOrgID":["o-abcdef1234","*"]}}"#,
            r#"{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/reader"}}"#,
            r#"{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}"#,
            r#"{"NotIpAddress":{"aws:SourceIp":"203.0.113.0/24"}}"#,
        ] {
            assert!(narrowed_by(&statement(condition)).is_none(), "{condition}");
        }
    }

    #[test]
    fn accounts_are_read_from_the_narrowing_condition() {
        let of = |condition: &str| accounts(narrowed_by(&statement(condition)).expect("it narrows"));
        assert_eq!(of(r#"{"StringEquals":{"aws:PrincipalAccount":["444455556666"]}}"#), ["444455556666"]);
        assert_eq!(
            of(r#"{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::444455556666:role/x*"}}"#),
            ["444455556666"]
        );
        assert!(of(r#"{"StringEquals":{"aws:PrincipalOrgID":"o-abcdef1234"}}"#).is_empty());
    }
}
