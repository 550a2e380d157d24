//! Commands that the documentation promises, read from it as it writes them, so that the tests run what a reader runs.

use std::fs;
use std::path::Path;

/// The lines of the first fenced block after `<!-- marker -->` in this file of the repository, without prompts.
#[track_caller]
pub(crate) fn block(file: &str, marker: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let (_, after) =
        text.split_once(&format!("<!-- {marker} -->")).unwrap_or_else(|| panic!("{file} has no {marker}"));
    let block = after.split("```").nth(1).unwrap_or_else(|| panic!("{file}: no fenced block after {marker}"));
    // The first line names the language.
    block.lines().skip(1).map(|line| line.trim_start_matches("$ ").to_owned()).collect()
}
