//! The review of an account: pure rules over what was read from AWS.
//!
//! [`policy`] reads policy documents as IAM does, lints them and generates narrow ones. [`audit`] judges users, keys,
//! roles and trails by the practices that vendors publish.

pub mod audit;
pub mod policy;
