//! `kind = "preset"`: steps from the catalogue or a folder of presets, filled in with `params`.
//!
//! A preset is a data file in the grammar of `kind = "http"`. It is read anew for each vendor that uses it, so that
//! mistakes that depend on the vendor's parameters are found as well.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reader::{self, Entry, Section, Text, quoted};
use super::report::{Mistake, Report, Span};
use super::steps::{self, DeliverySections};
use super::template::Scope;
use super::values;
use crate::config::SecretRef;
use crate::config::catalogue::{self, Evidence, Parameter, ParameterKind, Preset};
use crate::config::diagnostic::Diagnostics;
use crate::config::settings::{DeliverStep, HttpStep, Param};
use crate::files::trust;

const READ_BACK: [&str; 5] = ["R1", "R2", "R3", "R4", "R5"];
const EVIDENCE: [&str; 2] = ["openapi", "docs"];
const KINDS: [&str; 4] = ["text", "number", "flag", "texts"];
/// The largest file that is read as a preset, in bytes. The largest one of the catalogue has less than a fifth of this.
const FILE_BYTES_MAX: u64 = 64 * 1024;
const LIST_HINT: &str = "keyround vendors lists the presets that there are";

/// The presets that a configuration may use, by name.
pub(super) struct Presets {
    /// By name: what messages call the preset, and its text.
    texts: BTreeMap<String, (String, String)>,
    /// The mistakes that were found in presets while reading them.
    mistakes: std::cell::RefCell<Vec<Diagnostics>>,
}

impl Presets {
    /// The presets of the catalogue.
    pub(super) fn built_in() -> Presets {
        let texts = catalogue::texts().into_iter();
        let texts = texts.map(|(name, text)| (name.to_owned(), (format!("preset {name}"), text.to_owned())));
        Presets { texts: texts.collect(), mistakes: std::cell::RefCell::default() }
    }

    /// Adds the presets of a folder. Returns the names of those that replace a preset of the catalogue.
    pub(super) fn add_folder(&mut self, folder: &Path) -> Result<Vec<String>, String> {
        let unreadable = |path: &Path| format!("{} cannot be read", path.display());
        let mut replaced = Vec::new();
        let entries = std::fs::read_dir(folder).map_err(|_| unreadable(folder))?;
        for entry in entries {
            let path = entry.map_err(|_| unreadable(folder))?.path();
            let (Some(name), Some("toml")) = (
                path.file_stem().and_then(|name| name.to_str()),
                path.extension().and_then(|end| end.to_str()),
            ) else {
                continue;
            };
            let text = text_of(&path)?;
            let before = self.texts.insert(name.to_owned(), (path.display().to_string(), text));
            replaced.extend(before.map(|_| name.to_owned()));
            self.read_alone(name);
        }
        Ok(replaced)
    }

    /// The description of a preset. If the preset has mistakes, they are stored and the result is `None`.
    fn read_alone(&self, name: &str) -> Option<Preset> {
        let (path, text) = self.texts.get(name)?;
        let described =
            describe(path, name, text).map_err(|mistakes| self.mistakes.borrow_mut().push(mistakes));
        described.ok()
    }

    /// The mistakes that were found in presets while reading them.
    pub(super) fn into_mistakes(self) -> Vec<Diagnostics> {
        self.mistakes.into_inner()
    }
}

/// The text of a preset. The file must be a regular one that no other user can write, and at most `FILE_BYTES_MAX`
/// long.
fn text_of(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::InvalidInput => format!("{shown} is not a regular file"),
        _ => format!("{shown} cannot be read"),
    };
    let file = trust::open_regular(path).map_err(unreadable)?;
    trust::judge(&file, path).map_err(|untrusted| untrusted.to_string())?;
    let mut text = String::new();
    // Reading one byte more than allowed shows whether the file is too large.
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{shown} is larger than 64 KiB: that is not a preset"));
    }
    Ok(text)
}

