//! The words of a vendor that refused a request: people can read them, and they never contain a secret of the
//! request, in whatever encoding the vendor repeats it.

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::Value;

use crate::support::moto::Emulator;
use crate::support::program::{HASTE, Program};
use crate::support::vendor::{Answer, Received, Vendor};

const TOKEN: &str = "tok/EN+0123456789abcdef";

/// The secret of the pair that the request delivered.
fn secret(request: &Received) -> String {
    request.json()["secret"].as_str().expect("the secret").to_owned()
}

fn each(text: &str, write: fn(u8) -> String) -> String {
    text.bytes().map(write).collect()
}

/// A way in which a vendor repeats what it received, and the words in it that are not secret.
type Echo = (fn(&Received) -> String, Option<&'static str>);

fn echoes() -> Vec<Echo> {
    let shown = Some("quota exceeded");
    vec![
        (|request| format!("quota exceeded for {}", request.body), shown),
        (|request| format!("quota exceeded \u{1b}[2J{}", request.headers["authorization"]), shown),
        (|request| format!("quota exceeded {}", secret(request).to_lowercase()), shown),
        // The secret is cut off by the vendor, or at the limit of what is kept.
        (|request| format!("quota exceeded {}…", &secret(request)[..15]), shown),
        (|request| format!("quota exceeded {}{}", ".".repeat(270), secret(request)), shown),
        (|request| format!("quota exceeded {}{}", " ".repeat(4000), secret(request)), shown),
        (
            |request| {
                Value::from(secret(request)).to_string().replace('/', "\\u002f").replace('+', "\\u002b")
            },
            Some(""),
        ),
        (|request| each(&secret(request), |byte| format!("%{byte:02X}")), None),
        (|request| each(&secret(request), |byte| format!("%25{byte:02x}")), None),
        (|request| each(&secret(request), |byte| format!("&#{byte};")), None),
        (|request| each(&secret(request), |byte| format!("{byte:02x}")), None),
        (|request| BASE64_STANDARD.encode(secret(request)), None),
        (|request| BASE64_STANDARD.encode(&request.body), None),
        (|request| BASE64_URL_SAFE_NO_PAD.encode(format!("x:{}", secret(request))), None),
        (|request| BASE64_STANDARD.encode(BASE64_STANDARD.encode(secret(request))), None),
        (|_| BASE64_STANDARD.encode(TOKEN), None),
    ]
}

#[test]
fn a_secret_echoed_by_a_vendor_appears_in_no_output_or_alert() {
    let emulator = Emulator::start();
    let program = Program::new(&emulator, "");
    let sink = Vendor::start();
    program.credential("token", TOKEN);
    program.credential("signing", "whsec_c2lnbmluZyBzZWNyZXQgb2YgdGhlIGFsZXJ0cw==");
    let echoes = echoes();
    let vendors: Vec<Vendor> = echoes.iter().map(|_| Vendor::start()).collect();
    let mut config = vec![format!(
        "{HASTE}\n[alert.hook]\nkind = \"webhook\"\nurl = \"{}\"\nsecret = \"credential:signing\"\non = [\"stuck\"]\n",
        sink.url("/hook")
    )];
    for (number, (vendor, (echo, _))) in vendors.iter().zip(&echoes).enumerate() {
        emulator.seed_user(&format!("echo-{number}"), 120.0);
        // A 410 is a permanent refusal, so each rotation is stuck at once, and an alert is sent.
        vendor.script([Answer::Echoes(410, *echo)]);
        config.push(format!(
            "[vendor.echo-{number}]\niam_user = \"echo-{number}\"\n[[vendor.echo-{number}.deliver]]\nkind = \"http\"\n\
             method = \"PUT\"\nurl = \"{}\"\nauth = {{ bearer = \"credential:token\" }}\n\
             json = {{ id = \"{{{{ access_key_id }}}}\", secret = \"{{{{ secret_access_key }}}}\" }}\n",
            vendor.url("/v1/keys")
        ));
    }
    program.configure(&config.concat());
    let mut outputs = vec![program.run(&["rotate"]).stdout];
    let history = program.json(0, &["--format", "json", "history"]);
    for (number, (_, words)) in echoes.iter().enumerate() {
        let name = format!("echo-{number}");
        let said = history.as_array().expect("events").iter().find_map(|row| {
            let said = row.pointer("/event/refusal/said")?;
            let of_it =
                history.as_array()?.iter().find(|other| other["event"]["subject"]["vendor"] == *name)?;
            (row["rotation"] == of_it["rotation"]).then_some(said)
        });
        let said = said.unwrap_or_else(|| panic!("{name} is not in {history:#}"));
        let method_and_status = (said["method"].as_str(), said["path"].as_str(), said["status"].as_u64());
        assert_eq!(method_and_status, (Some("PUT"), Some("/v1/keys"), Some(410)), "{name}");
        match words {
            // Where only a plus or a slash is escaped, the secret can be cut out of the text, so nothing is
            // asserted about the rest.
            Some("") => {}
            Some(words) => {
                assert!(said["words"].as_str().is_some_and(|said| said.starts_with(words)), "{said}");
            }
            None => assert_eq!(said.get("words"), None, "{name}"),
        }
        outputs.push(program.run(&["explain", &name]).stdout);
    }
    outputs.push(history.to_string());
    outputs.push(program.run(&["history"]).stdout);
    outputs.push(program.run(&["--format", "json", "status"]).stdout);
    let alerts: Vec<String> = sink.requests().into_iter().map(|request| request.body).collect();
    for number in 0..echoes.len() {
        let name = format!("\"echo-{number}\"");
        assert!(alerts.iter().any(|alert| alert.contains(&name)), "echo-{number} is not told: {alerts:?}");
    }
    assert!(alerts.iter().any(|alert| alert.contains("PUT /v1/keys: ") && alert.contains("quota exceeded")));
    let explained = outputs[1].split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(explained.contains("quota exceeded for"), "{explained}");
    outputs.extend(alerts);
    // Not even a part of a secret may be shown.
    let secrets = emulator.all_keys().into_iter().map(|key| key.secret).chain([TOKEN.to_owned()]);
    let lower: Vec<String> = outputs.iter().map(|text| text.to_lowercase()).collect();
    for secret in secrets.map(|secret| secret.to_lowercase()) {
        for start in 0..=secret.len() - 10 {
            let part = &secret[start..start + 10];
            assert!(!lower.iter().any(|text| text.contains(part)), "a part of a secret is shown");
        }
    }
    assert!(!outputs.iter().any(|text| text.contains('\u{1b}')), "an escape of the terminal is shown");
    program.assert_no_secret_was_seen(&emulator);
}
