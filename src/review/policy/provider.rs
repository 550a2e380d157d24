//! Web identity: decides whether a role admits one identity of an identity provider, or every token that the
//! provider issues.
//!
//! The list of shared issuers, and the rule that a subject must be asked for, follow "Identity-provider controls
//! for shared OIDC providers" in the IAM User Guide. IAM demands a subject in new trust policies; older ones stay
//! as they are.
//!
//! **Invariant:** a statement is reported only if it certainly admits others. A condition on an audience for which
//! only its owner can get a token is enough to pass, and so is a condition on a claim whose meaning is not known.

use super::{Condition, Document, Effect, Span, Statement};

const ASSUMES: &str = "sts:AssumeRoleWithWebIdentity";
/// Shared issuers, where whoever asks for a token chooses its audience, each with an example of a subject.
const SHARED: [(&str, &str); 4] = [
    ("token.actions.githubusercontent.com", "repo:ORG/REPO:ref:refs/heads/main"),
    ("gitlab.com", "project_path:GROUP/PROJECT:ref_type:branch:ref:main"),
    ("app.terraform.io", "organization:ORG:project:PROJECT:workspace:WORKSPACE:run_phase:apply"),
    ("agent.buildkite.com", "organization:ORG:pipeline:PIPELINE:ref:refs/heads/main:*"),
];
/// Claims that do not identify the caller: everybody can get a token with any value of them.
const OF_ANYBODY: [&str; 5] = ["amr", "environment", "iss", "ref", "workflow"];
/// The usual audience of tokens for AWS. Every user of an issuer can get a token with it, so it identifies nobody.
const FOR_AWS: &str = "sts.amazonaws.com";
/// The prefix of every subject that a Kubernetes cluster issues.
const OF_CLUSTER: &str = "system:serviceaccount:";

/// A statement that admits every token of an identity provider.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnyToken {
    /// The issuer, such as `token.actions.githubusercontent.com`.
    pub provider: String,
    /// The conditions of the statement as they are written, none of which names one identity.
    pub asked: Vec<String>,
    /// The place of the provider in the policy's text.
    pub span: Span,
}

impl AnyToken {
    /// The condition that is missing, as JSON with placeholders.
    #[must_use]
    pub fn wanted(&self) -> String {
        let subject = SHARED.iter().find(|(issuer, _)| *issuer == self.provider);
        let subject = subject.map_or("SUBJECT", |(_, subject)| *subject);
        let operator = if subject.contains('*') { "StringLike" } else { "StringEquals" };
        format!("{{\"{operator}\": {{\"{}:sub\": \"{subject}\"}}}}", self.provider)
    }

    /// The finding as a sentence, without its full stop.
    #[must_use]
    pub fn sentence(&self) -> String {
        let asked = match self.asked.as_slice() {
            [] => "nothing is asked of it".to_owned(),
            asked => format!("all that is asked of it is {}", asked.join(" and ")),
        };
        format!("every token of {} opens it: {asked}", self.provider)
    }
}

/// The statements of a trust policy that admit every token of their provider.
#[must_use]
pub fn any_token(document: &Document) -> Vec<AnyToken> {
    let assumes = |effect: Effect| {
        document.statements.iter().filter(move |one| one.effect == effect && one.actions.covers(ASSUMES))
    };
    let mut found = Vec::new();
    for statement in assumes(Effect::Allow) {
        let principals = statement.principals.iter().filter(|list| !list.negated);
        let federated = principals.flat_map(|list| &list.items).filter(|(kind, _)| kind == "Federated");
        for (_, who) in federated {
            let Some(provider) = issuer(&who.value) else { continue };
            let is_shut = statement.conditions.iter().any(|one| names_somebody(one, provider, false))
                || assumes(Effect::Deny).any(|one| shuts_out(one, provider));
            if !is_shut {
                let asked = statement.conditions.iter().map(in_words).collect();
                found.push(AnyToken { provider: provider.to_owned(), asked, span: who.span });
            }
        }
    }
    found
}

