//! `keyround issue`, a key for a user without an Active one, in every schedule of a few faults.
//!
//! The checker knows the keys of the modelled AWS and the key that the vendor holds:
//!
//! - at the end the vendor holds a key that works, no other key that was made is left, and the secret is erased;
//! - if the user has an Inactive key, it is not touched;
//! - no key is made when the last listing showed an Active one;
//! - if the issue is abandoned before the vendor was offered the key, no key that was made is left.
//!
//! The everyday tests run a sample of the worlds. All of them run with `KEYROUND_WORLDS=all`.

use std::time::Duration;

use keyround::core::rotation::{Effect, Ending, Event, IncidentMode, KeyStatus, Next, Outcome, Plan, Stage};
use keyround::core::time::Timestamp;

use super::incident::sampled;
use super::odometer::Odometer;
use super::world::{Climate, Habit, World};
use super::{End, Mistake, OperatorAction, Report, Run, all_worlds, replay};

const STEPS_MAX: u32 = 150;

/// Plausible mistakes that a rotation machine could make. The checker must catch each of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wrong {
    Nothing,
    /// The SDK's own retry is left on for CreateAccessKey.
    RetriesCreate,
    /// The last listing overlooks a second key that an unanswered CreateAccessKey made.
    KeepsSecondKey,
    /// A key that another person set Active meanwhile is overlooked.
    OverlooksActiveKey,
    /// The new key is delivered without a proof that AWS knows it.
    DeliversUnproved,
}

#[derive(Clone, Copy, Debug)]
struct Scene {
    climate: Climate,
    /// Whether the user has an Inactive key.
    left: bool,
    /// An operator command, and the number of the effect before which it is given.
    lever: Option<(u32, OperatorAction)>,
    /// The number of the effect before which the new key is declared exposed, if the vendor was offered it.
    exposed_before: Option<u32>,
    wrong: Wrong,
}

fn scenes() -> impl Iterator<Item = (Plan, Scene)> {
    // Without an old key, a vendor cannot go back to it.
    let worlds = all_worlds()
        .filter(|(_, climate)| !matches!(climate.habit, Habit::GoesBack(_) | Habit::GoesBackInSilence(_)));
    worlds.flat_map(|(plan, climate)| {
        [false, true].into_iter().map(move |left| {
            let scene = Scene { climate, left, lever: None, exposed_before: None, wrong: Wrong::Nothing };
            (plan.clone(), scene)
        })
    })
}

#[test]
fn no_schedule_of_two_faults_leaves_a_vendor_without_its_key_or_with_two() {
    let mut total = Report::default();
    for (plan, scene) in sampled(scenes(), 17) {
        total.add(enumerate(&plan, scene, 2));
    }
    total.print("issue, faults <= 2");
    total.expect_sound();
    assert!(total.stuck.contains_key("has_active_key"));
}

#[test]
fn no_lever_at_any_time_leaves_a_key_behind() {
    let mut total = Report::default();
    for (plan, scene) in sampled(scenes(), 13) {
        for effect in 1..=9 {
            for lever in [OperatorAction::HoldAndResume, OperatorAction::Abandon] {
                total.add(enumerate(&plan, Scene { lever: Some((effect, lever)), ..scene }, 1));
            }
        }
    }
    total.print("issue, levers, faults <= 1");
    total.expect_sound();
}

#[test]
fn a_new_key_that_leaks_before_the_vendor_was_verified_is_replaced() {
    let mut total = Report::default();
    let calm = |scene: &Scene| {
        scene.climate.habit == Habit::Prompt && scene.climate.stranger_before_effect.is_none() && !scene.left
    };
    for (plan, scene) in scenes().filter(|(_, scene)| calm(scene)) {
        for effect in 3..=8 {
            total.add(enumerate(&plan, Scene { exposed_before: Some(effect), ..scene }, 0));
        }
    }
    total.print("issue, incidents");
    total.expect_sound();
}

