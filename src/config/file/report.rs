//! Collects the mistakes of a file, and decides which parts of the file they may show.
//!
//! A user may have pasted a secret at many places of a configuration: under a misspelled key, in a section that this
//! version does not know, after a missing quote. So a report shows only the blanks and punctuation of a line, and the
//! words of keyround's own vocabulary. The function that reads a value and knows that it is no secret clears its span,
//! so that it is shown as well.
//!
//! **Invariant:** a value that was refused as a literal secret is not in any [`Diagnostic`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::config::SecretRef;
use crate::config::diagnostic::{Diagnostic, Diagnostics, Elsewhere, Place};

/// The most mistakes that are reported: a file full of mistakes must not fill the disk that holds the log.
const MISTAKES_SHOWN_MAX: usize = 200;
/// The last column for which the line and a caret are shown; further right, only the place is named.
const COLUMN_SHOWN_MAX: usize = 2000;
/// The number of bytes of a line that are shown after the start of its caret.
const BEHIND_CARET_MAX: usize = 200;
/// Characters that are shown even of a secret, so that its start and end can be seen.
const BLANKS_AND_QUOTES: &str = " \t\"'";
/// Characters that are shown unless they are part of a hidden span, so that a line keeps its shape.
const PUNCTUATION: &str = "[]{}=,.#";

/// A range of bytes of the file.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Span {
        Span { start: range.start, end: range.end }
    }
}

impl Span {
    fn contains(self, offset: usize) -> bool {
        (self.start..self.end).contains(&offset)
    }
}

/// A range of bytes in one of the files of a configuration.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct At {
    /// The number of the file's [`Report`].
    file: usize,
    span: Span,
}

/// A mistake, before its line is masked for display.
#[derive(Debug)]
pub(super) struct Mistake {
    /// The number of its file; `None`: the file of the report that it is added to.
    file: Option<usize>,
    span: Span,
    message: String,
    hint: Option<String>,
    /// A second place: the number of its file (`None`: that of the mistake), the span, and a label.
    elsewhere: Option<(Option<usize>, Span, String)>,
    syntax: bool,
}

impl Mistake {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Mistake {
        Mistake { file: None, span, message: message.into(), hint: None, elsewhere: None, syntax: false }
    }

