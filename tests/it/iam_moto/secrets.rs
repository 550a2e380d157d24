//! Secrets that AWS stores: Secrets Manager and the Parameter Store.

use keyround::adapters::secrets::Secrets;
use keyround::core::secret::Secret;
use keyround::ports::SecretSource;

use super::{emulator, session, settings};
use crate::support::moto::Rule;

#[tokio::test]
async fn secrets_are_read_from_aws() {
    emulator().seed_secret("it/whole", "canary-whole");
    emulator().seed_secret("it/json", r#"{"acme":{"token":"canary-token"}}"#);
    emulator().seed_parameter("/it/parameter", "canary-parameter");
    let secrets = Secrets::new(&session(&settings()));
    for (reference, value) in [
        ("secretsmanager:it/whole", "canary-whole"),
        ("secretsmanager:it/json#/acme/token", "canary-token"),
        ("ssm:/it/parameter", "canary-parameter"),
    ] {
        let read = secrets.resolve(&reference.parse().expect("a reference")).await;
        assert_eq!(read, Ok(Secret::from(value)), "{reference}");
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_named_and_not_quoted() {
    emulator().seed_secret("it/quoted", r#"{"token":"canary-token"}"#);
    emulator().order(&Rule::error("secretsmanager:GetSecretValue", 400, "AccessDenied").about("it/denied"));
    let secrets = Secrets::new(&session(&settings()));
    for (reference, fault) in [
        ("secretsmanager:it/no-such", "no such secret"),
        ("secretsmanager:it/denied", "may not read it"),
        ("secretsmanager:it/quoted#/other", "nothing stands at /other"),
        ("ssm:/it/no-such", "no such secret"),
    ] {
        let read = secrets.resolve(&reference.parse().expect("a reference")).await;
        let sentence = read.expect_err("it cannot be read");
        assert!(sentence.starts_with(reference) && sentence.contains(fault), "{sentence}");
        assert!(!sentence.contains("canary"), "{sentence}");
    }
}
