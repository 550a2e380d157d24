//! Declares an incident: finds the exposed key of each affected user, and appends the event for it.
//!
//! The event goes to the rotation that is under way. If there is none, a rotation begins for it. This module does
//! nothing else: the engine reads the event from the journal, and acts on it before it does anything else.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt};

use crate::config::Settings;
use crate::config::settings::Access;
use crate::core::ids::{AccessKeyId, AccountId, AccountName, RotationId, Subject, VendorName};
use crate::core::rotation::{Event, IncidentMode, KeyMetadata, KeyStatus, Rotation, Stage};
use crate::core::schedule::State;
use crate::core::time::Timestamp;
use crate::engine::reconcile::access;
use crate::engine::targets::{ATTEMPTS_MAX, NO_SEAL_KEY, TargetUser, everybody, replayed, under_way};
use crate::engine::{World, entry_after};
use crate::ports::{Entry, JournalError, SecretChange};

/// The users or keys that an incident concerns. The present key of a user is the one that the vendor works with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// The present key of each user of these vendors.
    Vendors(Vec<VendorName>),
    /// The present key of this user.
    User(Subject),
    /// This key, whichever user has it.
    Key(AccessKeyId),
    /// The present key of each user of each vendor whose delivery uses this preset.
    Preset(String),
    /// The present key of each user in this account, which is named as in `[account.NAME]`.
    Account(AccountName),
    /// The present key of each user of each vendor in the configuration.
    All,
}

/// An incident as an operator, or `[exposure]`, declares it.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// The users or keys that are affected.
    pub scope: Scope,
    /// The order in which each key is set Inactive and replaced.
    pub mode: IncidentMode,
    /// The user that declares it, or `keyround run, by [exposure]`.
    pub by: String,
    /// The reason for the declaration.
    pub why: String,
    /// Whether a rotation may begin. A process that cannot read the journal's seal key begins none.
    pub may_begin: bool,
}

/// The effect of a declaration on one user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Meant {
    /// The user, or only the vendor if its users are not known.
    pub subject: Result<Subject, VendorName>,
    /// The exposed key; `None`: it is not known, and `failure` says why.
    pub key: Option<AccessKeyId>,
    /// Another Active key of the user, which stays as it is.
    pub stays: Option<AccessKeyId>,
    /// Whether the key is replaced; `false`: it is only set Inactive.
    pub is_replaced: bool,
    /// The rotation to which the event was appended, or is to be appended; `None`: there is none.
    pub rotation: Option<RotationId>,
    /// Why the incident cannot be declared for this user, as a sentence; `None`: it can be.
    pub failure: Option<String>,
}

/// The plan for one user, with what is needed to append the event.
struct Plan {
    meant: Meant,
    call: Option<TargetUser>,
    listed: Option<KeyMetadata>,
    account_id: Option<AccountId>,
}

/// The effect that the declaration would have on each user. Changes nothing.
///
/// # Errors
///
/// The journal cannot be read.
pub async fn meant(world: &World, declaration: &Declaration) -> Result<Vec<Meant>, JournalError> {
    Ok(plans(world, declaration).await?.into_iter().map(|plan| plan.meant).collect())
}

/// Declares the incident for each affected user, in the order of their vendors and names. A failure for one user is in
/// its [`Meant::failure`], and does not stop the others.
///
/// # Errors
///
/// The journal cannot be read.
pub async fn declare(world: &World, declaration: &Declaration) -> Result<Vec<Meant>, JournalError> {
    let plans = plans(world, declaration).await?;
    let mut declared = Vec::new();
    for mut plan in plans {
        if plan.meant.failure.is_none() {
            match write(world, declaration, &plan).await {
                Ok(rotation) => plan.meant.rotation = Some(rotation),
                Err(failure) => plan.meant.failure = Some(failure),
            }
        }
        declared.push(plan.meant);
    }
    Ok(declared)
}

/// The vendors among whose users the affected ones are. Empty: no user is affected.
fn vendors_of(settings: &Settings, scope: &Scope) -> Vec<VendorName> {
    let chosen = |is_meant: &dyn Fn(&crate::config::settings::KeyAccess) -> bool| {
        let with_key = settings.vendors.values().filter_map(|vendor| match &vendor.access {
            Access::Key(access) => Some((&vendor.name, access)),
            Access::Role { .. } => None,
        });
        with_key.filter(|(_, access)| is_meant(access)).map(|(name, _)| name.clone()).collect()
    };
    match scope {
        Scope::Vendors(vendors) => vendors.clone(),
        Scope::User(subject) => vec![subject.vendor.clone()],
        Scope::Key(_) | Scope::All => chosen(&|_| true),
        Scope::Preset(name) => chosen(&|access| access.presets.contains(name)),
        Scope::Account(name) => chosen(&|access| access.account.as_ref() == Some(name)),
    }
}

