//! Templates of requests, rendered with minijinja. Work and output are bounded, and a missing value is an error.
//!
//! minijinja copies values while it renders, and frees its copies without wiping them. The rendered text itself is in
//! memory that is wiped, a [`Secret`], from its first byte.
//!
//! **Invariant:** an error names the place in the configuration, the line and the kind of mistake. It never repeats
//! minijinja's own message, which may quote values.

use std::collections::BTreeMap;
use std::time::Duration;

use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, ErrorKind, Template, UndefinedBehavior};

use crate::adapters::delivery::secret_buffer::SecretBuffer;
use crate::adapters::delivery::{filters, masks};
use crate::core::ids::AccessKeyId;
use crate::core::secret::Secret;
use crate::ports::Offer;

/// How far `updated_since` lies before the time of the delivery, to allow for a vendor's clock that is slow. Nothing
/// is delivered while the clock of this machine is more than two minutes from that of AWS.
const CLOCKS_APART: Duration = Duration::from_mins(5);

/// The number of minijinja instructions that one rendering may execute. The largest real template needs a few
/// hundred.
const FUEL: u64 = 20_000;

/// Values that were captured from the responses of earlier steps of the same delivery, by name.
pub(super) type Captured = BTreeMap<String, CapturedValue>;

/// A captured value.
#[derive(Clone)]
pub(super) enum CapturedValue {
    /// A single value, as a template would print it.
    Text(Secret),
    /// A part of a response, as JSON.
    Document(Secret),
}

impl CapturedValue {
    /// The captured text, unchanged; for a document its JSON.
    pub(super) fn text(&self) -> &Secret {
        match self {
            CapturedValue::Text(text) | CapturedValue::Document(text) => text,
        }
    }

    fn value(&self) -> Value {
        match self {
            CapturedValue::Text(text) => Value::from(text.expose()),
            CapturedValue::Document(text) => Value::from(Serde(parsed(text))),
        }
    }

    /// The value with every character that separates the parts of a URL replaced by `_`.
    fn tame(&self) -> Value {
        match self {
            CapturedValue::Text(text) => Value::from(tamed(text.expose())),
            CapturedValue::Document(text) => {
                let tame = |value: serde_json::Value| match value.as_str() {
                    Some(text) => serde_json::Value::from(tamed(text)),
                    None => value,
                };
                Value::from(Serde(changed(parsed(text), &tame)))
            }
        }
    }

    /// The texts of this value that may be secret: a single value, and in a document each text that [`collect`]
    /// selects.
    fn texts(&self) -> Vec<Secret> {
        match self {
            CapturedValue::Text(text) => vec![text.clone()],
            CapturedValue::Document(text) => {
                let mut texts = Vec::new();
                collect(&parsed(text), &mut texts);
                texts
            }
        }
    }

    /// The value with a mark in place of each text that the vendor masks. `None` if it masks nothing.
    pub(super) fn marked(&self, name: &str) -> Option<CapturedValue> {
        match self {
            CapturedValue::Text(text) => {
                masks::marked_text(text.expose(), name).map(Secret::new).map(CapturedValue::Text)
            }
            CapturedValue::Document(text) => {
                let marked = masks::marked(parsed(text), name)?;
                Some(CapturedValue::Document(Secret::new(marked.to_string())))
            }
        }
    }

    /// A value of the same shape with other content.
    fn stand_in(&self) -> Value {
        match self {
            CapturedValue::Text(_) => Value::from("1"),
            CapturedValue::Document(text) => Value::from(Serde(scrambled(parsed(text)))),
        }
    }
}

