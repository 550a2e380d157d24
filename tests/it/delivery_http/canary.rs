//! Secrets are canaries on every path that can fail, and the test searches for them in everything that people can
//! read. Proves promise 7 of `src/lib.rs` for deliveries over HTTP.

use std::sync::Arc;

use keyround::config::settings::{Auth, Body, DeliverStep, HttpStep, WebhookStep};
use keyround::core::secret::Secret;
use keyround::ports::{Fault, Offer};
use rustls::RootCertStore;
use serde_json::json;

use super::{
    IMPATIENT, Secrets, captures, delivery, delivery_trusting, expecting, http, http_step, offer, reference,
    texts, webhook_step,
};
use crate::support::authority::{Authority, Validity, self_signed_server};
use crate::support::log::Log;
use crate::support::vendor::{Answer, Vendor};

/// A word in every secret and in everything that a vendor answers.
const CANARY: &str = "CANARY";

#[tokio::test]
async fn http_delivery_writes_no_secret_to_sentences_debug_output_or_logs() {
    let log = Log::default();
    let listening = log.listen();
    let mut seen = Vec::new();
    every_answer_to_every_recipe(&mut seen).await;
    every_mistake_in_a_recipe(&mut seen).await;
    every_host_that_is_not_trusted(&mut seen).await;
    drop(listening);

    assert!(seen.len() > 80, "{} outcomes are too few to be all of them", seen.len());
    for shown in &seen {
        assert!(!shown.to_uppercase().contains(CANARY), "{shown}");
    }
    let log = log.text();
    assert!(log.contains("delivery.status=500"), "the log was listened to:\n{log}");
    assert!(!log.to_uppercase().contains(CANARY), "{log}");
}

async fn every_answer_to_every_recipe(seen: &mut Vec<String>) {
    for recipe in 0..recipes("").len() {
        for answer in answers() {
            let vendor = Vendor::start();
            vendor.script(vec![answer; 3]);
            let (step, verify) = recipes(&vendor.url("")).swap_remove(recipe);
            attempt(&delivery(vec![step], Some(verify), secrets()), seen).await;
        }
    }
}

async fn every_mistake_in_a_recipe(seen: &mut Vec<String>) {
    let vendor = Vendor::start();
    let canary_url = |template: &str| http(http_step("PUT", template));
    let in_header = |template: &str| {
        let headers = texts([("x-key", template)]);
        http(HttpStep { headers, ..http_step("PUT", &vendor.url("/")) })
    };
    let with_auth = |auth| http(HttpStep { auth: Some(auth), ..http_step("PUT", &vendor.url("/")) });
    for step in [
        canary_url("https://{{ secret_access_key | lower }}.acme.invalid/"),
        canary_url("http://acme.invalid/{{ secret_access_key }}"),
        canary_url("https://acme.invalid/{{ secret_access_key | urlencode }}"),
        canary_url("https://{{ secret_access_key }}@acme.invalid/"),
        canary_url("{{ secret_access_key }}"),
        canary_url("https://acme.invalid:{{ secret_access_key }}/"),
        in_header("{{ secret_access_key }}\nx-more: 1"),
        in_header("{{ secret_access_key | int }}"),
        in_header("{{ secret_access_key | b64decode }}"),
        in_header("{{ secret_access_key | sealed_box(secret_access_key) }}"),
        in_header("{{ secret_access_key.missing.deeper }}"),
        in_header("{{ {}[secret_access_key].x }}"),
        in_header("{% include secret_access_key %}"),
        in_header("{{ secret_access_key * 99999 }}"),
        with_auth(Auth::Bearer(reference("env:BROKEN"))),
        with_auth(Auth::Header { name: "x key".to_owned(), value: reference("env:TOKEN") }),
        with_auth(Auth::Header { name: "content-length".to_owned(), value: reference("env:TOKEN") }),
        DeliverStep::Webhook(WebhookStep {
            secrets: vec![reference("env:TOKEN")],
            ..webhook_step(&vendor.url("/"))
        }),
        DeliverStep::Webhook(WebhookStep {
            secrets: vec![reference("env:BROKEN")],
            ..webhook_step(&vendor.url("/"))
        }),
    ] {
        let before = seen.len();
        attempt(&delivery(vec![step], None, secrets()), seen).await;
        assert!(seen.len() > before + 1, "a mistake is told");
    }
    assert_eq!(vendor.requests().len(), 0);
}

