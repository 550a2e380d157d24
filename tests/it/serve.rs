//! What `run` serves, what `report` writes, and the alerting rules and the dashboard for the metrics.
//!
//! A real browser checks the page, and the real promtool checks the metrics.

mod browser;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use keyround::status::metrics::{DASHBOARD, RULES};
use serde_json::Value;

use crate::support::moto::{Emulator, Rule};
use crate::support::program::{HASTE, Program, Running};
use crate::support::python;
use crate::support::vendor::{Answer, Pair, Vendor};

const SIGNING: &str = "whsec_YWxlcnQtc2lnbmluZy1zZWNyZXQtOWM0MWQ3";
const HOURLY: &str = "[schedule]\ncron = \"17 * * * *\"\njitter = \"0s\"\n";
/// The longest time that a first pass takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A running program that serves a stuck vendor, a rotated one and one with a role.
struct Service {
    emulator: Emulator,
    program: Program,
    running: Running,
    port: u16,
    _vendors: [Vendor; 2],
}

impl Service {
    fn start(serve: &str) -> Service {
        let emulator = Emulator::start();
        let program = Program::new(&emulator, "");
        program.credential("signing", SIGNING);
        program.credential("serve", "serve-token-41d0c7");
        let port = free_port();
        let (gone, good) = (Vendor::start(), Vendor::start());
        gone.script([Answer::status(410)]);
        let section = |name: &str, vendor: &Vendor| {
            let user = format!("vendor-{name}");
            let (access_key_id, secret_access_key) = emulator.seed_user(&user, 97.0);
            vendor.hold(Pair { access_key_id, secret_access_key });
            let url = vendor.url("/keys");
            format!(
                "[vendor.{name}]\niam_user = \"{user}\"\nowner = \"platform@example.com\"\n[[vendor.{name}.deliver]]\n\
                 kind = \"webhook\"\nurl = \"{url}\"\nsecret = \"credential:signing\"\n"
            )
        };
        let role = "[vendor.billing]\nrole_arn = \"arn:aws:iam::111122223333:role/vendor-billing\"\n";
        let sections = [section("gone", &gone), section("good", &good), role.to_owned()].concat();
        program.configure(&[HASTE, HOURLY, &sections, &serve.replace("PORT", &port.to_string())].concat());
        let throttled = Rule::error("iam:CreateAccessKey", 400, "Throttling");
        emulator.order(&throttled.about("vendor-good").times(2));
        let running = program.start(&["run"]);
        Service { emulator, program, running, port, _vendors: [gone, good] }
    }

