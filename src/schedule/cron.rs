//! When the next pass is: a cron expression, read on the wall clock of one time zone.
//!
//! The `cron` crate supplies the calendar arithmetic, and only that. It counts Sunday as 1, wants
//! both day fields to match where every other cron wants either, accepts schedules that never
//! fire, and stumbles over daylight saving time. So expressions are read here, the crate runs on a
//! wall clock without zones, and the result is mapped to the zone here.
//!
//! **Invariant:** [`Cron::next_after`] is later than the time it was given, always: a daemon that
//! sleeps until the next tick never spins.
//!
//! **Invariant:** a wall-clock time that the zone repeats fires once, the first time; one that the
//! zone skips fires when the skip is over.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;
use cron::Schedule;

use crate::time::Timestamp;

/// A cron expression in a time zone, known to fire.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cron {
    text: String,
    zone: Tz,
    /// Two where both day fields are restricted: either may match.
    schedules: Vec<Schedule>,
}

/// Why a text is no schedule. A sentence for the author of the configuration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadCron {
    /// Too few fields, or too many.
    #[error(
        "a schedule has five fields (minute, hour, day of the month, month, day of the week), six with seconds \
         first, or seven with the year last; {text:?} has {count}"
    )]
    FieldCount {
        /// The expression.
        text: String,
        /// How many fields it has.
        count: usize,
    },
    /// A word with `@` that has no meaning here.
    #[error("{text:?} is not known: write @hourly, @daily, @weekly, @monthly, @yearly, or five fields")]
    Shorthand {
        /// The word.
        text: String,
    },
    /// One field is wrong.
    #[error("{text:?} is not {kind}: {hint}")]
    Field {
        /// What the field is for.
        kind: &'static str,
        /// The part of it that is wrong.
        text: String,
        /// What to write instead.
        hint: String,
    },
    /// Each field is right and no day has them all.
    #[error("{text:?} never fires: no date of the calendar matches it")]
    Never {
        /// The expression.
        text: String,
    },
}

impl Cron {
    /// Reads an expression of five fields, of six (seconds first) or of seven (and the year last),
    /// or one of the words `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    ///
    /// The five fields mean the same however many there are: Sunday is 0 or 7, and where both day
    /// fields are restricted (neither begins with `*`) a day that matches either is enough.
    ///
    /// # Errors
    ///
    /// The text is no schedule, or one that never fires.
    pub fn parse(text: &str, zone: Tz) -> Result<Cron, BadCron> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let fields = seven_fields(&text)?;
        let mut translated = Vec::with_capacity(fields.len());
        for (field, kind) in fields.iter().zip(&KINDS) {
            translated.push(kind.translate(field)?);
        }
        let schedules = schedules(&fields, &translated, &text)?;
        let cron = Cron { text, zone, schedules };
        match cron.next_after(Timestamp::EPOCH) {
            Some(_) => Ok(cron),
            None => Err(BadCron::Never { text: shortened(&cron.text) }),
        }
    }

    /// The expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first tick later than `after`. `None`: the expression names years, and they are over.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let local = self.zone.from_utc_datetime(&after.to_chrono().naive_utc()).naive_local();
        self.schedules.iter().filter_map(|schedule| self.next_of(schedule, local, after)).min()
    }

    fn next_of(&self, schedule: &Schedule, local: NaiveDateTime, after: Timestamp) -> Option<Timestamp> {
        // The wall clock is typed as UTC, which has no skips and no repeats for the crate to fall over.
        // In the repeated hour of autumn the first few ticks lie in the past: they were made already.
        let ticks = schedule.after_owned(local.and_utc());
        ticks.map(|tick| instant(self.zone, tick.naive_utc())).find(|tick| *tick > after)
    }
}

/// Whether a tick was missed while nobody was there to hear it. However many were, one pass makes up for them.
#[must_use]
pub fn missed(cron: &Cron, last_tick: Option<Timestamp>, now: Timestamp) -> bool {
    last_tick.and_then(|last| cron.next_after(last)).is_some_and(|next| next <= now)
}

/// How much after its tick a pass starts, at most `max`: the same each time for the same tick and
/// salt, and different enough between salts that a fleet does not knock all at once.
#[must_use]
pub fn jitter_for(tick: Timestamp, max: Duration, salt: &str) -> Duration {
    let what = format!("{salt}/{}", tick.unix_seconds());
    let (dice, _) = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, what.as_bytes()).as_u64_pair();
    Duration::from_secs(dice % max.as_secs().saturating_add(1))
}

