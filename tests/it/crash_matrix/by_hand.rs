//! A delivery by hand in every schedule of a few faults: the key is revealed to a person, or the command is killed
//! during that; the person takes the key to the vendor at once or much later; acknowledges it, acknowledges it too
//! early, or never; and an operator abandons the rotation at the worst time. Proves promises 1, 2 and 7 of
//! `src/lib.rs` for `kind = "manual"`.
//!
//! [`Slip`] seeds plausible mistakes, and the checker must catch each of them.

use super::*;
use keyround::core::ids::AccessKeyId;
use keyround::core::rotation::Waiting;

/// Reading last-used while there is no acknowledgement takes more steps than any other wait.
const STEPS_BY_HAND_MAX: u32 = 600;
/// How many readings of last-used may fail in one schedule.
const READS_WITH_FAULTS: u32 = 2;
/// Longer than the soak and the quiet time together.
const MUCH_LATER: Duration = Duration::from_hours(30);

#[test]
fn no_schedule_of_two_faults_in_a_manual_delivery_breaks_a_vendor() {
    let mut total = Report::default();
    for scene in scenes() {
        total.add(enumerate(&scene, 2));
    }
    total.print("by hand, faults <= 2");
    total.expect_sound();
}

#[test]
fn abandoning_a_manual_delivery_at_any_step_breaks_no_vendor() {
    let mut total = Report::default();
    for scene in scenes() {
        for given_up_before in 1..=6 {
            total.add(enumerate(&Scene { given_up_before: Some(given_up_before), ..scene.clone() }, 1));
        }
    }
    total.print("by hand and given up, faults <= 1");
    assert!(total.broken.is_empty(), "{:?}", &total.broken[..total.broken.len().min(5)]);
    assert!(total.stuck["abandoned"] > 0 && total.done > 0);
}

#[test]
fn each_seeded_mistake_in_a_manual_delivery_is_caught() {
    for slip in Slip::ALL {
        let mut scenes = scenes().flat_map(|scene| {
            [Some(2), Some(3), Some(4), None].map(|given_up_before| Scene {
                slip,
                given_up_before,
                ..scene.clone()
            })
        });
        let caught = scenes.find_map(|scene| {
            let broken = enumerate(&scene, 1).broken.into_iter().next();
            // The checks of a vendor that can be asked prevent the harm of some slips, so other scenes must show it.
            broken.filter(|(why, _)| *why == slip.harm()).map(|(why, choices)| (why, choices, scene.person))
        });
        let (why, choices, person) = caught.unwrap_or_else(|| panic!("{slip:?} is not caught"));
        println!("{slip:?}: {why} ({person:?}, choices {choices:?})");
    }
}

/// Mistakes that an implementation of the delivery by hand could plausibly make.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Slip {
    None,
    /// The key is shown before the journal records that.
    ShowFirst,
    /// The secret is erased as soon as the key was shown.
    EraseWhenShown,
    /// An acknowledgement is treated as a use of the new key.
    WordIsUse,
    /// A call to STS with the new key is treated as the vendor's use.
    TryIsUse,
    /// The secret is kept after the delivery, in case a person asks for it again.
    KeepSecret,
}

impl Slip {
    const ALL: [Slip; 5] =
        [Slip::ShowFirst, Slip::EraseWhenShown, Slip::WordIsUse, Slip::TryIsUse, Slip::KeepSecret];

    /// The violation that the checker must report for this slip.
    fn harm(self) -> &'static str {
        match self {
            Slip::None => "nothing",
            Slip::ShowFirst | Slip::WordIsUse | Slip::TryIsUse => "the vendor's key was taken away",
            Slip::EraseWhenShown => "nobody can be shown the key any more",
            Slip::KeepSecret => "the secret outlives the hand-over",
        }
    }
}

/// The person who takes the key to the vendor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Person {
    /// Takes the key at once, and acknowledges it.
    Prompt,
    /// Takes the key at once, and acknowledges nothing.
    Silent,
    /// Acknowledges at once, and takes the key much later.
    Hasty,
    /// Tries the key at STS, again after twenty minutes, takes it much later, and acknowledges nothing.
    Curious,
    /// Tries the key, acknowledges it, and takes it much later.
    CuriousAndHasty,
}

impl Person {
    const ALL: [Person; 5] =
        [Person::Prompt, Person::Silent, Person::Hasty, Person::Curious, Person::CuriousAndHasty];

    fn delay(self) -> Duration {
        match self {
            Person::Prompt | Person::Silent => Duration::ZERO,
            Person::Hasty | Person::Curious | Person::CuriousAndHasty => MUCH_LATER,
        }
    }

    fn tries(self) -> bool {
        matches!(self, Person::Curious | Person::CuriousAndHasty)
    }

    fn speaks(self) -> bool {
        matches!(self, Person::Prompt | Person::Hasty | Person::CuriousAndHasty)
    }
}

