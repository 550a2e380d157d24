//! Whether a delivery could be made, found out without one.
//!
//! Secrets and drop-offs are read, requests are made from a pair that does not exist, hosts are connected to, and
//! programs are looked for.
//!
//! **Invariant:** nothing is sent or run: no request, no token asked for, no program, and never a real pair.

use std::collections::BTreeSet;

use url::Url;

use crate::config::settings::{CommandStep, DeliverStep, DropOffStep, HttpStep, VerifyStep};
use crate::delivery::auth::Credentials;
use crate::delivery::template::{Captured, Words};
use crate::delivery::vendor::Vendor;
use crate::delivery::webhook::Carried;
use crate::delivery::{auth, command, drop_off, http, webhook};
use crate::outward::target;
use crate::ports::{Answer, Check, Offer, Reference};
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
                let carried = Carried { secret: &secret, reference: Some(&placeholder_reference()) };
                let request = webhook::request(&vendor.tools, step, number, offer, carried).await;
                let found = request.map(|request| vec![request.target]);
                preflight.endpoints(&part, "secret", found, step.timeout).await;
            }
            DeliverStep::Http(step) => {
                let words = Words::new(offer, Some(&secret), &captured);
                preflight.http(&part, step, &words).await;
                captured.extend(placeholders(step.capture.keys()));
            }
            DeliverStep::DropOff(step) => {
                let words = Words::new(offer, Some(&secret), &captured);
                preflight.drop_off(&part, step, number, &words).await;
            }
            DeliverStep::Command(step) => {
                preflight.command(&part, step, &Words::new(offer, Some(&secret), &captured)).await;
                captured.extend(placeholders(step.capture.keys()));
            }
            DeliverStep::Manual(_) => {
                preflight.add(
                    &part,
                    "manual",
                    Ok("a person hands the key over; there is nothing to reach".to_owned()),
                );
            }
        }
    }
    let words = Words::new(offer, None, &Captured::new());
    match &vendor.verify {
        Some(VerifyStep::Http(step)) => preflight.http("verify", step, &words).await,
        Some(VerifyStep::Command(step)) => preflight.command("verify", step, &words).await,
        None => {}
    }
    preflight.checks
}

fn placeholders<'n>(names: impl Iterator<Item = &'n String>) -> impl Iterator<Item = (String, Secret)> {
    names.map(|name| (name.clone(), Secret::from(PLACEHOLDER_CAPTURED)))
}

fn placeholder_reference() -> Reference {
    let arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:placeholder".to_owned();
    Reference { service: "secretsmanager", arn, version_id: "0".repeat(32) }
}

struct Preflight<'a> {
    vendor: &'a Vendor,
    offer: &'a Offer,
    checks: Vec<Check>,
    /// Hosts and ports that were connected to: a recipe of many steps often has one.
    reached: BTreeSet<String>,
}

impl Preflight<'_> {
    async fn http(&mut self, part: &str, step: &HttpStep, words: &Words) {
        let tools = &self.vendor.tools;
        let credentials = auth::credentials(tools, step).await;
        let token_target = match &credentials {
            Ok(Credentials::Token(request)) => Some(request.target.clone()),
            Ok(Credentials::Nothing | Credentials::Header(_)) | Err(_) => None,
        };
        if step.auth.is_some() {
            self.add(part, "secret", credentials.map(|_| "its secrets can be read".to_owned()));
        }
        let request = http::request(tools, step, words);
        let request = request.and_then(|request| http::equals(tools, step, words).map(|_| request));
        let targets = request.map(|request| token_target.into_iter().chain([request.target]).collect());
        self.endpoints(part, "template", targets, step.timeout).await;
    }

    async fn drop_off(&mut self, part: &str, step: &DropOffStep, number: usize, words: &Words) {
        let looked = drop_off::look(&self.vendor.tools, step, number, self.offer, words).await;
        let found = looked.map(|()| format!("{} is there, and the pair fits into it", step.place));
        self.add(part, "drop-off", found);
    }

    async fn command(&mut self, part: &str, step: &CommandStep, words: &Words) {
        let tools = &self.vendor.tools;
        let equals = step.expect.equals.as_deref();
        let rendered = equals.map(|source| tools.render("expect.equals", source, words)).transpose();
        let found = match rendered {
            Ok(_) => tools.programs.find(&step.argv).await,
            Err(fault) => Err(fault),
        };
        self.add(part, "command", found.map(|()| format!("{} can be run", command::named(step))));
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
