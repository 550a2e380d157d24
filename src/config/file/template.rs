//! Templates are compiled when the configuration is read: a mistake in one must not wait for the
//! night of the first rotation.

use std::collections::BTreeSet;
use std::ops::Range;

use minijinja::value::{Rest, Value};
use minijinja::{Environment, ErrorKind, Template, UndefinedBehavior};

use super::reader::{Text, quoted};
use super::report::{Mistake, Report, Span};
use super::values::nearest;

/// What a template may speak of.
const VARIABLES: [&str; 13] = [
    "access_key_id",
    "secret_access_key",
    "credentials_file",
    "credentials_json",
    "old_access_key_id",
    "vendor",
    "account_id",
    "iam_user",
    "rotation_id",
    "updated_since",
    "params",
    "captured",
    "secrets",
];
/// These hold the new key's secret half.
pub(super) const SECRET_VARIABLES: [&str; 3] = ["secret_access_key", "credentials_file", "credentials_json"];
/// What we bring; `tojson` is the template language's own.
const FILTERS: [&str; 6] =
    ["tojson", "urlencode", "b64encode", "b64decode", "sealed_box", "ses_smtp_password"];
/// No honest template of a request takes more steps.
const FUEL: u64 = 20_000;
/// What the template language itself brings.
const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];

/// What is there to speak of when a template is rendered.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// The values that earlier steps of the delivery have kept.
    pub(super) captured: BTreeSet<String>,
    /// The new key's secret half: a vendor is given it once, and asked without it.
    pub(super) has_secret: bool,
    /// The parameters of the preset that it stands in; `None`: it stands in no preset.
    pub(super) params: Option<BTreeSet<String>>,
    /// The names under which the step refers to secrets of its own.
    pub(super) secrets: BTreeSet<String>,
    /// The answer is there, to be judged.
    pub(super) has_answer: bool,
    /// The fingerprint of a signing key is there.
    pub(super) has_fingerprint: bool,
}

impl Scope {
    fn knows(&self, name: &str) -> bool {
        VARIABLES.contains(&name)
            || FUNCTIONS.contains(&name)
            || (name == "answer" && self.has_answer)
            || (name == "public_key_sha256" && self.has_fingerprint)
    }
}

/// Compiles a template and looks at what it speaks of.
pub(super) fn check(report: &Report<'_>, text: Text<'_>, scope: &Scope) {
    clear_expressions(report, text.span);
    let environment = environment();
    match environment.template_from_str(text.text) {
        Ok(template) => {
            let mut names: Vec<String> = template.undeclared_variables(true).into_iter().collect();
            names.sort();
            let wrong = names.iter().filter_map(|name| unknown_variable(text.span, name, scope));
            wrong.for_each(|mistake| report.add(mistake));
            if let Some((message, range)) = unknown_filter(&template) {
                let place = place_in(report, text, range);
                report.add(Mistake::new(place, message).hint(format!("ours are {}", FILTERS.join(", "))));
            }
        }
        Err(error) => {
            let detail = error.detail().unwrap_or("it cannot be read").to_owned();
            let place = place_in(report, text, error.range());
            report.add(Mistake::new(place, format!("bad template: {detail}")));
        }
    }
}

/// An engine that knows our filters by name, and what they do not at all.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL));
    for name in FILTERS {
        environment.add_filter(name, |_: Value, _: Rest<Value>| "");
    }
    environment
}

/// A filter or a test that nobody knows. The engine only finds it on the way, so it is sent there
/// with nothing in its hands, and whatever else it stumbles over is not looked at.
fn unknown_filter(template: &Template<'_, '_>) -> Option<(String, Option<Range<usize>>)> {
    let error = template.render(Value::UNDEFINED).err()?;
    let is_unknown = matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest);
    is_unknown
        .then(|| (format!("bad template: {}", error.detail().unwrap_or("unknown filter")), error.range()))
}

