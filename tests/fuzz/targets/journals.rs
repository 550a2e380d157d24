//! Journal files, as a disk, a backup or a stranger may have changed them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use keyround::adapters::journal::{Mode, SqliteJournal, decode};
use keyround::core::ids::RotationId;
use keyround::core::rotation::{Event, Rotation};
use keyround::core::secret::Secret;
use keyround::core::time::Timestamp;
use keyround::ports::{Entry, Journal, JournalError, Recorded, SecretChange};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::bytes::Bytes;

const CHANGES_MAX: usize = 64;
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// The events of one rotation, up to a hold before the old key is set Inactive.
const EVENTS: [&str; 9] = [
    r#"{"v":1,"event":"started","subject":{"vendor":"acme","account":null,"iam_user":"vendor-acme"},"old":"AKIAOLD0000000000001","old_created_at":"2026-08-23T03:00:00Z","reason":"too_old","plan":{"soak_secs":0,"require_use":false,"quiet_for_secs":0,"cool_secs":604800,"prove_successes":1,"prove_every_secs":6,"doubt_window_secs":60,"can_ask_vendor":false,"windows":{"zone":"UTC","windows":[]}},"at":"2026-11-23T03:00:00Z"}"#,
    r#"{"v":1,"event":"listed","keys":[{"id":"AKIAOLD0000000000001","status":"Active","created_at":"2026-08-23T03:00:00Z"}],"at":"2026-11-23T03:00:01Z"}"#,
    r#"{"v":1,"event":"intended","intent":{"intent":"create"},"at":"2026-11-23T03:00:02Z"}"#,
    r#"{"v":1,"event":"created","key":"AKIANEW0000000000001","at":"2026-11-23T03:00:03Z"}"#,
    r#"{"v":1,"event":"probed","at":"2026-11-23T03:00:09Z"}"#,
    r#"{"v":1,"event":"intended","intent":{"intent":"deliver","key":"AKIANEW0000000000001","round":1},"at":"2026-11-23T03:00:10Z"}"#,
    r#"{"v":1,"event":"delivered","at":"2026-11-23T03:00:11Z"}"#,
    r#"{"v":1,"event":"unanswered","doing":"verify","doubt":{"sentence":"no answer in 20s"},"at":"2026-11-23T03:00:12Z"}"#,
    r#"{"v":1,"event":"held","until":null,"by":"alex@ops-1","why":"a freeze","at":"2026-11-23T03:00:19Z"}"#,
];

/// A journal that was changed on the disk is refused with a sentence, or read; a history that verifies under the
/// old hash is the old history. Reading changes nothing, and no secret can be read.
///
/// The bytes: the length to which the file is cut (none: it is not cut), then places and the bytes to write there.
pub fn journals(data: &[u8]) {
    let whole = Whole::journal();
    let mut file = whole.file.clone();
    let mut bytes = Bytes::new(data);
    if bytes.flag() {
        file.truncate(bytes.u32() as usize % (file.len() + 1));
    }
    for _ in 0..CHANGES_MAX {
        if bytes.is_empty() || file.is_empty() {
            break;
        }
        let place = bytes.u16() as usize % file.len();
        file[place] = bytes.byte();
    }
    let path = whole.folder.path().join("changed.db");
    fs::write(&path, &file).expect("there is room");
    whole.runtime.block_on(check(&path, whole));
    assert_eq!(fs::read(&path).expect("still there"), file, "a reader has written");
    for leftover in ["-wal", "-shm", "-journal"] {
        let leftover = PathBuf::from(format!("{}{leftover}", path.display()));
        assert!(!leftover.exists(), "{} was left behind", leftover.display());
    }
}

async fn check(path: &Path, whole: &Whole) {
    let journal = match SqliteJournal::open(path, None, Mode::Read).await {
        Ok(journal) => journal,
        Err(refusal) => return check_refusal(&refusal),
    };
    let history = journal.history(None, Timestamp::EPOCH).await;
    let verified = journal.verify_history().await;
    match (&verified, &history) {
        (Ok((_, hash)), Ok(history)) if *hash == whole.history.last().expect("events").hash => {
            assert_eq!(*history, whole.history, "a changed history verifies");
        }
        (Ok((events, _)), history) => {
            assert!(
                *events == 0 || history.is_err(),
                "a history of {events} events verifies under another hash"
            );
        }
        (Err(refusal), _) => check_refusal(refusal),
    }
    history.as_ref().err().iter().for_each(|refusal| check_refusal(refusal));
    for known in [journal.in_flight().await, journal.rotations(None).await] {
        known.as_ref().err().iter().for_each(|refusal| check_refusal(refusal));
        for known in known.unwrap_or_default() {
            match journal.read(known.rotation).await {
                Ok(events) => drop(Rotation::replay(known.rotation, &events)),
                Err(refusal) => check_refusal(&refusal),
            }
        }
    }
    let secret = journal.secret(whole.rotation).await;
    assert!(!matches!(secret, Ok(Some(_))), "a reader without the key has opened a secret");
    journal.last_tick().await.err().iter().for_each(check_refusal);
    journal.close().await.err().iter().for_each(check_refusal);
}

/// The refusal says what is wrong, and is not about another process, because there is none.
fn check_refusal(refusal: &JournalError) {
    assert!(
        matches!(
            refusal,
            JournalError::Unusable(_) | JournalError::SealKey(_) | JournalError::Unavailable(_)
        ),
        "{refusal:?}"
    );
    let sentence = refusal.to_string();
    assert!(sentence.len() > 10 && !sentence.contains(SECRET), "{sentence}");
}

/// An intact journal.
struct Whole {
    folder: TempDir,
    file: Vec<u8>,
    rotation: RotationId,
    history: Vec<Recorded>,
    runtime: Runtime,
}

impl Whole {
    fn journal() -> &'static Whole {
        static WHOLE: OnceLock<Whole> = OnceLock::new();
        WHOLE.get_or_init(|| {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            let folder = TempDir::new().expect("a folder");
            let path = folder.path().join("whole.db");
            let rotation: RotationId = "01a34c24-fb08-8c11-9188-d17c45fbb284".parse().expect("a rotation id");
            let history = runtime.block_on(write(&path, rotation));
            let file = fs::read(&path).expect("the journal");
            Whole { folder, file, rotation, history, runtime }
        })
    }
}

async fn write(path: &Path, rotation: RotationId) -> Vec<Recorded> {
    let journal =
        SqliteJournal::open(path, None, Mode::Drive).await.expect("a journal").with_writer("ops-1:1");
    for (number, line) in (1..).zip(EVENTS) {
        let event = decode(line).expect("an event");
        let secret = match &event {
            Event::Created { .. } => SecretChange::Seal(Secret::from(SECRET)),
            _ => SecretChange::Keep,
        };
        let entry = Entry { rotation, number, event: &event, secret, ends: false };
        journal.append(entry).await.expect("appended");
    }
    let history = journal.history(None, Timestamp::EPOCH).await.expect("a history");
    journal.verify_history().await.expect("a whole history");
    journal.close().await.expect("closed");
    history
}
