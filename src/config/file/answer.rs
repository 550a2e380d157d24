//! Reads what a recipe says about a response: what is expected, what is captured, and how further pages are read.

use std::collections::BTreeMap;

use super::reader::{self, Entry, Section, quoted};
use super::report::{Mistake, Report};
use super::template::{self, Scope};
use super::values;
use crate::config::settings::{AnswerPlace, Capture, Expect, ExpectOutput, NextPage, Pages};

/// The most pages that a recipe may read. It should not search a longer list.
const PAGES_MAX: u32 = 100;
const DEFAULT_PAGES_MAX: u32 = 20;
const PLACES: &str =
    "\"/json/pointer\", { pointer, default }, { document }, { header } or { in, where, take }";

/// Reads `expect = { … }` of a request.
pub(super) fn expect(section: &mut Section<'_>, scope: &Scope) -> Expect {
    let Some(mut section) = section.section("expect", "expect".to_owned()) else { return Expect::default() };
    let status = statuses(&mut section);
    let place = section.entry("pointer").and_then(|entry| {
        let capture = capture_of(section.report, &entry, scope)?;
        if capture.default.is_some() {
            let mistake = Mistake::new(entry.span(), "an expected value has no default");
            section.report.add(mistake.hint("leave the default out"));
        }
        Some(capture.place)
    });
    let equals = equals(&mut section, scope);
    let absent = absent(&mut section);
    let that = section.entry("that").and_then(|entry| {
        let text = reader::string(section.report, "that", entry.value)?;
        let with_answer = Scope { has_answer: true, ..scope.clone() };
        template::check(section.report, text, &with_answer);
        Some(text.text.to_owned())
    });
    let refusal = section.string("refusal").map(|text| text.text.to_owned());
    section.finish();
    Expect { status, place, equals, absent, that, refusal }
}

fn absent(section: &mut Section<'_>) -> Vec<String> {
    let Some(entry) = section.entry("absent") else { return Vec::new() };
    pointers(section.report, &entry, "leave it out when no place has to be empty")
}

/// Reads one JSON pointer or a list of them.
pub(super) fn pointers(report: &Report<'_>, entry: &Entry<'_>, hint_when_empty: &str) -> Vec<String> {
    let values = match entry.value.get_ref().as_array() {
        Some(_) => reader::list(report, entry.key, entry.value, hint_when_empty),
        None => Some(std::slice::from_ref(entry.value)),
    };
    let texts =
        values.unwrap_or_default().iter().filter_map(|value| reader::string(report, entry.key, value));
    texts.filter_map(|text| values::pointer(report, text)).collect()
}

fn statuses(section: &mut Section<'_>) -> Vec<u16> {
    let Some(entry) = section.entry("status") else { return Vec::new() };
    let values = match entry.value.get_ref().as_array() {
        Some(_) => reader::list(section.report, "status", entry.value, "leave it out for any 2xx"),
        None => Some(std::slice::from_ref(entry.value)),
    };
    let numbers = values.unwrap_or_default().iter();
    let statuses = numbers.filter_map(|value| reader::number(section.report, "status", value, 100..=599));
    statuses.filter_map(|status| u16::try_from(status).ok()).collect()
}

/// Reads `capture = { … }` of a request.
pub(super) fn capture(section: &mut Section<'_>, scope: &Scope) -> BTreeMap<String, Capture> {
    let mut captures = BTreeMap::new();
    for entry in section.named("capture", "capture") {
        check_name(section.report, &entry);
        if let Some(capture) = capture_of(section.report, &entry, scope) {
            captures.insert(entry.key.to_owned(), capture);
        }
    }
    captures
}

/// Reads `capture = { … }` of a program: each value is a pointer into its output.
pub(super) fn capture_output(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let mut captures = BTreeMap::new();
    for entry in section.named("capture", "capture") {
        check_name(section.report, &entry);
        let text = reader::string(section.report, entry.key, entry.value);
        if let Some(pointer) = text.and_then(|text| values::pointer(section.report, text)) {
            captures.insert(entry.key.to_owned(), pointer);
        }
    }
    captures
}

/// Reads `expect = { … }` of a program.
pub(super) fn expect_output(section: &mut Section<'_>, scope: &Scope) -> ExpectOutput {
    let whole = section.place_of("expect");
    let Some(mut section) = section.section("expect", "expect".to_owned()) else {
        return ExpectOutput::default();
    };
    if let (Some(place), false) = (whole, statuses(&mut section).is_empty()) {
        let mistake = Mistake::new(place, "a command has an exit code, and no HTTP status");
        section.report.add(mistake.hint("exit code 0 means success; leave status out"));
    }
    let pointer = section.string("pointer").and_then(|text| values::pointer(section.report, text));
    let equals = equals(&mut section, scope);
    section.finish();
    ExpectOutput { pointer, equals }
}

fn equals(section: &mut Section<'_>, scope: &Scope) -> Option<String> {
    let equals = section.entry("equals").and_then(|entry| {
        let text = reader::string(section.report, "equals", entry.value)?;
        template::check(section.report, text, scope);
        Some(text.text.to_owned())
    });
    if let (Some(place), None) = (section.place_of("equals"), section.place_of("pointer")) {
        let hint = "pointer = \"/json/pointer\" names the value to compare";
        section.report.add(Mistake::new(place, "equals without a pointer").hint(hint));
    }
    equals
}