async fn plans(world: &World, declaration: &Declaration) -> Result<Vec<Plan>, JournalError> {
    let vendors = vendors_of(&world.settings, &declaration.scope);
    if vendors.is_empty() {
        return Ok(Vec::new());
    }
    let (calls, others) = everybody(world, &vendors).await?;
    let is_meant = |subject: &Subject| match &declaration.scope {
        Scope::User(user) => user.who() == subject.who(),
        _ => vendors.contains(&subject.vendor),
    };
    let calls = calls.into_iter().filter(|call| is_meant(&call.subject));
    let looks = stream::iter(calls).map(|call| plan_for(world, declaration, call));
    let looks = looks.buffer_unordered(world.settings.concurrency).collect::<Vec<_>>().await;
    let mut plans: Vec<Plan> = looks.into_iter().flatten().collect();
    let is_key = matches!(declaration.scope, Scope::Key(_));
    // When one key was asked for and found, the users that could not be listed do not matter.
    if !(is_key && plans.iter().any(|plan| plan.meant.failure.is_none())) {
        let unknown = others.into_iter().filter(|other| !is_key || other.verdict.state != State::Unmanaged);
        plans.extend(unknown.map(|other| Plan::failed(Err(other.vendor), other.verdict.sentence)));
    }
    let place = |plan: &Plan| match &plan.meant.subject {
        Ok(subject) => (subject.vendor.to_string(), subject.iam_user.to_string()),
        Err(vendor) => (vendor.to_string(), String::new()),
    };
    plans.sort_by_key(place);
    Ok(plans)
}

impl Plan {
    /// The plan for a user, or for the users of a vendor, for which nothing can be declared.
    fn failed(subject: Result<Subject, VendorName>, failure: String) -> Plan {
        let failure = Some(failure);
        let meant = Meant { subject, key: None, stays: None, is_replaced: false, rotation: None, failure };
        Plan { meant, call: None, listed: None, account_id: None }
    }
}

/// Plans the declaration for one user. `None`: the scope is one key, and this user does not have it.
async fn plan_for(world: &World, declaration: &Declaration, call: TargetUser) -> Option<Plan> {
    let subject = call.subject.clone();
    let without = |failure: String| Plan::failed(Ok(subject.clone()), failure);
    let rotation = match call.rotation {
        None => None,
        Some(id) => match replayed(world, id).await {
            Ok(rotation) => Some(rotation),
            Err(error) => return Some(without(error.to_string())),
        },
    };
    let iam = world.accounts.iam(subject.account.as_ref());
    let caller = iam.caller().await;
    let keys = match iam.list_keys(&subject.iam_user).await {
        Ok(keys) => keys,
        // The listing is not needed, because the journal names the keys of a rotation that is under way.
        Err(_) if rotation.is_some() => Vec::new(),
        Err(fault) => return Some(without(format!("{}; nothing was changed", fault.sentence()))),
    };
    let named = match &declaration.scope {
        Scope::Key(key) => {
            let knows = |rotation: &Rotation| rotation.old() == Some(key) || rotation.new_key() == Some(key);
            let is_theirs = keys.iter().any(|row| row.id == *key) || rotation.as_ref().is_some_and(knows);
            if !is_theirs {
                return None;
            }
            Some(key.clone())
        }
        _ => None,
    };
    if rotation.is_none() && caller.as_ref().is_ok_and(|caller| caller.is_user(&subject.iam_user)) {
        return Some(without("keyround signs with this user's key, and would end its own access".to_owned()));
    }
    if rotation.is_none() && !declaration.may_begin {
        return Some(without(NO_SEAL_KEY.to_owned()));
    }
    let present = present_key(&keys, rotation.as_ref());
    let (key, is_replaced) = match (named, present) {
        (Some(key), Ok(present)) => (key.clone(), key == present),
        (Some(key), Err(_)) => (key, false),
        (None, Ok(present)) => (present, true),
        (None, Err(sentence)) => return Some(without(sentence)),
    };
    let under_way = |rotation: &Rotation| rotation.old() == Some(&key) || rotation.new_key() == Some(&key);
    let is_offboarded = rotation.as_ref().is_some_and(|rotation| rotation.offboarding().is_some());
    let is_replaced = (is_replaced || rotation.as_ref().is_some_and(under_way)) && !is_offboarded;
    let listed = keys.iter().find(|row| row.id == key).cloned();
    let is_other = |row: &&KeyMetadata| row.id != key && row.status == KeyStatus::Active;
    let stays = keys.iter().find(is_other).map(|row| row.id.clone());
    let stays = stays.filter(|_| declaration.mode != IncidentMode::CutAndHold || rotation.is_none());
    let meant = Meant {
        subject: Ok(subject),
        key: Some(key),
        stays,
        is_replaced,
        rotation: call.rotation,
        failure: None,
    };
    Some(Plan { meant, call: Some(call), listed, account_id: caller.ok().map(|caller| caller.account_id) })
}

