//! `init`: a first configuration, from what is found in the account.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::audit::draft;
use crate::aws::AwsSession;
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::{Screen, audit};
use crate::config::settings::AwsSettings;
use crate::config::{self, Environment};
use crate::iam::AwsAccounts;
use crate::ports::Scope;

pub(crate) async fn init(config: Option<&Path>, output: Option<&Path>, screen: &Screen) -> Ended {
    let path = output.map_or_else(|| target(config), Path::to_owned);
    let is_stdout = path == Path::new("-");
    if !is_stdout && path.exists() {
        let message = format!("{} is there already, and was left as it is", path.display());
        return Err(
            Failure::new(Code::Usage, message).hinted("--output FILE, or --output - to read the draft")
        );
    }
    // What the environment and the profile say: there is no configuration yet.
    let session = Arc::new(AwsSession::new(&AwsSettings::default()));
    let accounts = AwsAccounts::connect(&session, &BTreeMap::new());
    let facts = audit::facts(&accounts, None, &Scope::default()).await?;
    let region = session.sdk().await.region().map(ToString::to_string);
    let text = draft::draft(&facts, region.as_deref());
    config::parse("the draft", &text, &Environment::of_process())
        .map_err(|mistakes| Failure::new(Code::Failed, mistakes.render(screen.color)))?;
    if is_stdout {
        screen.show(&text);
        return Ok(Code::Fine);
    }
    write(&path, &text)?;
    screen.show(&format!(
        "{} was drafted: read it before anything else, each vendor in it is switched off",
        path.display()
    ));
    Ok(Code::Fine)
}

/// Where the next command will look for it.
fn target(config: Option<&Path>) -> PathBuf {
    let said = config.map(Path::to_owned);
    let told = || std::env::var_os("KEYROUND_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    said.or_else(told).unwrap_or_else(|| PathBuf::from("rotation.toml"))
}

/// Nothing is overwritten, also not what somebody wrote there just now.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    written.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        Failure::new(Code::Failed, format!("{} could not be written: {error}", path.display()))
    })
}
