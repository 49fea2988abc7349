//! HTTP-AAC and HTTP-MP3: sound as it was published, the last seconds at once, and an end where there is none.

use crate::harness::client::{Player, Publisher};
use crate::harness::ffmpeg::{
    AAC, AUDIO, H264, VIDEO, decode, decode_file, make, probe, probe_file, publish,
};
use crate::harness::http::{Body, End, Http};
use crate::harness::media::{BBB, Viewer, aac, aac_header, avc, file, for_a_while, tags};
use crate::harness::server::{Conf, Server};
use crate::harness::{SOON, wait_until};
use mill_media::adts;
use mill_media::flv::demux::Tag;
use std::time::Duration;

/// What SRS sends before MP3.
const ID3: &[u8] = b"ID3\x03\0\0\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0";

fn open(server: &Server, path: &str, content_type: &str) -> Body {
    let body = Http::get(server.http_addr(), path);
    assert_eq!((body.head.status, body.head.header("content-type")), (200, Some(content_type)));
    body
}

fn open_aac(server: &Server) -> Body {
    open(server, "/live/s.aac", "audio/x-aac")
}

fn send(publisher: &mut Publisher, tags: &[Tag]) {
    tags.iter().for_each(|tag| publisher.send(tag.tag_type, tag.timestamp, &tag.body));
}

/// Reads until so much has come.
#[track_caller]
fn read(body: &mut Body, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let more = body.read(SOON);
        assert!(!more.is_empty(), "only {} of {len} bytes came", bytes.len());
        bytes.extend(more);
    }
    bytes
}

/// Payloads of the ADTS frames.
#[track_caller]
fn payloads(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut payloads = Vec::new();
    while !bytes.is_empty() {
        let (_, layout) = adts::Header::parse(bytes).expect("ADTS and nothing else");
        let (frame, rest) = bytes.split_at(layout.frame);
        payloads.push(&frame[layout.header..]);
        bytes = rest;
    }
    payloads
}

/// Serial numbers of frames made by [`aac`].
fn serials(bytes: &[u8]) -> Vec<u32> {
    payloads(bytes).iter().map(|frame| u32::from_be_bytes(frame[..4].try_into().unwrap())).collect()
}

/// Sound of so many milliseconds in frames of ten, from a serial number on.
fn sound(publisher: &mut Publisher, serials: std::ops::Range<u32>) {
    serials.for_each(|n| publisher.send(8, 10 * n, &aac(n)));
}

/// Bytes of a frame made by [`aac`] on the wire.
const FRAME: usize = 62 + adts::HEADER_LEN;

#[test]
fn aac_is_every_frame_behind_a_header() {
    let server = Server::start(&Conf::mounting("aac", ""));
    let mut viewer = open_aac(&server);
    let mut publisher = Publisher::with_chunk_size(&server, "live/s", 60_000);
    let tags = tags(&file(BBB));
    send(&mut publisher, &tags);
    drop(publisher);
    let bytes = viewer.read_to_end(SOON);
    assert_eq!(viewer.ended(), Some(End::FinalChunk));
    let sent: Vec<&[u8]> =
        tags.iter().filter(|tag| tag.tag_type == 8 && tag.body[1] == 1).map(|tag| &tag.body[2..]).collect();
    assert_eq!(payloads(&bytes), sent);
    let saved = server.dir().join("s.aac");
    std::fs::write(&saved, &bytes).unwrap();
    decode_file(&saved);
    assert_eq!(probe_file(&saved).codecs, ["aac"]);
}

/// SRS 3.0 loses the first byte of each frame.
#[test]
fn mp3_is_every_frame_behind_a_tag() {
    let server = Server::start(&Conf::mounting("mp3", ""));
    let source = server.dir().join("source.flv");
    make(&format!("{VIDEO} {AUDIO} -t 2 {H264} -c:a libmp3lame -b:a 64k -f flv"), &source);
    let tags = tags(&source);
    let mut viewer = open(&server, "/live/s.mp3", "audio/mpeg");
    let mut publisher = Publisher::with_chunk_size(&server, "live/s", 60_000);
    send(&mut publisher, &tags);
    drop(publisher);
    let bytes = viewer.read_to_end(SOON);
    let sent: Vec<u8> =
        tags.iter().filter(|tag| tag.tag_type == 8).flat_map(|tag| tag.body[1..].to_vec()).collect();
    assert_eq!(bytes.strip_prefix(ID3), Some(&sent[..]));
    let saved = server.dir().join("s.mp3");
    std::fs::write(&saved, &bytes).unwrap();
    decode_file(&saved);
    assert_eq!(probe_file(&saved).codecs, ["mp3"]);
}

