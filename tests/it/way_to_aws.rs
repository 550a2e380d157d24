//! The connection to AWS, configured as in the AWS tools: profiles, proxies, certificate authorities, endpoints,
//! and the check of the account.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use serde_json::json;

use crate::support::moto::Emulator;
use crate::support::program::{Program, Ran};

const OTHER_ACCOUNT: &str = "111122223333";

/// One vendor with a webhook that this test never calls, and these lines in `[aws]`.
fn program(emulator: &Emulator, aws: &str, profiles: &str) -> Program {
    let toml = format!(
        "[aws]\n{aws}\n[vendor.acme]\niam_user = \"vendor-acme\"\n[[vendor.acme.deliver]]\nkind = \"webhook\"\n\
         url = \"http://127.0.0.1:9/keys\"\nsecret = \"credential:acme\"\n"
    );
    let mut program = Program::new(emulator, &toml);
    program.credential("acme", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    fs::write(program.path("profiles"), profiles).expect("the folder can be written");
    let path = program.path("profiles").display().to_string();
    program.set_env("AWS_CONFIG_FILE", &path);
    program
}

/// The complete output, in one line.
fn said(ran: &Ran) -> String {
    format!("{} {}", ran.stdout, ran.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_configured_profile_overrides_credentials_of_the_environment() {
    let emulator = Emulator::start();
    emulator.seed_user("vendor-acme", 10.0);
    let (id, secret) = emulator.seed_user_in(OTHER_ACCOUNT, "rotator", 1.0);
    let profile = format!(
        "[profile p]\nregion = us-east-1\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"
    );
    let program = program(&emulator, "profile = \"p\"", &profile);
    // That user may not list keys; the test is about the account in which it tried.
    let shown = program.json(1, &["status"]);
    let row = &shown["vendors"][0];
    assert_eq!(
        (&row["account_id"], &row["reason"]),
        (&json!(OTHER_ACCOUNT), &json!("access_denied")),
        "{shown:#}"
    );
}

#[test]
fn a_profile_that_gives_no_credentials_is_named_with_the_reason() {
    let emulator = Emulator::start();
    emulator.seed_user("vendor-acme", 10.0);
    let sso = "[sso-session s]\nsso_start_url = https://d-1.awsapps.com/start\nsso_region = eu-west-1\n\
               sso_registration_scopes = sso:account:access\n[profile p]\nsso_session = s\n\
               sso_account_id = 111122223333\nsso_role_name = Admin\n";
    let secret = "s3cret-on-standard-error";
    let process = format!("[profile p]\ncredential_process = sh -c 'echo {secret} >&2; exit 3'\n");
    for (profiles, reason) in [
        ("[profile pp]\nregion = us-east-1\n", "was not defined"),
        ("[profile p]\nregion = us-east-1\n", "it holds no access key, role or process"),
        ("[profile p]\nrole_arn = arn:aws:iam::111122223333:role/a\nsource_profile = p2\n", "p2"),
        (sso, "IAM Identity Center (sso)"),
        (&process, "credential_process failed"),
    ] {
        let mut of_file = program(&emulator, "profile = \"p\"", profiles);
        of_file.set_env("AWS_ACCESS_KEY_ID", "");
        let mut of_environment = program(&emulator, "", profiles);
        of_environment.set_env("AWS_PROFILE", "p");
        of_environment.unset_env("AWS_ACCESS_KEY_ID");
        of_environment.unset_env("AWS_SECRET_ACCESS_KEY");
        for (program, place) in [(of_file, "[aws] profile"), (of_environment, "AWS_PROFILE")] {
            let ran = program.run(&["status"]);
            let said = said(&ran);
            assert_eq!(ran.code, Some(75), "{ran}");
            assert!(said.contains(&format!("the profile \"p\" of {place} gives no credentials")), "{said}");
            assert!(said.contains(reason), "{reason}: {said}");
            assert!(!said.contains(secret), "{said}");
        }
    }
}

#[test]
fn credentials_of_a_wrong_account_are_refused_before_any_iam_call() {
    let emulator = Emulator::start();
    emulator.seed_user("vendor-acme", 120.0);
    let program = program(&emulator, "account_id = \"999999999999\"", "");
    for command in ["status", "rotate"] {
        let ran = program.run(&[command]);
        let said = said(&ran);
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(said.contains("and the configuration says 999999999999; nothing was changed"), "{said}");
    }
    let listed = emulator.calls().into_iter().filter(|call| call.action.starts_with("iam:")).count();
    assert_eq!(listed, 0, "no call but the question which account it is");
    let right = program.json(1, &["status"])["vendors"][0]["reason"].clone();
    assert_eq!(right, "other_account");
}

#[test]
fn aws_calls_go_through_the_proxy_of_the_environment() {
    let (proxy, asked) = proxy();
    let emulator = Emulator::start();
    let mut program = program(&emulator, "", "");
    program.unset_env("AWS_ENDPOINT_URL");
    program.set_env("HTTPS_PROXY", &proxy);
    assert_eq!(program.run(&["status"]).code, Some(75));
    let line = asked.try_iter().next().expect("the proxy was asked");
    assert!(line.starts_with("CONNECT sts.us-east-1.amazonaws.com:443 "), "{line}");

    program.set_env("AWS_ENDPOINT_URL", &emulator.url());
    emulator.seed_user("vendor-acme", 10.0);
    program.set_env("HTTP_PROXY", "http://127.0.0.1:9");
    program.set_env("NO_PROXY", "127.0.0.1");
    assert_eq!(program.run(&["status"]).code, Some(0), "NO_PROXY is honoured");
}

/// A proxy that refuses every tunnel, and the first lines of the requests that it got.
fn proxy() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (tell, asked) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap_or_default();
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let is_over = tell.send(text.lines().next().unwrap_or_default().to_owned()).is_err();
            drop(stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"));
            if is_over {
                return;
            }
        }
    });
    (url, asked)
}

