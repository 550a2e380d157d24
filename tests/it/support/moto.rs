//! The AWS emulator of `tests/support/aws_emulator.py`, as a test controls it: started, queried, ordered to
//! misbehave, and ended with the test.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::python;

/// The account of the ambient credentials, and of users that are created without naming another account.
pub(crate) const ACCOUNT: &str = "123456789012";

/// How long the test waits for a call to arrive at a rule before it gives up.
const ARRIVAL_SECS_MAX: u32 = 30;

/// A running emulator. It ends when this is dropped, and also when the test process dies.
pub(crate) struct Emulator {
    process: Child,
    port: u16,
}

/// A key as the emulator knows it. Tests that play the vendor sign with it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Key {
    pub(crate) user: String,
    pub(crate) access_key_id: String,
    #[serde(rename = "secret_access_key")]
    pub(crate) secret: String,
    /// `Active`, `Inactive`, or `Deleted`.
    pub(crate) status: String,
    pub(crate) created_at: String,
    pub(crate) last_used_at: Option<String>,
}

/// One request that arrived.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Call {
    /// The service and the operation, such as `iam:CreateAccessKey`.
    pub(crate) action: String,
    /// The access key id that signed the call.
    pub(crate) signer: Option<String>,
    /// What the call is about: a user (for a probe: the user who signed), path, role, secret or parameter.
    pub(crate) subject: Option<String>,
    /// The access key that the call is about.
    pub(crate) access_key_id: Option<String>,
    pub(crate) mutating: bool,
    pub(crate) region: Option<String>,
    pub(crate) user_agent: String,
    /// The HTTP status of the answer; `None` if there was no answer, or none yet.
    pub(crate) status: Option<u16>,
    /// Whether the call took effect, whatever was answered.
    pub(crate) done: bool,
    /// The number of calls under way when it arrived, this one included.
    pub(crate) at_once: usize,
    /// The client port of its connection, which tells connections apart.
    pub(crate) connection: u16,
    /// The time of arrival on this machine's clock, in Unix seconds.
    pub(crate) arrived_at: f64,
}

/// An order to misbehave. The emulator applies the first rule that matches a call.
#[derive(Clone, Debug)]
pub(crate) struct Rule(Value);

impl Rule {
    /// For calls of this action (`iam:CreateAccessKey`, `*`, or `mutating`): close the connection without an answer.
    pub(crate) fn close(action: &str) -> Rule {
        Rule(json!({ "action": action, "kind": "close" }))
    }

    /// Never answer.
    pub(crate) fn hang(action: &str) -> Rule {
        Rule(json!({ "action": action, "kind": "hang" }))
    }

    /// Answer with an error in the format of AWS.
    pub(crate) fn error(action: &str, status: u16, code: &str) -> Rule {
        Rule(json!({ "action": action, "kind": "error", "status": status, "code": code }))
    }

    /// Answer with this body, whatever it is.
    pub(crate) fn answer(action: &str, status: u16, body: &str) -> Rule {
        Rule(json!({ "action": action, "kind": "answer", "status": status, "body": body }))
    }

    /// Keep the call waiting until [`Emulator::release`].
    pub(crate) fn pause(action: &str) -> Rule {
        Rule(json!({ "action": action, "kind": "pause" }))
    }

    /// Answer in pages of this many rows.
    pub(crate) fn page(action: &str, size: u32) -> Rule {
        let whole = Rule(json!({ "action": action, "kind": "page", "size": size }));
        whole.after().times(u32::MAX)
    }

    /// Perform the call first, so that only its answer is affected. Without this, the call is not performed.
    pub(crate) fn after(self) -> Rule {
        self.with("when", json!("after"))
    }

    /// Only for calls about this user, path, role, secret or parameter.
    pub(crate) fn about(self, subject: &str) -> Rule {
        self.with("subject", json!(subject))
    }

    /// Let this many matching calls pass first.
    pub(crate) fn skip(self, calls: u32) -> Rule {
        self.with("skip", json!(calls))
    }

