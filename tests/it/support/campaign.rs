//! Runs many cases of one kind, several in parallel, and draws them from a generator that gives the same ones each
//! time.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// Plays all cases, `workers` at a time; prints the result of each one, and panics at the end if any of them failed.
pub(crate) fn campaign<T: fmt::Display + Sync>(
    title: &str,
    workers: usize,
    cases: &[T],
    play: impl Fn(usize, &T) -> String + Sync,
) {
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { return };
                    let said = catch_unwind(AssertUnwindSafe(|| play(number, case)));
                    rows.lock().expect("the rows").insert(number, said.ok());
                }
            });
        }
    });
    let rows = rows.into_inner().expect("the rows");
    println!("{title}: {} cases in {:.1} s", cases.len(), begun.elapsed().as_secs_f32());
    for (number, said) in &rows {
        println!("  {number:>2}  {}  {}", cases[*number], said.as_deref().unwrap_or("FAILED"));
    }
    assert!(rows.values().all(Option::is_some), "see the table, and the panics above it");
}

/// A small generator with a seed: the same cases each time (xorshift64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    pub(crate) fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        let index = usize::try_from(self.below(all.len() as u64)).expect("it is small");
        all[index].clone()
    }
}
