//! `policy`: policies written, and policies judged.

mod lint;

use crate::cli::Screen;
use crate::cli::args::Policy;
use crate::cli::exit::Ended;

pub(crate) fn policy(asked: Policy, screen: &Screen) -> Ended {
    match asked {
        Policy::Lint(asked) => lint::lint(&asked, screen),
    }
}
