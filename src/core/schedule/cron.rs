//! When the next pass is: a cron expression, evaluated on the wall clock of one time zone.
//!
//! The `cron` crate supplies only the calendar arithmetic. It counts Sunday as 1, wants both day fields to match where
//! other cron programs want either, accepts schedules that never fire, and fails around changes of daylight saving
//! time. So this file parses expressions itself, uses the crate on a wall clock without zones, and maps to the zone.
//!
//! **Invariant:** [`Cron::next_after`] always returns a later time than it was given, so a daemon never spins on it.
//!
//! **Invariant:** a schedule of fixed times fires once for a wall-clock time that the zone repeats, the first time. For
//! a time that the zone skips it fires when the skip ends. A schedule of intervals (`*/15 * * * *`, `0 */2 * * *`)
//! keeps its interval: it fires each time the wall clock shows one of its times.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;
use cron::Schedule;

use crate::core::time::Timestamp;

/// A cron expression in a time zone. It fires at least once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cron {
    text: String,
    zone: Tz,
    /// Two schedules if both day fields are restricted, because a day that matches either is enough.
    schedules: Vec<Schedule>,
    rhythm: OffsetPolicy,
    doubts: Vec<String>,
}

/// What a change of the zone's UTC offset does to the ticks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum OffsetPolicy {
    /// Each wall-clock time is meant once, even if the zone repeats it.
    FixedTimes,
    /// The distance between two ticks is meant, so a repeated hour has its ticks again.
    Intervals,
    /// As `Intervals`, all round the clock: if a repeated hour would make an interval too long, a tick is made when the
    /// interval has really passed.
    RoundTheClock,
    /// As `Intervals`, in every hour of the day: a skip of whole hours leaves no gap, so no tick is made up for.
    EveryHour,
}

/// Why a text is not a schedule, as a sentence for the author of the configuration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadCron {
    /// The expression has too few fields, or too many.
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
    /// The word begins with `@` and is not known.
    #[error("{text:?} is not known: write @hourly, @daily, @weekly, @monthly, @yearly, or five fields")]
    Shorthand {
        /// The unknown word.
        text: String,
    },
    /// A field has a part that is not valid.
    #[error("{text:?} is not {kind}: {hint}")]
    Field {
        /// The kind of value that the field holds, such as `a minute`.
        kind: &'static str,
        /// The part of the field that is wrong.
        text: String,
        /// What to write instead.
        hint: String,
    },
    /// A step is so large that only the first value of its range is left.
    #[error("{text:?} is not a step of {kind}: {hint}")]
    Step {
        /// The kind of value that the field holds, such as `a minute`.
        kind: &'static str,
        /// The part of the field that is wrong.
        text: String,
        /// What to write instead.
        hint: String,
    },
    /// Each field is valid, but no date matches all of them.
    #[error("{text:?} never fires: no date of the calendar matches it")]
    Never {
        /// The expression.
        text: String,
    },
}

