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
        let mut changed = false;
        for (number, step) in (1..).zip(&self.steps) {
            let done = match step {
                DeliverStep::Webhook(step) => webhook::send(&self.tools, step, number, offer, secret).await,
                DeliverStep::Http(step) => {
                    http::send(&self.tools, step, number, offer, secret, &mut captured).await
                }
            };
            done.map_err(|fault| if changed { after_a_change(fault) } else { fault })
                .map_err(|fault| in_step(fault, number, self.steps.len()))?;
            changed |= changes(step);
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

/// Whether the step, once accepted, may have changed what the vendor holds.
fn changes(step: &DeliverStep) -> bool {
    match step {
        DeliverStep::Webhook(_) => true,
        DeliverStep::Http(step) => step.method != "GET",
    }
}

/// A refusal says that nothing was done; after an accepted change that is not so. An address that is gone for good
/// keeps its code all the same: no repeat will find it.
fn after_a_change(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(Refusal { code, sentence, retry_after }) if code != RefusalCode::VendorGone => {
            let sentence = format!("{sentence}, after earlier steps were accepted");
            Fault::Unknown(Doubt { sentence, retry_after })
        }
        other => other,
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