fn check_name(report: &Report<'_>, entry: &Entry<'_>) {
    if !values::is_identifier(entry.key) {
        let message = format!("{} is not a valid template variable name", quoted(entry.key));
        let hint = "letters, digits and _, not a digit first: {{ captured.site_id }}";
        report.add(Mistake::new(entry.key_span, message).hint(hint));
    }
}

/// Reads the place of a value in the response: `"/pointer"`, or a table that describes it.
fn capture_of<'a>(report: &'a Report<'a>, entry: &Entry<'a>, scope: &Scope) -> Option<Capture> {
    if !entry.value.get_ref().is_table() {
        let text = reader::string(report, entry.key, entry.value);
        let pointer = text.and_then(|text| values::pointer(report, text))?;
        return Some(Capture { place: AnswerPlace::Pointer(pointer), default: None });
    }
    let mut section = reader::section(report, entry.key, reader::unquoted(entry.key), entry.value)?;
    let default = section.string("default").map(|text| text.text.to_owned());
    let place = place(&mut section, scope);
    section.finish();
    Some(Capture { place: place?, default })
}

fn place(section: &mut Section<'_>, scope: &Scope) -> Option<AnswerPlace> {
    let ways = ["pointer", "document", "header", "in"];
    let said: Vec<Entry<'_>> = ways.into_iter().filter_map(|way| section.entry(way)).collect();
    let [entry] = &said[..] else {
        let mistake = Mistake::new(
            section.span,
            format!("{} does not name exactly one place in the answer", section.title),
        );
        section.report.add(mistake.hint(format!("one of {PLACES}")));
        return None;
    };
    let text = reader::string(section.report, entry.key, entry.value)?;
    if entry.key == "header" {
        if !values::is_header_name(text.text) {
            section.report.add(Mistake::new(text.span, "this is not the name of a header"));
        }
        return Some(AnswerPlace::Header(text.text.to_ascii_lowercase()));
    }
    let pointer = whole_or_pointer(section.report, text)?;
    match entry.key {
        "pointer" => Some(AnswerPlace::Pointer(pointer)),
        "document" => Some(AnswerPlace::Document(pointer)),
        _ => search(section, pointer, scope),
    }
}

/// Reads a JSON pointer, or `""` for the whole document (RFC 6901, section 5).
fn whole_or_pointer(report: &Report<'_>, text: reader::Text<'_>) -> Option<String> {
    if text.text.is_empty() { Some(String::new()) } else { values::pointer(report, text) }
}

fn search(section: &mut Section<'_>, list: String, scope: &Scope) -> Option<AnswerPlace> {
    let take = section.required("take", "the pointer, in the item, to the value to keep");
    let take = take.and_then(|entry| reader::string(section.report, "take", entry.value));
    let take = take.and_then(|text| whole_or_pointer(section.report, text));
    section.required("where", "where = { \"/name\" = \"…\" } selects the item");
    let mut matching = BTreeMap::new();
    for entry in section.named("where", "where") {
        let pointer = values::pointer(section.report, reader::Text { text: entry.key, span: entry.key_span });
        let text = reader::string(section.report, entry.key, entry.value);
        if let (Some(pointer), Some(text)) = (pointer, text) {
            template::check(section.report, text, scope);
            matching.insert(pointer, text.text.to_owned());
        }
    }
    Some(AnswerPlace::Search { list, matching, take: take? })
}

/// Reads `pages = { … }`.
pub(super) fn pages(section: &mut Section<'_>) -> Option<Pages> {
    let entry = section.entry("pages")?;
    let mut section = reader::section(section.report, "pages", "pages".to_owned(), entry.value)?;
    let max = section.number("max", 1..=PAGES_MAX).unwrap_or(DEFAULT_PAGES_MAX);
    let parameter = section.string("parameter");
    let ways = ["next", "header", "token"];
    let said: Vec<Entry<'_>> = ways.into_iter().filter_map(|way| section.entry(way)).collect();
    let next = if let [entry] = &said[..] {
        next_page(section.report, entry, parameter)
    } else {
        let mistake = Mistake::new(section.span, "pages must have exactly one of next, header and token");
        let hint = "one of next = \"/pointer\", header = \"Link\" and token = \"/pointer\"";
        section.report.add(mistake.hint(hint));
        None
    };
    section.finish();
    Some(Pages { next: next?, max })
}

fn next_page(
    report: &Report<'_>,
    entry: &Entry<'_>,
    parameter: Option<reader::Text<'_>>,
) -> Option<NextPage> {
    let text = reader::string(report, entry.key, entry.value)?;
    match (entry.key, parameter) {
        ("header", _) if text.text.eq_ignore_ascii_case("link") => Some(NextPage::LinkHeader),
        ("header", _) => {
            report.add(Mistake::new(
                text.span,
                "header must be Link, the header that names the next page (RFC 8288)",
            ));
            None
        }
        ("next", _) => values::pointer(report, text).map(NextPage::Address),
        (_, Some(parameter)) => {
            let pointer = values::pointer(report, text)?;
            Some(NextPage::Token { pointer, parameter: parameter.text.to_owned() })
        }
        (_, None) => {
            let mistake = Mistake::new(
                text.span,
                "token needs parameter, the name of the query parameter that carries it",
            );
            report.add(mistake.hint("such as parameter = \"page-token\""));
            None
        }
    }
}
