//! `[exposure]`: AWS is asked again and again which users it has quarantined, and what the configuration wants is done.
//!
//! **Invariant:** an incident is declared once for each exposure: from the first sight of a quarantine policy on a user
//! until the user is seen without one, also over restarts.

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

/// Who declares what nobody declared by hand.
const BY: &str = "keyround run, by [exposure]";
/// The longest wait until an incident is declared again that could not be declared.
const RETRY_MAX: Duration = Duration::from_mins(30);

/// A person who reads of a leak declares an incident about as soon as AWS quarantines the user.
const SAME_WITHIN: Duration = Duration::from_hours(1);

/// An incident that could not be declared, and is tried again.
struct Attempt {
    failures: u32,
    not_before: Timestamp,
    sentence: String,
}

/// Asks again and again, beside the engine.
pub struct Exposures {
    worlds: watch::Receiver<World>,
    store: Arc<StatusStore>,
    memory: Arc<dyn ExposureMemory>,
    /// The exposures that are under way.
    known: BTreeMap<Who, KnownExposure>,
    attempts: BTreeMap<Who, Attempt>,
    /// When a user was seen without a quarantine again.
    ended: BTreeMap<Who, Timestamp>,
    readings: BTreeMap<Option<AccountName>, ExposureReading>,
}

impl Exposures {
    /// Of the newest world. What was known before the process began is in the memory.
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

    /// Works until told to stop.
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

    /// Declares an incident for the user, unless there is one. What fails is tried again, each time later.
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

    /// The rotation under way whose incident is already about this exposure: it was declared not long before AWS was seen
    /// to quarantine the user, and the user was not seen without a quarantine since.
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
