use super::*;
use crate::auth::Credentials;
use crate::tests::now;

const SDP: &str = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n\
    m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/44100/2\r\na=control:streamid=1\r\n";

struct Peer {
    session: Session,
    now: Instant,
    count: u32,
}

impl Peer {
    fn new(options: Options) -> Self {
        let now = now();
        Self { session: Session::new(options, now), now, count: 0 }
    }

    fn open() -> Self {
        Self::new(Options { id: "abc".into(), server: "Millstream".into(), challenge: None, udp: true })
    }

    fn feed(&mut self, bytes: &[u8]) -> String {
        let mut input = BytesMut::from(bytes);
        let _ = self.session.handle_input(self.now, &mut input);
        self.output()
    }

    fn output(&mut self) -> String {
        String::from_utf8_lossy(&self.session.take_output()).into_owned()
    }

    fn ask(&mut self, method: &str, uri: &str, headers: &str, body: &str) -> String {
        self.count += 1;
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let request =
            format!("{method} {uri} RTSP/1.0\r\nCSeq: {}\r\n{headers}{length}\r\n{body}", self.count);
        let answer = self.feed(request.as_bytes());
        assert!(answer.is_empty() || answer.contains(&format!("CSeq: {}\r\n", self.count)), "{answer}");
        answer
    }

    fn announce(&mut self) {
        self.ask("ANNOUNCE", "rtsp://h/live/s", "", SDP);
        assert!(matches!(self.session.poll_event(), Some(Event::Announced { .. })));
        self.session.accept_announce();
        assert!(self.output().starts_with("RTSP/1.0 200 OK"));
    }

    fn setup(&mut self, track: u8, transport: &str) -> String {
        let uri = format!("rtsp://h/live/s/streamid={track}");
        self.ask("SETUP", &uri, &format!("Transport: {transport}\r\n"), "")
    }

    fn record(&mut self) {
        assert_eq!(self.ask("RECORD", "rtsp://h/live/s", "Session: abc\r\n", ""), "");
        assert_eq!(self.session.poll_event(), Some(Event::Record));
        self.session.accept_record(self.now);
        assert!(self.output().starts_with("RTSP/1.0 200 OK"));
    }
}

#[test]
fn over_the_connection_itself() {
    let mut peer = Peer::open();
    assert!(peer.ask("OPTIONS", "*", "", "").contains("Public: OPTIONS, ANNOUNCE"));
    peer.announce();
    let answer = peer.setup(0, "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record");
    assert!(answer.contains("Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n"), "{answer}");
    assert!(answer.contains("Session: abc;timeout=60\r\n"), "{answer}");
    // Channels that another track has are not given again.
    assert!(peer.setup(1, "RTP/AVP/TCP;unicast;interleaved=1-2").contains("interleaved=2-3"));
    assert_eq!(peer.session.path(1), Some(Path::Interleaved(2, 3)));
    peer.record();
    peer.feed(b"$\x02\0\x02ab$\x01\0\x01c$\x09\0\x01d");
    let packet =
        |track, control, payload| Event::Packet { track, control, payload: Bytes::from_static(payload) };
    assert_eq!(peer.session.poll_event(), Some(packet(1, false, b"ab")));
    assert_eq!(peer.session.poll_event(), Some(packet(0, true, b"c")));
    assert_eq!(peer.session.poll_event(), None, "a channel of nobody");
    peer.session.send_control(1, b"rr");
    assert_eq!(peer.output(), "$\x03\0\x02rr");
    assert!(peer.ask("TEARDOWN", "rtsp://h/live/s", "Session: abc\r\n", "").starts_with("RTSP/1.0 200 OK"));
    assert_eq!(peer.session.poll_event(), Some(Event::Ended(End::Teardown)));
}

#[test]
fn datagrams_are_asked_for() {
    let mut peer = Peer::open();
    peer.announce();
    assert_eq!(peer.setup(1, "RTP/AVP/UDP;unicast;client_port=5000-5001;mode=record"), "");
    assert_eq!(peer.session.poll_event(), Some(Event::Setup { track: 1, client: (5000, 5001) }));
    // Input rests until the question is answered.
    assert_eq!(peer.feed(b"OPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n"), "");
    peer.session.accept_setup(6000);
    let answer = peer.output();
    assert!(answer.contains("client_port=5000-5001;server_port=6000-6001"), "{answer}");
    assert_eq!(peer.setup(0, "RTP/AVP;unicast;client_port=5002"), "");
    peer.session.poll_event();
    peer.session.reject(Status::NotEnoughBandwidth);
    assert!(peer.output().starts_with("RTSP/1.0 453 "));
    peer.record();
    assert_eq!((peer.session.path(0), peer.session.path(1)), (None, Some(Path::Udp)));
}

