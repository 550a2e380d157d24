//! Whole configurations: the diagnostics about their mistakes, and the settings that the example contains.
//!
//! Each `tests/config/NAME.toml` is a group of mistakes, and `NAME.txt` holds the diagnostics that a user sees about
//! it. Running the tests with `KEYROUND_BLESS=1` rewrites the `.txt` files, so that a change can be read in the diff.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyround::config::settings::{
    Access, AnswerPlace, Auth, Body, Carries, Content, DeliverStep, KeyAccess, Param, Users, VerifyStep,
};
use keyround::config::{Diagnostics, Environment, Settings, parse};
use keyround::core::ids::AccountName;
use keyround::core::rotation::Windows;
use proptest::prelude::*;

mod fragments;

const HOUR: Duration = Duration::from_hours(1);
/// The text in the fixtures in place of each secret. No diagnostic may show it.
const CANARY: &str = "S3CRET";

#[test]
fn mistakes_in_the_small_sections_are_all_reported() {
    check("sections", "2:7 3:12 6:8 7:12 8:10 11:10 12:11 13:16 14:1 17:6 18:12 22:12 25:1 27:10 31:15 36:2");
}

#[test]
fn mistakes_in_the_defaults_are_all_reported() {
    check(
        "defaults",
        "2:11 4:17 5:12 5:47 6:8 7:15 8:13 9:8 10:19 11:15 12:16 13:15 14:1 15:1 19:1 19:11 20:11 21:1 22:11 26:11 27:11",
    );
}

#[test]
fn mistakes_about_vendors_are_all_reported() {
    check(
        "vendors",
        "9:1 10:11 11:12 12:9 13:11 15:1 15:1 17:1 19:1 19:14 20:1 24:33 29:12 34:1 42:8 46:8 50:8 54:8 58:13 63:21 64:1 66:9",
    );
}

#[test]
fn mistakes_in_alert_sinks_are_all_reported() {
    check(
        "alerts",
        "1:8 5:1 7:1 8:8 12:7 13:7 13:26 14:10 15:1 19:15 20:7 24:7 25:12 26:1 31:7 32:8 33:8 34:6 35:1 39:13 43:12 47:7 48:10 51:7 52:11 55:10 60:1",
    );
}

#[test]
fn mistakes_in_secret_store_command_and_manual_steps_are_all_reported() {
    check(
        "drop_offs",
        "10:11 11:14 12:1 14:1 17:6 18:11 19:10 20:16 20:23 21:1 23:1 24:14 25:1 26:1 31:11 32:14 36:15 38:8 39:16 40:1 43:9 43:31 43:58 46:9 46:31 46:58 47:1 47:36 48:1 49:11 50:1 53:8 58:8 61:8 62:1",
    );
}

#[test]
fn mistakes_in_steps_are_all_reported() {
    check(
        "steps",
        "4:1 4:1 5:8 14:1 16:1 21:7 22:10 23:14 24:11 25:1 27:1 27:1 32:10 33:7 34:13 34:28 34:55 34:79 34:115 34:118 36:1 37:13 37:37 37:50 38:22 38:26 38:33 38:47 39:11 44:7 44:7 45:1 45:17 45:35 45:46 46:21 50:7 51:22",
    );
}

#[test]
fn mistakes_about_answers_are_all_reported() {
    check(
        "answers",
        "8:9 9:21 9:37 9:65 9:78 12:11 13:9 14:21 15:34 15:67 16:79 23:8 24:11 25:21 25:37 25:84 30:19 31:11 31:32 32:1 32:14 37:20 37:36 38:14 43:16 43:32 43:55 43:77 43:142 43:200",
    );
}

#[test]
fn mistakes_about_presets_are_all_reported() {
    check(
        "presets",
        "2:10 9:10 12:1 22:1 22:12 22:55 22:81 22:98 22:101 24:1 24:1 24:1 31:1 32:11 40:7 41:19",
    );
}

