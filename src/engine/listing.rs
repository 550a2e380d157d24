//! Listings and readings of last-used that are not written to the journal, because the rotation does not depend on them.

use std::time::Duration;

use crate::core::ids::{RotationId, Subject};
use crate::core::rotation::{KeyMetadata, KeyUsage, Rotation};
use crate::core::time::Timestamp;
use crate::engine::drive::DriveError;
use crate::engine::reconcile::UserReport;
use crate::engine::targets::replayed;
use crate::engine::{Rest, World};
use crate::ports::Answer;

/// How old the journal's last listing may be while a rotation waits. An older one is repeated.
const LISTED_EVERY: Duration = Duration::from_hours(1);

/// Lists the keys of a user whose rotation waits, unless the journal has a listing of the last hour: another person may
/// have set both keys Inactive. No answer: the keys are not known.
pub(super) async fn look_at_keys(
    world: &World,
    subject: &Subject,
    rotation: &Rotation,
) -> Answer<Option<(Vec<KeyMetadata>, Timestamp)>> {
    let now = world.clock.now();
    if rotation.keys_listed_at().is_some_and(|at| at <= now && now.since(at) < LISTED_EVERY) {
        return Ok(None);
    }
    let keys = world.accounts.iam(subject.account.as_ref()).list_keys(&subject.iam_user).await?;
    Ok(Some((keys, now)))
}

/// The report on a rotation that stopped at an error of the journal. It contains the keys, if AWS lists them: a user
/// without an Active key has an alert, whether the journal can be written or not. An offboarded user needs no key.
pub(super) async fn listed_without_journal(
    world: &World,
    subject: &Subject,
    id: RotationId,
    error: &DriveError,
) -> UserReport {
    let user_report = UserReport::without_journal(subject, error);
    if replayed(world, id).await.map_or(true, |rotation| rotation.is_offboarded()) {
        return user_report;
    }
    let now = world.clock.now();
    match world.accounts.iam(subject.account.as_ref()).list_keys(&subject.iam_user).await {
        Ok(keys) => UserReport { keys, keys_listed_at: Some(now), ..user_report },
        Err(_) => user_report,
    }
}

/// The last use of the rotation's exposed key, for the alert `used-after-incident`. `None`: no key is exposed, the
/// rotation has ended, or AWS did not answer.
pub(super) async fn read_exposed_use(
    world: &World,
    subject: &Subject,
    rotation: &Rotation,
    rest: &Rest,
) -> Option<KeyUsage> {
    if matches!(rest, Rest::Ended(_)) {
        return None;
    }
    let (key, _) = rotation.exposed_since()?;
    world.accounts.iam(subject.account.as_ref()).usage(key).await.ok()
}
