//! The check of a vendor that tells which key is in force, and the preflight that finds mistakes before a delivery.

use keyround::config::settings::{Auth, DeliverStep, Expect, HttpStep};
use keyround::core::rotation::{RefusalCode, Verification};
use keyround::ports::Fault;
use serde_json::json;

use super::{
    NEW_KEY, OLD_KEY, SIGNING_SECRET, Secrets, captures, delivery, expecting, http, http_step, new_secret,
    offer, reference, refused, texts, unknown, webhook, webhook_step,
};
use crate::support::vendor::{Answer, Pair, Vendor};

#[tokio::test]
async fn verify_reports_whether_the_old_or_the_new_key_is_in_force() {
    let vendor = Vendor::start();
    let acme = asked(&vendor, question(&vendor));
    vendor.hold(Pair { access_key_id: OLD_KEY.to_owned(), secret_access_key: "old".to_owned() });
    let refusal = refused(verify(&*acme).await.map(drop), RefusalCode::NotInForce);
    assert_eq!(refusal.sentence, format!("127.0.0.1 answers that {OLD_KEY} is in force, not {NEW_KEY}"));

    assert_eq!(acme.deliver(&offer(), &new_secret()).await, Ok(()));
    assert_eq!(verify(&*acme).await, Ok(Verification::Asked));
    let last = vendor.requests().pop().expect("a request");
    assert_eq!((last.method.as_str(), last.path.as_str()), ("GET", "/v1/aws"));
    assert_eq!(last.headers["authorization"], "Bearer token-of-acme");
}

#[tokio::test]
async fn verify_detects_a_vendor_that_accepted_but_did_not_store_the_key() {
    let vendor = Vendor::start();
    vendor.script([Answer::Forgets]);
    let acme = asked(&vendor, question(&vendor));
    assert_eq!(acme.deliver(&offer(), &new_secret()).await, Ok(()));
    let refusal = refused(verify(&*acme).await.map(drop), RefusalCode::NotInForce);
    assert_eq!(refusal.sentence, format!("127.0.0.1 answers that another value is in force, not {NEW_KEY}"));
}

#[tokio::test]
async fn a_value_that_is_no_key_id_is_not_named_in_the_verify_error() {
    let vendor = Vendor::start();
    let acme = asked(&vendor, question(&vendor));
    for held in [json!("wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYca"), json!({"a": 1}), json!(null), json!(7)] {
        vendor.script([Answer::json(200, &json!({ "access_key_id": held }))]);
        let refusal = refused(verify(&*acme).await.map(drop), RefusalCode::NotInForce);
        assert!(refusal.sentence.contains("another value"), "{}", refusal.sentence);
    }
}

#[tokio::test]
async fn verify_is_unknown_for_unreadable_answers_and_refused_for_rejections() {
    let vendor = Vendor::start();
    let acme = asked(&vendor, question(&vendor));
    vendor.script([Answer::json(200, &json!({"key": NEW_KEY}))]);
    refused(verify(&*acme).await.map(drop), RefusalCode::VendorRefused);
    for status in [302, 401, 404, 410] {
        vendor.script([Answer::status(status)]);
        refused(verify(&*acme).await.map(drop), RefusalCode::VendorRefused);
    }
    let half = Answer::Cuts(format!("{{\"access_key_id\":\"{NEW_KEY}\""));
    for answer in
        [Answer::status(500), Answer::status(200), half, Answer::Floods, Answer::Garbage, Answer::Closes]
    {
        vendor.script([answer]);
        unknown(verify(&*acme).await.map(drop));
    }
}

#[tokio::test]
async fn verify_goes_by_the_status_when_no_value_is_compared() {
    let vendor = Vendor::start();
    let step = HttpStep { expect: Expect { status: vec![204], ..Expect::default() }, ..question(&vendor) };
    let acme = asked(&vendor, step);
    vendor.script([Answer::status(204), Answer::status(200), Answer::status(404)]);
    assert_eq!(verify(&*acme).await, Ok(Verification::Asked));
    unknown(verify(&*acme).await.map(drop));
    refused(verify(&*acme).await.map(drop), RefusalCode::VendorRefused);
}

#[tokio::test]
async fn verify_can_compare_a_masked_tail_of_the_key_id() {
    let vendor = Vendor::start();
    let equals = Some("xxxx{{ access_key_id[-4:] }}".to_owned());
    let expect = expecting("/value", equals.as_deref());
    let acme = asked(&vendor, HttpStep { expect, ..question(&vendor) });
    vendor.script([Answer::json(200, &json!({"value": "xxxx0001"}))]);
    assert_eq!(verify(&*acme).await, Ok(Verification::Asked));
}

