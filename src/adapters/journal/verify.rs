//! Verifies a stored history, page by page, as of one moment.

use sqlx::{Connection as _, SqliteConnection, query_as};

use super::chain::{GENESIS, Hash, Link, Verifier, decode};
use super::failure::Failure;
use super::head::HeadSeal;
use super::seal::SealKey;
use crate::core::ids::AccountName;
use crate::core::rotation::Event;
use crate::core::time::Timestamp;

/// The number of history rows in memory at once.
pub(super) const PAGE_ROWS: i64 = 256;

/// A row of the history: position, rotation, number, time, writer, whether it ends the rotation, body, hash.
pub(super) type ChainRow = (i64, String, i64, i64, String, bool, String, Vec<u8>);
/// A rotation: id, vendor, account, user, begin, whether it has ended, and the body of its first event.
pub(super) type DerivedRow = (String, String, Option<String>, String, i64, bool, String);

/// The number of events and the last hash of the whole history, or a message about the first thing that does not fit.
pub(super) type Verdict = Result<(u64, Hash), String>;

/// Verifies the whole history in one transaction, so that every page and the stored end are of the same moment. With
/// the seal key, the seal over the head is verified too.
pub(super) async fn verify(
    connection: &mut SqliteConnection,
    seal_key: Option<&SealKey>,
) -> Result<Verdict, Failure> {
    let mut transaction = connection.begin().await?;
    let verdict = verify_within(&mut transaction, seal_key).await?;
    transaction.rollback().await?;
    Ok(verdict)
}

/// The same inside a transaction of the caller.
pub(super) async fn verify_within(
    transaction: &mut SqliteConnection,
    seal_key: Option<&SealKey>,
) -> Result<Verdict, Failure> {
    let mut check = Check::new(match seal_key {
        Some(seal_key) => Some((seal_key, HeadSeal::stored(&mut *transaction).await?)),
        None => None,
    });
    loop {
        let page: Vec<ChainRow> = query_as(
            "SELECT position, rotation, number, at, writer, ends, body, hash FROM event \
             WHERE position > ? ORDER BY position LIMIT ?",
        )
        .bind(check.events().cast_signed())
        .bind(PAGE_ROWS)
        .fetch_all(&mut *transaction)
        .await?;
        if page.is_empty() {
            break;
        }
        if let Err(why) = page.iter().try_for_each(|row| check.follow(row)) {
            return Ok(Err(why));
        }
    }
    let end = query_as("SELECT events, head FROM journal").fetch_one(&mut *transaction).await?;
    let derived = query_as(
        "SELECT id, vendor, account, iam_user, started_at, ended, ifnull(body, '') \
         FROM rotation LEFT JOIN event ON rotation = id AND number = 1 ORDER BY id",
    )
    .fetch_all(transaction)
    .await?;
    Ok(check.end(&end, &derived))
}

/// Verifies a history while its rows are read, whichever database they come from.
pub(super) struct Check<'a> {
    verifier: Verifier,
    seal: Option<Sealed<'a>>,
}

