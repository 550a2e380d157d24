//! Reads the steps of a vendor: `[[vendor.NAME.deliver]]` and `[vendor.NAME.verify]`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::address;
use super::answer;
use super::auth;
use super::body;
use super::command;
use super::literal;
use super::preset::{self, Presets};
use super::reader::{self, Section, Text, quoted};
use super::report::{Mistake, Span};
use super::secret_store;
use super::template::{self, Scope};
use super::values::{self, Plaintext};
use super::vendor::Accounts;
use crate::config::settings::{
    Body, Carries, DeliverStep, HttpStep, ManualStep, VerifyStep, WebhookStep, Writes,
};
use crate::config::{BadRecipient, Recipient, SecretRef};
use crate::core::ids::AccountName;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest time limit that a step may have.
const TIMEOUT_MAX: Duration = Duration::from_mins(5);
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "PATCH", "DELETE"];
const BUILT: [&str; 7] = ["webhook", "http", "preset", "secrets-manager", "ssm", "command", "manual"];
/// Headers that frame the message, so that keyround sets them itself.
const OUR_HEADERS: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "keep-alive",
];
const PLAIN_HINT: &str = "use https, or set allow_plaintext = true";

fn title(vendor: &str, part: &str) -> String {
    reader::title("vendor", &format!("{vendor}.{part}"))
}

/// The steps with which a vendor gets a key and is asked about it.
#[derive(Default)]
pub(super) struct DeliverySections {
    pub(super) deliver: Vec<DeliverStep>,
    pub(super) presets: Vec<String>,
    pub(super) verify: Vec<HttpStep>,
    pub(super) probe: Vec<HttpStep>,
}

/// The parts of the configuration that the steps of one vendor refer to.
pub(super) struct Recipe<'r> {
    /// The vendor's name.
    pub(super) name: &'r str,
    pub(super) accounts: &'r Accounts,
    /// The account of the vendor's users.
    pub(super) account: Option<&'r AccountName>,
    pub(super) presets: &'r Presets,
}

/// Reads the steps of a delivery, in order. The requests for verify and probe come from the presets among them.
pub(super) fn deliver(vendor: &mut Section<'_>, recipe: &Recipe<'_>) -> Option<DeliverySections> {
    let name = recipe.name;
    let hint =
        format!("at least one [{}] is needed to deliver a new key to the vendor", title(name, "deliver"));
    let entry = vendor.required("deliver", &hint)?;
    if entry.value.get_ref().is_table() {
        let mistake = Mistake::new(entry.span(), "deliver is a list of steps");
        vendor.report.add(mistake.hint(format!("write it with two brackets: [{}]", title(name, "deliver"))));
        return None;
    }
    let list = reader::list(vendor.report, "deliver", entry.value, &hint)?;
    let mut earlier = Earlier::default();
    let mut ways = Some(DeliverySections::default());
    for value in list {
        let step = deliver_step(vendor, recipe, value, &mut earlier, list.len());
        // Every step is read, even after one with mistakes, so that all mistakes are found.
        ways = ways.zip(step).map(|(mut ways, step)| {
            ways.deliver.extend(step.deliver);
            ways.presets.extend(step.presets);
            ways.verify.extend(step.verify);
            ways.probe.extend(step.probe);
            ways
        });
    }
    ways
}

/// Whether a person delivers the key, even if the steps have other mistakes.
pub(super) fn is_by_hand(vendor: &mut Section<'_>) -> bool {
    let steps = vendor.entry("deliver").and_then(|entry| entry.value.get_ref().as_array());
    let kind = |step: &Spanned<DeValue<'_>>| -> bool {
        let kind = step.get_ref().as_table().and_then(|table| table.get("kind"));
        kind.is_some_and(|kind| kind.get_ref().as_str() == Some("manual"))
    };
    steps.is_some_and(|steps| steps.iter().any(kind))
}

/// What the steps before the current one provide.
struct Earlier {
    scope: Scope,
    dropped_off: bool,
}

impl Default for Earlier {
    fn default() -> Earlier {
        Earlier { scope: Scope { has_secret: true, ..Scope::default() }, dropped_off: false }
    }
}

