//! The real binary against moto, which is as strict as AWS, and real vendor endpoints: the calls that it makes,
//! their number, and its output. Proves promises 1, 6, 7 and 8 of `src/lib.rs` for the binary.
//!
//! **Invariant:** each test ends with a search for every secret of the test, in everything that the program showed
//! or left.

mod costs;
mod database;
mod doubts;
mod exit_codes;
mod fleet;
mod misfits;
mod secrets;
mod soaking;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::moto::{Call, Emulator, Key};
use crate::support::program::{HASTE, Program};
use crate::support::vendor::{Answer, Pair, Received, Vendor};
use crate::support::{python, webhook_reference};

/// The age of a key that is due and overdue.
const OLD_DAYS: f64 = 120.0;
const YOUNG_DAYS: f64 = 5.0;

/// How a vendor receives keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// By a signed webhook.
    Webhook,
    /// As JSON, with a bearer token; the vendor can be asked.
    Asked,
    /// As a form.
    Form,
    /// In two requests, the second of which needs a value from the first one's answer.
    TwoSteps,
}

const KINDS: [Kind; 4] = [Kind::Webhook, Kind::Asked, Kind::Form, Kind::TwoSteps];

/// A vendor, its IAM user, and its initial key.
struct Member {
    name: String,
    user: String,
    kind: Kind,
    vendor: Vendor,
    old: Pair,
}

impl Member {
    fn new(emulator: &Emulator, name: &str, kind: Kind, age_days: f64) -> Member {
        let (name, user, vendor) = (name.to_owned(), format!("vendor-{name}"), Vendor::start());
        let (access_key_id, secret_access_key) = emulator.seed_user(&user, age_days);
        let old = Pair { access_key_id, secret_access_key };
        vendor.hold(old.clone());
        if kind == Kind::TwoSteps {
            vendor.script([Answer::json(200, &json!({ "revision": 7 }))]);
        }
        Member { name, user, kind, vendor, old }
    }

    /// Its section of `rotation.toml`; `more` are further settings of the vendor.
    fn toml(&self, more: &str) -> String {
        let Member { name, user, vendor, .. } = self;
        let url = vendor.url("/aws");
        let head = format!("\n[vendor.{name}]\niam_user = \"{user}\"\n{more}\n[[vendor.{name}.deliver]]\n");
        let auth = format!("auth = {{ bearer = \"credential:{name}\" }}");
        let pair = "access_key_id = \"{{ access_key_id }}\", secret_access_key = \"{{ secret_access_key }}\"";
        let steps = match self.kind {
            Kind::Webhook => {
                format!(
                    "kind = \"webhook\"\nurl = \"{url}\"\nsecret = \"credential:{name}\"\ntimeout = \"1s\"\n"
                )
            }
            Kind::Asked => format!(
                "kind = \"http\"\nmethod = \"PUT\"\nurl = \"{url}\"\n{auth}\njson = {{ {pair} }}\n\
                 [vendor.{name}.verify]\nurl = \"{url}\"\n{auth}\n\
                 expect = {{ status = 200, pointer = \"/access_key_id\", equals = \"{{{{ access_key_id }}}}\" }}\n"
            ),
            Kind::Form => {
                format!("kind = \"http\"\nmethod = \"POST\"\nurl = \"{url}\"\n{auth}\nform = {{ {pair} }}\n")
            }
            Kind::TwoSteps => format!(
                "kind = \"http\"\nmethod = \"PUT\"\nurl = \"{url}\"\n{auth}\njson = {{ new = {{ {pair} }} }}\n\
                 capture = {{ revision = \"/revision\" }}\n\
                 [[vendor.{name}.deliver]]\nkind = \"http\"\nmethod = \"POST\"\n\
                 url = \"{url}/revisions/{{{{ captured.revision | urlencode }}}}\"\n{auth}\n"
            ),
        };
        head + &steps
    }

    fn credential(&self) -> String {
        match self.kind {
            Kind::Webhook => webhook_secret(&self.name),
            Kind::Asked | Kind::Form | Kind::TwoSteps => format!("token-of-{}-5f1c8a", self.name),
        }
    }

    /// Its user's keys at the emulator, except deleted ones.
    fn living_keys(&self, emulator: &Emulator) -> Vec<Key> {
        let keys = emulator.keys(&self.user).into_iter();
        keys.filter(|key| key.status != "Deleted").collect()
    }

    fn held(&self) -> Pair {
        self.vendor.held().expect("the vendor holds a pair")
    }

