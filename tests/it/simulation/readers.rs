//! The alert receivers: the reader of a chat sink and the holder of a pager, what each believes, and whether it is
//! true.
//!
//! The alerts run beside the engine, as in `run` and `rotate`, and send to two sinks that are down for hours and
//! lose answers. A receiver that believes its notifications must be right: a condition that lasts is sent, a
//! condition that was sent is later resolved, and nothing is sent twice, unless a lost answer or a kill left the
//! program in doubt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keyround::alerting::Routing;
use keyround::core::alert::{Alert, AlertKey, Condition, DeliveryState, Item, Notification, Policy, Style};
use keyround::core::ids::{IamUserName, SinkName, Subject, VendorName};
use keyround::core::rotation::{Ending, Event, Next, RefusalCode, Rotation, Stage, Waiting};
use keyround::core::schedule::State as KeyState;
use keyround::core::time::Timestamp;
use keyround::engine::{Pass, Rest, UserReport, Watcher};
use keyround::ports::{Answer, FallbackStore, Fault, Route, Sink};
use keyround::status::StatusStore;

use super::Mistake;
use super::dice::Dice;
use super::world::{Sim, State};

const REPEAT: Duration = Duration::from_hours(24);
/// Passes are hours apart, and a sink that answers gets its notifications within minutes. A condition that comes
/// and goes may be seen by two passes in a row before its notification, but not by three.
const PASSES_MAX: u32 = 3;
/// A rotation that ended this long before the end of the play must have been sent to each sink that subscribes to it.
const NEWS_LATE: Duration = Duration::from_hours(24 * 2);
/// The conditions whose truth the play knows.
const JUDGED: [Condition; 5] =
    [Condition::Overdue, Condition::Failed, Condition::Stuck, Condition::NoWorkingKey, Condition::Held];
/// An alert for a hold is sent after this long.
const HELD_MIN: Duration = Duration::from_hours(24);
/// The verdicts that say that nothing is known. No alert about the user follows from those.
const UNKNOWING: [&str; 4] = ["not_sent", "unanswered", "journal", "journal_unavailable"];

/// A listing shows a change within this long, and the program lists each waiting user at least once an hour or once
/// a pass.
const LISTED_LATE: Duration = Duration::from_mins(10);

/// The receivers of the alerts, and what they believe.
pub(super) struct Readers {
    dice: Dice,
    by_sink: BTreeMap<SinkName, Reader>,
    spare: BTreeMap<SinkName, DeliveryState>,
    /// When the process ended last.
    died_at: Timestamp,
    /// The true conditions of each user, as of the last reconcile.
    trouble: BTreeMap<IamUserName, BTreeSet<Condition>>,
}

struct Reader {
    style: Style,
    open: BTreeMap<AlertKey, Open>,
    /// The alerts of which the program cannot be certain that the sink received them.
    doubtful: BTreeSet<AlertKey>,
    /// The alerts that the sink received and the program has not yet recorded as received.
    unremembered: BTreeSet<AlertKey>,
    news: BTreeSet<u64>,
    doubtful_news: bool,
    down_until: Timestamp,
    /// For how many passes in a row a belief was wrong: the condition held and was not believed (true), or was
    /// believed and did not hold (false).
    wrong: BTreeMap<(IamUserName, VendorName, Condition, bool), u32>,
}

/// An alert that a receiver believes to be open.
struct Open {
    alert: Alert,
    at: Timestamp,
}

impl Readers {
    pub(super) fn new(dice: Dice) -> Readers {
        let reader = |style| Reader {
            style,
            open: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            unremembered: BTreeSet::new(),
            news: BTreeSet::new(),
            doubtful_news: false,
            down_until: Timestamp::EPOCH,
            wrong: BTreeMap::new(),
        };
        let readers = [("mail", Style::Messages), ("pager", Style::Incidents)];
        let readers = readers.map(|(name, style)| (name.parse().expect("a name"), reader(style)));
        let (spare, trouble) = (BTreeMap::new(), BTreeMap::new());
        Readers { dice, by_sink: readers.into(), spare, died_at: Timestamp::EPOCH, trouble }
    }

