//! A clock that jumps: a sleep returns at once and moves the clock forward to its end.

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::adapters::rehearsal::RehearsalWorld;
use crate::core::time::Timestamp;
use crate::ports::Clock;

/// The clock of the rehearsal.
#[derive(Clone, Debug)]
pub struct JumpingClock {
    stage: RehearsalWorld,
    end: Timestamp,
    curtain: CancellationToken,
}

impl JumpingClock {
    /// The clock of this world. It does not go past `end`: a sleep that would do so moves it to `end`, cancels
    /// `curtain`, and never returns.
    #[must_use]
    pub fn new(stage: RehearsalWorld, end: Timestamp, curtain: CancellationToken) -> JumpingClock {
        JumpingClock { stage, end, curtain }
    }
}

#[async_trait]
impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        self.stage.now()
    }

    async fn sleep_until(&self, until: Timestamp) {
        self.stage.jump_to(until.min(self.end));
        if until > self.end {
            self.curtain.cancel();
            std::future::pending::<()>().await;
        }
    }

    fn jumps(&self) -> bool {
        true
    }
}
