//! Recognizes the texts that vendors show in place of a secret, and keeps them from being written back.
//!
//! **Invariant:** no body depends on a masked value of a response. A vendor may take a `****` that it showed for the
//! new value, and then it overwrites a working secret with stars.
//!
//! To check this, the body is rendered a second time with a mark in place of each masked value, and is searched for
//! the mark.

use serde_json::Value;

/// Texts that vendors show in place of a secret, in lower case and without the characters around them.
const MASKS: [&str; 5] = ["redacted", "masked", "secret value", "sensitive value", "unchanged"];

/// The mark that replaces a masked value of the capture `name`. It needs no escaping in JSON, forms or URLs.
pub(super) fn mark(name: &str) -> String {
    format!("keyroundMaskOf{name}End")
}

/// The mark, if the text is a mask; `None` if it is not.
pub(super) fn marked_text(text: &str, name: &str) -> Option<String> {
    is_mask(text).then(|| mark(name))
}

/// The document with each mask replaced by the mark; `None` if it contains no mask.
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

/// Whether a text looks like a mask: it contains three mask characters in a row, begins with four `x`, or is one of
/// [`MASKS`].
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
    fn masked_secret_values_are_recognised_and_marked() {
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
