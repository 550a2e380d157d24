//! Secrets Manager and the Parameter Store, as the places from which a vendor fetches its new pair.
//!
//! **Invariant:** no secret or parameter is created or deleted. The person who created it decided who may read it and
//! which key encrypts it, and this stays so.
//!
//! **Invariant:** if a value was written and could not be read back, the result is Unknown, whatever AWS answered to
//! the read.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_config::Region;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_ssm::types::{ParameterMetadata, ParameterStringFilter, ParameterType};
use tokio::sync::Mutex;

use crate::adapters::aws::pacing::Pace;
use crate::adapters::aws::refusal::Call;
use crate::adapters::aws::sending::send;
use crate::adapters::aws::throttling::{ThrottledCallsWait, ThrottlingCounter};
use crate::adapters::aws::{self, AwsSession};
use crate::config::settings::{AccountSettings, Place, Vault};
use crate::core::ids::AccountName;
use crate::core::rotation::{Doubt, RefusalCode};
use crate::core::secret::Secret;
use crate::ports::{Answer, Fault, Purpose, Reference, SecretStores, Stored};

/// The staging label of the version in force.
const CURRENT: &str = "AWSCURRENT";

/// The secret stores of all configured accounts.
pub struct AwsSecretStores {
    session: Arc<AwsSession>,
    accounts: BTreeMap<AccountName, AccountSettings>,
    clients: Mutex<BTreeMap<Where, Arc<Clients>>>,
}

type Where = (Option<AccountName>, Option<String>);

struct Clients {
    manager: aws_sdk_secretsmanager::Client,
    store: aws_sdk_ssm::Client,
    pace_of_manager: Pace,
    pace_of_store: Pace,
}

impl AwsSecretStores {
    /// Prepares the stores. Nothing is called, and no credentials are loaded, before the first read or write.
    #[must_use]
    pub fn new(
        session: &Arc<AwsSession>,
        accounts: &BTreeMap<AccountName, AccountSettings>,
    ) -> AwsSecretStores {
        AwsSecretStores {
            session: Arc::clone(session),
            accounts: accounts.clone(),
            clients: Mutex::default(),
        }
    }

    async fn clients(&self, place: &Place) -> Answer<Arc<Clients>> {
        let mut clients = self.clients.lock().await;
        let at = (place.account.clone(), place.region.clone());
        if let Some(clients) = clients.get(&at) {
            return Ok(Arc::clone(clients));
        }
        let made = Arc::new(self.connect(place).await?);
        clients.insert(at, Arc::clone(&made));
        Ok(made)
    }

    async fn connect(&self, place: &Place) -> Answer<Clients> {
        let settings =
            place.account.as_ref().map(|name| self.accounts.get(name).ok_or_else(|| missing(name)));
        let sdk = self.session.sdk().await;
        let mut manager = aws_sdk_secretsmanager::config::Builder::from(sdk)
            .interceptor(ThrottlingCounter)
            .retry_classifier(ThrottledCallsWait);
        let mut store = aws_sdk_ssm::config::Builder::from(sdk)
            .interceptor(ThrottlingCounter)
            .retry_classifier(ThrottledCallsWait);
        if let Some(url) = self.session.endpoint_url() {
            manager = manager.endpoint_url(url);
            store = store.endpoint_url(url);
        }
        if let Some(region) = &place.region {
            manager = manager.region(Region::new(region.clone()));
            store = store.region(Region::new(region.clone()));
        }
        if let Some(role) = settings.transpose()?.and_then(|settings| aws::role(&self.session, sdk, settings))
        {
            manager.set_credentials_provider(Some(role.clone()));
            store.set_credentials_provider(Some(role));
        }
        Ok(Clients {
            manager: aws_sdk_secretsmanager::Client::from_conf(manager.build()),
            store: aws_sdk_ssm::Client::from_conf(store.build()),
            pace_of_manager: Pace::new(self.session.call_deadline()),
            pace_of_store: Pace::new(self.session.call_deadline()),
        })
    }
}

fn missing(name: &AccountName) -> Fault {
    misconfigured(format!("the account {name} is not in the configuration any more; nothing was sent to AWS"))
}