    /// Apply to this many calls rather than one.
    pub(crate) fn times(self, calls: u32) -> Rule {
        self.with("count", json!(calls))
    }

    fn with(mut self, name: &str, value: Value) -> Rule {
        self.0[name] = value;
        self
    }
}

/// A rule that was given to the emulator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RuleId(u64);

/// What happens to a paused call when it is released.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Release {
    /// The call proceeds.
    Proceed,
    /// The connection is closed. If the pause was before the effect, this prevents the effect.
    HangUp,
}

impl Emulator {
    /// Starts an emulator, which takes a second or two.
    pub(crate) fn start() -> Emulator {
        let (log, log_path) = log_file();
        let mut process = Command::new(python::interpreter())
            .arg(python::script("aws_emulator.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the emulator starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the emulator speaks");
        let port = line.trim().parse().unwrap_or_else(|_| {
            let said = std::fs::read_to_string(&log_path).unwrap_or_default();
            panic!("the AWS emulator did not start:\n{said}")
        });
        std::fs::remove_file(log_path).expect("it was made above");
        Emulator { process, port }
    }

    /// An emulator that the tests of this process share. Each test must use user names of its own.
    pub(crate) fn shared() -> &'static Emulator {
        static SHARED: LazyLock<Emulator> = LazyLock::new(Emulator::start);
        &SHARED
    }

    /// The URL that it listens on.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The environment in which a program speaks to this emulator and to nothing else.
    pub(crate) fn env(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_ACCESS_KEY_ID", "testing".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "testing".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ])
    }

    /// Creates a user with one active key of that age. Returns the key's id and secret.
    pub(crate) fn seed_user(&self, name: &str, age_days: f64) -> (String, String) {
        let key: Key = self.ask("POST", "users", &json!({ "name": name, "age_days": age_days }));
        (key.access_key_id, key.secret)
    }

    /// Gives a user one more active key, of that age.
    pub(crate) fn seed_second_key(&self, user: &str, age_days: f64) {
        self.tell("POST", "keys", &json!({ "user": user, "age_days": age_days }));
    }

    /// Creates a user without a key, under a path such as `/vendors/acme/`.
    pub(crate) fn seed_user_under(&self, path: &str, name: &str) {
        self.tell("POST", "users", &json!({ "name": name, "path": path }));
    }

    /// Creates a user with one active key of that age in another account.
    pub(crate) fn seed_user_in(&self, account: &str, name: &str, age_days: f64) -> (String, String) {
        let user = json!({ "name": name, "account": account, "age_days": age_days });
        let key: Key = self.ask("POST", "users", &user);
        (key.access_key_id, key.secret)
    }

    /// Sends one of the preparations that `tests/support/aws_review.py` describes, or creates a user or key, by the
    /// test API.
    pub(crate) fn prepare(&self, word: &str, what: &Value) -> Value {
        self.ask("POST", word, what)
    }

    /// Creates a role that can be assumed with that external id, or without one (`None`).
    pub(crate) fn seed_role(&self, arn: &str, external_id: Option<&str>) {
        self.tell("POST", "roles", &json!({ "arn": arn, "external_id": external_id }));
    }

    /// Puts a secret into Secrets Manager.
    pub(crate) fn seed_secret(&self, name: &str, value: &str) {
        self.tell("POST", "secrets", &json!({ "name": name, "value": value }));
    }

    /// Puts a secret into Secrets Manager of another account.
    pub(crate) fn seed_secret_in(&self, account: &str, name: &str, value: &str) {
        self.tell("POST", "secrets", &json!({ "name": name, "value": value, "account": account }));
    }

    /// Puts a `SecureString` into the Parameter Store.
    pub(crate) fn seed_parameter(&self, name: &str, value: &str) {
        self.tell("POST", "parameters", &json!({ "name": name, "value": value }));
    }

    /// Creates an SNS topic. Returns its ARN.
    pub(crate) fn seed_topic(&self, name: &str) -> String {
        self.ask("POST", "topics", &json!({ "name": name }))
    }

    /// The messages that were published to topics.
    pub(crate) fn published(&self) -> Vec<Value> {
        self.ask("GET", "published", &Value::Null)
    }