/// The issuer of `arn:aws:iam::111122223333:oidc-provider/HOST/PATH`, or a provider that AWS knows by its name.
/// `None` for a SAML provider: its users belong to the account owner's own directory.
fn issuer(principal: &str) -> Option<&str> {
    match principal.split_once(":oidc-provider/") {
        Some((_, issuer)) => Some(issuer),
        None => (!principal.starts_with("arn:")).then_some(principal),
    }
}

/// Whether this is a Deny for every token except those of one identity.
fn shuts_out(statement: &Statement, provider: &str) -> bool {
    matches!(statement.conditions.as_slice(), [only] if names_somebody(only, provider, true))
}

/// Whether the condition limits tokens to identities that it names. `negated`: the condition belongs to a Deny, so
/// every other token must meet it.
fn names_somebody(condition: &Condition, provider: &str, negated: bool) -> bool {
    let key = condition.key.value.to_ascii_lowercase();
    let Some((issuer, claim)) = key.rsplit_once(':') else { return false };
    let is_shared = SHARED.iter().any(|(shared, _)| *shared == provider);
    let Some(operator) = operator(condition, claim) else { return false };
    let says = |value: &str| match (claim, operator) {
        ("aud", _) => !is_shared && value != FOR_AWS && !value.starts_with(['*', '?']),
        // `StringEquals` takes a wildcard literally.
        (_, "stringequals" | "stringequalsignorecase") if !negated => true,
        (_, "stringnotequals") if negated => true,
        (_, "stringlike") if !negated => names_one(value, is_shared),
        (_, "stringnotlike") if negated => names_one(value, is_shared),
        _ => false,
    };
    issuer == provider.to_ascii_lowercase()
        && !OF_ANYBODY.contains(&claim)
        && !condition.values.is_empty()
        && condition.values.iter().all(|value| says(&value.value))
}

/// The operator without its set prefix and `IfExists`, where these make no difference; `None`: it is another
/// operator. A token always has a subject, so for `sub` an operator that accepts a missing key (`…IfExists`,
/// `ForAllValues:…`) demands it all the same.
fn operator(condition: &Condition, claim: &str) -> Option<&'static str> {
    const KNOWN: [&str; 5] =
        ["stringequals", "stringequalsignorecase", "stringlike", "stringnotequals", "stringnotlike"];
    let written = condition.operator.value.to_ascii_lowercase();
    let bare = written.strip_prefix("foranyvalue:").unwrap_or(&written);
    let bare = match claim {
        "sub" => {
            let bare = bare.strip_prefix("forallvalues:").unwrap_or(bare);
            bare.strip_suffix("ifexists").unwrap_or(bare)
        }
        _ => bare,
    };
    KNOWN.into_iter().find(|known| *known == bare)
}

/// Whether the pattern names the owner. `repo:*` and `repo:acme*` also match the repositories of others, so the
/// owner's name must end before the first wildcard.
fn names_one(pattern: &str, is_shared: bool) -> bool {
    let Some(wild) = pattern.find(['*', '?']) else { return true };
    let literal = &pattern[..wild];
    if is_shared {
        let name = literal.split_once(':').map_or(literal, |(_, name)| name);
        return name.find(['/', ':']).is_some_and(|end| end > 0);
    }
    let rest = pattern.strip_prefix(OF_CLUSTER).unwrap_or(pattern);
    rest.contains(|letter: char| letter.is_ascii_alphanumeric())
}

