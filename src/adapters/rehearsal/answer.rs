//! The response of a stand-in vendor that accepts everything: the sample of the step, or else a document made from
//! what the step expects and captures.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Value as Word;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value};

use crate::config::settings::{AnswerPlace, Capture, HttpStep, Param};
use crate::core::ids::{AccountId, Subject};
use crate::core::secret::Secret;
use crate::ports::Response;

/// The facts from which a response is made.
pub(super) struct About<'a> {
    pub(super) subject: &'a Subject,
    pub(super) account_id: AccountId,
    /// The access key id in the response.
    pub(super) key: String,
}

/// A response that `step` accepts. `steps` are all steps of the same part of the recipe, from which captured values
/// are made up.
pub(super) fn hoped_for(steps: &[&HttpStep], step: &HttpStep, about: &About<'_>) -> Response {
    let words = SampleContext::new(step, about, &captured(steps, about));
    let mut headers = BTreeMap::new();
    let mut document = match &step.sample {
        Some(sample) => words.filled(sample),
        None => Value::Object(Map::new()),
    };
    for Capture { place, default } in step.capture.values() {
        match place {
            AnswerPlace::Header(name) => drop(headers.insert(name.clone(), "\"1\"".to_owned())),
            other if step.sample.is_none() && default.is_none() => words.place(&mut document, other, None),
            AnswerPlace::Pointer(_) | AnswerPlace::Document(_) | AnswerPlace::Search { .. } => {}
        }
    }
    if let Some(place) = step.expect.place.as_ref().filter(|_| step.sample.is_none()) {
        words.place(&mut document, place, step.expect.equals.as_deref());
    }
    let status = step.expect.status.first().copied().unwrap_or(200);
    Response { status, headers, body: Secret::new(document.to_string()) }
}

/// The values that these steps capture, by name: the text at the pointer in the sample, the default, or a made-up
/// text. Captured headers and documents are left out, unless a step without a sample gives a default.
fn captured(steps: &[&HttpStep], about: &About<'_>) -> BTreeMap<String, String> {
    let mut captured = BTreeMap::new();
    for step in steps {
        let words = SampleContext::new(step, about, &captured);
        let sample = step.sample.as_ref().map(|sample| words.filled(sample));
        for (name, Capture { place, default }) in &step.capture {
            let text = match (place, &sample, default) {
                (AnswerPlace::Pointer(pointer), Some(sample), _) => {
                    sample.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
                }
                (_, None, Some(default)) => default.clone(),
                (AnswerPlace::Pointer(pointer) | AnswerPlace::Search { take: pointer, .. }, _, _) => {
                    made_up(pointer)
                }
                (AnswerPlace::Header(_) | AnswerPlace::Document(_), _, _) => continue,
            };
            captured.insert(name.clone(), text);
        }
    }
    captured
}

/// A made-up value: 32 bytes in base64, which can serve as a public key for sealing, as a version or as an id.
fn made_up(pointer: &str) -> String {
    STANDARD.encode(digest(&SHA256, pointer.as_bytes()))
}

/// Renders the templates of a recipe leniently: a variable without a value renders as empty.
struct SampleContext {
    engine: Environment<'static>,
    context: Word,
}

impl SampleContext {
    fn new(step: &HttpStep, about: &About<'_>, captured: &BTreeMap<String, String>) -> SampleContext {
        let mut engine = Environment::new();
        engine.set_undefined_behavior(UndefinedBehavior::Chainable);
        engine.add_filter("urlencode", |text: Word| text);
        engine.add_filter("b64encode", |text: &str| STANDARD.encode(text));
        let params = step.params.iter().map(|(name, param)| (name.clone(), word(param)));
        let context = Word::from_pairs([
            ("access_key_id", Word::from(about.key.as_str())),
            ("vendor", Word::from(about.subject.vendor.as_str())),
            ("account_id", Word::from(about.account_id.as_str())),
            ("iam_user", Word::from(about.subject.iam_user.as_str())),
            ("params", Word::from_pairs(params)),
            ("captured", Word::from_pairs(captured.iter().map(|(name, text)| (name.clone(), text.clone())))),
        ]);
        SampleContext { engine, context }
    }

    fn rendered(&self, source: &str) -> String {
        self.engine.render_str(source, &self.context).unwrap_or_default()
    }

    fn filled(&self, value: &Value) -> Value {
        match value {
            Value::String(source) => Value::String(self.rendered(source)),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.filled(item)).collect()),
            Value::Object(fields) => Value::Object(
                fields.iter().map(|(name, item)| (self.rendered(name), self.filled(item))).collect(),
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// Puts the expected value, or a made-up one, at the place where the step looks for it.
    fn place(&self, document: &mut Value, place: &AnswerPlace, equals: Option<&str>) {
        let hoped_for = |pointer: &str| match equals {
            Some(source) => Value::String(self.rendered(source)),
            None => Value::String(made_up(pointer)),
        };
        match place {
            AnswerPlace::Header(_) => {}
            AnswerPlace::Pointer(pointer) => put(document, pointer, hoped_for(pointer)),
            AnswerPlace::Document(pointer) => put(document, pointer, Value::Object(Map::new())),
            AnswerPlace::Search { list, matching, take } => {
                let mut item = Value::Object(Map::new());
                put(&mut item, take, hoped_for(take));
                for (pointer, source) in matching {
                    put(&mut item, pointer, Value::String(self.rendered(source)));
                }
                let mut items = document.pointer(list).and_then(Value::as_array).cloned().unwrap_or_default();
                items.push(item);
                put(document, list, Value::Array(items));
            }
        }
    }
}

fn word(param: &Param) -> Word {
    match param {
        Param::Text(text) => Word::from(text.as_str()),
        Param::Number(number) => Word::from(*number),
        Param::Flag(flag) => Word::from(*flag),
        Param::Texts(texts) => Word::from(texts.clone()),
        Param::Secret(reference) => Word::from(format!("<{reference}>")),
    }
}

/// Puts a value at an RFC 6901 pointer. Members that are missing are created. A numeric step below 16 becomes an
/// index of an array, unless an object with members is already there.
fn put(document: &mut Value, pointer: &str, value: Value) {
    let mut here = document;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        here = match step.parse::<usize>() {
            Ok(index) if index < 16 && !matches!(here, Value::Object(map) if !map.is_empty()) => {
                item(here, index)
            }
            _ => member(here, step),
        };
    }
    *here = value;
}

fn item(here: &mut Value, index: usize) -> &mut Value {
    if !here.is_array() {
        *here = Value::Array(Vec::new());
    }
    let Value::Array(items) = here else { unreachable!("it was made an array above") };
    while items.len() <= index {
        items.push(Value::Object(Map::new()));
    }
    &mut items[index]
}

fn member(here: &mut Value, name: String) -> &mut Value {
    if !here.is_object() {
        *here = Value::Object(Map::new());
    }
    let Value::Object(members) = here else { unreachable!("it was made an object above") };
    members.entry(name).or_insert(Value::Null)
}
