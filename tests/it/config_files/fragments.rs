//! `include`: a configuration of several files is read and checked as one.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use keyround::config::{ConfigError, Found, Settings, load, load_found};
use tempfile::TempDir;

use super::CANARY;

const INCLUDE: &str = "include = [\"rotation.d/*.toml\"]\n";
const MEBIBYTE: usize = 1024 * 1024;

/// A temporary folder with the configuration `rotation.toml` and its fragments in `rotation.d`.
struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        let folder = Folder(TempDir::new().expect("a folder"));
        fs::create_dir(folder.path("rotation.d")).expect("a folder");
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    #[track_caller]
    fn settings(&self) -> Settings {
        load(&self.path("rotation.toml")).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The diagnostics that a user sees, with paths relative to this folder.
    #[track_caller]
    fn rendered(&self) -> String {
        let Err(ConfigError::Mistakes(mistakes)) = load(&self.path("rotation.toml")) else {
            panic!("there is a mistake");
        };
        let (shown, debug) = (mistakes.render(false) + "\n" + &mistakes.to_string(), format!("{mistakes:?}"));
        assert!(!shown.contains(CANARY) && !debug.contains(CANARY), "{shown}");
        shown.replace(&format!("{}/", self.0.path().display()), "")
    }

    /// `file:line:column: message` of each mistake.
    #[track_caller]
    fn mistakes(&self) -> Vec<String> {
        let shown = self.rendered();
        let lines = shown.lines().filter(|line| line.starts_with("rotation."));
        lines.filter(|line| line.matches(':').count() > 2).map(str::to_owned).collect()
    }
}

fn vendor(name: &str, user: &str) -> String {
    format!(
        "[vendor.{name}]\niam_user = \"{user}\"\n[[vendor.{name}.deliver]]\nkind = \"webhook\"\n\
         url = \"https://a.example\"\nsecret = \"env:A\"\n"
    )
}

const ALERT: &str = "[alert.chat]\nkind = \"slack\"\nurl = \"env:SLACK\"\n";
const ACCOUNT: &str = "[account.production]\nid = \"111122223333\"\n";
const WAIVER: &str =
    "[[waiver]]\nrule = \"KR401\"\nsubject = \"acme\"\nreason = \"moves\"\nuntil = \"2099-12-31\"\n";

#[test]
fn included_files_are_merged_into_one_configuration() {
    let globex = vendor("globex", "g").replace("iam_user", "account = \"production\"\niam_user");
    let folder = Folder::new(&[
        ("rotation.toml", &format!("{INCLUDE}[defaults]\nsoak = \"2h\"\n{WAIVER}{}", vendor("acme", "a"))),
        ("rotation.d/20-globex.toml", &globex),
        ("rotation.d/30-rest.toml", &format!("# accounts\n{ACCOUNT}{ALERT}{WAIVER}")),
        ("rotation.d/10-initech.toml", &vendor("initech", "i")),
        ("rotation.d/notes.txt", "not a fragment"),
        ("rotation.d/.hidden.toml", "not one either"),
    ]);
    let settings = folder.settings();
    assert_eq!(settings.warnings, Vec::<String>::new());
    assert_eq!(settings.include, ["rotation.d/*.toml"]);
    let expected = ["10-initech", "20-globex", "30-rest"];
    let expected = expected.map(|name| folder.path(&format!("rotation.d/{name}.toml")).display().to_string());
    assert_eq!(settings.included, expected);
    assert_eq!((settings.vendors.len(), settings.accounts.len()), (3, 1));
    assert_eq!((settings.alerts.len(), settings.waivers.len()), (1, 2));
    let globex = super::key(&settings, "globex");
    assert_eq!(globex.account.as_ref().map(ToString::to_string).as_deref(), Some("production"));
    assert_eq!(globex.plan.soak, 2 * super::HOUR, "the defaults hold in fragments");
    let written = &settings.vendors[&"globex".parse().expect("a name")].written;
    assert_eq!((&*written.file, written.line, written.columns), (expected[1].as_str(), 1, 15));
    assert_eq!(settings.journal.path, folder.path("keyround.db"));
}

