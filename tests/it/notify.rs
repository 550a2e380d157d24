//! The messages of `keyround run` to its supervisor, by the protocol of `sd_notify(3)`, read from a socket of the test.

use std::os::unix::net::UnixDatagram;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::support::moto::{Emulator, Release};
use crate::support::process::{Corner, NO_WAITS, PROCESS_MAX, Place, Process};
use crate::support::vendor::Moment;

const EVERY_MINUTE: &str = "[schedule]\ncron = \"* * * * *\"\njitter = \"0s\"\n";
const WATCHDOG: Duration = Duration::from_millis(600);

#[test]
fn the_service_notifies_ready_once_and_its_status() {
    let corner = Corner::new(emulator(), "notify-ready");
    let supervisor = Supervisor::of(&corner);
    let gate = corner.gate(Place::Vendor(0), Moment::Before);
    let mut service = corner.spawn(&["run"]);
    let before = supervisor.hear_until("READY=1");
    assert!(before.iter().any(|said| said.starts_with("STATUS=1 vendor, next pass ")), "{before:?}");
    assert!(service.lives_until(|_| gate.has_arrived()));
    supervisor.hear_until_status("1 rotating (acme: deliver)");
    gate.release(Release::Proceed);
    supervisor.hear_until(" rotating (acme: verify)");
    supervisor.hear_until_end_of_status(" UTC");
    end(service);
    let last = supervisor.hear_until("STOPPING=1");
    assert!(!last.iter().any(|said| said.contains("READY=1")), "it is ready once: {last:?}");
}

#[test]
fn a_reload_is_notified_and_a_bad_file_is_reported_in_the_status() {
    let corner = Corner::new(emulator(), "notify-reload");
    let supervisor = Supervisor::of(&corner);
    let service = corner.spawn(&["run"]);
    supervisor.hear_until("READY=1");
    corner.configure("[vendor.acme]\nshoe_size = 46\n");
    service.signal("HUP");
    let announced = supervisor.hear_until("RELOADING=1").pop().expect("it is the last one");
    let stamp =
        announced.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("in the same message");
    let uptime = std::fs::read_to_string("/proc/uptime").expect("there is a /proc");
    let uptime: f64 = uptime.split_whitespace().next().expect("a number").parse().expect("a number");
    let age = uptime - stamp.parse::<f64>().expect("a number") / 1e6;
    assert!((-1.0..30.0).contains(&age), "the time of the monotonic clock: {announced}");
    let meanwhile = supervisor.hear_until("READY=1");
    let is_told = |said: &String| {
        said.starts_with("STATUS=") && said.contains("the configuration file had mistakes at ")
    };
    assert!(meanwhile.iter().any(is_told), "{meanwhile:?}");

    schedule(&corner);
    service.signal("HUP");
    supervisor.hear_until("RELOADING=1");
    let meanwhile = supervisor.hear_until("READY=1");
    assert!(
        meanwhile.iter().any(|said| said.starts_with("STATUS=") && !said.contains("bad")),
        "{meanwhile:?}"
    );
    end(service);
}

