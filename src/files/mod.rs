//! Reading and writing files that decide what keyround does, or that hold a secret.
//!
//! [`trust`] refuses a file that another user can change. [`whole_file`] writes a file so that a reader sees the old
//! content or the new one, and nothing between.

pub mod trust;
pub mod whole_file;
