//! Proves promises 1 to 4, 6 and 7 of `src/lib.rs` ("What always holds"): the rotation machine runs through
//! every schedule of a few faults, over a model of AWS and the vendor.
//!
//! A fault is one of these: the process is killed before or after an effect, the effect is refused, its answer is
//! lost, or a process that was paused performs it late. The worlds differ in how late listings, usability and
//! last-used dates appear, in the vendor's habits, and in whether another person creates a key. The tests run
//! `faults <= 2` in every world. The campaign runs `faults <= 3` in every twelfth world and takes minutes; in every
//! world it takes hours:
//! `KEYROUND_WORLDS=all cargo test --release --test it crash_matrix -- --ignored`.
//!
//! [`Mistake`] seeds plausible mistakes, to prove that the checker works: it must catch each of them.

mod by_hand;
mod incident;
mod issue;
mod odometer;
mod offboard;
mod two_writes;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use keyround::core::ids::{RotationId, Subject};
use keyround::core::rotation::{
    Blocker, Effect, Ending, Event, KeyUsage, Next, Outcome, Plan, RefusalCode, Rotation, Stage,
    Verification, Windows,
};
use keyround::core::time::Timestamp;

use crate::support::trail;
use odometer::Odometer;
use world::{Climate, Habit, WITNESSED, World, no, no_answer};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
/// The bound on the steps of one schedule, above what any rotation with a few faults needs. A schedule that reaches
/// it counts as an endless loop.
const STEPS_MAX: u32 = 150;

#[test]
fn no_schedule_of_two_faults_breaks_a_vendor() {
    let mut total = Report::default();
    for (plan, climate) in all_worlds() {
        total.add(enumerate(&plan, climate, Mistake::None, 2));
    }
    total.print("faults <= 2");
    total.expect_sound();
    assert!(total.stuck.contains_key("no_free_slot") && total.stuck.contains_key("unknown_key"));
}

#[test]
fn no_schedule_of_three_faults_breaks_a_vendor_in_the_common_worlds() {
    let mut total = Report::default();
    for (plan, climate) in all_worlds() {
        if climate.habit == Habit::Prompt
            && plan.windows == Windows::any_time()
            && climate.stranger_before_effect.is_none()
            && !climate.usage_lag.is_zero()
        {
            total.add(enumerate(&plan, climate, Mistake::None, 3));
        }
    }
    total.print("faults <= 3, common worlds");
    total.expect_sound();
}

#[test]
#[ignore = "a campaign of minutes: every schedule of three faults in each twelfth world, in all with KEYROUND_WORLDS=all"]
fn no_schedule_of_three_faults_breaks_a_vendor_in_sampled_worlds() {
    let mut total = Report::default();
    let every = if std::env::var("KEYROUND_WORLDS").is_ok_and(|worlds| worlds == "all") { 1 } else { 12 };
    for (plan, climate) in all_worlds().step_by(every) {
        total.add(enumerate(&plan, climate, Mistake::None, 3));
    }
    total.print("faults <= 3");
    total.expect_sound();
}

/// An operator command, which the schedule issues before one of the effects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum OperatorAction {
    HoldAndResume,
    Reactivate,
    Abandon,
}

#[test]
fn hold_reactivate_or_abandon_at_any_effect_breaks_no_vendor() {
    let mut total = Report::default();
    for (plan, climate) in all_worlds() {
        for lever in [OperatorAction::HoldAndResume, OperatorAction::Reactivate, OperatorAction::Abandon] {
            for effect in 1..=10 {
                let pulled = Some((effect, lever));
                total.add(enumerate_pulled(&plan, climate, Mistake::None, 1, pulled));
            }
        }
    }
    total.print("levers, faults <= 1");
    total.expect_sound();
}

