//! The configuration: `rotation.toml` as written (`file`), and as believed (`settings`).
//!
//! **Invariant:** the rest of the program sees only [`settings`], and a value in there needs no
//! further check. **Invariant:** no secret is in it, only [`SecretRef`]s, which are resolved where
//! and when they are needed.

pub mod catalogue;
mod diagnostic;
mod file;
mod load;
mod recipient;
pub mod secret_ref;
pub mod settings;
mod text;

pub use diagnostic::{Diagnostic, Diagnostics, Elsewhere, Place};
pub use load::{ConfigError, Environment, Found, JOURNAL_NAME, find, load, load_found, parse};
pub use recipient::{BadRecipient, Recipient};
pub use secret_ref::SecretRef;
pub use settings::Settings;

/// The JSON Schema of `rotation.toml`, for editors. A test holds it to the keys that the reader knows.
pub const SCHEMA: &str = include_str!("schema.json");
