//! Adapters: each implements ports of [`crate::ports`] against one part of the world.
//!
//! They decide nothing and do not import each other, with two exceptions: `aws` is the ground that those who call AWS
//! share, and `net` is that of those who send requests to other addresses.

pub mod aws;
pub mod delivery;
pub mod journal;
pub mod net;
pub mod notify;
pub mod rehearsal;
pub mod secrets;
