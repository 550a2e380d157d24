//! What went wrong at the database, in words for an operator.
//!
//! **Invariant:** a failure to reach or write the journal is told apart from a journal that cannot
//! be believed: the first is tried again, the second needs a person.

use std::path::Path;

use sqlx::migrate::MigrateError;

use crate::ports::JournalError;

/// What was being done when it went wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Doing {
    Making,
    Opening,
    Closing,
    Reading,
    Appending,
    RecordingTick,
}

impl Doing {
    /// What could not be done, and what is safe all the same.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Doing::Making => ("made", "; nothing was left behind"),
            Doing::Opening => ("opened", "; nothing was touched"),
            Doing::Closing => ("closed", "; every event in it is safe"),
            Doing::Reading => ("read", ""),
            Doing::Appending => ("written", "; nothing was appended"),
            Doing::RecordingTick => ("written", "; the pass was not recorded as begun"),
        }
    }
}

/// A judgement that is in words already, or an error of SQLite that is not yet.
#[derive(Debug)]
pub(super) enum Failure {
    Judged(JournalError),
    Sqlite(sqlx::Error),
}

impl Failure {
    /// SQLite's primary result code.
    pub(super) fn sqlite_code(&self) -> Option<i32> {
        let Failure::Sqlite(sqlx::Error::Database(error)) = self else { return None };
        let extended: i32 = error.code()?.parse().ok()?;
        Some(extended & 0xff)
    }

    pub(super) fn in_words(self, path: &Path, doing: Doing) -> JournalError {
        let code = self.sqlite_code();
        let error = match self {
            Failure::Judged(error) => return error,
            Failure::Sqlite(error) => error,
        };
        let (done, safe) = doing.words();
        let journal = path.display();
        let why = match code {
            // SQLITE_BUSY, SQLITE_LOCKED
            Some(5 | 6) => {
                "another process is writing to it and did not let go in time; try again".to_owned()
            }
            // SQLITE_READONLY
            Some(8) => "the file or its folder is read-only for this user".to_owned(),
            // SQLITE_IOERR
            Some(10) => format!("the disk answered with an error ({error})"),
            // SQLITE_CORRUPT, SQLITE_NOTADB
            Some(11 | 26) => {
                return JournalError::Unusable(format!(
                    "the journal {journal} is damaged, SQLite says ({error}){safe}; restore it from a backup"
                ));
            }
            // SQLITE_FULL
            Some(13) => "the disk is full; make room".to_owned(),
            // SQLITE_CANTOPEN
            Some(14) => {
                "the file, or the ones that SQLite keeps beside it, cannot be opened by this user".to_owned()
            }
            _ => error.to_string(),
        };
        JournalError::Unavailable(format!("the journal {journal} could not be {done}: {why}{safe}"))
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Failure {
        Failure::Judged(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        Failure::Sqlite(error)
    }
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Failure {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => Failure::Sqlite(error),
            other => Failure::Judged(JournalError::Unusable(format!(
                "the journal's schema is not what keyround makes of it: {other}; nothing was touched"
            ))),
        }
    }
}