    /// Makes a key look as if it was created that many days ago.
    pub(crate) fn set_age(&self, access_key_id: &str, age_days: f64) {
        self.tell("POST", "keys", &json!({ "access_key_id": access_key_id, "age_days": age_days }));
    }

    /// Records a use of a key by its vendor, that many days ago.
    pub(crate) fn set_used(&self, access_key_id: &str, service: &str, days_ago: f64) {
        let used = json!({ "access_key_id": access_key_id, "service": service, "used_days_ago": days_ago });
        self.tell("POST", "keys", &used);
    }

    /// Sets a key's status directly, without a recorded call.
    pub(crate) fn set_status(&self, access_key_id: &str, status: &str) {
        self.tell("POST", "keys", &json!({ "access_key_id": access_key_id, "status": status }));
    }

    /// The user's keys, oldest first, deleted ones included.
    pub(crate) fn keys(&self, user: &str) -> Vec<Key> {
        let mut keys = self.all_keys();
        keys.retain(|key| key.user == user);
        keys.sort_by(|left, right| left.created_at.cmp(&right.created_at));
        keys
    }

    /// The keys of all users, deleted ones included.
    pub(crate) fn all_keys(&self) -> Vec<Key> {
        self.ask("GET", "keys", &Value::Null)
    }

    /// Every call that arrived, in order.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.ask("GET", "calls", &Value::Null)
    }

    /// The calls about this user, path, role, secret or parameter, in order.
    pub(crate) fn calls_about(&self, subject: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.subject.as_deref() == Some(subject));
        calls
    }

    /// Forgets the recorded calls.
    pub(crate) fn clear_calls(&self) {
        self.tell("DELETE", "calls", &Value::Null);
    }

    /// Gives the emulator a rule by which it misbehaves.
    pub(crate) fn order(&self, rule: &Rule) -> RuleId {
        RuleId(self.ask("POST", "rules", &rule.0))
    }

    /// Waits until a call has arrived at that rule.
    #[track_caller]
    pub(crate) fn wait_for(&self, rule: RuleId) {
        let hits: u32 = self.ask("GET", &format!("rules/{}?wait={ARRIVAL_SECS_MAX}", rule.0), &Value::Null);
        assert!(hits > 0, "no call arrived at the rule within {ARRIVAL_SECS_MAX} s");
    }

    /// Whether a call has arrived at that rule.
    pub(crate) fn has_arrived(&self, rule: RuleId) -> bool {
        let hits: u32 = self.ask("GET", &format!("rules/{}", rule.0), &Value::Null);
        hits > 0
    }

    /// Releases the call that is paused at that rule.
    pub(crate) fn release(&self, rule: RuleId, how: Release) {
        let proceed = json!({ "proceed": how == Release::Proceed });
        self.tell("POST", &format!("release/{}", rule.0), &proceed);
    }

    /// Removes every rule, and releases every paused call.
    pub(crate) fn clear_rules(&self) {
        self.tell("DELETE", "rules", &Value::Null);
    }

    /// Adds this latency to each call.
    pub(crate) fn set_latency(&self, latency: Duration) {
        self.tell("POST", "latency", &json!({ "secs": latency.as_secs_f64() }));
    }

    fn tell(&self, method: &str, path: &str, body: &Value) {
        let _answer: Value = self.ask(method, path, body);
    }

    /// One HTTP/1.0 exchange with the test API, which is simple enough to need no HTTP client.
    #[track_caller]
    fn ask<T: serde::de::DeserializeOwned>(&self, method: &str, path: &str, body: &Value) -> T {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the emulator listens");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        let request = format!("{method} /_test/{path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).expect("the emulator reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the emulator answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        assert!(head.contains(" 200 "), "{method} {path}: {body}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// The file that takes an emulator's standard error, for the message when it does not start.
fn log_file() -> (File, std::path::PathBuf) {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let name = format!("aws-emulator-{}-{number}.log", std::process::id());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    (File::create(&path).expect("target/ can be written"), path)
}
