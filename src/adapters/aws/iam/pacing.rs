//! How fast an account is called: as fast as AWS allows.
//!
//! IAM's rate limits are unpublished, cannot be raised, and are shared with every other caller in the account. So calls
//! are sent at once until AWS throttles one. From then on they keep a distance, which doubles with each further
//! throttled call and shrinks with each call that is not throttled.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// The distance after the first throttled call: ten calls a second.
const DISTANCE_FIRST: Duration = Duration::from_millis(100);
/// The largest distance. At this rate, keyround's calls alone do not cause throttling.
const DISTANCE_MAX: Duration = Duration::from_secs(2);
/// How much one call that is not throttled takes off the distance: from the largest to none in a hundred calls.
const RELIEF: Duration = Duration::from_millis(20);

/// A call that would wait longer for its turn is refused instead, so that a call and its wait stay under a minute.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Too many calls are waiting already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooMany;

/// The pace of one account.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    distance: Duration,
    next_at: Instant,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace { state: Mutex::new(State { distance: Duration::ZERO, next_at: Instant::now() }) }
    }

    /// Returns when the next call may be sent. Callers are served in the order of their arrival. Fails if the wait
    /// would be longer than [`WAIT_MAX`].
    pub(super) async fn turn(&self) -> Result<(), TooMany> {
        let mine = {
            let mut state = self.state.lock().await;
            let mine = state.next_at.max(Instant::now());
            if mine.duration_since(Instant::now()) > WAIT_MAX {
                return Err(TooMany);
            }
            state.next_at = mine + state.distance;
            mine
        };
        tokio::time::sleep_until(mine).await;
        Ok(())
    }

    /// Records that AWS throttled a call.
    pub(super) async fn slower(&self) {
        let mut state = self.state.lock().await;
        state.distance = (state.distance * 2).clamp(DISTANCE_FIRST, DISTANCE_MAX);
        state.next_at = state.next_at.max(Instant::now() + state.distance);
    }

    /// Records that a call ended and AWS did not throttle it.
    pub(super) async fn faster(&self) {
        let mut state = self.state.lock().await;
        state.distance = state.distance.saturating_sub(RELIEF);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_are_not_delayed_until_aws_throttles_them() {
        let (pace, start) = (Pace::new(), Instant::now());
        for _ in 0..100 {
            assert_eq!(pace.turn().await, Ok(()));
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        pace.slower().await;
        assert_eq!(pace.turn().await, Ok(()));
        assert_eq!(pace.turn().await, Ok(()));
        assert_eq!(start.elapsed(), DISTANCE_FIRST * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_refused_when_the_queue_is_too_long() {
        let pace = Pace::new();
        for _ in 0..20 {
            pace.slower().await;
        }
        let queue = futures_util::future::join_all((0..40).map(|_| pace.turn())).await;
        assert!(queue.contains(&Ok(())));
        assert!(queue.contains(&Err(TooMany)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_between_calls_grows_to_a_maximum_and_shrinks_to_zero() {
        let pace = Pace::new();
        for _ in 0..20 {
            pace.slower().await;
        }
        assert_eq!(pace.state.lock().await.distance, DISTANCE_MAX);
        for _ in 0..100 {
            pace.faster().await;
        }
        assert_eq!(pace.state.lock().await.distance, Duration::ZERO);
    }
}
