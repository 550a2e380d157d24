//! The simulated vendors: each holds a pair and works with it, and each has its own way to receive a pair and to
//! answer a check. They fail, lose deliveries, dawdle, are away for days and restore backups.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use keyround::config::SecretRef;
use keyround::core::ids::{AccessKeyId, IamUserName};
use keyround::core::rotation::RefusalCode;
use keyround::core::secret::Secret;
use keyround::core::time::Timestamp;
use keyround::ports::{
    Answer, Egress, Fault as Failed, Purpose, RecipePart, Request, Response, SecretSource,
};
use serde_json::{Value, json};

use super::Mistake;
use super::dice::Dice;
use super::faults::{AT_VENDOR, Fault};
use super::world::{Sim, State};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const NO_ANSWER_AFTER: Duration = Duration::from_secs(30);

/// How a vendor receives a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Door {
    /// By a signed webhook; repeats of one message are duplicates.
    Webhook,
    /// By one request with the whole pair, whose answer names the key that the vendor took.
    Json,
    /// By two requests, one for each of two settings.
    TwoWrites,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a habit of its own")]
pub(super) struct Consumer {
    pub(super) can_be_asked: bool,
    /// Whether its pair is two settings that are written separately.
    pub(super) takes_halves: bool,
    pub(super) uses_every: Duration,
    /// Whether it accepts each delivery and keeps none, until an operator mends it.
    pub(super) is_deaf: bool,
    /// Whether it goes back to the old key each time that key is Inactive, until an operator mends it.
    pub(super) clings: bool,
    /// The access key id that it holds. After one of two writes, id and secret belong to different pairs.
    pub(super) id: String,
    secret: String,
    /// The previous pair, which a backup restores.
    backup: Option<(String, String)>,
    messages: BTreeSet<String>,
    /// The number of accepted writes of its two settings.
    writes_accepted: u64,
    /// The numbers of the last accepted writes that were applied to the id and to the secret.
    writes_applied: (u64, u64),
    pub(super) away_until: Timestamp,
    pub(super) went_back_at: Option<Timestamp>,
}

impl Consumer {
    pub(super) fn new(
        can_be_asked: bool,
        takes_halves: bool,
        uses_every: Duration,
        dice: &mut Dice,
    ) -> Consumer {
        Consumer {
            is_deaf: can_be_asked && dice.per_mille(40),
            clings: can_be_asked && dice.per_mille(40),
            can_be_asked,
            takes_halves,
            uses_every,
            id: String::new(),
            secret: String::new(),
            backup: None,
            messages: BTreeSet::new(),
            writes_accepted: 0,
            writes_applied: (0, 0),
            away_until: Timestamp::EPOCH,
            went_back_at: None,
        }
    }
}

/// A pair, or one half of it.
type Halves = (Option<String>, Option<String>);

impl State {
    /// The key that the vendor works with; `None` while its id and secret do not belong together.
    pub(super) fn held(&mut self, user: &IamUserName) -> Option<AccessKeyId> {
        let user = self.user(user);
        let fits = |key: &&super::cloud::Key| {
            key.id.as_str() == user.consumer.id && key.secret == user.consumer.secret
        };
        user.keys.iter().find(fits).map(|key| key.id.clone())
    }

    /// Whether the vendor holds this key's id or its secret.
    pub(super) fn leans_on(&mut self, user: &IamUserName, id: &AccessKeyId) -> bool {
        let user = self.user(user);
        let secret = user.keys.iter().find(|key| key.id == *id).map(|key| key.secret.as_str());
        user.consumer.id == id.as_str() || secret == Some(user.consumer.secret.as_str())
    }