#[test]
fn each_seeded_mistake_is_caught() {
    for mistake in Mistake::ALL {
        let caught = all_worlds().find_map(|(plan, climate)| {
            let report = enumerate(&plan, climate, mistake, 1);
            report.broken.into_iter().next()
        });
        let (why, choices) = caught.unwrap_or_else(|| panic!("{mistake:?} is not caught"));
        println!("{mistake:?}: {why} (choices {choices:?})");
    }
}

/// Mistakes that an engine or a rotation machine could plausibly make.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mistake {
    None,
    /// Effects are performed without a journal entry before them.
    ForgetIntent,
    /// A lost answer is treated as a refusal.
    TimeoutIsRefusal,
    /// The SDK's own retry is left on for CreateAccessKey.
    RetryCreate,
    /// The new key is delivered before a probe proved that AWS knows it.
    DeliverUnproved,
    /// A vendor that accepted the delivery is treated as one that uses the new key, and the gates are skipped.
    BelieveAcceptance,
    /// The gates of the soak are treated as passed.
    SkipGates,
    /// Our own probe is treated as the vendor's use.
    ProbeIsUse,
    /// CloudTrail's event of our own probe is treated as a witness of the vendor's use.
    ProbeIsWitness,
    /// The new key is deleted when its delivery fails.
    TakeBackOnFailure,
    /// At the quota the other key is deleted to make room.
    DeleteOtherAtQuota,
    /// A key that turned up after an unanswered CreateAccessKey is deleted even if it was used.
    DiscardUsedKey,
    /// The old key is deleted as soon as it is Inactive.
    DeleteWithoutCooling,
    /// A new delivery round has the webhook id of the delivery that the vendor lost.
    ReuseWebhookId,
    /// While the old key cools, a vendor that does not answer is treated as one that confirmed the new key.
    SilenceIsConsent,
}

impl Mistake {
    const ALL: [Mistake; 14] = [
        Mistake::ForgetIntent,
        Mistake::TimeoutIsRefusal,
        Mistake::RetryCreate,
        Mistake::DeliverUnproved,
        Mistake::BelieveAcceptance,
        Mistake::SkipGates,
        Mistake::ProbeIsUse,
        Mistake::ProbeIsWitness,
        Mistake::TakeBackOnFailure,
        Mistake::DeleteOtherAtQuota,
        Mistake::DiscardUsedKey,
        Mistake::DeleteWithoutCooling,
        Mistake::ReuseWebhookId,
        Mistake::SilenceIsConsent,
    ];

    /// The plan of the mistaken program, for a mistake that is one of configuration.
    fn plan(self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        match self {
            Mistake::DeleteWithoutCooling => plan.cool = Duration::ZERO,
            Mistake::SkipGates => (plan.require_use, plan.quiet_for) = (false, Duration::ZERO),
            _ => {}
        }
        plan
    }

    /// What the mistaken program does in the world.
    fn perform(self, world: &mut World, effect: &Effect) -> Outcome {
        let at = world.now;
        match (self, effect) {
            (Mistake::DeliverUnproved, Effect::Probe { .. }) => Outcome::Happened(Event::Probed { at }),
            (Mistake::BelieveAcceptance, Effect::Verify { .. }) => {
                Outcome::Happened(Event::Verified { by: Verification::Acceptance, at })
            }
            (Mistake::ReuseWebhookId, Effect::Deliver { key, .. }) => {
                world.perform(&Effect::Deliver { key: key.clone(), round: 1 })
            }
            (_, _) => world.perform(effect),
        }
    }

