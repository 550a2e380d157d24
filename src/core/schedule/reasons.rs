//! Why a key is due, or not: an ordered chain of small rules, each with a reason code and a sentence.
//!
//! Other modules gather the facts, and this one only judges them. The same verdict is shown by `status` and `explain`,
//! labels the metric, decides the alert and starts the rotation, so that none of them can contradict another.
//!
//! **Invariant:** a rotation starts only if the user has exactly one Active key, and a free slot beside it. If there
//! are two keys, this module never chooses between them.
//!
//! **Invariant:** the age of a key counts from AWS's own `CreateDate`, and is never negative.

use crate::core::ids::AccessKeyId;
use crate::core::rotation::{
    Effect, KeyMetadata, KeyStatus, Next, Rotation, Stage, VendorHolds, Waiting, Windows,
};
use crate::core::schedule::ages::Ages;
use crate::core::schedule::verdict::{Action, State, Verdict, status_word};
use crate::core::time::{Timestamp, days_in_words, in_words};

/// AWS lets an IAM user hold this many access keys, of any status, and never more.
pub const SLOTS: usize = 2;

/// What is known about one IAM user when it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The user's keys, from every page of the listing; may be empty if a rotation is under way.
    pub keys: &'a [KeyMetadata],
    /// The ages at which a key is due soon, due and overdue.
    pub ages: Ages,
    /// The windows in which a rotation may start.
    pub windows: &'a Windows,
    /// The user's rotation that has not finished, if there is one.
    pub in_flight: Option<&'a Rotation>,
    /// The time of the judgement.
    pub now: Timestamp,
    /// An operator asked for a rotation, whether or not the key is due.
    pub forced: bool,
    /// What the user's last rotation left behind, if it was abandoned after a new key had been created.
    pub abandoned: Option<&'a Abandoned>,
}

/// The new key of a rotation that was abandoned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Abandoned {
    /// The new key.
    pub new: AccessKeyId,
    /// When the rotation was abandoned.
    pub at: Timestamp,
}

/// Judges one IAM user. This function is pure: the same facts give the same verdict.
#[must_use]
pub fn judge(facts: &Facts<'_>) -> Verdict {
    if let Some(verdict) = facts.in_flight.and_then(|rotation| in_flight(facts, rotation)) {
        return verdict;
    }
    let Some(key) = oldest_active(facts.keys) else { return without_active_key(facts.keys, facts.now) };
    let case = Case::new(facts, key);
    RULES.iter().find_map(|rule| rule(&case)).unwrap_or_else(|| fresh(&case))
}

/// The rules, in order. The first one that returns a verdict decides.
const RULES: [fn(&Case<'_>) -> Option<Verdict>; 7] = [
    no_free_slot,  // a rotation is due, and AWS would refuse a new key
    second_key,    // a rotation will be due, and AWS would refuse a new key
    forced,        // an operator asked for a rotation, whatever the key's age
    overdue,       // the key has been due for too long
    window_closed, // the key is due, and the vendor's window is closed
    too_old,       // the key is due
    due_soon,      // the key is due soon
];

/// A user with at least one Active key and no rotation under way.
struct Case<'a> {
    facts: &'a Facts<'a>,
    key: &'a KeyMetadata,
    due_at: Timestamp,
    overdue_at: Timestamp,
}

impl<'a> Case<'a> {
    fn new(facts: &'a Facts<'a>, key: &'a KeyMetadata) -> Case<'a> {
        let (due_at, overdue_at) = facts.ages.dates(key.created_at);
        Case { facts, key, due_at, overdue_at }
    }

    fn is_due(&self) -> bool {
        self.facts.now >= self.due_at
    }

    fn is_due_soon(&self) -> bool {
        self.facts.now >= self.due_at.minus(self.facts.ages.warn_before)
    }

    /// The user's other keys, which fill the other slot.
    fn others(&self) -> Vec<&'a KeyMetadata> {
        self.facts.keys.iter().filter(|other| other.id != self.key.id).collect()
    }

    /// When a window of the vendor opens; `None`: one is open now.
    fn opening(&self) -> Option<Timestamp> {
        Some(self.facts.windows.opening(self.facts.now)).filter(|opening| *opening > self.facts.now)
    }

    fn age(&self) -> String {
        age(self.key, self.facts.now)
    }

    /// Where the keys come from, if an abandoned rotation left both of them.
    fn abandoned(&self) -> Option<String> {
        let left =
            self.facts.abandoned.filter(|left| self.facts.keys.iter().any(|key| key.id == left.new))?;
        Some(format!(
            "and keyround created {} in the rotation that was abandoned at {}, so the vendor may use either",
            left.new, left.at
        ))
    }

