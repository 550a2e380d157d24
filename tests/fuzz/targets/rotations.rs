//! The rotation machine under any events, and in any world.
//!
//! There are two modes. *Told*: events in any order, most of them illegal, as a damaged or forged journal contains
//! them. *Driven*: a world performs the machine's own effects and answers anything at any time, with crashes, a
//! clock that goes back, and operator commands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keyround::adapters::journal::{decode, encode};
use keyround::core::ids::{AccessKeyId, RotationId, Subject};
use keyround::core::rotation::{
    Doubt, Effect, EffectKind, Event, Intent, KeyMetadata, KeyStatus, KeyUsage, Next, Outcome, Plan, Refusal,
    RefusalCode, RemovalReason, Rotation, Stage, Verification, Windows,
};
use keyround::core::time::Timestamp;
use keyround::engine::entry_after;
use keyround::ports::SecretChange;

use super::bytes::Bytes;

const STEPS_MAX: usize = 120;
const START_UNIX_SECS: i64 = 1_800_000_000;
const HOUR_SECS: i64 = 3600;

/// The steps of the clock, which may be set back.
const CLOCK_STEPS_SECS: [i64; 8] =
    [0, 1, 6, 60, HOUR_SECS, 24 * HOUR_SECS, 8 * 24 * HOUR_SECS, -2 * HOUR_SECS];
/// Spans that a plan may have, and below them spans that only a forged journal has.
const SPANS_SECS: [u64; 7] = [0, 1, 60, 3600, 86_400, 7 * 86_400, 3650 * 86_400];
const FORGED_SPANS_SECS: [u64; 4] = [0, 86_400, u64::MAX, i64::MAX as u64];
/// A request cannot arrive later than this after it was signed, so a listing after that shows its result.
const LATEST_ARRIVAL: Duration = Duration::from_mins(15);
/// Evidence that is older than this must not lead to a key being deactivated or deleted.
const EVIDENCE_FRESH: Duration = Duration::from_mins(15);
const DOINGS: [EffectKind; 9] = [
    EffectKind::List,
    EffectKind::Create,
    EffectKind::Probe,
    EffectKind::Deliver,
    EffectKind::Verify,
    EffectKind::ReadUsage,
    EffectKind::Deactivate,
    EffectKind::Reactivate,
    EffectKind::Delete,
];
const KEYS: [&str; 4] =
    ["AKIAOLD0000000000001", "AKIANEW0000000000001", "AKIANEW0000000000002", "AKIAOTHER00000000001"];

/// Whatever a journal contains and whatever the world does: nothing panics, every wait ends later than now, no key
/// is deactivated or deleted that must not be, and an ended rotation stays ended.
pub fn rotations(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    match bytes.flag() {
        false => told(&mut bytes),
        true => Drive::new(&mut bytes).run(),
    }
}

/// Calls every query of a rotation.
pub(super) fn look_at(rotation: &Rotation, now: Timestamp) {
    let next = rotation.next(now);
    assert_eq!(next, rotation.next(now), "the same rotation and time give the same answer");
    match &next {
        Next::Wait { until, why } => {
            assert!(*until > now || now == Timestamp::NEVER, "at {now} it waits until {until}: {why:?}");
            assert!(!why.until(*until).is_empty() && !why.code().is_empty());
        }
        Next::Perform(effect) => {
            let mut ahead = rotation.clone();
            if let Some(intent) = rotation.intend(effect, now) {
                ahead.apply(&intent).expect("an intent of the machine's own can be written down");
                // A delivery is the exception: each attempt of one is recorded.
                let is_delivery = matches!(effect, Effect::Deliver { .. });
                assert!(is_delivery || ahead.intend(effect, now).is_none(), "an intent is written down once");
            }
        }
        Next::Stuck(blocker) => assert!(!blocker.code().is_empty() && !blocker.to_string().is_empty()),
        Next::Ended(ending) => assert!(!rotation.needs_secret(), "a secret is kept after {ending:?}"),
    }
    if let Stage::Stuck { resume, .. } = rotation.stage() {
        assert!(!matches!(**resume, Stage::Stuck { .. }), "it is stuck in being stuck");
    }
}

