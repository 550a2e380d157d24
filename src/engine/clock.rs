//! Checks the clock before a key is created, delivered, set Inactive or deleted.
//!
//! **Invariant:** a key is set Inactive or deleted only if AWS's own time was seen in this process and agrees with this
//! machine's, and if the wait before it has passed on the monotonic clock, as far as this process could see.
//! Setting a key Inactive in an incident is the exception: no wait is before it.
//!
//! **Invariant:** an effect that sets a key Active again, and an effect that only reads, does not wait for the clock.
//! The verification from which the soak is counted does.

use std::time::Duration;

use crate::core::alert::ClockReading;
use crate::core::ids::Subject;
use crate::core::rotation::{ClockDoubt, Effect, Next, RemovalReason, Rotation, Stage, Waiting, ahead_secs};
use crate::core::schedule::{Action, Verdict};
use crate::core::time::Timestamp;
use crate::engine::{Rest, World};
use crate::ports::Iam;

/// How long to wait before a clock that was wrong is compared again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_mins(5);

/// How much an effect depends on the clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ClockCaution {
    /// It sets a key Inactive or deletes it, after a wait that must have passed.
    TakesAway,
    /// It begins something that is dated by this clock.
    Begins,
    /// It sets a key Active again, or only reads, or no wait is before it.
    None,
}

fn caution(effect: &Effect, rotation: &Rotation) -> ClockCaution {
    match effect {
        // No wait is before this effect that a wrong clock could cut short.
        Effect::Deactivate { .. } if rotation.incident().is_some() || is_cut(effect) => ClockCaution::None,
        Effect::Deactivate { .. } | Effect::Delete { .. } => ClockCaution::TakesAway,
        Effect::CreateKey | Effect::Deliver { .. } => ClockCaution::Begins,
        // The soak is counted from this answer. While the old key is Inactive, the same question finds out whether the
        // vendor needs that key again, so it must not wait.
        Effect::Verify { .. } if matches!(rotation.stage(), Stage::Verify { .. }) => ClockCaution::Begins,
        Effect::Verify { .. }
        | Effect::Reactivate { .. }
        | Effect::ListKeys
        | Effect::Probe { .. }
        | Effect::ReadUsage { .. } => ClockCaution::None,
    }
}

/// Whether the effect sets an exposed key, or one of an offboarded vendor, Inactive.
fn is_cut(effect: &Effect) -> bool {
    matches!(effect, Effect::Deactivate { evidence, .. } if matches!(evidence.because(), RemovalReason::Exposed | RemovalReason::Offboarded))
}

/// Why this effect is not performed now; `None`: the clock is correct enough for this effect.
pub(crate) async fn rest(
    world: &World,
    subject: &Subject,
    rotation: &Rotation,
    effect: &Effect,
) -> Option<Rest> {
    let caution = caution(effect, rotation);
    if caution == ClockCaution::None {
        return None;
    }
    let takes_away = caution == ClockCaution::TakesAway;
    let iam = world.accounts.iam(subject.account.as_ref());
    let doubt = compared(world, iam.as_ref()).await;
    let now = world.clock.now();
    // A key may be created before AWS has answered in this process; none is set Inactive or deleted before that.
    match doubt.filter(|doubt| takes_away || *doubt != ClockDoubt::NotCompared) {
        Some(doubt) => Some(Rest::Wait { until: now + LOOK_AGAIN_AFTER, why: Waiting::Clock(doubt) }),
        None if takes_away => not_passed(world, rotation, effect, now),
        None => None,
    }
}

/// Compares this machine's clock with AWS's. If they disagree, or AWS has not answered yet, AWS is asked once more: the
/// machine may have slept since AWS answered last, and the monotonic clock stands still meanwhile.
async fn compared(world: &World, iam: &dyn Iam) -> Option<ClockDoubt> {
    ClockDoubt::of(world.clock.now(), iam.aws_time())?;
    let aws = iam.ask_aws_time().await;
    ClockDoubt::of(world.clock.now(), aws)
}

/// Decides again with a clock from which the amount is subtracted by which it was set forward. If the rotation would
/// still wait, returns that wait.
fn not_passed(world: &World, rotation: &Rotation, effect: &Effect, now: Timestamp) -> Option<Rest> {
    let by = world.clock.set_forward_since(wait_began(rotation));
    if by.is_zero() {
        return None;
    }
    let until = match rotation.next(now.minus(by)) {
        Next::Perform(next) if next.doing() == effect.doing() => return None,
        Next::Wait { until, .. } if until < Timestamp::NEVER => until + by,
        Next::Wait { .. } | Next::Perform(_) | Next::Stuck(_) | Next::Ended(_) => now + LOOK_AGAIN_AFTER,
    };
    let why = Waiting::Clock(ClockDoubt::SetForward { by });
    Some(Rest::Wait { until: until.max(now + LOOK_AGAIN_AFTER), why })
}

/// When the earliest wait began that this effect relies on.
fn wait_began(rotation: &Rotation) -> Timestamp {
    match rotation.stage() {
        Stage::Soak { accepted_at, .. } => rotation.since().min(*accepted_at),
        _ => rotation.since(),
    }
}

/// The verdict on a rotation that waits because of the clock. The state machine does not see this wait, so its own
/// verdict would say that the rotation continues.
pub(crate) fn told(verdict: Verdict, rest: &Rest) -> Verdict {
    match rest {
        Rest::Wait { until, why: why @ Waiting::Clock(_) } => Verdict {
            reason: why.code(),
            sentence: why.until(*until),
            action: Action::Wait { until: *until },
            ..verdict
        },
        Rest::Wait { .. } | Rest::Stuck(_) | Rest::Ended(_) | Rest::Stopped => verdict,
    }
}

/// How this machine's clock compares with that of each account that has answered in this process.
pub(crate) fn readings(world: &World) -> Vec<ClockReading> {
    let at = world.clock.now();
    let times = world.accounts.aws_times().into_iter();
    let reading = |(account, aws)| ClockReading {
        account,
        offset_secs: ahead_secs(at, aws),
        is_accepted: ClockDoubt::of(at, Some(aws)).is_none(),
        at,
    };
    times.map(reading).collect()
}

/// Whether a person must set the clock before this rotation can go on.
pub(crate) fn needs_repair(rest: &Rest) -> bool {
    matches!(rest, Rest::Wait { why: Waiting::Clock(doubt), .. } if doubt.needs_repair())
}