    /// Marks what is not yet recorded as doubtful: the program times its repeats by a clock that has just changed,
    /// and the receiver by the true one.
    pub(super) fn clock_was_set(&mut self) {
        for reader in self.by_sink.values_mut() {
            reader.doubtful.extend(reader.unremembered.iter().cloned());
        }
    }

    /// The program recorded, in the journal or beside it, what this sink received or is about to receive.
    pub(super) fn remembered(&mut self, sink: &SinkName, memory: &DeliveryState) {
        let Some(reader) = self.by_sink.get_mut(sink) else { return };
        reader.unremembered.clear();
        let in_doubt = memory.told.iter().filter(|(_, told)| told.in_doubt);
        reader.doubtful.extend(in_doubt.map(|(slot, _)| slot.clone()));
    }
}

impl Reader {
    fn is_in_doubt(&mut self) {
        self.doubtful.append(&mut self.unremembered);
        self.doubtful_news = true;
        self.wrong.clear();
    }

    /// Applies a notification to the receiver's beliefs; returns a sentence for each item that it should not have
    /// received.
    fn hears(&mut self, notification: &Notification, now: Timestamp) -> Vec<String> {
        let mut oddities = Vec::new();
        for item in &notification.items {
            let oddity = match item {
                Item::Firing { alert, .. } => self.hears_of(alert, now),
                Item::Over { alert, .. } => self.hears_the_end_of(alert, notification),
                Item::News(notice) => {
                    let is_odd = !self.news.insert(notice.position) && !self.doubtful_news;
                    is_odd.then(|| format!("the news {} are told twice", notice.position))
                }
                Item::Recovered { alert, .. } => {
                    Some(format!("nobody asked whether {} recovered", alert.incident().as_str()))
                }
                Item::Test => Some("nobody asked for a test".to_owned()),
            };
            oddities.extend(oddity);
        }
        oddities
    }

    fn hears_of(&mut self, alert: &Alert, now: Timestamp) -> Option<String> {
        let slot = self.style.slot(alert);
        let is_doubtful = self.doubtful.remove(&slot);
        self.unremembered.insert(slot.clone());
        let before = self.open.insert(slot, Open { alert: alert.clone(), at: now });
        let same = before.filter(|before| before.alert.condition == alert.condition && !is_doubtful);
        let is_soon = same.is_some_and(|open| now >= open.at && now.since(open.at) < REPEAT);
        is_soon.then(|| format!("{} is told twice", alert.incident().as_str()))
    }

    fn hears_the_end_of(&mut self, alert: &Alert, notification: &Notification) -> Option<String> {
        let slot = self.style.slot(alert);
        // The same notification carries the condition that replaces it.
        let is_instead =
            |other: &Item| matches!(other, Item::Firing { alert, .. } if self.style.slot(alert) == slot);
        if notification.items.iter().any(is_instead) {
            return None;
        }
        let is_doubtful = self.doubtful.remove(&slot);
        let before = self.open.remove(&slot).map(|open| open.alert.condition);
        self.unremembered.insert(slot);
        let is_odd = before != Some(alert.condition) && !is_doubtful;
        is_odd.then(|| format!("{} is told to be over twice", alert.incident().as_str()))
    }

    /// The users whom this receiver believes to be in trouble, and with which condition.
    fn believed(&self) -> BTreeSet<(IamUserName, VendorName, Condition)> {
        let judged =
            self.open.values().map(|open| &open.alert).filter(|alert| JUDGED.contains(&alert.condition));
        let believed = judged
            .filter_map(|alert| Some((alert.iam_user.clone()?, alert.vendor.clone()?, alert.condition)));
        believed.collect()
    }
}

impl State {
    /// The process ended. It may repeat any notification that it had not recorded as received, and what it listed last
    /// is lost with it.
    pub(super) fn process_died(&mut self) {
        self.readers.died_at = self.now();
        for reader in self.readers.by_sink.values_mut() {
            reader.is_in_doubt();
        }
    }