fn told(bytes: &mut Bytes<'_>) {
    let mut now = Timestamp::from_unix(START_UNIX_SECS);
    let mut journal = vec![started(bytes, &FORGED_SPANS_SECS, now)];
    let mut rotation = Rotation::replay(id(), &journal).expect("it begins with started");
    while !bytes.is_empty() && journal.len() < STEPS_MAX {
        now = moved(now, bytes.pick(&CLOCK_STEPS_SECS));
        let event = any_event(bytes, now);
        let Some(after) = follow(&rotation, &event) else { continue };
        journal.push(event);
        rotation = after;
        look_at(&rotation, now);
        look_at(&rotation, moved(now, bytes.pick(&CLOCK_STEPS_SECS)));
    }
    check_journal(&journal, &rotation);
}

/// The rotation after the event; `None` when the event cannot follow. The engine and the replay must agree on that.
pub(super) fn follow(before: &Rotation, event: &Event) -> Option<Rotation> {
    let mut after = before.clone();
    let applied = after.apply(event);
    let mut driven = before.clone();
    let entry = entry_after(&mut driven, event, None);
    assert_eq!(applied.is_ok(), entry.is_ok());
    let Ok(entry) = entry else { return None };
    assert_eq!(driven, after);
    assert_eq!(entry.number, before.events() + 1);
    let ended = |rotation: &Rotation| match rotation.next(Timestamp::NEVER) {
        Next::Ended(ending) => Some(ending),
        Next::Perform(_) | Next::Wait { .. } | Next::Stuck(_) => None,
    };
    assert_eq!(entry.ends, ended(&after).is_some());
    let erased = entry.secret == SecretChange::Erase;
    assert_eq!(
        erased,
        before.needs_secret() && !after.needs_secret(),
        "a secret that nobody needs is erased"
    );
    if let Some(ending) = ended(before) {
        assert_eq!(ended(&after), Some(ending), "{} has made it go on", event.name());
    }
    let is_taken_back =
        matches!(event, Event::Refused { doing: EffectKind::Deliver, refusal, .. } if refusal.nothing_sent);
    if before.offered_at().is_some() && !is_taken_back {
        assert_eq!(after.offered_at(), before.offered_at(), "a repeat would be another message");
    }
    Some(after)
}

/// Asserts that a replay of the journal gives the rotation, and that each event is stored without a loss.
fn check_journal(journal: &[Event], rotation: &Rotation) {
    assert_eq!(Rotation::replay(id(), journal).as_ref(), Ok(rotation));
    for event in journal {
        assert_eq!(decode(&encode(event)).as_ref(), Ok(event));
    }
}

/// The last attempt to set the old key Inactive.
#[derive(Clone, Copy)]
struct Tried {
    at: Timestamp,
    /// Whether an attempt got no answer, in which case a refusal of the next one does not settle it.
    is_unanswered: bool,
}

/// A world that answers anything, and what the checks need to remember of it.
struct Drive<'b, 'a> {
    bytes: &'b mut Bytes<'a>,
    now: Timestamp,
    rotation: Rotation,
    journal: Vec<Event>,
    offered: BTreeSet<AccessKeyId>,
    /// How often the delivery of a key was begun since the last one that certainly sent nothing.
    deliveries: usize,
    /// The keys that the rotation created, or found where an unanswered CreateAccessKey may have created them.
    ours: BTreeSet<AccessKeyId>,
    /// The time since which the old key is known to be Inactive.
    inactive_since: Option<Timestamp>,
    /// The attempt whose result is not known yet. As the key may already be Inactive, a repeat is not judged again.
    tried: Option<Tried>,
    /// The number of keys that were created.
    made: usize,
}

impl<'b, 'a> Drive<'b, 'a> {
    fn new(bytes: &'b mut Bytes<'a>) -> Drive<'b, 'a> {
        let now = Timestamp::from_unix(START_UNIX_SECS);
        let journal = vec![started(bytes, &SPANS_SECS, now)];
        let rotation = Rotation::replay(id(), &journal).expect("it begins with started");
        let (offered, ours, deliveries) = (BTreeSet::new(), BTreeSet::new(), 0);
        Drive {
            bytes,
            now,
            rotation,
            journal,
            offered,
            deliveries,
            ours,
            inactive_since: None,
            tried: None,
            made: 0,
        }
    }

    fn run(mut self) {
        while !self.bytes.is_empty() && self.journal.len() < STEPS_MAX {
            self.now = moved(self.now, self.bytes.pick(&CLOCK_STEPS_SECS));
            look_at(&self.rotation, self.now);
            match self.bytes.byte() {
                choice @ 0..16 => self.pull_lever(choice),
                16..32 => {}
                32.. => self.go_on(),
            }
        }
        check_journal(&self.journal, &self.rotation);
    }

