//! Vendors that are not who they should be, or cannot be reached: invalid certificates, no TLS at all, a handshake
//! that hangs, a name that does not resolve.
//!
//! All of them are in one configuration, beside a good one. Each is refused before a key is created, with a
//! sentence that says what is wrong and what to do; none receives a single request; the good one is rotated; and
//! when a recipe is corrected, the next pass rotates its vendor.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::emulator;
use super::party::{Party, program, rotate, row, settings};
use crate::support::authority::{Authority, Validity, self_signed_server};
use crate::support::vendor::Vendor;

/// What answers in place of the vendor.
enum Impostor {
    Server(Vendor),
    Blunt(Blunt),
    Nobody,
}

struct Case {
    name: &'static str,
    impostor: Impostor,
    url: String,
    /// Further lines of this vendor's delivery step.
    more: &'static str,
    /// Words of the sentence: what is wrong, and what to do.
    words: [&'static str; 2],
}

/// The cases that are refused within seconds.
fn quick_cases(authority: &Authority) -> Vec<Case> {
    let tls = |name, config, words| {
        let vendor = Vendor::start_tls(config);
        Case { name, url: vendor.url("/keys"), impostor: Impostor::Server(vendor), more: "", words }
    };
    let not_ours = "is not from a certificate authority that this machine trusts";
    let blunt = |name, says, more, words| {
        let blunt = Blunt::start(says);
        Case { name, url: blunt.url(), impostor: Impostor::Blunt(blunt), more, words }
    };
    let (no_tls, check) = ("does not speak TLS as it should", "check the url: its scheme, and its port");
    vec![
        tls(
            "expired",
            authority.server("localhost", Validity::Expired),
            ["has expired", "ask the vendor to renew it"],
        ),
        tls(
            "other-host",
            authority.server("other.example", Validity::Current),
            ["is for another host", "check the url"],
        ),
        tls("self-signed", self_signed_server("localhost"), [not_ours, "SSL_CERT_FILE"]),
        tls(
            "unknown-authority",
            Authority::named("another").server("localhost", Validity::Current),
            [not_ours, "SSL_CERT_FILE"],
        ),
        blunt("plain-http", Some("HTTP/1.1 400 Bad Request\r\n\r\n"), "", [no_tls, check]),
        blunt("hangs-up", Some(""), "", ["broke the connection off during TLS", check]),
        blunt("mute", None, "timeout = \"1s\"", ["did not answer within 1s", "ask the vendor"]),
        Case {
            name: "unresolved",
            url: "https://hooks.acme.invalid/keys".to_owned(),
            impostor: Impostor::Nobody,
            more: "",
            words: ["the name hooks.acme.invalid does not resolve", "check the url"],
        },
        Case {
            name: "closed-port",
            url: refusing_url(),
            impostor: Impostor::Nobody,
            more: "",
            words: ["localhost cannot be connected to", "check the url"],
        },
    ]
}

#[test]
fn each_untrusted_vendor_is_sent_nothing_and_reported_with_its_cause() {
    play("tls", quick_cases);
}

#[test]
#[ignore = "takes two minutes: a connection is waited for as long as it may take, three times"]
fn a_hanging_tls_handshake_times_out_with_its_own_error() {
    play("hang", |_| {
        let mute = Blunt::start(None);
        vec![Case {
            name: "mute",
            url: mute.url(),
            impostor: Impostor::Blunt(mute),
            more: "",
            words: ["did not answer within 10s, before anything was sent", "check the url"],
        }]
    });
}

fn play(group: &str, cases: fn(&Authority) -> Vec<Case>) {
    let authority = Authority::new();
    let cases = cases(&authority);
    let parties: Vec<Party> = cases.iter().map(|case| Party::new(group, case.name)).collect();
    let good = Good::new(group, &authority);
    let broken = parties.iter().zip(&cases).map(|(party, case)| party.toml(&case.url, case.more));
    let mut program = program(&[good.toml(), broken.collect()].concat());
    fs::write(program.path("authority.pem"), authority.pem()).expect("the folder can be written");
    let pem = program.path("authority.pem").display().to_string();
    program.set_env("SSL_CERT_FILE", &pem);
    program.set_env("KEYROUND_LOG", "warn,keyround=trace");

    let ran = program.run(&["rotate", "--format", "json"]);
    assert_eq!(ran.code, Some(1), "{ran}");
    let shown = ran.json();
    for (party, case) in parties.iter().zip(&cases) {
        assert_refused(party, case, row(&shown, case.name));
    }
    good.assert_rotated();

    let mended = parties.iter().map(|party| party.toml(&party.vendor.url("/keys"), ""));
    program.configure(&settings(&[good.toml(), mended.collect()].concat()));
    let (ran, _) = rotate(&program);
    assert_eq!(ran.code, Some(0), "{ran}");
    for party in &parties {
        party.assert_rotated();
        let keys = emulator().keys(&party.user);
        assert_eq!(keys.len(), 2, "{}: one key was made, and it is the one that is delivered", party.name);
    }
    program.assert_no_secret_was_seen(emulator());
}

#[track_caller]
fn assert_refused(party: &Party, case: &Case, row: &Value) {
    let sentence = row["sentence"].as_str().expect("a sentence");
    println!("{:<18} {sentence}", case.name);
    assert_eq!((&row["action"], &row["reason"]), (&json!("stuck"), &json!("preflight_failed")), "{sentence}");
    for words in case.words {
        assert!(sentence.contains(words), "{}: {words}: {sentence}", case.name);
    }
    party.assert_keeps_old();
    assert_eq!(party.living_keys().len(), 1, "{}: no key is made that cannot be delivered", case.name);
    assert_eq!(party.vendor.requests().len(), 0, "{}: nothing was sent", case.name);
    match &case.impostor {
        Impostor::Server(vendor) => {
            assert!(vendor.connections() > 0, "{}: it was tried", case.name);
            assert_eq!(vendor.requests().len(), 0, "{}: nothing was sent", case.name);
        }
        Impostor::Blunt(blunt) => assert!(blunt.is_ignorant(), "{}: a handshake and no more", case.name),
        Impostor::Nobody => {}
    }
}

/// A trustworthy vendor with TLS.
struct Good {
    party: Party,
    tls: Vendor,
}

impl Good {
    fn new(group: &str, authority: &Authority) -> Good {
        let tls = Vendor::start_tls(authority.server("localhost", Validity::Current));
        tls.on_taking(|pair| emulator().set_used(&pair.access_key_id, "s3", 0.0));
        Good { party: Party::new(group, "good"), tls }
    }

