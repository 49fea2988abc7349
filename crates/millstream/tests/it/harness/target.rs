//! An RTMP server that streams are sent to: it writes down what it gets and behaves as the test says. It can go away
//! and come back at the same port.

use super::server::{free_port, local};
use super::tls::Pair;
use super::{SOON, pause, wait_until};
use bytes::BytesMut;
use mill_media::flv::demux::Tag;
use mill_rtmp::command::Connect;
use mill_rtmp::session::server::{ConnectReply, Event, Options, Session};
use rustls::{ServerConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What it does with a publisher.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Takes everything.
    Take,
    /// Says no, with this code.
    Refuse(&'static str),
    /// Says no to the connect already.
    Bar,
    /// Says yes and reads nothing until [`Target::read_on`].
    Stall,
    /// Says yes, takes so many bytes and closes, most likely inside of a message.
    Die(usize),
    /// Sends the publisher there.
    Redirect(String),
    /// Accepts the connection and never says a word.
    Mute,
    /// Answers something that is not RTMP.
    Babble,
}

/// What came over one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Came {
    pub(crate) connect: Option<Connect>,
    /// The name in publish, with its parameters.
    pub(crate) stream: String,
    pub(crate) tags: Vec<Tag>,
    /// The publisher has taken leave.
    pub(crate) left: bool,
    pub(crate) closed: bool,
}

type Rule = Arc<dyn Fn(usize) -> Does + Send + Sync>;

/// Ends with this value.
pub(crate) struct Target {
    shared: Arc<Shared>,
    port: u16,
}

struct Shared {
    rule: Mutex<Rule>,
    came: Mutex<Vec<Came>>,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// Open connections; `None` while away.
    sockets: Mutex<Option<Vec<TcpStream>>>,
    open: AtomicUsize,
    reads_on: AtomicBool,
}

impl Target {
    /// Takes everything.
    pub(crate) fn start() -> Self {
        Self::with(|_| Does::Take)
    }

    /// Behaves by the number of the connection, from 0.
    pub(crate) fn with(rule: impl Fn(usize) -> Does + Send + Sync + 'static) -> Self {
        Self::open(rule, None)
    }

    /// Takes everything, over TLS.
    pub(crate) fn tls(pair: &Pair) -> Self {
        Self::open(|_| Does::Take, Some(pair.server()))
    }

