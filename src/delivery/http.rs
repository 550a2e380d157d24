//! `kind = "http"`, and `verify`: one request, made from templates, and what its answer must say.
//!
//! **Invariant:** what was rendered is checked again before it is sent: the address, and that no header has a line
//! break in it.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;
use url::form_urlencoded::byte_serialize;

use crate::config::settings::{Body, HttpStep};
use crate::delivery::scratch::Scratch;
use crate::delivery::template::{Captured, Words};
use crate::delivery::{Prepared, Tools, answer, auth, misconfigured};
use crate::outward::target::{self, BadTarget, Plaintext};
use crate::ports::{Answer, Errand, Fault, Offer, Purpose, Request, Response};
use crate::rotation::{RefusalCode, Verification};
use crate::secret::Secret;

/// Headers that say where a message ends. Set by hand, they would smuggle a second one.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// Sends step `number` and keeps what is to be captured of its answer.
pub(super) async fn send(
    tools: &Tools,
    step: &HttpStep,
    number: usize,
    offer: &Offer,
    secret: &Secret,
    captured: &mut Captured,
) -> Answer<()> {
    let words = Words::new(offer, Some(secret), captured);
    let asked = ask(tools, step, offer, &words, Errand::Deliver { step: number - 1 }).await?;
    tracing::debug!(
        vendor.name = %offer.subject.vendor, delivery.step = number, delivery.host = %asked.host,
        delivery.status = asked.response.status, "a step was answered"
    );
    answer::accepted(&asked.host, &asked.response, &step.expect.status, offer.now)?;
    if let Finding::Differs(_) = asked.finding(step)? {
        let (host, status) = (&asked.host, asked.response.status);
        let pointer = step.expect.pointer.as_deref().unwrap_or_default();
        let sentence = format!(
            "{host} answered {status}, but its answer has another value at {pointer:?} than expected"
        );
        return Err(Fault::refused(RefusalCode::VendorRefused, sentence));
    }
    asked.capture(step, captured)
}

/// Asks the vendor which key is in force.
pub(super) async fn verify(tools: &Tools, step: &HttpStep, offer: &Offer) -> Answer<Verification> {
    let words = Words::new(offer, None, &Captured::new());
    let asked = ask(tools, step, offer, &words, Errand::Verify).await?;
    tracing::debug!(
        vendor.name = %offer.subject.vendor, delivery.host = %asked.host,
        delivery.status = asked.response.status, "the vendor was asked which key is in force"
    );
    answer::accepted(&asked.host, &asked.response, &step.expect.status, offer.now)?;
    match asked.finding(step)? {
        Finding::AsExpected => Ok(Verification::Asked),
        Finding::Differs(held) => {
            let held = shown_as_key_id(&held);
            let sentence =
                format!("{} says that {held} is in force, not {}", asked.host, offer.access_key_id);
            Err(Fault::refused(RefusalCode::NotInForce, sentence))
        }
    }
}

async fn ask(tools: &Tools, step: &HttpStep, offer: &Offer, words: &Words, errand: Errand) -> Answer<Asked> {
    let purpose = Purpose { subject: offer.subject.clone(), errand };
    let credentials = auth::credentials(tools, step).await?;
    let mut request = request(tools, step, words)?;
    let equals = equals(tools, step, words)?;
    let header = credentials.header(tools, &purpose, offer.now).await?;
    add_header(&mut request.ready.headers, header)?;
    let host = target::host_of(&request.target);
    let response = tools.egress.send(&purpose, request.ready).await?;
    Ok(Asked { host, response, equals })
}

/// The request, without what shows who sends it. Reads no secret and sends nothing.
pub(super) fn request(tools: &Tools, step: &HttpStep, words: &Words) -> Answer<Prepared> {
    let target = target(tools, step, words)?;
    let mut headers = Vec::new();
    for (name, value) in &step.headers {
        let value = tools.render(&format!("the header {name}"), value, words)?;
        add_header(&mut headers, Some((name.to_ascii_lowercase(), value)))?;
    }
    let (body, content_type) = body(tools, &step.body, words)?;
    let has_type = headers.iter().any(|(name, _)| name == "content-type");
    if let (Some(content_type), false) = (content_type, has_type) {
        headers.push(("content-type".to_owned(), Secret::from(content_type)));
    }
    let url = Secret::from(target.as_str());
    let ready = Request { method: step.method.clone(), url, headers, body, timeout: step.timeout };
    Ok(Prepared { target, ready })
}

