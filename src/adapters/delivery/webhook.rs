//! `kind = "webhook"`: one message in the format of Standard Webhooks 1.0.
//!
//! **Invariant:** all attempts at one delivery send the same message, with the same id and the same bytes. If the
//! data is encrypted, its bytes differ, but they decrypt to the same text. Only the timestamp, which is that of the
//! attempt, and the signatures over it differ.

use url::Url;

use crate::adapters::delivery::message::{Message, Payload, message_id, test_message};
use crate::adapters::delivery::said::Sent;
use crate::adapters::delivery::{Prepared, Tools, answer, misconfigured};
use crate::adapters::net::signing::SigningKey;
use crate::adapters::net::target::{self, Plaintext};
use crate::config::settings::{Carries, WebhookStep};
use crate::core::ids::Subject;
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Answer, Offer, Purpose, RecipePart, Reference, Request};

/// The values from which a step chooses what its message contains.
#[derive(Clone, Copy)]
pub(super) struct Carried<'a> {
    pub(super) secret: &'a Secret,
    /// The reference to the place at AWS where an earlier step put the pair, if one did.
    pub(super) reference: Option<&'a Reference>,
}

impl<'a> Carried<'a> {
    fn by(self, carries: Carries) -> Answer<Payload<'a>> {
        match (carries, self.reference) {
            (Carries::Secret, _) => Ok(Payload::Secret(self.secret)),
            (Carries::Reference, Some(reference)) => Ok(Payload::Reference(reference)),
            (Carries::Reference, None) => {
                Err(misconfigured("carries = \"reference\": no earlier step has stored the key"))
            }
        }
    }
}

/// Sends the message of step `number`, counted from 1.
pub(super) async fn send(
    tools: &Tools,
    step: &WebhookStep,
    number: usize,
    offer: &Offer,
    carried: Carried<'_>,
) -> Answer<()> {
    let request = request(tools, step, number, offer, carried).await?;
    let key_id = Secret::from(offer.access_key_id.as_str());
    let sent = Sent::webhook(&[carried.secret, &key_id]);
    let host = target::host_of(&request.target);
    let purpose = Purpose { subject: offer.subject.clone(), part: RecipePart::Deliver { step: number - 1 } };
    let response = tools.egress.send(&purpose, request.ready).await?;
    tracing::debug!(
        vendor.name = %offer.subject.vendor, delivery.step = number, delivery.host = %host,
        delivery.status = response.status, "a webhook was answered"
    );
    answer::accepted(&host, &response, &[], offer.now).map_err(|fault| sent.with_answer(fault, &response))
}

/// Builds the signed request of step `number`, ready to be sent. Reads the signing secrets.
pub(super) async fn request(
    tools: &Tools,
    step: &WebhookStep,
    number: usize,
    offer: &Offer,
    carried: Carried<'_>,
) -> Answer<Prepared> {
    let plaintext = Plaintext::from_setting(step.allow_plaintext);
    let target = target::checked(&step.url, plaintext).map_err(misconfigured)?;
    let keys = signing_keys(tools, step).await?;
    let message = Message {
        offer,
        payload: carried.by(step.carries)?,
        id: None,
        captured: None,
        encrypt_to: step.encrypt_to.as_ref(),
    };
    let body = message.into_json()?;
    Ok(signed(step, target, &keys, message_id(offer, number), offer.now, body))
}

/// Builds the request for a body, signed with each of the keys.
fn signed(
    step: &WebhookStep,
    target: Url,
    keys: &[SigningKey],
    id: String,
    now: Timestamp,
    body: Secret,
) -> Prepared {
    let signatures: Vec<_> = keys.iter().map(|key| key.sign(&id, now, body.expose())).collect();
    let ready = Request {
        method: "POST".to_owned(),
        url: Secret::from(target.as_str()),
        headers: vec![
            ("content-type".to_owned(), Secret::from("application/json")),
            ("webhook-id".to_owned(), Secret::new(id)),
            ("webhook-timestamp".to_owned(), Secret::new(now.unix_seconds().to_string())),
            ("webhook-signature".to_owned(), Secret::new(signatures.join(" "))),
        ],
        body: Some(body),
        timeout: step.timeout,
    };
    Prepared { target, ready }
}

/// Sends a test message without an access key to the webhook of step `number`, counted from 1. It is signed and
/// encrypted like a real one.
pub(super) async fn send_test(
    tools: &Tools,
    step: &WebhookStep,
    number: usize,
    subject: &Subject,
    now: Timestamp,
) -> Answer<String> {
    let plaintext = Plaintext::from_setting(step.allow_plaintext);
    let target = target::checked(&step.url, plaintext).map_err(misconfigured)?;
    let keys = signing_keys(tools, step).await?;
    let body = test_message(&subject.vendor, step.encrypt_to.as_ref(), now)?;
    let id = format!("msg_test_{}_{number}", now.unix_seconds());
    let Prepared { target, ready } = signed(step, target, &keys, id, now, body);
    let host = target::host_of(&target);
    let purpose = Purpose { subject: subject.clone(), part: RecipePart::Deliver { step: number - 1 } };
    let response = tools.egress.send(&purpose, ready).await?;
    answer::accepted(&host, &response, &[], now)?;
    Ok(format!("{host} answered {}; the message had no access key", response.status))
}

/// Reads the signing keys, newest first. Every message is signed with each of them, so that the vendor can change
/// over.
async fn signing_keys(tools: &Tools, step: &WebhookStep) -> Answer<Vec<SigningKey>> {
    let mut keys = Vec::with_capacity(step.secrets.len());
    for reference in &step.secrets {
        let text = tools.resolve(reference).await?;
        let key = SigningKey::parse(&text);
        keys.push(key.map_err(|bad| misconfigured(format!("the webhook secret {reference} {bad}")))?);
    }
    Ok(keys)
}
