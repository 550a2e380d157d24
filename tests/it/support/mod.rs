//! What the tests stand on: an emulator of AWS that is as strict as AWS, a vendor that can be as bad as
//! any, the program itself, and the Python that the emulator and the reference implementations run in. And a systemd, where the tests may boot one.

use std::ffi::OsString;

pub(crate) mod authority;
pub(crate) mod campaign;
pub(crate) mod description;
pub(crate) mod log;
pub(crate) mod moto;
pub(crate) mod papers;
pub(crate) mod policy_engine;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod python;
pub(crate) mod recipe;
pub(crate) mod systemd;
pub(crate) mod trail;
pub(crate) mod vendor;
pub(crate) mod webhook_reference;

/// Under mutation (`tests/mutants/`) the program that a test starts is the mutant that its tests are.
pub(crate) fn mutant_awake() -> Option<(&'static str, OsString)> {
    const AWAKE: &str = "KEYROUND_MUTANT";
    std::env::var_os(AWAKE).map(|mutant| (AWAKE, mutant))
}
