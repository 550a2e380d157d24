//! Drives one rotation as far as it can go now.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::core::ids::{RotationId, Subject};
use crate::core::rotation::{
    Blocker, Doubt, Effect, Ending, Event, IllegalEvent, Next, Outcome, Rotation, Waiting,
};
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::engine::perform::perform;
use crate::engine::{Watcher, World, clock, rotation_span};
use crate::ports::{Entry, JournalError, SecretChange};

/// Longer than the sum of an effect's own deadlines. An effect that has not returned by then has an unknown outcome.
const EFFECT_DEADLINE: Duration = Duration::from_mins(5);
/// More effects than a rotation ever has between two waits. A rotation that exceeds it repeats itself because of a
/// defect.
const EFFECTS_MAX: u32 = 500;

/// Why a rotation rests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rest {
    /// It waits for a time, or for a person.
    Wait {
        /// When to reconcile it again; [`Timestamp::NEVER`] if time alone does not end the wait.
        until: Timestamp,
        /// What it waits for.
        why: Waiting,
    },
    /// It is stuck: a person must look at it.
    Stuck(Blocker),
    /// It is finished.
    Ended(Ending),
    /// keyround is stopping. The rotation continues from the journal when keyround runs again.
    Stopped,
}

/// Why a rotation could not be driven. What is in the journal stays valid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    /// The journal did not read or append an event.
    #[error(
        "the journal is unavailable: {0}; nothing beyond the recorded steps was done, and the next pass continues \
         from them"
    )]
    Journal(#[from] JournalError),
    /// The events of the journal cannot follow each other.
    #[error("the journal contradicts itself: {0}; nothing more is done for this user")]
    Illegal(#[from] IllegalEvent),
    /// The rotation did not come to rest within [`EFFECTS_MAX`] effects.
    #[error(
        "the rotation did not come to rest after {EFFECTS_MAX} effects; it is left alone until the next pass"
    )]
    Restless,
}

impl DriveError {
    /// The reason code. A journal that is unavailable now may be available later; one that is damaged needs a person.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            DriveError::Journal(
                JournalError::Unavailable(_)
                | JournalError::InUse(_)
                | JournalError::Conflict { .. }
                | JournalError::AlreadyRotating { .. },
            ) => "journal_unavailable",
            DriveError::Journal(JournalError::Unusable(_) | JournalError::SealKey(_))
            | DriveError::Illegal(_) => "journal",
            DriveError::Restless => "restless",
        }
    }
}

/// Drives one rotation until it waits, is stuck, or is finished.
///
/// `subject`: the user under the name of the vendor that has it now. The journal has the name that the vendor had when
/// the rotation began.
///
/// # Errors
///
/// The journal is unavailable or contradicts itself, or the rotation does not come to rest.
pub(crate) async fn drive(
    world: &World,
    subject: &Subject,
    id: RotationId,
    stop: &CancellationToken,
    watcher: &dyn Watcher,
) -> Result<(Rotation, Rest), DriveError> {
    drive_on(world, subject, id, stop, watcher).instrument(rotation_span(&subject.vendor, id)).await
}

async fn drive_on(
    world: &World,
    subject: &Subject,
    id: RotationId,
    stop: &CancellationToken,
    watcher: &dyn Watcher,
) -> Result<(Rotation, Rest), DriveError> {
    for _ in 0..EFFECTS_MAX {
        let events = world.journal.read(id).await?;
        let mut rotation = Rotation::replay(id, &events)?;
        let effect = match rotation.next(world.clock.now()) {
            Next::Perform(effect) => effect,
            Next::Wait { until, why } => return Ok((rotation, Rest::Wait { until, why })),
            Next::Stuck(blocker) => return Ok((rotation, Rest::Stuck(blocker))),
            Next::Ended(ending) => return Ok((rotation, Rest::Ended(ending))),
        };
        if stop.is_cancelled() {
            return Ok((rotation, Rest::Stopped));
        }
        if let Some(rest) = clock::rest(world, subject, &rotation, &effect).await {
            return Ok((rotation, rest));
        }
        match step(world, subject, &mut rotation, &effect, watcher).await {
            // Another process appended an operator command in between: replay and decide again.
            Err(DriveError::Journal(JournalError::Conflict { .. })) => {}
            stepped => stepped?,
        }
    }
    Err(DriveError::Restless)
}

/// Performs one effect: appends the intent, performs the effect, appends its outcome.
async fn step(
    world: &World,
    subject: &Subject,
    rotation: &mut Rotation,
    effect: &Effect,
    watcher: &dyn Watcher,
) -> Result<(), DriveError> {
    if let Some(intent) = rotation.intend(effect, world.clock.now()) {
        append(world, rotation, intent, None, watcher).await?;
    }
    let (outcome, secret) =
        match tokio::time::timeout(EFFECT_DEADLINE, perform(world, subject, rotation, effect)).await {
            Ok(performed) => performed,
            Err(_) => (Outcome::Unknown(out_of_time(effect)), None),
        };
    let event = rotation.settle(effect, outcome, world.clock.now());
    append(world, rotation, event, secret, watcher).await
}

/// Appends one event and applies it to the rotation. The secret is stored together with the event that made it, and
/// erased together with the event after which nothing needs it.
pub(crate) async fn append(
    world: &World,
    rotation: &mut Rotation,
    event: Event,
    new_secret: Option<Secret>,
    watcher: &dyn Watcher,
) -> Result<(), DriveError> {
    let entry = entry_after(rotation, &event, new_secret)?;
    world.journal.append(entry).await?;
    watcher.appended(rotation, &event);
    Ok(())
}

/// Applies one event to the rotation, and returns the journal entry for it. The caller must append that entry.
///
/// # Errors
///
/// The event cannot follow the rotation's last one.
pub fn entry_after<'a>(
    rotation: &mut Rotation,
    event: &'a Event,
    new_secret: Option<Secret>,
) -> Result<Entry<'a>, IllegalEvent> {
    let needed_secret = rotation.needs_secret();
    rotation.apply(event)?;
    let secret = match new_secret {
        Some(secret) => SecretChange::Seal(secret),
        None if needed_secret && !rotation.needs_secret() => SecretChange::Erase,
        None => SecretChange::Keep,
    };
    let ends = matches!(rotation.next(Timestamp::NEVER), Next::Ended(_));
    Ok(Entry { rotation: rotation.id(), number: rotation.events(), event, secret, ends })
}

fn out_of_time(effect: &Effect) -> Doubt {
    let secs = EFFECT_DEADLINE.as_secs();
    Doubt {
        sentence: format!("{} did not end within {secs}s", effect.name()),
        retry_after: None,
        pairs: Vec::new(),
        said: None,
    }
}
