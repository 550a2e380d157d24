//! keyround rotates the AWS access keys of third-party vendors without cutting one of them off.
//!
//! This is the tour of the code. Read [`core::rotation`] first: it is the state machine of one rotation, and every
//! other module serves it. Then read [`engine`], which performs the effects that the machine asks for, and [`ports`],
//! the traits through which the engine reaches AWS, the vendors, the journal and the clock.
//!
//! # What always holds
//!
//! 1. **A vendor always holds a key that works.** keyround leaves the old key as it is until the new one was proved at
//!    AWS, accepted by the vendor, verified, soaked, and seen in use while the old one was unused, as far as
//!    the vendor's plan asks for each. Only an incident that an operator declares for an exposed key changes this
//!    order.
//! 2. **Nothing is deleted that was not Inactive for its cooling time**, except a new key that was never offered to the
//!    vendor.
//! 3. **keyround never changes a key that the journal does not name**, except a key that an unanswered CreateAccessKey
//!    call of its own must have made.
//! 4. **Every effect that changes something at AWS or at a vendor is recorded in the journal as an intent, durably,
//!    before it is performed**, and its outcome is recorded afterwards. The code that continues after a crash is the
//!    code that starts a rotation.
//! 5. **A call has three outcomes, not two**: happened, refused, unknown. A timeout is unknown. Then both keys stay,
//!    and the same delivery is repeated under the same `webhook-id`.
//! 6. **`CreateAccessKey` is sent once.** While its outcome is unknown, keyround waits and lists the user's keys.
//! 7. **A secret is in three places only**: zeroized memory, the sealed journal column, and the request to the vendor.
//! 8. **A fault of one vendor stays with that vendor.** The rotations of the others continue.
//! 9. **The age of a key counts from its `CreateDate`** in ListAccessKeys, of which every page is read. An error while
//!    listing is an error, never "no keys".
//!
//! # The layers
//!
//! | layer | module | may import |
//! |---|---|---|
//! | 1 core, pure | [`core`] | std, serde, chrono, cron, uuid, thiserror, zeroize |
//! | 1 files | [`files`] | std, rustix, thiserror |
//! | 2 review, pure | [`review`] | `core` |
//! | 3 configuration | [`config`] | `core`, `files`, and the types of `review` that a waiver or a policy names |
//! | 4 ports | [`ports`] | 1–3 |
//! | 5 adapters | [`adapters`] | 1–4; of the other adapters only `aws` (to call AWS) and `net` (to send requests) |
//! | 5 engine | [`engine`] | 1–4 |
//! | 6 status | [`status`] | 1–4 and `engine` |
//! | 7 alerting | [`alerting`] | 1–4, `engine`, `status` |
//! | 8 command line | [`cli`] | all: it wires adapters to ports |
//!
//! `tests/it/tidy.rs` enforces this table.

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
