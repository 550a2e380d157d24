//! The integration tests, in one binary, because each further binary would link the SDK again.

#![expect(clippy::print_stdout, reason = "what a campaign counted is shown with --nocapture")]

mod age_files;
mod alerts;
mod by_hand;
mod cli;
mod commands;
mod config_files;
mod config_schema;
mod crash_matrix;
mod delivery_http;
mod driver_engine;
mod drop_offs_moto;
mod events;
mod faults;
mod fuzzing;
mod iam_moto;
mod incident;
mod issue;
mod journal_contract;
mod kill;
mod logs;
mod manual;
mod notify;
mod offboard;
mod papers;
mod policies;
mod presets;
mod refused;
mod rehearsal_months;
mod review;
mod rotate_moto;
mod run_service;
mod serve;
mod simulation;
mod support;
mod tidy;
mod units;
mod way_to_aws;
mod webhook_tests;
mod wrong_clock;
