//! `kind = "secrets-manager"` and `kind = "ssm"`: the pair is written to a place at AWS from which the vendor reads
//! it.
//!
//! **Invariant:** the values of document members that the recipe does not name are kept byte for byte.
//!
//! **Invariant:** a repeat makes no new version. A value that is already in place is not written again, or is written
//! under the idempotency token of the first attempt.

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::adapters::delivery::secret_buffer::SecretBuffer;
use crate::adapters::delivery::template::{Captured, Params, TemplateContext};
use crate::adapters::delivery::{Tools, body, misconfigured};
use crate::config::settings::{Content, SecretStoreStep, Vault};
use crate::core::rotation::{Refusal, RefusalCode};
use crate::core::secret::Secret;
use crate::ports::{Answer, Fault, Offer, Purpose, RecipePart, Reference};

/// Writes the pair to its place, and returns the reference under which it can be read.
pub(super) async fn put(
    tools: &Tools,
    step: &SecretStoreStep,
    number: usize,
    offer: &Offer,
    secret: &Secret,
    captured: &Captured,
) -> Answer<Reference> {
    let words = TemplateContext::new(offer, Some(secret), &Params::default(), captured);
    let purpose = purpose(offer, number);
    body::refuse_masks(&words, captured, |words, _| match &step.content {
        Content::Fields(fields) => Ok(rendered(tools, fields, words)?.into_values().collect()),
        Content::Text(_) | Content::Json(_) => Ok(whole(tools, step, words)?.into_iter().collect()),
    })?;
    let (text, version) = match prepared(tools, step, &purpose, &words).await? {
        Prepared::There(reference) => return Ok(reference),
        Prepared::ToWrite { text, instead_of } => (text, instead_of),
    };
    let token = token(step, number, offer, &version);
    let reference = tools.secret_stores.write(&purpose, &step.place, &text, &token).await?;
    tracing::debug!(
        vendor.name = %offer.subject.vendor, delivery.step = number, "the pair was put into {}", step.place
    );
    Ok(reference)
}

/// Checks that the value can be made. Reads the place and writes nothing.
pub(super) async fn look(
    tools: &Tools,
    step: &SecretStoreStep,
    number: usize,
    offer: &Offer,
    words: &TemplateContext,
) -> Answer<()> {
    let purpose = purpose(offer, number);
    tools.secret_stores.read(&purpose, &step.place).await.map_err(nothing_was_put)?;
    prepared(tools, step, &purpose, words).await.map(drop)
}

fn purpose(offer: &Offer, number: usize) -> Purpose {
    Purpose { subject: offer.subject.clone(), part: RecipePart::Deliver { step: number - 1 } }
}

enum Prepared {
    /// The place already contains the value.
    There(Reference),
    /// The value must be written. `instead_of` is the id of the version that it replaces, or empty if that does not
    /// matter.
    ToWrite { text: Secret, instead_of: String },
}

/// The whole value, if the step gives one. `None` if the step only sets members of a document.
fn whole(tools: &Tools, step: &SecretStoreStep, words: &TemplateContext) -> Answer<Option<Secret>> {
    Ok(match &step.content {
        Content::Text(source) => Some(tools.render("the body", source, words)?),
        Content::Json(value) => {
            let mut text = SecretBuffer::new();
            body::write_json(tools, value, words, &mut text)?;
            Some(text.into_secret())
        }
        Content::Fields(_) => None,
    })
}

