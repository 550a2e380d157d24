//! One rotation of one vendor, for the tests of whoever has to do with rotations.

use crate::ids::{AccessKeyId, RotationId, Subject};
use crate::rotation::{Event, KeyMetadata, KeyStatus, Plan, Rotation};
use crate::time::Timestamp;

pub(crate) const DAY: i64 = 86_400;

pub(crate) fn id() -> RotationId {
    RotationId::new(&subject(), &key('A'), at(0))
}

pub(crate) fn subject() -> Subject {
    Subject {
        vendor: "acme".parse().expect("a vendor"),
        account: None,
        iam_user: "vendor-acme".parse().expect("a user"),
    }
}

/// 2027-01-15T08:00:00Z, and so many seconds.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_800_000_000 + seconds)
}

/// `A` is the old one, `B` the new one, `X` a stranger's.
pub(crate) fn key(last: char) -> AccessKeyId {
    format!("AKIAIOSFODNN7EXAMPL{last}").parse().expect("a key id")
}

pub(crate) fn started(plan: Plan) -> Event {
    Event::Started {
        subject: subject(),
        old: key('A'),
        old_created_at: at(-100 * DAY),
        reason: "too_old".to_owned(),
        plan,
        account_id: None,
        at: at(0),
    }
}

pub(crate) fn metadata(last: char, created_at: i64) -> KeyMetadata {
    KeyMetadata { id: key(last), status: KeyStatus::Active, created_at: at(created_at) }
}

pub(crate) fn listed(seconds: i64) -> Event {
    Event::Listed { keys: vec![metadata('A', -100 * DAY)], at: at(seconds) }
}

pub(crate) fn created(seconds: i64) -> Event {
    Event::Created { key: key('B'), at: at(seconds), request_id: None }
}

pub(crate) fn rotation(plan: Plan, events: &[Event]) -> Rotation {
    let started = started(plan);
    Rotation::replay(id(), std::iter::once(&started).chain(events)).expect("a legal journal")
}
