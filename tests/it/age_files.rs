//! Secrets that are encrypted to a vendor open with independent implementations of age, and the samples of
//! `tests/samples/` extract a new pair from a real message.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use keyround::adapters::aws::AwsSession;
use keyround::adapters::delivery::age;
use keyround::config::Recipient;
use keyround::config::settings::AwsSettings;
use keyround::core::secret::Secret;
use serde_json::{Value, json};

use crate::support::python;
use crate::support::recipe::{NEW_KEY, SECRET, SIGNING_SECRET, deliver, vendor};

/// Generates an age identity, and the recipient that belongs to it.
fn identity() -> (String, Recipient) {
    let made =
        python::ask("open_age.py", &json!({ "do": "generate" })).unwrap_or_else(|error| panic!("{error}"));
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    (text("identity"), text("recipient").parse().expect("a recipient"))
}

fn open(identity: &str, file: &[u8]) -> Result<String, String> {
    use base64::prelude::{BASE64_STANDARD, Engine};
    python::ask(
        "open_age.py",
        &json!({ "do": "open", "identity": identity, "file": BASE64_STANDARD.encode(file) }),
    )
}

#[test]
fn an_age_file_opens_only_with_its_own_identity() {
    let ((mine, recipient), (other, _)) = (identity(), identity());
    for text in ["", "x", "canary\u{fc}\n", &"long ".repeat(13_000)] {
        let file = age::encrypt(&recipient, &Secret::from(text)).expect("it is short");
        assert_eq!(open(&mine, &file).as_deref(), Ok(text.trim_end()), "{} bytes", text.len());
        assert!(open(&other, &file).is_err());
        let mut spoiled = file.clone();
        *spoiled.last_mut().expect("it is not empty") ^= 1;
        assert!(open(&mine, &spoiled).is_err());
    }
    let file = age::encrypt(&recipient, &Secret::from("canary")).expect("it is short");
    assert_eq!(open(&mine, age::armored(&file).as_bytes()).as_deref(), Ok("canary"), "armored");
}

#[tokio::test]
async fn the_sample_in_python_takes_the_pair_out_of_a_message() {
    let sample = sample("receive.py");
    check(python::interpreter(), &[&sample], None).await;
}

#[tokio::test]
#[ignore = "needs Node.js 20 with npm, and the npm registry"]
async fn the_sample_in_javascript_takes_the_pair_out_of_a_message() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node-samples");
    std::fs::create_dir_all(&folder).expect("target/ can be written");
    std::fs::copy(sample("receive.mjs"), folder.join("receive.mjs")).expect("it is copied");
    let installed = Command::new("npm")
        .args([
            "install",
            "--silent",
            "--no-save",
            "--ignore-scripts",
            "standardwebhooks@1.1.1",
            "age-encryption@0.3.1",
        ])
        .current_dir(&folder)
        .status()
        .expect("npm is installed");
    assert!(installed.success(), "npm reaches its registry");
    check(Path::new("node"), &[&folder.join("receive.mjs")], Some(&folder)).await;
}

#[tokio::test]
#[ignore = "needs Debian's age, jq and openssl"]
async fn the_sample_for_the_shell_takes_the_pair_out_of_a_message() {
    check(Path::new("bash"), &[&sample("receive.sh")], None).await;
}

/// Asserts that a sample extracts the pair from a plain and from an encrypted message, and not from a forged one.
async fn check(program: &Path, arguments: &[&PathBuf], folder: Option<&PathBuf>) {
    let (identity, recipient) = identity();
    for encrypt_to in [None, Some(&recipient)] {
        let request = sent(encrypt_to).await;
        let body = request["body"].as_str().expect("text");
        assert_eq!(body.contains("canary"), encrypt_to.is_none(), "{body}");
        let run = |request: &Value| {
            let mut command = Command::new(program);
            command.args(arguments).env("WEBHOOK_SECRET", SIGNING_SECRET).env("AGE_IDENTITY", &identity);
            folder.map(|folder| command.current_dir(folder));
            let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let mut child = child.expect("the sample starts");
            let mut stdin = child.stdin.take().expect("it is piped");
            stdin.write_all(request.to_string().as_bytes()).expect("it reads");
            drop(stdin);
            child.wait_with_output().expect("it ends")
        };
        let done = run(&request);
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let pair: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(pair, json!([NEW_KEY, SECRET]));
        let mut forged = request.clone();
        forged["body"] = json!(body.replace("acme", "evil"));
        assert!(!run(&forged).status.success(), "a forged message is refused");
    }
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name)
}

/// The request that a vendor would receive.
async fn sent(encrypt_to: Option<&Recipient>) -> Value {
    let encrypt = encrypt_to.map(|recipient| format!("encrypt_to = \"{recipient}\"\n")).unwrap_or_default();
    let steps = format!(
        "[[vendor.acme.deliver]]\nkind = \"webhook\"\nurl = \"https://hooks.acme.example/x\"\n\
         secret = \"env:SIGNING\"\n{encrypt}"
    );
    let session = Arc::new(AwsSession::new(&AwsSettings::default()));
    let (vendor, sent) = vendor(&session, &steps);
    deliver(&vendor).await.expect("it is accepted");
    sent.requests().remove(0)
}
