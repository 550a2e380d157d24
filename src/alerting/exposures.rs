//! `[exposure]`: polls AWS for the users that it has quarantined, and declares incidents for them if the configuration
//! says so.
//!
//! An exposure begins when keyround first sees a quarantine policy on a user, and ends when it sees the user without
//! one.
//!
//! **Invariant:** one incident is declared for each exposure, also if keyround restarts during it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::config::settings::ExposureSettings;
use crate::core::alert::{Exposure, ExposureReading, Response, exposed_in_words};
use crate::core::ids::{AccountName, RotationId, Subject, Who};
use crate::core::rotation::retry::wait_after;
use crate::core::rotation::{IncidentMode, Rotation};
use crate::core::time::Timestamp;
use crate::engine::exposure::{Quarantined, ask, warn_not_checked, watched};
use crate::engine::targets::replayed;
use crate::engine::{Declaration, Scope, World, declare};
use crate::ports::{ExposureMemory, JournalError, KnownExposure};
use crate::status::StatusStore;

/// The name that the journal shows as the operator of these incidents.
const BY: &str = "keyround run, by [exposure]";
/// The longest wait before another attempt to declare an incident, after earlier attempts failed.
const RETRY_MAX: Duration = Duration::from_mins(30);

/// An operator's incident that is at most this much older than the exposure is about the same leak: a person who reads
/// of a leak declares an incident at about the time at which AWS quarantines the user.
const SAME_WITHIN: Duration = Duration::from_hours(1);

/// The failed attempts to declare an incident for one exposure.
struct Attempt {
    failures: u32,
    /// The time of the next attempt.
    not_before: Timestamp,
    sentence: String,
}

/// The task that polls AWS and declares incidents, concurrently with the engine.
pub struct Exposures {
    worlds: watch::Receiver<World>,
    store: Arc<StatusStore>,
    memory: Arc<dyn ExposureMemory>,
    /// The exposures that have not ended.
    known: BTreeMap<Who, KnownExposure>,
    attempts: BTreeMap<Who, Attempt>,
    /// The time at which a user's last exposure ended. It is lost at a restart.
    ended: BTreeMap<Who, Timestamp>,
    /// The result of the last poll of each account.
    readings: BTreeMap<Option<AccountName>, ExposureReading>,
}

impl Exposures {
    /// Polls with the newest of `worlds`. The exposures that an earlier process knew are read from `memory`.
    #[must_use]
    pub fn new(
        worlds: watch::Receiver<World>,
        store: Arc<StatusStore>,
        memory: Arc<dyn ExposureMemory>,
    ) -> Exposures {
        let known =
            memory.read().into_iter().map(|known| ((known.account.clone(), known.iam_user.clone()), known));
        let known = known.collect();
        Exposures {
            worlds,
            store,
            memory,
            known,
            attempts: BTreeMap::new(),
            ended: BTreeMap::new(),
            readings: BTreeMap::new(),
        }
    }