    /// The outcome as the mistaken program interprets it.
    fn believe(self, effect: &Effect, seen: Outcome, at: Timestamp) -> Outcome {
        match (self, effect, seen) {
            (Mistake::SilenceIsConsent, Effect::Verify { .. }, Outcome::Unknown(_)) => {
                Outcome::Happened(Event::Verified { by: Verification::Asked, at })
            }
            (Mistake::TimeoutIsRefusal, _, Outcome::Unknown(_)) => no(RefusalCode::Other),
            (
                Mistake::DiscardUsedKey | Mistake::ProbeIsUse | Mistake::ProbeIsWitness,
                Effect::ReadUsage { keys },
                Outcome::Happened(Event::UsageRead { mut usage, at }),
            ) => {
                let suspect = keys.len() == 1 && self == Mistake::DiscardUsedKey;
                for seen in usage.values_mut() {
                    match seen {
                        KeyUsage::Used { service, .. } if self == Mistake::ProbeIsUse => {
                            "s3".clone_into(service);
                        }
                        KeyUsage::Used { last_used_at, service, region: None, witness: slot }
                            if self == Mistake::ProbeIsWitness && *service == "sts" =>
                        {
                            *slot = Some(Box::new(trail::witness(*last_used_at, WITNESSED)));
                        }
                        KeyUsage::Used { .. } if suspect => *seen = KeyUsage::Never,
                        _ => {}
                    }
                }
                Outcome::Happened(Event::UsageRead { usage, at })
            }
            (_, _, seen) => seen,
        }
    }
}

/// Plans that differ in the evidence that they require before the old key is retired.
fn plans() -> Vec<Plan> {
    let asked = Plan {
        soak: HOUR,
        require_use: false,
        quiet_for: Duration::ZERO,
        // Long enough for the vendor checks at 5 minutes, 15 minutes and an hour, and for a vendor that goes back
        // to the old key between them.
        cool: 2 * HOUR,
        prove_successes: 1,
        can_ask_vendor: true,
        ..Plan::default()
    };
    let seen_in_use = Plan { require_use: true, quiet_for: HOUR, can_ask_vendor: false, ..asked.clone() };
    let both = Plan { require_use: true, quiet_for: HOUR, prove_successes: 2, ..asked.clone() };
    let seen_only = Plan { quiet_for: Duration::ZERO, ..seen_in_use.clone() };
    // A window of one minute a week, which ends just as the first attempts to retire the key are made.
    let minute = vec!["Fri 09:00-09:01".parse().expect("a window")];
    let in_window = Plan {
        soak: HOUR + Duration::from_secs(45),
        windows: Windows::new(chrono_tz::UTC, minute),
        ..asked.clone()
    };
    vec![asked, seen_in_use, seen_only, both, in_window]
}

fn laggy() -> Climate {
    Climate {
        listing_lag: Duration::from_secs(30),
        usable_lag: Duration::from_secs(20),
        usage_lag: 20 * MINUTE,
        cloudtrail: false,
        habit: Habit::Prompt,
        stranger_before_effect: None,
    }
}

fn all_worlds() -> impl Iterator<Item = (Plan, Climate)> {
    let calm = Climate {
        listing_lag: Duration::ZERO,
        usable_lag: Duration::ZERO,
        usage_lag: Duration::ZERO,
        cloudtrail: true,
        ..laggy()
    };
    let habits = [
        Habit::Prompt,
        Habit::Slow(150 * Duration::from_secs(1)),
        Habit::Slow(3 * HOUR),
        Habit::Seldom(3 * HOUR),
        Habit::Forgets,
        Habit::GoesBack(30 * MINUTE),
        Habit::GoesBack(95 * MINUTE),
        Habit::GoesBackInSilence(95 * MINUTE),
    ];
    let strangers = [None, Some(1), Some(2), Some(4)];
    plans()
        .into_iter()
        .flat_map(move |plan| {
            [calm, laggy()].into_iter().flat_map(move |climate| {
                let plan = plan.clone();
                habits.into_iter().flat_map(move |habit| {
                    let plan = plan.clone();
                    strangers.into_iter().map(move |stranger_before_effect| {
                        (plan.clone(), Climate { habit, stranger_before_effect, ..climate })
                    })
                })
            })
        })
        // The program cannot tell its own key from one that another person creates while a CreateAccessKey is
        // unanswered and whose use is not published yet. That is a documented limit, so these worlds publish use at
        // once.
        .map(|(plan, climate)| match climate.stranger_before_effect {
            Some(_) => (plan, Climate { usage_lag: Duration::ZERO, ..climate }),
            None => (plan, climate),
        })
        // A vendor that has no check and is only seen through last-used dates cannot be seen to have lost the key.
        // Its rotation waits safely and without end, so no schedule of it would finish.
        .filter(|(plan, climate)| plan.can_ask_vendor || climate.habit != Habit::Forgets)
        // The plan with the window tests timing, so it does not need the worlds in which another person creates a key.
        .filter(|(plan, climate)| {
            plan.windows == Windows::any_time() || climate.stranger_before_effect.is_none()
        })
        // A vendor's silence matters only where the plan has a vendor check.
        .filter(|(plan, climate)| {
            plan.can_ask_vendor || !matches!(climate.habit, Habit::GoesBackInSilence(_))
        })
}

