//! Windows: the hours of the week in which a rotation may start and may set the old key Inactive.

use std::str::FromStr;
use std::time::Duration;

use chrono::{Datelike, NaiveDateTime, TimeZone, Timelike, Weekday};
use serde::{Deserialize, Serialize};

use crate::core::time::Timestamp;

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Mon),
    ("Tue", Weekday::Tue),
    ("Wed", Weekday::Wed),
    ("Thu", Weekday::Thu),
    ("Fri", Weekday::Fri),
    ("Sat", Weekday::Sat),
    ("Sun", Weekday::Sun),
];
const MINUTES_A_DAY: u32 = 24 * 60;
/// Two weeks, because a window that lies in the hour that daylight saving time skips does not open in that week.
const MINUTES_OF_SEARCH: u32 = 14 * MINUTES_A_DAY;

/// One window of the week, written `Mon-Fri 09:00-17:00`, `Sat,Sun 22:00-06:00` or `00:00-24:00`.
///
/// A window that ends before it starts continues past midnight, and belongs to the day on which it starts.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    days: [bool; 7],
    from_minute: u32,
    to_minute: u32,
    text: String,
}

impl Window {
    fn contains(&self, local: NaiveDateTime) -> bool {
        let minute = local.hour() * 60 + local.minute();
        let today = self.days[local.weekday().num_days_from_monday() as usize];
        let yesterday = self.days[local.weekday().pred().num_days_from_monday() as usize];
        if self.from_minute < self.to_minute {
            today && (self.from_minute..self.to_minute).contains(&minute)
        } else {
            (today && (self.from_minute..).contains(&minute))
                || (yesterday && (..self.to_minute).contains(&minute))
        }
    }
}

/// A text that is not a window of the week.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not a window such as \"Mon-Fri 09:00-17:00\"")]
pub struct BadWindow(String);

impl FromStr for Window {
    type Err = BadWindow;

    fn from_str(text: &str) -> Result<Window, BadWindow> {
        parse_window(text).ok_or_else(|| BadWindow(text.chars().take(80).collect()))
    }
}

fn parse_window(text: &str) -> Option<Window> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (days, hours) = match words.as_slice() {
        [hours] => ([true; 7], *hours),
        [days, hours] => (parse_days(days)?, *hours),
        _ => return None,
    };
    let (from, to) = hours.split_once('-')?;
    let (from_minute, to_minute) = (parse_minute(from)?, parse_minute(to)?);
    let open = from_minute != to_minute && from_minute < MINUTES_A_DAY;
    open.then(|| Window { days, from_minute, to_minute, text: words.join(" ") })
}

fn parse_days(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| WEEKDAYS.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // Fri-Mon wraps around the end of the week.
        let length = (last + 7 - first) % 7;
        (0..=length).for_each(|offset| days[(first + offset) % 7] = true);
    }
    Some(days)
}

fn parse_minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |part: &str| (part.len() == 2).then(|| part.parse::<u32>().ok()).flatten();
    let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= MINUTES_A_DAY).then_some(total)
}

impl TryFrom<String> for Window {
    type Error = BadWindow;

    fn try_from(text: String) -> Result<Window, BadWindow> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> String {
        window.text
    }
}

/// The windows of one vendor, in one time zone. Without any window, every time is allowed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Windows {
    zone: chrono_tz::Tz,
    windows: Vec<Window>,
}

impl Default for Windows {
    fn default() -> Windows {
        Windows::any_time()
    }
}

impl Windows {
    /// Makes the windows of one vendor, in this time zone.
    #[must_use]
    pub fn new(zone: chrono_tz::Tz, windows: Vec<Window>) -> Windows {
        Windows { zone, windows }
    }

    /// No restriction: every time is allowed.
    #[must_use]
    pub fn any_time() -> Windows {
        Windows { zone: chrono_tz::UTC, windows: Vec::new() }
    }

    /// When a window opens: `now` itself if one is open, and [`Timestamp::NEVER`] if none opens within two weeks.
    #[must_use]
    pub fn opening(&self, now: Timestamp) -> Timestamp {
        if self.is_open(now) {
            return now;
        }
        let step = Duration::from_mins(u64::from(self.minutes_apart()));
        let before = now.minus(Duration::from_secs(now.unix_seconds().unsigned_abs() % step.as_secs()));
        (1..=MINUTES_OF_SEARCH / self.minutes_apart())
            .map(|steps| before + step * steps)
            // Each append to the journal asks whether the rotation has finished, with `now` at the end of time. Nothing
            // comes after that.
            .take_while(|at| *at < Timestamp::NEVER)
            .find(|at| self.is_open(*at))
            .unwrap_or(Timestamp::NEVER)
    }

