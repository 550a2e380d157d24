//! Web identity: whether a role opens for one identity of a provider, or for whoever has a token of it.
//!
//! Which issuers are everybody's, and that a subject must be asked for, follows "Identity-provider controls for
//! shared OIDC providers" in the IAM User Guide. IAM demands it of new trust policies; old ones stay as they are.
//!
//! **Invariant:** accused is only what opens for others for certain: an audience that its owner alone can get a
//! token for is enough, and so is a claim of whose meaning nothing is known.

use super::{Condition, Document, Effect, Span, Statement};

const ASSUMES: &str = "sts:AssumeRoleWithWebIdentity";
/// Everybody's issuers, where whoever asks for a token chooses its audience; and a subject as each writes it.
const SHARED: [(&str, &str); 4] = [
    ("token.actions.githubusercontent.com", "repo:ORG/REPO:ref:refs/heads/main"),
    ("gitlab.com", "project_path:GROUP/PROJECT:ref_type:branch:ref:main"),
    ("app.terraform.io", "organization:ORG:project:PROJECT:workspace:WORKSPACE:run_phase:apply"),
    ("agent.buildkite.com", "organization:ORG:pipeline:PIPELINE:ref:refs/heads/main:*"),
];
/// What everybody can have in a token: how it was asked for, not who asked.
const OF_ANYBODY: [&str; 5] = ["amr", "environment", "iss", "ref", "workflow"];
/// The audience of tokens that are for AWS: of everybody's.
const FOR_AWS: &str = "sts.amazonaws.com";
/// What the subjects of a cluster all begin with.
const OF_CLUSTER: &str = "system:serviceaccount:";

/// A door that every token of a provider opens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnyToken {
    /// Such as `token.actions.githubusercontent.com`.
    pub provider: String,
    /// What is asked for, as it is written: no one identity.
    pub asked: Vec<String>,
    /// Where the provider stands.
    pub span: Span,
}

impl AnyToken {
    /// The condition that is missing.
    #[must_use]
    pub fn wanted(&self) -> String {
        let subject = SHARED.iter().find(|(issuer, _)| *issuer == self.provider);
        let subject = subject.map_or("SUBJECT", |(_, subject)| *subject);
        let operator = if subject.contains('*') { "StringLike" } else { "StringEquals" };
        format!("{{\"{operator}\": {{\"{}:sub\": \"{subject}\"}}}}", self.provider)
    }

    /// What is so, as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let asked = match self.asked.as_slice() {
            [] => "nothing is asked of it".to_owned(),
            asked => format!("all that is asked of it is {}", asked.join(" and ")),
        };
        format!("every token of {} opens it: {asked}", self.provider)
    }
}

/// The doors that every token of their provider opens.
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

/// The issuer of `arn:aws:iam::111122223333:oidc-provider/HOST/PATH`, or one that AWS knows by its name. Who comes
/// by SAML is somebody of one's own directory.
fn issuer(principal: &str) -> Option<&str> {
    match principal.split_once(":oidc-provider/") {
        Some((_, issuer)) => Some(issuer),
        None => (!principal.starts_with("arn:")).then_some(principal),
    }
}

/// A Deny for everybody but somebody.
fn shuts_out(statement: &Statement, provider: &str) -> bool {
    matches!(statement.conditions.as_slice(), [only] if names_somebody(only, provider, true))
}

/// Whether a token meets the condition (or, turned round, does not) only if it is of somebody whom it names.
fn names_somebody(condition: &Condition, provider: &str, negated: bool) -> bool {
    let key = condition.key.value.to_ascii_lowercase();
    let Some((issuer, claim)) = key.rsplit_once(':') else { return false };
    let is_shared = SHARED.iter().any(|(shared, _)| *shared == provider);
    let Some(operator) = operator(condition, claim) else { return false };
    let says = |value: &str| match (claim, operator) {
        ("aud", _) => !is_shared && value != FOR_AWS && !value.starts_with(['*', '?']),
        // The operator for equality takes a wildcard for what it is, a letter.
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

/// The operator without what stands around it, where that makes no difference. A token always has a subject, so one
/// that also passes without (`…IfExists`, `ForAllValues:…`) demands it nevertheless.
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

/// Whether a pattern says whose. `repo:*` and `repo:acme*` are others' too: the name must have ended before the
/// first wildcard.
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
    fn a_role_that_asks_for_no_one_identity_is_open() {
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
    fn a_role_that_asks_whose_token_it_is_is_not() {
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
    fn a_deny_for_all_others_shuts_the_door() {
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