/// The counts of many schedules, and the choices of those that broke an invariant.
#[derive(Default)]
struct Report {
    schedules: u64,
    done: u64,
    stuck: BTreeMap<&'static str, u64>,
    broken: Vec<(&'static str, Vec<usize>)>,
    calls_max: u32,
}

impl Report {
    fn add(&mut self, other: Report) {
        self.schedules += other.schedules;
        self.done += other.done;
        self.calls_max = self.calls_max.max(other.calls_max);
        self.broken.extend(other.broken);
        for (why, count) in other.stuck {
            *self.stuck.entry(why).or_default() += count;
        }
    }

    fn print(&self, what: &str) {
        println!(
            "{what}: {} schedules, {} done, stuck with cause {:?}, at most {} calls, {} broken",
            self.schedules,
            self.done,
            self.stuck,
            self.calls_max,
            self.broken.len()
        );
    }

    fn expect_sound(&self) {
        assert!(self.broken.is_empty(), "{:?}", &self.broken[..self.broken.len().min(5)]);
        assert!(self.done > 0, "no schedule came to its end");
    }
}

fn enumerate(plan: &Plan, climate: Climate, mistake: Mistake, faults_max: u32) -> Report {
    enumerate_pulled(plan, climate, mistake, faults_max, None)
}

/// Runs every schedule of at most `faults_max` faults in one world, optionally with an operator command before one
/// effect. With a seeded mistake it stops at the first schedule that breaks, because one shows that it is caught.
fn enumerate_pulled(
    plan: &Plan,
    climate: Climate,
    mistake: Mistake,
    faults_max: u32,
    pulled: Option<(u32, OperatorAction)>,
) -> Report {
    let mut report = Report::default();
    let mut odometer = Odometer::default();
    while odometer.more() {
        report.schedules += 1;
        let mut run = Run { pulled, ..Run::new(plan, climate, mistake) };
        let end = run.finish(&mut odometer, faults_max);
        report.calls_max = report.calls_max.max(run.world.calls);
        match (run.world.broken, end) {
            (Some(why), _) => report.broken.push((why, odometer.choices())),
            (None, End::Done) => report.done += 1,
            (None, End::Stuck(why)) => *report.stuck.entry(why).or_default() += 1,
        }
        if mistake != Mistake::None && !report.broken.is_empty() {
            break;
        }
    }
    report
}

/// How a schedule ended. `Stuck` carries the code of its cause.
enum End {
    Done,
    Stuck(&'static str),
}

/// One schedule: a minimal driver, whose process dies when the odometer says so.
struct Run {
    world: World,
    journal: Vec<Event>,
    rotation: Rotation,
    mistake: Mistake,
    climate: Climate,
    effects: u32,
    pulled: Option<(u32, OperatorAction)>,
}

impl Run {
    fn new(plan: &Plan, climate: Climate, mistake: Mistake) -> Run {
        let world = World::new(climate, plan);
        let subject = Subject {
            vendor: "acme".parse().expect("a vendor"),
            account: None,
            iam_user: "vendor-acme".parse().expect("a user"),
        };
        let started = Event::Started {
            subject,
            old: World::old(),
            old_created_at: Timestamp::EPOCH,
            reason: "too_old".to_owned(),
            plan: mistake.plan(plan),
            account_id: None,
            at: world.now,
        };
        let journal = vec![started];
        let rotation = replay(&journal);
        Run { world, journal, rotation, mistake, climate, effects: 0, pulled: None }
    }

