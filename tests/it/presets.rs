//! Each preset of the catalogue, run against a simulated vendor that follows the conversation in
//! `tests/presets/NAME.json`.

mod conversation;
mod described;
mod pairs;
mod probed;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use keyround::adapters::delivery::{ConfiguredVendors, Transports};
use keyround::adapters::rehearsal::{RehearsalWorld, StandInVendors};
use keyround::config::catalogue::{Evidence, ParameterKind, Preset, catalogue};
use keyround::config::settings::{Access, DeliverStep, KeyAccess};
use keyround::config::{Environment, SecretRef, Settings, parse};
use keyround::core::ids::{AccessKeyId, RotationId, Subject};
use keyround::core::rotation::{AtVendor, Half, RefusalCode, Verification};
use keyround::core::secret::Secret;
use keyround::core::time::Timestamp;
use keyround::ports::{
    Answer, Check, Delivery, Egress, Fault, Offer, Purpose, Request, Response, SecretSource, Vendors as _,
};
use serde_json::{Value, json};

use crate::support::log::Log;
use crate::support::webhook_reference;
use conversation::{BOX_KEY, Conversation, Message};

const NEW_KEY: &str = "AKIANEW0000000000001";
const OLD_KEY: &str = "AKIAOLD0000000000001";
const NEW_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// A word in every secret of a recipe, and in what a vendor answers when it refuses.
const CANARY: &str = "CANARY";

