//! The page in Chromium. The screenshots are left in `target/tmp/pictures/`, for a person to look at.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use keyround::core::time::Timestamp;
use keyround::ports::overview::{HistoryLine, Key, Overview, RotationStatus, Status, VendorStatus};
use keyround::status::page::{page, policy};

use super::Service;

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const DAY: Duration = Duration::from_hours(24);
const DESK: &str = "1280,900";
const PHONE: &str = "390,1400";

#[test]
#[ignore = "needs a browser"]
fn the_status_page_renders_on_desktop_on_phone_and_in_dark_mode() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pictures");
    fs::create_dir_all(&folder).expect("target/ can be written");
    let (healthy, stuck, many) = (overview(healthy()), overview(stuck()), overview(many()));
    let empty = Overview {
        unready: vec!["the first pass since the start is not over yet".to_owned()],
        ..overview(Vec::new())
    };
    let night = &["--blink-settings=preferredColorScheme=0"][..];
    for (name, overview, size, more) in [
        ("healthy", &healthy, DESK, &[][..]),
        ("stuck", &stuck, DESK, &[]),
        ("busy", &many, DESK, &[]),
        ("empty", &empty, DESK, &[]),
        ("phone", &stuck, PHONE, &[]),
        ("dark", &stuck, DESK, night),
    ] {
        let file = folder.join(format!("{name}.html"));
        // Opened as a file, the page contains its content security policy, as a report does.
        let policy = format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">", policy());
        fs::write(&file, page(overview).replacen("<title>", &format!("{policy}<title>"), 1))
            .expect("written");
        let active = folder.join(format!("{name}.png"));
        let shot = format!("--screenshot={}", active.display());
        let window = format!("--window-size={size}");
        let arguments = [&[shot.as_str(), &window, "--hide-scrollbars"], more].concat();
        let seen = browse(&format!("file://{}", file.display()), &arguments);
        assert_not_blocked(&seen);
        // A page without its style, or without content, compresses to a tenth of that.
        assert!(fs::metadata(&active).is_ok_and(|active| active.len() > 15_000), "{name} is blank");
        println!("{}", active.display());
    }
}

#[test]
#[ignore = "needs a browser"]
fn a_browser_shows_the_served_page_and_blocks_nothing_of_it() {
    let service = Service::start("[serve]\nlisten = \"127.0.0.1:PORT\"\n");
    service.wait_until_ready();
    let seen = browse(&format!("http://127.0.0.1:{}/", service.port), &["--dump-dom"]);
    assert_not_blocked(&seen);
    let dom = String::from_utf8_lossy(&seen.stdout);
    for text in ["<b>gone</b>", "aria-label=\"stage 3 of 7: stuck in deliver", "Needs you"] {
        assert!(dom.contains(text), "{text} is not in\n{dom}");
    }
    service.stop();
}

fn assert_not_blocked(seen: &Output) {
    let said = String::from_utf8_lossy(&seen.stderr);
    assert!(seen.status.success(), "{said}");
    assert!(!said.contains("Content Security Policy"), "the policy blocks a part of the page:\n{said}");
}

fn browse(url: &str, arguments: &[&str]) -> Output {
    let profile = tempfile::tempdir().expect("a folder");
    let run = |browser: &&str| {
        Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--enable-logging=stderr", "--log-level=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(arguments)
            .arg(url)
            .output()
            .ok()
    };
    let seen = BROWSERS.iter().find_map(run);
    seen.unwrap_or_else(|| panic!("install Debian's chromium for this test; none of {BROWSERS:?} is there"))
}

// The pages that are shown.

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().expect("a time")
}

fn healthy() -> Vec<VendorStatus> {
    let days = |count: u32| DAY * count;
    vec![
        user(
            "acme",
            "ok",
            days(12),
            "the key AKIAEXAMPLE000000001 is 12 days old and not due before 2027-01-10T12:00:00Z",
        ),
        rotating(
            user(
                "globex",
                "rotating",
                days(91),
                "the vendor accepted the new key; neither key is touched while it soaks; next step at 2026-11-24T05:00:00Z",
            ),
            ("soak", None),
        ),
        user(
            "stark",
            "warning",
            days(81),
            "the key AKIAEXAMPLE000000002 is 81 days old and due in 9d, at 2026-12-02T12:00:00Z",
        ),
        user(
            "umbrella",
            "ok",
            days(44),
            "the key AKIAEXAMPLE000000003 is 44 days old and not due before 2027-01-08T12:00:00Z",
        ),
        VendorStatus {
            iam_user: None,
            account_id: None,
            keys: Vec::new(),
            ..user(
                "billing",
                "role",
                days(0),
                "the vendor assumes arn:aws:iam::111122223333:role/vendor-billing: there is no key to rotate",
            )
        },
    ]
}

