//! A user without an Active access key, and a rotation that is on hold for long, as alerts.

use std::time::Duration;

use crate::core::alert::active::{Alert, Seen, has_key};
use crate::core::alert::condition::Condition;
use crate::core::rotation::{KeyMetadata, KeyState, KeyStatus, Rotation, Stage};
use crate::core::schedule::{State, old_key_counts, status_word};
use crate::core::time::Timestamp;

/// A hold that has lasted this long is an alert, even if it has an end.
const HELD_MIN: Duration = Duration::from_hours(24);

/// Whether the vendor's user has an Active key, as far as that was seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Working {
    Yes,
    No,
    NotChecked,
}

/// The keys that this visit listed, and when; `None`: it did not, or the rotation has changed a key since.
fn listed<'a>(seen: &Seen<'a>) -> Option<(&'a [KeyMetadata], Timestamp)> {
    let at = seen.keys_listed_at?;
    seen.rotation.is_none_or(|rotation| rotation.is_shown_by(at)).then_some((seen.keys, at))
}

/// From the newest listing: that of this visit, or what the journal of the rotation knows.
pub(super) fn working(seen: &Seen<'_>) -> Working {
    if let Some((keys, _)) = listed(seen) {
        return match keys.iter().any(|key| key.status == KeyStatus::Active) {
            true => Working::Yes,
            false => Working::No,
        };
    }
    // What the journal knows is older than the last listing that was not written down: it neither begins nor ends an alert.
    let Some(rotation) = seen.rotation.filter(|_| !seen.keys_unanswered) else { return Working::NotChecked };
    let states = rotation.known_keys().values().map(|known| known.state);
    if states.clone().any(|state| state == KeyState::Is(KeyStatus::Active)) {
        // A vendor that is switched off is not looked at: the last listing before that may have shown otherwise.
        return if has_key(seen.verdict.state) { Working::Yes } else { Working::NotChecked };
    }
    match rotation.keys_listed_at() {
        Some(_) if states.clone().all(|state| state != KeyState::PendingEffect) => Working::No,
        Some(_) | None => Working::NotChecked,
    }
}

/// Critical: with no Active key a vendor cannot work, whatever a rotation waits for.
pub(super) fn of_keys(seen: &Seen<'_>) -> Option<Alert> {
    if working(seen) != Working::No {
        return None;
    }
    let user = seen.iam_user?;
    let named: Vec<String> = match (listed(seen), seen.rotation) {
        (Some((keys, at)), _) => {
            keys.iter().map(|key| format!("{} was {} at {at}", key.id, status_word(key.status))).collect()
        }
        (None, Some(rotation)) => known(rotation),
        (None, None) => Vec::new(),
    };
    let (found, advice) = match named.is_empty() {
        true => (
            "it had no access key when its keys were listed".to_owned(),
            "make one by hand and give it to the vendor",
        ),
        false => (named.join(", "), "set the vendor's key Active at AWS at once"),
    };
    let sentence = format!(
        "the IAM user {user} of {} has no working key: {found}; the vendor cannot work until it has one; {advice}",
        seen.vendor
    );
    let alert = seen.alert(Condition::NoWorkingKey, since(seen));
    Some(Alert { sentence, reason: "no_working_key".to_owned(), ..alert })
}

/// When the last key stopped working, as far as that was seen.
fn since(seen: &Seen<'_>) -> Timestamp {
    let known = seen.rotation.iter().flat_map(|rotation| rotation.known_keys().values());
    known.map(|known| known.at).max().map_or(seen.since, |at| at.min(seen.since))
}

fn known(rotation: &Rotation) -> Vec<String> {
    let known = rotation.known_keys().iter();
    let sentence = known.map(|(key, known)| match known.state {
        KeyState::Is(status) => format!("{key} was {} at {}", status_word(status), known.at),
        KeyState::Gone => format!("{key} did not exist at {}", known.at),
        KeyState::PendingEffect => format!("a change of {key} was sent at {}", known.at),
    });
    sentence.collect()
}

/// A hold by a person, or a vendor that is switched off over a rotation, after a day. Where the old key was set
/// Inactive and nobody asks the vendor any more, at once.
pub(super) fn of_hold(seen: &Seen<'_>, now: Timestamp) -> Option<Alert> {
    let rotation = seen.rotation?;
    let long_ago = |since: &Timestamp| now.since(*since) >= HELD_MIN;
    if let Some(since) = rotation.held_since(now) {
        return long_ago(&since).then(|| seen.alert(Condition::Held, since));
    }
    if seen.verdict.state != State::Unmanaged || seen.failed {
        return None;
    }
    let since = rotation.last_event_at();
    let is_over = matches!(rotation.stage(), Stage::Done { .. } | Stage::Abandoned);
    let tells = !is_over && (long_ago(&since) || !old_key_counts(rotation.stage()));
    tells.then(|| seen.alert(Condition::Held, since))
}
