//! An account in the emulator, prepared user by user, and the configuration that belongs to it.

use serde_json::{Value, json};

use crate::support::moto::Emulator;

/// The emulator's account.
pub(super) const ACCOUNT: &str = "123456789012";
/// A vendor's account, and below it an external id that cannot be guessed.
pub(super) const VENDOR: &str = "444455556666";
pub(super) const STRONG_ID: &str = "7d1b9c1e-0a35-4a5b-9a93-2f5c7e1f9d20";

/// The beginning of a configuration whose vendors cause no finding.
pub(super) const INNOCENT: &str = "[alert.team]\nkind = \"command\"\ncommand = [\"/bin/true\"]\n[aws]\nregion = \"us-east-1\"\n[account.partner]\nid = \"555566667777\"\nrole_arn = \"arn:aws:iam::555566667777:role/keyround\"\n";

pub(super) struct Account {
    pub(super) emulator: Emulator,
    pub(super) configuration: String,
    users: std::cell::Cell<usize>,
}

/// The age and last use of a key, in days before today.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) age: f64,
    pub(super) used: Option<f64>,
    pub(super) status: &'static str,
    pub(super) service: &'static str,
}

/// A young key that is in use.
pub(super) const WELL: Life = Life { age: 20.0, used: Some(1.0), status: "Active", service: "s3" };

impl Account {
    pub(super) fn new(configuration: &str) -> Account {
        let configuration = configuration.to_owned();
        Account { emulator: super::emulator(), configuration, users: std::cell::Cell::default() }
    }

    /// The number of users with keys.
    pub(super) fn users(&self) -> usize {
        self.users.get()
    }

    /// Creates a user with a key of this life. Returns the key's id.
    pub(super) fn user(&self, name: &str, path: &str, life: Life) -> String {
        self.users.set(self.users.get() + 1);
        let Life { age, used, status, service } = life;
        let user = json!({ "name": name, "path": path, "age_days": age });
        let key = self.emulator.prepare("users", &user);
        let id = key["access_key_id"].as_str().expect("a key").to_owned();
        let life =
            json!({ "access_key_id": id, "used_days_ago": used, "status": status, "service": service });
        self.emulator.prepare("keys", &life);
        id
    }

    /// Adds properties to a user: see `post_review_user`.
    pub(super) fn adorn(&self, user: &str, mut more: Value) {
        more["user"] = json!(user);
        self.emulator.prepare("review_user", &more);
    }

    pub(super) fn role(&self, name: &str, trust: &Value) {
        self.emulator.prepare("review_role", &json!({ "name": name, "trust": trust }));
    }

    pub(super) fn trail(&self, trail: &Value) {
        self.emulator.prepare("review_trail", trail);
    }

    /// Appends this section to the configuration.
    pub(super) fn configure(&mut self, section: &str) {
        self.configuration.push_str(section);
    }

    /// Configures a vendor with a check, and these further settings.
    pub(super) fn vendor(&mut self, name: &str, given: &str, more: &str) {
        self.unverified_vendor(name, given, more);
        self.configure(&format!(
            "[vendor.{name}.verify]\nurl = \"https://{name}.example/now\"\nexpect = {{ status = 200, pointer = \"/id\", equals = \"{{{{ access_key_id }}}}\" }}\n"
        ));
    }

    pub(super) fn unverified_vendor(&mut self, name: &str, given: &str, more: &str) {
        self.configure(&format!(
            "[vendor.{name}]\n{given}\n{more}\n[[vendor.{name}.deliver]]\nkind = \"webhook\"\nurl = \"https://{name}.example/keys\"\nsecret = \"env:WEBHOOK\"\n"
        ));
    }

    /// Configures a vendor with a user of its name.
    pub(super) fn vendor_with_user(&mut self, name: &str, life: Life, more: &str) -> String {
        self.vendor(name, &format!("iam_user = \"{name}\""), more);
        self.user(name, "/vendors/", life)
    }

    /// Configures a vendor with a role of its name and this trust policy.
    pub(super) fn vendor_with_role(&mut self, name: &str, trust: &Value) {
        self.role_vendor(name);
        self.role(name, trust);
    }

    pub(super) fn role_vendor(&mut self, name: &str) {
        self.configure(&format!(
            "[vendor.{name}]\nrole_arn = \"arn:aws:iam::{ACCOUNT}:role/{name}\"\nvendor_account_id = \"{VENDOR}\"\n"
        ));
    }

    /// Adds one resource of each kind that has no fault.
    pub(super) fn innocent(&mut self) {
        self.vendor_with_user("steady", WELL, "");
        self.adorn(
            "steady",
            json!({ "policies": { "logs": allow(&["s3:PutObject"], &["arn:aws:s3:::steady-logs/*"]) } }),
        );
        self.vendor_with_role("assuming", &trust(&of_vendor(), Some(STRONG_ID)));
        self.trail(&json!({ "name": "everywhere" }));
        self.role("app", &trust(&json!({ "Service": "lambda.amazonaws.com" }), None));
        self.role("partner", &trust(&json!({ "AWS": "arn:aws:iam::555566667777:root" }), None));
    }
}

/// A policy with one statement that allows these actions.
pub(super) fn allow(actions: &[&str], resources: &[&str]) -> Value {
    json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": resources }] })
}

/// A trust policy for this principal, with this external id under `StringEquals`.
pub(super) fn trust(principal: &Value, external_id: Option<&str>) -> Value {
    let mut statement = json!({ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" });
    if let Some(id) = external_id {
        statement["Condition"] = json!({ "StringEquals": { "sts:ExternalId": id } });
    }
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

/// The principal of the vendor's account.
pub(super) fn of_vendor() -> Value {
    json!({ "AWS": format!("arn:aws:iam::{VENDOR}:root") })
}
