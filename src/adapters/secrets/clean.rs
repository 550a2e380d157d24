//! How a stored secret is cleaned, and when it is refused as unusable. The same rules hold for every place where a
//! secret can be stored.

use crate::core::secret::Secret;

/// A secret that begins with one of these, a PEM key or a JSON document, may have several lines. Any other must have
/// one.
const STARTS_OF_SEVERAL_LINES: [&str; 3] = ["-----BEGIN ", "{", "["];

/// The secret without the line break at its end, which editors and `echo` add.
///
/// # Errors
///
/// The rest cannot be what the vendor issued. The sentence gives the reason and nothing of the value.
pub(super) fn cleaned(secret: &Secret) -> Result<Secret, String> {
    let whole = secret.expose();
    let text = whole.strip_suffix('\n').map_or(whole, |text| text.strip_suffix('\r').unwrap_or(text));
    match fault(text) {
        None if text.len() == whole.len() => Ok(secret.clone()),
        None => Ok(Secret::from(text)),
        Some(why) => Err(why.to_owned()),
    }
}

fn fault(text: &str) -> Option<&'static str> {
    let is_quoted = |mark| text.len() > 1 && text.starts_with(mark) && text.ends_with(mark);
    let has_lines = STARTS_OF_SEVERAL_LINES.iter().any(|start| text.starts_with(start));
    if text.is_empty() {
        Some("it is empty")
    } else if text.chars().all(char::is_whitespace) {
        Some("it is nothing but white space")
    } else if text.contains('\0') {
        Some("it has a NUL byte in it; store it as plain text")
    } else if text.starts_with('\u{feff}') {
        Some("it begins with a byte order mark; store it as UTF-8 without one")
    } else if is_quoted('"') || is_quoted('\'') || is_quoted('`') {
        Some("it stands in quotes, which would be sent too; store it without them")
    } else if text.ends_with(['\n', '\r']) && !has_lines {
        Some("it ends with more than one line break; store it without them")
    } else if text.contains(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}']) && !has_lines {
        Some("it has a line break in it; store it in one line")
    } else if !has_lines && text.trim().len() != text.len() {
        Some("it has white space at its beginning or its end; store it without it")
    } else if text.contains(|letter: char| letter.is_control() && !letter.is_whitespace()) {
        Some("it has a control character in it; store it as plain text")
    } else if text.contains(['\u{200b}', '\u{200e}', '\u{200f}', '\u{feff}']) {
        Some("it has an invisible character in it; copy it anew")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trailing_line_break_is_removed_from_a_secret() {
        for (written, read) in [
            ("a", "a"),
            ("a b", "a b"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\"", "a\""),
            ("-----BEGIN KEY-----\nx\n-----END KEY-----\n", "-----BEGIN KEY-----\nx\n-----END KEY-----"),
            ("{\n  \"a\": 1\n}\n", "{\n  \"a\": 1\n}"),
        ] {
            assert_eq!(cleaned(&Secret::from(written)), Ok(Secret::from(read)), "{written:?}");
        }
    }

    #[test]
    fn an_unusable_secret_is_refused_with_a_reason_and_not_shown() {
        for (written, why) in [
            ("", "it is empty"),
            ("\n", "it is empty"),
            ("\r\n", "it is empty"),
            (" \t\n", "nothing but white space"),
            ("canary\n\n", "more than one line break"),
            ("canary\r\n\r\n", "more than one line break"),
            ("canary\ncanary", "a line break in it"),
            ("canary\rcanary", "a line break in it"),
            (" canary", "white space at its beginning"),
            ("canary \n", "white space at its beginning or its end"),
            ("canary\u{a0}", "white space at its beginning or its end"),
            ("\"canary\"\n", "in quotes"),
            ("'canary'", "in quotes"),
            ("\u{feff}canary", "byte order mark"),
            ("can\0ary", "NUL byte"),
            ("canary\0\n", "NUL byte"),
            ("can\u{1b}ary", "control character"),
            ("can\u{200b}ary", "invisible character"),
        ] {
            let sentence = cleaned(&Secret::from(written)).expect_err("it is unusable");
            assert!(sentence.contains(why) && !sentence.contains("canary"), "{written:?}: {sentence}");
        }
    }
}
