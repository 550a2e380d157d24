//! The stand-ins for the vendors. They accept everything: each response is made from what the recipe expects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::adapters::rehearsal::RehearsalWorld;
use crate::adapters::rehearsal::answer::{About, hoped_for};
use crate::adapters::rehearsal::stub_store::StubPlaces;
use crate::config::SecretRef;
use crate::config::settings::{
    Access, AnswerPlace, Auth, Capture, CommandStep, DeliverStep, Expect, HttpStep, VendorSettings,
    VerifyStep,
};
use crate::core::ids::VendorName;
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Answer, Egress, Purpose, RecipePart, Request, Response, SecretSource};
use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A request as it would be sent, and the reply of the stand-in. It contains no real secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exchange {
    /// The time of the rehearsal's clock.
    pub at: Timestamp,
    /// The vendor, the user and the part of the recipe to which the request belongs.
    pub purpose: Purpose,
    /// What was sent where, such as `POST https://hooks.acme.example/aws-keys`, `PutSecretValue NAME` or `run
    /// PROGRAM`.
    pub line: String,
    /// The headers, as name and value. Empty for a program and for a write to AWS.
    pub headers: Vec<(String, String)>,
    /// The body of the request, the input of the program, or the stored text.
    pub body: Option<String>,
    /// The reply of the stand-in.
    pub reply: Reply,
}

/// The reply to a request, to the run of a program, or to a write at AWS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply {
    /// The HTTP status of the response.
    Status(u16),
    /// The exit code of the program.
    Exit(i32),
    /// The text was stored.
    Stored,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Status(status) => write!(f, "is answered with {status}"),
            Reply::Exit(code) => write!(f, "ends with exit code {code}"),
            Reply::Stored => f.write_str("is there from now on"),
        }
    }
}

/// The steps of one vendor's recipe. A delivery step is `None` for a webhook, a drop-off or a manual step, whose
/// reply does not depend on the recipe.
#[derive(Clone, Debug, Default)]
struct VendorRequests {
    deliver: Vec<Option<HttpStep>>,
    verify: Vec<HttpStep>,
    probe: Vec<HttpStep>,
}

/// The stand-ins for the vendors. They answer requests, store drop-offs, run no programs, and record every exchange.
#[derive(Clone)]
pub struct StandInVendors {
    stage: RehearsalWorld,
    manners: Arc<BTreeMap<VendorName, VendorRequests>>,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
    pub(super) shelves: Arc<Mutex<StubPlaces>>,
}

impl StandInVendors {
    /// Stand-ins for these vendors in this world.
    #[must_use]
    pub fn new(stage: RehearsalWorld, vendors: &BTreeMap<VendorName, VendorSettings>) -> StandInVendors {
        let manners = vendors.iter().map(|(name, vendor)| (name.clone(), manner(vendor))).collect();
        StandInVendors {
            stage,
            manners: Arc::new(manners),
            exchanges: Arc::default(),
            shelves: Arc::default(),
        }
    }

