//! What the journal of a rotation says about the state of each key, and when that state was seen.
//!
//! A sentence that names a key's status takes it from here or from a listing, together with its time.

use std::collections::BTreeMap;

use crate::core::ids::AccessKeyId;
use crate::core::rotation::event::{Event, Intent, KeyStatus};
use crate::core::rotation::listing::LISTING_SETTLES;
use crate::core::rotation::machine::Rotation;
use crate::core::rotation::stage::Stage;
use crate::core::time::Timestamp;

/// The state of one key, according to the last listing or the answer to the last change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyState {
    /// The key had this status.
    Is(KeyStatus),
    /// The key did not exist.
    Gone,
    /// A request to change it was sent, and may or may not have been done.
    InDoubt,
}

/// The state of one key, and when that was seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KnownKey {
    /// What was last seen of the key.
    pub state: KeyState,
    /// When it was seen.
    pub at: Timestamp,
}

/// Each key that a rotation has seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct KnownKeys {
    pub(super) keys: BTreeMap<AccessKeyId, KnownKey>,
    /// When the keys were listed last.
    pub(super) listed_at: Option<Timestamp>,
    /// When a key was last made or changed, or a change of it was sent.
    pub(super) changed_at: Timestamp,
    /// The key for which the last change was requested.
    changing: Option<AccessKeyId>,
}

impl Default for KnownKeys {
    fn default() -> KnownKeys {
        KnownKeys { keys: BTreeMap::new(), listed_at: None, changed_at: Timestamp::EPOCH, changing: None }
    }
}

impl KnownKeys {
    /// Takes in one event. `stage` is the stage before the event, and `old` is the key to be replaced, if there is one.
    pub(super) fn take(&mut self, event: &Event, stage: &Stage, old: Option<&AccessKeyId>) {
        let taken_away = match stage {
            Stage::Discard { key, .. } => Some(key),
            _ => old,
        };
        let taken_away = self.changing.clone().or(taken_away.cloned());
        match event {
            Event::Listed { keys, at } => {
                self.listed_at = Some(*at);
                // A listing may not show yet what was done a moment before it.
                let settled = |known: &KnownKey| known.at + LISTING_SETTLES <= *at;
                for known in self.keys.values_mut().filter(|known| settled(known)) {
                    *known = KnownKey { state: KeyState::Gone, at: *at };
                }
                for key in keys {
                    let known = KnownKey { state: KeyState::Is(key.status), at: *at };
                    self.keys.insert(key.id.clone(), known);
                }
            }
            Event::Created { key, at, .. } => self.set(Some(key), KeyState::Is(KeyStatus::Active), *at),
            Event::Intended {
                intent:
                    Intent::Deactivate { key, .. } | Intent::Reactivate { key } | Intent::Delete { key, .. },
                at,
            } => {
                self.changing = Some(key.clone());
                self.set(Some(key), KeyState::InDoubt, *at);
            }
            Event::Deactivated { at, .. } => {
                self.set(taken_away.as_ref(), KeyState::Is(KeyStatus::Inactive), *at);
            }
            Event::Reactivated { at } => {
                self.set(taken_away.as_ref(), KeyState::Is(KeyStatus::Active), *at);
            }
            Event::Deleted { at, .. } => self.set(taken_away.as_ref(), KeyState::Gone, *at),
            _ => {}
        }
    }

    fn set(&mut self, key: Option<&AccessKeyId>, state: KeyState, at: Timestamp) {
        self.changed_at = at;
        self.keys.extend(key.map(|key| (key.clone(), KnownKey { state, at })));
    }
}

impl Rotation {
    /// The state of each key that this rotation has seen, according to the last listing or the answer to the last
    /// change.
    #[must_use]
    pub fn known_keys(&self) -> &BTreeMap<AccessKeyId, KnownKey> {
        &self.known_keys.keys
    }

    /// When the journal last recorded a listing of the user's keys.
    #[must_use]
    pub fn keys_listed_at(&self) -> Option<Timestamp> {
        self.known_keys.listed_at
    }

    /// Whether a listing that was taken at that time shows every change that this rotation made to keys.
    #[must_use]
    pub fn is_shown_by(&self, listed_at: Timestamp) -> bool {
        self.known_keys.changed_at <= listed_at
    }

    /// When the last event of the rotation happened.
    #[must_use]
    pub fn last_event_at(&self) -> Timestamp {
        self.last_event_at
    }

    /// When the first of the failures happened that [`Rotation::failures`] counts; `None`: nothing fails.
    #[must_use]
    pub fn failing_since(&self) -> Option<Timestamp> {
        match self.failing_cut() {
            Some((_, since, _)) => since,
            None => self.failing_since.filter(|_| self.failures > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rotation::samples::{at, created, key, listed, metadata, rotation};
    use crate::core::rotation::{KeyMetadata, Plan};

    #[test]
    fn each_key_has_the_state_that_was_last_seen() {
        let both = |seconds, old, new| Event::Listed {
            keys: vec![
                KeyMetadata { status: old, ..metadata('A', -9000) },
                KeyMetadata { status: new, ..metadata('B', 2) },
            ],
            at: at(seconds),
        };
        let mut known = KnownKeys::default();
        let mut check = |event: &Event, a: Option<KeyState>, b: Option<KeyState>| {
            known.take(event, &Stage::Survey, Some(&key('A')));
            let state = |last| known.keys.get(&key(last)).map(|known| known.state);
            assert_eq!((state('A'), state('B')), (a, b), "{event:?}");
        };
        let is = |status| Some(KeyState::Is(status));
        let (active, inactive) = (KeyStatus::Active, KeyStatus::Inactive);
        check(&listed(1), is(active), None);
        check(&created(2), is(active), is(active));
        check(&listed(10), is(active), is(active));
        check(&both(1000, inactive, inactive), is(inactive), is(inactive));
        let intended = Event::Intended { intent: Intent::Reactivate { key: key('A') }, at: at(1100) };
        check(&intended, Some(KeyState::InDoubt), is(inactive));
        check(&Event::Reactivated { at: at(1101) }, is(active), is(inactive));
        check(&Event::Deactivated { at: at(1200), request_id: None }, is(inactive), is(inactive));
        check(&listed(2200), is(active), Some(KeyState::Gone));
        check(&Event::Deleted { at: at(2201), request_id: None }, Some(KeyState::Gone), Some(KeyState::Gone));
    }

    #[test]
    fn a_rotation_records_its_keys_their_listing_time_and_its_last_event() {
        let rotation = rotation(Plan::default(), &[listed(1), created(2)]);
        assert_eq!(rotation.known_keys().len(), 2);
        assert_eq!((rotation.keys_listed_at(), rotation.last_event_at()), (Some(at(1)), at(2)));
    }
}
