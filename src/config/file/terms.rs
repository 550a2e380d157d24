//! When a key is due, and how long its rotation waits: the keys of `[defaults]` that a `[vendor.NAME]` can
//! override.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::{self, Section, Text};
use super::report::{At, Mistake, Span};
use super::together::{Opening, lead};
use crate::config::settings::{Ages, Deadline, StartLimits};
use crate::core::rotation::Plan;
use crate::core::rotation::{Window, Windows};
use crate::core::time::in_words;

const DAY: Duration = Duration::from_hours(24);
const SECOND: Duration = Duration::from_secs(1);
const WARN_BEFORE: Duration = Duration::from_hours(14 * 24);
const PROVE_SUCCESSES: RangeInclusive<u32> = 1..=100;
const CONCURRENCY: RangeInclusive<u32> = 1..=256;
/// The bounds of `first` and `per_day`.
const STARTS: RangeInclusive<u32> = 1..=10_000;
/// The default of `slack`. Keys of the same age come due spread over this time.
const SLACK: Duration = Duration::from_hours(3 * 24);
const DEFAULT_CONCURRENCY: u32 = 8;

/// The terms of rotation: those of `[defaults]`, or of one vendor.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) ages: Ages,
    pub(super) plan: Plan,
    /// The `warn_before` that was written, and its place.
    warn_before: Option<(Duration, At)>,
    /// The `slack` that was written, if any.
    slack: Option<Duration>,
    /// The place of the `max_age` or `inactive_by` that was written.
    pub(super) max_age_at: Option<At>,
    pub(super) opening: Opening,
}

impl Default for Terms {
    fn default() -> Terms {
        let ages =
            Ages { max_age: 90 * DAY, warn_before: WARN_BEFORE, overdue_after: 3 * DAY, deadline: None };
        Terms {
            ages,
            plan: Plan::default(),
            warn_before: None,
            slack: None,
            max_age_at: None,
            opening: Opening::of(&Windows::any_time()),
        }
    }
}

/// Reads `[defaults]`: the terms, how many rotations may run at the same time, and how many may begin.
pub(super) fn defaults(section: Option<Section<'_>>, zone: chrono_tz::Tz) -> (Terms, usize, StartLimits) {
    let Some(mut section) = section else {
        return (Terms::default(), DEFAULT_CONCURRENCY as usize, StartLimits::default());
    };
    let terms = read(&mut section, &Terms::default(), zone);
    let concurrency = section.number("concurrency", CONCURRENCY).unwrap_or(DEFAULT_CONCURRENCY);
    let mut limit = |key| section.number(key, STARTS).map(|limit| limit as usize);
    let starts = StartLimits { first: limit("first"), per_day: limit("per_day") };
    section.finish();
    (terms, concurrency as usize, starts)
}

/// The terms that this section sets; what it does not set comes from `base`.
pub(super) fn read(section: &mut Section<'_>, base: &Terms, zone: chrono_tz::Tz) -> Terms {
    let plan = plan(section, &base.plan, zone);
    let opening = if plan.windows == base.plan.windows { base.opening } else { Opening::of(&plan.windows) };
    ages(section, base, plan, opening)
}

/// Reads `inactive_by` and `slack`. A `max_age` in this section replaces a deadline of `[defaults]`.
///
/// `max_age` and `here`: the places of `max_age` and `inactive_by` in this section.
fn deadline(
    section: &mut Section<'_>,
    base: &Terms,
    slack: Option<Duration>,
    (max_age, here): (Option<Span>, Option<Span>),
) -> Option<Deadline> {
    let said = section.duration("inactive_by", SECOND);
    if let (Some(max_age), Some(here)) = (max_age, here) {
        let message = "max_age and inactive_by exclude each other".to_owned();
        let hint = "max_age sets the age at which a key is due, inactive_by the age at which it is Inactive; set only one of them";
        section.report.add(Mistake::new(here, message).hint(hint).elsewhere(max_age, "max_age stands here"));
    }
    let inherited = base.ages.deadline.filter(|_| max_age.is_none()).map(|deadline| deadline.inactive_by);
    let inactive_by = said.or(inherited)?;
    Some(Deadline { inactive_by, slack: slack.unwrap_or(SLACK) })
}

