//! Judges combinations of settings that are valid by themselves. One that can never work is a mistake; one that is
//! dangerous is a warning. Each message shows the arithmetic.

use std::time::Duration;

use super::reader::Section;
use super::report::{At, Mistake, Report};
use super::terms::Terms;
use crate::config::settings::{Ages, Deadline, ScheduleSettings};
use crate::core::rotation::{Plan, Windows};
use crate::core::time::{Timestamp, in_words};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// The approximate delay with which AWS reports the use of a key.
const REPORT_DELAY: Duration = Duration::from_mins(15);
/// The step in which windows are sampled.
const STEP: Duration = Duration::from_mins(5);
/// The shortest cooling time without a warning: an operator who is called to restore an old key needs this long.
const COOL_MIN: Duration = HOUR;
/// 2026-01-01, a Thursday, in seconds since 1970. Windows and schedules are sampled from this day on, so that a
/// file means the same every day.
const EXAMPLE_DAY: i64 = 1_767_225_600;
/// The number of ticks of a schedule that are sampled.
const TICKS: usize = 100;
/// The keys of a vendor that the checks here depend on.
const KEYS: [&str; 13] = [
    "max_age",
    "inactive_by",
    "slack",
    "soak",
    "quiet_for",
    "cool",
    "windows",
    "prove_every",
    "prove_successes",
    "require_use",
    "overdue_after",
    "warn_before",
    "doubt_window",
];

/// How long windows are open and closed in one week.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Opening {
    open: Duration,
    longest_closed: Duration,
}

impl Opening {
    pub(super) fn of(windows: &Windows) -> Opening {
        if *windows == Windows::any_time() {
            return Opening { open: 7 * DAY, longest_closed: Duration::ZERO };
        }
        let start = Timestamp::from_unix(EXAMPLE_DAY);
        let (mut at, mut open, mut longest_closed) = (start, Duration::ZERO, Duration::ZERO);
        // Two weeks are sampled, because a window may still be open at the end of the first.
        while at < start + 14 * DAY {
            let opening = windows.opening(at);
            if opening > at {
                longest_closed = longest_closed.max(opening.since(at));
                at = opening;
            } else {
                open += if at < start + 7 * DAY { STEP } else { Duration::ZERO };
                at = at + STEP;
            }
        }
        Opening { open, longest_closed }
    }
}

/// Judges the terms of a vendor: its own settings, and those of `[defaults]` for what it does not set.
pub(super) fn judge(section: &Section<'_>, terms: &Terms) {
    let said = KEYS.into_iter().find_map(|key| section.place_of(key));
    let here = section.place_of("max_age").or(section.place_of("inactive_by")).or(said);
    let here = here.map(|here| section.report.at(here));
    let place = here.or(terms.max_age_at).unwrap_or(section.report.at(section.span));
    let who = if said.is_some() { section.title.as_str() } else { "[defaults]" };
    match terms.ages.deadline {
        Some(deadline) => judge_deadline(section.report, place, terms, deadline),
        None => judge_max_age(section.report, place, who, terms),
    }
    if let (None, Some(place)) = (terms.ages.deadline, section.place_of("slack")) {
        let message = "slack does nothing without inactive_by".to_owned();
        section
            .report
            .add(Mistake::new(place, message).hint("add inactive_by = \"90d\", or leave slack out"));
    }
    let warnings = [
        too_soon(terms),
        too_late(terms),
        closed(terms.opening),
        retired_unseen(&terms.plan),
        gone_for_good(&terms.plan),
        proved_for_long(&terms.plan),
        doubted_briefly(&terms.plan),
    ];
    for warning in warnings.into_iter().flatten() {
        section.report.warn(format!("{who}: {warning}"));
    }
}

/// How long before a deadline a rotation must begin, without the slack: the time from CreateAccessKey until the old
/// key is Inactive.
pub(super) fn lead(plan: &Plan, opening: Opening) -> Duration {
    prove(plan) + plan.soak + REPORT_DELAY + plan.quiet_for + opening.longest_closed
}

