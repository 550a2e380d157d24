//! CloudTrail evidence of a use, for the tests that simulate AWS themselves.

use keyround::core::rotation::UseEvidence;
use keyround::core::time::Timestamp;

/// The evidence of a call to this service by the vendor.
pub(crate) fn witness(at: Timestamp, service: &str) -> UseEvidence {
    let word = str::to_owned;
    UseEvidence {
        event_id: word("event"),
        at,
        service: word(service),
        call: word("Call"),
        by: word("arn:aws:iam::111122223333:user/vendor"),
        address: word("203.0.113.7"),
        agent: word("vendor/1"),
    }
}
