//! The requests of presets, validated against their vendors' own API descriptions by `openapi-core`, which is
//! independent of keyround.

use keyround::config::catalogue::catalogue;
use keyround::core::secret::Secret;
use serde_json::{Value, json};

use super::conversation::{Conversation, Description, Message};
use super::{NEW_SECRET, conversation, offer, set_up};
use crate::support::{description, python};

#[tokio::test]
#[ignore = "wants Debian's nodejs and npm, and a registry of npm"]
async fn preset_requests_conform_to_the_openapi_descriptions_of_vendors() {
    let (mut presets, mut all) = (0, 0);
    for preset in catalogue() {
        let base = conversation(&preset.name);
        if base.openapi.is_empty() {
            continue;
        }
        let variants = base.variants.iter().map(|variant| base.with(variant));
        let mut requests = Vec::new();
        for variant in std::iter::once(base.clone()).chain(variants) {
            requests.extend(requests_of(&preset, &variant).await);
        }
        for described in &base.openapi {
            let (of_it, others) =
                requests.into_iter().partition(|message| message.url.as_str().starts_with(&described.server));
            requests = others;
            let (bad, version) = bad(described, &of_it);
            let (of, good) = (of_it.len(), of_it.len() - bad.len());
            println!("{}: {good} of {of} requests are as {} {version} says", preset.name, described.package);
            assert!(bad.is_empty(), "{}: {bad:#?}", preset.name);
            assert!(of > 0, "{}", preset.name);
            all += of;
        }
        assert!(requests.is_empty(), "{}: no description covers {requests:?}", preset.name);
        presets += 1;
    }
    println!("{all} of {all} requests of {presets} presets are as their vendors' descriptions say");
}

/// The requests that contradict the description, and the description's version.
fn bad(described: &Description, requests: &[Message]) -> (Vec<Value>, Value) {
    let path = description::provide(&described.package, &described.file, &described.sha256);
    let question = json!({
        "description": path, "server": described.server, "requests": requests.iter().map(shown).collect::<Vec<_>>(),
    });
    let answer = python::ask("validate_requests.py", &question).unwrap_or_else(|error| panic!("{error}"));
    let mut answer: Value = serde_json::from_str(&answer).expect("an answer");
    (answer["bad"].as_array().cloned().expect("a list"), answer["version"].take())
}

/// Proves that the validation can fail, because a validation that never fails proves nothing.
#[tokio::test]
#[ignore = "wants Debian's nodejs and npm, and a registry of npm"]
async fn a_request_that_violates_its_openapi_description_is_found() {
    let preset = catalogue().into_iter().find(|preset| preset.name == "github-actions").expect("the preset");
    let base = conversation(&preset.name);
    let good = requests_of(&preset, &base).await;
    let put = good.iter().find(|message| message.method == "PUT").expect("a write");
    let broken = [
        Message { body: put.body.replace("key_id", "keyid"), ..put.clone() },
        Message { body: r#"{"encrypted_value": 5, "key_id": "1"}"#.to_owned(), ..put.clone() },
        Message { method: "POST".to_owned(), ..put.clone() },
        Message { url: put.url.join("/repos/acme/secrets").expect("a URL"), ..put.clone() },
    ];
    let (bad, _) = bad(&base.openapi[0], &broken);
    assert_eq!(bad.len(), broken.len(), "{bad:#?}");
}

async fn requests_of(
    preset: &keyround::config::catalogue::Preset,
    conversation: &Conversation,
) -> Vec<Message> {
    let (vendor, acme) = set_up(preset, conversation);
    drop(acme.preflight(&offer(0)).await);
    assert_eq!(acme.deliver(&offer(0), &Secret::from(NEW_SECRET)).await, Ok(()));
    drop(acme.verify(&offer(0)).await);
    vendor.messages()
}

fn shown(message: &Message) -> Value {
    json!({
        "method": message.method, "url": message.url.as_str(), "headers": message.headers, "body": message.body,
    })
}
