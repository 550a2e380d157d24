//! Whether a delivery could be made, found out without one.
//!
//! Secrets are read, requests are made from a pair that does not exist, and hosts are connected to.
//!
//! **Invariant:** nothing is sent but a preset's probe, which changes nothing, and what that needs; and never a real
//! pair.

use std::collections::BTreeSet;

use url::Url;

use crate::config::settings::{Body, DeliverStep, HttpStep, Place};
use crate::delivery::template::{Captured, Kept, Words};
use crate::delivery::vendor::Vendor;
use crate::delivery::{auth, http, params, target, webhook};
use crate::ports::{Answer, Check, Offer};
use crate::secret::Secret;

/// As long as a real one, and with the characters that break careless templates.
const PLACEHOLDER_SECRET: &str = "placeholder/placeholder+placeholder/0000";

/// What later steps are given for an answer that is not there yet: base64 of 32 bytes, so that it can be text, a
/// number to nobody, or a public key.
const PLACEHOLDER_CAPTURED: &str = "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// All checks of one vendor, in the order of its recipe.
pub(super) async fn checks(vendor: &Vendor, offer: &Offer) -> Vec<Check> {
    let secret = Secret::from(PLACEHOLDER_SECRET);
    let mut preflight = Preflight { vendor, offer, checks: Vec::new(), reached: BTreeSet::new() };
    let mut captured = Captured::new();
    for (number, step) in (1..).zip(&vendor.steps) {
        let part = format!("step {number}");
        match step {
            DeliverStep::Webhook(step) => {
                let request = webhook::request(&vendor.tools, step, number, offer, &secret).await;
                let found = request.map(|request| vec![request.target]);
                preflight.endpoints(&part, "secret", found, step.timeout).await;
            }
            DeliverStep::Http(step) => {
                preflight.http(&part, step, Some(&secret), &mut captured).await;
            }
        }
    }
    let mut captured = Captured::new();
    for step in &vendor.verify {
        preflight.http("verify", step, None, &mut captured).await;
    }
    preflight.probe().await;
    preflight.checks
}

struct Preflight<'a> {
    vendor: &'a Vendor,
    offer: &'a Offer,
    checks: Vec<Check>,
    /// Hosts and ports that were connected to: a recipe of many steps often has one.
    reached: BTreeSet<String>,
}

impl Preflight<'_> {
    async fn http(&mut self, part: &str, step: &HttpStep, secret: Option<&Secret>, captured: &mut Captured) {
        let tools = &self.vendor.tools;
        let words = match params::read(tools, step).await {
            Ok(params) => Words::new(self.offer, secret, &params, captured),
            Err(fault) => return self.add(part, "secret", Err(fault)),
        };
        if let Ok(false) = http::wanted(tools, step, &words) {
            return placeholders(step, captured);
        }
        let credentials = auth::credentials(tools, step, &words, self.offer.now).await;
        let request = http::request(tools, step, &words, captured);
        let request = request.and_then(|request| http::equals(tools, step, &words).map(|_| request));
        let targets = request.map(|request| http::targets(&credentials, &request));
        if step.auth.is_some() {
            self.add(part, "secret", credentials.map(|_| "its secrets can be read".to_owned()));
        }
        match speaks_of_a_document(step, captured) {
            // Only the vendor knows what stands in there.
            true if targets.is_err() => {
                self.add(part, "template", Ok("its request depends on what the vendor answers".to_owned()));
            }
            true | false => self.endpoints(part, "template", targets, step.timeout).await,
        }
        placeholders(step, captured);
    }

    /// Asks the harmless questions of the presets, up to the first that is not answered as it should be.
    async fn probe(&mut self) {
        let mut captured = Captured::new();
        for step in &self.vendor.probe {
            let answered = http::probe(&self.vendor.tools, step, self.offer, &mut captured).await;
            let Some(answered) = answered.transpose() else { continue };
            let failed = answered.is_err();
            self.add("vendor", "probe", answered.map(|host| format!("{host} knows us, and what we ask for")));
            if failed {
                return;
            }
        }
    }

    /// Records whether the request could be made, and connects to the hosts that it needs.
    async fn endpoints(
        &mut self,
        part: &str,
        what: &str,
        targets: Answer<Vec<Url>>,
        timeout: std::time::Duration,
    ) {
        let targets = match targets {
            Ok(targets) => targets,
            Err(fault) => return self.add(part, what, Err(fault)),
        };
        self.add(part, what, Ok("its request can be made".to_owned()));
        for url in targets {
            let host = target::host_of(&url);
            if self.reached.insert(format!("{host}:{:?}", url.port_or_known_default())) {
                let reached = self.vendor.tools.egress.reach(url.as_str(), timeout).await;
                self.add(part, "endpoint", reached.map(|()| format!("{host} can be reached")));
            }
        }
    }

    fn add(&mut self, part: &str, what: &str, found: Answer<String>) {
        let (ok, sentence) = match found {
            Ok(sentence) => (true, sentence),
            Err(fault) => (false, fault.sentence().to_owned()),
        };
        tracing::debug!(
            vendor.name = %self.vendor.name, rotation.id = %self.offer.rotation, preflight.ok = ok,
            "preflight of {part}: {what}"
        );
        self.checks.push(Check { check: format!("{part}: {what}"), ok, sentence });
    }
}

/// What the steps that follow are given for answers that are not there yet.
fn placeholders(step: &HttpStep, captured: &mut Captured) {
    for (name, capture) in &step.capture {
        let kept = match &capture.place {
            Place::Document(_) => Kept::Document(Secret::from("{}")),
            Place::Search { take, .. } if take.is_empty() => Kept::Document(Secret::from("{}")),
            Place::Pointer(_) | Place::Header(_) | Place::Search { .. } => {
                Kept::Text(Secret::from(PLACEHOLDER_CAPTURED))
            }
        };
        captured.insert(name.clone(), kept);
    }
}

fn speaks_of_a_document(step: &HttpStep, captured: &Captured) -> bool {
    let has_document = captured.values().any(|kept| matches!(kept, Kept::Document(_)));
    has_document && matches!(step.body, Body::Edit { .. } | Body::Json(_) | Body::Text(_))
}
