//! Alerts, driven: what was seen is decided upon, told, and remembered.
//!
//! **Invariant:** nothing here stands in the way of a rotation. It runs beside the engine, and reads what the
//! [`Lookout`] has seen and what the journal holds.
//!
//! **Invariant:** each sink has its own memory and its own trouble: one that fails is tried again by itself, later,
//! and the others never know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::alert::{
    Alert, Condition, Cursor, Memory, Notice, Picture, Seen, Telling, decide, next_time, picture,
};
use crate::config::Settings;
use crate::config::settings::{Access, VendorSettings};
use crate::driver::roster::replayed_from;
use crate::driver::{Lookout, Sight, Visited, World};
use crate::ids::{AccountName, SinkName};
use crate::ports::{Clock, Fault, Heartbeat, Journal, JournalError, Listener, SpareMemory};
use crate::rotation::{Event, Stage};
use crate::schedule::Verdict;
use crate::time::Timestamp;

/// What happens within this is told together.
const GATHER: Duration = Duration::from_secs(2);
/// A pass that takes longer is not waited for: somebody in it may be overdue.
const PASS_MAX: Duration = Duration::from_mins(2);
/// A sink that keeps what it is told keeps it this much longer than until the next pass.
const GRACE: Duration = Duration::from_mins(30);
/// A memory that cannot be read is read again after this.
const UNREAD_AGAIN: Duration = Duration::from_mins(1);
/// The waits between the attempts at one heartbeat. After that, the next pass has another.
const HEARTBEAT_WAITS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(30)];

/// Who is told.
#[derive(Clone, Default)]
pub struct Tellers {
    /// Of what is wrong.
    pub listeners: Vec<Listener>,
    /// That passes are made.
    pub heartbeat: Option<Arc<dyn Heartbeat>>,
}

/// Tells sinks what there is to tell, and remembers it.
pub struct Teller {
    journal: Option<Arc<dyn Journal>>,
    spare: Arc<dyn SpareMemory>,
    clock: Arc<dyn Clock>,
    began_at: Timestamp,
    memories: BTreeMap<SinkName, Memory>,
    /// The sinks whose memory could not be read. Until it is, they are told of nothing but keyround's own trouble: they
    /// may have been told of all else.
    unread: BTreeSet<SinkName>,
}

impl Teller {
    /// With this journal to remember in; `None`: it cannot be opened.
    #[must_use]
    pub fn new(
        journal: Option<Arc<dyn Journal>>,
        spare: Arc<dyn SpareMemory>,
        clock: Arc<dyn Clock>,
    ) -> Teller {
        let began_at = clock.now();
        Teller { journal, spare, clock, began_at, memories: BTreeMap::new(), unread: BTreeSet::new() }
    }

    /// Tells each listener what there is to tell it. Gives when to do so again, if nothing happens before.
    pub async fn tell(
        &mut self,
        listeners: &[Listener],
        picture: &Picture,
        holds_until: Timestamp,
    ) -> Timestamp {
        self.recall(listeners).await;
        let of_house = picture.of_house();
        let told = listeners.iter().map(|listener| {
            let memory = self.memories[&listener.name].clone();
            let (picture, journal) = match self.unread.contains(&listener.name) {
                true => (&of_house, None),
                false => (picture, self.journal.as_deref()),
            };
            one(listener, memory, picture, journal, (self.clock.as_ref(), holds_until))
        });
        let told = join_all(told).await;
        let soon = self.clock.now() + UNREAD_AGAIN;
        let mut next = if self.unread.is_empty() { Timestamp::NEVER } else { soon };
        for (listener, memory) in listeners.iter().zip(told) {
            next = next.min(next_time(&listener.policy, &memory, picture, self.clock.now()));
            if self.memories.get(&listener.name) != Some(&memory) {
                self.memories.insert(listener.name.clone(), memory);
                self.remember(&listener.name).await;
            }
        }
        next
    }

