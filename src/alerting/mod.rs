//! Alerting: compares what the [`StatusStore`](crate::status::StatusStore) holds with what each sink was sent, and
//! sends the difference.
//!
//! `routes` collects changes and runs beside the engine. `notifier` sends the notifications to each sink and records
//! the results. `reviews` makes the daily review of the accounts for the sinks that subscribed to its findings.
//!
//! **Invariant:** no rotation waits for an alert.

mod exposures;
mod notifier;
mod reviews;
mod routes;

pub use exposures::Exposures;
pub use notifier::Notifier;
pub use routes::{Alerts, Routing, of_journal};