    /// What a sentence adds after the date at which a key is due, if there is a deadline.
    fn inactive_by(&self) -> String {
        let by = self.facts.ages.deadline.map(|deadline| self.key.created_at + deadline.inactive_by);
        by.map(|by| format!("; it is to be Inactive by {by}")).unwrap_or_default()
    }

    fn start(&self) -> Action {
        Action::Start { old: self.key.clone() }
    }

    fn verdict(&self, state: State, reason: &'static str, sentence: String, action: Action) -> Verdict {
        Verdict {
            state,
            reason,
            sentence,
            due_at: Some(self.due_at),
            overdue_at: Some(self.overdue_at),
            old: Some(self.key.id.clone()),
            action,
        }
    }
}

fn no_free_slot(case: &Case<'_>) -> Option<Verdict> {
    let others = case.others();
    if others.len() + 1 < SLOTS || !(case.is_due() || case.facts.forced) {
        return None;
    }
    let why =
        if case.is_due() { format!("due since {}", case.due_at) } else { "asked to be replaced".to_owned() };
    let (origin, advice) = match case.abandoned() {
        Some(origin) => {
            (origin, "find out which one the vendor does not use, set that one Inactive and then delete it")
        }
        None => (
            "that no rotation under way accounts for".to_owned(),
            "find out who uses it, and if it is unused, set it Inactive and then delete it",
        ),
    };
    let sentence = format!(
        "the key {} is {} old and {why}, but the user has a second access key, {}, {origin}; nothing was touched; {advice}",
        case.key.id,
        case.age(),
        described(&others, case.facts.now),
    );
    Some(case.verdict(State::Stuck, "no_free_slot", sentence, Action::Nothing))
}

fn second_key(case: &Case<'_>) -> Option<Verdict> {
    let others = case.others();
    if others.len() + 1 < SLOTS {
        return None;
    }
    let state = if case.is_due_soon() { State::Warning } else { State::Ok };
    let (origin, advice) = match case.abandoned() {
        Some(origin) => (origin, "find out which one the vendor does not use, and delete it before then"),
        None => ("that no rotation under way accounts for".to_owned(), "find out who uses it before then"),
    };
    let sentence = format!(
        "the key {} is {} old and due at {}, but the user has a second access key, {}, {origin}; a rotation needs that \
         slot, so {advice}",
        case.key.id,
        case.age(),
        case.due_at,
        described(&others, case.facts.now),
    );
    Some(case.verdict(state, "two_keys", sentence, Action::Nothing))
}

fn forced(case: &Case<'_>) -> Option<Verdict> {
    if !case.facts.forced {
        return None;
    }
    let sentence = format!(
        "the key {} is {} old; an operator asked for its replacement now, whatever its age and the hour",
        case.key.id,
        case.age()
    );
    Some(case.verdict(State::Due, "forced", sentence, case.start()))
}

fn overdue(case: &Case<'_>) -> Option<Verdict> {
    if case.facts.now < case.overdue_at {
        return None;
    }
    let begin = format!("{}, and overdue since {}", due_since(case), case.overdue_at);
    let (end, action) = match case.opening() {
        Some(until) => (format!("the vendor's window is closed until {until}"), Action::Wait { until }),
        None => ("it is replaced at the next pass".to_owned(), case.start()),
    };
    Some(case.verdict(State::Overdue, "overdue", format!("{begin}; {end}"), action))
}

fn window_closed(case: &Case<'_>) -> Option<Verdict> {
    let until = case.opening().filter(|_| case.is_due())?;
    let sentence = format!("{}; the vendor's window is closed until {until}", due_since(case));
    Some(case.verdict(State::Due, "window_closed", sentence, Action::Wait { until }))
}

fn too_old(case: &Case<'_>) -> Option<Verdict> {
    if !case.is_due() {
        return None;
    }
    let sentence = format!("{}; it is replaced at the next pass", due_since(case));
    Some(case.verdict(State::Due, "too_old", sentence, case.start()))
}

fn due_soon(case: &Case<'_>) -> Option<Verdict> {
    if !case.is_due_soon() {
        return None;
    }
    let left = in_words(case.due_at.since(case.facts.now));
    let sentence = format!(
        "the key {} is {} old and due in {left}, at {}{}",
        case.key.id,
        case.age(),
        case.due_at,
        case.inactive_by()
    );
    Some(case.verdict(State::Warning, "due_soon", sentence, Action::Nothing))
}

