//! The stand-ins for Secrets Manager, Parameter Store and the programs of this machine.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use async_trait::async_trait;

use crate::adapters::rehearsal::vendor::{Reply, StandInVendors};
use crate::config::settings::{Place, Vault};
use crate::core::secret::Secret;
use crate::ports::{Answer, Finished, Program, Programs, Purpose, Reference, SecretStores, Stored};

/// The text and the version at each place, by its name. A place that was not written yet holds an empty JSON object
/// as version 1.
#[derive(Debug, Default)]
pub(super) struct StubPlaces(BTreeMap<String, (String, u64)>);

#[async_trait]
impl SecretStores for StandInVendors {
    async fn read(&self, _purpose: &Purpose, place: &Place) -> Answer<Stored> {
        let shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let (text, version) = shelves.0.get(&address(place).1).cloned().unwrap_or(("{}".to_owned(), 1));
        Ok(Stored { text: Secret::new(text), reference: reference(place, version) })
    }

    async fn write(
        &self,
        purpose: &Purpose,
        place: &Place,
        text: &Secret,
        _token: &str,
    ) -> Answer<Reference> {
        let (call, name) = address(place);
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let version = shelves.0.get(&name).map_or(1, |(_, version)| *version) + 1;
        shelves.0.insert(name.clone(), (text.expose().to_owned(), version));
        drop(shelves);
        self.record(purpose, format!("{call} {name}"), Some(text.expose().to_owned()), Reply::Stored);
        Ok(reference(place, version))
    }
}

fn address(place: &Place) -> (&'static str, String) {
    match &place.vault {
        Vault::SecretsManager { id } => ("PutSecretValue", id.clone()),
        Vault::ParameterStore { name } => ("PutParameter", name.clone()),
    }
}

fn reference(place: &Place, version: u64) -> Reference {
    let service = match &place.vault {
        Vault::SecretsManager { .. } => "secretsmanager",
        Vault::ParameterStore { .. } => "ssm",
    };
    Reference { service, arn: format!("<arn of {}>", address(place).1), version_id: version.to_string() }
}

#[async_trait]
impl Programs for StandInVendors {
    async fn run(&self, purpose: &Purpose, program: Program<'_>) -> Answer<Finished> {
        let line = format!("run {}", program.argv.join(" "));
        self.record(purpose, line, Some(program.input.expose().to_owned()), Reply::Exit(0));
        Ok(Finished { code: Some(0), output: self.output(purpose), complaint: Secret::from("") })
    }

    async fn find(&self, _argv: &[String]) -> Answer<()> {
        Ok(())
    }
}
