//! A secret on every path of every adapter that can fail. The test searches for it in everything that people can
//! read: sentences, `Debug` output, and each line that any library of the program logs at its most detailed level.
//! Proves promise 7 of `src/lib.rs` for the adapters.
//!
//! `delivery_http/canary.rs` does the same with every answer of a vendor; here are the other adapters, and the
//! places where two of them meet.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_credential_types::Credentials;
use keyround::adapters::aws::iam::AwsAccounts;
use keyround::adapters::aws::{AwsSession, Deadlines};
use keyround::adapters::delivery::HttpsEgress;
use keyround::adapters::journal::{Mode, SealKey, SqliteJournal};
use keyround::adapters::secrets::Secrets;
use keyround::cli::log_filter;
use keyround::config::settings::{AccountSettings, AwsSettings};
use keyround::config::{self, ConfigError};
use keyround::core::ids::{AccessKeyId, AccountName, RotationId, Subject};
use keyround::core::rotation::{Event, KeyStatus, Plan};
use keyround::core::secret::Secret;
use keyround::core::time::Timestamp;
use keyround::ports::{
    Accounts, Egress, Entry, Iam, Journal as _, Purpose, RecipePart, Request, SecretChange, SecretSource as _,
};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::support::log::Log;
use crate::support::moto::{Emulator, Rule};

/// A word in every secret of this test. A host name may show it in lower case, so the search ignores case.
const CANARY: &str = "c4n4ryPl7";
/// A secret like those of AWS: 40 characters, some of which break careless templates and URLs.
const SECRET: &str = "c4n4ryPl7/UtnFEMI+K7MDENG/bPxRfiCYEXAMP0";

type Trial = fn(&mut Seen) -> Pin<Box<dyn Future<Output = ()> + '_>>;

/// Each adapter, the least number of failing paths that it has, and the function that plays them.
const TRIALS: [(&str, usize, Trial); 8] = [
    ("iam: answers to the rotator", 60, |seen| Box::pin(every_answer_to_the_rotator(seen))),
    ("iam: answers to the new key", 10, |seen| Box::pin(every_answer_to_the_new_key(seen))),
    ("iam: a role that is not given", 4, |seen| Box::pin(every_refusal_of_a_role(seen))),
    ("secrets: file, env, credential", 8, |seen| Box::pin(every_local_secret(seen))),
    ("secrets: Secrets Manager, SSM", 16, |seen| Box::pin(every_secret_at_aws(seen))),
    ("journal: opening, sealing", 10, |seen| Box::pin(every_journal(seen))),
    ("egress: addresses, headers", 8, |seen| Box::pin(every_bad_request(seen))),
    ("config: literals, references", 8, |seen| Box::pin(every_bad_configuration(seen))),
];

