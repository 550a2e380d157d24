//! Secrets Manager and the Parameter Store as targets from which vendors fetch their pairs, against moto, which
//! fails on order. Each test has its own secrets and parameters.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_ssm::types::{ParameterTier, ParameterType};
use keyround::adapters::aws::{AwsSession, Deadlines};
use keyround::adapters::secrets::Secrets;
use keyround::config::settings::AwsSettings;
use keyround::core::rotation::{Refusal, RefusalCode};
use keyround::ports::{Check, Delivery, Fault, SecretSource as _};
use serde_json::Value;

use crate::support::moto::{Call, Emulator, Rule};
use crate::support::recipe::{self, NEW_KEY, SECRET, Sent, deliver, offer};

const ROLE: &str = "arn:aws:iam::111122223333:role/drops";

#[tokio::test]
async fn a_pair_is_written_to_its_fields_and_the_other_fields_stay() {
    let before = "{\n  \"site\": 7000000000000000000001,\n  \"aws_key\": \"old\",\n  \"note\": \"\\u00fc\" }";
    emulator().seed_secret("drop/fields", before);
    let vendor = vendor(
        "[[vendor.acme.deliver]]\nkind = \"secrets-manager\"\nid = \"drop/fields\"\n\
         fields = { aws_key = \"{{ access_key_id }}\", aws_secret = \"{{ secret_access_key }}\" }\n",
    );
    assert_eq!(deliver(&vendor).await, Ok(()));
    let after = format!(
        "{{\"site\":7000000000000000000001,\"aws_key\":\"AKIANEW0000000000001\",\"note\":\"\\u00fc\",\
         \"aws_secret\":\"{SECRET}\"}}"
    );
    assert_eq!(read("secretsmanager:drop/fields").await, after);
    assert_eq!(
        actions("drop/fields"),
        ["GetSecretValue", "PutSecretValue", "DescribeSecret", "GetSecretValue"]
    );
}

#[tokio::test]
async fn a_repeated_delivery_creates_no_new_secret_version() {
    emulator().seed_secret("drop/repeat", "{}");
    emulator().seed_secret("drop/whole", "anything");
    emulator().seed_parameter("/drop/repeat", "{}");
    let vendor = vendor(
        "[[vendor.acme.deliver]]\nkind = \"secrets-manager\"\nid = \"drop/repeat\"\n\
         [[vendor.acme.deliver]]\nkind = \"secrets-manager\"\nid = \"drop/whole\"\nbody = \"{{ secret_access_key }}\"\n\
         [[vendor.acme.deliver]]\nkind = \"ssm\"\nname = \"/drop/repeat\"\n",
    );
    for _ in 0..3 {
        assert_eq!(deliver(&vendor).await, Ok(()));
    }
    assert_eq!(versions("drop/repeat").await, 2, "the first value, and ours");
    assert_eq!(versions("drop/whole").await, 2, "the first value, and ours");
    assert_eq!(parameter("/drop/repeat").await.version, 2);
    // When the whole secret is written, the permission to read it is not needed.
    assert!(!actions("drop/whole").contains(&"GetSecretValue".to_owned()));
}

