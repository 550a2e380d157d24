//! `--since-last`: remembers the findings of the last review, so that only new ones are shown.
//!
//! The ids of the findings are stored in a file beside the journal. Only `--since-last` reads and writes this file, so
//! any other review changes nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Reviewed;
use crate::cli::exit::{Code, Failure};
use crate::files::whole_file;
use crate::review::audit::Finding;

const FILE: &str = "audit-findings.json";

/// The findings of the last review.
pub(super) struct Last {
    path: PathBuf,
    seen: BTreeSet<String>,
}

impl Last {
    /// Reads the file beside this journal. If there is none, every finding is new.
    pub(super) fn read(journal: &Path) -> Result<Last, Failure> {
        let path = journal.with_file_name(FILE);
        let failed = |why: String| {
            let message = format!("what the last review found cannot be read from {}: {why}", path.display());
            Failure::new(Code::Failed, message).hinted("delete the file to show every finding as new")
        };
        let seen = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(failed(error.to_string())),
        };
        Ok(Last { path, seen })
    }

    /// Removes the findings that the last review had too. Returns the ids that the last review had and that are missing
    /// in `found`, the ids of this review.
    pub(super) fn keep_new(&self, reviewed: &mut [Reviewed], found: &BTreeSet<String>) -> Vec<String> {
        for one in reviewed {
            let account = one.facts.account_id.to_string();
            one.review.findings.retain(|finding| !self.seen.contains(&id(&account, finding)));
        }
        self.seen.difference(found).cloned().collect()
    }

    /// Stores these ids for the next review.
    pub(super) fn remember(&self, found: &BTreeSet<String>) -> Result<(), Failure> {
        let text = serde_json::json!(found).to_string();
        whole_file::replace(&self.path, text.as_bytes()).map_err(|error| {
            let message = format!(
                "{} cannot be written, so the next review shows the same as new: {error}",
                self.path.display()
            );
            Failure::new(Code::Failed, message)
        })
    }
}

/// The ids of all findings, each prefixed with its account.
pub(super) fn ids(reviewed: &[Reviewed]) -> BTreeSet<String> {
    let of_account = |one: &Reviewed| {
        let account = one.facts.account_id.to_string();
        one.review.findings.iter().map(|finding| id(&account, finding)).collect::<Vec<_>>()
    };
    reviewed.iter().flat_map(of_account).collect()
}

fn id(account: &str, finding: &Finding) -> String {
    format!("{account}/{}", finding.id())
}
