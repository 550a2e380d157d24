//! keyround rotates the AWS access keys of third-party vendors without cutting one of them off.
//!
//! This is the tour. Read [`rotation`] first: it is the machine, and everything else serves it.
//! Then [`driver`], which performs what the machine asks for, and [`ports`], which is all that the
//! driver knows of the world.
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
//! | layer | modules | may import |
//! |---|---|---|
//! | 0 words | [`ids`] [`secret`] [`time`] [`trust`] [`whole_file`] | the standard library, serde, the date crate, rustix |
//! | 1 core, pure | [`rotation`] [`schedule`] [`policy`] [`audit`] [`alert`] [`overview`] | 0 |
//! | 2 configuration | [`config`] | 0, 1 |
//! | 3 ports | [`ports`] | 0–2 |
//! | 4 adapters | [`aws`] [`delivery`] [`drop_offs`] [`iam`] [`journal`] [`notify`] [`outward`] [`page`] [`rehearsal`] [`secrets`] [`serve`] [`telemetry`] | 0–3; never each other, but for `aws` below those who call AWS, `outward` below `aws` and those who send, `page` and `telemetry` below `serve` |
//! | 5 shell | [`driver`] | 0–3 |
//! | 6 wiring | [`cli`] | all |
//!
//! `tests/it/tidy.rs` holds the code to this table.

// Layer 0: words.
pub mod ids;
pub mod secret;
pub mod time;
pub mod trust;
pub mod whole_file;

// Layer 1: the core. Pure: no async, no I/O, no clock, no dice.
pub mod alert;
pub mod audit;
pub mod overview;
pub mod policy;
pub mod rotation;
pub mod schedule;

// Layer 2: the configuration.
pub mod config;

// Layer 3: ports.
pub mod ports;

// Layer 4: adapters. They decide nothing and do not know each other; `aws` is the ground that those
// who call AWS share, `outward` that of those who send.
pub mod aws;
pub mod delivery;
pub mod drop_offs;
pub mod iam;
pub mod journal;
pub mod notify;
pub mod outward;
pub mod page;
pub mod rehearsal;
pub mod secrets;
pub mod serve;
pub mod telemetry;

// Layer 5: the shell.
pub mod driver;

// Layer 6: wiring.
pub mod cli;
