//! keyround as the package installs it, under a real systemd with the real journal: the shipped units in their
//! sandbox, with credentials, reloads, the watchdog, stops in the middle of a rotation, and the timer.

use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::moto::{ACCOUNT, Emulator, Release};
use crate::support::papers;
use crate::support::process::{Corner, NO_WAITS, Place, WEBHOOK_SECRET};
use crate::support::systemd::Systemd;
use crate::support::vendor::Moment;

const UNIT: &str = "keyround.service";
const TOML: &str = "/etc/keyround/rotation.toml";
const BAD: &str = "[vendor.acme]\niam_user = \"vendor-acme\"\nshoe_size = 46\n";
const EVERY_OTHER_SECOND: &str = "[schedule]\ncron = \"*/2 * * * * *\"\njitter = \"0s\"\n";
const YEARLY: &str = "[schedule]\ncron = \"0 0 1 1 *\"\njitter = \"0s\"\n";
const JOURNAL: &str = "[journal]\nurl = \"sqlite:///var/lib/keyround/journal.db\"\n";
const SEAL_KEY: &str = "c2VhbC1rZXktb2YtdGhlLXRlc3RzLTMyLWJ5dGVzISE=";
/// The first version of systemd that waits for the end of a reload. The drop-in is the one in the comments of
/// keyround.service.
const NOTIFIES_RELOADS: u32 = 253;
/// Longer than systemd would take to restart it once more.
const A_WHILE: Duration = Duration::from_secs(3);

#[test]
#[ignore = "needs root: boots a systemd of its own"]
fn the_service_starts_in_its_sandbox_reads_credentials_and_rotates() {
    let corner = Corner::new(emulator(), "sd-start");
    let old = corner.held().access_key_id;
    let machine = machine(
        &corner,
        "LoadCredential=unused\nLoadCredentialEncrypted=webhook\nLoadCredentialEncrypted=seal-key\n",
    );
    let encrypt = |name: &str, secret: &str| {
        let (name, file) = (format!("--name={name}"), format!("/etc/credstore.encrypted/{name}"));
        machine.feed(&["systemd-creds", "encrypt", &name, "-", &file], secret);
    };
    machine.well(&["mkdir", "-p", "/etc/credstore.encrypted"]);
    encrypt("webhook", WEBHOOK_SECRET);
    encrypt("seal-key", SEAL_KEY);
    let journal = JOURNAL.to_owned() + "seal_key = \"credential:seal-key\"\n";
    machine.write(TOML, &config(&corner, &journal, EVERY_OTHER_SECOND));

    machine.well(&["systemctl", "start", UNIT]);
    assert_eq!(machine.show(UNIT, "SubState"), "running");
    machine.until("the rotation is over", || is_done(&corner));
    machine.until("STATUS says that all is well", || {
        let status = machine.show(UNIT, "StatusText");
        status.starts_with("1 vendor, next pass ") && status.ends_with(" UTC")
    });
    println!("StatusText={}", machine.show(UNIT, "StatusText"));
    assert_in_order(&corner, &old);

    let pid = machine.show(UNIT, "MainPID");
    let process = String::from_utf8(machine.read(&format!("/proc/{pid}/status"))).expect("text");
    let line = |name: &str| process.lines().find_map(|line| line.strip_prefix(name)).expect("a line").trim();
    assert_eq!(
        (line("CapBnd:"), line("CapEff:"), line("NoNewPrivs:"), line("Seccomp:")),
        (NOTHING, NOTHING, "1", "2")
    );
    assert_ne!(line("Uid:").split_whitespace().next(), Some("0"));
    let files =
        machine.well(&["find", "/var/lib/keyround", "-not", "-user", "keyround", "-o", "-perm", "/077"]);
    assert_eq!(files, "", "all of it is the service's alone");
    let seal_key = machine.run(&["test", "-e", "/var/lib/keyround/seal.key"]);
    assert!(!seal_key.status.success(), "the seal key was given, so none is made");

    machine.well(&["systemctl", "stop", UNIT]);
    assert_eq!(
        (machine.show(UNIT, "Result"), machine.show(UNIT, "ExecMainStatus")),
        ("success".to_owned(), "0".to_owned())
    );
    assert_journal(&corner, &machine);
    let history =
        machine.well(&["runuser", "-u", "keyround", "--", "keyround", "-c", TOML, "history", "acme"]);
    assert!(history.contains("deleted"), "{history}");
}