fn fresh(case: &Case<'_>) -> Verdict {
    let sentence = format!(
        "the key {} is {} old and not due before {}{}",
        case.key.id,
        case.age(),
        case.due_at,
        case.inactive_by()
    );
    case.verdict(State::Ok, "fresh", sentence, Action::Nothing)
}

fn due_since(case: &Case<'_>) -> String {
    format!(
        "the key {} is {} old and due since {}{}",
        case.key.id,
        case.age(),
        case.due_at,
        case.inactive_by()
    )
}

/// The oldest Active key. If there are two, its age decides when a person is notified; keyround never chooses one of
/// them.
fn oldest_active(keys: &[KeyMetadata]) -> Option<&KeyMetadata> {
    keys.iter().filter(|key| key.status == KeyStatus::Active).min_by_key(|key| (key.created_at, &key.id))
}

fn without_active_key(keys: &[KeyMetadata], now: Timestamp) -> Verdict {
    if keys.is_empty() {
        let sentence = "the user has no access key, so there is nothing to rotate";
        return Verdict::without_key(State::Unmanaged, "no_key", sentence.to_owned());
    }
    let named: Vec<String> =
        keys.iter().map(|key| format!("{} ({} at {now})", key.id, status_word(key.status))).collect();
    let sentence = format!(
        "the user had no Active access key, only {}: the vendor cannot work, and nothing is rotated; set the \
         vendor's key Active, or give it a new one",
        named.join(" and ")
    );
    Verdict::without_key(State::Unmanaged, "no_active_key", sentence)
}

/// The verdict on a rotation whose user no vendor has any more. `None`: it has ended.
#[must_use]
pub fn judge_without_vendor(rotation: &Rotation, now: Timestamp) -> Option<Verdict> {
    let (state, reason, sentence, action) = standing(rotation, now)?;
    Some(Verdict { action, ..Verdict::without_key(state, reason, sentence) })
}

/// The verdict on the rotation under way, from what its state machine answers. `None`: it has ended, and the keys alone
/// are judged.
fn in_flight(facts: &Facts<'_>, rotation: &Rotation) -> Option<Verdict> {
    let (state, reason, sentence, action) = standing(rotation, facts.now)?;
    let counts = !rotation.is_offboarded();
    let dates = rotation.old_created_at().filter(|_| counts).map(|at| facts.ages.dates(at));
    let (due_at, overdue_at) = dates.unzip();
    let verdict =
        Verdict { state, reason, sentence, due_at, overdue_at, old: rotation.old().cloned(), action };
    let verdict = overdue_in_flight(verdict, rotation, facts);
    Some(match contradiction(facts.keys, rotation) {
        // A blocker's sentence already says what was listed.
        Some(listed) if verdict.state != State::Stuck => {
            Verdict { sentence: format!("{listed}; the journal recorded: {}", verdict.sentence), ..verdict }
        }
        Some(_) | None => verdict,
    })
}

/// What a rotation does now, or waits for. `None`: it has ended.
fn standing(rotation: &Rotation, now: Timestamp) -> Option<(State, &'static str, String, Action)> {
    let held = rotation.held_since(now).is_some();
    Some(match rotation.next(now) {
        Next::Ended(_) => return None,
        Next::Stuck(blocker) => (State::Stuck, blocker.code(), blocker.to_string(), Action::Nothing),
        Next::Wait { until, why } => {
            // A failed step is tried again even under a hold, if the old key may be Inactive.
            let is_tried = matches!(why, Waiting::Backoff { .. });
            let state = if held && !is_tried { State::Held } else { State::Rotating };
            (state, why.code(), why.until(until), Action::Wait { until })
        }
        Next::Perform(effect) => {
            if let Some(why) = rotation.hand_over(now) {
                // The next step is only a reading of last-used. What the rotation waits for is a person.
                (State::Rotating, why.code(), why.to_string(), Action::Continue)
            } else {
                let next = effect.name();
                let sentence = match rotation.old() {
                    _ if rotation.offboarding().is_some() => {
                        format!("the vendor is being offboarded; next step: {next}")
                    }
                    Some(old) => format!("the key {old} is being replaced; next step: {next}"),
                    None => {
                        format!("the vendor is being given a key, and none is replaced; next step: {next}")
                    }
                };
                let state = if held && !matches!(effect, Effect::Reactivate { .. }) {
                    State::Held
                } else {
                    State::Rotating
                };
                (state, "next_step", sentence, Action::Continue)
            }
        }
    })
}

