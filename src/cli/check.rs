//! `check`: the configuration; with `--online` also AWS, rights, journal and vendors.

use std::path::Path;

use serde::Serialize;

use crate::cli::args::Format;
use crate::cli::exit::{Code, Ended};
use crate::cli::layout::wrapped;
use crate::cli::rotate::check_line;
use crate::cli::{Screen, setup};
use crate::driver::{Tellers, preview};
use crate::journal::Mode;
use crate::ports::{Answer, Check};

#[derive(Serialize)]
struct CheckView {
    config: String,
    vendors: usize,
    checks: Vec<OneView>,
}

#[derive(Serialize)]
struct OneView {
    vendor: Option<String>,
    iam_user: Option<String>,
    check: String,
    ok: bool,
    sentence: String,
}

impl OneView {
    fn new(vendor: Option<String>, iam_user: Option<String>, check: Check) -> OneView {
        OneView { vendor, iam_user, check: check.check, ok: check.ok, sentence: check.sentence }
    }
}

pub(crate) async fn check(config: Option<&Path>, online: bool, screen: &Screen) -> Ended {
    let (path, settings) = setup::settings(config, screen.color)?;
    let vendors = settings.vendors.len();
    let mut checks = Vec::new();
    if online {
        let tellers = setup::tellers(&settings)?;
        let world = setup::world(settings, Mode::Read).await?;
        let (events, _) = world.journal.verify_history().await?;
        let sentence = format!("it can be read, and its {events} events are consistent");
        checks.push(OneView::new(None, None, Check { check: "journal".to_owned(), ok: true, sentence }));
        for preview in preview(&world, &[], false, true).await? {
            let visited = preview.visited;
            let (vendor, user) =
                (Some(visited.vendor.to_string()), visited.iam_user.as_ref().map(ToString::to_string));
            let sentence = visited.sentence();
            let keys = Check { check: "keys".to_owned(), ok: !visited.failed, sentence };
            checks.push(OneView::new(vendor.clone(), user.clone(), keys));
            let rest = preview.preflight.into_iter();
            checks.extend(rest.map(|check| OneView::new(vendor.clone(), user.clone(), check)));
        }
        checks.extend(told(&tellers).await.into_iter().map(|check| OneView::new(None, None, check)));
    }
    let code = if checks.iter().all(|check| check.ok) { Code::Fine } else { Code::Failed };
    show(CheckView { config: path.display().to_string(), vendors, checks }, screen);
    Ok(code)
}

/// Whether those who would be told could be.
async fn told(tellers: &Tellers) -> Vec<Check> {
    let mut checks = Vec::new();
    for listener in &tellers.listeners {
        let check = format!("alert {}", listener.name);
        checks.push(probed(check, listener.sink.probe().await));
    }
    if let Some(heartbeat) = &tellers.heartbeat {
        checks.push(probed("heartbeat".to_owned(), heartbeat.probe().await));
    }
    checks
}

fn probed(check: String, answer: Answer<String>) -> Check {
    match answer {
        Ok(sentence) => Check { check, ok: true, sentence },
        Err(fault) => Check { check, ok: false, sentence: fault.sentence().to_owned() },
    }
}

fn show(view: CheckView, screen: &Screen) {
    if screen.format == Format::Json {
        return screen.show_json(&view);
    }
    let vendors = if view.vendors == 1 { "vendor" } else { "vendors" };
    let mut lines = vec![format!("{}: no mistakes, {} {vendors}", view.config, view.vendors)];
    for one in view.checks {
        let vendor = one.vendor.map(|vendor| format!("{vendor}, ")).unwrap_or_default();
        let check = Check { check: format!("{vendor}{}", one.check), ok: one.ok, sentence: one.sentence };
        lines.push(check_line(&check));
    }
    screen.show(&wrapped(&lines.join("\n"), screen.columns));
}
