//! Work on many items in parallel.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Calls `act` with each item and its number, as many at once as there are processors, and returns the results in
/// no particular order.
pub(crate) fn abreast<T: Sync, R: Send>(items: &[T], act: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(number) else { break };
                    let came_of_it = act(number, item);
                    done.lock().expect("no worker panicked").push(came_of_it);
                }
            });
        }
    });
    done.into_inner().expect("no worker panicked")
}