/// Refuses a deadline that a rotation cannot keep, and one that leaves no time between two rotations.
fn judge_deadline(report: &Report<'_>, place: At, terms: &Terms, deadline: Deadline) {
    let (plan, Deadline { inactive_by, slack }) = (&terms.plan, deadline);
    let lead = lead(plan, terms.opening) + slack;
    let written = in_words(inactive_by);
    let sum = format!(
        "proving {} + soak {} + {} until AWS reports a use + quiet_for {} + closed windows {} + slack {} = {}",
        in_words(prove(plan)),
        in_words(plan.soak),
        in_words(REPORT_DELAY),
        in_words(plan.quiet_for),
        in_words(terms.opening.longest_closed),
        in_words(slack),
        in_words(lead),
    );
    if inactive_by <= lead {
        let message =
            format!("inactive_by = {written} cannot be kept: before a key can be Inactive, it takes {sum}");
        report.add(Mistake::at(place, message).hint("a longer inactive_by, or shorter waits"));
    } else if inactive_by.saturating_sub(lead) <= lead.saturating_sub(slack) + plan.cool {
        let message = format!(
            "inactive_by = {written} leaves too little time between two rotations: a key is due {} after it was created, \
             when the rotation that created it has not ended: {sum}, and cool {}",
            in_words(inactive_by.saturating_sub(lead)),
            in_words(plan.cool),
        );
        report.add(Mistake::at(place, message).hint("a longer inactive_by, or shorter waits"));
    }
}

fn prove(plan: &Plan) -> Duration {
    plan.prove_every * plan.prove_successes.saturating_sub(1)
}

/// Refuses a `max_age` that is shorter than a rotation takes: the key would be due again before its rotation has
/// ended, and be rotated without end.
fn judge_max_age(report: &Report<'_>, place: At, who: &str, terms: &Terms) {
    let (plan, max_age, closed) = (&terms.plan, terms.ages.max_age, terms.opening.longest_closed);
    let least = plan.soak.max(plan.quiet_for) + plan.cool + prove(plan);
    let all = lead(plan, terms.opening) + plan.cool;
    let sum = format!(
        "soak {} + {} until AWS reports a use + quiet_for {} + cool {} + proving {} + closed windows {} = {}",
        in_words(plan.soak),
        in_words(REPORT_DELAY),
        in_words(plan.quiet_for),
        in_words(plan.cool),
        in_words(prove(plan)),
        in_words(closed),
        in_words(all),
    );
    let written = in_words(max_age);
    let hint = match max_age < DAY {
        true => "m is minutes; for three months write 90d",
        false => "a longer max_age, or shorter waits",
    };
    if max_age <= least {
        let message = format!("max_age = {written} is shorter than a rotation takes: {sum}");
        report.add(Mistake::at(place, message).hint(hint));
    } else if max_age <= all {
        report.warn(format!(
            "{who}: max_age = {written} may be shorter than a rotation takes, so that the next one begins at once: {sum}"
        ));
    } else if max_age < DAY {
        report.warn(format!("{who}: max_age = {written} rotates a key several times a day; {hint}"));
    }
}

fn too_soon(terms: &Terms) -> Option<String> {
    let (overdue_after, closed) = (terms.ages.overdue_after, terms.opening.longest_closed);
    let written = in_words(overdue_after);
    if overdue_after < MINUTE {
        return Some(format!("overdue_after = {written} reports each key as overdue as soon as it is due"));
    }
    (overdue_after <= closed).then(|| {
        let closed = in_words(closed);
        format!("overdue_after = {written} is not longer than the windows are closed ({closed}): a key can be overdue before its rotation may begin")
    })
}

fn too_late(terms: &Terms) -> Option<String> {
    let Ages { max_age, overdue_after, .. } = terms.ages;
    (overdue_after > max_age).then(|| {
        let (overdue_after, max_age) = (in_words(overdue_after), in_words(max_age));
        format!("overdue_after = {overdue_after} is longer than max_age = {max_age}: a key is reported only at more than twice its age")
    })
}

fn closed(opening: Opening) -> Option<String> {
    (opening.open < HOUR).then(|| {
        format!(
            "the windows are open for about {} a week: a rotation may have no time to begin",
            in_words(opening.open)
        )
    })
}

