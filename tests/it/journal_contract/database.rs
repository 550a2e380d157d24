//! What only a journal in PostgreSQL can promise or suffer: two drivers, a lost connection, a lost answer to a COMMIT,
//! foreign tables, and TLS.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use keyround::adapters::journal::{PostgresJournal, SealKey};

use super::*;
use crate::support::postgres::{self, PASSWORD, answer, execute};

/// 32 bytes in base64.
pub(super) const SEAL_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const OTHER_KEY: &str = "OTEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

pub(super) fn seal_key() -> SealKey {
    SealKey::from_base64(&Secret::from(SEAL_KEY)).expect("a key")
}

pub(super) async fn open(url: &str, mode: Mode) -> Result<PostgresJournal, JournalError> {
    let opened = PostgresJournal::open(&Secret::from(url), Some(seal_key()), mode).await?;
    Ok(opened.expect("there is a journal").with_writer(WRITER))
}

/// Ends the session that holds the drive lock, or all sessions of keyround in that database.
fn terminate(url: &str, only_the_lock: bool) {
    let lock = "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 1)";
    let which = if only_the_lock { lock } else { "true" };
    execute(
        url,
        &format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
             WHERE application_name = 'keyround' AND datname = current_database() AND {which}"
        ),
    );
}

#[tokio::test]
async fn a_second_driver_is_refused_and_takes_over_when_the_first_one_is_gone() {
    let url = postgres::database();
    let first = open(&url, Mode::Drive).await.expect("a journal");
    let begun = start("acme", "user-a", None, 0);
    keep(&first, begun.id, 1, &begun.event).await;
    let refused = open(&url, Mode::Drive).await.expect_err("two drivers");
    let words = refused.to_string();
    assert!(matches!(refused, JournalError::InUse(_)) && words.contains("is in use by process"), "{words}");
    assert!(words.contains(&std::process::id().to_string()) && !words.contains(PASSWORD), "{words}");
    let operator = open(&url, Mode::Operate).await.expect("an operator");
    keep(&operator, begun.id, 2, &probed(1)).await;
    keep(&first, begun.id, 3, &probed(2)).await;

    // Only the session with the lock ends: the connection for appends still works, and must not be used.
    terminate(&url, true);
    let refused = append(&first, begun.id, 4, &probed(3)).await.expect_err("no lock");
    assert!(matches!(&refused, JournalError::InUse(why) if why.contains("lock was lost")), "{refused}");
    let second = open(&url, Mode::Drive).await.expect("the lock is free");
    for number in [4, 5] {
        let refused = append(&first, begun.id, number, &probed(3)).await.expect_err("replaced");
        assert!(matches!(refused, JournalError::InUse(_)), "{refused}");
        keep(&second, begun.id, number, &probed(3)).await;
    }
    second.close().await.expect("closed");
    keep(&first, begun.id, 6, &probed(4)).await;
    assert_eq!(first.verify_history().await.expect("a whole history").0, 6);
}

#[tokio::test]
async fn a_driver_whose_epoch_is_over_cannot_append_although_its_lock_seems_held() {
    let url = postgres::database();
    let journal = open(&url, Mode::Drive).await.expect("a journal");
    let begun = start("acme", "user-a", None, 0);
    keep(&journal, begun.id, 1, &begun.event).await;
    execute(&url, "UPDATE keyround.journal SET epoch = epoch + 1, holder = 'elsewhere:77'");
    let refused = append(&journal, begun.id, 2, &probed(1)).await.expect_err("replaced");
    let JournalError::InUse(why) = &refused else { panic!("{refused}") };
    assert!(why.contains("process 77 on elsewhere has driven rotations since"), "{why}");
    assert_eq!(journal.read(begun.id).await.expect("events").len(), 1);
}

