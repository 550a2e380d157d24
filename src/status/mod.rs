//! Status: keeps what the engine reported, and shows it.
//!
//! [`StatusStore`] keeps the last report of each user. [`StatusView`] joins it with the journal. [`page`], [`metrics`]
//! and [`server`] show the result.
//!
//! **Invariant:** reading the status causes no call to AWS and changes nothing.

pub mod metrics;
pub mod page;
pub mod server;
mod store;
mod view;

pub use store::{StatusSnapshot, StatusStore};
pub use view::{StatusView, status_of};
