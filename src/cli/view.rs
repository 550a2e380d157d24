//! The tables in which results are shown.

use std::collections::BTreeMap;

use crate::cli::layout::{Row, table};
use crate::core::schedule::State;
use crate::core::time::Timestamp;
use crate::engine::UserReport;

/// The table of `status`, one row for each user, the most urgent first. On a terminal the number of rows in each state
/// follows.
pub(crate) fn status_table(found: &[UserReport], now: Timestamp, columns: Option<usize>) -> String {
    let row = |user_report: &&UserReport| {
        let judged = user_report.keys.iter().find(|key| Some(&key.id) == user_report.verdict.old.as_ref());
        let age = judged.map(|key| format!("{}d", now.days_since(key.created_at)));
        let stage = user_report.rotation.as_ref().map(|rotation| rotation.stage().name().to_owned());
        let cells = vec![
            user_report.vendor.to_string(),
            user_report.iam_user.as_ref().map_or_else(dash, ToString::to_string),
            user_report.verdict.state.to_string(),
            stage.unwrap_or_else(dash),
            age.unwrap_or_else(dash),
            user_report.verdict.due_at.map_or_else(dash, |due_at| due_at.to_string()),
        ];
        Row { cells, sentence: user_report.sentence() }
    };
    let header = ["VENDOR", "IAM USER", "STATE", "STAGE", "AGE", "DUE", "WHY"];
    let mut found: Vec<&UserReport> = found.iter().collect();
    // The sort is stable: within a state the order of the vendors stays.
    let is_calm = |report: &UserReport| report.exposure.as_ref().is_none_or(Vec::is_empty);
    found.sort_by_key(|user_report| (is_calm(user_report), urgency(user_report.verdict.state)));
    let rows = table(&header, found.iter().map(row).collect(), columns);
    match columns {
        Some(_) => format!("{rows}\n\n{}", totals(&found)),
        // In a pipe, every line is a row.
        None => rows,
    }
}

/// The position of a state in the table; 0 is the most urgent.
fn urgency(state: State) -> u8 {
    match state {
        State::Stuck => 0,
        State::Overdue => 1,
        State::Held => 2,
        State::Due => 3,
        State::Warning => 4,
        State::Rotating => 5,
        State::Unmanaged => 6,
        State::Ok => 7,
        State::Role => 8,
    }
}

/// The number of rows in each state, such as `5 rows: 1 stuck, 1 overdue, 3 ok`.
fn totals(found: &[&UserReport]) -> String {
    let mut counts: BTreeMap<u8, (State, usize)> = BTreeMap::new();
    for user_report in found {
        let state = user_report.verdict.state;
        counts.entry(urgency(state)).or_insert((state, 0)).1 += 1;
    }
    let counted: Vec<String> = counts.values().map(|(state, count)| format!("{count} {state}")).collect();
    match found.len() {
        0 => "no vendor is configured, and no rotation is in flight".to_owned(),
        1 => format!("1 row: {}", counted.join(", ")),
        rows => format!("{rows} rows: {}", counted.join(", ")),
    }
}

pub(crate) fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::schedule::Verdict;

    #[test]
    fn the_most_urgent_rows_come_first_and_the_totals_last() {
        let user_report = |vendor: &str, state| {
            let verdict = Verdict { state, ..Verdict::disabled() };
            UserReport::of(vendor.parse().expect("a name"), None, verdict)
        };
        let mut found: Vec<UserReport> = State::ALL
            .into_iter()
            .zip('a'..)
            .map(|(state, name)| user_report(&name.to_string(), state))
            .collect();
        found.push(user_report("z", State::Stuck));
        let text = status_table(&found, Timestamp::EPOCH, Some(200));
        let second = |line: &str| line.split_whitespace().nth(2).map(str::to_owned);
        let states: Vec<String> = text.lines().skip(1).take(10).filter_map(second).collect();
        let expected =
            ["stuck", "stuck", "overdue", "held", "due", "warning", "rotating", "unmanaged", "ok", "role"];
        assert_eq!(states, expected, "{text}");
        let totals =
            "10 rows: 2 stuck, 1 overdue, 1 held, 1 due, 1 warning, 1 rotating, 1 unmanaged, 1 ok, 1 role";
        assert_eq!(text.lines().last(), Some(totals), "{text}");
        let piped = status_table(&found, Timestamp::EPOCH, None);
        assert_eq!(piped.lines().count(), 11, "a head and a line for each row: {piped}");
    }
}
