//! Reads `[journal]`, `[schedule]`, `[aws]` and `[account.NAME]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

use super::reader::{self, Entry, Section, Text, quoted};
use super::report::{Mistake, Report};
use super::values::{self, Plaintext};
use crate::config::journal_url::{BadJournalUrl, JournalUrl};
use crate::config::settings::{AccountSettings, AwsSettings, JournalSettings, ScheduleSettings};
use crate::core::ids::{AccountId, AccountName};
use crate::core::schedule::{BadCron, Cron};

const DEFAULT_CRON: &str = "17 * * * *";
const DEFAULT_JITTER: Duration = Duration::from_mins(5);
const SQLITE_HINT: &str =
    "such as sqlite:///var/lib/keyround/journal.db, or sqlite://keyround.db beside the configuration";
const PLAIN_ENDPOINT_HINT: &str =
    "AWS answers with the secret of a new key: use https, or an emulator on this machine";

/// Reads `[journal]`. `default` is the path of the SQLite file, and of the files beside it, unless `url` names another.
pub(super) fn journal(section: Option<Section<'_>>, default: PathBuf) -> JournalSettings {
    let Some(mut section) = section else {
        return JournalSettings { path: default, database: None, seal_key: None };
    };
    let (path, database) = match journal_url(&mut section) {
        Some(JournalUrl::File(path)) => (path, None),
        Some(JournalUrl::Database(database)) => (default, Some(database)),
        None => (default, None),
    };
    let seal_key = section.secret("seal_key");
    if let (Some(_), Some(place), None) = (&database, section.place_of("url"), section.place_of("seal_key")) {
        let mistake = Mistake::new(place, "a journal in PostgreSQL needs seal_key: no file is beside it");
        section.report.add(
            mistake.hint("such as seal_key = \"credential:seal-key\"; `openssl rand -base64 32` makes one"),
        );
    }
    section.finish();
    JournalSettings { path, database, seal_key }
}

/// Reads the URL of the journal. Reports do not show it if it may hold a password.
fn journal_url(section: &mut Section<'_>) -> Option<JournalUrl> {
    let url = section.entry("url")?;
    let text = reader::unseen_string(section.report, "url", url.value)?;
    match text.text.parse() {
        Ok(url) => {
            section.report.clear(text.span);
            Some(url)
        }
        Err(bad) => {
            let hint = match bad {
                BadJournalUrl::Unknown => SQLITE_HINT,
                BadJournalUrl::NotAUrl => "such as postgres://keyround@db.example/keyround",
                BadJournalUrl::Password | BadJournalUrl::Reference => {
                    "put the whole URL in one of these places, and its name here: env:NAME, file:/path, credential:NAME, \
                     secretsmanager:ID or ssm:NAME"
                }
            };
            section.report.add(Mistake::new(text.span, bad.to_string()).hint(hint));
            None
        }
    }
}

/// Reads the schedule and its time zone, which also applies to the windows.
pub(super) fn schedule(section: Option<Section<'_>>) -> (ScheduleSettings, Tz) {
    let default = |zone| Cron::parse(DEFAULT_CRON, zone).expect("the default expression is a schedule");
    let Some(mut section) = section else {
        return (ScheduleSettings { cron: default(Tz::UTC), jitter: DEFAULT_JITTER }, Tz::UTC);
    };
    let zone = section.string("timezone").and_then(|text| values::timezone(section.report, text));
    let zone = zone.unwrap_or(Tz::UTC);
    let cron = section.string("cron").and_then(|text| cron(section.report, text, zone));
    let jitter = section.duration("jitter", Duration::ZERO).unwrap_or(DEFAULT_JITTER);
    section.finish();
    (ScheduleSettings { cron: cron.unwrap_or_else(|| default(zone)), jitter }, zone)
}

fn cron(report: &Report<'_>, text: Text<'_>, zone: Tz) -> Option<Cron> {
    let mistake =
        |bad: BadCron| Mistake::new(text.span, bad.to_string()).hint("such as \"17 * * * *\": hourly at :17");
    Cron::parse(text.text, zone).map_err(|bad| report.add(mistake(bad))).ok()
}

pub(super) fn aws(section: Option<Section<'_>>) -> AwsSettings {
    let Some(mut section) = section else { return AwsSettings::default() };
    let region = section.string("region").and_then(|text| region(section.report, text));
    let profile = section.string("profile").and_then(|text| not_empty(section.report, text));
    let account_id = section.parsed("account_id");
    let plaintext = Plaintext::Refused { hint: PLAIN_ENDPOINT_HINT };
    let endpoint = section.string("endpoint_url");
    let endpoint_url = endpoint.and_then(|text| values::address(section.report, text, plaintext));
    let cloudtrail = section.flag("cloudtrail").unwrap_or(false);
    section.finish();
    AwsSettings { region, account_id, profile, endpoint_url, cloudtrail }
}

fn region(report: &Report<'_>, text: Text<'_>) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !text.text.is_empty() && text.text.bytes().all(plain) {
        return Some(text.text.to_owned());
    }
    let message = format!("{} is not an AWS region", quoted(text.text));
    report.add(Mistake::new(text.span, message).hint("such as us-east-1"));
    None
}

pub(super) fn not_empty(report: &Report<'_>, text: Text<'_>) -> Option<String> {
    if text.text.trim().is_empty() {
        report.add(Mistake::new(text.span, "this is empty").hint("leave the key out when there is no text"));
        return None;
    }
    Some(text.text.to_owned())
}

/// Reads the accounts, by name. An account whose section has mistakes is included, so that its name is known.
pub(super) fn accounts(entries: &[Entry<'_>]) -> BTreeMap<AccountName, AccountSettings> {
    let mut accounts = BTreeMap::new();
    for entry in entries {
        let report = entry.report;
        let name = reader::parsed(report, Text { text: entry.key, span: entry.key_span });
        let title = reader::title("account", entry.key);
        let settings = reader::section(report, "account", title, entry.value).map(account);
        if let Some(name) = name {
            accounts.insert(name, settings.unwrap_or_default());
        }
    }
    accounts
}

fn account(mut section: Section<'_>) -> AccountSettings {
    let id: Option<AccountId> = section.parsed("id");
    let role = section.string("role_arn");
    let role_account = role.and_then(|arn| values::role_account(section.report, arn));
    if let (Some(id), Some(arn), Some(role_account)) = (&id, role, &role_account)
        && id.as_str() != role_account
    {
        let message = format!("this role is in account {role_account}, and id says {id}");
        section
            .report
            .add(Mistake::new(arn.span, message).hint("the role must be in the account that it opens"));
    }
    let external_id = section.string("external_id").and_then(|text| not_empty(section.report, text));
    if let (Some(place), None) = (section.place_of("external_id"), role) {
        let mistake = Mistake::new(place, format!("{} has an external_id and no role_arn", section.title));
        section.report.add(mistake.hint("an external id is for the trust policy of a role"));
    }
    let cloudtrail = section.flag("cloudtrail");
    section.finish();
    let id = id.or_else(|| role_account.and_then(|account| account.parse().ok()));
    AccountSettings { id, role_arn: role.map(|arn| arn.text.to_owned()), external_id, cloudtrail }
}
