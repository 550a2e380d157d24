//! The matrix: for each rule, a resource that must have a finding, and a similar resource that must not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::account::{Account, INNOCENT, Life, STRONG_ID, VENDOR, WELL, allow, of_vendor, trust};
use super::name_of;
use crate::support::program::Program;
use crate::support::vendor::Vendor;

/// The expected findings. Each row has a code, a resource that must have it, and a similar one that must not.
#[derive(Default)]
struct Matrix {
    rows: Vec<(&'static str, String, &'static str)>,
}

impl Matrix {
    /// Adds a row: the first resource must have this finding, and the second must not.
    fn plant(&mut self, code: &'static str, guilty: &str, innocent: &'static str) {
        self.rows.push((code, guilty.to_owned(), innocent));
    }

    /// Asserts that every finding was planted, and that every planted fault has its finding.
    #[track_caller]
    fn check(&self, report: &Value) {
        let mut found: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for finding in report["findings"].as_array().expect("findings") {
            let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
            let about = (text("code"), name_of(&text("subject")).to_owned());
            found.entry(about).or_default().push(text("sentence"));
        }
        for (code, guilty, innocent) in &self.rows {
            let sentences = found.get(&((*code).to_owned(), guilty.clone()));
            let seen = if sentences.is_some() { "found" } else { "MISSED" };
            let accused = found.contains_key(&((*code).to_owned(), (*innocent).to_owned()));
            let free = if accused { "ACCUSED" } else { "free" };
            println!("{code}  {guilty:<22} {seen:<7} {innocent:<22} {free}");
        }
        let planted: BTreeSet<(String, String)> =
            self.rows.iter().map(|(code, guilty, _)| ((*code).to_owned(), guilty.clone())).collect();
        let missed: Vec<_> = planted.iter().filter(|one| !found.contains_key(*one)).collect();
        let too_many: Vec<_> = found.iter().filter(|(one, _)| !planted.contains(*one)).collect();
        assert!(missed.is_empty() && too_many.is_empty(), "missed: {missed:#?}\nnot planted: {too_many:#?}");
        for (code, _, innocent) in &self.rows {
            assert!(
                !planted.contains(&((*code).to_owned(), (*innocent).to_owned())),
                "{innocent} is no twin for {code}"
            );
        }
    }
}

/// The account with every fault, and its review.
pub(super) struct Reviewed {
    pub(super) account: Account,
    pub(super) report: Value,
    matrix: Matrix,
    program: Program,
}

pub(super) fn reviewed() -> Reviewed {
    let mut account = Account::new(INNOCENT);
    let mut matrix = Matrix::default();
    // In the middle of a rotation, two active keys are in order.
    let vendor = Vendor::start();
    rotating(&mut account, &vendor);
    credentials(&mut account, &mut matrix);
    roles(&mut account, &mut matrix);
    keys(&mut account, &mut matrix);
    policies(&mut account, &mut matrix);
    usage(&mut account, &mut matrix);
    hygiene(&mut account, &mut matrix);
    root_and_trails(&account, &mut matrix);
    let program = Program::new(&account.emulator, &account.configuration);
    let ran = program.run(&["rotate", "rotating", "--force"]);
    assert_eq!(ran.code, Some(0), "{ran}");
    let report = program.json(2, &["audit", "--origins", "--fail-on", "critical"]);
    Reviewed { account, report, matrix, program }
}

#[test]
fn the_audit_finds_each_planted_fault_and_nothing_else() {
    let Reviewed { account, report, matrix, program } = reviewed();
    matrix.check(&report);
    let score = |name: &str| {
        let scores = report["scorecard"].as_array().expect("a scorecard");
        scores.iter().find(|score| score["vendor"] == name).expect("the vendor").clone()
    };
    assert_eq!(score("young")["failed"], json!([]));
    assert_eq!(score("old")["failed"], json!(["keys rotated in time"]));
    assert_eq!(score("no-id")["failed"], json!(["a trust with an external id"]));
    program.assert_no_secret_was_seen(&account.emulator);
}