const NOTHING: &str = "0000000000000000";

/// Asserts that the entries have separate fields, that each line of the rotation has its id, and that no entry has
/// a secret.
#[track_caller]
fn assert_journal(corner: &Corner, machine: &Systemd) {
    let entries = machine.entries(UNIT);
    let ours: Vec<&Value> = entries.iter().filter(|entry| entry["SYSLOG_IDENTIFIER"] == "keyround").collect();
    assert!(!ours.is_empty() && ours.iter().all(|entry| entry["_TRANSPORT"] == "journal"), "{entries:?}");
    let of_rotation: Vec<&&Value> = ours.iter().filter(|entry| entry["ROTATION_STAGE"].is_string()).collect();
    let stages: Vec<&str> = of_rotation.iter().filter_map(|entry| entry["ROTATION_STAGE"].as_str()).collect();
    assert_eq!(stages.first(), Some(&"survey"), "{stages:?}");
    assert_eq!(stages.last(), Some(&"done"), "{stages:?}");
    let ids: std::collections::BTreeSet<&str> =
        of_rotation.iter().map(|entry| entry["ROTATION_ID"].as_str().expect("one id")).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(of_rotation.iter().all(|entry| entry["VENDOR_NAME"] == "acme" && entry["PRIORITY"] == "6"));
    let warnings = machine.well(&["journalctl", "-u", UNIT, "-p", "warning", "-o", "cat", "--no-pager"]);
    let of_configuration = ["[schedule]: ", "[defaults]: "];
    let others: Vec<&str> =
        warnings.lines().filter(|line| !of_configuration.iter().any(|part| line.starts_with(part))).collect();
    assert_eq!(others, [""; 0], "nothing in the sandbox is missed");
    assert!(warnings.contains("cool = 0s"), "the settings of this test are warned of: {warnings}");
    let found = machine.well(&["journalctl", "-u", UNIT, "VENDOR_NAME=acme", "-o", "cat", "--no-pager"]);
    assert_eq!(found.lines().count(), of_rotation.len(), "{found}");
    let whole = machine.well(&["journalctl", "-o", "export", "--no-pager"]);
    let keys = corner.emulator.keys(&corner.user);
    let secrets = keys.iter().map(|key| key.secret.as_str());
    for secret in secrets.chain([WEBHOOK_SECRET.trim_start_matches("whsec_"), SEAL_KEY]) {
        assert!(!whole.contains(secret), "a secret is in the journal");
    }
}

#[test]
#[ignore = "needs root: boots a systemd of its own"]
fn systemctl_reload_takes_a_good_file_and_fails_for_a_bad_one() {
    let corner = Corner::new(emulator(), "sd-reload");
    let machine = machine(&corner, "LoadCredential=webhook\n");
    if machine.version() >= NOTIFIES_RELOADS {
        let drop_in = "[Service]\nType=notify-reload\nExecReload=\nExecReload=/usr/bin/keyround check\n";
        machine.write("/etc/systemd/system/keyround.service.d/reload.conf", drop_in);
        machine.well(&["systemctl", "daemon-reload"]);
    }
    machine.write("/etc/credstore/webhook", WEBHOOK_SECRET);
    machine.write(TOML, &config(&corner, JOURNAL, EVERY_OTHER_SECOND));
    machine.well(&["systemctl", "start", UNIT]);
    machine.until("the rotation is over", || is_done(&corner));
    let pid = machine.show(UNIT, "MainPID");

    machine.write(TOML, BAD);
    let reloaded = machine.run(&["systemctl", "reload", UNIT]);
    assert!(!reloaded.status.success(), "a reload with a bad file fails");
    assert_eq!(machine.show(UNIT, "ActiveState"), "active");
    let said = machine.messages(UNIT);
    assert!(said.contains("shoe_size") && said.contains("rotation.toml:3:1"), "{said}");
    // After a signal without the check of `ExecReload`, the status text reports the mistakes.
    machine.well(&["systemctl", "kill", "--kill-who=main", "--signal=HUP", UNIT]);
    machine.until("STATUS says it", || {
        let status = machine.show(UNIT, "StatusText");
        status.starts_with("1 vendor, next pass")
            && status.contains("the configuration file had mistakes at ")
    });
    println!("StatusText={}", machine.show(UNIT, "StatusText"));
    assert!(machine.messages(UNIT).contains("the previous configuration stays in force"));

    emulator().seed_user("sd-newcomer", 1.0);
    let newcomer = corner
        .vendor_section("newcomer", "sd-newcomer", &["/keys"])
        .replace("env:SIGNING", "credential:webhook");
    machine.write(TOML, &(config(&corner, JOURNAL, EVERY_OTHER_SECOND) + &newcomer));
    machine.well(&["systemctl", "reload", UNIT]);
    machine.until("both vendors are known", || {
        let status = machine.show(UNIT, "StatusText");
        status.starts_with("2 vendors, next pass") && status.ends_with(" UTC")
    });
    assert_eq!((machine.show(UNIT, "MainPID"), machine.show(UNIT, "NRestarts")), (pid, "0".to_owned()));
}

