//! `[[vendor.NAME.deliver]]` and `[vendor.NAME.verify]`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::auth;
use super::body;
use super::command;
use super::drop_off;
use super::reader::{self, Entry, Section, Text, not_built, quoted};
use super::report::{Mistake, Span};
use super::template::{self, Scope};
use super::values::{self, Plaintext};
use crate::config::settings::{
    AccountSettings, Body, Carries, DeliverStep, Expect, HttpStep, ManualStep, VerifyStep, WebhookStep,
};
use crate::config::{BadRecipient, Recipient, SecretRef};
use crate::ids::AccountName;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);
/// A vendor that takes longer than this has not answered.
const TIMEOUT_MAX: Duration = Duration::from_mins(5);
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "PATCH", "DELETE"];
const BUILT: [&str; 6] = ["webhook", "http", "secrets-manager", "ssm", "command", "manual"];
/// Documented, and not part of this version.
const NOT_BUILT: [&str; 1] = ["preset"];
/// These frame the message, so they are ours.
const OUR_HEADERS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "te"];
/// These carry secrets.
const SECRET_HEADERS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];
const PLAIN_HINT: &str = "use https; or say allow_plaintext = true, out loud";

fn title(vendor: &str, part: &str) -> String {
    reader::title("vendor", &format!("{vendor}.{part}"))
}

/// What the steps of one vendor refer to.
pub(super) struct Recipe<'r> {
    /// The vendor's name.
    pub(super) name: &'r str,
    pub(super) accounts: &'r BTreeMap<AccountName, AccountSettings>,
    /// The vendor's own.
    pub(super) account: Option<&'r AccountName>,
}

/// The steps of one delivery, in order.
pub(super) fn deliver(vendor: &mut Section<'_>, recipe: &Recipe<'_>) -> Option<Vec<DeliverStep>> {
    let name = recipe.name;
    let hint = format!("at least one [{}] says how the vendor gets a new key", title(name, "deliver"));
    let entry = vendor.required("deliver", &hint)?;
    if entry.value.get_ref().is_table() {
        let mistake = Mistake::new(entry.span(), "deliver is a list of steps");
        vendor.report.add(mistake.hint(format!("write it with two brackets: [{}]", title(name, "deliver"))));
        return None;
    }
    let list = reader::list(vendor.report, "deliver", entry.value, &hint)?;
    let mut earlier = Earlier::default();
    let steps: Vec<Option<DeliverStep>> =
        list.iter().map(|value| deliver_step(vendor, recipe, value, &mut earlier, list.len())).collect();
    steps.into_iter().collect()
}

/// Whether a person takes the key to the vendor, whatever else is wrong with the steps.
pub(super) fn is_by_hand(vendor: &mut Section<'_>) -> bool {
    let steps = vendor.entry("deliver").and_then(|entry| entry.value.get_ref().as_array());
    let kind = |step: &Spanned<DeValue<'_>>| -> bool {
        let kind = step.get_ref().as_table().and_then(|table| table.get("kind"));
        kind.is_some_and(|kind| kind.get_ref().as_str() == Some("manual"))
    };
    steps.is_some_and(|steps| steps.iter().any(kind))
}

/// What the steps before this one have left for it.
struct Earlier {
    scope: Scope,
    dropped_off: bool,
}

impl Default for Earlier {
    fn default() -> Earlier {
        Earlier { scope: Scope { captured: BTreeSet::new(), has_secret: true }, dropped_off: false }
    }
}