fn ages(section: &mut Section<'_>, base: &Terms, plan: Plan, opening: Opening) -> Terms {
    let slack = section.duration("slack", Duration::ZERO).or(base.slack);
    let deadline_here = section.entry("inactive_by").map(|entry| entry.span());
    let max_age_here = section.entry("max_age").map(|entry| entry.span());
    let deadline = deadline(section, base, slack, (max_age_here, deadline_here));
    let max_age_said = section.duration("max_age", SECOND);
    let overdue_after = section.duration("overdue_after", Duration::ZERO).unwrap_or(base.ages.overdue_after);
    let warn_before_here = section.entry("warn_before").map(|entry| entry.at());
    let said = section.duration("warn_before", Duration::ZERO).zip(warn_before_here).or(base.warn_before);
    // If the deadline cannot be kept, `together` reports it with the rest of the vendor's settings; here the age is
    // only kept positive.
    let max_age = match deadline {
        Some(Deadline { inactive_by, slack }) => {
            inactive_by.saturating_sub(lead(&plan, opening) + slack).max(SECOND)
        }
        None => max_age_said.unwrap_or(base.ages.max_age),
    };
    let warn_before = match said {
        Some((warn_before, _)) => warn_before,
        // The default is shortened, so that a configuration with short-lived keys does not have to set
        // `warn_before`.
        None if WARN_BEFORE >= max_age => max_age / 6,
        None => WARN_BEFORE,
    };
    let judged = deadline.is_none() && (max_age_said.is_some() || max_age_here.is_none());
    let max_age_at = max_age_here.map(|here| section.report.at(here));
    let here = warn_before_here.or(max_age_at).filter(|_| judged && warn_before >= max_age);
    if let (Some((_, said)), Some(here)) = (said, here) {
        section.report.add(always_warned(here, said, warn_before, max_age));
    }
    let ages = Ages { max_age, warn_before, overdue_after, deadline };
    let max_age_at = deadline_here.or(max_age_here).map(|here| section.report.at(here)).or(base.max_age_at);
    Terms { ages, plan, warn_before: said, slack, max_age_at, opening }
}

fn always_warned(here: At, said: At, warn_before: Duration, max_age: Duration) -> Mistake {
    let (warn_before, max_age) = (in_words(warn_before), in_words(max_age));
    let message = format!("warn_before = {warn_before} is not shorter than max_age = {max_age}");
    let mistake =
        Mistake::at(here, message).hint("a key would be reported as due soon from the day it is created");
    if said == here { mistake } else { mistake.elsewhere_at(said, "warn_before stands here") }
}

fn plan(section: &mut Section<'_>, base: &Plan, zone: chrono_tz::Tz) -> Plan {
    let mut duration = |key, least, base| section.duration(key, least).unwrap_or(base);
    let soak = duration("soak", Duration::ZERO, base.soak);
    let quiet_for = duration("quiet_for", Duration::ZERO, base.quiet_for);
    let cool = duration("cool", Duration::ZERO, base.cool);
    let prove_every = duration("prove_every", Duration::ZERO, base.prove_every);
    let doubt_window = duration("doubt_window", SECOND, base.doubt_window);
    Plan {
        soak,
        quiet_for,
        cool,
        prove_every,
        doubt_window,
        require_use: section.flag("require_use").unwrap_or(base.require_use),
        prove_successes: section.number("prove_successes", PROVE_SUCCESSES).unwrap_or(base.prove_successes),
        can_ask_vendor: false,
        by_hand: false,
        windows: windows(section, zone).unwrap_or_else(|| base.windows.clone()),
    }
}

fn windows(section: &mut Section<'_>, zone: chrono_tz::Tz) -> Option<Windows> {
    let texts = section.strings("windows", "any time is written [\"00:00-24:00\"]")?;
    let windows = texts.into_iter().filter_map(|text| window(section, text));
    Some(Windows::new(zone, windows.collect()))
}

fn window(section: &Section<'_>, text: Text<'_>) -> Option<Window> {
    reader::parsed(section.report, text)
}
