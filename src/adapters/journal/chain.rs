//! The stored text of events, and the hash chain over the history.
//!
//! Each stored event carries a SHA-256 over its own row and the hash of the row before it. So a row that is changed,
//! inserted, removed or moved no longer fits the rows after it.
//!
//! **Invariant:** the hash covers the stored text byte for byte, framed so that no two different rows give the same
//! bytes.

use std::collections::HashMap;
use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::core::ids::RotationId;
use crate::core::rotation::Event;
use crate::core::time::Timestamp;
use crate::ports::{Entry, JournalError, SecretChange};

/// The format version of event bodies that this version writes, and the newest that it reads.
const BODY_FORMAT: u32 = 1;

pub(super) type Hash = [u8; 32];

/// The hash before the first event.
pub(super) const GENESIS: Hash = [0; 32];

#[derive(Serialize)]
struct Body<'a> {
    v: u32,
    #[serde(flatten)]
    event: &'a Event,
}

/// The fields that every body has, whichever version wrote it.
#[derive(Deserialize)]
struct Envelope {
    v: u32,
    event: String,
    at: Timestamp,
}

/// The text that an event is stored as: one line of JSON that begins with its format version.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "it cannot: events are plain data")]
pub fn encode(event: &Event) -> String {
    serde_json::to_string(&Body { v: BODY_FORMAT, event }).expect("an event is plain data with text keys")
}

/// A stored text that this version cannot read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    /// A newer version of keyround wrote it.
    #[error("it was written by a newer version of keyround ({kind:?}); run that version or a later one")]
    Newer {
        /// The name of the event in that version, cut to 40 characters.
        kind: String,
    },
    /// No version of keyround writes such a text.
    #[error("it is damaged: restore the journal from a backup")]
    Damaged,
}

/// Decodes the stored text of an event.
///
/// # Errors
///
/// The text is from a newer version, or damaged. A text that has the fields of every version, and that this version
/// cannot read all the same, counts as newer: damage is found by the hash chain that [`super::SqliteJournal`] verifies.
pub fn decode(body: &str) -> Result<Event, Unreadable> {
    let envelope: Envelope = serde_json::from_str(body).map_err(|_| Unreadable::Damaged)?;
    let newer = || Unreadable::Newer { kind: envelope.event.chars().take(40).collect() };
    if envelope.v > BODY_FORMAT {
        return Err(newer());
    }
    serde_json::from_str(body).map_err(|_| newer())
}

/// How far a rotation has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The number of its last event.
    pub(super) last: u64,
    pub(super) ended: bool,
}

/// Whether the entry may be appended to a rotation that has come this far. All journals apply this one rule.
pub(super) fn admit(entry: &Entry<'_>, standing: Option<Progress>) -> Result<(), JournalError> {
    let (last, ended) = standing.map_or((0, false), |standing| (standing.last, standing.ended));
    if ended || entry.number != last + 1 {
        return Err(JournalError::Conflict { rotation: entry.rotation, number: entry.number });
    }
    if entry.event.begins().is_some() != (entry.number == 1) {
        return Err(JournalError::Unusable(format!(
            "event {} of rotation {} cannot be {}: a rotation begins with started or issue_asked, once; nothing was appended",
            entry.number,
            entry.rotation,
            entry.event.name()
        )));
    }
    if matches!(entry.secret, SecretChange::Seal(_)) && !matches!(entry.event, Event::Created { .. }) {
        return Err(JournalError::Unusable(format!(
            "the secret of rotation {} can only be sealed with the event that names its key; nothing was appended",
            entry.rotation
        )));
    }
    Ok(())
}

/// One row of the history, as the chain hashes it.
pub(super) struct Link<'a> {
    pub(super) position: u64,
    pub(super) rotation: &'a str,
    pub(super) number: u64,
    pub(super) writer: &'a str,
    pub(super) ends: bool,
    pub(super) body: &'a str,
}

impl Link<'_> {
    /// The hash of this row, given the hash of the row before it. A text is preceded by its length, and every number is
    /// eight bytes long, so that no two rows share an encoding.
    pub(super) fn hash_after(&self, before: &[u8]) -> Hash {
        let mut context = Context::new(&SHA256);
        context.update(b"keyround history 1\n");
        context.update(before);
        context.update(&self.position.to_be_bytes());
        context.update(&self.number.to_be_bytes());
        context.update(&[u8::from(self.ends)]);
        for text in [self.rotation, self.writer, self.body] {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
        let mut hash = GENESIS;
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }
}