#[tokio::test]
async fn no_adapter_writes_a_secret_to_sentences_debug_output_or_logs() {
    let log = Log::default();
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(log.clone());
    // The same filter as in the program when it logs everything.
    let listening = registry().with(lines.with_filter(log_filter("trace", "trace"))).set_default();
    let mut rows = Vec::new();
    for (name, at_least, trial) in TRIALS {
        let (mut seen, before) = (Seen::default(), log.text().lines().count());
        trial(&mut seen).await;
        let logged = log.text().lines().count() - before;
        assert!(seen.0.len() >= at_least, "{name}: {} are too few to be all of them", seen.0.len());
        for shown in &seen.0 {
            assert!(!holds_canary(shown), "{name}: {shown}");
        }
        rows.push(format!("  {name:<32} {:>3} failures in words, {logged:>6} lines of log", seen.0.len()));
    }
    drop(listening);
    println!("the canary was in none of these:\n{}", rows.join("\n"));
    let log = log.text();
    for library in ["keyround::adapters::aws", "aws_smithy_runtime", "hyper_util"] {
        assert!(log.contains(library), "{library} was listened to");
    }
    let found: Vec<&str> = log.lines().filter(|line| holds_canary(line)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_canary_search_finds_plain_uppercase_and_byte_forms() {
    for shown in [SECRET.to_owned(), SECRET.to_uppercase(), format!("{:?}", SECRET.as_bytes())] {
        assert!(holds_canary(&shown), "{shown}");
    }
    assert!(!holds_canary("Secret(…)"));
}

/// Whether the text contains the canary: in any case, in base64, or as a list of bytes.
fn holds_canary(text: &str) -> bool {
    let bytes = format!("{:?}", CANARY.as_bytes());
    let base64 = ["YzRuNHJ5UGw3", "M0bjRyeVBsN", "NG40cnlQbD"];
    text.to_lowercase().contains(&CANARY.to_lowercase())
        || text.contains(bytes.trim_matches(['[', ']']))
        || base64.iter().any(|form| text.contains(form))
}

/// The texts that the program or its log would show to people.
#[derive(Default)]
struct Seen(Vec<String>);

impl Seen {
    /// Records a failure, as a sentence and in full. Panics on a success, because only failing paths are played.
    #[track_caller]
    fn fails<T: std::fmt::Debug, E: std::fmt::Debug>(&mut self, what: &str, result: Result<T, E>) {
        match result {
            Ok(_) => panic!("{what} did not fail"),
            Err(error) => self.0.push(format!("{error:?} {error:#?}")),
        }
    }

    /// Records what is shown of a result, whether it failed or not.
    fn shows(&mut self, shown: &impl std::fmt::Debug) {
        self.0.push(format!("{shown:?}"));
    }
}

/// Invalid answers, each with the canary in it wherever it fits.
fn bad_answers(action: &str) -> Vec<Rule> {
    let created = format!(
        "<CreateAccessKeyResponse><CreateAccessKeyResult><AccessKey><UserName>u</UserName>\
         <SecretAccessKey>{SECRET}</SecretAccessKey></AccessKey></CreateAccessKeyResult></CreateAccessKeyResponse>"
    );
    let error = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{SECRET}</Code><Message>{SECRET}</Message></Error>\
         <RequestId>{SECRET}</RequestId></ErrorResponse>"
    );
    let json =
        format!("{{\"__type\":\"{SECRET}\",\"message\":\"{SECRET}\",\"SecretString\":7,\"x\":\"{SECRET}\"}}");
    vec![
        Rule::answer(action, 200, &created),
        Rule::answer(action, 200, &created[..created.len() / 2]),
        Rule::answer(action, 200, &format!("<html>{SECRET}</html>")),
        Rule::answer(action, 200, &json),
        Rule::answer(action, 400, &error),
        Rule::answer(action, 400, &json),
        Rule::answer(action, 500, &error),
        Rule::answer(action, 502, SECRET),
        Rule::close(action),
        Rule::close(action).after(),
        Rule::hang(action),
        Rule::error(action, 403, "SignatureDoesNotMatch"),
        Rule::error(action, 400, "Throttling"),
    ]
}

async fn every_answer_to_the_rotator(seen: &mut Seen) {
    let (key, _) = emulator().seed_user("canary-rotator", 10.0);
    let key: AccessKeyId = key.parse().expect("a key id");
    let user = "canary-rotator".parse().expect("a user");
    for action in [
        "iam:ListAccessKeys",
        "iam:CreateAccessKey",
        "iam:UpdateAccessKey",
        "iam:DeleteAccessKey",
        "iam:GetAccessKeyLastUsed",
    ] {
        for rule in bad_answers(action) {
            // A call that only reads is tried several times, and a throttled one until its time is up.
            emulator().order(&rule.times(u32::MAX));
            let iam = iam(&session(SECRET), None);
            match action {
                "iam:ListAccessKeys" => seen.fails(action, iam.list_keys(&user).await),
                "iam:CreateAccessKey" => seen.fails(action, iam.create_key(&user).await),
                // For these two, the program reads only the head of an answer, and here the head is valid.
                "iam:UpdateAccessKey" => {
                    seen.shows(&iam.set_status(&user, &key, KeyStatus::Inactive).await);
                }
                "iam:DeleteAccessKey" => seen.shows(&iam.delete_key(&user, &key).await),
                _ => seen.fails(action, iam.usage(&key).await),
            }
            emulator().clear_rules();
        }
    }
}

async fn every_answer_to_the_new_key(seen: &mut Seen) {
    let (id, _) = emulator().seed_user("canary-new", 10.0);
    let (id, secret) = (id.parse().expect("a key id"), Secret::from(SECRET));
    let iam = iam(&session("testing"), None);
    // This is not the key's own secret, so AWS refuses the probe without an order.
    seen.fails("a wrong secret", iam.identify(&id, &secret).await);
    for rule in bad_answers("sts:GetCallerIdentity") {
        emulator().order(&rule);
        seen.fails("GetCallerIdentity", iam.identify(&id, &secret).await);
        emulator().clear_rules();
    }
    seen.shows(&secret);
}

async fn every_refusal_of_a_role(seen: &mut Seen) {
    let role = |name: &str| format!("arn:aws:iam::111122223333:role/canary-{name}");
    emulator().seed_role(&role("other"), Some("another external id"));
    emulator().seed_role(&role("garbled"), Some(SECRET));
    let garbled = format!(
        "<AssumeRoleResponse><AssumeRoleResult><Credentials><SecretAccessKey>{SECRET}</SecretAccessKey>\
         <SessionToken>{SECRET}</SessionToken></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    );
    emulator().order(&Rule::answer("sts:AssumeRole", 200, &garbled).about(&role("garbled")));
    emulator().order(&Rule::answer("sts:AssumeRole", 200, &garbled[..150]).about(&role("other")));
    let user = "canary-nobody".parse().expect("a user");
    for name in ["other", "other", "garbled", "missing"] {
        let account = AccountSettings {
            role_arn: Some(role(name)),
            external_id: Some(SECRET.to_owned()),
            ..AccountSettings::default()
        };
        let iam = iam(&session("testing"), Some(account));
        seen.fails(name, iam.list_keys(&user).await);
    }
}

async fn every_local_secret(seen: &mut Seen) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, content: &[u8], mode| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
        format!("file:{}", path.display())
    };
    let long = SECRET.repeat(2000);
    let references = [
        file("readable", SECRET.as_bytes(), 0o644),
        file("binary", &[SECRET.as_bytes(), &[0xff]].concat(), 0o600),
        file("long", long.as_bytes(), 0o600),
        file("newline", b"\n", 0o600),
        format!("file:{}", folder.path().display()),
        "credential:no-such".to_owned(),
        "credential:binary".to_owned(),
        "env:KEYROUND_TEST_NO_SUCH_VARIABLE".to_owned(),
    ];
    let secrets = Secrets::new(&session("testing")).with_credentials_in(folder.path().to_owned());
    for reference in references {
        seen.fails(&reference, secrets.resolve(&reference.parse().expect("a reference")).await);
    }
    seen.shows(&secrets);
}

