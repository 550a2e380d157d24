//! The operator commands `hold`, `resume`, `reactivate`, `abandon` and `ack`. Each appends one event to the journal,
//! with the name of the operator and, if the command takes one, a reason.
//!
//! A rotation does not have to stop for a command. The append names the event number that it expects; if the rotation
//! has moved on, it fails with a conflict and is tried again. The engine reads the journal before each effect, so it
//! takes the command into account.

use std::path::Path;

use serde::Serialize;

use crate::adapters::journal::Mode;
use crate::cli::args::Format;
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::layout::wrapped;
use crate::cli::login::operator;
use crate::cli::{Screen, setup};
use crate::config::Settings;
use crate::core::ids::{IamUserName, VendorName};
use crate::core::rotation::{Ending, Event, KeyState, KnownKey, Next, Rotation, Stage, Waiting};
use crate::core::schedule::status_word;
use crate::core::time::{SystemClock, Timestamp};
use crate::engine::{ATTEMPTS_MAX, entry_after, owner};
use crate::ports::{Journal, JournalError, KnownRotation};

pub(crate) enum OperatorAction {
    Hold { until: Option<Timestamp>, why: String },
    Resume,
    Reactivate { why: String, exposed: bool },
    Abandon { why: String },
    Acknowledge { user: Option<IamUserName> },
}

impl OperatorAction {
    fn event(&self, at: Timestamp) -> Event {
        let by = operator();
        match self {
            OperatorAction::Hold { until, why } => Event::Held { until: *until, by, why: why.clone(), at },
            OperatorAction::Resume => Event::Resumed { by, at },
            OperatorAction::Reactivate { why, exposed } => {
                Event::ReactivationAsked { by, why: why.clone(), exposed: *exposed, at }
            }
            OperatorAction::Abandon { why } => Event::Abandoned { by, why: why.clone(), at },
            OperatorAction::Acknowledge { .. } => Event::Acknowledged { by, at },
        }
    }

    fn is_for(&self, user: &IamUserName) -> bool {
        match self {
            OperatorAction::Acknowledge { user: Some(only) } => only == user,
            OperatorAction::Acknowledge { user: None }
            | OperatorAction::Hold { .. }
            | OperatorAction::Resume
            | OperatorAction::Reactivate { .. }
            | OperatorAction::Abandon { .. } => true,
        }
    }
}

/// The result of an operator command for one rotation.
#[derive(Serialize)]
struct Pulled {
    vendor: String,
    iam_user: String,
    rotation: String,
    /// What happens next, or why nothing was changed.
    sentence: String,
    done: bool,
}

pub(crate) async fn record(
    config: Option<&Path>,
    vendor: &VendorName,
    action: OperatorAction,
    screen: &Screen,
) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    let journal = setup::journal_alone(&settings, Mode::Operate).await?;
    let theirs = of_vendor(&settings, journal.in_flight().await?, vendor)?;
    let mut pulled = Vec::new();
    for known in theirs.iter().filter(|known| action.is_for(&known.subject.iam_user)) {
        let one = record_one(journal.as_ref(), known, &action).await;
        pulled.push(Pulled {
            vendor: vendor.to_string(),
            iam_user: known.subject.iam_user.to_string(),
            rotation: known.rotation.to_string(),
            done: one.is_ok(),
            sentence: one.unwrap_or_else(|failure| failure.to_string()),
        });
    }
    if pulled.is_empty() {
        let message = format!("{vendor} has no rotation in flight for that user; nothing was changed");
        return Err(Failure::new(Code::Failed, message));
    }
    let code = if pulled.iter().all(|one| one.done) { Code::Fine } else { Code::Failed };
    show(&pulled, screen);
    Ok(code)
}

fn show(pulled: &[Pulled], screen: &Screen) {
    if screen.format == Format::Json {
        return screen.show_json(&pulled);
    }
    for one in pulled {
        let line = format!("{}, IAM user {}: {}", one.vendor, one.iam_user, one.sentence);
        screen.show(&wrapped(&line, screen.columns));
    }
}

