//! The stand-ins for the vendors: they answer as the configuration says that a yes looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::config::SecretRef;
use crate::config::settings::{Access, DeliverStep, Expect, VendorSettings, VerifyStep};
use crate::ids::VendorName;
use crate::ports::{Answer, Egress, Errand, Purpose, Request, Response, SecretSource};
use crate::rehearsal::Stage;
use crate::rehearsal::shelf::Shelves;
use crate::secret::Secret;
use crate::time::Timestamp;

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

/// What one vendor's answers must look like.
#[derive(Clone, Debug, Default)]
struct Manner {
    deliver: Vec<(Expect, Vec<String>)>,
    verify: Option<(Expect, Vec<String>)>,
}

/// The way out to the stand-in vendors.
#[derive(Clone)]
pub struct StandInVendors {
    stage: Stage,
    manners: Arc<BTreeMap<VendorName, Manner>>,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
    pub(super) shelves: Arc<Mutex<Shelves>>,
}

impl StandInVendors {
    /// Stand-ins for these vendors in this world.
    #[must_use]
    pub fn new(stage: Stage, vendors: &BTreeMap<VendorName, VendorSettings>) -> StandInVendors {
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

    fn expected(&self, purpose: &Purpose) -> Option<&(Expect, Vec<String>)> {
        let manner = self.manners.get(&purpose.subject.vendor)?;
        match purpose.errand {
            Errand::Deliver { step } => manner.deliver.get(step),
            Errand::Verify => manner.verify.as_ref(),
            Errand::Token => None,
        }
    }

    fn answer(&self, purpose: &Purpose) -> Response {
        let (status, body) = match self.expected(purpose) {
            Some((expect, captures)) => {
                let named = match purpose.errand {
                    Errand::Deliver { .. } => self.stage.newest(&purpose.subject),
                    Errand::Verify | Errand::Token => self.stage.held(&purpose.subject),
                };
                (status_of(expect), body_of(expect, captures, &named))
            }
            None if purpose.errand == Errand::Token => {
                (200, serde_json::json!({ "access_token": "<access_token>", "token_type": "Bearer" }))
            }
            None => (200, Value::Object(Map::new())),
        };
        Response { status, headers: BTreeMap::new(), body: Secret::new(body.to_string()) }
    }
}

fn manner(vendor: &VendorSettings) -> Manner {
    let of = |expect: &Expect, capture: &BTreeMap<String, String>| {
        (expect.clone(), capture.values().cloned().collect())
    };
    match &vendor.access {
        Access::Role { .. } => Manner::default(),
        Access::Key(access) => Manner {
            deliver: access
                .deliver
                .iter()
                .map(|step| match step {
                    DeliverStep::Http(step) => of(&step.expect, &step.capture),
                    DeliverStep::Command(step) => of(&step.expect, &step.capture),
                    DeliverStep::Webhook(_) | DeliverStep::DropOff(_) | DeliverStep::Manual(_) => {
                        (Expect::default(), Vec::new())
                    }
                })
                .collect(),
            verify: access.verify.as_ref().map(|verify| match verify {
                VerifyStep::Http(step) => of(&step.expect, &step.capture),
                VerifyStep::Command(step) => of(&step.expect, &step.capture),
            }),
        },
    }
}

fn status_of(expect: &Expect) -> u16 {
    expect.status.first().copied().unwrap_or(200)
}

/// A document in which every pointer of the configuration leads to what is hoped for there.
fn body_of(expect: &Expect, captures: &[String], named: &str) -> Value {
    let mut document = Value::Object(Map::new());
    // A public key to seal to, a version, an id: 32 bytes in base64 will do for each of them.
    for pointer in captures.iter().chain(&expect.pointer) {
        place(&mut document, pointer, Value::String(STANDARD.encode(digest(&SHA256, pointer.as_bytes()))));
    }
    if let (Some(pointer), Some(equals)) = (&expect.pointer, &expect.equals) {
        let hoped_for = if equals.contains("{{") { named } else { equals };
        place(&mut document, pointer, Value::String(hoped_for.to_owned()));
    }
    document
}

/// Puts a value where an RFC 6901 pointer leads; steps that are numbers become array items.
fn place(document: &mut Value, pointer: &str, value: Value) {
    let mut here = document;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        here = match step.parse::<usize>() {
            Ok(index) if index < 16 && !matches!(here, Value::Object(map) if !map.is_empty()) => {
                item(here, index)
            }
            _ => member(here, step),
        };
    }
    *here = value;
}

fn item(here: &mut Value, index: usize) -> &mut Value {
    if !here.is_array() {
        *here = Value::Array(Vec::new());
    }
    let Value::Array(items) = here else { unreachable!("it was made an array above") };
    while items.len() <= index {
        items.push(Value::Object(Map::new()));
    }
    &mut items[index]
}

fn member(here: &mut Value, name: String) -> &mut Value {
    if !here.is_object() {
        *here = Value::Object(Map::new());
    }
    let Value::Object(members) = here else { unreachable!("it was made an object above") };
    members.entry(name).or_insert(Value::Null)
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
}

impl PlaceholderSecrets {
    /// Placeholders for the secrets of these vendors.
    #[must_use]
    pub fn new(vendors: &BTreeMap<VendorName, VendorSettings>) -> PlaceholderSecrets {
        let keyed = vendors.values().filter_map(|vendor| match &vendor.access {
            Access::Key(access) => Some(access),
            Access::Role { .. } => None,
        });
        let steps = keyed.flat_map(|access| &access.deliver);
        let signing = steps.filter_map(|step| match step {
            DeliverStep::Webhook(webhook) => Some(webhook.secrets.clone()),
            DeliverStep::Http(_)
            | DeliverStep::DropOff(_)
            | DeliverStep::Command(_)
            | DeliverStep::Manual(_) => None,
        });
        PlaceholderSecrets { signing: signing.flatten().collect() }
    }
}

#[async_trait]
impl SecretSource for PlaceholderSecrets {
    async fn resolve(&self, reference: &SecretRef) -> Result<Secret, String> {
        let name = format!("<{reference}>");
        if self.signing.contains(reference) {
            return Ok(Secret::new(format!("whsec_{}", STANDARD.encode(digest(&SHA256, name.as_bytes())))));
        }
        Ok(Secret::new(name))
    }
}
