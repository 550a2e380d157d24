//! Reads `[[waiver]]`: findings of a review that are accepted, each with a reason and an end.

use toml::Spanned;
use toml::de::DeValue;

use super::reader::{self, Section, Text, quoted};
use super::report::{Mistake, Report};
use super::sections::not_empty;
use crate::core::time::Timestamp;
use crate::review::audit::{Waiver, rules};

const SECS_PER_DAY: u64 = 86_400;

pub(super) fn read(root: &mut Section<'_>) -> Vec<Waiver> {
    let report = root.report;
    let Some(entry) = root.entry("waiver") else { return Vec::new() };
    let hint = "leave the key out when nothing is accepted";
    let list = reader::list(report, "waiver", entry.value, hint).unwrap_or_default();
    list.iter().filter_map(|value| waiver(report, value)).collect()
}

fn waiver<'a>(report: &'a Report<'a>, value: &'a Spanned<DeValue<'a>>) -> Option<Waiver> {
    let mut section = reader::section(report, "waiver", "[[waiver]]".to_owned(), value)?;
    let rule = required(&mut section, "rule", "the code of the finding, such as KR403");
    let subject =
        required(&mut section, "subject", "the subject of the finding: an ARN, or the name at its end");
    let reason = required(&mut section, "reason", "why it is accepted: it is printed with the finding");
    let until =
        required(&mut section, "until", "the last day on which it is accepted, such as \"2027-03-31\"");
    section.finish();
    let rule = rule.filter(|rule| {
        let known = rules::by_code(rule.text).is_some();
        if !known {
            let mistake = Mistake::new(rule.span, format!("there is no rule {}", quoted(rule.text)));
            report.add(mistake.hint("`keyround audit` prints the code before each finding"));
        }
        known
    });
    let subject = subject.and_then(|text| not_empty(report, text));
    let reason = reason.and_then(|text| not_empty(report, text));
    let until = until.and_then(|text| day(report, text));
    Some(Waiver { rule: rule?.text.to_owned(), subject: subject?, reason: reason?, until: until? })
}

fn required<'a>(section: &mut Section<'a>, key: &'static str, hint: &str) -> Option<Text<'a>> {
    let entry = section.required(key, hint)?;
    reader::string(section.report, key, entry.value)
}

/// The end of a day that is written as `YYYY-MM-DD`, in UTC.
fn day(report: &Report<'_>, text: Text<'_>) -> Option<Timestamp> {
    let midnight = format!("{}T00:00:00Z", text.text).parse::<Timestamp>();
    let end = midnight.map(|midnight| midnight + std::time::Duration::from_secs(SECS_PER_DAY));
    let mistake = || {
        Mistake::new(text.span, format!("{} is not a day", quoted(text.text))).hint("such as \"2027-03-31\"")
    };
    end.map_err(|_| report.add(mistake())).ok()
}
