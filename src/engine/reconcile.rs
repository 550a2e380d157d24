//! The reconcile of one IAM user: keyround drives the user's rotation, or judges its keys and begins a rotation.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::config::settings::{Access, KeyAccess};
use crate::core::alert::{Response, exposed_in_words};
use crate::core::ids::{AccessKeyId, AccountId, IamUserName, RotationId, Subject, VendorName};
use crate::core::rotation::{
    Blocker, Event, KeyMetadata, KeyUsage, Offboarding, Plan, Rotation, Stage, Waiting,
};
use crate::core::schedule::{
    Abandoned, Action, Facts, OFFBOARDED, State, Verdict, judge, judge_without_vendor,
};
use crate::core::time::Timestamp;
use crate::engine::drive::{DriveError, append, drive};
use crate::engine::listing::{listed_without_journal, look_at_keys, read_exposed_use};
use crate::engine::preview::delivery_checks;
use crate::engine::starts::{mark_waiting, room, waiting};
use crate::engine::targets::{TargetUser, everybody, replayed};
use crate::engine::{Rest, Watcher, World, clock, exposure, rotation_span};
use crate::ports::{Entry, Fault, JournalError, SecretChange};

/// The waits for a person. Only their reason codes are read.
const REVEAL: Waiting = Waiting::Reveal { since: Timestamp::EPOCH, days: 0 };
const HAND_OVER: Waiting = Waiting::HandOver { revealed_at: Timestamp::EPOCH, days: 0 };

/// What one reconcile found and did.
#[derive(Clone, Debug)]
pub struct UserReport {
    /// The vendor.
    pub vendor: VendorName,
    /// Its IAM user; `None` for a vendor with a role, one that is disabled, or a path that holds no user or could not
    /// be listed.
    pub iam_user: Option<IamUserName>,
    /// The user's AWS account, where AWS was asked for it.
    pub account_id: Option<AccountId>,
    /// The user's keys; empty where they were not listed.
    pub keys: Vec<KeyMetadata>,
    /// When this reconcile listed the keys; `None`: it listed none, or changed a key after that.
    pub keys_listed_at: Option<Timestamp>,
    /// This reconcile asked AWS for the keys, because the journal's listing was too old, and got no answer.
    pub keys_unanswered: bool,
    /// The last use of the rotation's exposed key; `None`: no key of it is exposed, or AWS did not answer.
    pub exposed_use: Option<KeyUsage>,
    /// When each key was last used, by key id; empty where AWS was not asked.
    pub usage: BTreeMap<AccessKeyId, KeyUsage>,
    /// The judgement on the user's keys or on its rotation.
    pub verdict: Verdict,
    /// The rotation that is under way, or that ended in this reconcile.
    pub rotation: Option<Rotation>,
    /// Why the rotation rests; `None` where this reconcile drove none.
    pub rest: Option<Rest>,
    /// What went wrong with the journal or inside keyround, as a sentence.
    pub error: Option<String>,
    /// The quarantine policies that AWS has attached to the user; `None`: that was not asked.
    pub exposure: Option<Vec<String>>,
    /// Whether `status` and `rotate` exit with a failure because of this report: the rotation is stuck or its last
    /// effect failed, AWS or the journal gave no usable answer, a delivery check failed, or the configuration or the
    /// clock must be corrected.
    pub failed: bool,
}

impl UserReport {
    pub(crate) fn of(vendor: VendorName, iam_user: Option<IamUserName>, verdict: Verdict) -> UserReport {
        UserReport {
            vendor,
            iam_user,
            account_id: None,
            keys: Vec::new(),
            keys_listed_at: None,
            keys_unanswered: false,
            exposed_use: None,
            usage: BTreeMap::new(),
            verdict,
            rotation: None,
            rest: None,
            error: None,
            exposure: None,
            failed: false,
        }
    }

