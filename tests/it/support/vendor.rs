//! A vendor: an HTTP server on a real socket that records what it receives, answers as scripted, and holds a key pair.
//!
//! Without a script it is a good vendor: it takes the pair that it receives, answers 200, and answers each GET with
//! the access key id that is in force: `{"access_key_id": "AKIA…"}`. Scripted answers are used up first, one for
//! each request. A test can make a request wait, before the vendor records it or before it answers, while the test
//! does something to the sender.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::moto::Release;

/// The longest time that a request waits for a test that does not release it.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// The time between two bytes of a vendor that drips.
const DRIP: Duration = Duration::from_millis(20);

/// A running vendor endpoint, which stops when this is dropped.
pub(crate) struct Vendor {
    address: SocketAddr,
    base: String,
    shared: Arc<Shared>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    /// The path, with the query.
    pub(crate) path: String,
    /// The headers, by lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    pub(crate) arrived_at: SystemTime,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

/// A key pair as the vendor was given it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Pair {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

/// The moment at which a request waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Moment {
    /// It has arrived, and nothing is done yet.
    Before,
    /// It is done, and not answered yet.
    After,
}

/// An order to make one request wait.
#[derive(Debug)]
pub(crate) struct Pause {
    moment: Moment,
    state: Mutex<PauseState>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PauseState {
    /// This many requests still pass first.
    Skips(u32),
    Arrived,
    Released(Release),
}

impl Pause {
    /// Whether the request has arrived.
    pub(crate) fn has_arrived(&self) -> bool {
        *self.state.lock().expect("the pause") == PauseState::Arrived
    }

    /// Releases the request.
    pub(crate) fn release(&self, how: Release) {
        *self.state.lock().expect("the pause") = PauseState::Released(how);
        self.changed.notify_all();
    }

    /// Lets a request that arrives pass, or makes it wait until it is released.
    fn pass(&self) -> Release {
        let mut state = self.state.lock().expect("the pause");
        match *state {
            PauseState::Skips(0) => *state = PauseState::Arrived,
            PauseState::Skips(left) => {
                *state = PauseState::Skips(left - 1);
                return Release::Proceed;
            }
            PauseState::Arrived | PauseState::Released(_) => return Release::Proceed,
        }
        let waits = |state: &mut PauseState| *state == PauseState::Arrived;
        let (state, _) = self.changed.wait_timeout_while(state, PAUSE_MAX, waits).expect("the pause");
        match *state {
            PauseState::Released(how) => how,
            PauseState::Skips(_) | PauseState::Arrived => Release::HangUp,
        }
    }
}

/// A callback that gets each pair that the vendor takes.
type OnTaking = Box<dyn Fn(&Pair) + Send + Sync>;

/// What the vendor does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Answers, and takes the pair if the status is a 2xx.
    Says { status: u16, headers: Vec<(String, String)>, body: String },
    /// Answers with this status and a body that the function makes of the request, and takes nothing.
    Echoes(u16, fn(&Received) -> String),
    /// Answers 200, and does not take the pair.
    Forgets,
    /// Takes the pair, and closes the connection without an answer.
    TakesAndCloses,
    /// Closes the connection without an answer.
    Closes,
    /// Sends nothing until the other side gives up.
    Hangs,
    /// Answers with bytes that are not HTTP.
    Garbage,
    /// Answers 200 with a body of a gigabyte.
    Floods,
    /// Answers one byte at a time, without end.
    Drips,
    /// Answers 200 with only this half of the body that it announced.
    Cuts(String),
}

impl Answer {
    pub(crate) fn status(status: u16) -> Answer {
        Answer::Says { status, headers: Vec::new(), body: String::new() }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Answer {
        Answer::Says { status, headers: Vec::new(), body: body.to_string() }
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Answer {
        match self {
            Answer::Says { status, mut headers, body } => {
                headers.push((name.to_owned(), value.to_owned()));
                Answer::Says { status, headers, body }
            }
            other => panic!("{other:?} has no headers"),
        }
    }
}

impl Vendor {
    /// Starts a vendor on a free port of this machine.
    pub(crate) fn start() -> Vendor {
        Vendor::start_with(None)
    }

    /// Like [`Vendor::start`], under TLS and with the name `localhost`.
    pub(crate) fn start_tls(config: Arc<ServerConfig>) -> Vendor {
        Vendor::start_with(Some(config))
    }

    fn start_with(tls: Option<Arc<ServerConfig>>) -> Vendor {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let base = match tls {
            None => format!("http://{address}"),
            Some(_) => format!("https://localhost:{}", address.port()),
        };
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener, tls.as_ref()));
        Vendor { address, base, shared }
    }