    /// After a pass: fails if a receiver has been wrong about a user for too many passes.
    pub(super) fn check_readers(&mut self, pass: &Pass) {
        if !pass.whole {
            return;
        }
        let known = |user_report: &&UserReport| !UNKNOWING.contains(&user_report.verdict.reason);
        let unknown: BTreeSet<&VendorName> = pass
            .found
            .iter()
            .filter(|user_report| !known(user_report))
            .map(|user_report| &user_report.vendor)
            .collect();
        let (mut truth, mut unsure) = (BTreeSet::new(), BTreeSet::new());
        for user_report in pass.found.iter().filter(known) {
            let Some(user) = &user_report.iam_user else { continue };
            let is_unsure = self.unsure_of(user, user_report);
            unsure.extend(is_unsure.into_iter().map(|condition| (user.clone(), condition)));
            let conditions = self.trouble_of(user, user_report);
            truth.extend(
                conditions.into_iter().map(|condition| (user.clone(), user_report.vendor.clone(), condition)),
            );
        }
        let named: BTreeMap<&IamUserName, &VendorName> = pass
            .found
            .iter()
            .filter_map(|user_report| Some((user_report.iam_user.as_ref()?, &user_report.vendor)))
            .collect();
        let mut broken = Vec::new();
        for (name, reader) in &mut self.readers.by_sink {
            let believed = reader.believed().into_iter().map(|what| as_named_now(what, &named)).collect();
            let wrong: BTreeSet<_> = truth
                .symmetric_difference(&believed)
                .filter(|(_, vendor, _)| !unknown.contains(vendor))
                .filter(|(user, _, condition)| !unsure.contains(&(user.clone(), *condition)))
                .map(|what| (what.0.clone(), what.1.clone(), what.2, truth.contains(what)))
                .collect();
            // While an alert about keyround itself is open, the receiver need not know anything about the vendors.
            let is_excused = reader.open.values().any(|open| open.alert.vendor.is_none());
            reader.wrong.retain(|what, _| wrong.contains(what) && !is_excused);
            for what in wrong {
                let passes = reader.wrong.entry(what.clone()).or_default();
                *passes += 1;
                if *passes >= PASSES_MAX {
                    let (user, _, condition, is_so) = what;
                    let how = if is_so {
                        "is, and the sink was not told"
                    } else {
                        "is not, and the sink was not told that"
                    };
                    broken.push(format!("{user} {how} for {passes} passes: {condition}, {name}"));
                }
            }
        }
        for why in broken {
            self.break_with(why);
        }
    }

    /// Resets the counts of conditions that changed between two passes, because those did not last through both.
    fn check_lasting(&mut self, user: &IamUserName, user_report: &UserReport) {
        let trouble: BTreeSet<Condition> = self.trouble_of(user, user_report).into_iter().collect();
        let before = self.readers.trouble.insert(user.clone(), trouble.clone()).unwrap_or_default();
        for condition in before.symmetric_difference(&trouble) {
            for reader in self.readers.by_sink.values_mut() {
                reader.wrong.retain(|(other, _, what, _), _| (other, what) != (user, condition));
            }
        }
    }

    fn trouble_of(&self, user: &IamUserName, user_report: &UserReport) -> Vec<Condition> {
        let works = self.users[user].keys.iter().any(super::cloud::Key::works);
        let mut conditions = Vec::new();
        if !works {
            conditions.push(Condition::NoWorkingKey);
        }
        let held_since =
            self.holds.get(user).filter(|(_, until)| until.is_none_or(|until| self.clock() < until));
        let is_held = held_since.is_some_and(|(since, _)| self.clock().since(*since) >= HELD_MIN);
        if is_held && self.in_flight(user).is_some() {
            conditions.push(Condition::Held);
        }
        // An operator who switches a vendor off has chosen that keyround does not judge it.
        if user_report.verdict.reason == "disabled" {
            return conditions;
        }
        let is_orphan = user_report.verdict.state == KeyState::Unmanaged && user_report.failed;
        let is_stuck =
            self.place(user) == "stuck" || user_report.verdict.state == KeyState::Stuck || is_orphan;
        let rotation = self.in_flight(user);
        let is_tried = matches!(&user_report.rest, Some(Rest::Wait { why, .. }) if !matches!(why, Waiting::Held { .. } | Waiting::HeldWhileInactive { .. }));
        let fails = is_tried && rotation.is_some_and(|rotation| rotation.failures() >= 3);
        let is_late = user_report.verdict.overdue_at.is_some_and(|at| self.clock() >= at);
        // The stage that a stuck rotation resumes in. From `cool` on, the old key was set Inactive.
        let place = rotation.and_then(|rotation| rotation.stage().resumes_in());
        let is_retired = matches!(place.unwrap_or_else(|| self.place(user)), "cool" | "restore");
        let is_overdue = match user_report.verdict.state {
            KeyState::Overdue => true,
            KeyState::Stuck | KeyState::Held => is_late && !is_retired,
            _ => false,
        };
        let others = [
            (is_overdue, Condition::Overdue),
            (is_stuck, Condition::Stuck),
            (fails && !is_stuck, Condition::Failed),
        ];
        conditions.extend(others.into_iter().filter_map(|(is_so, condition)| is_so.then_some(condition)));
        conditions
    }