async fn every_secret_at_aws(seen: &mut Seen) {
    emulator().seed_secret("canary/json", &format!("{{\"token\":7,\"other\":\"{SECRET}\"}}"));
    emulator().seed_secret("canary/text", SECRET);
    let secrets = Secrets::new(&session("testing"));
    for reference in
        ["secretsmanager:canary/json#/token", "secretsmanager:canary/text#/token", "ssm:/canary/none"]
    {
        seen.fails(reference, secrets.resolve(&reference.parse().expect("a reference")).await);
    }
    for (action, reference) in [
        ("secretsmanager:GetSecretValue", "secretsmanager:canary/text"),
        ("ssm:GetParameter", "ssm:/canary/none"),
    ] {
        for rule in bad_answers(action) {
            emulator().order(&rule.times(3));
            seen.fails(reference, secrets.resolve(&reference.parse().expect("a reference")).await);
            emulator().clear_rules();
        }
    }
}

async fn every_journal(seen: &mut Seen) {
    seen.fails("a seal key", SealKey::from_base64(&Secret::from(SECRET)));
    seen.fails("a seal key", SealKey::from_base64(&Secret::from("YzRuNHJ5UGw3")));
    let folder = tempfile::tempdir().expect("a folder");
    let (path, seal_key) = (folder.path().join("journal.db"), folder.path().join("seal.key"));
    let entry = begun();
    let journal = SqliteJournal::open(&path, None, Mode::Drive).await.expect("a journal");
    append(&journal, entry.0, 1, &entry.1, SecretChange::Keep).await.expect("it is appended");
    let created = created();
    // First with a wrong event number, and then with the right one.
    let seal = || SecretChange::Seal(Secret::from(SECRET));
    seen.fails("out of turn", append(&journal, entry.0, 7, &created, seal()).await);
    let probed = Event::Probed { at: Timestamp::from_unix(3) };
    seen.fails("no key", append(&journal, entry.0, 2, &probed, seal()).await);
    append(&journal, entry.0, 2, &created, seal()).await.expect("it is appended");
    seen.shows(&journal.secret(entry.0).await);
    seen.shows(&SecretChange::Seal(Secret::from(SECRET)));
    seen.shows(&journal);
    journal.close().await.expect("it can be closed");
    for content in [&b"YzRuNHJ5UGw3\n"[..], SECRET.as_bytes(), &[SECRET.as_bytes(), &[0xff]].concat()] {
        let whole = fs::read(&seal_key).expect("it is there");
        fs::write(&seal_key, content).expect("written");
        seen.fails("a seal key", SqliteJournal::open(&path, None, Mode::Drive).await);
        fs::write(&seal_key, whole).expect("written");
    }
    spoil_box(&path).await;
    let journal = SqliteJournal::open(&path, None, Mode::Drive).await.expect("the history is whole");
    seen.fails("a spoilt box", journal.secret(entry.0).await);
    let reader = SqliteJournal::open(&path, None, Mode::Read).await.expect("a reader");
    seen.fails("no seal key", reader.secret(entry.0).await);
    seen.fails("a reader", append(&reader, entry.0, 3, &created, seal()).await);
}

