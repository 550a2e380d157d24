//! Delivery: how a new access key is sent to a vendor, and how the vendor is asked which key it uses.
//!
//! A delivery consists of one or more steps, which run in order and are each safe to repeat: a signed webhook, an
//! HTTP request made from templates, a write to a place at AWS from which the vendor reads the pair, or a program. Or
//! it consists of one step that only a person can perform. The steps come from the current configuration, so a wrong
//! address can be corrected in the middle of a rotation. The message of a webhook is a function of the [`Offer`] and
//! is the same at every attempt.
//!
//! **Invariant:** a step that changes something sends one request, follows no redirect and does not retry. The caller
//! repeats the whole delivery. The exception is a pair that is written in two requests, because a vendor with half of
//! a pair cannot work: see `attempt.rs`.
//!
//! **Invariant:** an effect that may have happened is never reported as refused. `Refused` means that the vendor
//! clearly rejected the request, in its status or where the recipe looks for a rejection, or that the request never
//! left this machine. Everything else is `Unknown`, and so is a refusal after an earlier step was accepted.
//!
//! **Invariant:** no sentence and no log line contains a rendered value, a header, a path, or anything that a vendor
//! sent, except its status and, if it was asked for one, an access key id. Sentences name hosts, and a host depends
//! on no secret and on no response. The path of a request and the text of a refusal are kept beside the sentence, in
//! [`crate::core::rotation::VendorAnswer`], with the secrets of the request removed.
//!
//! **Invariant:** a secret is sent only under TLS, to this machine, or where the configuration sets
//! `allow_plaintext`.

mod address;
pub mod age;
mod answer;
mod attempt;
mod auth;
mod body;
mod command;
mod egress;
mod filters;
mod http;
mod jwt;
mod masks;
mod message;
mod params;
mod preflight;
mod process;
mod reach;
mod redaction;
mod response;
mod said;
mod secret_buffer;
mod secret_store;
mod template;
mod vendor;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use crate::config::SecretRef;
use crate::config::settings::{Access, DeliverStep, VendorSettings};
use crate::core::ids::{Subject, VendorName};
use crate::core::rotation::RefusalCode;
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Answer, Delivery, Egress, Fault, Programs, Request, SecretSource, SecretStores, Vendors};

pub use command::REFUSED as COMMAND_REFUSED;
pub use egress::{EgressError, HttpsEgress};
pub use process::LocalPrograms;

use template::{TemplateContext, Templates};
use vendor::Vendor;

#[cfg(doc)]
use crate::ports::Offer;

/// The adapters through which a delivery reaches the vendors.
#[derive(Clone)]
pub struct Transports {
    /// Sends HTTP requests to the vendors.
    pub egress: Arc<dyn Egress>,
    /// Reads and writes the places at AWS from which vendors read their pairs.
    pub secret_stores: Arc<dyn SecretStores>,
    /// Runs local programs, which deliver to the vendors that need one.
    pub programs: Arc<dyn Programs>,
}

/// The vendors of the configuration that authenticate with an access key. Vendors that assume a role are left out.
pub struct ConfiguredVendors {
    vendors: BTreeMap<VendorName, Arc<Vendor>>,
}

impl ConfiguredVendors {
    /// Prepares these vendors. `ways` reaches them, and `secrets` resolves the secrets of their recipes.
    ///
    /// Nothing is read or sent yet.
    #[must_use]
    pub fn new(
        settings: &BTreeMap<VendorName, VendorSettings>,
        ways: Transports,
        secrets: Arc<dyn SecretSource>,
    ) -> ConfiguredVendors {
        let Transports { egress, secret_stores, programs } = ways;
        let tools = Tools { egress, secret_stores, programs, secrets, templates: Arc::new(Templates::new()) };
        let with_a_key = |(name, vendor): (&VendorName, &VendorSettings)| match &vendor.access {
            Access::Key(access) => Some((name.clone(), Arc::new(Vendor::new(name, access, &tools)))),
            Access::Role { .. } => None,
        };
        ConfiguredVendors { vendors: settings.iter().filter_map(with_a_key).collect() }
    }

    /// Sends a test message, which contains no access key, to each webhook of this vendor. Returns the number of each
    /// webhook step, from 1, and the result of its test. The list is empty if the vendor has no webhook.
    pub async fn send_tests(&self, subject: &Subject, now: Timestamp) -> Vec<(usize, Answer<String>)> {
        let Some(vendor) = self.vendors.get(&subject.vendor) else { return Vec::new() };
        let mut sent = Vec::new();
        for (step, number) in vendor.steps.iter().zip(1..) {
            if let DeliverStep::Webhook(step) = step {
                sent.push((number, webhook::send_test(&vendor.tools, step, number, subject, now).await));
            }
        }
        sent
    }
}

impl Vendors for ConfiguredVendors {
    fn delivery(&self, vendor: &VendorName) -> Option<Arc<dyn Delivery>> {
        let vendor = Arc::clone(self.vendors.get(vendor)?);
        Some(vendor)
    }
}

/// The adapters and the template engine that every step uses.
#[derive(Clone)]
struct Tools {
    egress: Arc<dyn Egress>,
    secret_stores: Arc<dyn SecretStores>,
    programs: Arc<dyn Programs>,
    secrets: Arc<dyn SecretSource>,
    templates: Arc<Templates>,
}

impl Tools {
    /// Resolves a secret of a recipe. A failure is a refusal that names the reference and not the secret.
    async fn resolve(&self, reference: &SecretRef) -> Answer<Secret> {
        self.secrets.resolve(reference).await.map_err(misconfigured)
    }

    /// Renders the template at `place` in the configuration. A failure is a refusal that names the place.
    fn render(&self, place: &str, source: &str, words: &TemplateContext) -> Answer<Secret> {
        self.templates.render(place, source, words).map_err(|bad| misconfigured(bad.to_string()))
    }
}

/// A request that is complete and can be sent, with the parsed form of its URL.
struct Prepared {
    target: Url,
    ready: Request,
}

/// The refusal for a mistake in the configuration. The sentence must contain no secret.
fn misconfigured(sentence: impl Into<String>) -> Fault {
    Fault::refused(RefusalCode::Misconfigured, sentence)
}