#[test]
fn every_preset_is_in_the_catalogue_and_has_a_conversation() {
    let known: Vec<String> = catalogue().into_iter().map(|preset| preset.name).collect();
    let files = |folder: &str| {
        let entries = fs::read_dir(root().join(folder)).expect("the folder");
        let names = entries.map(|entry| entry.expect("an entry").path());
        let mut names: Vec<String> =
            names.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(files("src/adapters/delivery/presets"), known);
    assert_eq!(files("tests/presets"), known);
}

#[test]
fn every_preset_has_a_source_a_title_notes_and_a_probe() {
    for preset in catalogue() {
        assert!(preset.source.starts_with("https://"), "{}", preset.name);
        assert!(!preset.title.ends_with('.') && preset.title.chars().count() <= 100, "{}", preset.name);
        assert!(preset.can_probe, "{} has no harmless question", preset.name);
        assert!(!preset.notes.is_empty(), "{} has no notes", preset.name);
        assert!(preset.notes.iter().all(|note| note.ends_with('.')), "{}: a note is sentences", preset.name);
        let conversation = conversation(&preset.name);
        let is_2xx = |no: &conversation::No| (200..300).contains(&no.status);
        assert!(conversation.no.iter().any(is_2xx), "{}: every 2xx is taken for a yes", preset.name);
        let described = !conversation.openapi.is_empty();
        assert_eq!(preset.evidence == Evidence::OpenApi, described, "{}", preset.name);
        // A vendor that shows neither id nor pair cannot tell which key is in force, except by a masked tail.
        if preset.can_verify {
            assert_ne!(preset.read_back, "R5", "{} asks for what is not shown", preset.name);
        }
    }
}

#[test]
fn the_printed_configuration_of_every_preset_parses() {
    for preset in catalogue() {
        let text = preset.configuration();
        if let Err(mistakes) = parse("paste.toml", &text, &Environment::default()) {
            panic!("{text}\n{}", mistakes.render(false));
        }
        // The configuration is valid too with every commented-out parameter in it.
        let all =
            text.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
        if let Err(mistakes) = parse("paste.toml", &all, &Environment::default()) {
            panic!("{all}\n{}", mistakes.render(false));
        }
    }
}

#[tokio::test]
async fn every_preset_delivers_the_pair_and_a_repeat_is_harmless() {
    for_each(async |preset, conversation| {
        let (vendor, acme) = set_up(preset, conversation);
        if preset.can_verify && !preset.name.starts_with("twilio") {
            let before = acme.verify(&offer(0)).await;
            let is_old = matches!(&before, Err(Fault::Refused(no)) if no.code == RefusalCode::NotInForce);
            assert!(is_old || before == Ok(Verification::Acceptance), "{before:?}");
        }
        for attempt in [0, 5, 10] {
            let offer = offer(attempt);
            assert_eq!(acme.deliver(&offer, &Secret::from(NEW_SECRET)).await, Ok(()), "attempt {attempt}");
            vendor.holds_the_pair(&format!("after the attempt at minute {attempt}"));
            for pointer in &conversation.stays {
                assert_eq!(
                    vendor.lock().conversation.state.pointer(pointer),
                    conversation.state.pointer(pointer),
                    "{pointer}"
                );
            }
            if attempt > 0 {
                assert_eq!(vendor.state_that_stays(), vendor.remembered(), "a repeat changes nothing");
            }
            vendor.remember();
            let asked = acme.verify(&offer).await;
            assert!(matches!(asked, Ok(Verification::Asked | Verification::Acceptance)), "{asked:?}");
            let is_shown =
                ["format", "restricted"].iter().all(|name| !conversation.params.contains_key(*name));
            if preset.can_verify && is_shown {
                assert_eq!(asked, Ok(Verification::Asked));
            }
        }
        assert_eq!(vendor.strays(), Vec::<String>::new());
        vendor.was_asked_at(conversation);
    })
    .await;
}

#[tokio::test]
async fn every_preset_has_a_probe_that_passes_and_changes_nothing() {
    for_each(async |preset, conversation| {
        let (vendor, acme) = set_up(preset, conversation);
        vendor.remember();
        let checks = acme.preflight(&offer(0)).await;
        let failed: Vec<&Check> = checks.iter().filter(|check| !check.ok).collect();
        assert!(failed.is_empty(), "{failed:?}");
        assert!(checks.iter().any(|check| check.check == "vendor: probe"), "{checks:?}");
        assert_eq!(vendor.state_that_stays(), vendor.remembered(), "a probe changes nothing");
        assert_eq!(vendor.strays(), Vec::<String>::new());
        vendor.was_asked_at(conversation);
    })
    .await;
}

/// A parameter that names a field, a variable or a client must not make the sample of a step wrong, because a wrong
/// sample fails the check that precedes the creation of a key.
#[tokio::test]
async fn the_samples_of_every_preset_pass_with_other_parameter_values() {
    for_each(async |preset, conversation| {
        let mut other = conversation.clone();
        for parameter in preset.parameters.iter().filter(|parameter| !parameter.secret) {
            let is_free = parameter.kind == ParameterKind::Text && parameter.choices.is_empty();
            let default = parameter.default.as_deref().unwrap_or(&parameter.example).trim_matches('"');
            let is_name = !default.is_empty()
                && default.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
            if is_free && is_name && !conversation.params.contains_key(&parameter.name) {
                other.params.insert(parameter.name.clone(), json!(format!("other_{default}")));
            }
        }
        for conversation in [conversation, &other] {
            let (_, acme) = set_up(preset, conversation);
            let checks = acme.preflight(&offer(0)).await;
            let wrong: Vec<&Check> =
                checks.iter().filter(|check| !check.ok && check.check.ends_with(": sample")).collect();
            assert!(wrong.is_empty(), "{wrong:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn no_preset_accepts_a_failed_answer_or_shows_a_secret() {
    let log = Log::default();
    let listening = log.listen();
    let shown = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&shown);
    for_each(async |preset, conversation| {
        for no in &conversation.no {
            let (_, acme) = set_up(preset, &conversation.refusing(no));
            let fault = acme.deliver(&offer(0), &Secret::from(NEW_SECRET)).await.expect_err("no acceptance");
            assert!(fault.sentence().contains(&no.says), "{}", fault.sentence());
            note(&seen, &fault);
        }
        let (vendor, acme) = set_up(preset, conversation);
        drop(acme.deliver(&offer(0), &Secret::from(NEW_SECRET)).await);
        for route in vendor.routes_taken() {
            for status in [500, 403, 302] {
                let (_, acme) = set_up(preset, &conversation.failing(&route, status));
                let fault = acme.deliver(&offer(0), &Secret::from(NEW_SECRET)).await;
                let fault = fault.expect_err(&format!("{route} was answered with {status}"));
                note(&seen, &fault);
                let checks = format!("{:?}", acme.preflight(&offer(0)).await);
                seen.lock().expect("the notes").push_str(&checks);
                if let Err(fault) = acme.verify(&offer(0)).await {
                    note(&seen, &fault);
                }
            }
        }
    })
    .await;
    drop(listening);
    for text in [shown.lock().expect("the notes").clone(), log.text()] {
        assert!(text.len() > 10_000, "{} characters are too few to be all of it", text.len());
        assert!(!text.contains(CANARY) && !text.contains(NEW_SECRET), "a secret is shown");
    }
}

fn note(seen: &Arc<Mutex<String>>, fault: &Fault) {
    writeln!(seen.lock().expect("the notes"), "{fault:?}").expect("a string takes it");
}

/// The real program, with a vendor for each preset.
#[test]
fn every_preset_can_be_rehearsed() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("rotation.toml");
    let text: Vec<String> = catalogue().iter().map(Preset::configuration).collect();
    fs::write(&config, text.join("\n")).expect("written");
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_keyround"))
        .args(["--format", "json", "rehearse", "-c"])
        .arg(&config)
        .current_dir(folder.path())
        .output()
        .expect("keyround runs");
    let plays: Value = serde_json::from_slice(&run.stdout).expect("a rehearsal");
    let plays = plays.as_array().expect("a list");
    let bad: Vec<&Value> = plays.iter().filter(|play| play["ended"] != json!(true)).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert_eq!((plays.len(), run.status.code()), (catalogue().len(), Some(0)));
}

#[test]
fn the_program_lists_its_presets_and_shows_one() {
    let keyround = |arguments: &[&str]| {
        let run = std::process::Command::new(env!("CARGO_BIN_EXE_keyround")).args(arguments).output();
        let run = run.expect("keyround runs");
        (run.status.code(), String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned())
    };
    let (code, listed) = keyround(&["vendors", "--format", "json"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let fastly = listed.as_array().expect("a list").iter().find(|preset| preset["preset"] == "fastly-s3");
    let fastly = fastly.expect("the preset of the contract");
    assert_eq!((code, &fastly["evidence"], &fastly["read_back"]), (Some(0), &json!("docs"), &json!("R2")));
    let token = fastly["parameters"].as_array().expect("a list").iter().find(|one| one["name"] == "token");
    let token = token.expect("its secret");
    assert_eq!((&token["secret"], &token["required"]), (&json!(true), &json!(true)));
    let (code, shown) = keyround(&["vendors", "show", "fastly-s3"]);
    assert!(code == Some(0) && shown.contains("[[vendor.fastly-s3.deliver]]"), "{shown}");
    let (code, missed) = keyround(&["vendors", "show", "fastly"]);
    assert!(code == Some(64) && missed.contains("did you mean fastly-"), "{missed}");
}

#[test]
fn a_new_preset_passes_check_and_a_rehearsal_and_overwrites_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let keyround = |arguments: &[&str]| {
        let run = std::process::Command::new(env!("CARGO_BIN_EXE_keyround"))
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("keyround runs");
        let said = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
        (run.status.code(), said)
    };
    let (code, said) = keyround(&["vendors", "new", "acme-logs"]);
    assert!(code == Some(0) && said.contains("wrote acme-logs.toml"), "{said}");
    let config = "[presets]\nfolder = \".\"\n[vendor.acme]\niam_user = \"vendor-acme\"\n[[vendor.acme.deliver]]\n\
                  kind = \"preset\"\npreset = \"acme-logs\"\nparams = { account = \"acme\", token = \"env:TOKEN\" }\n";
    fs::create_dir(folder.path().join("configuration")).expect("a folder");
    let path = folder.path().join("configuration/rotation.toml");
    fs::write(&path, config.replace("\".\"", "\"..\"")).expect("written");
    for arguments in [
        &["check", "-c", "configuration/rotation.toml"][..],
        &["rehearse", "-c", "configuration/rotation.toml"],
    ] {
        let (code, said) = keyround(arguments);
        assert_eq!(code, Some(0), "{said}");
    }
    let preset = folder.path().join("acme-logs.toml");
    // A sample that the step itself would reject is found without a request to a vendor.
    let text = fs::read_to_string(&preset).expect("the preset");
    fs::write(&preset, text.replace("answer.access_key_id ==", "answer.acess_key_id ==")).expect("written");
    let (code, said) = keyround(&["check", "-c", "configuration/rotation.toml"]);
    assert!(code == Some(1) && said.contains("answer.acess_key_id") && said.contains("1 mistake"), "{said}");
    let before = fs::read(&preset).expect("the preset");
    let (code, said) = keyround(&["vendors", "new", "acme-logs"]);
    assert!(code == Some(64) && said.contains("exists, and was not changed"), "{said}");
    assert_eq!(fs::read(&preset).expect("the preset"), before);
    for name in ["", "Acme", "../acme", "a b"] {
        assert_eq!(keyround(&["vendors", "new", name]).0, Some(64), "{name}");
    }
}

#[tokio::test]
async fn libsodium_opens_the_values_that_are_sent_to_github() {
    for name in ["github-actions", "github-actions-org"] {
        let preset = catalogue().into_iter().find(|preset| preset.name == name).expect("the preset");
        let (vendor, acme) = set_up(&preset, &conversation(name));
        assert_eq!(acme.deliver(&offer(0), &Secret::from(NEW_SECRET)).await, Ok(()));
        let sealed: Vec<Value> = vendor
            .messages()
            .iter()
            .filter_map(|message| {
                let body: Value = serde_json::from_str(&message.body).ok()?;
                body.get("encrypted_value").cloned()
            })
            .collect();
        let opened = sealed.iter().map(|sealed| {
            use base64::Engine as _;
            let key = base64::engine::general_purpose::STANDARD.encode(BOX_KEY);
            webhook_reference::ask(&json!({"check": "sealed_box", "secret_key": key, "sealed": sealed}))
        });
        let opened: Vec<_> = opened.collect();
        assert_eq!(opened, [Ok(NEW_KEY.to_owned()), Ok(NEW_SECRET.to_owned())], "{name}");
    }
}

/// Runs the check for every preset and each variant of its conversation, and reports all that failed.
async fn for_each(mut check: impl AsyncFnMut(&Preset, &Conversation)) {
    let mut failed = Vec::new();
    for preset in catalogue() {
        let conversation = conversation(&preset.name);
        let variants: Vec<Conversation> =
            conversation.variants.iter().map(|variant| conversation.with(variant)).collect();
        for (number, variant) in std::iter::once(&conversation).chain(&variants).enumerate() {
            if AssertUnwindSafe(check(&preset, variant)).catch_unwind().await.is_err() {
                failed.push(format!("{} {number}", preset.name));
            }
        }
    }
    assert!(failed.is_empty(), "these have failed, as is said above: {failed:?}");
}

fn conversation(name: &str) -> Conversation {
    let path = root().join("tests/presets").join(name).with_extension("json");
    let text = fs::read_to_string(&path).unwrap_or_else(|_| panic!("{name} has no conversation"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The vendor `acme`, which uses the preset, and the simulated vendor behind it.
fn set_up(preset: &Preset, conversation: &Conversation) -> (Far, Arc<dyn Delivery>) {
    let settings = settings(preset, conversation);
    let far = Far::new(conversation.clone());
    let secrets = Arc::new(Canaries(conversation.secrets.clone()));
    // No preset has a secret store as its target, or a command.
    let nobody = StandInVendors::new(RehearsalWorld::new(offer(0).now, BTreeMap::new()), &BTreeMap::new());
    let ways = Transports {
        egress: Arc::new(far.clone()),
        secret_stores: Arc::new(nobody.clone()),
        programs: Arc::new(nobody),
    };
    let vendors = ConfiguredVendors::new(&settings.vendors, ways, secrets);
    let acme = vendors.delivery(&"acme".parse().expect("a vendor")).expect("it holds a key");
    (far, acme)
}

fn settings(preset: &Preset, conversation: &Conversation) -> Settings {
    for name in conversation.params.keys() {
        let is_known = preset.parameters.iter().any(|parameter| parameter.name == *name);
        assert!(is_known, "{} has no parameter {name}", preset.name);
    }
    let mut text = format!(
        "[vendor.acme]\niam_user = \"vendor-acme\"\n[[vendor.acme.deliver]]\nkind = \"preset\"\npreset = \"{}\"\n\
         [vendor.acme.deliver.params]\n",
        preset.name
    );
    for parameter in &preset.parameters {
        let name = &parameter.name;
        let value = match conversation.params.get(name) {
            Some(value) => value.to_string(),
            None if parameter.secret => format!("\"env:{name}\""),
            None if parameter.required => parameter.example.clone(),
            None => continue,
        };
        writeln!(text, "{name} = {value}").expect("a string takes it");
    }
    parse("preset.toml", &text, &Environment::default())
        .unwrap_or_else(|mistakes| panic!("{text}\n{}", mistakes.render(false)))
}

/// A secret source in which each secret is a canary, unless it must have a certain format.
struct Canaries(BTreeMap<String, String>);

#[async_trait]
impl SecretSource for Canaries {
    async fn resolve(&self, reference: &SecretRef) -> Result<Secret, String> {
        let SecretRef::Env(name) = reference else { return Err(format!("{reference} is not there")) };
        Ok(Secret::new(match self.0.get(name).map(String::as_str) {
            Some("$rsa") => rsa_key().to_owned(),
            Some(value) => value.to_owned(),
            None => format!("{CANARY}-{name}"),
        }))
    }
}

/// A private key in the format that `openssl genpkey -algorithm RSA` writes.
fn rsa_key() -> &'static str {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use base64::Engine as _;

    static KEY: LazyLock<String> = LazyLock::new(|| {
        let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key");
        let der: Pkcs8V1Der<'_> = pair.as_der().expect("PKCS #8");
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    });
    &KEY
}

/// The simulated vendor at the other end of the conversation.
#[derive(Clone)]
struct Far(Arc<Mutex<FarState>>);

struct FarState {
    conversation: Conversation,
    messages: Vec<Message>,
    routes_taken: Vec<String>,
    strays: Vec<String>,
    remembered: Value,
    /// The names of values that the vendor does not have.
    hidden: Vec<String>,
    /// The numbers of the writes that are refused, counted from 0, and the status of each refusal.
    refused: BTreeMap<usize, u16>,
    writes: usize,
}

impl Far {
    fn new(conversation: Conversation) -> Far {
        let remembered = Value::Null;
        let state = FarState {
            conversation,
            messages: vec![],
            routes_taken: vec![],
            strays: vec![],
            remembered,
            hidden: vec![],
            refused: BTreeMap::new(),
            writes: 0,
        };
        Far(Arc::new(Mutex::new(state)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, FarState> {
        self.0.lock().expect("the far end")
    }

    fn messages(&self) -> Vec<Message> {
        self.lock().messages.clone()
    }

    /// The routes of the requests that arrived, each once.
    fn routes_taken(&self) -> Vec<String> {
        self.lock().routes_taken.clone()
    }

    /// The requests for something that the vendor does not have.
    fn strays(&self) -> Vec<String> {
        self.lock().strays.clone()
    }

    /// Asserts that every request went to the API's configured address, if there is one.
    fn was_asked_at(&self, conversation: &Conversation) {
        let Some(api) = conversation.params.get("api").and_then(Value::as_str) else { return };
        for message in self.messages() {
            assert!(message.url.as_str().starts_with(api), "{} is not at {api}", message.url);
        }
    }

    /// Makes the vendor have no value of this name.
    fn hide(&self, name: &str) {
        self.lock().hidden.push(name.to_owned());
    }

    /// Makes the write of this number have no effect, with this status as its answer.
    fn refuse_write(&self, number: usize, status: u16) {
        self.lock().refused.insert(number, status);
    }

    /// For each request that changes something, the pair whose id or secret its body carries, as far as it can be read.
    fn ids_written(&self) -> Vec<Half> {
        let writes = self.messages().into_iter().filter(|message| message.method != "GET");
        let whose = |body: &str| match () {
            () if body.contains(NEW_KEY) || body.contains(NEW_SECRET) => Half::New,
            () if body.contains(OLD_KEY) => Half::Old,
            () => Half::Unknown,
        };
        writes.map(|message| whose(&message.body)).collect()
    }

    fn remember(&self) {
        let state = self.state_that_stays();
        self.lock().remembered = state;
    }

    fn remembered(&self) -> Value {
        self.lock().remembered.clone()
    }

    /// The vendor's state, without the parts that a repeat may change.
    fn state_that_stays(&self) -> Value {
        let inner = self.lock();
        let mut state = inner.conversation.state.clone();
        for pointer in &inner.conversation.moves {
            if let Some(here) = state.pointer_mut(pointer) {
                *here = Value::Null;
            }
        }
        state
    }

    #[track_caller]
    fn holds_the_pair(&self, when: &str) {
        let inner = self.lock();
        for (pointer, what) in &inner.conversation.holds {
            let found = inner.conversation.state.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let json = json!({"Version": 1, "AccessKeyId": NEW_KEY, "SecretAccessKey": NEW_SECRET});
            let as_expected = match what.as_str() {
                "id" => found == NEW_KEY,
                "secret" => found == NEW_SECRET,
                "json" => serde_json::from_str::<Value>(found).is_ok_and(|found| found == json),
                "file" => {
                    let lines: Vec<&str> = found.lines().collect();
                    let (id, secret) = (
                        format!("aws_access_key_id = {NEW_KEY}"),
                        format!("aws_secret_access_key = {NEW_SECRET}"),
                    );
                    lines == ["[default]", &id, &secret]
                }
                // A value derived from the pair, compared with the value that another program derived.
                made => found == made,
            };
            assert!(as_expected, "{when}: {pointer} has {found:?}, which is not the {what}");
        }
    }
}

#[async_trait]
impl Egress for Far {
    async fn send(&self, _purpose: &Purpose, request: Request) -> Answer<Response> {
        let message = Message {
            method: request.method.clone(),
            url: url::Url::parse(request.url.expose()).expect("an address"),
            headers: request
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.expose().to_owned()))
                .collect(),
            body: request.body.as_ref().map(|body| body.expose().to_owned()).unwrap_or_default(),
        };
        let mut inner = self.lock();
        if message.method != "GET" {
            // A value that is written exists from then on.
            let says = |name: &String| message.url.path().contains(name) || message.body.contains(name);
            inner.hidden.retain(|name| !says(name));
            let number = inner.writes;
            inner.writes += 1;
            if let Some(status) = inner.refused.get(&number).copied() {
                inner.messages.push(message);
                return Ok(Response { status, headers: BTreeMap::new(), body: Secret::from("{}") });
            }
        }
        let is_hidden = message
            .url
            .path_segments()
            .is_some_and(|mut parts| parts.any(|part| inner.hidden.iter().any(|name| name == part)));
        if message.method == "GET" && is_hidden {
            inner.messages.push(message);
            return Ok(Response { status: 404, headers: BTreeMap::new(), body: Secret::from("{}") });
        }
        let (route, mut answer) = inner.conversation.answer(&message);
        if message.method == "GET" && !inner.hidden.is_empty() {
            answer.body = without(&answer.body, &inner.hidden);
        }
        match route {
            Some(route) if !inner.routes_taken.contains(&route) => inner.routes_taken.push(route),
            Some(_) => {}
            None => inner.strays.push(format!("{} {}", message.method, message.url)),
        }
        inner.messages.push(message);
        Ok(Response { status: answer.status, headers: answer.headers, body: Secret::new(answer.body) })
    }

    async fn reach(&self, _url: &str, _timeout: Duration) -> Answer<()> {
        Ok(())
    }
}

/// A listing without the items that contain one of these names.
fn without(body: &str, names: &[String]) -> String {
    fn says(value: &Value, names: &[String]) -> bool {
        match value {
            Value::String(text) => names.contains(text),
            Value::Array(items) => items.iter().any(|item| says(item, names)),
            Value::Object(fields) => fields.values().any(|field| says(field, names)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    fn cut(value: Value, names: &[String]) -> Value {
        match value {
            Value::Array(items) => items.into_iter().filter(|item| !says(item, names)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(name, field)| (name, cut(field, names))).collect()
            }
            other => other,
        }
    }
    serde_json::from_str(body).map_or_else(|_| body.to_owned(), |value| cut(value, names).to_string())
}

/// An offer, this many minutes after it was first made.
fn offer(minutes: u64) -> Offer {
    let offered_at: Timestamp = "2026-11-23T03:00:00Z".parse().expect("a time");
    let subject = Subject {
        vendor: "acme".parse().expect("a vendor"),
        account: None,
        iam_user: "vendor-acme".parse().expect("a user"),
    };
    let old: AccessKeyId = OLD_KEY.parse().expect("a key id");
    Offer {
        rotation: RotationId::new(&subject, &old, offered_at),
        round: 1,
        subject,
        account_id: "111122223333".parse().expect("an account"),
        access_key_id: NEW_KEY.parse().expect("a key id"),
        old_access_key_id: Some(old),
        offered_at,
        old_valid_until: offered_at + Duration::from_hours(24),
        at_vendor: AtVendor::old(),
        now: offered_at + Duration::from_mins(minutes),
    }
}

/// The key access of the vendor `acme`, with the requests of its recipe.
fn key_access(settings: &Settings) -> &KeyAccess {
    match &settings.vendors[&"acme".parse().expect("a vendor")].access {
        Access::Key(access) => access,
        Access::Role { .. } => panic!("it holds a key"),
    }
}

#[test]
fn a_preset_step_gets_only_the_secrets_that_it_refers_to() {
    let preset = catalogue().into_iter().find(|preset| preset.name == "elastic-cloud").expect("the preset");
    let settings = settings(&preset, &conversation("elastic-cloud"));
    let secrets = key_access(&settings).deliver.iter().map(|step| match step {
        DeliverStep::Http(step) => step
            .params
            .iter()
            .filter(|(_, param)| matches!(param, keyround::config::settings::Param::Secret(_)))
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>(),
        other @ (DeliverStep::Webhook(_)
        | DeliverStep::SecretStore(_)
        | DeliverStep::Command(_)
        | DeliverStep::Manual(_)) => panic!("a preset has requests only: {other:?}"),
    });
    assert_eq!(secrets.collect::<Vec<_>>(), [vec!["api_key"], vec!["cluster_api_key"]]);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
