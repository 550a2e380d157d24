//! A folder for one journal, and the operations of the tests on that journal.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use keyround::adapters::journal::{Mode, SqliteJournal};
use keyround::core::ids::RotationId;
use keyround::ports::{Journal as _, JournalError};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection, query, query_as, query_scalar,
};
use tempfile::TempDir;

use super::{keep, open, probed, seal, start};

pub(super) const CANARY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYCANARY";

/// A folder for one journal.
pub(super) struct Place {
    folder: TempDir,
    /// The bytes of the journal when it was last known to be at rest.
    at_rest: std::cell::RefCell<Vec<u8>>,
}

impl Place {
    pub(super) fn new() -> Place {
        Place { folder: tempfile::tempdir().expect("a folder"), at_rest: Vec::new().into() }
    }

    /// A place with a closed journal in it: started, created with a sealed secret, probed.
    pub(super) async fn with_history() -> Place {
        let (place, journal, id, _) = Place::with_box().await;
        keep(&journal, id, 3, &probed(3)).await;
        journal.close().await.expect("closed");
        place.at_rest.replace(place.bytes());
        place
    }

    /// A place with an open journal in it: started, created with a sealed secret. Also returns the rotation and the
    /// sealed box.
    pub(super) async fn with_box() -> (Place, SqliteJournal, RotationId, Vec<u8>) {
        let place = Place::new();
        let begun = start("acme", "user-a", None, 0);
        let journal = open(&place.journal()).await;
        keep(&journal, begun.id, 1, &begun.event).await;
        seal(&journal, begun.id, 2, "AKIANEW0000000000001", CANARY).await;
        let sealed: Vec<u8> = place.ask("SELECT box FROM sealed_secret").await;
        // The box without its header: one byte, a salt of 32 bytes and a nonce of 12.
        (place, journal, begun.id, sealed[45..].to_vec())
    }

    /// A reader like another process: its open transaction keeps the old pages from being wiped until it ends.
    pub(super) async fn reader_in_the_way(&self) -> SqliteConnection {
        let mut reader = options(&self.journal()).connect().await.expect("a reader");
        query("BEGIN").execute(&mut reader).await.expect("a snapshot");
        query("SELECT count(*) FROM event").execute(&mut reader).await.expect("a snapshot");
        reader
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.file("journal.db")
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        fs::read(self.journal()).expect("a journal")
    }

    pub(super) fn put(&self, bytes: &[u8]) {
        fs::write(self.journal(), bytes).expect("written");
        self.at_rest.replace(bytes.to_vec());
    }

    pub(super) fn names(&self) -> Vec<String> {
        let files = fs::read_dir(self.folder.path()).expect("a folder");
        let mut names: Vec<_> =
            files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    pub(super) fn contains(&self, bytes: &[u8]) -> bool {
        let holds = |name: &String| {
            fs::read(self.file(name)).expect("a file").windows(bytes.len()).any(|w| w == bytes)
        };
        self.names().iter().any(holds)
    }

    /// Asserts that the refusal contains these words, says that nothing was touched, has no secret in it, and is true.
    #[track_caller]
    pub(super) fn untouched(&self, refused: &JournalError, words: &str) {
        let told = refused.to_string();
        assert!(matches!(refused, JournalError::Unusable(_) | JournalError::SealKey(_)), "{told}");
        assert!(told.contains(words) && told.contains(" not") | told.contains("nothing was"), "{told}");
        assert!(!told.contains(CANARY));
        assert!(*self.at_rest.borrow() == self.bytes(), "{told}: and yet it was touched");
    }

    pub(super) async fn refused_by_all(&self, words: &str) {
        for mode in [Mode::Drive, Mode::Operate, Mode::Read] {
            let names = self.names();
            self.untouched(&refusal(self, mode).await, words);
            assert_eq!(self.names(), names, "{mode:?}");
        }
    }

    pub(super) async fn tell(&self, sql: &str) {
        let mut connection = options(&self.journal()).connect().await.expect("a connection");
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("done");
        connection.close().await.expect("closed");
        self.at_rest.replace(self.bytes());
    }

    /// Changes the journal as a person with write access to the file might, who also restores the triggers.
    pub(super) async fn tamper(&self, sql: &str) {
        let mut connection = options(&self.journal()).connect().await.expect("a connection");
        let guards: Vec<(String, String)> =
            query_as("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
                .fetch_all(&mut connection)
                .await
                .expect("the guards");
        connection.close().await.expect("closed");
        let (down, up): (Vec<String>, Vec<String>) =
            guards.into_iter().map(|(name, text)| (format!("DROP TRIGGER {name}"), text)).unzip();
        self.tell(&format!("PRAGMA foreign_keys = OFF; {}; {sql}; {}", down.join("; "), up.join("; "))).await;
    }

    pub(super) async fn ask(&self, sql: &'static str) -> Vec<u8> {
        let mut connection = options(&self.journal()).connect().await.expect("a connection");
        query_scalar(sql).fetch_one(&mut connection).await.expect("an answer")
    }

    pub(super) async fn found(&self, finding: &str) {
        let reader = SqliteJournal::open(&self.journal(), None, Mode::Read).await.expect("a reader");
        let told = reader.verify_history().await.expect_err(finding);
        assert!(matches!(told, JournalError::Unusable(_)) && told.to_string().contains(finding), "{told}");
    }
}

pub(super) async fn refusal(place: &Place, mode: Mode) -> JournalError {
    SqliteJournal::open(&place.journal(), None, mode).await.expect_err("a refusal")
}

pub(super) fn options(path: &Path) -> sqlx::sqlite::SqliteConnectOptions {
    sqlx::sqlite::SqliteConnectOptions::new().filename(path)
}

pub(super) fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}
