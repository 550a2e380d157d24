//! A simulated vendor API as data: a state, and what each request does to it. `tests/presets/NAME.json`, written
//! from the vendor's documentation, is the API that the preset NAME is run against.
//!
//! | key | meaning |
//! |---|---|
//! | `params` | the parameters of the preset; the others have the catalogue's examples, and each secret is a canary |
//! | `secrets` | the values of secrets that must have a certain format |
//! | `auth` | headers that every request must have; without them the answer is 401 |
//! | `state` | what the vendor holds |
//! | `routes` | what each request does and what is answered, as described below |
//! | `holds` | where the pair is in the final state: `id`, `secret`, `file`, `json`, or a value derived from it |
//! | `moves` | the parts of the state that a repeated delivery may change |
//! | `stays` | the parts of the state that no delivery may change |
//! | `variants` | the same with other `params`, `state` and `holds` |
//! | `no` | answers that are 2xx but no acceptance, and words of the resulting sentence |
//! | `openapi` | the vendor's descriptions: the package that has one, the file, and the server that its paths begin at |
//!
//! The name of a route is `METHOD URL`, or `METHOD URL WORDS` where the body must contain these words. Its value has
//! `when` (pairs that must be equal; else the answer is `otherwise`), `set`, `drop`, `bump`, and the answer.
//!
//! In `set` and in answers, a string that begins with `$` is replaced: `$body/pointer`, `$form.name`, `$path.name`,
//! `$query.name`, `$header.name`, `$state/pointer`, `$values/pointer` (an object's values, as a list),
//! `$opened/pointer` (a sealed box of the body), `$xml.name` (the text of an element of the body), `$pair.id`,
//! `$pair.secret` (of a body `id:secret`). Names in braces are parts of the URL.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The private key of sealed boxes. Each vendor's public key belongs to it.
pub(super) const BOX_KEY: [u8; 32] = [7; 32];

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Conversation {
    #[serde(default)]
    pub(super) params: Map<String, Value>,
    #[serde(default)]
    pub(super) secrets: BTreeMap<String, String>,
    #[serde(default)]
    auth: BTreeMap<String, String>,
    pub(super) state: Value,
    routes: BTreeMap<String, Route>,
    pub(super) holds: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) moves: Vec<String>,
    #[serde(default)]
    pub(super) stays: Vec<String>,
    #[serde(default)]
    pub(super) variants: Vec<Variant>,
    #[serde(default)]
    pub(super) no: Vec<No>,
    #[serde(default)]
    pub(super) openapi: Vec<Description>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variant {
    pub(super) params: Map<String, Value>,
    pub(super) state: Option<Value>,
    pub(super) holds: BTreeMap<String, String>,
}

/// A 2xx that is no acceptance.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct No {
    route: String,
    pub(super) status: u16,
    body: Value,
    /// The changes that another person makes at the vendor at that moment.
    #[serde(default)]
    set: BTreeMap<String, Value>,
    pub(super) says: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    pub(super) package: String,
    pub(super) file: String,
    pub(super) sha256: String,
    pub(super) server: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Route {
    open: bool,
    when: Vec<(Value, Value)>,
    otherwise: u16,
    set: BTreeMap<String, Value>,
    drop: Vec<String>,
    bump: Vec<String>,
    status: u16,
    headers: BTreeMap<String, String>,
    body: Value,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) method: String,
    pub(super) url: url::Url,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

/// An answer as it is sent.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Conversation {
    /// The same conversation with the differences of a variant.
    pub(super) fn with(&self, variant: &Variant) -> Conversation {
        let mut other = self.clone();
        other.params.extend(variant.params.clone());
        other.holds = variant.holds.clone();
        // A variant may take other routes.
        other.no = Vec::new();
        if let Some(state) = &variant.state {
            other.state = state.clone();
        }
        other
    }

    /// The same conversation, in which this route gives this answer and makes only the changes of `no.set`.
    pub(super) fn refusing(&self, no: &No) -> Conversation {
        let mut other = self.clone();
        let route = other.routes.get_mut(&no.route).unwrap_or_else(|| panic!("there is no {}", no.route));
        let (status, body, set) = (no.status, no.body.clone(), no.set.clone());
        *route = Route { status, body, set, open: true, ..Route::default() };
        other
    }

    /// The same conversation, in which every request to this route is answered with this status.
    pub(super) fn failing(&self, route: &str, status: u16) -> Conversation {
        let body = json!({"message": "what the vendor says", "id": "1"});
        let (route, set) = (route.to_owned(), BTreeMap::new());
        self.refusing(&No { route, status, body, set, says: String::new() })
    }

    /// Applies a request. Returns the name of its route, if there is one, and the answer.
    pub(super) fn answer(&mut self, message: &Message) -> (Option<String>, Reply) {
        let address = message.url.as_str().split('?').next().unwrap_or_default();
        let found = self.routes.iter().find_map(|(name, route)| {
            let (method, pattern) = name.split_once(' ')?;
            let (pattern, words) = pattern.split_once(' ').unwrap_or((pattern, ""));
            let parts = (method == message.method && message.body.contains(words))
                .then(|| parts(pattern, address))
                .flatten()?;
            Some((name.clone(), route.clone(), parts))
        });
        let Some((name, route, parts)) = found else {
            return (None, reply(404, &json!({"message": "there is no such thing"})));
        };
        let shown = |(name, value): (&String, &String)| message.headers.get(name) == Some(value);
        if !route.open && !self.auth.iter().all(shown) {
            return (Some(name), reply(401, &json!({"message": "who are you?"})));
        }
        let asked = Asked { message, parts };
        let holds = route
            .when
            .iter()
            .all(|(a, b)| text(&asked.value(a, &self.state)) == text(&asked.value(b, &self.state)));
        if !holds {
            let status = if route.otherwise == 0 { 409 } else { route.otherwise };
            return (Some(name), reply(status, &json!({"message": "not so"})));
        }
        for (pointer, value) in &route.set {
            let value = asked.value(value, &self.state);
            put(&mut self.state, &asked.filled(pointer), value);
        }
        for pointer in &route.bump {
            let here = self.state.pointer_mut(pointer).expect("a number to count up");
            *here = json!(here.as_u64().expect("a number") + 1);
        }
        for pointer in &route.drop {
            let pointer = asked.filled(pointer);
            let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
            let parent = self.state.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
            parent.remove(&unescaped(last));
        }
        let body = asked.value(&route.body, &self.state);
        let mut answer = reply(if route.status == 0 { 200 } else { route.status }, &body);
        for (header, value) in &route.headers {
            answer.headers.insert(header.clone(), text(&asked.value(&json!(value), &self.state)));
        }
        (Some(name), answer)
    }
}

