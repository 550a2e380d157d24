//! What a request carries: a text, a JSON document, a form, or a document of the vendor's own with some of it replaced.
//!
//! **Invariant:** a masked value is never written back. What a vendor shows as `****` it may take for the new value,
//! and then something that worked is overwritten with stars.

use std::collections::BTreeMap;

use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use crate::config::settings::Body;
use crate::delivery::scratch::Scratch;
use crate::delivery::template::{Captured, Kept, Words};
use crate::delivery::{Tools, misconfigured};
use crate::ports::{Answer, Fault};
use crate::rotation::RefusalCode;
use crate::secret::Secret;

/// A table with this one key stands for what its template comes out as: a number, a list, an object.
const RAW: &str = "$json";

/// What vendors show in place of a secret, in lower case and without what stands around it.
const MASKS: [&str; 5] = ["redacted", "masked", "secret value", "sensitive value", "unchanged"];

/// The text and its type.
pub(super) type BodyAndType = (Option<Secret>, Option<&'static str>);

/// Renders the body of a request.
pub(super) fn body(tools: &Tools, body: &Body, words: &Words, captured: &Captured) -> Answer<BodyAndType> {
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
        Body::Edit { document, set, remove } => {
            let edited = edited(tools, document, set, remove, words, captured)?;
            put(&mut text, &edited.to_string())?;
            "application/json"
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
            if let Some(source) = raw(fields) {
                return put(
                    to,
                    &tools.render(RAW, source, words).and_then(|text| json_of(&text))?.to_string(),
                );
            }
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

fn raw(fields: &serde_json::Map<String, Value>) -> Option<&str> {
    let source = fields.get(RAW)?.as_str()?;
    (fields.len() == 1).then_some(source)
}

fn json_of(text: &Secret) -> Answer<Value> {
    let value = serde_json::from_str(text.expose());
    value.map_err(|_| misconfigured(format!("the template of {RAW} does not come out as JSON")))
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

/// The vendor's document as it is to be from now on. What the recipe sets is looked at last, so that only what the
/// vendor said is searched for masks.
fn edited(
    tools: &Tools,
    name: &str,
    set: &BTreeMap<String, Value>,
    remove: &[String],
    words: &Words,
    captured: &Captured,
) -> Answer<Value> {
    let Some(Kept::Document(text)) = captured.get(name) else {
        return Err(misconfigured(format!("no earlier step has captured the document {name}")));
    };
    let mut document = json_of(text)?;
    for pointer in set.keys().chain(remove) {
        take_out(&mut document, pointer);
    }
    if has_mask(&document) {
        let sentence = format!(
            "the vendor masks a value of the document {name} that would have been written back; nothing was sent"
        );
        return Err(Fault::refused(RefusalCode::Misconfigured, sentence));
    }
    for (pointer, value) in set {
        let mut text = Scratch::new();
        write_json(tools, value, words, &mut text)?;
        put_in(&mut document, pointer, json_of(&text.into_secret())?)
            .ok_or_else(|| misconfigured(format!("the document {name} has no place for {pointer:?}")))?;
    }
    Ok(document)
}

/// The parent's pointer, and the unescaped last step.
fn parent(pointer: &str) -> (&str, String) {
    let (parent, last) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    (parent, last.replace("~1", "/").replace("~0", "~"))
}

/// An item of a list is emptied, so that its neighbours stay where they are.
fn take_out(document: &mut Value, pointer: &str) {
    let (parent, last) = parent(pointer);
    match document.pointer_mut(parent) {
        Some(Value::Object(fields)) => drop(fields.remove(&last)),
        Some(Value::Array(_)) => {
            if let Some(item) = document.pointer_mut(pointer) {
                *item = Value::Null;
            }
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => {}
    }
}

fn put_in(document: &mut Value, pointer: &str, value: Value) -> Option<()> {
    let (parent, last) = parent(pointer);
    match document.pointer_mut(parent)? {
        Value::Object(fields) => drop(fields.insert(last, value)),
        Value::Array(items) => *items.get_mut(last.parse::<usize>().ok()?)? = value,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    }
    Some(())
}

fn has_mask(value: &Value) -> bool {
    match value {
        Value::String(text) => is_mask(text),
        Value::Array(items) => items.iter().any(has_mask),
        Value::Object(fields) => fields.values().any(has_mask),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a text looks like what stands in place of a secret.
fn is_mask(text: &str) -> bool {
    let veiled = |letter: char| matches!(letter, '*' | '\u{2022}' | '\u{25cf}' | '\u{b7}');
    let mut run = 0;
    let has_run = text.chars().any(|letter| {
        run = if veiled(letter) { run + 1 } else { 0 };
        run == 3
    });
    let crossed_out = text.len() >= 4 && text.bytes().take(4).all(|byte| byte.eq_ignore_ascii_case(&b'x'));
    let bare = text.to_lowercase();
    let bare = bare.trim_matches(|letter: char| !letter.is_alphanumeric()).replace('_', " ");
    has_run || crossed_out || MASKS.contains(&bare.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_vendors_show_in_place_of_secrets_is_known() {
        for mask in [
            "********",
            "***",
            "\u{2022}\u{2022}\u{2022}\u{2022}abcd",
            "xxxxABCD",
            "XXXX",
            "[REDACTED]",
            "<masked>",
            "(sensitive value)",
            "__UNCHANGED__",
        ] {
            assert!(is_mask(mask), "{mask}");
        }
        for text in ["", "*", "s3://logs/**/x", "AKIAIOSFODNN7EXAMPLE", "hidden gems", "xx", "eu-west-1"] {
            assert!(!is_mask(text), "{text}");
        }
        assert!(has_mask(&json!({"a": [{"b": "******"}]})));
        assert!(!has_mask(&json!({"a": [1, true, null, "*.log"]})));
    }

    #[test]
    fn a_document_is_changed_where_it_is_said_and_nowhere_else() {
        let mut document = json!({"source": {"list": [{"key": "old", "path": "a"}], "a/b": 1}});
        take_out(&mut document, "/source/list/0/key");
        take_out(&mut document, "/nothing/there");
        assert_eq!(put_in(&mut document, "/source/list/0/key", json!("new")), Some(()));
        assert_eq!(put_in(&mut document, "/source/a~1b", json!(2)), Some(()));
        assert_eq!(put_in(&mut document, "/source/more", json!(true)), Some(()));
        assert_eq!(put_in(&mut document, "/source/list/1", json!(0)), None);
        assert_eq!(put_in(&mut document, "/missing/x", json!(0)), None);
        let expected = json!({"source": {"list": [{"key": "new", "path": "a"}], "a/b": 2, "more": true}});
        assert_eq!(document, expected);
    }
}
