//! A rotation of one vendor, as a sample for tests.

use crate::core::ids::{AccessKeyId, RotationId, Subject};
use crate::core::rotation::{
    Event, IllegalEvent, Intent, KeyMetadata, KeyStatus, Plan, RemovalReason, Rotation, Stage,
};
use crate::core::time::Timestamp;

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

/// 2027-01-15T08:00:00Z, plus this many seconds.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_800_000_000 + seconds)
}

/// The id of a key: `A` is the old one, `B` the new one, and `X` belongs to somebody else.
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

/// The rotation after these events. If an event needs an intent that `events` does not contain, the intent is applied
/// before it, with the same time.
pub(crate) fn rotation(plan: Plan, events: &[Event]) -> Rotation {
    let mut rotation = Rotation::replay(id(), [&started(plan)]).expect("a beginning");
    for event in events {
        happen(&mut rotation, event).expect("a legal journal");
    }
    rotation
}

/// Applies an event, after the intent that it needs.
pub(crate) fn happen(rotation: &mut Rotation, event: &Event) -> Result<(), IllegalEvent> {
    if let Some(intent) = intent_of(rotation, event) {
        rotation.apply(&Event::Intended { intent, at: event.at() })?;
    }
    rotation.apply(event)
}

fn intent_of(rotation: &Rotation, event: &Event) -> Option<Intent> {
    let (because, new) =
        (RemovalReason::NeverOffered, || rotation.stage().new_key().cloned().unwrap_or(key('B')));
    let taken = match rotation.stage() {
        Stage::Discard { key, .. } => key.clone(),
        _ => rotation.old().cloned().unwrap_or(key('A')),
    };
    let intent = match event {
        Event::Created { .. } => Intent::Create,
        Event::Delivered { .. } => Intent::Deliver { key: new(), round: 1 },
        Event::Deactivated { .. } => Intent::Deactivate { key: taken, because },
        Event::Reactivated { .. } => Intent::Reactivate { key: taken },
        Event::Deleted { .. } => Intent::Delete { key: taken, because },
        _ => return None,
    };
    (!rotation.is_intended(intent.doing())).then_some(intent)
}