    /// Polls until `stop` is cancelled.
    pub async fn work(&mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let world = self.worlds.borrow_and_update().clone();
            let next = match &world.settings.exposure {
                None => {
                    self.readings.clear();
                    Timestamp::NEVER
                }
                Some(exposure) => {
                    self.poll(&world, exposure, stop).await;
                    world.clock.now() + exposure.poll
                }
            };
            self.store.exposures_were_read(self.readings.values().cloned().collect());
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Ok(()) = self.worlds.changed() => {}
                () = world.clock.sleep_until(next), if next < Timestamp::NEVER => {}
            }
        }
    }

    async fn poll(&mut self, world: &World, exposure: &ExposureSettings, stop: &CancellationToken) {
        let snapshot = self.store.snapshot();
        let accounts = watched(world, snapshot.users.values()).await;
        let mut readings = BTreeMap::new();
        for (account, subjects) in accounts {
            if stop.is_cancelled() {
                return;
            }
            let before = self.readings.get(&account);
            let reading = match ask(world, account.as_ref()).await {
                Ok(quarantined) => {
                    if before.is_some_and(|before| before.not_checked.is_some()) {
                        tracing::info!("[exposure]: AWS answers again which users it has quarantined");
                    }
                    self.taken(world, exposure, account.clone(), subjects, &quarantined).await
                }
                Err(fault) => {
                    if before.is_none_or(|before| before.not_checked.is_none()) {
                        warn_not_checked(account.as_ref(), &fault);
                    }
                    let exposed = before.map(|before| before.exposed.clone()).unwrap_or_default();
                    let not_checked = Some(fault.sentence().to_owned());
                    ExposureReading { account: account.clone(), exposed, clear: Vec::new(), not_checked }
                }
            };
            readings.insert(account, reading);
        }
        self.readings = readings;
    }

    async fn taken(
        &mut self,
        world: &World,
        exposure: &ExposureSettings,
        account: Option<AccountName>,
        subjects: Vec<Subject>,
        quarantined: &Quarantined,
    ) -> ExposureReading {
        let (mut exposed, mut clear) = (Vec::new(), Vec::new());
        for subject in subjects {
            let who = subject.who();
            if let Some(policies) = quarantined.get(&subject.iam_user.as_str().to_lowercase()) {
                exposed.push(self.exposed(world, exposure, subject, policies).await);
                continue;
            }
            self.attempts.remove(&who);
            if self.known.remove(&who).is_some() {
                self.ended.insert(who, world.clock.now());
                self.remember();
            }
            clear.push(subject);
        }
        ExposureReading { account, exposed, clear, not_checked: None }
    }

    async fn exposed(
        &mut self,
        world: &World,
        exposure: &ExposureSettings,
        subject: Subject,
        policies: &[String],
    ) -> Exposure {
        let (who, now) = (subject.who(), world.clock.now());
        let known = self.known.get(&who).cloned().unwrap_or_else(|| {
            let Subject { account, iam_user, vendor } = subject.clone();
            tracing::warn!("{}", exposed_in_words(&vendor, &iam_user, policies, &Response::ByHand));
            KnownExposure { account, iam_user, since: now, rotation: None }
        });
        let (rotation, response) = match exposure.action.mode() {
            None => (known.rotation, declared_before(&known).unwrap_or(Response::ByHand)),
            Some(mode) => match declared_before(&known) {
                Some(response) => (known.rotation, response),
                None => self.declared(world, mode, &subject, policies, known.since).await,
            },
        };
        let known = KnownExposure { rotation, ..known };
        if self.known.insert(who, known.clone()).as_ref() != Some(&known) {
            self.remember();
        }
        let owner = owner(&world.settings, &subject);
        Exposure { subject, owner, policies: policies.to_vec(), since: known.since, rotation, response }
    }

    /// Declares an incident for the user, unless one already covers the exposure. A failed attempt is repeated in a
    /// later poll, with a growing backoff.
    async fn declared(
        &mut self,
        world: &World,
        mode: IncidentMode,
        subject: &Subject,
        policies: &[String],
        since: Timestamp,
    ) -> (Option<RotationId>, Response) {
        let (who, now) = (subject.who(), world.clock.now());
        if let Some(attempt) = self.attempts.get(&who).filter(|attempt| now < attempt.not_before) {
            return (None, Response::Failed(attempt.sentence.clone()));
        }
        if let Some(rotation) = self.covered(world, subject, since).await {
            return (Some(rotation), Response::Declared(None));
        }
        let why = format!("AWS attached {} to the IAM user {}", policies.join(" and "), subject.iam_user);
        let scope = Scope::User(subject.clone());
        let declaration = Declaration { scope, mode, by: BY.to_owned(), why, may_begin: true };
        let sentence = match declare(world, &declaration).await.map(|declared| declared.into_iter().next()) {
            Ok(Some(meant)) => match (meant.failure, meant.rotation) {
                (None, Some(rotation)) => {
                    tracing::warn!("an incident ({}) is declared for {}", mode.as_str(), subject.iam_user);
                    self.attempts.remove(&who);
                    return (Some(rotation), Response::Declared(Some(mode)));
                }
                (failure, _) => failure.unwrap_or_else(|| "no rotation has it".to_owned()),
            },
            Ok(None) => "the user is not one of the configuration's any more".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::error!("no incident could be declared for {}: {sentence}", subject.iam_user);
        let failures = self.attempts.get(&who).map_or(0, |attempt| attempt.failures) + 1;
        let wait = wait_after(failures, None).unwrap_or(RETRY_MAX);
        let attempt = Attempt { failures, not_before: now + wait, sentence: sentence.clone() };
        self.attempts.insert(who, attempt);
        (None, Response::Failed(sentence))
    }

    /// The rotation under way whose incident is already about this exposure: the incident was declared after the
    /// exposure began or at most [`SAME_WITHIN`] before, and no exposure of the user has ended since the declaration.
    async fn covered(&self, world: &World, subject: &Subject, since: Timestamp) -> Option<RotationId> {
        let rotation = under_way(world, subject).await.ok()??;
        let declared_at = rotation.incident()?.at;
        let is_of_before = self.ended.get(&subject.who()).is_some_and(|ended| *ended > declared_at);
        (since <= declared_at + SAME_WITHIN && !is_of_before).then(|| rotation.id())
    }

    fn remember(&self) {
        self.memory.write(&self.known.values().cloned().collect::<Vec<_>>());
    }
}

/// The response to an exposure for which an earlier poll already declared or found an incident; `None` if none did.
fn declared_before(known: &KnownExposure) -> Option<Response> {
    known.rotation.map(|_| Response::Declared(None))
}

fn owner(settings: &Settings, subject: &Subject) -> Option<String> {
    settings.vendors.get(&subject.vendor).and_then(|vendor| vendor.owner.clone())
}

async fn under_way(world: &World, subject: &Subject) -> Result<Option<Rotation>, JournalError> {
    let in_flight = world.journal.in_flight().await?;
    match in_flight.iter().find(|known| known.subject.who() == subject.who()) {
        Some(known) => replayed(world, known.rotation).await.map(Some),
        None => Ok(None),
    }
}
