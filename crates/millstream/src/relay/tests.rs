//! Our client against servers made of the other end of `mill_rtmp`, or of nothing at all.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mill_media::frame::FrameKind;
use mill_rtmp::command::code;
use mill_rtmp::message::Message;
use mill_rtmp::session::server::{self, ConnectReply, Event};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::client::{Error, Incoming, MAX_REDIRECTS, Options, Outgoing};
use super::dial::Dialer;
use super::push::Push;
use super::target::Target;
use crate::tasks::Tasks;

const SOON: Duration = Duration::from_secs(20);

/// A listener whose connections are served by `serve`, one after the other.
struct Fake {
    address: SocketAddr,
    tasks: Tasks,
}

impl Fake {
    async fn new<F: Future<Output = ()> + Send>(
        serve: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, tasks) = (listener.local_addr().unwrap(), Tasks::new(0));
        tasks.spawn(tasks.next_id(), async move {
            while let Ok((socket, _)) = listener.accept().await {
                serve(socket).await;
            }
        });
        Self { address, tasks }
    }

    fn target(&self) -> Target {
        Target::parse(&format!("rtmp://{}/live/s?k=v", self.address)).unwrap()
    }
}

/// What a fake does when it is asked to publish or play.
#[derive(Clone)]
enum Answer {
    /// Tells what it is sent; at the end, a message of type 0.
    Take(mpsc::Sender<Message>),
    /// Sends these frames, and stays.
    Give(Vec<(u8, u32, Bytes)>),
    Refuse,
    Redirect(String),
}

async fn answer(mut socket: impl AsyncRead + AsyncWrite + Unpin, how: Answer) {
    let mut rtmp = server::Session::new(server::Options::default(), 7, Instant::now());
    let mut input = BytesMut::new();
    loop {
        let fine = rtmp.handle_input(Instant::now(), &mut input).is_ok();
        while let Some(event) = rtmp.poll_event() {
            match (event, &how) {
                (Event::Connect(_), _) => rtmp.accept_connect(Instant::now(), &ConnectReply::default()),
                (Event::Publish { publish, .. }, Answer::Take(_)) => {
                    assert_eq!(publish.stream_name, "s?k=v");
                    rtmp.accept_publish();
                }
                (Event::Publish { .. }, Answer::Refuse) => {
                    rtmp.reject_publish(code::PUBLISH_BAD_NAME, "busy")
                }
                (Event::Play(play), Answer::Give(frames)) => {
                    assert_eq!(play.stream_name, "s?k=v");
                    rtmp.accept_play();
                    for (message_type, timestamp, payload) in frames {
                        rtmp.send_media(*message_type, *timestamp, payload);
                    }
                }
                (Event::Play(_) | Event::Publish { .. }, Answer::Redirect(url)) => {
                    rtmp.redirect(Instant::now(), url, &format!("{url}/s"));
                }
                (Event::Media(message), Answer::Take(to)) => to.send(message).await.unwrap(),
                (Event::Unpublish, Answer::Take(to)) => {
                    let end = Message { message_type: 0, stream_id: 0, timestamp: 0, payload: Bytes::new() };
                    to.send(end).await.unwrap();
                }
                _ => {}
            }
        }
        if socket.write_all(&rtmp.take_output()).await.is_err() || !fine {
            return;
        }
        match socket.read_buf(&mut input).await {
            Ok(n) if n > 0 => {}
            _ => return,
        }
    }
}

fn quick() -> Options {
    Options { connect: SOON, begin: Duration::from_millis(200), ..Options::default() }
}

fn patient() -> Options {
    Options { connect: SOON, begin: SOON, ..Options::default() }
}

fn dialer() -> Arc<Dialer> {
    Arc::new(Dialer::new(1))
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("in time")
}

#[tokio::test]
async fn a_push_sends_what_it_is_given_and_takes_leave() {
    let (to, mut taken) = mpsc::channel(100);
    let fake = Fake::new(move |socket| answer(socket, Answer::Take(to.clone()))).await;
    let push = Push::start(&fake.tasks, &dialer(), fake.target(), patient());
    let frames = [
        (FrameKind::VideoHeader, 0, Bytes::from_static(&[0x17, 0, 1])),
        (FrameKind::Keyframe, 0, Bytes::from(vec![0x17; 200_000])),
        (FrameKind::Audio, 21, Bytes::from_static(&[0xaf, 1, 9])),
    ];
    for (kind, timestamp, payload) in frames.clone() {
        push.put(kind, timestamp, payload).unwrap();
    }
    for (kind, timestamp, payload) in frames {
        let message = in_time(taken.recv()).await.unwrap();
        assert_eq!((message.message_type, message.timestamp), (kind.tag_type(), timestamp));
        assert_eq!(message.payload, payload);
    }
    assert!(push.is_accepted());
    push.put(FrameKind::Audio, 42, Bytes::from_static(&[0xaf, 1, 10])).unwrap();
    drop(push);
    assert_eq!(in_time(taken.recv()).await.unwrap().timestamp, 42, "what was in line is sent");
    assert_eq!(in_time(taken.recv()).await.unwrap().message_type, 0, "the end was said");
}

