//! Templates are compiled when the configuration is read: a mistake in one must not wait for the
//! night of the first rotation.

use std::collections::BTreeSet;

use minijinja::Environment;

use super::reader::{Text, quoted};
use super::report::{Mistake, Report, Span};
use super::values::nearest;

/// What a template may speak of.
const VARIABLES: [&str; 9] = [
    "access_key_id",
    "secret_access_key",
    "old_access_key_id",
    "vendor",
    "account_id",
    "iam_user",
    "rotation_id",
    "params",
    "captured",
];
/// What the template language itself brings.
const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];

/// Compiles a template; `captured` are the values that earlier steps keep.
pub(super) fn check(report: &Report<'_>, text: Text<'_>, captured: &BTreeSet<String>) {
    clear_expressions(report, text.span);
    let environment = Environment::new();
    match environment.template_from_str(text.text) {
        Ok(template) => {
            let mut names: Vec<String> = template.undeclared_variables(true).into_iter().collect();
            names.sort();
            let wrong = names.iter().filter_map(|name| unknown_variable(text.span, name, captured));
            wrong.for_each(|mistake| report.add(mistake));
        }
        Err(error) => {
            let detail = error.detail().unwrap_or("it cannot be read").to_owned();
            let place = place_in(report, text, error.range());
            report.add(Mistake::new(place, format!("bad template: {detail}")));
        }
    }
}

fn unknown_variable(span: Span, name: &str, captured: &BTreeSet<String>) -> Option<Mistake> {
    let mut path = name.split('.');
    let (first, second) = (path.next()?, path.next());
    if first == "captured" {
        let kept = second.filter(|name| !captured.contains(*name))?;
        let message = format!("no earlier step captures {}", quoted(kept));
        let hint = match nearest(kept, captured.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean captured.{meant}?"),
            None => format!("an earlier step says capture = {{ {kept} = \"/json/pointer\" }}"),
        };
        return Some(Mistake::new(span, message).hint(hint));
    }
    if VARIABLES.contains(&first) || FUNCTIONS.contains(&first) {
        return None;
    }
    let message = format!("a template knows no {}", quoted(first));
    let hint = match nearest(first, VARIABLES.into_iter()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("it knows {}", VARIABLES.join(", ")),
    };
    Some(Mistake::new(span, message).hint(hint))
}

/// The range in the file, when the string was written without escapes; else the whole value.
fn place_in(report: &Report<'_>, text: Text<'_>, range: Option<std::ops::Range<usize>>) -> Span {
    let start = report.raw(text.span).find(text.text).filter(|_| !text.text.is_empty());
    let (Some(start), Some(range)) = (start, range) else { return text.span };
    let place =
        Span { start: text.span.start + start + range.start, end: text.span.start + start + range.end };
    if place.end <= text.span.end { place } else { text.span }
}

/// Expressions are ours and may be shown; the text around them is the vendor's and may be anything.
fn clear_expressions(report: &Report<'_>, span: Span) {
    let raw = report.raw(span);
    for (start, _) in raw.match_indices("{{").chain(raw.match_indices("{%")) {
        let length = raw[start..].find(['}', '\n']).map_or(0, |length| (length + 2).min(raw.len() - start));
        let (start, end) = (span.start + start, span.start + start + length);
        report.clear(Span { start, end });
    }
}
