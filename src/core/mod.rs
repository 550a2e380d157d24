//! The core: what keyround knows and decides. It is pure: no async, no I/O, no clock, no random numbers.
//!
//! [`rotation`] is the state machine that says what the next effect of one rotation is. [`schedule`] judges which keys
//! are due. [`alert`] decides which notifications each sink gets. The other modules hold the values that all of these
//! use.

pub mod alert;
pub mod ids;
pub mod rotation;
pub mod schedule;
pub mod secret;
pub mod time;
