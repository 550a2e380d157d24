//! The calls to AWS, against moto, which is as strict as AWS and fails on order. Proves promises 5, 6 and 9 of
//! `src/lib.rs` at the adapter.
//!
//! The tests share one emulator. Each test has its own users, and its rules apply only to those.

mod emulator;
mod identity;
mod secrets;
mod witnesses;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use keyround::adapters::aws::iam::AwsAccounts;
use keyround::adapters::aws::{AwsSession, Deadlines};
use keyround::config::settings::{AccountSettings, AwsSettings};
use keyround::core::ids::{AccessKeyId, AccountName, IamUserName};
use keyround::core::rotation::{KeyStatus, KeyUsage, RefusalCode};
use keyround::core::secret::Secret;
use keyround::ports::{Accounts, Answer, Fault, Iam};

use crate::support::moto::{ACCOUNT, Call, Emulator, Rule};

const OTHER_ACCOUNT: &str = "111122223333";

#[tokio::test]
async fn the_iam_calls_carry_a_key_from_creation_to_deletion() {
    let (user, old, _) = seeded("life", 97.0);
    let iam = ambient();
    let keys = iam.list_keys(&user).await.expect("a list");
    assert_eq!(keys.len(), 1);
    assert_eq!((&keys[0].id, keys[0].status), (&old, KeyStatus::Active));

    let new = iam.create_key(&user).await.expect("a second key");
    assert!(new.request_id.is_some_and(|id| !id.is_empty()));
    let listed = iam.list_keys(&user).await.expect("a list");
    assert_eq!(listed.len(), 2);
    assert!(listed[1].created_at.days_since(listed[0].created_at) >= 96);

    assert_eq!(iam.usage(&new.id).await, Ok(KeyUsage::Never));
    let who = iam.identify(&new.id, &new.secret).await.expect("it signs");
    assert_eq!(who.arn, format!("arn:aws:iam::{ACCOUNT}:user/{user}"));
    assert_eq!(who.account_id.as_str(), ACCOUNT);
    let usage = iam.usage(&new.id).await.expect("known");
    assert!(matches!(usage, KeyUsage::Used { service, .. } if service == "sts"));

    let inactive = iam.set_status(&user, &old, KeyStatus::Inactive).await.expect("it is set");
    assert!(inactive.is_some());
    assert_eq!(status_of(&user, &old), "Inactive");
    iam.set_status(&user, &old, KeyStatus::Active).await.expect("it is set back");
    assert_eq!(status_of(&user, &old), "Active");
    assert!(iam.delete_key(&user, &old).await.expect("it is deleted").is_some());
    assert_eq!(status_of(&user, &old), "Deleted");
    assert_eq!(iam.usage(&old).await, Ok(KeyUsage::Gone));
}

#[tokio::test]
async fn every_page_of_keys_is_read() {
    let (user, ..) = seeded("pages", 10.0);
    let iam = ambient();
    iam.create_key(&user).await.expect("a second key");
    emulator().order(&Rule::page("iam:ListAccessKeys", 1).about(user.as_str()));
    assert_eq!(iam.list_keys(&user).await.expect("a list").len(), 2);
    assert_eq!(calls("iam:ListAccessKeys", &user).len(), 2);
}

#[tokio::test]
async fn every_page_of_users_is_read() {
    let path = "/vendors/paged/";
    for number in 0..5 {
        emulator().seed_user_under(path, &format!("paged-{number}"));
    }
    emulator().order(&Rule::page("iam:ListUsers", 2).about(path));
    let users = ambient().users_under(path).await.expect("a list");
    let names: Vec<_> = users.iter().map(IamUserName::as_str).collect();
    assert_eq!(names, ["paged-0", "paged-1", "paged-2", "paged-3", "paged-4"]);
    assert_eq!(emulator().calls_about(path).len(), 3);
}

#[tokio::test]
async fn a_key_list_that_repeats_its_marker_is_unknown() {
    let (user, ..) = seeded("endless", 10.0);
    let page = list_answer("", "<IsTruncated>true</IsTruncated><Marker>again</Marker>");
    emulator().order(&Rule::answer("iam:ListAccessKeys", 200, &page).about(user.as_str()).times(50));
    assert_unknown(&ambient().list_keys(&user).await);
    assert_eq!(calls("iam:ListAccessKeys", &user).len(), 2);
}