/// Adds the texts of a document that are at least 16 bytes long and contain a digit and no space.
fn collect(value: &serde_json::Value, texts: &mut Vec<Secret>) {
    use serde_json::Value as Json;
    match value {
        Json::String(text) => {
            let is_long = text.len() >= 16 && !text.contains(' ');
            if is_long && text.bytes().any(|byte| byte.is_ascii_digit()) {
                texts.push(Secret::from(text.as_str()));
            }
        }
        Json::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Json::Object(fields) => fields.values().for_each(|item| collect(item, texts)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// The text with every character that has a meaning in a URL replaced by `_`. `.` and `..` become `_` too.
fn tamed(text: &str) -> String {
    if matches!(text, "." | "..") {
        return "_".to_owned();
    }
    let means =
        |letter: char| "/\\?#%&=+;:@".contains(letter) || letter.is_control() || letter.is_whitespace();
    text.chars().map(|letter| if means(letter) { '_' } else { letter }).collect()
}

/// Parses a captured document. The fallback is never used, because only valid JSON is captured as a document.
fn parsed(text: &Secret) -> serde_json::Value {
    serde_json::from_str(text.expose()).unwrap_or(serde_json::Value::Null)
}

fn scrambled(value: serde_json::Value) -> serde_json::Value {
    changed(value, &|value| {
        if value.is_string() { serde_json::Value::from("1") } else { serde_json::Value::from(1) }
    })
}

/// The document with each text and each number replaced by the result of `change`.
fn changed(
    value: serde_json::Value,
    change: &dyn Fn(serde_json::Value) -> serde_json::Value,
) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Json::String(_) | Json::Number(_) => change(value),
        Json::Array(items) => Json::Array(items.into_iter().map(|item| changed(item, change)).collect()),
        Json::Object(fields) => {
            Json::Object(fields.into_iter().map(|(name, value)| (name, changed(value, change))).collect())
        }
        Json::Null | Json::Bool(_) => value,
    }
}

/// The values that templates call `params` and `secrets`, with the secrets already read.
#[derive(Default)]
pub(super) struct Params {
    pub(super) plain: BTreeMap<String, Value>,
    pub(super) secret: BTreeMap<String, Secret>,
    /// The values that templates call `secrets`: those to which the step refers.
    pub(super) own_secrets: BTreeMap<String, Secret>,
}

impl Params {
    /// The template values of `params` and `secrets`. `shown` converts each secret.
    fn values(&self, shown: fn(&Secret) -> Value) -> [Value; 2] {
        let plain = self.plain.iter().map(|(name, value)| (name.clone(), value.clone()));
        let secret = self.secret.iter().map(|(name, value)| (name.clone(), shown(value)));
        let own = self.own_secrets.iter().map(|(name, value)| (name.clone(), shown(value)));
        [Value::from_pairs(plain.chain(secret)), Value::from_pairs(own)]
    }
}

/// The variables of a template, in the variants that the checks on a request need.
#[derive(Clone)]
pub(super) struct TemplateContext {
    real: Context,
    stand_in: Context,
    tame: Context,
    /// The variables with marks in place of the texts that vendors mask. `None` if nothing is masked.
    marked: Option<Context>,
    /// `real` contains marks, so the filters that encode a text must leave it as it is.
    shows_marks: bool,
    /// The secrets among the variables, the captured values, since one may be a token, and the new access key id.
    secrets: Vec<Secret>,
}

type Context = BTreeMap<&'static str, Value>;

impl TemplateContext {
    /// The variables of an offer. Without `secret`, a template that uses the secret access key fails to render.
    pub(super) fn new(
        offer: &Offer,
        secret: Option<&Secret>,
        params: &Params,
        captured: &Captured,
    ) -> TemplateContext {
        let said = |value: fn(&CapturedValue) -> Value| {
            Value::from_pairs(captured.iter().map(|(name, kept)| (name.clone(), value(kept))))
        };
        let text = secret.map(Secret::expose);
        let [params_said, secrets] = params.values(|secret| Value::from(secret.expose()));
        let marked: BTreeMap<String, CapturedValue> =
            captured.iter().filter_map(|(name, kept)| Some((name.clone(), kept.marked(name)?))).collect();
        let real = words(&Subject::of(offer), text, [params_said, secrets, said(CapturedValue::value)]);
        let marked = (!marked.is_empty()).then(|| {
            let value = |(name, kept): (&String, &CapturedValue)| {
                (name.clone(), marked.get(name).map_or_else(|| kept.value(), CapturedValue::value))
            };
            let mut context = real.clone();
            context.insert("captured", Value::from_pairs(captured.iter().map(value)));
            context
        });
        let [params_said, secrets] = params.values(|_| Value::from("secret"));
        let other = [params_said, secrets, said(CapturedValue::stand_in)];
        let stand_in = words(&Subject::STAND_IN, secret.map(|_| "secret"), other);
        let [params_said, secrets] = params.values(|secret| Value::from(tamed(secret.expose())));
        let tame_text = text.map(|text| Secret::new(tamed(text)));
        let tame_text = tame_text.as_ref().map(Secret::expose);
        let tame = words(&Subject::of(offer), tame_text, [params_said, secrets, said(CapturedValue::tame)]);
        let secrets = secret.into_iter().chain(params.secret.values()).chain(params.own_secrets.values());
        let key_id = Secret::from(offer.access_key_id.as_str());
        let secrets = secrets
            .cloned()
            .chain(captured.values().flat_map(CapturedValue::texts))
            .chain([key_id])
            .collect();
        TemplateContext { real, stand_in, tame, marked, shows_marks: false, secrets }
    }

    /// The values that must not be repeated when a request made with these variables is reported.
    pub(super) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Whether the secret of the new pair is among the variables.
    pub(super) fn know_pair(&self) -> bool {
        self.real.contains_key("secret_access_key")
    }

    /// The same variables with marks in place of the texts that vendors mask. `None` if nothing is masked.
    pub(super) fn marked(&self) -> Option<TemplateContext> {
        let real = self.marked.clone()?;
        Some(TemplateContext { real, shows_marks: true, ..self.clone() })
    }

    /// The same variables and one more. The checks on addresses do not know it, so an address cannot use it.
    pub(super) fn with(&self, name: &'static str, value: Value) -> TemplateContext {
        let mut real = self.real.clone();
        real.insert(name, value);
        TemplateContext { real, ..self.clone() }
    }

    /// The same variables with other values in place of secrets, captured values and the facts of the offer. A
    /// rendered text that stays the same does not depend on any of these.
    pub(super) fn stand_in(&self) -> TemplateContext {
        let other = || self.stand_in.clone();
        TemplateContext { real: other(), tame: other(), ..self.clone() }
    }

    /// The same variables, with the characters that have a meaning in a URL replaced in secrets and captured values.
    pub(super) fn tame(&self) -> TemplateContext {
        TemplateContext { real: self.tame.clone(), ..self.clone() }
    }

    fn context(&self) -> Value {
        Value::from_pairs(self.real.iter().map(|(name, value)| (*name, value.clone())))
    }
}

/// The facts of an offer that templates can use.
struct Subject<'a> {
    access_key_id: &'a str,
    /// Nothing where no key is replaced, so that a template that needs one fails before a key is made.
    old_access_key_id: Option<&'a str>,
    vendor: &'a str,
    account_id: &'a str,
    iam_user: &'a str,
    rotation_id: String,
    updated_since: String,
}

