//! The fuzz targets: for each kind of input that comes from outside, one function that takes any bytes and panics
//! when the program breaks a promise about them.
//!
//! The functions are compiled twice. `tests/fuzz/` links each to libFuzzer, which searches for inputs that reach
//! new code (`tests/fuzz/run`). `tests/it/fuzzing.rs` plays the corpus, every input that ever failed, and some
//! thousands of mutations from a seed, in the everyday test suite.
//!
//! **Invariant:** a target asserts the promises, and not only that nothing panics.
//!
//! **Invariant:** a target is a function of its bytes: no clock, no random numbers, no network, so that a failure
//! can be reproduced.
//!
//! **Invariant:** only the public API of the crate is used, so a target stays valid as long as the promise does.

mod answers;
mod bytes;
mod configuration;
mod events;
mod journals;
mod policies;
mod recipe;
mod rotations;
mod schedules;
mod secret_references;
mod templates;
mod webhook_secrets;

pub use answers::answers;
pub use configuration::configuration;
pub use events::events;
pub use journals::journals;
pub use policies::policies;
pub use rotations::rotations;
pub use schedules::schedules;
pub use secret_references::secret_references;
pub use templates::templates;
pub use webhook_secrets::webhook_secrets;

/// A fuzz target for one kind of input.
#[derive(Clone, Copy)]
pub struct Target {
    /// The name of the target, of its binary, and of its folder in the corpus.
    pub name: &'static str,
    /// The function, which panics when a promise is broken.
    pub run: fn(&[u8]),
}

/// All fuzz targets.
pub const TARGETS: [Target; 10] = [
    Target { name: "answers", run: answers },
    Target { name: "configuration", run: configuration },
    Target { name: "events", run: events },
    Target { name: "journals", run: journals },
    Target { name: "policies", run: policies },
    Target { name: "rotations", run: rotations },
    Target { name: "schedules", run: schedules },
    Target { name: "secret_references", run: secret_references },
    Target { name: "templates", run: templates },
    Target { name: "webhook_secrets", run: webhook_secrets },
];
