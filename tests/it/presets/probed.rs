//! The real program makes a preset's harmless request, and shows the result.

use serde_json::{Value, json};

use crate::support::moto::Emulator;
use crate::support::program::{HASTE, Program};
use crate::support::vendor::{Answer, Vendor};

const TOKEN: &str = "hvs.CAESIJ1canary0probe";

#[test]
fn check_online_and_a_dry_run_probe_the_preset_and_change_nothing() {
    let emulator = Emulator::start();
    let (old_key, _) = emulator.seed_user("vendor-acme", 120.0);
    let vault = Vendor::start();
    let program = Program::new(&emulator, "");
    program.credential("vault-token", TOKEN);
    program.configure(&format!(
        "{HASTE}\n[vendor.acme]\niam_user = \"vendor-acme\"\n[[vendor.acme.deliver]]\nkind = \"preset\"\n\
         preset = \"vault-kv2\"\nparams = {{ address = \"{}\", path = \"acme/aws\", token = \"credential:vault-token\" }}\n",
        vault.url("")
    ));
    let fields = |fields: Value| json!({ "data": { "data": fields, "metadata": { "version": 7 } } });
    let (known, other) = (json!({ "access_key_id": old_key }), json!({ "key": old_key }));
    let asking: [(&[&str], &str); 2] =
        [(&["check", "--online"], "/checks"), (&["rotate", "--dry-run"], "/vendors/0/preflight")];
    for (arguments, checks) in asking {
        let (answers, sentences) = (
            [
                Answer::json(200, &fields(known.clone())),
                Answer::json(200, &fields(other.clone())),
                Answer::status(403),
            ],
            ["accepts our credentials", "id_field names another one", "answered 403"],
        );
        for (answer, sentence) in answers.into_iter().zip(sentences) {
            let is_good = sentence == "accepts our credentials";
            let before = vault.requests().len();
            vault.script([answer]);
            let shown = program.json(i32::from(!is_good), arguments);
            let checks = shown.pointer(checks).and_then(Value::as_array).expect("checks");
            let name =
                |check: &&Value| check["check"].as_str().is_some_and(|name| name.ends_with("vendor: probe"));
            let [probe] = checks.iter().filter(name).collect::<Vec<_>>()[..] else { panic!("{shown:#}") };
            assert_eq!(probe["ok"], is_good, "{probe}");
            assert!(probe["sentence"].as_str().is_some_and(|said| said.contains(sentence)), "{probe}");
            let requests = vault.requests();
            let [asked] = &requests[before..] else { panic!("{arguments:?} asks once: {requests:#?}") };
            assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/v1/secret/data/acme/aws"));
            assert_eq!(asked.headers["x-vault-token"], TOKEN);
        }
    }
    assert!(emulator.calls().iter().all(|call| !call.mutating));
    program.assert_no_secret_was_seen(&emulator);
}