#[tokio::test]
async fn a_driver_whose_connections_were_ended_fails_once_and_goes_on() {
    let url = postgres::database();
    let journal = open(&url, Mode::Drive).await.expect("a journal");
    let begun = start("acme", "user-a", None, 0);
    keep(&journal, begun.id, 1, &begun.event).await;
    terminate(&url, false);
    let refused = append(&journal, begun.id, 2, &probed(1)).await.expect_err("no connection");
    assert!(matches!(&refused, JournalError::Unavailable(_)), "{refused}");
    assert!(!refused.to_string().contains(PASSWORD), "{refused}");
    journal.tend().await;
    keep(&journal, begun.id, 2, &probed(1)).await;
    assert_eq!(journal.verify_history().await.expect("a whole history").0, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_of_a_database_keep_one_chain() {
    let url = postgres::database();
    let driver = open(&url, Mode::Drive).await.expect("a journal");
    let operators = [open(&url, Mode::Operate).await, open(&url, Mode::Operate).await];
    let [one, other] = operators.map(|opened| opened.expect("an operator"));
    let write = async |journal: &PostgresJournal, user: &str| {
        let begun = start("acme", user, None, 0);
        keep(journal, begun.id, 1, &begun.event).await;
        for number in 2..=20 {
            keep(journal, begun.id, number, &probed(number)).await;
        }
    };
    tokio::join!(write(&driver, "user-a"), write(&one, "user-b"), write(&other, "user-c"));
    assert_eq!(driver.verify_history().await.expect("a whole history").0, 60);
}

#[tokio::test]
async fn an_append_whose_commit_had_no_answer_is_looked_up() {
    let url = postgres::database();
    let proxy = Proxy::start();
    let journal = open(&postgres::through(&url, proxy.port), Mode::Drive).await.expect("a journal");
    let begun = start("acme", "user-a", None, 0);
    proxy.lose(Lost::Answer);
    keep(&journal, begun.id, 1, &begun.event).await;
    assert_eq!(proxy.losses(), 1, "the answer was lost");
    keep(&journal, begun.id, 2, &probed(1)).await;
    proxy.lose(Lost::Commit);
    let refused = append(&journal, begun.id, 3, &probed(2)).await.expect_err("it never arrived");
    assert!(
        matches!(&refused, JournalError::Unavailable(why) if why.contains("nothing was appended")),
        "{refused}"
    );
    assert_eq!(proxy.losses(), 2, "the commit was lost");
    keep(&journal, begun.id, 3, &probed(3)).await;
    assert_eq!(journal.read(begun.id).await.expect("events"), [begun.event, probed(1), probed(3)]);
    assert_eq!(journal.verify_history().await.expect("a whole history").0, 3);
}

#[tokio::test]
async fn a_reader_writes_nothing_and_needs_no_journal() {
    let url = Secret::from(postgres::database().as_str());
    let count = "SELECT count(*)::text FROM pg_namespace WHERE nspname = 'keyround'";
    assert!(PostgresJournal::open(&url, Some(seal_key()), Mode::Read).await.expect("nothing").is_none());
    assert!(PostgresJournal::open(&url, None, Mode::Operate).await.expect("nothing").is_none());
    assert_eq!(answer(url.expose(), count).as_deref(), Some("0"));
    let driver = open(url.expose(), Mode::Drive).await.expect("a journal");
    let begun = start("acme", "user-a", None, 0);
    keep(&driver, begun.id, 1, &begun.event).await;
    let reader = open(url.expose(), Mode::Read).await.expect("a reader");
    assert_eq!(reader.read(begun.id).await.expect("events").len(), 1);
    for refused in [append(&reader, begun.id, 2, &probed(1)).await, reader.record_tick(at(1)).await] {
        assert!(matches!(refused, Err(JournalError::Unavailable(why)) if why.contains("for reading only")));
    }
    assert_eq!(reader.verify_history().await.expect("a whole history").0, 1);
}

#[tokio::test]
async fn an_operator_without_the_seal_key_appends_and_the_driver_continues() {
    let url = postgres::database();
    let driver = open(&url, Mode::Drive).await.expect("a journal");
    let begun = start("acme", "user-a", None, 0);
    keep(&driver, begun.id, 1, &begun.event).await;
    let operator = PostgresJournal::open(&Secret::from(url.as_str()), None, Mode::Operate).await;
    let operator = operator.expect("an operator").expect("a journal");
    let held = Event::Held { until: None, by: "ann".to_owned(), why: "a test".to_owned(), at: at(1) };
    keep(&operator, begun.id, 2, &held).await;
    keep(&driver, begun.id, 3, &Event::Resumed { by: "ann".to_owned(), at: at(2) }).await;
    keep(&operator, begun.id, 4, &probed(3)).await;
    let refused = append(&driver, begun.id, 5, &probed(4)).await.expect_err("an event that needs the key");
    assert!(
        refused.to_string().contains("event 4 of the history was appended without the seal key"),
        "{refused}"
    );
}

#[tokio::test]
async fn another_seal_key_and_changed_rows_are_refused() {
    let url = postgres::database();
    let journal = open(&url, Mode::Drive).await.expect("a journal");
    let begun = start("acme", "user-a", None, 0);
    keep(&journal, begun.id, 1, &begun.event).await;
    keep(&journal, begun.id, 2, &probed(1)).await;
    let other = SealKey::from_base64(&Secret::from(OTHER_KEY)).expect("a key");
    let refused = PostgresJournal::open(&Secret::from(url.as_str()), Some(other), Mode::Operate).await;
    assert!(matches!(refused, Err(JournalError::SealKey(_))), "{refused:?}");
    // The driver notices a row that was changed under it before it drives by that row.
    let disable = "ALTER TABLE keyround.event DISABLE TRIGGER ALL";
    let change = "UPDATE keyround.event SET body = replace(body, '03:00:01', '03:00:02'), at = at + 1 WHERE number = 2";
    let enable = "ALTER TABLE keyround.event ENABLE TRIGGER ALL";
    execute(&url, &format!("{disable}; {change}; {enable}"));
    let refused = journal.read(begun.id).await.expect_err("a changed event");
    assert!(
        matches!(&refused, JournalError::Unusable(why) if why.contains("is not the one that this")),
        "{refused}"
    );
    assert!(matches!(journal.verify_history().await, Err(JournalError::Unusable(_))));
    journal.close().await.expect("closed");
    let refused = open(&url, Mode::Drive).await.expect_err("a changed event");
    assert!(matches!(&refused, JournalError::Unusable(why) if why.contains("does not fit")), "{refused}");
}

#[tokio::test]
async fn foreign_objects_and_a_newer_version_are_refused() {
    for (change, words) in [
        ("CREATE TABLE keyround.mine (x int)", "column mine.x integer is not part of a keyround journal"),
        (
            "CREATE RULE deaf AS ON INSERT TO keyround.event DO INSTEAD NOTHING",
            "rule event deaf is not part of a keyround journal",
        ),
        ("ALTER TABLE keyround.sealed_secret ENABLE ROW LEVEL SECURITY", "sealed_secret with row security"),
        ("DROP INDEX keyround.rotation_under_way", "relation i rotation_under_way is missing"),
        ("UPDATE keyround.journal SET schema_version = 99", "is from a newer version of keyround (schema 99"),
    ] {
        let url = postgres::database();
        open(&url, Mode::Drive).await.expect("a journal").close().await.expect("closed");
        execute(&url, change);
        for mode in [Mode::Drive, Mode::Operate, Mode::Read] {
            let refused = open(&url, mode).await.expect_err(change);
            assert!(matches!(&refused, JournalError::Unusable(why) if why.contains(words)), "{refused}");
        }
    }
    let url = postgres::database();
    execute(&url, "CREATE SCHEMA keyround; CREATE VIEW keyround.event AS SELECT 1 AS position");
    assert!(matches!(open(&url, Mode::Drive).await, Err(JournalError::Unusable(_))));
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_demanded_and_no_error_has_the_password() {
    let url = postgres::database();
    let wrong = url.replace(PASSWORD, "canary-wrong");
    for (url, words) in [
        (format!("{url}?sslmode=verify-full"), "TLS with the server failed (server does not support TLS)"),
        (format!("{url}?sslmode=require"), "TLS with the server failed"),
        (wrong, "the server refused the login"),
        (url.replace("/journal", "/no-journal"), "has no such database"),
        (url.replace(&format!(":{}/", postgres::port()), ":1/"), "cannot be reached"),
    ] {
        let refused = open(&url, Mode::Drive).await.expect_err("refused");
        let words_said = refused.to_string();
        assert!(
            matches!(refused, JournalError::Unavailable(_)) && words_said.contains(words),
            "{words_said}"
        );
        assert!(!words_said.contains("canary"), "{words_said}");
        assert!(!format!("{refused:?}").contains("canary"));
    }
    let journal = open(&format!("{url}?sslmode=prefer"), Mode::Drive).await.expect("a journal");
    assert!(!format!("{journal:?}").contains(PASSWORD));
}

/// What a proxy loses, once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lost {
    /// The answer to a COMMIT, which the server performs.
    Answer,
    /// The COMMIT itself.
    Commit,
}

/// A proxy between a journal and the server, which ends a connection at its COMMIT on order.
struct Proxy {
    port: u16,
    order: Arc<Mutex<Option<Lost>>>,
    losses: Arc<AtomicUsize>,
}

impl Proxy {
    fn start() -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("it listens").port();
        let proxy = Proxy { port, order: Arc::default(), losses: Arc::default() };
        let (order, losses) = (Arc::clone(&proxy.order), Arc::clone(&proxy.losses));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(("127.0.0.1", postgres::port())).expect("the server listens");
                pass(client, server, &order, &losses);
            }
        });
        proxy
    }

    fn lose(&self, lost: Lost) {
        *self.order.lock().expect("the order") = Some(lost);
    }

    fn losses(&self) -> usize {
        self.losses.load(Ordering::SeqCst)
    }
}

fn pass(client: TcpStream, server: TcpStream, order: &Arc<Mutex<Option<Lost>>>, losses: &Arc<AtomicUsize>) {
    let swallow = Arc::new(AtomicBool::new(false));
    let (mut from_client, mut to_server) =
        (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
    let (mut from_server, mut to_client) = (server, client);
    let (order, losses, swallows) = (Arc::clone(order), Arc::clone(losses), Arc::clone(&swallow));
    thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut bytes) {
            let is_commit = bytes[..length].windows(7).any(|part| part == b"COMMIT\0");
            let lost = if is_commit { order.lock().expect("the order").take() } else { None };
            if let Some(lost) = lost {
                losses.fetch_add(1, Ordering::SeqCst);
                swallows.store(true, Ordering::SeqCst);
                if lost == Lost::Commit {
                    break;
                }
            }
            if to_server.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        // The connection may be gone already.
        drop(to_server.shutdown(Shutdown::Both));
        drop(from_client.shutdown(Shutdown::Both));
    });
    thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut bytes) {
            if swallow.load(Ordering::SeqCst) || to_client.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        // The connection may be gone already.
        drop(to_client.shutdown(Shutdown::Both));
        drop(from_server.shutdown(Shutdown::Both));
    });
}
