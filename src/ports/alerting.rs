//! The ports to the alert sinks, and to the page and other readers of the status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::config::Settings;
use crate::core::alert::{DeliveryState, Notification, Policy};
use crate::core::ids::{AccountName, IamUserName, RotationId, SinkName};
use crate::core::time::Timestamp;
use crate::ports::overview::Overview;
use crate::ports::{Answer, Journal, Request, Response};
use crate::review::audit::AccountReview;

#[cfg(doc)]
use crate::ports::Egress;

/// Sends requests to alert sinks. Works as [`Egress`], but no request contains an access key.
#[async_trait]
pub trait SinkTransport: Send + Sync {
    /// Sends the request. Every response with an HTTP status is `Ok`, whatever the status.
    async fn carry(&self, request: Request) -> Answer<Response>;
    /// Whether a connection to the host and port of `url` can be made, TLS included. Sends no request.
    async fn find(&self, url: &str, timeout: Duration) -> Answer<()>;
}

/// An alert receiver, such as e-mail, Slack or Alertmanager.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Sends this notification once. No other notification may follow before `holds_until`, so a sink whose alerts
    /// expire keeps them at least until then.
    async fn tell(&self, notification: &Notification, now: Timestamp, holds_until: Timestamp) -> Answer<()>;
    /// Whether a notification could be sent, as a sentence. Sends none.
    async fn probe(&self) -> Answer<String>;
}

/// A sink of the configuration, and its filter.
#[derive(Clone)]
pub struct Route {
    /// The name of the sink: NAME in `[alert.NAME]`.
    pub name: SinkName,
    /// Which conditions are sent, how often they are repeated, and in which style.
    pub policy: Policy,
    /// The adapter that sends to it.
    pub sink: Arc<dyn Sink>,
}

/// A monitor outside of keyround that raises an alarm when heartbeats stop.
#[async_trait]
pub trait Heartbeat: Send + Sync {
    /// Reports that a full pass was made, and the end of the history at that time: the number of events and the last
    /// hash. The monitor can keep them, as evidence that the history was not rewritten since. `None`: the journal could
    /// not be read.
    async fn beat(&self, head: Option<&(u64, String)>) -> Answer<()>;
    /// Whether a heartbeat could be sent, as a sentence. Sends none.
    async fn probe(&self) -> Answer<String>;
}

/// The review of the accounts, for the alert sinks and for the page.
#[async_trait]
pub trait Reviewer: Send + Sync {
    /// Reviews each account of this configuration. It takes some calls to AWS for each account, and changes nothing.
    async fn review(&self, settings: &Settings, journal: &dyn Journal) -> Answer<Vec<AccountReview>>;
}

/// Provides the status overview. Reading it causes no call to AWS.
#[async_trait]
pub trait Shown: Send + Sync {
    /// Everything that the page, the metrics and the API show, as it is now.
    async fn overview(&self) -> Overview;
}

/// Keeps the delivery state of sinks while the journal cannot be read or written. It is nearly always empty, and best
/// effort.
pub trait FallbackStore: Send + Sync {
    /// The kept states; empty when there are none, or none that can be read.
    fn read(&self) -> BTreeMap<SinkName, DeliveryState>;
    /// Replaces the kept states. An empty map deletes them.
    fn write(&self, memories: &BTreeMap<SinkName, DeliveryState>);
}

/// An exposure that is under way: from the first sight of a quarantine policy on a user until the user is seen without
/// one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KnownExposure {
    /// The user's account.
    pub account: Option<AccountName>,
    /// The user.
    pub iam_user: IamUserName,
    /// When it was first seen.
    pub since: Timestamp,
    /// The rotation in which an incident was declared for it, if one was.
    pub rotation: Option<RotationId>,
}

/// The exposures that are under way. They outlive the process, so that no incident is declared twice.
pub trait ExposureMemory: Send + Sync {
    /// What was kept; nothing when there is none, or none that can be read.
    fn read(&self) -> Vec<KnownExposure>;
    /// Keeps this instead.
    fn write(&self, known: &[KnownExposure]);
}
