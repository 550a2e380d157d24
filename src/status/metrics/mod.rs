//! Metrics: the overview for Prometheus, and the alert rules and the dashboard that belong to them.
//!
//! **Invariant:** metrics hold times, not ages, so that the age of a key keeps growing when the process hangs.
//!
//! **Invariant:** no label holds a key id: each rotation would add a new series.

mod calls;
mod exposition;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::schedule::State;
use crate::core::time::Timestamp;
use crate::ports::overview::{OutcomeCounts, Overview, VendorStatus};
use crate::ports::{ServiceOperation, THROTTLED};
use exposition::{Family, Kind, Sample, exposed};

pub use calls::{Calls, CountedAccounts};
pub use exposition::ExpositionFormat;

/// The Prometheus alert rules for these metrics, as YAML.
pub const RULES: &str = include_str!("rules.yml");
/// The Grafana dashboard for these metrics, as JSON.
pub const DASHBOARD: &str = include_str!("dashboard.json");

/// The metrics of this overview and of the counted calls, as text.
#[must_use]
pub fn metrics(overview: &Overview, calls: &Calls, form: ExpositionFormat) -> String {
    let vendors = &overview.status.vendors;
    let gauge = |name, help, samples| Family { name, kind: Kind::Gauge, help, samples };
    let counter = |name, help, samples| Family { name, kind: Kind::Counter, help, samples };
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    let seconds = |age: Duration| i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    let mut families = vec![
        gauge(
            "keyround_access_key_created_timestamp_seconds",
            "Creation time of each user's access key that is to be replaced, in Unix seconds.",
            by_user(vendors, |vendor| vendor.judged().map(|key| key.created_at.unix_seconds())),
        ),
        gauge(
            "keyround_access_key_max_age_seconds",
            "Age limit of each user's access key: max_age, or inactive_by where that is set.",
            by_user(vendors, |vendor| vendor.max_age.map(seconds)),
        ),
        gauge("keyround_vendor_state", "Number of the vendor's users in this state.", states(vendors)),
        gauge(
            "keyround_rotation_stage_timestamp_seconds",
            "Time since which a rotation of the vendor is in this stage, in Unix seconds; of several, the earliest.",
            stages(vendors),
        ),
        counter(
            "keyround_rotations_total",
            "Number of finished rotations in the journal, by how they ended.",
            tallied(&overview.rotations, "ending"),
        ),
        counter(
            "keyround_deliveries_total",
            "Number of attempts in the journal to deliver a new key to the vendor, by outcome.",
            tallied(&overview.deliveries, "outcome"),
        ),
        gauge(
            "keyround_last_pass_timestamp_seconds",
            "Time at which the last full pass ended, or before one has, at which the last one began; in Unix seconds.",
            time(overview.last_pass_at),
        ),
        gauge(
            "keyround_next_pass_timestamp_seconds",
            "Time at which the next pass is due, in Unix seconds.",
            time(overview.next_pass_at),
        ),
        gauge(
            "keyround_clock_offset_seconds",
            "This machine's time minus AWS's time, at the last comparison.",
            offsets(overview),
        ),
        gauge(
            "keyround_user_exposed",
            "1 while AWS has a quarantine policy on the user, because a key of it is public.",
            by_user(vendors, |vendor| {
                vendor.exposed.as_ref().map(|policies| i64::from(!policies.is_empty()))
            }),
        ),
        Family {
            name: "keyround_build_info",
            kind: Kind::Info,
            help: "The version of the running program.",
            samples: vec![Sample { labels: version, value: 1 }],
        },
    ];
    families.extend(of_aws(calls));
    families.retain(|family| !family.samples.is_empty());
    exposed(&families, form)
}

