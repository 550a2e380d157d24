//! A bad connection to AWS: a proxy that delays, loses, cuts and replaces what passes through it, on order.
//!
//! Requests are passed on byte for byte, so that their signatures stay valid; each goes over a connection of its
//! own. A call belongs to the user that it names, or to the user of the key that it is about or signed with. The
//! proxy learns whose a key is from the answers that pass through it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use url::form_urlencoded;

/// A running proxy, which stops when this is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mishap {
    /// The call is performed, and its answer is delayed by this long.
    AnsweredLate(Duration),
    /// The call is delayed by this long, and performed then.
    PerformedLate(Duration),
    /// The call is performed, and the connection is closed without an answer.
    AnswerLost,
    /// The connection is closed, and nothing is performed.
    CallLost,
    /// The call is performed, and the connection closes after half of the answer's body.
    AnswerCut,
    /// Nothing is performed, and AWS answers that it throttles the caller.
    Throttled,
    /// Nothing is performed, and an intermediary answers 429 in a format that is not AWS's.
    TooManyRequests,
    /// The call is performed, and AWS answers with an error.
    Failed,
    /// Nothing is performed, and AWS answers that it is unavailable.
    Unavailable,
    /// The call is performed, and the answer is an HTML page.
    PageInstead,
    /// Nothing is performed, and the answer is an HTML page with a status of success.
    LoginPage,
    /// Nothing is performed, and a gateway answers with an error and an HTML page.
    BadGateway,
}

/// An order that says what happens to which calls.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) user: String,
    /// The name of the operation, such as `CreateAccessKey`.
    pub(crate) operation: String,
    /// This many matching calls pass first.
    pub(crate) skip: u32,
    /// This many calls are affected.
    pub(crate) count: u32,
    pub(crate) mishap: Mishap,
}

/// A limit like AWS's: a token bucket that all calls share, and the time that a call and its answer travel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) per_second: f64,
    pub(crate) burst: f64,
    pub(crate) latency: Duration,
}

/// The tokens of a limit.
struct Bucket {
    limit: Limit,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn takes_one(&mut self) -> bool {
        let now = Instant::now();
        let earned = now.duration_since(self.at).as_secs_f64() * self.limit.per_second;
        (self.tokens, self.at) = ((self.tokens + earned).min(self.limit.burst), now);
        let is_taken = self.tokens >= 1.0;
        if is_taken {
            self.tokens -= 1.0;
        }
        is_taken
    }
}

/// A call that passed through the proxy.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    pub(crate) user: Option<String>,
    pub(crate) operation: String,
    pub(crate) mishap: Option<Mishap>,
}

#[derive(Default)]
struct Shared {
    upstream: String,
    orders: Mutex<Vec<Order>>,
    passed: Mutex<Vec<Passed>>,
    users: Mutex<BTreeMap<String, String>>,
    bucket: Option<Mutex<Bucket>>,
    stopped: AtomicBool,
}

/// One HTTP message, as it arrived.
struct Message {
    bytes: Vec<u8>,
    body_at: usize,
}

impl Proxy {
    /// Starts a proxy in front of the server at this address, such as `http://127.0.0.1:5000`.
    pub(crate) fn start(upstream: &str) -> Proxy {
        Proxy::start_with(upstream, None)
    }

    /// Starts a proxy that throttles the calls which exceed this limit, as AWS does.
    pub(crate) fn start_limited(upstream: &str, limit: Limit) -> Proxy {
        let bucket = Bucket { limit, tokens: limit.burst, at: Instant::now() };
        Proxy::start_with(upstream, Some(Mutex::new(bucket)))
    }

