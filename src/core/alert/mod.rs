//! Alerts: which sink gets which notification, when, and when an alert is resolved.
//!
//! [`active()`] derives the active alerts from the verdicts that `status` shows too. [`decide()`] compares them with
//! what a sink was last sent, and returns the notifications to send now. The result of each delivery goes into the
//! sink's [`DeliveryState`], which is stored with the journal, so that a restart repeats no notification and forgets no
//! sink.
//!
//! **Invariant:** this module is pure. Time is an argument; nothing here sends, sleeps or reads a clock.
//!
//! **Invariant:** an alert that a sink has not received is sent at the next decision, however long ago it began: a sink
//! that was down misses nothing that is still wrong.
//!
//! **Invariant:** an alert that a sink received is reported as resolved, once, when its end is *known*. An alert about
//! a user whose reconcile got no answer is not resolved.
//!
//! **Invariant:** if the result of a delivery was lost, the sink may or may not have the notification. It is sent
//! again: the alert, while it is active, and otherwise its resolution, so that no incident stays open.
//!
//! **Invariant:** an alert carries the reason code and the sentence of `status` and `explain`, or a sentence of its own
//! about keys, and no secret: neither a verdict nor the state of a key contains one.

mod active;
mod clock;
mod condition;
mod decide;
mod delivery_state;
mod exposure;
mod findings;
mod keys;
mod words;

#[cfg(test)]
mod tests;

pub use active::{ActiveAlerts, Alert, AlertKey, Seen, active};
pub use clock::ClockReading;
pub use condition::{BadCondition, Condition, Severity};
pub use decide::{Item, Notice, Notification, Policy, Style, decide, next_time};
pub use delivery_state::{DeliveryState, SentAlert};
pub use exposure::{Exposure, ExposureReading, Response, exposed_in_words};
pub use findings::Findings;
pub use words::{headline, lines};
