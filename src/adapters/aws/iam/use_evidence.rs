//! Who uses a key, according to CloudTrail, if the configuration asks for it.
//!
//! **Invariant:** CloudTrail only adds to what IAM has recorded. A look-up that is refused or takes too long fails
//! nothing: then IAM's record counts alone, as it does without CloudTrail.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_cloudtrail::types::Event;

use crate::adapters::aws;
use crate::adapters::aws::iam::client::AwsIam;
use crate::adapters::aws::iam::usage::EventText;
use crate::core::ids::AccessKeyId;
use crate::core::rotation::{KeyUsage, UseEvidence};
use crate::core::time::Timestamp;
use crate::ports::Fault;

/// The time limit of a look-up, with the wait for its turn. [`crate::ports::Iam`] promises that a call ends well within
/// a minute, and the call to IAM takes some of that.
const LOOKED_UP_WITHIN: Duration = Duration::from_secs(10);

impl AwsIam {
    /// IAM's record of a key's use, with the newest use that CloudTrail shows.
    pub(super) async fn witnessed(&self, key: &AccessKeyId, recorded: KeyUsage) -> KeyUsage {
        if !self.asks_cloudtrail() || recorded == KeyUsage::Gone {
            return recorded;
        }
        let events = tokio::time::timeout(LOOKED_UP_WITHIN, self.look_up(key)).await;
        let late = |_| Err(Fault::unknown("cloudtrail:LookupEvents was not answered in time"));
        match events.unwrap_or_else(late) {
            Ok(events) => {
                let witnesses = events.into_iter().filter_map(|event| witness(key, event));
                match witnesses.max_by_key(|seen| seen.at) {
                    Some(newest) => recorded.witnessed(newest),
                    None => recorded,
                }
            }
            Err(fault) => {
                if !self.missed_cloudtrail.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "who uses keys cannot be read from CloudTrail: {}; IAM's record counts alone. It takes the \
                         right to cloudtrail:LookupEvents, or cloudtrail = false",
                        fault.sentence()
                    );
                }
                recorded
            }
        }
    }
}

/// The evidence that an event gives. `None` if it is, or may be, keyround's own probe, or proves nothing. A failed call
/// proves nothing: its signature may be why it failed.
fn witness(key: &AccessKeyId, event: Event) -> Option<UseEvidence> {
    let text: EventText = serde_json::from_str(event.cloud_trail_event.as_deref()?).ok()?;
    let (call, agent) = (event.event_name?, text.user_agent?);
    let by_probe = call == "GetCallerIdentity" && aws::is_ours(&agent);
    if by_probe || text.error_code.is_some() || event.access_key_id.as_deref() != Some(key.as_str()) {
        return None;
    }
    let source = event.event_source?;
    Some(UseEvidence {
        event_id: UseEvidence::plain(&event.event_id?),
        at: Timestamp::from_unix(event.event_time?.secs()),
        service: UseEvidence::plain(source.split('.').next()?),
        call: UseEvidence::plain(&call),
        by: UseEvidence::plain(&text.user_identity?.arn?),
        address: UseEvidence::plain(&text.source_ip_address?),
        agent: UseEvidence::plain(&agent),
    })
}
