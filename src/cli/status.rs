//! `status`: shows keys, ages, verdicts and rotations in flight.

use std::path::Path;

use crate::adapters::journal::Mode;
use crate::cli::args::Format;
use crate::cli::exit::{Code, Ended};
use crate::cli::view::status_table;
use crate::cli::{Screen, setup};
use crate::core::ids::VendorName;
use crate::core::schedule::State;
use crate::engine::{self, UserReport};
use crate::status::status_of;

pub(crate) async fn status(config: Option<&Path>, vendors: &[VendorName], screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    setup::known(&settings, vendors)?;
    let world = setup::world(settings, Mode::Read).await?;
    let found = engine::status(&world, vendors).await?;
    let now = world.clock.now();
    match screen.format {
        Format::Json => screen.show_json(&status_of(&found, now)),
        Format::Table => screen.show(&status_table(&found, now, screen.columns)),
    }
    Ok(code_of(&found))
}

/// The exit code for these reports: [`Code::TryAgain`] if no user could be asked about, because AWS gave no answer or
/// the journal was unavailable; else [`Code::Failed`] if a report failed or a user is stuck; else [`Code::Fine`].
pub(crate) fn code_of(found: &[UserReport]) -> Code {
    let asked = found.iter().filter(|user_report| user_report.iam_user.is_some());
    let unanswered = |user_report: &&UserReport| {
        matches!(user_report.verdict.reason, "not_sent" | "unanswered" | "journal_unavailable")
    };
    let silent = asked.clone().filter(unanswered).count();
    if silent > 0 && silent == asked.count() {
        return Code::TryAgain;
    }
    match found.iter().any(|user_report| user_report.failed || user_report.verdict.state == State::Stuck) {
        true => Code::Failed,
        false => Code::Fine,
    }
}
