//! Reads one table of the file: the reader asks for each known key once, and reports every key that it did not ask
//! for as unknown.
//!
//! Each method reports its own mistakes and returns `None`, so that reading goes on with the next key. So one run
//! finds all mistakes. That is also why serde does not deserialise the file: it stops at the first.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::{At, Mistake, Report, Span};
use super::values;
use crate::config::SecretRef;
use crate::config::secret_ref::BadSecretRef;

/// A string and its place in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    pub(super) span: Span,
}

/// A key and its value, which is not judged yet.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    /// The report of the file that the entry is in.
    pub(super) report: &'a Report<'a>,
    pub(super) key: &'a str,
    pub(super) key_span: Span,
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

impl Entry<'_> {
    pub(super) fn span(&self) -> Span {
        self.value.span().into()
    }

    /// The place of the value, together with its file, for a mistake that is reported on another file.
    pub(super) fn at(&self) -> At {
        self.report.at(self.span())
    }
}

/// One table of the file, and the keys that were asked for.
pub(super) struct Section<'a> {
    pub(super) report: &'a Report<'a>,
    /// The section's head, such as `[vendor.acme]`, for messages.
    pub(super) title: String,
    /// The place that a message about a missing key points at.
    pub(super) span: Span,
    table: &'a DeTable<'a>,
    asked: BTreeSet<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(
        report: &'a Report<'a>,
        title: String,
        span: Span,
        table: &'a DeTable<'a>,
    ) -> Section<'a> {
        // The head of a section consists of names, so it may be shown. An inline table may hold anything.
        if report.raw(span).starts_with('[') {
            report.clear(span);
        }
        Section { report, title, span, table, asked: BTreeSet::new() }
    }

    /// The value of a key, not judged. Asking makes the key a known one.
    pub(super) fn entry(&mut self, key: &'static str) -> Option<Entry<'a>> {
        let is_word = super::VOCABULARY.contains(&key) || super::PRESET_WORDS.contains(&key);
        debug_assert!(is_word, "{key} is missing from the vocabulary");
        self.asked.insert(key);
        let (name, value) = self.table.get_key_value(key)?;
        Some(Entry { report: self.report, key: name.get_ref(), key_span: name.span().into(), value })
    }

    /// As [`Section::entry`], but a missing key is a mistake.
    pub(super) fn required(&mut self, key: &'static str, hint: &str) -> Option<Entry<'a>> {
        let entry = self.entry(key);
        if entry.is_none() {
            let missing = Mistake::new(self.span, format!("{} has no {key}", self.title));
            self.report.add(missing.hint(hint));
        }
        entry
    }

    /// A string that is not a secret, so that reports may show it.
    pub(super) fn string(&mut self, key: &'static str) -> Option<Text<'a>> {
        let entry = self.entry(key)?;
        string(self.report, key, entry.value)
    }

    /// A string that is not a secret, parsed into a value.
    pub(super) fn parsed<T>(&mut self, key: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.string(key)?;
        parsed(self.report, text)
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let entry = self.entry(key)?;
        clear_scalar(self.report, entry.value);
        let flag = entry.value.get_ref().as_bool();
        if flag.is_none() {
            wrong_type(self.report, key, entry.value, "true or false");
        }
        flag
    }

    /// A whole number within these bounds.
    pub(super) fn number(&mut self, key: &'static str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let entry = self.entry(key)?;
        number(self.report, key, entry.value, bounds)
    }

    /// A duration of `least` or more.
    pub(super) fn duration(&mut self, key: &'static str, least: Duration) -> Option<Duration> {
        let entry = self.entry(key)?;
        if !entry.value.get_ref().is_str() {
            clear_scalar(self.report, entry.value);
            wrong_type(self.report, key, entry.value, "a duration such as \"90d\", \"36h\" or \"30s\"");
            return None;
        }
        let text = string(self.report, key, entry.value)?;
        let span = values::duration(text.text, least);
        span.map_err(|(message, hint)| self.report.add(Mistake::new(text.span, message).hint(hint))).ok()
    }

    /// A reference to a secret.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<SecretRef> {
        let entry = self.entry(key)?;
        secret(self.report, entry.value)
    }

    /// A list of strings that are not secrets. An empty list is a mistake.
    pub(super) fn strings(&mut self, key: &'static str, hint_when_empty: &str) -> Option<Vec<Text<'a>>> {
        let entry = self.entry(key)?;
        let list = list(self.report, key, entry.value, hint_when_empty)?;
        Some(list.iter().filter_map(|value| string(self.report, key, value)).collect())
    }

    /// A table within this one.
    pub(super) fn section(&mut self, key: &'static str, title: String) -> Option<Section<'a>> {
        let entry = self.entry(key)?;
        section(self.report, key, title, entry.value)
    }

    /// The entries of a table whose keys are names that the user chooses.
    pub(super) fn named(&mut self, key: &'static str, title: &str) -> Vec<Entry<'a>> {
        self.section(key, title.to_owned()).map(Section::entries).unwrap_or_default()
    }

    /// All entries of this table, whose keys are names that the user chooses, in the order of the file.
    pub(super) fn entries(self) -> Vec<Entry<'a>> {
        let entries = self.table.iter().map(|(name, value)| Entry {
            report: self.report,
            key: name.get_ref(),
            key_span: name.span().into(),
            value,
        });
        let mut entries: Vec<Entry<'a>> = entries.collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        for entry in &entries {
            self.report.clear(entry.key_span);
        }
        entries
    }

    /// The place of a key, if it is in the table. This does not make the key a known one.
    pub(super) fn place_of(&self, key: &str) -> Option<Span> {
        self.table.get_key_value(key).map(|(name, _)| name.span().into())
    }

    /// Reports the keys that were never asked for.
    pub(super) fn finish(self) {
        for name in self.unasked() {
            self.report.add(self.unknown(name));
        }
    }

    /// The keys that were never asked for.
    pub(super) fn unasked(&self) -> impl Iterator<Item = &'a Spanned<Cow<'a, str>>> {
        self.table.keys().filter(|name| !self.asked.contains(name.get_ref().as_ref()))
    }

    fn unknown(&self, name: &Spanned<Cow<'_, str>>) -> Mistake {
        self.report.clear(name.span().into());
        let message = format!("unknown key {} in {}", quoted(name.get_ref()), self.title);
        let free = self.asked.iter().copied().filter(|key| self.place_of(key).is_none());
        let hint = match values::nearest(name.get_ref(), free) {
            Some(meant) => format!("did you mean {meant}?"),
            None if name.get_ref() == "include" => {
                "include stands at the top of the file, above its first [section]".to_owned()
            }
            None => {
                format!("the keys here are {}", self.asked.iter().copied().collect::<Vec<_>>().join(", "))
            }
        };
        Mistake::new(name.span().into(), message).hint(hint)
    }
}

/// A text of the file, quoted for a message: without control characters, and at most 80 characters long.
pub(super) fn quoted(text: &str) -> String {
    let start: String = text.chars().take(80).collect();
    format!("{start:?}")
}

/// The head of a section with a name that the user chose, such as `[vendor.acme]`.
pub(super) fn title(kind: &str, name: &str) -> String {
    format!("[{kind}.{}]", unquoted(name))
}

/// As [`quoted`], without the quotes, for a text within other marks.
pub(super) fn unquoted(text: &str) -> String {
    quoted(text).trim_matches('"').to_owned()
}

/// A string that is not a secret, so that reports may show it.
pub(super) fn string<'a>(
    report: &Report<'_>,
    key: &str,
    value: &'a Spanned<DeValue<'a>>,
) -> Option<Text<'a>> {
    clear_scalar(report, value);
    unseen_string(report, key, value)
}