    fn pull_lever(&mut self, choice: u8) {
        let (by, why, at) = ("somebody".to_owned(), "a test".to_owned(), self.now);
        let event = match choice % 5 {
            0 => Event::Held { until: None, by, why, at },
            1 => Event::Held { until: Some(moved(at, self.bytes.pick(&CLOCK_STEPS_SECS))), by, why, at },
            2 => Event::Resumed { by, at },
            3 => Event::ReactivationAsked { by, why, exposed: false, at },
            _ => Event::Abandoned { by, why, at },
        };
        if follow(&self.rotation, &event).is_some() {
            self.append(event);
        }
    }

    fn go_on(&mut self) {
        match self.rotation.next(self.now) {
            Next::Perform(effect) => self.perform(&effect),
            Next::Wait { until: Timestamp::NEVER, .. } | Next::Stuck(_) => {
                self.append(Event::Resumed { by: "somebody".to_owned(), at: self.now });
            }
            Next::Wait { until, .. } => self.now = until,
            Next::Ended(_) => {}
        }
    }

    fn perform(&mut self, effect: &Effect) {
        if let Some(intent) = self.rotation.intend(effect, self.now) {
            self.check_may_begin(effect);
            self.append(intent);
        }
        let choice = self.bytes.byte();
        self.now = moved(self.now, self.bytes.pick(&CLOCK_STEPS_SECS));
        let outcome = match choice {
            0..24 => return, // Killed before the answer was written down.
            24..56 => Outcome::Unknown(doubt(self.bytes)),
            56..100 => Outcome::Refused(refusal(self.bytes)),
            100.. => Outcome::Happened(self.happened(effect)),
        };
        let event = self.rotation.settle(effect, outcome, self.now);
        self.append(event);
    }

    /// Checks that an effect that deactivates or deletes a key is allowed now.
    fn check_may_begin(&mut self, effect: &Effect) {
        let (rotation, now) = (&self.rotation, self.now);
        let gone_by = |span: Duration| now >= rotation.since() + span;
        match effect {
            Effect::Deactivate { key, .. } if Some(key) == rotation.old() => {
                assert!(matches!(rotation.stage(), Stage::Soak { .. }), "{:?}", rotation.stage());
                if self.tried.is_none() {
                    assert!(gone_by(rotation.plan().soak), "the old key was taken before it had soaked");
                    let read_at = self.journal.iter().rev().find_map(|event| match event {
                        Event::UsageRead { at, .. } => Some(*at),
                        _ => None,
                    });
                    let is_fresh = |at: Timestamp| at <= now && now <= at + EVIDENCE_FRESH;
                    let seen = !rotation.plan().requires_use() || read_at.is_some_and(is_fresh);
                    assert!(seen, "the old key was taken on old evidence, of {read_at:?}");
                }
                let is_told = |event: &Event| matches!(event, Event::Verified { .. });
                assert!(self.journal.iter().any(is_told), "nobody said that the vendor has the new key");
            }
            Effect::Delete { key, .. } if Some(key) == rotation.old() => {
                assert!(matches!(rotation.stage(), Stage::Cool { .. }), "{:?}", rotation.stage());
                assert!(gone_by(rotation.plan().cool), "the old key was deleted before it had cooled");
                assert!(self.inactive_since.is_some(), "an Active key was deleted");
            }
            Effect::Deactivate { key, .. } | Effect::Delete { key, .. } => {
                assert!(!self.offered.contains(key), "{key} was offered, and is taken back");
                assert!(self.ours.contains(key), "{key} is not ours");
            }
            Effect::Deliver { key, .. } => {
                assert!(self.ours.contains(key) && rotation.needs_secret());
                self.offered.insert(key.clone());
                self.deliveries += 1;
            }
            Effect::Reactivate { key } => {
                let is_discarding = matches!(rotation.stage(), Stage::Discard { .. });
                assert!(
                    Some(key) == rotation.old() || is_discarding && self.ours.contains(key),
                    "{key} is given back"
                );
            }
            Effect::ListKeys
            | Effect::CreateKey
            | Effect::Probe { .. }
            | Effect::Verify { .. }
            | Effect::ReadUsage { .. } => {}
        }
    }

