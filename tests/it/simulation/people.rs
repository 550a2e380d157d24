//! The people of a play: operators who run operator commands and change the configuration at the worst time,
//! strangers who change keys, and operators who eventually do what a message told them to.

use std::time::Duration;

use keyround::core::ids::{AccessKeyId, IamUserName, RotationId};
use keyround::core::rotation::{Blocker, Event, KeyStatus, Next, Rotation};
use keyround::core::time::Timestamp;
use keyround::engine::entry_after;
use keyround::ports::JournalError;

use super::Theatre;
use super::cloud::{Maker, QUOTA};
use super::faults::{Fault, IN_THE_WORLD};
use super::world::State;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// The furthest that the program's clock is set wrong. AWS refuses requests that are signed so far off.
const FAR: Duration = Duration::from_hours(24 * 100);
const BETWEEN_ROUNDS: Duration = Duration::from_hours(12);
/// How often an operator command is tried again when the rotation has moved on meanwhile.
const ATTEMPTS_MAX: u32 = 20;

impl Theatre {
    /// Lets people and faults interfere, until the weather is calm.
    pub(super) async fn meddle(&self) {
        loop {
            let wait = self.sim.lock().dice.span(Duration::from_mins(10), 16 * HOUR);
            self.sim.pass(wait).await;
            let (user, kind) = {
                let mut state = self.sim.lock();
                if state.weather.is_calm {
                    return;
                }
                let users: Vec<IamUserName> = state.users.keys().cloned().collect();
                let user = users[state.dice.up_to(users.len())].clone();
                let kind = state.dice.one_of(&IN_THE_WORLD);
                let State { weather, dice, .. } = &mut *state;
                if !weather.strikes(kind, dice) {
                    continue;
                }
                (user, kind)
            };
            self.meddle_with(&user, kind).await;
        }
    }

    async fn meddle_with(&self, user: &IamUserName, kind: Fault) {
        match kind {
            Fault::VendorAway => {
                let mut state = self.sim.lock();
                state.mark(user, kind);
                let until = state.dice.span(HOUR, 8 * DAY);
                let until = state.now() + until;
                state.user(user).consumer.away_until = until;
            }
            Fault::DiskFull => {
                let mut state = self.sim.lock();
                let until = state.dice.span(Duration::from_mins(1), DAY);
                state.disk_full_until = state.now() + until;
            }
            Fault::ClockSteps => self.step_clock(),
            Fault::StrangerMakesKey | Fault::StrangerTogglesKey | Fault::StrangerDeletesKey => {
                self.strangers_hand(user, kind);
            }
            Fault::Reloaded | Fault::Renamed | Fault::SwitchedOff | Fault::Removed => {
                self.edit_configuration(user, kind);
            }
            Fault::Stopped => {
                let users: Vec<IamUserName> = self.sim.lock().users.keys().cloned().collect();
                for user in users {
                    self.sim.lock().mark(&user, kind);
                }
                self.stop.lock().expect("no play panicked with it").cancel();
            }
            _ => self.pull_some_lever(user, kind).await,
        }
    }

    /// Sets the clock wrong, within what AWS accepts or by days, and later back.
    fn step_clock(&self) {
        let off = {
            let mut state = self.sim.lock();
            let users: Vec<IamUserName> = state.users.keys().cloned().collect();
            for user in &users {
                state.mark(user, Fault::ClockSteps);
            }
            let far = if state.dice.per_mille(700) { Duration::from_secs(290) } else { FAR };
            let span = state.dice.span(Duration::from_secs(1), far).as_secs().cast_signed();
            if state.dice.per_mille(500) { span } else { -span }
        };
        self.sim.step_clock(off);
        let (sim, back_after) = (self.sim.clone(), self.sim.lock().dice.span(Duration::from_mins(1), DAY));
        drop(tokio::spawn(async move {
            sim.pass(back_after).await;
            sim.step_clock(0);
        }));
    }

