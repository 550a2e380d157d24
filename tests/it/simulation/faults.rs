//! The kinds of fault, how often each one strikes in a play, and where each one has struck.
//!
//! A play has some kinds of fault often, some seldom and some not at all, because faults that are always present
//! hide one another.

use std::collections::{BTreeMap, BTreeSet};

use super::dice::Dice;

/// A kind of fault, or of interference by people.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Fault {
    // The process, at a call.
    KilledBefore,
    KilledInFlight,
    KilledAfter,
    // A call to AWS.
    AnswerLost,
    Late,
    ServerError,
    Throttled,
    Denied,
    Unreachable,
    // A request to the vendor.
    VendorAnswerLost,
    VendorLate,
    VendorError,
    VendorRefuses,
    VendorGone,
    VendorRedirects,
    VendorAnswersGarbage,
    VendorUnreachable,
    VendorForgets,
    // The vendor itself.
    VendorGoesBack,
    VendorMixesPairs,
    VendorAway,
    // The journal.
    Busy,
    DiskFull,
    CommitInDoubt,
    // The world.
    ReplicaFlaps,
    ClockSteps,
    StrangerMakesKey,
    StrangerTogglesKey,
    StrangerDeletesKey,
    // People.
    Reloaded,
    Renamed,
    SwitchedOff,
    Removed,
    Held,
    Resumed,
    ReactivationAsked,
    Abandoned,
    Stopped,
}

/// The faults that a call to AWS can meet.
pub(super) const AT_AWS: [Fault; 9] = [
    Fault::KilledBefore,
    Fault::KilledInFlight,
    Fault::KilledAfter,
    Fault::AnswerLost,
    Fault::Late,
    Fault::ServerError,
    Fault::Throttled,
    Fault::Denied,
    Fault::Unreachable,
];

/// The faults that a request to a vendor can meet.
pub(super) const AT_VENDOR: [Fault; 11] = [
    Fault::KilledBefore,
    Fault::KilledAfter,
    Fault::VendorAnswerLost,
    Fault::VendorLate,
    Fault::VendorError,
    Fault::VendorRefuses,
    Fault::VendorGone,
    Fault::VendorRedirects,
    Fault::VendorAnswersGarbage,
    Fault::VendorUnreachable,
    Fault::VendorForgets,
];

/// The faults that an append to the journal can meet.
pub(super) const AT_JOURNAL: [Fault; 5] =
    [Fault::KilledBefore, Fault::KilledAfter, Fault::Busy, Fault::DiskFull, Fault::CommitInDoubt];

/// What happens now and then without a call of the program: faults of the world, and acts of people.
pub(super) const IN_THE_WORLD: [Fault; 15] = [
    Fault::VendorAway,
    Fault::DiskFull,
    Fault::ClockSteps,
    Fault::StrangerMakesKey,
    Fault::StrangerTogglesKey,
    Fault::StrangerDeletesKey,
    Fault::Reloaded,
    Fault::Renamed,
    Fault::SwitchedOff,
    Fault::Removed,
    Fault::Held,
    Fault::Resumed,
    Fault::ReactivationAsked,
    Fault::Abandoned,
    Fault::Stopped,
];

const EVERY_STAGE: [&str; 8] = ["idle", "create", "prove", "deliver", "verify", "soak", "cool", "stuck"];
const UNDER_WAY: [&str; 7] = ["create", "prove", "deliver", "verify", "soak", "cool", "stuck"];
const DRIVEN: [&str; 6] = ["create", "prove", "deliver", "verify", "soak", "cool"];
/// The stages that make calls to AWS that change something there.
const CHANGING: [&str; 5] = ["create", "soak", "cool", "discard", "restore"];

