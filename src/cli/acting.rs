//! The steps that `incident`, `issue` and `offboard` share: each appends an event on which keyround must act at once.
//!
//! If `keyround run` uses the journal, it acts on the event within seconds, and the command waits for that. If no
//! `keyround run` uses the journal, the command drives the rotations itself, as `rotate` does.

use std::collections::BTreeSet;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::adapters::journal::Mode;
use crate::cli::exit::{Code, Failure};
use crate::cli::progress::Reporter;
use crate::cli::run::stop_on_signals;
use crate::cli::{Screen, setup};
use crate::config::Settings;
use crate::core::ids::{RotationId, Subject, VendorName};
use crate::core::rotation::Rotation;
use crate::core::time::MonotonicInstant;
use crate::engine::{Cadence, Engine, PassRequest, UserReport, WaitMode, World};
use crate::ports::JournalError;

/// The interval at which [`wait_while`] reads the journal.
const LOOKS_EVERY: Duration = Duration::from_millis(250);

/// Opens the journal to drive rotations, or only to append to it if another process drives them or the seal key cannot
/// be read. Returns whether this process drives rotations.
pub(super) async fn open(settings: Settings) -> Result<(World, bool), Failure> {
    let failure = match setup::world(settings.clone(), Mode::Drive).await {
        Ok(world) => return Ok((world, true)),
        Err(failure) => failure,
    };
    // The journal accepts the event of an operator command also from a process that cannot read the seal key.
    let may_append = matches!(failure.journal, Some(JournalError::InUse(_) | JournalError::SealKey(_)));
    if !may_append {
        return Err(failure);
    }
    Ok((setup::world(settings, Mode::Operate).await?, false))
}

/// Asks the question on the terminal. Returns whether the operator typed `yes` or `y`.
pub(super) fn confirmed(question: &str) -> Result<bool, Failure> {
    let mut err = std::io::stderr().lock();
    drop(write!(err, "{question} Type yes: "));
    drop(err.flush());
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Failure::new(Code::Failed, format!("no answer: {error}; nothing was changed")))?;
    Ok(matches!(answer.trim(), "yes" | "y"))
}

/// Drives the rotations as `rotate` does: until each of them has ended, or waits for more than a minute, for the vendor
/// to use its key, or for a person.
pub(super) async fn carry_on(
    world: &World,
    rotations: BTreeSet<RotationId>,
    screen: &Screen,
) -> Result<Vec<UserReport>, Failure> {
    if rotations.is_empty() {
        return Ok(Vec::new());
    }
    let (_keep, worlds) = watch::channel(world.clone());
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let reporter = Arc::new(Reporter::new(screen.progress));
    let mut engine = Engine::new(worlds, stop, reporter);
    let ask = PassRequest { rotations, ..PassRequest::default() };
    Ok(engine.work(&Cadence::Once(ask, WaitMode::Short)).await?)
}

/// The vendor and the IAM user, for the JSON form of a result. The user is absent if it is not known.
pub(super) fn named(subject: &Result<Subject, VendorName>) -> (String, Option<String>) {
    match subject {
        Ok(subject) => (subject.vendor.to_string(), Some(subject.iam_user.to_string())),
        Err(vendor) => (vendor.to_string(), None),
    }
}

/// The line that shows the result for one user.
pub(super) fn line(vendor: &str, iam_user: Option<&str>, sentence: &str) -> String {
    let user = iam_user.map(|user| format!(", IAM user {user}")).unwrap_or_default();
    format!("{vendor}{user}: {sentence}")
}

/// The rotation as the journal has it now.
pub(super) async fn replayed(world: &World, id: RotationId) -> Result<Rotation, Failure> {
    let events = world.journal.read(id).await?;
    Rotation::replay(id, &events).map_err(|illegal| Failure::new(Code::Config, illegal.to_string()))
}

/// Waits while `is_so` holds for any of the rotations, but at most `no_longer_than`.
pub(super) async fn wait_while(
    world: &World,
    rotations: &BTreeSet<RotationId>,
    no_longer_than: Duration,
    is_so: impl Fn(&Rotation) -> bool,
) -> Result<(), Failure> {
    let began = MonotonicInstant::now();
    while began.elapsed() < no_longer_than {
        let mut is_any = false;
        for id in rotations {
            is_any |= is_so(&replayed(world, *id).await?);
        }
        if !is_any {
            break;
        }
        tokio::time::sleep(LOOKS_EVERY).await;
    }
    Ok(())
}
