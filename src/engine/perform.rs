//! Performs effects as calls of the ports. Each answer becomes an outcome; nothing is decided here.

use crate::core::ids::{AccessKeyId, Subject};
use crate::core::rotation::{Effect, Event, KeyStatus, KeyUsage, Outcome, RefusalCode, Rotation};
use crate::core::secret::Secret;
use crate::core::time::Timestamp;
use crate::engine::World;
use crate::ports::{Answer, Delivery, Fault, Iam, Offer};

use std::collections::BTreeMap;
use std::sync::Arc;

/// Performs one effect, for the vendor that has the user now. Returns a secret exactly when a key was created.
pub(crate) async fn perform(
    world: &World,
    subject: &Subject,
    rotation: &Rotation,
    effect: &Effect,
) -> (Outcome, Option<Secret>) {
    let performance = Performance { world, subject, rotation };
    if let Err(fault) = performance.same_account().await {
        return (outcome(Err(fault)), None);
    }
    if *effect == Effect::CreateKey {
        return performance.create().await;
    }
    let answer = match effect {
        // `CreateKey` was performed above, because only it returns a secret.
        Effect::ListKeys | Effect::CreateKey => performance.list().await,
        Effect::Probe { key } => performance.probe(key).await,
        Effect::Deliver { key, round } => performance.deliver(key, *round).await,
        Effect::Verify { key } => performance.verify(key).await,
        Effect::ReadUsage { keys } => performance.read_usage(keys).await,
        Effect::Deactivate { key, .. } => performance.deactivate(key).await,
        Effect::Reactivate { key } => performance.reactivate(key).await,
        Effect::Delete { key, .. } => performance.delete(key).await,
    };
    (outcome(answer), None)
}

fn outcome(answer: Answer<Event>) -> Outcome {
    match answer {
        Ok(event) => Outcome::Happened(event),
        Err(Fault::Refused(refusal)) => Outcome::Refused(refusal),
        Err(Fault::Unknown(doubt)) => Outcome::Unknown(doubt),
    }
}

struct Performance<'a> {
    world: &'a World,
    subject: &'a Subject,
    rotation: &'a Rotation,
}