fn reply(status: u16, body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    Reply { status, headers: BTreeMap::new(), body }
}

/// The named parts of a URL, if it matches this pattern.
fn parts(pattern: &str, address: &str) -> Option<BTreeMap<String, String>> {
    let (pattern, address) = (pattern.split('/'), address.split('/'));
    let pattern: Vec<&str> = pattern.collect();
    let address: Vec<&str> = address.collect();
    if pattern.len() != address.len() {
        return None;
    }
    let mut parts = BTreeMap::new();
    for (expected, found) in pattern.iter().zip(&address) {
        match expected.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => drop(parts.insert(name.to_owned(), decoded(found))),
            None if expected == found => {}
            None => return None,
        }
    }
    Some(parts)
}

fn decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("x={}", text.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

struct Asked<'a> {
    message: &'a Message,
    parts: BTreeMap<String, String>,
}

impl Asked<'_> {
    fn value(&self, value: &Value, state: &Value) -> Value {
        match value {
            Value::String(text) if text.starts_with('$') => self.said(&text[1..], state),
            Value::Array(items) => items.iter().map(|item| self.value(item, state)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, item)| (self.filled(name), self.value(item, state))).collect()
            }
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => value.clone(),
        }
    }

    fn said(&self, text: &str, state: &Value) -> Value {
        let split = text.find(['/', '.']).unwrap_or(text.len());
        let (kind, rest) = text.split_at(split);
        let name = rest.trim_start_matches('.');
        let pointer = self.filled(rest);
        let body = || serde_json::from_str::<Value>(&self.message.body).unwrap_or(Value::Null);
        let at = |document: &Value| document.pointer(&pointer).cloned().unwrap_or(Value::Null);
        let form = |name: &str| {
            let mut fields = url::form_urlencoded::parse(self.message.body.as_bytes());
            fields.find(|(field, _)| field == name).map(|(_, value)| value.into_owned())
        };
        let pair = || form("Credentials").unwrap_or_default();
        match kind {
            "body" => at(&body()),
            "state" => at(state),
            "values" => {
                at(state).as_object().map(|fields| fields.values().cloned().collect()).unwrap_or_default()
            }
            "opened" => json!(opened(at(&body()).as_str().unwrap_or_default())),
            "form" => json!(form(name)),
            "path" => json!(self.parts.get(name)),
            "header" => json!(self.message.headers.get(name)),
            "query" => {
                let mut pairs = self.message.url.query_pairs();
                json!(pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()))
            }
            "xml" => {
                let rest = self.message.body.split_once(&format!("<{name}>"));
                json!(rest.and_then(|(_, rest)| rest.split_once("</")).map(|(text, _)| text))
            }
            "pair" if name == "id" => json!(pair().split(':').next()),
            "pair" => json!(pair().split_once(':').map(|(_, secret)| secret)),
            other => panic!("${other} stands for nothing"),
        }
    }

    fn filled(&self, pointer: &str) -> String {
        let escaped = |text: &str| text.replace('~', "~0").replace('/', "~1");
        self.parts.iter().fold(pointer.to_owned(), |pointer, (name, value)| {
            pointer.replace(&format!("{{{name}}}"), &escaped(value))
        })
    }
}

fn opened(sealed: &str) -> String {
    let owner = crypto_box::SecretKey::from(BOX_KEY);
    let opened = owner.unseal(&BASE64.decode(sealed).expect("base64")).expect("sealed to this key");
    String::from_utf8(opened).expect("text")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

fn put(state: &mut Value, pointer: &str, value: Value) {
    let Some((parent, last)) = pointer.rsplit_once('/') else {
        *state = value;
        return;
    };
    match state.pointer_mut(parent) {
        Some(Value::Object(fields)) => drop(fields.insert(unescaped(last), value)),
        Some(Value::Array(items)) => items[last.parse::<usize>().expect("an index")] = value,
        other => panic!("{pointer} leads into {other:?}"),
    }
}
