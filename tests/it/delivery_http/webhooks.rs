//! Webhooks, verified by independent implementations.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use keyround::config::settings::{DeliverStep, WebhookStep};
use keyround::core::rotation::RefusalCode;
use keyround::ports::Offer;
use serde_json::json;

use super::{
    NEW_KEY, NEW_SECRET, OLD_KEY, SIGNING_SECRET, Secrets, delivery, new_secret, offer, reference, refused,
    webhook, webhook_step,
};
use crate::support::vendor::{Answer, Pair, Vendor};
use crate::support::webhook_reference;

/// The key pair of RFC 8032, 7.1, test 1.
const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
const PUBLIC_KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

#[tokio::test]
async fn the_reference_implementation_verifies_a_webhook_with_each_secret() {
    webhook_reference::prepare();
    let vendor = Vendor::start();
    let previous = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let secrets = Secrets::of(&[("env:SIGNING", SIGNING_SECRET), ("env:PREVIOUS", previous)]);
    let step = WebhookStep {
        secrets: vec![reference("env:SIGNING"), reference("env:PREVIOUS")],
        ..webhook_step(&vendor.url("/hooks/aws"))
    };
    let acme = delivery(vec![DeliverStep::Webhook(step)], None, secrets);
    assert_eq!(acme.deliver(&offer(), &new_secret()).await, Ok(()));

    let [message] = &vendor.requests()[..] else { panic!("one request") };
    for secret in [SIGNING_SECRET, previous] {
        let question =
            json!({"check": "hmac", "secret": secret, "headers": message.headers, "body": message.body});
        let said = webhook_reference::ask(&question);
        assert_eq!(said.as_deref(), Ok("access_key.rotated"));
    }
    let stranger = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let question =
        json!({"check": "hmac", "secret": stranger, "headers": message.headers, "body": message.body});
    let said = webhook_reference::ask(&question).expect_err("a stranger's secret");
    assert!(said.contains("No matching signature"), "{said}");
}

#[tokio::test]
async fn libsodium_verifies_an_ed25519_webhook_signature() {
    webhook_reference::prepare();
    let vendor = Vendor::start();
    let signing = format!("whsk_{SEED}");
    let secrets = Secrets::of(&[("env:SIGNING", &signing)]);
    let step = DeliverStep::Webhook(webhook_step(&vendor.url("/")));
    let acme = delivery(vec![step], None, secrets);
    assert_eq!(acme.deliver(&offer(), &new_secret()).await, Ok(()));

    let [message] = &vendor.requests()[..] else { panic!("one request") };
    let ask = |body: &str| {
        let headers = &message.headers;
        let question =
            json!({"check": "ed25519", "public_key": PUBLIC_KEY, "headers": headers, "body": body});
        webhook_reference::ask(&question)
    };
    assert_eq!(ask(&message.body).as_deref(), Ok("access_key.rotated"));
    assert!(ask(&format!("{} ", message.body)).is_err_and(|said| said.contains("BadSignatureError")));
}

#[tokio::test]
async fn a_webhook_contains_the_new_pair_and_the_end_of_the_old_key() {
    let vendor = Vendor::start();
    let offer = offer();
    let acme = webhook(&vendor.url("/hooks/aws?tenant=7"));
    assert_eq!(acme.deliver(&offer, &new_secret()).await, Ok(()));

    let [message] = &vendor.requests()[..] else { panic!("one request") };
    assert_eq!((message.method.as_str(), message.path.as_str()), ("POST", "/hooks/aws?tenant=7"));
    assert_eq!(message.headers["content-type"], "application/json");
    assert_eq!(message.headers["user-agent"], concat!("keyround/", env!("CARGO_PKG_VERSION")));
    assert_eq!(
        message.json(),
        json!({"type": "access_key.rotated", "timestamp": offer.offered_at.to_string(), "data": {
            "rotation_id": offer.rotation.to_string(), "vendor": "acme", "aws_account_id": "111122223333",
            "iam_user": "vendor-acme", "access_key_id": NEW_KEY, "secret_access_key": NEW_SECRET,
            "previous_access_key_id": OLD_KEY, "previous_key_valid_until": offer.old_valid_until.to_string(),
        }})
    );
    let held = Pair { access_key_id: NEW_KEY.to_owned(), secret_access_key: NEW_SECRET.to_owned() };
    assert_eq!(vendor.held(), Some(held));
}