    /// Reads what the sinks were told, where that is not known yet.
    async fn recall(&mut self, listeners: &[Listener]) {
        for listener in listeners {
            if !self.memories.contains_key(&listener.name) || self.unread.contains(&listener.name) {
                self.recall_one(&listener.name).await;
            }
        }
    }

    /// From the journal, and what was told while there was none. A sink that was never told anything has the news of
    /// this process, and that is remembered at once: the next one has its own.
    async fn recall_one(&mut self, name: &SinkName) {
        let kept = match &self.journal {
            Some(journal) => journal.sink_memory(name).await.inspect_err(|error| {
                tracing::warn!(alert.name = %name, "what {name} was told before cannot be read yet: {error}");
            }),
            None => Ok(None),
        };
        let (is_unread, is_new) = (kept.is_err(), matches!(kept, Ok(None)));
        match is_unread {
            true => self.unread.insert(name.clone()),
            false => self.unread.remove(name),
        };
        let begun = Memory { is_part: is_unread, ..Memory::new(self.began_at) };
        let mut memory = kept.ok().flatten().unwrap_or(begun);
        let spare = self.spare.read().remove(name);
        let is_to_be_kept = self.journal.is_some() && (is_new || spare.is_some());
        if let Some(spare) = spare {
            memory = memory.and_then(spare);
        }
        self.memories.insert(name.clone(), memory);
        if is_to_be_kept {
            self.remember(name).await;
        }
    }

    async fn remember(&self, name: &SinkName) {
        let memory = &self.memories[name];
        let mut spare = self.spare.read();
        let kept = match &self.journal {
            Some(journal) if !self.unread.contains(name) => journal.remember_sink(name, memory).await.is_ok(),
            Some(_) | None => false,
        };
        let changed = match kept {
            true => spare.remove(name).is_some(),
            false => spare.insert(name.clone(), memory.clone()).as_ref() != Some(memory),
        };
        if changed {
            self.spare.write(&spare);
        }
    }
}

/// Tells one listener, and gives what it remembers then.
async fn one(
    listener: &Listener,
    mut memory: Memory,
    picture: &Picture,
    journal: Option<&dyn Journal>,
    (clock, holds_until): (&dyn Clock, Timestamp),
) -> Memory {
    let (notices, end) = match journal {
        Some(journal) if listener.policy.on.contains(&Condition::Rotated) => {
            news(journal, memory.cursor).await.unwrap_or_else(|error| {
                tracing::warn!(alert.name = %listener.name, "the news cannot be read: {error}");
                (Vec::new(), memory.cursor)
            })
        }
        Some(_) | None => (Vec::new(), memory.cursor),
    };
    let now = clock.now();
    memory.watch(&listener.policy, picture, now);
    for telling in decide(&listener.policy, &memory, picture, &notices, now) {
        let answer = listener.sink.tell(&telling, clock.now(), holds_until).await;
        let now = clock.now();
        match answer {
            Ok(()) => took(listener, &mut memory, &telling, now),
            Err(fault) => {
                refused(&listener.name, &mut memory, (&telling, &fault), now);
                return memory;
            }
        }
    }
    if memory.failures == 0 {
        memory.cursor = end;
    }
    memory
}

fn took(listener: &Listener, memory: &mut Memory, telling: &Telling, now: Timestamp) {
    let name = &listener.name;
    if memory.failures > 0 {
        tracing::info!(alert.name = %name, "the alert sink {name} takes alerts again");
    }
    memory.took(listener.policy.style, telling, now);
    let headline = crate::alert::headline(telling);
    tracing::debug!(alert.name = %name, "told {name}: {headline}");
}

fn refused(name: &SinkName, memory: &mut Memory, (telling, fault): (&Telling, &Fault), now: Timestamp) {
    let sentence = match fault {
        Fault::Refused(refusal) => {
            memory.refused(telling, refusal.retry_after, now);
            &refusal.sentence
        }
        Fault::Unknown(doubt) => {
            memory.lost(telling, doubt.retry_after, now);
            &doubt.sentence
        }
    };
    let until = memory.not_before;
    let line =
        format!("the alert sink {name} was not told: {sentence}; tried again at {until}, rotations go on");
    if memory.failures == 1 {
        tracing::warn!(alert.name = %name, "{line}");
    } else {
        tracing::debug!(alert.name = %name, "{line}");
    }
}