fn retired_unseen(plan: &Plan) -> Option<String> {
    let (soak, quiet_for) = (in_words(plan.soak), in_words(plan.quiet_for));
    if !plan.requires_use() && plan.quiet_for < HOUR {
        return Some(format!(
            "require_use = false and quiet_for = {quiet_for}: the old key is set Inactive {soak} after the \
             delivery, whether or not the vendor uses the new one"
        ));
    }
    if plan.soak < REPORT_DELAY && plan.quiet_for < REPORT_DELAY {
        return Some(format!(
            "soak = {soak} and quiet_for = {quiet_for}: AWS reports a use up to {} late, so a use of the old key \
             can be missed",
            in_words(REPORT_DELAY)
        ));
    }
    (!plan.quiet_for.is_zero() && plan.quiet_for < REPORT_DELAY).then(|| {
        format!(
            "quiet_for = {quiet_for}: AWS reports a use up to {} late, so a use of the old key can be missed",
            in_words(REPORT_DELAY)
        )
    })
}

fn gone_for_good(plan: &Plan) -> Option<String> {
    (plan.cool < COOL_MIN).then(|| {
        let cool = in_words(plan.cool);
        format!("cool = {cool}: the old key is deleted {cool} after it was set Inactive, too soon to bring it back")
    })
}

fn proved_for_long(plan: &Plan) -> Option<String> {
    (prove(plan) > DAY).then(|| {
        format!(
            "prove_every = {} and prove_successes = {}: a new key is proved for {} before the vendor gets it",
            in_words(plan.prove_every),
            plan.prove_successes,
            in_words(prove(plan))
        )
    })
}

fn doubted_briefly(plan: &Plan) -> Option<String> {
    (plan.doubt_window < MINUTE).then(|| {
        format!("doubt_window = {}: a listing of AWS can lag behind for longer", in_words(plan.doubt_window))
    })
}

