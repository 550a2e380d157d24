//! The exit code for the caller, and the sentence beside it for a person.

use std::net::TcpListener;

use super::*;
use crate::support::moto::{Release, Rule};

#[test]
fn a_wrong_command_line_exits_with_64() {
    let emulator = Emulator::start();
    let member = Member::new(&emulator, "acme", Kind::Webhook, OLD_DAYS);
    let program = program(&emulator, &[&member]);
    let wrong: [&[&str]; 6] = [
        &["rotato"],
        &["rotate", "--now"],
        &[],
        &["rotate", "--dry-run", "--wait"],
        &["explain"],
        &["rotate", "acne"],
    ];
    for arguments in wrong {
        let ran = program.run(arguments);
        assert_eq!(ran.code, Some(64), "{arguments:?}: {ran}");
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{arguments:?}: {ran}");
    }
    assert!(program.run(&["rotate", "acne"]).stderr.contains("did you mean acme?"));
    for arguments in [["--help"], ["--version"]] {
        assert_eq!(program.run(&arguments).code, Some(0));
    }
    member.assert_untouched(&emulator);
    program.assert_no_secret_was_seen(&emulator);
}

#[test]
fn a_wrong_configuration_exits_with_78_and_names_every_mistake() {
    let emulator = Emulator::start();
    let member = Member::new(&emulator, "acme", Kind::Webhook, OLD_DAYS);
    let program = program(&emulator, &[&member]);
    program.configure(&format!("[defaults]\nsoak = \"soon\"\nsoek = \"1h\"\n{}", member.toml("")));
    for command in ["rotate", "status", "check", "run", "history"] {
        let ran = program.run(&[command]);
        assert_eq!(ran.code, Some(78), "{command}: {ran}");
        for place in ["rotation.toml:2:8", "rotation.toml:3:1"] {
            assert!(ran.stderr.contains(place), "{command}: {place}: {ran}");
        }
    }
    let ran = program.run(&["--config", "elsewhere.toml", "status"]);
    assert_eq!(ran.code, Some(78), "{ran}");
    assert!(ran.stderr.contains("elsewhere.toml"), "{ran}");
    member.assert_untouched(&emulator);
    program.assert_no_secret_was_seen(&emulator);
}

#[test]
fn an_unreachable_aws_endpoint_exits_with_75() {
    let emulator = Emulator::start();
    let members = ["acme", "globex"].map(|name| Member::new(&emulator, name, Kind::Webhook, OLD_DAYS));
    let mut program = program(&emulator, &members.each_ref());
    program.set_env("AWS_ENDPOINT_URL", &refusing_url());
    for arguments in [["rotate", "-vv"], ["status", "-vv"]] {
        let shown = program.json(75, &arguments);
        assert!(sentence(&shown, "acme").contains("AWS cannot be reached"), "{shown:#}");
    }
    for member in &members {
        member.assert_untouched(&emulator);
    }
    program.assert_no_secret_was_seen(&emulator);
}

#[test]
fn a_second_process_on_a_journal_exits_with_75_and_names_the_first() {
    let emulator = Emulator::start();
    let member = Member::new(&emulator, "acme", Kind::Webhook, OLD_DAYS);
    let program = program(&emulator, &[&member]);
    let rule = emulator.order(&Rule::pause("iam:CreateAccessKey"));
    let first = program.start(&["rotate", "-vv"]);
    emulator.wait_for(rule);
    for command in ["rotate", "run"] {
        let second = program.run(&[command]);
        assert_eq!(second.code, Some(75), "{second}");
        assert!(second.stderr.contains(&first.pid().to_string()), "{second}");
        println!("{}", second.stderr.trim());
    }
    let reader = program.json(0, &["status"]);
    assert_eq!(row(&reader, "acme")["rotation"]["stage"], "create");
    emulator.release(rule, Release::Proceed);
    let first = first.wait();
    assert_eq!(first.code, Some(0), "{first}");
    member.assert_rotated(&emulator);
    assert_eq!(count(&emulator.calls(), "iam:CreateAccessKey"), 1);
    program.assert_no_secret_was_seen(&emulator);
}

/// An address at which no program listens.
fn refusing_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}