#[test]
fn mistakes_of_all_files_are_reported_in_one_run_with_their_file() {
    let late = vendor("late", "l").replace("iam_user", "max_age = \"20d\"\niam_user");
    let folder = Folder::new(&[
        (
            "rotation.toml",
            &format!("{INCLUDE}[defaults]\nwarn_before = \"30d\"\nsok = 1\n{}", vendor("acme", "a")),
        ),
        ("rotation.d/a.toml", &format!("{}[schedule]\ncron = \"x\"\n", vendor("acme", "a"))),
        (
            "rotation.d/b.toml",
            "include = [\"more/*\"]\niam_user = \"x\"\nvendr = 1\n[account.main]\nidd = 1\n",
        ),
        ("rotation.d/c.toml", &format!("{ALERT}{}", vendor("b", "A"))),
        ("rotation.d/d.toml", &format!("{ALERT}[account.main]\n{late}")),
        ("rotation.d/e.toml", "[vendor.broken\n"),
        ("rotation.d/f.toml", &vendor("f", "f").replace("iam_user", "account = \"in-e\"\niam_user")),
    ]);
    assert_eq!(
        folder.mistakes(),
        [
            "rotation.toml:4:1: unknown key \"sok\" in [defaults]",
            "rotation.d/a.toml:1:9: [vendor.acme] is already in rotation.toml, on line 5",
            "rotation.d/a.toml:7:2: [schedule] does not belong in a fragment",
            "rotation.d/b.toml:1:1: a fragment includes no other files",
            "rotation.d/b.toml:2:1: unknown key \"iam_user\" in the fragment",
            "rotation.d/b.toml:3:1: unknown key \"vendr\" in the fragment",
            "rotation.d/b.toml:5:1: unknown key \"idd\" in [account.main]",
            "rotation.d/c.toml:5:12: the IAM user a belongs to the vendor \"acme\" already",
            "rotation.d/d.toml:1:8: [alert.chat] is already in rotation.d/c.toml, on line 1",
            "rotation.d/d.toml:4:10: [account.main] is already in rotation.d/b.toml, on line 4",
            "rotation.d/d.toml:6:11: warn_before = 30d is not shorter than max_age = 20d",
            "rotation.d/e.toml:1:15: unclosed table, expected `]`",
        ],
        "{}",
        folder.rendered()
    );
    let shown = folder.rendered();
    assert!(shown.contains("12 mistakes in 6 files"), "{shown}");
    let twice = "[alert.chat] is already in rotation.d/c.toml, on line 1\n --> rotation.d/d.toml:1:8";
    assert!(shown.contains(twice), "{shown}");
    for other in ["::: rotation.d/c.toml:1:8", "::: rotation.toml:3:15", "::: rotation.d/b.toml:4:10"] {
        assert!(shown.contains(other), "{other}: {shown}");
    }
    assert!(shown.contains("move it to rotation.toml, which includes this file"), "{shown}");
    assert!(shown.contains("did you mean vendor?"), "{shown}");
}

#[test]
fn a_mistake_in_defaults_is_reported_once_at_its_own_line() {
    let folder = Folder::new(&[
        ("rotation.toml", &format!("{INCLUDE}\n[defaults]\nmax_age = \"7d\"\n")),
        ("rotation.d/a.toml", &(vendor("a", "a") + &vendor("b", "b"))),
    ]);
    let [mistake] = &folder.mistakes()[..] else { panic!("{}", folder.rendered()) };
    assert!(
        mistake.starts_with("rotation.toml:4:11: max_age = 7d is shorter than a rotation takes"),
        "{mistake}"
    );
}