fn deliver_step<'a>(
    vendor: &Section<'a>,
    recipe: &Recipe<'_>,
    value: &'a Spanned<DeValue<'a>>,
    earlier: &mut Earlier,
    steps: usize,
) -> Option<DeliverStep> {
    let title = format!("[{}]", title(recipe.name, "deliver"));
    let mut section = reader::section(vendor.report, "deliver", title, value)?;
    let kind = section.required("kind", &format!("one of {}", BUILT.join(", ")))?;
    let kind = reader::string(section.report, "kind", kind.value)?;
    let scope = &mut earlier.scope;
    match kind.text {
        "webhook" => webhook(section, earlier.dropped_off).map(DeliverStep::Webhook),
        "http" => {
            let step = http(section, "POST", scope)?;
            scope.captured.extend(step.capture.keys().cloned());
            Some(DeliverStep::Http(Box::new(step)))
        }
        "secrets-manager" => {
            earlier.dropped_off = true;
            drop_off::secrets_manager(section, recipe, &earlier.scope).map(DeliverStep::DropOff)
        }
        "ssm" => {
            earlier.dropped_off = true;
            drop_off::ssm(section, recipe, &earlier.scope).map(DeliverStep::DropOff)
        }
        "command" => {
            let step = command::command(section, scope)?;
            scope.captured.extend(step.capture.keys().cloned());
            Some(DeliverStep::Command(step))
        }
        "manual" => Some(DeliverStep::Manual(manual(section, kind.span, steps))),
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
        return mistake.hint(format!("this version delivers with {}", BUILT.join(", ")));
    }
    let hint = match values::nearest(kind.text, BUILT.into_iter()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("the kinds are {}", BUILT.join(", ")),
    };
    Mistake::new(kind.span, format!("unknown kind {name}")).hint(hint)
}

/// A person does the whole of it: before or after a step of ours, nobody could say how far a delivery has come.
fn manual(mut section: Section<'_>, kind: Span, steps: usize) -> ManualStep {
    if steps > 1 {
        let mistake = Mistake::new(kind, "a delivery by hand has no other steps");
        section.report.add(mistake.hint("say in instructions what else that person is to do"));
    }
    let instructions = section.string("instructions").map(|text| text.text.to_owned());
    section.finish();
    ManualStep { instructions }
}

pub(super) fn webhook(mut section: Section<'_>, dropped_off: bool) -> Option<WebhookStep> {
    let (timeout, allow_plaintext) =
        (timeout(&mut section), section.flag("allow_plaintext").unwrap_or(false));
    let url = section.required("url", "where the webhook is posted to").and_then(|entry| {
        let text = reader::string(section.report, "url", entry.value)?;
        values::address(section.report, text, plaintext(allow_plaintext))
    });
    let secrets = webhook_secrets(&mut section);
    let carries = carries(&mut section, dropped_off);
    let encrypt_to = encrypt_to(&mut section);
    section.finish();
    Some(WebhookStep { url: url?, secrets: secrets?, carries, encrypt_to, timeout, allow_plaintext })
}

/// To whom a message is encrypted. What is no recipient may be an identity, which is secret, and is not shown.
pub(super) fn encrypt_to(section: &mut Section<'_>) -> Option<Recipient> {
    let entry = section.entry("encrypt_to")?;
    let text = reader::unseen_string(section.report, "encrypt_to", entry.value)?;
    let recipient: Result<Recipient, BadRecipient> = text.text.parse();
    match &recipient {
        Ok(_) => section.report.clear(text.span),
        Err(bad) => {
            section.report.hide(text.span);
            section.report.add(Mistake::new(text.span, format!("{bad}")));
        }
    }
    recipient.ok()
}

