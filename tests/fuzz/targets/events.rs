//! Stored events: any content that a journal may hold, whoever wrote it and however it was damaged.

use keyround::adapters::journal::{Unreadable, decode, encode};
use keyround::core::ids::RotationId;
use keyround::core::rotation::{Event, Rotation};
use keyround::core::time::Timestamp;

use super::rotations::{follow, look_at};

/// How much of the name of an unknown kind of event is repeated.
const KIND_CHARS_MAX: usize = 40;

/// A line is an event that is written back as it was understood, or it is refused. A sequence of events is a
/// rotation whose methods all answer, or it is refused.
pub fn events(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let events: Vec<Event> = text.lines().filter_map(event).collect();
    let id: RotationId = "01a34c24-fb08-8c11-9188-d17c45fbb284".parse().expect("a rotation id");
    let replayed = Rotation::replay(id, &events);
    // An event that cannot follow is skipped here, so that the events after it are tried too.
    let Some(Ok(mut rotation)) = events.first().map(|first| Rotation::replay(id, [first])) else { return };
    for event in &events[1..] {
        rotation = follow(&rotation, event).unwrap_or(rotation);
        look_at(&rotation, event.at());
    }
    look_at(&rotation, Timestamp::EPOCH);
    match replayed {
        Ok(replayed) => assert_eq!(replayed, rotation),
        Err(_) => assert!(rotation.events() < events.len() as u64),
    }
}

fn event(line: &str) -> Option<Event> {
    match decode(line) {
        Ok(event) => {
            let stored = encode(&event);
            assert_eq!(decode(&stored).as_ref(), Ok(&event), "{stored}");
            assert_eq!(encode(&event), stored);
            assert!(!stored.contains('\n'), "a history is lines");
            Some(event)
        }
        Err(Unreadable::Newer { kind }) => {
            assert!(kind.chars().count() <= KIND_CHARS_MAX);
            None
        }
        Err(Unreadable::Damaged) => None,
    }
}