/// What must stand in the answer.
pub(super) fn equals(tools: &Tools, step: &HttpStep, words: &Words) -> Answer<Option<Secret>> {
    let equals = step.expect.equals.as_deref();
    equals.map(|source| tools.render("expect.equals", source, words)).transpose()
}

/// Where the request goes. Its host is the recipe's choice: host names go out in clear, to name servers and into
/// sentences, and no vendor's answer may send a key elsewhere. So other secrets and answers must lead to the same host.
fn target(tools: &Tools, step: &HttpStep, words: &Words) -> Answer<Url> {
    let plaintext = Plaintext::from_setting(step.allow_plaintext);
    let url = tools.render("the url", &step.url, words)?;
    let target = target::checked(url.expose(), plaintext).map_err(misconfigured)?;
    let other = tools.render("the url", &step.url, &words.stand_in());
    let other = other.ok().and_then(|url| Url::parse(url.expose()).ok());
    match other.is_some_and(|other| other.origin() == target.origin()) {
        true => Ok(target),
        false => Err(misconfigured(BadTarget::MovingHost)),
    }
}

fn add_header(headers: &mut Vec<auth::Header>, header: Option<auth::Header>) -> Answer<()> {
    let Some((name, value)) = header else { return Ok(()) };
    if FRAMING.contains(&name.as_str()) {
        return Err(misconfigured(format!("the header {name} is not for a recipe to set")));
    }
    let is_printable = |char| matches!(char, ' '..='~');
    if !value.expose().chars().all(is_printable) {
        return Err(misconfigured(format!("the header {name} would contain more than printable ASCII")));
    }
    headers.retain(|(other, _)| *other != name);
    headers.push((name, value));
    Ok(())
}

