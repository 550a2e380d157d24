//! One vendor's recipe, parsed from a configuration, and performed against a vendor that answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use keyround::adapters::delivery::{ConfiguredVendors, Transports};
use keyround::config::settings::{Place, VendorSettings};
use keyround::config::{Diagnostics, Environment, SecretRef, parse};
use keyround::core::ids::{RotationId, Subject, VendorName};
use keyround::core::rotation::{AtVendor, Event, RefusalCode, Verification, retry};
use keyround::core::secret::Secret;
use keyround::core::time::Timestamp;
use keyround::ports::{
    Answer, Egress, Fault, Finished, Offer, Program, Programs, Purpose, Reference, Request, Response,
    SecretSource, SecretStores, Stored, Vendors as _,
};

pub(super) const HOST: &str = "api.acme.example";
pub(super) const NEW_KEY: &str = "AKIANEW0000000000001";
pub(super) const NEW_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// The longest text that a request may contain.
pub(super) const TEXT_BYTES_MAX: usize = 64 * 1024;
/// The number of bytes of an answer that the egress reads.
pub(super) const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The vendors of a configuration, which is parsed once and can be used repeatedly.
pub(super) struct Recipe(BTreeMap<VendorName, VendorSettings>);

/// A vendor's answer to one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) retry_after: Option<String>,
    pub(super) body: String,
}

/// A request as it was sent.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<String>,
}

/// What a target does with the recipe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Errand {
    Deliver,
    Verify,
}

impl Recipe {
    /// The vendor `acme`, with `steps` after its `iam_user`.
    pub(super) fn new(steps: &str) -> Result<Recipe, Diagnostics> {
        let text = format!("[vendor.acme]\niam_user = \"vendor-acme\"\n{steps}");
        parse("rotation.toml", &text, &Environment::default()).map(|settings| Recipe(settings.vendors))
    }

    /// Performs the errand with this new secret. Every reference leads to `token`, and the vendor gives the answers
    /// `said`, one after another, and repeats the last one.
    pub(super) fn perform(
        &self,
        part: Errand,
        secret: &str,
        token: &str,
        said: &[Said],
    ) -> (Answer<Option<Verification>>, Vec<Sent>) {
        let vendor =
            Arc::new(Vendor { said: Mutex::new(said.iter().cloned().collect()), sent: Mutex::default() });
        let secrets = Arc::new(OneSecret(token.to_owned()));
        let nowhere = Arc::new(Nowhere);
        let ways = Transports {
            egress: Arc::clone(&vendor) as _,
            secret_stores: nowhere.clone(),
            programs: nowhere,
        };
        let vendors = ConfiguredVendors::new(&self.0, ways, secrets);
        let name = "acme".parse().expect("a vendor");
        let delivery = vendors.delivery(&name).expect("the recipe has the vendor");
        let (offer, secret) = (offer(), Secret::from(secret));
        let answer = match part {
            Errand::Deliver => {
                delivery.deliver(&offer, &secret).map(|done| done.map(|()| None)).now_or_never()
            }
            Errand::Verify => delivery.verify(&offer).map(|done| done.map(Some)).now_or_never(),
        };
        let sent = std::mem::take(&mut *vendor.sent.lock().expect("no other thread"));
        (answer.expect("nothing here is waited for"), sent)
    }
}

/// A port without AWS targets and without commands: whatever a recipe names, nothing on this machine is run.
struct Nowhere;

fn nowhere() -> Fault {
    Fault::refused(RefusalCode::NotSent, "there is nothing of the kind here")
}

#[async_trait]
impl SecretStores for Nowhere {
    async fn read(&self, _purpose: &Purpose, _place: &Place) -> Answer<Stored> {
        Err(nowhere())
    }

    async fn write(
        &self,
        _purpose: &Purpose,
        _place: &Place,
        _text: &Secret,
        _token: &str,
    ) -> Answer<Reference> {
        Err(nowhere())
    }
}

