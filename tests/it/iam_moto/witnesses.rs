//! CloudTrail evidence that tells the vendor's use of a key from our own.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyround::adapters::aws::iam::AwsAccounts;
use keyround::config::settings::{AccountSettings, AwsSettings};
use keyround::core::ids::{AccessKeyId, AccountName};
use keyround::core::rotation::{KeyUsage, UseEvidence};
use keyround::ports::{Accounts, Iam};
use serde_json::json;

use super::{accounts, ambient, calls, emulator, seeded, session, settings};
use crate::support::log::Log;
use crate::support::moto::{ACCOUNT, Rule};

const ADDRESS: &str = "203.0.113.7";
const AGENT: &str = "aws-cli/2.31.0 md/awscrt";

#[tokio::test]
async fn cloudtrail_evidence_excludes_our_probe_and_shows_the_vendors_call() {
    let (user, key, secret) = seeded("witnessed", 10.0);
    let iam = asking();
    iam.identify(&key, &secret).await.expect("it signs");
    let (service, witness) = used(iam.usage(&key).await.expect("known"));
    assert_eq!((service.as_str(), witness), ("sts", None));

    emulator().prepare("review_origin", &seen(&key, "sts:GetCallerIdentity", 0.0));
    let (service, witness) = used(iam.usage(&key).await.expect("known"));
    let witness = witness.expect("the vendor's call");
    assert_eq!((service.as_str(), witness.call.as_str()), ("sts", "GetCallerIdentity"));
    assert_eq!((witness.address.as_str(), witness.agent.as_str()), (ADDRESS, AGENT));
    assert_eq!(witness.by, format!("arn:aws:iam::{ACCOUNT}:user/{user}"));
    assert_eq!(witness.event_id, format!("{key}-1"));
    let recorded = iam.recorded_usage(&key).await.expect("known");
    assert_eq!(used(recorded).1, None, "a look at many keys does not ask");
}

#[tokio::test]
async fn key_usage_is_the_later_of_iam_and_cloudtrail() {
    let (_, key, _) = seeded("later", 10.0);
    let iam = asking();
    emulator().prepare("review_origin", &seen(&key, "sqs:ListQueues", 90.0));
    let (service, witness) = used(iam.usage(&key).await.expect("known"));
    assert_eq!((service.as_str(), witness.is_some()), ("sqs", true), "IAM has none yet");
    emulator().set_used(key.as_str(), "s3", 1.0 / 24.0);
    let (service, witness) = used(iam.usage(&key).await.expect("known"));
    assert_eq!((service.as_str(), witness.is_some()), ("s3", true), "IAM's is half an hour later");
}

#[tokio::test]
async fn failed_cloudtrail_calls_are_no_use_and_agent_text_is_sanitised() {
    let (_, key, _) = seeded("plain", 10.0);
    let iam = asking();
    let mut failed = seen(&key, "sqs:ListQueues", 1.0);
    failed["error"] = "SignatureDoesNotMatch".into();
    emulator().prepare("review_origin", &failed);
    assert_eq!(iam.usage(&key).await, Ok(KeyUsage::Never));
    let mut rude = seen(&key, "sqs:ListQueues", 0.0);
    rude["agent"] = format!("tool\n\u{1b}[2J\u{202e}{}", "x".repeat(1000)).into();
    emulator().prepare("review_origin", &rude);
    let witness = used(iam.usage(&key).await.expect("known")).1.expect("a call");
    assert_eq!(witness.agent, format!("tool[2J{}", "x".repeat(153)));
}

#[tokio::test]
async fn a_failed_cloudtrail_lookup_is_logged_once_and_usage_is_still_read() {
    let (user, key, secret) = seeded("untold", 10.0);
    let log = Log::default();
    let _listening = log.listen();
    let iam = asking();
    iam.identify(&key, &secret).await.expect("it signs");
    emulator().prepare("review_origin", &seen(&key, "sqs:ListQueues", 0.0));
    let failing = |status, code, times| {
        let rule = Rule::error("cloudtrail:LookupEvents", status, code).about(user.as_str());
        emulator().order(&rule.times(times));
    };
    // An error that may pass is tried three times, and a refusal once.
    for (status, code, times) in [(403, "AccessDenied", 1), (500, "InternalFailure", 3)] {
        failing(status, code, times);
        let (service, witness) = used(iam.usage(&key).await.expect("IAM's record is read all the same"));
        assert_eq!((service.as_str(), witness), ("sts", None), "{code}");
    }
    failing(400, "Throttling", 3);
    assert!(used(iam.usage(&key).await.expect("known")).1.is_some(), "it is asked again");
    let text = log.text();
    assert_eq!(text.matches("who uses keys cannot be read").count(), 1, "{text}");
    assert!(text.contains("WARN") && text.contains("cloudtrail:LookupEvents"), "{text}");
}

#[tokio::test]
async fn cloudtrail_is_queried_only_where_the_configuration_enables_it() {
    let (user, key, _) = seeded("asked", 10.0);
    ambient().usage(&key).await.expect("known");
    assert!(calls("cloudtrail:LookupEvents", &user).is_empty());
    let named = |cloudtrail| {
        let name: AccountName = "production".parse().expect("a name");
        let account = AccountSettings { cloudtrail, ..AccountSettings::default() };
        (BTreeMap::from([(name.clone(), account)]), name)
    };
    for (of_aws, of_account, asked) in [(true, Some(false), 0), (true, None, 1), (false, Some(true), 2)] {
        let (accounts, name) = named(of_account);
        let session = session(&AwsSettings { cloudtrail: of_aws, ..settings() });
        let iam = AwsAccounts::connect(&session, &accounts).iam(Some(&name));
        iam.usage(&key).await.expect("known");
        assert_eq!(calls("cloudtrail:LookupEvents", &user).len(), asked);
    }
}

fn asking() -> Arc<dyn Iam> {
    accounts(&session(&AwsSettings { cloudtrail: true, ..settings() })).iam(None)
}

fn seen(key: &AccessKeyId, call: &str, minutes_ago: f64) -> serde_json::Value {
    json!({
        "access_key_id": key.as_str(), "address": ADDRESS, "agent": AGENT, "call": call, "minutes_ago": minutes_ago
    })
}

fn used(usage: KeyUsage) -> (String, Option<UseEvidence>) {
    let KeyUsage::Used { service, witness, .. } = usage else { panic!("{usage:?}") };
    (service, witness.map(|witness| *witness))
}