#[test]
#[ignore = "needs root: boots a systemd of its own"]
fn the_watchdog_restarts_a_frozen_service_and_its_rotation_completes() {
    let corner = Corner::new(emulator(), "sd-frozen");
    let old = corner.held().access_key_id;
    let machine = machine(&corner, "LoadCredential=webhook\nWatchdogSec=2s\n");
    machine.write("/etc/credstore/webhook", WEBHOOK_SECRET);
    machine.write(TOML, &config(&corner, JOURNAL, EVERY_OTHER_SECOND));
    let gate = corner.gate(Place::Vendor(0), Moment::Before);
    machine.well(&["systemctl", "start", UNIT]);
    machine.until("the vendor is being called", || gate.has_arrived());
    // The program waits for the vendor for longer than the watchdog's limit, and must not be treated as frozen.
    thread::sleep(A_WHILE);
    assert_eq!(machine.show(UNIT, "NRestarts"), "0");
    assert!(machine.show(UNIT, "StatusText").ends_with("1 rotating (acme: deliver)"));
    let pid = machine.show(UNIT, "MainPID");
    machine.well(&["kill", "-STOP", &pid]);
    machine.until("it was started again", || machine.show(UNIT, "NRestarts") == "1");
    gate.release(Release::HangUp);
    let log = machine.log();
    assert!(log.contains("Watchdog timeout (limit 2s)!"), "{log}");
    machine.until("the rotation is over", || is_done(&corner));
    assert_ne!(machine.show(UNIT, "MainPID"), pid);
    assert_in_order(&corner, &old);
    machine.well(&["systemctl", "kill", "--kill-who=main", "--signal=KILL", UNIT]);
    machine.until("it was started once more", || machine.show(UNIT, "NRestarts") == "2");
    machine.until("it runs", || machine.show(UNIT, "SubState") == "running");
}

#[test]
#[ignore = "needs root: boots a systemd of its own"]
fn systemctl_stop_waits_for_the_delivery_and_the_next_start_continues() {
    let corner = Corner::new(emulator(), "sd-stop");
    let old = corner.held().access_key_id;
    // The stop timeout is shorter than the step takes, so the program must ask for more time.
    let machine = machine(&corner, "LoadCredential=webhook\nTimeoutStopSec=1s\n");
    machine.write("/etc/credstore/webhook", WEBHOOK_SECRET);
    machine.write(TOML, &config(&corner, JOURNAL, YEARLY));
    let gate = corner.gate(Place::Vendor(0), Moment::After);
    machine.well(&["systemctl", "start", UNIT]);
    machine.until("the vendor has the key", || gate.has_arrived());
    machine.well(&["systemctl", "stop", "--no-block", UNIT]);
    machine.until("it says what it waits for", || {
        machine.show(UNIT, "StatusText")
            == "1 vendor, stopping, 1 visit under way, 1 rotating (acme: deliver)"
    });
    thread::sleep(A_WHILE);
    assert_eq!(machine.show(UNIT, "SubState"), "stop-sigterm");
    gate.release(Release::Proceed);
    machine.until("it has stopped", || machine.show(UNIT, "ActiveState") == "inactive");
    assert_eq!(
        (machine.show(UNIT, "Result"), machine.show(UNIT, "ExecMainStatus")),
        ("success".to_owned(), "0".to_owned())
    );
    assert_eq!(corner.living_keys().len(), 2);

    machine.well(&["systemctl", "start", UNIT]);
    machine.until("the rotation is over", || is_done(&corner));
    assert_in_order(&corner, &old);
    assert_eq!(corner.vendor.requests().iter().filter(|request| request.method == "POST").count(), 1);
}

