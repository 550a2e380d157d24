//! Trust policies: whom a role lets in, on which condition; and one as it should be.

use super::generate::Written;
use super::{Document, Effect, Pattern, Statement, narrowing};
use crate::ids::AccountId;

/// The condition that a third party must meet. AWS compares the keys of conditions without case.
pub const EXTERNAL_ID: &str = "sts:ExternalId";

/// External ids that are shorter can be tried out, or are words that somebody else chose too.
const GUESSABLE_BELOW: usize = 16;
/// Letters of one kind, over and over, are no id.
const DIFFERENT_LETTERS_MIN: usize = 8;

/// Somebody who is let in.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Trusted {
    /// `*`: every account there is.
    Anybody,
    /// An account, by its root, its number, or a principal in it.
    Account(String),
    /// An AWS service.
    Service(String),
    /// An identity provider.
    Provider(String),
    /// Something else, such as the id of a principal that was deleted.
    Other(String),
}

/// What is asked of somebody for the external id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ExternalIds {
    /// Nothing.
    Unasked,
    /// It is compared with this operator, which does not demand one value.
    Loose(String),
    /// One of these, exactly.
    Exact(Vec<String>),
}

/// One statement that lets somebody in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Door {
    /// Whom.
    pub trusted: Vec<Trusted>,
    /// On which condition.
    pub external_ids: ExternalIds,
}

/// The doors of a trust policy.
#[must_use]
pub fn doors(document: &Document) -> Vec<Door> {
    let opens = |statement: &&Statement| {
        let assumes = ["sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity"];
        statement.effect == Effect::Allow && assumes.iter().any(|action| statement.actions.covers(action))
    };
    let door = |statement: &Statement| {
        Some(Door { trusted: trusted(statement)?, external_ids: external_ids(statement) })
    };
    document.statements.iter().filter(opens).filter_map(door).collect()
}

fn trusted(statement: &Statement) -> Option<Vec<Trusted>> {
    let principals = statement.principals.as_ref()?;
    if principals.negated {
        return Some(anybody(statement));
    }
    let items = principals.items.iter().flat_map(|(kind, who)| match kind.as_str() {
        "*" => anybody(statement),
        "AWS" if Pattern::new(&who.value).is_everything() => anybody(statement),
        "AWS" => vec![match account_of(&who.value) {
            Some(account) => Trusted::Account(account.to_owned()),
            None => Trusted::Other(who.value.clone()),
        }],
        "Service" => vec![Trusted::Service(who.value.clone())],
        "Federated" => vec![Trusted::Provider(who.value.clone())],
        _ => vec![Trusted::Other(who.value.clone())],
    });
    Some(items.collect())
}

/// Whom `*` means: everybody, or those whom a condition names.
fn anybody(statement: &Statement) -> Vec<Trusted> {
    let Some(condition) = narrowing::narrowed_by(statement) else { return vec![Trusted::Anybody] };
    let accounts: Vec<Trusted> = narrowing::accounts(condition).into_iter().map(Trusted::Account).collect();
    let others = || {
        let values: Vec<&str> = condition.values.iter().map(|value| value.value.as_str()).collect();
        Trusted::Other(format!("{} {}", condition.key.value, values.join(" or ")))
    };
    if accounts.len() == condition.values.len() { accounts } else { vec![others()] }
}

/// The account of `111122223333` or `arn:aws:iam::111122223333:root`.
pub(super) fn account_of(principal: &str) -> Option<&str> {
    let account = match principal.strip_prefix("arn:") {
        Some(arn) => arn.split(':').nth(3)?,
        None => principal,
    };
    (account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())).then_some(account)
}

fn external_ids(statement: &Statement) -> ExternalIds {
    let asked = statement.conditions.iter().filter(|one| one.key.value.eq_ignore_ascii_case(EXTERNAL_ID));
    let mut found = ExternalIds::Unasked;
    for condition in asked {
        let exact = condition.operator.value.eq_ignore_ascii_case("StringEquals");
        let values = condition.values.iter().map(|value| value.value.clone()).collect();
        match exact {
            true => return ExternalIds::Exact(values),
            false => found = ExternalIds::Loose(condition.operator.value.clone()),
        }
    }
    found
}

/// Whether somebody who wants in could think of this external id. It is no password, but two
/// customers of a vendor who think of the same one let each other's roles be assumed.
#[must_use]
pub fn is_guessable(external_id: &str) -> bool {
    let mut letters: Vec<char> = external_id.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    let only_digits = external_id.bytes().all(|byte| byte.is_ascii_digit());
    external_id.chars().count() < GUESSABLE_BELOW || letters.len() < DIFFERENT_LETTERS_MIN || only_digits
}

