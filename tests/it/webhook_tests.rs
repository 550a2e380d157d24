//! `webhook send-test`: the sample receiver in Python accepts the message, which carries no key, and stores nothing.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use keyround::core::secret::Secret;

use crate::support::moto::Emulator;
use crate::support::papers;
use crate::support::program::Program;
use crate::support::python;
use crate::support::vendor::{Answer, Received, Vendor};

/// It decodes to a text, so that the tests can search for that form too.
const SIGNING_SECRET: &str = "whsec_c2lnbmluZyBzZWNyZXQgb2YgdGhlIHRlc3QgbWVzc2FnZQ==";

fn scene(emulator: &Emulator, vendor: &Vendor) -> Program {
    let config = format!(
        "[vendor.acme]\niam_user = \"vendor-acme\"\n[[vendor.acme.deliver]]\nkind = \"webhook\"\nurl = \"{}\"\n\
         secret = \"credential:hook\"\n[vendor.typed]\niam_user = \"vendor-typed\"\n[[vendor.typed.deliver]]\n\
         kind = \"manual\"\ninstructions = \"type it in\"\n",
        vendor.url("/hook")
    );
    let program = Program::new(emulator, &config);
    program.credential("hook", SIGNING_SECRET);
    program
}

/// What the sample receiver prints for this request; `Err` if it refuses the request.
fn received(request: &Received) -> Result<String, String> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/receive.py");
    let mut command = Command::new(python::interpreter());
    command.arg(sample).env("WEBHOOK_SECRET", SIGNING_SECRET).env("AGE_IDENTITY", "none");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the sample starts");
    let message = json!({ "headers": request.headers, "body": request.body }).to_string();
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(message.as_bytes()).expect("it reads");
    drop(stdin);
    let done = child.wait_with_output().expect("it ends");
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
    }
}

/// Of docs/configuration.md: each command writes a secret that keyround accepts for its purpose.
#[test]
fn the_documented_commands_generate_secrets_that_work() {
    let made: Vec<String> = papers::block("docs/configuration.md", "make-secrets")
        .iter()
        .map(|line| {
            let ran = Command::new("sh").args(["-c", line]).output().expect("a shell");
            assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
            String::from_utf8(ran.stdout).expect("text").trim().to_owned()
        })
        .collect();
    let [hmac, ed25519, seal_key] = &made[..] else { panic!("three commands, not {}", made.len()) };
    assert!(hmac.starts_with("whsec_") && ed25519.starts_with("whsk_"), "the prefixes");
    let (emulator, vendor) = (Emulator::start(), Vendor::start());
    for signing_secret in [hmac, ed25519] {
        let program = scene(&emulator, &vendor);
        program.credential("hook", signing_secret);
        vendor.script([Answer::status(204)]);
        let shown = program.json(0, &["--format", "json", "webhook", "send-test", "acme"]);
        assert_eq!(shown["webhooks"][0]["ok"], json!(true), "{shown}");
    }
    keyround::adapters::journal::SealKey::from_base64(&Secret::new(seal_key.clone())).expect("a seal key");
}

#[test]
fn a_test_webhook_is_signed_contains_no_key_and_is_not_stored() {
    let (emulator, vendor) = (Emulator::start(), Vendor::start());
    let program = scene(&emulator, &vendor);
    vendor.script([Answer::status(204)]);
    let shown = program.json(0, &["--format", "json", "webhook", "send-test", "acme"]);
    assert_eq!((&shown["vendor"], &shown["webhooks"][0]["ok"]), (&json!("acme"), &json!(true)));
    let sentence = shown["webhooks"][0]["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("answered 204"), "{sentence}");

    let requests = vendor.requests();
    let [request] = &requests[..] else { panic!("one request, not {}", requests.len()) };
    let body: Value = request.json();
    assert_eq!((&body["type"], &body["data"]["vendor"]), (&json!("access_key.test"), &json!("acme")));
    let names: Vec<&String> = body["data"].as_object().expect("data").keys().collect();
    assert_eq!(names, ["note", "vendor"], "no key id, no secret, no reference to one");
    assert_eq!(received(request).as_deref(), Ok("null"));
    let mut forged = request.json();
    forged["data"]["vendor"] = json!("evil");
    let forged = Received { body: forged.to_string(), ..request.clone() };
    received(&forged).expect_err("the signature is over the body");
    assert_eq!(vendor.held().map(|pair| pair.access_key_id), None);
    program.assert_no_secret_was_seen(&emulator);
}

#[test]
fn send_test_fails_if_refused_without_a_webhook_or_without_a_vendor() {
    let (emulator, vendor) = (Emulator::start(), Vendor::start());
    let program = scene(&emulator, &vendor);
    vendor.script([Answer::status(401)]);
    let refused = program.run(&["webhook", "send-test", "acme"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stdout.contains("FAILED") && refused.stdout.contains("401"), "{}", refused.stdout);
    let by_hand = program.run(&["webhook", "send-test", "typed"]);
    assert_eq!(by_hand.code, Some(64));
    assert!(by_hand.stderr.contains("has no webhook, so nothing was sent"), "{}", by_hand.stderr);
    assert_eq!(program.run(&["webhook", "send-test", "acm"]).code, Some(64));
    assert_eq!(vendor.requests().len(), 1);
}
