//! `keyround schema`: the schema for editors describes exactly the rotation.toml that the program reads.
//!
//! The schema is a separate file. To prove that it does not fall behind, the tests compare it section by section
//! with the keys that the program itself names, in its hint about an unknown key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use keyround::config::catalogue::catalogue;
use keyround::config::{Environment, parse};
use keyround::core::alert::Condition;
use serde_json::{Value, json};

use crate::support::{papers, python};

/// A key that no section has, and that resembles no key of any section.
const UNKNOWN: &str = "zzzzzzzz = 1";
const STEP: &str = "[vendor.a]\niam_user = \"a\"\n[[vendor.a.deliver]]\n";

#[test]
fn the_example_presets_and_documented_snippets_pass_the_schema() {
    let mut documents =
        BTreeMap::from([("example".to_owned(), example()), ("empty".to_owned(), String::new())]);
    for preset in catalogue() {
        documents.insert(format!("preset {}", preset.name), preset.configuration());
    }
    let pasted = documents.len();
    documents.extend(blocks_of_papers());
    assert!(pasted > 40 && documents.len() > pasted + 6, "{:?}", documents.keys());
    for (name, text) in &documents {
        let read = parse(name, text, &Environment::of_process());
        assert!(
            read.is_ok(),
            "{name}: {}",
            read.err().map(|mistakes| mistakes.render(false)).unwrap_or_default()
        );
    }
    for (name, mistakes) in judge(&documents) {
        assert!(mistakes.is_empty(), "{name}: {mistakes:#?}");
    }
}

#[test]
fn the_schema_rejects_misspelt_and_misplaced_keys() {
    let mut documents: BTreeMap<String, String> = BTreeMap::from([
        ("unknown section", "[vendr.a]\niam_user = \"a\"\n".to_owned()),
        ("unknown key", example().replace("max_age = \"90d\"", "max_agee = \"90d\"")),
        ("unknown key of a step", example().replace("carries = \"reference\"", "carry = \"reference\"")),
        ("unknown kind", example().replace("kind = \"pagerduty\"", "kind = \"pagerdooty\"")),
        ("literal secret", example().replace("\"credential:pagerduty\"", "\"R0123456789\"")),
        ("wrong type", example().replace("concurrency = 8", "concurrency = \"8\"")),
        ("no delivery", "[vendor.a]\niam_user = \"a\"\n".to_owned()),
        ("two ways", format!("{STEP}kind = \"manual\"\n[vendor.a2]\niam_user = \"b\"\npath = \"/b/\"\n")),
    ])
    .into_iter()
    .map(|(name, text)| (name.to_owned(), text))
    .collect();
    let example = example();
    let lines: Vec<&str> = example.lines().collect();
    for (number, title) in lines.iter().enumerate().filter(|(_, line)| line.starts_with('[')) {
        let (before, after) = lines.split_at(number + 1);
        let text = format!("{}\n{UNKNOWN}\n{}\n", before.join("\n"), after.join("\n"));
        documents.insert(format!("{title}, line {number}"), text);
    }
    for entry in fs::read_dir(root().join("tests/config")).expect("the fixtures") {
        let path = entry.expect("an entry").path();
        let told = fs::read_to_string(path.with_extension("txt")).expect("what is said about it");
        // After a syntax mistake, other parsers do not continue.
        if told.contains("unknown key") && path.file_stem() != Some("syntax".as_ref()) {
            documents.insert(
                path.display().to_string(),
                fs::read_to_string(path.with_extension("toml")).expect("it"),
            );
        }
    }
    assert!(documents.len() > 50, "{:?}", documents.keys());
    let told = judge(&documents);
    for (name, mistakes) in &told {
        assert!(!mistakes.is_empty(), "{name}");
    }
    let [(place, message)] = &told["unknown key"][..] else { panic!("{told:#?}") };
    assert_eq!(place, "defaults");
    assert!(message.contains("'max_agee' was unexpected"), "{message}");
}

#[test]
fn the_schema_has_exactly_the_section_and_step_keys_of_the_parser() {
    for key in ["journal", "schedule", "defaults", "aws", "presets", "heartbeat", "serve"] {
        check(&format!("/properties/{key}"), &format!("[{key}]\n{UNKNOWN}"));
    }
    check("", UNKNOWN);
    check("/properties/waiver/items", &format!("[[waiver]]\n{UNKNOWN}"));
    check("/properties/account/additionalProperties", &format!("[account.a]\n{UNKNOWN}"));
    check("/properties/vendor/additionalProperties", &format!("[vendor.a]\niam_user = \"a\"\n{UNKNOWN}"));
    for (index, kind) in kinds("deliver").iter().enumerate() {
        check(&format!("/$defs/deliver/oneOf/{index}"), &format!("{STEP}kind = \"{kind}\"\n{UNKNOWN}"));
    }
    for (index, kind) in kinds("question").iter().enumerate() {
        let verify = format!("{STEP}kind = \"manual\"\n[vendor.a.verify]\nkind = \"{kind}\"\n{UNKNOWN}");
        check(&format!("/$defs/question/oneOf/{index}"), &verify);
    }
    for (index, kind) in kinds("alert").iter().enumerate() {
        check(&format!("/$defs/alert/oneOf/{index}"), &format!("[alert.a]\nkind = \"{kind}\"\n{UNKNOWN}"));
    }
}