    fn toml(&self) -> String {
        let toml = self.party.toml(&self.tls.url("/keys"), "");
        toml.replace(&self.party.vendor.url("/which"), &self.tls.url("/which"))
    }

    #[track_caller]
    fn assert_rotated(&self) {
        let held = self.tls.held().expect("the good one was given a key");
        let living = self.party.living_keys();
        assert_eq!(living.len(), 1, "the good one is done: {living:?}");
        assert_eq!(living[0].access_key_id, held.access_key_id);
    }
}

/// An address at which no program listens.
fn refusing_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("https://localhost:{}/keys", listener.local_addr().expect("an address").port())
}

/// A server that does not speak TLS. It reads what it receives, and answers nothing, or answers this text and closes.
struct Blunt {
    address: SocketAddr,
    heard: Arc<AtomicUsize>,
}

impl Blunt {
    fn start(says: Option<&'static str>) -> Blunt {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (address, heard) = (listener.local_addr().expect("an address"), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&heard);
        // The thread ends with the test's process, because a blocked `accept` cannot be interrupted.
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                thread::spawn(move || {
                    let mut piece = [0; 4096];
                    while let Ok(length @ 1..) = stream.read(&mut piece) {
                        counter.fetch_add(length, Ordering::SeqCst);
                        if let Some(words) = says {
                            return drop(stream.write_all(words.as_bytes()));
                        }
                    }
                });
            }
        });
        Blunt { address, heard }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/keys", self.address.port())
    }

    /// Whether it received only the beginnings of handshakes, which contain no secret.
    fn is_ignorant(&self) -> bool {
        let heard = self.heard.load(Ordering::SeqCst);
        (1..16 * 1024).contains(&heard)
    }
}