fn stuck() -> Vec<VendorStatus> {
    let gone = "hooks.initech.example answered 410: the address is gone for good; no key was taken away, so the one that the \
                vendor has is untouched; mend the delivery in the configuration, then resume; to go on: `keyround resume initech`";
    let held = rotating(
        user("hooli", "held", DAY * 92, "held by root@ops: change freeze, until an operator resumes it"),
        ("deliver", None),
    );
    let late = "the key AKIAEXAMPLE000000004 is 140 days old and due since 2026-10-04T12:00:00Z, and overdue since \
                2026-10-07T12:00:00Z; the vendor's window is closed until 2026-11-28T22:00:00Z";
    let stuck = rotating(user("initech", "stuck", DAY * 97, gone), ("stuck", Some("deliver")));
    let mut vendors = vec![stuck, held, user("wayne", "overdue", DAY * 140, late)];
    vendors.extend(healthy());
    vendors
}

fn many() -> Vec<VendorStatus> {
    let mut vendors = stuck();
    vendors.extend((0..192_u32).map(|number| {
        let days = number * 7 % 89;
        let state = if days > 76 { "warning" } else { "ok" };
        let sentence = format!(
            "the key AKIAEXAMPLE{number:09} is {days} days old and not due before 2027-01-10T12:00:00Z"
        );
        user(&format!("org-{number:03}"), state, DAY * days, &sentence)
    }));
    vendors
}

fn user(name: &str, state: &'static str, age: Duration, sentence: &str) -> VendorStatus {
    let key = Key {
        access_key_id: "AKIAEXAMPLE000000001".to_owned(),
        status: "Active",
        created_at: now().minus(age),
        age_days: age.as_secs() / DAY.as_secs(),
        last_used_at: None,
        role: "old",
    };
    VendorStatus {
        vendor: name.to_owned(),
        account_id: Some("111122223333".to_owned()),
        iam_user: Some(format!("vendor-{name}")),
        state,
        reason: "reason",
        sentence: sentence.to_owned(),
        due_at: None,
        overdue_at: None,
        keys: vec![key],
        rotation: None,
        exposed: None,
        owner: Some("platform@example.com".to_owned()),
        max_age: Some(DAY * 90),
    }
}

fn rotating(user: VendorStatus, (stage, resumes_in): (&'static str, Option<&'static str>)) -> VendorStatus {
    let rotation = RotationStatus {
        id: "01a34c24-fb08-8c11-9188-d17c45fbb284".to_owned(),
        stage,
        since: now().minus(Duration::from_hours(7)),
        next_at: (stage == "soak").then(|| now() + Duration::from_hours(17)),
        old_access_key_id: None,
        new_access_key_id: None,
        mode: "routine",
        vendor_holds: "unknown",
        resumes_in,
    };
    VendorStatus { rotation: Some(rotation), ..user }
}

fn overview(vendors: Vec<VendorStatus>) -> Overview {
    let happening = |(position, (vendor, event, sentence)): (u64, (&str, &'static str, &str))| HistoryLine {
        at: now().minus(Duration::from_mins(7 * position)),
        vendor: vendor.to_owned(),
        rotation: "01a34c24-fb08-8c11-9188-d17c45fbb284".to_owned(),
        event,
        sentence: sentence.to_owned(),
        writer: "ops1:4711".to_owned(),
        hash: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        position: 90 - position,
    };
    let history = [
        ("globex", "verified", "the vendor reports that the new key is in force"),
        ("globex", "delivered", "the vendor accepted the new key"),
        (
            "initech",
            "refused",
            "delivering the new key: hooks.initech.example answered 410: the address is gone for good (vendor_gone)",
        ),
        ("globex", "created", "AKIAEXAMPLE000000009 (request 6f0b3c1e-93d2-4c0f-9a0e-2b7f3a51c0de)"),
        ("globex", "started", "globex: AKIAEXAMPLE000000002 of vendor-globex is to be replaced: too_old"),
    ];
    let has_history = !vendors.is_empty();
    Overview {
        status: Status { generated_at: now(), vendors },
        last_pass_at: has_history.then(|| now().minus(Duration::from_mins(43))),
        next_pass_at: Some(now() + Duration::from_mins(17)),
        history: (1..).zip(history).filter(|_| has_history).map(happening).collect(),
        rotations: BTreeMap::new(),
        deliveries: BTreeMap::new(),
        unready: Vec::new(),
        review: None,
        clock_offsets: std::collections::BTreeMap::new(),
    }
}

/// The page of a screenshot contains no path of this machine.
#[test]
fn the_pages_of_the_pictures_are_complete_html() {
    for overview in [overview(healthy()), overview(stuck()), overview(many()), overview(Vec::new())] {
        let page = page(&overview);
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
        assert!(!page.contains(&Path::new(env!("CARGO_MANIFEST_DIR")).display().to_string()));
    }
}
