//! One attempt at a delivery: it runs the steps in order, and keeps a vendor that stores a pair as two values from
//! being left with half of it.
//!
//! Such a vendor receives the access key id first. If it then certainly refuses the secret, the old id is written
//! back, because keyround knows the old id and not the old secret. While a write of the secret may have happened, the
//! id is not written back, and the next attempt writes the secret as early as [`Attempt::order`] can place it.
//!
//! **Invariant:** while the vendor holds only old values, no value of a pair is written before the vendor has
//! answered the probe of its preset, which shows above all whether both values can be written.
//!
//! **Invariant:** what an attempt reports of a pair stays true if one of its requests arrives late.

use crate::adapters::delivery::template::{Captured, TemplateContext};
use crate::adapters::delivery::vendor::{StepResults, Vendor};
use crate::adapters::delivery::{http, params};
use crate::config::settings::{DeliverStep, HttpStep, Writes};
use crate::core::rotation::{Doubt, Half, Halves, Refusal, RefusalCode};
use crate::core::secret::Secret;
use crate::ports::{Answer, Fault, Offer};

/// How many times a write of one value of a pair is repeated at once if its outcome is unknown.
const REPEATS: u32 = 2;

/// How a step ended without a fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum StepOutcome {
    /// The vendor accepted the step.
    Done,
    /// The condition of the step (`when`) excludes it from this delivery.
    LeftOut,
}

/// One attempt at a delivery, and what it has changed so far.
pub(super) struct Attempt<'a> {
    vendor: &'a Vendor,
    offer: &'a Offer,
    secret: &'a Secret,
    so_far: StepResults,
    /// The vendor accepted a step that changes something and is not the write of one value of a pair.
    changed: bool,
    /// A request that may contain the new secret may have left this machine.
    sent: bool,
    pairs: Vec<Pair>,
}

/// Two steps that write the two values of one pair, by their indices, and what the vendor holds of it.
struct Pair {
    id: usize,
    secret: usize,
    halves: Halves,
    /// Every write of the new id had a known outcome, so none can arrive late.
    id_is_settled: bool,
}

impl<'a> Attempt<'a> {
    pub(super) async fn new(vendor: &'a Vendor, offer: &'a Offer, secret: &'a Secret) -> Attempt<'a> {
        let mut attempt = Attempt {
            vendor,
            offer,
            secret,
            so_far: StepResults::default(),
            changed: false,
            sent: false,
            pairs: Vec::new(),
        };
        attempt.pairs = attempt.find_pairs().await;
        attempt
    }

    /// Runs the steps. Succeeds only if every step was accepted or left out.
    pub(super) async fn run(mut self) -> Answer<()> {
        match self.take_all().await {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.end(fault).await),
        }
    }

