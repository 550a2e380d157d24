//! `kind = "webhook"`: one message in the form of Standard Webhooks 1.0.
//!
//! **Invariant:** repeats of one delivery are the same message: the same id and the same bytes. Only the timestamp,
//! which is the attempt's, and with it the signatures, differ.

use serde::Serialize;

use crate::config::settings::WebhookStep;
use crate::delivery::scratch::Scratch;
use crate::delivery::{Prepared, Tools, answer, misconfigured};
use crate::ids::{AccessKeyId, AccountId, IamUserName, RotationId, VendorName};
use crate::outward::signing::SigningKey;
use crate::outward::target::{self, Plaintext};
use crate::ports::{Answer, Errand, Offer, Purpose, Request};
use crate::secret::Secret;
use crate::time::Timestamp;

/// Sends the message of step `number`, from 1.
pub(super) async fn send(
    tools: &Tools,
    step: &WebhookStep,
    number: usize,
    offer: &Offer,
    secret: &Secret,
) -> Answer<()> {
    let request = request(tools, step, number, offer, secret).await?;
    let host = target::host_of(&request.target);
    let purpose = Purpose { subject: offer.subject.clone(), errand: Errand::Deliver { step: number - 1 } };
    let response = tools.egress.send(&purpose, request.ready).await?;
    tracing::debug!(
        vendor.name = %offer.subject.vendor, delivery.step = number, delivery.host = %host,
        delivery.status = response.status, "a webhook was answered"
    );
    answer::accepted(&host, &response, &[], offer.now)
}

/// The request of step `number`, ready to be sent. Reads the signing secrets.
pub(super) async fn request(
    tools: &Tools,
    step: &WebhookStep,
    number: usize,
    offer: &Offer,
    secret: &Secret,
) -> Answer<Prepared> {
    let plaintext = Plaintext::from_setting(step.allow_plaintext);
    let target = target::checked(&step.url, plaintext).map_err(misconfigured)?;
    let keys = signing_keys(tools, step).await?;
    let body = body(offer, secret)?;
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

/// The receiver's idempotency key: the same for every attempt at this delivery. The signed text is joined with
/// dots, so it has none.
fn message_id(offer: &Offer, number: usize) -> String {
    let rotation = offer.rotation.to_string().replace('-', "");
    format!("msg_{rotation}_{}_{number}", offer.round)
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    rotation_id: RotationId,
    vendor: &'a VendorName,
    aws_account_id: &'a AccountId,
    iam_user: &'a IamUserName,
    access_key_id: &'a AccessKeyId,
    secret_access_key: &'a str,
    previous_access_key_id: &'a AccessKeyId,
    previous_key_valid_until: Timestamp,
}

fn body(offer: &Offer, secret: &Secret) -> Answer<Secret> {
    let body = Body {
        r#type: "access_key.rotated",
        timestamp: offer.offered_at,
        data: Data {
            rotation_id: offer.rotation,
            vendor: &offer.subject.vendor,
            aws_account_id: &offer.account_id,
            iam_user: &offer.subject.iam_user,
            access_key_id: &offer.access_key_id,
            secret_access_key: secret.expose(),
            previous_access_key_id: &offer.old_access_key_id,
            previous_key_valid_until: offer.old_valid_until,
        },
    };
    let mut text = Scratch::new();
    serde_json::to_writer(&mut text, &body).map_err(|_| misconfigured("the webhook's body is too long"))?;
    Ok(text.into_secret())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ids::Subject;

    /// A message as it is offered, for the tests of this folder.
    pub(in crate::delivery) fn offer() -> Offer {
        let subject = Subject {
            vendor: "acme".parse().expect("a vendor"),
            account: None,
            iam_user: "vendor-acme".parse().expect("a user"),
        };
        let old: AccessKeyId = "AKIAOLD0000000000001".parse().expect("a key id");
        let offered_at: Timestamp = "2026-11-23T03:00:00Z".parse().expect("a time");
        Offer {
            rotation: RotationId::new(&subject, &old, offered_at),
            round: 1,
            subject,
            account_id: "111122223333".parse().expect("an account"),
            access_key_id: "AKIANEW0000000000001".parse().expect("a key id"),
            old_access_key_id: old,
            offered_at,
            old_valid_until: "2026-11-24T03:00:00Z".parse().expect("a time"),
            now: offered_at,
        }
    }

    #[test]
    fn the_body_is_the_contracts() {
        let offer = offer();
        let text = body(&offer, &Secret::from("s3cr+t/\"canary")).expect("a body");
        let expected = format!(
            concat!(
                r#"{{"type":"access_key.rotated","timestamp":"2026-11-23T03:00:00Z","data":{{"rotation_id":"{}","#,
                r#""vendor":"acme","aws_account_id":"111122223333","iam_user":"vendor-acme","#,
                r#""access_key_id":"AKIANEW0000000000001","secret_access_key":"s3cr+t/\"canary","#,
                r#""previous_access_key_id":"AKIAOLD0000000000001","#,
                r#""previous_key_valid_until":"2026-11-24T03:00:00Z"}}}}"#
            ),
            offer.rotation
        );
        assert_eq!(text.expose(), expected);
    }

    #[test]
    fn an_attempt_has_the_id_of_its_delivery_and_a_fresh_delivery_another() {
        let first = offer();
        let again = Offer { now: first.now + std::time::Duration::from_mins(5), ..first.clone() };
        assert_eq!(message_id(&first, 1), message_id(&again, 1));
        assert_ne!(message_id(&first, 1), message_id(&first, 2));
        assert_ne!(message_id(&first, 1), message_id(&Offer { round: 2, ..first.clone() }, 1));
        assert!(!message_id(&first, 1).contains(['.', '-', ' ']));
    }
}