impl Subject<'_> {
    /// Made-up facts, to find out whether a rendered text depends on the real ones.
    const STAND_IN: Subject<'static> = Subject {
        access_key_id: "AKIASTANDIN000000001",
        old_access_key_id: Some("AKIASTANDIN000000002"),
        vendor: "stand-in",
        account_id: "000000000000",
        iam_user: "stand-in-user",
        rotation_id: String::new(),
        updated_since: String::new(),
    };

    fn of(offer: &Offer) -> Subject<'_> {
        Subject {
            access_key_id: offer.access_key_id.as_str(),
            old_access_key_id: offer.old_access_key_id.as_ref().map(AccessKeyId::as_str),
            vendor: offer.subject.vendor.as_str(),
            account_id: offer.account_id.as_str(),
            iam_user: offer.subject.iam_user.as_str(),
            rotation_id: offer.rotation.to_string(),
            updated_since: offer.offered_at.minus(CLOCKS_APART).to_string(),
        }
    }
}

fn words(subject: &Subject<'_>, secret: Option<&str>, [params, secrets, captured]: [Value; 3]) -> Context {
    let id = subject.access_key_id;
    let mut words = BTreeMap::from([
        ("access_key_id", Value::from(id)),
        ("vendor", Value::from(subject.vendor)),
        ("account_id", Value::from(subject.account_id)),
        ("iam_user", Value::from(subject.iam_user)),
        ("rotation_id", Value::from(subject.rotation_id.as_str())),
        ("updated_since", Value::from(subject.updated_since.as_str())),
        ("params", params),
        ("secrets", secrets),
        ("captured", captured),
    ]);
    words.extend(subject.old_access_key_id.map(|old| ("old_access_key_id", Value::from(old))));
    if let Some(secret) = secret {
        words.insert("secret_access_key", Value::from(secret));
        words.insert("credentials_file", Value::from(credentials_file(id, secret)));
        words.insert("credentials_json", Value::from(credentials_json(id, secret)));
    }
    words
}

