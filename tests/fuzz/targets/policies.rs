//! IAM policies: texts that other people and other programs wrote, as an account contains them.

use keyround::review::policy::lint::RULES;
use keyround::review::policy::{
    Document, Effect, Found, Pattern, Place, Purpose, Rights, Span, escalation, lint, trust,
};
use serde_json::{Value, json};

/// Patterns are compared pairwise, so only this many are used.
const PATTERNS: usize = 8;
/// The codes that a Deny statement can have: it names an action or a service that does not exist, or has an old
/// version.
const OF_DENIALS: [&str; 3] = ["KR511", "KR512", "KR515"];

/// A text is a policy or has mistakes, each at a place in it. A text that is accepted is JSON for other parsers
/// too. The findings in a policy are the same each time, are worse when it allows everything, and are only about
/// names when it only denies.
pub fn policies(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "it is no policy, and nothing is wrong with it");
            for mistake in &mistakes {
                check_place(text, mistake.span);
            }
            return;
        }
    };
    let value: Value = serde_json::from_str(text).expect("what is a policy is JSON");
    assert!(!document.statements.is_empty());
    for purpose in [Purpose::ThirdParty, Purpose::Rotator] {
        let found = lint(&document, purpose);
        assert_eq!(found, lint(&document, purpose));
        for one in &found {
            check_found(text, one);
        }
    }
    for door in trust::doors(&document) {
        assert!(document.statements.iter().any(|one| one.principals.is_some()), "{door:?} of nobody");
    }
    check_patterns(&document);
    check_changed(&value, &document);
}

fn check_place(text: &str, span: Span) {
    assert!(span.start <= span.end && span.end <= text.len(), "{span:?} is not in the text");
    let (start, end) = (Place::of(text, span.start), Place::of(text, span.end));
    assert!(start <= end && start.line >= 1 && start.column >= 1, "{start:?} {end:?}");
}

fn check_found(text: &str, found: &Found) {
    check_place(text, found.span);
    assert!(RULES.contains(&found.rule) && !found.sentence.is_empty());
}

fn check_patterns(document: &Document) {
    let items = document.statements.iter().flat_map(|statement| &statement.actions.items);
    let patterns: Vec<&Pattern> = items.map(|item| &item.value).take(PATTERNS).collect();
    for one in &patterns {
        assert!(one.matches(one.as_str()), "{one} does not match itself");
        for other in &patterns {
            let overlap = one.overlaps(other);
            assert_eq!(overlap, other.overlaps(one), "{one} {other}");
            assert!(overlap || !one.matches(other.as_str()), "{one} matches {other} and does not overlap it");
        }
    }
}

/// Checks the same policy with further statements, or in reverse order.
fn check_changed(value: &Value, document: &Document) {
    let with = |statement: Value| {
        let mut changed = value.clone();
        let mut all = statements(value);
        all.push(statement);
        changed["Statement"] = json!(all);
        changed
    };
    let admin = lint(&read(&with(everything("Allow"))), Purpose::ThirdParty);
    let denies = document.statements.iter().any(|statement| statement.effect == Effect::Deny);
    assert!(denies || admin.iter().any(|found| found.rule.code == "KR501"), "an administrator is not found");
    let shut = read(&with(everything("Deny")));
    let ways = |documents: &[&Document]| escalation::open(&Rights::of(documents)).len();
    assert_eq!(ways(&[&shut]), 0, "a way is open to somebody who may do nothing");
    assert!(ways(&[document]) <= ways(&[document, document]));
    let mut with_deny = value.clone();
    let mut all = statements(value);
    for statement in &mut all {
        statement["Effect"] = json!("Deny");
    }
    with_deny["Statement"] = json!(all);
    let refusing = read(&with_deny);
    assert!(refusing.statements.iter().all(|statement| statement.effect == Effect::Deny));
    for found in lint(&refusing, Purpose::ThirdParty) {
        assert!(OF_DENIALS.contains(&found.rule.code), "{} of a policy that only denies", found.rule.code);
    }
}

fn everything(effect: &str) -> Value {
    json!({ "Effect": effect, "Action": "*", "Resource": "*" })
}

fn statements(value: &Value) -> Vec<Value> {
    match &value["Statement"] {
        Value::Array(statements) => statements.clone(),
        one => vec![one.clone()],
    }
}

fn read(value: &Value) -> Document {
    let text = value.to_string();
    Document::parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:?}: {text}"))
}
