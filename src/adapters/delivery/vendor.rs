//! The recipe of one vendor: its delivery steps in order, and the requests that ask which key is in force.

use async_trait::async_trait;

use crate::adapters::delivery::attempt::{Attempt, StepOutcome};
use crate::adapters::delivery::template::Captured;
use crate::adapters::delivery::webhook::Carried;
use crate::adapters::delivery::{Tools, command, http, misconfigured, preflight, secret_store, webhook};
use crate::config::settings::{DeliverStep, HttpStep, KeyAccess, VerifyStep};
use crate::core::ids::VendorName;
use crate::core::rotation::{Refusal, RefusalCode, Verification};
use crate::core::secret::Secret;
use crate::ports::{Answer, Check, Delivery, Fault, Offer, Reference};

/// A vendor of the configuration that authenticates with an access key.
pub(super) struct Vendor {
    pub(super) name: VendorName,
    pub(super) steps: Vec<DeliverStep>,
    pub(super) verify: Vec<VerifyStep>,
    pub(super) probe: Vec<HttpStep>,
    pub(super) tools: Tools,
}

impl Vendor {
    pub(super) fn new(name: &VendorName, access: &KeyAccess, tools: &Tools) -> Vendor {
        Vendor {
            name: name.clone(),
            steps: access.deliver.clone(),
            verify: access.verify.clone(),
            probe: access.probe.clone(),
            tools: tools.clone(),
        }
    }
}

#[async_trait]
impl Delivery for Vendor {
    async fn deliver(&self, offer: &Offer, secret: &Secret) -> Answer<()> {
        Attempt::new(self, offer, secret).await.run().await
    }

    async fn verify(&self, offer: &Offer) -> Answer<Verification> {
        let mut captured = Captured::new();
        // If `when` excludes every question, only the vendor's acceptance of the delivery is known.
        let mut by = Verification::Acceptance;
        for (number, step) in self.verify.iter().enumerate() {
            let said = match step {
                VerifyStep::Http(step) => http::verify(&self.tools, step, number, offer, &mut captured)
                    .await
                    .map_err(as_question)?,
                VerifyStep::Command(step) => {
                    command::verify(&self.tools, step, number, offer, &mut captured).await?
                }
            };
            if said == Verification::Asked {
                by = said;
            }
        }
        Ok(by)
    }

    async fn preflight(&self, offer: &Offer) -> Vec<Check> {
        preflight::checks(self, offer).await
    }
}

/// The results of the earlier steps of a delivery that later steps use.
#[derive(Default)]
pub(super) struct StepResults {
    captured: Captured,
    reference: Option<Reference>,
}

impl Vendor {
    pub(super) async fn take(
        &self,
        step: &DeliverStep,
        number: usize,
        offer: &Offer,
        secret: &Secret,
        so_far: &mut StepResults,
    ) -> Answer<StepOutcome> {
        let (tools, captured) = (&self.tools, &mut so_far.captured);
        match step {
            DeliverStep::Webhook(step) => {
                let carried = Carried { secret, reference: so_far.reference.as_ref() };
                webhook::send(tools, step, number, offer, carried).await?;
            }
            DeliverStep::Http(step) => return http::send(tools, step, number, offer, secret, captured).await,
            DeliverStep::SecretStore(step) => {
                so_far.reference =
                    Some(secret_store::put(tools, step, number, offer, secret, captured).await?);
            }
            DeliverStep::Command(step) => {
                command::deliver(tools, step, number, offer, secret, captured).await?;
            }
            DeliverStep::Manual(_) => {
                return Err(misconfigured(
                    "this vendor's key is handed over by a person, and was not when this rotation began; abandon it, or \
                     let the configuration say again how the vendor gets its key",
                ));
            }
        }
        Ok(StepOutcome::Done)
    }
}

/// Replaces the code `VendorGone` in the refusal of a question: an address for questions that is gone does not mean
/// that the address for deliveries is gone.
fn as_question(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(refusal) if refusal.code == RefusalCode::VendorGone => {
            Fault::Refused(Refusal { code: RefusalCode::VendorRefused, ..refusal })
        }
        other => other,
    }
}
