//! `rotation.toml`, as an operator writes it, with any mistakes.

use std::collections::{BTreeMap, BTreeSet};

use keyround::adapters::journal::{decode, encode};
use keyround::config::settings::{Access, KeyAccess, Users};
use keyround::config::{Diagnostics, Environment, Settings, parse};
use keyround::core::ids::{AccountName, Subject};
use keyround::core::rotation::Event;
use keyround::core::time::Timestamp;

const NAME: &str = "rotation.toml";
/// A fragment begins after such a line: rotation.d/0.toml and so on.
const CUT: &str = "\n#fragment\n";
/// The longest span that the configuration accepts: ten years.
const SPAN_SECS_MAX: u64 = 3650 * 86_400;
/// Stands for a literal secret in the file.
const CANARY: &str = "Xq7canaryZ9";
/// The keys whose value is a reference to a secret, in any section.
const OF_SECRETS: [&str; 5] = ["secret", "bearer", "password", "client_secret", "seal_key"];

/// A configuration that is accepted can be relied on; for one that is refused, each mistake has its place and shows
/// no secret.
pub fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if text.contains(CUT) {
        return several(&text);
    }
    match read(&text) {
        Ok(settings) => accepted(&text, &settings),
        Err(diagnostics) => refused(&text, &diagnostics),
    }
    keeps_literal_secrets(&text);
}

fn read(text: &str) -> Result<Settings, Diagnostics> {
    parse(NAME, text, &Environment::default())
}

/// A configuration of several files: each mistake stands in one of them, at a place that it has.
fn several(text: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let (main, fragments) = (folder.path().join(NAME), folder.path().join("rotation.d"));
    std::fs::create_dir(&fragments).expect("a folder");
    let paths = (0..).map(|number| fragments.join(format!("{number}.toml")));
    let files = std::iter::once(main.clone()).chain(paths).zip(text.split(CUT));
    let files: BTreeMap<String, &str> =
        files.map(|(path, text)| (path.display().to_string(), text)).take(8).collect();
    for (path, text) in &files {
        std::fs::write(path, text).expect("written");
    }
    let main = main.display().to_string();
    match parse(&main, files[&main], &Environment::default()) {
        Ok(settings) => {
            assert!(settings.included.iter().all(|path| path.starts_with('/')));
            let files = settings.vendors.values().map(|vendor| &*vendor.written.file);
            assert!(
                files
                    .into_iter()
                    .all(|file| file == main || settings.included.iter().any(|path| path == file))
            );
        }
        Err(mistakes) => {
            for mistake in mistakes.list() {
                let Some(text) = files.get(&*mistake.path) else { panic!("{}", mistake.path) };
                assert!(mistake.line() <= text.split('\n').count(), "{mistake}");
            }
            drop(mistakes.render(true));
        }
    }
}

fn accepted(text: &str, settings: &Settings) {
    let again = read(&format!("{text}\n# the end\n")).expect("a comment at the end changes nothing");
    assert_eq!(format!("{settings:?}"), format!("{again:?}"), "the same text is the same settings");
    assert!((1..=256).contains(&settings.concurrency));
    let mut users = BTreeSet::new();
    for (name, vendor) in &settings.vendors {
        let Access::Key(access) = &vendor.access else { continue };
        can_be_relied_on(access);
        for user in named(&access.users) {
            let is_first = users.insert((access.account.clone(), user.to_lowercase()));
            assert!(is_first, "{name} has the user {user}, which somebody has already");
        }
        frozen_plan_survives(access, &vendor.name.to_string());
    }
}

fn named(users: &Users) -> Vec<&str> {
    match users {
        Users::Named(users) => users.iter().map(keyround::core::ids::IamUserName::as_str).collect(),
        Users::Path(_) => Vec::new(),
    }
}

