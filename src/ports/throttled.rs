//! How often AWS throttled this process: counted by the adapters, and shown by the metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A service and an operation of AWS, such as `iam` and `ListAccessKeys`.
pub type ServiceOperation = (String, String);

/// The calls of this process that AWS throttled. The count lasts as long as the process: it outlives a reload of the
/// configuration, and it is of every AWS session.
pub static THROTTLED: ThrottledCalls = ThrottledCalls(Mutex::new(BTreeMap::new()));

/// Counts throttled calls.
#[derive(Debug)]
pub struct ThrottledCalls(Mutex<BTreeMap<ServiceOperation, u64>>);

impl ThrottledCalls {
    /// Counts one response with which AWS throttled a call.
    pub fn count(&self, service: &str, operation: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((service.to_owned(), operation.to_owned())).or_default() += 1;
    }

    /// How many calls of each operation were throttled.
    #[must_use]
    pub fn counted(&self) -> BTreeMap<ServiceOperation, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