#[test]
fn mistakes_in_templates_are_all_reported() {
    check("templates", "6:7 7:24 7:47 10:42 16:7 16:7 17:24 17:29 17:60 21:7 22:32 26:7 26:7 26:7 27:37");
}

#[test]
fn a_literal_secret_is_an_error_and_is_not_shown() {
    check(
        "secrets",
        "2:12 10:10 15:29 17:1 20:1 25:19 25:36 25:69 26:21 30:7 31:1 32:29 33:28 33:45 38:8 43:33 43:95 43:104 48:8 52:19",
    );
}

#[test]
fn mistakes_of_syntax_do_not_hide_the_others() {
    check("syntax", "2:8 3:15 4:11 5:13 6:1 9:12 9:12 14:10 14:10 16:9 18:1");
}

#[test]
fn unrecoverable_syntax_errors_are_reported_with_their_positions() {
    check("broken", "1:13 3:54 4:1 5:1 5:8 5:14 5:28 5:28");
}

#[test]
fn every_configuration_fixture_is_named_in_this_test_file() {
    let this = fs::read_to_string(root().join("tests/it/config_files.rs")).expect("this file");
    for entry in fs::read_dir(root().join("tests/config")).expect("the fixtures") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(this.contains(&format!("\"{name}\"")), "{name} is not checked");
    }
}

#[test]
fn cloudtrail_is_off_unless_the_configuration_enables_it() {
    let asked = |text: &str| {
        let settings = read(text).expect("no mistake");
        (settings.aws.cloudtrail, settings.accounts.values().next().and_then(|account| account.cloudtrail))
    };
    let account = "[account.production]\nid = \"111122223333\"\n";
    assert_eq!(asked(account), (false, None));
    assert_eq!(
        asked(&format!("[aws]\ncloudtrail = true\n{account}cloudtrail = false\n")),
        (true, Some(false))
    );
}

#[test]
fn the_example_configuration_parses_to_the_expected_settings() {
    let settings = example();
    assert_eq!(settings.warnings, Vec::<String>::new());
    assert_eq!(settings.journal.path, Path::new("keyround.db"));
    assert_eq!(settings.concurrency, 8);
    assert_eq!(settings.vendors.len(), 10);
    let kinds = settings.alerts.values().map(|alert| std::mem::discriminant(&alert.sink));
    assert_eq!(kinds.collect::<std::collections::HashSet<_>>().len(), 7, "one of each kind");
    assert!(settings.heartbeat.is_some() && settings.serve.is_some());

    let acme = key(&settings, "acme");
    assert_eq!(acme.account.as_ref().map(AccountName::as_str), Some("production"));
    assert_eq!(acme.ages.max_age, 60 * 24 * HOUR);
    let office_hours = "Mon-Fri 09:00-17:00".parse().expect("a window");
    assert_eq!(acme.windows, Windows::new("UTC".parse().expect("a zone"), vec![office_hours]));
    assert!(acme.plan.can_ask_vendor);
    let [VerifyStep::Http(verify)] = &acme.verify[..] else { panic!("acme is asked by one request") };
    assert_eq!(verify.method, "GET");
    assert!(matches!(&acme.deliver[..], [DeliverStep::Webhook(step)] if step.secrets.len() == 1));

    let fastly = key(&settings, "fastly");
    assert_eq!((fastly.deliver.len(), fastly.verify.len(), fastly.probe.len()), (7, 2, 2));
    assert!(fastly.plan.can_ask_vendor);

    let globex = key(&settings, "globex");
    assert!(matches!(&globex.users, Users::Named(users) if users.len() == 2));
    assert_eq!(globex.plan.soak, 48 * HOUR);
    assert!(!globex.plan.can_ask_vendor);
    assert_eq!(globex.plan.windows, globex.windows);
    let [DeliverStep::Http(first), DeliverStep::Http(second)] = &globex.deliver[..] else {
        panic!("two http steps");
    };
    assert_eq!(first.expect.status, [200, 201]);
    assert_eq!(first.capture["revision"].place, AnswerPlace::Pointer("/revision".to_owned()));
    assert!(matches!(&first.body, Body::Json(json) if json["credentials"]["id"] == "{{ access_key_id }}"));
    assert_eq!(second.timeout, Duration::from_mins(1));

    let initech = key(&settings, "initech");
    assert_eq!(initech.users, Users::Path("/vendors/initech/".to_owned()));
    assert!(!initech.plan.require_use);
    assert!(matches!(&initech.deliver[..], [DeliverStep::Http(step)]
        if matches!(&step.auth, Some(Auth::OAuth2 { scope: Some(_), .. })) && step.method == "POST"));
    assert!(matches!(settings.vendors[&"billing".parse().expect("a name")].access, Access::Role { .. }));
}