#[test]
fn encoders_and_players_from_outside() {
    for (ending, encoder) in [("aac", AAC), ("mp3", "-c:a libmp3lame -b:a 64k")] {
        let server = Server::start(&Conf::mounting(ending, "fast_cache 5;"));
        let _encoder = publish(&format!("-re {VIDEO} -re {AUDIO} {H264} {encoder}"), &server.rtmp("live/s"));
        let url = server.http(&format!("live/s.{ending}"));
        assert_eq!(probe(&url, 40).codecs, [ending]);
        decode(&url, 2);
    }
}

#[test]
fn with_fast_cache_newcomers_get_the_last_seconds() {
    let server = Server::start(&Conf::mounting("aac", "fast_cache 3;"));
    let mut publisher = Publisher::with_chunk_size(&server, "live/s", 60_000);
    publisher.headers(0);
    // Ten seconds; pictures and keyframes do not matter.
    for n in 0..1000 {
        publisher.send(9, 10 * n, &avc(n % 100 == 0, n, 100));
        publisher.send(8, 10 * n, &aac(n));
    }
    Player::start(&server, "live/s").until_serial(999);
    // The first viewer too.
    let mut first = open_aac(&server);
    let got = serials(&read(&mut first, 301 * FRAME));
    assert_eq!(got, (699..=999).collect::<Vec<_>>());
    sound(&mut publisher, 1000..2000);
    read(&mut first, 1000 * FRAME);

    let mut second = open_aac(&server);
    let got = serials(&read(&mut second, 301 * FRAME));
    assert_eq!(got.last(), Some(&1999));
    // To within half a second, in which the log is cut.
    let start = 1999 - got[0];
    assert!((300..=350).contains(&start), "{start} frames back");
    assert_eq!(got, (got[0]..=1999).collect::<Vec<_>>());
}

#[test]
fn without_fast_cache_newcomers_start_with_what_comes() {
    let server = Server::start(&Conf::mounting("aac", ""));
    let mut publisher = Publisher::start(&server, "live/s");
    let mut waited = open_aac(&server);
    publisher.send(8, 0, &aac_header());
    sound(&mut publisher, 0..100);
    assert_eq!(serials(&read(&mut waited, 100 * FRAME)), (0..100).collect::<Vec<_>>(), "who waited has all");
    let mut late = open_aac(&server);
    assert!(late.read(Duration::from_millis(200)).is_empty());
    sound(&mut publisher, 100..110);
    assert_eq!(serials(&read(&mut late, 10 * FRAME)), (100..110).collect::<Vec<_>>());
}

#[test]
fn sound_of_another_codec_ends_who_waits_and_is_not_found_later() {
    let mp3 = b"\x2f\xff\xfb\x90\x64mp3";
    for (ending, content_type, tags) in [
        ("mp3", "audio/mpeg", [aac_header(), aac(0)]),
        ("aac", "audio/x-aac", [mp3[..].into(), mp3[..].into()]),
    ] {
        let server = Server::start(&Conf::mounting(ending, "fast_cache 5;"));
        let path = format!("/live/s.{ending}");
        let mut waiting = open(&server, &path, content_type);
        let mut publisher = Publisher::start(&server, "live/s");
        tags.iter().for_each(|tag| publisher.send(8, 0, tag));
        let got = waiting.read_to_end(SOON);
        assert!(got.is_empty() || got == ID3, "{got:?}");
        assert_eq!(waiting.ended(), Some(End::FinalChunk));
        let mut late = Http::get(server.http_addr(), &path);
        assert_eq!(late.head.status, 404);
        let text = late.read_to_end(SOON);
        assert_eq!(
            String::from_utf8_lossy(&text),
            format!("The stream has nothing that .{ending} carries\n")
        );
        assert!(!publisher.is_closed(Duration::from_millis(50)), "the publisher is not to blame");
    }
}

#[test]
fn sound_that_changes_its_codec_ends_its_viewers() {
    let server = Server::start(&Conf::mounting("aac", ""));
    let mut viewer = open_aac(&server);
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(8, 0, &aac_header());
    sound(&mut publisher, 0..10);
    read(&mut viewer, 10 * FRAME);
    publisher.send(8, 100, b"\x2f\xff\xfb\x90\x64mp3");
    assert!(viewer.read_to_end(SOON).is_empty());
    assert_eq!(viewer.ended(), Some(End::FinalChunk));
    // And back.
    publisher.send(8, 110, &aac_header());
    publisher.send(8, 110, &aac(11));
    Player::start(&server, "live/s").find("the last frame", |tag| tag.timestamp == 110 && tag.body[1] == 1);
    let mut again = open_aac(&server);
    for_a_while(SOON, || {
        publisher.send(8, 120, &aac(12));
        !again.read(Duration::from_millis(20)).is_empty()
    });
    assert_eq!(again.ended(), None);
}

