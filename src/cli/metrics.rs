//! `metrics rules` and `metrics dashboard`: alerting rules and a dashboard for the metrics that `run` serves.

use crate::cli::Screen;
use crate::cli::args::MetricsCommand;
use crate::cli::exit::{Code, Ended};
use crate::status::metrics::{DASHBOARD, RULES};

#[expect(clippy::unnecessary_wraps, reason = "every command ends in the same way")]
pub(crate) fn metrics(command: MetricsCommand, screen: &Screen) -> Ended {
    screen.show(match command {
        MetricsCommand::Rules => RULES,
        MetricsCommand::Dashboard => DASHBOARD,
    });
    Ok(Code::Fine)
}