#[test]
fn the_schema_has_exactly_the_request_keys_of_the_parser() {
    let http = |rest: &str| format!("{STEP}kind = \"http\"\nurl = \"https://a.example\"\n{rest}");
    check("/$defs/auth", &http(&format!("auth = {{ {UNKNOWN} }}")));
    for way in ["basic", "header", "oauth2", "jwt"] {
        let text = http(&format!("auth = {{ {way} = {{ {UNKNOWN} }} }}"));
        check(&format!("/$defs/auth/properties/{way}"), &text);
    }
    for part in ["expect", "pages", "graphql", "edit"] {
        check(&format!("/$defs/{part}"), &http(&format!("{part} = {{ {UNKNOWN} }}")));
    }
    check("/$defs/place", &http(&format!("capture = {{ a = {{ in = \"/list\", {UNKNOWN} }} }}")));
    let program = format!("{STEP}kind = \"command\"\nargv = [\"/bin/true\"]\nexpect = {{ {UNKNOWN} }}");
    check("/$defs/expect_output", &program);
}

#[test]
fn the_schema_has_exactly_the_kinds_of_the_parser() {
    let kinds_of = |text: &str| -> BTreeSet<String> {
        let hint = mistakes(text).into_iter().find_map(|hint| Some(hint.split_once("one of ")?.1.to_owned()));
        let words = hint.expect("a hint that lists them").replace(" and ", ", ");
        words.split(", ").map(str::to_owned).collect()
    };
    let set = |part| kinds(part).into_iter().collect::<BTreeSet<String>>();
    assert_eq!(set("alert"), kinds_of("[alert.a]"));
    assert_eq!(set("deliver"), kinds_of(&format!("{STEP}url = \"x\"")));
    assert_eq!(
        schema()["$defs"]["conditions"]["items"]["enum"],
        json!(Condition::ALL.map(Condition::as_str))
    );
}

/// Asserts that the schema has, at this place, the keys that the program names when it meets an unknown one.
#[track_caller]
fn check(pointer: &str, text: &str) {
    let schema = schema();
    let object = schema.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer}"));
    assert_eq!(object["additionalProperties"], json!(false), "{pointer} takes whatever comes");
    let members = object["properties"].as_object().expect("properties");
    let known: BTreeSet<&str> = members.keys().map(String::as_str).collect();
    let hints = mistakes(text);
    let told = hints.iter().find_map(|hint| hint.strip_prefix("the keys here are "));
    let told = told.unwrap_or_else(|| panic!("{pointer}: {hints:#?}"));
    // The program knows these keys only to reject them here with an explanation.
    let refused: &[&str] = match pointer {
        "/properties/vendor/additionalProperties" => &["concurrency", "first", "per_day"],
        "/$defs/expect_output" => &["status"],
        "/$defs/alert/oneOf/0" => &["carries", "encrypt_to"],
        _ => &[],
    };
    let told: BTreeSet<&str> = told.split(", ").filter(|key| !refused.contains(key)).collect();
    assert_eq!(known, told, "{pointer}");
    for (name, member) in members {
        let is_said = member.get("description").is_some() || member.get("$ref").is_some();
        assert!(is_said, "{pointer}/{name} has no description");
    }
}

/// The kinds of this part, in the order of the schema.
fn kinds(part: &str) -> Vec<String> {
    let schema = schema();
    let steps = schema["$defs"][part]["oneOf"].as_array().expect("kinds").iter();
    steps.map(|step| step["properties"]["kind"]["const"].as_str().expect("a kind").to_owned()).collect()
}

/// The hints of all mistakes of this file.
fn mistakes(text: &str) -> Vec<String> {
    let mistakes = parse("rotation.toml", text, &Environment::default()).expect_err("a mistake");
    mistakes.list().iter().filter_map(|mistake| mistake.hint.clone()).collect()
}

fn schema() -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_keyround")).arg("schema").output().expect("it runs");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The errors that the reference implementation of JSON Schema finds in each document: the place, and the problem.
fn judge(documents: &BTreeMap<String, String>) -> BTreeMap<String, Vec<(String, String)>> {
    let asked = json!({ "schema": schema(), "documents": documents });
    let told = python::ask("check_schema.py", &asked).expect("a schema");
    serde_json::from_str(&told).expect("JSON")
}

fn example() -> String {
    fs::read_to_string(root().join("rotation.toml.example")).expect("the example")
}

/// The configurations of the documentation, by page and position. A block that begins with a delivery step gets a
/// vendor.
fn blocks_of_papers() -> BTreeMap<String, String> {
    let mut blocks = BTreeMap::new();
    for paper in papers::all() {
        for (index, block) in paper.blocks("toml").into_iter().enumerate() {
            let is_step = block.starts_with("[[vendor.acme.");
            let head = if is_step { "[vendor.acme]\niam_user = \"acme\"\n" } else { "" };
            blocks.insert(format!("{} {index}", paper.path), format!("{head}{block}"));
        }
    }
    blocks
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