/// What went well after that place of the history, and where the history ends.
async fn news(journal: &dyn Journal, cursor: Cursor) -> Result<(Vec<Notice>, Cursor), JournalError> {
    let mut history = journal.history_after(cursor.position).await?;
    let end = history.last().map(|last| Cursor { position: last.position, at: Timestamp::EPOCH });
    history.retain(|recorded| recorded.event.at() >= cursor.at);
    let mut notices = Vec::new();
    for recorded in history.iter().filter(|recorded| matches!(recorded.event, Event::Deleted { .. })) {
        let rotation = replayed_from(journal, recorded.rotation).await?;
        if rotation.events() == recorded.number && matches!(rotation.stage(), Stage::Done { .. }) {
            notices.push(Notice {
                condition: Condition::Rotated,
                vendor: rotation.subject().vendor.clone(),
                iam_user: rotation.subject().iam_user.clone(),
                rotation: rotation.id(),
                sentence: Verdict::ended(&rotation).sentence,
                at: recorded.event.at(),
                position: recorded.position,
            });
        }
    }
    Ok((notices, end.unwrap_or(cursor)))
}

/// Watches the lookout, and tells.
pub struct Alerts {
    worlds: watch::Receiver<World>,
    tellers: watch::Receiver<Tellers>,
    lookout: Arc<Lookout>,
    teller: Teller,
    beaten: u64,
    pulse: Option<JoinHandle<()>>,
}

impl Alerts {
    /// Of the newest world, to the newest tellers.
    #[must_use]
    pub fn new(
        worlds: watch::Receiver<World>,
        tellers: watch::Receiver<Tellers>,
        lookout: Arc<Lookout>,
        spare: Arc<dyn SpareMemory>,
    ) -> Alerts {
        let world = worlds.borrow().clone();
        let teller = Teller::new(Some(world.journal), spare, world.clock);
        Alerts { worlds, tellers, lookout, teller, beaten: 0, pulse: None }
    }

    /// Reads what was told before. What happens after this is news, also to a sink that is told for the first time.
    pub async fn recall(&mut self) {
        let listeners = self.tellers.borrow().listeners.clone();
        self.teller.recall(&listeners).await;
    }

    /// Works until told to stop. What is being told then is told to its end.
    pub async fn work(&mut self, stop: &CancellationToken) {
        let mut changes = self.lookout.changes();
        self.recall().await;
        loop {
            let next = self.tell().await;
            let clock = self.clock();
            let next = next.max(clock.now() + GATHER);
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = changes.changed() => self.gather(&mut changes, stop).await,
                Ok(()) = self.tellers.changed() => {}
                () = clock.sleep_until(next), if next < Timestamp::NEVER => {}
            }
        }
    }

    /// Waits for what happens together: the end of a pass, or the visits of one moment.
    async fn gather(&self, changes: &mut watch::Receiver<u64>, stop: &CancellationToken) {
        let clock = self.clock();
        let (soon, late) = (clock.now() + GATHER, clock.now() + PASS_MAX);
        loop {
            let until = if self.lookout.sight().passing { late } else { soon };
            if clock.now() >= until || stop.is_cancelled() {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = changes.changed() => {}
                () = clock.sleep_until(until) => {}
            }
        }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.worlds.borrow().clock)
    }

    /// Tells what there is to tell now. Gives when to do so again.
    pub async fn tell(&mut self) -> Timestamp {
        let (world, tellers) = (self.worlds.borrow().clone(), self.tellers.borrow().clone());
        let sight = self.lookout.sight();
        self.beat(&sight, &tellers);
        if tellers.listeners.is_empty() {
            return Timestamp::NEVER;
        }
        let now = world.clock.now();
        let seen: Vec<Seen<'_>> =
            sight.users.values().map(|visited| seen(&world.settings, visited)).collect();
        let picture = picture(&seen, sight.whole && !sight.passing, now);
        let holds_until = holds_until(&world, sight.next_pass_at);
        self.teller.tell(&tellers.listeners, &picture, holds_until).await
    }

    /// Tells that the journal failed, as the last thing before the end.
    pub async fn tell_of_journal(&mut self, error: &JournalError) {
        let world = self.worlds.borrow().clone();
        let listeners = self.tellers.borrow().listeners.clone();
        let Some(alert) = of_journal(error, world.clock.now()) else { return };
        let holds_until = holds_until(&world, None);
        self.teller.tell(&listeners, &Picture::only(alert), holds_until).await;
    }

    /// Waits for the heartbeat that is under way.
    pub async fn finish(&mut self) {
        if let Some(pulse) = self.pulse.take() {
            drop(pulse.await);
        }
    }

    /// Reports each full pass once, beside everything else.
    fn beat(&mut self, sight: &Sight, tellers: &Tellers) {
        if sight.passes <= self.beaten {
            return;
        }
        self.beaten = sight.passes;
        let Some(heartbeat) = tellers.heartbeat.clone() else { return };
        let clock = self.clock();
        self.pulse = Some(tokio::spawn(async move { pulse(heartbeat.as_ref(), clock.as_ref()).await }));
    }
}

