//! The old key stays Active until the vendor was seen to use the new one.

use super::*;

const UNTIL_USED: &str = r#"
[defaults]
soak = "2s"
quiet_for = "0s"
cool = "0s"
require_use = true
prove_every = "0s"
"#;

#[test]
fn a_pass_does_not_wait_for_a_long_soak_and_explain_shows_it() {
    let emulator = Emulator::start();
    let member = Member::new(&emulator, "acme", Kind::Asked, OLD_DAYS);
    let defaults = UNTIL_USED.replace("2s", "2h");
    let program = program_with(&emulator, &defaults, [(&member, "")]);
    let shown = program.json(0, &["rotate", "-vv"]);
    assert_eq!(
        (&row(&shown, "acme")["action"], &row(&shown, "acme")["reason"]),
        (&json!("wait"), &json!("soaking"))
    );
    let left = program.json(2, &["rotate", "--detailed-exitcode"]);
    assert_eq!(row(&left, "acme")["reason"], "soaking");
    let status = program.json(0, &["status"]);
    let acme = row(&status, "acme");
    assert_eq!((&acme["state"], &acme["rotation"]["stage"]), (&json!("overdue"), &json!("soak")));
    assert_eq!(acme["rotation"]["old_access_key_id"], json!(member.old.access_key_id));
    assert_eq!(acme["rotation"]["new_access_key_id"], json!(member.held().access_key_id));
    assert!(acme["rotation"]["next_at"].is_string());
    let explained = program.run(&["explain", "acme"]);
    assert_eq!(explained.code, Some(0), "{explained}");
    for words in ["in stage soak", "neither key is touched", "until IAM has seen the new key in use"] {
        assert!(explained.stdout.contains(words), "{words}: {explained}");
    }
    member.assert_both_keys_work(&emulator);
    program.assert_no_secret_was_seen(&emulator);
}

#[test]
fn the_old_key_stays_active_until_the_vendor_uses_the_new_one() {
    let emulator = Emulator::start();
    let member = Member::new(&emulator, "acme", Kind::Webhook, OLD_DAYS);
    let program = program_with(&emulator, UNTIL_USED, [(&member, "")]);
    for pass in 1..=3 {
        let shown = program.json(0, &["rotate", "-vv"]);
        assert_eq!(row(&shown, "acme")["reason"], "awaiting_use", "pass {pass}");
        member.assert_both_keys_work(&emulator);
    }
    let pair = member.held();
    // Our own probes are not a use by the vendor, and neither is the vendor's own GetCallerIdentity.
    assert_eq!(who_signs(&emulator, std::slice::from_ref(&pair)), [arn(&member)]);
    let shown = program.json(0, &["rotate", "-vv", "--log-format", "json"]);
    assert_eq!(row(&shown, "acme")["reason"], "awaiting_use");
    member.assert_both_keys_work(&emulator);

    emulator.set_used(&pair.access_key_id, "s3", 0.0);
    // Last-used is not read again within seconds of the last reading; `--wait` waits until then.
    let shown = program.json(0, &["rotate", "-vv", "--wait"]);
    assert_eq!(row(&shown, "acme")["reason"], "rotated", "{shown:#}");
    member.assert_rotated(&emulator);
    assert_eq!(member.vendor.requests().len(), 1);
    program.assert_no_secret_was_seen(&emulator);
}