fn can_be_relied_on(access: &KeyAccess) {
    assert!(!access.deliver.is_empty(), "a vendor that is told nothing");
    assert!(access.ages.warn_before < access.ages.max_age, "warned about from the first day");
    let plan = &access.plan;
    for span in [plan.soak, plan.quiet_for, plan.cool, plan.prove_every, plan.doubt_window] {
        assert!(span.as_secs() <= SPAN_SECS_MAX && span.subsec_nanos() == 0, "{span:?}");
    }
    assert!(plan.prove_successes > 0 && !plan.doubt_window.is_zero());
    assert_eq!(plan.can_ask_vendor, !access.verify.is_empty());
}

/// The plan is stored in the journal with the rotation's first event, and is read back unchanged.
fn frozen_plan_survives(access: &KeyAccess, vendor: &str) {
    let started = Event::Started {
        subject: Subject {
            vendor: vendor.parse().expect("it was one"),
            account: None::<AccountName>,
            iam_user: "vendor-acme".parse().expect("a user"),
        },
        old: "AKIAOLD0000000000001".parse().expect("a key id"),
        old_created_at: Timestamp::EPOCH,
        reason: "too_old".to_owned(),
        plan: access.plan.clone(),
        account_id: None,
        at: Timestamp::EPOCH,
    };
    assert_eq!(decode(&encode(&started)), Ok(started));
}

fn refused(text: &str, diagnostics: &Diagnostics) {
    let lines: Vec<&str> = text.split('\n').collect();
    assert!(!diagnostics.list().is_empty(), "a refusal that names no mistake");
    assert!(diagnostics.list().is_sorted_by_key(keyround::config::Diagnostic::line));
    for diagnostic in diagnostics.list() {
        let (line, column) = (diagnostic.line(), diagnostic.column());
        let pointed_at = lines.get(line - 1).unwrap_or_else(|| panic!("line {line} of {}", lines.len()));
        assert!((1..=pointed_at.chars().count() + 1).contains(&column), "column {column} of {pointed_at:?}");
        assert_eq!(&*diagnostic.path, NAME);
    }
    // A file must not be able to insert lines into a log, or control characters into a terminal.
    let shown = diagnostics.to_string();
    assert_eq!(shown.lines().count(), diagnostics.list().len() + 1, "{shown:?}");
    let rendered = diagnostics.render(false);
    for text in [&shown, &rendered] {
        let unruly = text.chars().find(|letter| letter.is_control() && !matches!(letter, '\n' | '\t'));
        assert_eq!(unruly, None, "{text:?}");
    }
    drop(diagnostics.render(true));
}

/// Puts a secret where a reference to one belongs. Whatever else is wrong with the file, the secret is not
/// repeated. Whether it is refused is tested by the target `secret_references`, because here the key may belong to
/// another table.
fn keeps_literal_secrets(text: &str) {
    // A multi-line text can contain what only looks like a key, and a captured value may have any name.
    let is_unclear = ["\"\"\"", "'''", "capture", CANARY].iter().any(|mark| text.contains(mark));
    if is_unclear {
        return;
    }
    let lines = text.split_inclusive('\n');
    let starts = lines.clone().scan(0, |start, line| Some(std::mem::replace(start, *start + line.len())));
    let values = starts.zip(lines).filter_map(|(start, line)| Some((start, value_of_secret(line)?)));
    let values: Vec<_> = values.collect();
    // One place for each text; another text has another length, and so another place.
    let Some((start, value)) = values.get(text.len() % values.len().max(1)) else { return };
    let (before, after) = (&text[..start + value.start], &text[start + value.end..]);
    let diagnostics = read(&format!("{before}{CANARY}{after}")).err();
    let shown = diagnostics.map(|diagnostics| diagnostics.render(false) + &diagnostics.to_string());
    assert!(!shown.as_ref().is_some_and(|shown| shown.contains(CANARY)), "{shown:?}");
}

/// The place of the value on a line such as `secret = "…"`.
fn value_of_secret(line: &str) -> Option<std::ops::Range<usize>> {
    let (key, value) = line.split_once('=')?;
    let is_secret = OF_SECRETS.contains(&key.trim_matches([' ', '\t']));
    let begin = line.len() - value.trim_start_matches([' ', '\t']).strip_prefix('"')?.len();
    let length = line[begin..].find(['"', '\n']).unwrap_or(line.len() - begin);
    is_secret.then_some(begin..begin + length)
}