#[async_trait]
impl Programs for Nowhere {
    async fn run(&self, _purpose: &Purpose, _program: Program<'_>) -> Answer<Finished> {
        Err(nowhere())
    }

    async fn find(&self, _argv: &[String]) -> Answer<()> {
        Err(nowhere())
    }
}

/// Checks the promises about every answer that is not an acceptance.
pub(super) fn check_fault(fault: &Fault, canary: &str) {
    let sentence = fault.sentence();
    assert!(!sentence.contains(canary), "{sentence}");
    assert!(!sentence.contains(NEW_SECRET), "{sentence}");
    assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
    assert!(sentence.len() < 2000, "{sentence}");
    let retry_after = match fault {
        Fault::Refused(refusal) => refusal.retry_after,
        Fault::Unknown(doubt) => doubt.retry_after,
    };
    // Whatever wait the vendor asks for, the next attempt comes soon enough for a person to notice repeated failures.
    let wait = retry::wait_after(1, retry_after).expect("there is a second attempt");
    assert!((Duration::from_secs(5)..=Duration::from_hours(24)).contains(&wait), "{wait:?}");
    let at = Timestamp::EPOCH;
    let doing = keyround::core::rotation::EffectKind::Deliver;
    let event = match fault.clone() {
        Fault::Refused(refusal) => Event::Refused { doing, refusal, at },
        Fault::Unknown(doubt) => Event::Unanswered { doing, doubt, at },
    };
    assert_eq!(keyround::adapters::journal::decode(&keyround::adapters::journal::encode(&event)), Ok(event));
}

pub(super) fn now() -> Timestamp {
    "2026-11-23T03:00:00Z".parse().expect("a time")
}

fn offer() -> Offer {
    let subject = Subject {
        vendor: "acme".parse().expect("a vendor"),
        account: None,
        iam_user: "vendor-acme".parse().expect("a user"),
    };
    let old = "AKIAOLD0000000000001".parse().expect("a key id");
    Offer {
        rotation: RotationId::new(&subject, &old, now()),
        round: 1,
        subject,
        account_id: "111122223333".parse().expect("an account"),
        access_key_id: NEW_KEY.parse().expect("a key id"),
        old_access_key_id: Some(old),
        offered_at: now(),
        old_valid_until: now() + Duration::from_hours(24),
        at_vendor: AtVendor::old(),
        now: now(),
    }
}

struct OneSecret(String);

#[async_trait]
impl SecretSource for OneSecret {
    async fn resolve(&self, _: &SecretRef) -> Result<Secret, String> {
        Ok(Secret::from(self.0.as_str()))
    }
}

/// A vendor that answers at once, and records the requests.
struct Vendor {
    said: Mutex<VecDeque<Said>>,
    sent: Mutex<Vec<Sent>>,
}

#[async_trait]
impl Egress for Vendor {
    async fn send(&self, _: &Purpose, request: Request) -> Answer<Response> {
        let headers = request.headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        let sent = Sent {
            method: request.method,
            url: request.url.expose().to_owned(),
            headers,
            body: request.body.map(|body| body.expose().to_owned()),
        };
        self.sent.lock().expect("no other thread").push(sent);
        let mut said = self.said.lock().expect("no other thread");
        let answer = if said.len() > 1 { said.pop_front() } else { said.front().cloned() };
        let Said { status, retry_after, body } = answer.unwrap_or_default();
        let headers = retry_after.map(|text| ("retry-after".to_owned(), text));
        Ok(Response { status, headers: BTreeMap::from_iter(headers), body: Secret::from(cut(&body)) })
    }

    async fn reach(&self, _: &str, _: Duration) -> Answer<()> {
        Ok(())
    }
}

fn cut(body: &str) -> &str {
    &body[..body.floor_char_boundary(ANSWER_BYTES_MAX)]
}