impl<'a> Check<'a> {
    /// `seal`: the seal key and the stored seal over the head, which is not verified without it.
    pub(super) fn new(seal: Option<(&'a SealKey, HeadSeal)>) -> Check<'a> {
        let seal = seal.map(|(seal_key, head)| Sealed::new(seal_key, head));
        Check { verifier: Verifier::default(), seal }
    }

    /// The number of rows that fitted.
    pub(super) fn events(&self) -> u64 {
        self.verifier.events()
    }

    /// The hash of the last row that fitted.
    pub(super) fn hash(&self) -> &Hash {
        self.verifier.hash()
    }

    /// Takes the next row. The error says what does not fit.
    pub(super) fn follow(&mut self, row: &ChainRow) -> Result<(), String> {
        follow(&mut self.verifier, row)?;
        self.seal.as_mut().map_or(Ok(()), |seal| seal.follow(&self.verifier, &row.6))
    }

    /// Compares the rows with the number of events and the last hash that are stored beside them, with the seal, and
    /// with all rotations.
    pub(super) fn end(self, end: &(i64, Vec<u8>), rotations: &[DerivedRow]) -> Verdict {
        judge_end(end, &self.verifier)?;
        self.seal.map_or(Ok(()), Sealed::end)?;
        judge_rotations(rotations, &self.verifier)?;
        Ok((self.verifier.events(), *self.verifier.hash()))
    }
}

/// Verifies the seal over the head while the events go by.
struct Sealed<'a> {
    seal_key: &'a SealKey,
    head: HeadSeal,
    /// Whether the hash at the sealed position is the sealed one.
    fits: bool,
}

impl<'a> Sealed<'a> {
    fn new(seal_key: &'a SealKey, head: HeadSeal) -> Sealed<'a> {
        let fits = head.events == 0 && head.covers(seal_key, &GENESIS);
        Sealed { seal_key, head, fits }
    }

    fn follow(&mut self, verifier: &Verifier, body: &str) -> Result<(), String> {
        let position = verifier.events();
        if position == self.head.events {
            self.fits = self.head.covers(self.seal_key, verifier.hash());
        }
        // If the seal itself does not fit, `end` reports that. Events after it are checked only when it fits, or the
        // message would name the wrong cause.
        if position > self.head.events && self.fits && !may_be_unsealed(body) {
            return Err(format!(
                "event {position} of the history was appended without the seal key, and is none that an operator can \
                 append without it"
            ));
        }
        Ok(())
    }

    fn end(self) -> Result<(), String> {
        match self.fits {
            true => Ok(()),
            false => Err(format!(
                "the history was written by a program that does not hold the seal key: the seal over its first {} events \
                 does not fit",
                self.head.events
            )),
        }
    }
}

/// Whether an operator command may append this event without the seal key. These events hold, resume, acknowledge or
/// end a rotation, ask for a reactivation or declare an incident; none of them begins a rotation.
fn may_be_unsealed(body: &str) -> bool {
    matches!(
        decode(body),
        Ok(Event::Held { .. }
            | Event::Resumed { .. }
            | Event::Acknowledged { .. }
            | Event::ReactivationAsked { .. }
            | Event::IncidentDeclared { .. }
            | Event::Abandoned { .. })
    )
}

fn follow(verifier: &mut Verifier, row: &ChainRow) -> Result<(), String> {
    let (position, rotation, number, at, writer, ends, body, hash) = row;
    let (position, number) = (position.cast_unsigned(), number.cast_unsigned());
    let link = Link { position, rotation, number, writer, ends: *ends, body };
    verifier.follow(&link, hash, Timestamp::from_unix(*at))
}

/// Compares the end of the history with the `journal` row. A history whose end was cut off is consistent in itself, but
/// that row stores how long it was.
fn judge_end((told, head): &(i64, Vec<u8>), verifier: &Verifier) -> Result<(), String> {
    let (told, kept) = (told.cast_unsigned(), verifier.events());
    if told != kept {
        let first = kept.min(told) + 1;
        return Err(format!(
            "event {first} of the history does not fit: the journal should hold {told} events and holds {kept}"
        ));
    }
    if head != verifier.hash() {
        return Err(format!(
            "event {kept} of the history does not fit: it is not the one the history ended with"
        ));
    }
    Ok(())
}

/// Compares the `rotation` table with the events that it is derived from. A rotation that is wrongly marked as ended
/// would never be driven again.
fn judge_rotations(rows: &[DerivedRow], verifier: &Verifier) -> Result<(), String> {
    if rows.len() != verifier.rotations() {
        let (listed, told) = (rows.len(), verifier.rotations());
        return Err(format!("the list of rotations does not fit: it has {listed}, the events name {told}"));
    }
    let wrong = rows.iter().find(|row| !agrees(row, verifier));
    wrong.map_or(Ok(()), |(id, ..)| Err(format!("the entry of rotation {id} does not fit its events")))
}

fn agrees(row: &DerivedRow, verifier: &Verifier) -> bool {
    let (id, vendor, account, iam_user, started_at, ended, body) = row;
    let Ok(first) = decode(body) else { return false };
    let Some(subject) = first.begins() else { return false };
    verifier.ended(id) == Some(*ended)
        && subject.vendor.as_str() == vendor
        && subject.account.as_ref().map(AccountName::as_str) == account.as_deref()
        && subject.iam_user.as_str() == iam_user
        && first.at().unix_seconds() == *started_at
}
