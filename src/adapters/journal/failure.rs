//! Turns database errors into messages for an operator.
//!
//! **Invariant:** a journal that cannot be reached or written now is told apart from a journal whose content cannot be
//! believed. keyround tries again after the first; the second needs a person.

use std::path::Path;

use sqlx::migrate::MigrateError;

use crate::ports::JournalError;

/// The operation that failed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Making,
    Opening,
    Closing,
    Reading,
    Appending,
    RecordingTick,
    RememberingSink,
}

impl Operation {
    /// What the journal could not be (the verb), and what is safe all the same.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Operation::Making => ("made", "; nothing was left behind"),
            Operation::Opening => ("opened", "; nothing was touched"),
            Operation::Closing => ("closed", "; every event in it is safe"),
            Operation::Reading => ("read", ""),
            Operation::Appending => ("written", "; nothing was appended"),
            Operation::RecordingTick => ("written", "; the pass was not recorded as begun"),
            Operation::RememberingSink => ("written", "; an alert may be sent twice"),
        }
    }
}

/// SQLite's result code `SQLITE_FULL`.
pub(super) const FULL: i32 = 13;
/// SQLite's extended result code `SQLITE_IOERR_SHMSIZE`.
const IOERR_SHMSIZE: i32 = 4874;

/// An error that already has its message, or an error from the database that needs one.
#[derive(Debug)]
pub(super) enum Failure {
    Judged(JournalError),
    Database(sqlx::Error),
}

impl Failure {
    /// SQLite's primary result code. It is [`FULL`] too if SQLite reports that it could not enlarge the file that
    /// readers share, which is how a full disk shows there.
    pub(super) fn sqlite_code(&self) -> Option<i32> {
        let Failure::Database(sqlx::Error::Database(error)) = self else { return None };
        let extended: i32 = error.code()?.parse().ok()?;
        Some(if extended == IOERR_SHMSIZE { FULL } else { extended & 0xff })
    }

    pub(super) fn in_words(self, path: &Path, doing: Operation) -> JournalError {
        let code = self.sqlite_code();
        let error = match self {
            Failure::Judged(error) => return error,
            Failure::Database(error) => error,
        };
        let (done, safe) = doing.words();
        let journal = path.display();
        if matches!(
            error,
            sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)
        ) {
            return JournalError::Unusable(format!(
                "the journal {journal} is damaged: a row is missing or is not what keyround writes{safe}; restore it \
                 from a backup"
            ));
        }
        let why = match code {
            // SQLITE_BUSY, SQLITE_LOCKED
            Some(5 | 6) => {
                "another process is writing to it and did not let go in time; try again".to_owned()
            }
            // SQLITE_READONLY
            Some(8) => "the file or its folder is read-only for this user".to_owned(),
            // SQLITE_IOERR
            Some(10) => format!("the disk answered with an error ({error})"),
            // SQLITE_CORRUPT, SQLITE_NOTADB; and codes that keyround's own statements cannot cause with keyround's own
            // schema: SQLITE_ERROR, SQLITE_SCHEMA, SQLITE_CONSTRAINT, SQLITE_MISMATCH
            Some(11 | 26 | 1 | 17 | 19 | 20) => {
                return JournalError::Unusable(format!(
                    "the journal {journal} is damaged, SQLite reports ({error}){safe}; restore it from a backup"
                ));
            }
            Some(FULL) => "the disk is full; make room".to_owned(),
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
        Failure::Database(error)
    }
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Failure {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                Failure::Database(error)
            }
            other => Failure::Judged(JournalError::Unusable(format!(
                "the journal's schema is not what keyround makes of it: {other}; nothing was touched"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use sqlx::error::{DatabaseError, ErrorKind};
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions as _, SqliteConnection, query};

    use super::*;

    const PATH: &str = "/var/lib/keyround/journal.db";

    #[tokio::test]
    async fn a_full_disk_is_reported_with_the_note_that_nothing_was_appended() {
        let mut connection = connect(SqliteConnectOptions::new().in_memory(true)).await;
        run(&mut connection, "PRAGMA max_page_count = 2").await.expect("a small disk");
        run(&mut connection, "CREATE TABLE t (x)").await.expect("a table");
        let full =
            run(&mut connection, "INSERT INTO t VALUES (zeroblob(100000))").await.expect_err("too much");
        let told = Failure::from(full).in_words(Path::new(PATH), Operation::Appending);
        assert!(matches!(told, JournalError::Unavailable(_)));
        let words = "the journal /var/lib/keyround/journal.db could not be written: the disk is full; make room; \
                     nothing was appended";
        assert_eq!(told.to_string(), words);
    }

    #[tokio::test]
    async fn a_journal_locked_by_another_writer_is_reported_as_unavailable() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let options =
            || SqliteConnectOptions::new().filename(file.path()).busy_timeout(std::time::Duration::ZERO);
        let (mut one, mut other) = (connect(options()).await, connect(options()).await);
        run(&mut one, "BEGIN IMMEDIATE").await.expect("a writer");
        let busy = run(&mut other, "BEGIN IMMEDIATE").await.expect_err("one writer at a time");
        let told = Failure::from(busy).in_words(Path::new(PATH), Operation::Appending);
        assert!(
            matches!(&told, JournalError::Unavailable(words) if words.contains("another process is writing"))
        );
        assert!(told.to_string().ends_with("; nothing was appended"), "{told}");
    }

    #[tokio::test]
    async fn a_read_only_journal_is_reported_and_a_foreign_file_is_unusable() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let options = || SqliteConnectOptions::new().filename(file.path());
        let read_only = run(&mut connect(options().read_only(true)).await, "CREATE TABLE t (x)").await;
        let told =
            Failure::from(read_only.expect_err("read-only")).in_words(Path::new(PATH), Operation::Appending);
        assert!(
            matches!(&told, JournalError::Unavailable(words) if words.contains("read-only for this user"))
        );
        std::fs::write(file.path(), "buy milk\n".repeat(999)).expect("written");
        let foreign = run(&mut connect(options()).await, "SELECT * FROM sqlite_schema").await;
        let told =
            Failure::from(foreign.expect_err("no database")).in_words(Path::new(PATH), Operation::Reading);
        assert!(matches!(&told, JournalError::Unusable(words) if words.contains("is damaged")), "{told}");
    }

    #[tokio::test]
    async fn an_unopenable_file_and_a_failing_disk_are_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let nowhere = SqliteConnectOptions::new().filename(folder.path().join("no/journal.db"));
        let Err(closed) = nowhere.connect().await else { panic!("there is no such folder") };
        let told = Failure::from(closed).in_words(Path::new(PATH), Operation::Opening).to_string();
        assert!(told.contains("cannot be opened by this user"), "{told}");

        let torn = sqlx::Error::Database(Box::new(Torn));
        let told = Failure::from(torn).in_words(Path::new(PATH), Operation::Reading).to_string();
        assert!(told.contains("the disk answered with an error (") && told.contains("short read"), "{told}");
    }

    /// `SQLITE_IOERR_SHORT_READ`: the database header counts a page that the disk does not have.
    #[derive(Debug)]
    struct Torn;

    impl std::fmt::Display for Torn {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.message())
        }
    }

    impl std::error::Error for Torn {}

    impl DatabaseError for Torn {
        fn message(&self) -> &'static str {
            "short read"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(Cow::Borrowed("522"))
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    async fn connect(options: SqliteConnectOptions) -> SqliteConnection {
        options.connect().await.expect("a connection")
    }

    async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
        query(sql).execute(connection).await.map(|_| ())
    }
}
