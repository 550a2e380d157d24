//! References to secrets: the configuration says where a secret is stored, and never holds the secret itself.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The place that a secret is read from when it is needed.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SecretRef {
    /// `env:NAME`: an environment variable.
    Env(String),
    /// `file:/path`: a file that only its owner can read.
    File(PathBuf),
    /// `credential:NAME`: the file with that name in `$CREDENTIALS_DIRECTORY` (systemd `LoadCredential`).
    Credential(String),
    /// `secretsmanager:ID` or `secretsmanager:ID#/json/pointer`: AWS Secrets Manager.
    SecretsManager {
        /// The secret's name or ARN.
        id: String,
        /// An RFC 6901 pointer to a value, if the secret is a JSON document.
        pointer: Option<String>,
    },
    /// `ssm:NAME`: SSM Parameter Store; the value is decrypted.
    Ssm(String),
}

/// The five forms of a reference, for messages.
pub const FIVE_WAYS: &str = "env:NAME, file:/path, credential:NAME, secretsmanager:ID or ssm:NAME";

/// A text that is not a valid reference. The text may be a secret itself, so the error does not repeat it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadSecretRef {
    /// The text has none of the five forms: it may be the secret itself.
    #[error("a secret is never written in this file, it is referred to: {FIVE_WAYS}")]
    Literal,
    /// `file:` with a relative path.
    #[error("file: with a relative path: the folder that keyround is started in can be any")]
    Relative,
    /// One of the five forms without a name after the colon, or with an invalid one.
    #[error("the reference does not say which secret: {FIVE_WAYS}")]
    Incomplete,
}

impl FromStr for SecretRef {
    type Err = BadSecretRef;

    fn from_str(text: &str) -> Result<SecretRef, BadSecretRef> {
        let (way, name) = text.split_once(':').ok_or(BadSecretRef::Literal)?;
        let complete =
            |ok: bool, reference: SecretRef| if ok { Ok(reference) } else { Err(BadSecretRef::Incomplete) };
        match way {
            "env" => complete(!name.is_empty() && !name.contains('='), SecretRef::Env(name.to_owned())),
            "file" if !name.is_empty() && !name.starts_with('/') => Err(BadSecretRef::Relative),
            "file" => complete(name.starts_with('/'), SecretRef::File(PathBuf::from(name))),
            "credential" => {
                let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
                complete(plain, SecretRef::Credential(name.to_owned()))
            }
            "secretsmanager" => {
                let (id, pointer) = match name.split_once('#') {
                    Some((id, pointer)) => (id, Some(pointer.to_owned())),
                    None => (name, None),
                };
                let leads_somewhere = pointer.as_ref().is_none_or(|path| path.starts_with('/'));
                complete(
                    !id.is_empty() && leads_somewhere,
                    SecretRef::SecretsManager { id: id.to_owned(), pointer },
                )
            }
            "ssm" => complete(!name.is_empty(), SecretRef::Ssm(name.to_owned())),
            _ => Err(BadSecretRef::Literal),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "env:{name}"),
            SecretRef::File(path) => write!(f, "file:{}", path.display()),
            SecretRef::Credential(name) => write!(f, "credential:{name}"),
            SecretRef::SecretsManager { id, pointer: None } => write!(f, "secretsmanager:{id}"),
            SecretRef::SecretsManager { id, pointer: Some(pointer) } => {
                write!(f, "secretsmanager:{id}#{pointer}")
            }
            SecretRef::Ssm(name) => write!(f, "ssm:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_secret_reference_round_trips_through_text() {
        for text in [
            "env:TOKEN",
            "file:/etc/keyround/token",
            "credential:acme-webhook",
            "secretsmanager:prod/acme#/token",
            "secretsmanager:prod/acme",
            "ssm:/prod/acme",
        ] {
            let reference: SecretRef = text.parse().expect("a reference");
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn a_literal_is_refused_and_not_repeated() {
        assert_eq!("file:relative".parse::<SecretRef>(), Err(BadSecretRef::Relative));
        for text in ["whsec_c2VjcmV0", "hunter2", "postgres://user:pass@host/db"] {
            let refusal = text.parse::<SecretRef>().expect_err("a literal");
            assert_eq!(refusal, BadSecretRef::Literal);
            assert!(!refusal.to_string().contains(text));
        }
        for text in ["env:", "credential:../x", "secretsmanager:#/x", "ssm:"] {
            assert_eq!(text.parse::<SecretRef>(), Err(BadSecretRef::Incomplete), "{text}");
        }
    }
}