#[test]
fn an_unsafe_aws_endpoint_or_ca_bundle_is_refused_with_the_reason() {
    let emulator = Emulator::start();
    emulator.seed_user("vendor-acme", 10.0);
    for (variable, value, words) in [
        ("AWS_ENDPOINT_URL", "http://aws.example/", "it is http and leaves this machine"),
        ("AWS_ENDPOINT_URL_IAM", "http://aws.example/", "it is http and leaves this machine"),
        ("AWS_ENDPOINT_URL_STS", "https://user:word@aws.example/", "names a user or a password"),
        ("AWS_CA_BUNDLE", "/nowhere/bundle.pem", "AWS_CA_BUNDLE: /nowhere/bundle.pem cannot be read"),
        ("AWS_CA_BUNDLE", "/dev/null", "AWS_CA_BUNDLE: /dev/null is not a file of PEM certificates"),
    ] {
        let mut program = program(&emulator, "", "");
        program.set_env(variable, value);
        let ran = program.run(&["status"]);
        assert_eq!(ran.code, Some(75), "{ran}");
        assert!(said(&ran).contains(words), "{variable}: {ran}");
    }
    assert_eq!(emulator.calls().len(), 0, "nobody was asked anything");
}

#[test]
fn keyround_does_not_rotate_the_user_that_it_signs_with() {
    let emulator = Emulator::start();
    let (id, secret) = emulator.seed_user("Rotator", 120.0);
    let mut program = program(&emulator, "", "");
    let toml = fs::read_to_string(program.path("rotation.toml")).expect("it was written");
    program.configure(&toml.replace("vendor-acme", "Rotator"));
    program.set_env("AWS_ACCESS_KEY_ID", &id);
    program.set_env("AWS_SECRET_ACCESS_KEY", &secret);
    for command in [&["rotate", "--dry-run"][..], &["rotate"], &["rotate", "--force", "acme"]] {
        let ran = program.run(command);
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(said(&ran).contains("is the one that keyround signs with"), "{ran}");
    }
    assert_eq!(emulator.keys("Rotator").len(), 1, "no key was made");
}