    /// The conditions that a reconcile could not determine: keys that were not listed, or an age that was not judged.
    fn unsure_of(&self, user: &IamUserName, user_report: &UserReport) -> Vec<Condition> {
        let mut unsure = Vec::new();
        let listed_at = self.users[user].listed_at;
        let changed_at = self.users[user].keys.iter().map(super::cloud::Key::changed_at).max();
        let is_forgotten = listed_at <= self.readers.died_at;
        if is_forgotten || changed_at.is_some_and(|changed_at| listed_at < changed_at + LISTED_LATE) {
            unsure.push(Condition::NoWorkingKey);
        }
        if user_report.verdict.state == KeyState::Stuck && user_report.verdict.due_at.is_none() {
            unsure.push(Condition::Overdue);
        }
        if user_report.verdict.reason == "disabled" {
            // Held is sent after a day without an event, or at once where the old key was set Inactive.
            unsure.push(Condition::Held);
        }
        unsure
    }

    /// Returns a sentence if the item announces a finished rotation that is not finished.
    fn is_untrue(&self, item: &Item) -> Option<String> {
        let Item::News(notice) = item else { return None };
        let is_done = matches!(self.rotations[&notice.rotation].stage(), Stage::Done { .. });
        (!is_done).then(|| format!("{} was not rotated", notice.iam_user))
    }

    /// At the end: every sink that subscribes to finished rotations received each rotation that replaced a key.
    pub(super) fn check_news(&mut self) {
        let now = self.now();
        let done = |rotation: &&Rotation| {
            matches!(rotation.next(self.clock()), Next::Ended(Ending::Done))
                && rotation.since() + NEWS_LATE < now
        };
        let replaced = self.rotations.values().filter(done).count();
        let mut broken = Vec::new();
        for (name, reader) in &self.readers.by_sink {
            if reader.news.len() < replaced {
                broken.push(format!(
                    "{replaced} keys were replaced, and {name} heard of {}",
                    reader.news.len()
                ));
            }
        }
        for why in broken {
            self.break_with(why);
        }
    }
}

/// The sinks of the play, as `[alert.NAME]` would configure them.
pub(super) fn routing(sim: &Sim) -> Routing {
    let route = |(name, reader): (&SinkName, &Reader)| Route {
        name: name.clone(),
        policy: Policy {
            on: Condition::DEFAULT.into_iter().chain([Condition::Rotated]).collect(),
            repeat: REPEAT,
            style: reader.style,
        },
        sink: Arc::new(SimSink { sim: sim.clone(), name: name.clone() }),
    };
    let routes = sim.lock().readers.by_sink.iter().map(route).collect();
    Routing { routes, heartbeat: None }
}

/// After a rename, the alert about a user without a working key stays open under the vendor's earlier name until the
/// keys are listed. It is believed of the user, whatever its vendor is called.
fn as_named_now(
    (user, vendor, condition): (IamUserName, VendorName, Condition),
    named: &BTreeMap<&IamUserName, &VendorName>,
) -> (IamUserName, VendorName, Condition) {
    let now = named.get(&user).filter(|_| condition == Condition::NoWorkingKey);
    let vendor = now.map_or(vendor, |now| (*now).clone());
    (user, vendor, condition)
}

fn is_about(item: &Item, condition: Condition) -> bool {
    matches!(item, Item::Firing { alert, .. } | Item::Over { alert, .. } if alert.condition == condition)
}

struct SimSink {
    sim: Sim,
    name: SinkName,
}

