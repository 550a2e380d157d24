//! Deliveries to vendors over real sockets, against the scripted vendor of `tests/it/support/vendor.rs`. Proves
//! promise 5 of `src/lib.rs` for HTTP: each answer is accepted, refused or unknown.

mod canary;
mod judging;
mod outcomes;
mod recipes;
mod verifying;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keyround::adapters::aws::AwsSession;
use keyround::adapters::aws::secret_store::AwsSecretStores;
use keyround::adapters::delivery::{ConfiguredVendors, HttpsEgress, LocalPrograms, Transports};
use keyround::config::SecretRef;
use keyround::config::settings::{
    Access, Ages, AnswerPlace, AwsSettings, Capture, Carries, DeliverStep, Expect, HttpStep, KeyAccess,
    Users, VendorNeeds, VendorSettings, VerifyStep, WebhookStep, Written,
};
use keyround::core::ids::{AccessKeyId, RotationId, Subject};
use keyround::core::rotation::{AtVendor, Plan, Refusal, RefusalCode, Windows};
use keyround::core::secret::Secret;
use keyround::core::time::SystemClock;
use keyround::ports::{Delivery, Fault, Offer, SecretSource, Vendors as _};
use rustls::RootCertStore;

const NEW_KEY: &str = "AKIANEW0000000000001";
const OLD_KEY: &str = "AKIAOLD0000000000001";
const NEW_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SIGNING_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A timeout that is long enough for a busy machine.
const PATIENT: Duration = Duration::from_secs(20);
/// A timeout for answers that never come.
const IMPATIENT: Duration = Duration::from_millis(300);

/// The secrets, by the text of their reference.
#[derive(Default)]
struct Secrets(BTreeMap<String, String>);

impl Secrets {
    fn of(secrets: &[(&str, &str)]) -> Secrets {
        Secrets(secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

#[async_trait]
impl SecretSource for Secrets {
    async fn resolve(&self, reference: &SecretRef) -> Result<Secret, String> {
        let value = self.0.get(&reference.to_string());
        value.map(|text| Secret::from(text.as_str())).ok_or_else(|| format!("{reference} is not there"))
    }
}

fn reference(text: &str) -> SecretRef {
    text.parse().expect("a reference")
}

/// The delivery to the vendor `acme` with this recipe, by a client that trusts `roots`.
fn delivery_trusting(
    roots: RootCertStore,
    deliver: Vec<DeliverStep>,
    verify: Option<HttpStep>,
    secrets: Secrets,
) -> Arc<dyn Delivery> {
    let day = Duration::from_hours(24);
    let access = KeyAccess {
        account: None,
        users: Users::Named(vec!["vendor-acme".parse().expect("a user")]),
        ages: Ages { max_age: 90 * day, warn_before: 14 * day, overdue_after: 3 * day, deadline: None },
        windows: Windows::any_time(),
        plan: Plan::default(),
        deliver,
        presets: Vec::new(),
        verify: verify.into_iter().map(|step| VerifyStep::Http(Box::new(step))).collect(),
        probe: Vec::new(),
    };
    let access = Access::Key(Box::new(access));
    let name: keyround::core::ids::VendorName = "acme".parse().expect("a vendor");
    let vendor = VendorSettings {
        name: name.clone(),
        enabled: true,
        owner: None,
        access,
        needs: VendorNeeds::default(),
        written: Written { file: "rotation.toml".into(), line: 1, columns: 13 },
    };
    let egress = HttpsEgress::trusting(roots).expect("a client");
    let vendors = BTreeMap::from([(name.clone(), vendor)]);
    let session = Arc::new(AwsSession::new(&AwsSettings::default()));
    let ways = Transports {
        egress: Arc::new(egress),
        secret_stores: Arc::new(AwsSecretStores::new(&session, &BTreeMap::new())),
        programs: Arc::new(LocalPrograms),
    };
    let vendors = ConfiguredVendors::new(&vendors, ways, Arc::new(secrets));
    vendors.delivery(&name).expect("the vendor")
}

fn delivery(deliver: Vec<DeliverStep>, verify: Option<HttpStep>, secrets: Secrets) -> Arc<dyn Delivery> {
    delivery_trusting(RootCertStore::empty(), deliver, verify, secrets)
}

/// One webhook step to `url`, signed with [`SIGNING_SECRET`].
fn webhook(url: &str) -> Arc<dyn Delivery> {
    let secrets = Secrets::of(&[("env:SIGNING", SIGNING_SECRET)]);
    delivery(vec![DeliverStep::Webhook(webhook_step(url))], None, secrets)
}

fn webhook_step(url: &str) -> WebhookStep {
    let secrets = vec![reference("env:SIGNING")];
    WebhookStep {
        url: url.to_owned(),
        secrets,
        carries: Carries::Secret,
        encrypt_to: None,
        timeout: PATIENT,
        allow_plaintext: false,
    }
}

/// A request without headers, authentication or body.
fn http_step(method: &str, url: &str) -> HttpStep {
    HttpStep::new(method, url, PATIENT)
}

fn http(step: HttpStep) -> DeliverStep {
    DeliverStep::Http(Box::new(step))
}

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn captures<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, Capture> {
    let pairs = pairs.into_iter();
    pairs
        .map(|(name, pointer)| {
            (name.to_owned(), Capture { place: AnswerPlace::Pointer(pointer.to_owned()), default: None })
        })
        .collect()
}

/// Expects a value at this pointer of the answer, and optionally which one.
fn expecting(pointer: &str, equals: Option<&str>) -> Expect {
    let place = Some(AnswerPlace::Pointer(pointer.to_owned()));
    Expect { place, equals: equals.map(str::to_owned), ..Expect::default() }
}

/// An offer that is made now, because the reference implementation reads the real clock.
fn offer() -> Offer {
    let now = SystemClock.now();
    let subject = Subject {
        vendor: "acme".parse().expect("a vendor"),
        account: None,
        iam_user: "vendor-acme".parse().expect("a user"),
    };
    let old: AccessKeyId = OLD_KEY.parse().expect("a key id");
    Offer {
        rotation: RotationId::new(&subject, &old, now),
        round: 1,
        subject,
        account_id: "111122223333".parse().expect("an account"),
        access_key_id: NEW_KEY.parse().expect("a key id"),
        old_access_key_id: Some(old),
        offered_at: now,
        old_valid_until: now + Duration::from_hours(24),
        at_vendor: AtVendor::old(),
        now,
    }
}

fn new_secret() -> Secret {
    Secret::from(NEW_SECRET)
}

#[track_caller]
fn refused(answer: Result<(), Fault>, code: RefusalCode) -> Refusal {
    match answer {
        Err(Fault::Refused(refusal)) if refusal.code == code => refusal,
        other => panic!("{other:?} is not a refusal as {code:?}"),
    }
}

#[track_caller]
fn unknown(answer: Result<(), Fault>) -> String {
    match answer {
        Err(Fault::Unknown(doubt)) => doubt.sentence,
        other => panic!("{other:?} is not a doubt"),
    }
}