#[tokio::test]
async fn a_push_that_ended_says_why() {
    let fake = Fake::new(|socket| answer(socket, Answer::Refuse)).await;
    let push = Push::start(&fake.tasks, &dialer(), fake.target(), patient());
    let end = in_time(async {
        loop {
            match push.put(FrameKind::Audio, 0, Bytes::from_static(&[0xaf, 1])) {
                Ok(()) => tokio::task::yield_now().await,
                Err(end) => return end,
            }
        }
    })
    .await;
    assert!(!push.is_accepted());
    assert!(matches!(&*end, Error::Refused(status) if status.description == "busy"), "{end}");
}

#[tokio::test]
async fn what_is_played_arrives() {
    let frames = vec![(9, 0, Bytes::from_static(&[0x17, 0, 1])), (8, 7, Bytes::from(vec![0xaf; 5000]))];
    let fake = Fake::new({
        let frames = frames.clone();
        move |socket| answer(socket, Answer::Give(frames.clone()))
    })
    .await;
    let mut incoming = in_time(Incoming::open(&dialer(), &fake.target(), &patient())).await.unwrap();
    let mut messages = Vec::new();
    while messages.len() < frames.len() {
        in_time(incoming.receive(&mut messages)).await.unwrap();
        // Every server of this kind begins with |RtmpSampleAccess.
        messages.retain(|message| message.message_type != 18);
    }
    let got: Vec<_> = messages.into_iter().map(|m| (m.message_type, m.timestamp, m.payload)).collect();
    assert_eq!(got, frames);
    assert!(incoming.received() > 5000);
}

#[tokio::test]
async fn a_publish_follows_redirects_but_not_in_circles() {
    let (to, mut taken) = mpsc::channel(100);
    let there = Fake::new(move |socket| answer(socket, Answer::Take(to.clone()))).await;
    let url = format!("rtmp://{}/live", there.address);
    let here = Fake::new(move |socket| answer(socket, Answer::Redirect(url.clone()))).await;
    let mut outgoing = in_time(Outgoing::open(&dialer(), &here.target(), &patient())).await.unwrap();
    assert_eq!(outgoing.peer().unwrap(), there.address);
    outgoing.put(FrameKind::Audio, 5, &[0xaf, 1]);
    in_time(outgoing.flush()).await.unwrap();
    assert_eq!(in_time(taken.recv()).await.unwrap().timestamp, 5);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (met, mut times) = mpsc::channel(100);
    here.tasks.spawn(here.tasks.next_id(), async move {
        while let Ok((socket, _)) = listener.accept().await {
            met.send(()).await.unwrap();
            answer(socket, Answer::Redirect(format!("rtmp://{address}/live"))).await;
        }
    });
    let target = Target::parse(&format!("rtmp://{address}/live/s")).unwrap();
    let end = in_time(Outgoing::open(&dialer(), &target, &patient())).await.err().unwrap();
    assert!(matches!(end, Error::Redirects), "{end}");
    times.close();
    let mut count = 0;
    while times.recv().await.is_some() {
        count += 1;
    }
    assert_eq!(count, MAX_REDIRECTS + 1);
}

#[tokio::test]
async fn servers_that_are_none() {
    let silent = Fake::new(|mut socket: TcpStream| async move {
        let _ = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let end = in_time(Incoming::open(&dialer(), &silent.target(), &quick())).await.err().unwrap();
    assert!(matches!(end, Error::Timeout { phase: "handshake", .. }), "{end}");

    let garbage = Fake::new(|mut socket: TcpStream| async move {
        let _ = socket.write_all(&[0xd7; 8000]).await;
        let _ = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let end = in_time(Incoming::open(&dialer(), &garbage.target(), &patient())).await.err().unwrap();
    assert!(matches!(end, Error::Protocol(_)), "{end}");

    let closing = Fake::new(|socket: TcpStream| async move { drop(socket) }).await;
    let end = in_time(Incoming::open(&dialer(), &closing.target(), &patient())).await.err().unwrap();
    assert!(matches!(end, Error::Closed | Error::Broken(_)), "{end}");

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let target = Target::parse(&format!("rtmp://{nobody}/live/s")).unwrap();
    let end = in_time(Incoming::open(&dialer(), &target, &patient())).await.err().unwrap();
    assert!(matches!(end, Error::Connect(_)), "{end}");

    let target = Target::parse("rtmp://name.invalid/live/s").unwrap();
    let end = in_time(Incoming::open(&dialer(), &target, &patient())).await.err().unwrap();
    assert!(matches!(end, Error::Name(_)), "{end}");
}

#[tokio::test]
async fn tls_to_a_server_that_is_trusted() {
    use rustls::pki_types::{PrivateKeyDer, pem::PemObject};

    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (to, mut taken) = mpsc::channel(100);
    let fake = Fake::new(move |socket| {
        let (acceptor, to) = (acceptor.clone(), to.clone());
        async move {
            if let Ok(stream) = acceptor.accept(socket).await {
                answer(stream, Answer::Take(to)).await;
            }
        }
    })
    .await;
    let target = Target::parse(&format!("rtmps://localhost:{}/live/s?k=v", fake.address.port())).unwrap();
    let stranger = in_time(Outgoing::open(&Dialer::trusting(&[]), &target, &patient())).await.err().unwrap();
    assert!(matches!(stranger, Error::Tls(_)), "{stranger}");

    let dialer = Arc::new(Dialer::trusting(&[cert.der().clone()]));
    let push = Push::start(&fake.tasks, &dialer, target, patient());
    let big = Bytes::from(vec![0x17; 300_000]);
    push.put(FrameKind::Keyframe, 40, big.clone()).unwrap();
    assert_eq!(in_time(taken.recv()).await.unwrap().payload, big);
}