async fn every_host_that_is_not_trusted(seen: &mut Vec<String>) {
    let authority = Authority::new();
    for server in [
        authority.server("localhost", Validity::Expired),
        authority.server("other.example", Validity::Current),
        self_signed_server("localhost"),
    ] {
        let vendor = Vendor::start_tls(server);
        let (step, verify) = recipes(&vendor.url("")).swap_remove(0);
        let acme = delivery_trusting(authority.roots(), vec![step], Some(verify), secrets());
        attempt(&acme, seen).await;
    }
    let nowhere = recipes("https://acme.invalid").into_iter();
    for (step, verify) in nowhere {
        attempt(&delivery_trusting(RootCertStore::empty(), vec![step], Some(verify), secrets()), seen).await;
    }
}

/// Delivers, verifies and preflights, and keeps what a person would read of that.
async fn attempt(acme: &Arc<dyn keyround::ports::Delivery>, seen: &mut Vec<String>) {
    let offer: Offer = offer();
    let secret = Secret::from("CANARY-secret/of+the+new+key");
    seen.extend(shown(acme.deliver(&offer, &secret).await.err().as_ref()));
    seen.extend(shown(acme.verify(&offer).await.err().as_ref()));
    seen.push(format!("{:?}", acme.preflight(&offer).await));
}

fn shown(fault: Option<&Fault>) -> Option<String> {
    fault.map(|fault| format!("{fault:?} {}", fault.sentence()))
}

fn secrets() -> Secrets {
    Secrets::of(&[
        ("env:SIGNING", "whsec_CANARYCANARYCANARYCANARYCANARYCANARY"),
        ("env:TOKEN", "CANARY-token"),
        ("env:BROKEN", "CANARY\r\nx-more: CANARY"),
    ])
}

/// A delivery and a check of each kind, all at one vendor.
fn recipes(base: &str) -> Vec<(DeliverStep, HttpStep)> {
    let webhook = WebhookStep { timeout: IMPATIENT, ..webhook_step(&format!("{base}/CANARY-path")) };
    // The URL of a webhook may be a secret, so it is never shown. The path of a templated request is shown, without
    // its secrets.
    let mut step =
        http_step("PUT", &format!("{base}/keys/{{{{ secret_access_key | urlencode }}}}?key=CANARY"));
    step.timeout = IMPATIENT;
    step.headers = texts([("x-key", "{{ secret_access_key }}")]);
    step.auth = Some(Auth::Bearer(reference("env:TOKEN")));
    step.body = Body::Json(json!({"secret": "{{ secret_access_key }}"}));
    let capturing = HttpStep { capture: captures([("it", "/missing")]), ..step.clone() };
    let expecting = expecting("/it", Some("x"));
    let oauth2 = Auth::OAuth2 {
        token_url: format!("{base}/token?CANARY"),
        client_id: "keyround".to_owned(),
        client_secret: reference("env:TOKEN"),
        scope: None,
        audience: None,
        in_body: false,
    };
    let asking = HttpStep {
        timeout: IMPATIENT,
        auth: Some(Auth::Basic { user: "user".to_owned(), password: reference("env:TOKEN") }),
        expect: expecting.clone(),
        ..http_step("GET", &format!("{base}/keys?CANARY"))
    };
    vec![
        (DeliverStep::Webhook(webhook), asking.clone()),
        (http(HttpStep { expect: expecting, ..step.clone() }), asking.clone()),
        (
            http(HttpStep { auth: Some(oauth2.clone()), ..step }),
            HttpStep { auth: Some(oauth2), ..asking.clone() },
        ),
        (http(capturing), asking),
    ]
}

/// Every answer that is not an acceptance, each with a canary where it can carry one.
fn answers() -> Vec<Answer> {
    // A successful answer may contain what the vendor stores, and is never shown. A refusal is shown, without the
    // secrets of the request.
    let stored = json!({"it": "CANARY-body", "error": "CANARY-body", "access_token": "CANARY", "token_type": "CANARY"});
    let echo = json!({"error": "no CANARY-secret/of+the+new+key"});
    let says = |status| {
        Answer::json(status, if status < 300 { &stored } else { &echo })
            .header("location", "https://CANARY.acme.invalid/")
            .header("retry-after", "CANARY")
            .header("set-cookie", "CANARY=1")
    };
    let mut answers: Vec<_> = [200, 204, 302, 400, 401, 410, 429, 500, 503].map(says).into();
    answers.extend([
        Answer::Hangs,
        Answer::Drips,
        Answer::Closes,
        Answer::Garbage,
        Answer::Cuts("{\"it\":\"CANARY".to_owned()),
        Answer::Says { status: 200, headers: Vec::new(), body: "<html>CANARY</html>".to_owned() },
    ]);
    answers
}
