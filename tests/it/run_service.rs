//! `keyround run` as an operator uses it: it begins at once, lets other commands read, refuses a second driver,
//! reloads its configuration on request, and stops on request.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::support::moto::{Emulator, Release};
use crate::support::process::{Corner, NO_WAITS, Place, Process};
use crate::support::vendor::{Moment, Vendor};

const EVERY_MINUTE: &str = "[schedule]\ncron = \"* * * * *\"\njitter = \"0s\"\n";
const EVERY_OTHER_SECOND: &str = "[schedule]\ncron = \"*/2 * * * * *\"\njitter = \"0s\"\n";
/// How soon a stop must end. systemd would wait longer, but an operator should not have to.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn run_makes_its_first_pass_at_start_and_a_stop_exits_with_0() {
    let corner = Corner::new(emulator(), "run-first");
    let old = corner.held().access_key_id;
    schedule(&corner, EVERY_MINUTE);
    let mut service = corner.spawn(&["run"]);
    assert!(service.lives_until(|_| is_done(&corner)));
    let limits = service.proc_file("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    stop(service);
    corner.assert_rotated_from(&old);
}

#[test]
fn readers_work_beside_the_service_and_a_second_driver_is_refused() {
    let corner = Corner::new(emulator(), "run-second");
    let old = corner.held().access_key_id;
    schedule(&corner, EVERY_MINUTE);
    let gate = corner.gate(Place::Vendor(0), Moment::Before);
    let mut service = corner.spawn(&["run"]);
    assert!(service.lives_until(|_| gate.has_arrived()));

    for second in [&["run"][..], &["rotate"], &["rotate", "--wait", "--force"]] {
        let refused = corner.run(second);
        assert_eq!(refused.code, Some(75), "{refused:?}");
        assert!(refused.out.is_empty(), "{refused:?}");
        let sentence = refused.err.lines().last().expect("a sentence");
        assert!(sentence.contains("is in use by process") && sentence.contains("status"), "{sentence}");
        println!("{second:?}: {sentence}");
    }
    let status = corner.status();
    assert_eq!((&status["state"], &status["rotation"]["stage"]), (&"rotating".into(), &"deliver".into()));
    assert_eq!(status["rotation"]["old_access_key_id"], *old);
    assert_eq!(corner.events().last().map(String::as_str), Some("intended"));
    let explained = corner.run_well(&["explain", "acme"]).out;
    assert!(explained.contains(&old), "{explained}");
    corner.run_well(&["history", "verify"]);
    corner.run_well(&["rotate", "--dry-run"]);
    corner.assert_no_secret_on_disk();

    gate.release(Release::Proceed);
    assert!(service.lives_until(|_| is_done(&corner)));
    stop(service);
    corner.assert_rotated_from(&old);
}

#[test]
fn hold_and_resume_act_on_a_rotation_of_the_running_service() {
    let corner = Corner::new(emulator(), "run-held");
    let old = corner.held().access_key_id;
    schedule(&corner, EVERY_OTHER_SECOND);
    let gate = corner.gate(Place::Vendor(0), Moment::Before);
    let mut service = corner.spawn(&["run"]);
    assert!(service.lives_until(|_| gate.has_arrived()));
    corner.run_well(&["hold", "acme", "--why", "the vendor asked us to"]);
    gate.release(Release::Proceed);
    assert!(service.lives_until(|_| corner.status()["rotation"]["stage"] != "deliver" || is_held(&corner)));
    let status = corner.status();
    assert_eq!(status["state"], "held", "{status}");
    assert_eq!(corner.living_keys().len(), 2);
    corner.run_well(&["resume", "acme"]);
    assert!(service.lives_until(|_| is_done(&corner)));
    stop(service);
    corner.assert_rotated_from(&old);
}

#[test]
fn a_reload_refuses_a_bad_configuration_and_takes_a_good_one() {
    let corner = Corner::new(emulator(), "run-reload");
    let old = corner.held().access_key_id;
    schedule(&corner, EVERY_OTHER_SECOND);
    let mut service = corner.spawn(&["run"]);
    assert!(service.lives_until(|_| is_done(&corner)));

    corner.configure("[vendor.acme]\nshoe_size = 46\n");
    service.signal("HUP");
    assert!(
        service.lives_until(|service| service.err().contains("the previous configuration stays in force"))
    );
    let log = service.err();
    assert!(log.contains("shoe_size") && log.contains("rotation.toml:"), "{log}");
    assert_passes_go_on(&corner, &mut service);

    let (newcomer, _) = emulator().seed_user("run-newcomer", 97.0);
    let vendor = Vendor::start();
    vendor.on_taking(|pair| emulator().set_used(&pair.access_key_id, "s3", 0.0));
    let known = corner.vendor_section("acme", &corner.user, &["/keys"]);
    let new = corner.vendor_section("newcomer", "run-newcomer", &["/keys"]);
    let new = new.replace(&corner.vendor.url(""), &vendor.url(""));
    corner.configure(&[NO_WAITS, EVERY_OTHER_SECOND, &known, &new].concat());
    service.signal("HUP");
    assert!(service.lives_until(|service| service.err().contains("read again; vendors: 2")));
    let is_replaced = || emulator().keys("run-newcomer").iter().any(|key| key.status == "Deleted");
    assert!(service.lives_until(|_| is_replaced()));
    let held = vendor.held().expect("a key");
    assert_ne!(held.access_key_id, newcomer);
    stop(service);
    corner.assert_rotated_from(&old);
}

