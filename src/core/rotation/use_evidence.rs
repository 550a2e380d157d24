//! Whose use of a key it was: what IAM's record of the last use cannot tell, and CloudTrail can.
//!
//! **Invariant:** a witness makes a key look as lately used as IAM says, or later. It never makes one look quieter.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::rotation::event::KeyUsage;
use crate::core::rotation::gates::USE_RECORD_GRAIN;
use crate::core::rotation::machine::Rotation;
use crate::core::time::Timestamp;

/// The newest use of a key that CloudTrail has on record and that is not our own.
///
/// Its words are those of whoever sent the call, so they are bounded and plain: see [`UseEvidence::plain`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct UseEvidence {
    /// CloudTrail's id of the event.
    pub event_id: String,
    /// When.
    pub at: Timestamp,
    /// The AWS service that was called, such as `ec2`.
    pub service: String,
    /// The call, such as `DescribeInstances`.
    pub call: String,
    /// The ARN of whoever signed it.
    pub by: String,
    /// The address it came from, or the service of AWS that sent it.
    pub address: String,
    /// The program that sent it, as it calls itself.
    pub agent: String,
}

impl UseEvidence {
    /// A text from outside as it may stand in a journal, a log and a sentence: one line of ASCII, of bounded length.
    #[must_use]
    pub fn plain(text: &str) -> String {
        text.chars().filter(|letter| matches!(letter, ' '..='~')).take(160).collect()
    }
}

/// As it follows "used at … for …".
impl fmt::Display for UseEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UseEvidence { event_id, call, by, address, agent, .. } = self;
        write!(f, "({call}) by {by}, from {address} with {agent} (CloudTrail event {event_id})")
    }
}

impl KeyUsage {
    /// The same, and what CloudTrail saw: the last use is the later of the two.
    #[must_use]
    pub fn witnessed(self, witness: UseEvidence) -> KeyUsage {
        let (last_used_at, service) = match self {
            KeyUsage::Gone => return KeyUsage::Gone,
            KeyUsage::Used { last_used_at, service, .. } if last_used_at >= witness.at => {
                (last_used_at, service)
            }
            KeyUsage::Never | KeyUsage::Used { .. } => (witness.at, witness.service.clone()),
        };
        KeyUsage::Used { last_used_at, service, witness: Some(Box::new(witness)) }
    }

    /// In words, as they follow the name of the key.
    #[must_use]
    pub fn in_words(&self) -> String {
        let (last_used_at, service, witness) = match self {
            KeyUsage::Never => return "never used".to_owned(),
            KeyUsage::Gone => return "gone".to_owned(),
            KeyUsage::Used { last_used_at, service, witness } => (last_used_at, service, witness),
        };
        let used = format!("used at {last_used_at} for {service}");
        match witness {
            None => used,
            Some(seen) if (seen.at, &seen.service) == (*last_used_at, service) => format!("{used} {seen}"),
            Some(seen) => format!("{used}, and seen at {} for {} {seen}", seen.at, seen.service),
        }
    }
}

impl Rotation {
    /// When the vendor is known to have used a key last; `None`: that it did is not known.
    ///
    /// Our own probe is a use too, of `sts`, and hides what follows within the grain of IAM's record: there only a
    /// witness can tell. The try of a person who was shown the key is no use by the vendor, and after a reactivation a
    /// use from before it proves nothing, whoever says so.
    pub(super) fn used_by_vendor_at(
        &self,
        usage: Option<&KeyUsage>,
        of_old: Option<&KeyUsage>,
    ) -> Option<Timestamp> {
        let counts_from = if self.reactivations == 0 { Timestamp::EPOCH } else { self.since };
        let counts = |at: Timestamp, service: &str| {
            at >= counts_from && !(service == "sts" && self.may_be_a_try(of_old))
        };
        let Some(KeyUsage::Used { last_used_at, service, witness }) = usage else { return None };
        let by_probe = service == "sts" && *last_used_at <= self.last_probe.written + USE_RECORD_GRAIN;
        if !by_probe && counts(*last_used_at, service) {
            return Some(*last_used_at);
        }
        witness.as_ref().filter(|seen| counts(seen.at, &seen.service)).map(|seen| seen.at)
    }
}
