//! The schedule: why a key is due, and when the next pass is.
//!
//! **Invariant:** this module is pure. Time is an argument, and every verdict carries a reason code and a sentence.

mod ages;
mod cron;
mod reasons;
mod verdict;

pub use self::cron::{BadCron, Cron, jitter_for, missed};
pub use ages::{Ages, Deadline};
pub use reasons::{Abandoned, Facts, SLOTS, judge, judge_without_vendor, old_key_counts};
pub use verdict::{Action, OFFBOARDED, State, Verdict, status_word};