impl Cron {
    /// Parses an expression of five fields, of six (seconds first) or of seven (seconds first, year last), or one of
    /// the words `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    ///
    /// The five common fields always mean the same: Sunday is 0 or 7, and where both day fields are restricted (neither
    /// begins with `*`) a day that matches either is enough.
    ///
    /// # Errors
    ///
    /// The text is not a schedule, or the schedule never fires.
    pub fn parse(text: &str, zone: Tz) -> Result<Cron, BadCron> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let fields = seven_fields(&text)?;
        let mut translated = Vec::with_capacity(fields.len());
        for (field, kind) in fields.iter().zip(&KINDS) {
            translated.push(kind.translate(field)?);
        }
        not_quartz(&fields)?;
        let schedules = schedules(&fields, &translated, &text)?;
        let rhythm = rhythm(&fields, &translated);
        let doubts = doubts(&text, &fields, &translated);
        let cron = Cron { text: text.clone(), zone, schedules, rhythm, doubts };
        match cron.next_after(Timestamp::EPOCH) {
            Some(_) => Ok(cron),
            None => Err(BadCron::Never { text: shortened(&cron.text) }),
        }
    }

    /// What the expression does that its author may not have meant, as sentences for a warning.
    #[must_use]
    pub fn doubts(&self) -> &[String] {
        &self.doubts
    }

    /// The expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first tick later than `after`. `None`: the expression names years, and all of them have passed.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let local = self.zone.from_utc_datetime(&after.to_chrono().naive_utc()).naive_local();
        let next = self.schedules.iter().filter_map(|schedule| self.next_of(schedule, local, after)).min()?;
        if self.rhythm != OffsetPolicy::RoundTheClock || next.since(after) > INTERVAL_SEARCH {
            return Some(next);
        }
        // A repeated hour since `after` makes the real distance longer than the one that the wall clock shows.
        let shown = self.zone.from_utc_datetime(&next.to_chrono().naive_utc()).naive_local() - local;
        let repeated = i64::try_from(next.since(after).as_secs()).unwrap_or_default() - shown.num_seconds();
        let earlier = Timestamp::from_unix(next.unix_seconds() - repeated);
        Some(if repeated > 0 && earlier > after { earlier } else { next })
    }

    fn next_of(&self, schedule: &Schedule, local: NaiveDateTime, after: Timestamp) -> Option<Timestamp> {
        // The wall clock is passed to the crate as UTC, which skips and repeats no hour, so that the crate cannot fail
        // there. In the repeated hour of autumn the first few ticks lie in the past, because they were made already.
        let next = schedule.after_owned(local.and_utc()).find_map(|tick| self.made(tick.naive_utc(), after));
        if self.rhythm == OffsetPolicy::FixedTimes {
            return next;
        }
        // The wall clock shows this hour for the first time: its ticks up to now come again in the repeated hour.
        let LocalResult::Ambiguous(first, second) = self.zone.from_local_datetime(&local) else {
            return next;
        };
        if second.timestamp() <= after.unix_seconds() {
            return next;
        }
        let repeated = schedule.after_owned((local - (second.naive_utc() - first.naive_utc())).and_utc());
        let repeated = repeated.take_while(|tick| tick.naive_utc() <= local);
        let again = repeated.filter_map(|tick| self.made(tick.naive_utc(), after)).min();
        [next, again].into_iter().flatten().min()
    }

    /// When the tick of this wall-clock time is made, if that is later than `after`.
    fn made(&self, local: NaiveDateTime, after: Timestamp) -> Option<Timestamp> {
        let times = match self.zone.from_local_datetime(&local) {
            LocalResult::Single(at) => [Some(at), None],
            LocalResult::Ambiguous(first, second) => {
                [Some(first), (self.rhythm != OffsetPolicy::FixedTimes).then_some(second)]
            }
            LocalResult::None => {
                let end = end_of_skip(self.zone, local);
                let left_out = self.rhythm == OffsetPolicy::EveryHour && is_whole_hours(self.zone, end);
                return Some(end).filter(|end| !left_out && *end > after);
            }
        };
        let times = times.into_iter().flatten().map(|at| Timestamp::from_unix(at.timestamp()));
        times.filter(|at| *at > after).min()
    }
}

/// Whether a tick was missed while keyround was not running. However many were missed, one pass makes up for them.
#[must_use]
pub fn missed(cron: &Cron, last_tick: Option<Timestamp>, now: Timestamp) -> bool {
    last_tick.and_then(|last| cron.next_after(last)).is_some_and(|next| next <= now)
}

/// How long after its tick a pass starts, at most `max`. The delay is the same each time for the same tick and salt,
/// and different enough between salts that a fleet does not start all at once.
#[must_use]
pub fn jitter_for(tick: Timestamp, max: Duration, salt: &str) -> Duration {
    let what = format!("{salt}/{}", tick.unix_seconds());
    // A UUIDv5 is a hash of its input, and serves here as a random number that is the same each time.
    let (dice, _) = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, what.as_bytes()).as_u64_pair();
    Duration::from_secs(dice % max.as_secs().saturating_add(1))
}

/// Whether the skip that ends at `end` is a whole number of hours.
fn is_whole_hours(zone: Tz, end: Timestamp) -> bool {
    let shown = |at: i64| {
        DateTime::from_timestamp(at, 0).map(|at| zone.from_utc_datetime(&at.naive_utc()).naive_local())
    };
    let skip =
        shown(end.unix_seconds()).zip(shown(end.unix_seconds() - 1)).map(|(after, before)| after - before);
    skip.is_some_and(|skip| (skip.num_seconds() - 1) % 3600 == 0)
}

/// How many seconds around a skipped time its end is searched: the longest skip and the largest offset from UTC.
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

/// The fields in the order of the crate: second, minute, hour, day, month, weekday, year.
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

const SECOND: usize = 0;
const MINUTE: usize = 1;
const HOUR: usize = 2;
const DAY: usize = 3;
const WEEKDAY: usize = 5;
/// Hours that are further apart than this are times of the day, and not an interval.
const INTERVAL_HOURS_MAX: usize = 6;
/// No interval of hours is longer than this, even with a repeated hour.
const INTERVAL_SEARCH: Duration = Duration::from_hours(13);

