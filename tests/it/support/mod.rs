//! What the tests stand on: an emulator of AWS that is as strict as AWS, and the Python it runs in.

pub(crate) mod moto;
pub(crate) mod python;