/// Each pair of a stage and a fault that a campaign must have seen.
pub(super) fn table() -> BTreeSet<(&'static str, Fault)> {
    let at = |stages: &'static [&'static str], faults: &'static [Fault]| {
        stages.iter().flat_map(move |stage| faults.iter().map(move |fault| (*stage, *fault)))
    };
    let reading =
        &[Fault::ServerError, Fault::Throttled, Fault::Denied, Fault::Unreachable, Fault::KilledBefore];
    at(&["idle", "create", "suspect", "discard", "prove", "soak", "cool", "restore"], reading)
        .chain(at(&CHANGING, &[Fault::KilledInFlight, Fault::KilledAfter, Fault::AnswerLost, Fault::Late]))
        .chain(at(&["deliver"], &AT_VENDOR))
        .chain(at(
            &["verify", "soak", "cool"],
            &[
                Fault::VendorError,
                Fault::VendorRefuses,
                Fault::VendorAnswersGarbage,
                Fault::VendorUnreachable,
                Fault::VendorAnswerLost,
            ],
        ))
        .chain(at(&["verify", "soak", "cool"], &[Fault::VendorGoesBack]))
        .chain(at(&["soak"], &[Fault::VendorMixesPairs]))
        .chain(at(&["deliver", "soak", "cool"], &[Fault::VendorAway]))
        .chain(at(&DRIVEN, &AT_JOURNAL))
        .chain(at(&["prove"], &[Fault::ReplicaFlaps]))
        .chain(at(
            &EVERY_STAGE,
            &[Fault::ClockSteps, Fault::Reloaded, Fault::Renamed, Fault::Removed, Fault::SwitchedOff],
        ))
        .chain(at(
            &["idle", "create", "soak", "cool", "stuck"],
            &[Fault::StrangerTogglesKey, Fault::StrangerDeletesKey],
        ))
        .chain(at(&["idle", "stuck"], &[Fault::StrangerMakesKey]))
        .chain(at(&UNDER_WAY, &[Fault::Held, Fault::Resumed, Fault::Abandoned]))
        .chain(at(&["soak", "cool", "stuck"], &[Fault::ReactivationAsked]))
        .chain(at(&DRIVEN, &[Fault::Stopped]))
        .collect()
}

/// How often each fault strikes in one play.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    per_mille: BTreeMap<Fault, u32>,
    /// Whether nothing goes wrong any more.
    pub(super) is_calm: bool,
}

impl Weather {
    pub(super) fn new(dice: &mut Dice) -> Weather {
        let at_calls = AT_AWS.iter().chain(&AT_VENDOR).chain(&AT_JOURNAL);
        let mut per_mille = BTreeMap::new();
        for fault in at_calls {
            per_mille.insert(*fault, dice.one_of(&[0, 0, 4, 20, 60]));
        }
        for fault in [Fault::VendorGone, Fault::Busy] {
            per_mille.insert(fault, dice.one_of(&[0, 0, 2, 10]));
        }
        for fault in IN_THE_WORLD {
            per_mille.insert(fault, dice.one_of(&[0, 0, 100, 400]));
        }
        per_mille.insert(Fault::VendorGoesBack, dice.one_of(&[0, 0, 150, 500]));
        Weather { per_mille, is_calm: false }
    }

    /// Weather in which no fault strikes.
    pub(super) fn fair() -> Weather {
        Weather { per_mille: BTreeMap::new(), is_calm: true }
    }

    pub(super) fn strikes(&self, fault: Fault, dice: &mut Dice) -> bool {
        let chance = self.per_mille.get(&fault).copied().unwrap_or_default();
        !self.is_calm && chance > 0 && dice.per_mille(chance)
    }

    /// The first of these faults that strikes, if one does. The search begins at a random one.
    pub(super) fn pick(&self, faults: &[Fault], dice: &mut Dice) -> Option<Fault> {
        if self.is_calm {
            return None;
        }
        let from = dice.up_to(faults.len());
        let loop_passed = faults[from..].iter().chain(&faults[..from]);
        loop_passed.copied().find(|fault| self.strikes(*fault, dice))
    }
}

/// What the plays reached.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// How often each fault struck in each stage.
    pub(super) faults: BTreeMap<(&'static str, Fault), u64>,
    /// How often each code was given: events, waits, blockers, verdicts and endings.
    pub(super) codes: BTreeMap<String, u64>,
    /// How many claims about the status of keys were judged.
    pub(super) claims: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: Seen) {
        for (pair, times) in other.faults {
            *self.faults.entry(pair).or_default() += times;
        }
        self.claims += other.claims;
        for (code, times) in other.codes {
            *self.codes.entry(code).or_default() += times;
        }
    }
}