/// Whether the expression means an interval or times of the day.
fn rhythm(written: &[&str; 7], translated: &[String]) -> OffsetPolicy {
    let hours: Vec<usize> = translated[HOUR].split(',').filter_map(|hour| hour.parse().ok()).collect();
    if translated[HOUR] == "*" || hours.len() == 24 {
        return OffsetPolicy::EveryHour;
    }
    let step = 24 / hours.len().max(1);
    let is_even = hours.windows(2).all(|pair| pair[1] - pair[0] == step) && hours.len() * step == 24;
    let is_interval = |field: usize| written[field].starts_with('*') || written[field].contains('/');
    if written[HOUR].starts_with('*') || (is_even && step <= INTERVAL_HOURS_MAX) {
        OffsetPolicy::RoundTheClock
    } else if is_interval(HOUR) || is_interval(MINUTE) {
        OffsetPolicy::Intervals
    } else {
        OffsetPolicy::FixedTimes
    }
}

/// Refuses a Quartz expression (one with a `?`) with numbered weekdays: Quartz counts Sunday as 1, cron as 0 and 7.
fn not_quartz(written: &[&str; 7]) -> Result<(), BadCron> {
    let has_mark = written.contains(&"?");
    if has_mark && written[WEEKDAY].contains(|letter: char| letter.is_ascii_digit()) {
        let hint = "with a ? this is a Quartz expression, where Sunday is 1; write the days by name, such as mon-fri";
        return Err(KINDS[WEEKDAY].bad(written[WEEKDAY], hint));
    }
    Ok(())
}

/// Sentences about what an expression does beside what it seems to say.
fn doubts(text: &str, written: &[&str; 7], translated: &[String]) -> Vec<String> {
    let mut doubts = Vec::new();
    let text = shortened(text);
    for (field, kind) in written.iter().zip(&KINDS) {
        doubts.extend(field.split(',').filter_map(|item| kind.uneven(item)));
    }
    if translated[SECOND].contains([',', '*']) {
        doubts.push(format!(
            "the schedule {text:?} makes more than one pass in a minute: its first field is seconds"
        ));
    } else if written[SECOND] != "0" {
        doubts.push(format!(
            "the first of the six fields of the schedule {text:?} is read as seconds; without seconds, write five fields"
        ));
    }
    let is_restricted = |field: usize| !written[field].starts_with(['*', '?']);
    if is_restricted(DAY) && is_restricted(WEEKDAY) {
        doubts.push(format!(
            "the schedule {text:?} names days of the month and days of the week: a pass is made on a day that matches either"
        ));
    }
    doubts
}

/// The schedules whose ticks together are those of the expression. The crate wants both day fields to match, cron one.
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

/// What a field means, and which values it can have.
struct Kind {
    name: &'static str,
    first: u32,
    /// The last value that `*` includes.
    last: u32,
    /// The last value that may be written, because Sunday has two numbers.
    last_written: u32,
    /// The names of the values, starting with `first`.
    names: &'static [&'static str],
    /// The unit that the values fill before they begin again, such as an hour for minutes; `None`: they do not begin
    /// again.
    round: Option<&'static str>,
}

const KINDS: [Kind; 7] = [
    Kind::numbers("a second", 0, 59).of("a minute"),
    Kind::numbers("a minute", 0, 59).of("an hour"),
    Kind::numbers("an hour", 0, 23).of("a day"),
    Kind::numbers("a day of the month", 1, 31).of("a month"),
    Kind {
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        ..Kind::numbers("a month", 1, 12).of("a year")
    },
    Kind {
        last_written: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
        ..Kind::numbers("a day of the week", 0, 6).of("a week")
    },
    Kind::numbers("a year", 1970, 2100),
];

impl Kind {
    const fn numbers(name: &'static str, first: u32, last: u32) -> Kind {
        Kind { name, first, last, last_written: last, names: &[], round: None }
    }

    const fn of(self, round: &'static str) -> Kind {
        Kind { round: Some(round), ..self }
    }

    /// The field in the form that the crate wants: `*`, or the number of each value.
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