    fn start_with(upstream: &str, bucket: Option<Mutex<Bucket>>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let shared = Arc::new(Shared { upstream, bucket, ..Shared::default() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&accepting)) else { continue };
                // A client that goes away ends its own thread with an error, which no other call depends on.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Proxy { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds an order. The first order that matches a call is applied to it.
    pub(crate) fn order(&self, order: Order) {
        self.shared.orders.lock().expect("the orders").push(order);
    }

    /// The calls that passed, in order.
    pub(crate) fn passed(&self) -> Vec<Passed> {
        self.shared.passed.lock().expect("what passed").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // This wakes the thread that accepts connections, which may have ended already.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut from = BufReader::new(stream.try_clone()?);
        let mut to = stream;
        while let Some(request) = read_message(&mut from)? {
            let call = Call::of(&request);
            let user = call.user.clone().or_else(|| self.user_of(call.key.as_deref()));
            let mishap = self.take_order(user.as_deref(), &call.operation).or_else(|| self.exceeds_limit());
            let operation = call.operation.clone();
            self.passed.lock().expect("what passed").push(Passed { user: user.clone(), operation, mishap });
            let ask = || self.ask(&request, user.as_deref());
            match mishap {
                None => to.write_all(&ask()?.bytes)?,
                Some(Mishap::AnsweredLate(by)) => {
                    let answer = ask()?;
                    thread::sleep(by);
                    to.write_all(&answer.bytes)?;
                }
                Some(Mishap::PerformedLate(by)) => {
                    thread::sleep(by);
                    to.write_all(&ask()?.bytes)?;
                }
                Some(Mishap::AnswerLost) => return ask().map(drop),
                Some(Mishap::CallLost) => return Ok(()),
                Some(Mishap::AnswerCut) => {
                    let Message { bytes, body_at } = ask()?;
                    return to.write_all(&bytes[..usize::midpoint(body_at, bytes.len())]);
                }
                Some(Mishap::Throttled) => to.write_all(&error(400, "Throttling"))?,
                Some(Mishap::TooManyRequests) => to.write_all(&page(429))?,
                Some(Mishap::Failed) => {
                    ask()?;
                    to.write_all(&error(500, "InternalFailure"))?;
                }
                Some(Mishap::Unavailable) => to.write_all(&error(503, "ServiceUnavailable"))?,
                Some(Mishap::PageInstead) => {
                    ask()?;
                    to.write_all(&page(200))?;
                }
                Some(Mishap::LoginPage) => to.write_all(&page(200))?,
                Some(Mishap::BadGateway) => to.write_all(&page(502))?,
            }
        }
        Ok(())
    }

    fn ask(&self, request: &Message, user: Option<&str>) -> io::Result<Message> {
        let mut stream = TcpStream::connect(&self.upstream)?;
        stream.write_all(&request.bytes)?;
        let answer = read_message(&mut BufReader::new(stream))?;
        let answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        if let Some(user) = user {
            let text = String::from_utf8_lossy(&answer.bytes).into_owned();
            let keys = text.split("<AccessKeyId>").skip(1).filter_map(|rest| rest.split('<').next());
            let mut users = self.users.lock().expect("the users");
            users.extend(keys.map(|key| (key.to_owned(), user.to_owned())));
        }
        Ok(answer)
    }

    /// Lets the time of the journey pass, and throttles the call if it exceeds the limit.
    fn exceeds_limit(&self) -> Option<Mishap> {
        let bucket = self.bucket.as_ref()?;
        let latency = bucket.lock().expect("the bucket").limit.latency;
        thread::sleep(latency);
        let is_taken = bucket.lock().expect("the bucket").takes_one();
        (!is_taken).then_some(Mishap::Throttled)
    }

    fn user_of(&self, key: Option<&str>) -> Option<String> {
        self.users.lock().expect("the users").get(key?).cloned()
    }

    fn take_order(&self, user: Option<&str>, operation: &str) -> Option<Mishap> {
        let mut orders = self.orders.lock().expect("the orders");
        let fits = |order: &&mut Order| {
            order.count > 0 && Some(order.user.as_str()) == user && order.operation == operation
        };
        let order = orders.iter_mut().find(fits)?;
        if order.skip > 0 {
            order.skip -= 1;
            return None;
        }
        order.count -= 1;
        Some(order.mishap)
    }
}

/// A call as its request describes it.
struct Call {
    operation: String,
    user: Option<String>,
    /// The key that the call is about, or else the one that signed it.
    key: Option<String>,
}

impl Call {
    fn of(request: &Message) -> Call {
        let (head, body) = request.bytes.split_at(request.body_at);
        let params: BTreeMap<_, _> = form_urlencoded::parse(body).into_owned().collect();
        let head = String::from_utf8_lossy(head).into_owned();
        let signer = head.split_once("Credential=").and_then(|(_, rest)| rest.split('/').next());
        Call {
            operation: params.get("Action").cloned().unwrap_or_default(),
            user: params.get("UserName").cloned(),
            key: params.get("AccessKeyId").cloned().or_else(|| signer.map(str::to_owned)),
        }
    }
}

/// Reads the next message of a connection; `None` at its end. Every message must state its length.
fn read_message(from: &mut impl BufRead) -> io::Result<Option<Message>> {
    let (mut bytes, mut body_bytes) = (Vec::new(), 0);
    loop {
        let mut line = Vec::new();
        if from.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&line);
        let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
        if let Some(length) = line.strip_prefix("content-length:") {
            body_bytes = length.trim().parse().map_err(io::Error::other)?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let body_at = bytes.len();
    bytes.resize(body_at + body_bytes, 0);
    from.read_exact(&mut bytes[body_at..])?;
    Ok(Some(Message { bytes, body_at }))
}

/// An error in the format of AWS.
fn error(status: u16, code: &str) -> Vec<u8> {
    let body = format!(
        "<ErrorResponse><Error><Type>Receiver</Type><Code>{code}</Code><Message>said by the line</Message></Error>\
         <RequestId>00000000-0000-4000-8000-00000000feed</RequestId></ErrorResponse>"
    );
    answer(status, "text/xml", &body)
}

fn page(status: u16) -> Vec<u8> {
    answer(
        status,
        "text/html",
        "<!doctype html><title>Welcome</title><p>Please log in to the hotel's network.",
    )
}

fn answer(status: u16, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Said\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}