#[test]
fn a_trail_that_excludes_relevant_calls_is_a_finding() {
    // CloudTrail offers to leave out these services because of the number of their events. That is no loss, because
    // none of them changes keys or permissions.
    let bulk = ["kms.amazonaws.com", "rdsdata.amazonaws.com"];
    let selecting = |fields: Value| {
        let category = json!({ "Field": "eventCategory", "Equals": ["Management"] });
        let mut advanced = vec![category];
        advanced.extend(fields.as_array().expect("fields").iter().cloned());
        json!({ "name": "other", "advanced": advanced })
    };
    let guilty = [
        json!({ "name": "reads-only", "management": "ReadOnly" }),
        json!({ "name": "no-iam", "excluded": ["kms.amazonaws.com", "iam.amazonaws.com"] }),
        selecting(json!([{ "Field": "readOnly", "Equals": ["false"] }])),
        selecting(json!([{ "Field": "eventSource", "NotEquals": ["sts.amazonaws.com"] }])),
        selecting(json!([{ "Field": "eventSource", "Equals": ["kms.amazonaws.com"] }])),
    ];
    let innocent = [
        json!({ "name": "everywhere" }),
        json!({ "name": "no-bulk", "excluded": bulk }),
        selecting(json!([])),
        selecting(json!([{ "Field": "eventSource", "NotEquals": bulk }])),
    ];
    for guilty in guilty {
        let mut matrix = Matrix::default();
        let account = Account::new(INNOCENT);
        account.trail(&guilty);
        let program = Program::new(&account.emulator, &account.configuration);
        matrix.plant("KR603", "root", "everywhere");
        matrix.check(&program.json(0, &["audit"]));
        account.trail(&json!({ "name": "everywhere" }));
        assert_eq!(program.json(0, &["audit"])["findings"], json!([]), "{guilty}");
    }
    for innocent in innocent {
        let account = Account::new(INNOCENT);
        account.trail(&innocent);
        let program = Program::new(&account.emulator, &account.configuration);
        assert_eq!(program.json(0, &["audit"])["findings"], json!([]), "{innocent}");
    }
}

#[test]
fn a_configuration_without_alert_sinks_is_a_finding() {
    let mut matrix = Matrix::default();
    let head = INNOCENT.split_once("[aws]").expect("the alerts stand before").1;
    let mut account = Account::new(&format!("[aws]{head}"));
    account.innocent();
    let program = Program::new(&account.emulator, &account.configuration);
    matrix.plant("KR704", "root", "steady");
    matrix.check(&program.json(0, &["audit", "--quick"]));
}

fn rotating(account: &mut Account, vendor: &Vendor) {
    let url = vendor.url("/aws");
    let pair = "access_key_id = \"{{ access_key_id }}\", secret_access_key = \"{{ secret_access_key }}\"";
    account.configure(&format!(
        "[vendor.rotating]\niam_user = \"rotating\"\nprove_every = \"0s\"\n\
         [[vendor.rotating.deliver]]\nkind = \"http\"\nmethod = \"PUT\"\nurl = \"{url}\"\njson = {{ {pair} }}\n\
         [vendor.rotating.verify]\nurl = \"{url}\"\n\
         expect = {{ status = 200, pointer = \"/access_key_id\", equals = \"{{{{ access_key_id }}}}\" }}\n",
    ));
    account.user("rotating", "/vendors/", WELL);
}

fn credentials(account: &mut Account, matrix: &mut Matrix) {
    account.vendor("pathy", "path = \"/vendors/pathy/\"", "");
    account.vendor("named", "iam_user = \"shared\"", "");
    account.user("shared", "/vendors/pathy/", WELL);
    account.user("pathy-own", "/vendors/pathy/", WELL);
    matrix.plant("KR101", "shared", "pathy-own");

    let ec2 = Life { service: "ec2", ..WELL };
    account.vendor_with_user("elsewhere", ec2, "actions = [\"s3:PutObject\"]");
    account.vendor_with_user("at-home", ec2, "actions = [\"ec2:DescribeInstances\"]");
    matrix.plant("KR102", "elsewhere", "at-home");
    // IAM records uses of CloudWatch under another name than policies do.
    let monitoring = Life { service: "monitoring", ..WELL };
    account.vendor_with_user("watcher", monitoring, "actions = [\"cloudwatch:GetMetricData\"]");
    account.vendor_with_user("not-a-watcher", monitoring, "actions = [\"s3:PutObject\"]");
    matrix.plant("KR102", "not-a-watcher", "watcher");

    for (name, address) in
        [("place-a", "198.51.100.7"), ("place-b", "198.51.100.7"), ("place-c", "198.51.100.8")]
    {
        let id = account.vendor_with_user(name, WELL, "");
        for address in [address, "ec2.amazonaws.com"] {
            let origin = json!({ "access_key_id": id, "address": address, "agent": "vendor/1.0" });
            account.emulator.prepare("review_origin", &origin);
        }
    }
    matrix.plant("KR103", "place-a", "place-c");
    matrix.plant("KR103", "place-b", "place-c");

    account.vendor_with_user("person", WELL, "");
    account.adorn("person", json!({ "console_used_days_ago": 3 }));
    account.vendor_with_user("passworded", WELL, "");
    account.adorn("passworded", json!({ "console_used_days_ago": null }));
    account.vendor_with_user("no-console", WELL, "");
    matrix.plant("KR104", "person", "passworded");
    matrix.plant("KR105", "passworded", "no-console");
}

