//! What vendors show in place of a secret, and the one guard against writing it back.
//!
//! **Invariant:** no body depends on a masked value of an answer. What a vendor shows as `****` it may take for the new
//! value, and then something that worked is overwritten with stars.
//!
//! The body is made a second time, with a mark in place of each masked value, and the mark is looked for.

use serde_json::Value;

/// What vendors show in place of a secret, in lower case and without what stands around it.
const MASKS: [&str; 5] = ["redacted", "masked", "secret value", "sensitive value", "unchanged"];

/// What stands in place of a masked value of the capture `name`. Every encoding of a text that is not secret keeps it.
pub(super) fn mark(name: &str) -> String {
    format!("keyroundMaskOf{name}End")
}

/// The text with the mark in its place, where it is a mask.
pub(super) fn marked_text(text: &str, name: &str) -> Option<String> {
    is_mask(text).then(|| mark(name))
}

/// The document with the mark in place of each mask; `None` where there is none.
pub(super) fn marked(mut document: Value, name: &str) -> Option<Value> {
    mark_all(&mut document, name).then_some(document)
}

fn mark_all(value: &mut Value, name: &str) -> bool {
    match value {
        Value::String(text) => match marked_text(text, name) {
            Some(mark) => {
                *text = mark;
                true
            }
            None => false,
        },
        Value::Array(items) => items.iter_mut().fold(false, |found, item| mark_all(item, name) | found),
        Value::Object(fields) => fields.values_mut().fold(false, |found, item| mark_all(item, name) | found),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a text looks like what stands in place of a secret.
fn is_mask(text: &str) -> bool {
    let veiled = |letter: char| matches!(letter, '*' | '\u{2022}' | '\u{25cf}' | '\u{b7}');
    let mut run = 0;
    let has_run = text.chars().any(|letter| {
        run = if veiled(letter) { run + 1 } else { 0 };
        run == 3
    });
    let crossed_out = text.len() >= 4 && text.bytes().take(4).all(|byte| byte.eq_ignore_ascii_case(&b'x'));
    let bare = text.to_lowercase();
    let bare = bare.trim_matches(|letter: char| !letter.is_alphanumeric()).replace('_', " ");
    has_run || crossed_out || MASKS.contains(&bare.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_vendors_show_in_place_of_secrets_is_known() {
        for mask in [
            "********",
            "***",
            "\u{2022}\u{2022}\u{2022}\u{2022}abcd",
            "xxxxABCD",
            "XXXX",
            "[REDACTED]",
            "<masked>",
            "(sensitive value)",
            "__UNCHANGED__",
        ] {
            assert!(is_mask(mask), "{mask}");
        }
        for text in ["", "*", "s3://logs/**/x", "AKIAIOSFODNN7EXAMPLE", "hidden gems", "xx", "eu-west-1"] {
            assert!(!is_mask(text), "{text}");
        }
        let marked_one = marked(json!({"a": [{"b": "******"}, "x"], "c": "REDACTED"}), "item");
        assert_eq!(marked_one, Some(json!({"a": [{"b": mark("item")}, "x"], "c": mark("item")})));
        assert_eq!(marked(json!({"a": [1, true, null, "*.log"]}), "item"), None);
    }
}
