//! Templates of requests, as an operator writes them, with values that AWS and vendors choose.

use keyround::ports::Fault;
use serde_json::Value;
use toml::Value as Toml;
use url::Url;

use super::bytes::Bytes;
use super::recipe::{Errand, HOST, NEW_SECRET, Recipe, Said, Sent, TEXT_BYTES_MAX, check_fault};

/// Another secret of the same format.
const OTHER_SECRET: &str = "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY";
const CANARY: &str = "Xq7canaryZ9";

/// The places in a step at which a template may stand. `@` is the template, as a TOML string.
const PLACES: [&str; 7] = [
    "url = @",
    "url = \"https://api.acme.example/v1\"\nheaders = { X-Key = @ }",
    "url = \"https://api.acme.example/v1\"\nbody = @",
    "url = \"https://api.acme.example/v1\"\njson = { key = @, list = [1, true, @] }",
    "url = \"https://api.acme.example/v1\"\nform = { key = @, other = \"1\" }",
    "url = \"https://api.acme.example/v1\"\nexpect = { pointer = \"/it\", equals = @ }",
    "url = @\nallow_plaintext = true",
];
const JSON: usize = 3;
const FORM: usize = 4;

/// A template that the configuration accepts makes the same bounded request each time, to a host that neither a
/// secret nor an answer can change; a failure is reported without a value.
///
/// The bytes: a place, a line that an earlier step's answer contained, and the template.
pub fn templates(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let place = usize::from(bytes.byte()) % PLACES.len();
    let (captured, template) = (bytes.line(), bytes.text());
    let Ok(recipe) = Recipe::new(&steps(PLACES[place], &template)) else { return };
    let said = |captured: &str| {
        let body = serde_json::json!({ "it": captured }).to_string();
        [Said { status: 200, retry_after: None, body }]
    };
    let deliver = |secret, captured: &str| recipe.perform(Errand::Deliver, secret, "token", &said(captured));
    let (answer, sent) = deliver(NEW_SECRET, &captured);
    if let Err(fault) = &answer {
        // A word of the template may appear in the sentence, a value must not.
        let is_value = captured.contains(CANARY) && !template.contains(CANARY);
        check_fault(fault, if is_value { CANARY } else { "\0" });
        let is_syntax = matches!(fault, Fault::Refused(_)) && fault.sentence().contains("syntax error");
        assert!(!is_syntax, "the configuration accepted {template:?}");
    }
    let request = sent.get(1);
    if !template.contains("sealed_box") {
        assert_eq!(request, deliver(NEW_SECRET, &captured).1.get(1), "the same offer is the same request");
    }
    let Some(request) = request else { return };
    check_request(request, place);
    for (secret, captured) in [(OTHER_SECRET, captured.as_str()), (NEW_SECRET, "another.example")] {
        let (_, sent) = deliver(secret, captured);
        let other = sent.get(1).map(|other| origin(&other.url));
        assert!(other.is_none_or(|other| other == origin(&request.url)), "a value has moved the host");
    }
}

fn steps(place: &str, template: &str) -> String {
    let ask = "[[vendor.acme.deliver]]\nkind = \"http\"\nmethod = \"GET\"\nurl = \"https://api.acme.example/v1\"\ncapture = { it = \"/it\" }\n";
    let place = place.replace('@', &Toml::String(template.to_owned()).to_string());
    format!("{ask}[[vendor.acme.deliver]]\nkind = \"http\"\nmethod = \"PUT\"\n{place}\n")
}

fn origin(url: &str) -> url::Origin {
    Url::parse(url).expect("an address that is sent to is one").origin()
}

fn check_request(request: &Sent, place: usize) {
    assert_eq!(request.method, "PUT");
    let url = Url::parse(&request.url).expect("an address that is sent to is one");
    assert!(url.username().is_empty() && url.password().is_none());
    let is_plain = url.scheme() == "http";
    let is_at_home =
        url.host_str().is_some_and(|host| matches!(host, "localhost" | "[::1]") || host.starts_with("127."));
    assert!(
        url.scheme() == "https" || (is_plain && (is_at_home || PLACES[place].contains("allow_plaintext")))
    );
    assert!(PLACES[place].starts_with("url = @") || url.host_str() == Some(HOST));
    for (name, value) in &request.headers {
        assert!(value.chars().all(|letter| matches!(letter, ' '..='~')), "the header {name} is {value:?}");
    }
    let body = request.body.as_deref().unwrap_or_default();
    assert!(body.len() <= TEXT_BYTES_MAX);
    match place {
        JSON => {
            let document: Value = serde_json::from_str(body).expect("a document");
            let shape = document.as_object().map(|fields| (fields.len(), fields["key"].is_string()));
            assert_eq!(shape, Some((2, true)), "a value has broken out of its string");
            assert_eq!(document["list"].as_array().map(Vec::len), Some(3));
        }
        FORM => {
            let fields: Vec<_> = url::form_urlencoded::parse(body.as_bytes()).collect();
            assert_eq!(fields.len(), 2, "a value has broken out of its field");
        }
        _ => {}
    }
}