/// Judges the times of the passes.
pub(super) fn judge_schedule(report: &Report<'_>, schedule: &ScheduleSettings, ages: &Ages) {
    for doubt in schedule.cron.doubts() {
        report.warn(format!("[schedule]: {doubt}"));
    }
    let first = schedule.cron.next_after(Timestamp::from_unix(EXAMPLE_DAY));
    let ticks = std::iter::successors(first, |tick| schedule.cron.next_after(*tick));
    let ticks: Vec<Timestamp> = ticks.take(TICKS).collect();
    let gaps = || ticks.windows(2).map(|pair| pair[1].since(pair[0]));
    let (Some(shortest), Some(longest)) = (gaps().min(), gaps().max()) else { return };
    if schedule.jitter >= shortest {
        report.warn(format!(
            "[schedule]: jitter = {} is not shorter than the time between two passes ({}), so passes are left out",
            in_words(schedule.jitter),
            in_words(shortest)
        ));
    }
    if longest > ages.overdue_after && longest > DAY {
        report.warn(format!(
            "[schedule]: passes are up to {} apart, longer than overdue_after = {}: a key can be overdue before a \
             pass sees it",
            in_words(longest),
            in_words(ages.overdue_after)
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::settings::Access;
    use crate::config::{Environment, Settings, parse};

    /// Parses a configuration with these lines in `[defaults]`; an error holds the mistakes as text.
    fn read(defaults: &str) -> Result<Settings, String> {
        let text = format!(
            "[defaults]\n{defaults}\n[vendor.acme]\niam_user = \"acme\"\n\
             deliver = [{{ kind = \"webhook\", url = \"https://a.example\", secret = \"env:A\" }}]"
        );
        parse("rotation.toml", &text, &Environment::default()).map_err(|mistakes| mistakes.render(false))
    }

    fn warned_of(defaults: &str, sentence: &str) {
        let warnings = read(defaults).expect("settings").warnings;
        assert!(warnings.iter().any(|warning| warning.contains(sentence)), "{warnings:?}");
    }

    #[test]
    fn a_max_age_shorter_than_a_rotation_is_refused() {
        let refusal = read("max_age = \"7d\"").expect_err("a rotation takes longer");
        assert!(refusal.contains("max_age = 7d is shorter than a rotation takes"), "{refusal}");
        assert!(refusal.contains("cool 7d"), "{refusal}");
    }

    #[test]
    fn the_default_settings_give_no_warnings() {
        assert_eq!(read("").expect("settings").warnings, Vec::<String>::new());
        assert_eq!(read("max_age = \"30d\"").expect("settings").warnings, Vec::<String>::new());
    }

    #[test]
    fn a_deadline_decides_when_a_key_is_due() {
        let start = |defaults: &str| match &read(defaults).expect("settings").vendors
            [&"acme".parse().expect("a name")]
            .access
        {
            Access::Key(access) => (access.ages.max_age, access.ages.limit()),
            Access::Role { .. } => panic!("acme has a key"),
        };
        let day = Duration::from_hours(24);
        // Two days for soak and `quiet_for`, 15 minutes for AWS's report delay, twelve seconds for proofs, and the
        // slack.
        let spent = 2 * day + Duration::from_mins(15) + Duration::from_secs(12);
        assert_eq!(start("inactive_by = \"90d\""), ((87 * day).saturating_sub(spent), 90 * day));
        assert_eq!(
            start("inactive_by = \"90d\"\nslack = \"0s\""),
            ((90 * day).saturating_sub(spent), 90 * day)
        );
        let closed = start("inactive_by = \"90d\"\nslack = \"0s\"\nwindows = [\"Mon-Fri 00:00-24:00\"]");
        assert_eq!(closed, ((88 * day).saturating_sub(spent), 90 * day), "a weekend is two days");
        assert_eq!(start("max_age = \"60d\""), (60 * day, 60 * day));
    }

    #[test]
    fn an_inactive_by_deadline_that_cannot_be_met_is_refused() {
        let refusal = read("inactive_by = \"5d\"").expect_err("a rotation takes longer");
        assert!(refusal.contains("inactive_by = 5d cannot be kept"), "{refusal}");
        assert!(refusal.contains("slack 3d"), "{refusal}");
        let refusal = read("inactive_by = \"12d\"").expect_err("the rotation before is not over");
        assert!(refusal.contains("too little time between two rotations"), "{refusal}");
        let refusal = read("inactive_by = \"90d\"\nmax_age = \"90d\"").expect_err("one or the other");
        assert!(refusal.contains("max_age and inactive_by exclude each other"), "{refusal}");
    }

    #[test]
    fn the_max_age_of_a_vendor_overrides_a_default_deadline() {
        let text = |own: &str, defaults: &str| {
            format!(
                "[defaults]\n{defaults}\n[vendor.acme]\niam_user = \"acme\"\n{own}\n\
                 deliver = [{{ kind = \"webhook\", url = \"https://a.example\", secret = \"env:A\" }}]"
            )
        };
        let read = |own, defaults| parse("rotation.toml", &text(own, defaults), &Environment::default());
        let settings = read("max_age = \"60d\"", "inactive_by = \"90d\"").expect("settings");
        let Access::Key(access) = &settings.vendors[&"acme".parse().expect("a name")].access else {
            panic!("a key")
        };
        assert_eq!((access.ages.deadline, access.ages.limit()), (None, Duration::from_hours(24 * 60)));
        let refusal = read("slack = \"1d\"", "").expect_err("nothing to have a slack").render(false);
        assert!(refusal.contains("slack does nothing without inactive_by"), "{refusal}");
    }

    #[test]
    fn minutes_where_months_are_meant_are_refused_with_a_hint() {
        let refusal = read("max_age = \"3m\"").expect_err("three minutes");
        assert!(refusal.contains("m is minutes; for three months write 90d"), "{refusal}");
    }

    #[test]
    fn a_max_age_exceeded_only_with_the_report_delay_is_a_warning() {
        // The waits alone are shorter than `max_age`. With AWS's delay, and both waits one after the other, they
        // are longer.
        warned_of("max_age = \"8d12h\"", "may be shorter than a rotation takes");
    }

    #[test]
    fn waits_too_short_to_see_a_use_or_to_reactivate_give_warnings() {
        warned_of("soak = \"0s\"\nquiet_for = \"0s\"", "a use of the old key can be missed");
        warned_of("cool = \"10m\"", "too soon to bring it back");
        warned_of("overdue_after = \"100d\"", "is longer than max_age");
    }
}
