//! The plan: the settings that one rotation runs with, frozen in its first event.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::rotation::window::Windows;
use crate::core::time::secs;

/// The settings that one rotation runs with.
///
/// A change of the configuration in mid-rotation changes nothing that is under way; the recipe of
/// the delivery (addresses, templates, references to secrets) is read anew each time, so that a
/// wrong address can be mended.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Both keys stay Active this long after the vendor was verified, at least.
    #[serde(rename = "soak_secs", with = "secs")]
    pub soak: Duration,
    /// The new key must have been seen in use, by somebody else than our own probe.
    pub require_use: bool,
    /// The old key must have been unused this long. Zero: not asked.
    #[serde(rename = "quiet_for_secs", with = "secs")]
    pub quiet_for: Duration,
    /// The old key stays Inactive this long before it is deleted.
    #[serde(rename = "cool_secs", with = "secs")]
    pub cool: Duration,
    /// How often in a row the new key must sign before it is delivered.
    pub prove_successes: u32,
    /// How far apart those are.
    #[serde(rename = "prove_every_secs", with = "secs")]
    pub prove_every: Duration,
    /// After a CreateAccessKey without an answer, how long until a listing is believed.
    #[serde(rename = "doubt_window_secs", with = "secs")]
    pub doubt_window: Duration,
    /// Whether the vendor can be asked which key is in force.
    pub can_ask_vendor: bool,
    /// A person hands the new key over. Plans of the first version do not say so, and say no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
    /// When a key may be retired.
    pub windows: Windows,
}

impl Plan {
    /// Whether the new key must have been seen in use. What a person says of a hand-over is no use, so there it always
    /// must.
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
