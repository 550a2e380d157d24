//! keyround without the modules that call AWS, built from the same files, and the fuzz targets.
//!
//! The layers make that possible: the modules below the adapters do not import them, and the adapters do not import
//! each other. `tests/it/fuzzing.rs` fails when another module has begun to use one that is missing here.

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
