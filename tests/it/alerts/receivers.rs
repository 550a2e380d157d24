//! Alerts at real receivers: a mail server, SNS (moto), and Alertmanager.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::{Customer, wait_until};
use crate::support::authority::Authority;
use crate::support::moto::Emulator;
use crate::support::program::{HASTE, Program};
use crate::support::python;
use crate::support::vendor::Answer;

const PASSWORD: &str = "smtp-password-3e91";

/// A mail server that requires TLS and a login.
struct MailServer {
    process: Child,
    said: BufReader<ChildStdout>,
    port: u16,
}

impl MailServer {
    fn start(mode: &str, authority: &Authority, folder: &Path) -> MailServer {
        let (certificate, key) = authority.pems_for("localhost");
        let paths = [("certificate.pem", certificate), ("key.pem", key)].map(|(name, text)| {
            let path = folder.join(name);
            fs::write(&path, text).expect("the folder can be written");
            path
        });
        let mut process = Command::new(python::interpreter())
            .arg(python::script("mail_server.py"))
            .arg(mode)
            .args(paths)
            .args(["keyround", PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut said = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("the mail server speaks");
        let port = line.trim().parse().expect("a port");
        MailServer { process, said, port }
    }

    /// The next mail that it accepted.
    fn mail(&mut self) -> Value {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("a mail");
        serde_json::from_str(&line).expect("JSON")
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

#[test]
fn an_email_alert_is_sent_over_trusted_tls_after_login() {
    let emulator = Emulator::start();
    for mode in ["starttls", "tls"] {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
        let mut server = MailServer::start(mode, &authority, folder.path());
        let mut program = Program::new(&emulator, "");
        let root = folder.path().join("root.pem");
        fs::write(&root, authority.pem()).expect("the folder can be written");
        program.set_env("SSL_CERT_FILE", &root.display().to_string());
        program.credential("smtp", PASSWORD);
        let acme = Customer::new(&emulator, Some(&program), &format!("mail-{mode}"), 91.0);
        acme.vendor.script([Answer::status(410)]);
        let mail = format!(
            "[alert.mail]\nkind = \"email\"\nhost = \"localhost\"\nport = {}\ntls = \"{mode}\"\nuser = \"keyround\"\n\
             password = \"credential:smtp\"\nfrom = \"keyround <keyround@example.com>\"\nto = [\"oncall@example.com\"]\n",
            server.port
        );
        program.configure(&[HASTE, &acme.section, &mail].concat());
        let checked = program.json(0, &["check", "--online"]).to_string();
        assert!(checked.contains("localhost can be reached and would take mail"), "{checked}");
        let ran = program.run(&["rotate"]);
        assert_eq!(ran.code, Some(1), "{ran}");
        let mail = server.mail();
        assert_eq!(mail["under_tls"], true);
        assert_eq!(mail["login"], true);
        assert_eq!(
            (&mail["from"], &mail["to"][0]),
            (&"keyround@example.com".into(), &"oncall@example.com".into())
        );
        let data = mail["data"].as_str().expect("a mail");
        assert!(
            data.contains(&format!("Subject: keyround: mail-{mode} (vendor-mail-{mode}) stuck")),
            "{data}"
        );
        assert!(data.contains("Auto-Submitted: auto-generated") && data.contains("Date: "), "{data}");
        assert!(data.replace("=\r\n", "").contains("no key was taken away"), "{data}");

        // A server whose certificate is not trusted gets nothing.
        program.set_env("SSL_CERT_FILE", "/dev/null");
        let shown = program.json(1, &["alert", "test"]);
        assert_eq!(shown["sinks"][0]["ok"], false, "{shown}");
        program.assert_no_secret_was_seen(&emulator);
    }
}

#[test]
fn an_sns_topic_gets_a_message_with_a_subject_and_a_filter_attribute() {
    let emulator = Emulator::start();
    let program = Program::new(&emulator, "");
    let acme = Customer::new(&emulator, Some(&program), "acme", 91.0);
    acme.vendor.script([Answer::status(410)]);
    let topic = emulator.seed_topic("keyround");
    let sns = |arn: &str| format!("[alert.topic]\nkind = \"sns\"\ntopic_arn = \"{arn}\"\n");
    program.configure(&[HASTE, &acme.section, &sns(&topic)].concat());
    assert_eq!(program.run(&["rotate"]).code, Some(1));
    let published = emulator.published();
    assert_eq!(published.len(), 1, "{published:?}");
    assert_eq!(published[0]["subject"], "keyround: acme (vendor-acme) stuck");
    assert!(published[0]["message"].as_str().is_some_and(|text| text.contains("no key was taken away")));
    assert!(published[0]["attributes"].to_string().contains("stuck"), "{published:?}");
    program.configure(&[HASTE, &acme.section, &sns(&topic.replace("keyround", "nowhere"))].concat());
    let shown = program.json(1, &["alert", "test"]);
    assert_eq!(shown["sinks"][0]["sentence"], "SNS refused: NotFound", "{shown}");
    program.assert_no_secret_was_seen(&emulator);
}

/// A running process of the real Alertmanager.
struct Alertmanager {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Alertmanager {
    fn start() -> Alertmanager {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("alertmanager.yml");
        fs::write(&config, "route:\n  receiver: none\nreceivers:\n  - name: none\n").expect("written");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let process = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("install Debian's prometheus-alertmanager for this test: {error}")
            });
        let manager = Alertmanager { process, port, _folder: folder };
        wait_until(|| manager.get("/-/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")));
        manager
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        // The request was HTTP/1.0, so the answer has no chunks.
        Some(answer.replacen("HTTP/1.0", "HTTP/1.1", 1))
    }

    /// The alerts that are active in Alertmanager.
    fn alerts(&self) -> Vec<Value> {
        let answer = self.get("/api/v2/alerts").expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body.trim()).expect("JSON")
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

#[test]
#[ignore = "needs Debian's prometheus-alertmanager"]
fn alertmanager_shows_an_alert_until_it_is_resolved() {
    let manager = Alertmanager::start();
    let emulator = Emulator::start();
    let program = Program::new(&emulator, "");
    let acme = Customer::new(&emulator, Some(&program), "acme", 91.0);
    acme.vendor.script([Answer::status(410)]);
    let sink =
        format!("[alert.manager]\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:{}\"\n", manager.port);
    program.configure(&[HASTE, &acme.section, &sink].concat());
    assert_eq!(program.run(&["rotate"]).code, Some(1));
    let alerts = manager.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0]["labels"]["alertname"], "KeyroundStuck");
    assert_eq!(alerts[0]["status"]["state"], "active");
    println!("{}", alerts[0]["annotations"]["description"]);
    assert_eq!(program.run(&["resume", "acme"]).code, Some(0));
    assert_eq!(program.run(&["rotate"]).code, Some(0));
    assert_eq!(manager.alerts(), Vec::<Value>::new(), "it is over");
    assert_eq!(program.run(&["alert", "test"]).code, Some(0));
    assert_eq!(manager.alerts()[0]["labels"]["alertname"], "KeyroundTest");
    program.assert_no_secret_was_seen(&emulator);
}