/// The rotations whose users belong to this vendor now. If a user is no longer in the configuration, its rotation
/// belongs to the vendor that it began with.
pub(super) fn of_vendor(
    settings: &Settings,
    in_flight: Vec<KnownRotation>,
    vendor: &VendorName,
) -> Result<Vec<KnownRotation>, Failure> {
    let owner =
        |known: &KnownRotation| owner(settings, &known.subject).unwrap_or(known.subject.vendor.clone());
    let (theirs, others): (Vec<KnownRotation>, Vec<KnownRotation>) =
        in_flight.into_iter().partition(|known| owner(known) == *vendor);
    if !theirs.is_empty() {
        return Ok(theirs);
    }
    let renamed = others.iter().find(|known| known.subject.vendor == *vendor).map(owner);
    if renamed.is_none() {
        setup::known(settings, std::slice::from_ref(vendor))?;
    }
    let failure =
        Failure::new(Code::Failed, format!("{vendor} has no rotation in flight; nothing was changed"));
    Err(failure.hinted(match renamed {
        Some(name) => format!("the rotation in flight for its user belongs to {name}"),
        None => "`keyround status` shows the rotations in progress".to_owned(),
    }))
}

async fn record_one(
    journal: &dyn Journal,
    known: &KnownRotation,
    action: &OperatorAction,
) -> Result<String, Failure> {
    for _ in 0..ATTEMPTS_MAX {
        let events = journal.read(known.rotation).await?;
        let replayed = Rotation::replay(known.rotation, &events);
        let mut rotation = replayed.map_err(|illegal| Failure::new(Code::Config, illegal.to_string()))?;
        let event = action.event(SystemClock.now());
        let before = rotation.clone();
        if matches!(action, OperatorAction::Reactivate { .. })
            && matches!(before.stage(), Stage::Soak { .. })
            && !before.old_key_may_be_inactive()
        {
            let old = before.old().map(ToString::to_string).unwrap_or_default();
            let message = format!(
                "keyround has not set the old key {old} Inactive, so there is nothing to bring back; nothing was changed"
            );
            return Err(Failure::new(Code::Failed, message));
        }
        let entry = entry_after(&mut rotation, &event, None)
            .map_err(|_| Failure::new(Code::Failed, why_not(&before, &event)))?;
        match journal.append(entry).await {
            Err(JournalError::Conflict { .. }) => {}
            appended => {
                appended?;
                return Ok(outlook(&before, &rotation));
            }
        }
    }
    Err(Failure::new(Code::TryAgain, "the rotation changed during each attempt; try again"))
}

fn why_not(rotation: &Rotation, event: &Event) -> String {
    match (event, rotation.stage()) {
        (Event::Acknowledged { .. }, Stage::HandOver { .. }) if rotation.revealed_at().is_none() => {
            "the new key was not shown to anybody yet, so the vendor cannot have it; `keyround reveal` shows \
             it".to_owned()
        }
        (Event::ReactivationAsked { exposed: false, .. }, _)
            if rotation.old().is_some_and(|old| rotation.is_exposed(old)) =>
        {
            format!(
                "the old key {} was declared exposed, so it was not set Active; nothing was changed. Give `--exposed` if \
                 you want it Active all the same",
                rotation.old().map(ToString::to_string).unwrap_or_default()
            )
        }
        (Event::Abandoned { .. }, _) if rotation.is_cut_due() => {
            "a key is still to be set Inactive; nothing was changed. Retry when that is done".to_owned()
        }
        (Event::ReactivationAsked { .. }, Stage::Cool { .. } | Stage::Offboard { .. }) => {
            "the old key may be about to be deleted, so it was not set Active; nothing was changed. Retry in five \
             minutes, after the next pass"
                .to_owned()
        }
        (_, stage) => {
            format!("{} is not possible in stage {}; nothing was changed", event.name(), stage.name())
        }
    }
}

