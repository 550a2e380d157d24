//! `status`: keys, ages, verdicts, rotations in flight.

use std::path::Path;

use crate::cli::args::Format;
use crate::cli::exit::{Code, Ended};
use crate::cli::view::status_table;
use crate::cli::{Screen, setup};
use crate::driver::{self, Visited};
use crate::ids::VendorName;
use crate::journal::Mode;
use crate::schedule::State;

pub(crate) async fn status(config: Option<&Path>, vendors: &[VendorName], screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    setup::known(&settings, vendors)?;
    let world = setup::world(settings, Mode::Read).await?;
    let found = driver::status(&world, vendors).await?;
    let now = world.clock.now();
    match screen.format {
        Format::Json => screen.show_json(&driver::status_of(&found, now)),
        Format::Table => screen.show(&status_table(&found, now, screen.columns)),
    }
    Ok(code_of(&found))
}

/// 75 when nobody's keys could be listed for want of an answer, or nobody's rotation could be written down; 1 when
/// somebody is stuck.
pub(crate) fn code_of(found: &[Visited]) -> Code {
    let asked = found.iter().filter(|visited| visited.iam_user.is_some());
    let unanswered = |visited: &&Visited| {
        matches!(visited.verdict.reason, "not_sent" | "unanswered" | "journal_unavailable")
    };
    let silent = asked.clone().filter(unanswered).count();
    if silent > 0 && silent == asked.count() {
        return Code::TryAgain;
    }
    match found.iter().any(|visited| visited.failed || visited.verdict.state == State::Stuck) {
        true => Code::Failed,
        false => Code::Fine,
    }
}
