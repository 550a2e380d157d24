//! The arguments of `journal`.

use clap::Subcommand;

use crate::config::SecretRef;

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Check the whole history: its chain of hashes, and the seal over its end
    Verify,
    /// Seal the journal with another key
    ///
    /// The new key is the one that `[journal] seal_key` refers to; without that setting, a new one is created in the
    /// file seal.key beside the journal. Stop `keyround run` first.
    Rekey {
        /// The present seal key, such as `file:/var/lib/keyround/seal.key` [default: seal.key beside the journal]
        #[arg(long, value_name = "REFERENCE", conflicts_with = "lost")]
        from: Option<SecretRef>,
        /// The present seal key is lost: keep the history, and discard the secrets of rotations that are not verified
        #[arg(long)]
        lost: bool,
    },
    /// Copy the journal into an empty PostgreSQL database or a new SQLite file, and verify the copy
    ///
    /// Everything is copied as it is: the history and its chain of hashes, the sealed secrets, which the same seal key opens,
    /// and what each alert sink was sent. Stop `keyround run` first. The journal that is copied stays as it is.
    Copy {
        /// The empty place: `postgres://user@host/database`, a reference to such a URL as `env:NAME` or `file:/path` if it
        /// has a password, or the path of a SQLite file
        #[arg(long, value_name = "URL")]
        to: String,
    },
}
