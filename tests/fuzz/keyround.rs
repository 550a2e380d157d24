//! keyround without the modules that call AWS, from the same files, and what is fuzzed.
//!
//! The layers make that possible: what is below the adapters knows nothing of them, and they do not know each other.
//! `tests/it/fuzzing.rs` says when a module is missing here that another one has begun to use.

extern crate self as keyround;

#[path = "../../src/adapters"]
pub mod adapters {
    pub mod delivery;
    pub mod journal;
    pub mod net;
}
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/core/mod.rs"]
pub mod core;
#[path = "../../src/engine/mod.rs"]
pub mod engine;
#[path = "../../src/files/mod.rs"]
pub mod files;
#[path = "../../src/ports/mod.rs"]
pub mod ports;
#[path = "../../src/review/mod.rs"]
pub mod review;

#[path = "targets/mod.rs"]
pub mod targets;
