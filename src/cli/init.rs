//! `init`: writes a first configuration, made from what is found in the account.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::adapters::aws::AwsSession;
use crate::adapters::aws::iam::AwsAccounts;
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::{Screen, audit};
use crate::config::catalogue::{Preset, catalogue};
use crate::config::settings::AwsSettings;
use crate::config::{self, Environment};
use crate::ports::Scope;
use crate::review::audit::draft;
use crate::review::audit::proposal::Proposal;

pub(crate) async fn init(config: Option<&Path>, output: Option<&Path>, screen: &Screen) -> Ended {
    let path = output.map_or_else(|| target(config), Path::to_owned);
    let is_stdout = path == Path::new("-");
    if !is_stdout && path.exists() {
        let message = format!("{} exists already, and was not changed", path.display());
        return Err(Failure::new(Code::Usage, message).hinted(another_place(&path)));
    }
    // There is no configuration yet, so region and credentials come from the environment and the profile.
    let session = Arc::new(AwsSession::new(&AwsSettings::default()));
    let accounts = AwsAccounts::connect(&session, &BTreeMap::new());
    let facts = audit::facts(&accounts, None, &Scope::default()).await?;
    let region = session.sdk().await.region().map(ToString::to_string);
    let text = draft::draft(&facts, region.as_deref(), &proposals());
    config::parse("the draft", &text, &Environment::of_process())
        .map_err(|mistakes| Failure::new(Code::Failed, mistakes.render(screen.color)))?;
    if is_stdout {
        screen.show(&text);
        return Ok(Code::Fine);
    }
    write(&path, &text)?;
    screen.show(&format!(
        "{} was written. Every vendor in it is switched off: read the file and fill it in first",
        path.display()
    ));
    Ok(Code::Fine)
}

/// Where the draft can go, if a configuration is there already: one with fragments takes more of them.
fn another_place(path: &Path) -> String {
    let include = config::load(path).map(|settings| settings.include).unwrap_or_default();
    match include.first() {
        None => "--output FILE, or --output - to read the draft".to_owned(),
        Some(pattern) => format!(
            "--output - shows the draft; its [vendor.NAME] go into a new file that the configuration includes: {pattern}"
        ),
    }
}

/// The presets of the catalogue, as the draft proposes them.
fn proposals() -> Vec<Proposal> {
    let proposal = |preset: Preset| Proposal {
        domains: preset.domains(),
        parameter_lines: preset.parameter_lines(),
        name: preset.name,
        title: preset.title,
    };
    catalogue().into_iter().map(proposal).collect()
}

/// The path at which the next command looks for the configuration.
fn target(config: Option<&Path>) -> PathBuf {
    let said = config.map(Path::to_owned);
    let told = || std::env::var_os("KEYROUND_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    said.or_else(told).unwrap_or_else(|| PathBuf::from("rotation.toml"))
}

/// Writes a new file. It overwrites nothing, not even a file that was created a moment ago.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    written.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        Failure::new(Code::Failed, format!("{} could not be written: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::core::rotation::KeyStatus;
    use crate::core::time::Timestamp;
    use crate::review::audit::Facts;
    use crate::review::audit::facts::{Console, Key, Root, User};

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    /// An account with one user of this name, who has an Active key.
    fn account_with(user: &str) -> Facts {
        let key = Key {
            id: "AKIAINITTEST00000001".parse().expect("an id"),
            status: KeyStatus::Active,
            created_at: at("2026-01-01T00:00:00Z"),
            last_use: None,
            origins: None,
        };
        let user = User {
            name: user.parse().expect("a name of a user"),
            arn: format!("arn:aws:iam::111122223333:user/{user}"),
            path: "/".to_owned(),
            created_at: at("2026-01-01T00:00:00Z"),
            console: Console::default(),
            keys: vec![key],
            policies: Vec::new(),
            boundary: None,
            used: None,
        };
        Facts {
            account_id: "111122223333".parse().expect("an id"),
            caller: "arn:aws:iam::111122223333:user/rotator".to_owned(),
            at: at("2026-02-01T00:00:00Z"),
            root: Root::default(),
            users: vec![user],
            roles: Vec::new(),
            trails: None,
            gaps: Vec::new(),
        }
    }

    /// The draft for an account with this user; asserts that it is a configuration without mistakes.
    fn drafted(user: &str) -> String {
        static PROPOSALS: LazyLock<Vec<Proposal>> = LazyLock::new(proposals);
        let text = draft::draft(&account_with(user), None, &PROPOSALS);
        let parsed = config::parse("the draft", &text, &Environment::of_process());
        assert!(parsed.is_ok(), "{}\n{text}", parsed.err().map(|m| m.render(false)).unwrap_or_default());
        text
    }

    #[test]
    fn every_preset_is_drafted_for_a_user_with_its_name() {
        for preset in catalogue() {
            for user in [
                preset.name.clone(),
                format!("vendor-{}", preset.name),
                format!("svc_{}@prod", preset.name.to_ascii_uppercase().replace('-', "_")),
                preset.name.replace('-', ""),
            ] {
                let text = drafted(&user);
                let line = format!("\npreset = {:?}\n", preset.name);
                assert!(text.contains(&line) && !text.contains("is not known"), "{user}:\n{text}");
            }
        }
    }

    #[test]
    fn a_user_with_a_vendor_title_or_domain_leads_to_its_preset() {
        for preset in catalogue() {
            let vendor = preset.title.split(':').next().unwrap_or_default().to_owned();
            let titles = vendor.split(" and ").map(|title| title.replace(' ', "-").replace('/', "_"));
            let domains = preset.domains().into_iter();
            for user in titles.chain(domains).map(|name| format!("vendor-{name}")) {
                let text = drafted(&user);
                assert!(text.contains("kind = \"preset\""), "{user}:\n{text}");
                let is_named = text.lines().any(|line| {
                    line == format!("preset = {:?}", preset.name)
                        || line.starts_with("# other presets that fit: ")
                            && line
                                .split(|l: char| l != '-' && !l.is_ascii_alphanumeric())
                                .any(|w| w == preset.name)
                });
                assert!(is_named, "{user} does not lead to {}:\n{text}", preset.name);
            }
        }
    }

    #[test]
    fn an_ambiguous_user_name_gets_no_preset() {
        for user in [
            "terraform-ci",
            "terraform",
            "azure-backup",
            "mongodb-backup",
            "kubernetes-nodes",
            "acme",
            "vault-keeper",
            "jenkins-ci",
            "kafka-backup",
            "apache-logs",
        ] {
            let text = drafted(user);
            assert!(
                !text.contains("kind = \"preset\"") && text.contains("owner is unknown"),
                "{user}:\n{text}"
            );
        }
    }
}
