//! HDS: the bootstrap box names fragments that are there, and ffmpeg plays what is in them.

use crate::harness::client::Publisher;
use crate::harness::ffmpeg::{decode_file, probe_file, publish_both};
use crate::harness::http::Http;
use crate::harness::media::{aac, avc};
use crate::harness::server::{Conf, Server};
use crate::harness::{PATIENCE, SOON, wait_until};
use std::net::SocketAddr;

fn hds(lines: &str) -> Conf {
    Conf::vhost(&format!(
        "hds {{ enabled on; hds_fragment 1; hds_window 20; hds_path ./html; hds_ctx off; {lines} }}"
    ))
}

/// Number, start and duration of each fragment in a bootstrap box (Adobe F4V 10.1, annex C).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bootstrap(pub(crate) Vec<(u32, u64, u32)>);

impl Bootstrap {
    fn parse(bytes: &[u8]) -> Self {
        let at = bytes.windows(4).position(|kind| kind == b"afrt").expect("there is a table of fragments");
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let entry = |n: usize| {
            let at = at + 17 + 16 * n;
            (word(at), u64::from(word(at + 4)) << 32 | u64::from(word(at + 8)), word(at + 12))
        };
        assert_eq!((word(0) as usize, &bytes[4..8]), (bytes.len(), &b"abst"[..]));
        Self((0..word(at + 13) as usize).map(entry).collect())
    }

    pub(crate) fn get(addr: SocketAddr, path: &str) -> Option<Self> {
        let mut body = Http::get(addr, path);
        let found = body.head.status == 200;
        found.then(|| Self::parse(&body.read_to_end(SOON)))
    }

    #[track_caller]
    fn until(server: &Server, what: &str, wanted: impl Fn(&Self) -> bool) -> Self {
        let mut found = None;
        wait_until(what, PATIENCE, || {
            found = Self::get(server.http_addr(), "/live/show.abst").filter(|it| wanted(it));
            found.is_some()
        });
        found.unwrap()
    }

    fn last(&self) -> u32 {
        self.0.last().unwrap().0
    }
}

/// The FLV tags of a fragment.
#[track_caller]
fn tags(addr: SocketAddr, number: u32) -> Vec<u8> {
    let path = format!("/live/showSeg1-Frag{number}");
    let mut body = Http::get(addr, &path);
    assert_eq!(body.head.status, 200, "{path}");
    let file = body.read_to_end(SOON);
    assert_eq!(file[..8], [&(file.len() as u32).to_be_bytes()[..], b"mdat"].concat());
    file[8..].to_vec()
}

#[track_caller]
fn decodes(server: &Server, name: &str, tags: &[u8]) -> usize {
    let file = server.dir().join(name);
    std::fs::write(&file, [&b"FLV\x01\x05\0\0\0\x09\0\0\0\0"[..], tags].concat()).unwrap();
    decode_file(&file);
    let probe = probe_file(&file);
    assert_eq!(probe.codecs.len(), 2, "{:?}", probe.codecs);
    let times: Vec<i64> = probe.video().map(|packet| packet.dts).collect();
    assert!(times.windows(2).all(|pair| (1..=200).contains(&(pair[1] - pair[0]))), "{name}: {times:?}");
    times.len()
}

#[test]
fn fragments_play_alone_and_together() {
    let server = Server::start(&hds(""));
    let addr = server.http_addr();
    let _encoder = publish_both(&server.rtmp("live/show"));
    let bootstrap = Bootstrap::until(&server, "four fragments", |it| it.0.len() >= 4);
    let mut all = Vec::new();
    for &(number, ..) in &bootstrap.0 {
        let tags = tags(addr, number);
        assert_eq!(decodes(&server, "one.flv", &tags), 25);
        all.extend(tags);
    }
    decodes(&server, "all.flv", &all);
    assert!(
        bootstrap.0.windows(2).all(|pair| pair[0].1 + u64::from(pair[0].2) == pair[1].1),
        "{bootstrap:?}"
    );
    let mut manifest = Http::get(addr, "/live/show.f4m");
    assert_eq!(manifest.head.header("content-type"), Some("application/f4m+xml"));
    let text = String::from_utf8(manifest.read_to_end(SOON)).unwrap();
    assert!(text.contains("url=\"show.abst\"") && text.contains("<media bitrate=\""), "{text}");
    for file in ["show.f4m", "show.abst"] {
        wait_until("it is on the disk", SOON, || server.dir().join("html/live").join(file).exists());
    }
}