async fn pulse(heartbeat: &dyn Heartbeat, clock: &dyn Clock) {
    let mut last = String::new();
    for wait in HEARTBEAT_WAITS {
        clock.sleep_until(clock.now() + wait).await;
        match heartbeat.beat().await {
            Ok(()) => return,
            Err(fault) => fault.sentence().clone_into(&mut last),
        }
    }
    tracing::warn!("the heartbeat was not taken: {last}; whoever waits for it will raise an alarm");
}

/// The alert that a failure of the journal is; `None`: another process has it, which is as it should be.
#[must_use]
pub fn of_journal(error: &JournalError, now: Timestamp) -> Option<Alert> {
    let safe = "no key is touched while it lasts, every vendor keeps what it has";
    let alert = |condition, reason| Alert::of_house(condition, reason, format!("{error}; {safe}"), now);
    match error {
        JournalError::SealKey(_) => Some(alert(Condition::SealKey, "seal_key")),
        JournalError::Unusable(_) => Some(alert(Condition::Journal, "journal_unusable")),
        JournalError::Unavailable(_) => Some(alert(Condition::Journal, "journal_unavailable")),
        JournalError::InUse(_) | JournalError::Conflict { .. } | JournalError::AlreadyRotating { .. } => None,
    }
}

/// Longer than until it can be told again.
fn holds_until(world: &World, next_pass_at: Option<Timestamp>) -> Timestamp {
    let (now, schedule) = (world.clock.now(), &world.settings.schedule);
    let next = next_pass_at.or_else(|| schedule.cron.next_after(now).map(|tick| tick + schedule.jitter));
    next.unwrap_or(now).max(now) + GRACE
}

fn seen<'a>(settings: &'a Settings, visited: &'a Visited) -> Seen<'a> {
    let vendor = settings.vendors.get(&visited.vendor);
    let rotation = visited.rotation.as_ref();
    let account = match rotation {
        Some(rotation) => rotation.subject().account.as_ref(),
        None => vendor.and_then(account),
    };
    Seen {
        vendor: &visited.vendor,
        iam_user: visited.iam_user.as_ref(),
        account,
        owner: vendor.and_then(|vendor| vendor.owner.as_deref()),
        verdict: &visited.verdict,
        sentence: visited.sentence(),
        rotation,
        failed: visited.failed,
    }
}

fn account(vendor: &VendorSettings) -> Option<&AccountName> {
    match &vendor.access {
        Access::Key(access) => access.account.as_ref(),
        Access::Role { .. } => None,
    }
}