async fn every_bad_request(seen: &mut Seen) {
    let egress = HttpsEgress::trusting(rustls::RootCertStore::empty()).expect("an egress");
    let purpose = Purpose { subject: subject(), part: RecipePart::Verify { step: 0 } };
    let nobody = "https://127.0.0.1:9/";
    for (url, method, header) in [
        (SECRET.to_owned(), "POST", SECRET.to_owned()),
        (format!("https://user:{SECRET}@{{}}/"), "POST", SECRET.to_owned()),
        (format!("{nobody}?key={SECRET}"), "POST", SECRET.to_owned()),
        (format!("{nobody}{SECRET}"), "PO ST", SECRET.to_owned()),
        (format!("{nobody}{SECRET}"), "POST", format!("{SECRET}\r\nx-more: 1")),
        (format!("{nobody}{SECRET}"), "POST", format!("{SECRET}\0")),
    ] {
        let request = Request {
            method: method.to_owned(),
            url: Secret::new(url.clone()),
            headers: vec![("x-key".to_owned(), Secret::new(header))],
            body: Some(Secret::from(SECRET)),
            timeout: Duration::from_secs(5),
        };
        let answer = egress.send(&purpose, request).await.map(|answer| answer.status);
        seen.fails("a bad request", answer);
        if url.contains(nobody) {
            seen.fails("nobody", egress.reach(&url, Duration::from_secs(5)).await);
        }
    }
}

