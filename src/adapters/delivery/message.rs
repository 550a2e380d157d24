//! The JSON message for a vendor: the body of a webhook, and the standard input of a command.
//!
//! **Invariant:** the message is a function of the [`Offer`]. If it is encrypted, each attempt encrypts it anew, so
//! its bytes differ, but it decrypts to the same text.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use crate::adapters::delivery::secret_buffer::SecretBuffer;
use crate::adapters::delivery::template::Captured;
use crate::adapters::delivery::{age, misconfigured};
use crate::config::Recipient;
use crate::core::ids::{AccessKeyId, AccountId, IamUserName, RotationId, VendorName};
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Answer, Offer, Reference};

/// The part of the new key that a message contains, besides its access key id.
#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    /// The secret access key.
    Secret(&'a Secret),
    /// The place at AWS to which an earlier step wrote the pair.
    Reference(&'a Reference),
    /// Nothing: the message only asks which key the vendor has.
    Question,
}

/// The parts of one message.
pub(super) struct Message<'a> {
    pub(super) offer: &'a Offer,
    pub(super) payload: Payload<'a>,
    /// The idempotency key, if no header carries it.
    pub(super) id: Option<&'a str>,
    /// The values that earlier steps captured.
    pub(super) captured: Option<&'a Captured>,
    pub(super) encrypt_to: Option<&'a Recipient>,
}

/// The idempotency key for the receiver: the same for every attempt at this delivery. It contains no dot, because the
/// signed text of a webhook is joined with dots.
pub(super) fn message_id(offer: &Offer, number: usize) -> String {
    let rotation = offer.rotation.to_string().replace('-', "");
    format!("msg_{rotation}_{}_{number}", offer.round)
}

#[derive(Serialize)]
struct Envelope<'a, D> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    r#type: &'static str,
    timestamp: Timestamp,
    data: D,
}

#[derive(Serialize)]
struct Data<'a> {
    rotation_id: RotationId,
    vendor: &'a VendorName,
    aws_account_id: &'a AccountId,
    iam_user: &'a IamUserName,
    access_key_id: &'a AccessKeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_access_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_reference: Option<&'a Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_access_key_id: Option<&'a AccessKeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_key_valid_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    captured: Option<BTreeMap<&'a str, &'a str>>,
}

/// The data of an encrypted message: the unencrypted fields help a receiver to find the age identity that decrypts
/// the rest.
#[derive(Serialize)]
struct Sealed<'a> {
    rotation_id: RotationId,
    vendor: &'a VendorName,
    data_encrypted: String,
}

/// The data of a test message. It has no pair and no access key id, so a receiver that ignores the type stores
/// nothing.
#[derive(Serialize)]
struct TestData<'a> {
    vendor: &'a VendorName,
    note: &'static str,
}