#[test]
fn the_first_transport_that_is_possible() {
    let mut peer = Peer::open();
    peer.session.options.udp = false;
    peer.announce();
    for no in
        ["RTP/AVP;unicast;client_port=1-2", "RTP/AVP/UDP;multicast;client_port=1-2", "RTP/SAVP;unicast", ""]
    {
        assert!(peer.setup(0, no).starts_with("RTSP/1.0 461 "), "{no}");
    }
    let both = "RTP/AVP;unicast;client_port=5000-5001, RTP/AVP/TCP;unicast";
    assert!(peer.setup(0, both).contains("interleaved=0-1"));
}

#[test]
fn which_track_is_meant() {
    let of = |controls: &[&str], uri: &str| {
        let mut peer = Peer::open();
        let media = controls.iter().map(|control| format!("m=video 0 RTP/AVP 96\r\na=control:{control}\r\n"));
        peer.ask("ANNOUNCE", "rtsp://h/live/s", "", &media.collect::<String>());
        peer.session.track_of(uri)
    };
    assert_eq!(of(&["streamid=0", "streamid=1"], "rtsp://h/live/s/streamid=1"), Some(1));
    assert_eq!(of(&["rtsp://h/live/s/video", "rtsp://h/live/s/audio"], "rtsp://h/live/s/audio"), Some(1));
    assert_eq!(of(&["trackID=1", "trackID=2"], "rtsp://h/live/s/trackID=2/"), Some(1));
    assert_eq!(of(&["1", "11"], "rtsp://h/live/s/11"), Some(1), "not the end of another");
    assert_eq!(of(&["", ""], "rtsp://h/live/s/track1"), Some(1));
    assert_eq!(of(&["*"], "rtsp://h/live/s"), Some(0));
    let two = ["streamid=0", "streamid=1"];
    assert_eq!(of(&two, "rtsp://h/live/s?token=a0/streamid=1"), Some(1));
    assert_eq!(of(&two, "rtsp://h/live/s/streamid=1?token=a0"), Some(1));
    assert_eq!(of(&["", ""], "rtsp://h/live/s/track1/?token=a0"), Some(1));
    assert_eq!(of(&["a", "b"], "rtsp://h/live/s/c"), None);
    assert_eq!(of(&["a", "b"], "rtsp://h/live/s/9999999999999999999999"), None);
}

#[test]
fn not_in_this_order() {
    let mut peer = Peer::open();
    assert!(peer.ask("RECORD", "rtsp://h/live/s", "", "").starts_with("RTSP/1.0 455 "));
    assert!(peer.setup(0, "RTP/AVP/TCP").starts_with("RTSP/1.0 455 "));
    assert!(peer.ask("PLAY", "rtsp://h/live/s", "", "").starts_with("RTSP/1.0 405 "));
    assert!(peer.ask("ANNOUNCE", "rtsp://h/live/s", "", "v=0\r\n").starts_with("RTSP/1.0 400 "));
    peer.announce();
    assert!(peer.ask("ANNOUNCE", "rtsp://h/live/s", "", SDP).starts_with("RTSP/1.0 455 "));
    assert!(
        peer.ask("RECORD", "rtsp://h/live/s", "", "").starts_with("RTSP/1.0 455 "),
        "no track was set up"
    );
    assert!(peer.ask("GET_PARAMETER", "*", "Session: other\r\n", "").starts_with("RTSP/1.0 454 "));
    assert!(peer.feed(b"OPTIONS * RTSP/1.0\r\n\r\n").starts_with("RTSP/1.0 400 "));
    assert!(peer.feed(b"\x16\x03\x01 hello\r\n\r\n").starts_with("RTSP/1.0 400 "));
}

#[test]
fn what_cannot_be_carried_is_told() {
    let mut peer = Peer::open();
    peer.ask("ANNOUNCE", "rtsp://h/live/s", "", SDP);
    peer.session.poll_event();
    peer.session.reject(Status::UnsupportedMediaType);
    assert!(peer.output().starts_with("RTSP/1.0 415 "));
    peer.announce();
}