    fn get(&self, path: &str) -> Reply {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
            self.port
        ))
    }

    fn ask(&self, request: &str) -> Reply {
        self.try_to_ask(request).expect("an answer")
    }

    fn try_to_ask(&self, request: &str) -> Option<Reply> {
        ask(self.port, request)
    }

    fn wait_until_ready(&self) {
        let began = Instant::now();
        let ready = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        while self.try_to_ask(ready).is_none_or(|reply| reply.status != 200) {
            assert!(began.elapsed() < PATIENCE, "it is not ready within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(self) {
        self.running.signal("TERM");
        let ran = self.running.wait();
        assert_eq!(ran.code, Some(0), "{ran}");
        self.program.assert_no_secret_was_seen(&self.emulator);
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The status line and the headers, in lower case.
    head: String,
    pub(crate) body: String,
}

/// The answer at this port; `None` if there is none yet.
pub(crate) fn ask(port: u16, request: &str) -> Option<Reply> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some(Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port()
}

#[test]
fn the_status_server_answers_local_requests_without_calling_aws() {
    let service = Service::start("[serve]\nlisten = \"127.0.0.1:PORT\"\n");
    service.wait_until_ready();
    let calls = service.emulator.calls().len();

    let page = service.get("/");
    assert_eq!(page.status, 200);
    for text in
        ["<b>gone</b>", "<b>good</b>", "<b>billing</b>", "keyround resume gone", "ask platform@example.com"]
    {
        assert!(page.body.contains(text), "{text} is not in {}", page.body);
    }
    for header in [
        "content-security-policy: default-src 'none'; style-src 'sha256-",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
    ] {
        assert!(page.head.contains(header), "{}", page.head);
    }
    assert!(page.body.contains("were not reviewed since"), "nobody asked for a review: {}", page.body);
    let status: Value = serde_json::from_str(&service.get("/api/status").body).expect("JSON");
    check_status(&status);
    check_metrics(&service);
    assert_eq!(service.get("/healthz/live").body, "live\n");
    let health: Value = serde_json::from_str(&service.get("/healthz").body).expect("JSON");
    assert_eq!(health, serde_json::json!({ "live": true, "ready": true, "reasons": [] }));
    assert_eq!(service.get("/nowhere").status, 404);

    let rebound = service.ask("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(rebound.status, 403, "a name that was rebound to this machine");
    let posted =
        service.ask("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(posted.status, 405);
    assert_eq!(service.emulator.calls().len(), calls, "to look causes no call to AWS");
    for secret in service.emulator.all_keys().iter().map(|key| key.secret.as_str()).chain([SIGNING]) {
        assert!(!page.body.contains(secret) && !status.to_string().contains(secret));
    }
    service.stop();
}

fn check_status(status: &Value) {
    let vendors = status["vendors"].as_array().expect("vendors");
    let named = |name: &str| vendors.iter().find(|vendor| vendor["vendor"] == name).expect("that vendor");
    let keys: BTreeSet<&String> = named("gone").as_object().expect("an object").keys().collect();
    let contract = [
        "vendor",
        "account_id",
        "iam_user",
        "state",
        "reason",
        "sentence",
        "due_at",
        "overdue_at",
        "keys",
        "rotation",
    ];
    assert_eq!(keys, contract.map(str::to_owned).iter().collect(), "the contract's members and no others");
    let gone = named("gone");
    assert_eq!((&gone["state"], &gone["reason"]), (&"stuck".into(), &"vendor_gone".into()));
    let roles: Vec<&Value> = gone["keys"].as_array().expect("keys").iter().map(|key| &key["role"]).collect();
    assert_eq!(roles, ["old", "new"], "the key that was made is shown before the next listing");
    assert_eq!(gone["rotation"]["stage"], "stuck");
    assert_eq!((&named("good")["state"], &named("good")["rotation"]), (&"ok".into(), &Value::Null));
    assert_eq!(named("billing")["state"], "role");
}

fn check_metrics(service: &Service) {
    let metrics = service.get("/metrics");
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{}", metrics.head);
    for line in [
        "keyround_vendor_state{vendor=\"gone\",state=\"stuck\"} 1",
        "keyround_vendor_state{vendor=\"gone\",state=\"ok\"} 0",
        "keyround_rotations_total{vendor=\"good\",ending=\"done\"} 1",
        "keyround_deliveries_total{vendor=\"good\",outcome=\"accepted\"} 1",
        "keyround_deliveries_total{vendor=\"gone\",outcome=\"refused\"} 1",
        "keyround_aws_calls_total{service=\"iam\",operation=\"CreateAccessKey\",outcome=\"ok\"} 2",
        "keyround_aws_throttled_total{service=\"iam\",operation=\"CreateAccessKey\"} 2",
        "keyround_build_info{version=\"0.1.0\"} 1",
    ] {
        assert!(metrics.body.lines().any(|found| found == line), "{line} is not in\n{}", metrics.body);
    }
    for name in [
        "keyround_access_key_created_timestamp_seconds{account=\"\",vendor=\"gone\",iam_user=\"vendor-gone\"} ",
        "keyround_access_key_max_age_seconds{account=\"\",vendor=\"gone\",iam_user=\"vendor-gone\"} 7776000",
        "keyround_rotation_stage_timestamp_seconds{vendor=\"gone\",stage=\"stuck\"} ",
        "keyround_last_pass_timestamp_seconds ",
        "keyround_next_pass_timestamp_seconds ",
    ] {
        assert!(
            metrics.body.lines().any(|found| found.starts_with(name)),
            "{name} is not in\n{}",
            metrics.body
        );
    }
    assert!(!metrics.body.contains("AKIA"), "a key id in a label");
    let open = service.ask(
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text;version=1.0.0\r\nConnection: close\r\n\r\n",
    );
    assert!(open.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", open.head);
    assert!(open.body.ends_with("# EOF\n") && open.body.contains("# TYPE keyround_rotations counter"));
}

#[test]
fn a_status_server_on_all_interfaces_requires_a_token() {
    let service = Service::start("[serve]\nlisten = \"0.0.0.0:PORT\"\ntoken = \"credential:serve\"\n");
    let ask = |authorization: &str| {
        let request =
            format!("GET / HTTP/1.1\r\nHost: keyround.example\r\n{authorization}Connection: close\r\n\r\n");
        service.try_to_ask(&request).map(|reply| reply.status)
    };
    let began = Instant::now();
    while ask("").is_none() {
        assert!(began.elapsed() < PATIENCE, "nothing listens");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask(""), Some(401));
    assert_eq!(ask("Authorization: Bearer wrong\r\n"), Some(401));
    assert_eq!(ask("Authorization: Bearer serve-token-41d0c7\r\n"), Some(200));
    assert_eq!(service.get("/healthz/live").status, 200, "a probe has no token");
    assert_eq!(service.get("/metrics").status, 401);
    service.stop();
}

/// Each idle connection would otherwise hold a slot for as long as it likes.
#[test]
fn a_thousand_idle_connections_do_not_block_the_health_check() {
    let service = Service::start("[serve]\nlisten = \"127.0.0.1:PORT\"\n");
    service.wait_until_ready();
    let open = |begun: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", service.port)).expect("a connection");
        // A connection that the server closed in favour of another accepts no more data.
        let _refused = stream.write_all(begun);
        stream
    };
    let silent: Vec<TcpStream> = (0..500).map(|_| open(b"")).collect();
    let slow: Vec<TcpStream> = (0..500).map(|_| open(b"GET / HTTP/1.1\r\nHost: local")).collect();
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        let health = service.get("/healthz");
        assert_eq!(health.status, 200, "{}", health.body);
        longest = longest.max(began.elapsed());
    }
    println!("/healthz under 1000 idle connections: at most {longest:?}");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    // No connection may stay open without a complete request.
    let began = Instant::now();
    for mut stream in silent.into_iter().chain(slow) {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let _closed = stream.read_to_end(&mut Vec::new());
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    service.stop();
}

#[test]
fn a_report_is_one_file_with_the_evidence_in_it() {
    let service = Service::start("[serve]\nlisten = \"127.0.0.1:PORT\"\n");
    service.wait_until_ready();
    let ran = service.program.run(&["report", "--output", "report.html"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let path = service.program.path("report.html");
    let report = fs::read_to_string(&path).expect("a report");
    assert_eq!(fs::metadata(&path).expect("a report").permissions().mode() & 0o777, 0o600);
    let head = service.program.json(0, &["history", "verify"])["head"].as_str().expect("a hash").to_owned();
    let history = service.program.json(0, &["history"]);
    let created = history.as_array().expect("rows").iter().find(|row| row["event"]["event"] == "created");
    let request = created.expect("a key was made")["event"]["request_id"].as_str().expect("a request id");
    for text in
        [head.as_str(), request, "the vendor accepted the new key", "<b>gone</b>", "Content-Security-Policy"]
    {
        assert!(report.contains(text), "{text} is not in the report");
    }
    assert!(!report.contains("<script") && !report.contains("http-equiv=\"refresh\""));
    let ran = service.program.run(&["report", "--output", "/nowhere/at/all.html"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    service.stop();
}

#[test]
fn the_printed_rules_and_dashboard_use_only_existing_metrics() {
    let emulator = Emulator::start();
    let program = Program::new(&emulator, "");
    assert_eq!(program.run(&["metrics", "rules"]).stdout.trim_end(), RULES.trim_end());
    let dashboard = program.run(&["metrics", "dashboard"]).stdout;
    assert!(serde_json::from_str::<Value>(&dashboard).is_ok_and(|json| json["uid"] == "keyround"));
    let source = fs::read_to_string(python::script("../../src/status/metrics/mod.rs")).expect("the source");
    for text in [RULES, DASHBOARD] {
        for word in text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')) {
            let is_metric = word.starts_with("keyround_");
            assert!(!is_metric || source.contains(&format!("\"{word}\"")), "{word} is no metric");
        }
    }
}

#[test]
#[ignore = "needs Debian's prometheus"]
fn promtool_accepts_the_metrics_and_the_alerting_rules() {
    let service = Service::start("[serve]\nlisten = \"127.0.0.1:PORT\"\n");
    service.wait_until_ready();
    let metrics = service.get("/metrics").body;
    let checked = promtool(&["check", "metrics"], &metrics);
    println!("promtool check metrics: {}", shown(&checked));
    assert!(checked.status.success() && shown(&checked).trim().is_empty(), "{}", shown(&checked));
    let rules = python::script("rules_test.yml").display().to_string();
    let tested = promtool(&["test", "rules", &rules], "");
    println!("promtool test rules: {}", shown(&tested));
    assert!(tested.status.success(), "{}", shown(&tested));
    service.stop();
}

fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("install Debian's prometheus for this test: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
