//! `[[vendor.NAME.deliver]]` and `[vendor.NAME.verify]`.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::answer;
use super::auth;
use super::body;
use super::preset::{self, Presets};
use super::reader::{self, Entry, Section, Text, not_built, quoted};
use super::report::{Mistake, Span};
use super::template::{self, Scope};
use super::values::{self, Plaintext};
use crate::config::SecretRef;
use crate::config::settings::{Body, DeliverStep, HttpStep, WebhookStep};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);
/// A vendor that takes longer than this has not answered.
const TIMEOUT_MAX: Duration = Duration::from_mins(5);
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "PATCH", "DELETE"];
const BUILT: [&str; 3] = ["webhook", "http", "preset"];
/// Documented, and not part of this version.
const NOT_BUILT: [&str; 4] = ["secrets-manager", "ssm", "command", "manual"];
/// These frame the message, so they are ours.
const OUR_HEADERS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "te"];
/// These carry secrets.
const SECRET_HEADERS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];
const PLAIN_HINT: &str = "use https; or say allow_plaintext = true, out loud";

fn title(vendor: &str, part: &str) -> String {
    reader::title("vendor", &format!("{vendor}.{part}"))
}

/// How a vendor is given a key, and asked about it.
#[derive(Default)]
pub(super) struct Ways {
    pub(super) deliver: Vec<DeliverStep>,
    pub(super) verify: Vec<HttpStep>,
    pub(super) probe: Vec<HttpStep>,
}

/// The steps of one delivery, in order, and what the presets among them bring.
pub(super) fn deliver(vendor: &mut Section<'_>, name: &str, presets: &Presets) -> Option<Ways> {
    let hint = format!("at least one [{}] says how the vendor gets a new key", title(name, "deliver"));
    let entry = vendor.required("deliver", &hint)?;
    if entry.value.get_ref().is_table() {
        let mistake = Mistake::new(entry.span(), "deliver is a list of steps");
        vendor.report.add(mistake.hint(format!("write it with two brackets: [{}]", title(name, "deliver"))));
        return None;
    }
    let list = reader::list(vendor.report, "deliver", entry.value, &hint)?;
    let mut scope = Scope { has_secret: true, ..Scope::default() };
    let mut ways = Some(Ways::default());
    for value in list {
        let step = deliver_step(vendor, name, value, &mut scope, presets);
        // Each step is read, so that the mistakes of all are found.
        ways = ways.zip(step).map(|(mut ways, step)| {
            ways.deliver.extend(step.deliver);
            ways.verify.extend(step.verify);
            ways.probe.extend(step.probe);
            ways
        });
    }
    ways
}

fn deliver_step<'a>(
    vendor: &Section<'a>,
    name: &str,
    value: &'a Spanned<DeValue<'a>>,
    scope: &mut Scope,
    presets: &Presets,
) -> Option<Ways> {
    let title = format!("[{}]", title(name, "deliver"));
    let mut section = reader::section(vendor.report, "deliver", title, value)?;
    let kind = section.required("kind", "kind = \"webhook\" or kind = \"http\"")?;
    let kind = reader::string(section.report, "kind", kind.value)?;
    let one = |step| Ways { deliver: vec![step], ..Ways::default() };
    match kind.text {
        "webhook" => webhook(section).map(DeliverStep::Webhook).map(one),
        "http" => {
            let step = http(section, "POST", scope)?;
            scope.captured.extend(step.capture.keys().cloned());
            Some(one(DeliverStep::Http(Box::new(step))))
        }
        "preset" => preset::expand(section, presets),
        _ => {
            section.report.add(other_kind(kind));
            None
        }
    }
}

fn other_kind(kind: Text<'_>) -> Mistake {
    let name = quoted(kind.text);
    if NOT_BUILT.contains(&kind.text) {
        let mistake = not_built(kind.span, &format!("the delivery kind {name}"));
        return mistake.hint("this version delivers with kind = \"webhook\", \"http\" or \"preset\"");
    }
    let hint = match values::nearest(kind.text, BUILT.into_iter()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => "the kinds are webhook, http and preset".to_owned(),
    };
    Mistake::new(kind.span, format!("unknown kind {name}")).hint(hint)
}

