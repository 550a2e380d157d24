//! The pace against a scripted limiter, on a paused clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;

use super::*;

/// How long a request travels, and its answer.
const ONE_WAY: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(40);

/// The calls of a rotation.
const ROTATION: [Operation; 9] = [
    "ListAccessKeys",
    "CreateAccessKey",
    "GetCallerIdentity",
    "GetCallerIdentity",
    "GetCallerIdentity",
    "GetAccessKeyLastUsed",
    "GetAccessKeyLastUsed",
    "UpdateAccessKey",
    "DeleteAccessKey",
];

/// A token bucket, as AWS describes its own limits.
struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(per_second: f64, burst: f64) -> Bucket {
        Bucket { per_second, burst, tokens: burst, at: Instant::now() }
    }

    fn takes_one(&mut self) -> bool {
        let now = Instant::now();
        let earned = now.duration_since(self.at).as_secs_f64() * self.per_second;
        (self.tokens, self.at) = ((self.tokens + earned).min(self.burst), now);
        let is_taken = self.tokens >= 1.0;
        if is_taken {
            self.tokens -= 1.0;
        }
        is_taken
    }
}

/// An account at AWS, with one limit for all calls and perhaps one more for an operation.
struct Aws {
    all: Mutex<Bucket>,
    one: Option<(Operation, Mutex<Bucket>)>,
    throttled: AtomicUsize,
}

impl Aws {
    fn with_limit(per_second: f64, burst: f64) -> Aws {
        let all = Mutex::new(Bucket::new(per_second, burst));
        Aws { all, one: None, throttled: AtomicUsize::new(0) }
    }

    fn answers(&self, operation: Operation) -> bool {
        let own = self.one.as_ref().filter(|(limited, _)| *limited == operation);
        let takes = |bucket: &Mutex<Bucket>| bucket.lock().expect("the bucket").takes_one();
        let is_taken = own.is_none_or(|(_, bucket)| takes(bucket)) && takes(&self.all);
        self.throttled.fetch_add(usize::from(!is_taken), Ordering::SeqCst);
        is_taken
    }

    fn throttled(&self) -> usize {
        self.throttled.load(Ordering::SeqCst)
    }
}

/// Sends one call, again while it is throttled. Returns whether it was answered within its patience.
async fn call(pace: &Pace, aws: &Aws, operation: Operation) -> bool {
    let mut turn = pace.queue(operation, Urgency::Rest, Instant::now() + PATIENCE);
    while let Some(sent) = turn.come().await {
        tokio::time::sleep(ONE_WAY).await;
        let is_taken = aws.answers(operation);
        tokio::time::sleep(ONE_WAY).await;
        if is_taken {
            pace.answered(sent);
            return true;
        }
        pace.throttled(sent, None);
    }
    false
}

/// Performs that many rotations, so many at once. Returns the time that it took, in seconds.
async fn rotate(pace: &Pace, aws: &Aws, rotations: usize, at_once: usize) -> f64 {
    let (begun, next) = (Instant::now(), AtomicUsize::new(0));
    let worker = || async {
        while next.fetch_add(1, Ordering::SeqCst) < rotations {
            for operation in ROTATION {
                assert!(call(pace, aws, operation).await, "{operation} had no turn in time");
                // The journal is written.
                tokio::time::sleep(Duration::from_millis(8)).await;
            }
        }
    };
    join_all((0..at_once).map(|_| worker())).await;
    begun.elapsed().as_secs_f64()
}

fn calls(count: usize) -> f64 {
    u32::try_from(count).map(f64::from).expect("a small number")
}

async fn sent(pace: &Pace, operation: Operation) -> Sent {
    let mut turn = pace.queue(operation, Urgency::Rest, Instant::now() + PATIENCE);
    turn.come().await.expect("a turn")
}

fn rate(pace: &Pace) -> Option<f64> {
    pace.locked().account.at(Instant::now())
}

