//! Reads the configuration's files: turns their TOML into [`Settings`], or into a list of all mistakes.
//!
//! **Invariant:** every mistake of a file is reported in one run, at its place.
//!
//! **Invariant:** a report shows nothing that may be a secret (see [`report`]).

mod address;
mod alerts;
mod answer;
mod auth;
mod body;
mod claims;
mod command;
mod include;
mod literal;
mod needs;
mod pairs;
mod preset;
mod reader;
mod report;
mod secret_store;
mod sections;
mod steps;
mod template;
mod terms;
mod together;
mod values;
mod vendor;
mod waivers;
mod watch;
mod whole;
mod zones;

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeTable;

use self::preset::Presets;
use self::reader::Section;
use self::report::{Mistake, Report, Span};
use self::vendor::{Accounts, Context};
use self::whole::Whole;
use crate::config::catalogue::Preset;
use crate::config::diagnostic::Diagnostics;
use crate::config::settings::Settings;

/// Every key that a section may have. These words are never secret, so diagnostics show them at any place of a line.
const VOCABULARY: [&str; 138] = [
    "absent",
    "account",
    "account_id",
    "action",
    "actions",
    "alert",
    "allow_plaintext",
    "argv",
    "audience",
    "auth",
    "aws",
    "basic",
    "bearer",
    "body",
    "capture",
    "carries",
    "changes",
    "client_id",
    "client_secret",
    "cloudtrail",
    "command",
    "completes_pair",
    "concurrency",
    "cool",
    "credentials_in",
    "cron",
    "default",
    "defaults",
    "deliver",
    "document",
    "doubt_window",
    "edit",
    "enabled",
    "encrypt_to",
    "endpoint_url",
    "equals",
    "expect",
    "exposure",
    "external_id",
    "fields",
    "first",
    "folder",
    "form",
    "from",
    "graphql",
    "header",
    "headers",
    "heartbeat",
    "host",
    "iam_user",
    "iam_users",
    "id",
    "in",
    "include",
    "inactive_by",
    "instructions",
    "issuer",
    "jitter",
    "journal",
    "json",
    "json_patch",
    "jwt",
    "kind",
    "labels",
    "listen",
    "max",
    "max_age",
    "merge_patch",
    "method",
    "name",
    "next",
    "oauth2",
    "on",
    "overdue_after",
    "owner",
    "pages",
    "parameter",
    "params",
    "password",
    "path",
    "per_day",
    "pointer",
    "poll",
    "port",
    "preset",
    "presets",
    "private_key",
    "profile",
    "prove_every",
    "prove_successes",
    "query",
    "quiet_for",
    "reason",
    "refusal",
    "region",
    "remove",
    "repeat",
    "require_use",
    "resources",
    "role_arn",
    "routing_key",
    "rule",
    "sample",
    "schedule",
    "scope",
    "seal_key",
    "secret",
    "secrets",
    "serve",
    "set",
    "slack",
    "soak",
    "status",
    "subject",
    "take",
    "that",
    "timeout",
    "timezone",
    "tls",
    "to",
    "token",
    "token_url",
    "topic_arn",
    "until",
    "url",
    "urls",
    "user",
    "value",
    "variables",
    "vendor",
    "vendor_account_id",
    "verify",
    "waiver",
    "warn_before",
    "when",
    "where",
    "windows",
    "writes",
];

/// The keys that only presets may have. A preset holds no secrets.
const PRESET_WORDS: [&str; 13] = [
    "choices",
    "doc",
    "evidence",
    "example",
    "notes",
    "optional",
    "parameters",
    "permissions",
    "probe",
    "read_back",
    "source",
    "title",
    "type",
];

/// Reads a configuration and the files that it includes. Mistakes name the file by `name`.
///
/// # Errors
///
/// Every mistake that the files have.
pub(super) fn parse(name: &str, text: &str, default_journal: PathBuf) -> Result<Settings, Diagnostics> {
    let main = Report::new(name, text);
    let document = open(&main, text);
    let included = include::read(&main, &document.toml, Path::new(name));
    let mut reports = vec![main];
    let fragments = included.fragments.iter().zip(1..);
    reports
        .extend(fragments.map(|(fragment, number)| Report::numbered(number, &fragment.path, &fragment.text)));
    let documents = included.fragments.iter().zip(&reports[1..]);
    let mut documents: Vec<Document<'_>> =
        documents.map(|(fragment, report)| open(report, &fragment.text)).collect();
    documents.insert(0, document);
    let mut presets = Presets::built_in();
    let is_whole = included.is_whole && documents.iter().all(|document| document.is_readable);
    let settings = documents[0].is_readable.then(|| {
        let whole = Whole::new(reports.iter().zip(&documents), is_whole);
        read(whole, default_journal, &mut presets, beside(name))
    });
    let mut mistakes = report::diagnostics(&reports).err();
    for more in presets.into_mistakes() {
        match &mut mistakes {
            Some(mistakes) => mistakes.extend(more),
            None => mistakes = Some(more),
        }
    }
    match mistakes {
        Some(mistakes) => Err(mistakes),
        None => Ok(settings.expect("a document that is not readable has mistakes")),
    }
}