fn webhook(mut section: Section<'_>) -> Option<WebhookStep> {
    let (timeout, allow_plaintext) =
        (timeout(&mut section), section.flag("allow_plaintext").unwrap_or(false));
    let url = section.required("url", "where the webhook is posted to").and_then(|entry| {
        let text = reader::string(section.report, "url", entry.value)?;
        values::address(section.report, text, plaintext(allow_plaintext))
    });
    let secrets = webhook_secrets(&mut section);
    section.not_built("encrypt_to", "leave it out: the body then goes over TLS, signed, as it is");
    section.finish();
    Some(WebhookStep { url: url?, secrets: secrets?, timeout, allow_plaintext })
}

fn webhook_secrets(section: &mut Section<'_>) -> Option<Vec<SecretRef>> {
    let hint = "the secret that signs the webhook, such as secret = \"credential:acme-webhook\"";
    let entry = section.required("secret", hint)?;
    if !entry.value.get_ref().is_array() {
        return reader::secret(section.report, entry.value).map(|secret| vec![secret]);
    }
    let list = reader::list(section.report, "secret", entry.value, hint)?;
    let secrets: Vec<_> = list.iter().map(|value| reader::secret(section.report, value)).collect();
    secrets.into_iter().collect()
}

/// How the vendor is asked which key is in force: one request, or several in order.
pub(super) fn verify(vendor: &mut Section<'_>, name: &str) -> Option<Vec<HttpStep>> {
    let entry = vendor.entry("verify")?;
    let values = match entry.value.get_ref().as_array() {
        Some(_) => reader::list(vendor.report, "verify", entry.value, "leave it out: not every vendor says")?,
        None => std::slice::from_ref(entry.value),
    };
    let sections =
        values.iter().map(|value| reader::section(vendor.report, "verify", title(name, "verify"), value));
    questions(sections.collect(), Scope::default())
}

/// Requests in order, none of which may speak of the new key's secret half.
pub(super) fn questions(sections: Vec<Option<Section<'_>>>, mut scope: Scope) -> Option<Vec<HttpStep>> {
    let steps: Vec<Option<HttpStep>> = sections
        .into_iter()
        .map(|section| {
            let step = http(section?, "GET", &scope)?;
            scope.captured.extend(step.capture.keys().cloned());
            Some(step)
        })
        .collect();
    steps.into_iter().collect()
}

/// One request from templates, which may speak of what earlier steps have captured.
pub(super) fn http(mut section: Section<'_>, default_method: &str, scope: &Scope) -> Option<HttpStep> {
    let method = method(&mut section, default_method);
    let (timeout, allow_plaintext) =
        (timeout(&mut section), section.flag("allow_plaintext").unwrap_or(false));
    let url = url(&mut section, plaintext(allow_plaintext), scope);
    let mut headers = headers(&mut section, scope);
    let auth = auth::read(&mut section, plaintext(allow_plaintext), scope);
    let body = body::read(&mut section, scope);
    if method == "GET"
        && let Some(place) = body.place
    {
        section.report.add(get_with_body(place, section.place_of("method")));
    }
    if let Some(content_type) = body.content_type
        && !headers.keys().any(|name| name.eq_ignore_ascii_case("content-type"))
    {
        headers.insert("Content-Type".to_owned(), content_type.to_owned());
    }
    let mut expect = answer::expect(&mut section, scope);
    expect.absent.extend(body.absent.map(str::to_owned));
    let capture = answer::capture(&mut section, scope);
    let pages = answer::pages(&mut section);
    let when = template(&mut section, "when", scope);
    let changes = section.flag("changes").unwrap_or(method != "GET");
    let completes_pair = section.flag("completes_pair").unwrap_or(false);
    let sample = section.entry("sample").and_then(|entry| body::json(section.report, entry.value, scope));
    section.finish();
    let body = body.value.unwrap_or(Body::Empty);
    let url = url?;
    Some(HttpStep {
        headers,
        auth,
        body,
        expect,
        capture,
        pages,
        when,
        changes,
        completes_pair,
        sample,
        allow_plaintext,
        ..HttpStep::new(&method, &url, timeout)
    })
}

