//! An offboarding, declared: the users of a vendor, their keys, and the events that say that all of them go.
//!
//! A rotation under way gets the event; where there is none, one begins with it. Nothing else is done here: the engine sees
//! the event, and acts on it before all else.

use crate::core::ids::{AccountId, IamUserName, RotationId, Subject, VendorName};
use crate::core::rotation::{Beginning, Event, KeyMetadata, Rotation};
use crate::engine::reconcile::access;
use crate::engine::targets::{TargetUser, everybody, replayed};
use crate::engine::{World, entry_after};
use crate::ports::{Entry, JournalError, SecretChange};

/// How often another writer may be faster before this gives up.
const ATTEMPTS_MAX: u32 = 20;

/// What a person asks for.
#[derive(Clone, Debug)]
pub struct Offboard {
    /// The vendor.
    pub vendor: VendorName,
    /// This user only.
    pub user: Option<IamUserName>,
    /// Who asks.
    pub by: String,
    /// Why.
    pub why: String,
    /// Whether a rotation may begin: who cannot seal the journal begins none.
    pub may_begin: bool,
}

/// What it means for one user.
#[derive(Clone, Debug)]
pub struct Leaver {
    /// The user, or the vendor alone where its users are not known.
    pub subject: Result<Subject, VendorName>,
    /// The user's keys.
    pub keys: Vec<KeyMetadata>,
    /// The rotation that has the event, or is to have it.
    pub rotation: Option<RotationId>,
    /// Why nothing can be done.
    pub failure: Option<String>,
    account_id: Option<AccountId>,
}

/// What it means for each user of the vendor. Changes nothing.
///
/// # Errors
///
/// The journal cannot be read.
pub async fn leavers(world: &World, asked: &Offboard) -> Result<Vec<Leaver>, JournalError> {
    let (calls, others) = everybody(world, std::slice::from_ref(&asked.vendor)).await?;
    let is_meant = |user: &IamUserName| asked.user.as_ref().is_none_or(|only| only == user);
    let mut leavers = Vec::new();
    for call in calls.into_iter().filter(|call| call.subject.vendor == asked.vendor) {
        if is_meant(&call.subject.iam_user) {
            leavers.push(leaver(world, asked, call).await);
        }
    }
    if leavers.is_empty() || asked.user.is_none() {
        leavers.extend(others.into_iter().filter(|other| other.vendor == asked.vendor).map(|other| {
            let failure = Some(format!("{}; nothing was changed", other.verdict.sentence));
            Leaver { subject: Err(other.vendor), keys: Vec::new(), rotation: None, failure, account_id: None }
        }));
    }
    leavers.sort_by_key(|one| one.subject.as_ref().ok().map(|subject| subject.iam_user.to_string()));
    Ok(leavers)
}

async fn leaver(world: &World, asked: &Offboard, call: TargetUser) -> Leaver {
    let TargetUser { subject, rotation } = call;
    let iam = world.accounts.iam(subject.account.as_ref());
    let caller = iam.caller().await;
    let listed = iam.list_keys(&subject.iam_user).await;
    let is_own = caller.as_ref().is_ok_and(|caller| caller.is_user(&subject.iam_user));
    let failure = match (&listed, rotation) {
        _ if is_own => Some("keyround signs with this user's key, and would end its own access".to_owned()),
        (Err(fault), None) => Some(format!("{}; nothing was changed", fault.sentence())),
        (Ok(keys), None) if keys.is_empty() => {
            Some("the user has no access key, so there is nothing to set Inactive; nothing was changed".to_owned())
        }
        (_, None) if !asked.may_begin => Some(
            "a rotation must begin for this, and whoever cannot read the journal's seal key begins none; run this as the user \
             of `keyround run`"
                .to_owned(),
        ),
        // The journal knows the keys of a rotation under way.
        (_, Some(_)) | (Ok(_), None) => None,
    };
    let keys = listed.unwrap_or_default();
    let account_id = caller.ok().map(|caller| caller.account_id);
    Leaver { subject: Ok(subject), keys, rotation, failure, account_id }
}

/// Declares it for each user that is meant.
pub async fn offboard(world: &World, asked: &Offboard, leavers: Vec<Leaver>) -> Vec<Leaver> {
    let mut declared = Vec::new();
    for mut one in leavers {
        if one.failure.is_none() {
            match declare(world, asked, &one).await {
                Ok(id) => one.rotation = Some(id),
                Err(failure) => one.failure = Some(failure),
            }
        }
        declared.push(one);
    }
    declared
}

async fn declare(world: &World, asked: &Offboard, one: &Leaver) -> Result<RotationId, String> {
    let Ok(subject) = &one.subject else { return Err("there is nothing to declare".to_owned()) };
    let mut under_way = one.rotation;
    for _ in 0..ATTEMPTS_MAX {
        let written = match under_way {
            Some(id) => declare_in(world, asked, one, id).await,
            None => begin(world, asked, one, subject).await,
        };
        match written {
            Err(JournalError::Conflict { .. } | JournalError::AlreadyRotating { .. }) => {
                let in_flight = world.journal.in_flight().await.map_err(|error| error.to_string())?;
                let who = subject.who();
                under_way =
                    in_flight.iter().find(|known| known.subject.who() == who).map(|known| known.rotation);
            }
            written => return written.map_err(|error| error.to_string()),
        }
    }
    Err("the rotation changed during each attempt; try again".to_owned())
}

fn event(world: &World, asked: &Offboard, one: &Leaver, begins: Option<Box<Beginning>>) -> Event {
    let Offboard { by, why, .. } = asked.clone();
    Event::OffboardAsked { begins, keys: one.keys.clone(), by, why, at: world.clock.now() }
}

async fn declare_in(
    world: &World,
    asked: &Offboard,
    one: &Leaver,
    id: RotationId,
) -> Result<RotationId, JournalError> {
    let mut rotation: Rotation = replayed(world, id).await?;
    // Twice is once.
    if rotation.is_offboarded() {
        return Ok(id);
    }
    let event = event(world, asked, one, None);
    let entry = entry_after(&mut rotation, &event, None).map_err(|_| {
        JournalError::Unusable(
            "an offboarding of this user is being taken back; nothing was changed; repeat this when that is over".to_owned(),
        )
    })?;
    world.journal.append(entry).await?;
    Ok(id)
}

async fn begin(
    world: &World,
    asked: &Offboard,
    one: &Leaver,
    subject: &Subject,
) -> Result<RotationId, JournalError> {
    let Some(access) = access(world, subject) else {
        return Err(JournalError::Unusable("the vendor has no key settings; nothing was changed".to_owned()));
    };
    let (plan, account_id) = (access.plan.clone(), one.account_id.clone());
    let begins = Beginning { subject: subject.clone(), plan, account_id };
    let event = event(world, asked, one, Some(Box::new(begins)));
    let id = RotationId::of_issue(subject, event.at());
    let entry = Entry { rotation: id, number: 1, event: &event, secret: SecretChange::Keep, ends: false };
    world.journal.append(entry).await?;
    Ok(id)
}
