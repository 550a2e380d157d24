//! Many vendors in one configuration, to prove promise 8 of `src/lib.rs`: a fault of one does not affect the others.

use serde_json::Value;

use super::emulator;
use crate::support::moto::{Call, Key};
use crate::support::program::{Program, Ran};
use crate::support::vendor::{Pair, Vendor};

/// The signing secret. It decodes to a text, so that a search can find that form too.
const WEBHOOK_SECRET: &str = "whsec_c2lnbmluZyBzZWNyZXQgb2YgYWxsIHBhcnRpZXM=";

/// A vendor, its IAM user, and its initial key, which is due.
pub(super) struct Party {
    pub(super) name: String,
    pub(super) user: String,
    pub(super) vendor: Vendor,
    pub(super) old: Pair,
}

impl Party {
    pub(super) fn new(group: &str, name: &str) -> Party {
        let (name, user, vendor) = (name.to_owned(), format!("{group}-{name}"), Vendor::start());
        let (access_key_id, secret_access_key) = emulator().seed_user(&user, 120.0);
        let old = Pair { access_key_id, secret_access_key };
        vendor.hold(old.clone());
        vendor.on_taking(|pair| emulator().set_used(&pair.access_key_id, "s3", 0.0));
        Party { name, user, vendor, old }
    }

    /// Its section of `rotation.toml`: a webhook to this address, and a check at the vendor itself.
    pub(super) fn toml(&self, url: &str, more: &str) -> String {
        let Party { name, user, vendor, .. } = self;
        let ask = vendor.url("/which");
        format!(
            "[vendor.{name}]\naccount = \"main\"\niam_user = \"{user}\"\n\
             [[vendor.{name}.deliver]]\nkind = \"webhook\"\nurl = \"{url}\"\nsecret = \"credential:signing\"\n{more}\n\
             [vendor.{name}.verify]\nurl = \"{ask}\"\n\
             expect = {{ pointer = \"/access_key_id\", equals = \"{{{{ access_key_id }}}}\" }}\n"
        )
    }

    pub(super) fn living_keys(&self) -> Vec<Key> {
        emulator().keys(&self.user).into_iter().filter(|key| key.status != "Deleted").collect()
    }

    /// Asserts that the key that it holds is Active.
    #[track_caller]
    pub(super) fn assert_works(&self) {
        let held = self.vendor.held().expect("it was given one at the start");
        let living = self.living_keys();
        let key = living.iter().find(|key| key.access_key_id == held.access_key_id);
        let key = key.unwrap_or_else(|| panic!("{}: the vendor's key is gone: {living:?}", self.name));
        assert_eq!((key.status.as_str(), &key.secret), ("Active", &held.secret_access_key), "{}", self.name);
    }

    /// Asserts that each deleted key had been set Inactive before.
    #[track_caller]
    pub(super) fn assert_nothing_was_deleted_that_was_active(&self) {
        let calls = emulator().calls_about(&self.user);
        let done = |action: &str, key: Option<&str>| {
            let fits =
                |call: &&Call| call.done && call.action == action && call.access_key_id.as_deref() == key;
            calls.iter().find(fits).map(|call| call.arrived_at)
        };
        for deleted in calls.iter().filter(|call| call.done && call.action == "iam:DeleteAccessKey") {
            let inactive_at = done("iam:UpdateAccessKey", deleted.access_key_id.as_deref());
            let is_earlier = inactive_at.is_some_and(|at| at < deleted.arrived_at);
            assert!(is_earlier, "{}: a key was deleted that was Active: {calls:#?}", self.name);
        }
    }

    /// Asserts that it still has the old key, and that this key is Active.
    #[track_caller]
    pub(super) fn assert_keeps_old(&self) {
        self.assert_works();
        assert_eq!(self.vendor.held().as_ref(), Some(&self.old), "{}", self.name);
    }

    /// Asserts that it works with a new key, and that no other key is left.
    #[track_caller]
    pub(super) fn assert_rotated(&self) {
        self.assert_works();
        assert_ne!(self.vendor.held().as_ref(), Some(&self.old), "{}", self.name);
        assert_eq!(self.living_keys().len(), 1, "{}", self.name);
    }
}

/// A program with these vendor sections, no waits, and every secret that they refer to.
pub(super) fn program(parts: &str) -> Program {
    let program = Program::new(emulator(), &settings(parts));
    program.credential("signing", WEBHOOK_SECRET);
    program
}

pub(super) fn settings(parts: &str) -> String {
    use crate::support::moto::ACCOUNT;
    use crate::support::process::NO_WAITS;
    format!("{NO_WAITS}concurrency = 64\n[account.main]\nid = \"{ACCOUNT}\"\n{parts}")
}

/// The row of that vendor in the result of `rotate --format json`.
#[track_caller]
pub(super) fn row<'a>(shown: &'a Value, name: &str) -> &'a Value {
    let rows = shown["vendors"].as_array().expect("rows");
    rows.iter().find(|row| row["vendor"] == name).unwrap_or_else(|| panic!("no {name}: {shown:#}"))
}

/// One pass with `--wait` and JSON output.
#[track_caller]
pub(super) fn rotate(program: &Program) -> (Ran, Value) {
    let ran = program.run(&["rotate", "--wait", "--format", "json"]);
    let shown = ran.json();
    (ran, shown)
}

/// The sentences of the failures of that vendor's rotations, from its history.
#[track_caller]
pub(super) fn complaints(program: &Program, name: &str) -> Vec<String> {
    let rows = program.json(0, &["history", name]);
    let rows = rows.as_array().expect("rows").iter();
    let told = rows.filter_map(|row| match row["event"]["event"].as_str()? {
        "refused" => row["event"]["refusal"]["sentence"].as_str().map(str::to_owned),
        "unanswered" => row["event"]["doubt"]["sentence"].as_str().map(str::to_owned),
        _ => None,
    });
    told.collect()
}