    /// The exchanges since the last call of this function.
    #[must_use]
    pub fn take_exchanges(&self) -> Vec<Exchange> {
        std::mem::take(&mut *self.exchanges.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn record(&self, purpose: &Purpose, line: String, body: Option<String>, reply: Reply) {
        let (at, purpose) = (self.stage.now(), purpose.clone());
        self.note(Exchange { at, purpose, line, headers: Vec::new(), body, reply });
    }

    fn note(&self, exchange: Exchange) {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
    }

    /// The standard output of a program that succeeds: what the step expects.
    pub(super) fn output(&self, purpose: &Purpose) -> Secret {
        self.answer(purpose).body
    }

    /// All steps of the part of the recipe to which the request belongs, and the step that was sent.
    fn expected(&self, purpose: &Purpose) -> Option<(Vec<&HttpStep>, &HttpStep)> {
        let manner = self.manners.get(&purpose.subject.vendor)?;
        match purpose.part {
            RecipePart::Deliver { step } => {
                Some((manner.deliver.iter().flatten().collect(), manner.deliver.get(step)?.as_ref()?))
            }
            RecipePart::Verify { step } => Some((manner.verify.iter().collect(), manner.verify.get(step)?)),
            RecipePart::Probe { step } => Some((manner.probe.iter().collect(), manner.probe.get(step)?)),
            RecipePart::Token => None,
        }
    }

    fn answer(&self, purpose: &Purpose) -> Response {
        if purpose.part == RecipePart::Token {
            let token = serde_json::json!({ "access_token": "<access_token>", "token_type": "Bearer" });
            return Response { status: 200, headers: BTreeMap::new(), body: Secret::new(token.to_string()) };
        }
        let key = match purpose.part {
            RecipePart::Deliver { .. } => self.stage.newest(&purpose.subject),
            RecipePart::Verify { .. } | RecipePart::Probe { .. } | RecipePart::Token => {
                self.stage.held(&purpose.subject)
            }
        };
        match self.expected(purpose) {
            Some((steps, step)) => {
                let (subject, account_id) = (&purpose.subject, self.stage.account_id(&purpose.subject));
                hoped_for(&steps, step, &About { subject, account_id, key })
            }
            None => Response { status: 200, headers: BTreeMap::new(), body: Secret::from("{}") },
        }
    }
}

fn manner(vendor: &VendorSettings) -> VendorRequests {
    let told = |step: &DeliverStep| match step {
        DeliverStep::Http(step) => Some((**step).clone()),
        DeliverStep::Command(step) => Some(as_request(step)),
        DeliverStep::Webhook(_) | DeliverStep::SecretStore(_) | DeliverStep::Manual(_) => None,
    };
    let asked = |step: &VerifyStep| match step {
        VerifyStep::Http(step) => (**step).clone(),
        VerifyStep::Command(step) => as_request(step),
    };
    match &vendor.access {
        Access::Role { .. } => VendorRequests::default(),
        Access::Key(access) => VendorRequests {
            deliver: access.deliver.iter().map(told).collect(),
            verify: access.verify.iter().map(asked).collect(),
            probe: access.probe.clone(),
        },
    }
}

/// Describes a command step as an HTTP step with the same expectations and captures, so that its output is made like
/// a response.
fn as_request(step: &CommandStep) -> HttpStep {
    let place = step.expect.pointer.clone().map(AnswerPlace::Pointer);
    let captured = |pointer: &String| Capture { place: AnswerPlace::Pointer(pointer.clone()), default: None };
    HttpStep {
        expect: Expect { place, equals: step.expect.equals.clone(), ..Expect::default() },
        capture: step.capture.iter().map(|(name, pointer)| (name.clone(), captured(pointer))).collect(),
        ..HttpStep::new("POST", "", step.timeout)
    }
}

#[async_trait]
impl Egress for StandInVendors {
    async fn send(&self, purpose: &Purpose, request: Request) -> Answer<Response> {
        let response = self.answer(purpose);
        let exchange = Exchange {
            at: self.stage.now(),
            line: format!("{} {}", request.method, request.url.expose()),
            headers: request
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.expose().to_owned()))
                .collect(),
            body: request.body.as_ref().map(|body| body.expose().to_owned()),
            reply: Reply::Status(response.status),
            purpose: purpose.clone(),
        };
        self.note(exchange);
        Ok(response)
    }

    async fn reach(&self, _url: &str, _timeout: Duration) -> Answer<()> {
        Ok(())
    }
}

/// A source of secrets that reads none. It gives a text that names the reference or, where a signing secret or a
/// private key must be valid, a made-up one.
#[derive(Clone, Debug, Default)]
pub struct PlaceholderSecrets {
    signing: BTreeSet<SecretRef>,
    private_keys: BTreeSet<SecretRef>,
}

impl PlaceholderSecrets {
    /// Placeholders for the secrets of these vendors.
    #[must_use]
    pub fn new(vendors: &BTreeMap<VendorName, VendorSettings>) -> PlaceholderSecrets {
        let mut placeholders = PlaceholderSecrets::default();
        for vendor in vendors.values() {
            let Access::Key(access) = &vendor.access else { continue };
            for step in &access.deliver {
                match step {
                    DeliverStep::Webhook(webhook) => placeholders.signing.extend(webhook.secrets.clone()),
                    DeliverStep::Http(step) => placeholders.private_keys.extend(private_key(step)),
                    DeliverStep::SecretStore(_) | DeliverStep::Command(_) | DeliverStep::Manual(_) => {}
                }
            }
            for step in &access.verify {
                match step {
                    VerifyStep::Http(step) => placeholders.private_keys.extend(private_key(step)),
                    VerifyStep::Command(_) => {}
                }
            }
        }
        placeholders
    }
}

fn private_key(step: &HttpStep) -> Option<SecretRef> {
    match &step.auth {
        Some(Auth::Jwt { private_key, .. }) => Some(private_key.clone()),
        Some(Auth::Bearer(_) | Auth::Basic { .. } | Auth::Header { .. } | Auth::OAuth2 { .. }) | None => None,
    }
}

#[async_trait]
impl SecretSource for PlaceholderSecrets {
    async fn resolve(&self, reference: &SecretRef) -> Result<Secret, String> {
        let name = format!("<{reference}>");
        if self.signing.contains(reference) {
            return Ok(Secret::new(format!("whsec_{}", STANDARD.encode(digest(&SHA256, name.as_bytes())))));
        }
        if self.private_keys.contains(reference) {
            return new_private_key();
        }
        Ok(Secret::new(name))
    }
}

/// A new RSA key in PEM. It exists only in the rehearsal.
fn new_private_key() -> Result<Secret, String> {
    let not_made = |_| "no private key could be made for the rehearsal".to_owned();
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(not_made)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(not_made)?;
    let text = STANDARD.encode(der.as_ref());
    Ok(Secret::new(format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")))
}
