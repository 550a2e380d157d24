//! keyround rotates the AWS access keys of third-party vendors without cutting one of them off.
//!
//! This is the tour. Read [`core::rotation`] first: it is the machine, and everything else serves it.
//! Then [`engine`], which performs what the machine asks for, and [`ports`], which is all that the
//! engine knows of the world.
//!
//! # What may never happen
//!
//! 1. **A vendor always holds a key that works.** The old key is not touched until the new one was
//!    proved at AWS, accepted by the vendor, verified, soaked, and seen in use with the old one quiet.
//! 2. **Nothing is deleted that was not Inactive for its cooling time**, except a key of ours that
//!    nobody was ever offered.
//! 3. **A key that the journal does not name is never touched**, but for what an unanswered
//!    CreateAccessKey of ours must have made.
//! 4. **Every effect on the world is intended in the journal, durably, before it is performed**, and
//!    settled after. Carrying on after a crash is the same line of code as starting.
//! 5. **Three answers, not two**: happened, refused, unknown. A time-out is unknown, and then both
//!    keys stay and the same delivery is repeated under the same `webhook-id`.
//! 6. **`CreateAccessKey` is sent once.** In doubt: wait, list, look.
//! 7. **A secret lives in three places only**: zeroized memory, the sealed journal column, the
//!    request to the vendor.
//! 8. **One vendor's trouble is its own.**
//! 9. **Age is `CreateDate`**, from ListAccessKeys, every page of it. An error while listing is an
//!    error, never "no keys".
//!
//! # The layers
//!
//! | layer | rooms | may import |
//! |---|---|---|
//! | 1 core, pure | [`core`] | the standard library, serde, the date crate |
//! | 1 files | [`files`] | the standard library, rustix |
//! | 2 review, pure | [`review`] | `core` |
//! | 2 configuration | [`config`] | `core`, `files`, and the words of `review` that a waiver or a policy names |
//! | 3 ports | [`ports`] | 1, 2 |
//! | 4 adapters | [`adapters`] | 1–3; never each other, but for `aws` below those who call AWS and `net` below those who send |
//! | 4 engine | [`engine`] | 1–3 |
//! | 5 status | [`status`] | 1–3 and `engine` |
//! | 6 alerting | [`alerting`] | 1–3, `engine`, `status` |
//! | 7 command line | [`cli`] | all: it wires adapters to ports |
//!
//! `tests/it/tidy.rs` holds the code to this table.

pub mod adapters;
pub mod alerting;
pub mod cli;
pub mod config;
pub mod core;
pub mod engine;
pub mod files;
pub mod ports;
pub mod review;
pub mod status;