/// The hash in 64 hexadecimal digits.
pub(super) fn hex(hash: &[u8]) -> String {
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

/// Verifies a history from its first row on and finds the first row that does not fit.
#[derive(Default)]
pub(super) struct Verifier {
    events: u64,
    hash: Hash,
    standings: HashMap<String, Progress>,
}

impl Verifier {
    /// Takes the next row, the hash that is stored with it and the time that it is filed under. The error says what
    /// does not fit.
    pub(super) fn follow(&mut self, link: &Link<'_>, stored: &[u8], at: Timestamp) -> Result<(), String> {
        if link.position != self.events + 1 {
            return Err(format!("event {} is missing from the history", self.events + 1));
        }
        let hash = link.hash_after(&self.hash);
        if stored != hash {
            return Err(does_not_fit(link, "its hash does not fit its content and the event before it"));
        }
        let standing = self.standings.get(link.rotation).copied();
        let (last, ended) = standing.map_or((0, false), |standing| (standing.last, standing.ended));
        if ended || link.number != last + 1 {
            return Err(does_not_fit(link, "it does not follow the event of its rotation before it"));
        }
        let told = serde_json::from_str::<Envelope>(link.body);
        if told.is_ok_and(|body| body.at != at) {
            return Err(does_not_fit(link, "it is filed under another time than its own"));
        }
        let standing = Progress { last: link.number, ended: link.ends };
        self.standings.insert(link.rotation.to_owned(), standing);
        (self.events, self.hash) = (link.position, hash);
        Ok(())
    }

    /// The number of rows that fitted.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The hash of the last row that fitted.
    pub(super) fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Whether the rotation has ended, according to its events; `None` if it has no event.
    pub(super) fn ended(&self, rotation: &str) -> Option<bool> {
        self.standings.get(rotation).map(|standing| standing.ended)
    }

    /// The number of rotations that have events.
    pub(super) fn rotations(&self) -> usize {
        self.standings.len()
    }
}

fn does_not_fit(link: &Link<'_>, why: &str) -> String {
    let Link { position, number, rotation, .. } = link;
    format!("event {position} of the history (event {number} of rotation {rotation}) does not fit: {why}")
}

/// The error for a stored event that cannot be decoded.
pub(super) fn unreadable(rotation: RotationId, number: u64, why: &Unreadable) -> JournalError {
    JournalError::Unusable(format!("event {number} of rotation {rotation} cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_to_a_journal_row_changes_its_hash() {
        let link = || Link { position: 1, rotation: "r", number: 1, writer: "h:1", ends: false, body: "{}" };
        let others = [
            Link { position: 2, ..link() },
            Link { rotation: "rh", writer: ":1", ..link() },
            Link { number: 2, ..link() },
            Link { writer: "h:", body: "1{}", ..link() },
            Link { ends: true, ..link() },
            Link { body: "{} ", ..link() },
        ];
        let hash = link().hash_after(&GENESIS);
        assert_eq!(hash, link().hash_after(&GENESIS));
        assert!(others.iter().all(|other| other.hash_after(&GENESIS) != hash));
        assert_ne!(link().hash_after(&hash), hash);
    }

    #[test]
    fn an_event_of_a_newer_version_is_distinguished_from_damage() {
        let newer = |kind: &str| Err(Unreadable::Newer { kind: kind.to_owned() });
        let at = r#""at":"2026-11-23T03:00:00Z""#;
        assert_eq!(decode(&format!(r#"{{"v":1,"event":"teleported",{at}}}"#)), newer("teleported"));
        assert_eq!(decode(&format!(r#"{{"v":2,"event":"probed",{at}}}"#)), newer("probed"));
        for damaged in
            ["", "{", r#"{"v":1}"#, r#"{"event":"probed"}"#, &format!(r#"{{"event":"probed",{at}}}"#)]
        {
            assert_eq!(decode(damaged), Err(Unreadable::Damaged), "{damaged}");
        }
    }

    #[test]
    fn a_history_with_valid_hashes_and_an_impossible_order_is_refused() {
        let body = r#"{"v":1,"event":"probed","at":"2026-11-23T03:00:00Z"}"#;
        let at = "2026-11-23T03:00:00Z".parse().expect("a time");
        let link =
            |position, number, ends| Link { position, rotation: "r", number, writer: "h:1", ends, body };
        let follows = |links: &[Link<'_>]| {
            let mut verifier = Verifier::default();
            let mut hash = GENESIS;
            links.iter().try_for_each(|link| {
                hash = link.hash_after(&hash);
                verifier.follow(link, &hash, at)
            })
        };
        assert_eq!(follows(&[link(1, 1, false), link(2, 2, true)]), Ok(()));
        for forged in [
            [link(1, 1, true), link(2, 2, false)],
            [link(1, 1, false), link(2, 3, false)],
            [link(1, 1, false), link(2, 1, false)],
        ] {
            let said = follows(&forged).expect_err("it cannot have been");
            assert!(said.contains("it does not follow the event of its rotation before it"), "{said}");
        }
    }
}