/// A string that reports do not show, unless the caller clears it.
pub(super) fn unseen_string<'a>(
    report: &Report<'_>,
    key: &str,
    value: &'a Spanned<DeValue<'a>>,
) -> Option<Text<'a>> {
    let Some(text) = value.get_ref().as_str() else {
        wrong_type(report, key, value, "a string");
        return None;
    };
    Some(Text { text, span: value.span().into() })
}

pub(super) fn parsed<T>(report: &Report<'_>, text: Text<'_>) -> Option<T>
where
    T: FromStr,
    T::Err: Display,
{
    text.text.parse().map_err(|error: T::Err| report.add(Mistake::new(text.span, error.to_string()))).ok()
}

pub(super) fn number(
    report: &Report<'_>,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    bounds: RangeInclusive<u32>,
) -> Option<u32> {
    clear_scalar(report, value);
    let Some(written) = value.get_ref().as_integer() else {
        wrong_type(report, key, value, "a whole number");
        return None;
    };
    let number = i64::from_str_radix(written.as_str(), written.radix()).ok();
    let number =
        number.and_then(|number| u32::try_from(number).ok()).filter(|number| bounds.contains(number));
    if number.is_none() {
        let message = format!("{key} must be {} to {}", bounds.start(), bounds.end());
        report.add(Mistake::new(value.span().into(), message));
    }
    number
}