#[test]
#[ignore = "needs root: boots a systemd of its own"]
fn systemd_restarts_the_service_after_exit_75_but_not_after_78() {
    let corner = Corner::new(emulator(), "sd-bad");
    let machine = machine(&corner, "LoadCredential=webhook\n");
    machine.write("/etc/credstore/webhook", WEBHOOK_SECRET);
    for (written, said) in
        [(None, "there is no configuration /etc/keyround/rotation.toml"), (Some(BAD), "shoe_size")]
    {
        if let Some(text) = written {
            machine.write(TOML, text);
        }
        assert!(!machine.run(&["systemctl", "start", UNIT]).status.success());
        thread::sleep(A_WHILE);
        assert_eq!(
            (machine.show(UNIT, "ActiveState"), machine.show(UNIT, "NRestarts")),
            ("failed".to_owned(), "0".to_owned())
        );
        assert_eq!(machine.show(UNIT, "ExecMainStatus"), "78");
        let entries = machine.entries(UNIT);
        let naming =
            entries.iter().filter(|entry| entry["MESSAGE"].as_str().is_some_and(|text| text.contains(said)));
        let priorities: Vec<&str> = naming.filter_map(|entry| entry["PRIORITY"].as_str()).collect();
        assert_eq!(priorities, ["3"], "said once, as an error: {said}");
        machine.well(&["systemctl", "reset-failed", UNIT]);
    }

    // Another process has the journal, which is a temporary failure.
    machine.write(TOML, &config(&corner, JOURNAL, YEARLY));
    machine.well(&["systemctl", "start", UNIT]);
    machine.well(&["systemctl", "stop", UNIT]);
    let lock = ["flock", "/var/lib/keyround/journal.db.lock", "sleep", "60"];
    let mut holder = machine.command(&lock).spawn().expect("there is a flock");
    machine.until("the lock is taken", || {
        !machine.run(&["flock", "-n", "/var/lib/keyround/journal.db.lock", "true"]).status.success()
    });
    assert!(!machine.run(&["systemctl", "start", UNIT]).status.success());
    machine.until("it is tried again", || {
        machine.show(UNIT, "NRestarts").parse::<u32>().expect("a number") >= 2
    });
    assert!(machine.log().contains("status=75"), "{}", machine.log());
    holder.kill().and_then(|()| holder.wait()).expect("it is our child");
    machine.until("it runs", || machine.show(UNIT, "SubState") == "running");
}

#[test]
#[ignore = "needs root: boots a systemd of its own"]
fn the_timer_makes_passes_and_conflicts_with_the_service() {
    let corner = Corner::new(emulator(), "sd-timer");
    let old = corner.held().access_key_id;
    let machine = machine(&corner, "LoadCredential=webhook\n");
    machine.write("/etc/credstore/webhook", WEBHOOK_SECRET);
    machine.write(TOML, &config(&corner, JOURNAL, YEARLY));
    let often = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nRandomizedDelaySec=0\nAccuracySec=1ms\n";
    machine.write("/etc/systemd/system/keyround-rotate.timer.d/test.conf", often);
    machine.well(&["systemctl", "daemon-reload"]);
    machine.well(&["systemctl", "start", "keyround-rotate.timer"]);
    machine.until("the rotation is over", || is_done(&corner));
    machine
        .until("the pass is over", || machine.show("keyround-rotate.service", "ActiveState") == "inactive");
    assert_eq!(machine.show("keyround-rotate.service", "Result"), "success");
    assert_in_order(&corner, &old);

    machine.well(&["systemctl", "start", UNIT]);
    assert_eq!(machine.show("keyround-rotate.timer", "ActiveState"), "inactive");
    machine.well(&["systemctl", "start", "keyround-rotate.timer"]);
    machine.until("the scheduler is stopped", || machine.show(UNIT, "ActiveState") == "inactive");
    assert_eq!(machine.show(UNIT, "Result"), "success");
}

