//! One rotation, as far as it can go now.

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

/// Longer than the sum of an effect's own deadlines; an effect that is not back by then is Unknown.
const EFFECT_DEADLINE: Duration = Duration::from_mins(5);
/// More effects than a rotation ever has between two waits; more is a machine that runs in circles.
const EFFECTS_MAX: u32 = 500;

/// Why a rotation rests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rest {
    /// It waits.
    Wait {
        /// When to come back.
        until: Timestamp,
        /// What for.
        why: Waiting,
    },
    /// A person must look.
    Stuck(Blocker),
    /// It is over.
    Ended(Ending),
    /// The program is told to stop; the rotation goes on from the journal when it runs again.
    Stopped,
}

/// Why a rotation could not be driven. What is in the journal stands.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveError {
    /// The journal did not do it.
    #[error(
        "the journal is unavailable: {0}; nothing beyond the recorded steps was done, and the next pass continues \
         from them"
    )]
    Journal(#[from] JournalError),
    /// The journal contradicts itself.
    #[error("the journal contradicts itself: {0}; nothing more is done for this user")]
    Illegal(#[from] IllegalEvent),
    /// It goes on and on.
    #[error(
        "the rotation did not come to rest after {EFFECTS_MAX} effects; it is left alone until the next pass"
    )]
    Restless,
}

impl DriveError {
    /// The reason code. A journal that is not there now may be there later; one that cannot be believed needs a person.
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

/// Drives one rotation until it waits, is stuck, or is over.
///
/// `subject`: whose it is now. The journal has the name that the vendor had when it began.
///
/// # Errors
///
/// The journal is unavailable, or contradicts itself.
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
            // An operator's lever came in between: look again.
            Err(DriveError::Journal(JournalError::Conflict { .. })) => {}
            stepped => stepped?,
        }
    }
    Err(DriveError::Restless)
}

/// Intend, perform, record.
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

/// Appends one event, and moves the rotation past it. The secret is stored with the event that
/// made it, and erased with the event after which nothing needs it.
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

/// Moves the rotation past one event, and gives the entry that makes it so once it is appended.
///
/// # Errors
///
/// The event cannot follow.
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
