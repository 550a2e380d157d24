//! The journal in memory, for tests, rehearsals and simulations. Its content is lost when the process ends.
//!
//! It applies the same rules as [`super::SqliteJournal`], with the same code, and one contract test suite runs over
//! both. Hashes are computed only when they are asked for, so that a simulation of millions of calls does not pay for
//! them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::chain::{GENESIS, Link, Progress, admit, encode, hex};
use crate::core::alert::DeliveryState;
use crate::core::ids::{AccountName, IamUserName, RotationId, SinkName, VendorName};
use crate::core::rotation::Event;
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::ports::{Entry, Journal, JournalError, KnownRotation, Recorded, SecretChange};

/// A journal that exists as long as this value.
#[derive(Debug)]
pub struct MemoryJournal {
    writer: String,
    read_only: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    lives: HashMap<RotationId, RotationRecord>,
    /// Every rotation, oldest first.
    order: BTreeSet<(Timestamp, RotationId)>,
    /// The rotations that have not ended, oldest first.
    open: BTreeSet<(Timestamp, RotationId)>,
    /// For each user with a rotation that has not ended, that rotation.
    users: HashMap<(Option<AccountName>, IamUserName), RotationId>,
    /// The whole history in order: for each event its rotation and its number in that rotation.
    history: Vec<(RotationId, u64)>,
    /// The hashes of the history, computed up to the last event whose hash was needed.
    chain: Vec<[u8; 32]>,
    last_tick: Option<Timestamp>,
    sinks: BTreeMap<SinkName, DeliveryState>,
}

#[derive(Debug)]
struct RotationRecord {
    known: KnownRotation,
    events: Vec<Event>,
    secret: Option<Secret>,
}

impl Default for MemoryJournal {
    fn default() -> MemoryJournal {
        MemoryJournal::new("memory:0")
    }
}

impl MemoryJournal {
    /// An empty journal whose events record `writer` as their writer.
    #[must_use]
    pub fn new(writer: impl Into<String>) -> MemoryJournal {
        MemoryJournal { writer: writer.into(), read_only: false, state: Mutex::default() }
    }

    /// An empty journal that refuses every append: what a reader gets if no journal exists yet.
    #[must_use]
    pub fn empty_for_reading() -> MemoryJournal {
        MemoryJournal { read_only: true, ..MemoryJournal::default() }
    }

    /// No change can panic halfway, so the state behind a poisoned lock is consistent.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writable(&self) -> Result<(), JournalError> {
        if self.read_only { Err(super::read_only()) } else { Ok(()) }
    }
}

impl State {
    fn append(&mut self, entry: &Entry<'_>) -> Result<(), JournalError> {
        let standing = self
            .lives
            .get(&entry.rotation)
            .map(|life| Progress { last: life.events.len() as u64, ended: life.known.ended });
        admit(entry, standing)?;
        if let Some(subject) = entry.event.begins() {
            let (rotation, started_at) = (entry.rotation, entry.event.at());
            let known = KnownRotation { rotation, subject: subject.clone(), started_at, ended: false };
            self.begin(known)?;
        }
        let life = self.lives.get_mut(&entry.rotation).expect("an admitted rotation has begun");
        life.events.push(entry.event.clone());
        match &entry.secret {
            SecretChange::Keep => {}
            SecretChange::Seal(secret) => life.secret = Some(secret.clone()),
            SecretChange::Erase => life.secret = None,
        }
        self.history.push((entry.rotation, entry.number));
        if entry.ends {
            self.end(entry.rotation);
        }
        Ok(())
    }

    fn begin(&mut self, known: KnownRotation) -> Result<(), JournalError> {
        let user = (known.subject.account.clone(), known.subject.iam_user.clone());
        if self.users.contains_key(&user) {
            return Err(JournalError::AlreadyRotating { iam_user: user.1 });
        }
        self.users.insert(user, known.rotation);
        self.order.insert((known.started_at, known.rotation));
        self.open.insert((known.started_at, known.rotation));
        self.lives.insert(known.rotation, RotationRecord { known, events: Vec::new(), secret: None });
        Ok(())
    }

    fn end(&mut self, rotation: RotationId) {
        let Some(life) = self.lives.get_mut(&rotation) else { return };
        life.known.ended = true;
        self.open.remove(&(life.known.started_at, rotation));
        self.users.remove(&(life.known.subject.account.clone(), life.known.subject.iam_user.clone()));
    }

    fn known(&self, rotation: RotationId) -> Option<&KnownRotation> {
        self.lives.get(&rotation).map(|life| &life.known)
    }

