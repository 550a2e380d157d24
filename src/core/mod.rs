//! The core: what keyround knows and decides. Pure: no async, no I/O, no clock, no random numbers.
//!
//! [`rotation`] is the machine that says what the next effect of one rotation is. [`schedule`] judges whose key is due.
//! [`alert`] decides what each sink is told. The rest are the values that all of them use.

pub mod alert;
pub mod ids;
pub mod rotation;
pub mod schedule;
pub mod secret;
pub mod time;