#[tokio::test]
async fn without_a_verify_step_verify_sends_no_request() {
    let vendor = Vendor::start();
    let acme = webhook(&vendor.url("/"));
    assert_eq!(verify(&*acme).await, Ok(Verification::Acceptance));
    assert_eq!(vendor.connections(), 0);
}

#[tokio::test]
async fn a_verify_request_cannot_contain_the_secret_access_key() {
    let vendor = Vendor::start();
    let url = vendor.url("/v1/aws?secret={{ secret_access_key }}");
    let acme = asked(&vendor, http_step("GET", &url));
    let refusal = refused(verify(&*acme).await.map(drop), RefusalCode::Misconfigured);
    let expected = "the template of the url cannot be rendered: secret_access_key has no value in line 1";
    assert_eq!(refusal.sentence, expected);
    assert_eq!(vendor.connections(), 0);
}

#[tokio::test]
async fn a_passing_preflight_lists_its_checks_and_sends_no_request() {
    let (vendor, tokens) = (Vendor::start(), Vendor::start());
    let first = HttpStep { capture: captures([("key", "/key")]), ..http_step("GET", &vendor.url("/key")) };
    let mut second = http_step("PUT", &vendor.url("/secret/{{ captured.key | urlencode }}"));
    second.headers = texts([("x-sealed", "{{ secret_access_key | sealed_box(captured.key) }}")]);
    second.auth = Some(Auth::OAuth2 {
        token_url: tokens.url("/token"),
        client_id: "keyround".to_owned(),
        client_secret: reference("env:CLIENT"),
        scope: None,
        audience: None,
        in_body: false,
    });
    let steps = vec![http(first), http(second), DeliverStep::Webhook(webhook_step(&vendor.url("/")))];
    let secrets = Secrets::of(&[("env:CLIENT", "c"), ("env:TOKEN", "t"), ("env:SIGNING", SIGNING_SECRET)]);
    let acme = delivery(steps, Some(question(&vendor)), secrets);

    let found = acme.preflight(&offer()).await;
    assert!(found.iter().all(|check| check.ok), "{found:#?}");
    let checks: Vec<_> = found.iter().map(|check| check.check.as_str()).collect();
    assert_eq!(
        checks,
        [
            "step 1: template",
            "step 1: endpoint",
            "step 2: secret",
            "step 2: template",
            "step 2: endpoint",
            "step 3: secret",
            "verify: secret",
            "verify: template"
        ]
    );
    assert_eq!((vendor.requests().len(), tokens.requests().len()), (0, 0));
    assert!(vendor.connections() <= 1, "one host is connected to once: {}", vendor.connections());
}

#[tokio::test]
async fn a_preflight_reports_every_mistake_and_not_only_the_first() {
    let vendor = Vendor::start();
    let mut first = http_step("PUT", &vendor.url("/{{ nonsense }}"));
    first.auth = Some(Auth::Bearer(reference("env:MISSING")));
    let steps = vec![
        http(first),
        DeliverStep::Webhook(webhook_step("https://hooks.acme.invalid/")),
        http(http_step("PUT", "http://api.acme.example/")),
    ];
    let acme = delivery(steps, None, Secrets::of(&[("env:SIGNING", SIGNING_SECRET)]));
    let found = acme.preflight(&offer()).await;
    let bad: Vec<_> = found.iter().filter(|check| !check.ok).map(|check| check.sentence.as_str()).collect();
    assert_eq!(
        bad,
        [
            "env:MISSING is not there",
            "the template of the url cannot be rendered: nonsense has no value in line 1",
            "the name hooks.acme.invalid does not resolve; check the url, and this machine's name servers",
            "the address is http and leaves this machine; use https, or set allow_plaintext = true",
        ]
    );
    assert_eq!(vendor.connections(), 0);
}

/// A check that compares the key that the vendor names with the new key.
fn question(vendor: &Vendor) -> HttpStep {
    HttpStep {
        auth: Some(Auth::Bearer(reference("env:TOKEN"))),
        expect: Expect { status: vec![200], ..expecting("/access_key_id", Some("{{ access_key_id }}")) },
        ..http_step("GET", &vendor.url("/v1/aws"))
    }
}

fn asked(vendor: &Vendor, verify: HttpStep) -> std::sync::Arc<dyn keyround::ports::Delivery> {
    let secrets = Secrets::of(&[("env:TOKEN", "token-of-acme"), ("env:SIGNING", SIGNING_SECRET)]);
    delivery(vec![DeliverStep::Webhook(webhook_step(&vendor.url("/")))], Some(verify), secrets)
}

async fn verify(acme: &dyn keyround::ports::Delivery) -> Result<Verification, Fault> {
    acme.verify(&offer()).await
}
