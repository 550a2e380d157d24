//! `check`: checks the configuration; with `--online` also AWS, permissions, the journal, vendors and alert sinks.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::adapters::journal::Mode;
use crate::alerting::Routing;
use crate::cli::args::Format;
use crate::cli::exit::{Code, Ended};
use crate::cli::layout::wrapped;
use crate::cli::rotate::check_line;
use crate::cli::{Screen, rehearse, setup};
use crate::config::settings::{Access, Users, VendorSettings};
use crate::core::ids::AccountName;
use crate::core::rotation::RefusalCode;
use crate::core::time::in_words;
use crate::engine::{World, exposure_checks, preview};
use crate::ports::{Answer, Check, Fault, Identity};

#[derive(Serialize)]
struct CheckView {
    config: String,
    /// The fragments that it includes.
    included: Vec<String>,
    /// What `[exposure]` asks for; null: nothing.
    exposure: Option<ExposureView>,
    vendors: usize,
    checks: Vec<CheckRow>,
}

#[derive(Serialize)]
struct ExposureView {
    poll_secs: u64,
    action: &'static str,
}

#[derive(Serialize)]
struct CheckRow {
    vendor: Option<String>,
    iam_user: Option<String>,
    check: String,
    ok: bool,
    checked: bool,
    sentence: String,
}

impl CheckRow {
    fn new(vendor: Option<String>, iam_user: Option<String>, check: Check) -> CheckRow {
        let Check { check, ok, checked, sentence } = check;
        CheckRow { vendor, iam_user, check, ok, checked, sentence }
    }
}

pub(crate) async fn check(config: Option<&Path>, online: bool, screen: &Screen) -> Ended {
    let (path, settings) = setup::settings(config, screen.color)?;
    let (vendors, included) = (settings.vendors.len(), settings.included.clone());
    let exposure = settings.exposure.as_ref().map(|exposure| ExposureView {
        poll_secs: exposure.poll.as_secs(),
        action: exposure.action.as_str(),
    });
    let mut checks = Vec::new();
    if online {
        let routing = setup::routing(&settings)?;
        let world = setup::world(settings, Mode::Read).await?;
        let (events, _) = world.journal.verify_history().await?;
        let sentence = format!("it can be read, and its {events} events are consistent");
        checks.push(CheckRow::new(None, None, Check::found("journal", Ok(sentence))));
        for preview in preview(&world, &[], false, true).await? {
            let user_report = preview.user_report;
            let (vendor, user) = (
                Some(user_report.vendor.to_string()),
                user_report.iam_user.as_ref().map(ToString::to_string),
            );
            let sentence = user_report.sentence();
            let found = if user_report.failed { Err(sentence) } else { Ok(sentence) };
            let keys = match user_report.verdict.reason {
                "disabled" => Check::not_checked("keys", user_report.sentence()),
                _ => Check::found("keys", found),
            };
            checks.push(CheckRow::new(vendor.clone(), user.clone(), keys));
            let rest = preview.preflight.into_iter();
            checks.extend(rest.map(|check| CheckRow::new(vendor.clone(), user.clone(), check)));
        }
        checks.extend(accounts(&world).await.into_iter().map(|check| CheckRow::new(None, None, check)));
        let exposure = exposure_checks(&world).await;
        checks.extend(exposure.into_iter().map(|check| CheckRow::new(None, None, check)));
        checks.extend(told(&routing).await.into_iter().map(|check| CheckRow::new(None, None, check)));
    } else {
        for vendor in settings.vendors.values() {
            let wrong = rehearse::wrong_samples(&settings, vendor).await;
            let name = vendor.name.to_string();
            checks.extend(wrong.into_iter().map(|check| CheckRow::new(Some(name.clone()), None, check)));
        }
    }
    let code = if checks.iter().all(|check| check.ok) { Code::Fine } else { Code::Failed };
    show(CheckView { config: path.display().to_string(), included, exposure, vendors, checks }, screen);
    Ok(code)
}