    async fn find_pairs(&self) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = Vec::new();
        let mut ids: Vec<usize> = Vec::new();
        for (index, step) in self.vendor.steps.iter().enumerate() {
            let DeliverStep::Http(step) = step else { continue };
            match step.writes {
                Some(writes) if self.is_wanted(step).await => match writes {
                    Writes::Id => ids.push(index),
                    Writes::Secret => {
                        let Some(id) = ids.pop() else { continue };
                        let halves = self.offer.at_vendor.pair(pairs.len());
                        let id_is_settled = halves.id != Half::Unknown;
                        pairs.push(Pair { id, secret: index, halves, id_is_settled });
                    }
                },
                Some(_) | None => {}
            }
        }
        pairs
    }

    /// Whether the step belongs to this delivery, judged by its `when` without values that earlier steps will
    /// capture. A condition that cannot be evaluated yet counts as yes.
    async fn is_wanted(&self, step: &HttpStep) -> bool {
        let Ok(params) = params::read(&self.vendor.tools, step).await else { return true };
        let words = TemplateContext::new(self.offer, Some(self.secret), &params, &Captured::new());
        http::wanted(&self.vendor.tools, step, &words).unwrap_or(true)
    }

    async fn take_all(&mut self) -> Answer<()> {
        if !self.pairs.is_empty() && self.pairs.iter().all(|pair| pair.halves == Halves::OLD) {
            self.look().await?;
        }
        let steps = self.vendor.steps.len();
        for index in self.order() {
            self.take(index).await.map_err(|fault| in_step(fault, index + 1, steps))?;
        }
        Ok(())
    }

    /// Runs the preset's probe before a delivery. Above all, the probe shows whether both values of a pair can be
    /// written.
    async fn look(&self) -> Answer<()> {
        let mut captured = Captured::new();
        for (number, step) in self.vendor.probe.iter().enumerate() {
            let looked = http::probe(&self.vendor.tools, step, number, self.offer, &mut captured).await;
            looked.map_err(|fault| prefixed(fault, "before the first write: "))?;
        }
        Ok(())
    }

    /// The order in which the steps run. If the vendor holds the new id and not the new secret, it cannot work, so
    /// the step that writes the secret runs before every other change. Read-only steps that stand before it run
    /// first, because its request may need what they capture. If a step that changes something also captures a value,
    /// the write of the secret is only moved directly before the write of its id, and only if no step from that write
    /// to its own captures anything.
    fn order(&self) -> Vec<usize> {
        let steps = &self.vendor.steps;
        let mut order: Vec<usize> = (0..steps.len()).collect();
        let urgent = |pair: &&Pair| pair.halves.id == Half::New && pair.halves.secret != Half::New;
        let urgent: Vec<&Pair> = self.pairs.iter().filter(urgent).collect();
        if urgent.is_empty() {
            return order;
        }
        if !steps.iter().any(|step| changes(step) && captures(step)) {
            let last = urgent.iter().map(|pair| pair.secret).max().unwrap_or(0);
            order.sort_by_key(|index| match &steps[*index] {
                step if !changes(step) && *index < last => 0,
                _ if urgent.iter().any(|pair| pair.secret == *index) => 1,
                _ => 2,
            });
            return order;
        }
        for pair in urgent.iter().filter(|pair| !steps[pair.id..pair.secret].iter().any(captures)) {
            order.retain(|index| *index != pair.secret);
            let place = order.iter().position(|index| *index == pair.id).unwrap_or(0);
            order.insert(place, pair.secret);
        }
        order
    }

    async fn take(&mut self, index: usize) -> Answer<()> {
        if let Some(number) = self.pairs.iter().position(|pair| pair.id == index) {
            return self.write(number, Writes::Id).await;
        }
        if let Some(number) = self.pairs.iter().position(|pair| pair.secret == index) {
            return self.write(number, Writes::Secret).await;
        }
        let changes = changes(&self.vendor.steps[index]);
        match self.send(index, self.offer).await {
            Ok(StepOutcome::LeftOut) => {}
            Ok(StepOutcome::Done) => {
                self.changed |= changes;
                self.sent |= changes;
            }
            Err(fault) => {
                self.sent |= changes && may_have_left(&fault);
                // A read-only request changes nothing, so its unknown outcome leaves no doubt about the delivery.
                return Err(if changes { fault } else { unanswered_question(fault) });
            }
        }
        Ok(())
    }

    async fn send(&mut self, index: usize, offer: &Offer) -> Answer<StepOutcome> {
        self.vendor.take(&self.vendor.steps[index], index + 1, offer, self.secret, &mut self.so_far).await
    }

    /// Sends a request, and repeats it at once, at most [`REPEATS`] times, while its outcome is unknown. The flag
    /// says whether the outcome of any of these sends is unknown.
    async fn send_until_answered(&mut self, index: usize, offer: &Offer) -> (Answer<StepOutcome>, bool) {
        let mut done = self.send(index, offer).await;
        let mut in_doubt = matches!(done, Err(Fault::Unknown(_)));
        for _ in 0..REPEATS {
            if !matches!(done, Err(Fault::Unknown(_))) {
                break;
            }
            done = self.send(index, offer).await;
        }
        in_doubt |= matches!(done, Err(Fault::Unknown(_)));
        (done, in_doubt)
    }

    /// Writes one value of a pair, and records what the vendor holds afterwards.
    async fn write(&mut self, number: usize, value: Writes) -> Answer<()> {
        let pair = &self.pairs[number];
        let (index, before) = match value {
            Writes::Id => (pair.id, pair.halves.id),
            Writes::Secret => (pair.secret, pair.halves.secret),
        };
        let (done, in_doubt) = self.send_until_answered(index, self.offer).await;
        let after = match &done {
            Ok(StepOutcome::LeftOut) => before,
            Ok(StepOutcome::Done) => Half::New,
            Err(Fault::Refused(_)) if !in_doubt => before,
            // An earlier write of the same value was accepted, so this one cannot change what the vendor holds.
            Err(_) if before == Half::New => Half::New,
            Err(_) => Half::Unknown,
        };
        let pair = &mut self.pairs[number];
        match value {
            Writes::Id => {
                pair.halves.id = after;
                pair.id_is_settled &= !in_doubt;
            }
            Writes::Secret => {
                pair.halves.secret = after;
                let left = in_doubt || done.as_ref().err().is_none_or(may_have_left);
                self.sent |= left && done != Ok(StepOutcome::LeftOut);
            }
        }
        match done {
            Ok(_) => Ok(()),
            // The refusal settles only its own request. An earlier one without an answer may still take effect.
            Err(Fault::Refused(refusal)) if in_doubt => Err(doubted(refusal)),
            Err(fault) => Err(fault),
        }
    }

    /// The result of the whole attempt after one of its steps failed. First writes the old id back where the vendor
    /// certainly holds the new id and the old secret.
    async fn end(&mut self, fault: Fault) -> Fault {
        let mut restored = false;
        for number in 0..self.pairs.len() {
            if self.pairs[number].halves == (Halves { id: Half::New, secret: Half::Old }) {
                restored |= self.take_back(number).await;
            }
        }
        let pairs: Vec<Halves> = self.pairs.iter().map(|pair| pair.halves).collect();
        let words = Halves::worst_in_words(&pairs);
        let is_whole = pairs.iter().all(|pair| *pair == Halves::OLD);
        let fault = match fault {
            // The whole attempt changed nothing, or its changes were undone.
            Fault::Refused(refusal) if !self.changed && is_whole => {
                Fault::Refused(Refusal { nothing_sent: !self.sent, ..refusal })
            }
            // The vendor may hold half of the pair, so the attempt as a whole may have changed something.
            Fault::Refused(refusal) if words.is_some() => doubted(refusal),
            fault => after_a_change(fault),
        };
        let fault = match words {
            Some(words) => suffixed(fault, &format!("; {words}")),
            None if restored => {
                suffixed(fault, "; the old id was written back, so that the vendor holds the old pair")
            }
            None => fault,
        };
        match fault {
            Fault::Refused(refusal) => Fault::Refused(Refusal { pairs, ..refusal }),
            Fault::Unknown(doubt) => Fault::Unknown(Doubt { pairs, ..doubt }),
        }
    }

    /// Writes the old id back to a vendor that certainly holds the old secret. Returns whether the vendor certainly
    /// holds the old pair afterwards.
    async fn take_back(&mut self, number: usize) -> bool {
        // What a vendor without an old key held before is not known.
        let Some(old) = self.offer.old_access_key_id.clone() else { return false };
        let before = Offer { access_key_id: old, ..self.offer.clone() };
        let (done, in_doubt) = self.send_until_answered(self.pairs[number].id, &before).await;
        let pair = &mut self.pairs[number];
        pair.halves.id = match done {
            // A write of the new id whose outcome is unknown may still arrive after this one.
            Ok(_) if pair.id_is_settled => Half::Old,
            Err(Fault::Refused(_)) if !in_doubt => Half::New,
            Ok(_) | Err(_) => Half::Unknown,
        };
        tracing::warn!(
            vendor.name = %self.vendor.name, rotation.id = %self.offer.rotation,
            "the secret was not written, and the old id was written back: {}", pair.halves == Halves::OLD
        );
        pair.halves == Halves::OLD
    }
}