/// The pair as one text, in the format of the AWS tools' shared credentials file.
fn credentials_file(id: &str, secret: &str) -> String {
    format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
}

/// The pair as one text, in the JSON format that the AWS tools expect from a `credential_process`.
fn credentials_json(id: &str, secret: &str) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(r#"{{"Version":1,"AccessKeyId":{},"SecretAccessKey":{}}}"#, quoted(id), quoted(secret))
}

/// A template that cannot be rendered. The message names a place in the configuration and contains no value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the template of {place} cannot be rendered: {problem} in line {line}")]
pub(super) struct BadTemplate {
    place: String,
    problem: String,
    line: usize,
}

/// The template engine, with the filters that the documentation promises.
pub(super) struct Templates {
    engine: Environment<'static>,
    /// The same engine, but its filters do not encode their input, so that the mark of a masked value stays visible.
    showing_marks: Environment<'static>,
}

impl Templates {
    pub(super) fn new() -> Templates {
        let (mut engine, mut showing_marks) = (bare_engine(), bare_engine());
        filters::add(&mut engine);
        filters::add_showing(&mut showing_marks);
        Templates { engine, showing_marks }
    }

    /// Renders the template at `place` in the configuration.
    pub(super) fn render(
        &self,
        place: &str,
        source: &str,
        words: &TemplateContext,
    ) -> Result<Secret, BadTemplate> {
        let mut text = SecretBuffer::new();
        let engine = if words.shows_marks { &self.showing_marks } else { &self.engine };
        let template = engine.template_from_named_str("template", source);
        let rendered = template.and_then(|template| {
            let rendered = template.render_captured_to(words.context(), &mut text).map(drop);
            rendered.map_err(|error| name_what_is_missing(error, &template, words))
        });
        rendered.map_err(|error| bad(place, &error))?;
        Ok(text.into_secret())
    }
}

fn bare_engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(FUEL));
    // Debug output would contain the values of the variables.
    engine.set_debug(false);
    engine.remove_global("debug");
    engine
}

/// The members of `answer` that a template uses, that have no value, and whose absence it does not handle with
/// `default` or `is defined`.
pub(super) fn missing_in_answer(source: &str, words: &TemplateContext) -> Vec<String> {
    let engine = bare_engine();
    let Ok(template) = engine.template_from_str(source) else { return Vec::new() };
    let mut names = template.undeclared_variables(true).into_iter().collect::<Vec<_>>();
    names.retain(|name| {
        name.starts_with("answer.") && is_missing(name, words) && !is_allowed_for(name, source)
    });
    names.sort();
    names
}

