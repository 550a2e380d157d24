//! keyround rotates the AWS access keys of third-party vendors without cutting one of them off.

// Layer 0: words.
pub mod ids;
pub mod secret;
pub mod time;

// Layer 1: the core. Pure: no async, no I/O, no clock, no dice.
pub mod rotation;
pub mod schedule;

// Layer 2: the configuration.
pub mod config;

// Layer 3: ports.
pub mod ports;

// Layer 4: adapters. They decide nothing and do not know each other; `aws` is the ground that those
// who call AWS share.
pub mod aws;
pub mod delivery;
pub mod iam;
pub mod journal;
pub mod rehearsal;
pub mod secrets;

// Layer 5: the shell.
pub mod driver;

// Layer 6: wiring.
pub mod cli;
