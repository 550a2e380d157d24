//! A clock that jumps: whoever sleeps on it wakes at once, and it is that much later.

use async_trait::async_trait;

use crate::ports::Clock;
use crate::rehearsal::Stage;
use crate::time::Timestamp;

/// The rehearsal's clock.
#[derive(Clone, Debug)]
pub struct JumpingClock {
    stage: Stage,
    /// It does not jump past this: there it stands still, and who sleeps longer sleeps for good.
    end: Timestamp,
}

impl JumpingClock {
    /// The clock of this world, until `end`.
    #[must_use]
    pub fn new(stage: Stage, end: Timestamp) -> JumpingClock {
        JumpingClock { stage, end }
    }
}

#[async_trait]
impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        self.stage.now()
    }

    async fn sleep_until(&self, until: Timestamp) {
        let beyond = until > self.end;
        {
            let mut state = self.stage.lock();
            state.now = state.now.max(until.min(self.end));
        }
        if beyond {
            std::future::pending::<()>().await;
        }
    }

    fn jumps(&self) -> bool {
        true
    }
}