    fn finish(&mut self, odometer: &mut Odometer, faults_max: u32) -> End {
        let mut faults_left = faults_max;
        for _ in 0..STEPS_MAX {
            if self.world.broken.is_some() {
                return End::Done;
            }
            match self.rotation.next(self.world.now) {
                Next::Wait { until, .. } => self.world.pass_until(until),
                Next::Ended(Ending::Done) => return self.ended(),
                Next::Ended(Ending::Abandoned | Ending::Cut | Ending::Offboarded) => return self.abandoned(),
                Next::Stuck(blocker) if self.mistake == Mistake::DeleteOtherAtQuota => {
                    self.make_room(&blocker);
                }
                Next::Stuck(blocker) => return self.stuck(&blocker),
                Next::Perform(effect) => {
                    self.perform(&effect, odometer, &mut faults_left);
                    // A wait ends exactly on the second, and an effect takes some time. The machine must be right
                    // in both cases.
                    self.world.pass_until(self.world.now + Duration::from_secs(1));
                }
            }
        }
        self.world.break_with("it never ends");
        End::Done
    }

    fn ended(&mut self) -> End {
        assert_eq!(replay(&self.journal), self.rotation, "a restart would see another rotation");
        if self.rotation.needs_secret() {
            self.world.break_with("the secret outlives the rotation");
        }
        self.world.check_at_rest();
        End::Done
    }

    fn abandoned(&mut self) -> End {
        if self.rotation.needs_secret() {
            self.world.break_with("the secret outlives the rotation");
        }
        self.world.check_abandoned(self.rotation.offered_at().is_some());
        End::Stuck("abandoned")
    }

    fn stuck(&mut self, blocker: &Blocker) -> End {
        self.world.check_stuck();
        if !self.world.has_stranger() {
            self.world.break_with("stuck without a cause");
        }
        End::Stuck(blocker.code())
    }

    /// For [`Mistake::DeleteOtherAtQuota`]: deletes the other key and resumes the rotation.
    fn make_room(&mut self, blocker: &Blocker) {
        if let Blocker::NoFreeSlot { other } = blocker {
            drop(self.world.delete(other));
        }
        let at = self.world.now;
        self.append(Event::Resumed { by: "a script".to_owned(), at });
    }

    fn perform(&mut self, effect: &Effect, odometer: &mut Odometer, faults_left: &mut u32) {
        self.effects += 1;
        if let Some((at_effect, lever)) = self.pulled
            && at_effect == self.effects
            && self.pull(lever)
        {
            return;
        }
        if self.climate.stranger_before_effect == Some(self.effects) {
            self.world.stranger_makes_a_key();
        }
        let now = self.world.now;
        if let Some(intent) = self.rotation.intend(effect, now)
            && self.mistake != Mistake::ForgetIntent
        {
            self.append(intent);
        }
        let fault = Run::pick_fault(effect, odometer, *faults_left);
        *faults_left -= u32::from(fault != Fault::None);
        let seen = match fault {
            Fault::None => self.mistake.perform(&mut self.world, effect),
            Fault::KilledBefore => return self.restart(),
            Fault::KilledAfter => {
                drop(self.mistake.perform(&mut self.world, effect));
                return self.restart();
            }
            Fault::Refused => no(RefusalCode::Other),
            Fault::AnswerLost => self.lose_answer(effect),
            Fault::Late => {
                self.world.perform_late(effect);
                no_answer()
            }
        };
        let believed = self.mistake.believe(effect, seen, self.world.now);
        let event = self.rotation.settle(effect, believed, self.world.now);
        self.append(event);
        if self.mistake == Mistake::TakeBackOnFailure {
            self.take_back();
        }
    }

