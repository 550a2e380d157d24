//! The unit files as text: `systemd-analyze` accepts them without a warning and rates their exposure as low, and
//! each group of sandbox lines has a comment with its reason.

mod needs_root;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use crate::support::systemd::shipped;

const SERVICES: [&str; 2] = ["keyround.service", "keyround-rotate.service"];
/// The bound on the exposure level, in tenths. A service that connects to the whole internet cannot get much below 10.
const EXPOSURE_MAX: &str = "15";

#[test]
fn systemd_analyze_verify_accepts_every_unit() {
    let units = installed();
    for unit in ["keyround.service", "keyround-rotate.service", "keyround-rotate.timer"] {
        let path = units.path().join(unit);
        let verify = ["verify", "--man=no", "--recursive-errors=yes"];
        let output = analyze(&verify, path.to_str().expect("a path"));
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success() && said.is_empty(), "{unit}: {said}");
    }
}

#[test]
fn systemd_analyze_verify_reports_a_mistake_in_a_unit() {
    let units = installed();
    let path = units.path().join("keyround.service");
    let text = fs::read_to_string(&path).expect("it is there").replace("ProtectClock=yes", "ProtectClok=yes");
    fs::write(&path, text).expect("it is ours");
    let output = analyze(&["verify", "--man=no", "--recursive-errors=yes"], path.to_str().expect("a path"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("ProtectClok"), "{said}");
}

#[test]
fn systemd_analyze_security_rates_the_sandbox_within_the_limit() {
    for service in SERVICES {
        let path = shipped(service);
        let threshold = format!("--threshold={EXPOSURE_MAX}");
        let output =
            analyze(&["security", "--offline=yes", &threshold, "--no-pager"], path.to_str().expect("a path"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        println!("{}", said.lines().last().unwrap_or_default());
    }
}

#[test]
fn both_services_run_in_the_same_sandbox() {
    let sandbox = |service: &str| {
        let text = fs::read_to_string(shipped(service)).expect("it is shipped");
        let from = text.find("# A user of its own").expect("it begins with the user");
        let sandbox = text[from..].split("\n[Install]").next().unwrap_or_default();
        sandbox.trim_end().to_owned()
    };
    assert_eq!(sandbox(SERVICES[0]), sandbox(SERVICES[1]));
}

#[test]
fn every_group_of_unit_settings_has_a_comment() {
    for service in SERVICES {
        let text = fs::read_to_string(shipped(service)).expect("it is shipped");
        let settings = text.split_once("\n[Service]\n").expect("a section").1;
        for group in settings.split("\n\n").filter(|group| !group.starts_with("[Install]")) {
            let mut lines =
                group.lines().skip_while(|line| line.starts_with("Type=") || line.starts_with("Exec"));
            let first = lines.next().unwrap_or("#");
            assert!(first.starts_with('#') || first.starts_with("Environment="), "{service}: why {first}?");
        }
    }
}

/// The units, with the path of the program that was just built in place of the installed one.
fn installed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for unit in ["keyround.service", "keyround-rotate.service", "keyround-rotate.timer"] {
        let text = fs::read_to_string(shipped(unit)).expect("it is shipped");
        let text = text.replace("/usr/bin/keyround", env!("CARGO_BIN_EXE_keyround"));
        fs::write(folder.path().join(unit), text).expect("it is ours");
    }
    folder
}

fn analyze(arguments: &[&str], file: &str) -> Output {
    let env: BTreeMap<&str, &str> = BTreeMap::from([("SYSTEMD_COLORS", "0"), ("LC_ALL", "C.UTF-8")]);
    let ran = Command::new("systemd-analyze").args(arguments).arg(file).envs(env).output();
    ran.unwrap_or_else(|error| {
        panic!("there is no systemd-analyze ({error}): install Debian's package systemd")
    })
}
