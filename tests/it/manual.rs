//! The files that packages ship beside the program: the manual pages and the completion scripts, which the program
//! writes.

use std::process::{Command, Output, Stdio};

/// The commands that `--help` lists, except `help` itself.
fn commands() -> Vec<String> {
    let help = text(&keyround(&["--help"]));
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_manual_names_every_command_and_has_the_standard_sections() {
    let page = text(&keyround(&["man"]));
    assert!(page.starts_with(".ie") && page.contains(".TH keyround 1"), "{page}");
    let commands = commands();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        assert!(page.contains(&format!("keyround\\-{command}(1)")), "{command} is not in the manual");
    }
    for heading in ["EXIT STATUS", "SIGNALS", "ENVIRONMENT", "FILES"] {
        assert!(
            page.contains(&format!(".SH \"{heading}\"")) || page.contains(&format!(".SH {heading}")),
            "{heading}"
        );
    }
}

#[test]
fn every_command_has_a_manual_page_and_groff_sets_the_main_page() {
    for command in commands() {
        let page = text(&keyround(&["man", &command]));
        assert!(
            page.contains(&format!(".TH keyround\\-{command} 1"))
                || page.contains(&format!(".TH keyround-{command} 1")),
            "{page}"
        );
        assert!(page.contains("\\-c\\fR") || page.contains("\\-\\-config"), "its options are there: {page}");
    }
    let set = set(&text(&keyround(&["man"])));
    assert!(set.contains("EXIT STATUS") && set.contains("/etc/keyround/rotation.toml"), "{set}");
}

#[test]
fn a_page_of_a_command_that_does_not_exist_is_a_usage_error() {
    let output = keyround(&["man", "dance"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no command dance"));
}

#[test]
fn completion_scripts_exist_for_bash_zsh_and_fish() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&keyround(&["completions", shell]));
        assert!(script.contains("rehearse") && script.contains("dry-run"), "{shell}");
    }
    let script = text(&keyround(&["completions", "bash"]));
    let checked = Command::new("bash").args(["-n", "-c", &script]).output().expect("there is a bash");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert_eq!(keyround(&["completions", "cobol"]).status.code(), Some(64));
}

/// The page as a reader sees it; groff must not report a warning.
fn set(page: &str) -> String {
    use std::io::Write;

    let mut groff = Command::new("groff")
        .args(["-man", "-Tutf8", "-P-cbou", "-ww"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("there is no groff ({error}): install Debian's package groff-base"));
    let mut stdin = groff.stdin.take().expect("it is piped");
    stdin.write_all(page.as_bytes()).expect("it reads");
    drop(stdin);
    let output = groff.wait_with_output().expect("it ends");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    text(&output)
}

fn keyround(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyround")).args(arguments).output().expect("keyround runs")
}

#[track_caller]
fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
