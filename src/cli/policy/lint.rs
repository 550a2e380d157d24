//! `policy lint`: reads policy files and reports findings, each with its line and column.

use std::io::Read;
use std::path::Path;

use serde::Serialize;

use crate::cli::Screen;
use crate::cli::args::{self, Holder, Output};
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::findings::sarif;
use crate::cli::layout::{Row, table};
use crate::review::policy::document::{self, TEXT_BYTES_MAX};
use crate::review::policy::lint::{self, Found, Purpose};
use crate::review::policy::{Place, Severity, actions};

#[derive(Serialize)]
struct LintView {
    files: Vec<FileView>,
    findings: Vec<FindingView>,
}

#[derive(Serialize)]
struct FileView {
    file: String,
    statements: usize,
    /// Services and actions that the action table lacks. They are judged by their names, or not at all.
    unknown: Vec<String>,
}

#[derive(Serialize)]
struct FindingView {
    code: &'static str,
    severity: &'static str,
    file: String,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
    title: &'static str,
    sentence: String,
    items: Vec<String>,
    why: &'static str,
    fix: &'static str,
    references: Vec<String>,
    #[serde(skip)]
    found: Found,
}

pub(super) fn lint(asked: &args::Lint, screen: &Screen) -> Ended {
    let purpose = match asked.holder {
        Holder::ThirdParty => Purpose::ThirdParty,
        Holder::Rotator => Purpose::Rotator,
    };
    let mut view = LintView { files: Vec::new(), findings: Vec::new() };
    let stdin = [Path::new("-").to_owned()];
    let files = if asked.files.is_empty() { &stdin[..] } else { &asked.files };
    for path in files {
        let text = read(path)?;
        view.take(&path.display().to_string(), &text, purpose);
    }
    let worst = view.findings.iter().map(|finding| finding.found.rule.severity).max();
    show(&view, screen)?;
    let unreadable = view.findings.iter().any(|finding| finding.code == lint::UNREADABLE.code);
    Ok(match asked.fail_on {
        Some(level) if worst.is_some_and(|worst| worst >= level) => Code::WorkIsDue,
        _ if unreadable => Code::Failed,
        _ => Code::Fine,
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Code::Usage, format!("the policy {} cannot be read: {error}", path.display()))
    };
    let bound = TEXT_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    match path.to_str() {
        Some("-") => std::io::stdin().lock().take(bound).read_to_end(&mut bytes).map_err(failed)?,
        _ => {
            std::fs::File::open(path).map_err(failed)?.take(bound).read_to_end(&mut bytes).map_err(failed)?
        }
    };
    // Bytes that are not UTF-8 are not JSON either: the parser reports where they begin.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl LintView {
    fn take(&mut self, file: &str, text: &str, purpose: Purpose) {
        let (mut statements, mut unknown) = (0, Vec::new());
        for part in document::parts(text) {
            let mut found = lint::unreadable(&part.mistakes);
            if let Some(document) = &part.document {
                found.extend(lint::sizes(document, part.characters));
                found.extend(lint::lint(document, purpose));
                statements += document.statements.len();
                unknown.extend(actions::unknown(document));
            }
            for one in &mut found {
                if !part.path.is_empty() {
                    one.sentence = format!("in {}: {}", part.path, one.sentence);
                }
            }
            self.findings.extend(found.into_iter().map(|found| FindingView::new(file, text, found)));
        }
        unknown.sort_unstable();
        unknown.dedup();
        self.files.push(FileView { file: file.to_owned(), statements, unknown });
    }
}

impl FindingView {
    fn new(file: &str, text: &str, found: Found) -> FindingView {
        let (start, end) = (Place::of(text, found.span.start), Place::of(text, found.span.end));
        FindingView {
            code: found.rule.code,
            severity: found.rule.severity.as_str(),
            file: file.to_owned(),
            line: start.line,
            column: start.column,
            end_line: end.line,
            end_column: end.column,
            title: found.rule.title,
            sentence: found.sentence.clone(),
            items: found.items.clone(),
            why: found.rule.why,
            fix: found.rule.fix,
            references: found.rule.references.iter().map(ToString::to_string).collect(),
            found,
        }
    }

    fn result(&self) -> sarif::Result {
        let at = |line, column| Place { line, column };
        let file = match self.file.as_str() {
            "-" => "stdin".to_owned(),
            file => sarif::in_repository(Path::new(file)),
        };
        let place = (file, at(self.line, self.column), at(self.end_line, self.end_column));
        sarif::Result {
            rule: self.found.rule,
            sentence: format!("{}: {}", self.title, self.sentence),
            place,
            subject: None,
            fingerprint: None,
            waived: None,
        }
    }
}

fn show(view: &LintView, screen: &Screen) -> Result<(), Failure> {
    match screen.output {
        Output::Json => screen.show_json(view),
        Output::Sarif => {
            let results: Vec<sarif::Result> = view.findings.iter().map(FindingView::result).collect();
            screen.show_json(&sarif::log(&results));
        }
        Output::Table => screen.show(&as_table(view, screen)),
        Output::Csv | Output::Asff | Output::Ocsf => {
            let message =
                "policy lint writes --format table, json or sarif; csv, asff and ocsf are for accounts";
            return Err(Failure::new(Code::Usage, message));
        }
    }
    Ok(())
}

fn as_table(view: &LintView, screen: &Screen) -> String {
    let row = |finding: &FindingView| Row {
        cells: vec![
            format!("{}:{}:{}", finding.file, finding.line, finding.column),
            finding.severity.to_owned(),
            finding.code.to_owned(),
        ],
        sentence: format!("{}: {}. To do: {}", finding.title, finding.sentence, finding.fix),
    };
    let mut lines = Vec::new();
    if !view.findings.is_empty() {
        let rows = view.findings.iter().map(row).collect();
        lines.push(table(&["PLACE", "SEVERITY", "CODE", "WHAT"], rows, screen.columns));
    }
    for file in view.files.iter().filter(|file| !file.unknown.is_empty()) {
        let names = file.unknown.join(", ");
        lines.push(format!(
            "{}: {names}: not in the list of known services, so their actions are judged by name",
            file.file
        ));
    }
    let (files, findings) = (view.files.len(), view.findings.len());
    let bad = view.findings.iter().filter(|finding| finding.found.rule.severity >= Severity::High).count();
    lines.push(format!("policies: {files}, findings: {findings}, high or critical: {bad}"));
    lines.join("\n")
}
