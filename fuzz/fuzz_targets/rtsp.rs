//! A whole session: any bytes on the connection, every question answered one way or the other.
#![no_main]

use std::time::Instant;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mill_rtp::auth::{Challenge, Credentials};
use mill_rtp::rtsp::message::Status;
use mill_rtp::rtsp::session::{Event, Options, Session};

fuzz_target!(|data: &[u8]| {
    // The first byte chooses pieces, answers and whether a password is wanted.
    let Some((&choice, bytes)) = data.split_first() else { return };
    let now = Instant::now();
    let credentials = Credentials { username: "u".into(), password: "p".into() };
    let challenge = (choice & 1 != 0).then(|| Challenge::new(credentials, "realm", "nonce"));
    let options = Options { id: "1".into(), server: "fuzz".into(), challenge, udp: choice & 2 != 0 };
    let mut session = Session::new(options, now);
    let mut input = BytesMut::new();
    for piece in bytes.chunks(usize::from(choice >> 3) + 1) {
        input.extend_from_slice(piece);
        loop {
            if session.handle_input(now, &mut input).is_err() {
                return;
            }
            let Some(event) = session.poll_event() else { break };
            match event {
                Event::Announced { .. } | Event::Setup { .. } | Event::Record if choice & 4 != 0 => {
                    session.reject(Status::Forbidden);
                }
                Event::Announced { .. } => session.accept_announce(),
                Event::Setup { .. } => session.accept_setup(6000),
                Event::Record => session.accept_record(now),
                Event::Ended(_) => return,
                Event::Packet { control: true, .. } => session.rest(now),
                Event::Packet { track, payload, .. } => session.send_control(track, &payload),
                Event::Paused => {}
            }
        }
        session.take_output();
    }
});