fn roles(account: &mut Account, matrix: &mut Matrix) {
    account.vendor_with_user("datadog", WELL, "");
    account.vendor_with_user("datawolf", WELL, "");
    matrix.plant("KR301", "datadog", "datawolf");

    account.vendor_with_role("tight", &trust(&of_vendor(), Some(STRONG_ID)));
    account.vendor_with_role("no-id", &trust(&of_vendor(), None));
    matrix.plant("KR302", "no-id", "tight");
    let mut loose = trust(&of_vendor(), None);
    loose["Statement"][0]["Condition"] = json!({ "StringLike": { "sts:ExternalId": "*" } });
    account.vendor_with_role("loose", &loose);
    matrix.plant("KR302", "loose", "tight");
    account.vendor_with_role(
        "open",
        &trust(&json!({ "AWS": "*" }), Some("0b0f6a3e-5d0c-4f57-a1f0-95d0f3d3b1aa")),
    );
    matrix.plant("KR303", "open", "tight");
    let mut organization = trust(&json!({ "AWS": "*" }), None);
    organization["Statement"][0]["Condition"] =
        json!({ "StringEquals": { "aws:PrincipalOrgID": "o-abcdef1234" } });
    account.role("organization", &organization);
    account.role("anybody", &trust(&json!({ "AWS": "*" }), None));
    matrix.plant("KR303", "anybody", "organization");
    let both = json!({ "AWS": [format!("arn:aws:iam::{VENDOR}:root"), "arn:aws:iam::123456789012:root"] });
    account.vendor_with_role("ours-too", &trust(&both, Some("1c4e5f0a-77aa-4c7e-8d3f-0f6f6f1e2d3c")));
    matrix.plant("KR304", "ours-too", "tight");
    let same = "5e2d8c4b-9f6a-4b1c-8e7d-3a2b1c0d9e8f";
    account.vendor_with_role("same-a", &trust(&of_vendor(), Some(same)));
    account.vendor_with_role("same-b", &trust(&of_vendor(), Some(same)));
    matrix.plant("KR305", "same-a", "tight");
    matrix.plant("KR305", "same-b", "tight");
    account.vendor_with_role("guessed", &trust(&of_vendor(), Some("guessed-2026")));
    matrix.plant("KR306", "guessed", "tight");
    let other = json!({ "AWS": "arn:aws:iam::999900001111:root" });
    account.vendor_with_role("other-account", &trust(&other, Some("2d7f9b3c-6e5a-4d8f-b1c2-7a8b9c0d1e2f")));
    matrix.plant("KR307", "other-account", "tight");
    account.role_vendor("ghost");
    matrix.plant("KR308", "ghost", "tight");
    account.role("stranger", &trust(&json!({ "AWS": "arn:aws:iam::777788889999:root" }), None));
    account.role("partner", &trust(&json!({ "AWS": "arn:aws:iam::555566667777:root" }), None));
    account.role("app", &trust(&json!({ "Service": "lambda.amazonaws.com" }), None));
    matrix.plant("KR309", "stranger", "partner");
    let github = "token.actions.githubusercontent.com";
    let build = |subjects: Value| {
        let mut trust =
            trust(&json!({ "Federated": format!("arn:aws:iam::123456789012:oidc-provider/{github}") }), None);
        trust["Statement"][0]["Action"] = json!("sts:AssumeRoleWithWebIdentity");
        trust["Statement"][0]["Condition"] =
            json!({ "StringEquals": { format!("{github}:aud"): "sts.amazonaws.com" } });
        if !subjects.is_null() {
            trust["Statement"][0]["Condition"]["StringLike"] = json!({ format!("{github}:sub"): subjects });
        }
        trust
    };
    account.role("build", &build(json!("repo:acme/app:*")));
    account.role("any-build", &build(Value::Null));
    account.role("starred-build", &build(json!(["repo:acme/app:*", "repo:*"])));
    account.vendor_with_role("vendor-build", &build(json!("*")));
    for name in ["any-build", "starred-build", "vendor-build"] {
        matrix.plant("KR310", name, "build");
    }
}

