//! Alerts: who is told what, when, and that it is over.
//!
//! [`picture`] says what is wrong now, from the verdicts that `status` shows too. [`decide`] sets
//! that against what a sink was last told, and says what to tell it. What came of the telling goes
//! into the sink's [`DeliveryState`], which is kept beside the journal, so that a restart tells nothing twice
//! and forgets nobody.
//!
//! **Invariant:** pure. Time is an argument; nothing here sends, sleeps or reads a clock.
//!
//! **Invariant:** what a sink was not told is told at the next decision, however long ago it began: a
//! sink that was down misses nothing that is still wrong.
//!
//! **Invariant:** what a sink was told is told to be over, once, when that is *known*. A user that could not be
//! looked at is not over.
//!
//! **Invariant:** a sink whose answer was lost may believe either. It is told again: what is wrong, while it is, and
//! else that it is resolved, so that no incident stays open.
//!
//! **Invariant:** an alert carries the code and the sentence of `status` and `explain`, and no secret: there is
//! none in a verdict.

mod active;
mod clock;
mod condition;
mod decide;
mod delivery_state;
mod findings;
mod keys;
mod words;

#[cfg(test)]
mod tests;

pub use active::{ActiveAlerts, Alert, AlertKey, Seen, active};
pub use clock::ClockReading;
pub use condition::{BadCondition, Condition, Severity};
pub use decide::{Item, Notice, Notification, Policy, Style, decide, next_time};
pub use delivery_state::{DeliveryState, Told};
pub use findings::Findings;
pub use words::{headline, lines};
