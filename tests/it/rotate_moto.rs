//! The real binary against the emulator and real vendors: what it does, what it costs, what it shows.

use serde_json::json;

use crate::support::moto::Emulator;
use crate::support::program::{HASTE, Program};
use crate::support::vendor::Vendor;

#[test]
fn a_due_key_is_replaced_at_its_vendor() {
    let (emulator, vendor) = (Emulator::start(), Vendor::start());
    let (old, _) = emulator.seed_user("vendor-acme", 120.0);
    let url = vendor.url("/");
    let program = Program::new(
        &emulator,
        &format!(
            "{HASTE}\n[vendor.acme]\niam_user = \"vendor-acme\"\n[[vendor.acme.deliver]]\nkind = \"webhook\"\n\
             url = \"{url}\"\nsecret = \"credential:acme\"\n"
        ),
    );
    program.credential("acme", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let shown = program.json(0, &["rotate", "-vv"]);
    assert_eq!(shown["vendors"][0]["action"], json!("rotate"));
    let held = vendor.held().expect("the vendor holds a pair");
    let keys = emulator.keys("vendor-acme");
    assert_eq!(keys.iter().find(|key| key.access_key_id == old).expect("it was").status, "Deleted");
    let new = keys.iter().find(|key| key.access_key_id != old).expect("a new key");
    assert_eq!((&new.access_key_id, &new.secret), (&held.access_key_id, &held.secret_access_key));
    program.assert_no_secret_was_seen(&emulator);
}
