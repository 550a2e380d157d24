//! Age recipients, the public half of a key pair: messages and data for a vendor can be encrypted to one.

use std::fmt;
use std::str::FromStr;

use bech32::Bech32;
use bech32::primitives::decode::CheckedHrpstring;

/// The human-readable part of a recipient: bech32 separates it from the data by a `1`.
const HEAD: &str = "age";

/// A recipient `age1…`: an X25519 public key in the age format (age-encryption.org/v1). It is not a secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recipient {
    text: String,
    key: [u8; 32],
}

/// A text that is not a recipient. It may be an identity, which is secret, so the error does not repeat it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadRecipient {
    /// The text is an identity, the secret half.
    #[error("this is an age identity, which is the secret half; the recipient begins with age1")]
    Identity,
    /// The text is something else.
    #[error("this is not an age recipient: age1 and 58 letters and digits, as age-keygen prints it")]
    NotARecipient,
}

impl Recipient {
    /// The recipient as it is written in the configuration.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its X25519 public key.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

impl FromStr for Recipient {
    type Err = BadRecipient;

    fn from_str(text: &str) -> Result<Recipient, BadRecipient> {
        if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            return Err(BadRecipient::Identity);
        }
        let decoded = CheckedHrpstring::new::<Bech32>(text).map_err(|_| BadRecipient::NotARecipient)?;
        let bytes: Vec<u8> = decoded.byte_iter().collect();
        match <[u8; 32]>::try_from(bytes) {
            Ok(key) if decoded.hrp().as_str() == HEAD => Ok(Recipient { text: text.to_owned(), key }),
            Ok(_) | Err(_) => Err(BadRecipient::NotARecipient),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_identity_and_a_mistyped_recipient_are_refused() {
        // The example of the age specification.
        let text = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
        assert_eq!(text.parse::<Recipient>().map(|recipient| recipient.to_string()), Ok(text.to_owned()));
        let identity = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
        assert_eq!(identity.parse::<Recipient>(), Err(BadRecipient::Identity));
        assert!(!BadRecipient::Identity.to_string().contains("GFPYYS"));
        for bad in ["", "age1", "age1xyz", &text[..60], &text.to_uppercase(), "ssh-ed25519 AAAA"] {
            assert_eq!(bad.parse::<Recipient>(), Err(BadRecipient::NotARecipient), "{bad}");
        }
    }
}
