//! The port to programs on this machine.

use std::time::Duration;

use async_trait::async_trait;

use crate::core::secret::Secret;
use crate::ports::{Answer, Purpose};

/// A program to be run.
pub struct Program<'a> {
    /// Its absolute path, and its arguments.
    pub argv: &'a [String],
    /// What it finds on its standard input.
    pub input: Secret,
    /// How long it may run.
    pub timeout: Duration,
}

/// How a program ended, and what it said. Both texts are bounded, and may hold secrets.
pub struct Finished {
    /// Its exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to its standard output.
    pub output: Secret,
    /// What it wrote to its standard error.
    pub complaint: Secret,
}

/// The way to programs on this machine: one run, in an environment with nothing in it.
#[async_trait]
pub trait Programs: Send + Sync {
    /// Runs it to its end. Not started is a refusal; not ended in time is unknown, and nothing of it runs on.
    async fn run(&self, purpose: &Purpose, program: Program<'_>) -> Answer<Finished>;
    /// Whether there is such a program, and nobody else could change it.
    async fn find(&self, argv: &[String]) -> Answer<()>;
}