async fn prepared(
    tools: &Tools,
    step: &SecretStoreStep,
    purpose: &Purpose,
    words: &TemplateContext,
) -> Answer<Prepared> {
    let whole = whole(tools, step, words)?;
    // Secrets Manager recognizes a repeat by its token. So a whole value is written without reading the old one, and
    // the rotator does not need the permission to read it.
    if let (Some(text), Vault::SecretsManager { .. }) = (&whole, &step.place.vault) {
        return Ok(Prepared::ToWrite { text: text.clone(), instead_of: String::new() });
    }
    let stored = tools.secret_stores.read(purpose, &step.place).await.map_err(nothing_was_put)?;
    let text = match (&step.content, whole) {
        (_, Some(text)) => (text != stored.text).then_some(text),
        (Content::Fields(fields), None) => {
            let wanted = rendered(tools, fields, words)?;
            changed(&stored.text, &wanted).map_err(|bad| misconfigured(format!("{} {bad}", step.place)))?
        }
        (Content::Text(_) | Content::Json(_), None) => None,
    };
    Ok(match text {
        None => Prepared::There(stored.reference),
        Some(text) => Prepared::ToWrite { text, instead_of: stored.reference.version_id },
    })
}

fn rendered(
    tools: &Tools,
    fields: &BTreeMap<String, String>,
    words: &TemplateContext,
) -> Answer<BTreeMap<String, Secret>> {
    let one = |(name, source): (&String, &String)| {
        Ok((name.clone(), tools.render(&format!("fields.{name}"), source, words)?))
    };
    fields.iter().map(one).collect()
}

/// Turns an unknown outcome of a read into a refusal: the new key was not sent, so there is no doubt about it.
fn nothing_was_put(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(_) => fault,
        Fault::Unknown(doubt) => Fault::Refused(Refusal {
            code: RefusalCode::NotSent,
            sentence: format!("nothing was stored: {}", doubt.sentence),
            retry_after: doubt.retry_after,
            nothing_sent: false,
            pairs: Vec::new(),
            said: None,
        }),
    }
}

/// The idempotency token of a write. It is the same for every attempt that writes the same value: it depends on the
/// rotation, the delivery, the recipe and the replaced version, and on nothing secret.
fn token(step: &SecretStoreStep, number: usize, offer: &Offer, instead_of: &str) -> String {
    let Offer { rotation, round, access_key_id, .. } = offer;
    let recipe = format!("{:?}", step.content);
    let what = format!("{rotation}/{round}/{number}/{access_key_id}/{instead_of}/{recipe}");
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, what.as_bytes()).to_string()
}

/// Why a document cannot be changed. The message follows the name of its place, and quotes nothing from the document.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum BadDocument {
    #[error(
        "holds no JSON object, so it has no fields to change; set json = {{ … }} or body = \"…\" to replace all of it"
    )]
    NoObject,
    #[error("becomes too long")]
    TooLong,
}

/// The document with these members set. `None` if it already has them.
fn changed(document: &Secret, wanted: &BTreeMap<String, Secret>) -> Result<Option<Secret>, BadDocument> {
    let Ok(Members(members)) = serde_json::from_str(document.expose()) else {
        return Err(BadDocument::NoObject);
    };
    let is_there = |(name, value): (&String, &Secret)| {
        let mut theirs = members.iter().filter(|(other, _)| other == name).peekable();
        theirs.peek().is_some()
            && theirs.all(|(_, raw)| {
                serde_json::from_str::<String>(raw.get()).is_ok_and(|text| Secret::new(text) == *value)
            })
    };
    if wanted.iter().all(is_there) {
        return Ok(None);
    }
    let mut out = SecretBuffer::new();
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.extend(
        wanted.keys().map(String::as_str).filter(|name| !members.iter().any(|(other, _)| other == name)),
    );
    let kept = |index: usize| members.get(index).map(|(_, raw)| raw.get());
    write_members(&mut out, &names, wanted, kept).ok_or(BadDocument::TooLong)?;
    Ok(Some(out.into_secret()))
}

fn write_members<'d>(
    out: &mut SecretBuffer,
    names: &[&str],
    wanted: &BTreeMap<String, Secret>,
    kept: impl Fn(usize) -> Option<&'d str>,
) -> Option<()> {
    let mut put = |text: &str| out.push(text.as_bytes()).then_some(());
    put("{")?;
    for (index, name) in names.iter().enumerate() {
        put(if index == 0 { "" } else { "," })?;
        put(&Value::from(*name).to_string())?;
        put(":")?;
        match (wanted.get(*name), kept(index)) {
            (Some(value), _) => put(quoted(value)?.expose())?,
            (None, Some(raw)) => put(raw)?,
            (None, None) => {}
        }
    }
    put("}")
}

