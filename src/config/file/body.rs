//! `body`, `json` or `form`: what a request carries, at most one of them.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

use super::reader::{self, Entry, Section};
use super::report::{Mistake, Report, Span};
use super::template::{self, Scope};
use crate::config::settings::Body;

/// A body, and where it is said.
pub(super) struct Said {
    pub(super) place: Option<Span>,
    pub(super) value: Option<Body>,
}

pub(super) fn read(step: &mut Section<'_>, scope: &Scope) -> Said {
    let ways = ["body", "json", "form"];
    let mut said: Vec<Entry<'_>> = ways.into_iter().filter_map(|way| step.entry(way)).collect();
    said.sort_by_key(|entry| entry.key_span.start);
    for more in said.iter().skip(1) {
        let mistake = Mistake::new(more.key_span, format!("{} does not go with {}", more.key, said[0].key));
        step.report.add(mistake.hint("a request has one of body, json and form"));
    }
    let bodies: Vec<_> = said.iter().map(|entry| body(step, entry, scope)).collect();
    Said { place: said.first().map(|entry| entry.key_span), value: bodies.into_iter().next().flatten() }
}

fn body(step: &mut Section<'_>, entry: &Entry<'_>, scope: &Scope) -> Option<Body> {
    match entry.key {
        "json" => json(step.report, entry.value, scope).map(Body::Json),
        "form" => Some(Body::Form(form(step, scope))),
        _ => template_of(step.report, entry.key, entry.value, scope).map(Body::Text),
    }
}

fn form(step: &mut Section<'_>, scope: &Scope) -> BTreeMap<String, String> {
    let fields = step.named("form", "form").into_iter();
    fields
        .filter_map(|entry| {
            let value = template_of(step.report, entry.key, entry.value, scope)?;
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

/// The document as it will be sent. Depth is bounded by the TOML parser.
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
