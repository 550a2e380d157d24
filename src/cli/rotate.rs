//! `rotate`: runs one pass. With `--dry-run` it shows what a pass would do.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::adapters::journal::Mode;
use crate::cli::acting::confirmed;
use crate::cli::alert_task;
use crate::cli::args::{self, Format};
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::layout::{Row, table, wrapped};
use crate::cli::progress::Reporter;
use crate::cli::run::stop_on_signals;
use crate::cli::status::code_of;
use crate::cli::view::dash;
use crate::cli::{Screen, setup};
use crate::config::Settings;
use crate::config::settings::Access;
use crate::core::rotation::Ending;
use crate::core::schedule::{Action, State};
use crate::engine::{Cadence, Engine, PassRequest, Preview, Rest, UserReport, WaitMode, Watchers, preview};
use crate::ports::Check;
use crate::status::StatusStore;

/// The JSON output of `rotate`. Other programs rely on its fields.
#[derive(Serialize)]
struct RotateView {
    dry_run: bool,
    vendors: Vec<VendorView>,
}

#[derive(Serialize)]
struct VendorView {
    vendor: String,
    iam_user: Option<String>,
    action: &'static str,
    reason: &'static str,
    sentence: String,
    steps: Vec<String>,
    preflight: Vec<CheckView>,
    error: Option<String>,
}

#[derive(Serialize)]
struct CheckView {
    check: String,
    ok: bool,
    checked: bool,
    sentence: String,
}

pub(crate) async fn rotate(config: Option<&Path>, asked: args::Rotate, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    setup::known(&settings, &asked.only.vendors)?;
    if asked.dry_run {
        return dry_run(settings, asked, screen).await;
    }
    if asked.force && asked.only.vendors.is_empty() && !asked.yes && !is_confirmed(&settings)? {
        return Err(Failure::new(Code::Failed, "not confirmed; nothing was changed"));
    }
    let (_keep, routing) = watch::channel(setup::routing(&settings)?);
    let world = alert_task::world(settings).await?;
    let (_keep, worlds) = watch::channel(world);
    let status_store = Arc::new(StatusStore::default());
    let mut alerts = alert_task::alerts(worlds.clone(), routing, &status_store);
    alerts.recall().await;
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let reporter = Arc::new(Reporter::new(screen.progress));
    let watchers = Watchers(vec![Arc::clone(&reporter) as _, status_store]);
    let mut engine = Engine::new(worlds, stop.clone(), Arc::new(watchers));
    let ask = PassRequest { vendors: asked.only.vendors, force: asked.force, ..PassRequest::default() };
    let patience = if asked.wait { WaitMode::Unlimited } else { WaitMode::Short };
    let found = engine.work(&Cadence::Once(ask, patience)).await;
    if let Err(error) = &found {
        alerts.tell_of_journal(error).await;
    }
    let found = found?;
    if !stop.is_cancelled() {
        alerts.review().await;
        alerts.tell().await;
        alerts.finish().await;
    }
    show(&found, &reporter, screen);
    let code = code_of(&found);
    if stop.is_cancelled() {
        let message = "stopped before everything was done";
        let hint = "rotations in flight continue from the journal when keyround runs again";
        return Err(Failure::new(Code::TryAgain, message).hinted(hint));
    }
    let work_left = found.iter().any(is_unfinished);
    Ok(if code == Code::Fine && asked.detailed_exitcode && work_left { Code::WorkIsDue } else { code })
}

/// Asks on a terminal whether the keys of all vendors are to be replaced now. A script is not asked.
fn is_confirmed(settings: &Settings) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    let with_keys =
        settings.vendors.values().filter(|vendor| vendor.enabled && matches!(vendor.access, Access::Key(_)));
    let count = with_keys.count();
    let dry_run = "`keyround rotate --force --dry-run` shows what would be done";
    confirmed(&format!(
        "--force replaces the keys of all {count} vendors now, whether they are due or not; {dry_run}."
    ))
}

/// Whether there is still something to do for this user.
fn is_unfinished(user_report: &UserReport) -> bool {
    matches!(user_report.verdict.state, State::Due | State::Overdue | State::Rotating | State::Held)
}

fn show(found: &[UserReport], reporter: &Reporter, screen: &Screen) {
    let steps_of = |user_report: &UserReport| {
        let rotation = user_report.rotation.as_ref();
        rotation.map(|rotation| reporter.steps(rotation.id())).unwrap_or_default()
    };
    let views = found
        .iter()
        .map(|user_report| VendorView::new(user_report, steps_of(user_report), Vec::new()))
        .collect();
    match screen.format {
        Format::Json => screen.show_json(&RotateView { dry_run: false, vendors: views }),
        Format::Table => screen.show(&result_table(found, screen.columns)),
    }
}

