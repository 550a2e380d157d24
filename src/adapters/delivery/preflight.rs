//! The preflight: checks whether a delivery could be made, without making one.
//!
//! The preflight reads secrets and drop-offs, builds the requests with a made-up pair, connects to the hosts, and
//! looks for the programs.
//!
//! **Invariant:** the only requests that are sent are the probe of a preset, which changes nothing, and the token
//! requests that the probe needs. No program is run, and no real pair is used.

use std::collections::BTreeSet;

use url::Url;

use crate::adapters::delivery::template::{Captured, CapturedValue, Params, TemplateContext};
use crate::adapters::delivery::vendor::Vendor;
use crate::adapters::delivery::webhook::Carried;
use crate::adapters::delivery::{auth, command, http, params, secret_store, webhook};
use crate::adapters::net::target;
use crate::config::settings::{
    AnswerPlace, Body, CommandStep, DeliverStep, HttpStep, SecretStoreStep, VerifyStep,
};
use crate::core::secret::Secret;
use crate::ports::{Answer, Check, Offer, Reference};

/// As long as a real secret access key, and with the characters that break templates without proper escaping.
const PLACEHOLDER_SECRET: &str = "placeholder/placeholder+placeholder/0000";

/// The placeholder for a value that would be captured from a response, for the steps that use it. It is base64 of 32
/// bytes, so that it can serve as a text and as a public key, and is not mistaken for a number.
const PLACEHOLDER_CAPTURED: &str = "CQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Runs all checks of one vendor, in the order of its recipe.
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
                preflight.http(&part, step, Some(&secret), &mut captured).await;
            }
            DeliverStep::SecretStore(step) => {
                let words = TemplateContext::new(offer, Some(&secret), &Params::default(), &captured);
                preflight.secret_store(&part, step, number, &words).await;
            }
            DeliverStep::Command(step) => {
                preflight.command(&part, step, Some(&secret), &mut captured).await;
            }
            DeliverStep::Manual(_) => {
                preflight.skip(
                    &part,
                    "manual",
                    "a person delivers the key, so there is no endpoint to check",
                );
            }
        }
    }
    let mut captured = Captured::new();
    for step in &vendor.verify {
        match step {
            VerifyStep::Http(step) => preflight.http("verify", step, None, &mut captured).await,
            VerifyStep::Command(step) => preflight.command("verify", step, None, &mut captured).await,
        }
    }
    preflight.probe().await;
    preflight.checks
}

fn placeholder_reference() -> Reference {
    let arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:placeholder".to_owned();
    Reference { service: "secretsmanager", arn, version_id: "0".repeat(32) }
}

struct Preflight<'a> {
    vendor: &'a Vendor,
    offer: &'a Offer,
    checks: Vec<Check>,
    /// The hosts and ports that were connected to. Each is tried once, because the steps of a recipe often share a
    /// host.
    reached: BTreeSet<String>,
}

impl Preflight<'_> {
    async fn http(&mut self, part: &str, step: &HttpStep, secret: Option<&Secret>, captured: &mut Captured) {
        let tools = &self.vendor.tools;
        let words = match params::read(tools, step).await {
            Ok(params) => TemplateContext::new(self.offer, secret, &params, captured),
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
            // The request uses a document of the vendor, whose content is not known before the delivery.
            true if targets.is_err() => {
                self.skip(part, "template", "its request depends on a response of the vendor");
            }
            true | false => self.endpoints(part, "template", targets, step.timeout).await,
        }
        placeholders(step, captured);
        if let Some(Err(fault)) = http::try_sample(tools, step, &words, captured) {
            self.add(part, "sample", Err(fault));
        }
    }

    /// Sends the probe of the preset, up to the first request whose response is not as expected.
    async fn probe(&mut self) {
        let mut captured = Captured::new();
        for (number, step) in self.vendor.probe.iter().enumerate() {
            let answered = http::probe(&self.vendor.tools, step, number, self.offer, &mut captured).await;
            let Some(answered) = answered.transpose() else { continue };
            let failed = answered.is_err();
            self.add(
                "vendor",
                "probe",
                answered
                    .map(|host| format!("{host} accepts our credentials, and the requested object exists")),
            );
            if failed {
                return;
            }
        }
    }

    async fn secret_store(
        &mut self,
        part: &str,
        step: &SecretStoreStep,
        number: usize,
        words: &TemplateContext,
    ) {
        let looked = secret_store::look(&self.vendor.tools, step, number, self.offer, words).await;
        let found = looked.map(|()| format!("{} is there, and the pair fits into it", step.place));
        self.add(part, "drop-off", found);
    }

    async fn command(
        &mut self,
        part: &str,
        step: &CommandStep,
        secret: Option<&Secret>,
        captured: &mut Captured,
    ) {
        let tools = &self.vendor.tools;
        let words = TemplateContext::new(self.offer, secret, &Params::default(), captured);
        let equals = step.expect.equals.as_deref();
        let rendered = equals.map(|source| tools.render("expect.equals", source, &words)).transpose();
        let found = match rendered {
            Ok(_) => tools.programs.find(&step.argv).await,
            Err(fault) => Err(fault),
        };
        self.add(part, "command", found.map(|()| format!("{} can be run", command::named(step))));
        let kept = || CapturedValue::Text(Secret::from(PLACEHOLDER_CAPTURED));
        captured.extend(step.capture.keys().map(|name| (name.clone(), kept())));
    }

    /// Records whether the request could be built, and tries to connect to the hosts that it needs.
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
        self.push(Check::found(
            format!("{part}: {what}"),
            found.map_err(|fault| fault.sentence().to_owned()),
        ));
    }

    fn skip(&mut self, part: &str, what: &str, why: &str) {
        self.push(Check::not_checked(format!("{part}: {what}"), why));
    }

    fn push(&mut self, check: Check) {
        // No rotation id: the rotation of this offer does not exist before all checks have passed.
        tracing::debug!(vendor.name = %self.vendor.name, preflight.ok = check.ok, "preflight of {}", check.check);
        self.checks.push(check);
    }
}

/// Gives the following steps placeholders for the values that this step would capture.
fn placeholders(step: &HttpStep, captured: &mut Captured) {
    for (name, capture) in &step.capture {
        let kept = match &capture.place {
            AnswerPlace::Document(_) => CapturedValue::Document(Secret::from("{}")),
            AnswerPlace::Search { take, .. } if take.is_empty() => {
                CapturedValue::Document(Secret::from("{}"))
            }
            AnswerPlace::Pointer(_) | AnswerPlace::Header(_) | AnswerPlace::Search { .. } => {
                CapturedValue::Text(Secret::from(PLACEHOLDER_CAPTURED))
            }
        };
        captured.insert(name.clone(), kept);
    }
}

fn speaks_of_a_document(step: &HttpStep, captured: &Captured) -> bool {
    let has_document = captured.values().any(|kept| matches!(kept, CapturedValue::Document(_)));
    has_document && matches!(step.body, Body::Edit { .. } | Body::Json(_) | Body::Text(_))
}
