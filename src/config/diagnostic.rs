//! Mistakes in the configuration, and how they are shown to people: the line, a caret under the place, and a hint.
//!
//! **Invariant:** a diagnostic holds no secret. `file::report` masks the line before it is stored here, and a
//! diagnostic keeps no reference to the file, so it can be logged, printed and compared freely.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// A place in the file, with the masked text of its line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The line number, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The line, masked; `None` when it is too long to be shown.
    pub(super) source: Option<String>,
    /// The bytes of `source` that the carets point at.
    pub(super) caret: Range<usize>,
}

/// One mistake in the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// The path of the file, as the user gave it.
    pub path: Arc<str>,
    /// The place of the mistake.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// How to correct it, if there is a hint.
    pub hint: Option<String>,
    /// Another place in the configuration that the mistake is about as well.
    pub elsewhere: Option<Elsewhere>,
}

/// A second place that a mistake is about, such as that of a setting that contradicts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Elsewhere {
    /// The path of the file, as the user gave it: that of the mistake, or another one.
    pub path: Arc<str>,
    /// The place in that file.
    pub place: Place,
    /// What is at that place, for a label.
    pub label: String,
}

impl Diagnostic {
    /// The line, from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.place.line
    }

    /// The column, from 1, in characters.
    #[must_use]
    pub fn column(&self) -> usize {
        self.place.column
    }

    /// The mistake as text of several lines: the source line, carets under the value, and the hint. `color`: with
    /// ANSI colors.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let title = Level::ERROR.primary_title(self.message.as_str());
        let (here, primary) = ((&*self.path, &self.place), AnnotationKind::Primary);
        let mut group = point(Group::with_title(title), here, primary, "");
        if let Some(Elsewhere { path, place, label }) = &self.elsewhere {
            group = point(group, (&**path, place), AnnotationKind::Context, label);
        }
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let text = renderer.render(&[group]);
        // A masked or shortened line may end in blanks; they are removed.
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }
}

fn point<'a>(
    group: Group<'a>,
    (path, place): (&'a str, &'a Place),
    kind: AnnotationKind,
    label: &'a str,
) -> Group<'a> {
    let Some(source) = &place.source else {
        return group.element(Origin::path(path).line(place.line).char_column(place.column));
    };
    let mut annotation = kind.span(place.caret.clone());
    if !label.is_empty() {
        annotation = annotation.label(label);
    }
    let snippet = Snippet::source(source.as_str()).path(path).line_start(place.line).annotation(annotation);
    group.element(snippet)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path, self.line(), self.column(), self.message)
    }
}

/// All mistakes of a configuration: file by file, and in each file by place. At least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostics {
    pub(super) list: Vec<Diagnostic>,
    /// The number of mistakes that were found but are not in the list.
    pub(super) left_out: usize,
}

impl Diagnostics {
    /// The mistakes, file by file, and in each file by place.
    #[must_use]
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// All mistakes with lines, carets and hints, and their number at the end.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let mut text = String::new();
        for diagnostic in &self.list {
            text.push_str(&diagnostic.render(color));
            text.push_str("\n\n");
        }
        text + &self.count()
    }

    /// Adds the mistakes of another file.
    pub(super) fn extend(&mut self, more: Diagnostics) {
        self.left_out += more.left_out;
        self.list.extend(more.list);
    }

    fn count(&self) -> String {
        let path = self.list.first().map_or("", |first| &*first.path);
        let files: BTreeSet<&str> = self.list.iter().map(|mistake| &*mistake.path).collect();
        match (files.len(), self.list.len() + self.left_out, self.left_out) {
            (0 | 1, 1, _) => format!("{path}: 1 mistake"),
            (0 | 1, all, 0) => format!("{path}: {all} mistakes"),
            (0 | 1, all, rest) => format!("{path}: {all} mistakes, the last {rest} of them not shown"),
            (files, all, 0) => format!("{all} mistakes in {files} files"),
            (_, all, rest) => format!("{all} mistakes in several files, the last {rest} of them not shown"),
        }
    }
}

impl fmt::Display for Diagnostics {
    /// Writes one line for each mistake: `path:line:column: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.list {
            writeln!(f, "{diagnostic}")?;
        }
        f.write_str(&self.count())
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: usize, source: &str, caret: Range<usize>) -> Place {
        Place { line, column: caret.start + 1, source: Some(source.to_owned()), caret }
    }

    fn diagnostic() -> Diagnostic {
        Diagnostic {
            path: "rotation.toml".into(),
            place: place(31, "soak = \"5x\"", 7..11),
            message: "\"5x\" is not a duration".to_owned(),
            hint: Some("such as 90d".to_owned()),
            elsewhere: None,
        }
    }

    #[test]
    fn a_mistake_has_a_caret_under_its_value() {
        let expected = "\
error: \"5x\" is not a duration
  --> rotation.toml:31:8
   |
31 | soak = \"5x\"
   |        ^^^^
   |
   = help: such as 90d";
        assert_eq!(diagnostic().render(false), expected);
        assert!(diagnostic().render(true).contains("\u{1b}["));
    }

    #[test]
    fn a_mistake_fits_on_one_line() {
        assert_eq!(diagnostic().to_string(), "rotation.toml:31:8: \"5x\" is not a duration");
    }

    #[test]
    fn a_diagnostic_without_its_source_line_still_gives_its_position() {
        let mut diagnostic = diagnostic();
        diagnostic.place.source = None;
        assert!(diagnostic.render(false).contains("--> rotation.toml:31:8"));
    }
}