/// A sentence about a key that AWS has just listed in another state than the rotation expects. What the journal alone
/// says must not be shown as the present state.
fn contradiction(keys: &[KeyMetadata], rotation: &Rotation) -> Option<String> {
    let expected_active = |what: &str, id: &AccessKeyId| {
        let listed = keys.iter().find(|key| key.id == *id).map(|key| key.status);
        match listed {
            Some(KeyStatus::Active) => None,
            Some(status) => Some(format!(
                "AWS lists the {what} key {id} as {}, and the rotation expects it to be Active",
                status_word(status)
            )),
            None => Some(format!(
                "AWS does not list the {what} key {id}, and the rotation expects it to be Active"
            )),
        }
    };
    // Without a listing there is nothing to compare.
    let stage = (!keys.is_empty()).then(|| rotation.stage())?;
    match stage {
        Stage::Soak { new, .. } if rotation.old_key_may_be_inactive() => expected_active("new", new),
        Stage::Soak { new, .. } => {
            let old = rotation.old().and_then(|old| expected_active("old", old));
            old.or_else(|| expected_active("new", new))
        }
        Stage::Cool { new, .. } => expected_active("new", new),
        _ => None,
    }
}

/// Makes the verdict overdue if the old key is. A rotation under way does not change that: the old key's age counts
/// until the key is set Inactive.
fn overdue_in_flight(verdict: Verdict, rotation: &Rotation, facts: &Facts<'_>) -> Verdict {
    let overdue_at = verdict.overdue_at.filter(|overdue_at| facts.now >= *overdue_at);
    let Some(overdue_at) = overdue_at.filter(|_| verdict.state == State::Rotating) else { return verdict };
    let Some(old) = rotation.old().filter(|_| rotation.old_cut_at().is_none()) else { return verdict };
    let why = match rotation.stage() {
        Stage::Cool { .. }
        | Stage::Restore { .. }
        | Stage::Offboard { .. }
        | Stage::Clear { .. }
        | Stage::Done { .. } => {
            return verdict;
        }
        Stage::Soak { .. } if facts.now < soaks_until(rotation) + facts.ages.overdue_after => {
            "was not set Inactive yet"
        }
        Stage::Soak { .. } => "was not set Inactive yet; ask the vendor whether it uses the new key",
        Stage::Survey
        | Stage::Create { .. }
        | Stage::Suspect { .. }
        | Stage::Discard { .. }
        | Stage::Prove { .. }
        | Stage::Deliver { .. }
        | Stage::HandOver { .. }
        | Stage::Verify { .. }
        | Stage::Stuck { .. }
        | Stage::Abandoned => match (rotation.half_written(), rotation.vendor_holds()) {
            (Some(words), _) => words,
            (None, VendorHolds::Old) => "the vendor does not have the new one yet",
            (None, _) => "the vendor may not have the new one yet",
        },
    };
    let sentence = format!("{}; the key {old} is overdue since {overdue_at} and {why}", verdict.sentence);
    Verdict { state: State::Overdue, sentence, ..verdict }
}

/// Whether keyround has not yet set the old key Inactive, so that its age still counts.
#[must_use]
pub fn old_key_counts(stage: &Stage) -> bool {
    match stage {
        Stage::Survey
        | Stage::Create { .. }
        | Stage::Suspect { .. }
        | Stage::Discard { .. }
        | Stage::Prove { .. }
        | Stage::Deliver { .. }
        | Stage::HandOver { .. }
        | Stage::Verify { .. }
        | Stage::Soak { .. }
        | Stage::Abandoned => true,
        Stage::Cool { .. }
        | Stage::Restore { .. }
        | Stage::Offboard { .. }
        | Stage::Clear { .. }
        | Stage::Done { .. } => false,
        Stage::Stuck { resume, .. } => old_key_counts(resume),
    }
}

/// When the plan lets the soak end, if the vendor uses the new key and nobody uses the old one.
fn soaks_until(rotation: &Rotation) -> Timestamp {
    let plan = rotation.plan();
    rotation.since() + plan.soak.max(plan.quiet_for)
}

fn described(keys: &[&KeyMetadata], now: Timestamp) -> String {
    let described = |key: &&KeyMetadata| {
        format!("{} ({} at {now}, {} old)", key.id, status_word(key.status), age(key, now))
    };
    keys.iter().map(described).collect::<Vec<_>>().join(" and ")
}