#[async_trait]
impl SecretStores for AwsSecretStores {
    async fn read(&self, _purpose: &Purpose, place: &Place) -> Answer<Stored> {
        let clients = self.clients(place).await?;
        match &place.vault {
            Vault::SecretsManager { id } => clients.read_secret(id).await,
            Vault::ParameterStore { name } => clients.read_parameter(name).await,
        }
    }

    async fn write(
        &self,
        _purpose: &Purpose,
        place: &Place,
        text: &Secret,
        token: &str,
    ) -> Answer<Reference> {
        let clients = self.clients(place).await?;
        let written = match &place.vault {
            Vault::SecretsManager { id } => clients.write_secret(id, text, token).await?,
            Vault::ParameterStore { name } => clients.write_parameter(name, text).await?,
        };
        let read_back = match &place.vault {
            Vault::SecretsManager { id } => clients.read_back_secret(id, &written).await,
            Vault::ParameterStore { name } => clients.read_back_parameter(name, text).await,
        };
        read_back.map_err(|fault| not_read_back(place, fault)).map(|()| written)
    }
}

/// The value was written; a refusal of the read does not change that, so the result is Unknown.
fn not_read_back(place: &Place, fault: Fault) -> Fault {
    let (sentence, retry_after) = match fault {
        Fault::Refused(refusal) => (refusal.sentence, refusal.retry_after),
        Fault::Unknown(doubt) => (doubt.sentence, doubt.retry_after),
    };
    let sentence = format!("{place} was written and could not be read back: {sentence}");
    Fault::Unknown(Doubt { sentence, retry_after, pairs: Vec::new(), said: None })
}

fn unreadable(call: &Call) -> Fault {
    Fault::unknown(format!("{call} was answered, but the requested value is missing"))
}

impl Clients {
    async fn read_secret(&self, id: &str) -> Answer<Stored> {
        let call = Call::by_rotator("secretsmanager", "GetSecretValue", format!("the secret {id}"));
        let request = self.manager.get_secret_value().secret_id(id);
        let answer = send(&self.pace_of_manager, &call, || request.clone().send()).await?;
        let (Some(arn), Some(version_id)) = (answer.arn, answer.version_id) else {
            return Err(unreadable(&call));
        };
        let binary = || misconfigured(format!("the secret {id} is binary; a pair is dropped off as text"));
        let text = Secret::new(answer.secret_string.ok_or_else(binary)?);
        Ok(Stored { text, reference: Reference { service: "secretsmanager", arn, version_id } })
    }

    async fn write_secret(&self, id: &str, text: &Secret, token: &str) -> Answer<Reference> {
        let call = Call::by_rotator("secretsmanager", "PutSecretValue", format!("the secret {id}"));
        let request = self
            .manager
            .put_secret_value()
            .secret_id(id)
            .client_request_token(token)
            .secret_string(text.expose())
            .version_stages(CURRENT);
        let once = || aws_sdk_secretsmanager::Config::builder().retry_config(RetryConfig::disabled());
        let sending = || request.clone().customize().config_override(once()).send();
        let answer = send(&self.pace_of_manager, &call, sending).await?;
        match (answer.arn, answer.version_id) {
            (Some(arn), Some(version_id)) => Ok(Reference { service: "secretsmanager", arn, version_id }),
            (_, _) => Err(unreadable(&call)),
        }
    }

    /// Reads the version's labels, not its value, so this needs no permission to read the secret.
    async fn read_back_secret(&self, id: &str, written: &Reference) -> Answer<()> {
        let call = Call::by_rotator("secretsmanager", "DescribeSecret", format!("the secret {id}"));
        let request = self.manager.describe_secret().secret_id(id);
        let answer = send(&self.pace_of_manager, &call, || request.clone().send()).await?;
        let stages = answer.version_ids_to_stages.unwrap_or_default().remove(&written.version_id);
        match stages.is_some_and(|stages| stages.iter().any(|stage| stage == CURRENT)) {
            true => Ok(()),
            false => {
                Err(Fault::unknown(format!("the version {} is not the current one", written.version_id)))
            }
        }
    }

