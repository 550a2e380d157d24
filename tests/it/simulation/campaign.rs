//! Plays many seeds in parallel, and checks what must be true of all of them together.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::faults::{Fault, Seen, table};
use super::world::Story;
use super::{Mistake, play};

/// The number of trace lines that a campaign prints for a broken seed. `a_seed` prints all of them.
const STORY_LINES_SHOWN: usize = 80;

/// The result of one seed.
pub(super) struct Played {
    pub(super) broken: Option<String>,
    pub(super) story: Story,
    pub(super) trace_hash: u64,
    pub(super) seen: Seen,
    pub(super) rotations: u64,
    pub(super) days: u64,
    pub(super) calls_a_day_max: u32,
    pub(super) pair_calls_a_day_max: u32,
    pub(super) known_limit_met: u32,
}

/// The sum of the results of many seeds.
#[derive(Default)]
pub(super) struct Campaign {
    seeds: u64,
    rotations: u64,
    days: u64,
    known_limit_met: u64,
    calls_a_day_max: u32,
    pair_calls_a_day_max: u32,
    broken: BTreeMap<u64, (String, Story)>,
    seen: Seen,
    took: Duration,
}

/// Plays these seeds on all processors, and prints the sum of their results.
pub(super) fn run_seeds(from: u64, count: u64) -> Campaign {
    let begun = Instant::now();
    let next = AtomicU64::new(from);
    let campaign = Mutex::new(Campaign { seeds: count, ..Campaign::default() });
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        break;
                    }
                    // The play runs before the lock is taken; otherwise the workers would play one after another.
                    let played = play(seed, Mistake::None);
                    campaign.lock().expect("no worker panicked").add(seed, played);
                }
            });
        }
    });
    let mut campaign = campaign.into_inner().expect("no worker panicked");
    campaign.took = begun.elapsed();
    campaign.print();
    campaign
}

impl Campaign {
    fn add(&mut self, seed: u64, played: Played) {
        self.rotations += played.rotations;
        self.days += played.days;
        self.known_limit_met += u64::from(played.known_limit_met);
        self.calls_a_day_max = self.calls_a_day_max.max(played.calls_a_day_max);
        self.pair_calls_a_day_max = self.pair_calls_a_day_max.max(played.pair_calls_a_day_max);
        self.seen.add(played.seen);
        if let Some(why) = played.broken {
            // Printed at once, because the other seeds may take an hour.
            println!("seed {seed}: {why}");
            self.broken.insert(seed, (why, played.story));
        }
    }

    fn print(&self) {
        println!(
            "{} seeds in {:?} ({} a minute), {} simulated years, {} rotations, {} faults, at most {} calls for a user in a \
             day and {} to complete a pair, a stranger's unseen key discarded {} times, {} claims about keys judged, {} broken",
            self.seeds,
            self.took,
            self.seeds * 60_000 / u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX).max(1),
            self.days / 365,
            self.rotations,
            self.seen.faults.values().sum::<u64>(),
            self.calls_a_day_max,
            self.pair_calls_a_day_max,
            self.known_limit_met,
            self.seen.claims,
            self.broken.len(),
        );
    }

    pub(super) fn expect_sound(&self) {
        let Some((seed, (why, story))) = self.broken.first_key_value() else { return };
        let all: Vec<_> = self.broken.iter().map(|(seed, (why, _))| format!("{seed}: {why}")).collect();
        let lines = story.lines();
        let end = lines[lines.len().saturating_sub(STORY_LINES_SHOWN)..].join("\n");
        panic!("…\n{end}\n\nseed {seed}: {why}\nall that broke: {all:#?}");
    }

    pub(super) fn print_table(&self) {
        let mut stages: BTreeMap<Fault, BTreeMap<&str, u64>> = BTreeMap::new();
        for ((stage, fault), times) in &self.seen.faults {
            stages.entry(*fault).or_default().insert(stage, *times);
        }
        for (fault, stages) in stages {
            println!("{fault:?}: {stages:?}");
        }
        println!("codes: {:?}", self.seen.codes);
    }

    /// Asserts that each pair of the fault table and each reason code was reached at least once.
    pub(super) fn expect_whole_table(&self) {
        let missing: Vec<_> =
            table().into_iter().filter(|pair| !self.seen.faults.contains_key(pair)).collect();
        assert!(missing.is_empty(), "never reached: {missing:?}");
        let missing: Vec<_> = CODES.iter().filter(|code| !self.seen.codes.contains_key(**code)).collect();
        assert!(missing.is_empty(), "never given as a reason: {missing:?}");
    }
}

/// The codes of each event, wait, blocker, ending and verdict that the program can give as a reason.
const CODES: [&str; 48] = [
    // events
    "started",
    "intended",
    "listed",
    "created",
    "probed",
    "delivered",
    "verified",
    "usage_read",
    "deactivated",
    "reactivated",
    "deleted",
    "refused",
    "unanswered",
    "held",
    "resumed",
    "reactivation_asked",
    "abandoned",
    // waits
    "propagation",
    "backoff",
    "unanswered_create",
    "soaking",
    "awaiting_use",
    "awaiting_quiet",
    "window_closed",
    "cooling",
    // blockers
    "old_key_gone",
    "old_key_not_active",
    "no_free_slot",
    "unknown_key",
    "new_key_gone",
    "new_key_not_active",
    "new_key_never_worked",
    "vendor_gone",
    "vendor_keeps_old_key",
    "vendor_went_back",
    "exhausted",
    // verdicts
    "two_keys",
    "overdue",
    "too_old",
    "due_soon",
    "fresh",
    "no_key",
    "no_active_key",
    "orphaned",
    "disabled",
    "rotated",
    "journal_unavailable",
    "throttled",
];