fn template(section: &mut Section<'_>, key: &'static str, scope: &Scope) -> Option<String> {
    let text = section.string(key)?;
    template::check(section.report, text, scope);
    Some(text.text.to_owned())
}

fn get_with_body(place: Span, method: Option<Span>) -> Mistake {
    let mistake =
        Mistake::new(place, "a GET has no body").hint("say method = \"POST\", or what the vendor wants");
    match method {
        Some(method) => mistake.elsewhere(method, "the method stands here"),
        None => mistake,
    }
}

fn plaintext(allowed: bool) -> Plaintext {
    if allowed { Plaintext::Allowed } else { Plaintext::Refused { hint: PLAIN_HINT } }
}

pub(super) fn timeout(section: &mut Section<'_>) -> Duration {
    let timeout = section.duration("timeout", Duration::from_secs(1)).unwrap_or(DEFAULT_TIMEOUT);
    if let Some(entry) = section.entry("timeout").filter(|_| timeout > TIMEOUT_MAX) {
        section.report.add(Mistake::new(entry.span(), "this timeout is too long").hint("at most 5m"));
    }
    timeout
}

fn method(section: &mut Section<'_>, default: &str) -> String {
    let Some(text) = section.string("method") else { return default.to_owned() };
    if !METHODS.contains(&text.text) {
        let hint = match values::nearest(text.text, METHODS.into_iter()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("one of {}", METHODS.join(", ")),
        };
        section
            .report
            .add(Mistake::new(text.span, format!("unknown method {}", quoted(text.text))).hint(hint));
    }
    text.text.to_owned()
}

fn url(section: &mut Section<'_>, plaintext: Plaintext, scope: &Scope) -> Option<String> {
    let entry = section.required("url", "where the request is sent to")?;
    let text = reader::unseen_string(section.report, "url", entry.value)?;
    values::address_template(section.report, text, plaintext);
    template::check(section.report, text, scope);
    Some(text.text.to_owned())
}

fn headers(section: &mut Section<'_>, scope: &Scope) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    for entry in section.named("headers", "headers") {
        if let Some(mistake) = judge_header(&entry) {
            section.report.add(mistake);
        }
        if let Some(first) = seen.insert(entry.key.to_ascii_lowercase(), entry.key_span) {
            let mistake = Mistake::new(entry.key_span, "this header is there already, in other letters");
            section.report.add(mistake.elsewhere(first, "first here"));
        }
        if let Some(text) = reader::unseen_string(section.report, entry.key, entry.value) {
            template::check(section.report, text, scope);
            headers.insert(entry.key.to_owned(), text.text.to_owned());
        }
    }
    headers
}

fn judge_header(entry: &Entry<'_>) -> Option<Mistake> {
    let name = entry.key.to_ascii_lowercase();
    let mistake = |message: &str, hint: &str| {
        Some(Mistake::new(entry.key_span, format!("{} {message}", quoted(entry.key))).hint(hint))
    };
    let literal = entry.value.get_ref().as_str().is_some_and(|text| !text.contains("{{"));
    if !values::is_header_name(&name) {
        mistake("is not the name of a header", "letters, digits and - without blanks, such as X-Api-Key")
    } else if OUR_HEADERS.contains(&name.as_str()) {
        mistake("is a header that keyround sets itself", "leave it out")
    } else if SECRET_HEADERS.contains(&name.as_str()) && literal {
        let hint = "say auth = { bearer = \"credential:acme-token\" }, or auth = { header = { name = …, value = … } }";
        mistake("holds a secret, which is never written in this file", hint)
    } else if entry.value.get_ref().as_str().is_some_and(|text| text.contains(['\r', '\n', '\0'])) {
        mistake("has a value of more than one line", "a header is one line")
    } else {
        None
    }
}
