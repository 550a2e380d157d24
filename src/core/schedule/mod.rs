//! When: why a key is due, and when the next pass is.
//!
//! **Invariant:** pure. Time is an argument, and every judgement carries a reason code and a sentence.

mod ages;
mod cron;
mod reasons;
mod verdict;

pub use self::cron::{BadCron, Cron, jitter_for, missed};
pub use ages::{Ages, Deadline};
pub use reasons::{Abandoned, Facts, judge, old_key_counts};
pub use verdict::{Action, State, Verdict, status_word};
