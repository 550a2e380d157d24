//! What is fuzzed: for each kind of input that somebody else writes, one function that takes any bytes and
//! panics when the program breaks a promise about them.
//!
//! The functions are compiled twice. `tests/fuzz/` links each to libFuzzer, which looks for inputs that reach new
//! code (`tests/fuzz/run`). `tests/it/fuzzing.rs` plays the corpus, everything that was ever found, and some
//! thousands of mutations from a seed, in the everyday suite.
//!
//! **Invariant:** a target asserts what is promised, and not only that nothing panics.
//!
//! **Invariant:** a target is a function of its bytes: no clock, no dice, no network. What was found once is found
//! again.
//!
//! **Invariant:** only the public face of the crate is used, so a target stands as long as the promise does.

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

/// One kind of input.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: that of its binary, and of its folder in the corpus.
    pub name: &'static str,
    /// Panics when a promise is broken.
    pub run: fn(&[u8]),
}

/// All of them.
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
