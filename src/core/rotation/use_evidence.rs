//! Who used a key. IAM records only the last use of a key, and not who made it; CloudTrail has both.
//!
//! **Invariant:** with evidence from CloudTrail, the last use of a key is as late as IAM says, or later. It is never
//! earlier.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::rotation::event::KeyUsage;
use crate::core::rotation::gates::USE_RECORD_GRAIN;
use crate::core::rotation::machine::Rotation;
use crate::core::time::Timestamp;

/// The newest use of a key that CloudTrail has on record and that is not our own.
///
/// Its texts come from whoever sent the call, so they are bounded and plain: see [`UseEvidence::plain`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct UseEvidence {
    /// CloudTrail's id of the event.
    pub event_id: String,
    /// When the call was made.
    pub at: Timestamp,
    /// The AWS service that was called, such as `ec2`.
    pub service: String,
    /// The call, such as `DescribeInstances`.
    pub call: String,
    /// The ARN of the identity that signed the call.
    pub by: String,
    /// The IP address from which the call came, or the AWS service that sent it.
    pub address: String,
    /// The user agent: the program that sent the call, as it calls itself.
    pub agent: String,
}

impl UseEvidence {
    /// Makes a text from outside safe for a journal, a log and a sentence: one line of printable ASCII, at most 160
    /// characters.
    #[must_use]
    pub fn plain(text: &str) -> String {
        text.chars().filter(|letter| matches!(letter, ' '..='~')).take(160).collect()
    }
}

/// The text that follows "used at … for …".
impl fmt::Display for UseEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UseEvidence { event_id, call, by, address, agent, .. } = self;
        write!(f, "({call}) by {by}, from {address} with {agent} (CloudTrail event {event_id})")
    }
}

impl KeyUsage {
    /// This usage, combined with what CloudTrail saw: the last use is the later of the two.
    #[must_use]
    pub fn witnessed(self, witness: UseEvidence) -> KeyUsage {
        let (last_used_at, service, region) = match self {
            KeyUsage::Gone => return KeyUsage::Gone,
            KeyUsage::Used { last_used_at, service, region, .. } if last_used_at >= witness.at => {
                (last_used_at, service, region)
            }
            KeyUsage::Never | KeyUsage::Used { .. } => (witness.at, witness.service.clone(), None),
        };
        KeyUsage::Used { last_used_at, service, region, witness: Some(Box::new(witness)) }
    }

    /// The usage in words, as they follow the key id in a sentence.
    #[must_use]
    pub fn in_words(&self) -> String {
        let (last_used_at, service, region, witness) = match self {
            KeyUsage::Never => return "never used".to_owned(),
            KeyUsage::Gone => return "gone".to_owned(),
            KeyUsage::Used { last_used_at, service, region, witness } => {
                (last_used_at, service, region, witness)
            }
        };
        let place = region.as_ref().map(|region| format!(" in {region}")).unwrap_or_default();
        let used = format!("used at {last_used_at} for {service}{place}");
        match witness {
            None => used,
            Some(seen) if (seen.at, &seen.service) == (*last_used_at, service) => format!("{used} {seen}"),
            Some(seen) => format!("{used}, and seen at {} for {} {seen}", seen.at, seen.service),
        }
    }
}

impl Rotation {
    /// When the vendor is known to have used a key last; `None`: no use by the vendor is known.
    ///
    /// Our own probe is a use of `sts` too, and within 15 minutes of it IAM records no other use: in that time only
    /// CloudTrail can show a use by the vendor. A use of STS by the person who was shown the key is no use by the
    /// vendor. After a reactivation, an earlier use proves nothing, whether IAM or CloudTrail reports it.
    pub(super) fn used_by_vendor_at(
        &self,
        usage: Option<&KeyUsage>,
        of_old: Option<&KeyUsage>,
    ) -> Option<Timestamp> {
        let counts_from = if self.reactivations == 0 { Timestamp::EPOCH } else { self.since };
        let counts = |at: Timestamp, service: &str| {
            at >= counts_from && !(service == "sts" && self.may_be_a_try(of_old))
        };
        let Some(KeyUsage::Used { last_used_at, service, witness, .. }) = usage else { return None };
        let by_probe = service == "sts" && *last_used_at <= self.last_probe.written + USE_RECORD_GRAIN;
        if !by_probe && counts(*last_used_at, service) {
            return Some(*last_used_at);
        }
        witness.as_ref().filter(|seen| counts(seen.at, &seen.service)).map(|seen| seen.at)
    }
}