#[test]
fn the_example_has_secret_store_command_and_manual_deliveries() {
    let settings = example();
    let [DeliverStep::SecretStore(manager), DeliverStep::SecretStore(ssm), DeliverStep::Webhook(webhook)] =
        &key(&settings, "umbrella").deliver[..]
    else {
        panic!("two drop-offs and a webhook");
    };
    assert_eq!(manager.place.account.as_ref().map(AccountName::as_str), Some("production"));
    assert!(matches!(&manager.content, Content::Fields(fields) if fields.len() == 2));
    assert!(matches!(&ssm.content, Content::Text(text) if text == "{{ access_key_id }}"));
    assert_eq!(webhook.carries, Carries::Reference);
    assert!(matches!(&key(&settings, "massive").deliver[..], [DeliverStep::Webhook(step)]
        if step.encrypt_to.is_some() && step.carries == Carries::Secret));
    let soylent = key(&settings, "soylent");
    assert!(
        matches!(&soylent.deliver[..], [DeliverStep::Command(step)] if step.timeout == Duration::from_mins(1))
    );
    assert!(matches!(&soylent.verify[..], [VerifyStep::Command(step)] if step.argv[1] == "which"));
    let wonka = key(&settings, "wonka");
    assert!(wonka.plan.by_hand && wonka.plan.requires_use());
    assert!(matches!(&wonka.deliver[..], [DeliverStep::Manual(step)] if step.instructions.is_some()));
}

#[test]
fn custom_presets_override_built_in_ones_and_their_mistakes_are_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write("acme.toml", OWN_PRESET);
    write("skeddly.toml", OWN_PRESET);
    write("notes.txt", "not a preset");
    let config = folder.path().join("rotation.toml").display().to_string();
    let text = "[presets]\nfolder = \".\"\n[vendor.acme]\niam_user = \"a\"\n[[vendor.acme.deliver]]\n\
                kind = \"preset\"\npreset = \"acme\"\nparams = { site = \"eu\", token = \"env:TOKEN\" }";
    let settings = read_as(&config, text).expect("settings");
    assert_eq!(
        settings.warnings,
        ["the preset skeddly of your folder replaces the one that comes with keyround"]
    );
    let acme = key(&settings, "acme");
    assert!(matches!(&acme.deliver[..], [DeliverStep::Http(step)]
        if step.params["site"] == Param::Text("eu".to_owned()) && step.auth.is_some()));

    write("broken.toml", &OWN_PRESET.replace("params.site", "params.sight").replace("R5", "R9"));
    let mistakes = read_as(&config, text).expect_err("mistakes").to_string();
    assert!(mistakes.contains("broken.toml:3:13: \"R9\" is not an allowed value"), "{mistakes}");
    assert!(mistakes.contains("broken.toml:13:7: the preset has no parameter \"sight\""), "{mistakes}");
}

const OWN_PRESET: &str = r#"title = "Acme"
evidence = "docs"
read_back = "R5"
source = "https://acme.example/docs"

[parameters.site]
doc = "the site"
[parameters.token]
doc = "a token"
secret = true

