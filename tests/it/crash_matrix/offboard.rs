//! `keyround offboard` at every point of a rotation, in every schedule of a few faults.
//!
//! The checker sees the keys of the modelled AWS:
//!
//! - each key of the vendor's user is Inactive after as many effects as there are keys and faults together;
//! - no key is deleted before it was Inactive for its cooling time, and at the end none of our keys is left;
//! - a key that another person makes later is not touched;
//! - if an operator takes the offboarding back, the vendor has a key that works, and no key is set Inactive or deleted
//!   after that.
//!
//! The everyday tests run a sample of the scenes. All of them run with `KEYROUND_WORLDS=all`.

use std::time::Duration;

use keyround::core::rotation::{Effect, Ending, Event, KeyMetadata, Next, Outcome, Plan};

use super::incident::sampled;
use super::odometer::Odometer;
use super::world::{Climate, World};
use super::{End, HOUR, Report, Run, all_worlds, replay};

const STEPS_MAX: u32 = 250;

/// The point of the rotation at which the vendor is offboarded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Point {
    BeforeEffect(u32),
    AtWait(u32),
}

/// What an operator does after the offboarding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    Nothing,
    HoldAndResume,
    Reactivate,
    Abandon,
}

/// Plausible mistakes that a rotation machine could make. The checker must catch each of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wrong {
    Nothing,
    /// A key is deleted as soon as it is Inactive.
    DeletesWithoutCooling,
    /// Of two keys, only the old one is set Inactive.
    ForgetsTheSecond,
    /// A later `reactivate` is ignored.
    IgnoresReactivate,
    /// The rotation continues as if it was not offboarded.
    GoesOn,
}

#[derive(Clone, Copy, Debug)]
struct Scene {
    climate: Climate,
    point: Point,
    then: Then,
    wrong: Wrong,
}

fn scenes() -> impl Iterator<Item = (Plan, Scene)> {
    let points = || (1..=12).map(Point::BeforeEffect).chain((1..=8).map(Point::AtWait));
    all_worlds().flat_map(move |(plan, climate)| {
        points().map(move |point| {
            let scene = Scene { climate, point, then: Then::Nothing, wrong: Wrong::Nothing };
            (plan.clone(), scene)
        })
    })
}

#[test]
fn no_offboarding_at_any_point_breaks_its_promise_whatever_two_faults_do() {
    let mut total = Report::default();
    for (plan, scene) in sampled(scenes(), 241) {
        total.add(enumerate(&plan, scene, 2));
    }
    total.print("offboard, faults <= 2");
    total.expect_sound();
}

#[test]
fn no_offboarding_at_any_point_breaks_its_promise_whatever_one_fault_does() {
    let mut total = Report::default();
    for (plan, scene) in sampled(scenes(), 29) {
        total.add(enumerate(&plan, scene, 1));
    }
    total.print("offboard, faults <= 1");
    total.expect_sound();
}

#[test]
fn no_lever_after_an_offboarding_breaks_a_vendor() {
    let mut total = Report::default();
    for (plan, scene) in sampled(scenes(), 43) {
        for then in [Then::HoldAndResume, Then::Reactivate, Then::Abandon] {
            total.add(enumerate(&plan, Scene { then, ..scene }, 1));
        }
    }
    total.print("offboard, levers, faults <= 1");
    total.expect_sound();
}

#[test]
fn each_seeded_mistake_in_an_offboarding_is_caught() {
    for wrong in
        [Wrong::DeletesWithoutCooling, Wrong::ForgetsTheSecond, Wrong::IgnoresReactivate, Wrong::GoesOn]
    {
        let then = if wrong == Wrong::IgnoresReactivate { Then::Reactivate } else { Then::Nothing };
        let caught = scenes().find_map(|(plan, scene)| {
            let report = enumerate(&plan, Scene { then, wrong, ..scene }, 0);
            report.broken.into_iter().next().map(|broken| (scene, broken))
        });
        let (scene, (why, choices)) = caught.unwrap_or_else(|| panic!("{wrong:?} is not caught"));
        println!("{wrong:?}: {why} ({scene:?}, choices {choices:?})");
    }
}