impl Performance<'_> {
    fn iam(&self) -> Arc<dyn Iam> {
        self.world.accounts.iam(self.subject.account.as_ref())
    }

    /// Refuses to perform an effect in another account than the one in which the rotation began.
    async fn same_account(&self) -> Answer<()> {
        let Some(began_in) = self.rotation.account_id() else { return Ok(()) };
        // The effect itself was not sent yet, so a missing answer to this question does not make its outcome unknown.
        let account_id = self.iam().account_id().await.map_err(|fault| match fault {
            Fault::Unknown(doubt) => Fault::refused(RefusalCode::NotSent, doubt.sentence),
            refused @ Fault::Refused(_) => refused,
        })?;
        if account_id == *began_in {
            return Ok(());
        }
        let user = &self.subject.iam_user;
        let sentence = format!(
            "the rotation of {user} began in AWS account {began_in}, and the credentials now lead to account {account_id}"
        );
        Err(Fault::refused(RefusalCode::OtherAccount, sentence))
    }

    fn delivery(&self) -> Answer<Arc<dyn Delivery>> {
        let vendor = &self.subject.vendor;
        let missing = || format!("the vendor {vendor} is not in the configuration any more");
        self.world
            .vendors
            .delivery(vendor)
            .ok_or_else(|| Fault::refused(RefusalCode::Misconfigured, missing()))
    }

    async fn secret(&self) -> Answer<Secret> {
        let opened = self.world.journal.secret(self.rotation.id()).await;
        let secret = opened.map_err(|error| Fault::refused(RefusalCode::Misconfigured, error.to_string()))?;
        secret.ok_or_else(|| {
            let sentence =
                "the journal holds no secret for the new key; abandon this rotation, and begin another";
            Fault::refused(RefusalCode::Misconfigured, sentence)
        })
    }

    async fn list(&self) -> Answer<Event> {
        let keys = self.iam().list_keys(&self.subject.iam_user).await?;
        Ok(Event::Listed { keys, at: self.world.clock.now() })
    }

    async fn create(&self) -> (Outcome, Option<Secret>) {
        match self.iam().create_key(&self.subject.iam_user).await {
            Ok(made) => {
                let at = self.world.clock.now();
                let event = Event::Created { key: made.id, at, request_id: made.request_id };
                (Outcome::Happened(event), Some(made.secret))
            }
            Err(fault) => (outcome(Err(fault)), None),
        }
    }

    async fn probe(&self, key: &AccessKeyId) -> Answer<Event> {
        let secret = self.secret().await?;
        let iam = self.iam();
        let identity = iam.identify(key, &secret).await?;
        let account_id = iam.account_id().await?;
        let user = &self.subject.iam_user;
        if identity.account_id != account_id || !identity.is_user(user) {
            let sentence = format!(
                "the new key {key} signs as {}, and not as the user {user} of account {account_id}",
                identity.arn
            );
            return Err(Fault::refused(RefusalCode::WrongIdentity, sentence));
        }
        Ok(Event::Probed { at: self.world.clock.now() })
    }

    async fn offer(&self, key: &AccessKeyId, round: u32) -> Answer<Offer> {
        let now = self.world.clock.now();
        let offered_at = self.rotation.offered_at().unwrap_or(now);
        Ok(Offer {
            rotation: self.rotation.id(),
            round,
            subject: self.subject.clone(),
            account_id: self.iam().account_id().await?,
            access_key_id: key.clone(),
            old_access_key_id: self.rotation.old().cloned(),
            offered_at,
            old_valid_until: self.old_valid_until(offered_at),
            at_vendor: self.rotation.at_vendor().clone(),
            now,
        })
    }

    /// Until when the old key stays Active at least; the delivery tells the vendor. It is `offered_at` where an
    /// incident was declared before that.
    fn old_valid_until(&self, offered_at: Timestamp) -> Timestamp {
        let is_cut = self.rotation.incident().is_some_and(|incident| incident.at <= offered_at);
        if is_cut { offered_at } else { offered_at + self.rotation.plan().soak }
    }

    async fn deliver(&self, key: &AccessKeyId, round: u32) -> Answer<Event> {
        let delivery = self.delivery()?;
        let secret = self.secret().await?;
        let offer = self.offer(key, round).await?;
        delivery.deliver(&offer, &secret).await?;
        Ok(Event::Delivered { at: self.world.clock.now() })
    }

    async fn verify(&self, key: &AccessKeyId) -> Answer<Event> {
        let offer = self.offer(key, 0).await?;
        let by = self.delivery()?.verify(&offer).await?;
        Ok(Event::Verified { by, at: self.world.clock.now() })
    }

    async fn read_usage(&self, keys: &[AccessKeyId]) -> Answer<Event> {
        let iam = self.iam();
        let mut usage: BTreeMap<AccessKeyId, KeyUsage> = BTreeMap::new();
        // Dated by the first answer: the calls after it may wait for their turn.
        let mut first_at = None;
        for key in keys {
            usage.insert(key.clone(), iam.usage(key).await?);
            first_at.get_or_insert(self.world.clock.now());
        }
        Ok(Event::UsageRead { usage, at: first_at.unwrap_or_else(|| self.world.clock.now()) })
    }

    async fn deactivate(&self, key: &AccessKeyId) -> Answer<Event> {
        let user = &self.subject.iam_user;
        let request_id = self.iam().set_status(user, key, KeyStatus::Inactive).await?;
        Ok(Event::Deactivated { at: self.world.clock.now(), request_id })
    }

    async fn reactivate(&self, key: &AccessKeyId) -> Answer<Event> {
        let user = &self.subject.iam_user;
        self.iam().set_status(user, key, KeyStatus::Active).await?;
        Ok(Event::Reactivated { at: self.world.clock.now() })
    }

    async fn delete(&self, key: &AccessKeyId) -> Answer<Event> {
        let request_id = self.iam().delete_key(&self.subject.iam_user, key).await?;
        Ok(Event::Deleted { at: self.world.clock.now(), request_id })
    }
}
