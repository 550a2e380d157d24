//! Notifications to systemd: ready, alive, reloading the configuration, stopping, and the status line.
//!
//! **Invariant:** only the engine's loop feeds the watchdog. If the loop hangs, the watchdog is not fed, whatever other
//! threads do, and systemd restarts the program.
//!
//! **Invariant:** `STATUS=` is sent again whenever its content changes, so it is always current.
//!
//! **Invariant:** nothing waits for systemd. A message that systemd does not take now is sent later, in order.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::cli::progress::Reporter;
use crate::cli::status_line::ServiceStatus;
use crate::core::ids::{Subject, VendorName};
use crate::core::rotation::{Event, Rotation};
use crate::core::time::Timestamp;
use crate::engine::{LoopStatus, UserReport, Watcher};

/// How many times the loop turns within the watchdog's limit, so that one late turn is not taken for a hang.
const PULSES_PER_LIMIT: u32 = 3;
/// The longest time between two turns. It applies without a watchdog, and is well within [`STOP_EXTENSION_USEC`].
const PULSE_MAX: Duration = Duration::from_secs(10);
const PULSE_MIN: Duration = Duration::from_millis(100);
/// The extension of the stop timeout that is requested at each turn while reconciles are under way. Each reconcile has
/// its own deadline.
const STOP_EXTENSION_USEC: u32 = 30_000_000;
/// How many messages wait for systemd; this is more than ever wait while systemd reads at all. The oldest ones above
/// this number are dropped.
const UNSAID_MAX: usize = 256;

/// A watcher of the engine that notifies systemd and passes everything on to a [`Reporter`].
pub(crate) struct Supervised {
    reporter: Reporter,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    standing: ServiceStatus,
    status: String,
    /// Messages that systemd did not take yet.
    unsaid: VecDeque<String>,
    fed_at: Option<Instant>,
    ready: bool,
    stopping: bool,
}

impl Supervised {
    pub(crate) fn new(reporter: Reporter) -> Supervised {
        Supervised { reporter, told: Mutex::default() }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells systemd that the configuration is being reloaded.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.told().tell(&[NotifyState::Reloading, now]),
            Err(_) => self.told().tell(&[NotifyState::Reloading]),
        }
    }

    /// Tells systemd that the reload ended. `bad_since` is when the file was found to have mistakes, so that the
    /// previous configuration stays in force; `None` if the file is good.
    pub(crate) fn reloaded(&self, bad_since: Option<Timestamp>) {
        let mut told = self.told();
        told.standing.bad_since = bad_since;
        told.say_status();
        told.tell(&[NotifyState::Ready]);
    }

    /// Tells systemd that the program stops, after the engine has ended.
    pub(crate) fn stopping(&self) {
        self.told().tell(&[NotifyState::Stopping]);
    }
}

impl Told {
    fn tell(&mut self, states: &[NotifyState<'_>]) {
        let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
        self.unsaid.push_back(lines.join("\n"));
        while let Some(message) = self.unsaid.front() {
            match send(message) {
                // systemd does not read now; the next turn of the loop tries again.
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => tracing::debug!("systemd could not be notified: {error}"),
                Ok(()) => {}
            }
            self.unsaid.pop_front();
        }
        let surplus = self.unsaid.len().saturating_sub(UNSAID_MAX);
        self.unsaid.drain(..surplus);
    }

    fn say_status(&mut self) {
        let status = self.standing.to_string();
        if status != self.status {
            self.tell(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    fn feed_watchdog(&mut self, pulse: Option<Duration>) {
        // The loop turns very often while much is under way.
        let often_enough = |fed_at: Instant| pulse.is_some_and(|pulse| fed_at.elapsed() < pulse / 2);
        if !self.fed_at.is_some_and(often_enough) {
            self.tell(&[NotifyState::Watchdog]);
            // Sent later, it would vouch for a loop that may hang by then.
            self.unsaid.retain(|message| *message != NotifyState::Watchdog.to_string());
            self.fed_at = Some(Instant::now());
        }
    }
}

impl Watcher for Supervised {
    fn appended(&self, rotation: &Rotation, event: &Event) {
        self.reporter.appended(rotation, event);
        let mut told = self.told();
        told.standing.appended(rotation, event);
        told.say_status();
    }

    fn reconciled(&self, subject: &Subject, user_report: &UserReport) {
        self.reporter.reconciled(subject, user_report);
        let mut told = self.told();
        told.standing.reconciled(subject, user_report);
        told.say_status();
    }

    fn unlisted(&self, user_report: &UserReport) {
        self.reporter.unlisted(user_report);
        let mut told = self.told();
        told.standing.unlisted(&user_report.vendor);
        told.say_status();
    }

    fn listed(&self, vendor: &VendorName) {
        self.reporter.listed(vendor);
        let mut told = self.told();
        told.standing.listed(vendor);
        told.say_status();
    }

    fn loop_passed(&self, turn: &LoopStatus) {
        self.reporter.loop_passed(turn);
        let mut told = self.told();
        told.standing.loop_passed(turn);
        told.say_status();
        told.feed_watchdog(pulse());
        if turn.stopping && !told.stopping {
            told.tell(&[NotifyState::Stopping]);
        }
        told.stopping = turn.stopping;
        if turn.stopping && turn.visits > 0 {
            told.tell(&[NotifyState::ExtendTimeoutUsec(STOP_EXTENSION_USEC)]);
        }
        if !told.ready {
            // Sent only now: the journal was read, and the first reconciles are under way.
            told.tell(&[NotifyState::Ready]);
            told.ready = true;
        }
    }
}

/// How often the engine's loop must turn; `None` if there is no supervisor to notify.
pub(crate) fn pulse() -> Option<Duration> {
    std::env::var_os("NOTIFY_SOCKET")?;
    let limit = sd_notify::watchdog_enabled();
    Some(limit.map_or(PULSE_MAX, |limit| (limit / PULSES_PER_LIMIT).clamp(PULSE_MIN, PULSE_MAX)))
}

/// Sends a message to the supervisor. Without `NOTIFY_SOCKET` there is none, and nothing is sent.
fn send(message: &str) -> io::Result<()> {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match place.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(place)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address).map(|_| ())
}
