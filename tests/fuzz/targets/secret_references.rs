//! The texts of references to secrets, and texts that were written in place of one.

use keyround::config::{Environment, SecretRef, parse};
use toml::Value;

const CANARY: &str = "Xq7canaryZ9";

/// A reference is parsed and written back. A text that is not a reference is refused and never repeated, because it
/// may be the secret itself.
pub fn secret_references(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    if let Ok(reference) = text.parse::<SecretRef>() {
        assert_eq!(reference.to_string().parse(), Ok(reference), "{text:?}");
    }
    for pasted in [format!("{CANARY}{text}"), format!("{text}{CANARY}")] {
        let understood = pasted.parse::<SecretRef>();
        if let Err(refusal) = &understood {
            assert!(!refusal.to_string().contains(CANARY));
        }
        for place in PLACES {
            let file = place.replace('@', &Value::String(pasted.clone()).to_string());
            let read = parse("rotation.toml", &file, &Environment::default());
            assert_eq!(read.is_ok(), understood.is_ok(), "{file}");
            if let Err(diagnostics) = read {
                let shown = diagnostics.render(false) + &diagnostics.to_string();
                assert!(!shown.contains(CANARY), "{shown}");
            }
        }
    }
}

const PLACES: [&str; 2] = [
    "[journal]\nseal_key = @ # the key\n",
    concat!(
        "[vendor.acme]\niam_user = \"vendor-acme\"\n[[vendor.acme.deliver]]\nkind = \"http\"\n",
        "url = \"https://api.acme.example/v1/keys\"\nmethod = \"PUT\"\nauth = { basic = { user = \"keyround\", password = @ } }\n"
    ),
];
