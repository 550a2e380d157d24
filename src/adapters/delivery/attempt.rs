//! One attempt at a delivery: its steps in order, and what it leaves a vendor with that stores a pair as two values.
//!
//! Such a vendor gets the id first. A secret that is refused for certain takes the id back: the old id is known, the old
//! secret is not. While a write of the secret may have been done, nothing is taken back, and the secret is written
//! again before anything else.
//!
//! **Invariant:** no value of a pair is written before the vendor has answered the questions that show whether both
//! values are there to be written.
//!
//! **Invariant:** what an attempt says of a pair holds for requests that arrive late, too.

use crate::adapters::delivery::template::{Captured, TemplateContext};
use crate::adapters::delivery::vendor::{SoFar, Vendor};
use crate::adapters::delivery::{http, params};
use crate::config::settings::{DeliverStep, HttpStep, Writes};
use crate::core::rotation::{Doubt, Half, Halves, Refusal, RefusalCode};
use crate::core::secret::Secret;
use crate::ports::{Answer, Fault, Offer};

/// How often one value of a pair is written again at once, where the write got no answer.
const REPEATS: u32 = 2;

/// What became of a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Taken {
    /// The vendor accepted it.
    Done,
    /// It is not for this delivery.
    LeftOut,
}

/// One attempt.
pub(super) struct Attempt<'a> {
    vendor: &'a Vendor,
    offer: &'a Offer,
    secret: &'a Secret,
    so_far: SoFar,
    /// A step that changes something, and does not write one value of a pair, was accepted.
    changed: bool,
    /// A request that may carry the new secret may have left.
    sent: bool,
    pairs: Vec<Pair>,
}

/// Two steps that write the values of one pair.
struct Pair {
    id: usize,
    secret: usize,
    halves: Halves,
    /// No write of the new id is without an answer, so none can arrive late.
    id_is_settled: bool,
}

impl<'a> Attempt<'a> {
    pub(super) async fn new(vendor: &'a Vendor, offer: &'a Offer, secret: &'a Secret) -> Attempt<'a> {
        let mut attempt = Attempt {
            vendor,
            offer,
            secret,
            so_far: SoFar::default(),
            changed: false,
            sent: false,
            pairs: Vec::new(),
        };
        attempt.pairs = attempt.find_pairs().await;
        attempt
    }

    /// Takes the steps. Happened only when every one was accepted.
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

    /// Whether the step is for this delivery, as far as its parameters tell.
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

    /// Asks what the preset asks before a delivery: above all, whether both values are there to be written.
    async fn look(&self) -> Answer<()> {
        let mut captured = Captured::new();
        for (number, step) in self.vendor.probe.iter().enumerate() {
            let looked = http::probe(&self.vendor.tools, step, number, self.offer, &mut captured).await;
            looked.map_err(|fault| prefixed(fault, "before the first write: "))?;
        }
        Ok(())
    }

    /// The order of the steps. A secret that the vendor lacks while it has the id goes before every other change; what only
    /// reads and stands before it goes before that, as the secret's step may need it.
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
            Ok(Taken::LeftOut) => {}
            Ok(Taken::Done) => {
                self.changed |= changes;
                self.sent |= changes;
            }
            Err(fault) => {
                self.sent |= changes && may_have_left(&fault);
                // Without an answer to a question, nothing has changed.
                return Err(if changes { fault } else { unanswered_question(fault) });
            }
        }
        Ok(())
    }

    async fn send(&mut self, index: usize, offer: &Offer) -> Answer<Taken> {
        self.vendor.take(&self.vendor.steps[index], index + 1, offer, self.secret, &mut self.so_far).await
    }

    /// Sends a request, and again at once while it gets no answer. The flag says whether one of them got none.
    async fn send_until_answered(&mut self, index: usize, offer: &Offer) -> (Answer<Taken>, bool) {
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

    /// Writes one value of a pair.
    async fn write(&mut self, number: usize, value: Writes) -> Answer<()> {
        let pair = &self.pairs[number];
        let (index, before) = match value {
            Writes::Id => (pair.id, pair.halves.id),
            Writes::Secret => (pair.secret, pair.halves.secret),
        };
        let (done, in_doubt) = self.send_until_answered(index, self.offer).await;
        let after = match &done {
            Ok(Taken::LeftOut) => before,
            Ok(Taken::Done) => Half::New,
            Err(Fault::Refused(_)) if !in_doubt => before,
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
                self.sent |= left && done != Ok(Taken::LeftOut);
            }
        }
        match done {
            Ok(_) => Ok(()),
            // It answers for its own request, and not for those before it.
            Err(Fault::Refused(refusal)) if in_doubt => Err(doubted(refusal)),
            Err(fault) => Err(fault),
        }
    }

    /// What the whole attempt has come to, when one step of it failed.
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
            // The whole attempt has done nothing, or has undone it.
            Fault::Refused(refusal) if !self.changed && is_whole => {
                Fault::Refused(Refusal { nothing_sent: !self.sent, ..refusal })
            }
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

    /// Writes the old id again, where the old secret certainly stands. Whether the vendor holds the old pair now.
    async fn take_back(&mut self, number: usize) -> bool {
        let before = Offer { access_key_id: self.offer.old_access_key_id.clone(), ..self.offer.clone() };
        let (done, in_doubt) = self.send_until_answered(self.pairs[number].id, &before).await;
        let pair = &mut self.pairs[number];
        pair.halves.id = match done {
            // A write of the new id that got no answer may still arrive.
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
        | DeliverStep::DropOff(_)
        | DeliverStep::Command(_)
        | DeliverStep::Manual(_) => true,
        DeliverStep::Http(step) => step.changes,
    }
}

fn captures(step: &DeliverStep) -> bool {
    match step {
        DeliverStep::Http(step) => !step.capture.is_empty(),
        DeliverStep::Command(step) => !step.capture.is_empty(),
        DeliverStep::Webhook(_) | DeliverStep::DropOff(_) | DeliverStep::Manual(_) => false,
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

/// A request that only reads has changed nothing, so its lost answer leaves no doubt about the delivery.
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

/// A refusal says that nothing was done; after an accepted change that is not so. An address that is gone for good
/// keeps its code all the same: no repeat will find it.
fn after_a_change(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(refusal) if refusal.code != RefusalCode::VendorGone => {
            suffixed(doubted(refusal), ", after earlier steps were accepted")
        }
        other => other,
    }
}

/// Says which step it was, where there are several.
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
