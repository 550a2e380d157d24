//! Trust policies: which principals a role admits, and under which conditions; and the generation of a correct one.

use super::generate::Written;
use super::rights::{Context, Met, is_for, met_by};
use super::{Condition, Document, Effect, Pattern, Span, Statement, narrowing};
use crate::core::ids::AccountId;

/// The condition key that a third party's request must match. AWS compares condition keys without case.
pub const EXTERNAL_ID: &str = "sts:ExternalId";

/// A shorter external id can be guessed by trying, or is a word that another customer may choose too. In
/// characters.
const GUESSABLE_BELOW: usize = 16;
/// The least number of different characters: a repeated character makes no id.
const DIFFERENT_LETTERS_MIN: usize = 8;

/// A principal that a role admits.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Trusted {
    /// `*`: every AWS account.
    Anybody,
    /// An account, named by its root ARN, by its number, or by a principal in it.
    Account(String),
    /// An AWS service.
    Service(String),
    /// An identity provider.
    Provider(String),
    /// Another kind of principal, such as the id of a principal that was deleted.
    Other(String),
}

/// What a trust policy asks of callers for the external id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ExternalIds {
    /// The policy has no condition on the external id.
    Unasked,
    /// A condition compares the external id with this operator, which does not demand one of the listed values.
    Loose(String),
    /// The external id must be one of these values exactly, whichever operators say so.
    Exact(Vec<String>),
}

/// A caller from an account that a role admits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The account's number.
    pub account: String,
    /// The ARN of the one principal that is admitted; `None`: every principal that has the right in that account.
    pub arn: Option<String>,
}

/// One statement of a trust policy that admits callers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustGrant {
    /// The principals that the statement admits.
    pub trusted: Vec<Trusted>,
    /// The admitted principals whose account is known.
    pub callers: Vec<Caller>,
    /// What the statement asks for as external id.
    pub external_ids: ExternalIds,
    /// Whether only the own organization, or a person with a second factor, meets the conditions. No vendor meets
    /// them.
    pub is_for_own: bool,
    /// The place of the first principal in the policy's text.
    pub span: Span,
}

impl TrustGrant {
    /// The admitted accounts that could be a vendor's, sorted and without duplicates. Empty if the statement is for
    /// the own organization.
    #[must_use]
    pub fn outside_accounts(&self) -> Vec<&str> {
        let mut accounts: Vec<&str> = self.callers.iter().map(|caller| caller.account.as_str()).collect();
        accounts.sort_unstable();
        accounts.dedup();
        if self.is_for_own { Vec::new() } else { accounts }
    }
}

const ASSUMES: [&str; 3] = ["sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity"];
const PRINCIPAL_ARN: &str = "aws:PrincipalArn";

/// The statements of a trust policy that admit callers.
#[must_use]
pub fn doors(document: &Document) -> Vec<TrustGrant> {
    let opens = |statement: &&Statement| {
        statement.effect == Effect::Allow
            && ASSUMES.iter().any(|action| statement.actions.covers(action))
            && met_by(&statement.conditions, &Context::new()) != Met::Never
    };
    let door = |statement: &Statement| {
        let trusted = trusted(statement)?;
        let principals = statement.principals.as_ref()?;
        Some(TrustGrant {
            callers: callers(document, statement, &trusted),
            trusted,
            external_ids: external_ids(document, statement),
            is_for_own: statement.conditions.iter().any(is_own),
            span: principals.items.first().map_or(principals.key, |(_, who)| who.span),
        })
    };
    document.statements.iter().filter(opens).filter_map(door).collect()
}