#[tokio::test]
async fn an_unrecognised_key_status_counts_as_expired() {
    let (user, key, _) = seeded("status", 10.0);
    for word in ["Expired", "Dormant"] {
        let row = format!(
            "<member><AccessKeyId>{key}</AccessKeyId><Status>{word}</Status>\
             <CreateDate>2026-01-31T00:00:00Z</CreateDate></member>"
        );
        let page = list_answer(&row, "<IsTruncated>false</IsTruncated>");
        emulator().order(&Rule::answer("iam:ListAccessKeys", 200, &page).about(user.as_str()));
        let keys = ambient().list_keys(&user).await.expect("a list");
        assert_eq!(keys[0].status, KeyStatus::Expired, "{word}");
    }
}

#[tokio::test]
async fn a_key_list_row_without_a_date_makes_the_answer_unknown() {
    let (user, key, _) = seeded("rows", 10.0);
    let row = format!("<member><AccessKeyId>{key}</AccessKeyId><Status>Active</Status></member>");
    let page = list_answer(&row, "<IsTruncated>false</IsTruncated>");
    emulator().order(&Rule::answer("iam:ListAccessKeys", 200, &page).about(user.as_str()));
    assert_unknown(&ambient().list_keys(&user).await);
}

#[tokio::test]
async fn a_third_key_is_refused_with_advice() {
    let (user, ..) = seeded("third", 10.0);
    let iam = ambient();
    iam.create_key(&user).await.expect("a second key");
    let sentence = refusal(iam.create_key(&user).await, RefusalCode::LimitExceeded);
    assert!(sentence.contains("two access keys already"), "{sentence}");
    assert!(sentence.contains(user.as_str()) && sentence.contains("request "), "{sentence}");
}

#[tokio::test]
async fn a_missing_user_and_a_missing_key_have_different_codes() {
    let nobody: IamUserName = "nobody-at-all".parse().expect("a name");
    let nothing: AccessKeyId = "AKIANOSUCHKEYATALL00".parse().expect("a key id");
    let iam = ambient();
    refusal(iam.list_keys(&nobody).await, RefusalCode::NoSuchUser);
    refusal(iam.create_key(&nobody).await, RefusalCode::NoSuchUser);
    let (user, ..) = seeded("missing", 10.0);
    let inactive = iam.set_status(&user, &nothing, KeyStatus::Inactive).await;
    refusal(inactive, RefusalCode::NoSuchKey);
    refusal(iam.delete_key(&user, &nothing).await, RefusalCode::NoSuchKey);
}

#[tokio::test]
async fn a_pair_that_fails_to_sign_is_not_usable_and_is_probed_once() {
    let (user, key, secret) = seeded("probe", 10.0);
    let iam = ambient();
    let wrong = Secret::from("canary-wrong-secret");
    let sentence = refusal(iam.identify(&key, &wrong).await, RefusalCode::NotUsable);
    assert!(sentence.contains("SignatureDoesNotMatch") && !sentence.contains("canary"), "{sentence}");
    emulator().set_status(key.as_str(), "Inactive");
    refusal(iam.identify(&key, &secret).await, RefusalCode::NotUsable);
    iam.delete_key(&user, &key).await.expect("it is deleted");
    refusal(iam.identify(&key, &secret).await, RefusalCode::NotUsable);
    let probes = emulator().calls().into_iter().filter(|call| call.signer.as_deref() == Some(key.as_str()));
    assert_eq!(probes.count(), 3);
}

#[tokio::test]
async fn the_probe_uses_the_configured_region_and_our_user_agent() {
    let (_, key, secret) = seeded("region", 10.0);
    let settings = AwsSettings { region: Some("eu-central-1".to_owned()), ..settings() };
    let iam = accounts(&session(&settings)).iam(None);
    iam.identify(&key, &secret).await.expect("it signs");
    let calls = emulator().calls();
    let probe = calls.iter().find(|call| call.signer.as_deref() == Some(key.as_str())).expect("a probe");
    assert_eq!(probe.region.as_deref(), Some("eu-central-1"));
    assert!(probe.user_agent.contains("app/keyround-"), "{}", probe.user_agent);
}

