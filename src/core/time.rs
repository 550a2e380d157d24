//! Points in time. This is the only file that reads the system's clock.
//!
//! The system's clock can be set while keyround runs, and then a wait that is measured by it alone ends too early. So
//! each reading of it is compared with the monotonic clock, which nobody can set, and
//! [`SystemClock::set_forward_since`] returns by how much it was set.
//!
//! Times have whole seconds, because IAM's own dates have no finer resolution, and because equal times then stay equal
//! after a round trip through JSON. **Invariant:** no code outside this file asks the system what time it is.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

/// A point in time, in whole seconds of UTC. Shown and stored as RFC 3339 with `Z`.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

const DAY_SECS: u64 = 86_400;

impl Timestamp {
    /// A time after everything that can happen. A wait until then can be ended only by a person.
    pub const NEVER: Timestamp = Timestamp(253_402_300_799); // 9999-12-31T23:59:59Z
    /// 1970-01-01T00:00:00Z, the earliest time that this type can hold.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// The time this many seconds after 1970. It is limited to the range from 1970 to [`Timestamp::NEVER`], so that RFC
    /// 3339 can write it.
    #[must_use]
    pub const fn from_unix(seconds: i64) -> Timestamp {
        let seconds = if seconds < 0 { 0 } else { seconds };
        if seconds > Self::NEVER.0 { Self::NEVER } else { Timestamp(seconds) }
    }

    /// The number of seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this time is; zero if it is not after `earlier`, so that an age is never negative.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_secs(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// The number of whole days since `earlier`; zero if this time is not after it.
    #[must_use]
    pub fn days_since(self, earlier: Timestamp) -> u64 {
        self.since(earlier).as_secs() / DAY_SECS
    }

    /// The time that lies `span` before this one; 1970 at the earliest.
    #[must_use]
    pub fn minus(self, span: Duration) -> Timestamp {
        let span = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_unix(self.0.saturating_sub(span))
    }

