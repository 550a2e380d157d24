//! Secrets, which stay in zeroized memory and never appear in any output.
//!
//! **Invariant:** no type here implements `Display` or `Serialize`, and `Debug` shows nothing of the value. The only
//! access to the bytes is [`Secret::expose`], which is easy to search for.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text: a secret access key, a token, a signing secret, a rendered request.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of the text. Its memory is wiped when the secret is dropped.
    #[must_use]
    pub fn new(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }

    /// The text itself. Each caller sends it to AWS or to the vendor, seals it, or signs with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_output_of_a_secret_hides_its_value() {
        let secret = Secret::from("canary");
        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret(…) Secret(…)");
        assert_eq!(secret.expose(), "canary");
    }
}
