//! Declares an incident at every point of a rotation and in each mode, in every schedule of a few faults.
//!
//! The checker knows which keys were declared exposed, in which mode and when. It checks the keys of the modelled AWS:
//!
//! - in the modes that cut first, each exposed key is Inactive after as many effects as there are exposed keys and
//!   faults together;
//! - in replace-first, the exposed key is set Inactive soon after the vendor has another one, and not before;
//! - no request to set an exposed key Active is sent, and at the end no exposed key is Active;
//! - in cut-and-hold, no key is made and none is delivered before an operator resumes.
//!
//! A scene is a world, a point, a mode and a key. The everyday tests run a sample of the scenes. All of them run with
//! `KEYROUND_WORLDS=all`; two faults in every world are a separate campaign:
//! `KEYROUND_WORLDS=all cargo test --release --test it crash_matrix::incident -- --include-ignored`.

use std::time::Duration;

use keyround::core::ids::AccessKeyId;
use keyround::core::rotation::{Blocker, Effect, Ending, Event, IncidentMode, Next, Plan, Waiting};

use super::odometer::Odometer;
use super::world::{Climate, Habit};
use super::{End, HOUR, Report, Run, all_worlds, laggy, plans, replay};

const MODES: [IncidentMode; 3] =
    [IncidentMode::ReplaceFirst, IncidentMode::CutFirst, IncidentMode::CutAndHold];
const STEPS_MAX: u32 = 250;

/// The point of the rotation at which the incident is declared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Point {
    BeforeEffect(u32),
    AtWait(u32),
}

/// The key that is declared exposed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Which {
    Old,
    New,
}

/// What an operator does after the declaration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    Nothing,
    HoldAndResume,
    Abandon,
    AskForIt,
    CutFirst,
}

/// Plausible mistakes that a rotation machine could make. The checker must catch each of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mistake {
    None,
    /// The old key soaks before it is set Inactive, as in any rotation.
    SoakIsKept,
    /// If the vendor has trouble with the new key, the exposed old key is set Active again, as in any rotation.
    GivesBack,
    /// The new key is made before the cut.
    CreatesFirst,
    /// The incident is kept in memory and not in the journal.
    LostInCrash,
    /// In cut-and-hold, the rotation continues after the cut without a `resume`.
    GoesOn,
}

#[derive(Clone, Copy, Debug)]
struct Scene {
    climate: Climate,
    point: Point,
    mode: IncidentMode,
    which: Which,
    then: Then,
    mistake: Mistake,
}

fn points() -> impl Iterator<Item = Point> {
    (1..=12).map(Point::BeforeEffect).chain((1..=8).map(Point::AtWait))
}

fn scenes(climate: Climate) -> impl Iterator<Item = Scene> {
    points().flat_map(move |point| {
        MODES.into_iter().flat_map(move |mode| {
            [Which::Old, Which::New].into_iter().map(move |which| Scene {
                climate,
                point,
                mode,
                which,
                then: Then::Nothing,
                mistake: Mistake::None,
            })
        })
    })
}

/// One in `one_in` of the scenes, or each of them with `KEYROUND_WORLDS=all`. `one_in` has no factor in common with the
/// numbers of points, modes and keys, so that a large enough sample includes all of these.
pub(super) fn sampled<T>(scenes: impl Iterator<Item = T>, one_in: usize) -> impl Iterator<Item = T> {
    let is_whole = std::env::var("KEYROUND_WORLDS").is_ok_and(|worlds| worlds == "all");
    scenes.step_by(if is_whole { 1 } else { one_in })
}

fn all_scenes() -> impl Iterator<Item = (Plan, Scene)> {
    all_worlds().flat_map(|(plan, climate)| scenes(climate).map(move |scene| (plan.clone(), scene)))
}

#[test]
fn incident_invariants_hold_in_sampled_scenes_under_one_fault() {
    let mut total = Report::default();
    for (plan, scene) in sampled(all_scenes(), 509) {
        total.add(enumerate(&plan, scene, 1));
    }
    total.print("incidents, faults <= 1");
    total.expect_sound();
}

