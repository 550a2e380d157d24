//! The alerts about a user without an Active access key and about a rotation that is on hold for long.

use std::time::Duration;

use crate::core::alert::active::{Alert, Seen, has_key};
use crate::core::alert::condition::Condition;
use crate::core::rotation::{KeyMetadata, KeyState, KeyStatus, KeyUsage, Rotation, Stage};
use crate::core::schedule::{OFFBOARDED, State, old_key_counts, status_word};
use crate::core::time::Timestamp;

/// A hold that has lasted this long raises an alert, even if it has an end.
const HELD_MIN: Duration = Duration::from_hours(24);

/// Whether the vendor's user has an Active key, as far as that was checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Working {
    Yes,
    No,
    NotChecked,
}

/// The keys that this reconcile listed, and when; `None`: it listed none, or the rotation has changed a key since.
fn listed<'a>(seen: &Seen<'a>) -> Option<(&'a [KeyMetadata], Timestamp)> {
    let at = seen.keys_listed_at?;
    seen.rotation.is_none_or(|rotation| rotation.is_shown_by(at)).then_some((seen.keys, at))
}

/// Whether the user has an Active key, from the newest listing: that of this reconcile, or the one that the rotation's
/// journal recorded.
pub(super) fn working(seen: &Seen<'_>) -> Working {
    if let Some((keys, _)) = listed(seen) {
        return match keys.iter().any(|key| key.status == KeyStatus::Active) {
            true => Working::Yes,
            false => Working::No,
        };
    }
    // If this reconcile asked for the keys and got no answer, the journal's listing is too old to begin or end an
    // alert.
    let Some(rotation) = seen.rotation.filter(|_| !seen.keys_unanswered) else { return Working::NotChecked };
    let states = rotation.known_keys().values().map(|known| known.state);
    if states.clone().any(|state| state == KeyState::Is(KeyStatus::Active)) {
        // A vendor that is switched off is not listed any more. The last listing before that, which the journal need
        // not contain, may have shown no Active key.
        return if has_key(seen.verdict.state) { Working::Yes } else { Working::NotChecked };
    }
    match rotation.keys_listed_at() {
        Some(_) if states.clone().all(|state| state != KeyState::InDoubt) => Working::No,
        Some(_) | None => Working::NotChecked,
    }
}

/// The alert about a user without an Active key. It is critical, because the vendor cannot work, whatever its rotation
/// waits for.
pub(super) fn of_keys(seen: &Seen<'_>) -> Option<Alert> {
    let is_meant = seen.rotation.is_some_and(Rotation::is_offboarded) || seen.verdict.reason == OFFBOARDED;
    if working(seen) != Working::No || is_meant {
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
            "`keyround issue` makes one and gives it to the vendor",
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

/// When the last key stopped working, as far as that is known. Never before the newest time at which the journal knows
/// a key Active: `ActiveAlerts::end_of` relies on that.
fn since(seen: &Seen<'_>) -> Timestamp {
    let known = seen.rotation.iter().flat_map(|rotation| rotation.known_keys().values());
    let since = known.map(|known| known.at).max().map_or(seen.since, |at| at.min(seen.since));
    active_at(seen).map_or(since, |at| at.max(since))
}

/// The newest time at which the rotation's journal knows one of its keys Active.
pub(super) fn active_at(seen: &Seen<'_>) -> Option<Timestamp> {
    let known = seen.rotation?.known_keys().values();
    known.filter(|known| known.state == KeyState::Is(KeyStatus::Active)).map(|known| known.at).max()
}

fn known(rotation: &Rotation) -> Vec<String> {
    let known = rotation.known_keys().iter();
    let sentence = known.map(|(key, known)| match known.state {
        KeyState::Is(status) => format!("{key} was {} at {}", status_word(status), known.at),
        KeyState::Gone => format!("{key} did not exist at {}", known.at),
        KeyState::InDoubt => format!("a change of {key} was sent at {}", known.at),
    });
    sentence.collect()
}

/// The alert about a key that was declared exposed and was used after that. AWS publishes a last use late, and rejects
/// the requests that come after the key is Inactive.
pub(super) fn of_use_after_incident(seen: &Seen<'_>) -> Option<Alert> {
    let rotation = seen.rotation?;
    let (key, since) = rotation.exposed_since()?;
    let usage = seen.exposed_use?;
    let KeyUsage::Used { last_used_at, .. } = usage else { return None };
    if *last_used_at <= since {
        return None;
    }
    let declared_at = rotation.incident()?.at;
    let now_is = match rotation.old_cut_at() {
        Some(at) => format!("AWS answered that the key was Inactive at {at}, and rejects later requests"),
        None => "keyround is setting the key Inactive".to_owned(),
    };
    let sentence = format!(
        "the exposed key {key} was {}, after the incident was declared at {declared_at}; {now_is}; look in CloudTrail for \
         what the key was used for, and whether the vendor or somebody else used it",
        usage.in_words()
    );
    let alert = seen.alert(Condition::UsedAfterIncident, *last_used_at);
    Some(Alert { sentence, reason: "used_after_incident".to_owned(), ..alert })
}

/// The alert about a hold by an operator, or about a vendor that was switched off during a rotation, after a day. If
/// the old key was set Inactive before the vendor was switched off, the alert comes at once, because keyround does not
/// check that vendor any more.
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