#[async_trait]
impl Sink for SimSink {
    async fn tell(&self, notification: &Notification, now: Timestamp, _holds_until: Timestamp) -> Answer<()> {
        let is_lost = {
            let mut state = self.sim.lock();
            let (is_calm, true_now, mistake) = (state.weather.is_calm, state.now(), state.mistake);
            let Readers { dice, by_sink, .. } = &mut state.readers;
            let reader = by_sink.get_mut(&self.name).expect("the sinks are fixed");
            if !is_calm && true_now >= reader.down_until && dice.per_mille(30) {
                reader.down_until = true_now + dice.span(Duration::from_mins(1), Duration::from_hours(12));
            }
            if !is_calm && true_now < reader.down_until {
                reader.wrong.clear();
                return Err(Fault::refused(RefusalCode::NotSent, "nobody is there".to_owned()));
            }
            let mut heard = notification.clone();
            let unheard = match mistake {
                Mistake::NoKeyIsNoTrouble => Some(Condition::NoWorkingKey),
                Mistake::HoldIsNotTold => Some(Condition::Held),
                _ => None,
            };
            if let Some(unheard) = unheard {
                heard.items.retain(|item| !is_about(item, unheard));
            }
            if mistake == Mistake::EndIsNotTold {
                heard.items.retain(|item| !matches!(item, Item::Over { .. }));
            }
            let oddities = reader.hears(&heard, now);
            let is_lost = !is_calm && dice.per_mille(40);
            if is_lost {
                reader.is_in_doubt();
            }
            state.judge_telling(notification);
            let how = if is_lost { ", and the answer is lost" } else { "" };
            let told = keyround::core::alert::headline(notification);
            let untrue = notification.items.iter().filter_map(|item| state.is_untrue(item));
            let oddities: Vec<_> = oddities.into_iter().chain(untrue).collect();
            state.note(format!("{} hears: {told}{how}", self.name));
            for oddity in oddities {
                state.break_with(format!("{}: {oddity}", self.name));
            }
            is_lost
        };
        self.sim.pass(Duration::from_secs(1)).await;
        if is_lost { Err(Fault::unknown("no answer".to_owned())) } else { Ok(()) }
    }

    async fn probe(&self) -> Answer<String> {
        Ok("there".to_owned())
    }
}

/// A watcher that checks the receivers and passes each report to the status store; under
/// [`Mistake::TroubleIsOverlooked`] it hides stuck users from the store.
pub(super) struct Glasses {
    pub(super) sim: Sim,
    pub(super) status_store: Arc<StatusStore>,
}

impl Glasses {
    fn overlooks(&self, user_report: &UserReport) -> bool {
        self.sim.lock().mistake == Mistake::TroubleIsOverlooked
            && user_report.verdict.state == KeyState::Stuck
    }
}

impl Watcher for Glasses {
    fn appended(&self, _rotation: &Rotation, _event: &Event) {}

    fn reconciled(&self, subject: &Subject, user_report: &UserReport) {
        self.sim.lock().check_lasting(&subject.iam_user, user_report);
        if !self.overlooks(user_report) {
            self.status_store.reconciled(subject, user_report);
        }
    }

    fn unlisted(&self, user_report: &UserReport) {
        self.status_store.unlisted(user_report);
    }

    fn pass_begins(&self) {
        self.status_store.pass_begins();
    }

    fn pass_ended(&self, pass: &Pass) {
        self.sim.lock().check_readers(pass);
        let found = pass.found.iter().filter(|user_report| !self.overlooks(user_report));
        self.status_store.pass_ended(&Pass { found: found.cloned().collect(), ..pass.clone() });
    }
}

/// The fallback store of the delivery states, for when the journal cannot be written.
pub(super) struct SimSpare(pub(super) Sim);

impl FallbackStore for SimSpare {
    fn read(&self) -> BTreeMap<SinkName, DeliveryState> {
        self.0.lock().readers.spare.clone()
    }

    fn write(&self, memories: &BTreeMap<SinkName, DeliveryState>) {
        let mut state = self.0.lock();
        let before = std::mem::replace(&mut state.readers.spare, memories.clone());
        for (sink, memory) in memories.iter().filter(|(sink, memory)| before.get(*sink) != Some(memory)) {
            state.readers.remembered(sink, memory);
        }
    }
}