#[test]
fn incident_invariants_hold_in_sampled_common_worlds_under_two_faults() {
    let worlds = [(0, Habit::Prompt), (0, Habit::GoesBack(95 * super::MINUTE)), (1, Habit::Prompt)];
    let scenes = worlds.into_iter().flat_map(|(plan, habit)| {
        scenes(Climate { habit, ..laggy() }).map(move |scene| (plans()[plan].clone(), scene))
    });
    let mut total = Report::default();
    for (plan, scene) in sampled(scenes, 61) {
        total.add(enumerate(&plan, scene, 2));
    }
    total.print("incidents, faults <= 2, common worlds");
    total.expect_sound();
}

#[test]
#[ignore = "a campaign of minutes: incidents with every schedule of two faults in every world"]
fn incident_invariants_hold_in_sampled_scenes_under_two_faults() {
    let mut total = Report::default();
    for (plan, scene) in sampled(all_scenes(), 211) {
        total.add(enumerate(&plan, scene, 2));
    }
    total.print("incidents, faults <= 2");
    total.expect_sound();
}

#[test]
fn operator_commands_after_an_incident_break_no_invariant() {
    let mut total = Report::default();
    let scenes = all_scenes().filter(|(_, scene)| scene.climate.stranger_before_effect.is_none());
    for (plan, scene) in sampled(scenes, 29) {
        for then in [Then::HoldAndResume, Then::Abandon, Then::AskForIt, Then::CutFirst] {
            total.add(enumerate(&plan, Scene { then, ..scene }, 0));
        }
    }
    total.print("levers after incidents");
    total.expect_sound();
}

#[test]
fn each_seeded_mistake_in_an_incident_is_caught() {
    let mistakes = [
        Mistake::SoakIsKept,
        Mistake::GivesBack,
        Mistake::CreatesFirst,
        Mistake::LostInCrash,
        Mistake::GoesOn,
    ];
    for mistake in mistakes {
        let faults_max = u32::from(mistake == Mistake::LostInCrash);
        let caught = all_worlds().find_map(|(plan, climate)| {
            scenes(climate).find_map(|scene| {
                let report = enumerate(&plan, Scene { mistake, ..scene }, faults_max);
                report.broken.into_iter().next().map(|broken| (scene, broken))
            })
        });
        let (scene, (why, choices)) = caught.unwrap_or_else(|| panic!("{mistake:?} is not caught"));
        println!("{mistake:?}: {why} ({scene:?}, choices {choices:?})");
    }
}