#[tokio::test]
async fn a_repeated_webhook_keeps_its_id_and_a_new_delivery_gets_another() {
    let vendor = Vendor::start();
    let acme = webhook(&vendor.url("/"));
    let first = offer();
    let later = Offer { now: first.now + Duration::from_mins(5), ..first.clone() };
    let fresh = Offer { round: 2, ..later.clone() };
    for offer in [&first, &later, &fresh] {
        assert_eq!(acme.deliver(offer, &new_secret()).await, Ok(()));
    }

    let [first, later, fresh] = &vendor.requests()[..] else { panic!("three requests") };
    assert_eq!(first.headers["webhook-id"], later.headers["webhook-id"]);
    assert_eq!(first.body, later.body);
    assert_ne!(first.headers["webhook-timestamp"], later.headers["webhook-timestamp"]);
    assert_ne!(first.headers["webhook-signature"], later.headers["webhook-signature"]);
    assert_ne!(first.headers["webhook-id"], fresh.headers["webhook-id"]);
}

#[tokio::test]
async fn a_webhook_repeated_after_a_lost_answer_is_the_same_message() {
    let vendor = Vendor::start();
    vendor.script([Answer::TakesAndCloses]);
    let acme = webhook(&vendor.url("/"));
    let offer = offer();
    super::unknown(acme.deliver(&offer, &new_secret()).await);
    assert_eq!(vendor.held().map(|pair| pair.access_key_id).as_deref(), Some(NEW_KEY));
    assert_eq!(acme.deliver(&offer, &new_secret()).await, Ok(()));

    let [lost, repeated] = &vendor.requests()[..] else {
        panic!("two requests, so nothing repeats by itself")
    };
    assert_eq!(lost.headers, repeated.headers);
    assert_eq!(lost.body, repeated.body);
}

#[tokio::test]
async fn an_invalid_signing_secret_is_named_by_its_reference_and_not_shown() {
    let vendor = Vendor::start();
    let short = format!("whsec_{}", BASE64.encode("canary"));
    for (secret, problem) in [
        ("canary-of-no-kind", "is no signing secret: those begin with whsec_ or whsk_"),
        ("whsec_canary of no alphabet", "is no signing secret: after its prefix it is not base64"),
        (&short, "has 6 bytes; a whsec_ secret has 24 to 64"),
        ("whsk_Y2FuYXJ5", "has 6 bytes; a whsk_ secret is an ed25519 seed of 32"),
    ] {
        let step = DeliverStep::Webhook(webhook_step(&vendor.url("/")));
        let acme = delivery(vec![step], None, Secrets::of(&[("env:SIGNING", secret)]));
        let refusal = refused(acme.deliver(&offer(), &new_secret()).await, RefusalCode::Misconfigured);
        let expected = format!("the webhook secret env:SIGNING {problem}");
        assert!(refusal.sentence.starts_with(&expected), "{}", refusal.sentence);
        assert!(!refusal.sentence.contains("canary"), "{}", refusal.sentence);
    }
    let step = DeliverStep::Webhook(webhook_step(&vendor.url("/")));
    let acme = delivery(vec![step], None, Secrets::default());
    let refusal = refused(acme.deliver(&offer(), &new_secret()).await, RefusalCode::Misconfigured);
    assert_eq!(refusal.sentence, "env:SIGNING is not there");
    assert_eq!(vendor.connections(), 0);
}