    /// Acts as another person with rights in the account.
    fn strangers_hand(&self, user: &IamUserName, kind: Fault) {
        let mut state = self.sim.lock();
        let keys: Vec<AccessKeyId> = {
            let user = state.user(user);
            user.keys.iter().filter(|key| key.status().is_some()).map(|key| key.id.clone()).collect()
        };
        match kind {
            Fault::StrangerMakesKey if keys.len() < QUOTA => {
                state.mark(user, kind);
                let now = state.now();
                let id = state.make_key(user, Maker::Stranger, now);
                if state.dice.per_mille(800) {
                    state.key(user, &id).expect("just made").uses.push((now, None, HOUR));
                }
            }
            Fault::StrangerTogglesKey if !keys.is_empty() => {
                let id = keys[state.dice.up_to(keys.len())].clone();
                state.mark(user, kind);
                let now = state.now();
                let key = state.key(user, &id).expect("it was listed");
                key.meddled_at = Some(now);
                let to = if key.works() { KeyStatus::Inactive } else { KeyStatus::Active };
                state.change(user, &id, Some(to));
            }
            // Seldom, because it leaves a vendor without any key, and little of the play remains after that.
            Fault::StrangerDeletesKey if keys.len() == QUOTA && state.dice.per_mille(300) => {
                let id = keys[state.dice.up_to(keys.len())].clone();
                state.mark(user, kind);
                let now = state.now();
                state.key(user, &id).expect("it was listed").meddled_at = Some(now);
                state.change(user, &id, None);
            }
            _ => {}
        }
    }

    fn edit_configuration(&self, user: &IamUserName, kind: Fault) {
        self.sim.lock().mark(user, kind);
        let mut cast = self.cast.lock().expect("no play panicked with it");
        let mut state = self.sim.lock();
        match kind {
            Fault::Renamed => {
                let part = cast.part(user);
                part.name = format!("{}x", part.name.chars().take(20).collect::<String>());
            }
            Fault::SwitchedOff => cast.part(user).is_enabled ^= true,
            Fault::Removed => cast.part(user).is_there ^= true,
            _ => cast.change_something(user, &mut state.dice),
        }
        drop(state);
        self.reload(&cast);
    }

    async fn pull_some_lever(&self, user: &IamUserName, kind: Fault) {
        let Some((id, event)) = ({
            let mut state = self.sim.lock();
            let until = state.dice.one_of(&[None, Some(HOUR), Some(3 * DAY)]);
            let at = state.clock();
            let (by, why) = ("an operator".to_owned(), "a reason".to_owned());
            let event = match kind {
                Fault::Held => Event::Held { until: until.map(|span| at + span), by, why, at },
                Fault::Resumed => Event::Resumed { by, at },
                Fault::ReactivationAsked => Event::ReactivationAsked { by, why, exposed: false, at },
                _ => Event::Abandoned { by, why, at },
            };
            let id = state.in_flight(user).map(Rotation::id);
            id.map(|id| (id, event))
        }) else {
            return;
        };
        let place = self.sim.lock().place(user);
        if self.pull(id, event).await {
            *self.sim.lock().seen.faults.entry((place, kind)).or_default() += 1;
        }
    }

    /// Appends an event as the command line does: replay, compare, append.
    async fn pull(&self, id: RotationId, event: Event) -> bool {
        for _ in 0..ATTEMPTS_MAX {
            let Some(mut rotation) = self.sim.lock().rotations.get(&id).cloned() else { return false };
            let Ok(entry) = entry_after(&mut rotation, &event, None) else { return false };
            match self.journal.write(entry).await {
                Err(JournalError::Conflict { .. }) => {}
                written => return written.is_ok(),
            }
        }
        false
    }

    /// The operators who, after some time, mend what a message told them of.
    pub(super) async fn mend(&self) {
        loop {
            self.sim.pass(BETWEEN_ROUNDS).await;
            let users: Vec<IamUserName> = self.sim.lock().users.keys().cloned().collect();
            for user in users {
                let looks = {
                    let mut state = self.sim.lock();
                    state.weather.is_calm || state.dice.per_mille(250)
                };
                if looks {
                    self.mend_rotation(&user).await;
                    self.mend_keys(&user);
                }
            }
        }
    }