/// Ten seconds of the stream, not of the clock on the wall.
#[test]
fn pictures_alone_end_after_a_while() {
    let server = Server::start(&Conf::mounting("aac", ""));
    let mut viewer = open_aac(&server);
    let mut publisher = Publisher::start(&server, "live/s");
    for n in 0..100 {
        publisher.send(9, 100 * n, &avc(n == 0, n, 50));
    }
    assert!(viewer.read(Duration::from_millis(300)).is_empty() && viewer.ended().is_none(), "not yet");
    for n in 100..110 {
        publisher.send(9, 100 * n, &avc(false, n, 50));
    }
    assert!(viewer.read_to_end(SOON).is_empty());
    assert_eq!(viewer.ended(), Some(End::FinalChunk));
}

/// How often it was said that sound is left out.
fn logged(server: &Server) -> usize {
    server.log().lines().filter(|line| line.contains("sound left out of .aac")).count()
}

#[test]
fn sound_without_configuration_is_left_out_and_said_once() {
    let server = Server::start(&Conf::mounting("aac", "fast_cache 5;"));
    let mut viewer = open_aac(&server);
    let mut publisher = Publisher::start(&server, "live/s");
    sound(&mut publisher, 0..20);
    publisher.send(8, 200, &aac_header());
    sound(&mut publisher, 20..30);
    assert_eq!(serials(&read(&mut viewer, 10 * FRAME)), (20..30).collect::<Vec<_>>());
    wait_until("it is said", SOON, || server.log().contains("play aac") && logged(&server) > 0);
    drop(publisher);
    viewer.read_to_end(SOON);
    wait_until("the publish has ended", SOON, || server.log().contains("cleanup when unpublish"));
    assert_eq!(logged(&server), 1);
}

#[test]
fn answers_are_framed_as_for_flv() {
    let server = Server::start(&Conf::mounting("aac", "fast_cache 5;"));
    let mut publisher = Publisher::start(&server, "live/s");
    publisher.send(8, 0, &aac_header());
    sound(&mut publisher, 0..10);
    let mut old = Http::request(server.http_addr(), "GET /live/s.aac HTTP/1.0\r\n\r\n");
    assert!(!old.chunked() && old.head.header("content-length").is_none());
    let request = "GET /live/s.aac HTTP/1.1\r\nHost: x\r\nOrigin: http://page.example\r\n\r\n";
    let mut new = Http::request(server.http_addr(), request);
    assert_eq!(new.head.header("access-control-allow-origin"), Some("*"));
    // Two forms of the same bytes.
    assert!(new.chunked());
    assert_eq!(read(&mut old, 10 * FRAME), read(&mut new, 10 * FRAME));

    let mut http = Http::connect(server.http_addr());
    http.send(b"HEAD /live/s.aac HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = http.answer(true);
    assert_eq!((head.head.status, head.head.header("content-type")), (200, Some("audio/x-aac")));
    drop(publisher);
    old.read_to_end(SOON);
    assert_eq!(old.ended(), Some(End::Eof));
}

/// How much a stream keeps follows the configuration while it is live, also when HTTP is only switched on then.
#[test]
pub(crate) fn a_live_stream_begins_to_keep_sound() {
    let off = Conf::mounting("aac", "").and_vhost("publish { normal_timeout 60000; }");
    let cached = Conf::mounting("aac", "fast_cache 30;").and_vhost("publish { normal_timeout 60000; }");
    let server = Server::start(&off);
    let mut publisher = Publisher::start(&server, "live/s");
    let mut player = Player::start(&server, "live/s");
    publisher.headers(0);
    sound(&mut publisher, 0..100);
    player.until_serial(99);
    server.reload(&cached);
    sound(&mut publisher, 100..200);
    player.until_serial(199);
    assert_eq!(serials(&read(&mut open_aac(&server), 100 * FRAME)), (100..200).collect::<Vec<_>>());
    server.reload(&off);
    let mut late = open_aac(&server);
    sound(&mut publisher, 200..210);
    assert_eq!(serials(&read(&mut late, 10 * FRAME)), (200..210).collect::<Vec<_>>());
}
