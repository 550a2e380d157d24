//! One vendor's recipe: its steps in order, and how it is asked.

use async_trait::async_trait;

use crate::config::settings::{DeliverStep, HttpStep, KeyAccess};
use crate::delivery::template::Captured;
use crate::delivery::{Tools, http, preflight, webhook};
use crate::ids::VendorName;
use crate::ports::{Answer, Check, Delivery, Fault, Offer};
use crate::rotation::{Doubt, Refusal, RefusalCode, Verification};
use crate::secret::Secret;

/// One vendor of the configuration.
pub(super) struct Vendor {
    pub(super) name: VendorName,
    pub(super) steps: Vec<DeliverStep>,
    pub(super) verify: Option<HttpStep>,
    pub(super) tools: Tools,
}

impl Vendor {
    pub(super) fn new(name: &VendorName, access: &KeyAccess, tools: &Tools) -> Vendor {
        Vendor {
            name: name.clone(),
            steps: access.deliver.clone(),
            verify: access.verify.clone(),
            tools: tools.clone(),
        }
    }
}

#[async_trait]
impl Delivery for Vendor {
    async fn deliver(&self, offer: &Offer, secret: &Secret) -> Answer<()> {
        let mut captured = Captured::new();
        for (number, step) in (1..).zip(&self.steps) {
            let done = match step {
                DeliverStep::Webhook(step) => webhook::send(&self.tools, step, number, offer, secret).await,
                DeliverStep::Http(step) => {
                    http::send(&self.tools, step, number, offer, secret, &mut captured).await
                }
            };
            done.map_err(|fault| in_step(fault, number, self.steps.len()))?;
        }
        Ok(())
    }

    async fn verify(&self, offer: &Offer) -> Answer<Verification> {
        match &self.verify {
            None => Ok(Verification::Acceptance),
            Some(step) => http::verify(&self.tools, step, offer).await.map_err(as_question),
        }
    }

    async fn preflight(&self, offer: &Offer) -> Vec<Check> {
        preflight::checks(self, offer).await
    }
}

/// Says which step it was, where there are several.
fn in_step(fault: Fault, number: usize, steps: usize) -> Fault {
    if steps == 1 {
        return fault;
    }
    let in_step = |sentence: String| format!("step {number} of {steps}: {sentence}");
    match fault {
        Fault::Refused(refusal) => Fault::Refused(Refusal { sentence: in_step(refusal.sentence), ..refusal }),
        Fault::Unknown(doubt) => Fault::Unknown(Doubt { sentence: in_step(doubt.sentence), ..doubt }),
    }
}

/// An address for questions that is gone says nothing of the one for deliveries.
fn as_question(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(refusal) if refusal.code == RefusalCode::VendorGone => {
            Fault::Refused(Refusal { code: RefusalCode::VendorRefused, ..refusal })
        }
        other => other,
    }
}