    /// The verdict's sentence, and where only a person can continue, the command for it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let sentence = &self.verdict.sentence;
        let sentence = match self.way_on() {
            Some(command) => format!("{sentence}; to go on: `{command}`"),
            None => sentence.clone(),
        };
        match self.exposed() {
            Some(exposed) => format!("{exposed}; {sentence}"),
            None => sentence,
        }
    }

    /// What there is to say of a user that AWS has quarantined.
    fn exposed(&self) -> Option<String> {
        let policies = self.exposure.as_ref().filter(|policies| !policies.is_empty())?;
        let incident = self.rotation.as_ref().and_then(Rotation::incident);
        let response = incident.map_or(Response::ByHand, |incident| Response::Declared(Some(incident.mode)));
        Some(exposed_in_words(&self.vendor, self.iam_user.as_ref()?, policies, &response))
    }

    fn way_on(&self) -> Option<String> {
        let vendor = &self.vendor;
        match self.verdict.reason {
            reason if reason == REVEAL.code() => return Some(format!("keyround reveal {vendor}")),
            reason if reason == HAND_OVER.code() => return Some(format!("keyround ack {vendor}")),
            "no_key" => return Some(format!("keyround issue {vendor}")),
            OFFBOARDED if self.rotation.is_none() && self.keys.is_empty() => {
                return Some(format!("keyround issue {vendor}"));
            }
            "no_active_key" if self.keys.len() < 2 => return Some(format!("keyround issue {vendor}")),
            _ => {}
        }
        let Stage::Stuck { blocker, .. } = self.rotation.as_ref()?.stage() else { return None };
        Some(match blocker {
            Blocker::OldKeyGone { .. }
            | Blocker::OldKeyDeletedLate { .. }
            | Blocker::NoKeyLeft { .. }
            | Blocker::NotDiscarded { .. }
            | Blocker::HasActiveKey { .. }
            | Blocker::NewKeyGone { .. }
            | Blocker::WrongIdentity { .. } => {
                format!("keyround abandon {vendor} --why REASON")
            }
            Blocker::SlotFilledInIncident { .. }
            | Blocker::ExposedKeyNeeded { .. }
            | Blocker::OldKeyNotActive { .. }
            | Blocker::NoFreeSlot { .. }
            | Blocker::UnknownKey { .. }
            | Blocker::NewKeyNotActive { .. }
            | Blocker::NewKeyNeverWorked { .. }
            | Blocker::OtherAccount { .. }
            | Blocker::VendorGone { .. }
            | Blocker::VendorKeepsOldKey { .. }
            | Blocker::VendorWentBack { .. }
            | Blocker::Exhausted { .. } => format!("keyround resume {vendor}"),
        })
    }

    pub(crate) fn broken(
        vendor: VendorName,
        iam_user: Option<IamUserName>,
        reason: &'static str,
        sentence: String,
    ) -> UserReport {
        let user_report = UserReport::of(vendor, iam_user, Verdict::broken(reason, sentence.clone()));
        UserReport { error: Some(sentence), failed: true, ..user_report }
    }

    pub(crate) fn without_journal(subject: &Subject, error: &DriveError) -> UserReport {
        let (vendor, user) = (subject.vendor.clone(), Some(subject.iam_user.clone()));
        UserReport::broken(vendor, user, error.reason(), error.to_string())
    }
}

pub(crate) fn unlisted(fault: &Fault) -> Verdict {
    match fault {
        Fault::Refused(refusal) => Verdict::unlisted(Some(refusal.code), &refusal.sentence),
        Fault::Unknown(doubt) => Verdict::unlisted(None, &doubt.sentence),
    }
}

/// The key settings of a subject's vendor; `None` where the vendor is not in the configuration or assumes a role.
pub(crate) fn access<'a>(world: &'a World, subject: &Subject) -> Option<&'a KeyAccess> {
    match &world.settings.vendors.get(&subject.vendor)?.access {
        Access::Key(access) => Some(access),
        Access::Role { .. } => None,
    }
}

/// Drives the user's rotation, or judges its keys and begins one. Reports the result to the watcher.
pub(crate) async fn reconcile(
    world: &World,
    call: &TargetUser,
    forced: bool,
    stop: &CancellationToken,
    watcher: &dyn Watcher,
) -> UserReport {
    let subject = &call.subject;
    let user_report = match call.rotation {
        Some(id) => carry_on(world, subject, id, stop, watcher).await,
        None => survey_and_start(world, subject, forced, stop, watcher).await,
    };
    let user_report = user_report.unwrap_or_else(|error| UserReport::without_journal(subject, &error));
    watcher.reconciled(subject, &user_report);
    user_report
}