/// A reference to a secret. A value that is no reference is hidden from reports, because it may be the secret
/// itself.
pub(super) fn secret(report: &Report<'_>, value: &Spanned<DeValue<'_>>) -> Option<SecretRef> {
    let span = value.span().into();
    if let Some(given) = value.get_ref().as_str().and_then(|text| report.secret_param(text)) {
        report.clear(span);
        return Some(given);
    }
    let reference = value.get_ref().as_str().ok_or(BadSecretRef::Literal).and_then(SecretRef::from_str);
    match &reference {
        Ok(_) => report.clear(span),
        Err(bad) => {
            report.hide(span);
            let hint = match bad {
                BadSecretRef::Literal => "put the secret in one of those places, and its name here",
                BadSecretRef::Relative => "write file:/full/path",
                BadSecretRef::Incomplete => "file: wants an absolute path, credential: a plain file name",
            };
            report.add(Mistake::new(span, bad.to_string()).hint(hint));
        }
    }
    reference.ok()
}

/// A list with at least one item.
pub(super) fn list<'a>(
    report: &Report<'_>,
    key: &str,
    value: &'a Spanned<DeValue<'a>>,
    hint_when_empty: &str,
) -> Option<&'a [Spanned<DeValue<'a>>]> {
    let Some(list) = value.get_ref().as_array() else {
        clear_scalar(report, value);
        wrong_type(report, key, value, "a list");
        return None;
    };
    if list.is_empty() {
        report.add(Mistake::new(value.span().into(), format!("{key} is empty")).hint(hint_when_empty));
        return None;
    }
    Some(list)
}

pub(super) fn section<'a>(
    report: &'a Report<'a>,
    key: &str,
    title: String,
    value: &'a Spanned<DeValue<'a>>,
) -> Option<Section<'a>> {
    let Some(table) = value.get_ref().as_table() else {
        wrong_type(report, key, value, "a table");
        return None;
    };
    Some(Section::new(report, title, value.span().into(), table))
}

pub(super) fn wrong_type(report: &Report<'_>, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    let message = format!("{} must be {wanted}, not {found}", quoted_key(key));
    let mistake = Mistake::new(value.span().into(), message);
    let is_single = !value.get_ref().is_array() && !value.get_ref().is_table();
    report.add(if wanted == "a string" && is_single { mistake.hint("put it in quotes") } else { mistake });
}

/// Keys of the vocabulary are plain words. The name of a header or form field may be any text, so it is quoted.
fn quoted_key(key: &str) -> String {
    if super::VOCABULARY.contains(&key) { key.to_owned() } else { quoted(key) }
}

/// Lets reports show a single value that is not asked for as a secret. A list or a table may hold anything, so it
/// stays masked.
fn clear_scalar(report: &Report<'_>, value: &Spanned<DeValue<'_>>) {
    if !value.get_ref().is_array() && !value.get_ref().is_table() {
        report.clear(value.span().into());
    }
}
