//! The rotation of one access key, as a pure function of its journal.
//!
//! The driver replays the journal into a [`Rotation`], asks [`Rotation::next`] what to do, writes
//! the intent down, does it, and appends what happened. A restart does exactly the same, so there
//! is no recovery path to get wrong.
//!
//! ```text
//!  survey ─► create ─► prove ─► deliver ─► verify ─► soak ─► (retire) ─► cool ─► (delete) ─► done
//!    ▲         │ ?        │        ▲          │         ▲                  │
//!    └─discard◄┘          │        └──forgot──┘         └───reactivate─────┘
//!                         └ abandon discards; from the first delivery on, never
//! ```
//!
//! **Invariant:** nothing in this folder reads a clock, sleeps, rolls dice or touches the network.
//!
//! **Invariant:** an effect that changes the world is intended in the journal before it is performed.
//!
//! **Invariant:** taking a key away needs [`Evidence`], and only this folder can make it.
//!
//! Where a person hands the key over, `deliver` is a wait: for somebody to be shown the key, and for word, or a use,
//! that says that the vendor has it (`hand_over.rs`).
//!
//! **Invariant:** from the first intent to deliver on, the new key is never taken back; that somebody is shown it is
//! such an intent.
//!
//! **Invariant:** a key that a person declared exposed is never set Active again by the program (`incident.rs`).

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
mod known_keys;
mod listing;
mod machine;
mod manual;
mod next;
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
pub use event::{Because, EffectKind, Event, Intent, KeyMetadata, KeyStatus, KeyUsage, Verification};
pub use incident::{Incident, IncidentMode};
pub use known_keys::{KeyState, KnownKey};
pub use machine::{IllegalEvent, Rotation};
pub use next::{Blocker, Ending, Next, Waiting};
pub use pair::{AtVendor, Half, Halves, VendorHolds};
pub use plan::Plan;
pub use refusal::{Doubt, Refusal, RefusalCode, Said};
pub use stage::Stage;
pub use use_evidence::UseEvidence;
pub use window::{BadWindow, Window, Windows};