    /// The URL of `path`, which begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Appends answers for the next requests, one for each.
    pub(crate) fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.script.lock().expect("the script").extend(answers);
    }

    /// The requests that it received, in order.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.shared.requests.lock().expect("the requests").clone()
    }

    /// The number of connections that were made to it, with or without a request.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The number of body bytes that it wrote while flooding.
    pub(crate) fn flooded_bytes(&self) -> u64 {
        self.shared.flooded_bytes.load(Ordering::SeqCst)
    }

    /// The pair that it holds now.
    pub(crate) fn held(&self) -> Option<Pair> {
        self.shared.held.lock().expect("the pair").clone()
    }

    /// Gives it a pair directly: the initial one, or one that another person restored.
    pub(crate) fn hold(&self, pair: Pair) {
        self.shared.put(pair);
    }

    /// Every pair that it ever held, and the time from which it held it.
    pub(crate) fn holdings(&self) -> Vec<(SystemTime, Pair)> {
        self.shared.holdings.lock().expect("the holdings").clone()
    }

    /// Calls this with each pair that it takes from now on, before it answers.
    pub(crate) fn on_taking(&self, told: impl Fn(&Pair) + Send + Sync + 'static) {
        *self.shared.on_taking.lock().expect("the hook") = Some(Box::new(told));
    }

    /// Makes one request wait, after `skip` others have passed.
    pub(crate) fn pause(&self, moment: Moment, skip: u32) -> Arc<Pause> {
        let state = Mutex::new(PauseState::Skips(skip));
        let pause = Arc::new(Pause { moment, state, changed: Condvar::new() });
        self.shared.pauses.lock().expect("the pauses").push(Arc::clone(&pause));
        pause
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // This wakes the thread that accepts connections, which may have ended already.
        drop(TcpStream::connect(self.address));
    }
}

#[derive(Default)]
struct Shared {
    script: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<Received>>,
    held: Mutex<Option<Pair>>,
    holdings: Mutex<Vec<(SystemTime, Pair)>>,
    on_taking: Mutex<Option<OnTaking>>,
    pauses: Mutex<Vec<Arc<Pause>>>,
    connections: AtomicU64,
    flooded_bytes: AtomicU64,
    stopped: AtomicBool,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Whether the connection accepts another request.
enum Then {
    Listen,
    Close,
}

impl Shared {
    fn accept(self: &Arc<Shared>, listener: &TcpListener, tls: Option<&Arc<ServerConfig>>) {
        for stream in listener.incoming() {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            let (Ok(stream), shared, tls) = (stream, Arc::clone(self), tls.cloned()) else { continue };
            shared.connections.fetch_add(1, Ordering::SeqCst);
            // A client that goes away ends its own thread with an error, which no other request depends on.
            thread::spawn(move || drop(shared.serve(stream, tls)));
        }
    }