/// The folder that relative paths in the configuration start from: the folder of its main file.
fn beside(name: &str) -> &Path {
    Path::new(name).parent().unwrap_or(Path::new(""))
}

/// A file of the configuration, parsed as TOML.
struct Document<'a> {
    toml: Spanned<DeTable<'a>>,
    /// Whether its sections and keys can be read; if not, only its syntax is judged.
    is_readable: bool,
}

/// Parses the text of a file, and reports its syntax errors.
fn open<'a>(report: &Report<'a>, text: &'a str) -> Document<'a> {
    let (toml, errors) = DeTable::parse_recoverable(text);
    let is_readable = errors.iter().filter(|error| !syntax(report, error)).count() == 0;
    Document { toml, is_readable }
}

/// The presets of the catalogue, which come with keyround.
pub(super) fn built_in_presets() -> Vec<Preset> {
    preset::built_in()
}

/// Reads `folder` in `[presets]`, a folder with the user's own presets. Returns warnings.
fn own_presets(section: Option<Section<'_>>, presets: &mut Presets, beside: &Path) -> Vec<String> {
    let Some(mut section) = section else { return Vec::new() };
    let folder = section.required("folder", "the folder that holds presets: NAME.toml is the preset NAME");
    let folder = folder.and_then(|entry| reader::string(section.report, "folder", entry.value));
    let replaced = folder.map(|text| {
        presets.add_folder(&beside.join(text.text)).unwrap_or_else(|why| {
            section
                .report
                .add(Mistake::new(text.span, why).hint("a folder beside the configuration, or a whole path"));
            Vec::new()
        })
    });
    section.finish();
    let warning =
        |name: String| format!("the preset {name} of your folder replaces the one that comes with keyround");
    replaced.unwrap_or_default().into_iter().map(warning).collect()
}

/// Reports a syntax error. Returns whether the rest of the document can be read all the same.
fn syntax(report: &Report<'_>, error: &toml::de::Error) -> bool {
    let end = report.end();
    let span: Span = error.span().map_or(Span { start: end, end }, Span::from);
    let mistake = |message: &str| Mistake::new(span, message);
    let message = error.message();
    if message == "duplicate key" {
        report.add(mistake("this key is set twice").hint("a section has each key only once"));
        return true;
    }
    if message.starts_with("string values must be quoted") && span.start < span.end {
        report.add(mistake("a string must be in quotes").hint("put \" before and behind it"));
        return true;
    }
    // These errors end with their line, so the parser reads the next lines correctly.
    let of_one_line =
        ["string values must be quoted", "invalid basic string", "invalid literal string", "invalid boolean"];
    report.add(mistake(message).syntax());
    of_one_line.iter().any(|start| message.starts_with(start))
}

/// Reads all sections, and reports their mistakes. The settings count only if no file has a mistake.
fn read(mut whole: Whole<'_>, default_journal: PathBuf, presets: &mut Presets, beside: &Path) -> Settings {
    let report = whole.main().report;
    let mut section = |key: &'static str| whole.main().section(key, format!("[{key}]"));
    let mut journal = sections::journal(section("journal"), default_journal);
    // The path starts from the configuration's folder, so it is the same in whichever folder keyround is started.
    journal.path = beside.join(&journal.path);
    let (schedule, zone) = sections::schedule(section("schedule"));
    let aws = sections::aws(section("aws"));
    let (terms, concurrency, starts) = terms::defaults(section("defaults"), zone);
    together::judge_schedule(report, &schedule, &terms.ages);
    let mut warnings = own_presets(section("presets"), presets, beside);
    let heartbeat = section("heartbeat").and_then(watch::heartbeat);
    let serve = section("serve").and_then(watch::serve);
    let exposure = section("exposure").map(watch::exposure);
    let accounts = sections::accounts(&whole.named("account"));
    let accounts = Accounts { by_name: accounts, is_whole: whole.all_read };
    let context = Context { zone, terms: &terms, accounts: &accounts, presets };
    let (vendors, claims) = vendor::vendors(&whole.named("vendor"), &context);
    claims::check(claims);
    let waivers = whole.waivers();
    let alerts = alerts::alerts(&whole.named("alert"));
    let (include, included) = (whole.include.clone(), whole.included());
    warnings.extend(whole.finish());
    if vendors.is_empty() {
        warnings.push("the configuration has no [vendor.NAME]: there is nothing to rotate".to_owned());
    }
    Settings {
        journal,
        schedule,
        concurrency,
        starts,
        aws,
        accounts: accounts.by_name,
        vendors,
        alerts,
        heartbeat,
        serve,
        exposure,
        waivers,
        include,
        included,
        warnings,
    }
}