    /// Each opening lies on a multiple of this many minutes, in UTC too, because time zones are whole quarters of an
    /// hour apart.
    fn minutes_apart(&self) -> u32 {
        self.windows.iter().fold(15, |apart, window| gcd(apart, window.from_minute))
    }

    fn is_open(&self, at: Timestamp) -> bool {
        let local = self.zone.from_utc_datetime(&at.to_chrono().naive_utc()).naive_local();
        self.windows.is_empty() || self.windows.iter().any(|window| window.contains(local))
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn windows(zone: &str, texts: &[&str]) -> Windows {
        let parsed = texts.iter().map(|text| text.parse().expect("a window")).collect();
        Windows::new(zone.parse().expect("a zone"), parsed)
    }

    #[track_caller]
    fn check_opening(windows: &Windows, now: &str, expect: &str) {
        assert_eq!(windows.opening(at(now)), at(expect));
    }

    #[test]
    fn without_windows_any_time_is_open() {
        check_opening(&Windows::any_time(), "2026-11-22T03:04:05Z", "2026-11-22T03:04:05Z");
    }

    #[test]
    fn a_window_opens_at_its_first_minute_in_its_own_zone() {
        let office = windows("Europe/Berlin", &["Mon-Fri 09:00-17:00"]);
        check_opening(&office, "2026-11-23T08:00:01Z", "2026-11-23T08:00:01Z");
        check_opening(&office, "2026-11-20T16:00:00Z", "2026-11-23T08:00:00Z");
        // The clocks went back on 2026-10-25: 09:00 is 07:00 UTC on the Friday before, 08:00 UTC after.
        check_opening(&office, "2026-10-23T05:59:59Z", "2026-10-23T07:00:00Z");
    }

    #[test]
    fn a_window_without_days_opens_every_day() {
        let mornings = windows("UTC", &["06:00-06:30"]);
        check_opening(&mornings, "2026-11-21T06:29:59Z", "2026-11-21T06:29:59Z");
        check_opening(&mornings, "2026-11-21T06:30:00Z", "2026-11-22T06:00:00Z");
    }

    #[test]
    fn a_window_past_midnight_belongs_to_the_day_it_starts_on() {
        let night = windows("UTC", &["Fri 22:00-06:00"]);
        check_opening(&night, "2026-11-21T05:59:00Z", "2026-11-21T05:59:00Z");
        check_opening(&night, "2026-11-21T06:00:00Z", "2026-11-27T22:00:00Z");
    }

    #[test]
    fn a_range_of_days_may_wrap_around_the_week() {
        let weekend = windows("UTC", &["Sat-Mon 00:00-24:00"]);
        check_opening(&weekend, "2026-11-23T23:59:59Z", "2026-11-23T23:59:59Z");
        check_opening(&weekend, "2026-11-24T00:00:00Z", "2026-11-28T00:00:00Z");
    }

    #[test]
    fn at_the_end_of_time_a_closed_window_does_not_open() {
        let office = windows("Europe/Berlin", &["Mon-Fri 09:00-17:00"]);
        assert_eq!(office.opening(Timestamp::NEVER), Timestamp::NEVER);
        assert_eq!(office.opening(Timestamp::NEVER.minus(Duration::from_hours(1))), Timestamp::NEVER);
    }

    #[test]
    fn a_window_skipped_by_daylight_saving_opens_a_week_later() {
        let small_hours = windows("America/New_York", &["Sun 02:00-03:00"]);
        check_opening(&small_hours, "2026-03-01T08:00:00Z", "2026-03-15T06:00:00Z");
    }

    #[test]
    fn an_invalid_window_is_refused() {
        for bad in [
            "",
            "Mon",
            "Mon 9:00-17:00",
            "Mon 09:00",
            "Mon 09:60-10:30",
            "Foo 09:00-10:00",
            "09:00-09:00",
            "09:00-25:00",
            "24:00-01:00",
        ] {
            assert!(bad.parse::<Window>().is_err(), "{bad}");
        }
    }
}