fn result_table(found: &[UserReport], columns: Option<usize>) -> String {
    let row = |user_report: &UserReport| {
        let new = user_report.rotation.as_ref().and_then(|rotation| rotation.stage().new_key());
        let cells = vec![
            user_report.vendor.to_string(),
            user_report.iam_user.as_ref().map_or_else(dash, ToString::to_string),
            outcome(user_report).to_owned(),
            new.map_or_else(dash, ToString::to_string),
        ];
        Row { cells, sentence: user_report.sentence() }
    };
    table(&["VENDOR", "IAM USER", "RESULT", "NEW KEY", "WHY"], found.iter().map(row).collect(), columns)
}

fn outcome(user_report: &UserReport) -> &'static str {
    match &user_report.rest {
        _ if user_report.error.is_some() => "failed",
        Some(Rest::Ended(ending)) => ending.as_str(),
        Some(Rest::Stuck(_)) => "stuck",
        Some(Rest::Wait { .. } | Rest::Stopped) => "under way",
        None if user_report.verdict.state == State::Stuck => "stuck",
        None if user_report.rotation.is_some() => "left alone",
        None => "nothing to do",
    }
}

impl VendorView {
    fn new(user_report: &UserReport, steps: Vec<String>, preflight: Vec<CheckView>) -> VendorView {
        VendorView {
            vendor: user_report.vendor.to_string(),
            iam_user: user_report.iam_user.as_ref().map(ToString::to_string),
            action: action(user_report),
            reason: user_report.verdict.reason,
            sentence: user_report.sentence(),
            steps,
            preflight,
            error: user_report.error.clone(),
        }
    }
}

fn action(user_report: &UserReport) -> &'static str {
    match (&user_report.rest, &user_report.verdict.action, user_report.verdict.state) {
        (_, _, State::Stuck) => "stuck",
        (Some(Rest::Ended(Ending::Done)), ..) | (None, Action::Start { .. }, _) => "rotate",
        (_, Action::Continue, _) => "continue",
        (_, Action::Wait { .. }, _) => "wait",
        (_, Action::Nothing | Action::Start { .. }, _) => "none",
    }
}

async fn dry_run(settings: crate::config::Settings, asked: args::Rotate, screen: &Screen) -> Ended {
    let world = setup::world(settings, Mode::Read).await?;
    let previews = preview(&world, &asked.only.vendors, asked.force, false).await?;
    match screen.format {
        Format::Json => {
            let views = previews.iter().map(preview_view).collect();
            screen.show_json(&RotateView { dry_run: true, vendors: views });
        }
        Format::Table => screen.show(&wrapped(&preview_text(&previews), screen.columns)),
    }
    let found: Vec<UserReport> = previews.iter().map(|preview| preview.user_report.clone()).collect();
    let unfit = previews.iter().any(|preview| preview.preflight.iter().any(|check| !check.ok));
    let code = code_of(&found);
    Ok(match code {
        Code::Fine if unfit => Code::Failed,
        Code::Fine if asked.detailed_exitcode && found.iter().any(is_unfinished) => Code::WorkIsDue,
        code => code,
    })
}

fn preview_view(preview: &Preview) -> VendorView {
    let check = |check: &Check| CheckView {
        check: check.check.clone(),
        ok: check.ok,
        checked: check.checked,
        sentence: check.sentence.clone(),
    };
    let preflight = preview.preflight.iter().map(check).collect();
    VendorView::new(&preview.user_report, preview.steps.clone(), preflight)
}

fn preview_text(previews: &[Preview]) -> String {
    let mut lines = Vec::new();
    for preview in previews {
        let user_report = &preview.user_report;
        let user = user_report.iam_user.as_ref().map(|user| format!(" ({user})")).unwrap_or_default();
        lines.push(format!("{}{user}: {}", user_report.vendor, action(user_report)));
        lines.push(format!("  {}", user_report.sentence()));
        lines.extend(preview.preflight.iter().map(check_line));
        lines.extend(preview.steps.iter().zip(1..).map(|(step, number)| format!("  {number}. {step}")));
    }
    lines.push(String::new());
    lines.push(totals(previews.iter().map(|preview| action(&preview.user_report))));
    lines.join("\n")
}

/// The last line of a dry run: how many rows there are of each kind.
fn totals<'a>(actions: impl Iterator<Item = &'a str>) -> String {
    let actions: Vec<&str> = actions.collect();
    let counted = |words: &[&str]| actions.iter().filter(|action| words.contains(action)).count();
    let mut parts = vec![
        format!("{} to rotate", counted(&["rotate"])),
        format!("{} to continue", counted(&["continue", "wait"])),
    ];
    let stuck = counted(&["stuck"]);
    if stuck > 0 {
        parts.push(format!("{stuck} stuck"));
    }
    parts.push(format!("{} unchanged", counted(&["none"])));
    format!("dry run: {}; nothing was changed", parts.join(", "))
}

pub(crate) fn check_line(check: &Check) -> String {
    let mark = match (check.ok, check.checked) {
        (true, true) => "ok  ",
        (true, false) => "not checked",
        (false, _) => "FAIL",
    };
    format!("  {mark} {}: {}", check.check, check.sentence)
}