#[test]
fn a_secret_of_another_file_is_not_shown_beside_a_mistake() {
    let inline = |more: &str| format!("vendor.acme = {{ iam_user = \"a\", {more} }}\n");
    let folder = Folder::new(&[
        ("rotation.toml", &format!("{INCLUDE}{}", inline(&format!("token = \"{CANARY}\"")))),
        (
            "rotation.d/a.toml",
            &inline(&format!("deliver = [{{ kind = \"webhook\", secret = \"{CANARY}\" }}]")),
        ),
    ]);
    assert!(folder.rendered().contains("::: rotation.toml:2:8"), "{}", folder.rendered());
}

#[test]
fn each_kind_of_bad_include_has_its_own_error_message() {
    let folder = Folder::new(&[("rotation.d/good.toml", &vendor("good", "g"))]);
    let refused = |include: &str| {
        folder.write("rotation.toml", &format!("include = [{include}]\n"));
        let found = folder.mistakes();
        let [mistake] = &found[..] else { panic!("{include}: {}", folder.rendered()) };
        let (place, sentence) = mistake.split_at(mistake.find(": ").expect("a sentence"));
        assert_eq!(place, "rotation.toml:1:12");
        sentence[2..].to_owned()
    };
    fs::create_dir(folder.path("rotation.d/folder.toml")).expect("a folder");
    symlink("nowhere", folder.path("rotation.d/link.toml")).expect("a link");
    folder.write("rotation.d/latin.toml", "");
    fs::write(folder.path("rotation.d/latin.toml"), b"# one\n# \xe9\n").expect("written");
    let made = Command::new("mkfifo").arg(folder.path("rotation.d/pipe.toml")).status().expect("mkfifo");
    assert!(made.success());
    folder.write("rotation.d/writable.toml", "");
    fs::set_permissions(folder.path("rotation.d/writable.toml"), Permissions::from_mode(0o666))
        .expect("a mode");
    for (include, sentence) in [
        ("\"rotation.d/folder.toml\"", "rotation.d/folder.toml is a folder"),
        ("\"rotation.d/fold*.toml\"", "rotation.d/folder.toml is a folder"),
        ("\"rotation.d/link.toml\"", "rotation.d/link.toml is a link that leads nowhere"),
        ("\"rotation.d/l?nk.toml\"", "rotation.d/link.toml is a link that leads nowhere"),
        (
            "\"rotation.d/latin.toml\"",
            "rotation.d/latin.toml is not UTF-8 text: line 2 has a byte that no text has",
        ),
        ("\"rotation.d/pipe.toml\"", "rotation.d/pipe.toml is not a regular file"),
        ("\"rotation.d/missing.toml\"", "there is no file rotation.d/missing.toml"),
        (
            "\"rotation.d/good.toml/x.toml\"",
            "rotation.d/good.toml/x.toml cannot be read: Not a directory (os error 20)",
        ),
        ("\"missing.d/*.toml\"", "there is no folder missing.d"),
        ("\"rotation.d/good.toml/*\"", "rotation.d/good.toml is not a folder"),
        ("\"rotation.toml\"", "rotation.toml is this file itself"),
        ("\"rotation.tom?\"", "rotation.toml is this file itself"),
        ("\"\"", "this pattern is empty"),
        ("\"rotation.d/\"", "\"rotation.d/\" is a folder"),
        ("\"**/*.toml\"", "\"**/*.toml\" is more than a pattern of include can say"),
        ("\"rotation.d/{a,b}.toml\"", "\"rotation.d/{a,b}.toml\" is more than a pattern of include can say"),
        ("1", "include must be a string, not a whole number"),
    ] {
        assert_eq!(refused(include), sentence, "{include}");
    }
    // A fragment that others can write is refused even if a person named the configuration, as `load` assumes.
    let sentence = refused("\"rotation.d/writable.toml\"");
    assert!(
        sentence.contains("rotation.d/writable.toml can be written by other users (mode 0666)"),
        "{sentence}"
    );
    folder
        .write("rotation.toml", "[serve]\nlisten = \"127.0.0.1:1\"\ninclude = [\"rotation.d/good.toml\"]\n");
    assert!(folder.rendered().contains("include stands at the top of the file"), "{}", folder.rendered());
}