async fn carry_on(
    world: &World,
    subject: &Subject,
    id: RotationId,
    stop: &CancellationToken,
    watcher: &dyn Watcher,
) -> Result<UserReport, DriveError> {
    if let Some(visited) = unfit_for_issue(world, subject, id).await? {
        return Ok(visited);
    }
    let (rotation, rest) = match drive(world, subject, id, stop, watcher).await {
        Ok(driven) => driven,
        Err(error) => return Ok(listed_without_journal(world, subject, id, &error).await),
    };
    let listed = match rest {
        Rest::Ended(_) => Ok(None),
        _ => look_at_keys(world, subject, &rotation).await,
    };
    let keys_unanswered = listed.is_err();
    let exposed_use = read_exposed_use(world, subject, &rotation, &rest).await;
    let user_report = rested(world, subject, listed.unwrap_or_default(), rotation, rest);
    Ok(UserReport { keys_unanswered, exposed_use, ..user_report })
}

/// Checks the delivery before the first key of an `issue` is created. `None`: every check passed, or it is not the time.
async fn unfit_for_issue(
    world: &World,
    subject: &Subject,
    id: RotationId,
) -> Result<Option<UserReport>, DriveError> {
    let rotation = replayed(world, id).await?;
    let is_next = rotation.is_issue() && rotation.stage() == &Stage::Survey && rotation.new_key().is_none();
    let Some(account_id) =
        rotation.account_id().cloned().filter(|_| is_next && !rotation.is_held(world.clock.now()))
    else {
        return Ok(None);
    };
    let Some(sentence) = undeliverable(world, subject, None, account_id).await else { return Ok(None) };
    let visited = UserReport::broken(
        subject.vendor.clone(),
        Some(subject.iam_user.clone()),
        "preflight_failed",
        format!("{sentence}; the next pass tries again"),
    );
    Ok(Some(UserReport { rotation: Some(rotation), error: None, ..visited }))
}

async fn survey_and_start(
    world: &World,
    subject: &Subject,
    forced: bool,
    stop: &CancellationToken,
    watcher: &dyn Watcher,
) -> Result<UserReport, DriveError> {
    let looked = look(world, subject, None, forced).await;
    let Action::Start { old } = looked.verdict.action.clone() else { return Ok(looked) };
    if stop.is_cancelled() {
        return Ok(looked);
    }
    let Some(access) = access(world, subject) else { return Ok(looked) };
    let unfit = match looked.account_id.clone() {
        Some(account_id) => undeliverable(world, subject, Some(&old.id), account_id).await,
        None => None,
    };
    if let Some(sentence) = unfit {
        let sentence = format!("{sentence}; the key in use was not changed; the next pass tries again");
        // The dates of the verdict stay, so that the alert `overdue` still fires.
        let verdict = Verdict { state: State::Stuck, reason: "preflight_failed", sentence, ..looked.verdict };
        return Ok(UserReport { failed: true, verdict, ..looked });
    }
    let turn = world.starts.turn().await;
    if !forced && let Some(why) = room(world).await?.take() {
        return Ok(UserReport { verdict: waiting(looked.verdict, why), ..looked });
    }
    let rotation = start(world, subject, &old, (&looked, &access.plan), watcher).await?;
    drop(turn);
    let (rotation, rest) = drive(world, subject, rotation.id(), stop, watcher).await?;
    // These keys were listed before the rotation began. It has changed keys since, so their time is left out.
    let user_report = rested(world, subject, None, rotation, rest);
    Ok(UserReport { keys: looked.keys, ..user_report })
}

/// Why a delivery check failed; `None`: all passed. No key is created before that.
async fn undeliverable(
    world: &World,
    subject: &Subject,
    old: Option<&AccessKeyId>,
    account_id: AccountId,
) -> Option<String> {
    let checks = delivery_checks(world, subject, old, account_id).await;
    let failed: Vec<String> = checks
        .iter()
        .filter(|check| !check.ok)
        .map(|check| format!("{}: {}", check.check, check.sentence))
        .collect();
    (!failed.is_empty())
        .then(|| format!("no new key was made, because it could not be delivered: {}", failed.join("; ")))
}