#[expect(clippy::unused_async, reason = "as the other trials")]
async fn every_bad_configuration(seen: &mut Seen) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rotation.toml");
    let vendor = |rest: &str| {
        format!(
            "[vendor.acme]\niam_user = \"acme\"\n[[vendor.acme.deliver]]\nkind = \"webhook\"\nurl = \"https://a.example/\"\n{rest}"
        )
    };
    for text in [
        vendor(&format!("secret = \"whsec_{SECRET}\"")),
        vendor(&format!("secret = \"{SECRET}\"")),
        vendor(&format!("secret = [\"env:OK\", \"{SECRET}\"]")),
        vendor(&format!("secret = {{ literal = \"{SECRET}\" }}")),
        format!("[journal]\nseal_key = \"{SECRET}\"\n"),
        format!("[journal]\nurl = \"postgres://keyround:{SECRET}@db.example/\"\n"),
        vendor(&format!(
            "secret = \"env:OK\"\n[vendor.acme.verify]\nurl = \"https://a.example/\"\nauth = {{ bearer = \"{SECRET}\" }}\n"
        )),
        vendor(&format!(
            "secret = \"env:OK\"\n[vendor.acme.verify]\nurl = \"https://a.example/\"\nauth = {{ basic = {{ user = \"u\", password = \"{SECRET}\" }} }}\n"
        )),
    ] {
        fs::write(&path, text).expect("written");
        match config::load(&path) {
            Err(ConfigError::Mistakes(mistakes)) => seen.0.push(mistakes.render(false)),
            other => panic!("{other:?}"),
        }
    }
}

/// A separate emulator, so that each order can be removed before the next one is given.
fn emulator() -> &'static Emulator {
    static EMULATOR: LazyLock<Emulator> = LazyLock::new(Emulator::start);
    &EMULATOR
}

fn session(rotators_secret: &str) -> Arc<AwsSession> {
    let settings = AwsSettings {
        region: Some("us-east-1".to_owned()),
        endpoint_url: Some(emulator().url()),
        ..AwsSettings::default()
    };
    let deadlines = Deadlines {
        connect: Duration::from_secs(1),
        attempt: Duration::from_millis(300),
        call: Duration::from_millis(600),
    };
    // With a secret that is not its own, the rotator is refused even without an order.
    let pair = Credentials::new("testing", rotators_secret, None, None, "test");
    Arc::new(AwsSession::new(&settings).with_deadlines(deadlines).with_credentials(pair))
}

fn iam(session: &Arc<AwsSession>, account: Option<AccountSettings>) -> Arc<dyn Iam> {
    let name: AccountName = "main".parse().expect("a name");
    let accounts: BTreeMap<_, _> = account.map(|settings| (name.clone(), settings)).into_iter().collect();
    let named = (!accounts.is_empty()).then_some(&name);
    AwsAccounts::connect(session, &accounts).iam(named)
}

fn subject() -> Subject {
    let (vendor, iam_user) = ("acme".parse().expect("a name"), "vendor-acme".parse().expect("a name"));
    Subject { vendor, account: None, iam_user }
}

fn begun() -> (RotationId, Event) {
    let (old, at): (AccessKeyId, _) =
        ("AKIAOLD0000000000001".parse().expect("a key id"), Timestamp::from_unix(1));
    let id = RotationId::new(&subject(), &old, at);
    let reason = "too_old".to_owned();
    (
        id,
        Event::Started {
            subject: subject(),
            old,
            old_created_at: at,
            reason,
            plan: Plan::default(),
            account_id: None,
            at,
        },
    )
}

fn created() -> Event {
    let key = "AKIANEW0000000000001".parse().expect("a key id");
    Event::Created { key, at: Timestamp::from_unix(2), request_id: None }
}

async fn append(
    journal: &SqliteJournal,
    rotation: RotationId,
    number: u64,
    event: &Event,
    secret: SecretChange,
) -> Result<(), keyround::ports::JournalError> {
    journal.append(Entry { rotation, number, event, secret, ends: false }).await
}

/// Replaces the sealed secret by other bytes.
async fn spoil_box(path: &Path) {
    use sqlx::{ConnectOptions as _, Connection as _};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.expect("a connection");
    sqlx::query("UPDATE sealed_secret SET box = zeroblob(90)").execute(&mut connection).await.expect("done");
    connection.close().await.expect("closed");
}