type BodyAndType = (Option<Secret>, Option<&'static str>);

fn body(tools: &Tools, body: &Body, words: &Words) -> Answer<BodyAndType> {
    let mut text = Scratch::new();
    let content_type = match body {
        Body::Empty => return Ok((None, None)),
        Body::Text(source) => return Ok((Some(tools.render("the body", source, words)?), None)),
        Body::Json(value) => {
            write_json(tools, value, words, &mut text)?;
            "application/json"
        }
        Body::Form(fields) => {
            write_form(tools, fields, words, &mut text)?;
            "application/x-www-form-urlencoded"
        }
    };
    Ok((Some(text.into_secret()), Some(content_type)))
}

fn put(to: &mut Scratch, text: &str) -> Answer<()> {
    match to.push(text.as_bytes()) {
        true => Ok(()),
        false => Err(misconfigured("the body is too long")),
    }
}

/// Writes a document whose strings are templates. A rendered string stays one string, whatever is in it.
pub(super) fn write_json(tools: &Tools, value: &Value, words: &Words, to: &mut Scratch) -> Answer<()> {
    match value {
        Value::String(source) => {
            let text = tools.render("json", source, words)?;
            serde_json::to_writer(to, text.expose()).map_err(|_| misconfigured("the body is too long"))
        }
        Value::Array(items) => {
            put(to, "[")?;
            for (index, item) in items.iter().enumerate() {
                put(to, if index == 0 { "" } else { "," })?;
                write_json(tools, item, words, to)?;
            }
            put(to, "]")
        }
        Value::Object(fields) => {
            put(to, "{")?;
            for (index, (name, item)) in fields.iter().enumerate() {
                put(to, if index == 0 { "" } else { "," })?;
                put(to, &Value::from(name.as_str()).to_string())?;
                put(to, ":")?;
                write_json(tools, item, words, to)?;
            }
            put(to, "}")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => put(to, &value.to_string()),
    }
}

fn write_form(
    tools: &Tools,
    fields: &BTreeMap<String, String>,
    words: &Words,
    to: &mut Scratch,
) -> Answer<()> {
    for (index, (name, source)) in fields.iter().enumerate() {
        let value = tools.render(&format!("form.{name}"), source, words)?;
        put(to, if index == 0 { "" } else { "&" })?;
        byte_serialize(name.as_bytes()).try_for_each(|piece| put(to, piece))?;
        put(to, "=")?;
        byte_serialize(value.expose().as_bytes()).try_for_each(|piece| put(to, piece))?;
    }
    Ok(())
}

/// What an answer says where a value is expected.
enum Finding {
    AsExpected,
    /// This stands there instead.
    Differs(Secret),
}

/// A request that was answered.
struct Asked {
    host: String,
    response: Response,
    equals: Option<Secret>,
}

impl Asked {
    fn finding(&self, step: &HttpStep) -> Answer<Finding> {
        let expected = self.equals.as_ref();
        let pointer = match (&step.expect.pointer, expected) {
            (Some(pointer), _) => pointer.as_str(),
            (None, Some(_)) => "",
            (None, None) => return Ok(Finding::AsExpected),
        };
        let document = self.document()?;
        let Some(value) = document.pointer(pointer) else { return Err(self.nothing_at(pointer)) };
        Ok(match (text_of(value), expected) {
            (_, None) => Finding::AsExpected,
            (Some(text), Some(expected)) if text == *expected => Finding::AsExpected,
            (text, Some(_)) => Finding::Differs(text.unwrap_or_else(|| Secret::from(""))),
        })
    }

    fn capture(&self, step: &HttpStep, captured: &mut Captured) -> Answer<()> {
        if step.capture.is_empty() {
            return Ok(());
        }
        let document = self.document()?;
        for (name, pointer) in &step.capture {
            let value = document.pointer(pointer).and_then(text_of);
            captured.insert(name.clone(), value.ok_or_else(|| self.nothing_at(pointer))?);
        }
        Ok(())
    }

    /// A body that is cut, garbled or another page than expected says nothing of what was done.
    fn document(&self) -> Answer<Value> {
        let document = serde_json::from_str(self.response.body.expose());
        let (host, status) = (&self.host, self.response.status);
        document.map_err(|_| {
            Fault::unknown(format!("{host} answered {status}, but not with the JSON that was expected"))
        })
    }

    fn nothing_at(&self, pointer: &str) -> Fault {
        let (host, status) = (&self.host, self.response.status);
        let sentence = format!("{host} answered {status}, but its answer has no value at {pointer:?}");
        Fault::refused(RefusalCode::VendorRefused, sentence)
    }
}

/// A value as a template would write it; lists, objects and null are none.
pub(super) fn text_of(value: &Value) -> Option<Secret> {
    match value {
        Value::String(text) => Some(Secret::from(text.as_str())),
        Value::Number(_) | Value::Bool(_) => Some(Secret::new(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What a vendor says it holds: named if it is a key id beyond doubt. A wrong pointer may lead to the secret.
fn shown_as_key_id(held: &Secret) -> &str {
    let text = held.expose();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    match text.starts_with("AKIA") && (16..=24).contains(&text.len()) && is_plain {
        true => text,
        false => "another value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_id_is_named_as_what_a_vendor_holds() {
        let shown = |text: &str| shown_as_key_id(&Secret::from(text)).to_owned();
        assert_eq!(shown("AKIAIOSFODNN7EXAMPLE"), "AKIAIOSFODNN7EXAMPLE");
        for other in ["", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AKIA", "AKIAlower00000000000"] {
            assert_eq!(shown(other), "another value");
        }
    }

    #[test]
    fn a_header_cannot_carry_another() {
        let mut headers = Vec::new();
        let mut add =
            |name: &str, value: &str| add_header(&mut headers, Some((name.to_owned(), Secret::from(value))));
        assert_eq!(add("x-key", "a b~"), Ok(()));
        for bad in ["a\r\nx: y", "a\nb", "a\0", "\u{7f}", "ü", "a\tb"] {
            assert!(add("x-key", bad).is_err(), "{bad:?}");
        }
        assert!(add("content-length", "0").is_err());
        assert!(add("transfer-encoding", "chunked").is_err());
        assert_eq!(add("x-key", "later"), Ok(()));
        assert_eq!(headers.len(), 1);
    }
}