/// Lists and judges the user's keys, and changes nothing.
async fn look(world: &World, subject: &Subject, rotation: Option<Rotation>, forced: bool) -> UserReport {
    let of = |verdict| UserReport::of(subject.vendor.clone(), Some(subject.iam_user.clone()), verdict);
    let Some(access) = access(world, subject) else {
        let verdict =
            rotation.as_ref().and_then(|rotation| judge_without_vendor(rotation, world.clock.now()));
        return UserReport { rotation, ..of(verdict.unwrap_or_else(Verdict::disabled)) };
    };
    let iam = world.accounts.iam(subject.account.as_ref());
    // The account is checked first, so that answers from another account are not taken for this user's.
    let caller = match iam.caller().await {
        Ok(caller) => caller,
        Err(fault) => return UserReport { rotation, failed: true, ..of(unlisted(&fault)) },
    };
    if rotation.is_none() && caller.is_user(&subject.iam_user) {
        return UserReport { failed: true, ..of(Verdict::broken("own_user", own_user(subject))) };
    }
    let account_id = caller.account_id;
    let keys = match iam.list_keys(&subject.iam_user).await {
        Ok(keys) => keys,
        Err(fault) => return UserReport { rotation, failed: true, ..of(unlisted(&fault)) },
    };
    let last = match &rotation {
        None if !forced => offboarded(world, subject).await,
        Some(_) | None => None,
    };
    if let Some(offboarding) = last {
        let verdict = Verdict::offboarded(&offboarding, &keys);
        let listed_at = Some(world.clock.now());
        return UserReport { keys, keys_listed_at: listed_at, account_id: Some(account_id), ..of(verdict) };
    }
    let abandoned = match (&rotation, keys.len()) {
        (None, 2..) => left_behind(world, subject).await,
        _ => None,
    };
    let facts = Facts {
        keys: &keys,
        ages: access.ages.of_user(subject.account.as_ref(), &subject.iam_user),
        windows: &access.windows,
        in_flight: rotation.as_ref(),
        now: world.clock.now(),
        forced,
        abandoned: abandoned.as_ref(),
    };
    let (verdict, listed_at) = (judge(&facts), facts.now);
    // Whoever forces a rotation is told that none can begin.
    let failed = forced && matches!(verdict.reason, "no_key" | "no_active_key");
    let visited =
        UserReport { keys_listed_at: Some(listed_at), account_id: Some(account_id), failed, ..of(verdict) };
    UserReport { keys, rotation, ..visited }
}

/// The user's last rotation, if that was an offboarding that came to its end. A journal that cannot be read tells of none.
async fn offboarded(world: &World, subject: &Subject) -> Option<Offboarding> {
    let known = world.journal.rotations(Some(&subject.vendor)).await.ok()?;
    let last = known.iter().rfind(|known| known.subject.who() == subject.who())?;
    let events = world.journal.read(last.rotation).await.ok()?;
    if !events.iter().any(|event| matches!(event, Event::OffboardAsked { .. })) {
        return None;
    }
    let rotation = Rotation::replay(last.rotation, &events).ok()?;
    rotation.offboarding().filter(|_| rotation.was_offboarded()).cloned()
}

/// The new key of the user's last rotation, if that one was abandoned. If the journal cannot be read, the result is
/// `None`: then the verdict only says of the second key that no rotation under way accounts for it.
async fn left_behind(world: &World, subject: &Subject) -> Option<Abandoned> {
    let known = world.journal.rotations(Some(&subject.vendor)).await.ok()?;
    let last = known.iter().rfind(|known| known.ended && known.subject.who() == subject.who())?;
    let events = world.journal.read(last.rotation).await.ok()?;
    let at = events.iter().rev().find_map(|event| match event {
        Event::Abandoned { at, .. } => Some(*at),
        _ => None,
    })?;
    let new = events.iter().rev().find_map(|event| match event {
        Event::Created { key, .. } => Some(key.clone()),
        _ => None,
    })?;
    Some(Abandoned { new, at })
}

fn own_user(subject: &Subject) -> String {
    let Subject { vendor, iam_user, .. } = subject;
    format!(
        "the IAM user {iam_user} of {vendor} is the one that keyround signs with, and replacing its key would end \
         keyround's own access; nothing was changed; give the vendor a user of its own, or keyround a role"
    )
}

/// Begins a rotation. The listing that led to the verdict is also the rotation's survey, so AWS is not asked twice.
async fn start(
    world: &World,
    subject: &Subject,
    old: &KeyMetadata,
    (looked, plan): (&UserReport, &Plan),
    watcher: &dyn Watcher,
) -> Result<Rotation, DriveError> {
    let at = world.clock.now();
    let id = RotationId::new(subject, &old.id, at);
    write_start(world, subject, old, (looked, plan), (id, at), watcher)
        .instrument(rotation_span(&subject.vendor, id))
        .await
}

