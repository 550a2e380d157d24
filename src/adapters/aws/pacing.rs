//! How fast an account is called: as fast as AWS allows, and urgent calls first.
//!
//! AWS's rate limits for IAM are unpublished, cannot be raised, and are shared with every other caller in the account.
//! So the rate is learned. Calls are sent at once until AWS throttles one; then the rate falls to 0.7 of what AWS took
//! before, climbs back to that within seconds, and goes on from there: the curve that TCP CUBIC and the AWS SDK's
//! adaptive mode use. Of the calls that AWS throttles in one round trip only the first decreases the rate: the others
//! were sent before it could.
//!
//! An account has one rate for all operations together, because calls of many kinds usually share one limit: rates that
//! do not know of each other used 5 % to 25 % less of such a limit in the simulation below. An operation that alone is
//! throttled, several times in a row, has a limit of its own, and gets a rate of its own beside that.
//!
//! Crates such as `governor` hold a rate that is given to them. Here the rate changes with each answer, and the queue has
//! an order, so this module is written by hand.
//!
//! **Invariant:** a call that gives a vendor its key back is sent before every other one that waits, then one that cuts a
//! key off, then the rest in the order of their arrival.
//!
//! **Invariant:** a future that is dropped leaves the queue at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// To which part of the last good rate a throttled call decreases the rate.
const DECREASE: f64 = 0.7;
/// How fast the rate climbs, in calls a second per cubic second.
const GROWTH: f64 = 0.4;
/// The lowest rate, in calls a second. At this rate, keyround's calls alone do not cause throttling.
const RATE_MIN: f64 = 0.5;
/// The time over which the rate is measured that AWS takes.
const MEASURED_OVER: Duration = Duration::from_secs(1);
/// This part of that time shows a burst: after it, the rate is decreased once or twice more rather than far too much.
const BURST_OVER: Duration = Duration::from_millis(250);
/// How late a timer may be without a loss of throughput.
const LATE_MAX: Duration = Duration::from_millis(20);
/// How often the first call that waits looks at the rate, which grows meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a `Retry-After` holds the calls of an account back at most. It is shorter than the patience of any call, so
/// that an urgent one is sent at least once.
const HELD_BACK_MAX: Duration = Duration::from_secs(10);
/// After this many decreases in a row because of one operation, the operation has a limit of its own.
const OF_ONE_OPERATION: u32 = 3;

/// How urgent a call is; the most urgent kind first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Urgency {
    /// It sets a key Active that a vendor may need, or every other call of the account waits for its answer.
    GiveBack,
    /// It sets a key Inactive, which may be exposed.
    Cut,
    /// Every other call.
    Rest,
}

/// The pace of one account, or of one service in it.
#[derive(Debug)]
pub(crate) struct Pace {
    deadline: Duration,
    state: Mutex<State>,
}

/// The name of an operation, such as `ListAccessKeys`.
type Operation = &'static str;
/// A place in the queue: by urgency, then by arrival.
type Place = (Urgency, u64);

#[derive(Debug)]
struct State {
    waiting: BTreeMap<Place, Waiter>,
    arrivals: u64,
    account: Rate,
    operations: BTreeMap<Operation, Rate>,
    /// The operation of the last decrease, and of how many before it in a row.
    blamed: Option<(Operation, u32)>,
    held_back_until: Instant,
}

#[derive(Debug)]
struct Waiter {
    operation: Operation,
    wake: Arc<Notify>,
}

/// A call that was sent, and how often the rates had been decreased by then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Sent {
    operation: Operation,
    decreases: (u64, u64),
}

impl Pace {
    /// The pace of calls that have this deadline each, once they are sent.
    pub(crate) fn new(deadline: Duration) -> Pace {
        let now = Instant::now();
        Pace {
            deadline,
            state: Mutex::new(State {
                waiting: BTreeMap::new(),
                arrivals: 0,
                account: Rate::new(now),
                operations: BTreeMap::new(),
                blamed: None,
                held_back_until: now,
            }),
        }
    }