fn enumerate(plan: &Plan, scene: Scene, faults_max: u32) -> Report {
    let mut report = Report::default();
    let mut odometer = Odometer::default();
    while odometer.more() {
        let mut one = Play::new(plan, scene);
        let end = one.finish(&mut odometer, faults_max);
        if one.declared.is_none() && one.run.world.broken.is_none() {
            continue;
        }
        report.schedules += 1;
        report.calls_max = report.calls_max.max(one.run.world.calls);
        match (one.run.world.broken, end) {
            (Some(why), _) => {
                if scene.mistake == Mistake::None {
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

/// What the checker knows about the incident.
struct Declared {
    effects: u32,
    faults: u32,
    /// The number of keys that must be set Inactive before any other effect.
    to_cut: u32,
    is_cut: bool,
    /// The numbers of our keys and of deliveries at the declaration. While the incident is held, they must not change.
    given_out: (usize, usize),
    is_held: bool,
    then: Then,
}

struct Play {
    run: Run,
    scene: Scene,
    waits: u32,
    declared: Option<Declared>,
}

impl Play {
    fn new(plan: &Plan, scene: Scene) -> Play {
        let run = Run::new(plan, scene.climate, super::Mistake::None);
        Play { run, scene, waits: 0, declared: None }
    }

    fn finish(&mut self, odometer: &mut Odometer, faults_max: u32) -> End {
        let mut faults_left = faults_max;
        for _ in 0..STEPS_MAX {
            if self.run.world.broken.is_some() {
                return End::Done;
            }
            let next = self.run.rotation.next(self.run.world.now);
            if self.declared.is_none() && self.is_time(&next) {
                match self.declare(self.scene.mode, self.key()) {
                    true => continue,
                    false => return End::Done,
                }
            }
            if self.act_afterwards() {
                continue;
            }
            match next {
                Next::Wait { why: Waiting::IncidentHeld { .. }, .. } if self.must_look() => {}
                Next::Wait { why: Waiting::IncidentHeld { .. } | Waiting::Held { .. }, .. } => self.resume(),
                Next::Wait { until, .. } => {
                    self.waits += 1;
                    self.run.world.pass_until(until);
                }
                Next::Ended(ending) => return self.ended(ending),
                Next::Stuck(blocker) => {
                    if let Some(end) = self.answer(&blocker) {
                        return end;
                    }
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

    fn key(&self) -> Option<AccessKeyId> {
        let rotation = &self.run.rotation;
        match self.scene.which {
            Which::Old => rotation.old().cloned(),
            Which::New => rotation.stage().new_key().filter(|_| rotation.offered_at().is_some()).cloned(),
        }
    }

    fn declare(&mut self, mode: IncidentMode, key: Option<AccessKeyId>) -> bool {
        let Some(key) = key else { return false };
        let at = self.run.world.now;
        let rotation = &self.run.rotation;
        // A delivery of the new key may still be under way.
        let under_way = rotation.stage().new_key().filter(|_| rotation.offered_at().is_some()).cloned();
        let told = match (self.scene.mistake, mode) {
            (Mistake::CreatesFirst, _) => IncidentMode::ReplaceFirst,
            (Mistake::GoesOn, IncidentMode::CutAndHold) => IncidentMode::CutFirst,
            (_, mode) => mode,
        };
        let (by, why) = ("an operator".to_owned(), "it leaked".to_owned());
        let event = Event::IncidentDeclared { mode: told, key: key.clone(), cut_only: false, by, why, at };
        if self.scene.mistake == Mistake::LostInCrash {
            self.run.rotation.apply(&event).expect("it can follow");
        } else {
            self.run.append(event);
        }
        let world = &mut self.run.world;
        world.declare(&key, mode);
        if mode == IncidentMode::CutAndHold {
            world.offered().iter().for_each(|offered| world.declare(offered, mode));
            world.declare(&super::World::old(), mode);
            if let Some(key) = &under_way {
                world.declare(key, mode);
            }
        }
        let to_cut = match mode {
            IncidentMode::ReplaceFirst => 0,
            IncidentMode::CutFirst => 1,
            IncidentMode::CutAndHold => 2,
        };
        let given_out = world.given_out();
        let is_held = mode == IncidentMode::CutAndHold && !world.is_something_late();
        let then = if self.declared.is_none() { self.scene.then } else { Then::Nothing };
        let is_cut = mode == IncidentMode::ReplaceFirst;
        self.declared = Some(Declared { effects: 0, faults: 0, to_cut, is_cut, given_out, is_held, then });
        true
    }

    /// Plays the operator command of this scene when its time comes. Returns whether it did, because then the machine
    /// must be asked for its next step again.
    fn act_afterwards(&mut self) -> bool {
        let Some(declared) = &mut self.declared else { return false };
        let (at, by, why) = (self.run.world.now, "an operator".to_owned(), "to see".to_owned());
        let is_after = |effects| declared.effects >= effects;
        let event = match declared.then {
            Then::HoldAndResume => Event::Held { until: None, by, why, at },
            Then::Abandon if is_after(1) => Event::Abandoned { by, why, at },
            Then::AskForIt if is_after(1) => Event::ReactivationAsked { by, why, exposed: false, at },
            Then::CutFirst if is_after(2) => {
                let key = self.run.rotation.old().cloned();
                return self.declare(IncidentMode::CutFirst, key);
            }
            Then::Nothing | Then::Abandon | Then::AskForIt | Then::CutFirst => return false,
        };
        let is_legal = self.run.rotation.clone().apply(&event).is_ok();
        if declared.then == Then::AskForIt && is_legal {
            self.run.world.break_with("an exposed key is given back to somebody who did not say so");
        }
        if is_legal {
            self.run.world.waived_since = (declared.then == Then::HoldAndResume).then_some(at);
            declared.then = Then::Nothing;
            self.run.append(event);
        }
        is_legal
    }

    fn perform(&mut self, effect: &Effect, odometer: &mut Odometer, faults_left: &mut u32) {
        let before = *faults_left;
        let is_retiring = matches!(effect, Effect::Deactivate { .. }) && self.declared.is_some();
        if self.scene.mistake == Mistake::SoakIsKept && is_retiring {
            let soaked = self.run.world.now + HOUR;
            self.run.world.pass_until(soaked);
        }
        self.run.perform(effect, odometer, faults_left);
        if let Some(declared) = &mut self.declared {
            declared.effects += 1;
            declared.faults += before - *faults_left;
        }
        self.check_cut();
        self.run.world.pass_until(self.run.world.now + Duration::from_secs(1));
    }

    /// Checks that each effect after the declaration is a cut until all cuts are done. Each fault costs one more
    /// effect.
    fn check_cut(&mut self) {
        let Some(declared) = &mut self.declared else { return };
        if declared.is_cut || declared.effects < declared.to_cut + declared.faults {
            return;
        }
        declared.is_cut = true;
        let world = &mut self.run.world;
        if world.exposed().iter().any(|id| world.is_active(id)) {
            world.break_with("an exposed key is Active after the first effects");
        }
    }

    /// While an incident is held and a cut is still due, lets time pass for it, so that the cut comes before the
    /// operator resumes. Returns whether a cut is due.
    fn must_look(&mut self) -> bool {
        let Some(declared) = &self.declared else { return false };
        let is_due = self.run.rotation.is_cut_due();
        if is_due && !declared.is_cut {
            self.run.world.pass_until(self.run.world.now + Duration::from_secs(5));
        }
        is_due
    }

    fn resume(&mut self) {
        let world = &mut self.run.world;
        world.pass_until(world.now + HOUR);
        world.waived_since = None;
        if let Some(declared) = &mut self.declared
            && std::mem::take(&mut declared.is_held)
        {
            if world.given_out() != declared.given_out {
                world.break_with("a key was made or delivered before somebody resumed");
            }
            if world.exposed().iter().any(|id| world.is_active(id)) {
                world.break_with("the incident is held, and an exposed key is Active");
            }
        }
        let at = world.now;
        self.run.append(Event::Resumed { by: "an operator".to_owned(), at });
    }

    /// Does what an operator does about a blocker. `Some`: the play ends here.
    fn answer(&mut self, blocker: &Blocker) -> Option<End> {
        let world = &mut self.run.world;
        match blocker {
            Blocker::SlotFilledInIncident { other } => {
                if self.scene.which == Which::Old && self.scene.mode != IncidentMode::CutAndHold {
                    world.break_with("a slot is filled without a cause");
                }
                world.pass_until(world.now + 8 * HOUR);
                // The delivery never arrived, so the vendor still uses this key, and no operator would delete it.
                if world.is_held(other) {
                    return Some(End::Stuck(blocker.code()));
                }
                world.delete_by_hand(other);
            }
            Blocker::ExposedKeyNeeded { key, .. } => {
                if !world.went_back() {
                    world.break_with("the exposed key is needed without a cause");
                }
                if self.scene.mistake == Mistake::GivesBack {
                    drop(world.perform(&Effect::Reactivate { key: key.clone() }));
                }
                world.pass_until(world.now + 4 * HOUR);
            }
            _ if world.has_stranger() => return Some(End::Stuck(blocker.code())),
            _ => {
                println!("{blocker}");
                world.break_with("stuck without a cause");
            }
        }
        let at = world.now;
        self.run.append(Event::Resumed { by: "an operator".to_owned(), at });
        None
    }

    fn ended(&mut self, ending: Ending) -> End {
        if self.scene.mistake != Mistake::LostInCrash {
            assert_eq!(replay(&self.run.journal), self.run.rotation, "a restart would see another rotation");
        }
        let world = &mut self.run.world;
        if self.run.rotation.needs_secret() {
            world.break_with("the secret outlives the rotation");
        }
        if self.declared.is_none() {
            return End::Done;
        }
        let is_given_up = ending == Ending::Abandoned;
        let may_stay = is_given_up && self.scene.mode == IncidentMode::ReplaceFirst;
        if !may_stay && world.exposed().iter().any(|id| world.is_active(id)) {
            world.break_with("at the end an exposed key is Active");
        }
        match is_given_up {
            true if self.run.rotation.offered_at().is_none() && world.count_ours() > 2 => {
                world.break_with("a key of ours was left behind");
            }
            true => {}
            false => world.check_at_rest(),
        }
        End::Done
    }
}