    async fn read_parameter(&self, name: &str) -> Answer<Stored> {
        let call = Call::by_rotator("ssm", "GetParameter", format!("the parameter {name}"));
        let request = self.store.get_parameter().name(name).with_decryption(true);
        let answer = send(&self.pace_of_store, &call, || request.clone().send()).await?;
        let parameter = answer.parameter.ok_or_else(|| unreadable(&call))?;
        let value = parameter.value.map(Secret::new);
        match parameter.r#type {
            Some(ParameterType::SecureString) => {}
            Some(ParameterType::String | ParameterType::StringList) => {
                return Err(misconfigured(format!(
                    "the parameter {name} is no SecureString, so the pair would lie there in clear; make it anew as one"
                )));
            }
            Some(_) | None => return Err(unreadable(&call)),
        }
        let (Some(text), Some(arn)) = (value, parameter.arn) else { return Err(unreadable(&call)) };
        let version_id = parameter.version.to_string();
        Ok(Stored { text, reference: Reference { service: "ssm", arn, version_id } })
    }

    /// Overwrites the parameter and repeats its settings: AWS resets every setting that is not repeated to its default,
    /// including the key that encrypts the value.
    async fn write_parameter(&self, name: &str, text: &Secret) -> Answer<Reference> {
        let (arn, kept) = self.describe_parameter(name).await?;
        let call = Call::by_rotator("ssm", "PutParameter", format!("the parameter {name}"));
        let request = self
            .store
            .put_parameter()
            .name(name)
            .value(text.expose())
            .r#type(ParameterType::SecureString)
            .overwrite(true)
            .set_key_id(kept.key_id)
            .set_tier(kept.tier)
            .set_description(kept.description)
            .set_allowed_pattern(kept.allowed_pattern)
            .set_data_type(kept.data_type);
        let once = || aws_sdk_ssm::Config::builder().retry_config(RetryConfig::disabled());
        let sending = || request.clone().customize().config_override(once()).send();
        let answer = send(&self.pace_of_store, &call, sending).await?;
        Ok(Reference { service: "ssm", arn, version_id: answer.version.to_string() })
    }

    async fn describe_parameter(&self, name: &str) -> Answer<(String, ParameterMetadata)> {
        let call = Call::by_rotator("ssm", "DescribeParameters", format!("the parameter {name}"));
        let plain = plain_name(name);
        let filter = ParameterStringFilter::builder().key("Name").option("Equals").values(&plain).build();
        let filter =
            filter.map_err(|_| misconfigured(format!("the parameter {name} cannot be asked for")))?;
        let request = self.store.describe_parameters().parameter_filters(filter);
        let answer = send(&self.pace_of_store, &call, || request.clone().send()).await?;
        let mut found = answer.parameters.unwrap_or_default().into_iter();
        let known = found.find(|parameter| parameter.name.as_deref() == Some(plain.as_str()));
        let known = known.ok_or_else(|| {
            misconfigured(format!("{call} does not show how it is kept; nothing was put there"))
        })?;
        let arn = known.arn.clone().unwrap_or_else(|| name.to_owned());
        Ok((arn, known))
    }

    async fn read_back_parameter(&self, name: &str, text: &Secret) -> Answer<()> {
        match self.read_parameter(name).await?.text == *text {
            true => Ok(()),
            false => Err(Fault::unknown("another value stands there")),
        }
    }
}

/// The name of a parameter that may be given as an ARN: `arn:aws:ssm:eu-west-1:111122223333:parameter/vendors/acme` is
/// `/vendors/acme`. A name without folders has no slash.
fn plain_name(name: &str) -> String {
    match name.starts_with("arn:").then(|| name.split_once(":parameter/")).flatten() {
        Some((_, path)) if path.contains('/') => format!("/{path}"),
        Some((_, path)) => path.to_owned(),
        None => name.to_owned(),
    }
}

/// A refusal because of a mistake in the configuration. The sentence must not hold a secret.
fn misconfigured(sentence: impl Into<String>) -> Fault {
    Fault::refused(RefusalCode::Misconfigured, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_name_is_read_from_a_name_or_an_arn() {
        assert_eq!(plain_name("/vendors/acme"), "/vendors/acme");
        assert_eq!(plain_name("acme"), "acme");
        assert_eq!(plain_name("arn:aws:ssm:eu-west-1:111122223333:parameter/vendors/acme"), "/vendors/acme");
        assert_eq!(plain_name("arn:aws:ssm:eu-west-1:111122223333:parameter/acme"), "acme");
    }
}