fn outlook(before: &Rotation, rotation: &Rotation) -> String {
    match rotation.next(SystemClock.now()) {
        Next::Perform(effect) => {
            format!(
                "next step: {}, within seconds if `keyround run` is running, else at the next pass",
                effect.name()
            )
        }
        Next::Wait { until, why: why @ Waiting::HeldWhileInactive { .. } } => {
            match rotation.old().and_then(|old| Some((old, rotation.known_keys().get(old)?))) {
                Some((old, KnownKey { state: KeyState::Is(status), at })) => {
                    format!("{}; {old} was {} at {at}", why.until(until), status_word(*status))
                }
                _ => why.until(until),
            }
        }
        Next::Wait { until, why } => why.until(until),
        Next::Stuck(blocker) => blocker.to_string(),
        Next::Ended(Ending::Abandoned) => what_stays(before),
        Next::Ended(Ending::Cut) => "the exposed key was set Inactive and is not replaced".to_owned(),
        Next::Ended(Ending::Offboarded) => "the vendor is offboarded".to_owned(),
        Next::Ended(Ending::Done) => "the rotation is done".to_owned(),
    }
}

/// What an operator is left with after an abandoned rotation, and what to do about it.
fn what_stays(before: &Rotation) -> String {
    if before.offboarding().is_some() {
        return "the offboarding is given up, and each key stays as it is: set those Active at AWS that the vendor needs, and \
                delete the others"
            .to_owned();
    }
    let Some(old) = before.old() else {
        return match (before.new_key(), before.offered_at()) {
            (Some(new), Some(_)) => format!(
                "the rotation is abandoned; the new key {new} stays as it is, because the vendor may use it. Delete it if the \
                 vendor does not"
            ),
            (Some(_) | None, _) => {
                "the rotation is abandoned, and the vendor was not offered a key".to_owned()
            }
        };
    };
    match before.stage().new_key() {
        None => format!("the rotation is abandoned before a new key was created; the vendor has {old}"),
        Some(new) if before.old_key_may_be_inactive() => format!(
            "the rotation is abandoned; the new key {new} stays, and keyround will not set the old key {old}, \
             which was set Inactive, Active again: delete {old}, or set it Active if the vendor needs it"
        ),
        Some(new) if before.half_written().is_some() => format!(
            "the rotation is abandoned; {}: write one whole pair there by hand; the old key {old} and the \
             new one, {new}, are left as they are",
            before.half_written().unwrap_or_default()
        ),
        Some(new) => format!(
            "the rotation is abandoned; the old key {old} and the new key {new} stay as they are, because the \
             vendor may use either. Delete the one that it does not use: no other rotation begins before that"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rotation::samples::{self, at, created, key, listed};
    use crate::core::rotation::{Intent, Plan, RemovalReason, Verification};

    /// A rotation in stage cool, followed by these events.
    fn cooling(then: &[Event]) -> Rotation {
        let life = [
            listed(1),
            created(2),
            Event::Probed { at: at(3) },
            Event::Delivered { at: at(4) },
            Event::Verified { by: Verification::Acceptance, at: at(5) },
            Event::Deactivated { at: at(200_000), request_id: None },
        ];
        let plan = Plan { prove_successes: 1, ..Plan::default() };
        samples::rotation(plan, &[&life, then].concat())
    }

    #[test]
    fn a_reactivation_during_a_pending_delete_is_refused_with_a_retry_hint() {
        let asked =
            OperatorAction::Reactivate { why: "a test".to_owned(), exposed: false }.event(at(900_001));
        assert!(cooling(&[]).apply(&asked).is_ok());
        let because = RemovalReason::Superseded { by: key('B'), verified_at: at(5) };
        let intent = Intent::Delete { key: key('A'), because };
        let rotation = cooling(&[Event::Intended { intent, at: at(900_000) }]);
        assert!(rotation.clone().apply(&asked).is_err());
        let sentence = why_not(&rotation, &asked);
        assert!(
            sentence.contains("nothing was changed") && sentence.contains("Retry in five minutes"),
            "{sentence}"
        );
    }
}
