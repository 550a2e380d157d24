//! Shared by all adapters that send requests: which addresses are allowed, and how a message is signed.
//!
//! **Invariant:** a request that may contain a secret is sent only under TLS, to this machine, or where the
//! configuration allows plain text.

pub(crate) mod signing;
pub(crate) mod target;