/// The descriptions of all presets of the catalogue.
pub(super) fn built_in() -> Vec<Preset> {
    let presets = Presets::built_in();
    let read = |name: &String| {
        presets
            .read_alone(name)
            .unwrap_or_else(|| panic!("the preset {name} has mistakes: a test looks for them"))
    };
    presets.texts.keys().map(read).collect()
}

/// Reads a preset without values for its parameters, and with a placeholder for each secret: its steps are checked
/// before a vendor uses it.
fn describe(path: &str, name: &str, text: &str) -> Result<Preset, Diagnostics> {
    let (report, document) = open(path, text, BTreeMap::new());
    let (_, known, _) = head(&report, &document, name);
    let placeholder = SecretRef::Env("EXAMPLE".to_owned());
    let secrets = known.iter().filter(|parameter| parameter.secret);
    let secrets = secrets.map(|parameter| (parameter.name.clone(), placeholder.clone())).collect();
    let given = PresetArguments { secrets, values: BTreeMap::new(), defaults: known };
    let read = read(path, name, text, &given)?;
    Ok(Preset { can_verify: !read.1.verify.is_empty(), can_probe: !read.1.probe.is_empty(), ..read.0 })
}

fn open<'a>(
    path: &str,
    text: &'a str,
    secrets: BTreeMap<String, SecretRef>,
) -> (Report<'a>, Spanned<DeTable<'a>>) {
    let report = Report::of_preset(path, text, secrets);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let end = report.end();
        let span = error.span().map_or(Span { start: end, end }, Span::from);
        report.add(Mistake::new(span, error.message()).syntax());
    }
    (report, document)
}

/// The values for a preset's parameters.
struct PresetArguments {
    secrets: BTreeMap<String, SecretRef>,
    values: BTreeMap<String, Param>,
    defaults: Vec<Parameter>,
}

/// Reads a preset with these values for its parameters.
fn read(
    path: &str,
    name: &str,
    text: &str,
    given: &PresetArguments,
) -> Result<(Preset, DeliverySections), Diagnostics> {
    let (report, document) = open(path, text, given.secrets.clone());
    let (preset, _, section) = head(&report, &document, name);
    let ways = ways(section, given);
    report.into_diagnostics()?;
    Ok(preset.zip(ways).expect("a preset that cannot be read has mistakes"))
}

/// Reads the part of a preset above its steps. The list holds the parameters that could be read, even if the
/// description is `None`.
fn head<'a>(
    report: &'a Report<'a>,
    document: &'a Spanned<DeTable<'a>>,
    name: &str,
) -> (Option<Preset>, Vec<Parameter>, Section<'a>) {
    let start = Span { start: 0, end: 0 };
    let mut section = Section::new(report, "the preset".to_owned(), start, document.get_ref());
    let title = required(&mut section, "title", "its purpose, in one line");
    let evidence = required(&mut section, "evidence", "\"openapi\" or \"docs\"");
    let evidence = evidence.and_then(|text| one_of(report, text, &EVIDENCE)).map(|text| match text {
        "openapi" => Evidence::OpenApi,
        _ => Evidence::Docs,
    });
    let read_back = required(&mut section, "read_back", "\"R1\" to \"R5\"");
    let read_back = read_back.and_then(|text| one_of(report, text, &READ_BACK));
    let source = required(&mut section, "source", "where the vendor documents it");
    let mut texts = |key| {
        let texts = section.strings(key, "leave it out when there is no text").unwrap_or_default();
        texts.into_iter().map(|text| text.text.to_owned()).collect::<Vec<_>>()
    };
    let (notes, permissions) = (texts("notes"), texts("permissions"));
    let entries = section.named("parameters", "[parameters.NAME]");
    let parameters: Vec<Option<Parameter>> = entries.iter().map(|entry| parameter(report, entry)).collect();
    let known: Vec<Parameter> = parameters.iter().flatten().cloned().collect();
    let preset = || {
        Some(Preset {
            name: name.to_owned(),
            title: title?.text.to_owned(),
            evidence: evidence?,
            read_back: read_back?.to_owned(),
            source: source?.text.to_owned(),
            notes,
            permissions,
            parameters: parameters.into_iter().collect::<Option<_>>()?,
            can_verify: false,
            can_probe: false,
        })
    };
    (preset(), known, section)
}

