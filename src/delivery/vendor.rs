//! One vendor's recipe: its steps in order, and how it is asked.

use async_trait::async_trait;

use crate::config::settings::{DeliverStep, HttpStep, KeyAccess, VerifyStep};
use crate::delivery::template::Captured;
use crate::delivery::webhook::Carried;
use crate::delivery::{Tools, command, drop_off, http, misconfigured, preflight, webhook};
use crate::ids::VendorName;
use crate::ports::{Answer, Check, Delivery, Fault, Offer, Reference};
use crate::rotation::{Doubt, Refusal, RefusalCode, Verification};
use crate::secret::Secret;

/// One vendor of the configuration.
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

/// How often a write that completes a pair is sent again at once.
const SECOND_WRITE_REPEATS: u32 = 2;

#[async_trait]
impl Delivery for Vendor {
    async fn deliver(&self, offer: &Offer, secret: &Secret) -> Answer<()> {
        let mut so_far = SoFar::default();
        let mut changed = false;
        for index in order(&self.steps, offer.now > offer.offered_at) {
            let (step, number) = (&self.steps[index], index + 1);
            let mut done = self.take(step, number, offer, secret, &mut so_far).await;
            for _ in 0..SECOND_WRITE_REPEATS {
                if changed && completes_pair(step) && matches!(done, Err(Fault::Unknown(_))) {
                    done = self.take(step, number, offer, secret, &mut so_far).await;
                }
            }
            done.map_err(
                |fault| if changed { after_a_change(fault) } else { before_any_change(fault, step) },
            )
            .map_err(|fault| in_step(fault, number, self.steps.len()))?;
            changed |= changes(step);
        }
        Ok(())
    }

    async fn verify(&self, offer: &Offer) -> Answer<Verification> {
        let mut captured = Captured::new();
        // Where no question is for this delivery, it has only been accepted.
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

/// What the steps before have left.
#[derive(Default)]
struct SoFar {
    captured: Captured,
    reference: Option<Reference>,
}

impl Vendor {
    async fn take(
        &self,
        step: &DeliverStep,
        number: usize,
        offer: &Offer,
        secret: &Secret,
        so_far: &mut SoFar,
    ) -> Answer<()> {
        let (tools, captured) = (&self.tools, &mut so_far.captured);
        match step {
            DeliverStep::Webhook(step) => {
                let carried = Carried { secret, reference: so_far.reference.as_ref() };
                webhook::send(tools, step, number, offer, carried).await
            }
            DeliverStep::Http(step) => http::send(tools, step, number, offer, secret, captured).await,
            DeliverStep::DropOff(step) => {
                so_far.reference = Some(drop_off::put(tools, step, number, offer, secret, captured).await?);
                Ok(())
            }
            DeliverStep::Command(step) => {
                command::deliver(tools, step, number, offer, secret, captured).await
            }
            DeliverStep::Manual(_) => Err(misconfigured(
                "this vendor's key is handed over by a person, and was not when this rotation began; abandon it, or let \
                 the configuration say again how the vendor gets its key",
            )),
        }
    }
}

/// The steps in the order in which they are taken. When a delivery is repeated, the vendor may hold the first half of a
/// pair without the second: then the second goes first.
fn order(steps: &[DeliverStep], repeated: bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..steps.len()).collect();
    for (index, step) in steps.iter().enumerate().skip(1) {
        if repeated && completes_pair(step) {
            order.swap(index - 1, index);
        }
    }
    order
}

fn completes_pair(step: &DeliverStep) -> bool {
    matches!(step, DeliverStep::Http(step) if step.completes_pair)
}

/// Whether the step, once accepted, may have changed what the vendor holds.
fn changes(step: &DeliverStep) -> bool {
    match step {
        DeliverStep::Webhook(_)
        | DeliverStep::DropOff(_)
        | DeliverStep::Command(_)
        | DeliverStep::Manual(_) => true,
        DeliverStep::Http(step) => step.changes,
    }
}

/// Before a step that changes something was begun, the vendor cannot have seen the new key: the failed step only reads, or
/// its request never left.
fn before_any_change(fault: Fault, step: &DeliverStep) -> Fault {
    match fault {
        Fault::Refused(refusal) => {
            let never_left = matches!(refusal.code, RefusalCode::NotSent | RefusalCode::Misconfigured);
            Fault::Refused(Refusal { nothing_sent: never_left || !changes(step), ..refusal })
        }
        Fault::Unknown(_) => fault,
    }
}

/// A refusal says that nothing was done; after an accepted change that is not so. An address that is gone for good
/// keeps its code all the same: no repeat will find it.
fn after_a_change(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(Refusal { code, sentence, retry_after, .. }) if code != RefusalCode::VendorGone => {
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