    /// Asserts that the vendor has a new key, that no other key is left, and that each request was authentic.
    #[track_caller]
    fn assert_rotated(&self, emulator: &Emulator) {
        let (name, keys, held) = (&self.name, self.living_keys(emulator), self.held());
        assert_eq!(keys.len(), 1, "{name}: {keys:?}");
        assert_eq!(
            (keys[0].status.as_str(), &keys[0].access_key_id),
            ("Active", &held.access_key_id),
            "{name}"
        );
        assert_ne!(held.access_key_id, self.old.access_key_id, "{name}");
        assert_eq!(keys[0].secret, held.secret_access_key, "{name}");
        self.vendor.requests().iter().for_each(|request| self.assert_authentic(request));
    }

    /// Asserts that there are two keys, both Active, and that one of them is the old one.
    #[track_caller]
    fn assert_both_keys_work(&self, emulator: &Emulator) {
        let (name, keys) = (&self.name, self.living_keys(emulator));
        let statuses: Vec<&str> = keys.iter().map(|key| key.status.as_str()).collect();
        assert_eq!(statuses, ["Active", "Active"], "{name}");
        assert!(keys.iter().any(|key| key.access_key_id == self.old.access_key_id), "{name}");
    }

    /// Asserts that nothing of its user was changed.
    #[track_caller]
    fn assert_untouched(&self, emulator: &Emulator) {
        let calls = emulator.calls_about(&self.user);
        let done: Vec<&Call> = calls.iter().filter(|call| call.mutating && call.done).collect();
        assert!(done.is_empty(), "{}: {done:?}", self.name);
        assert_eq!(self.held(), self.old, "{}", self.name);
    }

    #[track_caller]
    fn assert_authentic(&self, request: &Received) {
        if self.kind == Kind::Webhook {
            let (headers, body) = (&request.headers, &request.body);
            let question =
                json!({ "check": "hmac", "secret": self.credential(), "headers": headers, "body": body });
            let kind = webhook_reference::ask(&question);
            assert_eq!(kind.as_deref(), Ok("access_key.rotated"), "{}", self.name);
        } else {
            assert_eq!(request.headers["authorization"], format!("Bearer {}", self.credential()));
        }
    }
}

/// A program with a configuration for these vendors, no waits, and their credentials.
fn program(emulator: &Emulator, members: &[&Member]) -> Program {
    program_with(emulator, HASTE, members.iter().map(|member| (*member, "")))
}

/// Like [`program`], with other defaults, and with settings for each vendor.
fn program_with<'a>(
    emulator: &Emulator,
    defaults: &str,
    members: impl IntoIterator<Item = (&'a Member, &'a str)>,
) -> Program {
    let (mut toml, mut credentials) = (defaults.to_owned(), Vec::new());
    for (member, settings) in members {
        toml += &member.toml(settings);
        credentials.push((member.name.clone(), member.credential()));
    }
    let program = Program::new(emulator, &toml);
    for (name, value) in credentials {
        program.credential(&name, &value);
    }
    program
}

/// A secret of 32 bytes that differs from the other vendors' secrets.
fn webhook_secret(name: &str) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine};
    format!("whsec_{}", BASE64_STANDARD.encode(format!("{:.<32}", format!("signed by {name} "))))
}

/// What AWS answers to a call that is signed with each of these pairs: an ARN, or the code of a refusal.
fn who_signs(emulator: &Emulator, pairs: &[Pair]) -> Vec<String> {
    let pairs: Vec<[&str; 2]> =
        pairs.iter().map(|pair| [pair.access_key_id.as_str(), pair.secret_access_key.as_str()]).collect();
    let question = json!({ "url": emulator.url(), "pairs": pairs });
    let answer = python::ask("call_as.py", &question).unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_str(&answer).expect("a list of names")
}

fn arn(member: &Member) -> String {
    format!("arn:aws:iam::123456789012:user/{}", member.user)
}

/// The row of one vendor in the result of `rotate` or `status`.
#[track_caller]
fn row<'a>(result: &'a Value, vendor: &str) -> &'a Value {
    let rows = result["vendors"].as_array().expect("rows");
    rows.iter().find(|row| row["vendor"] == vendor).unwrap_or_else(|| panic!("{vendor} is not in {result:#}"))
}

fn sentence<'a>(result: &'a Value, vendor: &str) -> &'a str {
    row(result, vendor)["sentence"].as_str().expect("a sentence")
}

/// The vendors whose row has this value in this field.
fn vendors_with<'a>(result: &'a Value, field: &str, value: &str) -> BTreeSet<&'a str> {
    let rows = result["vendors"].as_array().expect("rows").iter().filter(|row| row[field] == value);
    rows.map(|row| row["vendor"].as_str().expect("a name")).collect()
}

fn names<'a>(members: &'a [&Member]) -> BTreeSet<&'a str> {
    members.iter().map(|member| member.name.as_str()).collect()
}

fn count(calls: &[Call], action: &str) -> usize {
    calls.iter().filter(|call| call.action == action).count()
}