fn required<'a>(section: &mut Section<'a>, key: &'static str, hint: &str) -> Option<Text<'a>> {
    let entry = section.required(key, hint)?;
    reader::string(section.report, key, entry.value)
}

fn one_of<'a>(report: &Report<'_>, text: Text<'a>, choices: &[&'static str]) -> Option<&'a str> {
    if choices.contains(&text.text) {
        return Some(text.text);
    }
    let mistake = Mistake::new(text.span, format!("{} is not an allowed value", quoted(text.text)));
    report.add(mistake.hint(format!("one of {}", choices.join(", "))));
    None
}

fn parameter<'a>(report: &'a Report<'a>, entry: &Entry<'a>) -> Option<Parameter> {
    if !values::is_identifier(entry.key) {
        let message = format!("{} is not a valid template variable name", quoted(entry.key));
        report.add(Mistake::new(entry.key_span, message).hint("letters, digits and _, not a digit first"));
    }
    let title = reader::title("parameters", entry.key);
    let mut section = reader::section(report, "parameters", title, entry.value)?;
    let doc = required(&mut section, "doc", "what it is, for people");
    let secret = section.flag("secret").unwrap_or(false);
    let optional = section.flag("optional").unwrap_or(false);
    let kind = section.string("type").and_then(|text| one_of(report, text, &KINDS));
    let kind = match kind.unwrap_or("text") {
        "number" => ParameterKind::Number,
        "flag" => ParameterKind::Flag,
        "texts" => ParameterKind::Texts,
        _ => ParameterKind::Text,
    };
    let choices = section.strings("choices", "leave it out for any value").unwrap_or_default();
    let choices: Vec<String> = choices.iter().map(|text| text.text.to_owned()).collect();
    let mut written = |key: &'static str| {
        let entry = section.entry(key)?;
        value_of(report, key, entry.value, kind, &choices)?;
        report.clear(entry.span());
        Some(report.raw(entry.span()).to_owned())
    };
    let (default, example) = (written("default"), written("example"));
    section.finish();
    let example = example.or_else(|| default.clone()).unwrap_or_else(|| match secret {
        true => format!("\"credential:{}\"", entry.key.replace('_', "-")),
        false => "\"…\"".to_owned(),
    });
    let required = default.is_none() && !optional;
    let (name, doc) = (entry.key.to_owned(), doc?.text.to_owned());
    Some(Parameter { name, doc, secret, kind, required, default, choices, example })
}

/// The value of a parameter that is not a secret.
fn value_of(
    report: &Report<'_>,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    kind: ParameterKind,
    choices: &[String],
) -> Option<Param> {
    match kind {
        ParameterKind::Number => reader::number(report, key, value, 0..=u32::MAX).map(Param::Number),
        ParameterKind::Flag => {
            let flag = value.get_ref().as_bool();
            if flag.is_none() {
                reader::wrong_type(report, key, value, "true or false");
            }
            flag.map(Param::Flag)
        }
        ParameterKind::Texts => {
            let Some(list) = value.get_ref().as_array() else {
                reader::wrong_type(report, key, value, "a list");
                return None;
            };
            let texts = list.iter().map(|value| Some(reader::string(report, key, value)?.text.to_owned()));
            texts.collect::<Option<_>>().map(Param::Texts)
        }
        ParameterKind::Text => {
            let text = reader::string(report, key, value)?;
            if !choices.is_empty() && !choices.iter().any(|choice| choice == text.text) {
                let mistake =
                    Mistake::new(text.span, format!("{} is not a valid value of {key}", quoted(text.text)));
                report.add(mistake.hint(format!("one of {}", choices.join(", "))));
                return None;
            }
            Some(Param::Text(text.text.to_owned()))
        }
    }
}

