//! The answers of vendors: a status, a Retry-After and a body, from an endpoint that anybody may control by now.

use std::time::Duration;

use keyround::core::rotation::{RefusalCode, Verification};
use keyround::ports::{Answer, Fault};
use serde_json::Value;
use toml::Value as Toml;

use super::bytes::Bytes;
use super::recipe::{Errand, NEW_KEY, NEW_SECRET, Recipe, Said, check_fault};

/// A word in the body and in the Retry-After header that must not be quoted in a sentence.
const CANARY: &str = "Xq7canaryZ9";
const POINTER_CHARS_MAX: usize = 60;

/// The request of the recipe, and how it judges the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Question {
    /// A delivery that judges only the status.
    Status,
    /// A delivery after which a certain value must be at a place in the answer.
    Equals,
    /// A delivery whose answer is captured for the next step.
    Capture,
    /// The check that tells which key is in force.
    InForce,
}

const QUESTIONS: [Question; 4] = [Question::Status, Question::Equals, Question::Capture, Question::InForce];

/// The outcome of an answer is the one that HTTP and the recipe define, it is the same each time, and it quotes
/// nothing.
///
/// The bytes: a choice of request and expected statuses, the status, a line for Retry-After, a line for the JSON
/// pointer, and the body.
pub fn answers(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let (question, only_200) = (bytes.pick(&QUESTIONS), bytes.flag());
    let status = bytes.u16() % 1000;
    let (retry_after, pointer) = (bytes.line(), bytes.line());
    let pointer: String = pointer.chars().take(POINTER_CHARS_MAX).collect();
    let Ok(recipe) = Recipe::new(&recipe(question, only_200, &pointer)) else { return };
    let said = Said { status, retry_after: Some(retry_after), body: bytes.text() };
    let part = if question == Question::InForce { Errand::Verify } else { Errand::Deliver };
    let perform = || recipe.perform(part, NEW_SECRET, "token", std::slice::from_ref(&said));
    let (answer, sent) = perform();
    assert_eq!(answer, perform().0, "the same answer has the same meaning");
    assert!(sent.len() <= 2, "a request is sent once");
    if let Err(fault) = &answer {
        let canary = if pointer.contains(CANARY) { "\0" } else { CANARY };
        check_fault(fault, canary);
        check_retry_after(fault, said.retry_after.as_deref().unwrap_or_default());
    }
    let accepted = if only_200 { status == 200 } else { (200..300).contains(&status) };
    if accepted { check_body(question, &answer, &pointer, &said.body) } else { check_status(status, &answer) }
}

fn recipe(question: Question, only_200: bool, pointer: &str) -> String {
    let pointer = Toml::String(pointer.to_owned());
    let status = if only_200 { "status = 200" } else { "" };
    let step =
        "[[vendor.acme.deliver]]\nkind = \"http\"\nmethod = \"PUT\"\nurl = \"https://api.acme.example/v1\"\n";
    match question {
        Question::Status => format!("{step}expect = {{ {status} }}\n"),
        Question::Equals => format!(
            "{step}[vendor.acme.deliver.expect]\npointer = {pointer}\nequals = \"{{{{ access_key_id }}}}\"\n{status}\n"
        ),
        Question::Capture => format!(
            "{step}expect = {{ {status} }}\n[vendor.acme.deliver.capture]\nkept = {pointer}\n{step}body = \"{{{{ captured.kept }}}}\"\n"
        ),
        Question::InForce => format!(
            "{step}[vendor.acme.verify]\nurl = \"https://api.acme.example/v1\"\n[vendor.acme.verify.expect]\n\
             pointer = {pointer}\nequals = \"{{{{ access_key_id }}}}\"\n{status}\n"
        ),
    }
}

/// Only a status that means a refusal in HTTP counts as a refusal.
fn check_status(status: u16, answer: &Answer<Option<Verification>>) {
    let is_no = matches!(status, 300..=499) && status != 408;
    match answer {
        Ok(_) => panic!("{status} is no yes"),
        Err(Fault::Refused(refusal)) => {
            assert!(is_no, "{status} says nothing, and was taken for a no");
            assert!(matches!(refusal.code, RefusalCode::VendorRefused | RefusalCode::VendorGone));
        }
        Err(Fault::Unknown(_)) => assert!(!is_no, "{status} is a no, and was taken for a doubt"),
    }
}

/// The status was a success, so the value that the recipe looks for must be in the body.
fn check_body(question: Question, answer: &Answer<Option<Verification>>, pointer: &str, body: &str) {
    let body = &body[..body.floor_char_boundary(super::recipe::ANSWER_BYTES_MAX)];
    let document: Option<Value> = serde_json::from_str(body).ok();
    let value = document.as_ref().and_then(|document| document.pointer(pointer));
    let is_named = value.is_some_and(|value| *value == *NEW_KEY);
    match (question, answer) {
        (Question::Status, answer) => assert_eq!(*answer, Ok(None)),
        (Question::Equals, answer) => assert_eq!(answer.is_ok(), is_named),
        (Question::Capture, Ok(_)) => assert!(value.is_some(), "nothing was kept"),
        (Question::InForce, Ok(verification)) => {
            assert!(is_named, "the vendor did not say so");
            assert_eq!(*verification, Some(Verification::Asked));
        }
        (Question::Capture | Question::InForce, Err(fault)) => {
            assert!(!is_named, "the vendor did say so");
            let is_another =
                matches!(fault, Fault::Refused(refusal) if refusal.code == RefusalCode::NotInForce);
            assert!(!is_another || value.is_some(), "nothing is there, and was taken for another key");
        }
    }
    if let (None, Err(fault)) = (&document, answer) {
        assert!(matches!(fault, Fault::Unknown(_)), "a body that cannot be read is no word from the vendor");
    }
}

/// A number is a number of seconds. A date may give any wait; a text that cannot be read gives none.
fn check_retry_after(fault: &Fault, text: &str) {
    let asked = match fault {
        Fault::Refused(refusal) => refusal.retry_after,
        Fault::Unknown(doubt) => doubt.retry_after,
    };
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && asked.is_some() {
        assert_eq!(asked, text.parse().ok().map(Duration::from_secs));
    }
}
