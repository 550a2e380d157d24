//! Reads the sections `[alert.NAME]`: the sinks and their routes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::reader::{self, Entry, Section, Text, quoted};
use super::report::{Mistake, Report};
use super::steps;
use super::template::Scope;
use super::values;
use super::{auth, sections};
use crate::config::SecretRef;
use crate::config::settings::{AlertSettings, Auth, EmailSettings, MailTls, SinkSettings, WebhookStep};
use crate::core::alert::{Condition, Policy, Style};
use crate::core::ids::SinkName;
use crate::core::time::in_words;

const KINDS: [&str; 7] = ["webhook", "slack", "pagerduty", "alertmanager", "email", "sns", "command"];
const KINDS_HINT: &str = "one of webhook, slack, pagerduty, alertmanager, email, sns and command";
const REPEAT_DEFAULT: Duration = Duration::from_hours(24);
/// The shortest interval of repetitions; more frequent ones would not be read.
const REPEAT_MIN: Duration = Duration::from_mins(1);
const PAGERDUTY: &str = "https://events.pagerduty.com";

/// Reads the sinks, by name.
pub(super) fn alerts(entries: &[Entry<'_>]) -> BTreeMap<SinkName, AlertSettings> {
    let mut alerts = BTreeMap::new();
    for entry in entries {
        let report = entry.report;
        let name: Option<SinkName> = reader::parsed(report, Text { text: entry.key, span: entry.key_span });
        let title = reader::title("alert", entry.key);
        let alert = reader::section(report, "alert", title, entry.value).and_then(alert);
        if let (Some(name), Some(alert)) = (name, alert) {
            alerts.insert(name, alert);
        }
    }
    alerts
}

fn alert(mut section: Section<'_>) -> Option<AlertSettings> {
    let on = conditions(&mut section);
    let repeat = section.duration("repeat", REPEAT_MIN).unwrap_or(REPEAT_DEFAULT);
    let timeout = steps::timeout(&mut section);
    if timeout > repeat {
        let (timeout, repeat) = (in_words(timeout), in_words(repeat));
        section.report.warn(format!(
            "{}: timeout = {timeout} is longer than repeat = {repeat}, so a repetition can be due before the last attempt ends",
            section.title
        ));
    }
    let kind = section.required("kind", KINDS_HINT)?;
    let kind = reader::string(section.report, "kind", kind.value)?;
    // A misspelt kind is read as the kind that it resembles, so that the other mistakes are found in the same run.
    let meant = if KINDS.contains(&kind.text) { None } else { values::nearest(kind.text, KINDS.into_iter()) };
    if let Some(meant) = meant {
        let mistake = Mistake::new(kind.span, format!("unknown kind {}", quoted(kind.text)));
        section.report.add(mistake.hint(format!("did you mean {meant}?")));
    }
    let (style, sink) = match meant.unwrap_or(kind.text) {
        "webhook" => (Style::Messages, webhook(section).map(SinkSettings::Webhook)),
        "slack" => (Style::Messages, slack(section)),
        "pagerduty" => (Style::Incidents, pagerduty(section)),
        "alertmanager" => (Style::State, alertmanager(section)),
        "email" => (Style::Messages, email(section)),
        "sns" => (Style::Messages, sns(section)),
        "command" => (Style::Messages, command(section)),
        other => {
            let mistake = Mistake::new(kind.span, format!("unknown kind {}", quoted(other)));
            section.report.add(mistake.hint(KINDS_HINT));
            return None;
        }
    };
    Some(AlertSettings { policy: Policy { on, repeat, style }, sink: sink?, timeout })
}

fn conditions(section: &mut Section<'_>) -> BTreeSet<Condition> {
    let all = Condition::ALL.map(Condition::as_str);
    let hint = format!("some of {}", all.join(", "));
    if section.place_of("on").is_none() {
        section.entry("on");
        return BTreeSet::from(Condition::DEFAULT);
    }
    let texts = section.strings("on", &hint).unwrap_or_default();
    let mut on = BTreeSet::new();
    for text in texts {
        if let Ok(condition) = text.text.parse() {
            on.insert(condition);
            continue;
        }
        let hint = match values::nearest(text.text, all.into_iter()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => hint.clone(),
        };
        let message = format!("{} is not an alert condition", quoted(text.text));
        section.report.add(Mistake::new(text.span, message).hint(hint));
    }
    on
}

/// Reads a webhook as for a vendor, but refuses the keys that only a new key needs.
fn webhook(section: Section<'_>) -> Option<WebhookStep> {
    for key in ["encrypt_to", "carries"] {
        if let Some(place) = section.place_of(key) {
            let mistake = Mistake::new(place, format!("{key} does not go with an alert"));
            section.report.add(mistake.hint("an alert holds no secret: leave it out"));
        }
    }
    steps::webhook(section, false)
}

fn slack(mut section: Section<'_>) -> Option<SinkSettings> {
    let url = secret(&mut section, "url", "the address of an incoming webhook, such as \"credential:slack\"");
    section.finish();
    Some(SinkSettings::Slack { url: url? })
}

fn pagerduty(mut section: Section<'_>) -> Option<SinkSettings> {
    let hint = "the integration key of Events API v2, such as \"credential:pagerduty\"";
    let routing_key = secret(&mut section, "routing_key", hint);
    let url =
        section.string("url").map(|text| values::address(section.report, text, steps::plaintext(false)));
    section.finish();
    let url = url.unwrap_or_else(|| Some(PAGERDUTY.to_owned()));
    Some(SinkSettings::PagerDuty { routing_key: routing_key?, url: url?.trim_end_matches('/').to_owned() })
}

fn alertmanager(mut section: Section<'_>) -> Option<SinkSettings> {
    let allow_plaintext = section.flag("allow_plaintext").unwrap_or(false);
    let plaintext = steps::plaintext(allow_plaintext);
    let hint = "such as http://127.0.0.1:9093, or urls = [\"…\", \"…\"] for each instance of a cluster";
    let many = section.strings("urls", hint);
    let one = if section.place_of("urls").is_some() {
        section.string("url")
    } else {
        let entry = section.required("url", hint);
        entry.and_then(|entry| reader::string(section.report, "url", entry.value))
    };
    let texts: Vec<Text<'_>> = one.into_iter().chain(many.into_iter().flatten()).collect();
    let address = |text: &Text<'_>| values::address(section.report, *text, plaintext);
    let urls: Option<Vec<String>> = texts.iter().map(address).collect();
    let auth = auth::read(&mut section, plaintext, &Scope::default());
    if let (Some(Auth::OAuth2 { .. } | Auth::Jwt { .. }), Some(entry)) = (&auth, section.entry("auth")) {
        let mistake = Mistake::new(entry.key_span, "an Alertmanager sink does not support oauth2 or jwt");
        section.report.add(mistake.hint("one of bearer, basic and header"));
    }
    if let (Some(Auth::Basic { user, .. }), Some(entry)) = (&auth, section.entry("auth"))
        && ["{{", "{%", "{#"].iter().any(|opening| user.contains(opening))
    {
        let mistake =
            Mistake::new(entry.key_span, "the user is a template, but an alert sink has no templates");
        section.report.add(mistake.hint("write the user as it is sent"));
    }
    let labels = labels(&mut section);
    section.finish();
    let urls = urls?.into_iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
    Some(SinkSettings::Alertmanager { urls, auth, labels, allow_plaintext })
}

fn labels(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for entry in section.named("labels", "labels") {
        if !values::is_identifier(entry.key) {
            let message = format!("{} is not the name of a label", quoted(entry.key));
            let hint = "letters, digits and _, not a digit first";
            section.report.add(Mistake::new(entry.key_span, message).hint(hint));
        }
        if let Some(text) = reader::string(section.report, entry.key, entry.value) {
            labels.insert(entry.key.to_owned(), text.text.to_owned());
        }
    }
    labels
}

fn email(mut section: Section<'_>) -> Option<SinkSettings> {
    let allow_plaintext = section.flag("allow_plaintext").unwrap_or(false);
    let host = section.required("host", "the mail server, such as host = \"mail.example.com\"");
    let host = host.and_then(|entry| reader::string(section.report, "host", entry.value));
    let host = host.and_then(|text| sections::not_empty(section.report, text));
    let tls = mail_tls(&mut section, host.as_deref(), allow_plaintext);
    let port = section.number("port", 1..=65_535).and_then(|port| u16::try_from(port).ok());
    let from = section.required("from", "the sender's address, such as from = \"keyround@example.com\"");
    let from = from.and_then(|entry| reader::string(section.report, "from", entry.value));
    let to_hint = "the recipients' addresses, such as to = [\"oncall@example.com\"]";
    let to = match section.place_of("to") {
        Some(_) => section.strings("to", to_hint),
        None => section.required("to", to_hint).and(None),
    };
    let from = from.and_then(|text| mailbox(section.report, text));
    let to: Option<Vec<String>> =
        to.and_then(|texts| texts.into_iter().map(|text| mailbox(section.report, text)).collect());
    let login = login(&mut section);
    section.finish();
    let port = port.unwrap_or(match tls {
        MailTls::Tls => 465,
        MailTls::StartTls => 587,
        MailTls::None => 25,
    });
    let email = EmailSettings { host: host?, port, tls, from: from?, to: to?, login: login.ok()? };
    Some(SinkSettings::Email(Box::new(email)))
}

fn mail_tls(section: &mut Section<'_>, host: Option<&str>, allow_plaintext: bool) -> MailTls {
    let Some(text) = section.string("tls") else { return MailTls::StartTls };
    let is_here = |host: &str| {
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    match text.text {
        "tls" => return MailTls::Tls,
        "starttls" => return MailTls::StartTls,
        "none" if allow_plaintext || host.is_none_or(is_here) => {}
        "none" => {
            let mistake = Mistake::new(text.span, "mail would go over the network in clear");
            section.report.add(mistake.hint("write tls = \"starttls\", or set allow_plaintext = true"));
        }
        other => {
            let mistake = Mistake::new(text.span, format!("unknown tls {}", quoted(other)));
            section.report.add(mistake.hint("one of starttls, tls and none"));
        }
    }
    MailTls::None
}

/// Judges a mail address. It refuses only what a mail server could take for something else, and leaves the rest to
/// the server.
fn mailbox(report: &Report<'_>, text: Text<'_>) -> Option<String> {
    let address = text.text.rsplit_once('<').map_or(text.text, |(_, rest)| rest.trim_end_matches('>'));
    let is_plain = !text.text.contains(['\r', '\n', '\0', ',']) && !address.contains(char::is_whitespace);
    let parts = address.split_once('@');
    if is_plain
        && parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'))
    {
        return Some(text.text.to_owned());
    }
    let message = format!("{} is not a mail address", quoted(text.text));
    report.add(
        Mistake::new(text.span, message).hint("such as oncall@example.com, or On call <oncall@example.com>"),
    );
    None
}

/// The error of a function that has already reported the mistake.
struct Reported;

fn login(section: &mut Section<'_>) -> Result<Option<(String, SecretRef)>, Reported> {
    let user = section.string("user").map(|text| text.text.to_owned());
    let place = section.place_of("password");
    let password = section.secret("password");
    match (user, place) {
        (None, None) => Ok(None),
        (Some(user), Some(_)) => password.map(|password| Some((user, password))).ok_or(Reported),
        (Some(_), None) => {
            let place = section.place_of("user").unwrap_or(section.span);
            let mistake = Mistake::new(place, "user without a password");
            section.report.add(mistake.hint("password = \"credential:smtp-password\""));
            Err(Reported)
        }
        (None, Some(place)) => {
            section.report.add(Mistake::new(place, "password without a user").hint("user = \"keyround\""));
            Err(Reported)
        }
    }
}

fn sns(mut section: Section<'_>) -> Option<SinkSettings> {
    let hint = "such as arn:aws:sns:us-east-1:111122223333:keyround";
    let entry = section.required("topic_arn", hint);
    let text = entry.and_then(|entry| reader::string(section.report, "topic_arn", entry.value));
    let region = text.and_then(|text| {
        let parts: Vec<&str> = text.text.split(':').collect();
        let region = match parts.as_slice() {
            ["arn", partition, "sns", region, account, topic]
                if partition.starts_with("aws") && account.len() == 12 && !topic.is_empty() =>
            {
                Some((*region).to_owned()).filter(|region| !region.is_empty())
            }
            _ => None,
        };
        if region.is_none() {
            let message = format!("{} is not the ARN of an SNS topic", quoted(text.text));
            section.report.add(Mistake::new(text.span, message).hint(hint));
        }
        region
    });
    section.finish();
    Some(SinkSettings::Sns { topic_arn: text?.text.to_owned(), region: region? })
}

fn command(mut section: Section<'_>) -> Option<SinkSettings> {
    let hint = "the program and its arguments, such as command = [\"/usr/local/bin/tell\", \"--loud\"]";
    let words = match section.place_of("command") {
        Some(_) => section.strings("command", hint),
        None => section.required("command", hint).and(None),
    };
    if let Some(program) = words.as_ref().and_then(|words| words.first())
        && !program.text.starts_with('/')
    {
        let mistake = Mistake::new(program.span, format!("{} is not an absolute path", quoted(program.text)));
        section
            .report
            .add(mistake.hint("the program must not depend on the folder in which keyround was started"));
    }
    section.finish();
    Some(SinkSettings::Command { command: words?.into_iter().map(|word| word.text.to_owned()).collect() })
}

fn secret(section: &mut Section<'_>, key: &'static str, hint: &str) -> Option<SecretRef> {
    let entry = section.required(key, hint)?;
    reader::secret(section.report, entry.value)
}