[[deliver]]
url = "https://{{ params.site }}.acme.example/keys"
auth = { bearer = "params.token" }
json = { id = "{{ access_key_id }}", secret = "{{ secret_access_key }}" }
"#;

#[test]
fn omitted_settings_have_their_default_values() {
    let text = "[vendor.acme]\niam_user = \"vendor-acme\"\n\
                deliver = [{ kind = \"webhook\", url = \"https://a.example\", secret = \"env:A\" }]";
    let settings = read(text).expect("settings");
    assert_eq!(settings.schedule.cron.text(), "17 * * * *");
    assert_eq!(settings.schedule.jitter, Duration::from_mins(5));
    assert_eq!(settings.concurrency, 8);
    let acme = key(&settings, "acme");
    assert_eq!((acme.ages.max_age, acme.ages.warn_before), (90 * 24 * HOUR, 14 * 24 * HOUR));
    assert_eq!(acme.ages.overdue_after, 72 * HOUR);
    assert_eq!(acme.plan, keyround::core::rotation::Plan::default());
    assert!(
        matches!(&acme.deliver[..], [DeliverStep::Webhook(step)] if step.timeout == Duration::from_secs(20))
    );
}

#[test]
fn the_default_of_warn_before_fits_a_short_max_age() {
    let terms = |defaults: &str, vendor: &str| {
        let text = format!(
            "[defaults]\n{defaults}\n[vendor.acme]\niam_user = \"a\"\n{vendor}\n\
             deliver = [{{ kind = \"webhook\", url = \"https://a.example\", secret = \"env:A\" }}]"
        );
        read(&text).map(|settings| key(&settings, "acme").ages.warn_before)
    };
    let short = "max_age = \"6d\"\ncool = \"1d\"";
    assert_eq!(terms("", short).expect("settings"), 24 * HOUR);
    assert_eq!(terms(short, "max_age = \"60d\"").expect("settings"), 14 * 24 * HOUR);
    let refusal = terms("warn_before = \"7d\"", short).expect_err("warned for ever").render(false);
    assert!(refusal.contains("warn_before"), "{refusal}");
}

#[test]
fn a_duration_of_a_vendor_overrides_the_one_in_defaults() {
    let text = "[defaults]\nsoak = \"2h\"\ncool = \"1h\"\n[vendor.acme]\niam_user = \"a\"\nsoak = \"0s\"\n\
                deliver = [{ kind = \"webhook\", url = \"http://127.0.0.1:1\", secret = [\"env:A\", \"env:B\"] }]";
    let settings = read(text).expect("settings");
    let acme = key(&settings, "acme");
    assert_eq!((acme.plan.soak, acme.plan.cool), (Duration::ZERO, HOUR));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_does_not_panic_the_configuration_parser(text in "(?s).{0,400}") {
        drop(read(&text).map_err(|diagnostics| diagnostics.render(true)));
    }

    #[test]
    fn random_configuration_words_do_not_panic_the_parser(words in prop::collection::vec(prop::sample::select(SOUP), 0..60)) {
        drop(read(&words.concat()).map_err(|diagnostics| diagnostics.render(false)));
    }

    #[test]
    fn a_mutated_example_neither_panics_the_parser_nor_shows_a_secret(changes in changes()) {
        let text = changed(&example_with_canaries(), &changes);
        let diagnostics = read(&text).expect_err("literals stand in there");
        prop_assert!(diagnostics.list().is_sorted_by_key(|found| (found.line(), found.column())));
        let debug = format!("{diagnostics:?}");
        for shown in [diagnostics.render(false), diagnostics.render(true), diagnostics.to_string(), debug] {
            prop_assert!(!shown.contains(CANARY), "{}", shown);
        }
    }
}