fn is_missing(path: &str, words: &TemplateContext) -> bool {
    let mut value = Ok(words.context());
    for step in path.split('.') {
        value = value.and_then(|value| value.get_attr(step));
    }
    value.map_or(true, |value| value.is_undefined())
}

/// Whether the template uses `default` or `is defined` on this member, or on a member that contains it.
fn is_allowed_for(path: &str, source: &str) -> bool {
    let ends = path.match_indices('.').map(|(at, _)| at).skip(1).chain([path.len()]);
    let allows = |name: &str| {
        source.match_indices(name).any(|(at, _)| {
            let after: String = source[at + name.len()..].split_whitespace().collect::<Vec<_>>().join(" ");
            let after = after.trim_start_matches(')').trim_start();
            let filter = after.strip_prefix('|').map(str::trim_start);
            filter.is_some_and(|filter| filter.starts_with("default"))
                || ["is defined", "is not defined", "is undefined"].iter().any(|test| after.starts_with(test))
        })
    };
    ends.into_iter().any(|end| allows(&path[..end]))
}

/// Adds the names of the missing variables to the error, because minijinja's message does not name them. The names
/// come from the template, so they are not secret.
fn name_what_is_missing(error: Error, template: &Template<'_, '_>, words: &TemplateContext) -> Error {
    if error.kind() != ErrorKind::UndefinedError {
        return error;
    }
    let is_missing = |path: &String| {
        let mut steps = path.split('.');
        steps
            .try_fold(words.context(), |value, step| value.get_attr(step))
            .is_ok_and(|value| value.is_undefined())
    };
    let mut names: Vec<_> = template.undeclared_variables(true).into_iter().filter(is_missing).collect();
    names.sort();
    match names.is_empty() {
        true => error,
        false => Error::new(ErrorKind::UndefinedError, names.join(", ")).with_source(error),
    }
}

