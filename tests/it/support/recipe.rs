//! A vendor as the configuration describes it, without the program around it. It records what it receives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use keyround::adapters::aws::AwsSession;
use keyround::adapters::aws::secret_store::AwsSecretStores;
use keyround::adapters::delivery::{ConfiguredVendors, LocalPrograms, Transports};
use keyround::config::{Environment, SecretRef, parse};
use keyround::core::ids::{RotationId, Subject};
use keyround::core::rotation::AtVendor;
use keyround::core::secret::Secret;
use keyround::core::time::{SystemClock, Timestamp};
use keyround::ports::{
    Answer, Delivery, Egress, Offer, Purpose, Request, Response, SecretSource, Vendors as _,
};
use serde_json::{Value, json};

/// The secret that signs each webhook.
pub(crate) const SIGNING_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// The secret of the offered key. It is a canary, which tests search for where it must not be.
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYcanary4242";
pub(crate) const NEW_KEY: &str = "AKIANEW0000000000001";

/// The vendor `acme` with these delivery steps, and the HTTP requests that it received.
pub(crate) fn vendor(session: &Arc<AwsSession>, steps: &str) -> (Arc<dyn Delivery>, Sent) {
    let toml = format!("[vendor.acme]\niam_user = \"vendor-acme\"\n{steps}");
    let settings = parse("rotation.toml", &toml, &Environment::default());
    let settings = settings.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let sent = Sent::default();
    let ways = Transports {
        egress: Arc::new(sent.clone()),
        secret_stores: Arc::new(AwsSecretStores::new(session, &settings.accounts)),
        programs: Arc::new(LocalPrograms),
    };
    let vendors = ConfiguredVendors::new(&settings.vendors, ways, Arc::new(OneSecret(SIGNING_SECRET)));
    (vendors.delivery(&"acme".parse().expect("a vendor")).expect("it is configured"), sent)
}

/// The offer of a rotation's first delivery, made now.
pub(crate) fn offer() -> Offer {
    let now = SystemClock.now();
    let offered_at: Timestamp = "2026-11-23T03:00:00Z".parse().expect("a time");
    let subject = Subject {
        vendor: "acme".parse().expect("a vendor"),
        account: None,
        iam_user: "vendor-acme".parse().expect("a user"),
    };
    let old = "AKIAOLD0000000000001".parse().expect("a key id");
    Offer {
        rotation: RotationId::new(&subject, &old, offered_at),
        round: 1,
        subject,
        account_id: "123456789012".parse().expect("an account"),
        access_key_id: NEW_KEY.parse().expect("a key id"),
        old_access_key_id: Some(old),
        offered_at,
        old_valid_until: offered_at,
        at_vendor: AtVendor::old(),
        now,
    }
}

/// Delivers the pair to the vendor.
pub(crate) async fn deliver(vendor: &Arc<dyn Delivery>) -> Answer<()> {
    vendor.deliver(&offer(), &Secret::from(SECRET)).await
}

/// The requests that were sent to vendors, which accept everything. Each one is `{"headers", "body"}`.
#[derive(Clone, Default)]
pub(crate) struct Sent(Arc<Mutex<Vec<Value>>>);

impl Sent {
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.0.lock().expect("what was sent").clone()
    }
}

#[async_trait]
impl Egress for Sent {
    async fn send(&self, _purpose: &Purpose, request: Request) -> Answer<Response> {
        let headers: BTreeMap<&str, &str> =
            request.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        let body = request.body.as_ref().map(Secret::expose);
        self.0.lock().expect("what was sent").push(json!({ "headers": headers, "body": body }));
        Ok(Response { status: 204, headers: BTreeMap::new(), body: Secret::from("") })
    }

    async fn reach(&self, _url: &str, _timeout: Duration) -> Answer<()> {
        Ok(())
    }
}

/// A secret source in which every reference leads to this secret.
pub(crate) struct OneSecret(pub(crate) &'static str);

#[async_trait]
impl SecretSource for OneSecret {
    async fn resolve(&self, _reference: &SecretRef) -> Result<Secret, String> {
        Ok(Secret::from(self.0))
    }
}
