//! Findings in formats for other programs. Each format has its own file, and all are made from the same findings.

pub(crate) mod asff;
pub(crate) mod csv;
pub(crate) mod ocsf;
pub(crate) mod sarif;

/// Cuts a text to `letters_max` characters; the last of them is an ellipsis if something was cut off.
fn cut(text: &str, letters_max: usize) -> String {
    if text.chars().count() <= letters_max {
        return text.to_owned();
    }
    let head: String = text.chars().take(letters_max - 1).collect();
    format!("{head}\u{2026}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_too_long_text_is_cut_at_a_character_boundary() {
        assert_eq!(super::cut("ключ", 4), "ключ");
        assert_eq!(super::cut("ключи", 4), "клю\u{2026}");
    }
}
