//! The plan: the settings that one rotation runs with, frozen in its first event.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::rotation::window::Windows;
use crate::core::time::secs;

/// The settings that one rotation runs with.
///
/// A change of the configuration does not affect a rotation that is under way. Only the steps of the delivery
/// (addresses, templates, references to secrets) are read anew each time, so that a wrong address can be corrected.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// How long both keys stay Active after the vendor was verified, at least.
    #[serde(rename = "soak_secs", with = "secs")]
    pub soak: Duration,
    /// The new key must have been used by somebody other than our own probe before the old key is set Inactive.
    pub require_use: bool,
    /// How long the old key must have been unused before it is set Inactive. Zero: its use is not checked.
    #[serde(rename = "quiet_for_secs", with = "secs")]
    pub quiet_for: Duration,
    /// How long the old key stays Inactive before it is deleted.
    #[serde(rename = "cool_secs", with = "secs")]
    pub cool: Duration,
    /// How many proofs in a row the new key must pass before it is delivered.
    pub prove_successes: u32,
    /// The time between two proofs.
    #[serde(rename = "prove_every_secs", with = "secs")]
    pub prove_every: Duration,
    /// How long after a CreateAccessKey without an answer a listing is believed.
    #[serde(rename = "doubt_window_secs", with = "secs")]
    pub doubt_window: Duration,
    /// Whether the vendor can be asked which key is in force.
    pub can_ask_vendor: bool,
    /// A person hands the new key over. Plans of the first version lack this field, which means `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
    /// When the old key may be set Inactive.
    pub windows: Windows,
}

impl Plan {
    /// Whether the new key must have been used before the old key is set Inactive. After a hand-over by a person it
    /// always must, because a person's confirmation is no proof of a use.
    #[must_use]
    pub fn requires_use(&self) -> bool {
        self.require_use || self.by_hand
    }
}

impl Default for Plan {
    fn default() -> Plan {
        const HOUR: Duration = Duration::from_hours(1);
        Plan {
            soak: 24 * HOUR,
            require_use: true,
            quiet_for: 24 * HOUR,
            cool: 7 * 24 * HOUR,
            prove_successes: 3,
            prove_every: Duration::from_secs(6),
            doubt_window: Duration::from_mins(1),
            can_ask_vendor: false,
            by_hand: false,
            windows: Windows::any_time(),
        }
    }
}