    /// The vendor stores a pair, or one half of it, and works with it once id and secret belong together.
    pub(super) fn take(&mut self, user: &IamUserName, (id, secret): Halves) {
        let (before, now) = (self.held(user), self.now());
        let consumer = &mut self.user(user).consumer;
        let pair = (consumer.id.clone(), consumer.secret.clone());
        consumer.id = id.unwrap_or(pair.0.clone());
        consumer.secret = secret.unwrap_or(pair.1.clone());
        if before.is_some() && before.as_ref().map(AccessKeyId::as_str) != Some(consumer.id.as_str()) {
            consumer.backup = Some(pair);
        }
        let every = consumer.uses_every;
        let after = self.held(user);
        if after == before {
            return;
        }
        for key in &mut self.user(user).keys {
            if let Some((_, until @ None, _)) = key.uses.last_mut() {
                *until = Some(now);
            }
            if Some(&key.id) == after.as_ref() {
                // One second later, so that it differs from the second of the other key's last use.
                key.uses.push((now + Duration::from_secs(1), None, every));
            }
        }
        self.note(format!("{user}: the vendor works with {after:?}"));
    }

    /// Returns the number of a write that the vendor accepts now.
    fn accept_write(&mut self, user: &IamUserName) -> u64 {
        let consumer = &mut self.user(user).consumer;
        consumer.writes_accepted += 1;
        consumer.writes_accepted
    }

    /// The halves of an accepted write that no later accepted write has overwritten. A setting keeps the value that
    /// was accepted last, however long the vendor takes to apply it.
    fn not_overwritten(&mut self, user: &IamUserName, halves: Halves, write: u64) -> Halves {
        let consumer = &mut self.user(user).consumer;
        if !consumer.takes_halves {
            return halves;
        }
        let newest = |applied: &mut u64, value: Option<String>| {
            let value = value.filter(|_| *applied < write);
            *applied = value.as_ref().map_or(*applied, |_| write);
            value
        };
        let (id, secret) = &mut consumer.writes_applied;
        (newest(id, halves.0), newest(secret, halves.1))
    }

    fn holds_offered(&mut self, user: &IamUserName) -> Value {
        let id = self.user(user).consumer.id.clone();
        let offered = self.in_flight(user).and_then(|rotation| rotation.stage().new_key().cloned());
        match (self.mistake, offered) {
            (Mistake::YesToEverything, Some(offered)) => json!({ "id": offered }),
            _ => json!({ "id": id }),
        }
    }

    /// A vendor that clings to the old key uses it while it is Inactive, and the new key while it is not.
    fn cling(&mut self, user: &IamUserName) {
        let (place, now) = (self.place(user), self.now());
        let Some(old) = self.in_flight(user).and_then(|rotation| rotation.old().map(ToString::to_string))
        else {
            return;
        };
        let consumer = &mut self.user(user).consumer;
        let is_turn = (place == "cool" && consumer.id != old) || (place == "soak" && consumer.id == old);
        let Some((id, secret)) = consumer.backup.clone().filter(|_| consumer.clings && is_turn) else {
            return;
        };
        consumer.went_back_at = Some(now);
        self.take(user, (Some(id), Some(secret)));
    }

    /// A vendor that went back applies one of two writes of ours, which it had accepted and not yet applied. It now
    /// works with neither key, and names the new key when it is asked. Only the old key's use after the new key's
    /// use reveals that.
    fn mix(&mut self, user: &IamUserName, new: &str) {
        let old = self.in_flight(user).filter(|rotation| rotation.stage().name() == "soak");
        let went_back = old
            .and_then(|rotation| rotation.old())
            .is_some_and(|old| old.as_str() == self.users[user].consumer.id);
        if went_back && !self.weather.is_calm {
            self.mark(user, Fault::VendorMixesPairs);
            self.take(user, (Some(new.to_owned()), None));
        }
    }

    /// An operator at the vendor repairs it: it keeps its deliveries again, and no longer goes back to the old key.
    pub(super) fn mend_vendor(&mut self, user: &IamUserName) {
        let old = self.in_flight(user).and_then(|rotation| rotation.old().map(ToString::to_string));
        let consumer = &mut self.user(user).consumer;
        let went_back = consumer.clings && old.as_deref() == Some(consumer.id.as_str());
        (consumer.is_deaf, consumer.clings) = (false, false);
        if let Some((id, secret)) = consumer.backup.clone().filter(|_| went_back) {
            self.take(user, (Some(id), Some(secret)));
        }
    }