    fn serve(&self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let connection = ServerConnection::new(config).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(connection, stream))
            }
        };
        let mut stream = BufReader::new(stream);
        while let Some(request) = read_request(&mut stream)? {
            self.requests.lock().expect("the requests").push(request.clone());
            if self.pass(Moment::Before) == Release::HangUp {
                return Ok(());
            }
            let answer = self.script.lock().expect("the script").pop_front();
            let answer = answer.unwrap_or_else(|| self.as_a_good_vendor(&request));
            match self.answer(&mut stream, &request, answer)? {
                Then::Listen => {}
                Then::Close => return Ok(()),
            }
        }
        Ok(())
    }

    fn as_a_good_vendor(&self, request: &Received) -> Answer {
        let held = self.held.lock().expect("the pair");
        match request.method.as_str() {
            "GET" => {
                Answer::json(200, &json!({ "access_key_id": held.as_ref().map(|pair| &pair.access_key_id) }))
            }
            _ => Answer::json(200, &json!({})),
        }
    }

    fn take(&self, request: &Received) {
        if let Some(pair) = pair_in(&request.body) {
            self.put(pair.clone());
            if let Some(told) = self.on_taking.lock().expect("the hook").as_ref() {
                told(&pair);
            }
        }
    }

    fn put(&self, pair: Pair) {
        self.holdings.lock().expect("the holdings").push((now(), pair.clone()));
        *self.held.lock().expect("the pair") = Some(pair);
    }

    /// Waits for all orders to wait at this moment.
    fn pass(&self, moment: Moment) -> Release {
        let pauses = self.pauses.lock().expect("the pauses").clone();
        let mut here = pauses.iter().filter(|pause| pause.moment == moment);
        match here.any(|pause| pause.pass() == Release::HangUp) {
            true => Release::HangUp,
            false => Release::Proceed,
        }
    }

    fn answer(
        &self,
        stream: &mut BufReader<Box<dyn Stream>>,
        request: &Received,
        answer: Answer,
    ) -> io::Result<Then> {
        let to = stream.get_mut();
        match answer {
            Answer::Says { status, headers, body } => {
                if (200..300).contains(&status) {
                    self.take(request);
                }
                if self.pass(Moment::After) == Release::HangUp {
                    return Ok(Then::Close);
                }
                say(to, status, &headers, &body, body.len())?;
                return Ok(Then::Listen);
            }
            Answer::Echoes(status, made_of) => {
                let body = made_of(request);
                say(to, status, &[], &body, body.len())?;
                return Ok(Then::Listen);
            }
            Answer::Forgets => {
                say(to, 200, &[], "{}", 2)?;
                return Ok(Then::Listen);
            }
            Answer::TakesAndCloses => self.take(request),
            Answer::Closes => {}
            Answer::Hangs => drop(stream.read(&mut [0])?),
            Answer::Garbage => to.write_all(b"\x16\x03\x01 220 mail.example ESMTP\r\n")?,
            Answer::Floods => self.flood(to)?,
            Answer::Drips => {
                for byte in b"HTTP/1.1 200 OK\r\nx-drip: ".iter().chain(std::iter::repeat(&b'a')) {
                    to.write_all(&[*byte])?;
                    to.flush()?;
                    thread::sleep(DRIP);
                }
            }
            Answer::Cuts(half) => say(to, 200, &[], &half, 2 * half.len())?,
        }
        Ok(Then::Close)
    }

    fn flood(&self, to: &mut dyn Write) -> io::Result<()> {
        const BODY_BYTES: usize = 1 << 30;
        say(to, 200, &[], "", BODY_BYTES)?;
        let piece = vec![b'a'; 1 << 16];
        for _ in 0..BODY_BYTES / piece.len() {
            to.write_all(&piece)?;
            self.flooded_bytes.fetch_add(1 << 16, Ordering::SeqCst);
        }
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is compared with the clock of the emulator, another process"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

fn say(
    to: &mut dyn Write,
    status: u16,
    headers: &[(String, String)],
    body: &str,
    promised_bytes: usize,
) -> io::Result<()> {
    write!(to, "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\n")?;
    if !matches!(status, 204 | 304) {
        write!(to, "content-length: {promised_bytes}\r\n")?;
    }
    for (name, value) in headers {
        write!(to, "{name}: {value}\r\n")?;
    }
    write!(to, "\r\n{body}")?;
    to.flush()
}

fn read_request(from: &mut impl BufRead) -> io::Result<Option<Received>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let body_bytes = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; body_bytes];
    from.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(Received { method, path, headers, body, arrived_at: now() }))
}

/// The pair in a body, wherever it stands: in a JSON document of any shape, or in a form.
fn pair_in(body: &str) -> Option<Pair> {
    if let Ok(document) = serde_json::from_str::<Value>(body) {
        return pair_in_json(&document);
    }
    let fields: BTreeMap<_, _> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let field = |name: &str| fields.get(name).cloned();
    Some(Pair { access_key_id: field("access_key_id")?, secret_access_key: field("secret_access_key")? })
}

fn pair_in_json(value: &Value) -> Option<Pair> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    if let (Some(access_key_id), Some(secret_access_key)) = (text("access_key_id"), text("secret_access_key"))
    {
        return Some(Pair { access_key_id, secret_access_key });
    }
    match value {
        Value::Object(fields) => fields.values().find_map(pair_in_json),
        Value::Array(items) => items.iter().find_map(pair_in_json),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