fn scenes() -> impl Iterator<Item = Scene> {
    let of_world = |(plan, climate): (Plan, Climate)| {
        Person::ALL.map(|person| Scene {
            plan: plan.clone(),
            climate,
            person,
            slip: Slip::None,
            given_up_before: None,
        })
    };
    // A lost delivery is noticed only if the person acknowledges it and the vendor can be asked. Otherwise the
    // rotation waits, safely and without end, so no schedule of it would finish.
    worlds().flat_map(of_world).filter(|scene| {
        scene.climate.habit != Habit::Forgets || (scene.plan.can_ask_vendor && scene.person.speaks())
    })
}

fn worlds() -> impl Iterator<Item = (Plan, Climate)> {
    // `require_use` is false here, to prove that a plan for a delivery by hand requires a use all the same.
    let asked = Plan { by_hand: true, ..plans()[0].clone() };
    let unasked = Plan { can_ask_vendor: false, ..asked.clone() };
    let quiet = Plan { quiet_for: HOUR, ..unasked.clone() };
    let calm = Climate {
        listing_lag: Duration::ZERO,
        usable_lag: Duration::ZERO,
        usage_lag: Duration::ZERO,
        ..laggy()
    };
    let habits = [Habit::Prompt, Habit::Slow(3 * HOUR), Habit::Forgets, Habit::GoesBack(6 * HOUR)];
    [asked, unasked, quiet].into_iter().flat_map(move |plan| {
        [calm, laggy()].into_iter().flat_map(move |climate| {
            let plan = plan.clone();
            habits.into_iter().map(move |habit| (plan.clone(), Climate { habit, ..climate }))
        })
    })
}

/// One combination of a plan, a world and the behaviour of people.
#[derive(Clone, Debug)]
struct Scene {
    plan: Plan,
    climate: Climate,
    person: Person,
    slip: Slip,
    /// An operator abandons the rotation in place of this act of the person.
    given_up_before: Option<u32>,
}

fn enumerate(scene: &Scene, faults_max: u32) -> Report {
    let mut report = Report::default();
    let mut odometer = Odometer::default();
    while odometer.more() {
        report.schedules += 1;
        let run = Run::new(&scene.plan, scene.climate, Mistake::None);
        let mut play = Play {
            run,
            scene,
            acts: 0,
            reads: 0,
            faults_left: faults_max,
            seen: false,
            erased: false,
            handed: 0,
        };
        let end = play.play_on(&mut odometer);
        report.calls_max = report.calls_max.max(play.run.world.calls);
        match (play.run.world.broken, end) {
            (Some(why), _) => report.broken.push((why, odometer.choices())),
            (None, End::Done) => report.done += 1,
            (None, End::Stuck(why)) => *report.stuck.entry(why).or_default() += 1,
        }
        if scene.slip != Slip::None && !report.broken.is_empty() {
            break;
        }
    }
    report
}

struct Play<'s> {
    run: Run,
    scene: &'s Scene,
    acts: u32,
    reads: u32,
    faults_left: u32,
    /// Whether the key was revealed to the person.
    seen: bool,
    /// Whether the secret was erased by mistake.
    erased: bool,
    /// The round of the last delivery that the person has taken to the vendor, or will take.
    handed: u32,
}