fn bad(place: &str, error: &Error) -> BadTemplate {
    // Only `name_what_is_missing` wraps a source of the same kind, and its detail is safe to repeat.
    let inner = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>());
    let missing =
        inner.filter(|inner| inner.kind() == ErrorKind::UndefinedError).and_then(|_| error.detail());
    let problem = match missing {
        Some(names) => format!("{names} has no value"),
        None => error.kind().to_string(),
    };
    let line = inner.or(Some(error)).and_then(Error::line).unwrap_or(1);
    BadTemplate { place: place.to_owned(), problem, line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::delivery::message::tests::offer;
    use crate::adapters::delivery::secret_buffer::TEXT_BYTES_MAX;

    fn render(source: &str) -> Result<String, String> {
        let document = Secret::from(r#"{"ids": [{"id": 7}, {"id": 9}], "note": "canary"}"#);
        let captured = Captured::from([
            ("key_id".to_owned(), CapturedValue::Text(Secret::from("568250167242549743"))),
            ("item".to_owned(), CapturedValue::Document(document)),
        ]);
        let params = Params {
            plain: BTreeMap::from([("names".to_owned(), Value::from(vec!["a", "b"]))]),
            secret: BTreeMap::from([("token".to_owned(), Secret::from("t0ken"))]),
            own_secrets: BTreeMap::from([("app".to_owned(), Secret::from("k3y"))]),
        };
        let secret = Secret::from("se/cret+\"canary\"");
        let words = TemplateContext::new(&offer(), Some(&secret), &params, &captured);
        let rendered = Templates::new().render("the url", source, &words);
        rendered.map(|text| text.expose().to_owned()).map_err(|bad| bad.to_string())
    }

    #[track_caller]
    fn check(source: &str, expected: &str) {
        assert_eq!(render(source).as_deref(), Ok(expected), "{source}");
    }

    #[test]
    fn a_template_renders_the_values_of_the_offer() {
        check("{{ access_key_id }} {{ old_access_key_id }}", "AKIANEW0000000000001 AKIAOLD0000000000001");
        check("{{ vendor }}/{{ account_id }}/{{ iam_user }}", "acme/111122223333/vendor-acme");
        check("{{ captured.key_id }}", "568250167242549743");
        check("{{ captured.item.ids | map(attribute='id') | list | tojson }}", "[7, 9]");
        check("{{ captured.item.ids[1].id | urlencode }}", "9");
        check("{{ params.names | join('+') }}/{{ params.token }}/{{ secrets.app }}", "a+b/t0ken/k3y");
        check(
            "{{ credentials_json }}",
            "{\"Version\":1,\"AccessKeyId\":\"AKIANEW0000000000001\",\"SecretAccessKey\":\"se/cret+\\\"canary\\\"\"}",
        );
        check("{{ secret_access_key | tojson }}", r#""se/cret+\"canary\"""#);
        check("{{ secret_access_key | urlencode }}", "se%2Fcret%2B%22canary%22");
        check("{{ 'ü ' | urlencode }}", "%C3%BC%20");
        check("{{ secret_access_key | b64encode | b64decode }}", "se/cret+\"canary\"");
        check("{{ access_key_id[-4:] }}", "0001");
        check("{{ updated_since }}", "2026-11-23T02:55:00Z");
        check(
            "{{ 'some+secret+key' | ses_smtp_password('eu-central-1') }}",
            "BMXhUYlu5Z3gSXVQORxlVa7XPaz91aGWdfHxvkOZdWZ2",
        );
        assert!(render("{{ rotation_id }}").is_ok_and(|id| id.len() == 36));
    }

    #[test]
    fn a_template_error_names_its_line_and_kind_and_never_a_value() {
        for (source, words) in [
            ("{{ nonsense }}", "the template of the url cannot be rendered: nonsense has no value in line 1"),
            ("\n{{ captured.nothing }}", "captured.nothing has no value in line 2"),
            ("{{ access_key_id", "syntax error in line 1"),
            ("{{ secret_access_key | nonsense }}", "unknown filter in line 1"),
            ("{{ secret_access_key | b64decode }}", "invalid operation in line 1"),
            ("{{ secret_access_key | sealed_box(secret_access_key) }}", "invalid operation in line 1"),
            ("{{ secret_access_key + 1 }}", "invalid operation in line 1"),
            ("{{ [][secret_access_key].x }}", "in line 1"),
            ("{{ secret_access_key() }}", "in line 1"),
            ("{{ secret_access_key.canary() }}", "in line 1"),
            ("{% include secret_access_key %}", "in line 1"),
            ("{{ secret_access_key | int }}", "invalid operation in line 1"),
            ("{{ debug() }}", "in line 1"),
        ] {
            let sentence = render(source).expect_err(source);
            assert!(sentence.contains(words), "{source}: {sentence}");
            assert!(!sentence.contains("se/cret"), "{sentence}");
        }
    }

    #[test]
    fn a_template_without_access_to_the_secret_cannot_render_it() {
        let words = TemplateContext::new(&offer(), None, &Params::default(), &Captured::new());
        let refusal = Templates::new().render("the url", "{{ secret_access_key }}", &words);
        let sentence = refusal.expect_err("no secret").to_string();
        assert!(sentence.contains("secret_access_key has no value"), "{sentence}");
    }

    #[test]
    fn work_and_output_are_bounded() {
        assert!(
            render("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}").is_err()
        );
        let half = TEXT_BYTES_MAX / 2;
        assert!(render(&format!("{{{{ 'ab' * {half} }}}}")).is_ok_and(|text| text.len() == TEXT_BYTES_MAX));
        assert!(render(&format!("{{{{ 'ab' * {half} }}}}c")).is_err());
    }
}