fn deliver_step<'a>(
    vendor: &Section<'a>,
    recipe: &Recipe<'_>,
    value: &'a Spanned<DeValue<'a>>,
    earlier: &mut Earlier,
    steps: usize,
) -> Option<DeliverySections> {
    let title = format!("[{}]", title(recipe.name, "deliver"));
    let mut section = reader::section(vendor.report, "deliver", title, value)?;
    let kind = kind_of(&mut section)?;
    let one = |step| DeliverySections { deliver: vec![step], ..DeliverySections::default() };
    let scope = &mut earlier.scope;
    match kind.text {
        "webhook" => webhook(section, earlier.dropped_off).map(DeliverStep::Webhook).map(one),
        "http" => {
            let step = http(section, "POST", scope)?;
            scope.captured.extend(step.capture.keys().cloned());
            Some(one(DeliverStep::Http(Box::new(step))))
        }
        "preset" => preset::expand(section, recipe.presets),
        "secrets-manager" => {
            // Also if the step has mistakes, so that a later `carries = "reference"` is not reported in addition.
            earlier.dropped_off = true;
            secret_store::secrets_manager(section, recipe, &earlier.scope)
                .map(DeliverStep::SecretStore)
                .map(one)
        }
        "ssm" => {
            earlier.dropped_off = true;
            secret_store::ssm(section, recipe, &earlier.scope).map(DeliverStep::SecretStore).map(one)
        }
        "command" => {
            let step = command::command(section, scope)?;
            scope.captured.extend(step.capture.keys().cloned());
            Some(one(DeliverStep::Command(step)))
        }
        "manual" => Some(one(DeliverStep::Manual(manual(section, kind.span, steps)))),
        _ => None,
    }
}

/// The kind of a step. A kind that is missing or misspelt is reported, and the step is read as the kind that it
/// resembles, so that its other mistakes are found in the same run.
fn kind_of<'a>(section: &mut Section<'a>) -> Option<Text<'a>> {
    let guessed = || {
        let has = |key| section.place_of(key).is_some();
        let marks = [
            ("argv", "command"),
            ("preset", "preset"),
            ("instructions", "manual"),
            ("parameter", "ssm"),
            ("carries", "webhook"),
            ("method", "http"),
            ("auth", "http"),
            ("json", "http"),
        ];
        marks.into_iter().find(|(key, _)| has(key)).map(|(_, kind)| kind)
    };
    let guessed = guessed();
    let Some(entry) = section.required("kind", &format!("one of {}", BUILT.join(", "))) else {
        return guessed.map(|text| Text { text, span: section.span });
    };
    let kind = reader::string(section.report, "kind", entry.value)?;
    if BUILT.contains(&kind.text) {
        return Some(kind);
    }
    let near = values::nearest(kind.text, BUILT.into_iter());
    let hint = match near {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("the kinds are {}", BUILT.join(", ")),
    };
    section.report.add(Mistake::new(kind.span, format!("unknown kind {}", quoted(kind.text))).hint(hint));
    near.or(guessed).map(|text| Text { text, span: kind.span })
}

/// Reads a delivery by hand. It must be the only step: with other steps around it, keyround could not tell how far
/// a delivery has come.
fn manual(mut section: Section<'_>, kind: Span, steps: usize) -> ManualStep {
    if steps > 1 {
        let mistake = Mistake::new(kind, "a delivery by hand has no other steps");
        section.report.add(mistake.hint("describe any further work in instructions"));
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

/// The recipient that a message is encrypted to. A value that is no recipient is hidden from reports, because it
/// may be an identity, which is secret.
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
                let mistake = Mistake::new(
                    text.span,
                    "carries = \"reference\" needs an earlier secrets-manager or ssm step",
                );
                section.report.add(
                    mistake
                        .hint("put a step of kind = \"secrets-manager\" or kind = \"ssm\" before this one"),
                );
            }
            Carries::Reference
        }
        other => {
            let mistake = Mistake::new(text.span, format!("carries cannot be {}", quoted(other)));
            section
                .report
                .add(mistake.hint("\"secret\", or \"reference\" after a secrets-manager or ssm step"));
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

/// Reads how the vendor is asked which key is in force: one request or program, or several in order.
pub(super) fn verify(vendor: &mut Section<'_>, name: &str) -> Option<Vec<VerifyStep>> {
    let entry = vendor.entry("verify")?;
    let values = match entry.value.get_ref().as_array() {
        Some(_) => reader::list(
            vendor.report,
            "verify",
            entry.value,
            "leave it out: not every vendor publishes one",
        )?,
        None => std::slice::from_ref(entry.value),
    };
    let mut scope = Scope::default();
    let steps: Vec<Option<VerifyStep>> = values
        .iter()
        .map(|value| {
            let section = reader::section(vendor.report, "verify", title(name, "verify"), value)?;
            question(section, &mut scope)
        })
        .collect();
    steps.into_iter().collect()
}

fn question(mut section: Section<'_>, scope: &mut Scope) -> Option<VerifyStep> {
    let kind = section.string("kind");
    match kind.map_or("http", |kind| kind.text) {
        "http" => request(section, scope).map(|step| VerifyStep::Http(Box::new(step))),
        "command" => {
            let step = command::command(section, scope)?;
            scope.captured.extend(step.capture.keys().cloned());
            Some(VerifyStep::Command(step))
        }
        other => {
            let place = kind.map_or(section.span, |kind| kind.span);
            let mistake = Mistake::new(place, format!("unknown kind {} of verify", quoted(other)));
            section.report.add(mistake.hint("\"http\" or \"command\""));
            None
        }
    }
}

/// Reads requests in order. `scope` has no secret half of the new key, so none of them can send it.
pub(super) fn questions(sections: Vec<Option<Section<'_>>>, mut scope: Scope) -> Option<Vec<HttpStep>> {
    let steps: Vec<Option<HttpStep>> =
        sections.into_iter().map(|section| request(section?, &mut scope)).collect();
    steps.into_iter().collect()
}

fn request(section: Section<'_>, scope: &mut Scope) -> Option<HttpStep> {
    let step = http(section, "GET", scope)?;
    scope.captured.extend(step.capture.keys().cloned());
    Some(step)
}

/// Reads one request. Its templates may use values that earlier steps captured.
pub(super) fn http(mut section: Section<'_>, default_method: &str, scope: &Scope) -> Option<HttpStep> {
    let secrets = secrets(&mut section);
    let scope = &Scope { secrets: secrets.keys().cloned().collect(), ..scope.clone() };
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
    let writes = writes(&mut section);
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
        writes,
        sample,
        allow_plaintext,
        secrets: Arc::new(secrets),
        ..HttpStep::new(&method, &url, timeout)
    })
}