    /// A mistake that may be in another file than the one that is being read.
    pub(super) fn at(at: At, message: impl Into<String>) -> Mistake {
        Mistake { file: Some(at.file), ..Mistake::new(at.span, message) }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Mistake {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn elsewhere(mut self, span: Span, label: impl Into<String>) -> Mistake {
        self.elsewhere = Some((self.file, span, label.into()));
        self
    }

    pub(super) fn elsewhere_at(mut self, at: At, label: impl Into<String>) -> Mistake {
        self.elsewhere = Some((Some(at.file), at.span, label.into()));
        self
    }

    pub(super) fn syntax(mut self) -> Mistake {
        self.syntax = true;
        self
    }
}

/// Collects the mistakes of one file.
pub(super) struct Report<'a> {
    /// The number of the file among those of the configuration: 0 for the one that includes the others.
    number: usize,
    /// The path of the file, as the user gave it.
    path: Arc<str>,
    text: &'a str,
    line_starts: Vec<usize>,
    mistakes: RefCell<Vec<Mistake>>,
    /// The span of each mistake in this file, as start and end.
    wrong: RefCell<BTreeSet<(usize, usize)>>,
    clear: RefCell<Vec<Span>>,
    hidden: RefCell<Vec<Span>>,
    warnings: RefCell<Vec<String>>,
    /// For a preset: the references that were given for its secret parameters.
    secret_params: BTreeMap<String, SecretRef>,
}

impl<'a> Report<'a> {
    pub(super) fn new(path: &str, text: &'a str) -> Report<'a> {
        Report::numbered(0, path, text)
    }

    /// A report for an included file. `number` counts these files from 1.
    pub(super) fn numbered(number: usize, path: &str, text: &'a str) -> Report<'a> {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let (mistakes, clear, hidden) = (RefCell::default(), RefCell::default(), RefCell::default());
        let (warnings, wrong, secret_params) = (RefCell::default(), RefCell::default(), BTreeMap::new());
        let path = path.into();
        Report { number, path, text, line_starts, mistakes, wrong, clear, hidden, warnings, secret_params }
    }

    /// A report for a preset with these references for its secret parameters. A preset holds no secrets, so all of it
    /// may be shown.
    pub(super) fn of_preset(
        path: &str,
        text: &'a str,
        secret_params: BTreeMap<String, SecretRef>,
    ) -> Report<'a> {
        let report = Report { secret_params, ..Report::new(path, text) };
        report.clear(Span { start: 0, end: text.len() });
        report
    }

    /// The reference that was given for the secret parameter `params.NAME`.
    pub(super) fn secret_param(&self, text: &str) -> Option<SecretRef> {
        self.secret_params.get(text.strip_prefix("params.")?).cloned()
    }

    pub(super) fn add(&self, mistake: Mistake) {
        if mistake.file.is_none_or(|file| file == self.number) {
            self.wrong.borrow_mut().insert((mistake.span.start, mistake.span.end));
        }
        self.mistakes.borrow_mut().push(mistake);
    }

    /// Whether a mistake was already reported for exactly this span.
    pub(super) fn has_mistake_at(&self, span: Span) -> bool {
        self.wrong.borrow().contains(&(span.start, span.end))
    }

    /// The span together with its file, for a mistake that is reported on another file.
    pub(super) fn at(&self, span: Span) -> At {
        At { file: self.number, span }
    }

    /// The path of the file, as the user gave it.
    pub(super) fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// Adds a warning about something that is allowed but may not be intended: a sentence without secrets.
    pub(super) fn warn(&self, sentence: String) {
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.contains(&sentence) {
            warnings.push(sentence);
        }
    }

    /// Takes the warnings that were added since the last call.
    pub(super) fn take_warnings(&self) -> Vec<String> {
        self.warnings.take()
    }

    /// Marks bytes that hold no secret, so that they may be shown.
    pub(super) fn clear(&self, span: Span) {
        self.clear.borrow_mut().push(span);
    }

    /// Marks bytes that may hold a secret. This takes precedence over [`Report::clear`].
    pub(super) fn hide(&self, span: Span) {
        self.hidden.borrow_mut().push(span);
    }

    /// The text of a span as it is written, with its quotes.
    pub(super) fn raw(&self, span: Span) -> &'a str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// The length of the file in bytes.
    pub(super) fn end(&self) -> usize {
        self.text.len()
    }

    /// The number of the line that the span starts on, from 1.
    pub(super) fn line_of(&self, span: Span) -> usize {
        self.line_starts.partition_point(|start| *start <= span.start)
    }

    /// The number of characters on the line that the span starts on.
    pub(super) fn columns_of(&self, span: Span) -> usize {
        self.raw(self.line(self.line_of(span))).chars().count()
    }

    /// The mistakes of this file; `Ok` if there is none.
    pub(super) fn into_diagnostics(self) -> Result<(), Diagnostics> {
        diagnostics(&[self])
    }

    /// The mistakes sorted by place, without duplicates.
    fn in_order(&self, mut mistakes: Vec<Mistake>) -> Vec<Mistake> {
        self.forget_followers(&mut mistakes);
        mistakes.sort_by(|a, b| (a.span.start, &a.message).cmp(&(b.span.start, &b.message)));
        mistakes.dedup_by(|a, b| a.span == b.span && a.message == b.message);
        mistakes
    }

    /// Removes other mistakes on a line with a syntax error: the parser guessed its values, so they would mislead.
    fn forget_followers(&self, mistakes: &mut Vec<Mistake>) {
        let broken = self.syntax_lines(mistakes);
        mistakes.retain(|mistake| mistake.syntax || !broken.contains(&self.line_of(mistake.span)));
    }

    fn syntax_lines(&self, mistakes: &[Mistake]) -> BTreeSet<usize> {
        let syntax = mistakes.iter().filter(|mistake| mistake.syntax);
        syntax.map(|mistake| self.line_of(mistake.span)).collect()
    }

    fn line(&self, number: usize) -> Span {
        let start = self.line_starts[number - 1];
        let end = self.line_starts.get(number).map_or(self.text.len(), |next| next - 1);
        let end = start + self.text[start..end].trim_end_matches('\r').len();
        Span { start, end }
    }
}

/// The mistakes of all files of a configuration. The reports must be in the order of their numbers. `Ok` if there is
/// no mistake.
pub(super) fn diagnostics(reports: &[Report<'_>]) -> Result<(), Diagnostics> {
    let mut by_file: Vec<Vec<Mistake>> = reports.iter().map(|_| Vec::new()).collect();
    for report in reports {
        for mistake in report.mistakes.take() {
            by_file[mistake.file.unwrap_or(report.number)].push(mistake);
        }
    }
    let by_file = reports.iter().zip(by_file).map(|(report, mistakes)| report.in_order(mistakes));
    let by_file: Vec<Vec<Mistake>> = by_file.collect();
    let all: usize = by_file.iter().map(Vec::len).sum();
    if all == 0 {
        return Ok(());
    }
    let shown: Vec<Shown<'_, '_>> =
        reports.iter().zip(&by_file).map(|(report, mistakes)| Shown::new(report, mistakes)).collect();
    let mistakes = by_file.into_iter().enumerate();
    let mistakes = mistakes.flat_map(|(file, found)| found.into_iter().map(move |mistake| (file, mistake)));
    let mistakes = mistakes.take(MISTAKES_SHOWN_MAX);
    let list: Vec<Diagnostic> = mistakes.map(|(file, mistake)| diagnostic(&shown, file, mistake)).collect();
    let left_out = all - list.len();
    Err(Diagnostics { list, left_out })
}

/// Turns a mistake in the file with this number into a diagnostic, with its line masked.
fn diagnostic(shown: &[Shown<'_, '_>], file: usize, mistake: Mistake) -> Diagnostic {
    let path = |file: usize| Arc::clone(&shown[file].report.path);
    let elsewhere = mistake.elsewhere.map(|(other, span, label)| {
        let other = other.unwrap_or(file);
        Elsewhere { path: path(other), place: shown[other].place(span), label }
    });
    let Mistake { span, message, hint, .. } = mistake;
    Diagnostic { path: path(file), place: shown[file].place(span), message, hint, elsewhere }
}

/// A file with the spans that may and may not be shown.
struct Shown<'r, 'a> {
    report: &'r Report<'a>,
    clear: Vec<Span>,
    hidden: Vec<Span>,
}

impl<'r, 'a> Shown<'r, 'a> {
    fn new(report: &'r Report<'a>, mistakes: &[Mistake]) -> Shown<'r, 'a> {
        let mut clear = report.clear.take();
        // On a line with unbalanced quotes, a value that looks harmless may be a part of a secret.
        let broken = report.syntax_lines(mistakes);
        clear.retain(|span| !broken.contains(&report.line_of(*span)));
        Shown { report, clear, hidden: report.hidden.take() }
    }

    fn place(&self, span: Span) -> Place {
        let number = self.report.line_of(span);
        let line = self.report.line(number);
        let start = span.start.clamp(line.start, line.end);
        let end = span.end.clamp(start, line.end);
        let column = 1 + self.report.raw(Span { start: line.start, end: start }).chars().count();
        if column > COLUMN_SHOWN_MAX {
            return Place { line: number, column, source: None, caret: 0..0 };
        }
        let (source, caret) = self.masked(line, Span { start, end });
        Place { line: number, column, source: Some(source), caret }
    }

    /// The line with each character that may not be shown replaced by `*`, and the range of `caret` in it.
    fn masked(&self, line: Span, caret: Span) -> (String, Range<usize>) {
        let shown = ShownOnLine::new(self, line);
        let mut masked = String::new();
        let (mut from, mut to) = (None, None);
        for (offset, letter) in self.report.raw(line).char_indices() {
            let at = line.start + offset;
            if at > caret.start + BEHIND_CARET_MAX {
                masked.push('\u{2026}');
                break;
            }
            from = from.or((at >= caret.start).then_some(masked.len()));
            to = to.or((at >= caret.end).then_some(masked.len()));
            masked.push(if shown.allows(letter, at) { letter } else { '*' });
        }
        let to = to.unwrap_or(masked.len());
        (masked, from.unwrap_or(to)..to)
    }
}

/// The spans of one line that may and may not be shown.
struct ShownOnLine {
    clear: Vec<Span>,
    hidden: Vec<Span>,
}

impl ShownOnLine {
    fn new(shown: &Shown<'_, '_>, line: Span) -> ShownOnLine {
        let on_line = |span: &&Span| span.start < line.end && span.end > line.start;
        let words = vocabulary_words(shown.report.raw(line));
        let words = words.into_iter().map(|word| (line.start + word.start..line.start + word.end).into());
        let clear = shown.clear.iter().filter(on_line).copied().chain(words).collect();
        ShownOnLine { clear, hidden: shown.hidden.iter().filter(on_line).copied().collect() }
    }

    fn allows(&self, letter: char, at: usize) -> bool {
        let within = |spans: &[Span]| spans.iter().any(|span| span.contains(at));
        BLANKS_AND_QUOTES.contains(letter)
            || (!within(&self.hidden) && (PUNCTUATION.contains(letter) || within(&self.clear)))
    }
}

/// The ranges of the words of [`super::VOCABULARY`] in a line.
fn vocabulary_words(line: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = 0;
    for piece in line.split_inclusive(|letter: char| !is_word(letter)) {
        let word = piece.trim_end_matches(|letter: char| !is_word(letter));
        if super::VOCABULARY.contains(&word) {
            words.push(start..start + word.len());
        }
        start += piece.len();
    }
    words
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, clear: &str, hidden: &str) -> String {
        let report = Report::new("x.toml", text);
        let span = |part: &str| text.find(part).map_or(0..0, |at| at..at + part.len()).into();
        report.clear(span(clear));
        report.hide(span(hidden));
        report.add(Mistake::new((0..text.len()).into(), "wrong"));
        let diagnostics = report.into_diagnostics().expect_err("a mistake");
        diagnostics.list()[0].place.source.clone().expect("a line")
    }

    #[test]
    fn uncleared_text_is_masked_in_a_diagnostic() {
        let line = shown("secret = \"hunter2\" # old: hunter1", "", "");
        assert_eq!(line, "secret = \"*******\" # **** *******");
        assert_eq!(shown("soak = \"5x\"", "5x", ""), "soak = \"5x\"");
        assert_eq!(shown("url = \"a@b\"", "a@b", "a@b"), "url = \"***\"");
        assert_eq!(shown("a = \"my-secret-soak\"", "", ""), "* = \"**************\"");
    }

    #[test]
    fn the_caret_stays_under_its_value_when_letters_are_wider_than_a_byte() {
        let text = "ключ = \"x\", soak = 5";
        let at = text.find('5').expect("a five");
        let report = Report::new("x.toml", text);
        report.add(Mistake::new((at..at + 1).into(), "wrong"));
        let diagnostics = report.into_diagnostics().expect_err("a mistake");
        let place = &diagnostics.list()[0].place;
        assert_eq!((place.line, place.column), (1, 20));
        assert_eq!(place.source.as_deref(), Some("**** = \"*\", soak = *"));
        assert_eq!(place.caret, 19..20);
    }

    #[test]
    fn mistakes_are_sorted_by_line_and_bounded_in_number() {
        let text = "x\n".repeat(500);
        let report = Report::new("x.toml", &text);
        for start in (0..1000).step_by(2).rev() {
            report.add(Mistake::new((start..start + 1).into(), "wrong"));
        }
        let diagnostics = report.into_diagnostics().expect_err("mistakes");
        assert_eq!(diagnostics.list().len(), MISTAKES_SHOWN_MAX);
        assert!(diagnostics.list().is_sorted_by_key(Diagnostic::line));
        assert!(diagnostics.to_string().ends_with("500 mistakes, the last 300 of them not shown"));
    }
}