#[test]
fn a_reload_reads_the_fragments_and_refuses_them_all_for_one_mistake() {
    let corner = Corner::new(emulator(), "run-fragments");
    let old = corner.held().access_key_id;
    let fragments = corner.path("rotation.d");
    std::fs::create_dir(&fragments).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(fragments.join(name), text).expect("written");
    write("acme.toml", &corner.vendor_section("acme", &corner.user, &["/keys"]));
    let include = "include = [\"rotation.d/*.toml\"]\n";
    corner.configure(&[NO_WAITS, EVERY_OTHER_SECOND].concat());
    let main = std::fs::read_to_string(corner.path("rotation.toml")).expect("it");
    std::fs::write(corner.path("rotation.toml"), format!("{include}{main}")).expect("written");
    let mut service = corner.spawn(&["run"]);
    assert!(service.lives_until(|_| is_done(&corner)));

    let more = "[vendor.globex]\nrole_arn = \"arn:aws:iam::111122223333:role/globex\"\n";
    write("globex.toml", &format!("{more}[defaults]\nsoak = \"1h\"\n"));
    service.signal("HUP");
    let refused = "rotation.d/globex.toml:3:2";
    assert!(
        service.lives_until(|service| service.err().contains("the previous configuration stays in force"))
    );
    assert!(service.err().contains(refused), "{}", service.err());
    let checked = corner.run(&["check"]);
    assert_eq!(checked.code, Some(78), "{checked:?}");
    assert!(checked.err.contains(refused), "{checked:?}");
    assert_passes_go_on(&corner, &mut service);

    write("globex.toml", more);
    service.signal("HUP");
    assert!(service.lives_until(|service| service.err().contains("read again; vendors: 2")));
    let checked = corner.run_well(&["check"]).out;
    assert!(checked.contains("rotation.toml and 2 included files: no mistakes, 2 vendors"), "{checked}");
    for all in [&["status"][..], &["explain", "globex"], &["rotate", "--dry-run"]] {
        let shown = corner.run_well(all).out;
        assert!(shown.contains("globex") && (all[0] == "explain" || shown.contains("acme")), "{shown}");
    }
    let drafted = corner.run(&["init"]);
    assert_eq!(drafted.code, Some(64), "{drafted:?}");
    assert!(
        drafted.err.contains("a new file that the configuration includes: rotation.d/*.toml"),
        "{drafted:?}"
    );
    stop(service);
    corner.assert_rotated_from(&old);
}

#[test]
fn a_stop_during_a_rotation_is_quick_and_the_next_start_continues_it() {
    let corner = Corner::new(emulator(), "run-stop");
    let old = corner.held().access_key_id;
    schedule(&corner, EVERY_MINUTE);
    let gate = corner.gate(Place::Vendor(0), Moment::After);
    let mut service = corner.spawn(&["run"]);
    assert!(service.lives_until(|_| gate.has_arrived()));
    service.signal("TERM");
    assert!(service.lives_until(|service| service.err().contains("stopping after the effects")));
    gate.release(Release::Proceed);
    stop(service);
    assert_eq!(corner.events().last().map(String::as_str), Some("delivered"));
    let mut service = corner.spawn(&["run"]);
    assert!(service.lives_until(|_| is_done(&corner)));
    stop(service);
    corner.assert_rotated_from(&old);
    assert_eq!(corner.vendor.requests().iter().filter(|request| request.method == "POST").count(), 1);
}

fn schedule(corner: &Corner, schedule: &str) {
    let vendor = corner.vendor_section("acme", &corner.user, &["/keys"]);
    corner.configure(&[NO_WAITS, schedule, &vendor].concat());
}

fn is_done(corner: &Corner) -> bool {
    corner.emulator.keys(&corner.user).iter().any(|key| key.status == "Deleted")
}

fn is_held(corner: &Corner) -> bool {
    corner.status()["state"] == "held"
}

/// Asserts that the user is listed again, pass after pass.
#[track_caller]
fn assert_passes_go_on(corner: &Corner, service: &mut Process) {
    let listed = || {
        let calls = corner.emulator.calls_about(&corner.user);
        calls.iter().filter(|call| call.action == "iam:ListAccessKeys").count()
    };
    let before = listed();
    assert!(service.lives_until(|_| listed() >= before + 2));
}

/// Stops the service, and asserts that it ends soon and with exit code 0.
#[track_caller]
fn stop(service: Process) {
    let told = Instant::now();
    service.signal("TERM");
    let finished = service.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(told.elapsed() < STOPS_WITHIN, "{:?}", told.elapsed());
}

fn emulator() -> &'static Emulator {
    static EMULATOR: LazyLock<Emulator> = LazyLock::new(Emulator::start);
    &EMULATOR
}