    /// The deadline of a call, from when it is sent.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Takes a place in the queue, for a call that may wait until `until`.
    pub(crate) fn queue(&self, operation: Operation, urgency: Urgency, until: Instant) -> Turn<'_> {
        let mut state = self.locked();
        state.arrivals += 1;
        state.operations.entry(operation).or_insert_with(|| Rate::new(Instant::now()));
        let place = (urgency, state.arrivals);
        Turn { pace: self, operation, place, until, wake: Arc::new(Notify::new()), is_waiting: false }
    }

    /// Records that AWS answered a call and did not throttle it.
    pub(crate) fn answered(&self, sent: Sent) {
        let (mut state, now) = (self.locked(), Instant::now());
        state.account.accepted(now);
        if let Some(rate) = state.operations.get_mut(sent.operation) {
            rate.accepted(now);
        }
    }

    /// Records that AWS throttled a call, and how long it asked to wait.
    pub(crate) fn throttled(&self, sent: Sent, retry_after: Option<Duration>) {
        let (mut state, now) = (self.locked(), Instant::now());
        if let Some(wait) = retry_after {
            state.held_back_until = state.held_back_until.max(now + wait.min(HELD_BACK_MAX));
        }
        state.decrease(sent, now);
        state.wake_first();
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn decrease(&mut self, sent: Sent, now: Instant) {
        let Some(own) = self.operations.get_mut(sent.operation) else { return };
        if sent.decreases != (self.account.decreases, own.decreases) {
            return;
        }
        let before = self.blamed.filter(|(operation, _)| *operation == sent.operation);
        let times = before.map_or(1, |(_, times)| times.saturating_add(1));
        self.blamed = Some((sent.operation, times));
        if times > OF_ONE_OPERATION { own.decrease(now) } else { self.account.decrease(now) }
    }

    /// The place of the call whose turn it is now, or the earliest time at which there is one.
    fn next(&self, now: Instant) -> Result<Place, Instant> {
        let all_from = self.account.next_at(now).max(self.held_back_until);
        let (mut seen, mut earliest) = (Vec::new(), None);
        for (place, Waiter { operation, .. }) in &self.waiting {
            if seen.len() == self.operations.len() {
                break;
            }
            if seen.contains(operation) {
                continue;
            }
            seen.push(*operation);
            let own_from = self.operations.get(operation).map_or(now, |rate| rate.next_at(now));
            let from = all_from.max(own_from);
            if from <= now {
                return Ok(*place);
            }
            earliest = Some(earliest.map_or(from, |earliest: Instant| earliest.min(from)));
        }
        Err(earliest.unwrap_or(all_from))
    }

    fn take(&mut self, place: Place, operation: Operation, now: Instant) -> Sent {
        self.waiting.remove(&place);
        self.account.take(now);
        let own = self.operations.entry(operation).or_insert_with(|| Rate::new(now));
        own.take(now);
        let decreases = (self.account.decreases, own.decreases);
        self.wake_first();
        Sent { operation, decreases }
    }

    /// Wakes the first call that waits. It sleeps until there is a turn, and wakes the call whose turn it is.
    fn wake_first(&self) {
        if let Some(first) = self.waiting.values().next() {
            first.wake.notify_one();
        }
    }
}

/// The place of one call in the queue. It keeps its place when it is throttled and waits again.
pub(crate) struct Turn<'a> {
    pace: &'a Pace,
    operation: Operation,
    place: Place,
    until: Instant,
    wake: Arc<Notify>,
    is_waiting: bool,
}