#[test]
fn numbers_go_on_over_publishes_and_crashes() {
    let mut server = Server::start(&hds(""));
    let mut newest = 0;
    for round in 0..4 {
        let _encoder = publish_both(&server.rtmp("live/show"));
        let bootstrap = Bootstrap::until(&server, "two more fragments", |it| it.last() > newest + 1);
        bootstrap.0.iter().for_each(|&(number, ..)| drop(tags(server.http_addr(), number)));
        newest = bootstrap.last();
        if round % 2 == 0 {
            wait_until("the box is on the disk", SOON, || {
                let bytes = std::fs::read(server.dir().join("html/live/show.abst"));
                bytes.is_ok_and(|bytes| Bootstrap::parse(&bytes).last() >= newest)
            });
            server.kill();
            server.start_again();
        }
    }
}

#[test]
fn a_bad_disk_is_told_of_and_viewers_do_not_notice() {
    let server = Server::start(&hds(""));
    std::fs::create_dir_all(server.dir().join("html")).unwrap();
    std::fs::write(server.dir().join("html/live"), "").unwrap();
    let _encoder = publish_both(&server.rtmp("live/show"));
    let bootstrap = Bootstrap::until(&server, "two fragments", |it| it.0.len() >= 2);
    decodes(&server, "one.flv", &tags(server.http_addr(), bootstrap.last()));
    wait_until("it is told", SOON, || {
        server.log().contains("hds stream __defaultVhost__/live/show: the disk has not taken a file")
    });
}

/// Each directive of the block counts for a stream that is being published.
#[test]
pub(crate) fn a_reload_restarts_the_output() {
    let conf = |lines: &str| {
        Conf::vhost(&format!("publish {{ normal_timeout 60000; }} hds {{ hds_ctx off; {lines} }}"))
    };
    let server = Server::start(&conf(""));
    let mut publisher = Publisher::start(&server, "live/show");
    publisher.headers(0);
    let mut sent = 0;
    let mut more = |frames: u32| {
        for n in sent..sent + frames {
            publisher.send(9, 100 * n, &avc(n % 10 == 0, n, 300));
            publisher.send(8, 100 * n, &aac(n));
        }
        sent += frames;
    };
    more(70);
    assert_eq!(Bootstrap::get(server.http_addr(), "/live/show.abst"), None, "not enabled");

    server.reload(&conf("enabled on; hds_path ./html; hds_fragment 2; hds_window 100;"));
    more(210);
    let before = Bootstrap::until(&server, "enabled", |it| it.0.len() >= 9);
    assert!(before.0.iter().rev().take(8).all(|&(_, _, duration)| duration == 2000), "{before:?}");

    server.reload(&conf("enabled on; hds_path ./html; hds_fragment 1; hds_window 4;"));
    more(70);
    let is_short = |it: &Bootstrap| it.0.len() <= 5 && it.0.iter().any(|&(_, _, duration)| duration == 1000);
    Bootstrap::until(&server, "shorter", |it| it.last() > before.last() && is_short(it));

    server.reload(&conf("enabled on; hds_path ./html/x; hds_fragment 1; hds_window 4;"));
    more(70);
    wait_until("another place", SOON, || Bootstrap::get(server.http_addr(), "/x/live/show.abst").is_some());
    server.reload(&conf("hds_path ./html/x;"));
    more(70);
    wait_until("it is off", SOON, || !Http::get(server.http_addr(), "/x/live/show.abst").is_packaged());
}
