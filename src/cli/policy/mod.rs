//! `policy`: writes policies and lints them.

mod lint;
mod needs;
mod write;

use std::path::Path;

use crate::cli::Screen;
use crate::cli::args::{Output, Policy};
use crate::cli::exit::{Code, Ended, Failure};

pub(crate) async fn policy(config: Option<&Path>, asked: Policy, screen: &Screen) -> Ended {
    if !matches!(asked, Policy::Lint(_)) && !matches!(screen.output, Output::Table | Output::Json) {
        return Err(Failure::new(Code::Usage, "a policy is JSON; the other formats are for findings"));
    }
    match asked {
        Policy::Lint(asked) => lint::lint(&asked, screen),
        Policy::Rotator(asked) => write::rotator(config, &asked, screen).await,
        Policy::Vendor(asked) => write::vendor(config, &asked, screen).await,
        Policy::Trust(asked) => write::trust(config, &asked, screen),
    }
}
