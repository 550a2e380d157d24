//! What those who send something out share: where a request may go, and how it is signed.
//!
//! **Invariant:** what may be a secret leaves under TLS, or to this machine, or where the configuration allows it.

pub(crate) mod signing;
pub(crate) mod target;