    /// The values of `*`, `5`, `MON-FRI`, `*/15`, `8-18/2` or `5/20`, in the numbers of the crate.
    fn values(&self, item: &str) -> Result<Vec<u32>, BadCron> {
        if self.is_of_days() && self.is_quartz_form(item) {
            return Err(self.bad(
                item,
                "L, W and # are Quartz forms that are not known here; write the days themselves",
            ));
        }
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let step = step.map(|step| self.step(step, item)).transpose()?;
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.first, self.last),
            Some((first, last)) => self.range(first, last, item)?,
            None if step.is_some() => (self.value(range, item)?, self.last),
            None => (self.value(range, item)?, self.value(range, item)?),
        };
        let values = (first..=last).step_by(step.unwrap_or(1)).map(|value| self.as_counted_by_crate(value));
        let values: Vec<u32> = values.collect();
        if let (Some(step), [_]) = (step, values.as_slice()) {
            let hint = format!(
                "a step of {step} leaves only {first} of {first} to {last}; write {first}, or a smaller step"
            );
            return Err(self.bad_step(item, hint));
        }
        Ok(values)
    }

    /// Whether this is a form that only Quartz has: `L`, `LW`, `15W`, `5L`, `fri#2`.
    fn is_quartz_form(&self, item: &str) -> bool {
        let is_name = self.names.iter().any(|name| name.eq_ignore_ascii_case(item));
        let letters = item.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let is_mark = |mark: &&str| letters.eq_ignore_ascii_case(mark);
        !is_name && (item.contains('#') || letters.starts_with("L-") || ["L", "W", "LW"].iter().any(is_mark))
    }

    /// A sentence about a step that does not divide its range evenly; `None`: it does.
    fn uneven(&self, item: &str) -> Option<String> {
        let (range, step) = item.split_once('/')?;
        let step = digits(step).filter(|step| *step > 1)?;
        if range != "*" && digits(range).is_none_or(|start| start >= step) {
            return None;
        }
        let (count, round) = (self.last - self.first + 1, self.round?);
        let is_even = count.is_multiple_of(step) && self.last != 31;
        let item = shortened(item);
        (!is_even).then(|| format!("{item:?} does not fit evenly into {round}: it begins anew with each one"))
    }

    fn range(&self, first: &str, last: &str, item: &str) -> Result<(u32, u32), BadCron> {
        let (first, last) = (self.value(first, item)?, self.value(last, item)?);
        match first <= last {
            true => Ok((first, last)),
            // FRI-MON wraps around the end of the week.
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

    fn bad_step(&self, item: &str, hint: String) -> BadCron {
        BadCron::Step { kind: self.name, text: shortened(item), hint }
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

/// Parses digits only, because `parse` would also accept `+5`.
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
    fn a_five_field_expression_fires_by_the_minutes_and_hours_of_its_zone() {
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
    fn the_shortcuts_hourly_to_yearly_fire_at_their_times() {
        check("@hourly", "UTC", "2026-11-23T03:17:00Z", &["2026-11-23T04:00:00Z"]);
        check("@daily", "UTC", "2026-11-23T03:17:00Z", &["2026-11-24T00:00:00Z"]);
        check("@weekly", "UTC", "2026-11-23T03:17:00Z", &["2026-11-29T00:00:00Z"]);
        check("@monthly", "UTC", "2026-11-23T03:17:00Z", &["2026-12-01T00:00:00Z"]);
        check("@yearly", "UTC", "2026-11-23T03:17:00Z", &["2027-01-01T00:00:00Z"]);
    }

    #[test]
    fn an_invalid_schedule_is_refused_with_an_explanation() {
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
        let fixed = cron("0,30 1,2 * * *", "America/New_York");
        assert_eq!(fixed.next_after(at("2026-11-01T06:10:00Z")), Some(at("2026-11-01T07:00:00Z")));
    }

    #[test]
    fn an_interval_schedule_keeps_its_interval_across_clock_changes() {
        let check_gaps = |text: &str, zone: &str, from: &str, most: Duration| {
            let (cron, end) = (cron(text, zone), at(from) + Duration::from_hours(48));
            let mut last = cron.next_after(at(from)).expect("a tick");
            while last < end {
                let next = cron.next_after(last).expect("a tick");
                assert!(next.since(last) <= most, "{text} in {zone}: {last} to {next}");
                last = next;
            }
        };
        let minutes = |minutes| Duration::from_mins(minutes);
        for (zone, from) in TRANSITIONS {
            check_gaps("*/15 * * * *", zone, from, minutes(15));
            check_gaps("0,15,30,45 0-23 * * *", zone, from, minutes(15));
            check_gaps("0 */2 * * *", zone, from, minutes(120));
            check_gaps("30 0/3 * * *", zone, from, minutes(180));
            if !zone.contains("Lord_Howe") {
                check_gaps("0 * * * *", zone, from, minutes(60));
                check_gaps("17 * * * *", zone, from, minutes(60));
            }
        }
        check(
            "*/15 * * * *",
            "Europe/London",
            "2026-10-25T00:46:00Z",
            &["2026-10-25T01:00:00Z", "2026-10-25T01:15:00Z"],
        );
        check(
            "30 * * * *",
            "Europe/Berlin",
            "2027-03-28T00:30:00Z",
            &["2027-03-28T01:30:00Z", "2027-03-28T02:30:00Z"],
        );
    }

    #[test]
    fn a_misleading_expression_is_refused_or_gives_a_warning() {
        for bad in [
            "*/90 * * * *",
            "*/60 * * * *",
            "0 */24 * * *",
            "0/60 * * * *",
            "0 3 */31 * *",
            "0 3 * */12 *",
            "0 3 * * */7",
        ] {
            check_refused(bad, "leaves only");
        }
        for bad in [
            "0 3 L * *",
            "0 3 LW * *",
            "0 3 15W * *",
            "0 3 L-3 * *",
            "0 3 * * 5L",
            "0 3 * * fri#2",
            "0 3 * * 6#3",
        ] {
            check_refused(bad, "Quartz");
        }
        check_refused("0 0 3 ? * 2", "where Sunday is 1");
        check_refused("0 0 3 ? * 2-6 2027", "where Sunday is 1");
        check_refused("0 3 * * ? *", "\"?\" is not a month");
        for doubtful in [
            "*/7 * * * *",
            "*/25 * * * *",
            "0 */5 * * *",
            "0 3 */2 * *",
            "0 3 * */5 *",
            "0 3 1 * mon",
            "*/20 0 3 * * *",
            "30 3 * * * *",
        ] {
            assert_eq!(cron(doubtful, "UTC").doubts().len(), 1, "{doubtful}");
        }
        for plain in [
            "*/15 * * * *",
            "17 * * * *",
            "0 0 3 * * *",
            "@daily",
            "0 3 ? * mon",
            "0 8-18/2 * * *",
            "0 */6 * * 1-5",
        ] {
            assert!(cron(plain, "UTC").doubts().is_empty(), "{plain}");
        }
    }

    #[test]
    fn any_number_of_missed_ticks_is_one_missed_pass() {
        let hourly = cron("17 * * * *", "UTC");
        let now = at("2026-11-23T03:17:00Z");
        assert!(missed(&hourly, Some(at("2026-11-23T02:17:00Z")), now));
        assert!(missed(&hourly, Some(at("2026-10-01T02:17:00Z")), now));
        assert!(!missed(&hourly, Some(at("2026-11-23T02:17:01Z")), at("2026-11-23T03:16:59Z")));
        assert!(!missed(&hourly, Some(now), now));
        // The clock was set back, so the last tick is later than now.
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
        /// Walks three days across a transition, and compares the ticks with a wall clock that is read each minute.
        #[test]
        fn ticks_match_the_wall_clock_across_clock_changes(
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
            let keeping = match (hour.0, minute.0) {
                ("*", _) => Keeping::EveryHour,
                ("1/22", _) | (_, "*" | "*/25" | "50-59/3,0") => Keeping::Intervals,
                _ => Keeping::Times,
            };
            let ticks = std::iter::successors(cron.next_after(from), |tick| cron.next_after(*tick));
            let ticks: Vec<Timestamp> = ticks.take_while(|tick| *tick <= until).collect();
            prop_assert_eq!(ticks, ticks_by_watching(zone, from, until, keeping, matches), "{} in {}", text, zone);
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

    /// What a schedule keeps when the wall clock jumps.
    #[derive(Clone, Copy, PartialEq)]
    enum Keeping {
        Times,
        Intervals,
        EveryHour,
    }

    /// The minutes at which a schedule should tick: when the zone's wall clock shows a matching time (for `Times`, only
    /// the first time), and when it has just skipped one.
    fn ticks_by_watching(
        zone: Tz,
        from: Timestamp,
        until: Timestamp,
        keeping: Keeping,
        matches: impl Fn(NaiveDateTime) -> bool,
    ) -> Vec<Timestamp> {
        let minute = Duration::from_mins(1);
        let shown = |at: Timestamp| zone.from_utc_datetime(&at.to_chrono().naive_utc()).naive_local();
        let mut latest = shown(from);
        let minutes = std::iter::successors(Some(from + minute), |at| Some(*at + minute));
        let minutes = minutes.take_while(|at| *at <= until);
        minutes
            .filter(|at| {
                let now = shown(*at);
                if now <= latest {
                    return keeping != Keeping::Times && matches(now);
                }
                let skipped = (now - latest).num_minutes() - 1;
                let made_up = keeping != Keeping::EveryHour || skipped % 60 != 0;
                let mut fires = matches(now);
                while latest < now {
                    latest += minute;
                    fires |= made_up && matches(latest);
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