    /// Marks the key of this request as offered, before anything else can go wrong with the request.
    fn offer(&mut self, user: &IamUserName, halves: &Halves) {
        let now = self.now();
        let Some(id) = halves.0.clone().or_else(|| self.id_of_secret(user, halves.1.as_deref())) else {
            return;
        };
        let id: AccessKeyId = id.parse().expect("only access key ids are offered");
        let Some(key) = self.key(user, &id) else { return };
        key.offered = true;
        // Excused if another person deleted or deactivated the key since its proof, because no proof could show that.
        if !key.is_known_somewhere(now) && key.meddled_at.is_none() {
            self.break_with(format!("{user} was offered {id}, which AWS does not know yet"));
        }
    }

    fn id_of_secret(&mut self, user: &IamUserName, secret: Option<&str>) -> Option<String> {
        let secret = secret?;
        self.user(user).keys.iter().find(|key| key.secret == secret).map(|key| key.id.to_string())
    }
}

/// The egress to the simulated vendors, as the program uses it.
pub(super) struct SimEgress(pub(super) Sim);

#[async_trait]
impl Egress for SimEgress {
    async fn send(&self, purpose: &Purpose, request: Request) -> Answer<Response> {
        let user = &purpose.subject.iam_user;
        let (fault, travels) = {
            let mut state = self.0.lock();
            state.count_call(user);
            (
                draw(&mut state, user, purpose.part),
                state.dice.span(Duration::from_secs(1), Duration::from_secs(9)),
            )
        };
        self.0.pass(travels).await;
        let answer = match purpose.part {
            RecipePart::Deliver { .. } => self.deliver(user, &request, fault).await,
            RecipePart::Verify { .. } | RecipePart::Probe { .. } | RecipePart::Token => {
                self.ask(user, fault).await
            }
        };
        let mut state = self.0.lock();
        let heard =
            answer.as_ref().map_or_else(|fault| fault.sentence().to_owned(), |got| got.status.to_string());
        state.note(format!("{user}: {:?}: {heard}", purpose.part));
        answer
    }

    async fn reach(&self, _url: &str, _timeout: Duration) -> Answer<()> {
        Ok(())
    }
}

/// Draws the fault of a request: the vendor is away, or one of the faults of a request strikes.
fn draw(state: &mut State, user: &IamUserName, part: RecipePart) -> Option<Fault> {
    if state.now() < state.user(user).consumer.away_until && !state.weather.is_calm {
        return Some(state.dice.one_of(&[Fault::VendorUnreachable, Fault::VendorError]));
    }
    match (state.strike(user, &AT_VENDOR)?, part) {
        // A check has no effect at the vendor, so it cannot be forgotten or take effect late.
        (Fault::VendorForgets, RecipePart::Verify { .. }) => None,
        (Fault::VendorLate | Fault::KilledAfter, RecipePart::Verify { .. }) => Some(Fault::VendorAnswerLost),
        (fault, _) => Some(fault),
    }
}