/// Reads `writes = "id"` or `"secret"`. `completes_pair = true` is the older name of `writes = "secret"`.
fn writes(section: &mut Section<'_>) -> Option<Writes> {
    let completes_pair = section.flag("completes_pair").unwrap_or(false);
    match section.string("writes") {
        None => completes_pair.then_some(Writes::Secret),
        Some(text) => match text.text {
            "id" => Some(Writes::Id),
            "secret" => Some(Writes::Secret),
            other => {
                let message = format!("writes cannot be {}", quoted(other));
                section.report.add(Mistake::new(text.span, message).hint("\"id\" or \"secret\""));
                None
            }
        },
    }
}

/// Reads `secrets = { NAME = REF }`: the secrets that templates of the step use as `secrets.NAME`.
fn secrets(section: &mut Section<'_>) -> BTreeMap<String, SecretRef> {
    let mut secrets = BTreeMap::new();
    for entry in section.named("secrets", "secrets") {
        if !values::is_identifier(entry.key) {
            let message = format!("{} is not a valid template variable name", quoted(entry.key));
            let hint = "letters, digits and _, not a digit first: app_key";
            section.report.add(Mistake::new(entry.key_span, message).hint(hint));
        }
        if let Some(reference) = reader::secret(section.report, entry.value) {
            secrets.insert(entry.key.to_owned(), reference);
        }
    }
    secrets
}

fn template(section: &mut Section<'_>, key: &'static str, scope: &Scope) -> Option<String> {
    let text = section.string(key)?;
    template::check(section.report, text, scope);
    Some(text.text.to_owned())
}

fn get_with_body(place: Span, method: Option<Span>) -> Mistake {
    let mistake = Mistake::new(place, "a GET has no body")
        .hint("set method = \"POST\", or the method that the vendor documents");
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
    address::check(section.report, text, plaintext, scope);
    Some(text.text.to_owned())
}

fn headers(section: &mut Section<'_>, scope: &Scope) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    for entry in section.named("headers", "headers") {
        if let Some(mistake) = judge_header(entry.key, entry.key_span) {
            section.report.add(mistake);
        }
        if entry.value.get_ref().as_str().is_some_and(|text| text.contains(['\r', '\n', '\0'])) {
            let message = format!("{} has a value of more than one line", quoted(entry.key));
            section.report.add(Mistake::new(entry.key_span, message).hint("a header is one line"));
        }
        if let Some(first) = seen.insert(entry.key.to_ascii_lowercase(), entry.key_span) {
            let mistake = Mistake::new(
                entry.key_span,
                "this header is set twice; upper and lower case are the same in its name",
            );
            section.report.add(mistake.elsewhere(first, "first here"));
        }
        if let Some(text) = reader::unseen_string(section.report, entry.key, entry.value) {
            template::check(section.report, text, scope);
            literal::judge_field(section.report, entry.key, text, scope, true);
            headers.insert(entry.key.to_owned(), text.text.to_owned());
        }
    }
    headers
}

/// The mistake, if a recipe may not set a header with this name.
pub(super) fn judge_header(name: &str, span: Span) -> Option<Mistake> {
    let lower = name.to_ascii_lowercase();
    let mistake = |message: &str, hint: &str| {
        Some(Mistake::new(span, format!("{} {message}", quoted(name))).hint(hint))
    };
    if !values::is_header_name(&lower) {
        mistake("is not the name of a header", "letters, digits and - without blanks, such as X-Api-Key")
    } else if OUR_HEADERS.contains(&lower.as_str()) {
        mistake("is a header that keyround sets itself", "leave it out")
    } else {
        None
    }
}