fn enumerate(plan: &Plan, scene: Scene, faults_max: u32) -> Report {
    let mut report = Report::default();
    let mut odometer = Odometer::default();
    while odometer.more() {
        let mut one = Play::new(plan, scene);
        let end = one.finish(&mut odometer, faults_max);
        if one.asked.is_none() && one.run.world.broken.is_none() {
            continue;
        }
        report.schedules += 1;
        report.calls_max = report.calls_max.max(one.run.world.calls);
        match (one.run.world.broken, end) {
            (Some(why), _) => {
                if scene.wrong == Wrong::Nothing {
                    println!("{why}: {scene:?} {:?} {plan:?}", odometer.choices());
                }
                report.broken.push((why, odometer.choices()));
                break;
            }
            (None, End::Done) => report.done += 1,
            (None, End::Stuck(why)) => *report.stuck.entry(why).or_default() += 1,
        }
    }
    report
}

/// What the checker knows about the offboarding.
struct Asked {
    effects: u32,
    faults: u32,
    /// The number of effects after which every key must be Inactive if there is no fault.
    keys: u32,
    is_cut: bool,
    /// An earlier request was still under way when the vendor was offboarded. It may undo a cut, so the number of
    /// effects is not checked.
    is_late: bool,
    then: Then,
}

struct Play {
    run: Run,
    scene: Scene,
    waits: u32,
    asked: Option<Asked>,
}

impl Play {
    fn new(plan: &Plan, scene: Scene) -> Play {
        let mut run = Run::new(plan, scene.climate, super::Mistake::None);
        if scene.wrong == Wrong::DeletesWithoutCooling {
            let short = Plan { cool: Duration::ZERO, ..plan.clone() };
            let Event::Started { plan, .. } = &mut run.journal[0] else { unreachable!("it is started") };
            *plan = short;
            run.rotation = replay(&run.journal);
        }
        Play { run, scene, waits: 0, asked: None }
    }

    fn finish(&mut self, odometer: &mut Odometer, faults_max: u32) -> End {
        let mut faults_left = faults_max;
        for _ in 0..STEPS_MAX {
            if self.run.world.broken.is_some() {
                return End::Done;
            }
            let next = self.run.rotation.next(self.run.world.now);
            if self.asked.is_none() && self.is_time(&next) {
                self.ask();
                continue;
            }
            if self.act_afterwards() {
                continue;
            }
            match next {
                Next::Wait { until, .. } => {
                    self.waits += 1;
                    self.run.world.pass_until(until);
                }
                Next::Ended(ending) => return self.ended(ending),
                Next::Stuck(blocker) => {
                    if self.asked.is_some() {
                        self.run.world.break_with("stuck while the vendor is offboarded");
                    }
                    return End::Stuck(blocker.code());
                }
                Next::Perform(effect) => self.perform(&effect, odometer, &mut faults_left),
            }
        }
        self.run.world.break_with("it never ends");
        End::Done
    }

    fn is_time(&self, next: &Next) -> bool {
        match (self.scene.point, next) {
            (Point::BeforeEffect(number), Next::Perform(_)) => self.run.effects + 1 == number,
            (Point::AtWait(number), Next::Wait { .. }) => self.waits + 1 == number,
            _ => false,
        }
    }

    fn ask(&mut self) {
        let at = self.run.world.now;
        let Outcome::Happened(Event::Listed { keys, .. }) = self.run.world.perform(&Effect::ListKeys) else {
            panic!("the world lists its keys")
        };
        let named: Vec<KeyMetadata> = keys;
        let (by, why) = ("an operator".to_owned(), "they are gone".to_owned());
        let event = Event::OffboardAsked { begins: None, keys: named.clone(), by, why, at };
        match self.scene.wrong {
            Wrong::GoesOn => {}
            _ => self.run.append(event),
        }
        self.run.world.offboard(named.iter().map(|key| key.id.clone()));
        let own = u32::from(self.run.rotation.new_key().is_some());
        let keys = u32::try_from(named.len()).expect("two at most") + own + 1;
        let is_late = self.run.world.is_something_late();
        self.asked =
            Some(Asked { is_late, effects: 0, faults: 0, keys, is_cut: false, then: self.scene.then });
    }

