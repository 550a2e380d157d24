//! What results look like in a table.

use crate::cli::layout::{Row, table};
use crate::driver::Visited;
use crate::time::Timestamp;

/// The rows of `status`, one for each user.
pub(crate) fn status_table(found: &[Visited], now: Timestamp, columns: Option<usize>) -> String {
    let row = |visited: &Visited| {
        let judged = visited.keys.iter().find(|key| Some(&key.id) == visited.verdict.old.as_ref());
        let age = judged.map(|key| format!("{}d", now.days_since(key.created_at)));
        let stage = visited.rotation.as_ref().map(|rotation| rotation.stage().name().to_owned());
        let cells = vec![
            visited.vendor.to_string(),
            visited.iam_user.as_ref().map_or_else(dash, ToString::to_string),
            visited.verdict.state.to_string(),
            stage.unwrap_or_else(dash),
            age.unwrap_or_else(dash),
            visited.verdict.due_at.map_or_else(dash, |due_at| due_at.to_string()),
        ];
        Row { cells, sentence: visited.sentence() }
    };
    let header = ["VENDOR", "IAM USER", "STATE", "STAGE", "AGE", "DUE", "WHY"];
    table(&header, found.iter().map(row).collect(), columns)
}

pub(crate) fn dash() -> String {
    "-".to_owned()
}