/// Pieces of text that, put together, are nearly a configuration.
const SOUP: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    "\n",
    ",",
    ".",
    "\"",
    "'",
    "\"\"\"",
    "#",
    " ",
    "vendor",
    "acme",
    "deliver",
    "kind",
    "\"http\"",
    "\"webhook\"",
    "iam_user",
    "url",
    "\"https://{{ x }}\"",
    "secret",
    "\"env:A\"",
    "defaults",
    "soak",
    "\"1h\"",
    "5",
    "-1",
    "true",
    "windows",
    "auth",
    "bearer",
    "json",
    "\n[vendor.acme]\n",
    "\n[[vendor.acme.deliver]]\n",
    "\u{feff}",
    "é",
    "\r\n",
    "\\",
    "2026-11-23",
    "1e9",
    "{{",
    "}}",
];

/// A change of a text: its place as a share of the text's length, the number of bytes to remove, and the text to insert
/// there.
type Change = (f64, usize, &'static str);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec((0.0..1.0, 0_usize..4, prop::sample::select(SOUP)), 0..4)
}

/// The example with a literal in place of each reference to a secret.
fn example_with_canaries() -> String {
    let example = fs::read_to_string(root().join("rotation.toml.example")).expect("the example");
    let ways = ["credential:", "env:", "file:", "secretsmanager:"];
    let lines = example.lines().filter(|line| !line.starts_with('#')).map(|line| {
        ways.iter().fold(line.to_owned(), |line, way| {
            line.replace(&format!("\"{way}"), &format!("\"{CANARY}:{CANARY}"))
        })
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Applies the changes, but none inside a canary: a changed canary could be shown without being noticed.
fn changed(text: &str, changes: &[Change]) -> String {
    let mut text = text.to_owned();
    for (share, gone, instead) in changes {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in a short text"
        )]
        let mut start = (text.len() as f64 * share) as usize;
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let mut end = (start + gone).min(text.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        let touches = text.match_indices(CANARY).any(|(at, _)| start < at + CANARY.len() && end > at);
        if !touches {
            text.replace_range(start..end, instead);
        }
    }
    text
}

/// Checks that the mistakes of a fixture are at these places (`line:column`), and that their diagnostics are those of
/// the `.txt` file.
#[track_caller]
fn check(name: &str, places: &str) {
    let path = root().join("tests/config").join(name);
    let text = fs::read_to_string(path.with_extension("toml")).expect("the fixture");
    let diagnostics = read_as(&format!("{name}.toml"), &text).expect_err("mistakes");
    let shown = diagnostics.render(false) + "\n";
    for output in [&shown, &diagnostics.render(true), &diagnostics.to_string(), &format!("{diagnostics:?}")] {
        assert!(!output.contains(CANARY), "{output}");
    }
    let found = diagnostics.list().iter().map(|found| format!("{}:{}", found.line(), found.column()));
    if std::env::var_os("KEYROUND_BLESS").is_some() {
        fs::write(path.with_extension("txt"), &shown).expect("blessed");
    }
    assert_eq!(found.collect::<Vec<_>>().join(" "), places);
    let blessed = fs::read_to_string(path.with_extension("txt")).expect("run once with KEYROUND_BLESS=1");
    assert_eq!(shown, blessed);
}

fn read(text: &str) -> Result<Settings, Diagnostics> {
    read_as("rotation.toml", text)
}

fn read_as(name: &str, text: &str) -> Result<Settings, Diagnostics> {
    parse(name, text, &Environment::default())
}

fn example() -> Settings {
    let text = fs::read_to_string(root().join("rotation.toml.example")).expect("the example");
    match read_as("rotation.toml.example", &text) {
        Ok(settings) => settings,
        Err(diagnostics) => panic!("{}", diagnostics.render(false)),
    }
}

#[track_caller]
fn key<'s>(settings: &'s Settings, vendor: &str) -> &'s KeyAccess {
    match &settings.vendors[&vendor.parse().expect("a name")].access {
        Access::Key(access) => access,
        Access::Role { .. } => panic!("{vendor} has a role"),
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
