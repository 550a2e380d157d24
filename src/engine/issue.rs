//! `keyround issue`: decides which users can get a key, and appends the event that asks for one.
//!
//! The event begins a rotation that replaces no key. This module does nothing else: the engine finds the rotation in
//! the journal and drives it.

use crate::config::settings::KeyAccess;
use crate::core::ids::{AccountId, IamUserName, RotationId, Subject, VendorName};
use crate::core::rotation::{Event, KeyMetadata, KeyStatus, RefusalCode};
use crate::core::schedule::{SLOTS, status_word};
use crate::engine::World;
use crate::engine::reconcile::access;
use crate::engine::targets::{NO_SEAL_KEY, TargetUser, everybody, replayed};
use crate::ports::{Entry, Fault, JournalError, SecretChange};

/// An operator's request for a key.
#[derive(Clone, Debug)]
pub struct Issue {
    /// The vendor whose users get a key.
    pub vendor: VendorName,
    /// The only user that gets a key; `None`: every user of the vendor.
    pub user: Option<IamUserName>,
    /// The operator who asks.
    pub by: String,
    /// Whether a rotation may begin. A process that cannot read the journal's seal key must not begin one.
    pub may_begin: bool,
}

/// The result of an [`Issue`] for one user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issued {
    /// The user, or only the vendor if its users are not known.
    pub subject: Result<Subject, VendorName>,
    /// The user's other key, if there is one. It is not Active, and stays as it is.
    pub beside: Option<KeyMetadata>,
    /// The rotation that began, or a sentence on why none did.
    pub begun: Result<RotationId, String>,
}

/// Begins a rotation for each user of the request that can have a key.
///
/// # Errors
///
/// The journal cannot be read.
pub async fn issue(world: &World, asked: &Issue) -> Result<Vec<Issued>, JournalError> {
    let (calls, others) = everybody(world, std::slice::from_ref(&asked.vendor)).await?;
    let is_meant = |user: &IamUserName| asked.user.as_ref().is_none_or(|only| only == user);
    let mut issued = Vec::new();
    for call in calls.into_iter().filter(|call| call.subject.vendor == asked.vendor) {
        if is_meant(&call.subject.iam_user) {
            issued.push(issue_one(world, asked, call).await);
        }
    }
    if issued.is_empty() || asked.user.is_none() {
        issued.extend(others.into_iter().filter(|other| other.vendor == asked.vendor).map(|other| Issued {
            subject: Err(other.vendor),
            beside: None,
            begun: Err(format!("{}; no key was made", other.verdict.sentence)),
        }));
    }
    issued.sort_by_key(|one| one.subject.as_ref().ok().map(|subject| subject.iam_user.to_string()));
    Ok(issued)
}

async fn issue_one(world: &World, asked: &Issue, call: TargetUser) -> Issued {
    let subject = call.subject.clone();
    let failed = |sentence| Issued { subject: Ok(subject.clone()), beside: None, begun: Err(sentence) };
    if let Some(id) = call.rotation {
        return failed(match replayed(world, id).await {
            Ok(rotation) => format!(
                "a rotation of this user is under way, in stage {}; no key was made; `keyround explain {}` says what it waits for",
                rotation.stage().name(),
                subject.vendor
            ),
            Err(error) => error.to_string(),
        });
    }
    if !asked.may_begin {
        return failed(NO_SEAL_KEY.to_owned());
    }
    let Some(access) = access(world, &subject) else {
        return failed("the vendor has no key settings; no key was made".to_owned());
    };
    let (account_id, keys) = match keys(world, &subject).await {
        Ok(known) => known,
        Err(sentence) => return failed(sentence),
    };
    if let Some(sentence) = refusal(&subject, &keys) {
        return failed(sentence);
    }
    let begun = begin(world, asked, &subject, (access, account_id)).await;
    Issued { subject: Ok(subject), beside: keys.into_iter().next(), begun }
}

/// The user's account and keys, or a sentence on why no key can be made.
async fn keys(world: &World, subject: &Subject) -> Result<(AccountId, Vec<KeyMetadata>), String> {
    let iam = world.accounts.iam(subject.account.as_ref());
    let unlisted = |fault: Fault| match fault {
        Fault::Refused(refusal) if refusal.code == RefusalCode::NoSuchUser => format!(
            "{}; no key was made; keyround creates no IAM user: create {}, or correct the name or the account in the \
             configuration",
            refusal.sentence, subject.iam_user
        ),
        fault => format!("{}; no key was made", fault.sentence()),
    };
    let caller = iam.caller().await.map_err(unlisted)?;
    if caller.is_user(&subject.iam_user) {
        return Err(
            "keyround signs with this user's key; give the vendor a user of its own; no key was made"
                .to_owned(),
        );
    }
    let keys = iam.list_keys(&subject.iam_user).await.map_err(unlisted)?;
    Ok((caller.account_id, keys))
}

/// The reason why the user can have no further key, as a sentence; `None` if it can have one.
fn refusal(subject: &Subject, keys: &[KeyMetadata]) -> Option<String> {
    let named = |key: &KeyMetadata| format!("{} ({})", key.id, status_word(key.status));
    if let Some(active) = keys.iter().find(|key| key.status == KeyStatus::Active) {
        return Some(format!(
            "the user has the Active access key {}; no other one was made; `keyround rotate --force {}` replaces it",
            active.id, subject.vendor
        ));
    }
    (keys.len() >= SLOTS).then(|| {
        format!(
            "the user has two access keys, {}, and AWS allows no third; no key was made; delete the one that is not needed, or \
             set the vendor's key Active",
            keys.iter().map(named).collect::<Vec<_>>().join(" and ")
        )
    })
}

async fn begin(
    world: &World,
    asked: &Issue,
    subject: &Subject,
    (access, account_id): (&KeyAccess, AccountId),
) -> Result<RotationId, String> {
    let at = world.clock.now();
    let rotation = RotationId::of_issue(subject, at);
    let event = Event::IssueAsked {
        subject: subject.clone(),
        plan: access.plan.clone(),
        account_id: Some(account_id),
        by: asked.by.clone(),
        at,
    };
    let entry = Entry { rotation, number: 1, event: &event, secret: SecretChange::Keep, ends: false };
    match world.journal.append(entry).await {
        Ok(()) => Ok(rotation),
        Err(JournalError::AlreadyRotating { .. } | JournalError::Conflict { .. }) => Err(format!(
            "a rotation of this user has just begun; no other key was made; `keyround explain {}` says what it waits for",
            subject.vendor
        )),
        Err(error) => Err(format!("{error}; no key was made")),
    }
}

impl Issued {
    /// The addition to a sentence about the key that stays as it is; empty if there is none.
    #[must_use]
    pub fn beside_in_words(&self) -> String {
        let in_words = |key: &KeyMetadata| {
            format!("; the user's other key {} is {} and was not touched", key.id, status_word(key.status))
        };
        self.beside.as_ref().map(in_words).unwrap_or_default()
    }
}
