//! The stand-ins for the vendors: they answer as the configuration says that a yes looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::adapters::rehearsal::RehearsalWorld;
use crate::adapters::rehearsal::answer::{About, hoped_for};
use crate::adapters::rehearsal::stub_store::Shelves;
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

/// One request as it would be sent, and what the stand-in answered. There is no real secret in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exchange {
    /// When, on the rehearsal's clock.
    pub at: Timestamp,
    /// What for.
    pub purpose: Purpose,
    /// Such as `POST https://hooks.acme.example/aws-keys`.
    pub line: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body, if there is one.
    pub body: Option<String>,
    /// What came of it.
    pub reply: Reply,
}

/// What came of a request, of a run, of putting something somewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply {
    /// This status.
    Status(u16),
    /// This exit code.
    Exit(i32),
    /// It is there now.
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

/// The requests of one vendor's ways; `None` for a webhook.
#[derive(Clone, Debug, Default)]
struct Manner {
    deliver: Vec<Option<HttpStep>>,
    verify: Vec<HttpStep>,
    probe: Vec<HttpStep>,
}

/// The way out to the stand-in vendors.
#[derive(Clone)]
pub struct StandInVendors {
    stage: RehearsalWorld,
    manners: Arc<BTreeMap<VendorName, Manner>>,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
    pub(super) shelves: Arc<Mutex<Shelves>>,
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

    /// The requests since this was asked last.
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

    /// What a program says that is asked, or told: what is hoped for.
    pub(super) fn output(&self, purpose: &Purpose) -> Secret {
        self.answer(purpose).body
    }

    /// The steps of the errand, and the one that was sent.
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

fn manner(vendor: &VendorSettings) -> Manner {
    let told = |step: &DeliverStep| match step {
        DeliverStep::Http(step) => Some((**step).clone()),
        DeliverStep::Command(step) => Some(as_request(step)),
        DeliverStep::Webhook(_) | DeliverStep::DropOff(_) | DeliverStep::Manual(_) => None,
    };
    let asked = |step: &VerifyStep| match step {
        VerifyStep::Http(step) => (**step).clone(),
        VerifyStep::Command(step) => as_request(step),
    };
    match &vendor.access {
        Access::Role { .. } => Manner::default(),
        Access::Key(access) => Manner {
            deliver: access.deliver.iter().map(told).collect(),
            verify: access.verify.iter().map(asked).collect(),
            probe: access.probe.clone(),
        },
    }
}

/// What is hoped for of a program's output is hoped for as of an answer.
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

/// Reads no secret: gives a text that names the reference, in a shape that its user accepts.
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
                    DeliverStep::DropOff(_) | DeliverStep::Command(_) | DeliverStep::Manual(_) => {}
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

/// A key that signs and that nobody knows: it is made for the rehearsal and forgotten with it.
fn new_private_key() -> Result<Secret, String> {
    let not_made = |_| "no private key could be made for the rehearsal".to_owned();
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(not_made)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(not_made)?;
    let text = STANDARD.encode(der.as_ref());
    Ok(Secret::new(format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")))
}