impl SimEgress {
    async fn deliver(&self, user: &IamUserName, request: &Request, fault: Option<Fault>) -> Answer<Response> {
        let halves = halves(request);
        let message = request.headers.iter().find(|(name, _)| name == "webhook-id");
        let message = message.map(|(_, id)| id.expose().to_owned());
        let taken = json!({ "taken": halves.0 });
        // A request with only the id that is certainly refused does not count as an offer: the vendor got no secret.
        let is_no = matches!(
            fault,
            Some(
                Fault::VendorRefuses | Fault::VendorGone | Fault::VendorRedirects | Fault::VendorUnreachable
            )
        );
        if halves.1.is_some() || !is_no {
            self.0.lock().offer(user, &halves);
        }
        if let Some(answer) = failed(fault, &mut self.0.lock()) {
            return answer;
        }
        match fault {
            Some(Fault::KilledBefore) => self.0.die().await,
            Some(Fault::KilledAfter) => {
                self.accept(user, message, halves);
                self.0.die().await
            }
            Some(Fault::VendorAnswerLost) => {
                self.accept(user, message, halves);
                self.0.pass(NO_ANSWER_AFTER).await;
                Err(Failed::unknown("no answer"))
            }
            Some(Fault::VendorLate) => {
                let late = self.0.lock().dice.span(Duration::from_mins(1), Duration::from_mins(30));
                self.accept_after(late, user, message, halves);
                self.0.pass(NO_ANSWER_AFTER).await;
                Err(Failed::unknown("no answer"))
            }
            _ if self.0.lock().user(user).consumer.is_deaf => Ok(response(200, &taken)),
            Some(Fault::VendorForgets) => {
                self.remember(user, message);
                Ok(response(200, &taken))
            }
            Some(Fault::VendorAnswersGarbage) => Ok(response(200, &json!("<html>welcome</html>"))),
            _ => {
                let dawdles = self.0.lock().dice.per_mille(150);
                let after = self.0.lock().dice.span(Duration::from_mins(1), 3 * HOUR);
                let write = self.0.lock().accept_write(user);
                match dawdles {
                    true => self.apply_after(after, user, message, halves, write),
                    false => self.apply(user, message, halves, write),
                }
                Ok(response(200, &taken))
            }
        }
    }

    async fn ask(&self, user: &IamUserName, fault: Option<Fault>) -> Answer<Response> {
        if let Some(answer) = failed(fault, &mut self.0.lock()) {
            return answer;
        }
        match fault {
            Some(Fault::KilledBefore) => self.0.die().await,
            Some(Fault::VendorAnswerLost) => {
                self.0.pass(NO_ANSWER_AFTER).await;
                Err(Failed::unknown("no answer"))
            }
            Some(Fault::VendorAnswersGarbage) => Ok(response(200, &json!(["?"]))),
            _ => {
                let mut state = self.0.lock();
                state.cling(user);
                Ok(response(200, &state.holds_offered(user)))
            }
        }
    }

    /// Records the message. Returns whether it is new; a repeat is a duplicate, whatever happened to the first one.
    fn remember(&self, user: &IamUserName, message: Option<String>) -> bool {
        message.is_none_or(|id| self.0.lock().user(user).consumer.messages.insert(id))
    }

    /// Accepts what arrives now, and applies it at once.
    fn accept(&self, user: &IamUserName, message: Option<String>, halves: Halves) {
        let write = self.0.lock().accept_write(user);
        self.apply(user, message, halves, write);
    }

    fn apply(&self, user: &IamUserName, message: Option<String>, halves: Halves, write: u64) {
        if !self.remember(user, message) {
            return;
        }
        let mut state = self.0.lock();
        let halves = state.not_overwritten(user, halves, write);
        let before = state.held(user);
        state.take(user, halves);
        let taken = state.held(user);
        let State { weather, dice, .. } = &mut *state;
        if taken.is_some() && taken != before && weather.strikes(Fault::VendorGoesBack, dice) {
            let most = dice.one_of(&[6 * HOUR, 10 * DAY]);
            let after = dice.span(Duration::from_mins(1), most);
            drop(state);
            self.go_back_after(after, user.clone());
        }
    }

    /// Delivers an unanswered request late: it is accepted after the requests that were answered in the meantime.
    fn accept_after(&self, after: Duration, user: &IamUserName, message: Option<String>, halves: Halves) {
        let (egress, user) = (SimEgress(self.0.clone()), user.clone());
        drop(tokio::spawn(async move {
            egress.0.pass(after).await;
            egress.accept(&user, message, halves);
        }));
    }

    fn apply_after(
        &self,
        after: Duration,
        user: &IamUserName,
        message: Option<String>,
        halves: Halves,
        write: u64,
    ) {
        let (egress, user) = (SimEgress(self.0.clone()), user.clone());
        drop(tokio::spawn(async move {
            egress.0.pass(after).await;
            egress.apply(&user, message, halves, write);
        }));
    }