#[test]
fn names_and_passwords() {
    let credentials = Credentials { username: "admin".into(), password: "s3cret".into() };
    let challenge = Some(Challenge::new(credentials, "cam", "0123456789abcdef"));
    let mut peer = Peer::new(Options { id: "abc".into(), server: "Millstream".into(), challenge, udp: true });
    let announce = |peer: &mut Peer, headers: &str| peer.ask("ANNOUNCE", "rtsp://h/live/s", headers, SDP);
    for _ in 0..5 {
        let answer = announce(&mut peer, "");
        assert!(answer.starts_with("RTSP/1.0 401 "), "asking is no attempt: {answer}");
        assert!(answer.contains("WWW-Authenticate: Digest realm=\"cam\", nonce=\"0123456789abcdef\"\r\n"));
        assert!(answer.contains("WWW-Authenticate: Basic realm=\"cam\"\r\n"));
    }
    assert!(announce(&mut peer, "Authorization: Basic d3Jvbmc6d3Jvbmc=\r\n").starts_with("RTSP/1.0 401 "));
    announce(&mut peer, "Authorization: Basic YWRtaW46czNjcmV0\r\n");
    assert!(matches!(peer.session.poll_event(), Some(Event::Announced { .. })));

    let mut peer = Peer::new(peer.session.options);
    for _ in 0..MAX_ATTEMPTS {
        announce(&mut peer, "Authorization: Basic d3Jvbmc6d3Jvbmc=\r\n");
    }
    assert_eq!(peer.session.poll_event(), Some(Event::Ended(End::Unauthorized)));
    assert_eq!(announce(&mut peer, "Authorization: Basic YWRtaW46czNjcmV0\r\n"), "", "it is over");
}

#[test]
fn silence_ends_and_signs_of_life_count() {
    let mut peer = Peer::open();
    peer.now += SETUP_TIME - Duration::from_secs(1);
    peer.announce();
    peer.setup(0, "RTP/AVP/TCP;interleaved=0-1");
    peer.record();
    for _ in 0..3 {
        peer.now += Session::TIMEOUT - Duration::from_secs(1);
        peer.feed(b"$\0\0\x01a");
        peer.session.poll_event();
        peer.session.handle_timeout(peer.now);
        assert_eq!(peer.session.poll_event(), None);
    }
    assert!(peer.ask("PAUSE", "rtsp://h/live/s", "", "").starts_with("RTSP/1.0 200 "));
    assert_eq!(peer.session.poll_event(), Some(Event::Paused));
    peer.record();
    peer.session.handle_timeout(peer.session.deadline());
    assert_eq!(peer.session.poll_event(), Some(Event::Ended(End::Silent)));
}

#[test]
fn who_rests_may_record_again_but_not_wait_for_ever() {
    let mut peer = Peer::open();
    peer.session.rest(peer.now);
    peer.announce();
    peer.setup(0, "RTP/AVP/TCP;interleaved=0-1");
    peer.record();
    peer.session.rest(peer.now);
    assert_eq!(peer.session.deadline(), peer.now + SETUP_TIME);
    peer.feed(b"$\0\0\x01a");
    assert_eq!(peer.session.poll_event(), None, "packets count no more");
    peer.record();
    assert_eq!(peer.session.deadline(), peer.now + Session::TIMEOUT);
    peer.session.rest(peer.now);
    peer.session.handle_timeout(peer.session.deadline());
    assert_eq!(peer.session.poll_event(), Some(Event::Ended(End::Silent)));
}

#[test]
fn asking_again_and_again_ends() {
    let mut peer = Peer::open();
    for n in 1..=MAX_REFUSALS {
        peer.ask("ANNOUNCE", "rtsp://h/live/s", "", SDP);
        assert!(matches!(peer.session.poll_event(), Some(Event::Announced { .. })), "{n}");
        peer.session.reject(Status::NotFound);
        assert!(peer.output().starts_with("RTSP/1.0 404 "));
    }
    assert_eq!(peer.session.poll_event(), Some(Event::Ended(End::Refused)));
}

#[test]
fn events_that_wait_are_bounded() {
    let mut peer = Peer::open();
    peer.announce();
    peer.setup(0, "RTP/AVP/TCP;interleaved=0-1");
    peer.record();
    let mut input = BytesMut::from(&b"$\0\0\x01a".repeat(1000)[..]);
    peer.session.handle_input(peer.now, &mut input).unwrap();
    assert_eq!((peer.session.events.len(), input.len()), (MAX_EVENTS, (1000 - MAX_EVENTS) * 5));
}
