//! Points in time, and the only place that reads the system's clock.
//!
//! Whole seconds: IAM's own dates have no finer grain, and equal times compare equal after a trip
//! through JSON. **Invariant:** nothing outside this file asks the system what time it is.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

/// A point in time, in whole seconds of UTC. Shown and stored as RFC 3339 with `Z`.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

const DAY_SECS: u64 = 86_400;

impl Timestamp {
    /// Later than anything that can happen: waiting for it is waiting for a person.
    pub const NEVER: Timestamp = Timestamp(253_402_300_799); // 9999-12-31T23:59:59Z
    /// 1970.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// The point that many seconds after 1970; held to the years that RFC 3339 can write.
    #[must_use]
    pub const fn from_unix(seconds: i64) -> Timestamp {
        let seconds = if seconds < 0 { 0 } else { seconds };
        if seconds > Self::NEVER.0 { Self::NEVER } else { Timestamp(seconds) }
    }

    /// Seconds since 1970.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it, so that ages are never negative.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_secs(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// Whole days since `earlier`; zero if this is not after it.
    #[must_use]
    pub fn days_since(self, earlier: Timestamp) -> u64 {
        self.since(earlier).as_secs() / DAY_SECS
    }

    /// The point `span` before this one, at the earliest 1970.
    #[must_use]
    pub fn minus(self, span: Duration) -> Timestamp {
        let span = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_unix(self.0.saturating_sub(span))
    }

    /// As `chrono` knows it, for calendars and zones.
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

/// A text that is no RFC 3339 time.
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

/// An age in whole days, as it stands in a sentence.
#[must_use]
pub fn days_in_words(days: u64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

/// A span in words a person would use: `90d`, `1d 12h`, `15m`, `0s`. At most two units.
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

impl SystemClock {
    /// What time it is.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn now(self) -> Timestamp {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let secs = since_1970.unwrap_or_default().as_secs();
        Timestamp::from_unix(i64::try_from(secs).unwrap_or(i64::MAX))
    }
}

/// Durations in stored events: whole seconds, under a name that ends in `_secs`.
pub mod secs {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes whole seconds.
    ///
    /// # Errors
    ///
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(span.as_secs())
    }

    /// Reads whole seconds.
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
    fn a_time_survives_the_trip_through_text() {
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
    fn spans_are_said_in_two_units_at_most() {
        let words = |secs| in_words(Duration::from_secs(secs));
        assert_eq!(words(0), "0s");
        assert_eq!(words(90 * 86_400), "90d");
        assert_eq!(words(86_400 + 12 * 3600 + 5), "1d 12h");
        assert_eq!(words(61), "1m 1s");
    }
}