/// Reads the steps of a preset, and gives them the values of its parameters.
fn ways(mut section: Section<'_>, given: &PresetArguments) -> Option<DeliverySections> {
    let names: BTreeSet<String> = given.defaults.iter().map(|parameter| parameter.name.clone()).collect();
    let scope = |has_secret| Scope { has_secret, params: Some(names.clone()), ..Scope::default() };
    let mut lists = |key: &'static str| -> Vec<Section<'_>> {
        let Some(entry) = section.entry(key) else { return Vec::new() };
        let values = reader::list(section.report, key, entry.value, "leave it out").unwrap_or_default();
        let step = |value| reader::section(section.report, key, format!("[[{key}]]"), value);
        values.iter().filter_map(step).collect()
    };
    let (deliver, verify, probe) = (lists("deliver"), lists("verify"), lists("probe"));
    if deliver.is_empty() {
        section
            .report
            .add(Mistake::new(section.span, "the preset has no step").hint("add one with [[deliver]]"));
    }
    let mut deliver_scope = scope(true);
    let deliver: Vec<Option<HttpStep>> = deliver
        .into_iter()
        .map(|section| {
            let step = steps::http(section, "POST", &deliver_scope)?;
            deliver_scope.captured.extend(step.capture.keys().cloned());
            Some(step)
        })
        .collect();
    let verify = steps::questions(verify.into_iter().map(Some).collect(), scope(false));
    let probe = steps::questions(probe.into_iter().map(Some).collect(), scope(false));
    let report = section.report;
    if let Some(step) = probe.iter().flatten().find(|step| step.changes) {
        let message = format!("a probe changes nothing, and this one is a {}", step.method);
        report.add(Mistake::new(section.span, message).hint("say changes = false if it only reads"));
    }
    section.finish();
    let deliver: Option<Vec<HttpStep>> = deliver.into_iter().collect();
    let (deliver, verify, probe) = (deliver?, verify?, probe?);
    let with_params = |steps: Vec<HttpStep>| steps.into_iter().map(|step| filled(step, given));
    Some(DeliverySections {
        presets: Vec::new(),
        deliver: with_params(deliver).map(|step| DeliverStep::Http(Box::new(step))).collect(),
        verify: with_params(verify).collect(),
        probe: with_params(probe).collect(),
    })
}

/// Gives a step the values that its templates read as `params`: all that are not secret, and the secrets that the
/// step uses.
fn filled(mut step: HttpStep, given: &PresetArguments) -> HttpStep {
    // The debug output holds every template of the step.
    let spoken_of = format!("{step:?}");
    let secrets = given.secrets.iter().filter(|(name, _)| speaks_of(&spoken_of, name));
    let secrets = secrets.map(|(name, reference)| (name.clone(), Param::Secret(reference.clone())));
    step.params = Arc::new(given.values.clone().into_iter().chain(secrets).collect());
    step
}

fn speaks_of(text: &str, name: &str) -> bool {
    let word = format!("params.{name}");
    let ends = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
    text.match_indices(&word).any(|(at, _)| ends(&text[at + word.len()..]))
}

/// Reads a step with `kind = "preset"`: the steps of the preset, with `timeout` and `allow_plaintext` of this step.
pub(super) fn expand(mut section: Section<'_>, presets: &Presets) -> Option<DeliverySections> {
    let report = section.report;
    let name = section.required("preset", LIST_HINT);
    let name = name.and_then(|entry| reader::string(report, "preset", entry.value));
    let timeout = section.entry("timeout").is_some().then(|| steps::timeout(&mut section));
    let allow_plaintext = section.flag("allow_plaintext");
    // Asking makes `params` a known key, even if the preset itself is not known.
    let _known = section.entry("params");
    let preset = name.and_then(|name| known(report, name, presets));
    let given = preset.as_ref().and_then(|(preset, _)| given(&mut section, preset));
    section.finish();
    let ((preset, (path, text)), given) = (preset?, given?);
    let used = read(path, &preset.name, text, &given);
    let (_, mut ways) = used.map_err(|mistakes| presets.mistakes.borrow_mut().push(mistakes)).ok()?;
    let requests = ways.deliver.iter_mut().filter_map(|step| match step {
        DeliverStep::Http(step) => Some(&mut **step),
        DeliverStep::Webhook(_)
        | DeliverStep::SecretStore(_)
        | DeliverStep::Command(_)
        | DeliverStep::Manual(_) => None,
    });
    for step in requests.chain(&mut ways.verify).chain(&mut ways.probe) {
        step.timeout = timeout.unwrap_or(step.timeout);
        step.allow_plaintext |= allow_plaintext.unwrap_or(false);
    }
    ways.presets = vec![preset.name.clone()];
    Some(ways)
}

