//! Compiles templates when the configuration is read, so that a mistake in one shows then and not at the first
//! rotation.

use std::collections::BTreeSet;
use std::ops::Range;

use minijinja::value::{Rest, Value};
use minijinja::{Environment, ErrorKind, Template, UndefinedBehavior};

use super::reader::{Text, quoted};
use super::report::{Mistake, Report, Span};
use super::values::nearest;

/// The variables that a template may use.
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
/// The variables that hold the new key's secret half.
pub(super) const SECRET_VARIABLES: [&str; 3] = ["secret_access_key", "credentials_file", "credentials_json"];
/// The filters that messages recommend: keyround's own, and `tojson`, which is part of the template language.
const FILTERS: [&str; 6] =
    ["tojson", "urlencode", "b64encode", "b64decode", "sealed_box", "ses_smtp_password"];
/// The limit of steps for rendering a template; no honest template of a request needs more.
const FUEL: u64 = 20_000;
/// The functions of the template language.
const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];

/// The variables that exist when a template is rendered.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// The names of the values that earlier steps of the delivery capture.
    pub(super) captured: BTreeSet<String>,
    /// Whether the new key's secret half exists: it does for deliveries, and does not for requests that verify
    /// or probe.
    pub(super) has_secret: bool,
    /// The parameters of the preset that the template belongs to; `None`: it belongs to no preset.
    pub(super) params: Option<BTreeSet<String>>,
    /// The names of the secrets that the step itself refers to.
    pub(super) secrets: BTreeSet<String>,
    /// Whether the response exists, to be judged as `answer`.
    pub(super) has_answer: bool,
    /// Whether the fingerprint of a signing key exists, as `public_key_sha256`.
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

/// Compiles a template, and reports the variables and filters that do not exist.
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
                report.add(
                    Mistake::new(place, message).hint(format!("the filters are {}", FILTERS.join(", "))),
                );
            }
        }
        Err(error) => {
            let detail = error.detail().unwrap_or("it cannot be read").to_owned();
            let place = place_in(report, text, error.range());
            report.add(Mistake::new(place, format!("bad template: {detail}")));
        }
    }
}

/// A template engine that knows keyround's filters by name. They return an empty text here.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL));
    for name in FILTERS {
        environment.add_filter(name, |_: Value, _: Rest<Value>| "");
    }
    environment
}

/// An unknown filter or test in the template. The engine reports these only while it renders, so the template is
/// rendered without values; other errors of that run are ignored.
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
    let message = format!("unknown template variable {}", quoted(first));
    let hint = match nearest(first, VARIABLES.into_iter()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("the variables are {}", VARIABLES.join(", ")),
    };
    Some(Mistake::new(span, message).hint(hint))
}

fn unknown_param(span: Span, name: &str, scope: &Scope) -> Option<Mistake> {
    let Some(params) = &scope.params else {
        let mistake = Mistake::new(span, format!("there are no params here, so no {}", quoted(name)));
        return Some(mistake.hint("only the steps of a preset have params: write the value itself"));
    };
    if params.contains(name) {
        return None;
    }
    let mistake = Mistake::new(span, format!("the preset has no parameter {}", quoted(name)));
    Some(match nearest(name, params.iter().map(String::as_str)) {
        Some(meant) => mistake.hint(format!("did you mean params.{meant}?")),
        None => mistake.hint(format!("declare it as [parameters.{name}]")),
    })
}

/// Splits a template at its first expression, block or comment: the text before it, the expression with its marks,
/// and the text after it. An expression that is not closed is returned empty, and the text after it too.
pub(super) fn next_expression(template: &str) -> Option<(&str, &str, &str)> {
    let marks = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")];
    let begun = marks.into_iter().filter_map(|(open, close)| Some((template.find(open)?, close)));
    let (start, close) = begun.min()?;
    let (before, rest) = template.split_at(start);
    // A closing mark within a string of the expression does not end the expression.
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

/// The expressions, blocks and comments of a template, each with its marks. One that is not closed is returned
/// empty.
pub(super) fn expressions(template: &str) -> impl Iterator<Item = &str> {
    let mut rest = template;
    std::iter::from_fn(move || {
        let (_, expression, after) = next_expression(rest)?;
        rest = after;
        Some(expression)
    })
}

/// Replaces each expression of a template by the result of `instead`, which gets the length of the expression in
/// bytes.
pub(super) fn with_expressions_replaced(template: &str, instead: impl Fn(usize) -> String) -> String {
    let (mut replaced, mut rest) = (String::new(), template);
    while let Some((before, _, after)) = next_expression(rest) {
        replaced.push_str(before);
        replaced.push_str(&instead(rest.len() - before.len() - after.len()));
        rest = after;
    }
    replaced + rest
}

/// The variables that an expression, given with its marks, uses, such as `params.region`. `None`: it is a block, or
/// it cannot be parsed.
pub(super) fn names_in(expression: &str) -> Option<BTreeSet<String>> {
    if !expression.starts_with("{{") {
        return None;
    }
    let environment = environment();
    let template = environment.template_from_str(expression).ok()?;
    Some(template.undeclared_variables(true).into_iter().collect())
}

/// The range in the file if the string was written without escapes, and otherwise the place of the whole value.
fn place_in(report: &Report<'_>, text: Text<'_>, range: Option<Range<usize>>) -> Span {
    let start = report.raw(text.span).find(text.text).filter(|_| !text.text.is_empty());
    let (Some(start), Some(range)) = (start, range) else { return text.span };
    let place =
        Span { start: text.span.start + start + range.start, end: text.span.start + start + range.end };
    if place.end <= text.span.end { place } else { text.span }
}

/// Lets reports show the expressions of a template, which consist of keyround's own words. The text around them may
/// be anything, so it stays masked.
fn clear_expressions(report: &Report<'_>, span: Span) {
    let raw = report.raw(span);
    for (start, _) in raw.match_indices("{{").chain(raw.match_indices("{%")) {
        let length = raw[start..].find(['}', '\n']).map_or(0, |length| (length + 2).min(raw.len() - start));
        let (start, end) = (span.start + start, span.start + start + length);
        report.clear(Span { start, end });
    }
}
