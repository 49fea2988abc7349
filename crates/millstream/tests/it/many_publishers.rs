//! With many publishers the server reads those nobody watches in turns. Nobody notices: newcomers find the whole
//! running group of pictures, nothing is lost when a stream begins to be watched, and time limits hold.

use crate::harness::SOON;
use crate::harness::client::{Player, Publisher};
use crate::harness::media::{Viewer, avc, avc_header, for_a_while, kind, serial};
use crate::harness::server::{Conf, Server};
use mill_media::frame::FrameKind;
use std::time::Instant;

/// Enough for rests of some ten milliseconds.
const MANY: usize = 80;
const GROUP: u32 = 25;

fn publishers(server: &Server) -> Vec<Publisher> {
    let mut all: Vec<_> = (0..MANY).map(|i| Publisher::start(server, &format!("live/s{i}"))).collect();
    all.iter_mut().for_each(|publisher| publisher.send(9, 0, &avc_header()));
    all
}

fn send(publisher: &mut Publisher, n: u32) {
    publisher.send(9, 40 * n, &avc(n.is_multiple_of(GROUP), n, 700));
}

#[test]
fn streams_that_begin_to_be_watched_lose_nothing() {
    let server = Server::plain();
    let mut all = publishers(&server);
    for n in 0..GROUP + 5 {
        all.iter_mut().for_each(|publisher| send(publisher, n));
    }
    for (i, publisher) in all.iter_mut().enumerate().step_by(8) {
        let mut player = Player::start(&server, &format!("live/s{i}"));
        (GROUP + 5..GROUP + 20).for_each(|n| send(publisher, n));
        let tags = player.until_serial(GROUP + 19);
        let frames = tags.iter().filter(|tag| kind(tag) != Some(FrameKind::VideoHeader));
        let serials: Vec<u32> = frames.map(serial).collect();
        let first = serials[0];
        assert!(first.is_multiple_of(GROUP), "began at {first}");
        assert_eq!(serials, (first..GROUP + 20).collect::<Vec<_>>(), "stream {i}");
    }
}

#[test]
fn publishers_nobody_watches_are_closed_though_media_keeps_coming() {
    let server = Server::start(&Conf::vhost("publish { kickoff_for_idle 1; }"));
    let mut all = publishers(&server);
    let start = Instant::now();
    let mut n = 0;
    for_a_while(SOON, || {
        all.retain_mut(|publisher| publisher.try_send(9, 40 * n, &avc(n == 0, n, 700)));
        n += 1;
        all.is_empty()
    });
    assert!(all.is_empty(), "{} of {MANY} are still open after {:?}", all.len(), start.elapsed());
}
