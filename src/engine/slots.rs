//! Which jobs may begin: at most `[defaults] concurrency` at once, and of those no more than three quarters for one
//! host. Only the scheduler's urgent jobs begin without a free slot.
//!
//! **Invariant:** a host that does not answer takes slots from its own vendors only: a quarter of the slots, rounded
//! down, is left for the others.

use std::collections::{HashMap, VecDeque};

use tokio::task::Id;

use crate::config::Settings;
use crate::config::settings::{Access, DeliverStep};
use crate::engine::job::Job;

/// The jobs that are under way, each with the host to which its vendor's key is delivered.
#[derive(Default)]
pub(super) struct Slots {
    taken: HashMap<Id, Option<String>>,
}

impl Slots {
    /// Takes the first of these jobs out of the queue that may begin.
    pub(super) fn next_of(&self, ready: &mut VecDeque<Job>, settings: &Settings) -> Option<Job> {
        let may_begin = |job: &Job| self.is_free_for(host_of(job, settings).as_deref(), settings.concurrency);
        let next = ready.iter().position(may_begin)?;
        ready.remove(next)
    }

    /// Takes a slot for a job that begins.
    pub(super) fn take(&mut self, task: Id, host: Option<String>) {
        self.taken.insert(task, host);
    }

    /// Frees the slot of a job that ended.
    pub(super) fn free(&mut self, task: Id) {
        self.taken.remove(&task);
    }

    /// Whether another job may begin beside those that are under way. `limit`: how many may run at once, at least 1.
    fn is_free_for(&self, host: Option<&str>, limit: usize) -> bool {
        let at_host = |host| self.taken.values().filter(|taken| taken.as_deref() == Some(host)).count();
        self.taken.len() < limit && host.is_none_or(|host| at_host(host) < limit - limit / 4)
    }
}

/// The host and port to which the key of this job's vendor is delivered; `None` if the configuration names none.
pub(super) fn host_of(job: &Job, settings: &Settings) -> Option<String> {
    let Job::Visit { call, .. } = job else { return None };
    let Access::Key(access) = &settings.vendors.get(&call.subject.vendor)?.access else { return None };
    let url = access.deliver.iter().find_map(|step| match step {
        DeliverStep::Webhook(step) => Some(step.url.as_str()),
        DeliverStep::Http(step) => Some(step.url.as_str()),
        DeliverStep::SecretStore(_) | DeliverStep::Command(_) | DeliverStep::Manual(_) => None,
    })?;
    // A host that contains a template variable may differ between vendors.
    url.split('/').nth(2).filter(|host| !host.contains("{{")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_quarter_of_the_slots_is_left_for_other_hosts() {
        let mut slots = Slots::default();
        let mut begin = |host: Option<&str>| {
            let is_free = slots.is_free_for(host, 8);
            if is_free {
                slots.take(tokio::spawn(async {}).id(), host.map(str::to_owned));
            }
            is_free
        };
        assert!((0..6).all(|_| begin(Some("slow.example"))));
        assert!(!begin(Some("slow.example")));
        assert!(begin(Some("quick.example")) && begin(None), "others and those without a host");
        assert!(!begin(Some("quick.example")), "no more than eight in all");
    }

    #[tokio::test]
    async fn few_slots_are_not_divided_and_a_freed_slot_is_reused() {
        let mut slots = Slots::default();
        let tasks: Vec<Id> = (0..3).map(|_| tokio::spawn(async {}).id()).collect();
        for task in &tasks {
            assert!(slots.is_free_for(Some("a.example"), 3));
            slots.take(*task, Some("a.example".to_owned()));
        }
        assert!(!slots.is_free_for(Some("a.example"), 3));
        slots.free(tasks[0]);
        assert!(slots.is_free_for(Some("a.example"), 3));
        assert!(Slots::default().is_free_for(Some("a.example"), 1));
    }
}
