//! The mutants that `cargo mutants` would make.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(crate) struct Mutant {
    pub(crate) name: String,
    /// The path from the root of the tree.
    pub(crate) file: String,
    pub(crate) span: Span,
    pub(crate) replacement: String,
    pub(crate) genre: Genre,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

/// The part of the source that is replaced.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) start: Place,
    pub(crate) end: Place,
}

/// A place in the source. Line and column are counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Place {
    /// The place as an offset in bytes.
    pub(crate) fn offset(self, text: &str) -> usize {
        let before: usize = text.split_inclusive('\n').take(self.line - 1).map(str::len).sum();
        let letters = text[before..].chars().take(self.column - 1);
        before + letters.map(char::len_utf8).sum::<usize>()
    }
}

impl From<proc_macro2::LineColumn> for Place {
    fn from(at: proc_macro2::LineColumn) -> Place {
        Place { line: at.line, column: at.column + 1 }
    }
}

impl From<proc_macro2::Span> for Span {
    fn from(span: proc_macro2::Span) -> Span {
        Span { start: span.start().into(), end: span.end().into() }
    }
}

/// The mutants whose name contains one of these texts, or all mutants.
pub(crate) fn list(root: &Path, wanted: &[String]) -> Result<Vec<Mutant>, String> {
    let listed = Command::new("cargo")
        .args(["mutants", "--list", "--json", "--no-shuffle"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    if !listed.status.success() {
        return Err(
            "`cargo mutants --list` failed; `cargo install cargo-mutants --locked` installs it".to_owned()
        );
    }
    let mut mutants: Vec<Mutant> =
        serde_json::from_slice(&listed.stdout).map_err(|error| error.to_string())?;
    mutants.retain(|mutant| wanted.is_empty() || wanted.iter().any(|part| mutant.name.contains(part)));
    Ok(mutants)
}