fn of_aws(calls: &Calls) -> [Family; 2] {
    let counter = |name, help, samples| Family { name, kind: Kind::Counter, help, samples };
    [
        counter(
            "keyround_aws_calls_total",
            "Number of calls to AWS since this process started.",
            counted(calls),
        ),
        counter(
            "keyround_aws_throttled_total",
            "Number of responses with which AWS throttled a call, since this process started.",
            throttled(&THROTTLED.counted()),
        ),
    ]
}

fn offsets(overview: &Overview) -> Vec<Sample> {
    let sample = |(account, offset): (&String, &i64)| Sample {
        labels: vec![("account", account.clone())],
        value: *offset,
    };
    overview.clock_offsets.iter().map(sample).collect()
}

fn time(at: Option<Timestamp>) -> Vec<Sample> {
    at.map(|at| Sample { labels: Vec::new(), value: at.unix_seconds() }).into_iter().collect()
}

fn by_user(vendors: &[VendorStatus], value: impl Fn(&VendorStatus) -> Option<i64>) -> Vec<Sample> {
    let sample = |vendor: &VendorStatus| {
        let labels = vec![
            ("account", vendor.account_id.clone().unwrap_or_default()),
            ("vendor", vendor.vendor.clone()),
            ("iam_user", vendor.iam_user.clone()?),
        ];
        Some(Sample { labels, value: value(vendor)? })
    };
    vendors.iter().filter_map(sample).collect()
}

/// One series for each state of each vendor, so that a state that no user is in any more shows zero instead of
/// vanishing.
fn states(vendors: &[VendorStatus]) -> Vec<Sample> {
    let mut counts: BTreeMap<(&str, State), i64> = BTreeMap::new();
    for vendor in vendors {
        for state in State::ALL {
            *counts.entry((&vendor.vendor, state)).or_default() += i64::from(vendor.state == state.as_str());
        }
    }
    let sample = |((vendor, state), value): ((&str, State), i64)| Sample {
        labels: vec![("vendor", vendor.to_owned()), ("state", state.as_str().to_owned())],
        value,
    };
    counts.into_iter().map(sample).collect()
}

/// For each vendor and stage, since when a rotation is in it; of several, the one that is there longest.
fn stages(vendors: &[VendorStatus]) -> Vec<Sample> {
    let mut since: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for vendor in vendors {
        if let Some(rotation) = &vendor.rotation {
            let at = rotation.since.unix_seconds();
            let earliest = since.entry((&vendor.vendor, rotation.stage)).or_insert(at);
            *earliest = at.min(*earliest);
        }
    }
    let sample = |((vendor, stage), value): ((&str, &str), i64)| Sample {
        labels: vec![("vendor", vendor.to_owned()), ("stage", stage.to_owned())],
        value,
    };
    since.into_iter().map(sample).collect()
}

fn tallied(tallies: &BTreeMap<OutcomeCounts, u64>, label: &'static str) -> Vec<Sample> {
    let sample = |(tally, count): (&OutcomeCounts, &u64)| Sample {
        labels: vec![("vendor", tally.vendor.clone()), (label, tally.outcome.to_owned())],
        value: i64::try_from(*count).unwrap_or(i64::MAX),
    };
    tallies.iter().map(sample).collect()
}

fn throttled(counts: &BTreeMap<ServiceOperation, u64>) -> Vec<Sample> {
    let sample = |((service, operation), count): (&ServiceOperation, &u64)| Sample {
        labels: vec![("service", service.clone()), ("operation", operation.clone())],
        value: i64::try_from(*count).unwrap_or(i64::MAX),
    };
    counts.iter().map(sample).collect()
}

fn counted(calls: &Calls) -> Vec<Sample> {
    let sample = |((service, operation, outcome), count): ((&str, &str, &str), u64)| Sample {
        labels: vec![
            ("service", service.to_owned()),
            ("operation", operation.to_owned()),
            ("outcome", outcome.to_owned()),
        ],
        value: i64::try_from(count).unwrap_or(i64::MAX),
    };
    calls.counted().into_iter().map(sample).collect()
}
