//! Stored events: what a journal holds, whoever wrote it, and whatever became of it since.

use keyround::adapters::journal::{Unreadable, decode, encode};
use keyround::core::ids::RotationId;
use keyround::core::rotation::{Event, Rotation};
use keyround::core::time::Timestamp;

use super::rotations::{follow, look_at};

/// What a newer version calls an event is named up to here.
const KIND_CHARS_MAX: usize = 40;

/// A line is an event that is written back as it was understood, or it is refused; a sequence of them is a
/// rotation that can be asked anything, or it is refused.
pub fn events(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let events: Vec<Event> = text.lines().filter_map(event).collect();
    let id: RotationId = "01a34c24-fb08-8c11-9188-d17c45fbb284".parse().expect("a rotation id");
    let replayed = Rotation::replay(id, &events);
    // What cannot follow is left out here, so that the events behind it are tried too.
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