    fn happened(&mut self, effect: &Effect) -> Event {
        let (at, request_id) = (self.now, None);
        match effect {
            Effect::ListKeys => Event::Listed { keys: listing(self.bytes, at), at },
            Effect::CreateKey => {
                self.made += 1;
                Event::Created { key: key(self.made.min(2)), at, request_id }
            }
            Effect::Probe { .. } => Event::Probed { at },
            Effect::Deliver { .. } => Event::Delivered { at },
            Effect::Verify { .. } => Event::Verified { by: Verification::Asked, at },
            Effect::ReadUsage { keys } => {
                let usage = keys.iter().map(|key| (key.clone(), usage(self.bytes, at))).collect();
                Event::UsageRead { usage, at }
            }
            Effect::Deactivate { .. } => Event::Deactivated { at, request_id },
            Effect::Reactivate { .. } => Event::Reactivated { at },
            Effect::Delete { .. } => Event::Deleted { at, request_id },
        }
    }

    fn append(&mut self, event: Event) {
        let (name, stage) = (event.name(), self.rotation.stage().name());
        let after = follow(&self.rotation, &event);
        self.rotation = after.unwrap_or_else(|| panic!("{name} cannot be written down in stage {stage}"));
        self.tried = self.tried_after(&event);
        match (&event, self.rotation.stage()) {
            (Event::Created { key, .. }, _) | (_, Stage::Suspect { key }) => {
                self.ours.insert(key.clone());
            }
            (Event::Deactivated { at, .. }, Stage::Cool { .. }) => self.inactive_since = Some(*at),
            (Event::Reactivated { .. }, _) => self.inactive_since = None,
            (Event::Refused { doing: EffectKind::Deliver, refusal, .. }, _)
                if refusal.nothing_sent && self.deliveries == 1 =>
            {
                self.offered.clear();
                self.deliveries = 0;
            }
            (_, _) => {}
        }
        self.journal.push(event);
    }

    fn tried_after(&self, event: &Event) -> Option<Tried> {
        let (old, tried) = (self.rotation.old(), self.tried);
        match event {
            Event::Intended { intent: Intent::Deactivate { key, .. }, at } if Some(key) == old => {
                Some(Tried { at: *at, is_unanswered: tried.is_some() })
            }
            Event::Unanswered { doing: EffectKind::Deactivate, at, .. } => {
                tried.map(|_| Tried { at: *at, is_unanswered: true })
            }
            Event::Refused { doing: EffectKind::Deactivate, .. } => tried.filter(|tried| tried.is_unanswered),
            Event::Listed { keys, at } => tried.filter(|tried| {
                let is_active =
                    keys.iter().any(|key| Some(&key.id) == old && key.status == KeyStatus::Active);
                !is_active || *at < tried.at + LATEST_ARRIVAL
            }),
            _ => tried.filter(|_| matches!(self.rotation.stage(), Stage::Soak { .. } | Stage::Stuck { .. })),
        }
    }
}

fn moved(at: Timestamp, secs: i64) -> Timestamp {
    Timestamp::from_unix(at.unix_seconds().saturating_add(secs))
}

fn id() -> RotationId {
    "01a34c24-fb08-8c11-9188-d17c45fbb284".parse().expect("a rotation id")
}

fn key(index: usize) -> AccessKeyId {
    KEYS[index % KEYS.len()].parse().expect("a key id")
}

fn any_key(bytes: &mut Bytes<'_>) -> AccessKeyId {
    key(usize::from(bytes.byte()))
}

fn started(bytes: &mut Bytes<'_>, spans_secs: &[u64], at: Timestamp) -> Event {
    let subject = Subject {
        vendor: "acme".parse().expect("a vendor"),
        account: None,
        iam_user: "vendor-acme".parse().expect("a user"),
    };
    let mut span = || Duration::from_secs(bytes.pick(spans_secs));
    let (soak, quiet_for, cool, prove_every, doubt_window) = (span(), span(), span(), span(), span());
    let windows = match bytes.byte() % 4 {
        0..3 => Windows::any_time(),
        _ => Windows::new(chrono_tz::Europe::Berlin, vec!["Mon-Fri 09:00-17:00".parse().expect("a window")]),
    };
    let plan = Plan {
        soak,
        quiet_for,
        cool,
        prove_every,
        doubt_window,
        require_use: bytes.flag(),
        prove_successes: u32::from(bytes.byte() % 4),
        can_ask_vendor: bytes.flag(),
        by_hand: false,
        windows,
    };
    Event::Started {
        subject,
        old: key(0),
        old_created_at: moved(at, -8_000_000),
        reason: "too_old".to_owned(),
        plan,
        account_id: None,
        at,
    }
}