    /// Whether the machine accepted the operator command, so that its next effect must be computed again.
    fn pull(&mut self, lever: OperatorAction) -> bool {
        let (at, by, why) = (self.world.now, "an operator".to_owned(), "to see".to_owned());
        let event = match lever {
            OperatorAction::HoldAndResume => {
                self.append(Event::Held { until: None, by: by.clone(), why, at });
                let next = self.rotation.next(at);
                let goes_on = matches!(&next, Next::Perform(effect) if !effect.is_held_back());
                assert!(goes_on || matches!(next, Next::Wait { .. }), "{next:?}");
                self.world.pass_until(at + HOUR);
                Event::Resumed { by, at: self.world.now }
            }
            OperatorAction::Reactivate => Event::ReactivationAsked { by, why, exposed: false, at },
            OperatorAction::Abandon => Event::Abandoned { by, why, at },
        };
        let mut tried = self.rotation.clone();
        if tried.apply(&event).is_ok() {
            self.append(event);
            return true;
        }
        false
    }

    /// Performs the effect without returning its answer. [`Mistake::RetryCreate`] then sends CreateAccessKey once more.
    fn lose_answer(&mut self, effect: &Effect) -> Outcome {
        drop(self.mistake.perform(&mut self.world, effect));
        if self.mistake == Mistake::RetryCreate && *effect == Effect::CreateKey {
            return match self.world.perform(effect) {
                Outcome::Refused(refusal) => Outcome::Refused(refusal),
                Outcome::Happened(event) => Outcome::Happened(event),
                Outcome::Unknown(doubt) => Outcome::Unknown(doubt),
            };
        }
        no_answer()
    }

    /// For [`Mistake::TakeBackOnFailure`]: deletes the new key after a failed delivery.
    fn take_back(&mut self) {
        if let Stage::Deliver { new, .. } = self.rotation.stage().clone()
            && self.rotation.last_fault().is_some()
        {
            drop(self.world.delete(&new));
        }
    }

    fn pick_fault(effect: &Effect, odometer: &mut Odometer, faults_left: u32) -> Fault {
        if faults_left == 0 {
            return Fault::None;
        }
        // An effect that only reads has the same result before a kill, after it, and late.
        let reads = [Fault::None, Fault::KilledBefore, Fault::Refused, Fault::AnswerLost];
        let changes = [
            Fault::None,
            Fault::KilledBefore,
            Fault::KilledAfter,
            Fault::Refused,
            Fault::AnswerLost,
            Fault::Late,
        ];
        let choices: &[Fault] = if effect.intent().is_none() { &reads } else { &changes };
        choices[odometer.pick(choices.len())]
    }

    fn restart(&mut self) {
        self.rotation = replay(&self.journal);
    }

    fn append(&mut self, event: Event) {
        match self.rotation.apply(&event) {
            Ok(()) => self.journal.push(event),
            Err(_) if self.mistake == Mistake::ForgetIntent => {
                self.world.break_with("an effect that was not intended is refused by the journal");
            }
            Err(illegal) => panic!("{illegal}"),
        }
    }
}

/// What happens to one effect and to its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    None,
    KilledBefore,
    KilledAfter,
    Refused,
    AnswerLost,
    Late,
}

fn replay(journal: &[Event]) -> Rotation {
    let id: RotationId = "00000000-0000-8000-8000-000000000001".parse().expect("an id");
    Rotation::replay(id, journal).unwrap_or_else(|illegal| panic!("{illegal}"))
}
