//! The ports to the alert sinks, and to the page and other readers of the status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::config::Settings;
use crate::core::alert::{DeliveryState, Notification, Policy};
use crate::core::ids::SinkName;
use crate::core::time::Timestamp;
use crate::ports::overview::Overview;
use crate::ports::{Answer, Journal, Request, Response};
use crate::review::audit::AccountReview;

#[cfg(doc)]
use crate::ports::Egress;

/// How requests to alert sinks are sent: as [`Egress`], but no request contains a key.
#[async_trait]
pub trait SinkTransport: Send + Sync {
    /// Sends it. Any answer with a status, whichever, is `Ok`.
    async fn carry(&self, request: Request) -> Answer<Response>;
    /// Whether that host and port can be connected to, TLS included. Nothing is asked of it.
    async fn find(&self, url: &str, timeout: Duration) -> Answer<()>;
}

/// Somebody who is told when something is wrong.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Tells it, once. Until `holds_until` nothing more may come, so what a sink keeps it keeps at least so long.
    async fn tell(&self, notification: &Notification, now: Timestamp, holds_until: Timestamp) -> Answer<()>;
    /// Whether it could be told, in words, without telling it anything.
    async fn probe(&self) -> Answer<String>;
}

/// A sink of the configuration, and what it wants to hear.
#[derive(Clone)]
pub struct Route {
    /// `[alert.NAME]`
    pub name: SinkName,
    /// Of what, how often, in which form.
    pub policy: Policy,
    /// The sink.
    pub sink: Arc<dyn Sink>,
}

/// Somebody who raises the alarm when nothing is heard.
#[async_trait]
pub trait Heartbeat: Send + Sync {
    /// Says that a full pass was made, and where the history ended then: the number of events and the last hash, for
    /// somebody else to keep. `None`: the journal could not say.
    async fn beat(&self, head: Option<&(u64, String)>) -> Answer<()>;
    /// Whether it could be told, in words, without telling it anything.
    async fn probe(&self) -> Answer<String>;
}

/// The review of the accounts, for the alert sinks and for the page.
#[async_trait]
pub trait Reviewer: Send + Sync {
    /// Reviews each account of this configuration, which takes some calls to AWS for each, and changes nothing.
    async fn review(&self, settings: &Settings, journal: &dyn Journal) -> Answer<Vec<AccountReview>>;
}

/// Who knows what there is to show. Asking causes no call to AWS.
#[async_trait]
pub trait Shown: Send + Sync {
    /// All of it, as it is now.
    async fn overview(&self) -> Overview;
}

/// What sinks were told while the journal could not be asked or told. It is next to nothing, and best effort.
pub trait FallbackStore: Send + Sync {
    /// What was kept; nothing when there is none, or none that can be read.
    fn read(&self) -> BTreeMap<SinkName, DeliveryState>;
    /// Keeps this instead; nothing: forgets it.
    fn write(&self, memories: &BTreeMap<SinkName, DeliveryState>);
}