fn unknown_variable(span: Span, name: &str, scope: &Scope) -> Option<Mistake> {
    let mut path = name.split('.');
    let (first, second) = (path.next()?, path.next());
    if first == "captured" {
        let kept = second.filter(|name| !scope.captured.contains(*name))?;
        let message = format!("no earlier step captures {}", quoted(kept));
        let hint = match nearest(kept, scope.captured.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean captured.{meant}?"),
            None => format!("an earlier step says capture = {{ {kept} = \"/json/pointer\" }}"),
        };
        return Some(Mistake::new(span, message).hint(hint));
    }
    if first == "secrets" {
        let wanted = second.filter(|name| !scope.secrets.contains(*name))?;
        let message = format!("this step has no secret {}", quoted(wanted));
        let hint = match nearest(wanted, scope.secrets.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean secrets.{meant}?"),
            None => format!("the step refers to it: secrets = {{ {wanted} = \"credential:acme-{wanted}\" }}"),
        };
        return Some(Mistake::new(span, message).hint(hint));
    }
    if first == "params" {
        return second.and_then(|name| unknown_param(span, name, scope));
    }
    if SECRET_VARIABLES.contains(&first) && !scope.has_secret {
        let mistake = Mistake::new(span, format!("there is no {first} when the vendor is asked"));
        return Some(
            mistake.hint("ask for the access_key_id: the secret is erased as soon as the vendor has it"),
        );
    }
    if scope.knows(first) {
        return None;
    }
    let message = format!("a template knows no {}", quoted(first));
    let hint = match nearest(first, VARIABLES.into_iter()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("it knows {}", VARIABLES.join(", ")),
    };
    Some(Mistake::new(span, message).hint(hint))
}

fn unknown_param(span: Span, name: &str, scope: &Scope) -> Option<Mistake> {
    let Some(params) = &scope.params else {
        let mistake = Mistake::new(span, format!("there are no params here, so no {}", quoted(name)));
        return Some(mistake.hint("params are what a preset is given: write the value itself"));
    };
    if params.contains(name) {
        return None;
    }
    let mistake = Mistake::new(span, format!("the preset has no parameter {}", quoted(name)));
    Some(match nearest(name, params.iter().map(String::as_str)) {
        Some(meant) => mistake.hint(format!("did you mean params.{meant}?")),
        None => mistake.hint(format!("[parameters.{name}] would make it one")),
    })
}

/// Splits a template at its first expression, block or comment: what stands before it, itself with its marks, and what
/// stands behind it. One that is not closed is empty, and nothing stands behind it.
pub(super) fn next_expression(template: &str) -> Option<(&str, &str, &str)> {
    let marks = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")];
    let begun = marks.into_iter().filter_map(|(open, close)| Some((template.find(open)?, close)));
    let (start, close) = begun.min()?;
    let (before, rest) = template.split_at(start);
    // A mark in a string of the expression does not end it.
    let mut quote = None;
    for (at, letter) in rest.char_indices() {
        match quote {
            Some(open) if letter == open => quote = None,
            None if "\"'".contains(letter) && close != "#}" => quote = Some(letter),
            None if at >= 2 && rest[at..].starts_with(close) => {
                let (expression, after) = rest.split_at(at + close.len());
                return Some((before, expression, after));
            }
            Some(_) | None => {}
        }
    }
    Some((before, "", ""))
}

/// The expressions, blocks and comments of a template, each with its marks; one that is not closed is empty.
pub(super) fn expressions(template: &str) -> impl Iterator<Item = &str> {
    let mut rest = template;
    std::iter::from_fn(move || {
        let (_, expression, after) = next_expression(rest)?;
        rest = after;
        Some(expression)
    })
}

/// The template in which `instead` takes the place of each expression; it is called with the length of that expression
/// in bytes.
pub(super) fn with_expressions_replaced(template: &str, instead: impl Fn(usize) -> String) -> String {
    let (mut replaced, mut rest) = (String::new(), template);
    while let Some((before, _, after)) = next_expression(rest) {
        replaced.push_str(before);
        replaced.push_str(&instead(rest.len() - before.len() - after.len()));
        rest = after;
    }
    replaced + rest
}

/// The names that an expression, given with its marks, speaks of, such as `params.region`. `None` where it is a block
/// or cannot be read.
pub(super) fn names_in(expression: &str) -> Option<BTreeSet<String>> {
    if !expression.starts_with("{{") {
        return None;
    }
    let environment = environment();
    let template = environment.template_from_str(expression).ok()?;
    Some(template.undeclared_variables(true).into_iter().collect())
}

/// The range in the file, when the string was written without escapes; else the whole value.
fn place_in(report: &Report<'_>, text: Text<'_>, range: Option<Range<usize>>) -> Span {
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