/// When the zone's wall clock shows `local`: the first time if it does twice, and the end of the
/// skip if it never does.
fn instant(zone: Tz, local: NaiveDateTime) -> Timestamp {
    match zone.from_local_datetime(&local).earliest() {
        Some(at) => Timestamp::from_unix(at.timestamp()),
        None => end_of_skip(zone, local),
    }
}

/// No offset is further from UTC than this, and no skip is longer (Samoa left out 2011-12-30).
const SKIP_SEARCH_SECS: i64 = 172_800;

fn end_of_skip(zone: Tz, local: NaiveDateTime) -> Timestamp {
    let middle = local.and_utc().timestamp();
    let (mut before, mut after) =
        (middle.saturating_sub(SKIP_SEARCH_SECS), middle.saturating_add(SKIP_SEARCH_SECS));
    while after - before > 1 {
        let probe = i64::midpoint(before, after);
        let shown = DateTime::from_timestamp(probe, 0)
            .map(|at: DateTime<Utc>| zone.from_utc_datetime(&at.naive_utc()));
        match shown.is_some_and(|shown| shown.naive_local() < local) {
            true => before = probe,
            false => after = probe,
        }
    }
    Timestamp::from_unix(after)
}

/// The fields as the crate wants them: second, minute, hour, day, month, weekday, year.
fn seven_fields(text: &str) -> Result<[&str; 7], BadCron> {
    let text = if text.starts_with('@') { meaning_of(text)? } else { text };
    let fields: Vec<&str> = text.split(' ').filter(|field| !field.is_empty()).collect();
    match *fields.as_slice() {
        [minute, hour, day, month, weekday] => Ok(["0", minute, hour, day, month, weekday, "*"]),
        [second, minute, hour, day, month, weekday] => Ok([second, minute, hour, day, month, weekday, "*"]),
        [second, minute, hour, day, month, weekday, year] => {
            Ok([second, minute, hour, day, month, weekday, year])
        }
        _ => Err(BadCron::FieldCount { text: shortened(text), count: fields.len() }),
    }
}

fn meaning_of(word: &str) -> Result<&'static str, BadCron> {
    match word {
        "@hourly" => Ok("0 * * * *"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@monthly" => Ok("0 0 1 * *"),
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        _ => Err(BadCron::Shorthand { text: shortened(word) }),
    }
}

const DAY: usize = 3;
const WEEKDAY: usize = 5;

/// The crate wants both day fields to match. Cron wants either, unless one begins with `*`.
fn schedules(written: &[&str; 7], translated: &[String], text: &str) -> Result<Vec<Schedule>, BadCron> {
    let restricted = |field: usize| !written[field].starts_with(['*', '?']);
    let spared: &[Option<usize>] =
        if restricted(DAY) && restricted(WEEKDAY) { &[Some(DAY), Some(WEEKDAY)] } else { &[None] };
    let schedule = |spare: &Option<usize>| {
        let fields = translated.iter().enumerate();
        let fields = fields.map(|(index, field)| if *spare == Some(index) { "*" } else { field.as_str() });
        let expression = fields.collect::<Vec<_>>().join(" ");
        expression.parse().map_err(|_| BadCron::Never { text: shortened(text) })
    };
    spared.iter().map(schedule).collect()
}

/// What a field is for, and what may stand in it.
struct Kind {
    name: &'static str,
    first: u32,
    /// The last value of `*`.
    last: u32,
    /// The last value that may be written: Sunday has two numbers.
    last_written: u32,
    /// Names of the values from `first` on.
    names: &'static [&'static str],
}

const KINDS: [Kind; 7] = [
    Kind::numbers("a second", 0, 59),
    Kind::numbers("a minute", 0, 59),
    Kind::numbers("an hour", 0, 23),
    Kind::numbers("a day of the month", 1, 31),
    Kind {
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        ..Kind::numbers("a month", 1, 12)
    },
    Kind {
        last_written: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
        ..Kind::numbers("a day of the week", 0, 6)
    },
    Kind::numbers("a year", 1970, 2100),
];