#[tokio::test]
async fn last_used_shows_the_service_that_the_vendor_called() {
    let (_, key, _) = seeded("used", 50.0);
    emulator().set_used(key.as_str(), "s3", 3.0);
    let usage = ambient().usage(&key).await.expect("known");
    assert!(matches!(usage, KeyUsage::Used { service, .. } if service == "s3"));
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_unknown_and_was_sent_once() {
    for (name, rule) in [
        ("lost", Rule::close("iam:CreateAccessKey").after()),
        ("late500", Rule::error("iam:CreateAccessKey", 500, "ServiceFailure").after()),
        ("late503", Rule::error("iam:CreateAccessKey", 503, "ServiceUnavailable").after()),
        ("junk", Rule::answer("iam:CreateAccessKey", 200, "<html>canary</html>").after()),
        ("cut", Rule::answer("iam:CreateAccessKey", 200, "<CreateAccessKeyResponse>").after()),
        ("proxy", Rule::answer("iam:CreateAccessKey", 403, "<html>canary</html>").after()),
    ] {
        let (user, ..) = seeded(name, 10.0);
        emulator().order(&rule.about(user.as_str()).times(5));
        let fault = assert_unknown(&ambient().create_key(&user).await);
        assert!(!fault.contains("canary"), "{fault}");
        let sent = calls("iam:CreateAccessKey", &user);
        assert_eq!(sent.len(), 1, "{name}");
        assert!(sent[0].done && sent[0].mutating, "{name}");
        assert_eq!(emulator().keys(user.as_str()).len(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_create_whose_connection_breaks_before_the_effect_is_unknown() {
    let (user, ..) = seeded("broken", 10.0);
    emulator().order(&Rule::close("iam:CreateAccessKey").about(user.as_str()));
    assert_unknown(&ambient().create_key(&user).await);
    assert_eq!(emulator().keys(user.as_str()).len(), 1);
}

#[tokio::test]
async fn a_call_without_an_answer_by_its_deadline_is_unknown() {
    let (user, key, _) = seeded("silent", 10.0);
    let iam = accounts(&hasty(&settings())).iam(None);
    emulator().order(&Rule::hang("iam:CreateAccessKey").after().about(user.as_str()).times(5));
    assert_unknown(&iam.create_key(&user).await);
    assert_eq!(calls("iam:CreateAccessKey", &user).len(), 1);
    emulator().order(&Rule::hang("iam:DeleteAccessKey").after().about(user.as_str()).times(5));
    assert_unknown(&iam.delete_key(&user, &key).await);
    assert_eq!(calls("iam:DeleteAccessKey", &user).len(), 1);
}

#[tokio::test]
async fn changing_calls_are_sent_once_and_reading_calls_are_retried() {
    let (user, key, _) = seeded("again", 10.0);
    let iam = ambient();
    for action in ["iam:UpdateAccessKey", "iam:ListAccessKeys"] {
        emulator().order(&Rule::error(action, 500, "ServiceFailure").about(user.as_str()));
    }
    assert_unknown(&iam.set_status(&user, &key, KeyStatus::Inactive).await);
    assert_eq!(calls("iam:UpdateAccessKey", &user).len(), 1);
    assert_eq!(iam.list_keys(&user).await.expect("the second answer").len(), 1);
    assert_eq!(calls("iam:ListAccessKeys", &user).len(), 2);
}

#[tokio::test]
async fn a_refused_connection_means_that_nothing_was_sent() {
    let unused = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a free port");
    let settings = AwsSettings { endpoint_url: Some(format!("http://{unused}")), ..settings() };
    let user: IamUserName = "unreached".parse().expect("a name");
    let sentence =
        refusal(accounts(&session(&settings)).iam(None).create_key(&user).await, RefusalCode::NotSent);
    assert!(sentence.contains("cannot be reached"), "{sentence}");
}

#[tokio::test]
async fn aws_refusals_are_reported_with_a_code_and_advice() {
    let (user, ..) = seeded("refused", 10.0);
    let iam = ambient();
    for (code, kind, advice) in [
        ("AccessDenied", RefusalCode::AccessDenied, "grant it"),
        ("ExpiredToken", RefusalCode::AccessDenied, "own credentials"),
        ("InvalidClientTokenId", RefusalCode::AccessDenied, "own credentials"),
        ("EntityTemporarilyUnmodifiable", RefusalCode::Other, "was refused"),
    ] {
        emulator().order(&Rule::error("iam:CreateAccessKey", 403, code).about(user.as_str()));
        let sentence = refusal(iam.create_key(&user).await, kind);
        assert!(sentence.contains(advice) && sentence.contains(code), "{sentence}");
        assert!(
            sentence.starts_with(&format!("iam:CreateAccessKey on user {user}")) || code != "AccessDenied"
        );
    }
    assert_eq!(calls("iam:CreateAccessKey", &user).len(), 4);
    assert_eq!(emulator().keys(user.as_str()).len(), 1);
}

#[tokio::test]
async fn a_throttled_call_is_sent_again_until_its_time_is_up() {
    let (user, ..) = seeded("throttled", 10.0);
    let throttled = |action: &str, about: &str, times| {
        let rule = Rule::error(action, 400, "Throttling").about(about);
        emulator().order(&rule.times(times));
    };
    throttled("iam:CreateAccessKey", user.as_str(), 2);
    ambient().create_key(&user).await.expect("it is made in the end");
    assert_eq!(calls("iam:CreateAccessKey", &user).len(), 3);
    assert_eq!(emulator().keys(user.as_str()).len(), 2);
    // A call that only reads is not repeated by the SDK, past the calls that wait.
    throttled("iam:ListAccessKeys", user.as_str(), 4);
    assert_eq!(ambient().list_keys(&user).await.expect("a list").len(), 2);
    assert_eq!(calls("iam:ListAccessKeys", &user).len(), 5);

    let (refused, ..) = seeded("throttled-on", 10.0);
    throttled("iam:CreateAccessKey", refused.as_str(), u32::MAX);
    let iam = accounts(&hasty(&settings())).iam(None);
    let sentence = refusal(iam.create_key(&refused).await, RefusalCode::Throttled);
    assert!(sentence.contains("more slowly") && sentence.contains("Throttling"), "{sentence}");
    assert!((2..60).contains(&calls("iam:CreateAccessKey", &refused).len()));
    assert_eq!(emulator().keys(refused.as_str()).len(), 1);
}

#[tokio::test]
async fn a_role_whose_credentials_are_throttled_is_assumed_again() {
    let (user, ..) = seeded("assumed-later", 10.0);
    let role = format!("arn:aws:iam::{ACCOUNT}:role/throttled");
    emulator().seed_role(&role, None);
    emulator().order(&Rule::error("sts:AssumeRole", 400, "Throttling").about(&role).times(2));
    let (accounts, name) = with_role(&role, None);
    assert_eq!(accounts.iam(Some(&name)).list_keys(&user).await.expect("a list").len(), 1);
}

#[tokio::test]
async fn the_message_text_of_an_aws_error_is_not_repeated() {
    let (user, ..) = seeded("quoted", 10.0);
    let body = "<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code>\
                <Message>x-amz-security-token:canary</Message></Error><RequestId>r-1</RequestId></ErrorResponse>";
    emulator().order(&Rule::answer("iam:CreateAccessKey", 403, body).about(user.as_str()));
    let fault = ambient().create_key(&user).await.expect_err("a refusal");
    assert!(!format!("{fault:?}").contains("canary"), "{fault:?}");
    assert!(fault.sentence().contains("SignatureDoesNotMatch"), "{}", fault.sentence());
}

#[tokio::test]
async fn an_account_missing_from_the_configuration_is_refused_by_name() {
    let gone: AccountName = "gone".parse().expect("a name");
    let iam = accounts(&session(&settings())).iam(Some(&gone));
    let answer = iam.list_keys(&"whoever".parse().expect("a name")).await;
    let sentence = refusal(answer, RefusalCode::Misconfigured);
    assert!(sentence.contains("gone"), "{sentence}");
}

#[tokio::test]
async fn credentials_of_another_account_than_configured_are_refused() {
    let account = AccountSettings {
        id: Some(OTHER_ACCOUNT.parse().expect("an id")),
        role_arn: None,
        ..AccountSettings::default()
    };
    let name: AccountName = "production".parse().expect("a name");
    let named = BTreeMap::from([(name.clone(), account)]);
    let iam = AwsAccounts::connect(&session(&settings()), &named).iam(Some(&name));
    let sentence = refusal(iam.account_id().await, RefusalCode::OtherAccount);
    assert!(sentence.contains(OTHER_ACCOUNT) && sentence.contains("nothing was changed"), "{sentence}");
}

#[tokio::test]
async fn missing_rights_are_reported_only_from_an_answered_simulation() {
    let (user, ..) = seeded("rights", 10.0);
    let role = format!("arn:aws:iam::{OTHER_ACCOUNT}:role/rotator-simulated");
    emulator().seed_role(&role, None);
    emulator().seed_user_in(OTHER_ACCOUNT, "rights-there", 10.0);
    let (accounts, name) = with_role(&role, None);
    let iam = accounts.iam(Some(&name));
    let user_there = "rights-there".parse().expect("a name");
    assert_eq!(ambient().missing_rights(&user).await, Ok(None), "neither a user nor a role asks");
    assert_eq!(iam.missing_rights(&user_there).await, Ok(None), "moto answers 500 to a simulation");
    let result = |action: &str, decision: &str| {
        format!(
            "<member><EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision></member>"
        )
    };
    let body = format!(
        "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><EvaluationResults>{}{}\
         </EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>",
        result("iam:ListAccessKeys", "allowed"),
        result("iam:DeleteAccessKey", "implicitDeny"),
    );
    emulator().order(&Rule::answer("iam:SimulatePrincipalPolicy", 200, &body));
    let missing = iam.missing_rights(&user_there).await;
    assert_eq!(missing, Ok(Some(vec!["iam:DeleteAccessKey".to_owned()])));
}

#[tokio::test]
async fn the_debug_output_of_a_new_key_hides_its_secret() {
    let (user, ..) = seeded("canary", 10.0);
    let iam = ambient();
    let new = iam.create_key(&user).await.expect("a key");
    let printed = format!("{new:?} {:?}", session(&settings()));
    assert!(!printed.contains(new.secret.expose()), "{printed}");
}

fn emulator() -> &'static Emulator {
    Emulator::shared()
}

/// A user of this test's own, with one key of that age.
fn seeded(name: &str, age_days: f64) -> (IamUserName, AccessKeyId, Secret) {
    let name = format!("iam-{name}");
    let (key, secret) = emulator().seed_user(&name, age_days);
    (name.parse().expect("a name"), key.parse().expect("a key id"), Secret::new(secret))
}

fn settings() -> AwsSettings {
    let region = Some("us-east-1".to_owned());
    AwsSettings { region, endpoint_url: Some(emulator().url()), ..AwsSettings::default() }
}

fn session(settings: &AwsSettings) -> Arc<AwsSession> {
    Arc::new(AwsSession::new(settings).with_credentials(rotator()))
}

/// A session that gives up after a second instead of six.
fn hasty(settings: &AwsSettings) -> Arc<AwsSession> {
    let second = Duration::from_secs(1);
    let deadlines = Deadlines { connect: second, attempt: second, call: second * 4 };
    Arc::new(AwsSession::new(settings).with_credentials(rotator()).with_deadlines(deadlines))
}

fn rotator() -> Credentials {
    Credentials::new("testing", "testing", None, None, "test")
}

fn accounts(session: &Arc<AwsSession>) -> AwsAccounts {
    AwsAccounts::connect(session, &BTreeMap::new())
}

fn ambient() -> Arc<dyn Iam> {
    accounts(&session(&settings())).iam(None)
}

fn with_role(role_arn: &str, external_id: Option<&str>) -> (AwsAccounts, AccountName) {
    with_role_over(&session(&settings()), role_arn, external_id)
}

fn with_role_over(
    session: &Arc<AwsSession>,
    role_arn: &str,
    external_id: Option<&str>,
) -> (AwsAccounts, AccountName) {
    let name: AccountName = "production".parse().expect("a name");
    let account = AccountSettings {
        id: None,
        role_arn: Some(role_arn.to_owned()),
        external_id: external_id.map(str::to_owned),
        cloudtrail: None,
    };
    let named = BTreeMap::from([(name.clone(), account)]);
    (AwsAccounts::connect(session, &named), name)
}

fn calls(action: &str, user: &IamUserName) -> Vec<Call> {
    let mut calls = emulator().calls_about(user.as_str());
    calls.retain(|call| call.action == action);
    calls
}

fn status_of(user: &IamUserName, key: &AccessKeyId) -> String {
    let keys = emulator().keys(user.as_str());
    keys.into_iter().find(|known| known.access_key_id == key.as_str()).expect("the key").status
}

fn list_answer(rows: &str, rest: &str) -> String {
    format!(
        "<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata>{rows}</AccessKeyMetadata>{rest}\
         </ListAccessKeysResult></ListAccessKeysResponse>"
    )
}

#[track_caller]
fn refusal<T: std::fmt::Debug>(answer: Answer<T>, code: RefusalCode) -> String {
    match answer {
        Err(Fault::Refused(refusal)) if refusal.code == code => refusal.sentence,
        other => panic!("{code:?} was expected, not {other:?}"),
    }
}

#[track_caller]
fn assert_unknown<T: std::fmt::Debug>(answer: &Answer<T>) -> String {
    match answer {
        Err(Fault::Unknown(doubt)) => doubt.sentence.clone(),
        other => panic!("a doubt was expected, not {other:?}"),
    }
}
