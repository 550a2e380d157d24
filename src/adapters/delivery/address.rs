//! The one way from a template to an address that a request is sent to.
//!
//! **Invariant:** scheme, host and port depend on the configuration alone. Host names go out in clear, to name servers
//! and into sentences, and no vendor's answer may send a key elsewhere.
//!
//! **Invariant:** a value of an answer, or a secret, fills one place of the path or the query. It adds no segment and
//! no parameter, and leads to no folder above.

use url::Url;

use crate::adapters::delivery::template::TemplateContext;
use crate::adapters::delivery::{Tools, misconfigured};
use crate::adapters::net::target::{self, BadTarget, Plaintext};
use crate::config::settings::HttpStep;
use crate::ports::Answer;

/// Renders the address that stands at `place` in the configuration of `step`.
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

/// Where the next page of an answer is. The answer chooses the page, never the host.
pub(super) fn next_page(url: &Url, first: &Url, step: &HttpStep) -> Result<Url, BadTarget> {
    let next = target::checked(url.as_str(), Plaintext::from_setting(step.allow_plaintext))?;
    if next.origin() == first.origin() { Ok(next) } else { Err(BadTarget::MovingHost) }
}

/// What of an address no single value may change: how many segments its path has, the names of its parameters, and
/// whether it has a fragment.
fn shape(url: &Url) -> (usize, Vec<String>, bool) {
    let segments = url.path().split('/').count();
    let names = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    (segments, names, url.fragment().is_some())
}
