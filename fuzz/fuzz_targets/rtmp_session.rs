//! A whole server session: whatever a client sends, and whatever the driver answers, there is no panic and
//! nothing piles up.

#![no_main]

use std::time::{Duration, Instant};

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mill_rtmp::session::{
    MAX_EVENTS, MAX_OUTPUT,
    server::{ConnectReply, Event, Options, Session},
};

/// Most that one input can add to the output beyond the bound: the answer to the last message read.
const LAST_ANSWER: usize = 4096;

// The first byte steers: its lowest bit skips the handshake, which no fuzzer would find, the next two say
// no to publish and play, the others make the length of the pieces.
fuzz_target!(|data: &[u8]| {
    let Some((&steer, bytes)) = data.split_first() else { return };
    let now = Instant::now();
    let mut session = Session::new(Options::default(), 1, now);
    let mut input = BytesMut::new();
    if steer & 1 == 0 {
        input.extend_from_slice(&[3]);
        input.resize(1 + 2 * 1536, 0);
    }
    for piece in bytes.chunks(1 + usize::from(steer >> 3) * 16) {
        input.extend_from_slice(piece);
        loop {
            if session.handle_input(now, &mut input).is_err() {
                return;
            }
            let mut events = 0;
            while let Some(event) = session.poll_event() {
                events += 1;
                answer(&mut session, now, steer, &event);
            }
            assert!(events <= MAX_EVENTS);
            assert!(session.take_output().len() < MAX_OUTPUT + LAST_ANSWER);
            if events == 0 {
                break;
            }
        }
    }
    let _ = session.handle_timeout(now + Duration::from_secs(31));
});

fn answer(session: &mut Session, now: Instant, steer: u8, event: &Event) {
    match event {
        Event::Connect(_) if steer & 8 == 0 => session.accept_connect(now, &ConnectReply::default()),
        Event::Connect(_) => session.accept_test(&ConnectReply::default()),
        Event::Publish { .. } if steer & 2 == 0 => session.accept_publish(),
        Event::Publish { .. } => session.reject_publish("NetStream.Publish.Denied", ""),
        Event::Play(_) if steer & 4 == 0 => session.accept_play(),
        Event::Play(_) => session.redirect(now, "rtmp://h/live", "rtmp://h/live/s"),
        _ => {}
    }
}
