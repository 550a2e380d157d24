//! The credentials of the rotator: from the standard chain, from an assumed role, or none.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use keyround::adapters::aws::AwsSession;
use keyround::core::ids::IamUserName;
use keyround::core::rotation::RefusalCode;
use keyround::ports::Accounts;

use super::{OTHER_ACCOUNT, accounts, calls, emulator, hasty, refusal, settings, with_role, with_role_over};
use crate::support::moto::Rule;

#[tokio::test]
async fn a_role_is_assumed_once_with_its_external_id_and_reused() {
    let role = format!("arn:aws:iam::{OTHER_ACCOUNT}:role/rotator-kept");
    emulator().seed_role(&role, Some("the-right-one"));
    emulator().seed_user_in(OTHER_ACCOUNT, "assumed-user", 30.0);
    let (accounts, name) = with_role(&role, Some("the-right-one"));
    let iam = accounts.iam(Some(&name));
    let user = "assumed-user".parse().expect("a name");
    assert_eq!(iam.list_keys(&user).await.expect("a list").len(), 1);
    assert_eq!(iam.list_keys(&user).await.expect("a list").len(), 1);
    assert_eq!(iam.account_id().await.expect("asked").as_str(), OTHER_ACCOUNT);
    assert_eq!(iam.account_id().await.expect("remembered").as_str(), OTHER_ACCOUNT);
    assert_eq!(emulator().calls_about(&role).len(), 1, "credentials are kept");
    let listed = calls("iam:ListAccessKeys", &user);
    assert!(listed[0].signer.as_ref().is_some_and(|key| key.starts_with("ASIA")), "{listed:?}");
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_is_a_refusal_that_names_it() {
    let role = format!("arn:aws:iam::{OTHER_ACCOUNT}:role/rotator-denied");
    emulator().seed_role(&role, Some("the-right-one"));
    for external_id in [None, Some("the-wrong-one")] {
        let (accounts, name) = with_role(&role, external_id);
        let iam = accounts.iam(Some(&name));
        let answer = iam.create_key(&"whoever".parse().expect("a name")).await;
        let sentence = refusal(answer, RefusalCode::NotSent);
        assert!(sentence.contains(&role) && sentence.contains("external_id"), "{sentence}");
        assert!(!sentence.contains("the-wrong-one"), "{sentence}");
    }
}

#[tokio::test]
async fn an_unanswered_assume_role_call_counts_as_not_sent() {
    let role = format!("arn:aws:iam::{OTHER_ACCOUNT}:role/rotator-silent");
    emulator().order(&Rule::hang("sts:AssumeRole").about(&role).times(9));
    let (accounts, name) = with_role_over(&hasty(&settings()), &role, None);
    let answer = accounts.iam(Some(&name)).create_key(&"unsent".parse().expect("a name")).await;
    let sentence = refusal(answer, RefusalCode::NotSent);
    assert!(sentence.contains(&role), "{sentence}");
    assert!(emulator().calls_about("unsent").is_empty());
}

#[tokio::test]
async fn without_credentials_nothing_is_sent_and_the_sentence_says_so() {
    let session = AwsSession::new(&settings()).with_credentials(Nothing);
    let iam = accounts(&Arc::new(session)).iam(None);
    let user: IamUserName = "no-credentials".parse().expect("a name");
    let sentence = refusal(iam.create_key(&user).await, RefusalCode::NotSent);
    assert!(sentence.contains("no AWS credentials"), "{sentence}");
    assert!(emulator().calls_about(user.as_str()).is_empty());
}

#[test]
fn the_standard_chain_finds_credentials_and_the_configured_endpoint_wins() {
    emulator().seed_user("iam-chain", 10.0);
    let dead_end = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1".to_owned());
    let mut environment = emulator().env();
    environment.extend([dead_end]);
    assert_eq!(listed_by_the_program_with(&environment, ""), Ok(1));

    environment.retain(|name, _| !name.contains("ACCESS_KEY"));
    let sentence = listed_by_the_program_with(&environment, "").expect_err("no credentials");
    assert!(sentence.contains("no AWS credentials"), "{sentence}");

    let files = tempfile::tempdir().expect("a directory");
    let credentials = files.path().join("credentials");
    let profile = "[it]\naws_access_key_id = testing\naws_secret_access_key = testing\n";
    std::fs::write(&credentials, profile).expect("it is written");
    environment.insert("AWS_SHARED_CREDENTIALS_FILE", credentials.display().to_string());
    assert_eq!(listed_by_the_program_with(&environment, "profile = \"it\""), Ok(1));
}

/// The number of keys that the program lists in that environment and no other, or else its error message.
fn listed_by_the_program_with(
    environment: &BTreeMap<&'static str, String>,
    in_aws: &str,
) -> Result<usize, String> {
    let folder = tempfile::tempdir().expect("a directory");
    let config = folder.path().join("rotation.toml");
    let text = format!(
        "[aws]\nendpoint_url = \"{}\"\n{in_aws}\n[vendor.chain]\niam_user = \"iam-chain\"\n\
         [[vendor.chain.deliver]]\nkind = \"webhook\"\nurl = \"https://chain.example/\"\nsecret = \"env:NONE\"\n",
        emulator().url()
    );
    std::fs::write(&config, text).expect("it is written");
    let ran = Command::new(env!("CARGO_BIN_EXE_keyround"))
        .args(["status", "--format", "json", "--config"])
        .arg(&config)
        .current_dir(folder.path())
        .env_clear()
        .envs(environment)
        .output()
        .expect("it runs");
    let shown: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("a status");
    let chain = &shown["vendors"][0];
    match chain["keys"].as_array().map_or(0, Vec::len) {
        0 => Err(chain["sentence"].as_str().expect("a sentence").to_owned()),
        keys => Ok(keys),
    }
}

/// A standard chain that finds no credentials.
#[derive(Debug)]
struct Nothing;

impl ProvideCredentials for Nothing {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded_no_source()))
    }
}