#[tokio::test]
async fn a_lost_write_answer_is_unknown_and_the_repeat_writes_nothing() {
    emulator().seed_secret("drop/lost", r#"{"kept":1}"#);
    emulator().seed_parameter("/drop/lost", r#"{"kept":1}"#);
    for (step, call, place) in [
        ("kind = \"secrets-manager\"\nid = \"drop/lost\"", "secretsmanager:PutSecretValue", "drop/lost"),
        ("kind = \"ssm\"\nname = \"/drop/lost\"", "ssm:PutParameter", "/drop/lost"),
    ] {
        let vendor = vendor(&format!("[[vendor.acme.deliver]]\n{step}\n"));
        emulator().order(&Rule::close(call).after().about(place));
        assert!(matches!(deliver(&vendor).await, Err(Fault::Unknown(_))), "{place}");
        assert_eq!(deliver(&vendor).await, Ok(()), "{place}");
        assert_eq!(actions(place).iter().filter(|action| action.starts_with("Put")).count(), 1, "{place}");
    }
    assert_eq!(versions("drop/lost").await, 2);
    assert_eq!(parameter("/drop/lost").await.version, 2);
}

#[tokio::test]
async fn a_secret_changed_between_two_attempts_is_read_again() {
    emulator().seed_secret("drop/moved", r#"{"kept":1}"#);
    let vendor = vendor("[[vendor.acme.deliver]]\nkind = \"secrets-manager\"\nid = \"drop/moved\"\n");
    emulator().order(&Rule::close("secretsmanager:PutSecretValue").after().about("drop/moved"));
    assert!(matches!(deliver(&vendor).await, Err(Fault::Unknown(_))));
    put("drop/moved", r#"{"kept":2,"access_key_id":"somebody else's"}"#).await;
    assert_eq!(deliver(&vendor).await, Ok(()));
    let document: Value = serde_json::from_str(&read("secretsmanager:drop/moved").await).expect("JSON");
    assert_eq!((&document["kept"], &document["access_key_id"]), (&2.into(), &NEW_KEY.into()));
}

#[tokio::test]
async fn access_denied_is_a_refusal_up_to_the_write_and_unknown_after_it() {
    emulator().seed_secret("drop/denied", "{}");
    emulator().seed_parameter("/drop/denied", "{}");
    for (step, call, place, certain) in [
        (
            "kind = \"secrets-manager\"\nid = \"drop/denied\"",
            "secretsmanager:GetSecretValue",
            "drop/denied",
            true,
        ),
        (
            "kind = \"secrets-manager\"\nid = \"drop/denied\"",
            "secretsmanager:PutSecretValue",
            "drop/denied",
            true,
        ),
        ("kind = \"ssm\"\nname = \"/drop/denied\"", "ssm:PutParameter", "/drop/denied", true),
        (
            "kind = \"secrets-manager\"\nid = \"drop/denied\"",
            "secretsmanager:DescribeSecret",
            "drop/denied",
            false,
        ),
    ] {
        let vendor = vendor(&format!("[[vendor.acme.deliver]]\n{step}\n"));
        emulator().order(&Rule::error(call, 403, "AccessDenied").about(place));
        let fault = deliver(&vendor).await.expect_err("it is denied");
        let denied = matches!(&fault, Fault::Refused(refusal) if refusal.code == RefusalCode::AccessDenied);
        assert_eq!((denied, matches!(fault, Fault::Unknown(_))), (certain, !certain), "{call}: {fault:?}");
        assert!(fault.sentence().contains(place) && !fault.sentence().contains("canary"), "{fault:?}");
    }
}

#[tokio::test]
async fn a_read_without_an_answer_counts_as_not_sent() {
    emulator().seed_secret("drop/silent", "{}");
    let vendor = vendor("[[vendor.acme.deliver]]\nkind = \"secrets-manager\"\nid = \"drop/silent\"\n");
    emulator().order(&Rule::close("secretsmanager:GetSecretValue").about("drop/silent").times(3));
    let fault = deliver(&vendor).await.expect_err("nobody answers");
    assert!(matches!(&fault, Fault::Refused(Refusal { code: RefusalCode::NotSent, .. })), "{fault:?}");
    assert_eq!(versions("drop/silent").await, 1);
}

#[tokio::test]
async fn a_missing_or_unsuitable_secret_is_refused_with_the_reason() {
    emulator().seed_secret("drop/text", "canary, no JSON");
    emulator().seed_secret("drop/list", "[\"canary\"]");
    let ssm = ssm().await;
    let clear = ssm.put_parameter().name("/drop/clear").value("canary").r#type(ParameterType::String);
    clear.send().await.expect("it is put");
    for (step, words) in [
        ("kind = \"secrets-manager\"\nid = \"drop/text\"", "holds no JSON object"),
        ("kind = \"secrets-manager\"\nid = \"drop/list\"", "holds no JSON object"),
        ("kind = \"secrets-manager\"\nid = \"drop/nowhere\"", "AWS has no such secret"),
        (
            "kind = \"secrets-manager\"\nid = \"drop/nowhere\"\nbody = \"{{ access_key_id }}\"",
            "AWS has no such secret",
        ),
        ("kind = \"ssm\"\nname = \"/drop/clear\"", "no SecureString"),
        ("kind = \"ssm\"\nname = \"/drop/nowhere\"", "AWS has no such secret"),
    ] {
        let vendor = vendor(&format!("[[vendor.acme.deliver]]\n{step}\n"));
        let fault = deliver(&vendor).await.expect_err(words);
        assert!(
            matches!(&fault, Fault::Refused(refusal) if refusal.code == RefusalCode::Misconfigured),
            "{fault:?}"
        );
        assert!(fault.sentence().contains(words) && !fault.sentence().contains("canary"), "{fault:?}");
    }
}

#[tokio::test]
async fn a_parameter_keeps_its_type_tier_key_and_description() {
    let ssm = ssm().await;
    let seeded = ssm
        .put_parameter()
        .name("/drop/kept")
        .value("old")
        .r#type(ParameterType::SecureString)
        .tier(ParameterTier::Advanced)
        .key_id("alias/vendors")
        .description("where acme looks");
    seeded.send().await.expect("it is put");
    let vendor = vendor(
        "[[vendor.acme.deliver]]\nkind = \"ssm\"\nname = \"/drop/kept\"\n\
         json = { id = \"{{ access_key_id }}\", secret = \"{{ secret_access_key }}\" }\n",
    );
    assert_eq!(deliver(&vendor).await, Ok(()));
    assert_eq!(
        read("ssm:/drop/kept").await,
        format!("{{\"id\":\"AKIANEW0000000000001\",\"secret\":\"{SECRET}\"}}")
    );
    let kept = parameter("/drop/kept").await;
    assert_eq!(kept.r#type, Some(ParameterType::SecureString));
    assert_eq!((kept.version, kept.tier), (2, Some(ParameterTier::Advanced)));
    assert_eq!(kept.key_id.as_deref(), Some("alias/vendors"));
    assert_eq!(kept.description.as_deref(), Some("where acme looks"));
}

#[tokio::test]
async fn a_webhook_can_carry_a_reference_to_the_stored_secret() {
    emulator().seed_secret("drop/reference", "{}");
    let (vendor, sent) = vendor_and_sent(
        "[[vendor.acme.deliver]]\nkind = \"secrets-manager\"\nid = \"drop/reference\"\n\
         [[vendor.acme.deliver]]\nkind = \"webhook\"\nurl = \"https://hooks.acme.example/x\"\n\
         secret = \"env:SIGNING\"\ncarries = \"reference\"\n",
    );
    for _ in 0..2 {
        assert_eq!(deliver(&vendor).await, Ok(()));
    }
    let body = |request: &Value| request["body"].as_str().expect("text").to_owned();
    let bodies: Vec<String> = sent.requests().iter().map(body).collect();
    assert_eq!((bodies.len(), &bodies[0]), (2, &bodies[1]), "a repeat is the same message");
    assert!(!bodies[0].contains("canary") && !bodies[0].contains("secret_access_key"), "{}", bodies[0]);
    let body: Value = serde_json::from_str(&bodies[0]).expect("JSON");
    let reference = &body["data"]["secret_reference"];
    let (arn, version) =
        (reference["arn"].as_str().expect("an ARN"), reference["version_id"].as_str().expect("an id"));
    assert!(arn.starts_with("arn:aws:secretsmanager:us-east-1:123456789012:secret:drop/reference-"), "{arn}");
    let manager = manager().await;
    let found =
        manager.get_secret_value().secret_id(arn).version_id(version).send().await.expect("it is there");
    assert!(found.secret_string.is_some_and(|text| text.contains(SECRET)));
}

#[tokio::test]
async fn a_secret_in_another_account_is_written_through_its_role() {
    emulator().seed_role(ROLE, Some("canary-external"));
    emulator().seed_secret_in("111122223333", "drop/elsewhere", "{}");
    let vendor = vendor(
        "[account.elsewhere]\nrole_arn = \"arn:aws:iam::111122223333:role/drops\"\nexternal_id = \"canary-external\"\n\
         [[vendor.acme.deliver]]\nkind = \"secrets-manager\"\nid = \"drop/elsewhere\"\naccount = \"elsewhere\"\n",
    );
    assert_eq!(deliver(&vendor).await, Ok(()));
    let calls = emulator().calls_about("drop/elsewhere");
    assert_eq!(calls.len(), 3);
    assert!(
        calls.iter().all(|call| call.signer.as_deref().is_some_and(|key| key.starts_with("ASIA"))),
        "{calls:?}"
    );
    let assumed = emulator().calls_about(ROLE);
    assert_eq!(assumed.len(), 1, "the role is assumed once");
}

#[tokio::test]
async fn a_secret_store_preflight_only_reads() {
    emulator().seed_secret("drop/preflight", "{}");
    emulator().seed_secret("drop/preflight-text", "no JSON");
    let vendor = vendor(
        "[[vendor.acme.deliver]]\nkind = \"secrets-manager\"\nid = \"drop/preflight\"\n\
         [[vendor.acme.deliver]]\nkind = \"secrets-manager\"\nid = \"drop/preflight-text\"\n\
         [[vendor.acme.deliver]]\nkind = \"ssm\"\nname = \"/drop/no-such\"\n",
    );
    let found: Vec<Check> = vendor.preflight(&offer()).await;
    let shown: Vec<(&str, bool)> = found.iter().map(|check| (check.check.as_str(), check.ok)).collect();
    assert_eq!(shown, [("step 1: drop-off", true), ("step 2: drop-off", false), ("step 3: drop-off", false)]);
    assert_eq!(found[0].sentence, "the secret drop/preflight is there, and the pair fits into it");
    assert!(actions("drop/preflight").iter().all(|action| action == "GetSecretValue"));
}

fn emulator() -> &'static Emulator {
    static OWN: LazyLock<Emulator> = LazyLock::new(Emulator::start);
    &OWN
}

/// The actions that were called about a secret or parameter, in order.
fn actions(place: &str) -> Vec<String> {
    let action = |call: Call| call.action.split(':').nth(1).unwrap_or_default().to_owned();
    emulator().calls_about(place).into_iter().map(action).collect()
}

fn vendor(steps: &str) -> Arc<dyn Delivery> {
    vendor_and_sent(steps).0
}

fn vendor_and_sent(steps: &str) -> (Arc<dyn Delivery>, Sent) {
    recipe::vendor(&session(), steps)
}

fn session() -> Arc<AwsSession> {
    let settings = AwsSettings {
        region: Some("us-east-1".to_owned()),
        endpoint_url: Some(emulator().url()),
        ..AwsSettings::default()
    };
    let rotator = Credentials::new("testing", "testing", None, None, "test");
    // The emulator's first answer of a service takes long on a busy machine.
    let minute = Duration::from_mins(1);
    let deadlines = Deadlines { connect: minute, attempt: minute, call: 2 * minute };
    Arc::new(AwsSession::new(&settings).with_credentials(rotator).with_deadlines(deadlines))
}

async fn read(reference: &str) -> String {
    let secrets = Secrets::new(&session());
    let read = secrets.resolve(&reference.parse().expect("a reference")).await;
    read.expect("it can be read").expose().to_owned()
}

async fn manager() -> aws_sdk_secretsmanager::Client {
    let session = session();
    let config =
        aws_sdk_secretsmanager::config::Builder::from(session.sdk().await).endpoint_url(emulator().url());
    aws_sdk_secretsmanager::Client::from_conf(config.build())
}

async fn ssm() -> aws_sdk_ssm::Client {
    let session = session();
    let config = aws_sdk_ssm::config::Builder::from(session.sdk().await).endpoint_url(emulator().url());
    aws_sdk_ssm::Client::from_conf(config.build())
}

async fn put(id: &str, text: &str) {
    manager().await.put_secret_value().secret_id(id).secret_string(text).send().await.expect("it is put");
}

async fn versions(id: &str) -> usize {
    let listed =
        manager().await.list_secret_version_ids().secret_id(id).include_deprecated(true).send().await;
    listed.expect("a list").versions.expect("versions").len()
}

async fn parameter(name: &str) -> aws_sdk_ssm::types::ParameterMetadata {
    let described = ssm().await.describe_parameters().send().await.expect("a list");
    let mut parameters = described.parameters.expect("parameters").into_iter();
    parameters.find(|parameter| parameter.name.as_deref() == Some(name)).expect("it is there")
}
