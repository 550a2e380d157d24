//! How many routine rotations may begin: `first` and `per_day` in `[defaults]`. They are for the first weeks of a
//! configuration, when nothing is known yet about the vendors' deliveries and many keys are due at once.
//!
//! **Invariant:** a limit is compared with the journal, and not with a count in memory, so it also holds over restarts.
//!
//! Incidents, `issue`, `offboard` and `rotate --force` begin at once, and count.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use crate::core::rotation::Event;
use crate::core::schedule::{Action, Verdict};
use crate::engine::World;
use crate::engine::reconcile::UserReport;
use crate::ports::{Journal, JournalError, KnownRotation};

/// The reason code of a rotation that is due while a limit is reached.
pub(super) const PACED: &str = "paced";
const DAY: Duration = Duration::from_hours(24);

/// The turn to begin a rotation. A reconcile holds it from the comparison with the limits until the rotation has begun,
/// because other reconciles run beside it.
#[derive(Debug, Default)]
pub struct Starts {
    turn: Mutex<()>,
    /// The journal has a rotation whose vendor was verified. That does not change any more.
    has_verified: AtomicBool,
}

/// How many rotations may begin now.
#[derive(Debug)]
pub(super) struct Room {
    left: usize,
    /// Why no more than `left` may begin.
    why: String,
}

impl Room {
    /// Takes one place. `None`: there was one; otherwise why there is none.
    pub(super) fn take(&mut self) -> Option<&str> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                None
            }
            None => Some(&self.why),
        }
    }

    fn at_most(&mut self, left: usize, why: String) {
        if left < self.left {
            *self = Room { left, why };
        }
    }
}

impl Starts {
    /// Waits for the turn to begin a rotation.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    async fn has_verified(
        &self,
        journal: &dyn Journal,
        known: &[KnownRotation],
    ) -> Result<bool, JournalError> {
        if self.has_verified.load(Ordering::Relaxed) {
            return Ok(true);
        }
        for rotation in known.iter().rev() {
            let events = journal.read(rotation.rotation).await?;
            if events.iter().any(|event| matches!(event, Event::Verified { .. })) {
                self.has_verified.store(true, Ordering::Relaxed);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// How many rotations may begin now under `first` and `per_day`.
///
/// # Errors
///
/// The journal cannot be read.
pub(super) async fn room(world: &World) -> Result<Room, JournalError> {
    let mut room = Room { left: usize::MAX, why: String::new() };
    let limits = &world.settings.starts;
    if limits.first.is_none() && limits.per_day.is_none() {
        return Ok(room);
    }
    let known = world.journal.rotations(None).await?;
    if let Some(per_day) = limits.per_day {
        let since = world.clock.now().minus(DAY);
        let mut began: Vec<_> =
            known.iter().map(|rotation| rotation.started_at).filter(|at| *at > since).collect();
        began.sort_unstable();
        // The oldest of the newest `per_day` leaves the day first.
        let next = began.iter().rev().nth(per_day.saturating_sub(1)).map(|at| *at + DAY);
        let next = next.map(|at| format!("; the next can begin at {at}")).unwrap_or_default();
        let why =
            format!("{} rotations began in the last 24 hours, and `per_day` is {per_day}{next}", began.len());
        room.at_most(per_day.saturating_sub(began.len()), why);
    }
    if let Some(first) = limits.first
        && !world.starts.has_verified(world.journal.as_ref(), &known).await?
    {
        let under_way: Vec<&KnownRotation> = known.iter().filter(|rotation| !rotation.ended).collect();
        let vendors: Vec<&str> = under_way.iter().map(|rotation| rotation.subject.vendor.as_str()).collect();
        let why = format!(
            "`first` is {first}, and no rotation in the journal has been verified yet; under way: {}",
            vendors.join(", ")
        );
        room.at_most(first.saturating_sub(under_way.len()), why);
    }
    Ok(room)
}

/// The verdict on a key that is due while a limit is reached. The key in use keeps working, and the dates stay, so that
/// the alert `overdue` still fires.
pub(super) fn waiting(verdict: Verdict, why: &str) -> Verdict {
    let sentence = format!("a rotation is due and waits: {why}; a later pass begins it");
    Verdict { reason: PACED, sentence, action: Action::Nothing, ..verdict }
}

/// Marks the reports, in their order, whose rotation the next pass would not begin because of a limit.
///
/// # Errors
///
/// The journal cannot be read.
pub(super) async fn mark_waiting<'r>(
    world: &World,
    reports: impl Iterator<Item = &'r mut UserReport>,
) -> Result<(), JournalError> {
    let mut room = room(world).await?;
    for report in reports.filter(|report| matches!(report.verdict.action, Action::Start { .. })) {
        if let Some(why) = room.take() {
            report.verdict = waiting(report.verdict.clone(), why);
        }
    }
    Ok(())
}