    fn open(
        rule: impl Fn(usize) -> Does + Send + Sync + 'static,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let shared = Arc::new(Shared {
            rule: Mutex::new(Arc::new(rule)),
            came: Mutex::default(),
            tls,
            sockets: Mutex::new(None),
            open: AtomicUsize::new(0),
            reads_on: AtomicBool::new(false),
        });
        let target = Self { shared, port: free_port() };
        target.come_back();
        target
    }

    /// From now on it behaves like this.
    pub(crate) fn does(&self, rule: impl Fn(usize) -> Does + Send + Sync + 'static) {
        *self.shared.rule.lock().unwrap() = Arc::new(rule);
    }

    /// Whoever it has left waiting is read again.
    pub(crate) fn read_on(&self) {
        self.shared.reads_on.store(true, Ordering::Relaxed);
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`, for a configuration.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Everything that came, a value a connection.
    pub(crate) fn came(&self) -> Vec<Came> {
        self.shared.came.lock().unwrap().clone()
    }

    /// The last tag of the first connection.
    pub(crate) fn last(&self) -> Option<Tag> {
        self.shared.came.lock().unwrap().first()?.tags.last().cloned()
    }

    /// How many connections are open.
    pub(crate) fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Waits until so many connections have brought a stream, and gives all.
    #[track_caller]
    pub(crate) fn wait_for(&self, streams: usize) -> Vec<Came> {
        self.wait_until(&format!("{streams} streams"), |came| {
            came.iter().filter(|came| !came.tags.is_empty()).count() >= streams
        })
    }

    /// Waits until what came is enough, and gives it.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, mut enough: impl FnMut(&[Came]) -> bool) -> Vec<Came> {
        wait_until(what, SOON, || enough(&self.shared.came.lock().unwrap()));
        self.came()
    }

    /// Nobody listens any more, and all connections break.
    pub(crate) fn go_away(&self) {
        let sockets = self.shared.sockets.lock().unwrap().take();
        // Wakes the thread that accepts, so that it notices.
        let _ = TcpStream::connect(local(self.port));
        for socket in sockets.into_iter().flatten() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        wait_until("the port is closed", SOON, || TcpStream::connect(local(self.port)).is_err());
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
                    shared.open.fetch_add(1, Ordering::Relaxed);
                    let number = {
                        let mut came = shared.came.lock().unwrap();
                        came.push(Came::default());
                        came.len() - 1
                    };
                    let closer = socket.try_clone().expect("a socket can be cloned");
                    shared.serve(socket, number);
                    // The copy kept for `go_away` would keep it open.
                    let _ = closer.shutdown(Shutdown::Both);
                    shared.note(number, |came| came.closed = true);
                    shared.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        for socket in self.shared.sockets.lock().unwrap().take().into_iter().flatten() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        let _ = TcpStream::connect(local(self.port));
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Shared {
    fn note(&self, number: usize, note: impl FnOnce(&mut Came)) {
        note(&mut self.came.lock().unwrap()[number]);
    }

    /// Whether it is to end: the test has let go of it, or it has gone away.
    fn ends(&self) -> bool {
        self.sockets.lock().unwrap().is_none()
    }

    fn serve(&self, socket: TcpStream, number: usize) {
        let does = self.rule.lock().unwrap().clone()(number);
        let watched = socket.try_clone().expect("a socket can be cloned");
        let mut stream: Box<dyn Stream> = match &self.tls {
            Some(tls) => Box::new(StreamOwned::new(ServerConnection::new(tls.clone()).unwrap(), socket)),
            None => Box::new(socket),
        };
        match &does {
            Does::Mute => return self.sit(&watched),
            Does::Babble => {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                return self.sit(&watched);
            }
            _ => {}
        }
        let mut session = Session::new(Options::default(), 7, Instant::now());
        let (mut input, mut left) = (BytesMut::new(), usize::MAX);
        loop {
            if session.handle_input(Instant::now(), &mut input).is_err() {
                return;
            }
            let mut last = false;
            let mut stalls = false;
            while let Some(event) = session.poll_event() {
                match event {
                    Event::Connect(connect) => {
                        self.note(number, |came| came.connect = Some(*connect));
                        if let Does::Bar = does {
                            session.reject_connect("NetConnection.Connect.Rejected", "not you");
                            last = true;
                        } else {
                            session.accept_connect(Instant::now(), &ConnectReply::default());
                        }
                    }
                    Event::Publish { publish, .. } => {
                        self.note(number, |came| came.stream = publish.stream_name);
                        match &does {
                            Does::Refuse(code) => {
                                session.reject_publish(code, "not here");
                                last = true;
                            }
                            Does::Redirect(url) => {
                                let (tc_url, _) = url.rsplit_once('/').unwrap();
                                session.redirect(Instant::now(), tc_url, url);
                            }
                            Does::Stall => {
                                session.accept_publish();
                                stalls = true;
                            }
                            Does::Die(bytes) => {
                                session.accept_publish();
                                left = *bytes;
                            }
                            _ => session.accept_publish(),
                        }
                    }
                    Event::Media(message) => {
                        let (tag_type, timestamp) = (message.message_type, message.timestamp);
                        let tag = Tag { tag_type, timestamp, body: message.payload };
                        self.note(number, |came| came.tags.push(tag));
                    }
                    Event::Unpublish => self.note(number, |came| came.left = true),
                    Event::Closed => last = true,
                    _ => {}
                }
            }
            let output = session.take_output();
            if stream.write_all(&output).and_then(|()| stream.flush()).is_err() || last {
                return;
            }
            while stalls && !self.reads_on.load(Ordering::Relaxed) && !self.ends() {
                pause();
            }
            let mut block = [0; 16 * 1024];
            let room = left.min(block.len());
            match stream.read(&mut block[..room]) {
                // Also when no more bytes are wanted.
                Ok(0) | Err(_) => return,
                Ok(n) => {
                    input.extend_from_slice(&block[..n]);
                    if left != usize::MAX {
                        left -= n;
                    }
                }
            }
        }
    }

    /// Waits for the other side to go, without reading what it sends.
    fn sit(&self, socket: &TcpStream) {
        let _ = socket.set_nonblocking(true);
        loop {
            pause();
            match socket.peek(&mut [0]) {
                Ok(0) => return,
                Err(e) if e.kind() != ErrorKind::WouldBlock => return,
                _ if self.ends() => return,
                _ => {}
            }
        }
    }
}

/// How long a test waits to see that nothing more comes.
pub(crate) const QUIET: Duration = Duration::from_millis(800);