fn carries(section: &mut Section<'_>, dropped_off: bool) -> Carries {
    let Some(text) = section.string("carries") else { return Carries::Secret };
    match text.text {
        "secret" => Carries::Secret,
        "reference" => {
            if !dropped_off {
                let mistake =
                    Mistake::new(text.span, "no earlier step puts the key where a reference could lead");
                section
                    .report
                    .add(mistake.hint("kind = \"secrets-manager\" or kind = \"ssm\" goes before it"));
            }
            Carries::Reference
        }
        other => {
            let mistake = Mistake::new(text.span, format!("a webhook cannot carry {}", quoted(other)));
            section
                .report
                .add(mistake.hint("\"secret\", or \"reference\" after a step that drops the key off"));
            Carries::Secret
        }
    }
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

/// How the vendor is asked which key is in force.
pub(super) fn verify(vendor: &mut Section<'_>, name: &str) -> Option<VerifyStep> {
    let mut section = vendor.section("verify", title(name, "verify"))?;
    let scope = Scope { captured: BTreeSet::new(), has_secret: false };
    let kind = section.string("kind");
    match kind.map_or("http", |kind| kind.text) {
        "http" => http(section, "GET", &scope).map(|step| VerifyStep::Http(Box::new(step))),
        "command" => command::command(section, &scope).map(VerifyStep::Command),
        other => {
            let place = kind.map_or(section.span, |kind| kind.span);
            let mistake = Mistake::new(place, format!("a vendor cannot be asked by {}", quoted(other)));
            section.report.add(mistake.hint("\"http\" or \"command\""));
            None
        }
    }
}

/// One request from templates, which may speak of what earlier steps have captured.
fn http(mut section: Section<'_>, default_method: &str, scope: &Scope) -> Option<HttpStep> {
    let method = method(&mut section, default_method);
    let (timeout, allow_plaintext) =
        (timeout(&mut section), section.flag("allow_plaintext").unwrap_or(false));
    let url = url(&mut section, plaintext(allow_plaintext), scope);
    let headers = headers(&mut section, scope);
    let auth = auth::read(&mut section, plaintext(allow_plaintext));
    let body = body::read(&mut section, scope);
    if method == "GET"
        && let Some(place) = body.place
    {
        section.report.add(get_with_body(place, section.place_of("method")));
    }
    let expect = expect(&mut section, scope);
    let capture = capture(&mut section);
    section.finish();
    let body = body.value.unwrap_or(Body::Empty);
    Some(HttpStep { method, url: url?, headers, auth, body, expect, capture, timeout, allow_plaintext })
}

fn get_with_body(place: Span, method: Option<Span>) -> Mistake {
    let mistake =
        Mistake::new(place, "a GET has no body").hint("say method = \"POST\", or what the vendor wants");
    match method {
        Some(method) => mistake.elsewhere(method, "the method stands here"),
        None => mistake,
    }
}

pub(super) fn plaintext(allowed: bool) -> Plaintext {
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

pub(super) fn expect(section: &mut Section<'_>, scope: &Scope) -> Expect {
    let Some(mut section) = section.section("expect", "expect".to_owned()) else { return Expect::default() };
    let status = statuses(&mut section);
    let pointer = section.string("pointer").and_then(|text| values::pointer(section.report, text));
    let equals = section.entry("equals").and_then(|entry| {
        let text = reader::string(section.report, "equals", entry.value)?;
        template::check(section.report, text, scope);
        Some(text.text.to_owned())
    });
    if let (Some(place), None) = (section.place_of("equals"), section.place_of("pointer")) {
        let hint = "pointer = \"/json/pointer\" says what is compared";
        section.report.add(Mistake::new(place, "equals without a pointer").hint(hint));
    }
    section.finish();
    Expect { status, pointer, equals }
}

fn statuses(section: &mut Section<'_>) -> Vec<u16> {
    let Some(entry) = section.entry("status") else { return Vec::new() };
    let values = match entry.value.get_ref().as_array() {
        Some(_) => reader::list(section.report, "status", entry.value, "leave it out for any 2xx"),
        None => Some(std::slice::from_ref(entry.value)),
    };
    let numbers = values.unwrap_or_default().iter();
    let statuses = numbers.filter_map(|value| reader::number(section.report, "status", value, 100..=599));
    statuses.filter_map(|status| u16::try_from(status).ok()).collect()
}

pub(super) fn capture(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let mut captures = BTreeMap::new();
    for entry in section.named("capture", "capture") {
        if !values::is_identifier(entry.key) {
            let message = format!("{} is not a name that a template can say", quoted(entry.key));
            let hint = "letters, digits and _, not a digit first: {{ captured.site_id }}";
            section.report.add(Mistake::new(entry.key_span, message).hint(hint));
        }
        let text = reader::string(section.report, entry.key, entry.value);
        let pointer = text.and_then(|text| values::pointer(section.report, text));
        if let Some(pointer) = pointer {
            captures.insert(entry.key.to_owned(), pointer);
        }
    }
    captures
}
