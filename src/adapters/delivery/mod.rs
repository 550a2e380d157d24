//! How a vendor is given a key, and asked which one it has.
//!
//! A delivery is one or more steps, in order, each safe to repeat: a signed webhook, an HTTP request made from
//! templates, a place at AWS where the vendor fetches the pair, a program. Or it is one step that only a person can
//! take. The steps are taken from the configuration as it stands, so a wrong address can be mended in the middle
//! of a rotation; a webhook's message is a function of the [`Offer`] and is the same at every attempt.
//!
//! **Invariant:** one request a step that changes something, no redirects followed, no retries. Whoever repeats,
//! repeats the whole delivery. But where a pair is two writes, half of it is worse than nothing: see `attempt.rs`.
//!
//! **Invariant:** what may have been done is never called refused. `Refused` is a vendor's own clear no, in its status
//! or where the recipe looks for one, or a request that never left; everything between is `Unknown`, and so is a
//! refusal after an earlier step was accepted.
//!
//! **Invariant:** no sentence or log line holds a rendered value, a header, a path, or anything that a vendor sent but its
//! status and, when it was asked for one, an access key id. Sentences name hosts, and a host depends on no secret and on
//! no answer. The path of a request and the words of a refusal stand beside the sentence, in [`crate::core::rotation::Said`],
//! without the secrets of the request.
//!
//! **Invariant:** a secret goes out under TLS, or to this machine, or where the configuration said `allow_plaintext`.

mod address;
pub mod age;
mod answer;
mod attempt;
mod auth;
mod body;
mod command;
mod drop_off;
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
use crate::ports::{Answer, Delivery, DropOffs, Egress, Fault, Programs, Request, SecretSource, Vendors};

pub use command::REFUSED as COMMAND_REFUSED;
pub use egress::{EgressError, HttpsEgress};
pub use process::LocalPrograms;

use template::{TemplateContext, Templates};
use vendor::Vendor;

#[cfg(doc)]
use crate::ports::Offer;

/// The ways from here to the vendors.
#[derive(Clone)]
pub struct Ways {
    /// To what they serve.
    pub egress: Arc<dyn Egress>,
    /// To the places at AWS where they fetch their pairs.
    pub drop_offs: Arc<dyn DropOffs>,
    /// To the programs that know others.
    pub programs: Arc<dyn Programs>,
}

/// The vendors of the configuration that hold an access key.
pub struct ConfiguredVendors {
    vendors: BTreeMap<VendorName, Arc<Vendor>>,
}

impl ConfiguredVendors {
    /// Those vendors, reached by `ways`, with the secrets of their recipes from `secrets`.
    ///
    /// Nothing is read or sent yet.
    #[must_use]
    pub fn new(
        settings: &BTreeMap<VendorName, VendorSettings>,
        ways: Ways,
        secrets: Arc<dyn SecretSource>,
    ) -> ConfiguredVendors {
        let Ways { egress, drop_offs, programs } = ways;
        let tools = Tools { egress, drop_offs, programs, secrets, templates: Arc::new(Templates::new()) };
        let with_a_key = |(name, vendor): (&VendorName, &VendorSettings)| match &vendor.access {
            Access::Key(access) => Some((name.clone(), Arc::new(Vendor::new(name, access, &tools)))),
            Access::Role { .. } => None,
        };
        ConfiguredVendors { vendors: settings.iter().filter_map(with_a_key).collect() }
    }

    /// Sends a message without an access key to each webhook of this vendor. Gives the number of each step, from 1, and
    /// what came of it; none: the vendor has no webhook.
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

/// What every step needs.
#[derive(Clone)]
struct Tools {
    egress: Arc<dyn Egress>,
    drop_offs: Arc<dyn DropOffs>,
    programs: Arc<dyn Programs>,
    secrets: Arc<dyn SecretSource>,
    templates: Arc<Templates>,
}

impl Tools {
    /// A secret of a recipe. The refusal names the reference.
    async fn resolve(&self, reference: &SecretRef) -> Answer<Secret> {
        self.secrets.resolve(reference).await.map_err(misconfigured)
    }

    /// The template that stands at `place` in the configuration. The refusal names the place.
    fn render(&self, place: &str, source: &str, words: &TemplateContext) -> Answer<Secret> {
        self.templates.render(place, source, words).map_err(|bad| misconfigured(bad.to_string()))
    }
}

/// A request that only needs sending.
struct Prepared {
    target: Url,
    ready: Request,
}

/// A mistake in the configuration; the sentence holds no secret.
fn misconfigured(sentence: impl Into<String>) -> Fault {
    Fault::refused(RefusalCode::Misconfigured, sentence)
}