fn any_event(bytes: &mut Bytes<'_>, at: Timestamp) -> Event {
    let (by, why) = ("somebody".to_owned(), "a test".to_owned());
    match bytes.byte() % 17 {
        0 => started(bytes, &FORGED_SPANS_SECS, at),
        1 => Event::Intended { intent: any_intent(bytes, at), at },
        2 => Event::Listed { keys: listing(bytes, at), at },
        3 => Event::Created { key: any_key(bytes), at, request_id: None },
        4 => Event::Probed { at },
        5 => Event::Delivered { at },
        6 => Event::Verified { by: Verification::Acceptance, at },
        7 => {
            let count = bytes.byte() % 4;
            let usage = (0..count).map(|_| (any_key(bytes), usage(bytes, at))).collect::<BTreeMap<_, _>>();
            Event::UsageRead { usage, at }
        }
        8 => Event::Deactivated { at, request_id: None },
        9 => Event::Reactivated { at },
        10 => Event::Deleted { at, request_id: None },
        11 => Event::Refused { doing: bytes.pick(&DOINGS), refusal: refusal(bytes), at },
        12 => Event::Unanswered { doing: bytes.pick(&DOINGS), doubt: doubt(bytes), at },
        13 => Event::Held { until: bytes.flag().then(|| moved(at, HOUR_SECS)), by, why, at },
        14 => Event::Resumed { by, at },
        15 => Event::ReactivationAsked { by, why, exposed: false, at },
        _ => Event::Abandoned { by, why, at },
    }
}

fn any_intent(bytes: &mut Bytes<'_>, at: Timestamp) -> Intent {
    let key = any_key(bytes);
    let because = match bytes.flag() {
        true => RemovalReason::NeverOffered,
        false => RemovalReason::Superseded { by: any_key(bytes), verified_at: at },
    };
    match bytes.byte() % 5 {
        0 => Intent::Create,
        1 => Intent::Deliver { key, round: u32::from(bytes.byte()) },
        2 => Intent::Deactivate { key, because },
        3 => Intent::Reactivate { key },
        _ => Intent::Delete { key, because },
    }
}

/// The old key and perhaps others, as AWS may list them.
fn listing(bytes: &mut Bytes<'_>, at: Timestamp) -> Vec<KeyMetadata> {
    const STATUSES: [KeyStatus; 4] =
        [KeyStatus::Active, KeyStatus::Active, KeyStatus::Inactive, KeyStatus::Expired];
    let choice = bytes.byte();
    let row = |id, status, created_at| KeyMetadata { id, status, created_at };
    let old =
        (choice % 8 != 7).then(|| row(key(0), STATUSES[usize::from(choice / 64)], moved(at, -8_000_000)));
    let others = (0..choice / 8 % 3).map(|_| {
        let created_at = moved(at, -bytes.pick(&CLOCK_STEPS_SECS));
        row(any_key(bytes), bytes.pick(&STATUSES), created_at)
    });
    old.into_iter().chain(others.collect::<Vec<_>>()).collect()
}

fn usage(bytes: &mut Bytes<'_>, at: Timestamp) -> KeyUsage {
    match bytes.byte() % 4 {
        0 => KeyUsage::Never,
        1 => KeyUsage::Gone,
        choice => {
            let service = if choice == 2 { "s3" } else { "sts" }.to_owned();
            let last_used_at = moved(at, -bytes.pick(&CLOCK_STEPS_SECS));
            KeyUsage::Used { last_used_at, service, region: None, witness: None }
        }
    }
}

fn retry_after(bytes: &mut Bytes<'_>) -> Option<Duration> {
    bytes.flag().then(|| Duration::from_secs(bytes.pick(&FORGED_SPANS_SECS)))
}

fn refusal(bytes: &mut Bytes<'_>) -> Refusal {
    Refusal {
        code: bytes.pick(&RefusalCode::ALL),
        sentence: "it said no".to_owned(),
        retry_after: retry_after(bytes),
        nothing_sent: bytes.flag(),
        pairs: Vec::new(),
        said: None,
    }
}

fn doubt(bytes: &mut Bytes<'_>) -> Doubt {
    Doubt { sentence: "no answer".to_owned(), retry_after: retry_after(bytes), pairs: Vec::new(), said: None }
}