/// The key that the vendor works with, according to the journal or else to the listing. The error is a sentence that
/// says why this is not known.
fn present_key(keys: &[KeyMetadata], rotation: Option<&Rotation>) -> Result<AccessKeyId, String> {
    if let Some(rotation) = rotation {
        let key = match (rotation.stage().beneath(), rotation.old()) {
            (Stage::Cool { new, .. }, _) => Some(new),
            (_, Some(old)) => Some(old),
            (_, None) => rotation.new_key().filter(|_| rotation.offered_at().is_some()),
        };
        return key.cloned().ok_or_else(|| {
            "the vendor has no key and was not offered one yet; nothing was changed; `keyround abandon` discards what is being made"
                .to_owned()
        });
    }
    let active: Vec<&KeyMetadata> = keys.iter().filter(|key| key.status == KeyStatus::Active).collect();
    match (active.as_slice(), keys) {
        ([key], _) => Ok(key.id.clone()),
        ([], [key]) => Ok(key.id.clone()),
        ([], []) => Err("the user has no access key; nothing was changed".to_owned()),
        _ => {
            let keys = keys.iter().map(|key| key.id.to_string()).collect::<Vec<_>>().join(" and ");
            Err(format!(
                "the user has the keys {keys}, and no rotation under way tells which one the vendor works with; nothing was \
                 changed; name the exposed one with --key"
            ))
        }
    }
}

/// Appends the event of the plan, and returns the rotation to which it belongs. The error is a sentence.
async fn write(world: &World, declaration: &Declaration, plan: &Plan) -> Result<RotationId, String> {
    let (Some(call), Some(key)) = (&plan.call, &plan.meant.key) else {
        return Err("there is nothing to declare".to_owned());
    };
    let mut rotation = call.rotation;
    for _ in 0..ATTEMPTS_MAX {
        let written = match rotation {
            Some(id) => declare_in(world, declaration, id, key, false).await,
            None => begin(world, declaration, plan, &call.subject).await,
        };
        match written {
            Ok(id) => return Ok(id),
            Err(NotWritten::Overtaken) => {
                rotation = under_way(world, &call.subject).await.map_err(|error| error.to_string())?;
            }
            Err(NotWritten::Refused(sentence)) => return Err(sentence),
        }
    }
    Err("the rotation changed during each attempt; try again".to_owned())
}

/// Why an event was not appended.
enum NotWritten {
    /// Another process appended an event first, so the rotation must be read again.
    Overtaken,
    /// The event cannot be appended, for the reason in this sentence.
    Refused(String),
}

impl From<JournalError> for NotWritten {
    fn from(error: JournalError) -> NotWritten {
        match error {
            JournalError::Conflict { .. } | JournalError::AlreadyRotating { .. } => NotWritten::Overtaken,
            other => NotWritten::Refused(other.to_string()),
        }
    }
}

/// Appends the event to a rotation that is under way.
async fn declare_in(
    world: &World,
    declaration: &Declaration,
    id: RotationId,
    key: &AccessKeyId,
    cut_only: bool,
) -> Result<RotationId, NotWritten> {
    let mut rotation = replayed(world, id).await?;
    let event = declared(declaration, key, cut_only, world.clock.now());
    let stage = rotation.stage().name();
    let entry = entry_after(&mut rotation, &event, None).map_err(|_| {
        NotWritten::Refused(format!(
            "in stage {stage}, the vendor was not offered the key {key} yet; nothing was changed; `keyround abandon` discards it"
        ))
    })?;
    world.journal.append(entry).await?;
    Ok(id)
}

/// Begins a rotation, and appends the event to it.
async fn begin(
    world: &World,
    declaration: &Declaration,
    plan: &Plan,
    subject: &Subject,
) -> Result<RotationId, NotWritten> {
    let (Some(listed), Some(access)) = (&plan.listed, access(world, subject)) else {
        return Err(NotWritten::Refused("AWS does not list the key".to_owned()));
    };
    let at = world.clock.now();
    let id = RotationId::new(subject, &listed.id, at);
    let started = Event::Started {
        subject: subject.clone(),
        old: listed.id.clone(),
        old_created_at: listed.created_at,
        reason: "incident".to_owned(),
        plan: access.plan.clone(),
        account_id: plan.account_id.clone(),
        at,
    };
    let entry = Entry { rotation: id, number: 1, event: &started, secret: SecretChange::Keep, ends: false };
    world.journal.append(entry).await?;
    declare_in(world, declaration, id, &listed.id, !plan.meant.is_replaced).await
}

fn declared(declaration: &Declaration, key: &AccessKeyId, cut_only: bool, at: Timestamp) -> Event {
    let Declaration { mode, by, why, .. } = declaration.clone();
    Event::IncidentDeclared { mode, key: key.clone(), cut_only, by, why, at }
}

/// The rotations to which the event was appended.
#[must_use]
pub fn rotations_of(declared: &[Meant]) -> BTreeSet<RotationId> {
    let done = declared.iter().filter(|meant| meant.failure.is_none());
    done.filter_map(|meant| meant.rotation).collect()
}
