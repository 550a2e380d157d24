//! Reads commands and examples from the documentation, so that the tests run exactly what a reader runs.

use std::fs;
use std::path::{Path, PathBuf};

/// One page of the documentation.
pub(crate) struct Paper {
    /// The path from the root of the repository, with `/` as separator.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Paper {
    /// The fenced blocks in this language.
    pub(crate) fn blocks(&self, language: &str) -> Vec<String> {
        let opening = format!("\n```{language}\n");
        let blocks = self.text.split(&opening).skip(1);
        blocks.map(|rest| rest.split("\n```").next().expect("a block has an end").to_owned()).collect()
    }
}

/// Every page of the documentation: the Markdown files at the root and in `docs/`.
pub(crate) fn all() -> Vec<Paper> {
    let folders = [root(), root().join("docs")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("the repository is readable"));
    let paths = files.map(|file| file.expect("the repository is readable").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    paths.sort();
    assert!(paths.len() > 10, "the documentation was not found: {paths:?}");
    let paper = |path: PathBuf| Paper {
        path: path.strip_prefix(root()).expect("it is below the root").to_string_lossy().into_owned(),
        text: fs::read_to_string(&path).expect("a page is text"),
    };
    paths.into_iter().map(paper).collect()
}

/// The lines of the first fenced block after `<!-- marker -->` in this file of the repository, without prompts.
#[track_caller]
pub(crate) fn block(file: &str, marker: &str) -> Vec<String> {
    let path = root().join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let (_, after) =
        text.split_once(&format!("<!-- {marker} -->")).unwrap_or_else(|| panic!("{file} has no {marker}"));
    let block = after.split("```").nth(1).unwrap_or_else(|| panic!("{file}: no fenced block after {marker}"));
    // The first line names the language.
    block.lines().skip(1).map(|line| line.trim_start_matches("$ ").to_owned()).collect()
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