    /// The same time as a `chrono` type, for calendars and time zones.
    #[must_use]
    pub fn to_chrono(self) -> DateTime<chrono::Utc> {
        DateTime::from_timestamp(self.0, 0).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, span: Duration) -> Timestamp {
        let span = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_unix(self.0.saturating_add(span))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_chrono().to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Timestamp> for String {
    fn from(at: Timestamp) -> String {
        at.to_string()
    }
}

/// A text that is not an RFC 3339 time.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not a time such as 2026-11-23T03:00:00Z")]
pub struct BadTimestamp(String);

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Timestamp, BadTimestamp> {
        DateTime::parse_from_rfc3339(text)
            .map(|at| Timestamp::from_unix(at.timestamp()))
            .map_err(|_| BadTimestamp(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = BadTimestamp;

    fn try_from(text: String) -> Result<Timestamp, BadTimestamp> {
        text.parse()
    }
}

/// An age in whole days, for a sentence: `1 day` or `30 days`.
#[must_use]
pub fn days_in_words(days: u64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

/// A span in words, such as `90d`, `1d 12h`, `15m` or `0s`. It has at most two units.
#[must_use]
pub fn in_words(span: Duration) -> String {
    let mut rest = span.as_secs();
    let mut words = Vec::new();
    for (unit, secs) in [("d", DAY_SECS), ("h", 3600), ("m", 60), ("s", 1)] {
        let count = rest / secs;
        rest %= secs;
        if count > 0 {
            words.push(format!("{count}{unit}"));
        }
        if words.len() == 2 {
            break;
        }
    }
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// When and how the system's clock was set since this process first read it. The whole process has one history, because
/// a reload of the configuration must not lose it.
static HISTORY: Mutex<ClockHistory> = Mutex::new(ClockHistory { segments: Vec::new() });

impl SystemClock {
    /// The present time. Each reading also becomes part of the clock's history.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn now(self) -> Timestamp {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let secs = since_1970.unwrap_or_default().as_secs();
        let now = Timestamp::from_unix(i64::try_from(secs).unwrap_or(i64::MAX));
        HISTORY.lock().unwrap_or_else(PoisonError::into_inner).note(now, MonotonicInstant::now());
        now
    }

    /// How far the clock was set forward in this process since it showed `at`; zero if `at` is before the first reading
    /// of the clock by this process.
    #[must_use]
    pub fn set_forward_since(self, at: Timestamp) -> Duration {
        HISTORY.lock().unwrap_or_else(PoisonError::into_inner).set_forward_since(at)
    }
}

/// A point on the monotonic clock of this process. It stands still while the machine sleeps.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicInstant(Instant);

impl MonotonicInstant {
    /// The present point on the monotonic clock.
    #[must_use]
    pub fn now() -> MonotonicInstant {
        MonotonicInstant(Instant::now())
    }

    /// The time that has passed since this point.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// A smaller difference between the two clocks comes from whole seconds, or from a time service that slews the clock.
const STEP_SECS_MIN: i64 = 5;
/// How many segments are kept. A clock that is set more often is not worth more memory, so the oldest segment is
/// dropped.
const SEGMENTS_MAX: usize = 256;

/// The history of the system's clock, as a series of segments. Within a segment it agrees with the monotonic clock.
#[derive(Debug, Default)]
struct ClockHistory {
    segments: Vec<Segment>,
}

/// The time between two settings of the clock.
#[derive(Debug)]
struct Segment {
    /// The first and the last time that the clock showed in this segment.
    shown: (Timestamp, Timestamp),
    /// The monotonic time of the segment's first reading.
    began: MonotonicInstant,
    /// By how many seconds the clock was set in all before this segment began; negative if it was set back.
    drift_secs: i64,
}

impl ClockHistory {
    fn note(&mut self, now: Timestamp, steady: MonotonicInstant) {
        let Some(last) = self.segments.last_mut() else {
            self.segments.push(Segment { shown: (now, now), began: steady, drift_secs: 0 });
            return;
        };
        let passed = steady.0.saturating_duration_since(last.began.0).as_secs().cast_signed();
        let step = now.unix_seconds() - last.shown.0.unix_seconds() - passed;
        if step.abs() < STEP_SECS_MIN {
            // Two threads may record their readings in the wrong order.
            last.shown.1 = last.shown.1.max(now);
            return;
        }
        let drift_secs = last.drift_secs + step;
        self.segments.push(Segment { shown: (now, now), began: steady, drift_secs });
        if self.segments.len() > SEGMENTS_MAX {
            self.segments.remove(0);
        }
    }

    fn set_forward_since(&self, at: Timestamp) -> Duration {
        let Some(newest) = self.segments.last() else { return Duration::ZERO };
        // A clock that was set back shows the same time twice. Then the reading that makes the wait longest counts.
        let shown = self.segments.iter().filter(|segment| (segment.shown.0..=segment.shown.1).contains(&at));
        let least = shown.map(|segment| segment.drift_secs).min().unwrap_or(newest.drift_secs);
        Duration::from_secs(u64::try_from(newest.drift_secs - least).unwrap_or(0))
    }
}

/// Serializes durations in stored events: as whole seconds, in a field whose name ends in `_secs`.
pub mod secs {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the duration as whole seconds.
    ///
    /// # Errors
    ///
    /// The serializer failed.
    pub fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(span.as_secs())
    }

    /// Reads a duration from whole seconds.
    ///
    /// # Errors
    ///
    /// The value is not a number of seconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_round_trips_through_text() {
        let at: Timestamp = "2026-11-23T03:00:00Z".parse().expect("a time");
        assert_eq!(at.to_string(), "2026-11-23T03:00:00Z");
        assert_eq!("2026-11-23T04:00:00+01:00".parse(), Ok(at));
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn ages_are_never_negative() {
        let (early, late) = (Timestamp::from_unix(10), Timestamp::from_unix(86_400 * 3));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(late.days_since(early), 2);
        assert_eq!(Timestamp::NEVER + Duration::MAX, Timestamp::NEVER);
        assert_eq!(early.minus(Duration::from_mins(1)), Timestamp::EPOCH);
    }

    #[test]
    fn durations_are_written_in_at_most_two_units() {
        let words = |secs| in_words(Duration::from_secs(secs));
        assert_eq!(words(0), "0s");
        assert_eq!(words(90 * 86_400), "90d");
        assert_eq!(words(86_400 + 12 * 3600 + 5), "1d 12h");
        assert_eq!(words(61), "1m 1s");
    }

    /// Readings of the clock, each with the seconds that really passed since the one before.
    fn history(readings: &[(i64, u64)]) -> ClockHistory {
        let (mut history, mut steady) = (ClockHistory::default(), Instant::now());
        for (shown, passed) in readings {
            steady += Duration::from_secs(*passed);
            history.note(Timestamp::from_unix(*shown), MonotonicInstant(steady));
        }
        history
    }

    #[track_caller]
    fn check_set_forward(readings: &[(i64, u64)], at: i64, expected: u64) {
        let set_forward = history(readings).set_forward_since(Timestamp::from_unix(at));
        assert_eq!(set_forward, Duration::from_secs(expected), "{readings:?} since {at}");
    }

    #[test]
    fn a_steadily_running_clock_is_not_reported_as_set_forward() {
        check_set_forward(&[(1000, 0), (1060, 60), (90_000, 88_940)], 1030, 0);
        check_set_forward(&[(1000, 0), (1062, 60), (1119, 60)], 1030, 0);
        check_set_forward(&[], 1000, 0);
    }

    #[test]
    fn a_clock_step_is_reported_for_a_time_observed_before_it() {
        let jumped = [(1000, 0), (1060, 60), (701_060, 60)];
        check_set_forward(&jumped, 1030, 699_940);
        check_set_forward(&jumped, 701_060, 0);
        check_set_forward(&jumped, 500, 0);
    }

    #[test]
    fn a_clock_step_that_was_undone_is_not_reported() {
        let there_and_back = [(1000, 0), (1060, 60), (701_060, 0), (701_120, 60), (1120, 0)];
        check_set_forward(&there_and_back, 1030, 0);
        let back_and_there = [(701_000, 0), (701_060, 60), (1060, 0), (1120, 60), (701_120, 0)];
        check_set_forward(&back_and_there, 701_030, 0);
        check_set_forward(&back_and_there, 1090, 700_000);
    }

    #[test]
    fn repeated_small_clock_steps_are_detected() {
        let steps: Vec<_> = (0..100_i64).map(|step| (1000 + step * 13, 10)).collect();
        let set_forward = history(&steps).set_forward_since(Timestamp::from_unix(1000));
        assert!(set_forward.as_secs() > 290, "{set_forward:?}");
    }
}