impl Play<'_> {
    fn play_on(&mut self, odometer: &mut Odometer) -> End {
        for _ in 0..STEPS_BY_HAND_MAX {
            if self.run.world.broken.is_some() {
                return End::Done;
            }
            self.check_secret();
            match self.run.rotation.next(self.run.world.now) {
                Next::Wait { until, why: Waiting::Reveal { .. } | Waiting::HandOver { .. } } => {
                    if !self.act(odometer) {
                        self.run.world.pass_until(until);
                    }
                }
                Next::Wait { until, .. } => self.run.world.pass_until(until),
                Next::Ended(Ending::Done) => return self.run.ended(),
                Next::Ended(Ending::Abandoned | Ending::Cut | Ending::Offboarded) => {
                    return self.run.abandoned();
                }
                Next::Stuck(blocker) => return self.run.stuck(&blocker),
                Next::Perform(effect) => {
                    self.perform(&effect, odometer);
                    self.run.world.pass_until(self.run.world.now + Duration::from_secs(1));
                }
            }
        }
        self.run.world.break_with("it never ends");
        End::Done
    }

    /// The secret is kept as long as the key may have to be revealed, and is erased after that.
    fn check_secret(&mut self) {
        let (stage, kept) = (self.run.rotation.stage(), self.run.rotation.needs_secret());
        let is_needed = matches!(stage, Stage::HandOver { .. } | Stage::Verify { .. });
        let is_over = matches!(stage, Stage::Soak { .. } | Stage::Cool { .. });
        if is_needed && !kept {
            self.run.world.break_with("the secret is gone before the vendor has it");
        }
        if is_over && (kept || self.scene.slip == Slip::KeepSecret) {
            self.run.world.break_with("the secret outlives the hand-over");
        }
    }

    fn perform(&mut self, effect: &Effect, odometer: &mut Odometer) {
        let reads = matches!(effect, Effect::ReadUsage { .. });
        self.reads += u32::from(reads);
        if !(reads && matches!(self.scene.slip, Slip::WordIsUse | Slip::TryIsUse)) {
            // Readings resemble one another, so only the first few meet faults.
            let spared = &mut 0;
            let faults_left = if self.reads > READS_WITH_FAULTS { spared } else { &mut self.faults_left };
            return self.run.perform(effect, odometer, faults_left);
        }
        let seen = self.misread(effect);
        let event = self.run.rotation.settle(effect, seen, self.run.world.now);
        self.run.append(event);
    }

    fn misread(&mut self, effect: &Effect) -> Outcome {
        let Outcome::Happened(Event::UsageRead { mut usage, at }) = self.run.world.perform(effect) else {
            return no_answer();
        };
        let said = self.run.journal.iter().any(|event| matches!(event, Event::Acknowledged { .. }));
        let new = self.run.rotation.stage().new_key().cloned();
        for (key, seen) in &mut usage {
            let is_try = matches!(seen, KeyUsage::Used { service, .. } if service == "sts");
            let by_word = self.scene.slip == Slip::WordIsUse && said && Some(key) == new.as_ref();
            if by_word || (self.scene.slip == Slip::TryIsUse && is_try) {
                *seen = KeyUsage::Used {
                    last_used_at: at,
                    service: "s3".to_owned(),
                    region: None,
                    witness: None,
                };
            }
        }
        Outcome::Happened(Event::UsageRead { usage, at })
    }

    /// Performs the next act of the person, or of the operator. Returns whether there was one.
    fn act(&mut self, odometer: &mut Odometer) -> bool {
        let Stage::HandOver { new, round, .. } = self.run.rotation.stage().clone() else { return false };
        self.acts += 1;
        if self.scene.given_up_before == Some(self.acts) {
            return self.run.pull(OperatorAction::Abandon);
        }
        if !self.seen {
            self.reveal(&new, odometer);
        } else if self.handed < round {
            self.handed = round;
            self.run.world.hand_over_after(self.scene.person.delay(), &new, round);
            if self.scene.person.tries() {
                self.run.world.try_after(Duration::ZERO, &new);
                self.run.world.try_after(20 * MINUTE, &new);
            }
            self.run.world.pass_until(self.run.world.now + Duration::from_secs(1));
        } else if self.scene.person.speaks() && self.has_something_to_say() {
            let event = Event::Acknowledged { by: "somebody".to_owned(), at: self.run.world.now };
            self.run.append(event);
        } else {
            return false;
        }
        true
    }

    /// A person who acknowledged a delivery that the vendor does not confirm acknowledges again some hours later.
    fn has_something_to_say(&self) -> bool {
        let mut said =
            self.run.journal.iter().rev().filter(|event| matches!(event, Event::Acknowledged { .. }));
        let lately = said.next().is_some_and(|event| event.at() + 6 * HOUR > self.run.world.now);
        self.run.rotation.revealed_at().is_some() && !lately
    }

    /// `keyround reveal`, which may be killed at any point.
    fn reveal(&mut self, new: &AccessKeyId, odometer: &mut Odometer) {
        if self.erased {
            return self.run.world.break_with("nobody can be shown the key any more");
        }
        let faults = [Fault::None, Fault::KilledBefore, Fault::KilledAfter];
        let fault = if self.faults_left == 0 { Fault::None } else { faults[odometer.pick(faults.len())] };
        self.faults_left -= u32::from(fault != Fault::None);
        let again = self.run.rotation.revealed_at().is_some();
        let why = again.then(|| "it was not seen".to_owned());
        let event =
            Event::Revealed { by: "somebody".to_owned(), why, recipient: None, at: self.run.world.now };
        let (first, second) = match self.scene.slip {
            Slip::ShowFirst => (Half::Show, Half::Record(Box::new(event))),
            _ => (Half::Record(Box::new(event)), Half::Show),
        };
        if fault != Fault::KilledBefore {
            self.half(first);
            if fault == Fault::None {
                self.half(second);
            }
        }
        if fault != Fault::None {
            self.run.restart();
        }
        assert!(self.run.rotation.stage().new_key() == Some(new));
        self.run.world.pass_until(self.run.world.now + MINUTE);
    }

    fn half(&mut self, half: Half) {
        match half {
            Half::Record(event) => {
                self.run.append(*event);
                self.erased = self.scene.slip == Slip::EraseWhenShown;
            }
            Half::Show => self.seen = true,
        }
    }
}

/// One of the two steps of `keyround reveal`.
enum Half {
    Record(Box<Event>),
    Show,
}
