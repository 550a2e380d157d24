//! Makes text safe for a terminal: a name, a reason or a response from outside cannot move the cursor, hide what was
//! printed, or change the order of letters.

use std::borrow::Cow;

/// The maximum length of an operator's reason, in characters.
const REASON_MAX: usize = 1000;

/// The text, with each character that a terminal would act on replaced by its code, such as `\u001b`. Line ends and
/// tabs stay. In JSON, such a code means the same character.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    match text.contains(acts_on_terminal) {
        true => Cow::Owned(text.chars().map(coded).collect()),
        false => Cow::Borrowed(text),
    }
}

/// The same, but escape sequences that set a colour stay.
pub(crate) fn shown_in_color(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut out = shown(parts.next().unwrap_or_default()).into_owned();
    for part in parts {
        let codes = part.find(|letter: char| !letter.is_ascii_digit() && letter != ';');
        match codes.filter(|end| part[*end..].starts_with('m')) {
            Some(_) => out.push_str("\u{1b}["),
            None => out.push_str("\\u001b["),
        }
        out.push_str(&shown(part));
    }
    out
}

fn coded(letter: char) -> String {
    match acts_on_terminal(letter) {
        true => format!("\\u{:04x}", u32::from(letter)),
        false => letter.to_string(),
    }
}

/// Whether the character is a control character, or changes the direction of writing (Unicode Standard Annex 9).
fn acts_on_terminal(letter: char) -> bool {
    let turns = matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (letter.is_control() && !matches!(letter, '\n' | '\t'))
}

/// Checks and trims an operator's reason: one line, not empty, and at most 1,000 characters.
pub(crate) fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a reason is a few words".to_owned());
    }
    if text.chars().count() > REASON_MAX {
        return Err(format!("a reason has at most {REASON_MAX} characters"));
    }
    if text.contains(|letter: char| letter.is_control() || acts_on_terminal(letter)) {
        return Err("a reason is one line without control characters".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_for_a_terminal() {
        assert_eq!(shown("acme: two\nlines\tand ü"), "acme: two\nlines\tand ü");
        assert_eq!(shown("a\u{1b}[2Jb\rc\u{7}\u{9b}d\u{7f}"), "a\\u001b[2Jb\\u000dc\\u0007\\u009bd\\u007f");
        assert_eq!(shown("\u{202e}txt.exe\u{2066}"), "\\u202etxt.exe\\u2066");
        let json = serde_json::json!({ "why": "a\u{9b}b" }).to_string();
        let read: serde_json::Value = serde_json::from_str(&shown(&json)).expect("it is still JSON");
        assert_eq!(read["why"], "a\u{9b}b");
    }

    #[test]
    fn colour_codes_are_kept_and_other_control_sequences_are_escaped() {
        let red = "\u{1b}[1;31merror\u{1b}[0m: no";
        assert_eq!(shown_in_color(red), red);
        assert_eq!(shown_in_color("a\u{1b}[2Jb\u{1b}]0;title\u{7}"), "a\\u001b[2Jb\\u001b]0;title\\u0007");
        assert_eq!(shown_in_color("end\u{1b}["), "end\\u001b[");
    }

    #[test]
    fn a_reason_must_be_one_bounded_line_without_control_characters() {
        assert_eq!(reason(" the vendor asked "), Ok("the vendor asked".to_owned()));
        for text in ["", "  ", "a\nb", "a\u{1b}[2Jb", "a\u{202e}b", &"x".repeat(1001)] {
            assert!(reason(text).is_err(), "{text:?}");
        }
    }
}
