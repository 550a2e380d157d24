//! The configuration: the module `file` reads `rotation.toml` as it is written, and [`settings`] is the checked
//! result.
//!
//! **Invariant:** the rest of the program sees only [`settings`], and a value in there needs no further check.
//! **Invariant:** the settings hold no secrets, only [`SecretRef`]s, which are resolved where and when a secret is
//! needed.

pub mod catalogue;
mod diagnostic;
mod file;
mod journal_url;
mod load;
mod recipient;
pub mod secret_ref;
pub mod settings;
mod text;

pub use diagnostic::{Diagnostic, Diagnostics, Elsewhere, Place};
pub use journal_url::{BadJournalUrl, DatabaseUrl, JournalUrl};
pub use load::{ConfigError, Environment, Found, JOURNAL_NAME, find, load, load_found, parse};
pub use recipient::{BadRecipient, Recipient};
pub use secret_ref::SecretRef;
pub use settings::Settings;

/// The JSON Schema of `rotation.toml`, for editors. A test compares it with the keys that the reader accepts.
pub const SCHEMA: &str = include_str!("schema.json");