    /// Restores the previous pair, and corrects that some time later. The program cannot see this of a vendor that
    /// cannot be asked, and a vendor that restores a deleted key cuts itself off, so neither happens here.
    fn go_back_after(&self, after: Duration, user: IamUserName) {
        let sim = self.0.clone();
        drop(tokio::spawn(async move {
            sim.pass(after).await;
            let (pair, mixes_after, puts_right_after) = {
                let mut state = sim.lock();
                let Some(backup) = state.user(&user).consumer.backup.clone() else { return };
                let still_there =
                    backup.0.parse().is_ok_and(|id: AccessKeyId| state.key(&user, &id).is_some());
                if state.weather.is_calm || !still_there || !state.user(&user).consumer.can_be_asked {
                    return;
                }
                state.mark(&user, Fault::VendorGoesBack);
                let now = state.now();
                let consumer = &mut state.user(&user).consumer;
                let pair = (consumer.id.clone(), consumer.secret.clone());
                consumer.went_back_at = Some(now);
                state.take(&user, (Some(backup.0), Some(backup.1)));
                let puts_right_after = state.dice.span(HOUR, 4 * DAY);
                if state.dice.per_mille(400) {
                    state.user(&user).consumer.away_until = now + puts_right_after;
                }
                let mixes = state.user(&user).consumer.takes_halves && state.dice.per_mille(500);
                let mixes_after = state.dice.span(Duration::from_mins(1), 2 * HOUR);
                (pair, mixes.then_some(mixes_after), puts_right_after)
            };
            if let Some(after) = mixes_after {
                sim.pass(after).await;
                sim.lock().mix(&user, &pair.0);
            }
            sim.pass(puts_right_after).await;
            let mut state = sim.lock();
            // Between two writes it may have held halves of two pairs, and those are not restored.
            let works = pair.0.parse().is_ok_and(|id: AccessKeyId| {
                state.key(&user, &id).is_some_and(|key| key.works() && key.secret == pair.1)
            });
            if works {
                state.take(&user, (Some(pair.0), Some(pair.1)));
            }
        }));
    }
}

/// The answers of requests that were refused or failed and had no effect.
fn failed(fault: Option<Fault>, state: &mut State) -> Option<Answer<Response>> {
    let status = match fault? {
        Fault::VendorError => state.dice.one_of(&[500, 502, 503]),
        Fault::VendorRefuses => state.dice.one_of(&[400, 401, 404, 429]),
        Fault::VendorGone => 410,
        Fault::VendorRedirects => 302,
        Fault::VendorUnreachable => return Some(Err(Failed::refused(RefusalCode::NotSent, "no connection"))),
        _ => return None,
    };
    let mut answer = response(status, &json!({}));
    if state.dice.per_mille(300) {
        let wait = state.dice.one_of(&["0", "120", "7200", "Wed, 21 Oct 2015 07:28:00 GMT", "soon"]);
        answer.headers = BTreeMap::from([("retry-after".to_owned(), wait.to_owned())]);
    }
    Some(Ok(answer))
}

fn halves(request: &Request) -> Halves {
    let body = request.body.as_ref().map(|body| body.expose().to_owned()).unwrap_or_default();
    let body: Value = serde_json::from_str(&body).expect("the program sends JSON");
    let text = |pointers: [&str; 2]| {
        pointers.iter().find_map(|pointer| body.pointer(pointer)?.as_str()).map(str::to_owned)
    };
    (text(["/data/access_key_id", "/id"]), text(["/data/secret_access_key", "/secret"]))
}

fn response(status: u16, body: &Value) -> Response {
    Response { status, headers: BTreeMap::new(), body: Secret::new(body.to_string()) }
}

/// The secrets that the recipes refer to.
pub(super) struct SimSecrets;

#[async_trait]
impl SecretSource for SimSecrets {
    async fn resolve(&self, _reference: &SecretRef) -> Result<Secret, String> {
        Ok(Secret::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    }
}