impl Kind {
    const fn numbers(name: &'static str, first: u32, last: u32) -> Kind {
        Kind { name, first, last, last_written: last, names: &[] }
    }

    /// The field as the crate wants it: `*`, or each value by its number.
    fn translate(&self, field: &str) -> Result<String, BadCron> {
        if field == "*" || (field == "?" && self.is_of_days()) {
            return Ok("*".to_owned());
        }
        let mut values = BTreeSet::new();
        for item in field.split(',') {
            values.extend(self.values(item)?);
        }
        let numbers: Vec<String> = values.iter().map(u32::to_string).collect();
        Ok(numbers.join(","))
    }

    /// The values of `*`, `5`, `MON-FRI`, `*/15`, `8-18/2` or `5/20`, as the crate counts them.
    fn values(&self, item: &str) -> Result<Vec<u32>, BadCron> {
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let step = step.map(|step| self.step(step, item)).transpose()?;
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.first, self.last),
            Some((first, last)) => self.range(first, last, item)?,
            None if step.is_some() => (self.value(range, item)?, self.last),
            None => (self.value(range, item)?, self.value(range, item)?),
        };
        Ok((first..=last).step_by(step.unwrap_or(1)).map(|value| self.as_counted_by_crate(value)).collect())
    }

    fn range(&self, first: &str, last: &str, item: &str) -> Result<(u32, u32), BadCron> {
        let (first, last) = (self.value(first, item)?, self.value(last, item)?);
        match first <= last {
            true => Ok((first, last)),
            // FRI-MON goes round the end of the week.
            false if self.is_weekday() => Ok((first, last + 7)),
            false => Err(self.bad(item, "it goes backwards; write it as two ranges with a comma between")),
        }
    }

    fn step(&self, step: &str, item: &str) -> Result<usize, BadCron> {
        let number = digits(step).and_then(|step| usize::try_from(step).ok()).filter(|step| *step > 0);
        number.ok_or_else(|| self.bad(item, "after the / comes a number from 1"))
    }

    fn value(&self, text: &str, item: &str) -> Result<u32, BadCron> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.and_then(|index| u32::try_from(index).ok()).map(|index| self.first + index);
        let value = named.or_else(|| digits(text));
        let value = value.filter(|value| (self.first..=self.last_written).contains(value));
        value.ok_or_else(|| self.bad(item, &self.demand()))
    }

    fn demand(&self) -> String {
        let numbers = format!("{} to {}", self.first, self.last_written);
        match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!("write {numbers}, or {first} to {last}"),
            _ => format!("write {numbers}"),
        }
    }

    fn bad(&self, item: &str, hint: &str) -> BadCron {
        BadCron::Field { kind: self.name, text: shortened(item), hint: hint.to_owned() }
    }

    fn is_weekday(&self) -> bool {
        self.last_written == 7
    }

    fn is_of_days(&self) -> bool {
        self.is_weekday() || self.last_written == 31
    }

    fn as_counted_by_crate(&self, value: u32) -> u32 {
        if self.is_weekday() { value % 7 + 1 } else { value }
    }
}

