//! The credential report: one row for each user, read by column names because AWS appends new columns.
//!
//! The report is up to four hours old and contains no key ids: it describes keys by slot, and leaves out a key that is
//! not active. So it shows which users' keys are worth listing, and the list shows which keys exist.

use std::collections::BTreeMap;

use csv_core::ReadRecordResult;

use crate::core::time::Timestamp;
use crate::review::audit::facts::{Console, Use};

const ROOT: &str = "<root_account>";
/// The report has 22 columns today.
const COLUMNS_MAX: usize = 256;

/// The content of the report: the rows of the users, by their names in lower case, and the row of the root user.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) users: BTreeMap<String, Row>,
    pub(super) root: Option<Row>,
}

/// One row: the console access and the key slots of a user.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) console: Console,
    pub(super) slots: [Slot; 2],
}

/// One of the two key slots of a user.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) active: bool,
    pub(super) last_use: Option<Use>,
}

impl Row {
    /// Whether the user has a key, as far as the report can tell.
    pub(super) fn has_key(&self) -> bool {
        self.slots.iter().any(|slot| slot.active || slot.last_use.is_some())
    }

    pub(super) fn last_used_at(&self) -> Option<Timestamp> {
        let of_keys = self.slots.iter().filter_map(|slot| slot.last_use.as_ref()).map(|last| last.at);
        of_keys.chain(self.console.last_used_at).max()
    }
}

/// Reads a report; `None` if the content is not one.
pub(super) fn read(content: &[u8]) -> Option<Report> {
    let mut records = records(content)?.into_iter();
    let header = records.next()?;
    header.iter().find(|name| *name == "user")?;
    let mut report = Report::default();
    for record in records {
        let fields: BTreeMap<&str, &str> =
            header.iter().map(String::as_str).zip(record.iter().map(String::as_str)).collect();
        let (name, row) = ((*fields.get("user")?).to_owned(), row(&fields));
        if name == ROOT {
            report.root = Some(row);
        } else {
            report.users.insert(name.to_lowercase(), row);
        }
    }
    Some(report)
}

/// The fields of each line; `None` if a line has more columns than any report.
fn records(content: &[u8]) -> Option<Vec<Vec<String>>> {
    let mut reader = csv_core::Reader::new();
    let (mut output, mut ends) = (vec![0; content.len()], [0; COLUMNS_MAX]);
    let (mut input, mut letters, mut fields) = (content, 0, 0);
    let mut records = Vec::new();
    loop {
        let (result, read, written, ended) =
            reader.read_record(input, &mut output[letters..], &mut ends[fields..]);
        (input, letters, fields) = (&input[read..], letters + written, fields + ended);
        match result {
            // An empty input tells the reader that there is no more to come.
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => return None,
            ReadRecordResult::Record => {
                let starts = std::iter::once(0).chain(ends[..fields].iter().copied());
                let field = |(start, end): (usize, &usize)| {
                    String::from_utf8_lossy(&output[start..*end]).into_owned()
                };
                records.push(starts.zip(&ends[..fields]).map(field).collect());
                (letters, fields) = (0, 0);
            }
            ReadRecordResult::End => return Some(records),
        }
    }
}

fn row(fields: &BTreeMap<&str, &str>) -> Row {
    let text = |name: &str| fields.get(name).copied().unwrap_or_default();
    // The documentation writes TRUE and FALSE; real reports have true and false.
    let truth = |name: &str| text(name).eq_ignore_ascii_case("true");
    let time = |name: &str| text(name).parse::<Timestamp>().ok();
    let word = |name: &str| {
        let word = text(name);
        (!matches!(word, "" | "N/A" | "no_information" | "not_supported")).then(|| word.to_owned())
    };
    let slot = |number: u8| {
        let name = |what: &str| format!("access_key_{number}_{what}");
        let last_use = time(&name("last_used_date")).map(|at| Use {
            at,
            service: word(&name("last_used_service")),
            region: word(&name("last_used_region")),
        });
        Slot { active: truth(&name("active")), last_use }
    };
    let console = Console {
        password: truth("password_enabled"),
        last_used_at: time("password_last_used"),
        mfa: truth("mfa_active"),
    };
    Row { console, slots: [slot(1), slot(2)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "user,arn,user_creation_time,password_enabled,password_last_used,mfa_active,access_key_1_active,\
                        access_key_1_last_used_date,access_key_1_last_used_region,access_key_1_last_used_service,access_key_2_active";

    #[test]
    fn credential_report_rows_are_read_by_column_name() {
        let text = format!(
            "{HEAD}\n<root_account>,arn:aws:iam::111122223333:root,2020-01-01T00:00:00+00:00,not_supported,\
             2026-11-01T00:00:00+00:00,true,false,N/A,N/A,N/A,false\nVendor-Acme,arn,2025-01-01T00:00:00Z,false,N/A,false,true,\
             2026-11-20T10:00:00+00:00,eu-west-1,s3,false\n"
        );
        let report = read(text.as_bytes()).expect("a report");
        let root = report.root.expect("root's row");
        assert_eq!(root.last_used_at(), "2026-11-01T00:00:00Z".parse().ok());
        assert!(!root.has_key() && !root.console.password && root.console.mfa);
        let row = &report.users["vendor-acme"];
        assert!(row.has_key());
        let last = row.slots[0].last_use.clone().expect("a use");
        assert_eq!((last.service.as_deref(), last.region.as_deref()), (Some("s3"), Some("eu-west-1")));
    }

    #[test]
    fn a_quoted_comma_is_one_field_and_a_final_newline_is_optional() {
        let report = read(b"user,access_key_1_active\n\"a,b\",true\nc,false").expect("a report");
        assert!(report.users["a,b"].has_key() && !report.users["c"].has_key());
    }

    #[test]
    fn an_invalid_credential_report_is_rejected() {
        assert!(read(b"").is_none());
        assert!(read(b"<html>no</html>").is_none());
        assert!(read(format!("user{}", ",x".repeat(300)).as_bytes()).is_none());
    }
}