#[test]
fn the_watchdog_is_pinged_in_time_on_average_and_not_while_frozen() {
    let corner = Corner::new(emulator(), "notify-watchdog");
    let supervisor = Supervisor::of(&corner);
    corner.set_env("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string());
    let gate = corner.gate(Place::Vendor(0), Moment::Before);
    let mut service = corner.spawn(&["run"]);
    assert!(service.lives_until(|_| gate.has_arrived()));
    supervisor.hear_until("WATCHDOG=1");
    // The machine that runs the tests is busy, so only the average interval must keep the limit.
    let begun = Instant::now();
    for _ in 0..8 {
        supervisor.hear_until("WATCHDOG=1");
    }
    assert!(begun.elapsed() < WATCHDOG * 8, "{:?}", begun.elapsed());
    service.signal("STOP");
    while supervisor.hears(WATCHDOG * 3).is_some() {}
    service.signal("CONT");
    assert!(service.lives_until(|_| supervisor.hears(WATCHDOG).is_some()), "it was killed meanwhile");
    gate.release(Release::Proceed);
    end(service);
}

#[test]
fn a_stop_during_a_reconcile_extends_the_timeout_and_says_why() {
    let corner = Corner::new(emulator(), "notify-stop");
    let supervisor = Supervisor::of(&corner);
    corner.set_env("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string());
    let gate = corner.gate(Place::Vendor(0), Moment::Before);
    let mut service = corner.spawn(&["run"]);
    assert!(service.lives_until(|_| gate.has_arrived()));
    service.signal("TERM");
    let said = supervisor.hear_until("STOPPING=1");
    let expect = "STATUS=1 vendor, stopping, 1 visit under way, 1 rotating (acme: deliver)";
    assert!(said.iter().any(|said| said.trim_end() == expect), "{said:?}");
    for _ in 0..3 {
        supervisor.hear_until("EXTEND_TIMEOUT_USEC=30000000");
    }
    supervisor.hear_until("WATCHDOG=1");
    gate.release(Release::Proceed);
    assert_eq!(service.finish().code, Some(0));
}

#[test]
fn an_unread_notify_socket_does_not_block_a_rotation() {
    let corner = Corner::new(emulator(), "notify-deaf");
    let supervisor = Supervisor::of(&corner);
    corner.set_env("WATCHDOG_USEC", "300000");
    let mut service = corner.spawn(&["run"]);
    let is_done = || emulator().keys(&corner.user).iter().any(|key| key.status == "Deleted");
    assert!(service.lives_until(|_| is_done()));
    // The kernel queues some messages; the later ones are sent when there is room again.
    supervisor.hear_until("READY=1");
    supervisor.hear_until("rotating (acme: cool)");
    supervisor.hear_until_end_of_status(" UTC");
    end(service);
}

#[test]
fn the_service_starts_without_a_listener_on_the_notify_socket() {
    let corner = Corner::new(emulator(), "notify-nobody");
    schedule(&corner);
    corner.set_env("NOTIFY_SOCKET", &corner.path("nobody-listens").display().to_string());
    let mut service = corner.spawn(&["run"]);
    assert!(service.lives_until(|service| service.err().contains("starts; vendors: 1")));
    end(service);
}

/// A supervisor that listens on the notification socket of the program.
struct Supervisor {
    socket: UnixDatagram,
}

impl Supervisor {
    fn of(corner: &Corner) -> Supervisor {
        schedule(corner);
        let path = corner.path("notify");
        let socket = UnixDatagram::bind(&path).expect("the folder can be written");
        corner.set_env("NOTIFY_SOCKET", &path.display().to_string());
        Supervisor { socket }
    }

    /// The next message, if one arrives within that time.
    fn hears(&self, within: Duration) -> Option<String> {
        let mut bytes = [0; 4096];
        self.socket.set_read_timeout(Some(within)).expect("it is not zero");
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    /// All messages up to the first one that contains these words.
    #[track_caller]
    fn hear_until(&self, words: &str) -> Vec<String> {
        self.hear_until_one(words, |said| said.contains(words))
    }

    #[track_caller]
    fn hear_until_status(&self, end: &str) -> Vec<String> {
        self.hear_until_one(end, |said| said.starts_with("STATUS=") && said.trim_end().ends_with(end))
    }

    /// All messages up to a status that names no vendor.
    #[track_caller]
    fn hear_until_end_of_status(&self, end: &str) -> Vec<String> {
        self.hear_until_one(end, |said| {
            said.starts_with("STATUS=") && said.trim_end().ends_with(end) && !said.contains('(')
        })
    }

    #[track_caller]
    fn hear_until_one(&self, what: &str, is_it: impl Fn(&str) -> bool) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let Some(said) = self.hears(PROCESS_MAX) else { panic!("{what} was not said, but {heard:?}") };
            let found = is_it(&said);
            heard.push(said);
            if found {
                return heard;
            }
        }
    }
}

fn schedule(corner: &Corner) {
    let vendor = corner.vendor_section("acme", &corner.user, &["/keys"]);
    corner.configure(&[NO_WAITS, EVERY_MINUTE, &vendor].concat());
}

#[track_caller]
fn end(service: Process) {
    service.signal("TERM");
    let finished = service.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

fn emulator() -> &'static Emulator {
    static EMULATOR: LazyLock<Emulator> = LazyLock::new(Emulator::start);
    &EMULATOR
}