    /// Plays the operator command of this scene when its time comes. Returns whether it did, because then the machine
    /// must be asked for its next step again.
    fn act_afterwards(&mut self) -> bool {
        let Some(asked) = &mut self.asked else { return false };
        let (at, by, why) = (self.run.world.now, "an operator".to_owned(), "to see".to_owned());
        if asked.then == Then::Nothing || asked.effects < asked.keys {
            return false;
        }
        let event = match asked.then {
            Then::HoldAndResume => Event::Held { until: Some(at + HOUR), by, why, at },
            Then::Reactivate => Event::ReactivationAsked { by, why, exposed: false, at },
            Then::Nothing | Then::Abandon => Event::Abandoned { by, why, at },
        };
        if self.run.rotation.clone().apply(&event).is_err() {
            return false;
        }
        if asked.then == Then::Reactivate {
            self.run.world.take_offboarding_back();
        }
        asked.then = Then::Nothing;
        if self.scene.wrong != Wrong::IgnoresReactivate {
            self.run.append(event);
        }
        true
    }

    fn perform(&mut self, effect: &Effect, odometer: &mut Odometer, faults_left: &mut u32) {
        let before = *faults_left;
        let takes_away = matches!(effect, Effect::Deactivate { .. } | Effect::Delete { .. });
        if takes_away && self.run.world.is_taken_back() {
            self.run.world.break_with("the offboarding was taken back, and a key is taken away");
        }
        if let Effect::Deactivate { key, .. } = effect
            && self.scene.wrong == Wrong::ForgetsTheSecond
            && self.asked.is_some()
            && *key != World::old()
        {
            return self.forget(effect);
        }
        self.run.perform(effect, odometer, faults_left);
        if let Some(asked) = &mut self.asked {
            asked.effects += 1;
            asked.faults += before - *faults_left;
            if !asked.is_cut && asked.effects >= asked.keys + asked.faults && asked.then != Then::Reactivate {
                asked.is_cut = true;
                if self.scene.then != Then::Reactivate && !asked.is_late {
                    self.run.world.check_named_cut();
                }
            }
        }
        self.run.world.pass_until(self.run.world.now + Duration::from_secs(1));
    }

    /// Records the cut in the journal as done without sending it: the mistake [`Wrong::ForgetsTheSecond`].
    fn forget(&mut self, effect: &Effect) {
        let at = self.run.world.now;
        if let Some(intent) = self.run.rotation.intend(effect, at) {
            self.run.append(intent);
        }
        self.run.append(Event::Deactivated { at, request_id: None });
        if let Some(asked) = &mut self.asked {
            asked.effects += 1;
        }
    }

    fn ended(&mut self, ending: Ending) -> End {
        assert_eq!(replay(&self.run.journal), self.run.rotation, "a restart would see another rotation");
        let world = &mut self.run.world;
        if self.run.rotation.needs_secret() {
            world.break_with("the secret outlives the rotation");
        }
        if self.asked.is_none() {
            return End::Done;
        }
        world.pass_until(world.now + 24 * HOUR);
        match ending {
            Ending::Offboarded if world.count_ours() > 0 => world.break_with("a key of ours was left behind"),
            Ending::Offboarded => {}
            Ending::Done => world.break_with("the vendor was offboarded, and got a key"),
            Ending::Abandoned | Ending::Cut if world.is_taken_back() => world.check_given_back(),
            Ending::Abandoned | Ending::Cut => world.check_cut(),
        }
        End::Done
    }
}