async fn write_start(
    world: &World,
    subject: &Subject,
    old: &KeyMetadata,
    (looked, plan): (&UserReport, &Plan),
    (id, at): (RotationId, Timestamp),
    watcher: &dyn Watcher,
) -> Result<Rotation, DriveError> {
    let started = Event::Started {
        subject: subject.clone(),
        old: old.id.clone(),
        old_created_at: old.created_at,
        reason: looked.verdict.reason.to_owned(),
        plan: plan.clone(),
        account_id: looked.account_id.clone(),
        at,
    };
    let entry = Entry { rotation: id, number: 1, event: &started, secret: SecretChange::Keep, ends: false };
    world.journal.append(entry).await?;
    let mut rotation = Rotation::replay(id, [&started])?;
    watcher.appended(&rotation, &started);
    let listed = Event::Listed { keys: looked.keys.clone(), at };
    append(world, &mut rotation, listed, None, watcher).await?;
    Ok(rotation)
}

fn rested(
    world: &World,
    subject: &Subject,
    listed: Option<(Vec<KeyMetadata>, Timestamp)>,
    rotation: Rotation,
    rest: Rest,
) -> UserReport {
    let (keys, keys_listed_at) = listed.map_or((Vec::new(), None), |(keys, at)| (keys, Some(at)));
    let verdict = match (&rest, access(world, subject)) {
        (Rest::Ended(_), _) => Verdict::ended(&rotation),
        (_, None) => {
            judge_without_vendor(&rotation, world.clock.now()).unwrap_or_else(|| Verdict::ended(&rotation))
        }
        (_, Some(access)) => judge(&Facts {
            keys: &keys,
            ages: access.ages.of_user(subject.account.as_ref(), &subject.iam_user),
            windows: &access.windows,
            in_flight: Some(&rotation),
            now: world.clock.now(),
            forced: false,
            abandoned: None,
        }),
    };
    let verdict = clock::told(verdict, &rest);
    let user_report = UserReport::of(subject.vendor.clone(), Some(subject.iam_user.clone()), verdict);
    let failed =
        matches!(rest, Rest::Stuck(_)) || rotation.last_fault().is_some() || clock::needs_repair(&rest);
    UserReport { keys, keys_listed_at, rotation: Some(rotation), rest: Some(rest), failed, ..user_report }
}

/// Reads keys, last uses, verdicts and rotations of these vendors; empty means all. Changes nothing.
///
/// # Errors
///
/// The journal cannot be read.
pub async fn status(world: &World, vendors: &[VendorName]) -> Result<Vec<UserReport>, JournalError> {
    let (calls, mut found) = everybody(world, vendors).await?;
    // With all vendors, it would take too long to ask CloudTrail who used each key.
    let ask_who = !vendors.is_empty();
    let looks = stream::iter(calls).map(|call| status_of(world, call, ask_who));
    found.extend(looks.buffered(world.settings.concurrency).collect::<Vec<_>>().await);
    exposure::look(world, &mut found).await;
    found.sort_by(|a, b| (&a.vendor, &a.iam_user).cmp(&(&b.vendor, &b.iam_user)));
    mark_waiting(world, found.iter_mut()).await?;
    Ok(found)
}

async fn status_of(world: &World, call: TargetUser, ask_who: bool) -> UserReport {
    let subject = &call.subject;
    let mut looked = look_at(world, &call, false).await;
    let iam = world.accounts.iam(subject.account.as_ref());
    looked.account_id = iam.account_id().await.ok();
    for key in &looked.keys {
        let usage = if ask_who { iam.usage(&key.id).await } else { iam.recorded_usage(&key.id).await };
        // The last use is a detail: without it, the rest is still shown.
        if let Ok(usage) = usage {
            looked.usage.insert(key.id.clone(), usage);
        }
    }
    looked
}

/// Lists and judges the user's keys and its rotation. A rotation that cannot be read is an error of this user only.
pub(crate) async fn look_at(world: &World, call: &TargetUser, forced: bool) -> UserReport {
    let rotation = match call.rotation {
        None => None,
        Some(id) => match replayed(world, id).await {
            Ok(rotation) => Some(rotation),
            Err(error) => return UserReport::without_journal(&call.subject, &error.into()),
        },
    };
    look(world, &call.subject, rotation, forced).await
}