/// The identity of keyround in each account, according to STS, and whether its account is the one of the configured
/// `id`.
async fn accounts(world: &World) -> Vec<Check> {
    let mut checks = Vec::new();
    let uses_ambient = |vendor: &VendorSettings| {
        vendor.enabled && matches!(&vendor.access, Access::Key(access) if access.account.is_none())
    };
    let own = world.settings.vendors.values().any(uses_ambient).then_some(None);
    for name in own.into_iter().chain(world.settings.accounts.keys().map(Some)) {
        let check = name.map_or_else(|| "account".to_owned(), |name| format!("account {name}"));
        let answer = world.accounts.iam(name).caller().await;
        // STS and IAM have different addresses, so one may be reachable if the other is not.
        let is_silent = answer.as_ref().is_err_and(|fault| !is_other_account(fault));
        let found = answer
            .map(|Identity { account_id, arn }| format!("keyround is {arn} in AWS account {account_id}"));
        checks.push(Check::found(check, found.map_err(|fault| fault.sentence().to_owned())));
        if is_silent {
            checks.extend(iam_alone(world, name).await);
        }
    }
    checks
}

fn is_other_account(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused(refusal) if refusal.code == RefusalCode::OtherAccount)
}

/// Whether IAM answers for the first user of this account, after STS failed to say who keyround is.
async fn iam_alone(world: &World, account: Option<&AccountName>) -> Option<Check> {
    let users = world.settings.vendors.values().filter_map(|vendor| match &vendor.access {
        Access::Key(access) if vendor.enabled && access.account.as_ref() == account => match &access.users {
            Users::Named(users) => users.first(),
            Users::Path(_) => None,
        },
        Access::Key(_) | Access::Role { .. } => None,
    });
    let user = users.into_iter().next()?;
    let answer = world.accounts.iam(account).list_keys(user).await;
    let found = answer.map(|_| format!("the keys of {user} can be listed"));
    Some(Check::found("iam", found.map_err(|fault| fault.sentence().to_owned())))
}

/// Whether the alert sinks and the heartbeat can be reached.
async fn told(routing: &Routing) -> Vec<Check> {
    let mut checks = Vec::new();
    for route in &routing.routes {
        let check = format!("alert {}", route.name);
        checks.push(probed(check, route.sink.probe().await));
    }
    if let Some(heartbeat) = &routing.heartbeat {
        checks.push(probed("heartbeat".to_owned(), heartbeat.probe().await));
    }
    checks
}

fn probed(check: String, answer: Answer<String>) -> Check {
    Check::found(check, answer.map_err(|fault| fault.sentence().to_owned()))
}

fn show(view: CheckView, screen: &Screen) {
    if screen.format == Format::Json {
        return screen.show_json(&view);
    }
    let vendors = if view.vendors == 1 { "vendor" } else { "vendors" };
    let mut checks = view.checks;
    let mistakes = match checks.iter().filter(|check| check.check.ends_with(": sample") && !check.ok).count()
    {
        0 => "no mistakes".to_owned(),
        1 => "1 mistake".to_owned(),
        some => format!("{some} mistakes"),
    };
    let included = match view.included.len() {
        0 => String::new(),
        1 => " and 1 included file".to_owned(),
        some => format!(" and {some} included files"),
    };
    let mut lines = vec![format!("{}{included}: {mistakes}, {} {vendors}", view.config, view.vendors)];
    if let Some(ExposureView { poll_secs, action }) = view.exposure {
        let poll = in_words(Duration::from_secs(poll_secs));
        let done = match action {
            "alert" => "tells the alert sinks".to_owned(),
            mode => format!("tells the alert sinks and declares an incident ({mode})"),
        };
        lines.push(format!(
            "[exposure]: `keyround run` asks AWS every {poll} which users it has quarantined, and {done}"
        ));
    }
    let count = |ok: bool, checked: bool| {
        checks.iter().filter(|check| (check.ok, check.checked) == (ok, checked)).count()
    };
    let total = format!(
        "{} ok, {} failed, {} not checked",
        count(true, true),
        count(false, true),
        count(true, false)
    );
    // The sort is stable: after the failures, the checks keep the order of the vendors.
    checks.sort_by_key(|check| check.ok);
    let is_online = !checks.is_empty();
    for one in checks {
        let vendor = one.vendor.map(|vendor| format!("{vendor}, ")).unwrap_or_default();
        let CheckRow { check, ok, checked, sentence, .. } = one;
        lines.push(check_line(&Check { check: format!("{vendor}{check}"), ok, checked, sentence }));
    }
    if is_online {
        lines.push(total);
    }
    screen.show(&wrapped(&lines.join("\n"), screen.columns));
}
