//! A growing text that may contain secrets. It has a maximum size, and wipes its old memory when it grows.

use std::io;

use zeroize::Zeroizing;

use crate::core::secret::Secret;

/// The maximum length of a text that is built, in bytes. Standard Webhooks asks for less than 20 kB.
pub(super) const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The maximum length of a response that is read, in bytes. The response to a change of credentials is short. A list
/// in which something is looked up, such as a hundred repositories of GitHub or a thousand versions of a service,
/// needs half of this.
pub(super) const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The initial capacity, in bytes. It is larger than the body of a webhook, so that growing is rare.
const FIRST_BYTES: usize = 2048;

/// A byte buffer that is wiped when it is dropped and that holds at most `max` bytes.
pub(super) struct SecretBuffer {
    bytes: Zeroizing<Vec<u8>>,
    max: usize,
}

impl SecretBuffer {
    /// A buffer for a text that is built, of at most [`TEXT_BYTES_MAX`].
    pub(super) fn new() -> SecretBuffer {
        SecretBuffer::up_to(TEXT_BYTES_MAX)
    }

    /// A buffer for a response that is read, of at most [`ANSWER_BYTES_MAX`].
    pub(super) fn of_answer() -> SecretBuffer {
        SecretBuffer::up_to(ANSWER_BYTES_MAX)
    }

    fn up_to(max: usize) -> SecretBuffer {
        SecretBuffer { bytes: Zeroizing::new(Vec::with_capacity(FIRST_BYTES)), max }
    }

    /// How many more bytes fit.
    pub(super) fn room(&self) -> usize {
        self.max - self.bytes.len()
    }

    /// Appends as many of `bytes` as fit. Returns whether all of them did.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let fitting = bytes.len().min(self.room());
        self.reserve(fitting);
        self.bytes.extend_from_slice(&bytes[..fitting]);
        fitting == bytes.len()
    }

    /// The content as a secret. Bytes that are not UTF-8 become replacement characters.
    pub(super) fn into_secret(mut self) -> Secret {
        match String::from_utf8(std::mem::take(&mut *self.bytes)) {
            Ok(text) => Secret::new(text),
            Err(other) => {
                let bytes = Zeroizing::new(other.into_bytes());
                Secret::new(String::from_utf8_lossy(&bytes).into_owned())
            }
        }
    }

    /// Grows into new memory and wipes the old. A `Vec` that grows by itself frees its old memory without wiping it.
    fn reserve(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.bytes.capacity())));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
    }
}

impl io::Write for SecretBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.push(bytes) { Ok(bytes.len()) } else { Err(io::ErrorKind::FileTooLarge.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_secret_buffer_grows_up_to_its_limit() {
        let mut text = SecretBuffer::new();
        assert!(text.push(&[b'a'; FIRST_BYTES]));
        assert!(text.push(b"more"));
        assert!(!text.push(&vec![b'b'; TEXT_BYTES_MAX]));
        assert_eq!(text.room(), 0);
        assert!(text.write_all(b"x").is_err());
        let secret = text.into_secret();
        assert_eq!(secret.expose().len(), TEXT_BYTES_MAX);
        assert!(secret.expose()[FIRST_BYTES..].starts_with("moreb"));
    }

    #[test]
    fn invalid_utf8_bytes_are_replaced() {
        let mut text = SecretBuffer::new();
        assert!(text.push(b"a\xff"));
        assert_eq!(text.into_secret().expose(), "a\u{fffd}");
    }
}