#[test]
#[ignore = "needs root: boots a systemd of its own"]
fn the_documented_timer_recipe_works_and_enables_only_the_timer() {
    let corner = Corner::new(emulator(), "sd-recipe");
    let old = corner.held().access_key_id;
    let environment = environment(&corner);
    let drop_in = format!("[Service]\n{environment}LoadCredential=webhook\n");
    let at_once = "[Timer]\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=1ms\n";
    let machine = Systemd::boot(&[
        ("etc/systemd/system/keyround.service.d/override.conf", &drop_in),
        ("etc/systemd/system/keyround-rotate.timer.d/test.conf", at_once),
    ]);
    machine.well(&["install", "-d", "-m", "700", "/etc/credstore", "/etc/credstore.encrypted"]);
    machine.write("/etc/credstore/webhook", WEBHOOK_SECRET);
    machine.write(TOML, &config(&corner, JOURNAL, YEARLY));
    machine.well(&["systemctl", "enable", UNIT]);
    let recipe = papers::block("docs/operations.md", "timer-recipe").join("\n").replace("sudo ", "");
    machine.well(&["bash", "-euc", &recipe]);
    machine.until("the rotation is over", || is_done(&corner));
    assert_in_order(&corner, &old);
    let enabled = |unit: &str| {
        String::from_utf8_lossy(&machine.run(&["systemctl", "is-enabled", unit]).stdout).trim().to_owned()
    };
    assert_eq!(
        (enabled(UNIT), enabled("keyround-rotate.timer")),
        ("disabled".to_owned(), "enabled".to_owned())
    );
}

#[test]
#[ignore = "needs root: boots a systemd of its own"]
fn systemd_does_not_restart_after_an_undecryptable_credential() {
    let corner = Corner::new(emulator(), "sd-garbage");
    let machine = machine(&corner, "LoadCredentialEncrypted=webhook\n");
    machine.well(&["install", "-d", "-m", "700", "/etc/credstore.encrypted"]);
    machine.write("/etc/credstore.encrypted/webhook", "garbage");
    machine.write(TOML, &config(&corner, JOURNAL, YEARLY));
    assert!(!machine.run(&["systemctl", "start", UNIT]).status.success());
    thread::sleep(A_WHILE);
    assert_eq!(
        (machine.show(UNIT, "ActiveState"), machine.show(UNIT, "NRestarts")),
        ("failed".to_owned(), "0".to_owned())
    );
    assert!(machine.log().contains("status=243"), "{}", machine.log());
}

/// A machine with the package, with the emulator in place of AWS, a short restart delay, and these lines in both
/// services.
fn machine(corner: &Corner, lines: &str) -> Systemd {
    let environment = environment(corner);
    let drop_in = |more: &str| format!("[Service]\n{environment}{lines}{more}");
    let lines_of_both = lines.lines().filter(|line| line.starts_with("Load")).collect::<Vec<_>>().join("\n");
    let oneshot = format!("[Service]\n{environment}{lines_of_both}\n");
    Systemd::boot(&[
        ("etc/systemd/system/keyround.service.d/test.conf", &drop_in("RestartSec=200ms\n")),
        ("etc/systemd/system/keyround-rotate.service.d/test.conf", &oneshot),
    ])
}

/// The lines that direct a unit to the emulator.
fn environment(corner: &Corner) -> String {
    let lines =
        corner.emulator.env().into_iter().map(|(name, value)| format!("Environment={name}={value}\n"));
    lines.collect()
}

fn config(corner: &Corner, journal: &str, schedule: &str) -> String {
    let account = format!("[account.main]\nid = \"{ACCOUNT}\"\n");
    let vendor = corner.vendor_section("acme", &corner.user, &["/keys"]);
    [journal, &account, NO_WAITS, schedule, &vendor].concat().replace("env:SIGNING", "credential:webhook")
}

fn is_done(corner: &Corner) -> bool {
    corner.emulator.keys(&corner.user).iter().any(|key| key.status == "Deleted")
}

/// Asserts that the vendor holds the one key that is left, and never lost a key that it held.
#[track_caller]
fn assert_in_order(corner: &Corner, old: &str) {
    let (held, living) = (corner.held(), corner.living_keys());
    assert_eq!(living.len(), 1, "{living:?}");
    assert_eq!(living[0].access_key_id, held.access_key_id);
    assert_ne!(held.access_key_id, old);
    corner.assert_vendor_works();
    corner.assert_no_held_key_was_touched();
}

fn emulator() -> &'static Emulator {
    static EMULATOR: LazyLock<Emulator> = LazyLock::new(Emulator::start);
    &EMULATOR
}
