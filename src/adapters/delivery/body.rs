//! The body of a request: a text, a JSON document, a form, or a captured document of the vendor with some members
//! replaced.

use std::collections::BTreeMap;

use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use crate::adapters::delivery::secret_buffer::SecretBuffer;
use crate::adapters::delivery::template::{Captured, CapturedValue, TemplateContext};
use crate::adapters::delivery::{Tools, masks, misconfigured};
use crate::config::settings::Body;
use crate::core::rotation::RefusalCode;
use crate::core::secret::Secret;
use crate::ports::{Answer, Fault};

/// An object with this single key is replaced by the JSON that its template renders to, such as a number, a list or
/// an object.
const RAW: &str = "$json";

/// The body and its content type. Both are `None` if the request has no body; the type is `None` for plain text.
pub(super) type BodyAndType = (Option<Secret>, Option<&'static str>);

/// Renders the body of a request. Refuses one that would write a masked value back to the vendor.
pub(super) fn body(
    tools: &Tools,
    body: &Body,
    words: &TemplateContext,
    captured: &Captured,
) -> Answer<BodyAndType> {
    let real = made(tools, body, words, captured)?;
    refuse_masks(words, captured, |words, captured| {
        let (text, _) = made(tools, body, words, captured)?;
        Ok(text.into_iter().collect())
    })?;
    Ok(real)
}

/// Refuses to send texts that contain a value which the vendor masked in an earlier response. `make` renders the
/// texts from the given variables and captured values, in which each masked value is replaced by a mark.
pub(super) fn refuse_masks(
    words: &TemplateContext,
    captured: &Captured,
    make: impl FnOnce(&TemplateContext, &Captured) -> Answer<Vec<Secret>>,
) -> Answer<()> {
    let Some(words) = words.marked() else { return Ok(()) };
    let marked =
        captured.iter().map(|(name, kept)| (name.clone(), kept.marked(name).unwrap_or_else(|| kept.clone())));
    let marked: Captured = marked.collect();
    let refused = |what: &str| {
        let sentence =
            format!("the vendor masks a value of {what} that would have been written back; nothing was sent");
        Err(Fault::refused(RefusalCode::Misconfigured, sentence))
    };
    // A template that fails only because of the mark makes use of the masked value.
    let Ok(texts) = make(&words, &marked) else { return refused("an earlier answer") };
    let holds = |name: &&String| {
        let mark = masks::mark(name);
        texts.iter().any(|text| text.expose().contains(&mark))
    };
    captured.keys().find(holds).map_or(Ok(()), |name| refused(&format!("the document {name}")))
}

fn made(tools: &Tools, body: &Body, words: &TemplateContext, captured: &Captured) -> Answer<BodyAndType> {
    let mut text = SecretBuffer::new();
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

fn put(to: &mut SecretBuffer, text: &str) -> Answer<()> {
    match to.push(text.as_bytes()) {
        true => Ok(()),
        false => Err(misconfigured("the body is too long")),
    }
}

/// Writes a JSON document whose strings are templates. A rendered string stays one JSON string, whatever it contains.
pub(super) fn write_json(
    tools: &Tools,
    value: &Value,
    words: &TemplateContext,
    to: &mut SecretBuffer,
) -> Answer<()> {
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
    value.map_err(|_| misconfigured(format!("the template of {RAW} does not render to JSON")))
}

fn write_form(
    tools: &Tools,
    fields: &BTreeMap<String, String>,
    words: &TemplateContext,
    to: &mut SecretBuffer,
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

/// The captured document of the vendor, with the members of `set` replaced and those of `remove` taken out.
fn edited(
    tools: &Tools,
    name: &str,
    set: &BTreeMap<String, Value>,
    remove: &[String],
    words: &TemplateContext,
    captured: &Captured,
) -> Answer<Value> {
    let Some(CapturedValue::Document(text)) = captured.get(name) else {
        return Err(misconfigured(format!("no earlier step has captured the document {name}")));
    };
    let mut document = json_of(text)?;
    for pointer in set.keys().chain(remove) {
        take_out(&mut document, pointer);
    }
    for (pointer, value) in set {
        let mut text = SecretBuffer::new();
        write_json(tools, value, words, &mut text)?;
        put_in(&mut document, pointer, json_of(&text.into_secret())?)
            .ok_or_else(|| misconfigured(format!("the document {name} has no place for {pointer:?}")))?;
    }
    Ok(document)
}

/// The JSON pointer of the parent, and the unescaped last step.
fn parent(pointer: &str) -> (&str, String) {
    let (parent, last) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    (parent, last.replace("~1", "/").replace("~0", "~"))
}

/// Removes the value at a JSON pointer. An item of a list is set to null, so that the other items keep their
/// positions.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_changes_only_at_the_given_pointers() {
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
