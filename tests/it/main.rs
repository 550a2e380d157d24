//! The tests that need more than one module, in one binary: each further one would link the SDK again.

#![expect(clippy::print_stdout, reason = "what a campaign counted is shown with --nocapture")]

mod cli;
mod config_files;
mod crash_matrix;
mod delivery_http;
mod driver_engine;
mod events;
mod faults;
mod fuzzing;
mod iam_moto;
mod journal_contract;
mod kill;
mod presets;
mod rehearsal_months;
mod rotate_moto;
mod run_service;
mod simulation;
mod support;
mod tidy;
