//! Alerting: compares what the [`StatusStore`](crate::status::StatusStore) holds with what each sink was told, and
//! sends the difference.
//!
//! `routes` gathers changes and runs beside the engine. `notifier` sends one notification to each sink and records the
//! result. `reviews` makes the daily review of the accounts for the sinks that subscribed to its findings.
//!
//! **Invariant:** no rotation waits for an alert.

mod notifier;
mod reviews;
mod routes;

pub use notifier::Notifier;
pub use routes::{Alerts, Routing, of_journal};
