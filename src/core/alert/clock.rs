//! The difference between the clocks of this machine and of AWS, as an alert.

use std::time::Duration;

use crate::core::alert::active::Alert;
use crate::core::alert::condition::Condition;
use crate::core::ids::AccountName;
use crate::core::time::{Timestamp, in_words};

/// One comparison of this machine's clock with the `Date` of an AWS response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClockReading {
    /// The account whose endpoint answered; `None`: that of the ambient credentials.
    pub account: Option<AccountName>,
    /// This machine's time minus AWS's, in seconds: positive if this machine's clock is ahead.
    pub offset_secs: i64,
    /// Whether keyround accepts the difference. If not, it takes no key away.
    pub is_accepted: bool,
    /// The time of the comparison, by this machine's clock.
    pub at: Timestamp,
}

impl ClockReading {
    /// The alert, if the difference is too large.
    pub(super) fn alert(&self) -> Option<Alert> {
        if self.is_accepted {
            return None;
        }
        let off = in_words(Duration::from_secs(self.offset_secs.unsigned_abs()));
        let side = if self.offset_secs < 0 { "behind" } else { "ahead of" };
        let sentence = format!(
            "this machine's clock was {off} {side} that of AWS at {}; no key is taken away while they differ; set the \
             clock right, for example with chrony or systemd-timesyncd",
            self.at
        );
        let alert = Alert::of_house(Condition::Clock, "clock", sentence, self.at);
        Some(Alert { account: self.account.clone(), ..alert })
    }
}
