//! What systemd is told: that the program is ready, alive, reading its configuration again, stopping; and in one line how
//! things stand.
//!
//! **Invariant:** the watchdog is fed by the engine's loop and by nothing else. A loop that hangs is silent, whatever the
//! other threads do, and systemd starts the program again.
//!
//! **Invariant:** STATUS= is said anew when something changes that it speaks of, so it is true whenever it is read.
//!
//! **Invariant:** nobody waits for systemd. What it does not take now is said later, in order.

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

/// How often the loop comes by within the watchdog's limit: one that is late once is not dead yet.
const PULSES_PER_LIMIT: u32 = 3;
/// Without a watchdog, and well within the extension that a stop asks for.
const PULSE_MAX: Duration = Duration::from_secs(10);
const PULSE_MIN: Duration = Duration::from_millis(100);
/// What a stop that still has a visit under way asks for, again and again; each visit has an end of its own.
const STOP_EXTENSION_USEC: u32 = 30_000_000;
/// More than is ever said while systemd reads at all; of more, the oldest is forgotten.
const UNSAID_MAX: usize = 256;

/// Watches the engine for systemd, and passes on all that it is told.
pub(crate) struct Supervised {
    reporter: Reporter,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    standing: ServiceStatus,
    status: String,
    /// What systemd did not take yet.
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

    /// The configuration is being read again, because somebody asked for it.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.told().tell(&[NotifyState::Reloading, now]),
            Err(_) => self.told().tell(&[NotifyState::Reloading]),
        }
    }

    /// It was read: `None`, or since when the file is bad and another one is in force.
    pub(crate) fn reloaded(&self, bad_since: Option<Timestamp>) {
        let mut told = self.told();
        told.standing.bad_since = bad_since;
        told.say_status();
        told.tell(&[NotifyState::Ready]);
    }

    /// The last word.
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
                // It does not read now; the next turn of the loop tries again.
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
        // Turns come thick and fast while much is under way.
        let often_enough = |fed_at: Instant| pulse.is_some_and(|pulse| fed_at.elapsed() < pulse / 2);
        if !self.fed_at.is_some_and(often_enough) {
            self.tell(&[NotifyState::Watchdog]);
            // Said later, it would speak for a loop that may be frozen by then.
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
            // Not before the journal was read and the first visits are under way.
            told.tell(&[NotifyState::Ready]);
            told.ready = true;
        }
    }
}

/// How often the engine's loop must come by; `None`: nobody listens.
pub(crate) fn pulse() -> Option<Duration> {
    std::env::var_os("NOTIFY_SOCKET")?;
    let limit = sd_notify::watchdog_enabled();
    Some(limit.map_or(PULSE_MAX, |limit| (limit / PULSES_PER_LIMIT).clamp(PULSE_MIN, PULSE_MAX)))
}

/// Whoever started this may not be systemd, and then nobody listens.
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