    /// The events after that position of the history.
    fn recorded(&mut self, writer: &str, after: u64) -> Vec<Recorded> {
        self.lengthen_chain(writer);
        let skipped = usize::try_from(after).unwrap_or(usize::MAX);
        let placed = self.history.iter().zip(&self.chain).zip(1..).skip(skipped);
        let recorded = placed.map(|(((rotation, number), hash), position)| Recorded {
            position,
            rotation: *rotation,
            number: *number,
            writer: writer.to_owned(),
            event: self.event(*rotation, *number).0.clone(),
            hash: hex(hash),
        });
        recorded.collect()
    }

    fn lengthen_chain(&mut self, writer: &str) {
        let known = self.chain.len();
        for ((rotation, number), position) in self.history.iter().zip(1..).skip(known) {
            let (event, ends) = self.event(*rotation, *number);
            let (body, rotation) = (encode(event), rotation.to_string());
            let link = Link { position, rotation: &rotation, number: *number, writer, ends, body: &body };
            let hash = link.hash_after(self.chain.last().unwrap_or(&GENESIS));
            self.chain.push(hash);
        }
    }

    /// An event of a rotation, and whether it ends the rotation.
    fn event(&self, rotation: RotationId, number: u64) -> (&Event, bool) {
        let life = &self.lives[&rotation];
        let index = usize::try_from(number - 1).expect("there are no more events than memory");
        (&life.events[index], life.known.ended && index + 1 == life.events.len())
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn append(&self, entry: Entry<'_>) -> Result<(), JournalError> {
        self.writable()?;
        self.state().append(&entry)
    }

    async fn read(&self, rotation: RotationId) -> Result<Vec<Event>, JournalError> {
        Ok(self.state().lives.get(&rotation).map_or_else(Vec::new, |life| life.events.clone()))
    }

    async fn secret(&self, rotation: RotationId) -> Result<Option<Secret>, JournalError> {
        Ok(self.state().lives.get(&rotation).and_then(|life| life.secret.clone()))
    }

    async fn in_flight(&self) -> Result<Vec<KnownRotation>, JournalError> {
        let state = self.state();
        Ok(state.open.iter().filter_map(|(_, rotation)| state.known(*rotation)).cloned().collect())
    }

    async fn rotations(&self, vendor: Option<&VendorName>) -> Result<Vec<KnownRotation>, JournalError> {
        let state = self.state();
        let known = state.order.iter().filter_map(|(_, rotation)| state.known(*rotation));
        Ok(known.filter(|known| vendor.is_none_or(|name| known.subject.vendor == *name)).cloned().collect())
    }

    async fn history(
        &self,
        vendor: Option<&VendorName>,
        since: Timestamp,
    ) -> Result<Vec<Recorded>, JournalError> {
        let mut state = self.state();
        let mut history = state.recorded(&self.writer, 0);
        history.retain(|recorded| {
            let known = state.known(recorded.rotation);
            let theirs = vendor.is_none_or(|name| known.is_some_and(|known| known.subject.vendor == *name));
            theirs && recorded.event.at() >= since
        });
        Ok(history)
    }

    async fn history_after(&self, position: u64) -> Result<Vec<Recorded>, JournalError> {
        Ok(self.state().recorded(&self.writer, position))
    }

    async fn verify_history(&self) -> Result<(u64, String), JournalError> {
        let history = self.state().recorded(&self.writer, 0);
        Ok(history.last().map_or((0, hex(&GENESIS)), |last| (last.position, last.hash.clone())))
    }

    async fn head(&self) -> Result<(u64, String), JournalError> {
        let mut state = self.state();
        state.lengthen_chain(&self.writer);
        Ok((state.chain.len() as u64, hex(state.chain.last().unwrap_or(&GENESIS))))
    }

    async fn last_tick(&self) -> Result<Option<Timestamp>, JournalError> {
        Ok(self.state().last_tick)
    }

    async fn record_tick(&self, at: Timestamp) -> Result<(), JournalError> {
        self.writable()?;
        let mut state = self.state();
        state.last_tick = state.last_tick.max(Some(at));
        Ok(())
    }

    async fn sink_memory(&self, sink: &SinkName) -> Result<Option<DeliveryState>, JournalError> {
        Ok(self.state().sinks.get(sink).cloned())
    }

    async fn remember_sink(&self, sink: &SinkName, memory: &DeliveryState) -> Result<(), JournalError> {
        self.writable()?;
        self.state().sinks.insert(sink.clone(), memory.clone());
        Ok(())
    }
}