/// A pace whose rate AWS has just decreased: it took ten calls, and throttled one.
async fn slowed() -> Pace {
    let pace = Pace::new(DEADLINE);
    for _ in 0..10 {
        let sent = sent(&pace, "ListAccessKeys").await;
        pace.answered(sent);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let sent = sent(&pace, "ListAccessKeys").await;
    pace.throttled(sent, None);
    pace
}

#[tokio::test(start_paused = true)]
async fn calls_are_not_delayed_until_aws_throttles_one() {
    let (pace, begun) = (Pace::new(DEADLINE), Instant::now());
    for _ in 0..100 {
        sent(&pace, "ListAccessKeys").await;
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn rotations_use_the_limit_of_an_account_fully() {
    for (per_second, burst, rotations, at_once) in [
        (15.0, 15.0, 100, 8),
        (15.0, 15.0, 100, 64),
        (15.0, 5.0, 100, 8),
        (15.0, 15.0, 300, 256),
        (2.0, 2.0, 30, 8),
        (100.0, 50.0, 300, 64),
    ] {
        let (pace, aws) = (Pace::new(DEADLINE), Aws::with_limit(per_second, burst));
        let took = rotate(&pace, &aws, rotations, at_once).await;
        let sent = rotations * ROTATION.len();
        let ratio = took / (calls(sent) / per_second);
        assert!(ratio < 1.05, "{ratio:.3} of the least time, at {per_second}/s, {at_once} at once");
        assert!(
            aws.throttled() < at_once + sent / 2,
            "{} throttled at {per_second}/s, {at_once} at once",
            aws.throttled()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_with_a_limit_of_its_own_does_not_slow_the_others() {
    let (pace, mut aws) = (Pace::new(DEADLINE), Aws::with_limit(100.0, 100.0));
    aws.one = Some(("CreateAccessKey", Mutex::new(Bucket::new(1.0, 2.0))));
    let took = rotate(&pace, &aws, 60, 8).await;
    assert!(took < 60.0 * 1.05, "{took:.1} s for sixty keys at one a second");
    let creating = join_all((0..30).map(|_| call(&pace, &aws, "CreateAccessKey")));
    let listing = async {
        let begun = Instant::now();
        for _ in 0..100 {
            assert!(call(&pace, &aws, "ListAccessKeys").await);
        }
        begun.elapsed()
    };
    let (created, listed) = tokio::join!(creating, listing);
    assert!(created.into_iter().all(|is_answered| is_answered));
    assert!(listed < Duration::from_secs(10), "a hundred listings beside it took {listed:?}");
}

#[tokio::test(start_paused = true)]
async fn the_calls_that_are_throttled_in_one_round_trip_decrease_the_rate_once() {
    let pace = Pace::new(DEADLINE);
    let flight = join_all((0..20).map(|_| sent(&pace, "ListAccessKeys"))).await;
    let (taken, refused) = flight.split_at(10);
    for sent in taken {
        pace.answered(*sent);
    }
    pace.throttled(refused[0], None);
    let decreased = rate(&pace).expect("a limit");
    for sent in &refused[1..] {
        pace.throttled(*sent, None);
    }
    assert_eq!(rate(&pace), Some(decreased));
    let later = sent(&pace, "ListAccessKeys").await;
    pace.throttled(later, None);
    assert!(rate(&pace).expect("a limit") < decreased, "a call that was sent afterwards counts");
}

#[tokio::test(start_paused = true)]
async fn the_rate_returns_to_the_last_good_one_and_goes_on_from_there() {
    let pace = slowed().await;
    let decreased = rate(&pace).expect("a limit");
    assert!((decreased - 7.0).abs() < 0.1, "0.7 of ten a second, and not {decreased}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let good = rate(&pace).expect("a limit");
    assert!((good - 10.0).abs() < 0.1, "{good}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(rate(&pace).expect("a limit") > 100.0);
    for _ in 0..20 {
        let sent = sent(&pace, "ListAccessKeys").await;
        pace.throttled(sent, None);
    }
    assert!(rate(&pace).expect("a limit") >= RATE_MIN);
}

#[tokio::test(start_paused = true)]
async fn an_urgent_call_is_sent_before_a_thousand_that_wait() {
    let pace = Arc::new(slowed().await);
    let order = Arc::new(Mutex::new(Vec::new()));
    let patience = Duration::from_hours(1);
    let wait = |name: String, operation, urgency| {
        let (pace, order) = (Arc::clone(&pace), Arc::clone(&order));
        tokio::spawn(async move {
            let mut turn = pace.queue(operation, urgency, Instant::now() + patience);
            turn.come().await.expect("a turn");
            order.lock().expect("the order").push(name);
        })
    };
    let mut all: Vec<_> = (0..1000).map(|n| wait(format!("{n}"), "UpdateAccessKey", Urgency::Rest)).collect();
    tokio::task::yield_now().await;
    order.lock().expect("the order").clear();
    all.push(wait("cut".to_owned(), "UpdateAccessKey", Urgency::Cut));
    all.push(wait("give back".to_owned(), "UpdateAccessKey", Urgency::GiveBack));
    join_all(all).await;
    let order = order.lock().expect("the order");
    assert_eq!(order[..2], ["give back", "cut"]);
    let rest: Vec<u32> = order[2..].iter().map(|name| name.parse().expect("a number")).collect();
    assert!(rest.is_sorted(), "the others keep the order of their arrival");
    assert!(rest.len() > 990);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_a_limited_time() {
    let pace = slowed().await;
    let begun = Instant::now();
    let until = begun + Duration::from_secs(5);
    let wait = || async { pace.queue("ListAccessKeys", Urgency::Rest, until).come().await };
    let turns = join_all((0..10_000).map(|_| wait())).await;
    assert!(turns.iter().any(Option::is_some));
    assert!(turns.iter().any(Option::is_none));
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    assert!(pace.locked().waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_keeps_its_place() {
    let pace = slowed().await;
    let until = Instant::now() + PATIENCE;
    let mut first = pace.queue("ListAccessKeys", Urgency::Rest, until);
    let mut second = pace.queue("ListAccessKeys", Urgency::Rest, until);
    let sent = first.come().await.expect("a turn");
    let waiting = second.come();
    tokio::pin!(waiting);
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    pace.throttled(sent, None);
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("the other call was first"),
        sent = first.come() => assert!(sent.is_some()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_holds_all_calls_back_for_a_limited_time() {
    for (asked, held) in [(3, 3), (3600, 10)] {
        let pace = Pace::new(DEADLINE);
        let refused = sent(&pace, "ListAccessKeys").await;
        let begun = Instant::now();
        pace.throttled(refused, Some(Duration::from_secs(asked)));
        sent(&pace, "GetCallerIdentity").await;
        assert_eq!(begun.elapsed().as_secs(), held, "asked for {asked} s");
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_throttled_slows_no_other_one() {
    let (stalled, other) = (Pace::new(DEADLINE), Pace::new(DEADLINE));
    let (closed, open) = (Aws::with_limit(0.0, 0.0), Aws::with_limit(1000.0, 1000.0));
    let at_stalled = join_all((0..50).map(|_| call(&stalled, &closed, "ListAccessKeys")));
    let at_other = rotate(&other, &open, 50, 8);
    let (answered, took) = tokio::join!(at_stalled, at_other);
    assert!(answered.into_iter().all(|is_answered| !is_answered));
    assert!(took < 5.0, "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_frees_its_place() {
    let pace = slowed().await;
    let until = Instant::now() + PATIENCE;
    let mut urgent = pace.queue("UpdateAccessKey", Urgency::GiveBack, until);
    let mut patient = pace.queue("ListAccessKeys", Urgency::Rest, until);
    sent(&pace, "ListAccessKeys").await;
    {
        let first = urgent.come();
        tokio::pin!(first);
        assert!(futures_util::poll!(first).is_pending());
    }
    let begun = Instant::now();
    let waiting = patient.come();
    tokio::pin!(waiting);
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert_eq!(pace.locked().waiting.len(), 2);
    drop(urgent);
    assert_eq!(pace.locked().waiting.len(), 1);
    assert!(waiting.await.is_some());
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}
