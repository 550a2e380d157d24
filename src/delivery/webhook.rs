//! `kind = "webhook"`: one message in the form of Standard Webhooks 1.0.
//!
//! **Invariant:** repeats of one delivery are the same message: the same id and the same bytes, or, where they are
//! encrypted, bytes that come out the same. Only the timestamp, which is the attempt's, and with it the signatures, differ.

use crate::config::settings::{Carries, WebhookStep};
use crate::delivery::message::{Message, Payload, message_id};
use crate::delivery::said::Sent;
use crate::delivery::{Prepared, Tools, answer, misconfigured};
use crate::outward::signing::SigningKey;
use crate::outward::target::{self, Plaintext};
use crate::ports::{Answer, Errand, Offer, Purpose, Reference, Request};
use crate::secret::Secret;

/// What there is to be carried.
#[derive(Clone, Copy)]
pub(super) struct Carried<'a> {
    pub(super) secret: &'a Secret,
    /// Where an earlier step put it, if one did.
    pub(super) reference: Option<&'a Reference>,
}

impl<'a> Carried<'a> {
    fn by(self, carries: Carries) -> Answer<Payload<'a>> {
        match (carries, self.reference) {
            (Carries::Secret, _) => Ok(Payload::Secret(self.secret)),
            (Carries::Reference, Some(reference)) => Ok(Payload::Reference(reference)),
            (Carries::Reference, None) => {
                Err(misconfigured("no earlier step has put the key where a reference could lead"))
            }
        }
    }
}

/// Sends the message of step `number`, from 1.
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
    let purpose = Purpose { subject: offer.subject.clone(), errand: Errand::Deliver { step: number - 1 } };
    let response = tools.egress.send(&purpose, request.ready).await?;
    tracing::debug!(
        vendor.name = %offer.subject.vendor, delivery.step = number, delivery.host = %host,
        delivery.status = response.status, "a webhook was answered"
    );
    answer::accepted(&host, &response, &[], offer.now).map_err(|fault| sent.with_answer(fault, &response))
}

/// The request of step `number`, ready to be sent. Reads the signing secrets.
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
    let id = message_id(offer, number);
    let signatures: Vec<_> = keys.iter().map(|key| key.sign(&id, offer.now, body.expose())).collect();
    let ready = Request {
        method: "POST".to_owned(),
        url: Secret::from(target.as_str()),
        headers: vec![
            ("content-type".to_owned(), Secret::from("application/json")),
            ("webhook-id".to_owned(), Secret::new(id)),
            ("webhook-timestamp".to_owned(), Secret::new(offer.now.unix_seconds().to_string())),
            ("webhook-signature".to_owned(), Secret::new(signatures.join(" "))),
        ],
        body: Some(body),
        timeout: step.timeout,
    };
    Ok(Prepared { target, ready })
}

/// The keys that sign, newest first.
async fn signing_keys(tools: &Tools, step: &WebhookStep) -> Answer<Vec<SigningKey>> {
    let mut keys = Vec::with_capacity(step.secrets.len());
    for reference in &step.secrets {
        let text = tools.resolve(reference).await?;
        let key = SigningKey::parse(&text);
        keys.push(key.map_err(|bad| misconfigured(format!("the webhook secret {reference} {bad}")))?);
    }
    Ok(keys)
}