fn keys(account: &mut Account, matrix: &mut Matrix) {
    let life = |age: f64, used: Option<f64>, status| Life { age, used, status, service: "s3" };
    account.vendor_with_user("old", life(120.0, Some(1.0), "Active"), "");
    account.vendor_with_user("young", life(89.0, Some(1.0), "Active"), "");
    matrix.plant("KR401", "old", "young");
    account.vendor_with_user("unused", life(60.0, None, "Active"), "");
    account.vendor_with_user("fresh", life(10.0, None, "Active"), "");
    matrix.plant("KR402", "unused", "fresh");
    account.vendor_with_user("idle", life(60.0, Some(50.0), "Active"), "");
    account.vendor_with_user("slow", life(60.0, Some(44.0), "Active"), "");
    matrix.plant("KR403", "idle", "slow");
    account.vendor_with_user("double", WELL, "");
    account.emulator.prepare("keys", &json!({ "user": "double", "age_days": 20, "used_days_ago": 1 }));
    matrix.plant("KR404", "double", "rotating");
    account.vendor_with_user("dormant", life(80.0, Some(60.0), "Inactive"), "");
    account.vendor_with_user("resting", life(80.0, Some(5.0), "Inactive"), "");
    matrix.plant("KR405", "dormant", "resting");
    account.user("nobodys", "/", WELL);
    matrix.plant("KR406", "nobodys", "young");
    account.vendor_with_user("expired", life(20.0, Some(5.0), "Expired"), "");
    matrix.plant("KR407", "expired", "resting");
    account.vendor_with_user("public", WELL, "");
    let quarantine = json!({ "user": "public", "policy": "AWSCompromisedKeyQuarantineV2" });
    account.emulator.prepare("review_quarantine", &quarantine);
    matrix.plant("KR408", "public", "young");
}

