//! keyround without the modules that call AWS, from the same files, and what is fuzzed.
//!
//! The layers make that possible: what is below the adapters knows nothing of them, and they do not know each other.
//! `tests/it/fuzzing.rs` says when a module is missing here that another one has begun to use.

extern crate self as keyround;

#[path = "../../src/alert/mod.rs"]
pub mod alert;
#[path = "../../src/audit/mod.rs"]
pub mod audit;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/delivery/mod.rs"]
pub mod delivery;
#[path = "../../src/driver/mod.rs"]
pub mod driver;
#[path = "../../src/ids.rs"]
pub mod ids;
#[path = "../../src/journal/mod.rs"]
pub mod journal;
#[path = "../../src/outward/mod.rs"]
pub mod outward;
#[path = "../../src/overview.rs"]
pub mod overview;
#[path = "../../src/policy/mod.rs"]
pub mod policy;
#[path = "../../src/ports/mod.rs"]
pub mod ports;
#[path = "../../src/rotation/mod.rs"]
pub mod rotation;
#[path = "../../src/schedule/mod.rs"]
pub mod schedule;
#[path = "../../src/secret.rs"]
pub mod secret;
#[path = "../../src/time.rs"]
pub mod time;
#[path = "../../src/trust.rs"]
pub mod trust;
#[path = "../../src/whole_file.rs"]
pub mod whole_file;

#[path = "targets/mod.rs"]
pub mod targets;
