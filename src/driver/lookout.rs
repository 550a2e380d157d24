//! The lookout: what was seen last of everybody, for those who show it or tell of it.
//!
//! Metrics, the page and the alerts are made of this and of the journal. Nobody who looks at a page causes a call to
//! AWS.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::driver::{Pass, Visited, Watcher};
use crate::ids::{IamUserName, Subject, VendorName};
use crate::rotation::{Event, Rotation};
use crate::time::Timestamp;

/// What was seen last.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// Of each vendor and user.
    pub users: BTreeMap<(VendorName, Option<IamUserName>), Visited>,
    /// Whether everybody was seen at least once.
    pub whole: bool,
    /// Whether a pass is being made just now.
    pub passing: bool,
    /// When the last full pass was over.
    pub last_pass_at: Option<Timestamp>,
    /// When the next pass is due.
    pub next_pass_at: Option<Timestamp>,
    /// How many full passes were made.
    pub passes: u64,
}

/// Remembers what was seen last, and says when that changes.
pub struct Lookout {
    sight: Mutex<Sight>,
    changes: watch::Sender<u64>,
}

impl Default for Lookout {
    fn default() -> Lookout {
        Lookout { sight: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Lookout {
    /// What was seen last.
    #[must_use]
    pub fn sight(&self) -> Sight {
        self.locked().clone()
    }

    /// Counts the changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Each change is whole before a panic could happen, so a poisoned lock holds a sound state.
    fn locked(&self) -> MutexGuard<'_, Sight> {
        self.sight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, visited: &Visited) {
        let mut visited = visited.clone();
        let mut sight = self.locked();
        let place = (visited.vendor.clone(), visited.iam_user.clone());
        if let Some(before) = sight.users.get(&place) {
            // A rotation under way is driven without a listing; what was known of the account stays known.
            visited.account_id = visited.account_id.or_else(|| before.account_id.clone());
        }
        sight.users.insert(place, visited);
    }

    fn change(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }
}

impl Watcher for Lookout {
    fn appended(&self, _rotation: &Rotation, _event: &Event) {}

    fn visited(&self, _subject: &Subject, visited: &Visited) {
        self.see(visited);
        self.change();
    }

    fn unlisted(&self, visited: &Visited) {
        self.see(visited);
        self.change();
    }

    fn pass_begins(&self) {
        self.locked().passing = true;
        self.change();
    }

    fn pass_ended(&self, pass: &Pass) {
        for visited in &pass.found {
            self.see(visited);
        }
        {
            let mut sight = self.locked();
            sight.passing = false;
            sight.next_pass_at = pass.next_at;
            if pass.whole {
                let unlisted = |vendor: &VendorName| {
                    pass.found.iter().any(|visited| {
                        visited.vendor == *vendor && visited.iam_user.is_none() && visited.failed
                    })
                };
                let was_found = |place: &(VendorName, Option<IamUserName>)| {
                    pass.found
                        .iter()
                        .any(|visited| (&visited.vendor, &visited.iam_user) == (&place.0, &place.1))
                };
                sight.users.retain(|place, _| was_found(place) || unlisted(&place.0));
                sight.whole = true;
                sight.last_pass_at = Some(pass.ended_at);
                sight.passes += 1;
            }
        }
        self.change();
    }
}
