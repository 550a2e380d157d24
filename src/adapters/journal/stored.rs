//! Decodes the rows of a journal, whichever database stores them.

use std::fmt::Display;

use super::SealKey;
use super::chain::{decode, hex, unreadable};
use crate::core::alert::DeliveryState;
use crate::core::ids::{RotationId, Subject};
use crate::core::rotation::Event;
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Entry, JournalError, KnownRotation, Recorded, SecretChange};

/// A rotation: id, vendor, account, user, begin, and whether it has ended.
pub(super) type KnownRow = (String, String, Option<String>, String, i64, bool);
/// An event: position, rotation, number, writer, body, hash.
pub(super) type RecordedRow = (i64, String, i64, String, String, Vec<u8>);

/// The sealed secret to store with this entry, if it has one.
pub(super) fn sealed<'k>(
    entry: &Entry<'_>,
    seal_key: impl FnOnce() -> Result<&'k SealKey, JournalError>,
) -> Result<Option<Vec<u8>>, JournalError> {
    match (&entry.secret, entry.event) {
        (SecretChange::Seal(secret), Event::Created { key, .. }) => {
            Ok(Some(seal_key()?.seal(entry.rotation, key, secret)))
        }
        (SecretChange::Seal(_) | SecretChange::Keep | SecretChange::Erase, _) => Ok(None),
    }
}

/// The rows of the journal that goes by this name in messages.
pub(super) struct Stored<N> {
    pub(super) journal: N,
}

impl<N: Display> Stored<N> {
    fn damaged(&self, what: &str) -> JournalError {
        JournalError::Unusable(format!(
            "the journal {} is damaged: {what} in it is not what keyround writes; restore it from a backup",
            self.journal
        ))
    }

    pub(super) fn known(&self, rows: Vec<KnownRow>) -> Result<Vec<KnownRotation>, JournalError> {
        rows.into_iter().map(|row| known(row).ok_or_else(|| self.damaged("a rotation"))).collect()
    }

    pub(super) fn recorded(&self, rows: Vec<RecordedRow>) -> Result<Vec<Recorded>, JournalError> {
        let recorded = |(position, rotation, number, writer, body, hash): RecordedRow| {
            let rotation: RotationId = rotation.parse().map_err(|_| self.damaged("a rotation id"))?;
            let (position, number) = (position.cast_unsigned(), number.cast_unsigned());
            let event = decode(&body).map_err(|why| unreadable(rotation, number, &why))?;
            Ok(Recorded { position, rotation, number, writer, event, hash: hex(&hash) })
        };
        rows.into_iter().map(recorded).collect()
    }

    /// The events of one rotation, from their numbers and bodies in order.
    pub(super) fn events(
        &self,
        rotation: RotationId,
        rows: Vec<(i64, String)>,
    ) -> Result<Vec<Event>, JournalError> {
        let event = |(expected, (number, body)): (u64, (i64, String))| {
            if number.cast_unsigned() != expected {
                return Err(
                    self.damaged(&format!("event {expected} of rotation {rotation} is missing, which"))
                );
            }
            decode(&body).map_err(|why| unreadable(rotation, expected, &why))
        };
        (1..).zip(rows).map(event).collect()
    }

    /// Opens a sealed secret, from the number and the body of its event.
    pub(super) fn secret(
        &self,
        rotation: RotationId,
        (number, sealed, body): (i64, Vec<u8>, String),
        seal_key: &SealKey,
    ) -> Result<Secret, JournalError> {
        let event = decode(&body).map_err(|why| unreadable(rotation, number.cast_unsigned(), &why))?;
        let opened = match &event {
            Event::Created { key, .. } => seal_key.open(rotation, key, &sealed).ok(),
            _ => None,
        };
        opened.ok_or_else(|| self.damaged(&format!("the sealed secret of rotation {rotation}")))
    }

    pub(super) fn sink_memory(&self, memory: Option<String>) -> Result<Option<DeliveryState>, JournalError> {
        let read = |memory: String| serde_json::from_str(&memory);
        memory.map(read).transpose().map_err(|_| self.damaged("what a sink was told"))
    }
}

fn known((id, vendor, account, iam_user, started_at, ended): KnownRow) -> Option<KnownRotation> {
    let account = account.map(|name| name.parse().ok()).map_or(Some(None), |name| name.map(Some))?;
    let subject = Subject { vendor: vendor.parse().ok()?, account, iam_user: iam_user.parse().ok()? };
    let started_at = Timestamp::from_unix(started_at);
    Some(KnownRotation { rotation: id.parse().ok()?, subject, started_at, ended })
}