type Known<'p> = (Preset, &'p (String, String));

fn known<'p>(report: &Report<'_>, name: Text<'_>, presets: &'p Presets) -> Option<Known<'p>> {
    let Some(text) = presets.texts.get(name.text) else {
        let mistake = Mistake::new(name.span, format!("there is no preset {}", quoted(name.text)));
        report.add(match values::nearest(name.text, presets.texts.keys().map(String::as_str)) {
            Some(meant) => mistake.hint(format!("did you mean {meant}?")),
            None => mistake.hint(LIST_HINT),
        });
        return None;
    };
    Some((presets.read_alone(name.text)?, text))
}

/// Reads `params`, and compares it with the parameters that the preset has.
fn given(section: &mut Section<'_>, preset: &Preset) -> Option<PresetArguments> {
    let report = section.report;
    let place = section.place_of("params").unwrap_or(section.span);
    let entries = section.named("params", "params");
    let mut given = PresetArguments {
        secrets: BTreeMap::new(),
        values: BTreeMap::new(),
        defaults: preset.parameters.clone(),
    };
    let mut complete = true;
    for entry in &entries {
        let Some(parameter) = preset.parameters.iter().find(|parameter| parameter.name == entry.key) else {
            report.add(unknown_parameter(entry, preset));
            complete = false;
            continue;
        };
        complete &= match parameter.secret {
            true => reader::secret(report, entry.value)
                .map(|reference| given.secrets.insert(parameter.name.clone(), reference))
                .is_some(),
            false => value_of(report, entry.key, entry.value, parameter.kind, &parameter.choices)
                .map(|value| given.values.insert(parameter.name.clone(), value))
                .is_some(),
        };
    }
    for parameter in &preset.parameters {
        if entries.iter().any(|entry| entry.key == parameter.name) {
            continue;
        }
        if parameter.required {
            let message = format!("the preset {} needs the parameter {}", preset.name, parameter.name);
            let hint = format!("{} = {}: {}", parameter.name, parameter.example, parameter.doc);
            report.add(Mistake::new(place, message).hint(hint));
            complete = false;
        } else {
            given.values.insert(parameter.name.clone(), default_of(parameter));
        }
    }
    complete.then_some(given)
}

fn unknown_parameter(entry: &Entry<'_>, preset: &Preset) -> Mistake {
    let names = || preset.parameters.iter().map(|parameter| parameter.name.as_str());
    let message = format!("the preset {} has no parameter {}", preset.name, quoted(entry.key));
    let mistake = Mistake::new(entry.key_span, message);
    match values::nearest(entry.key, names()) {
        Some(meant) => mistake.hint(format!("did you mean {meant}?")),
        None => mistake.hint(format!("its parameters are {}", names().collect::<Vec<_>>().join(", "))),
    }
}

/// The default value of a parameter, or an empty text if it has none. Its text was read before, so it can be read
/// again.
fn default_of(parameter: &Parameter) -> Param {
    let text = format!("default = {}", parameter.default.as_deref().unwrap_or("\"\""));
    let (report, document) = open("a preset", &text, BTreeMap::new());
    let value = document.get_ref().get("default");
    let value =
        value.and_then(|value| value_of(&report, "default", value, parameter.kind, &parameter.choices));
    value.unwrap_or_else(|| Param::Text(String::new()))
}