/// A trust policy that lets in this account, and in it only whoever says this external id.
#[must_use]
pub fn policy(partition: &str, vendor_account: &AccountId, external_id: &str) -> Written {
    Written::trust(&format!("arn:{partition}:iam::{vendor_account}:root"), EXTERNAL_ID, external_id)
}

#[cfg(test)]
mod tests {
    use super::super::{Purpose, lint};
    use super::*;

    fn of(principal: &str, condition: &str) -> Vec<Door> {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"{condition}}}}}"#
        );
        doors(&Document::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}: {text}")))
    }

    #[test]
    fn whom_a_role_trusts_is_read_in_every_way_of_writing_it() {
        let account = vec![Trusted::Account("444455556666".to_owned())];
        for principal in [
            r#"{"AWS":"444455556666"}"#,
            r#"{"AWS":["arn:aws:iam::444455556666:root"]}"#,
            r#"{"AWS":"arn:aws-cn:iam::444455556666:role/x"}"#,
        ] {
            assert_eq!(of(principal, "")[0].trusted, account, "{principal}");
        }
        for principal in [r#""*""#, r#"{"AWS":"*"}"#] {
            assert_eq!(of(principal, "")[0].trusted, [Trusted::Anybody], "{principal}");
        }
        assert_eq!(of(r#"{"AWS":"AIDAEXAMPLE"}"#, "")[0].trusted, [Trusted::Other("AIDAEXAMPLE".to_owned())]);
        let ours = r#","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-abcdef1234"}}"#;
        let organization = Trusted::Other("aws:PrincipalOrgID o-abcdef1234".to_owned());
        assert_eq!(of(r#""*""#, ours)[0].trusted, [organization]);
        let theirs = r#","Condition":{"StringEquals":{"aws:PrincipalAccount":"444455556666"}}"#;
        assert_eq!(of(r#"{"AWS":"*"}"#, theirs)[0].trusted, account);
        let service = of(r#"{"Service":"ec2.amazonaws.com"}"#, "");
        assert_eq!(service[0].trusted, [Trusted::Service("ec2.amazonaws.com".to_owned())]);
    }

    #[test]
    fn only_string_equals_asks_for_an_external_id() {
        let asked = |condition: &str| {
            let condition = format!(r#","Condition":{condition}"#);
            of(r#"{"AWS":"444455556666"}"#, &condition).remove(0).external_ids
        };
        let exact =
            |values: &[&str]| ExternalIds::Exact(values.iter().map(|value| (*value).to_owned()).collect());
        assert_eq!(asked(r#"{"StringEquals":{"sts:ExternalId":"a"}}"#), exact(&["a"]));
        assert_eq!(asked(r#"{"StringEquals":{"STS:externalid":["a","b"]}}"#), exact(&["a", "b"]));
        let loose = |operator: &str| ExternalIds::Loose(operator.to_owned());
        assert_eq!(asked(r#"{"StringLike":{"sts:ExternalId":"*"}}"#), loose("StringLike"));
        assert_eq!(
            asked(r#"{"StringEqualsIfExists":{"sts:ExternalId":"a"}}"#),
            loose("StringEqualsIfExists")
        );
        assert_eq!(asked(r#"{"Bool":{"aws:SecureTransport":"true"}}"#), ExternalIds::Unasked);
    }

    #[test]
    fn what_people_think_of_is_guessable() {
        for bad in ["acme", "1234567890123456", "aaaaaaaaaaaaaaaaaaaaaaaa", "111122223333", ""] {
            assert!(is_guessable(bad), "{bad}");
        }
        assert!(!is_guessable("7d1b9c1e-0a35-4a5b-9a93-2f5c7e1f9d20"));
    }

    #[test]
    fn the_policy_that_is_written_asks_for_the_id_and_has_no_finding() {
        let vendor: AccountId = "444455556666".parse().expect("an account");
        let text = policy("aws", &vendor, "7d1b9c1e-0a35-4a5b").to_json();
        let document = Document::parse(&text).expect("a policy");
        assert!(lint(&document, Purpose::ThirdParty).is_empty(), "{text}");
        let door = &doors(&document)[0];
        assert_eq!(door.trusted, [Trusted::Account("444455556666".to_owned())]);
        assert_eq!(door.external_ids, ExternalIds::Exact(vec!["7d1b9c1e-0a35-4a5b".to_owned()]));
    }
}
