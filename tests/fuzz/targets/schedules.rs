//! Cron expressions, windows, spans and times, in every time zone.

use std::time::Duration;

use chrono::TimeZone as _;
use chrono_tz::Tz;
use keyround::config::{Environment, parse};
use keyround::core::rotation::{Window, Windows};
use keyround::core::schedule::{Cron, jitter_for, missed};
use keyround::core::time::{Timestamp, in_words};
use toml::Value;

use super::bytes::Bytes;

const TIMES: u32 = 4;
/// Until then, every expression that names no year has a next time.
const FAR_SECS: u32 = 4_000_000_000;
/// The beginning of 2024. No rotation is older. In earlier years some zones had offsets that were not whole
/// quarters of an hour, or changed their clocks a minute after midnight.
const FIRST_ROTATION_SECS: i64 = 1_704_067_200;
const SPAN_MAX: Duration = Duration::from_hours(3650 * 24);

/// A schedule that is accepted has a later next time, or none; windows are open when they say; spans and times are
/// written back as they were read.
///
/// The bytes: four times, then lines: a zone, a cron expression, a window, a span, a time.
pub fn schedules(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let times = [(); TIMES as usize].map(|()| Timestamp::from_unix(i64::from(bytes.u32() % FAR_SECS)));
    let zone: Tz = bytes.line().parse().unwrap_or(Tz::UTC);
    if let Ok(cron) = Cron::parse(&bytes.line(), zone) {
        for now in times {
            check_cron(&cron, zone, now);
        }
        assert_eq!(Cron::parse(cron.text(), zone).as_ref(), Ok(&cron));
    }
    if let Ok(window) = bytes.line().parse::<Window>() {
        assert_eq!(String::from(window.clone()).parse(), Ok(window.clone()));
        let windows = Windows::new(zone, vec![window]);
        for now in times.into_iter().filter(|now| now.unix_seconds() >= FIRST_ROTATION_SECS) {
            check_windows(&windows, now);
        }
    }
    check_span(&bytes.line());
    if let Ok(at) = bytes.text().parse::<Timestamp>() {
        assert_eq!(at.to_string().parse(), Ok(at));
        assert!((Timestamp::EPOCH..=Timestamp::NEVER).contains(&at));
    }
}

fn check_cron(cron: &Cron, zone: Tz, now: Timestamp) {
    let Some(next) = cron.next_after(now) else { return };
    assert!(next > now, "{} goes back from {now} to {next}", cron.text());
    // A local time that occurs twice means the first occurrence.
    let shown = zone.from_utc_datetime(&next.to_chrono().naive_utc()).naive_local();
    let first = zone.from_local_datetime(&shown).earliest().map(|first| first.timestamp());
    assert_eq!(first, Some(next.unix_seconds()), "{} fires in a repeated hour", cron.text());
    // No time of the schedule lies between, so a later query before that time gives the same answer.
    for later in [next.minus(Duration::from_secs(1)), halfway(now, next)] {
        assert_eq!(cron.next_after(later), Some(next), "{} at {later}, after {now}", cron.text());
    }
    assert!(!missed(cron, Some(now), next.minus(Duration::from_secs(1))));
    assert!(missed(cron, Some(now), next));
    let most = Duration::from_mins(5);
    assert!(jitter_for(next, most, "keyround") <= most);
}

fn halfway(from: Timestamp, to: Timestamp) -> Timestamp {
    Timestamp::from_unix(i64::midpoint(from.unix_seconds(), to.unix_seconds()))
}

fn check_windows(windows: &Windows, now: Timestamp) {
    let opening = windows.opening(now);
    assert!(opening >= now);
    assert_eq!(windows.opening(opening), opening, "{windows:?} is not open at {opening}, after {now}");
    if opening > now && opening < Timestamp::NEVER {
        let before = opening.minus(Duration::from_secs(1));
        assert_eq!(
            windows.opening(before),
            opening,
            "{windows:?} opens at {opening}, and at {before} already"
        );
    }
}

fn check_span(text: &str) {
    let soak = |text: &str| {
        let file = format!("[defaults]\nsoak = {}\n", Value::String(text.to_owned()));
        let vendor = "[vendor.acme]\niam_user = \"vendor-acme\"\n[[vendor.acme.deliver]]\nkind = \"webhook\"\n\
                      url = \"https://api.acme.example/aws\"\nsecret = \"env:SIGNING\"\n";
        let settings = parse("rotation.toml", &(file + vendor), &Environment::default()).ok()?;
        let acme = settings.vendors.into_values().next().expect("the vendor");
        match acme.access {
            keyround::config::settings::Access::Key(access) => Some(access.plan.soak),
            keyround::config::settings::Access::Role { .. } => None,
        }
    };
    let Some(span) = soak(text) else { return };
    assert!(span <= SPAN_MAX && span.subsec_nanos() == 0, "{text:?} is {span:?}");
    // The words leave out only the small units.
    let words = in_words(span);
    let said = soak(&words).unwrap_or_else(|| panic!("{words:?} is not read back"));
    assert!(
        (said..said + Duration::from_hours(1)).contains(&span),
        "{text:?} is {span:?}, and is said {words:?}"
    );
    assert_eq!(in_words(said), words);
}
