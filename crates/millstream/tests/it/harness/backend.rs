//! A callback server: it writes down every request and answers as the test says, over plain HTTP or TLS. It can
//! go away and come back at the same port.

use super::server::{Folder, free_port};
use super::wait_until;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// Which connection it came by.
    pub(crate) connection: usize,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Map<String, Value> {
        serde_json::from_str(&self.body).expect("the body is an object")
    }

    /// Text or number of that key, as text.
    pub(crate) fn field(&self, key: &str) -> String {
        match &self.json()[key] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    pub(crate) fn action(&self) -> String {
        self.field("action")
    }

    pub(crate) fn id(&self) -> &str {
        self.header("x-millstream-event-id")
    }
}

/// What to do with a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Status and body.
    Say(u16, String),
    /// The same after a while, in which other connections are served.
    Later(Duration, u16, String),
    /// Close without a word.
    Hang,
}

impl Answer {
    pub(crate) fn yes() -> Self {
        Self::Say(200, "0".into())
    }

    pub(crate) fn no() -> Self {
        Self::Say(200, "1".into())
    }
}

type Rule = Arc<dyn Fn(&Call) -> Answer + Send + Sync>;

/// Ends with this value.
pub(crate) struct Backend {
    shared: Arc<Shared>,
    port: u16,
    certificate: Option<PathBuf>,
    _dir: Folder,
}

struct Shared {
    calls: Mutex<Vec<Call>>,
    rule: Mutex<Rule>,
    tls: Option<Arc<ServerConfig>>,
    /// Open connections; `None` while away.
    sockets: Mutex<Option<Vec<TcpStream>>>,
    connections: Mutex<usize>,
}

impl Backend {
    /// Says yes to everything.
    pub(crate) fn start() -> Self {
        Self::with(|_| Answer::yes())
    }

    pub(crate) fn with(rule: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        Self::open(rule, false)
    }

    /// Over TLS, with a certificate that only who reads [`Backend::certificate`] trusts.
    pub(crate) fn tls() -> Self {
        Self::open(|_| Answer::yes(), true)
    }

    fn open(rule: impl Fn(&Call) -> Answer + Send + Sync + 'static, tls: bool) -> Self {
        let dir = Folder::new();
        let (config, certificate) = match tls {
            true => {
                let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
                let file = dir.path().join("ca.pem");
                std::fs::write(&file, made.cert.pem()).unwrap();
                let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
                let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                let config = ServerConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .unwrap()
                    .with_no_client_auth()
                    .with_single_cert(vec![made.cert.der().clone()], key)
                    .unwrap();
                (Some(Arc::new(config)), Some(file))
            }
            false => (None, None),
        };
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            rule: Mutex::new(Arc::new(rule)),
            tls: config,
            sockets: Mutex::new(None),
            connections: Mutex::default(),
        });
        let backend = Self { shared, port: free_port(), certificate, _dir: dir };
        backend.come_back();
        backend
    }

    /// From now on it answers like this.
    pub(crate) fn answers(&self, rule: impl Fn(&Call) -> Answer + Send + Sync + 'static) {
        *self.shared.rule.lock().unwrap() = Arc::new(rule);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        match self.certificate {
            Some(_) => format!("https://localhost:{}/{path}", self.port),
            None => format!("http://127.0.0.1:{}/{path}", self.port),
        }
    }

    /// `http_hooks` with all six events at one URL each, and these further lines.
    pub(crate) fn hooks(&self, more: &str) -> String {
        let events = ["connect", "close", "publish", "unpublish", "play", "stop"];
        let lines: String = events.iter().map(|e| format!("on_{e} {};\n", self.url(e))).collect();
        format!("http_hooks {{ enabled on;\n{lines}{more} }}")
    }

    /// File with the certificate to trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.certificate.clone().expect("it speaks TLS")
    }

    /// Nobody listens any more, and all connections break.
    pub(crate) fn go_away(&self) {
        let sockets = self.shared.sockets.lock().unwrap().take();
        // Wakes the thread that accepts, so that it notices.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        for socket in sockets.into_iter().flatten() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        let address = (Ipv4Addr::LOCALHOST, self.port);
        wait_until("the port is closed", super::SOON, || TcpStream::connect(address).is_err());
    }

    pub(crate) fn come_back(&self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).expect("the port is free");
        *self.shared.sockets.lock().unwrap() = Some(Vec::new());
        let shared = self.shared.clone();
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                match &mut *shared.sockets.lock().unwrap() {
                    Some(sockets) => sockets.push(socket.try_clone().expect("a socket can be cloned")),
                    None => return,
                }
                let shared = shared.clone();
                std::thread::spawn(move || {
                    let closer = socket.try_clone().expect("a socket can be cloned");
                    shared.serve(socket);
                    // The copy kept for `go_away` would keep it open.
                    let _ = closer.shutdown(Shutdown::Both);
                });
            }
        });
    }

    /// All requests so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// Actions so far, in order.
    pub(crate) fn actions(&self) -> Vec<String> {
        self.calls().iter().map(Call::action).collect()
    }

    /// Waits until there are so many requests, and gives them.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Call> {
        wait_until(&format!("{count} callbacks"), super::SOON, || self.calls().len() >= count);
        self.calls()
    }

    /// Waits for exactly these actions.
    #[track_caller]
    pub(crate) fn expect(&self, actions: &[&str]) -> Vec<Call> {
        let calls = self.wait_for(actions.len());
        assert_eq!(self.actions(), actions);
        calls
    }

    pub(crate) fn forget(&self) {
        self.shared.calls.lock().unwrap().clear();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.sockets.lock().unwrap().take();
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Shared {
    fn serve(&self, socket: TcpStream) {
        let connection = {
            let mut connections = self.connections.lock().unwrap();
            *connections += 1;
            *connections
        };
        let _ = socket.set_nodelay(true);
        let stream: Box<dyn Stream> = match &self.tls {
            Some(tls) => {
                let session = ServerConnection::new(tls.clone()).unwrap();
                Box::new(StreamOwned::new(session, socket))
            }
            None => Box::new(socket),
        };
        let mut stream = BufReader::new(stream);
        while let Some(call) = request(&mut stream, connection) {
            self.calls.lock().unwrap().push(call.clone());
            let rule = self.rule.lock().unwrap().clone();
            let (status, body) = match rule(&call) {
                Answer::Say(status, body) => (status, body),
                Answer::Later(time, status, body) => {
                    let end = std::time::Instant::now() + time;
                    while std::time::Instant::now() < end {
                        super::pause();
                    }
                    (status, body)
                }
                Answer::Hang => return,
            };
            let length = body.len();
            let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
            if stream.get_mut().write_all(text.as_bytes()).and_then(|()| stream.get_mut().flush()).is_err() {
                return;
            }
        }
    }
}

/// The next request of a connection.
fn request(stream: &mut impl BufRead, connection: usize) -> Option<Call> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().expect("a number"))];
    stream.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).expect("bodies are text");
    Some(Call { method, path, headers, body, connection })
}