impl Turn<'_> {
    /// Waits until the call may be sent. `None`: the time is up.
    pub(crate) async fn come(&mut self) -> Option<Sent> {
        let waiter = Waiter { operation: self.operation, wake: Arc::clone(&self.wake) };
        self.pace.locked().waiting.insert(self.place, waiter);
        self.is_waiting = true;
        loop {
            let look_at = match self.look(Instant::now()) {
                Ok(sent) => return Some(sent),
                Err(None) => break,
                Err(Some(look_at)) => look_at,
            };
            tokio::select! {
                () = tokio::time::sleep_until(look_at) => {}
                () = self.wake.notified() => {}
            }
        }
        self.leave();
        None
    }

    /// Takes the turn, if it is this call's. Otherwise when to look again; `None`: the time is up.
    fn look(&mut self, now: Instant) -> Result<Sent, Option<Instant>> {
        let mut state = self.pace.locked();
        let is_first = state.waiting.keys().next() == Some(&self.place);
        let look_at = match state.next(now) {
            Ok(place) if place == self.place => {
                self.is_waiting = false;
                return Ok(state.take(place, self.operation, now));
            }
            Ok(place) => {
                if let Some(other) = state.waiting.get(&place) {
                    other.wake.notify_one();
                }
                self.until
            }
            Err(at) if is_first => at.min(now + LOOK_EVERY).min(self.until),
            Err(_) => self.until,
        };
        if now >= self.until { Err(None) } else { Err(Some(look_at)) }
    }

    fn leave(&mut self) {
        if std::mem::take(&mut self.is_waiting) {
            let mut state = self.pace.locked();
            state.waiting.remove(&self.place);
            state.wake_first();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A rate that is learned.
#[derive(Debug)]
struct Rate {
    decreases: u64,
    decreased_at: Option<Instant>,
    /// The rate that AWS took before the last decrease, in calls a second.
    good: f64,
    accepted: VecDeque<Instant>,
    last_slot_at: Instant,
}

impl Rate {
    fn new(now: Instant) -> Rate {
        Rate { decreases: 0, decreased_at: None, good: 0.0, accepted: VecDeque::new(), last_slot_at: now }
    }

    /// The present rate, in calls a second; `None`: there is no limit yet.
    fn at(&self, now: Instant) -> Option<f64> {
        let since = now.duration_since(self.decreased_at?).as_secs_f64();
        let until_good = (self.good * (1.0 - DECREASE) / GROWTH).cbrt();
        Some((self.good + GROWTH * (since - until_good).powi(3)).max(RATE_MIN))
    }

    fn decrease(&mut self, now: Instant) {
        let measured = self.measured(now);
        // A measurement over one second is rough, and there is none while calls are few.
        let good = self.at(now).map_or(measured, |rate| rate.min(measured.max(rate / 2.0)));
        self.good = good.max(RATE_MIN);
        self.decreased_at = Some(now);
        self.decreases += 1;
    }

    /// How many calls a second AWS took lately.
    fn measured(&mut self, now: Instant) -> f64 {
        self.forget(now);
        let over = |span: Duration| {
            let calls = self.accepted.iter().rev().take_while(|at| now.duration_since(**at) <= span).count();
            u32::try_from(calls).map_or(f64::MAX, f64::from) / span.as_secs_f64()
        };
        over(MEASURED_OVER).max(over(BURST_OVER))
    }

    fn accepted(&mut self, now: Instant) {
        self.forget(now);
        self.accepted.push_back(now);
    }

    fn forget(&mut self, now: Instant) {
        while self.accepted.front().is_some_and(|at| now.duration_since(*at) > MEASURED_OVER) {
            self.accepted.pop_front();
        }
    }

    fn next_at(&self, now: Instant) -> Instant {
        let distance = self.at(now).map_or(Duration::ZERO, |rate| Duration::from_secs_f64(rate.recip()));
        self.last_slot_at + distance
    }

    fn take(&mut self, now: Instant) {
        self.last_slot_at = self.next_at(now).max(now.checked_sub(LATE_MAX).unwrap_or(now));
    }
}

#[cfg(test)]
mod tests;