fn policies(account: &mut Account, matrix: &mut Matrix) {
    account.vendor("policies", "path = \"/vendors/policies/\"", "");
    let bucket = "arn:aws:s3:::example/*";
    let function = "arn:aws:lambda:us-east-1:123456789012:function:api";
    let iam = |name: &str| format!("arn:aws:iam::123456789012:{name}");
    let (user, role, all_roles) = (iam("user/x"), iam("role/x"), iam("role/*"));
    let mut not_action = allow(&["iam:*"], &["*"]);
    not_action["Statement"][0]["NotAction"] = not_action["Statement"][0]["Action"].take();
    not_action["Statement"][0].as_object_mut().expect("a statement").remove("Action");
    let mut not_resource = allow(&["s3:GetObject"], &[bucket]);
    not_resource["Statement"][0]["NotResource"] = json!([bucket]);
    not_resource["Statement"][0].as_object_mut().expect("a statement").remove("Resource");
    let mut old = allow(&["s3:GetObject"], &[bucket]);
    old["Version"] = json!("2008-10-17");
    let planted: [(&[&'static str], &str, Value); 13] = [
        (&[], "well-behaved", allow(&["s3:GetObject", "s3:PutObject"], &[bucket])),
        (&["KR501"], "p-admin", allow(&["*"], &["*"])),
        (&["KR502"], "p-service", allow(&["s3:*"], &[bucket])),
        (&["KR503"], "p-wild", allow(&["s3:Put*"], &[bucket])),
        (&["KR504"], "p-iam", allow(&["iam:GetUser"], &[&user])),
        (&["KR505", "KR510"], "p-assume", allow(&["sts:AssumeRole"], &[&all_roles])),
        (&["KR504", "KR506"], "p-pass", allow(&["iam:PassRole"], &[&role])),
        (&["KR507", "KR509"], "p-not-action", not_action),
        (&["KR508"], "p-not-resource", not_resource),
        (&["KR509"], "p-escalate", allow(&["lambda:UpdateFunctionCode"], &[function])),
        (&["KR510"], "p-anywhere", allow(&["s3:GetObject"], &["*"])),
        (&["KR511"], "p-misspelt", allow(&["s3:GetObjet"], &[bucket])),
        (
            &["KR503"],
            "p-half",
            allow(&["dynamodb:Batch*"], &["arn:aws:dynamodb:us-east-1:123456789012:table/t"]),
        ),
    ];
    for (codes, name, document) in planted {
        account.user(name, "/vendors/policies/", WELL);
        account.adorn(name, json!({ "policies": { "given": document } }));
        for code in codes {
            matrix.plant(code, name, "well-behaved");
        }
    }
    // moto, like IAM today, accepts no policy with the old version, but accounts have such policies from long ago.
    account.user("p-old", "/vendors/policies/", WELL);
    account.adorn("p-old", json!({ "raw": { "given": old.to_string() } }));
    matrix.plant("KR512", "p-old", "well-behaved");
    account.user("p-broken", "/vendors/policies/", WELL);
    account.adorn("p-broken", json!({ "raw": { "given": "{\"Statement\": 5}" } }));
    matrix.plant("KR500", "p-broken", "well-behaved");
    // An attached policy and a policy of a group are judged like the user's own.
    account.user("p-attached", "/vendors/policies/", WELL);
    account.adorn("p-attached", json!({ "managed": { "wide": allow(&["s3:Delete*"], &[bucket]) } }));
    matrix.plant("KR503", "p-attached", "well-behaved");
    account.user("p-group", "/vendors/policies/", WELL);
    let of_group = json!({ "wide": allow(&["s3:Delete*"], &[bucket]) });
    account.adorn("p-group", json!({ "group": "wide", "group_policies": of_group }));
    matrix.plant("KR503", "p-group", "well-behaved");
    account.user("p-together", "/vendors/policies/", WELL);
    let pass = allow(&["iam:PassRole"], &[&role]);
    let run = allow(&["lambda:CreateFunction", "lambda:InvokeFunction"], &[function]);
    account.adorn("p-together", json!({ "policies": { "pass": pass, "run": run } }));
    for code in ["KR504", "KR506", "KR521"] {
        matrix.plant(code, "p-together", "well-behaved");
    }
}

fn usage(account: &mut Account, matrix: &mut Matrix) {
    let bucket = "arn:aws:s3:::example/*";
    let declared = "actions = [\"s3:GetObject\", \"s3:Get*\"]";
    for (name, action) in [("more", "s3:PutObject"), ("as-declared", "s3:GetObjectTagging")] {
        account.vendor_with_user(name, WELL, declared);
        account.adorn(name, json!({ "policies": { "given": allow(&[action], &[bucket]) } }));
    }
    matrix.plant("KR520", "more", "as-declared");
    for (name, ec2) in [("wide", Value::Null), ("used", json!(80))] {
        account.vendor_with_user(name, WELL, "");
        account.adorn(name, json!({ "age_days": 300 }));
        let services =
            json!([{ "service": "s3", "used_days_ago": 1 }, { "service": "ec2", "used_days_ago": ec2 }]);
        let arn = format!("arn:aws:iam::123456789012:user/vendors/{name}");
        account.emulator.prepare("review_usage", &json!({ "arn": arn, "services": services }));
    }
    matrix.plant("KR522", "wide", "used");
}

fn hygiene(account: &mut Account, matrix: &mut Matrix) {
    account.vendor_with_user("hasty", WELL, "soak = \"10m\"");
    matrix.plant("KR701", "hasty", "young");
    account.vendor_with_user("final", WELL, "cool = \"1h\"");
    matrix.plant("KR702", "final", "young");
    account.unverified_vendor("unasked", "iam_user = \"unasked\"", "");
    account.user("unasked", "/vendors/", WELL);
    matrix.plant("KR703", "unasked", "young");
    account.vendor_with_user("long-lived", WELL, "max_age = \"180d\"");
    matrix.plant("KR705", "long-lived", "young");
}

/// The account's own faults are reported for its ARN; an account without faults has a test of its own.
fn root_and_trails(account: &Account, matrix: &mut Matrix) {
    account.emulator.prepare("review_root", &json!({ "keys": true, "used_days_ago": 3 }));
    matrix.plant("KR201", "root", "partner");
    matrix.plant("KR202", "root", "partner");
    let here = |name: &str| json!({ "name": name, "multi_region": false });
    let with = |name: &str, member: &str, value: Value| {
        let mut trail = here(name);
        trail[member] = value;
        trail
    };
    account.trail(&here("one-region"));
    account.trail(&with("switched-off", "logging", json!(false)));
    account.trail(&with("unsigned", "validation", json!(false)));
    account.trail(&with("failing", "error", json!("AccessDenied")));
    matrix.plant("KR601", "root", "one-region");
    matrix.plant("KR602", "switched-off", "one-region");
    matrix.plant("KR604", "unsigned", "one-region");
    matrix.plant("KR605", "failing", "one-region");
}