/// Digits only: `parse` would also take `+5`.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, Timelike};
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    #[test]
    fn five_fields_are_minutes_and_hours_of_the_zone() {
        check("17 * * * *", "UTC", "2026-11-23T03:17:00Z", &["2026-11-23T04:17:00Z", "2026-11-23T05:17:00Z"]);
        check("30 3 * * *", "Europe/Berlin", "2026-11-23T02:29:59Z", &["2026-11-23T02:30:00Z"]);
        check(
            "0 9-17/4 * * *",
            "UTC",
            "2026-11-23T09:00:00Z",
            &["2026-11-23T13:00:00Z", "2026-11-23T17:00:00Z"],
        );
    }

    #[test]
    fn seconds_come_first_and_years_last() {
        check(
            "*/20 0 3 * * *",
            "UTC",
            "2026-11-23T03:00:20Z",
            &["2026-11-23T03:00:40Z", "2026-11-24T03:00:00Z"],
        );
        check(
            "0 0 3 1 1 * 2027-2028",
            "UTC",
            "2026-11-23T00:00:00Z",
            &["2027-01-01T03:00:00Z", "2028-01-01T03:00:00Z"],
        );
        let over = cron("0 0 3 1 1 * 2020", "UTC");
        assert_eq!(over.next_after(at("2026-11-23T00:00:00Z")), None);
    }

    /// 2026-11-22 is a Sunday.
    #[test]
    fn sunday_is_zero_and_seven_and_monday_is_one() {
        for sunday in ["0", "7", "sun", "SUN", "0,7", "7-7"] {
            check(
                &format!("0 3 * * {sunday}"),
                "UTC",
                "2026-11-17T00:00:00Z",
                &["2026-11-22T03:00:00Z", "2026-11-29T03:00:00Z"],
            );
        }
        check("0 3 * * 1", "UTC", "2026-11-17T00:00:00Z", &["2026-11-23T03:00:00Z"]);
        check("0 0 3 * * 1", "UTC", "2026-11-17T00:00:00Z", &["2026-11-23T03:00:00Z"]);
        check(
            "0 3 * * 5-7",
            "UTC",
            "2026-11-19T12:00:00Z",
            &["2026-11-20T03:00:00Z", "2026-11-21T03:00:00Z", "2026-11-22T03:00:00Z", "2026-11-27T03:00:00Z"],
        );
        check(
            "0 3 * * fri-mon",
            "UTC",
            "2026-11-21T12:00:00Z",
            &["2026-11-22T03:00:00Z", "2026-11-23T03:00:00Z", "2026-11-27T03:00:00Z"],
        );
        check(
            "0 3 * * */3",
            "UTC",
            "2026-11-22T12:00:00Z",
            &["2026-11-25T03:00:00Z", "2026-11-28T03:00:00Z", "2026-11-29T03:00:00Z"],
        );
    }

    #[test]
    fn either_day_field_is_enough_unless_one_begins_with_a_star() {
        check(
            "0 3 1 * mon",
            "UTC",
            "2026-11-24T00:00:00Z",
            &["2026-11-30T03:00:00Z", "2026-12-01T03:00:00Z", "2026-12-07T03:00:00Z"],
        );
        check(
            "0 3 */2 * mon",
            "UTC",
            "2026-11-02T12:00:00Z",
            &["2026-11-09T03:00:00Z", "2026-11-23T03:00:00Z"],
        );
        check("0 3 ? * mon", "UTC", "2026-11-23T12:00:00Z", &["2026-11-30T03:00:00Z"]);
    }

    #[test]
    fn the_words_with_an_at_are_known() {
        check("@hourly", "UTC", "2026-11-23T03:17:00Z", &["2026-11-23T04:00:00Z"]);
        check("@daily", "UTC", "2026-11-23T03:17:00Z", &["2026-11-24T00:00:00Z"]);
        check("@weekly", "UTC", "2026-11-23T03:17:00Z", &["2026-11-29T00:00:00Z"]);
        check("@monthly", "UTC", "2026-11-23T03:17:00Z", &["2026-12-01T00:00:00Z"]);
        check("@yearly", "UTC", "2026-11-23T03:17:00Z", &["2027-01-01T00:00:00Z"]);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_what_to_write_instead() {
        check_refused("", "has five fields");
        check_refused("0 0 3***", "has 3");
        check_refused("30 3 ** 2 *", "\"**\" is not a day of the month: write 1 to 31");
        check_refused("60 * * * *", "\"60\" is not a minute: write 0 to 59");
        check_refused("0 24 * * *", "\"24\" is not an hour");
        check_refused("0 3 * * 8", "write 0 to 7, or sun to sat");
        check_refused("0 3 * * monday", "write 0 to 7, or sun to sat");
        check_refused("0 3 * foo *", "write 1 to 12, or jan to dec");
        check_refused("0 22-3 * * *", "it goes backwards");
        check_refused("*/0 * * * *", "a number from 1");
        check_refused("+5 * * * *", "is not a minute");
        check_refused("5, * * * *", "\"\" is not a minute");
        check_refused("? * * * *", "is not a minute");
        check_refused("0 3 L * *", "is not a day of the month");
        check_refused("0 0 3 1 1 * 1969", "write 1970 to 2100");
        check_refused("@reboot", "write @hourly");
    }

    #[test]
    fn a_schedule_that_never_fires_is_refused() {
        check_refused("0 3 30 2 *", "never fires");
        check_refused("0 0 3 29 2 * 2027", "never fires");
        check("0 3 29 2 *", "UTC", "2026-11-23T00:00:00Z", &["2028-02-29T03:00:00Z"]);
    }

    #[test]
    fn a_skipped_time_fires_when_the_skip_is_over() {
        check(
            "30 2 * * *",
            "America/New_York",
            "2026-03-08T00:00:00Z",
            &["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
        );
        check(
            "0 0 * * *",
            "Asia/Beirut",
            "2026-03-28T12:00:00Z",
            &["2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"],
        );
        check(
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T12:00:00Z",
            &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
        );
        // Samoa had no 30 December 2011 at all.
        check(
            "0 12 30 12 *",
            "Pacific/Apia",
            "2011-12-01T00:00:00Z",
            &["2011-12-30T10:00:00Z", "2012-12-29T22:00:00Z"],
        );
    }

    #[test]
    fn a_repeated_time_fires_the_first_time_only() {
        check(
            "30 1 * * *",
            "America/New_York",
            "2026-11-01T00:00:00Z",
            &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
        );
        check(
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T12:00:00Z",
            &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
        );
        check(
            "30 23 * * *",
            "Asia/Beirut",
            "2026-10-24T12:00:00Z",
            &["2026-10-24T20:30:00Z", "2026-10-25T21:30:00Z"],
        );
    }

    #[test]
    fn in_the_repeated_hour_the_next_tick_is_not_in_the_past() {
        let half_hourly = cron("*/30 * * * *", "America/New_York");
        assert_eq!(half_hourly.next_after(at("2026-11-01T06:10:00Z")), Some(at("2026-11-01T07:00:00Z")));
    }

    #[test]
    fn any_number_of_missed_ticks_is_one_missed_pass() {
        let hourly = cron("17 * * * *", "UTC");
        let now = at("2026-11-23T03:17:00Z");
        assert!(missed(&hourly, Some(at("2026-11-23T02:17:00Z")), now));
        assert!(missed(&hourly, Some(at("2026-10-01T02:17:00Z")), now));
        assert!(!missed(&hourly, Some(at("2026-11-23T02:17:01Z")), at("2026-11-23T03:16:59Z")));
        assert!(!missed(&hourly, Some(now), now));
        // The clock was set back.
        assert!(!missed(&hourly, Some(at("2027-01-01T00:00:00Z")), now));
        assert!(!missed(&hourly, None, now));
    }

    #[test]
    fn jitter_is_bounded_repeatable_and_spread() {
        let (tick, max) = (at("2026-11-23T03:17:00Z"), Duration::from_mins(5));
        let spread: BTreeSet<Duration> =
            (0..100).map(|host| jitter_for(tick, max, &host.to_string())).collect();
        assert!(spread.iter().all(|jitter| *jitter <= max));
        assert!(spread.len() > 50, "{spread:?}");
        assert_eq!(jitter_for(tick, max, "a"), jitter_for(tick, max, "a"));
        assert_eq!(jitter_for(tick, Duration::ZERO, "a"), Duration::ZERO);
        assert!(jitter_for(tick, Duration::MAX, "a") > max);
    }

    proptest! {
        /// Walks three days across a transition and compares with a clock that is looked at each minute.
        #[test]
        fn ticks_are_what_the_wall_clock_shows(
            (zone, from) in select(&TRANSITIONS[..]),
            minute in select(&MINUTES[..]),
            hour in select(&HOURS[..]),
            day in select(&DAYS[..]),
            weekday in select(&WEEKDAYS[..]),
        ) {
            let (zone, from): (Tz, Timestamp) = (zone.parse().expect("a zone"), at(from));
            let text = format!("{} {} {} * {}", minute.0, hour.0, day.0, weekday.0);
            let either = !day.0.starts_with('*') && !weekday.0.starts_with('*');
            let matches = |local: NaiveDateTime| {
                let day = day.1(local.day());
                let weekday = weekday.1(local.weekday().num_days_from_sunday());
                let days = if either { day || weekday } else { day && weekday };
                minute.1(local.minute()) && hour.1(local.hour()) && days
            };
            let until = from + Duration::from_hours(72);
            let cron = Cron::parse(&text, zone).expect("a schedule");
            let ticks = std::iter::successors(cron.next_after(from), |tick| cron.next_after(*tick));
            let ticks: Vec<Timestamp> = ticks.take_while(|tick| *tick <= until).collect();
            prop_assert_eq!(ticks, ticks_by_watching(zone, from, until, matches), "{} in {}", text, zone);
        }

        #[test]
        fn the_next_tick_is_always_later(
            zone in select(&["UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "Pacific/Apia"][..]),
            text in select(&["*/30 * * * *", "59 1 * * *", "*/7 */5 * * *", "0 0 1 * sun", "*/50 59 * * * *"][..]),
            after in 1_200_000_000_i64..2_400_000_000,
        ) {
            let cron = cron(text, zone);
            let mut after = Timestamp::from_unix(after);
            for _ in 0..50 {
                let next = cron.next_after(after).expect("a next tick");
                prop_assert!(next > after, "{next} after {after}");
                after = next;
            }
        }
    }

    type Values = (&'static str, fn(u32) -> bool);
    const TRANSITIONS: [(&str, &str); 8] = [
        ("UTC", "2026-11-21T00:00:00Z"),
        ("America/New_York", "2026-03-07T00:00:00Z"),
        ("America/New_York", "2026-10-31T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-03T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-02T00:00:00Z"),
        ("Asia/Beirut", "2026-03-27T00:00:00Z"),
        ("Asia/Beirut", "2026-10-23T00:00:00Z"),
        ("Pacific/Apia", "2011-12-28T00:00:00Z"),
    ];
    const MINUTES: [Values; 4] = [
        ("*", |_| true),
        ("*/25", |minute| minute.is_multiple_of(25)),
        ("17", |minute| minute == 17),
        ("50-59/3,0", |minute| [0, 50, 53, 56, 59].contains(&minute)),
    ];
    const HOURS: [Values; 4] = [
        ("*", |_| true),
        ("0-3", |hour| hour <= 3),
        ("2", |hour| hour == 2),
        ("1/22", |hour| hour == 1 || hour == 23),
    ];
    const DAYS: [Values; 4] = [
        ("*", |_| true),
        ("*/2", |day| !day.is_multiple_of(2)),
        ("1,30", |day| day == 1 || day == 30),
        ("5-9", |day| (5..=9).contains(&day)),
    ];
    const WEEKDAYS: [Values; 5] = [
        ("*", |_| true),
        ("7", |weekday| weekday == 0),
        ("1-5", |weekday| (1..=5).contains(&weekday)),
        ("sat-mon", |weekday| [6, 0, 1].contains(&weekday)),
        ("*/2", |weekday| weekday.is_multiple_of(2)),
    ];

    /// The minutes at which the zone's wall clock shows, or has skipped, a time that matches and
    /// that it has not shown before.
    fn ticks_by_watching(
        zone: Tz,
        from: Timestamp,
        until: Timestamp,
        matches: impl Fn(NaiveDateTime) -> bool,
    ) -> Vec<Timestamp> {
        let minute = Duration::from_mins(1);
        let shown = |at: Timestamp| zone.from_utc_datetime(&at.to_chrono().naive_utc()).naive_local();
        let mut latest = shown(from);
        let minutes = std::iter::successors(Some(from + minute), |at| Some(*at + minute));
        let minutes = minutes.take_while(|at| *at <= until);
        minutes
            .filter(|at| {
                let mut fires = false;
                while latest < shown(*at) {
                    latest += minute;
                    fires |= matches(latest);
                }
                fires
            })
            .collect()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn cron(text: &str, zone: &str) -> Cron {
        Cron::parse(text, zone.parse().expect("a zone")).expect("a schedule")
    }

    #[track_caller]
    fn check(text: &str, zone: &str, after: &str, expect: &[&str]) {
        let cron = cron(text, zone);
        let ticks = std::iter::successors(cron.next_after(at(after)), |tick| cron.next_after(*tick));
        let ticks: Vec<String> = ticks.take(expect.len()).map(|tick| tick.to_string()).collect();
        assert_eq!(ticks, expect, "{text} in {zone}");
        assert_eq!(cron.text(), text);
    }

    #[track_caller]
    fn check_refused(text: &str, expect: &str) {
        let refusal = Cron::parse(text, chrono_tz::UTC).expect_err("no schedule").to_string();
        assert!(refusal.contains(expect), "{refusal}");
    }
}
