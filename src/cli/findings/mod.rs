//! Findings for other programs: each format in a file of its own, all from the same findings.

pub(crate) mod asff;
pub(crate) mod csv;
pub(crate) mod ocsf;
pub(crate) mod sarif;

/// At most this many letters, the last of them an ellipsis where some are missing.
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
    fn what_is_too_long_is_cut_between_letters() {
        assert_eq!(super::cut("ключ", 4), "ключ");
        assert_eq!(super::cut("ключи", 4), "клю\u{2026}");
    }
}