fn quoted(text: &Secret) -> Option<Secret> {
    let mut out = SecretBuffer::new();
    serde_json::to_writer(&mut out, text.expose()).ok()?;
    Some(out.into_secret())
}

/// The members of a JSON object, in order. The values are borrowed as they are written, and not copied.
struct Members<'d>(Vec<(String, &'d RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::delivery::message::tests::offer;
    use crate::config::settings::Place;

    fn wanted(pairs: &[(&str, &str)]) -> BTreeMap<String, Secret> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::from(*value))).collect()
    }

    #[track_caller]
    fn check(document: &str, pairs: &[(&str, &str)], expected: Result<Option<&str>, BadDocument>) {
        let changed = changed(&Secret::from(document), &wanted(pairs));
        let shown = changed.as_ref().map(|text| text.as_ref().map(Secret::expose));
        assert_eq!(shown, expected.as_ref().map(|text| *text), "{document}");
    }

    #[test]
    fn other_members_of_a_json_document_keep_their_spelling() {
        let others = r#""big":99999999999999999999,"nested":{ "b" : [1.50, null] },"text":"\u00fc\/""#;
        check(
            &format!(r#"{{ {others}, "key":"old", "secret": "old" }}"#),
            &[("key", "AKIA"), ("secret", "a\"b/c")],
            Ok(Some(&format!(r#"{{{others},"key":"AKIA","secret":"a\"b/c"}}"#))),
        );
        check(r#"{"z":1}"#, &[("b", "2"), ("a", "1")], Ok(Some(r#"{"z":1,"a":"1","b":"2"}"#)));
        check("{}", &[("a", "1")], Ok(Some(r#"{"a":"1"}"#)));
        // A name that occurs twice is changed twice, so that every reader finds the new value.
        check(r#"{"a":"1","a":"0"}"#, &[("a", "1")], Ok(Some(r#"{"a":"1","a":"1"}"#)));
    }

    #[test]
    fn a_document_with_the_wanted_values_is_not_written_again() {
        check("{ \"b\": 1,\n \"a\" : \"\\u0031\" }", &[("a", "1")], Ok(None));
        check(r#"{"a":1}"#, &[("a", "1")], Ok(Some(r#"{"a":"1"}"#)));
    }

    #[test]
    fn a_document_that_is_not_an_object_is_refused_and_not_quoted() {
        for document in ["", "canary", "\"canary\"", "[\"canary\"]", "{\"canary\":1", "null", "{} {}"] {
            check(document, &[("a", "1")], Err(BadDocument::NoObject));
        }
        assert!(!BadDocument::NoObject.to_string().contains("canary"));
    }

    #[test]
    fn the_request_token_changes_with_the_content_and_not_with_the_time() {
        let place =
            Place { vault: Vault::SecretsManager { id: "acme".to_owned() }, account: None, region: None };
        let step = SecretStoreStep { place, content: Content::Text("{{ secret_access_key }}".to_owned()) };
        let first = offer();
        let token =
            |step: &SecretStoreStep, number, offer: &Offer, version| token(step, number, offer, version);
        let expected = token(&step, 1, &first, "v1");
        assert!(
            (32..=64).contains(&expected.len())
                && expected.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        );
        let later = Offer { now: first.now + std::time::Duration::from_hours(1), ..first.clone() };
        assert_eq!(token(&step, 1, &later, "v1"), expected);
        assert_ne!(token(&step, 2, &first, "v1"), expected);
        assert_ne!(token(&step, 1, &first, "v2"), expected);
        assert_ne!(token(&step, 1, &Offer { round: 2, ..first.clone() }, "v1"), expected);
        let mended =
            SecretStoreStep { content: Content::Text("{{ access_key_id }}".to_owned()), ..step.clone() };
        assert_ne!(token(&mended, 1, &first, "v1"), expected);
    }
}