#[test]
fn a_fragment_folder_that_others_can_write_is_refused() {
    let folder = Folder::new(&[("rotation.toml", INCLUDE), ("rotation.d/a.toml", &vendor("a", "a"))]);
    fs::set_permissions(folder.path("rotation.d"), Permissions::from_mode(0o777)).expect("a mode");
    for is_named in [true, false] {
        let found = Found { path: folder.path("rotation.toml"), is_named };
        let error = load_found(&found).expect_err("it is not believed").to_string();
        assert!(error.contains("rotation.d can be written by other users (mode 0777)"), "{error}");
    }
}

#[test]
fn include_patterns_match_as_written_and_load_each_file_once() {
    let elsewhere = Folder::new(&[("rotation.d/d.toml", &vendor("d", "d"))]);
    let folder = Folder::new(&[
        ("rotation.d/a.toml", &vendor("a", "a")),
        ("rotation.d/b.toml", &vendor("b", "b")),
        ("rotation.d/long.toml", &vendor("long", "long")),
        ("one.toml", &vendor("one", "one")),
    ]);
    symlink(folder.path("one.toml"), folder.path("rotation.d/one.toml")).expect("a link");
    let read = |include: &str| {
        folder.write("rotation.toml", &format!("include = [{include}]\n"));
        let settings = folder.settings();
        let names: Vec<String> = settings.vendors.keys().map(ToString::to_string).collect();
        (names.join(" "), settings.warnings)
    };
    let whole = elsewhere.path("*/d.toml").display().to_string();
    for (include, expected) in [
        ("\"rotation.d/?.toml\"", "a b"),
        ("\"rotation.d/*.toml\"", "a b long one"),
        ("\"one.toml\", \"rotation.d/*.toml\", \"./rotation.d/a.toml\"", "a b long one"),
        ("\"*/a.toml\"", "a"),
        ("\"rotation.d/../one.toml\"", "one"),
        ("\"rotation.d/*n*.t*l\"", "long one"),
        (&format!("{whole:?}, \"rotation.d/b.toml\""), "b d"),
    ] {
        assert_eq!(read(include), (expected.to_owned(), Vec::new()), "{include}");
    }
    let (names, warnings) = read("\"rotation.d/*.tml\"");
    let of_nothing = "the configuration has no [vendor.NAME]: there is nothing to rotate";
    assert_eq!(
        (names.as_str(), warnings),
        ("", vec!["include: no file matches \"rotation.d/*.tml\"".to_owned(), of_nothing.to_owned(),])
    );
}

#[test]
fn included_files_are_limited_to_16_mib_in_total() {
    let comment = |bytes: usize| format!("#{}\n", "x".repeat(bytes - 2));
    let folder = Folder::new(&[
        ("rotation.toml", &(INCLUDE.to_owned() + &comment(2 * MEBIBYTE - INCLUDE.len()))),
        ("rotation.d/a.toml", &comment(7 * MEBIBYTE)),
        ("rotation.d/b.toml", &comment(7 * MEBIBYTE)),
    ]);
    assert_eq!(folder.settings().included.len(), 2);
    folder.write("rotation.d/c.toml", "#");
    let [mistake] = &folder.mistakes()[..] else { panic!("{}", folder.rendered()) };
    let sentence = "with rotation.d/c.toml, the configuration is larger than 16 MiB in all";
    assert_eq!(*mistake, format!("rotation.toml:1:12: {sentence}"));
}

#[test]
fn a_fleet_of_ten_thousand_vendors_is_read() {
    let folder = Folder::new(&[("rotation.toml", INCLUDE)]);
    for part in 0..100 {
        let vendors = (0..100).map(|one| vendor(&format!("v{part}-{one}"), &format!("u{part}-{one}")));
        folder.write(&format!("rotation.d/{part}.toml"), &vendors.collect::<String>());
    }
    assert_eq!(folder.settings().vendors.len(), 10_000);
}