/// The conditions that Denies of the same policy impose on every principal of the statement. A Deny counts if
/// exactly one of its conditions is not always met; that condition is the one returned.
fn demanded<'d>(document: &'d Document, statement: &'d Statement) -> impl Iterator<Item = &'d Condition> {
    let denies = document.statements.iter().filter(move |deny| {
        deny.effect == Effect::Deny && deny.actions.covers("sts:AssumeRole") && is_for(deny, statement)
    });
    denies.filter_map(|deny| {
        let mut open = deny
            .conditions
            .iter()
            .filter(|one| met_by(std::slice::from_ref(*one), &Context::new()) != Met::Always);
        match (open.next(), open.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    })
}

/// The operator in lower case, without its set prefix and `IfExists`, and whether it is met when the key is
/// missing.
fn bare(condition: &Condition) -> (String, bool) {
    let written = condition.operator.value.to_ascii_lowercase();
    let passes_missing = written.starts_with("forallvalues:") || written.ends_with("ifexists");
    let bare = written.split_once(':').map_or(written.as_str(), |(_, bare)| bare);
    (bare.strip_suffix("ifexists").unwrap_or(bare).to_owned(), passes_missing)
}

fn is_about(condition: &Condition, key: &str) -> bool {
    condition.key.value.eq_ignore_ascii_case(key)
}

fn values(condition: &Condition) -> Vec<String> {
    condition.values.iter().map(|value| value.value.clone()).collect()
}

/// Whether only the own organization, or a person with a second factor, meets the condition.
fn is_own(condition: &Condition) -> bool {
    let (operator, passes_missing) = bare(condition);
    let is_equal = ["stringequals", "stringequalsignorecase", "stringlike"].contains(&operator.as_str());
    let fixed = condition.values.iter().all(|value| !value.value.starts_with(['*', '?']));
    let of_organization =
        ["aws:PrincipalOrgID", "aws:PrincipalOrgPaths"].iter().any(|key| is_about(condition, key));
    let with_factor = is_about(condition, "aws:MultiFactorAuthPresent")
        && operator == "bool"
        && condition.values.iter().all(|value| value.value.eq_ignore_ascii_case("true"));
    !passes_missing && (of_organization && is_equal && fixed || with_factor)
}

/// The admitted principals with a known account, as narrow as the statement and the Denies of the policy make them.
fn callers(document: &Document, statement: &Statement, trusted: &[Trusted]) -> Vec<Caller> {
    let allowed = statement.conditions.iter().filter(|one| {
        let (operator, passes_missing) = bare(one);
        is_about(one, PRINCIPAL_ARN) && !passes_missing && !operator.contains("not") && operator != "null"
    });
    let denied = demanded(document, statement)
        .filter(|one| is_about(one, PRINCIPAL_ARN) && bare(one).0.contains("not"));
    let narrow: Vec<String> = allowed.chain(denied).flat_map(values).collect();
    let named = statement.principals.iter().filter(|list| !list.negated).flat_map(|list| &list.items);
    // The ARN of an identity provider holds the role's own account, but does not admit callers from it.
    let of_principals = named.filter(|(kind, _)| kind == "AWS").filter_map(|(_, who)| {
        let is_whole = !who.value.starts_with("arn:") || who.value.ends_with(":root");
        Some(Caller {
            account: account_of(&who.value)?.to_owned(),
            arn: (!is_whole).then(|| who.value.clone()),
        })
    });
    let mut callers: Vec<Caller> = of_principals.collect();
    for one in trusted {
        if let Trusted::Account(account) = one
            && !callers.iter().any(|caller| caller.account == *account)
        {
            callers.push(Caller { account: account.clone(), arn: None });
        }
    }
    let narrowed = callers.into_iter().flat_map(|caller| {
        let of_account = narrow.iter().filter(|arn| account_of(arn) == Some(caller.account.as_str()));
        let arns: Vec<Caller> = of_account
            .map(|arn| Caller { account: caller.account.clone(), arn: Some(arn.clone()) })
            .collect();
        match (&caller.arn, narrow.is_empty()) {
            (Some(_), _) | (None, true) => vec![caller],
            (None, false) => arns,
        }
    });
    narrowed.collect()
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

/// The principals that `*` stands for: every account, or those that a condition names.
fn anybody(statement: &Statement) -> Vec<Trusted> {
    let Some(condition) = narrowing::narrowed_by(statement) else { return vec![Trusted::Anybody] };
    let accounts: Vec<Trusted> = narrowing::accounts(condition).into_iter().map(Trusted::Account).collect();
    let others = || {
        let values: Vec<&str> = condition.values.iter().map(|value| value.value.as_str()).collect();
        Trusted::Other(format!("{} {}", condition.key.value, values.join(" or ")))
    };
    if accounts.len() == condition.values.len() { accounts } else { vec![others()] }
}

/// The account number in `111122223333` or `arn:aws:iam::111122223333:root`; `None`: there is none.
pub(super) fn account_of(principal: &str) -> Option<&str> {
    let account = match principal.strip_prefix("arn:") {
        Some(arn) => arn.split(':').nth(3)?,
        None => principal,
    };
    (account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())).then_some(account)
}

fn external_ids(document: &Document, statement: &Statement) -> ExternalIds {
    let asked = || statement.conditions.iter().filter(|one| is_about(one, EXTERNAL_ID));
    let demanded = || demanded(document, statement).filter(|one| is_about(one, EXTERNAL_ID));
    let is_null = |one: &Condition, truth: &str| {
        bare(one).0 == "null" && one.values.iter().all(|value| value.value.eq_ignore_ascii_case(truth))
    };
    let must_exist = asked().any(|one| is_null(one, "false")) || demanded().any(|one| is_null(one, "true"));
    let is_plain = |one: &Condition| one.values.iter().all(|value| !value.value.contains(['*', '?']));
    let exact = asked().find(|one| match bare(one) {
        (_, true) if !must_exist => false,
        (operator, _) => match operator.as_str() {
            "stringequals" | "stringequalsignorecase" => true,
            "stringlike" => is_plain(one),
            _ => false,
        },
    });
    // A Deny of every other value also applies to a request without an external id.
    let exact = exact.or_else(|| {
        demanded().find(|one| match bare(one).0.as_str() {
            "stringnotequals" | "stringnotequalsignorecase" => !one.operator.value.contains(':'),
            "stringnotlike" => is_plain(one) && !one.operator.value.contains(':'),
            _ => false,
        })
    });
    let loose = || asked().chain(demanded()).last().map(|one| one.operator.value.clone());
    match exact {
        Some(exact) => ExternalIds::Exact(values(exact)),
        None => loose().map_or(ExternalIds::Unasked, ExternalIds::Loose),
    }
}

/// Whether an attacker could guess this external id. It is no password, but if two customers of a vendor choose the
/// same id, each lets the other's role be assumed.
#[must_use]
pub fn is_guessable(external_id: &str) -> bool {
    let mut letters: Vec<char> = external_id.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    let only_digits = external_id.bytes().all(|byte| byte.is_ascii_digit());
    external_id.chars().count() < GUESSABLE_BELOW || letters.len() < DIFFERENT_LETTERS_MIN || only_digits
}

/// A trust policy that admits this account if its request has this external id.
#[must_use]
pub fn policy(partition: &str, vendor_account: &AccountId, external_id: &str) -> Written {
    let principal = format!("arn:{partition}:iam::{vendor_account}:root");
    Written::trust("VendorWithItsExternalId", &principal, Some((EXTERNAL_ID, external_id)))
}

/// A trust policy for the rotator's own role. It admits the account `from`, with this external id if there is one.
#[must_use]
pub fn rotator_policy(partition: &str, from: &AccountId, external_id: Option<&str>) -> Written {
    let principal = format!("arn:{partition}:iam::{from}:root");
    Written::trust("RotatorFromItsAccount", &principal, external_id.map(|id| (EXTERNAL_ID, id)))
}

#[cfg(test)]
mod tests {
    use super::super::{Purpose, lint};
    use super::*;

    fn of(principal: &str, condition: &str) -> Vec<TrustGrant> {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"{condition}}}}}"#
        );
        doors(&Document::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}: {text}")))
    }

    #[test]
    fn trusted_principals_are_read_in_every_notation() {
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
    fn external_id_conditions_are_read_with_each_operator() {
        let asked = |condition: &str| {
            let condition = format!(r#","Condition":{condition}"#);
            of(r#"{"AWS":"444455556666"}"#, &condition).remove(0).external_ids
        };
        let exact =
            |values: &[&str]| ExternalIds::Exact(values.iter().map(|value| (*value).to_owned()).collect());
        assert_eq!(asked(r#"{"StringEquals":{"sts:ExternalId":"a"}}"#), exact(&["a"]));
        assert_eq!(asked(r#"{"StringEquals":{"STS:externalid":["a","b"]}}"#), exact(&["a", "b"]));
        for condition in [
            r#"{"StringLike":{"sts:ExternalId":"a"}}"#,
            r#"{"StringEqualsIgnoreCase":{"sts:ExternalId":"a"}}"#,
            r#"{"ForAnyValue:StringEquals":{"sts:ExternalId":"a"}}"#,
            r#"{"StringEqualsIfExists":{"sts:ExternalId":"a"},"Null":{"sts:ExternalId":"false"}}"#,
        ] {
            assert_eq!(asked(condition), exact(&["a"]), "{condition}");
        }
        let loose = |operator: &str| ExternalIds::Loose(operator.to_owned());
        assert_eq!(asked(r#"{"StringLike":{"sts:ExternalId":"*"}}"#), loose("StringLike"));
        assert_eq!(
            asked(r#"{"StringEqualsIfExists":{"sts:ExternalId":"a"}}"#),
            loose("StringEqualsIfExists")
        );
        assert_eq!(
            asked(r#"{"ForAllValues:StringEquals":{"sts:ExternalId":"a"}}"#),
            loose("ForAllValues:StringEquals")
        );
        assert_eq!(asked(r#"{"Null":{"sts:ExternalId":"false"}}"#), loose("Null"));
        assert_eq!(asked(r#"{"Bool":{"aws:SecureTransport":"true"}}"#), ExternalIds::Unasked);
    }

    fn with_deny(allow: &str, deny: &str) -> TrustGrant {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":[
            {{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::444455556666:root"}},"Action":"sts:AssumeRole"{allow}}},
            {{"Effect":"Deny","Principal":{{"AWS":"*"}},"Action":"sts:AssumeRole","Condition":{deny}}}]}}"#
        );
        doors(&Document::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}: {text}"))).remove(0)
    }

    #[test]
    fn a_deny_for_other_external_ids_requires_the_external_id() {
        let exact = ExternalIds::Exact(vec!["a".to_owned()]);
        for operator in ["StringNotEquals", "StringNotLike", "StringNotEqualsIfExists"] {
            let deny = format!(r#"{{"{operator}":{{"sts:ExternalId":"a"}}}}"#);
            assert_eq!(with_deny("", &deny).external_ids, exact, "{operator}");
        }
        let null = r#"{"Null":{"sts:ExternalId":"true"}}"#;
        assert_eq!(with_deny("", null).external_ids, ExternalIds::Loose("Null".to_owned()));
        let if_exists = r#","Condition":{"StringEqualsIfExists":{"sts:ExternalId":"a"}}"#;
        assert_eq!(with_deny(if_exists, null).external_ids, exact);
        let both = r#"{"StringNotEquals":{"sts:ExternalId":"a","aws:PrincipalTag/x":"y"}}"#;
        assert_eq!(with_deny("", both).external_ids, ExternalIds::Unasked, "both must be so");
    }

    #[test]
    fn an_arn_in_a_condition_limits_the_callers_of_a_role() {
        let arn = "arn:aws:iam::444455556666:role/x";
        let one = |door: TrustGrant| door.callers.into_iter().map(|caller| caller.arn).collect::<Vec<_>>();
        let allowed = format!(r#","Condition":{{"ArnLike":{{"aws:PrincipalArn":"{arn}"}}}}"#);
        assert_eq!(one(of(r#"{"AWS":"444455556666"}"#, &allowed).remove(0)), [Some(arn.to_owned())]);
        assert_eq!(one(of(&format!(r#"{{"AWS":"{arn}"}}"#), "").remove(0)), [Some(arn.to_owned())]);
        assert_eq!(one(of(r#"{"AWS":"444455556666"}"#, "").remove(0)), [None]);
        let deny = format!(r#"{{"ArnNotEquals":{{"aws:PrincipalArn":"{arn}"}}}}"#);
        assert_eq!(one(with_deny("", &deny)), [Some(arn.to_owned())]);
    }

    #[test]
    fn short_or_simple_external_ids_are_guessable() {
        for bad in ["acme", "1234567890123456", "aaaaaaaaaaaaaaaaaaaaaaaa", "111122223333", ""] {
            assert!(is_guessable(bad), "{bad}");
        }
        assert!(!is_guessable("7d1b9c1e-0a35-4a5b-9a93-2f5c7e1f9d20"));
    }

    #[test]
    fn the_generated_trust_policy_requires_the_id_and_has_no_finding() {
        let vendor: AccountId = "444455556666".parse().expect("an account");
        let text = policy("aws", &vendor, "7d1b9c1e-0a35-4a5b").to_json();
        let document = Document::parse(&text).expect("a policy");
        assert!(lint(&document, Purpose::ThirdParty).is_empty(), "{text}");
        let door = &doors(&document)[0];
        assert_eq!(door.trusted, [Trusted::Account("444455556666".to_owned())]);
        assert_eq!(door.external_ids, ExternalIds::Exact(vec!["7d1b9c1e-0a35-4a5b".to_owned()]));
    }
}