fn age(key: &KeyMetadata, now: Timestamp) -> String {
    days_in_words(now.days_since(key.created_at))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::ids::{AccessKeyId, RotationId, Subject};
    use crate::core::rotation::samples;
    use crate::core::rotation::{Event, Intent, Plan, RemovalReason, Verification};

    const OLD: &str = "AKIAOLD0000000000000";
    const OTHER: &str = "AKIAOTHER00000000000";
    const NEW: &str = "AKIANEW0000000000000";
    const NOON: &str = "2026-11-23T12:00:00Z"; // a Monday

    #[test]
    fn a_user_without_keys_is_unmanaged() {
        check(&facts(&[]), State::Unmanaged, "no_key", "has no access key", &Action::Nothing);
    }

    #[test]
    fn a_user_without_an_active_key_is_not_rotated_even_when_forced() {
        let keys = [key(OLD, KeyStatus::Inactive, 400), key(OTHER, KeyStatus::Expired, 500)];
        let facts = Facts { forced: true, ..facts(&keys) };
        let sentence = "only AKIAOLD0000000000000 (Inactive at 2026-11-23T12:00:00Z) and AKIAOTHER00000000000 (Expired at";
        check(&facts, State::Unmanaged, "no_active_key", sentence, &Action::Nothing);
    }

    #[test]
    fn a_young_key_is_fresh() {
        let keys = [active(1)];
        let verdict =
            check(&facts(&keys), State::Ok, "fresh", "is 1 day old and not due before", &Action::Nothing);
        assert_eq!(verdict.due_at, Some(at("2027-02-20T12:00:00Z")));
        assert_eq!(verdict.overdue_at, Some(at("2027-02-23T12:00:00Z")));
        assert_eq!(verdict.old, Some(keys[0].id.clone()));
    }

    #[test]
    fn a_key_from_the_future_is_zero_days_old() {
        let keys = [KeyMetadata { created_at: at("2026-11-25T00:00:00Z"), ..active(0) }];
        check(&facts(&keys), State::Ok, "fresh", "is 0 days old", &Action::Nothing);
    }

    #[test]
    fn a_key_that_is_due_soon_is_in_state_warning() {
        check(
            &facts(&[active(76)]),
            State::Warning,
            "due_soon",
            "is 76 days old and due in 14d",
            &Action::Nothing,
        );
        check(&facts(&[active(75)]), State::Ok, "fresh", "", &Action::Nothing);
    }

    #[test]
    fn a_key_that_is_too_old_starts_a_rotation() {
        let keys = [active(90)];
        let sentence = "the key AKIAOLD0000000000000 is 90 days old and due since 2026-11-23T12:00:00Z; \
                        it is replaced at the next pass";
        check(&facts(&keys), State::Due, "too_old", sentence, &start(&keys[0]));
        check(&facts(&[active(89)]), State::Warning, "due_soon", "", &Action::Nothing);
    }

    #[test]
    fn a_key_that_is_due_for_too_long_is_overdue() {
        let keys = [active(93)];
        let sentence = "and overdue since 2026-11-23T12:00:00Z; it is replaced at the next pass";
        check(&facts(&keys), State::Overdue, "overdue", sentence, &start(&keys[0]));
        check(&facts(&[active(92)]), State::Due, "too_old", "", &start(&active(92)));
    }

    #[test]
    fn a_due_key_waits_for_its_window() {
        let (night, keys) = (windows("Mon 22:00-23:00"), [active(91)]);
        let facts = Facts { windows: &night, ..facts(&keys) };
        let until = at("2026-11-23T22:00:00Z");
        check(
            &facts,
            State::Due,
            "window_closed",
            "closed until 2026-11-23T22:00:00Z",
            &Action::Wait { until },
        );
        let facts = Facts { now: until, ..facts };
        check(&facts, State::Due, "too_old", "", &start(&keys[0]));
    }

    #[test]
    fn a_closed_window_does_not_affect_a_fresh_key() {
        let (night, keys) = (windows("Mon 22:00-23:00"), [active(10)]);
        check(&Facts { windows: &night, ..facts(&keys) }, State::Ok, "fresh", "", &Action::Nothing);
    }

    #[test]
    fn an_overdue_key_is_reported_and_still_waits_for_its_window() {
        let (night, keys) = (windows("Mon 22:00-23:00"), [active(100)]);
        let facts = Facts { windows: &night, ..facts(&keys) };
        let until = at("2026-11-23T22:00:00Z");
        check(
            &facts,
            State::Overdue,
            "overdue",
            "closed until 2026-11-23T22:00:00Z",
            &Action::Wait { until },
        );
    }

    #[test]
    fn an_operator_can_force_a_rotation_at_any_age_and_hour() {
        let (night, keys) = (windows("Mon 22:00-23:00"), [active(1)]);
        let facts = Facts { windows: &night, forced: true, ..facts(&keys) };
        check(&facts, State::Due, "forced", "an operator asked for its replacement now", &start(&keys[0]));
    }

    #[test]
    fn a_due_key_beside_any_second_key_is_stuck() {
        for (status, word) in [
            (KeyStatus::Active, "Active"),
            (KeyStatus::Inactive, "Inactive"),
            (KeyStatus::Expired, "Expired"),
        ] {
            let keys = [key(OTHER, status, 20), active(97)];
            let sentence = format!("AKIAOTHER00000000000 ({word} at 2026-11-23T12:00:00Z, 20 days old)");
            let verdict = check(&facts(&keys), State::Stuck, "no_free_slot", &sentence, &Action::Nothing);
            assert_eq!(verdict.old, Some(keys[1].id.clone()));
        }
    }

    #[test]
    fn force_does_not_free_a_slot() {
        let keys = [active(1), key(OTHER, KeyStatus::Inactive, 20)];
        let facts = Facts { forced: true, ..facts(&keys) };
        check(&facts, State::Stuck, "no_free_slot", "asked to be replaced", &Action::Nothing);
    }

    #[test]
    fn a_second_key_is_reported_before_it_blocks_a_rotation() {
        let keys = [active(10), key(OTHER, KeyStatus::Inactive, 200)];
        check(
            &facts(&keys),
            State::Ok,
            "two_keys",
            "(Inactive at 2026-11-23T12:00:00Z, 200 days old)",
            &Action::Nothing,
        );
        let keys = [active(80), key(OTHER, KeyStatus::Active, 1)];
        check(&facts(&keys), State::Warning, "two_keys", "find out who uses it", &Action::Nothing);
    }

    #[test]
    fn two_active_keys_are_stuck_and_judged_by_the_older_one() {
        let keys = [key(OTHER, KeyStatus::Active, 1), key(OLD, KeyStatus::Active, 95)];
        let verdict = check(&facts(&keys), State::Stuck, "no_free_slot", "is 95 days old", &Action::Nothing);
        assert_eq!(verdict.old, Some(keys[1].id.clone()));
    }

    #[test]
    fn the_verdict_on_a_rotation_in_flight_is_its_next_step() {
        let rotation = rotation(&[]);
        let keys = [active(91)];
        let facts = Facts { in_flight: Some(&rotation), ..facts(&keys) };
        let verdict =
            check(&facts, State::Rotating, "next_step", "next step: ListAccessKeys", &Action::Continue);
        assert_eq!(verdict.due_at, Some(at("2026-11-22T12:00:00Z")));
    }

    #[test]
    fn a_rotation_in_flight_needs_no_listing() {
        let rotation = rotation(&[]);
        let facts = Facts { in_flight: Some(&rotation), ..facts(&[]) };
        let verdict = check(&facts, State::Rotating, "next_step", "", &Action::Continue);
        assert_eq!(verdict.due_at, Some(at("2026-11-22T12:00:00Z")));
        assert_eq!(verdict.overdue_at, Some(at("2026-11-25T12:00:00Z")));
    }

    #[test]
    fn a_waiting_rotation_states_its_reason_and_end() {
        let rotation = rotation(&soaking());
        let facts = Facts { in_flight: Some(&rotation), ..facts(&[]) };
        let until = at("2026-11-24T12:15:00Z");
        check(
            &facts,
            State::Rotating,
            "soaking",
            "next step at 2026-11-24T12:15:00Z",
            &Action::Wait { until },
        );
    }

    #[test]
    fn a_key_of_an_abandoned_rotation_is_reported_as_made_by_keyround() {
        let abandoned = Abandoned { new: OTHER.parse().expect("a key id"), at: at("2026-11-20T12:00:00Z") };
        for (age, state, reason) in [(95, State::Stuck, "no_free_slot"), (10, State::Ok, "two_keys")] {
            let keys = [active(age), key(OTHER, KeyStatus::Active, 3)];
            let left = Facts { abandoned: Some(&abandoned), ..facts(&keys) };
            let sentence = format!(
                "keyround created {OTHER} in the rotation that was abandoned at 2026-11-20T12:00:00Z, so the vendor may use \
                 either"
            );
            let verdict = check(&left, state, reason, &sentence, &Action::Nothing);
            assert!(!verdict.sentence.contains("who uses it"), "{}", verdict.sentence);
            // The key of that rotation is gone, and this one belongs to somebody else.
            let stranger = [active(age), key(NEW, KeyStatus::Active, 3)];
            let other = Facts { abandoned: Some(&abandoned), ..facts(&stranger) };
            check(&other, state, reason, "find out who uses it", &Action::Nothing);
        }
    }

    #[test]
    fn a_current_listing_is_reported_before_the_journal_state() {
        let soaking = rotation(&soaking());
        let sentence = |keys: &[KeyMetadata]| {
            let verdict = judge(&Facts { in_flight: Some(&soaking), ..facts(keys) });
            assert_eq!((verdict.state, verdict.reason), (State::Rotating, "soaking"));
            verdict.sentence
        };
        let (old, new) = (active(80), key(NEW, KeyStatus::Active, 0));
        let expected = "neither key is touched while it soaks";
        for (keys, listed) in [
            (
                vec![key(OLD, KeyStatus::Inactive, 80), new.clone()],
                format!("AWS lists the old key {OLD} as Inactive"),
            ),
            (vec![new.clone()], format!("AWS does not list the old key {OLD}")),
            (
                vec![old.clone(), key(NEW, KeyStatus::Inactive, 0)],
                format!("AWS lists the new key {NEW} as Inactive"),
            ),
            (vec![old.clone()], format!("AWS does not list the new key {NEW}")),
        ] {
            let said = sentence(&keys);
            assert!(said.starts_with(&listed) && said.contains(expected), "{said}");
        }
        for keys in [vec![], vec![old, new]] {
            assert!(sentence(&keys).starts_with("the vendor accepted the new key"), "{}", sentence(&keys));
        }
    }

    #[test]
    fn a_rotation_is_overdue_until_the_old_key_is_inactive() {
        let keys = [active(100)];
        let early = rotation_of_key(100, &[]);
        let early = Facts { in_flight: Some(&early), ..facts(&keys) };
        let sentence = "is overdue since 2026-11-16T12:00:00Z and the vendor does not have the new one yet";
        check(&early, State::Overdue, "next_step", sentence, &Action::Continue);
        let late = rotation_of_key(100, &soaking());
        let until = at("2026-11-24T12:15:00Z");
        let late = Facts { in_flight: Some(&late), ..facts(&keys) };
        let sentence = "is overdue since 2026-11-16T12:00:00Z and was not set Inactive yet";
        let verdict = check(&late, State::Overdue, "soaking", sentence, &Action::Wait { until });
        assert!(!verdict.sentence.contains("ask the vendor"), "{}", verdict.sentence);
        // After the planned soak, the sentence advises to ask the vendor.
        let too_late = at("2026-11-24T12:00:00Z") + days(3);
        let asks = |now| judge(&Facts { now, ..late }).sentence.contains("ask the vendor whether it uses");
        assert!(!asks(too_late.minus(Duration::from_secs(1))) && asks(too_late));
        let retired = Event::Deactivated { at: at(NOON), request_id: None };
        let because = RemovalReason::Superseded { by: NEW.parse().expect("a key id"), verified_at: at(NOON) };
        let intent = Intent::Deactivate { key: OLD.parse().expect("a key id"), because };
        let intended = Event::Intended { intent, at: at(NOON) };
        let cooling = rotation_of_key(100, &[soaking(), vec![intended, retired]].concat());
        let verdict = judge(&Facts { in_flight: Some(&cooling), ..facts(&keys) });
        assert_eq!((verdict.state, verdict.reason), (State::Rotating, "cooling"));
    }

    #[test]
    fn the_age_of_the_old_key_counts_in_soak_and_not_in_cool() {
        let soaking = rotation(&soaking());
        assert!(old_key_counts(soaking.stage()));
        let cooling = Stage::Cool {
            new: NEW.parse().expect("a key id"),
            asked_at: at(NOON),
            listed_at: None,
            accepted_at: at(NOON),
            usage: None,
            unused_for: None,
        };
        assert!(!old_key_counts(&cooling));
    }

    #[test]
    fn an_overdue_stuck_rotation_is_reported_as_stuck() {
        let keys = [active(100), key(OTHER, KeyStatus::Active, 3)];
        let listed = Event::Listed { keys: keys.to_vec(), at: at(NOON) };
        let rotation = rotation(&[listed]);
        let facts = Facts { in_flight: Some(&rotation), ..facts(&keys) };
        check(&facts, State::Stuck, "no_free_slot", "that this journal does not know", &Action::Nothing);
    }

    #[test]
    fn a_held_rotation_reports_its_end_or_that_a_resume_is_needed() {
        for (until, sentence) in
            [(None, "until an operator resumes it"), (Some(at("2026-12-01T00:00:00Z")), "2026-12-01")]
        {
            let (by, why) = ("ops".to_owned(), "freeze".to_owned());
            let rotation = rotation(&[Event::Held { until, by, why, at: at(NOON) }]);
            let keys = [active(100)];
            let facts = Facts { in_flight: Some(&rotation), ..facts(&keys) };
            let until = until.unwrap_or(Timestamp::NEVER);
            let verdict = check(&facts, State::Held, "held", "held by ops: freeze", &Action::Wait { until });
            assert!(verdict.sentence.contains(sentence), "{}", verdict.sentence);
        }
    }

    #[test]
    fn after_a_rotation_ends_the_verdict_comes_from_the_keys() {
        let (by, why) = ("ops".to_owned(), "vendor left".to_owned());
        let rotation = rotation(&[Event::Abandoned { by, why, at: at(NOON) }]);
        let keys = [active(10)];
        check(
            &Facts { in_flight: Some(&rotation), ..facts(&keys) },
            State::Ok,
            "fresh",
            "",
            &Action::Nothing,
        );
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn days(count: u64) -> Duration {
        Duration::from_hours(24 * count)
    }

    fn key(id: &str, status: KeyStatus, age_days: u64) -> KeyMetadata {
        let id = id.parse().expect("a key id");
        KeyMetadata { id, status, created_at: at(NOON).minus(days(age_days)) }
    }

    fn active(age_days: u64) -> KeyMetadata {
        key(OLD, KeyStatus::Active, age_days)
    }

    fn start(key: &KeyMetadata) -> Action {
        Action::Start { old: key.clone() }
    }

    fn windows(text: &str) -> Windows {
        Windows::new(chrono_tz::UTC, vec![text.parse().expect("a window")])
    }

    static ANY_TIME: std::sync::LazyLock<Windows> = std::sync::LazyLock::new(Windows::any_time);

    fn facts(keys: &[KeyMetadata]) -> Facts<'_> {
        let ages = Ages { max_age: days(90), warn_before: days(14), overdue_after: days(3), deadline: None };
        Facts {
            keys,
            ages,
            windows: &ANY_TIME,
            in_flight: None,
            now: at(NOON),
            forced: false,
            abandoned: None,
        }
    }

    fn rotation(events: &[Event]) -> Rotation {
        rotation_of_key(91, events)
    }

    fn rotation_of_key(age_days: u64, events: &[Event]) -> Rotation {
        let subject = Subject {
            vendor: "acme".parse().expect("a vendor"),
            account: None,
            iam_user: "vendor-acme".parse().expect("a user"),
        };
        let (old, at): (AccessKeyId, _) = (OLD.parse().expect("a key id"), at(NOON));
        let id = RotationId::new(&subject, &old, at);
        let (old_created_at, reason, plan) =
            (active(age_days).created_at, "too_old".to_owned(), Plan::default());
        let started = Event::Started { subject, old, old_created_at, reason, plan, account_id: None, at };
        let mut rotation = Rotation::replay(id, [&started]).expect("a beginning");
        for event in events {
            samples::happen(&mut rotation, event).expect("a journal");
        }
        rotation
    }

    fn soaking() -> Vec<Event> {
        let (new, at): (AccessKeyId, _) = (NEW.parse().expect("a key id"), at(NOON));
        let probed = Event::Probed { at };
        vec![
            Event::Listed { keys: vec![active(100)], at },
            Event::Intended { intent: Intent::Create, at },
            Event::Created { key: new.clone(), at, request_id: None },
            probed.clone(),
            probed.clone(),
            probed,
            Event::Intended { intent: Intent::Deliver { key: new, round: 1 }, at },
            Event::Delivered { at },
            Event::Verified { by: Verification::Asked, at },
        ]
    }

    #[track_caller]
    fn check(facts: &Facts<'_>, state: State, reason: &str, sentence: &str, action: &Action) -> Verdict {
        let verdict = judge(facts);
        assert_eq!((verdict.state, verdict.reason), (state, reason), "{}", verdict.sentence);
        assert!(verdict.sentence.contains(sentence), "{}", verdict.sentence);
        assert_eq!(verdict.action, *action);
        verdict
    }
}