#[test]
fn each_seeded_mistake_in_an_issue_is_caught() {
    for wrong in
        [Wrong::RetriesCreate, Wrong::KeepsSecondKey, Wrong::OverlooksActiveKey, Wrong::DeliversUnproved]
    {
        let caught = scenes().find_map(|(plan, scene)| {
            let report = enumerate(&plan, Scene { wrong, ..scene }, 1);
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
        report.schedules += 1;
        let mut one = Play::new(plan, scene);
        let end = one.finish(&mut odometer, faults_max);
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

struct Play {
    run: Run,
    scene: Scene,
    listed_at: Timestamp,
    is_declared: bool,
}

impl Play {
    fn new(plan: &Plan, scene: Scene) -> Play {
        let mistake = match scene.wrong {
            Wrong::RetriesCreate => Mistake::RetryCreate,
            Wrong::DeliversUnproved => Mistake::DeliverUnproved,
            Wrong::Nothing | Wrong::KeepsSecondKey | Wrong::OverlooksActiveKey => Mistake::None,
        };
        let run = Run::new(plan, scene.climate, mistake);
        let world = World::without_key(scene.climate, plan, scene.left);
        let asked = Event::IssueAsked {
            subject: run.rotation.subject().clone(),
            plan: plan.clone(),
            account_id: None,
            by: "an operator".to_owned(),
            at: world.now,
        };
        let journal = vec![asked];
        let rotation = replay(&journal);
        let listed_at = Timestamp::EPOCH;
        let run = Run { world, journal, rotation, pulled: scene.lever, ..run };
        Play { run, scene, listed_at, is_declared: false }
    }

    fn finish(&mut self, odometer: &mut Odometer, faults_max: u32) -> End {
        let mut faults_left = faults_max;
        for _ in 0..STEPS_MAX {
            if self.run.world.broken.is_some() {
                return End::Done;
            }
            match self.run.rotation.next(self.run.world.now) {
                Next::Wait { until, .. } => self.run.world.pass_until(until),
                Next::Ended(ending) => return self.ended(ending),
                Next::Stuck(blocker) => {
                    if self.scene.climate.stranger_before_effect.is_none() {
                        self.run.world.break_with("stuck without a cause");
                    }
                    return End::Stuck(blocker.code());
                }
                Next::Perform(effect) => {
                    if !self.declare() {
                        self.perform(&effect, odometer, &mut faults_left);
                    }
                }
            }
        }
        self.run.world.break_with("it never ends");
        End::Done
    }

    /// Declares the incident of this scene when its time comes. Returns whether it did, because then the machine must
    /// be asked for its next step again.
    fn declare(&mut self) -> bool {
        let rotation = &self.run.rotation;
        let is_time = self.scene.exposed_before.is_some_and(|effect| self.run.effects + 1 >= effect);
        let key = rotation.new_key().filter(|_| rotation.offered_at().is_some()).cloned();
        let Some(key) = key.filter(|_| is_time && !self.is_declared) else { return false };
        self.is_declared = true;
        let (by, why, at) = ("an operator".to_owned(), "it leaked".to_owned(), self.run.world.now);
        let mode = IncidentMode::CutFirst;
        self.run.append(Event::IncidentDeclared { mode, key: key.clone(), cut_only: false, by, why, at });
        self.run.world.declare(&key, mode);
        true
    }

    fn perform(&mut self, effect: &Effect, odometer: &mut Odometer, faults_left: &mut u32) {
        if *effect == Effect::CreateKey && self.run.world.showed_strange_active_key(self.listed_at) {
            self.run.world.break_with("a key was made beside an Active one");
        }
        let events = self.run.journal.len();
        let is_clearing = matches!(self.run.rotation.stage(), Stage::Clear { .. });
        if *effect == Effect::ListKeys {
            self.listed_at = self.run.world.now;
            if let Some(hidden) = self.hidden(is_clearing) {
                let event = self.run.rotation.settle(effect, hidden, self.run.world.now);
                return self.run.append(event);
            }
        }
        self.run.perform(effect, odometer, faults_left);
        assert!(self.run.journal.len() <= events + 2);
        self.run.world.pass_until(self.run.world.now + Duration::from_secs(1));
    }

    /// The listing as a machine with the seeded mistake reads it; `None` if it reads it correctly.
    fn hidden(&mut self, is_clearing: bool) -> Option<Outcome> {
        let is_hidden = match self.scene.wrong {
            Wrong::KeepsSecondKey => is_clearing,
            Wrong::OverlooksActiveKey => true,
            _ => false,
        };
        if !is_hidden {
            return None;
        }
        let Outcome::Happened(Event::Listed { mut keys, at }) = self.run.world.perform(&Effect::ListKeys)
        else {
            return None;
        };
        keys.retain(|key| !is_clearing && key.status != KeyStatus::Active);
        Some(Outcome::Happened(Event::Listed { keys, at }))
    }

    fn ended(&mut self, ending: Ending) -> End {
        assert_eq!(replay(&self.run.journal), self.run.rotation, "a restart would see another rotation");
        let (rotation, world) = (&self.run.rotation, &mut self.run.world);
        if rotation.needs_secret() {
            world.break_with("the secret outlives the rotation");
        }
        if ending == Ending::Done {
            world.check_at_rest();
            if world.exposed().iter().any(|id| world.is_active(id)) {
                world.break_with("at the end an exposed key is Active");
            }
            return End::Done;
        }
        world.pass_until(world.now + Duration::from_hours(24));
        let kept = usize::from(rotation.offered_at().is_some());
        if world.count_ours() > kept {
            world.break_with("given up, and a key of ours was left behind");
        }
        End::Stuck("abandoned")
    }
}
