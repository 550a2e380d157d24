//! Reads the body of a request: at most one of `body`, `json`, `form`, `json_patch`, `merge_patch`, `graphql` and
//! `edit`.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

use super::answer;
use super::literal;
use super::reader::{self, Entry, Section, Text};
use super::report::{Mistake, Report, Span};
use super::template::{self, Scope};
use super::values;
use crate::config::settings::Body;

/// The body of a request, the place of its key, and what its kind implies.
#[derive(Default)]
pub(super) struct WrittenBody {
    pub(super) place: Option<Span>,
    pub(super) value: Option<Body>,
    /// The content type, if it is not the usual one of the body.
    pub(super) content_type: Option<&'static str>,
    /// A JSON pointer at which the response to such a request must have nothing.
    pub(super) absent: Option<&'static str>,
}

const WAYS: [&str; 7] = ["body", "json", "form", "json_patch", "merge_patch", "graphql", "edit"];

pub(super) fn read(step: &mut Section<'_>, scope: &Scope) -> WrittenBody {
    let mut said: Vec<Entry<'_>> = WAYS.into_iter().filter_map(|way| step.entry(way)).collect();
    said.sort_by_key(|entry| entry.key_span.start);
    for more in said.iter().skip(1) {
        let mistake = Mistake::new(more.key_span, format!("{} does not go with {}", more.key, said[0].key));
        step.report.add(mistake.hint(format!("a request has one of {}", WAYS.join(", "))));
    }
    let bodies: Vec<_> = said.iter().map(|entry| body(step, entry, scope)).collect();
    let Some(first) = said.first() else { return WrittenBody::default() };
    let (content_type, absent) = match first.key {
        // The content types of RFC 6902 and RFC 7396. GraphQL reports errors in a response with status 200.
        "json_patch" => (Some("application/json-patch+json"), None),
        "merge_patch" => (Some("application/merge-patch+json"), None),
        "graphql" => (None, Some("/errors")),
        _ => (None, None),
    };
    let value = bodies.into_iter().next().flatten();
    WrittenBody { place: Some(first.key_span), value, content_type, absent }
}

fn body(step: &mut Section<'_>, entry: &Entry<'_>, scope: &Scope) -> Option<Body> {
    match entry.key {
        "json" | "merge_patch" => {
            literal::judge_json(step.report, entry.key, entry.value, scope);
            json(step.report, entry.value, scope).map(Body::Json)
        }
        "json_patch" => {
            literal::judge_json(step.report, entry.key, entry.value, scope);
            reader::list(step.report, "json_patch", entry.value, "a JSON patch is a list of changes")?;
            json(step.report, entry.value, scope).map(Body::Json)
        }
        "form" => Some(Body::Form(form(step, scope))),
        "graphql" => graphql(step, scope),
        "edit" => edit(step, scope),
        _ => {
            let text = reader::unseen_string(step.report, entry.key, entry.value)?;
            literal::judge_text(step.report, text, scope);
            template_of(step.report, entry.key, entry.value, scope).map(Body::Text)
        }
    }
}

fn graphql(step: &mut Section<'_>, scope: &Scope) -> Option<Body> {
    let mut section = step.section("graphql", "graphql".to_owned())?;
    // The braces of a GraphQL query do not begin expressions: values that change belong into the variables.
    let query = section.required("query", "the GraphQL text, with $variables");
    let query = query.and_then(|entry| reader::string(section.report, "query", entry.value));
    if let Some(text) = query {
        literal::judge_query(section.report, text, scope);
    }
    let variables = section.entry("variables").and_then(|entry| {
        literal::judge_json(section.report, entry.key, entry.value, scope);
        json(section.report, entry.value, scope)
    });
    section.finish();
    let query = Value::from(query?.text.replace("{{", "{ {").replace("{%", "{ %").replace("{#", "{ #"));
    let variables = variables.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    Some(Body::Json(serde_json::json!({ "query": query, "variables": variables })))
}

fn edit(step: &mut Section<'_>, scope: &Scope) -> Option<Body> {
    let mut section = step.section("edit", "edit".to_owned())?;
    let document = section.required("document", "the name under which an earlier step captures it");
    let document = document.and_then(|entry| reader::string(section.report, "document", entry.value));
    if let Some(text) = document.filter(|text| !scope.captured.contains(text.text)) {
        let message = format!("no earlier step captures {}", reader::quoted(text.text));
        let hint = format!("an earlier step says capture = {{ {} = {{ document = \"\" }} }}", text.text);
        section.report.add(Mistake::new(text.span, message).hint(hint));
    }
    let mut set = BTreeMap::new();
    for entry in section.named("set", "set") {
        let pointer = values::pointer(section.report, Text { text: entry.key, span: entry.key_span });
        let name = entry.key.rsplit('/').next().unwrap_or_default();
        literal::judge_json(section.report, name, entry.value, scope);
        if let (Some(pointer), Some(value)) = (pointer, json(section.report, entry.value, scope)) {
            set.insert(pointer, value);
        }
    }
    let remove = section.entry("remove");
    let remove = remove.map(|entry| answer::pointers(section.report, &entry, "leave it out"));
    section.finish();
    Some(Body::Edit { document: document?.text.to_owned(), set, remove: remove.unwrap_or_default() })
}

fn form(step: &mut Section<'_>, scope: &Scope) -> BTreeMap<String, String> {
    let fields = step.named("form", "form").into_iter();
    fields
        .filter_map(|entry| {
            let value = template_of(step.report, entry.key, entry.value, scope)?;
            let text = Text { text: &value, span: entry.span() };
            literal::judge_field(step.report, entry.key, text, scope, false);
            Some((entry.key.to_owned(), value))
        })
        .collect()
}

pub(super) fn template_of(
    report: &Report<'_>,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    scope: &Scope,
) -> Option<String> {
    let text = reader::unseen_string(report, key, value)?;
    template::check(report, text, scope);
    Some(text.text.to_owned())
}

/// Reads the JSON document to be sent; its strings are templates. The TOML parser bounds its depth.
pub(super) fn json(report: &Report<'_>, value: &Spanned<DeValue<'_>>, scope: &Scope) -> Option<Value> {
    match value.get_ref() {
        DeValue::String(_) => template_of(report, "json", value, scope).map(Value::String),
        DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
            number.map(Value::from).or_else(|| not_json(report, value, "this number is too large"))
        }
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            number.map(Value::Number).or_else(|| not_json(report, value, "JSON has no such number"))
        }
        DeValue::Datetime(_) => not_json(report, value, "JSON has no dates"),
        DeValue::Array(list) => {
            let values: Vec<_> = list.iter().map(|value| json(report, value, scope)).collect();
            values.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
        }
        DeValue::Table(table) => {
            let members = table.iter().map(|(name, value)| {
                report.clear(name.span().into());
                (name.get_ref().as_ref().to_owned(), json(report, value, scope))
            });
            let members: Vec<_> = members.collect();
            members
                .into_iter()
                .map(|(name, value)| Some((name, value?)))
                .collect::<Option<_>>()
                .map(Value::Object)
        }
    }
}

fn not_json(report: &Report<'_>, value: &Spanned<DeValue<'_>>, message: &str) -> Option<Value> {
    report.add(Mistake::new(value.span().into(), message).hint("write it as a string"));
    None
}
