//! When: why a key is due, in which hours a rotation may act, and when the next pass is.
//!
//! **Invariant:** pure. Time is an argument, and every judgement carries a reason code and a sentence.

mod cron;
mod reasons;
mod window;

pub use self::cron::{BadCron, Cron, jitter_for, missed};
pub use reasons::{Action, Ages, Facts, State, Verdict, judge};
pub use window::{BadWindow, Window, Windows};
