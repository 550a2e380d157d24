//! The port to other programs on this machine.

use std::time::Duration;

use async_trait::async_trait;

use crate::core::secret::Secret;
use crate::ports::{Answer, Purpose};

/// A program to be run.
pub struct Program<'a> {
    /// Its absolute path, and its arguments.
    pub argv: &'a [String],
    /// The text on its standard input.
    pub input: Secret,
    /// The time limit of the run.
    pub timeout: Duration,
}

/// How a program ended, and what it wrote. Both texts are bounded in size and may hold secrets.
pub struct Finished {
    /// Its exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to its standard output.
    pub output: Secret,
    /// What it wrote to its standard error.
    pub complaint: Secret,
}

/// Runs programs on this machine: once, without the environment of keyround.
#[async_trait]
pub trait Programs: Send + Sync {
    /// Runs the program to its end. If it cannot be started, the result is a refusal. If it does not end in time, the
    /// outcome is unknown, and the program and its process group are killed.
    async fn run(&self, purpose: &Purpose, program: Program<'_>) -> Answer<Finished>;
    /// Whether the program exists, can be run, and cannot be changed by other users.
    async fn find(&self, argv: &[String]) -> Answer<()>;
}