fn in_words(condition: &Condition) -> String {
    let values: Vec<&str> = condition.values.iter().map(|value| value.value.as_str()).collect();
    format!("{} {} {}", condition.key.value, condition.operator.value, values.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GITHUB: &str = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com";

    #[track_caller]
    fn check(principal: &str, condition: &str, is_open: bool) {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"Federated":"{principal}"}},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{condition}}}]}}"#
        );
        let document = Document::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}: {text}"));
        assert_eq!(any_token(&document).len(), usize::from(is_open), "{text}");
    }

    fn github(condition: &str, is_open: bool) {
        check(GITHUB, &condition.replace("GH:", "token.actions.githubusercontent.com:"), is_open);
    }

    #[test]
    fn a_federated_role_without_an_identity_condition_is_open() {
        for condition in [
            r#"{"StringEquals":{"GH:aud":"sts.amazonaws.com"}}"#,
            r#"{"StringEquals":{"GH:aud":"https://github.com/acme"}}"#,
            r#"{"StringLike":{"GH:sub":"*"}}"#,
            r#"{"StringLike":{"GH:sub":"repo:*"}}"#,
            r#"{"StringLike":{"GH:sub":"repo:acme*"}}"#,
            r#"{"StringLike":{"GH:sub":["repo:acme/app:*","repo:*/app:*"]}}"#,
            r#"{"StringLike":{"GH:sub":"*:ref:refs/heads/main"}}"#,
            r#"{"StringNotLike":{"GH:sub":"repo:evil/*"}}"#,
            r#"{"StringEquals":{"GH:ref":"refs/heads/main"}}"#,
            r#"{"StringEquals":{"gitlab.com:sub":"project_path:acme/app:ref_type:branch:ref:main"}}"#,
        ] {
            github(condition, true);
        }
        let cluster =
            "arn:aws:iam::111122223333:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633";
        let of_cluster = |condition: &str, is_open| {
            let issuer = "oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633:";
            check(cluster, &condition.replace("EKS:", issuer), is_open);
        };
        of_cluster(r#"{"StringEquals":{"EKS:aud":"sts.amazonaws.com"}}"#, true);
        of_cluster(r#"{"StringLike":{"EKS:sub":"system:serviceaccount:*:*"}}"#, true);
        of_cluster(r#"{"StringLike":{"EKS:sub":"system:serviceaccount:build:*"}}"#, false);
    }

    #[test]
    fn a_federated_role_with_an_identity_condition_is_not_open() {
        for condition in [
            r#"{"StringEquals":{"GH:aud":"sts.amazonaws.com","GH:sub":"repo:acme/app:environment:prod"}}"#,
            r#"{"StringLike":{"GH:sub":"repo:acme/*"}}"#,
            r#"{"ForAllValues:StringLike":{"GH:sub":"repo:acme/app:*"}}"#,
            r#"{"StringEquals":{"GH:repository_id":"123456789"}}"#,
        ] {
            github(condition, false);
        }
        let pool = r#"{"StringEquals":{"cognito-identity.amazonaws.com:aud":"eu-west-1:12345678-abcd"}}"#;
        check("cognito-identity.amazonaws.com", pool, false);
        check("accounts.google.com", r#"{"StringEquals":{"accounts.google.com:aud":"66677788"}}"#, false);
        check(
            "arn:aws:iam::111122223333:saml-provider/own",
            r#"{"Bool":{"aws:SecureTransport":"true"}}"#,
            false,
        );
    }

    #[test]
    fn a_deny_for_all_other_subjects_closes_a_federated_role() {
        let with = |operator: &str| {
            let text = format!(
                r#"{{"Version":"2012-10-17","Statement":[
                {{"Effect":"Allow","Principal":{{"Federated":"{GITHUB}"}},"Action":"sts:AssumeRoleWithWebIdentity"}},
                {{"Effect":"Deny","Principal":"*","Action":"sts:*","Condition":{{"{operator}":{{"token.actions.githubusercontent.com:sub":"repo:acme/*"}}}}}}]}}"#
            );
            any_token(&Document::parse(&text).expect("a policy")).len()
        };
        assert_eq!((with("StringNotLike"), with("StringLike")), (0, 1));
    }
}
