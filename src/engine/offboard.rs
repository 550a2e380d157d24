//! `keyround offboard`: finds the users of a vendor and their keys, and appends the event that offboards each user.
//!
//! If a rotation of the user is under way, the event is appended to it; if not, the event begins one. This module does
//! nothing else: the engine finds the event in the journal, and sets the keys Inactive before any other step.

use crate::core::ids::{AccountId, IamUserName, RotationId, Subject, VendorName};
use crate::core::rotation::{Beginning, Event, KeyMetadata, Rotation};
use crate::engine::reconcile::access;
use crate::engine::targets::{ATTEMPTS_MAX, NO_SEAL_KEY, TargetUser, everybody, replayed, under_way};
use crate::engine::{World, entry_after};
use crate::ports::{Entry, JournalError, SecretChange};

/// An operator's request to offboard a vendor.
#[derive(Clone, Debug)]
pub struct Offboard {
    /// The vendor.
    pub vendor: VendorName,
    /// The only user to offboard; `None`: every user of the vendor.
    pub user: Option<IamUserName>,
    /// The operator who asks.
    pub by: String,
    /// The reason that the operator gave.
    pub why: String,
    /// Whether a rotation may begin. A process that cannot read the journal's seal key must not begin one.
    pub may_begin: bool,
}

/// One user that a request offboards, or cannot offboard.
#[derive(Clone, Debug)]
pub struct Leaver {
    /// The user, or only the vendor if its users are not known.
    pub subject: Result<Subject, VendorName>,
    /// The user's keys; empty if AWS could not list them.
    pub keys: Vec<KeyMetadata>,
    /// The rotation to which the event is or will be appended; `None`: the event has yet to begin one.
    pub rotation: Option<RotationId>,
    /// The reason why the user cannot be offboarded, as a sentence; `None` if it can.
    pub failure: Option<String>,
    account_id: Option<AccountId>,
}

/// The users that the request offboards, with their keys as AWS lists them now. Changes nothing.
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
        (Ok(keys), None) if keys.is_empty() => Some(
            "the user has no access key, so there is nothing to set Inactive; nothing was changed".to_owned(),
        ),
        (_, None) if !asked.may_begin => Some(NO_SEAL_KEY.to_owned()),
        // If the keys cannot be listed, the keys that the journal has for the rotation under way are enough.
        (_, Some(_)) | (Ok(_), None) => None,
    };
    let keys = listed.unwrap_or_default();
    let account_id = caller.ok().map(|caller| caller.account_id);
    Leaver { subject: Ok(subject), keys, rotation, failure, account_id }
}

/// Appends the event for each user that can be offboarded. Returns the users with their rotation, or with the reason
/// why the event could not be appended.
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
    let mut rotation = one.rotation;
    for _ in 0..ATTEMPTS_MAX {
        let written = match rotation {
            Some(id) => declare_in(world, asked, one, id).await,
            None => begin(world, asked, one, subject).await,
        };
        match written {
            Err(JournalError::Conflict { .. } | JournalError::AlreadyRotating { .. }) => {
                rotation = under_way(world, subject).await.map_err(|error| error.to_string())?;
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
    // The user is offboarded already, so a second event would change nothing.
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