/// The body of a test message for this vendor, encrypted if there is a recipient. It contains no access key.
pub(super) fn test_message(
    vendor: &VendorName,
    encrypt_to: Option<&Recipient>,
    now: Timestamp,
) -> Answer<Secret> {
    #[derive(Serialize)]
    struct SealedTest<'a> {
        vendor: &'a VendorName,
        data_encrypted: String,
    }
    let note =
        "a test of keyround, without an access key: verify it, store nothing, and answer with a 2xx status";
    let data = TestData { vendor, note };
    let (id, r#type) = (None, "access_key.test");
    let Some(recipient) = encrypt_to else { return json(&Envelope { id, r#type, timestamp: now, data }) };
    let data = SealedTest { vendor, data_encrypted: encrypted(recipient, &json(&data)?)? };
    json(&Envelope { id, r#type, timestamp: now, data })
}

impl Message<'_> {
    pub(super) fn into_json(self) -> Answer<Secret> {
        let Offer { rotation, subject, offered_at, .. } = self.offer;
        let data = self.data();
        let Some(recipient) = self.encrypt_to else { return json(&self.envelope(*offered_at, data)) };
        let data_encrypted = encrypted(recipient, &json(&data)?)?;
        let sealed = Sealed { rotation_id: *rotation, vendor: &subject.vendor, data_encrypted };
        json(&self.envelope(*offered_at, sealed))
    }

    fn envelope<D>(&self, timestamp: Timestamp, data: D) -> Envelope<'_, D> {
        let r#type = match self.payload {
            Payload::Secret(_) | Payload::Reference(_) => "access_key.rotated",
            Payload::Question => "access_key.verify",
        };
        Envelope { id: self.id, r#type, timestamp, data }
    }

    fn data(&self) -> Data<'_> {
        let offer = self.offer;
        let (secret, reference) = match self.payload {
            Payload::Secret(secret) => (Some(secret.expose()), None),
            Payload::Reference(reference) => (None, Some(reference)),
            Payload::Question => (None, None),
        };
        let captured = self.captured.filter(|captured| !captured.is_empty());
        Data {
            rotation_id: offer.rotation,
            vendor: &offer.subject.vendor,
            aws_account_id: &offer.account_id,
            iam_user: &offer.subject.iam_user,
            access_key_id: &offer.access_key_id,
            secret_access_key: secret,
            secret_reference: reference,
            previous_access_key_id: offer.old_access_key_id.as_ref(),
            previous_key_valid_until: offer.old_access_key_id.as_ref().map(|_| offer.old_valid_until),
            captured: captured.map(exposed),
        }
    }
}

fn exposed(captured: &Captured) -> BTreeMap<&str, &str> {
    captured.iter().map(|(name, value)| (name.as_str(), value.text().expose())).collect()
}

fn json(value: &impl Serialize) -> Answer<Secret> {
    let mut text = SecretBuffer::new();
    serde_json::to_writer(&mut text, value).map_err(|_| misconfigured("the message is too long"))?;
    Ok(text.into_secret())
}

/// The text as an age file in base64, which `base64 -d | age -d` decrypts.
fn encrypted(recipient: &Recipient, text: &Secret) -> Answer<String> {
    let file = age::encrypt(recipient, text);
    Ok(BASE64.encode(file.map_err(|not| misconfigured(format!("the message: {not}")))?))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::core::ids::Subject;
    use crate::core::rotation::AtVendor;

    /// An example offer for the tests of this folder.
    pub(in crate::adapters::delivery) fn offer() -> Offer {
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
            old_access_key_id: Some(old),
            offered_at,
            old_valid_until: "2026-11-24T03:00:00Z".parse().expect("a time"),
            at_vendor: AtVendor::old(),
            now: offered_at,
        }
    }

    fn text(payload: Payload<'_>, encrypt_to: Option<&Recipient>) -> String {
        let offer = offer();
        let message = Message { offer: &offer, payload, id: None, captured: None, encrypt_to };
        message.into_json().expect("a message").expose().to_owned()
    }

    #[test]
    fn the_webhook_message_matches_its_contract() {
        let secret = Secret::from("s3cr+t/\"canary");
        let expected = format!(
            concat!(
                r#"{{"type":"access_key.rotated","timestamp":"2026-11-23T03:00:00Z","data":{{"rotation_id":"{}","#,
                r#""vendor":"acme","aws_account_id":"111122223333","iam_user":"vendor-acme","#,
                r#""access_key_id":"AKIANEW0000000000001","secret_access_key":"s3cr+t/\"canary","#,
                r#""previous_access_key_id":"AKIAOLD0000000000001","#,
                r#""previous_key_valid_until":"2026-11-24T03:00:00Z"}}}}"#
            ),
            offer().rotation
        );
        assert_eq!(text(Payload::Secret(&secret), None), expected);
    }

    #[test]
    fn a_secret_reference_replaces_the_secret_in_a_message() {
        let arn = "arn:aws:secretsmanager:us-east-1:111122223333:secret:acme-AbCdEf".to_owned();
        let reference = Reference { service: "secretsmanager", arn, version_id: "v-1".to_owned() };
        let text = text(Payload::Reference(&reference), None);
        let expected = concat!(
            r#""access_key_id":"AKIANEW0000000000001","secret_reference":{"service":"secretsmanager","#,
            r#""arn":"arn:aws:secretsmanager:us-east-1:111122223333:secret:acme-AbCdEf","version_id":"v-1"},"#
        );
        assert!(text.contains(expected) && !text.contains("secret_access_key"), "{text}");
    }

    #[test]
    fn an_encrypted_message_hides_its_secret_key_ids_user_and_account() {
        let recipient: Recipient =
            "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj".parse().expect("a recipient");
        let secret = Secret::from("s3cr+t/\"canary");
        let (clear, sealed) =
            (text(Payload::Secret(&secret), None), text(Payload::Secret(&secret), Some(&recipient)));
        for word in ["canary", "AKIA", "vendor-acme", "111122223333"] {
            assert!(clear.contains(word) && !sealed.contains(word), "{word}: {sealed}");
        }
        let [clear, sealed] = [clear, sealed].map(|text| serde_json::from_str::<Value>(&text).expect("JSON"));
        assert_eq!((&sealed["type"], &sealed["timestamp"]), (&clear["type"], &clear["timestamp"]));
        for name in ["rotation_id", "vendor"] {
            assert_eq!(sealed["data"][name], clear["data"][name]);
        }
        let file = BASE64.decode(sealed["data"]["data_encrypted"].as_str().expect("text")).expect("base64");
        assert!(file.starts_with(b"age-encryption.org/v1\n"));
    }

    #[test]
    fn retries_keep_the_message_id_and_a_fresh_delivery_gets_another() {
        let first = offer();
        let again = Offer { now: first.now + std::time::Duration::from_mins(5), ..first.clone() };
        assert_eq!(message_id(&first, 1), message_id(&again, 1));
        assert_ne!(message_id(&first, 1), message_id(&first, 2));
        assert_ne!(message_id(&first, 1), message_id(&Offer { round: 2, ..first.clone() }, 1));
        assert!(!message_id(&first, 1).contains(['.', '-', ' ']));
    }
}
