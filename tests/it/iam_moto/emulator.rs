//! Tests of the emulator itself, because an emulator that does not fail on order would let every other test pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use keyround::adapters::aws::AwsSession;
use keyround::adapters::aws::iam::AwsAccounts;
use keyround::config::settings::AwsSettings;
use keyround::core::ids::IamUserName;
use keyround::core::rotation::{KeyUsage, RefusalCode};
use keyround::core::secret::Secret;
use keyround::ports::{Accounts, Iam};

use super::{accounts, ambient, assert_unknown, calls, emulator, refusal, rotator, seeded, settings};
use crate::support::moto::{Emulator, Release, Rule};

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_emulator_call_proceeds_or_hangs_up_as_ordered() {
    for (name, rule, how, answered, keys) in [
        ("prevented", Rule::pause("mutating"), Release::HangUp, false, 1),
        ("late", Rule::pause("iam:CreateAccessKey"), Release::Proceed, true, 2),
        ("unheard", Rule::pause("*").after().skip(1), Release::HangUp, false, 2),
    ] {
        let (user, ..) = seeded(&format!("pause-{name}"), 10.0);
        let rule = emulator().order(&rule.about(user.as_str()));
        let iam = ambient();
        iam.list_keys(&user).await.expect("nothing holds up the first call");
        let create = tokio::spawn({
            let user = user.clone();
            async move { iam.create_key(&user).await }
        });
        tokio::task::block_in_place(|| emulator().wait_for(rule));
        assert!(!create.is_finished(), "{name}");
        emulator().release(rule, how);
        let answer = create.await.expect("no panic");
        assert_eq!(answer.is_ok(), answered, "{name}: {answer:?}");
        assert_eq!(emulator().keys(user.as_str()).len(), keys, "{name}");
    }
}

#[tokio::test]
async fn the_emulator_denies_iam_calls_signed_by_a_vendor() {
    let (user, key, secret) = seeded("strict", 10.0);
    let pair = Credentials::new(key.as_str(), secret.expose(), None, None, "vendor");
    let session = Arc::new(AwsSession::new(&settings()).with_credentials(pair));
    refusal(accounts(&session).iam(None).create_key(&user).await, RefusalCode::AccessDenied);
    let call = &calls("iam:CreateAccessKey", &user)[0];
    assert_eq!((call.status, call.done), (Some(403), false));
    assert_eq!(call.signer.as_deref(), Some(key.as_str()));
}

#[tokio::test]
async fn the_emulator_records_the_first_key_use_within_fifteen_minutes() {
    let (user, key, secret) = seeded("uses", 10.0);
    let iam = ambient();
    for (minutes_ago, recorded) in [(7.0, "s3"), (16.0, "sts")] {
        emulator().set_used(key.as_str(), "s3", minutes_ago / (24.0 * 60.0));
        iam.identify(&key, &secret).await.expect("it signs");
        let usage = iam.usage(&key).await.expect("known");
        assert!(matches!(usage, KeyUsage::Used { service, .. } if service == recorded), "{minutes_ago}");
    }
    assert!(emulator().keys(user.as_str())[0].last_used_at.is_some());
}

#[tokio::test]
async fn a_private_emulator_can_be_seeded_and_its_rules_and_calls_cleared() {
    let emulator = Emulator::start();
    let (key, secret) = emulator.seed_user("own", 1.0);
    let user: IamUserName = "own".parse().expect("a name");
    let iam = own(&emulator);
    emulator.set_age(&key, 90.0);
    let age = iam.list_keys(&user).await.expect("a list")[0].created_at;
    assert_eq!(emulator.keys("own")[0].created_at, age.to_string());
    assert_eq!(emulator.keys("own")[0].secret, secret);

    emulator.order(&Rule::close("iam:CreateAccessKey").times(9));
    assert_unknown(&iam.create_key(&user).await);
    emulator.clear_rules();
    let created = iam.create_key(&user).await.expect("the rule is forgotten");
    assert_ne!(created.secret, Secret::new(secret));
    assert_eq!(emulator.calls().len(), 3);
    emulator.clear_calls();
    assert!(emulator.calls().is_empty());

    emulator.set_latency(Duration::from_millis(150));
    let asked_at = Instant::now();
    iam.delete_key(&user, &created.id).await.expect("it is deleted");
    assert!(asked_at.elapsed() >= Duration::from_millis(150));
    assert_eq!(emulator.calls()[0].access_key_id.as_deref(), Some(created.id.as_str()));
}

fn own(emulator: &Emulator) -> Arc<dyn Iam> {
    let endpoint_url = Some(emulator.url());
    let settings = AwsSettings { endpoint_url, ..settings() };
    let session = Arc::new(AwsSession::new(&settings).with_credentials(rotator()));
    AwsAccounts::connect(&session, &BTreeMap::new()).iam(None)
}