    async fn mend_rotation(&self, user: &IamUserName) {
        let (id, next, at, is_calm, is_overdue, is_held) = {
            let state = self.sim.lock();
            let Some(rotation) = state.in_flight(user) else { return };
            let is_overdue = rotation.stage().name() == "soak" && state.told_to_ask.contains(user);
            let (now, is_calm) = (state.clock(), state.weather.is_calm);
            let is_held = rotation.held_since(now).is_some();
            (rotation.id(), rotation.next(now), now, is_calm, is_overdue, is_held)
        };
        let by = "an operator".to_owned();
        if is_calm {
            self.sim.lock().mend_vendor(user);
        }
        let event = match next {
            Next::Stuck(blocker) => self.answer_to(user, &blocker, at),
            // The alert says that the rotation is on hold, whatever keyround reads next under that hold.
            _ if is_calm && is_held => Event::Resumed { by, at },
            // The operator asked the vendor, which does not know of a new key.
            _ if is_overdue => Event::Abandoned { by, why: "the vendor lost it".to_owned(), at },
            _ => return,
        };
        self.pull(id, event).await;
    }

    /// Does what the blocker's sentence says, and returns the event of the operator command that follows.
    fn answer_to(&self, user: &IamUserName, blocker: &Blocker, at: Timestamp) -> Event {
        let (by, why) = ("an operator".to_owned(), "it said so".to_owned());
        let mut state = self.sim.lock();
        match blocker {
            Blocker::NoFreeSlot { other }
            | Blocker::SlotFilledInIncident { other }
            | Blocker::UnknownKey { key: other } => {
                if !state.leans_on(user, other) && state.key(user, other).is_some() {
                    state.change(user, other, None);
                }
                Event::Resumed { by, at }
            }
            Blocker::OldKeyNotActive { key } | Blocker::NewKeyNotActive { key } => {
                if state.key(user, key).is_some() {
                    state.change(user, key, Some(KeyStatus::Active));
                }
                Event::Resumed { by, at }
            }
            Blocker::HasActiveKey { .. }
            | Blocker::OldKeyGone { .. }
            | Blocker::OldKeyDeletedLate { .. }
            | Blocker::NoKeyLeft { .. }
            | Blocker::NotDiscarded { .. }
            | Blocker::NewKeyGone { .. }
            | Blocker::NewKeyNeverWorked { .. }
            | Blocker::WrongIdentity { .. } => Event::Abandoned { by, why, at },
            Blocker::VendorGone { .. }
            | Blocker::VendorKeepsOldKey { .. }
            | Blocker::VendorWentBack { .. }
            | Blocker::ExposedKeyNeeded { .. }
            | Blocker::OtherAccount { .. }
            | Blocker::Exhausted { .. } => {
                state.mend_vendor(user);
                Event::Resumed { by, at }
            }
        }
    }

    /// Mends a user without a rotation under way: the vendor gets a key that works, and the other key is deleted.
    fn mend_keys(&self, user: &IamUserName) {
        let mut state = self.sim.lock();
        if state.in_flight(user).is_some() {
            return;
        }
        let held = state.held(user);
        let works = held.as_ref().is_some_and(|id| state.key(user, id).is_some_and(|key| key.works()));
        if !works {
            state.set_up_by_hand(user);
        }
        let Some(held) = state.held(user) else { return };
        let others: Vec<AccessKeyId> = {
            let keys = state.user(user).keys.iter();
            keys.filter(|key| key.status().is_some() && key.id != held).map(|key| key.id.clone()).collect()
        };
        for other in others {
            state.change(user, &other, None);
        }
    }
}

impl State {
    /// An operator gives the vendor a key by hand: an existing one that works, or a new one.
    pub(super) fn set_up_by_hand(&mut self, user: &IamUserName) {
        let there = self.user(user).keys.iter().find(|key| key.works()).map(|key| key.id.clone());
        let id = there.unwrap_or_else(|| {
            let dead: Vec<AccessKeyId> = {
                let keys = self.user(user).keys.iter();
                keys.filter(|key| key.status().is_some()).map(|key| key.id.clone()).collect()
            };
            for id in dead {
                self.change(user, &id, None);
            }
            let now = self.now();
            self.make_key(user, Maker::First, now)
        });
        let key = self.key(user, &id).expect("it works");
        key.maker = Maker::First;
        key.offered = true;
        let pair = (Some(id.to_string()), Some(key.secret.clone()));
        self.take(user, pair);
    }
}
