//! What the tests are built on: an AWS emulator that is as strict as AWS, a vendor that can fail in every way, the
//! real program as a process, and the Python environments of the emulator and of the reference implementations.
//! Where the tests may boot one, there is also a real systemd.

use std::ffi::OsString;

pub(crate) mod authority;
pub(crate) mod campaign;
pub(crate) mod description;
pub(crate) mod log;
pub(crate) mod moto;
pub(crate) mod papers;
pub(crate) mod policy_engine;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod python;
pub(crate) mod recipe;
pub(crate) mod systemd;
pub(crate) mod trail;
pub(crate) mod vendor;
pub(crate) mod webhook_reference;

/// The variable that selects a mutant, if one is selected: under mutation (`tests/mutants/`) the processes that a
/// test starts must run the same mutant as the test itself.
pub(crate) fn mutant_awake() -> Option<(&'static str, OsString)> {
    const AWAKE: &str = "KEYROUND_MUTANT";
    std::env::var_os(AWAKE).map(|mutant| (AWAKE, mutant))
}
