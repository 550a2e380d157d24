//! The rotation of one access key, as a pure function of its journal.
//!
//! The engine replays the journal into a [`Rotation`] and asks [`Rotation::next`] what to do. It appends the intent to
//! the journal, performs the effect, and appends the outcome. A restart does exactly the same, so there is no separate
//! recovery path that could be wrong.
//!
//! ```text
//!  survey ─► create ─► prove ─► deliver ─► verify ─► soak ─► (retire) ─► cool ─► (delete) ─► done
//!    ▲         │ ?        │        ▲          │         ▲                  │
//!    └─discard◄┘          │        └──forgot──┘         └───reactivate─────┘
//!                         └ abandon discards the new key, but only before its first delivery
//! ```
//!
//! `?` is a CreateAccessKey without an answer. `forgot` means that the vendor accepted the new key, and then named
//! another one each time it was asked: the new key is delivered afresh.
//!
//! **Invariant:** nothing in this folder reads a clock, sleeps, uses random numbers or touches the network.
//!
//! **Invariant:** the intent of an effect that changes the world is in the journal before the effect is performed.
//!
//! **Invariant:** an effect that takes a key away needs [`Evidence`], and only this folder can create it.
//!
//! If a person hands the key over, `deliver` is a wait: first until the key is shown to a person, and then until a
//! person confirms, or a recorded use shows, that the vendor has it (`manual.rs`).
//!
//! A user without an Active key gets one by the same machine, with no old key (`issue.rs`). When a vendor is offboarded,
//! every key of its user is set Inactive and later deleted (`offboard.rs`).
//!
//! **Invariant:** from the first intent to deliver on, the new key is never discarded, unless that delivery certainly
//! sent nothing. Showing the key to a person counts as such an intent.
//!
//! **Invariant:** keyround never sets a key Active again that a person declared exposed, unless a person asks for it
//! (`incident.rs`).

mod abandon;
mod apply;
mod blocker;
mod clock;
mod cool;
mod dates;
mod discard;
mod doubt;
mod effect;
mod event;
mod exposed;
mod gates;
mod hold;
mod incident;
mod issue;
mod known_keys;
mod listing;
mod machine;
mod manual;
mod next;
mod offboard;
mod pair;
mod plan;
mod refusal;
pub mod retry;
#[cfg(test)]
pub(crate) mod samples;
mod stage;
#[cfg(test)]
mod tests;
mod use_evidence;
mod window;
mod words;

pub use clock::{CLOCK_OFF_MAX, ClockDoubt, ahead_secs, off_in_words};
pub use discard::Discarding;
pub use effect::{Effect, Evidence, Outcome};
pub use event::{
    Beginning, EffectKind, Event, Intent, KeyMetadata, KeyStatus, KeyUsage, RemovalReason, Verification,
};
pub use incident::{Incident, IncidentMode};
pub use known_keys::{KeyState, KnownKey};
pub use machine::{IllegalEvent, Rotation};
pub use next::{Blocker, Ending, Next, Waiting};
pub use offboard::Offboarding;
pub use pair::{AtVendor, Half, Halves, VendorHolds};
pub use plan::Plan;
pub use refusal::{Doubt, Refusal, RefusalCode, VendorAnswer};
pub use stage::Stage;
pub use use_evidence::UseEvidence;
pub use window::{BadWindow, Window, Windows};