fn changes(step: &DeliverStep) -> bool {
    match step {
        DeliverStep::Webhook(_)
        | DeliverStep::SecretStore(_)
        | DeliverStep::Command(_)
        | DeliverStep::Manual(_) => true,
        DeliverStep::Http(step) => step.changes,
    }
}

fn captures(step: &DeliverStep) -> bool {
    match step {
        DeliverStep::Http(step) => !step.capture.is_empty(),
        DeliverStep::Command(step) => !step.capture.is_empty(),
        DeliverStep::Webhook(_) | DeliverStep::SecretStore(_) | DeliverStep::Manual(_) => false,
    }
}

fn may_have_left(fault: &Fault) -> bool {
    match fault {
        Fault::Refused(refusal) => !matches!(refusal.code, RefusalCode::NotSent | RefusalCode::Misconfigured),
        Fault::Unknown(_) => true,
    }
}

fn doubted(refusal: Refusal) -> Fault {
    let Refusal { sentence, retry_after, pairs, said, .. } = refusal;
    Fault::Unknown(Doubt { sentence, retry_after, pairs, said })
}

/// Turns an unknown outcome of a read-only request into a refusal. The request changed nothing, so its lost response
/// leaves no doubt about the delivery.
fn unanswered_question(fault: Fault) -> Fault {
    match fault {
        Fault::Unknown(Doubt { sentence, retry_after, pairs, said }) => Fault::Refused(Refusal {
            code: RefusalCode::NotSent,
            sentence,
            retry_after,
            nothing_sent: false,
            pairs,
            said,
        }),
        refused @ Fault::Refused(_) => refused,
    }
}

/// Turns a refusal after an accepted change into an unknown outcome, since a refusal claims that nothing was done. An
/// address that is gone for good keeps its code, because repeating the request cannot help.
fn after_a_change(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(refusal) if refusal.code != RefusalCode::VendorGone => {
            suffixed(doubted(refusal), ", after earlier steps were accepted")
        }
        other => other,
    }
}

/// Prefixes the sentence with the number of the step if the recipe has several steps.
fn in_step(fault: Fault, number: usize, steps: usize) -> Fault {
    if steps == 1 { fault } else { prefixed(fault, &format!("step {number} of {steps}: ")) }
}

fn prefixed(fault: Fault, before: &str) -> Fault {
    reworded(fault, |sentence| format!("{before}{sentence}"))
}

fn suffixed(fault: Fault, after: &str) -> Fault {
    reworded(fault, |sentence| format!("{sentence}{after}"))
}

fn reworded(fault: Fault, reword: impl Fn(String) -> String) -> Fault {
    match fault {
        Fault::Refused(refusal) => Fault::Refused(Refusal { sentence: reword(refusal.sentence), ..refusal }),
        Fault::Unknown(doubt) => Fault::Unknown(Doubt { sentence: reword(doubt.sentence), ..doubt }),
    }
}
