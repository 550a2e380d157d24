//! Renders the URL templates of HTTP steps and their token endpoints. No other code turns a template into a URL.
//!
//! **Invariant:** the scheme, the host and the port depend only on the configuration. Host names are visible to name
//! servers and in sentences, and no response of a vendor may direct a key to another host.
//!
//! **Invariant:** a captured value or a secret fills exactly one place of the path or the query. It adds no segment
//! and no parameter, and does not lead to a parent folder.

use url::Url;

use crate::adapters::delivery::template::TemplateContext;
use crate::adapters::delivery::{Tools, misconfigured};
use crate::adapters::net::target::{self, BadTarget, Plaintext};
use crate::config::settings::HttpStep;
use crate::ports::Answer;

/// Renders the URL template at `place` in the configuration of `step`, and checks it.
pub(super) fn render(
    tools: &Tools,
    place: &str,
    source: &str,
    step: &HttpStep,
    words: &TemplateContext,
) -> Answer<Url> {
    let unusable = |bad: BadTarget| match place {
        "the url" => misconfigured(bad),
        other => misconfigured(format!("{other} cannot be used: {bad}")),
    };
    let address = tools.render(place, source, words)?;
    let target =
        target::checked(address.expose(), Plaintext::from_setting(step.allow_plaintext)).map_err(unusable)?;
    let other = |words: &TemplateContext| {
        let address = tools.render(place, source, words).ok()?;
        Url::parse(address.expose()).ok()
    };
    if other(&words.stand_in()).is_none_or(|other| other.origin() != target.origin()) {
        return Err(unusable(BadTarget::MovingHost));
    }
    if other(&words.tame()).is_none_or(|other| shape(&other) != shape(&target)) {
        return Err(unusable(BadTarget::MovingPath));
    }
    Ok(target)
}

/// Checks the URL of the next page of a response. The response chooses the page, but not the scheme, host or port.
pub(super) fn next_page(url: &Url, first: &Url, step: &HttpStep) -> Result<Url, BadTarget> {
    let next = target::checked(url.as_str(), Plaintext::from_setting(step.allow_plaintext))?;
    if next.origin() == first.origin() { Ok(next) } else { Err(BadTarget::MovingHost) }
}

/// The parts of a URL that no single value may change: the number of segments of its path, the names of its
/// parameters, and whether it has a fragment.
fn shape(url: &Url) -> (usize, Vec<String>, bool) {
    let segments = url.path().split('/').count();
    let names = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    (segments, names, url.fragment().is_some())
}
